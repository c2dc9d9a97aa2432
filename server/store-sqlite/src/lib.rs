//! The server's ports over SQLite: one data folder, one writer that syncs once for each group, a few readers.
//!
//! The folder holds `log.db`, which is the truth: sealed frames in the order of their arrival, identities, rooms,
//! members, invitations; `index.db`, which finds an event by room and seq and can be built again from the log;
//! `directory.db`: accounts, devices, settings, cursors; `log.mark`, which says how far the log had come; and `lock`.
//! Only `index.db` may be lost.
//!
//! ```
//! use hark_core::ports::{Directory, LogReader};
//! use hark_store_sqlite::SqliteStores;
//!
//! let folder = tempfile::tempdir()?;
//! let stores = SqliteStores::open(folder.path())?;
//! assert!(stores.reader.room_id(&"tea".parse()?)?.is_none());
//! assert!(stores.directory.account(&"ann".parse()?)?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backup;
mod changes;
mod copy;
mod cursors;
mod database;
mod decide;
mod directory;
mod error;
mod exchange;
mod index;
mod keeper;
mod lineage;
mod lock;
mod log;
mod look;
mod mark;
mod migrations;
mod open;
mod options;
mod places;
mod reader;
mod rebuild;
mod restore;
mod retention;
mod rows;
mod sessions;
mod tail;
mod verify;
mod wal;

pub use backup::{Backup, BackupMade};
pub use copy::CopyError;
pub use directory::SqliteDirectory;
pub use error::OpenError;
pub use keeper::Housekeeping;
pub use log::SqliteLog;
pub use open::SqliteStores;
pub use options::Options;
pub use reader::SqliteReader;
pub use restore::{Damage, Present, Restore, Restored};
pub use verify::{Finding, Verified, Verify};

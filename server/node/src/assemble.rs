//! Which store the server runs on: the one file that names a concrete one.

use std::path::Path;
use std::sync::Arc;

use hark_store_sqlite::SqliteStores;

use crate::storage::Stores;

pub use hark_store_sqlite::{
    Backup, BackupMade, CopyError, Damage, Finding, OpenError, Present, Restore, Restored, Verified, Verify,
};

/// Opens the stores in `folder`, which must exist. Blocks; holds the folder's lock for as long as they live.
///
/// # Errors
/// When another server has the folder, or it can not be used.
pub fn open_stores(folder: &Path) -> Result<Stores, OpenError> {
    let SqliteStores { log, reader, directory } = SqliteStores::open(folder)?;
    let (cursors, sessions) = (Arc::clone(&directory) as _, Arc::clone(&directory) as _);
    Ok(Stores { log: Box::new(log), reader, directory, cursors, sessions })
}

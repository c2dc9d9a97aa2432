//! Why a store can not be opened, and what an error of SQLite means for the server.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use hark_core::ports::StoreError;
use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
use thiserror::Error;

/// Why a data folder can not be opened. The text is for the operator: what is wrong, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another server holds the folder's lock, or a tool that works on the folder of a stopped one.
    #[error(
        "the data folder {} is in use by {}: stop that server, or wait if it is `harkd backup`, `verify` or `restore`, \
         or give this one a folder of its own",
        folder.display(),
        process.map_or("another server".into(), |id| format!("another server, process {id}"))
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The holder's process id, as far as it is known.
        process: Option<u32>,
    },
    /// A file or the folder can not be used.
    #[error("{} can not be used: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// SQLite can not open a database.
    #[error("the database {} can not be opened: {source}", path.display())]
    Database {
        /// Which one.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A database was written by a newer version.
    #[error(
        "the database {} has schema {found} and this version knows {known}: it was written by a newer version; \
         run that one",
        path.display()
    )]
    Newer {
        /// Which one.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// A database belongs to another program.
    #[error(
        "the database {} was not made by this server: choose another data folder, or move the file away",
        path.display()
    )]
    Foreign {
        /// Which one.
        path: PathBuf,
    },
    /// A database that must be there is not.
    #[error(
        "{} is missing although the data folder has been used: {}",
        path.display(),
        match interrupted {
            Some(left) => format!(
                "a restore was interrupted and has left {}; `harkd restore --force` with the same backup takes it up",
                left.display()
            ),
            None => "put it back, or choose another folder".into(),
        }
    )]
    Lost {
        /// Which one.
        path: PathBuf,
        /// What an interrupted restore has left, if there was one.
        interrupted: Option<PathBuf>,
    },
    /// Another program is working on a database.
    #[error(
        "the database {} is in use by another program, such as `sqlite3` or `harkd verify`: close that one first",
        path.display()
    )]
    Busy {
        /// Which one.
        path: PathBuf,
    },
    /// SQLite did not take a setting that durability depends on.
    #[error("the database {}: {setting} is {found:?}, and must be {wanted:?}", path.display())]
    Setting {
        /// Which one.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// The SQLite library has a bug that can damage the log.
    #[error(
        "this program was built with SQLite {found}, which can damage its files; 3.51.3 or newer is needed"
    )]
    OldLibrary {
        /// Its version.
        found: &'static str,
    },
    /// The index can not be brought up to the log.
    #[error("{} can not be brought up to date: {fault}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What went wrong.
        fault: String,
    },
    /// The log is damaged in a part without which the rest means nothing.
    #[error(
        "{} is damaged where it must not be ({source}): `harkd verify` says where, `harkd restore` puts a backup \
         in its place",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// How far the log has come can not be noted.
    #[error(
        "{fault}, in {}: see that the disk has room and that the server's user may write there",
        folder.display()
    )]
    Mark {
        /// The data folder.
        folder: PathBuf,
        /// What went wrong.
        fault: String,
    },
    /// The store's own thread can not be started.
    #[error("the store's thread can not be started: {0}")]
    Thread(io::Error),
}

/// What went wrong inside an operation, before it is judged.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The index is not the database it should be; the log is another matter.
    #[error("index.db is damaged: {0}")]
    Index(rusqlite::Error),
    /// How far the log has come could not be noted beside it.
    #[error("log.mark can not be written: {0}")]
    Mark(String),
    /// A stored value is not what its type asks for.
    #[error("{0}")]
    Nonsense(String),
}

impl Fault {
    /// Whether the file itself can not be trusted any more.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Fault::Sqlite(error) => is_damage(error),
            Fault::Index(_) | Fault::Nonsense(_) => true,
            Fault::Mark(_) => false,
        }
    }
}

/// Whether SQLite says that a file is not the database it should be.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the store can still be used. Once a sync has failed, nobody knows what is on the disk, and a second
/// try that succeeds proves nothing: from then on every operation fails, until a start finds out what is there.
#[derive(Debug, Default)]
pub(crate) struct Health {
    fatal: OnceLock<String>,
}

impl Health {
    /// Fails if the store can not be used any more.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.fatal.get().map_or(Ok(()), |what| Err(StoreError::Fatal(what.clone())))
    }

    /// Lets nobody use the store any more: only a new start can mend it.
    pub(crate) fn end(&self, what: String) {
        self.fatal.get_or_init(|| what);
    }

    /// What the server has to make of a fault.
    pub(crate) fn judge(&self, fault: impl Into<Fault>) -> StoreError {
        let fault = fault.into();
        if let Err(ended) = self.check() {
            return ended;
        }
        let what = fault.to_string();
        match &fault {
            Fault::Sqlite(error) if is_failed_sync(error) => {
                tracing::error!(error = %what, "a sync failed; the store can not be used any more");
                StoreError::Fatal(self.fatal.get_or_init(|| what).clone())
            }
            fault if fault.is_damage() => StoreError::Damaged(what),
            Fault::Sqlite(error) if contradicts_itself(error) => StoreError::Damaged(what),
            _ => StoreError::Unavailable(what),
        }
    }
}

fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC))
}

/// A value that is not of its column's type, or a row that breaks a constraint which the code has checked.
fn contradicts_itself(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        E::FromSqlConversionFailure(..) | E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..) => true,
        error => error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn judged(code: i32) -> StoreError {
        Health::default().judge(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn what_sqlite_says_is_judged_by_what_may_be_on_the_disk() {
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_READ, ffi::SQLITE_BUSY] {
            assert!(matches!(judged(code), StoreError::Unavailable(_)), "{code}");
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_CONSTRAINT_PRIMARYKEY] {
            assert!(matches!(judged(code), StoreError::Damaged(_)), "{code}");
        }
        for code in [SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC] {
            assert!(matches!(judged(code), StoreError::Fatal(_)), "{code}");
        }
    }

    #[test]
    fn after_a_failed_sync_nothing_is_tried_again() {
        let health = Health::default();
        health.judge(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None));
        assert_eq!(health.check(), Ok(()));
        let failed = health.judge(rusqlite::Error::SqliteFailure(ffi::Error::new(SQLITE_IOERR_FSYNC), None));
        assert_eq!(health.check(), Err(failed));
    }
}

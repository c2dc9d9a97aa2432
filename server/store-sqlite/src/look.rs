//! Looking at a data folder or a backup without changing it, whether or not a server is at work in it.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::OpenError;
use crate::database::configure;
use crate::lock::FolderLock;
use crate::migrations::{DIRECTORY, INDEX, LOG, Schema};

/// A folder that is looked at.
#[derive(Debug)]
pub(crate) struct Look {
    folder: PathBuf,
    holder: Holder,
}

/// Who keeps others from changing the folder.
#[derive(Debug)]
enum Holder {
    /// This look: no server can start.
    Look { _lock: FolderLock },
    /// A server is at work.
    Server,
    /// Nobody: it is a backup, in which no server has been yet, or the caller does.
    Nobody,
}

impl Look {
    /// Begins to look at a folder. If no server is at work in it, none can start until this is dropped.
    pub(crate) fn at(folder: &Path) -> Result<Look, OpenError> {
        let holder = match FolderLock::take_existing(folder) {
            Ok(Some(lock)) => Holder::Look { _lock: lock },
            Ok(None) => Holder::Nobody,
            Err(OpenError::InUse { .. }) => Holder::Server,
            Err(error) => return Err(error),
        };
        Ok(Look { folder: folder.into(), holder })
    }

    /// Looks at a folder that the caller has locked.
    pub(crate) fn locked(folder: &Path) -> Look {
        Look { folder: folder.into(), holder: Holder::Nobody }
    }

    /// Whether a server is at work in it.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.holder, Holder::Server)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.path(file).exists()
    }

    /// Opens one of the folder's databases for reading.
    pub(crate) fn open(&self, file: &'static str) -> Result<Connection, OpenError> {
        let path = self.path(file);
        let fail = |source| OpenError::Database { path: path.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut wal = path.clone().into_os_string();
        wal.push("-wal");
        // SQLite would make a write-ahead log where there is none, and its absence says something.
        let opened = match self.is_running() || Path::new(&wal).exists() {
            true => Connection::open_with_flags(&path, flags),
            false => Connection::open_with_flags(unchanging(&path), flags | OpenFlags::SQLITE_OPEN_URI),
        };
        let connection = opened.map_err(fail)?;
        configure(&connection).map_err(fail)?;
        schema_of(file).recognise(&connection, &path)?;
        Ok(connection)
    }
}

/// The schema of one of the folder's databases.
pub(crate) fn schema_of(file: &str) -> Schema {
    match file {
        "directory.db" => DIRECTORY,
        "index.db" => INDEX,
        _ => LOG,
    }
}

/// The address of a file that nobody changes, as SQLite takes it.
fn unchanging(path: &Path) -> String {
    let mut address = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                address.push(char::from(*byte));
            }
            // Writing into a String does not fail.
            other => drop(write!(address, "%{other:02X}")),
        }
    }
    address + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_the_path_says() {
        assert_eq!(unchanging(Path::new("/a b/ü?#%.db")), "file:/a%20b/%C3%BC%3F%23%25.db?immutable=1");
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("100% odd? #1");
        std::fs::create_dir(&odd).unwrap();
        drop(crate::SqliteStores::open(&odd).unwrap());
        std::fs::remove_file(odd.join("log.db-wal")).unwrap();
        let look = Look::at(&odd).unwrap();
        assert!(!look.is_running());
        look.open("log.db").unwrap();
        assert!(!look.has("log.db-wal"), "looking has changed something");
    }
}

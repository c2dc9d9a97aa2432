//! One database file: made private, told how durable to be, and asked whether it listened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::OpenError;
use crate::migrations::Schema;

/// SQLite 3.51.3 repaired a race between two connections' checkpoints that damages databases in WAL mode.
const LIBRARY_VERSION_MIN: i32 = 3_051_003;

/// Bytes of one value: the largest frame is a little above 1 MiB.
const VALUE_BYTES_MAX: i32 = 4 * 1024 * 1024;

/// Bytes that a write-ahead log keeps when it begins again from its start.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// How long a statement waits for another connection's lock. Only a checkpoint or the end of one is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start waits for readers.
const READERS_AT_START: Duration = Duration::from_secs(1);

/// Statements that stay prepared; more than any part of the store uses.
const STATEMENTS_CACHED: usize = 64;

/// When a commit returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When it is on the disk.
    Full,
    /// When it will survive the end of the process. After a loss of power the file is whole, but older.
    Normal,
}

/// What becomes of the write-ahead log when the last connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalAtClose {
    /// SQLite moves what is in it into the database, and removes it.
    Removed,
    /// It stays, whatever is in it, so that one that is missing has been taken away.
    Kept,
}

/// A database file of the data folder.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    /// The name of the VFS that it is opened through; `None` for SQLite's default.
    pub(crate) vfs: Option<String>,
    pub(crate) durability: Durability,
    pub(crate) wal_at_close: WalAtClose,
    pub(crate) schema: Schema,
}

impl Database {
    /// Makes the file if need be, moves into it what an earlier process left in the write-ahead log, and
    /// brings it to the newest schema.
    pub(crate) fn open(&self) -> Result<Connection, OpenError> {
        if rusqlite::version_number() < LIBRARY_VERSION_MIN {
            return Err(OpenError::OldLibrary { found: rusqlite::version() });
        }
        create_private(&self.path)?;
        let wal = self.beside("-wal");
        write_again(&wal).map_err(|source| OpenError::File { path: wal, source })?;
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.schema.recognise(&connection, &self.path)?;
        self.demand_durability(&connection)?;
        // A process that was killed may have written commits that it never synced. They are read like any other
        // until the power fails, so they are synced before anything is answered from them.
        self.settle(&connection)?;
        self.checked(self.schema.migrate(&mut connection))?;
        Ok(connection)
    }

    /// Moves what is in the write-ahead log into the database, all of it unless somebody is reading: a verification
    /// or a backup that has outlived the server it began beside. What that one keeps in the write-ahead log has just
    /// been written again and synced, so that it lasts as well as what is in the database.
    fn settle(&self, connection: &Connection) -> Result<(), OpenError> {
        self.checked(connection.busy_timeout(READERS_AT_START))?;
        let is_empty = self.checked(checkpoint(connection, "TRUNCATE"))?;
        self.checked(connection.busy_timeout(BUSY_TIMEOUT))?;
        if is_empty {
            return Ok(());
        }
        // Somebody who writes is another matter.
        match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Err(OpenError::Busy { path: self.path.clone() });
            }
            free => self.checked(free)?,
        }
        tracing::info!(
            file = %self.path.display(),
            "another program, such as `harkd verify` or `harkd backup`, is reading; the write-ahead log grows until \
             it ends"
        );
        self.checked(checkpoint(connection, "PASSIVE")).map(drop)
    }

    /// Another connection for writing or checkpoints to a database that is open already.
    pub(crate) fn join(&self) -> Result<Connection, OpenError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.demand_durability(&connection)?;
        Ok(connection)
    }

    /// Another connection, for reading only, to a database that is open already.
    pub(crate) fn read(&self) -> Result<Connection, OpenError> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Removes the file and what belongs to it.
    pub(crate) fn remove(&self) -> Result<(), OpenError> {
        for suffix in ["", "-wal", "-shm"] {
            remove_if_there(&self.beside(suffix))?;
        }
        Ok(())
    }

    /// The file of that name with this behind it.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    fn connect(&self, access: OpenFlags) -> Result<Connection, OpenError> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match &self.vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs.as_str()),
            None => Connection::open_with_flags(&self.path, flags),
        };
        let connection = self.checked(opened)?;
        self.checked(configure(&connection))?;
        let keeps = self.wal_at_close == WalAtClose::Kept;
        self.checked(connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps))?;
        Ok(connection)
    }

    /// Sets what durability depends on, and reads it back.
    fn demand_durability(&self, connection: &Connection) -> Result<(), OpenError> {
        // As SQLite reads them back: 1 is NORMAL, 2 is FULL.
        let (level, number) = match self.durability {
            Durability::Full => ("FULL", "2"),
            Durability::Normal => ("NORMAL", "1"),
        };
        self.checked(connection.pragma_update(None, "synchronous", level))?;
        self.checked(switch_journal(connection, "WAL"))?;
        self.read_back(connection, "journal_mode", "wal")?;
        self.read_back(connection, "synchronous", number)
    }

    fn read_back(
        &self,
        connection: &Connection,
        setting: &'static str,
        wanted: &'static str,
    ) -> Result<(), OpenError> {
        let read = connection.pragma_query_value(None, setting, |row| {
            row.get_ref(0).map(|value| match value.as_i64() {
                Ok(number) => number.to_string(),
                Err(_) => value.as_str().unwrap_or_default().to_owned(),
            })
        });
        match self.checked(read)? {
            found if found == wanted => Ok(()),
            found => Err(OpenError::Setting { path: self.path.clone(), setting, wanted, found }),
        }
    }

    fn checked<T>(&self, result: rusqlite::Result<T>) -> Result<T, OpenError> {
        result.map_err(|source| self.error(source))
    }

    /// What SQLite says about this file.
    pub(crate) fn error(&self, source: rusqlite::Error) -> OpenError {
        OpenError::Database { path: self.path.clone(), source }
    }
}

/// Runs the statement to its end: it answers the new mode first and commits then, and whoever stops at the answer does
/// not learn that the commit has failed. The connection would go on in the mode before, and say otherwise.
pub(crate) fn switch_journal(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    let mut switch = connection.prepare(&format!("PRAGMA journal_mode = {mode}"))?;
    let mut rows = switch.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A mapped file turns a stray write of this process into damage on the disk.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)
}

/// Moves what is in the write-ahead log into the database, as far as `mode` goes; `false` if another connection
/// was in the way.
pub(crate) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Makes an empty file that only its owner can read; SQLite gives its companions the same permissions.
pub(crate) fn create_private(path: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::File { path: path.into(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => sync_folder(path).map_err(fail),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(fail(error)),
    }
}

/// Makes a new file's name as durable as its content.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder in which a path lies.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file's bytes over themselves, and syncs it; one that is not there is passed over.
///
/// After a sync that failed, the system takes the pages for clean that it could not write: they are read until the
/// power fails, and no later sync writes them. A checkpoint from such a write-ahead log would be trusted, and one
/// that the power cuts short could not be done again. Bytes that are written anew are synced anew.
fn write_again(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let bytes = file.read_at(&mut buffer, offset)?;
        let Some(read) = buffer.get(..bytes).filter(|read| !read.is_empty()) else { break };
        file.write_all_at(read, offset)?;
        offset = offset.saturating_add(bytes as u64);
    }
    if offset > 0 { file.sync_all() } else { Ok(()) }
}

/// Removes a file; one that is not there is passed over.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), OpenError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::File { path: path.into(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::migrations::LOG;

    fn database(folder: &tempfile::TempDir, durability: Durability) -> Database {
        let (path, wal_at_close) = (folder.path().join("log.db"), WalAtClose::Kept);
        Database { path, vfs: None, durability, wal_at_close, schema: LOG }
    }

    #[test]
    fn durability_is_set_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let full = database(&folder, Durability::Full);
        let connection = full.open().unwrap();
        for connection in [&connection, &full.join().unwrap()] {
            full.read_back(connection, "synchronous", "2").unwrap();
            full.read_back(connection, "journal_mode", "wal").unwrap();
        }
        connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
        let error = full.read_back(&connection, "synchronous", "2").unwrap_err();
        assert!(matches!(&error, OpenError::Setting { setting: "synchronous", .. }), "{error}");
    }

    #[test]
    fn a_file_that_could_not_be_switched_to_a_write_ahead_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let log = database(&folder, Durability::Full);
        let mut connection = log.connect(OpenFlags::default()).unwrap();
        connection.commit_hook(Some(|| true)).unwrap();
        let error = log.demand_durability(&connection).unwrap_err();
        assert!(matches!(&error, OpenError::Database { .. }), "{error}");
        drop(connection);
        assert!(!log.path.with_extension("db-wal").exists());
        log.open().unwrap();
    }

    #[test]
    fn files_are_their_owners_own() {
        let folder = tempfile::tempdir().unwrap();
        let _connection = database(&folder, Durability::Full).open().unwrap();
        for file in ["log.db", "log.db-wal", "log.db-shm"] {
            let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_reader_keeps_no_server_from_starting_and_what_it_holds_back_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let log = database(&folder, Durability::Full);
        let connection = log.open().unwrap();
        connection.execute("INSERT INTO meta VALUES ('cup', x'01')", []).unwrap();
        let reader = log.read().unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
        connection.execute("INSERT INTO meta VALUES ('pot', x'02')", []).unwrap();
        drop(connection);
        let wal = folder.path().join("log.db-wal");
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&wal).unwrap().set_modified(long_ago).unwrap();
        let again = log.open().unwrap();
        // Written again and synced: the same step does both.
        assert!(std::fs::metadata(&wal).unwrap().modified().unwrap() > long_ago);
        let count = |connection: &Connection| {
            let sql = "SELECT count(*) FROM meta WHERE key IN ('cup', 'pot')";
            connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((count(&again), count(&reader)), (2, 1));
        again.execute("INSERT INTO meta VALUES ('jug', x'03')", []).unwrap();
    }

    #[test]
    fn a_writer_keeps_a_server_from_starting_and_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let log = database(&folder, Durability::Full);
        let writer = log.open().unwrap();
        writer.execute("INSERT INTO meta VALUES ('cup', x'01')", []).unwrap();
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = log.settle(&log.join().unwrap()).unwrap_err();
        assert!(matches!(error, OpenError::Busy { .. }) && error.to_string().contains("sqlite3"), "{error}");
    }

    #[test]
    fn what_is_written_again_is_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db-wal");
        write_again(&path).unwrap();
        assert!(!path.exists());
        for bytes in [0, 1, 256 * 1024, 600_001] {
            let content: Vec<u8> = (0..bytes).map(|place| (place % 251) as u8).collect();
            std::fs::write(&path, &content).unwrap();
            let long_ago = std::time::SystemTime::UNIX_EPOCH;
            File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
            write_again(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), content);
            let is_new = std::fs::metadata(&path).unwrap().modified().unwrap() > long_ago;
            assert_eq!(is_new, bytes > 0);
        }
    }

    #[test]
    fn what_a_killed_process_left_in_the_wal_is_in_the_file_after_opening() {
        let folder = tempfile::tempdir().unwrap();
        let log = database(&folder, Durability::Full);
        let connection = log.open().unwrap();
        connection.execute("INSERT INTO meta VALUES ('cup', x'01')", []).unwrap();
        // A copy of the folder in mid-life is what a kill leaves.
        let copy = tempfile::tempdir().unwrap();
        for file in ["log.db", "log.db-wal"] {
            std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
        }
        assert!(std::fs::metadata(copy.path().join("log.db-wal")).unwrap().len() > 0);
        let reopened = database(&copy, Durability::Full).open().unwrap();
        assert_eq!(std::fs::metadata(copy.path().join("log.db-wal")).unwrap().len(), 0);
        let found = reopened.query_row("SELECT value FROM meta WHERE key = 'cup'", [], |row| row.get(0));
        assert_eq!(found, Ok(vec![1_u8]));
    }
}

//! Backups: a copy of a data folder that is whole as of one moment, made while the server is at work.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::copy::{self, CopyError, file_error, make_folder, remove_left_over, rename};
use crate::database::folder_of;
use crate::lineage::{BACKUP_KEY, now};
use crate::look::Look;

/// A backup that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Backup<'a> {
    /// The data folder.
    pub folder: &'a Path,
    /// The backup's folder, which must not be there yet.
    pub target: &'a Path,
    /// What else of the data folder belongs to it, by name; what is not there is passed over.
    pub files: &'a [&'a str],
}

/// A backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupMade {
    /// Rooms in it.
    pub rooms: u64,
    /// Bytes of its databases.
    pub bytes: u64,
}

impl Backup<'_> {
    /// Makes the backup. It has its name only once all of it is on the disk.
    ///
    /// The log is copied before the directory. Accounts are never removed, so every account that the copied log
    /// names is in the copied directory. The other way round, cursors may be ahead of the copied log; they are of an
    /// epoch that ends with the restore.
    ///
    /// # Errors
    /// [`CopyError`]: there is no backup, and nothing is left of the attempt.
    pub fn make(&self) -> Result<BackupMade, CopyError> {
        if fs::symlink_metadata(self.target).is_ok() {
            return Err(CopyError::Occupied { path: self.target.into() });
        }
        let look = Look::at(self.folder)?;
        for file in ["log.db", "directory.db"] {
            if !look.has(file) {
                return Err(CopyError::NothingThere { folder: self.folder.into(), file });
            }
        }
        copy::demand_space(&look, folder_of(self.target))?;
        let partial = partial(self.target);
        remove_left_over(&partial)?;
        make_folder(&partial)?;
        let made = self.fill(&look, &partial).and_then(|made| {
            if fs::symlink_metadata(self.target).is_ok() {
                return Err(CopyError::Occupied { path: self.target.into() });
            }
            rename(&partial, self.target)?;
            Ok(made)
        });
        if made.is_err() {
            // Best effort: the error that matters is the one before.
            let _ = remove_left_over(&partial);
        }
        made
    }

    fn fill(&self, look: &Look, partial: &Path) -> Result<BackupMade, CopyError> {
        let mut rooms = 0;
        copy::database(look, "log.db", &partial.join("log.db"), |log| {
            rooms = mark_as_backup(log)?;
            Ok(())
        })?;
        copy::database(look, "directory.db", &partial.join("directory.db"), |_| Ok(()))?;
        for file in self.files {
            copy::tree(&look.path(file), &partial.join(file))?;
        }
        let mut bytes = 0;
        for file in ["log.db", "directory.db"] {
            let path = partial.join(file);
            bytes += fs::metadata(&path).map_err(file_error(&path))?.len();
        }
        Ok(BackupMade { rooms, bytes })
    }
}

/// Writes into the copied log that it is one, so that whoever opens it begins new epochs, also when somebody copies it
/// into place by hand.
fn mark_as_backup(log: &Connection) -> rusqlite::Result<u64> {
    let sql =
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    log.execute(sql, rusqlite::params![BACKUP_KEY, now().0.to_string().into_bytes()])?;
    log.query_row("SELECT count(*) FROM rooms", [], |row| crate::rows::uint(row, 0))
}

fn partial(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

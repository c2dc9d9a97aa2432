//! Backups: a copy of a data folder that is whole as of one moment, made while the server is at work.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

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
        let attempt = Attempt::begin(self.target)?;
        let made = self.fill(&look, &attempt.partial).and_then(|made| {
            if fs::symlink_metadata(self.target).is_ok() {
                return Err(CopyError::Occupied { path: self.target.into() });
            }
            attempt.end(self.target)?;
            Ok(made)
        });
        if made.is_err() {
            // Best effort: the error that matters is the one before.
            let _ = remove_left_over(&attempt.partial);
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

/// A backup that is being made, in a folder beside its place; nobody else makes one there meanwhile.
#[derive(Debug)]
struct Attempt {
    partial: PathBuf,
    /// The marker, locked: the folder is ours, and somebody is at work in it.
    _marker: File,
}

/// By this file an unfinished backup is known.
const MARKER: &str = "harkd-backup-unfinished";

impl Attempt {
    /// Makes the folder, or takes the one over that a kill left. Nothing is removed that is not an unfinished backup.
    fn begin(target: &Path) -> Result<Attempt, CopyError> {
        let partial = partial(target);
        match make_folder(&partial) {
            Err(CopyError::File { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                if !is_unfinished(&partial) {
                    return Err(CopyError::Occupied { path: partial });
                }
            }
            made => made?,
        }
        let path = partial.join(MARKER);
        let mut options = OpenOptions::new();
        let marker = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let marker = marker.map_err(file_error(&path))?;
        let locked = flock(&marker, FlockOperation::NonBlockingLockExclusive);
        // Where the file is another one by now, its maker has finished in between.
        let is_here = || io::Result::Ok(fs::metadata(&path)?.ino() == marker.metadata()?.ino());
        match locked {
            Err(Errno::WOULDBLOCK) => return Err(CopyError::Underway { path: target.into() }),
            locked => locked.map_err(|error| file_error(&path)(error.into()))?,
        }
        if !is_here().unwrap_or(false) {
            return Err(CopyError::Underway { path: target.into() });
        }
        remove_all_but_marker(&partial).map_err(file_error(&partial))?;
        Ok(Attempt { partial, _marker: marker })
    }

    /// Gives the backup its name. All of it is on the disk before it has it.
    fn end(&self, target: &Path) -> Result<(), CopyError> {
        let marker = self.partial.join(MARKER);
        fs::remove_file(&marker).map_err(file_error(&marker))?;
        copy::sync(&self.partial)?;
        rename(&self.partial, target)
    }
}

/// Whether a folder is an unfinished backup, or empty: a kill may come before the marker.
fn is_unfinished(partial: &Path) -> bool {
    let is_folder = fs::symlink_metadata(partial).is_ok_and(|found| found.is_dir());
    let is_empty = || fs::read_dir(partial).is_ok_and(|mut entries| entries.next().is_none());
    is_folder && (partial.join(MARKER).exists() || is_empty())
}

fn remove_all_but_marker(partial: &Path) -> io::Result<()> {
    for entry in fs::read_dir(partial)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != MARKER {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The folder beside `target`, also where its path ends in a slash.
fn partial(target: &Path) -> PathBuf {
    let mut name = target.components().collect::<PathBuf>().into_os_string();
    name.push(".partial");
    name.into()
}

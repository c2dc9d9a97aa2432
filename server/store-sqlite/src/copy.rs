//! Copying databases and files, so that a copy is whole and on the disk, or said not to be.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use crate::database::{create_private, switch_journal, sync_folder};
use crate::look::Look;
use crate::{OpenError, Verified};

/// Why a backup, a restore or a verification came to nothing. The text is for the operator.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Something is in the place where the copy should go.
    #[error("{} is there already: choose another place, or move it away", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
    },
    /// Another backup goes there at this moment.
    #[error("a backup into {} is being made by another process: wait for it, or choose another place", path.display())]
    Underway {
        /// The place.
        path: PathBuf,
    },
    /// The folder is not one to be copied.
    #[error("{} holds no {file}: it is neither a data folder nor a backup of one", folder.display())]
    NothingThere {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// The disk has too little room.
    #[error(
        "{} has {free} bytes free and the copy needs {needed}: make room there, or choose another place",
        path.display()
    )]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// The data folder has data.
    #[error(
        "{} holds data: it is left alone unless it is to be moved aside, which --force does",
        folder.display()
    )]
    WouldReplace {
        /// The folder.
        folder: PathBuf,
    },
    /// What should be restored is damaged.
    #[error(
        "the backup is damaged in {} places: `harkd verify` names them, and --accept-damage restores it as it is",
        verified.findings
    )]
    Damaged {
        /// What was found.
        verified: Verified,
    },
    /// A database was written by an older version.
    #[error(
        "{} has schema {found}, older than this version's: verify it with the version that wrote it, or after \
         this one has been started on it",
        path.display()
    )]
    Older {
        /// Which one.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// A folder or a database can not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A database can not be copied.
    #[error("{} can not be copied: {source}", path.display())]
    Database {
        /// Which one.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A file can not be read or written.
    #[error(
        "{} can not be used: {source}; see that it is there, that its disk has room, and that this user may read and \
         write it",
        path.display()
    )]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::File { path, source }
}

/// How long a copy waits for somebody who recovers the database at this moment.
const PAUSE: Duration = Duration::from_millis(20);
/// How often.
const PAUSES_MAX: u32 = 500;

/// Copies a database as of one moment, damaged pages included, into a file of its own that needs no write-ahead log,
/// and lets `change` work on the copy. It is on the disk when this returns.
pub(crate) fn database(
    look: &Look,
    file: &'static str,
    to: &Path,
    change: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
) -> Result<(), CopyError> {
    let source = look.open(file)?;
    create_private(to)?;
    let copied = copy_pages(&source, to, change);
    copied.map_err(|source| CopyError::Database { path: to.into(), source })?;
    let synced = File::open(to).and_then(|file| file.sync_all());
    synced.map_err(file_error(to))
}

fn copy_pages(
    source: &Connection,
    to: &Path,
    change: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags)?;
    {
        let backup = Backup::new(source, &mut target)?;
        let mut pauses = 0;
        // All of it in one step: between two of them others write, and it would begin anew.
        loop {
            match backup.step(-1)? {
                StepResult::Done => break,
                _ if pauses < PAUSES_MAX => std::thread::sleep(PAUSE),
                _ => return Err(busy()),
            }
            pauses += 1;
        }
    }
    target.pragma_update(None, "synchronous", "FULL")?;
    switch_journal(&target, "DELETE")?;
    change(&mut target)?;
    target.close().map_err(|(_, error)| error)
}

fn busy() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, None)
}

/// Copies a file, or a folder with everything in it, with its permissions; nothing happens where there is none.
pub(crate) fn tree(from: &Path, to: &Path) -> Result<(), CopyError> {
    branch(from, to, DEPTH_MAX)
}

/// A link may lead to a folder that it lies in.
const DEPTH_MAX: u32 = 16;

fn branch(from: &Path, to: &Path, depth: u32) -> Result<(), CopyError> {
    match fs::symlink_metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error(from)(error)),
        Ok(_) => {}
    }
    // A link's target, so that the copy stands on its own.
    if fs::metadata(from).map_err(file_error(from))?.is_dir() {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(file_error(from)(io::Error::other("folders lie too deep in each other")));
        };
        make_folder(to)?;
        for entry in fs::read_dir(from).map_err(file_error(from))? {
            let name = entry.map_err(file_error(from))?.file_name();
            branch(&from.join(&name), &to.join(&name), depth)?;
        }
        return sync(to).and_then(|()| sync_folder(to).map_err(file_error(to)));
    }
    fs::copy(from, to).map_err(file_error(from))?;
    File::open(to).and_then(|file| file.sync_all()).and_then(|()| sync_folder(to)).map_err(file_error(to))
}

/// Makes the names in a folder as durable as what they name.
pub(crate) fn sync(folder: &Path) -> Result<(), CopyError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error(folder))
}

/// Makes a folder that only its owner can look into.
pub(crate) fn make_folder(path: &Path) -> Result<(), CopyError> {
    DirBuilder::new().mode(0o700).create(path).map_err(file_error(path))
}

/// Removes a folder that an attempt left; one that is not there is passed over.
pub(crate) fn remove_left_over(path: &Path) -> Result<(), CopyError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        _ => Ok(()),
    }
}

/// Moves a file or folder; both names are as durable as the content when the folders have been synced.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), CopyError> {
    fs::rename(from, to).map_err(file_error(from))?;
    sync_folder(to).map_err(file_error(to))
}

/// Fails early, and says how much is missing, if the databases will not fit where they go.
pub(crate) fn demand_space(look: &Look, place: &Path) -> Result<(), CopyError> {
    let mut needed = 0;
    for file in ["log.db", "directory.db"] {
        let path = look.path(file);
        let connection = look.open(file)?;
        let sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        let bytes = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let bytes = bytes.map_err(|source| CopyError::Database { path, source })?;
        needed += bytes.cast_unsigned();
    }
    let found = rustix::fs::statvfs(place).map_err(|error| file_error(place)(error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    // Beside the databases there are a few small files.
    let needed = needed.saturating_add(1024 * 1024);
    match needed > free {
        true => Err(CopyError::NoSpace { path: place.into(), free, needed }),
        false => Ok(()),
    }
}

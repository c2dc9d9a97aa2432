//! The lock on a data folder: one server at a time, for as long as any part of the store lives.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::OpenError;

const FILE: &str = "lock";

/// Holds the folder. The system gives it back when the process ends, however it ends; the file stays.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes a folder in which a server has been, or says who has it; `None` for one that has no lock.
    pub(crate) fn take_existing(folder: &Path) -> Result<Option<FolderLock>, OpenError> {
        if folder.join(FILE).exists() { FolderLock::take(folder).map(Some) } else { Ok(None) }
    }

    /// Takes the folder, or says who has it.
    pub(crate) fn take(folder: &Path) -> Result<FolderLock, OpenError> {
        let path = folder.join(FILE);
        let fail = |source: io::Error| OpenError::File { path: path.clone(), source };
        // Not truncated: while it is another server's, it holds that server's process id.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let process = io::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
                return Err(OpenError::InUse { folder: folder.into(), process });
            }
            Err(error) => return Err(fail(error.into())),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(fail)?;
        Ok(FolderLock { _file: file })
    }
}

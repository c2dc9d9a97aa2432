//! How a data folder is opened: everything has a default, and a server needs nothing else.

use std::path::Path;

use crate::keeper::Housekeeping;
use crate::log::Bounds;
use crate::{OpenError, SqliteStores};

/// How a data folder is opened. None of this changes what is promised: every choice syncs before it answers.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let stores = hark_store_sqlite::Options::new().readers(1).open(folder.path())?;
/// # drop(stores);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) vfs: Option<String>,
    pub(crate) readers: usize,
    pub(crate) bounds: Bounds,
    pub(crate) housekeeping: Housekeeping,
}

impl Options {
    /// What [`SqliteStores::open`] uses.
    pub fn new() -> Options {
        let housekeeping = Housekeeping::default();
        Options { vfs: None, readers: READERS, bounds: Bounds::DEFAULT, housekeeping }
    }

    /// Opens the databases through the SQLite VFS that is registered under this name, instead of the default one;
    /// opening fails if there is none. The folder itself, its lock and the making of new files stay the system's.
    #[must_use]
    pub fn vfs(mut self, name: &str) -> Options {
        self.vfs = Some(name.to_owned());
        self
    }

    /// How many connections read the log; at least one. By default 4.
    #[must_use]
    pub fn readers(mut self, connections: usize) -> Options {
        self.readers = connections.max(1);
        self
    }

    /// By how many pages the log's write-ahead log grows between checkpoints (by default 1,024), and at how many
    /// the writer waits for the checkpoint (16,384). Smaller numbers do more work behind the log.
    #[must_use]
    pub fn checkpoints(mut self, every_pages: i32, pages_max: i32) -> Options {
        (self.bounds.checkpoint_pages, self.bounds.wal_pages_max) = (every_pages.max(1), pages_max.max(1));
        self
    }

    /// How many unindexed events wake the indexer; at least one. By default 4,096.
    #[must_use]
    pub fn index_batch(mut self, events: usize) -> Options {
        self.bounds.index_batch = events.max(1);
        self
    }

    /// Who indexes and checkpoints behind the log; a thread by default.
    #[must_use]
    pub fn housekeeping(mut self, housekeeping: Housekeeping) -> Options {
        self.housekeeping = housekeeping;
        self
    }

    /// Opens the stores in `folder`; see [`SqliteStores::open`].
    ///
    /// # Errors
    /// [`OpenError`]: nothing is running, and what was on the disk is still there.
    pub fn open(&self, folder: &Path) -> Result<SqliteStores, OpenError> {
        SqliteStores::open_with(folder, self)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

/// Connections for reading the log.
const READERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vfs_that_nobody_registered_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Options::new().vfs("no-such-vfs").open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, OpenError::Database { .. }) && error.to_string().contains("no-such-vfs"),
            "{error}"
        );
        Options::new().vfs("unix").readers(0).open(folder.path()).unwrap();
    }
}

//! How long a write-ahead log has grown, so that it is checkpointed when we say and its errors reach us.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::Connection;

/// By so many pages a write-ahead log grows between checkpoints: 4 MiB.
pub(crate) const CHECKPOINT_PAGES: i32 = 1_024;

/// Watches the commits of one connection.
#[derive(Debug)]
pub(crate) struct WalMeter {
    /// Pages in the write-ahead log after the last commit, as SQLite says.
    pages: Arc<AtomicI32>,
    /// How many they were when the last checkpoint was due.
    due_at: i32,
}

impl WalMeter {
    /// Begins to watch, and turns SQLite's own checkpoints off: they run inside a commit, and keep a failed sync
    /// to themselves.
    pub(crate) fn watch(connection: &mut Connection) -> rusqlite::Result<WalMeter> {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let pages = Arc::<AtomicI32>::default();
        let count = pages.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            count.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(WalMeter { pages, due_at: 0 })
    }

    /// The number of pages, if they have become `step` more since this last said so.
    pub(crate) fn due(&mut self, step: i32) -> Option<i32> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.due_at {
            // It has begun again from its start.
            self.due_at = 0;
        }
        let due = pages >= self.due_at.saturating_add(step);
        due.then(|| {
            self.due_at = pages;
            pages
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, Durability, WalAtClose, checkpoint};
    use crate::migrations::LOG;

    #[test]
    fn a_checkpoint_is_due_by_growth() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let (durability, wal_at_close) = (Durability::Full, WalAtClose::Kept);
        let database = Database { path, vfs: None, durability, wal_at_close, schema: LOG };
        let mut connection = database.open().unwrap();
        let mut meter = WalMeter::watch(&mut connection).unwrap();
        let fill = |pages: i64| {
            let sql = "INSERT INTO meta VALUES (hex(randomblob(8)), randomblob(?1))";
            connection.execute(sql, [pages * 4_096]).unwrap();
        };
        assert_eq!(meter.due(10), None);
        fill(12);
        assert!(meter.due(10).is_some_and(|pages| pages >= 12));
        assert_eq!(meter.due(10), None);
        fill(12);
        assert!(meter.due(10).is_some_and(|pages| pages >= 24));
        assert!(checkpoint(&connection, "PASSIVE").unwrap());
        fill(2);
        assert_eq!(meter.due(10), None, "it has begun again");
        fill(12);
        assert!(meter.due(10).is_some_and(|pages| pages < 24));
    }
}

//! The one writer: a group of drafts, one transaction, one sync.

use std::sync::Arc;

use hark_core::ports::{Draft, Expiry, LogStore, Outcome, Removal, Sealed, StoreError};
use hark_protocol::{Retention, RoomId, UnixMillis};
use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};

use crate::database::checkpoint;
use crate::decide::{Decision, Group};
use crate::error::Fault;
use crate::index::{Indexer, Shared};
use crate::keeper::{Chores, Keeper};
use crate::lock::FolderLock;
use crate::places::Places;
use crate::reader::Lane;
use crate::wal::{CHECKPOINT_PAGES, WalMeter};

/// Bounds of what the writer leaves to be done behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Events that are not indexed yet; at the limit an append waits for the indexer. A start after a crash
    /// catches up with as many, which takes less than a second.
    pub(crate) unindexed_max: usize,
    /// So many unindexed events wake the indexer. In bulk it writes each of the index's pages once for many rows.
    pub(crate) index_batch: usize,
    /// By so many pages the write-ahead log grows between checkpoints.
    pub(crate) checkpoint_pages: i32,
    /// At so many pages the writer finishes the checkpoint itself, because under a steady load the write-ahead log
    /// never has the moment of rest in which it can begin again from its start: 64 MiB.
    pub(crate) wal_pages_max: i32,
}

impl Bounds {
    pub(crate) const DEFAULT: Bounds = Bounds {
        unindexed_max: 65_536,
        index_batch: 4_096,
        checkpoint_pages: CHECKPOINT_PAGES,
        wal_pages_max: 16_384,
    };
}

/// The one writer of the log.
#[derive(Debug)]
pub struct SqliteLog {
    // Dropped first: the keeper uses what stands below.
    keeper: Keeper,
    parts: Parts,
    bounds: Bounds,
    meter: WalMeter,
    /// From so many pages on the writer finishes the checkpoint.
    finish_at: i32,
    _lock: Arc<FolderLock>,
}

/// What a writer is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) log: Connection,
    /// For reading what was committed before. Apart from `log`, because one damaged page that a transaction has
    /// seen would keep it from committing.
    pub(crate) past: Lane,
    pub(crate) indexer: Arc<Mutex<Indexer>>,
    pub(crate) checkpointer: Arc<Mutex<Connection>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) places: Places,
}

impl LogStore for SqliteLog {
    fn append(&mut self, now: UnixMillis, drafts: Vec<Draft>) -> Result<Vec<Outcome>, StoreError> {
        let shared = self.parts.shared.clone();
        shared.health.check()?;
        let appended = self.make_way(drafts.len()).and_then(|()| self.parts.group(now, drafts));
        // A sync of the same file that failed meanwhile, for a checkpoint, may have lost what this one thinks it
        // has synced.
        shared.health.check()?;
        self.leave_chores(now);
        appended.map_err(|fault| {
            // What the cache holds of a group that failed never happened.
            self.parts.places.forget_all();
            shared.health.judge(fault)
        })
    }

    fn expire(&mut self, now: UnixMillis, server: Retention, after: RoomId) -> Result<Expiry, StoreError> {
        self.tend(now, |parts| parts.expire(now, server, after))
    }

    fn remove_expired(&mut self, now: UnixMillis, events_max: usize) -> Result<Removal, StoreError> {
        let removal = self.tend(now, |parts| parts.remove_expired(now, events_max))?;
        if removal.events > 0 {
            self.keeper.ring(Chores { index: true, ..Chores::NONE });
        }
        Ok(removal)
    }
}

impl SqliteLog {
    pub(crate) fn new(
        mut parts: Parts,
        keeper: Keeper,
        bounds: Bounds,
        lock: Arc<FolderLock>,
    ) -> rusqlite::Result<SqliteLog> {
        let meter = WalMeter::watch(&mut parts.log)?;
        Ok(SqliteLog { keeper, parts, bounds, meter, finish_at: bounds.wal_pages_max, _lock: lock })
    }

    /// Does something beside appending, that has changed nothing if it fails.
    fn tend<T>(
        &mut self,
        now: UnixMillis,
        work: impl FnOnce(&mut Parts) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let shared = self.parts.shared.clone();
        shared.health.check()?;
        let done = self.parts.roll_back().and_then(|()| work(&mut self.parts));
        self.leave_chores(now);
        done.map_err(|fault| {
            self.parts.places.forget_all();
            shared.health.judge(fault)
        })
    }

    /// Waits until as many more events can be left unindexed.
    fn make_way(&mut self, drafts: usize) -> Result<(), Fault> {
        let shared = &self.parts.shared;
        if shared.tail.read().len().saturating_add(drafts) <= self.bounds.unindexed_max {
            return Ok(());
        }
        let caught_up = self.parts.indexer.lock().catch_up(shared);
        if let Err(fault @ Fault::Index(_)) = &caught_up {
            // Every later append would fail like this one, until a start builds the index again.
            shared.health.end(format!("{fault}; the next start builds it again"));
        }
        caught_up
    }

    /// Rings for what the group left to be done, if it is enough to be worth it.
    fn leave_chores(&mut self, now: UnixMillis) {
        let due = self.meter.due(self.bounds.checkpoint_pages);
        if let Some(pages) = due {
            self.finish_checkpoint(pages);
        }
        let index = self.parts.shared.tail.read().len() >= self.bounds.index_batch;
        let (checkpoint, note) = (due.is_some(), self.keeper.owes_mark(now));
        let chores = Chores { index, checkpoint, note, ..Chores::NONE };
        if chores.any() {
            self.keeper.ring(chores);
        }
    }

    /// If the write-ahead log is long, waits for the keeper's checkpoint, if one is running, and moves what it has
    /// left, which is little. Then the next group begins the write-ahead log again from its start, unless a reader is
    /// in the middle of it; in that case this is tried again when it has become longer by a quarter: what a try costs
    /// grows with the length, and a backup may read for an hour.
    fn finish_checkpoint(&mut self, pages: i32) {
        if pages < self.bounds.wal_pages_max {
            self.finish_at = self.bounds.wal_pages_max;
        }
        if pages < self.finish_at {
            return;
        }
        self.finish_at = pages.saturating_add(pages / 4);
        if let Err(error) = checkpoint(&self.parts.checkpointer.lock(), "PASSIVE") {
            let error = self.parts.shared.health.judge(error);
            tracing::warn!(%error, "the write-ahead log is long, and could not be checkpointed");
        }
    }
}

impl Parts {
    /// Ends what an earlier roll-back, which failed too, has left open.
    fn roll_back(&self) -> Result<(), Fault> {
        if !self.log.is_autocommit() {
            self.log.execute_batch("ROLLBACK")?;
        }
        Ok(())
    }

    /// Decides, writes and commits; after an error nothing has changed on the disk or in the tail.
    fn group(&mut self, now: UnixMillis, drafts: Vec<Draft>) -> Result<Vec<Outcome>, Fault> {
        self.roll_back()?;
        self.places.make_way();
        let transaction = self.log.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut group = Group::new(&transaction, &mut self.places, &self.past, &self.shared, now);
        let decisions: Vec<Decision> =
            drafts.into_iter().map(|draft| group.decide(draft)).collect::<Result<_, _>>()?;
        let entries = group.finish()?;
        self.shared.tail.write().push(&entries);
        if let Err(error) = transaction.commit() {
            self.shared.tail.write().take_back(&entries);
            return Err(error.into());
        }
        Ok(decisions.into_iter().map(outcome).collect())
    }
}

/// What a decision has become now that its transaction is on the disk.
fn outcome(decision: Decision) -> Outcome {
    match decision {
        Decision::Events(sealed) => Outcome::Appended(sealed.into_iter().map(Sealed::committed).collect()),
        Decision::Nothing(outcome) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use hark_core::ports::{Budget, LogReader, Span};
    use hark_core::testkit::drafts::{create, message, new_room};
    use hark_protocol::{RoomId, Seq, Visibility};

    use super::*;
    use crate::{Housekeeping, Options, SqliteStores};

    const NOW: UnixMillis = UnixMillis(1);

    fn opened(folder: &tempfile::TempDir, bounds: Bounds) -> SqliteStores {
        SqliteStores::open_with(folder.path(), &Options { bounds, ..Options::new() }).unwrap()
    }

    fn stores(bounds: Bounds) -> (SqliteStores, RoomId, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut stores = opened(&folder, bounds);
        let outcomes =
            stores.log.append(NOW, vec![create(new_room("tea", Visibility::PUBLIC, &[1]), 1)]).unwrap();
        let Outcome::Appended(joins) = &outcomes[0] else { panic!("{outcomes:?}") };
        let room = joins[0].position().room;
        (stores, room, folder)
    }

    fn seqs(stores: &SqliteStores, room: RoomId) -> Vec<u64> {
        let budget = Budget { events: usize::MAX, bytes: usize::MAX };
        let found = stores.reader.read(room, Span::From(Seq(1)), budget).unwrap();
        assert!(found.iter().all(|stored| matches!(stored, hark_core::ports::Stored::Event { .. })));
        found.iter().map(|stored| stored.seq().0).collect()
    }

    #[test]
    fn a_group_that_fails_has_changed_nothing() {
        let (mut stores, room, _folder) = stores(Bounds::DEFAULT);
        let pages = |stores: &SqliteStores, max: i64| {
            let log = &stores.log.parts.log;
            log.pragma_update_and_check(None, "max_page_count", max, |_| Ok(())).unwrap();
        };
        let count = stores.log.parts.log.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        pages(&stores, count);
        let group = || {
            let big = "x".repeat(100_000);
            vec![
                message(room, 1, 2, "small"),
                create(new_room("coffee", Visibility::PUBLIC, &[1]), 1),
                message(room, 1, 3, &big),
            ]
        };
        for _ in 0..2 {
            let error = stores.log.append(NOW, group()).unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            assert_eq!(stores.log.parts.shared.tail.read().len(), 1);
            assert_eq!(seqs(&stores, room), [1]);
        }
        pages(&stores, i64::from(i32::MAX));
        let outcomes = stores.log.append(NOW, group()).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{outcomes:?}");
        assert_eq!(seqs(&stores, room), [1, 2, 3]);
    }

    #[test]
    fn a_failed_commit_takes_its_positions_back() {
        let (mut stores, room, _folder) = stores(Bounds::DEFAULT);
        // A constraint that is checked when the transaction commits, and not before.
        let log = &stores.log.parts.log;
        log.execute_batch(
            "CREATE TABLE cups (id INTEGER PRIMARY KEY REFERENCES rooms (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER spill AFTER INSERT ON log WHEN length(new.frame) > 1000
             BEGIN INSERT INTO cups VALUES (-1); END;",
        )
        .unwrap();
        let big = message(room, 1, 2, &"x".repeat(2_000));
        let error = stores.log.append(NOW, vec![message(room, 1, 3, "small"), big]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        assert_eq!(stores.log.parts.shared.tail.read().len(), 1);
        stores.log.append(NOW, vec![message(room, 1, 2, "small"), message(room, 1, 3, "small")]).unwrap();
        assert_eq!(seqs(&stores, room), [1, 2, 3]);
    }

    #[test]
    fn nothing_is_appended_after_a_failed_sync() {
        let (mut stores, room, _folder) = stores(Bounds::DEFAULT);
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        stores.log.parts.shared.health.judge(rusqlite::Error::SqliteFailure(code, None));
        let error = stores.log.append(NOW, vec![message(room, 1, 2, "cup")]).unwrap_err();
        assert!(matches!(error, StoreError::Fatal(_)));
        assert!(matches!(stores.reader.room(room), Err(StoreError::Fatal(_))));
    }

    #[test]
    fn a_store_that_can_not_end_well_costs_no_epoch() {
        let (mut stores, room, folder) = stores(Bounds::DEFAULT);
        let before = stores.reader.room(room).unwrap().unwrap();
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        stores.log.parts.shared.health.judge(rusqlite::Error::SqliteFailure(code, None));
        stores.log.append(NOW, vec![message(room, 1, 2, "cup")]).unwrap_err();
        drop(stores);
        let stores = opened(&folder, Bounds::DEFAULT);
        assert_eq!(stores.reader.condition().epoch_change, None);
        assert_eq!(stores.reader.room(room).unwrap().unwrap(), before);
    }

    #[test]
    fn unindexed_events_are_bounded() {
        let bounds = Bounds { unindexed_max: 10, index_batch: usize::MAX, ..Bounds::DEFAULT };
        let (mut stores, room, _folder) = stores(bounds);
        for number in 0..40 {
            stores
                .log
                .append(NOW, (2..5).map(|one| message(room, 1, number * 3 + one, "cup")).collect())
                .unwrap();
            assert!(stores.log.parts.shared.tail.read().len() <= 10);
        }
        assert!(seqs(&stores, room).into_iter().eq(1..=121));
    }

    #[test]
    fn a_damaged_index_ends_the_store_and_the_next_start_builds_it() {
        let (mut stores, room, folder) = stores(Bounds::DEFAULT);
        stores.log.append(NOW, (2..=3_000).map(|number| message(room, 1, number, "cup")).collect()).unwrap();
        drop(stores);
        let path = folder.path().join("index.db");
        let mut bytes = std::fs::read(&path).unwrap();
        // Behind the two tables' first pages: opening finds nothing wrong.
        bytes[3 * 4_096..].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let bounds = Bounds { unindexed_max: 10, index_batch: usize::MAX, ..Bounds::DEFAULT };
        let mut stores = opened(&folder, bounds);
        // For as long as it is not needed, the log goes on without it.
        for number in 3_001..=3_010 {
            stores.log.append(NOW, vec![message(room, 1, number, "cup")]).unwrap();
        }
        for _ in 0..2 {
            let error = stores.log.append(NOW, vec![message(room, 1, 3_011, "cup")]).unwrap_err();
            assert!(matches!(&error, StoreError::Fatal(what) if what.contains("index.db")), "{error}");
        }
        drop(stores);
        let mut stores = opened(&folder, bounds);
        stores.log.append(NOW, vec![message(room, 1, 3_011, "cup")]).unwrap();
        assert!(seqs(&stores, room).into_iter().eq(1..=3_011));
    }

    #[test]
    fn events_are_found_while_they_move_into_the_index() {
        let bounds = Bounds { index_batch: 2, ..Bounds::DEFAULT };
        let (mut stores, room, _folder) = stores(bounds);
        for number in 2..300 {
            stores.log.append(NOW, vec![message(room, 1, number, "cup")]).unwrap();
            assert!(seqs(&stores, room).into_iter().eq(1..=number));
        }
    }

    #[test]
    fn a_house_kept_in_place_is_indexed_when_it_is_due_and_caught_up_with_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new().housekeeping(Housekeeping::Inline).index_batch(10);
        let mut stores = options.open(folder.path()).unwrap();
        let outcomes =
            stores.log.append(NOW, vec![create(new_room("tea", Visibility::PUBLIC, &[1]), 1)]).unwrap();
        let Outcome::Appended(joins) = &outcomes[0] else { panic!("{outcomes:?}") };
        let room = joins[0].position().room;
        let unindexed = |stores: &SqliteStores| stores.log.parts.shared.tail.read().len();
        for number in 2..=25 {
            stores.log.append(NOW, vec![message(room, 1, number, "cup")]).unwrap();
            assert_eq!(unindexed(&stores), usize::try_from(number % 10).unwrap());
        }
        drop(stores);
        let stores = options.open(folder.path()).unwrap();
        assert_eq!(unindexed(&stores), 0);
        assert!(seqs(&stores, room).into_iter().eq(1..=25));
    }

    #[test]
    fn a_reader_that_stays_costs_the_writer_few_checkpoints() {
        let bounds = Bounds { checkpoint_pages: 10, wal_pages_max: 50, ..Bounds::DEFAULT };
        let (mut stores, room, folder) = stores(bounds);
        let reader = Connection::open(folder.path().join("log.db")).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM rooms").unwrap();
        let body = "x".repeat(20_000);
        let mut tries = std::collections::BTreeSet::new();
        for number in 2..200 {
            stores.log.append(NOW, vec![message(room, 1, number, &body)]).unwrap();
            tries.insert(stores.log.finish_at);
        }
        // More than 1,000 pages, of which every tenth could have been one.
        assert!((5..=20).contains(&tries.len()), "{tries:?}");
        drop(reader);
        // Once nobody reads, it begins again from its start.
        for number in 200..600 {
            stores.log.append(NOW, vec![message(room, 1, number, &body)]).unwrap();
        }
        assert_eq!(stores.log.finish_at / 100, 0, "{}", stores.log.finish_at);
        assert_eq!(seqs(&stores, room).len(), 599);
    }

    #[test]
    fn the_write_ahead_log_is_bounded() {
        let bounds = Bounds { checkpoint_pages: 50, wal_pages_max: 200, ..Bounds::DEFAULT };
        let (mut stores, room, folder) = stores(bounds);
        let body = "x".repeat(20_000);
        let mut longest = 0;
        for number in 2..600 {
            stores.log.append(NOW, vec![message(room, 1, number, &body)]).unwrap();
            longest = longest.max(std::fs::metadata(folder.path().join("log.db-wal")).unwrap().len());
        }
        // Without checkpoints it would have more than 12 MB.
        assert!(longest < 2 * 1024 * 1024, "{longest}");
        assert_eq!(seqs(&stores, room).len(), 599);
    }
}

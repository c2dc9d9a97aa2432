//! The index: (room, seq) to position, in a file of its own, built in bulk behind the log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use hark_core::ports::{Condition, EpochChange};
use hark_protocol::{RoomId, Seq};
use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::OpenError;
use crate::database::{Database, remove_if_there};
use crate::error::{Fault, Health, is_damage};
use crate::rows::ordinal;
use crate::tail::Tail;

/// Rows that one round of indexing takes.
const ROUND_ROWS: usize = 16_384;

/// An operator's log is not to be filled by a peer that reads the same damaged event again and again.
const REPORTS_MAX: usize = 1_024;

/// What the writer, the readers and the indexer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tail: RwLock<Tail>,
    pub(crate) health: Health,
    reported: Mutex<Vec<(RoomId, Seq)>>,
    pub(crate) epoch_change: OnceLock<EpochChange>,
    /// Rooms in which events before a seq have been removed, and the index does not know yet.
    pub(crate) trims: Mutex<BTreeMap<RoomId, Seq>>,
    /// While this file exists, the index is not trusted: the next start builds it again.
    distrust: PathBuf,
}

impl Shared {
    pub(crate) fn new(distrust: PathBuf) -> Shared {
        let (tail, health, reported, epoch_change, trims) = Default::default();
        Shared { tail, health, reported, epoch_change, trims, distrust }
    }

    /// What has been found out about the store.
    pub(crate) fn condition(&self) -> Condition {
        Condition {
            damaged_records: self.reported.lock().len() as u64,
            epoch_change: self.epoch_change.get().copied(),
        }
    }

    /// Tells the operator, once, of an event that can not be read.
    pub(crate) fn report(&self, room: RoomId, seq: Seq) {
        let mut reported = self.reported.lock();
        if reported.len() < REPORTS_MAX && !reported.contains(&(room, seq)) {
            reported.push((room, seq));
            tracing::error!(
                room = room.0,
                seq = seq.0,
                "a stored event is damaged; its room goes on without it"
            );
        }
    }

    /// Passes a fault of the index on; if the file is damaged, has it built again at the next start.
    pub(crate) fn index_fault(&self, error: rusqlite::Error) -> Fault {
        if !is_damage(&error) {
            return error.into();
        }
        if !self.distrust.exists() {
            tracing::error!(%error, "index.db is damaged; it is built again when the server starts");
            if let Err(error) = std::fs::write(&self.distrust, "") {
                tracing::error!(%error, "this could not be noted: remove index.db before the next start");
            }
        }
        Fault::Index(error)
    }
}

/// Opens the index of this log, which reaches up to `last`; one that is missing, damaged, of another log or of
/// another version is made anew, empty.
pub(crate) fn open(
    database: &Database,
    shared: &Shared,
    log: &[u8],
    last: i64,
) -> Result<(Connection, i64), OpenError> {
    if !shared.distrust.exists() {
        match open_existing(database, log) {
            Ok((connection, indexed)) if indexed <= last => return Ok((connection, indexed)),
            Ok(_) => {
                tracing::warn!("index.db is of another log or ahead of it, and is built again");
            }
            Err(error) if can_be_built_again(&error) => {
                tracing::warn!(%error, "index.db is built again");
            }
            Err(error) => return Err(error),
        }
    }
    database.remove()?;
    let opened = open_existing(database, log)?;
    remove_if_there(&shared.distrust)?;
    Ok(opened)
}

/// Up to where the index that is there reaches, if it can be read and is this log's. Looking takes nothing away: an
/// index that is ahead of its log says that the log has been put back, and is the only one to say so.
pub(crate) fn reaches(database: &Database, shared: &Shared, log: &[u8]) -> Result<Option<i64>, OpenError> {
    if shared.distrust.exists() || !database.path.exists() {
        return Ok(None);
    }
    let reach = |index: Connection| {
        let reach = reach(&index, log);
        reach.map_err(|source| OpenError::Database { path: database.path.clone(), source })
    };
    // Not for reading only: a cut may have left what only a writer can recover.
    match database.open().and_then(reach) {
        Err(error) if can_be_built_again(&error) => Ok(None),
        found => found,
    }
}

fn reach(index: &Connection, log: &[u8]) -> rusqlite::Result<Option<i64>> {
    let of_this_log = "SELECT position FROM progress WHERE log = ?1";
    index.query_row(of_this_log, params![log], |row| row.get(0)).optional()
}

fn can_be_built_again(error: &OpenError) -> bool {
    match error {
        OpenError::Newer { .. } | OpenError::Foreign { .. } => true,
        // Unknown: a table that is not there, or not as it should be.
        OpenError::Database { source, .. } => {
            is_damage(source) || matches!(source.sqlite_error_code(), None | Some(ErrorCode::Unknown))
        }
        _ => false,
    }
}

/// Where the index of another log reaches.
const OF_ANOTHER_LOG: i64 = i64::MAX;

/// The index and up to where it reaches.
fn open_existing(database: &Database, log: &[u8]) -> Result<(Connection, i64), OpenError> {
    let connection = database.open()?;
    match progress(&connection, log) {
        Ok(indexed) => Ok((connection, indexed)),
        Err(source) => Err(OpenError::Database { path: database.path.clone(), source }),
    }
}

fn progress(connection: &Connection, log: &[u8]) -> rusqlite::Result<i64> {
    connection.execute("INSERT INTO progress VALUES (1, ?1, 0) ON CONFLICT DO NOTHING", params![log])?;
    Ok(reach(connection, log)?.unwrap_or(OF_ANOTHER_LOG))
}

/// Copies positions from the log into the index, and only then forgets them in the tail.
#[derive(Debug)]
pub(crate) struct Indexer {
    log: Connection,
    index: Connection,
    indexed: i64,
}

impl Indexer {
    /// An indexer that goes on behind position `indexed`.
    pub(crate) fn new(log: Connection, (index, indexed): (Connection, i64)) -> Indexer {
        Indexer { log, index, indexed }
    }

    /// Indexes until the log has nothing more.
    pub(crate) fn catch_up(&mut self, shared: &Shared) -> Result<(), Fault> {
        while self.round(shared)? == ROUND_ROWS {}
        Ok(())
    }

    /// Forgets where removed events stood. What a crash leaves here goes with the next events of its room.
    pub(crate) fn trim(&self, shared: &Shared) -> Result<(), Fault> {
        let trims = std::mem::take(&mut *shared.trims.lock());
        for (room, seq) in trims {
            let mut delete = self.index.prepare_cached("DELETE FROM entries WHERE room = ?1 AND seq < ?2")?;
            let deleted = delete.execute(params![ordinal(room.0), ordinal(seq.0)]);
            deleted.map_err(|error| shared.index_fault(error))?;
        }
        Ok(())
    }

    /// Indexes the next rows and says how many they were.
    fn round(&mut self, shared: &Shared) -> Result<usize, Fault> {
        let mut entries = self.next_entries()?;
        let Some(&(last, ..)) = entries.last() else { return Ok(0) };
        // By room and seq, so that neighbours in the index are written together.
        // Where two rows have one seq, the later one is the room's.
        entries.sort_unstable_by_key(|(position, room, seq)| (*room, *seq, *position));
        self.write(&entries, last).map_err(|error| shared.index_fault(error))?;
        self.indexed = last;
        shared.tail.write().forget_up_to(last);
        Ok(entries.len())
    }

    /// Position, room and seq of what comes next in the log. What is not committed is not seen here.
    fn next_entries(&self) -> rusqlite::Result<Vec<(i64, i64, i64)>> {
        let mut next = self.log.prepare_cached(
            "SELECT position, room, seq FROM log WHERE position > ?1 ORDER BY position LIMIT ?2",
        )?;
        let rows = next.query_map(params![self.indexed, crate::rows::limit(ROUND_ROWS)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        rows.collect()
    }

    fn write(&mut self, entries: &[(i64, i64, i64)], last: i64) -> rusqlite::Result<()> {
        let transaction = self.index.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO entries (room, seq, position) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET position = excluded.position",
            )?;
            for (position, room, seq) in entries {
                insert.execute(params![room, seq, position])?;
            }
            transaction.prepare_cached("UPDATE progress SET position = ?1")?.execute(params![last])?;
        }
        transaction.commit()
    }
}

/// The positions of the seqs from `first` to `last` of a room, in order; `None` where nobody knows one.
pub(crate) fn positions(
    shared: &Shared,
    index: &Connection,
    room: RoomId,
    (first, last): (u64, u64),
) -> Result<Vec<Option<i64>>, Fault> {
    // The tail before the index: what the indexer moves from here to there in between is found there.
    let mut found: Vec<Option<i64>> = {
        let tail = shared.tail.read();
        (first..=last).map(|seq| tail.position(room, Seq(seq))).collect()
    };
    if found.contains(&None) {
        fill_from_index(index, room, (first, last), &mut found).map_err(|error| shared.index_fault(error))?;
    }
    Ok(found)
}

fn fill_from_index(
    index: &Connection,
    room: RoomId,
    (first, last): (u64, u64),
    found: &mut [Option<i64>],
) -> rusqlite::Result<()> {
    let mut entries = index
        .prepare_cached("SELECT seq, position FROM entries WHERE room = ?1 AND seq BETWEEN ?2 AND ?3")?;
    let mut rows = entries.query(params![ordinal(room.0), ordinal(first), ordinal(last)])?;
    while let Some(row) = rows.next()? {
        let place = row.get::<_, i64>(0)?.saturating_sub(ordinal(first));
        if let Some(slot) = usize::try_from(place).ok().and_then(|place| found.get_mut(place)) {
            slot.get_or_insert(row.get(1)?);
        }
    }
    Ok(())
}

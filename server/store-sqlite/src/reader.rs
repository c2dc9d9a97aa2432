//! The readers: a few connections for reading, each used by one thread at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hark_core::ports::{
    Budget, Condition, LogReader, MemberRow, RoomListing, RoomQuery, RoomRecord, Span, StoreError, Stored,
};
use hark_protocol::{AccountId, RoomId, RoomName, RoomRole, Seq};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, Params, Row, params};

use crate::error::Fault;
use crate::index::{Shared, positions};
use crate::lock::FolderLock;
use crate::rows::{self, ROOM, ROOM_COLUMNS, int, limit, ordinal, record, uint};

/// Positions that are looked up at once.
const CHUNK_EVENTS: u64 = 256;

/// Readers of the log, for several threads.
#[derive(Debug)]
pub struct SqliteReader {
    lanes: Vec<Mutex<Lane>>,
    next: AtomicUsize,
    shared: Arc<Shared>,
    _lock: Arc<FolderLock>,
}

/// One reader's connections.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) log: Connection,
    pub(crate) index: Connection,
}

impl SqliteReader {
    pub(crate) fn new(lanes: Vec<Lane>, shared: Arc<Shared>, lock: Arc<FolderLock>) -> SqliteReader {
        let lanes = lanes.into_iter().map(Mutex::new).collect();
        SqliteReader { lanes, next: AtomicUsize::new(0), shared, _lock: lock }
    }

    /// A lane that is free, or the next one's turn.
    fn lane(&self) -> MutexGuard<'_, Lane> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut turns =
            (0..self.lanes.len()).map(|turn| &self.lanes[(start.wrapping_add(turn)) % self.lanes.len()]);
        let free = turns.find_map(Mutex::try_lock);
        free.unwrap_or_else(|| self.lanes[start % self.lanes.len()].lock())
    }

    /// Runs a read as of one moment.
    fn read_at_once<T>(
        &self,
        read: impl FnOnce(&Connection, &Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.shared.health.check()?;
        let lane = self.lane();
        // Rolled back and not committed: after it has seen a damaged page, SQLite refuses to commit.
        let moment = lane.log.unchecked_transaction().map_err(Fault::from);
        let result = moment.and_then(|moment| read(&moment, &lane.index));
        result.map_err(|fault| self.shared.health.judge(fault))
    }
}

impl LogReader for SqliteReader {
    fn room(&self, room: RoomId) -> Result<Option<RoomRecord>, StoreError> {
        self.read_at_once(|log, _| {
            let Some(row) = room_row(log, room)? else { return Ok(None) };
            let id = params![ordinal(room.0)];
            let members = "SELECT account, role, joined FROM members WHERE room = ?1 ORDER BY account";
            let invited = "SELECT account, seq FROM invites WHERE room = ?1 ORDER BY account";
            Ok(Some(RoomRecord {
                row,
                members: all(log, members, id, |row| Ok(member(row)?))?,
                invited: all(log, invited, id, |row| Ok((AccountId(uint(row, 0)?), Seq(uint(row, 1)?))))?,
            }))
        })
    }

    fn room_id(&self, name: &RoomName) -> Result<Option<RoomId>, StoreError> {
        self.read_at_once(|log, _| Ok(rows::room_named(log, name)?))
    }

    fn rooms(&self, query: RoomQuery, after: RoomId, rows: usize) -> Result<Vec<RoomListing>, StoreError> {
        let sql = match query {
            RoomQuery::Joined(_) => listing_sql(&mine("members"), "mine.account = ?3", "mine.room"),
            RoomQuery::Invited(_) => listing_sql(&mine("invites"), "mine.account = ?3", "mine.room"),
            RoomQuery::Public(_) => listing_sql("rooms", "visibility = 1", "id"),
        };
        let values = params![ordinal(after.0), limit(rows), int(query.account().0)];
        self.read_at_once(|log, _| all(log, &sql, values, listing))
    }

    fn rooms_of(&self, account: AccountId, after: RoomId, rows: usize) -> Result<Vec<RoomId>, StoreError> {
        self.read_at_once(|log, _| {
            let sql = "SELECT room FROM members WHERE account = ?1 AND room > ?2 ORDER BY room LIMIT ?3";
            let values = params![int(account.0), ordinal(after.0), limit(rows)];
            all(log, sql, values, |row| Ok(RoomId(uint(row, 0)?)))
        })
    }

    fn rooms_joined(&self, account: AccountId) -> Result<u64, StoreError> {
        self.read_at_once(|log, _| {
            let mut count = log.prepare_cached("SELECT count(*) FROM members WHERE account = ?1")?;
            Ok(count.query_row(params![int(account.0)], |row| uint(row, 0))?)
        })
    }

    fn read(&self, room: RoomId, span: Span, budget: Budget) -> Result<Vec<Stored>, StoreError> {
        let mut found = self.read_at_once(|log, index| {
            // The head comes from the room's row: behind it a missing record is a hole, not the end.
            let Some(row) = room_row(log, room)? else { return Ok(Vec::new()) };
            let mut reading =
                Reading { log, index, shared: &self.shared, room, budget, bytes: 0, found: vec![] };
            let (first, head) = (row.first.0, row.head.0);
            match span {
                Span::From(seq) => reading.forward(first.max(seq.0), head)?,
                Span::Before(seq) => reading.backward(first, head.min(seq.0.saturating_sub(1)))?,
            }
            Ok(reading.found)
        })?;
        if found.iter().any(is_damaged) {
            // What is removed while it is read looks like damage, and is before the room's first by now.
            let row = self.read_at_once(|log, _| room_row(log, room))?;
            let first = row.map_or(Seq(u64::MAX), |row| row.first);
            found.retain(|stored| stored.seq() >= first);
            found
                .iter()
                .filter(|stored| is_damaged(stored))
                .for_each(|one| self.shared.report(room, one.seq()));
        }
        Ok(found)
    }

    fn condition(&self) -> Condition {
        self.shared.condition()
    }
}

/// The rooms beside the account in a table of rooms and accounts.
fn mine(table: &str) -> String {
    format!("{table} AS mine CROSS JOIN rooms ON rooms.id = mine.room")
}

/// Rooms with the role of the account that asks, by `id`: the room's id where an index has it in order.
fn listing_sql(tables: &str, which: &str, id: &str) -> String {
    format!(
        "SELECT {ROOM}, rooms.members, (SELECT role FROM members WHERE room = rooms.id AND account = ?3)
         FROM {tables} WHERE {which} AND {id} > ?1 ORDER BY {id} LIMIT ?2"
    )
}

fn listing(row: &Row<'_>) -> Result<RoomListing, Fault> {
    Ok(RoomListing {
        row: rows::room(row)?,
        members: row.get(ROOM_COLUMNS)?,
        role: row.get::<_, Option<u8>>(ROOM_COLUMNS + 1)?.map_or(RoomRole::NONE, RoomRole),
    })
}

fn member(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    Ok(MemberRow {
        account: AccountId(uint(row, 0)?),
        role: RoomRole(row.get(1)?),
        joined: Seq(uint(row, 2)?),
    })
}

fn room_row(log: &Connection, room: RoomId) -> Result<Option<hark_core::ports::RoomRow>, Fault> {
    let sql = format!("SELECT {ROOM} FROM rooms WHERE id = ?1");
    Ok(all(log, &sql, params![ordinal(room.0)], rows::room)?.pop())
}

/// Every row of a query.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn is_damaged(stored: &Stored) -> bool {
    matches!(stored, Stored::Damaged { .. })
}

/// One span being read.
struct Reading<'a> {
    log: &'a Connection,
    index: &'a Connection,
    shared: &'a Shared,
    room: RoomId,
    budget: Budget,
    bytes: usize,
    found: Vec<Stored>,
}

impl Reading<'_> {
    /// Reads upwards until the budget is used.
    fn forward(&mut self, first: u64, last: u64) -> Result<(), Fault> {
        let mut rest = (first <= last).then_some(first);
        while let Some(start) = rest {
            let end = last.min(start.saturating_add(self.chunk() - 1));
            let positions = positions(self.shared, self.index, self.room, (start, end))?;
            for (seq, position) in (start..=end).zip(positions) {
                if !self.take(Seq(seq), position)? {
                    return Ok(());
                }
            }
            rest = (end < last).then(|| end + 1);
        }
        Ok(())
    }

    /// Reads downwards until the budget is used, and puts what was found in order.
    fn backward(&mut self, first: u64, last: u64) -> Result<(), Fault> {
        let mut rest = (first <= last).then_some(last);
        'budget: while let Some(end) = rest {
            let start = first.max(end.saturating_sub(self.chunk() - 1));
            let positions = positions(self.shared, self.index, self.room, (start, end))?;
            for (seq, position) in (start..=end).rev().zip(positions.into_iter().rev()) {
                if !self.take(Seq(seq), position)? {
                    break 'budget;
                }
            }
            rest = (first < start).then(|| start - 1);
        }
        self.found.reverse();
        Ok(())
    }

    /// How many to look up next: no more than may still be needed.
    fn chunk(&self) -> u64 {
        let left = self.budget.events.saturating_sub(self.found.len()).max(1);
        CHUNK_EVENTS.min(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// Takes one seq if the budget allows it; the first is always taken.
    fn take(&mut self, seq: Seq, position: Option<i64>) -> Result<bool, Fault> {
        if !self.found.is_empty() && self.found.len() >= self.budget.events {
            return Ok(false);
        }
        let stored = self.stored(seq, position)?;
        if let Stored::Event { frame, .. } = &stored {
            self.bytes = self.bytes.saturating_add(frame.as_slice().len());
        }
        let fits = self.found.is_empty() || self.bytes <= self.budget.bytes;
        if fits {
            self.found.push(stored);
        }
        Ok(fits)
    }

    fn stored(&self, seq: Seq, position: Option<i64>) -> Result<Stored, Fault> {
        let frame = match position {
            Some(position) => rows::frame(self.log, position)?,
            None => None,
        };
        match frame.and_then(|frame| record(self.room, seq, frame)) {
            Some((_, stored)) => Ok(stored),
            None => Ok(Stored::Damaged { seq }),
        }
    }
}

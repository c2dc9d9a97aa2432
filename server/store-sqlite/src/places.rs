//! What the writer remembers of rooms: where each log ends, and how many are in it. Written through, so it says what the disk says.

use std::collections::{BTreeSet, HashMap};

use hark_core::ports::Position;
use hark_protocol::{Epoch, Retention, RoomId, Seq, UnixMillis, Visibility};
use rusqlite::{Connection, OptionalExtension, params};

use crate::rows::{int, ordinal, retention, uint};

/// Rooms that are remembered: some 12 MB. A group that finds more begins with an empty memory.
const PLACES_MAX: usize = 65_536;

/// Where a room's log ends, and how many members the room has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) room: RoomId,
    pub(crate) visibility: Visibility,
    pub(crate) epoch: Epoch,
    pub(crate) head: Seq,
    pub(crate) time: UnixMillis,
    pub(crate) control: Seq,
    pub(crate) members: u32,
    /// What the room keeps, as its owners have set it.
    pub(crate) retention: Retention,
    /// The oldest seq that can be read.
    pub(crate) first: Seq,
    /// Events before this one have been removed.
    pub(crate) swept: Seq,
    /// Bytes of the frames from `swept` on, of events behind `uncounted`.
    pub(crate) bytes: u64,
    pub(crate) uncounted: Seq,
    /// No later than the time of the event at `first`.
    pub(crate) oldest: UnixMillis,
}

impl Place {
    /// Where the event with this seq stands.
    pub(crate) fn at(&self, seq: Seq, time: UnixMillis) -> Position {
        Position { room: self.room, epoch: self.epoch, seq, time }
    }

    /// Where the next event will stand.
    pub(crate) fn next(&self, now: UnixMillis) -> Position {
        self.at(self.head.next(), now.max(self.time))
    }
}

/// The rooms that the writer remembers, and which of them its group has changed.
#[derive(Debug, Default)]
pub(crate) struct Places {
    known: HashMap<RoomId, Place>,
    /// In the order of their ids, so that neighbours are written together.
    changed: BTreeSet<RoomId>,
}

impl Places {
    /// The room's place, if there is such a room.
    pub(crate) fn get(&mut self, log: &Connection, room: RoomId) -> rusqlite::Result<Option<Place>> {
        if let Some(place) = self.known.get(&room) {
            return Ok(Some(*place));
        }
        let found = read(log, room)?;
        if let Some(place) = found {
            self.known.insert(room, place);
        }
        Ok(found)
    }

    /// The room's place, without remembering it.
    pub(crate) fn peek(&self, log: &Connection, room: RoomId) -> rusqlite::Result<Option<Place>> {
        self.known.get(&room).map_or_else(|| read(log, room), |place| Ok(Some(*place)))
    }

    /// Keeps a place that the group has changed, to be written when the group is complete.
    pub(crate) fn put(&mut self, place: Place) {
        self.changed.insert(place.room);
        self.known.insert(place.room, place);
    }

    /// Writes each changed room's row once.
    pub(crate) fn write(&mut self, log: &Connection) -> rusqlite::Result<()> {
        let mut update = log.prepare_cached(
            "UPDATE rooms SET head = ?2, time = ?3, control = ?4, members = ?5, max_age_s = ?6, max_events = ?7,
                 max_bytes = ?8, first = ?9, swept = ?10, bytes = ?11, oldest = ?12
             WHERE id = ?1",
        )?;
        for room in std::mem::take(&mut self.changed) {
            if let Some(place) = self.known.get(&room) {
                let (head, control) = (ordinal(place.head.0), ordinal(place.control.0));
                let time = int(place.time.0);
                update.execute(params![
                    ordinal(room.0),
                    head,
                    time,
                    control,
                    place.members,
                    place.retention.max_age_s,
                    int(place.retention.max_events),
                    int(place.retention.max_bytes),
                    ordinal(place.first.0),
                    ordinal(place.swept.0),
                    ordinal(place.bytes),
                    int(place.oldest.0),
                ])?;
            }
        }
        Ok(())
    }

    /// Keeps the memory bounded.
    pub(crate) fn make_way(&mut self) {
        if self.known.len() > PLACES_MAX {
            self.forget_all();
        }
    }

    pub(crate) fn forget_all(&mut self) {
        self.known.clear();
        self.changed.clear();
    }
}

fn read(log: &Connection, room: RoomId) -> rusqlite::Result<Option<Place>> {
    let mut row = log.prepare_cached(
        "SELECT visibility, epoch, head, time, control, members, max_age_s, max_events, max_bytes, first, swept,
             bytes, uncounted, oldest
         FROM rooms WHERE id = ?1",
    )?;
    row.query_row(params![ordinal(room.0)], |row| {
        Ok(Place {
            room,
            visibility: Visibility(row.get(0)?),
            epoch: Epoch(uint(row, 1)?),
            head: Seq(uint(row, 2)?),
            time: UnixMillis(uint(row, 3)?),
            control: Seq(uint(row, 4)?),
            members: row.get(5)?,
            retention: retention(row, 6)?,
            first: Seq(uint(row, 9)?),
            swept: Seq(uint(row, 10)?),
            bytes: uint(row, 11)?,
            uncounted: Seq(uint(row, 12)?),
            oldest: UnixMillis(uint(row, 13)?),
        })
    })
    .optional()
}

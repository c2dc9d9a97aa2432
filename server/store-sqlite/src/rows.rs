//! Between SQLite's values and ours: integers without a sign, texts that are proofs, rooms and records.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use hark_core::ports::{RoomRow, Stored};
use hark_protocol::{
    Epoch, Event, FrameType, HistoryPolicy, Payload, RawFrame, Retention, RoomId, RoomName, Seq, UnixMillis,
    Visibility,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::{Fault, is_damage};

/// SQLite's integers have a sign and ours have none: the bits are kept, so every value comes back as it was.
/// For what is stored and compared for being equal.
pub(crate) fn int(value: u64) -> i64 {
    value.cast_signed()
}

/// The other way round.
pub(crate) fn uint(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// For what SQLite puts in order: ids and seqs count up from 1, so what is above SQLite's largest integer is
/// above every one of them.
pub(crate) fn ordinal(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of rows at most.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A text that was checked when it was stored.
pub(crate) fn text<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize) -> Result<T, Fault> {
    let value = row.get_ref(column)?;
    let nonsense = |why: &dyn Display| Fault::Nonsense(format!("a stored text is not acceptable: {why}"));
    value.as_str().map_err(|error| nonsense(&error))?.parse().map_err(|error| nonsense(&error))
}

/// The columns that [`room`] reads, in its order.
pub(crate) const ROOM: &str = "rooms.id, rooms.name, rooms.visibility, rooms.history, rooms.topic, \
     rooms.epoch, rooms.first, rooms.head, rooms.time, rooms.control, rooms.max_age_s, rooms.max_events, \
     rooms.max_bytes";

/// How many they are.
pub(crate) const ROOM_COLUMNS: usize = 13;

/// A room's row from the first columns of a query's row.
pub(crate) fn room(row: &Row<'_>) -> Result<RoomRow, Fault> {
    Ok(RoomRow {
        id: RoomId(uint(row, 0)?),
        name: text(row, 1)?,
        visibility: Visibility(row.get(2)?),
        history: HistoryPolicy(row.get(3)?),
        topic: text(row, 4)?,
        epoch: Epoch(uint(row, 5)?),
        first: Seq(uint(row, 6)?),
        head: Seq(uint(row, 7)?),
        time: UnixMillis(uint(row, 8)?),
        control: Seq(uint(row, 9)?),
        retention: retention(row, 10)?,
    })
}

/// A room's retention from this column and the two behind it.
pub(crate) fn retention(row: &Row<'_>, column: usize) -> rusqlite::Result<Retention> {
    Ok(Retention {
        max_age_s: row.get(column)?,
        max_events: uint(row, column + 1)?,
        max_bytes: uint(row, column + 2)?,
    })
}

/// The room of that name.
pub(crate) fn room_named(log: &Connection, name: &RoomName) -> rusqlite::Result<Option<RoomId>> {
    let mut select = log.prepare_cached("SELECT id FROM rooms WHERE name = ?1")?;
    select.query_row(params![name.as_str()], |row| uint(row, 0).map(RoomId)).optional()
}

/// The bytes at a position of the log; `None` where the file itself is damaged too.
pub(crate) fn frame(log: &Connection, position: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut select = log.prepare_cached("SELECT frame FROM log WHERE position = ?1")?;
    match select.query_row(params![position], |row| row.get(0)).optional() {
        Err(error) if is_damage(&error) => Ok(None),
        found => found,
    }
}

/// A record of the log that was found for this room and seq, if it can be trusted: its checksum fits, it is an
/// event, and it says itself that it belongs here.
pub(crate) fn record(room: RoomId, seq: Seq, frame: Vec<u8>) -> Option<(Event, Stored)> {
    let raw = RawFrame::from_stored(Bytes::from(frame)).ok()?;
    if raw.header().frame_type != FrameType::EVENT {
        return None;
    }
    let event = Event::decode(raw.payload()).ok()?;
    let belongs = event.room == room && event.seq == seq;
    belongs.then(|| (event, Stored::Event { seq, frame: raw.into_encoded() }))
}

#[cfg(test)]
mod tests {
    use hark_core::ports::{Change, Position, Sealed};
    use hark_core::testkit::drafts::{author, client};
    use hark_protocol::{Correlation, EncodedFrame, Kind, Ping};

    use super::*;

    #[test]
    fn integers_keep_their_bits_and_ordinals_their_order() {
        for value in [0, 1, i64::MAX as u64, 1 << 63, u64::MAX] {
            assert_eq!(int(value).cast_unsigned(), value);
        }
        assert_eq!((ordinal(7), ordinal(1 << 63), ordinal(u64::MAX)), (7, i64::MAX, i64::MAX));
    }

    #[test]
    fn a_record_is_trusted_where_it_says_it_belongs() {
        let (room, seq, time) = (RoomId(3), Seq(4), UnixMillis(5));
        let position = Position { room, epoch: Epoch(1), seq, time };
        let what = (Kind::MESSAGE, Bytes::from_static(b"cup"), Change::None);
        let sealed = Sealed::new(position, &author(1), client(1), what).unwrap();
        let frame = sealed.frame().as_slice().to_vec();
        assert_eq!(record(room, seq, frame.clone()).unwrap().0.time, time);
        assert!(record(RoomId(4), seq, frame.clone()).is_none());
        assert!(record(room, Seq(5), frame.clone()).is_none());
        for place in 0..frame.len() {
            let mut flipped = frame.clone();
            flipped[place] ^= 1;
            assert!(record(room, seq, flipped).is_none(), "byte {place}");
        }
        for end in 0..frame.len() {
            assert!(record(room, seq, frame[..end].to_vec()).is_none(), "cut at {end}");
        }
        let ping = EncodedFrame::new(Correlation::NONE, &Ping { data: "x".parse().unwrap() });
        assert!(record(room, seq, ping.as_slice().to_vec()).is_none());
    }
}

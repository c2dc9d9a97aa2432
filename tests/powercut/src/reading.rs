//! Reading everything that a store holds, through its ports and behind its back.

use std::path::Path;

use hark_core::ports::{Budget, LogReader, RoomRecord, Span, StoreError, Stored};
use hark_protocol::{EncodedFrame, Event, Payload, RawFrame, RoomId, Seq};
use rusqlite::{Connection, OpenFlags};

/// A log as its readers see it.
#[derive(Debug, Default)]
pub struct Reading {
    /// Rooms, by id from 1.
    pub rooms: Vec<RoomRecord>,
    /// Everything that was read of them.
    pub stored: Vec<(RoomId, Stored)>,
}

impl Reading {
    /// Reads every room and all that is in it.
    ///
    /// # Errors
    /// The store's.
    pub fn of(reader: &impl LogReader) -> Result<Reading, StoreError> {
        let mut reading = Reading::default();
        for id in (1..).map(RoomId) {
            let Some(record) = reader.room(id)? else { break };
            let budget = Budget { events: usize::MAX, bytes: usize::MAX };
            let stored = reader.read(id, Span::From(Seq(1)), budget)?;
            reading.stored.extend(stored.into_iter().map(|stored| (id, stored)));
            reading.rooms.push(record);
        }
        Ok(reading)
    }
}

/// The event in a frame, if it is one.
pub fn event(frame: &EncodedFrame) -> Option<Event> {
    let raw = RawFrame::from_stored(frame.to_bytes()).ok()?;
    Event::decode(raw.payload()).ok()
}

/// The log's file, looked into behind the store's back.
#[derive(Debug)]
pub struct LogFile {
    /// Rooms and seqs in the order of their positions.
    pub order: Vec<(RoomId, Seq)>,
    /// What SQLite's own check finds wrong.
    pub complaint: Option<String>,
}

impl LogFile {
    /// Looks into the log of a folder.
    ///
    /// # Errors
    /// SQLite's.
    pub fn of(folder: &Path) -> rusqlite::Result<LogFile> {
        let log = look_into(folder, "log.db")?;
        let mut rows = log.prepare("SELECT room, seq FROM log ORDER BY position")?;
        let number = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let rows = rows.query_map([], |row| Ok((RoomId(number(row, 0)?), Seq(number(row, 1)?))))?;
        Ok(LogFile { order: rows.collect::<Result<_, _>>()?, complaint: check(&log)? })
    }
}

/// What SQLite's own check finds wrong with a file.
///
/// # Errors
/// SQLite's.
pub fn quick_check(folder: &Path, file: &str) -> rusqlite::Result<Option<String>> {
    check(&look_into(folder, file)?)
}

fn check(file: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = file.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

fn look_into(folder: &Path, file: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(folder.join(file), flags)
}

//! The store as it stands, read from its file without the server's help.

use std::path::Path;

use bytes::Bytes;
use hark_checker::What;
use hark_checker::record::Told;
use hark_protocol::{Event, FrameType, Kind, Payload, RawFrame};
use rusqlite::{Connection, OpenFlags, Row};

use crate::Trouble;
use crate::recorder::Recorder;

/// One room's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The log's incarnation.
    pub epoch: u64,
    /// The oldest seq that can be read.
    pub first: u64,
    /// The newest.
    pub head: u64,
}

/// Opens the log of a data folder to read.
///
/// # Errors
/// What SQLite says.
pub fn open(data: &Path) -> Result<Connection, Trouble> {
    let log = Connection::open_with_flags(data.join("log.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    log.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(log)
}

/// The rows of all rooms.
///
/// # Errors
/// What SQLite says.
pub fn rooms(log: &Connection) -> Result<Vec<RoomRow>, Trouble> {
    let mut select = log.prepare("SELECT id, name, epoch, first, head FROM rooms ORDER BY id")?;
    let row = |row: &Row<'_>| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(RoomRow {
            id: row.get(0)?,
            name: row.get(1)?,
            epoch: number(2)?,
            first: number(3)?,
            head: number(4)?,
        })
    };
    Ok(select.query_map([], row)?.collect::<Result<_, _>>()?)
}

/// Writes all that can be read of all rooms into a history.
///
/// # Errors
/// What SQLite says.
pub fn dump(data: &Path, recorder: &Recorder) -> Result<(), Trouble> {
    let log = open(data)?;
    for room in rooms(&log)? {
        let mut select =
            log.prepare("SELECT seq, frame FROM log WHERE room = ?1 AND seq >= ?2 ORDER BY seq")?;
        let first = room.first.cast_signed();
        let mut rows = select.query((room.id, first))?;
        while let Some(row) = rows.next()? {
            let (seq, frame): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let seq = seq.cast_unsigned();
            let told = read(frame).filter(|(at, _)| *at == seq).map(|(_, told)| told);
            let damaged = told.is_none();
            let nothing =
                Told { author: String::new(), cid: String::new(), hash: String::new(), control: true };
            let event = told.unwrap_or(nothing);
            recorder.write("store", What::Store { room: room.name.clone(), seq, event, damaged });
        }
        let RoomRow { name, epoch, first, head, .. } = room;
        recorder.write("store", What::Head { room: name, epoch, first, head });
    }
    Ok(())
}

/// What a stored frame says, if it can be trusted.
fn read(frame: Vec<u8>) -> Option<(u64, Told)> {
    let raw = RawFrame::from_stored(Bytes::from(frame)).ok()?;
    if raw.header().frame_type != FrameType::EVENT {
        return None;
    }
    let event = Event::decode(raw.payload()).ok()?;
    let told = told(
        &event.author_name.to_string(),
        &event.client_id.to_string(),
        event.kind,
        &event.body.into_bytes(),
    );
    Some((event.seq.0, told))
}

/// An event as histories tell it.
pub fn told(author: &str, cid: &str, kind: Kind, body: &[u8]) -> Told {
    let hash = hark_checker::body_hash(body);
    Told { author: author.to_owned(), cid: cid.to_owned(), hash, control: !kind.is_publishable() }
}

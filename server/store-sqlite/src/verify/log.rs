//! The log in the order of its positions: checksums, dense seqs, identities, the index.

use std::collections::BTreeMap;

use hark_protocol::{Event, RoomId, Seq};
use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::Report;
use super::members::Members;
use crate::error::is_damage;
use crate::lineage::last_position;
use crate::rows::{int, ordinal, record, uint};

/// A room as its row describes it, and what has been found of it so far.
struct Room {
    first: u64,
    head: u64,
    control: u64,
    /// The seq that comes next.
    next: u64,
    time: u64,
    /// Something in its log can not be read, so that its members can not be told from it.
    is_torn: bool,
    identities: u64,
    members: Members,
}

/// What is read, and what is known of it.
pub(super) struct Scan<'a, 'r> {
    log: &'a Connection,
    report: &'a mut Report<'r>,
    rooms: BTreeMap<u64, Room>,
    identity: Statement<'a>,
    /// Looks an event up in the index, and up to which position that holds.
    index: Option<(Statement<'a>, i64)>,
}

impl<'a, 'r> Scan<'a, 'r> {
    /// Reads the whole log.
    pub(super) fn run(
        log: &'a Connection,
        index: Option<&'a Connection>,
        directory: Option<&Connection>,
        report: &'a mut Report<'r>,
    ) -> rusqlite::Result<()> {
        let identity =
            log.prepare("SELECT seq FROM identities WHERE client_id = ?1 AND author = ?2 AND room = ?3")?;
        let rooms = rooms(log)?;
        report.verified.rooms = rooms.len() as u64;
        let index = match index {
            Some(index) => of_this_log(log, index)?,
            None => None,
        };
        let mut scan = Scan { log, report, rooms, identity, index };
        scan.records()?;
        scan.ends();
        scan.identities()?;
        let members = scan.rooms.into_iter().map(|(id, room)| {
            // Without its whole log nobody can say who is in it.
            (RoomId(id), room.members, room.first, room.is_torn)
        });
        super::members::check(log, directory, members, scan.report)
    }

    fn records(&mut self) -> rusqlite::Result<()> {
        let last = last_position(self.log)?;
        let log = self.log;
        let mut whole = log.prepare(
            "SELECT position, room, seq, frame FROM log WHERE position > ?1 ORDER BY position LIMIT 1",
        )?;
        // Before the frame, so that a frame that can not be read still has a name.
        let mut name =
            log.prepare("SELECT position, room, seq FROM log WHERE position > ?1 ORDER BY position LIMIT 1")?;
        let mut position = 0_i64;
        while position < last {
            let row = whole.query_row([position], |row| {
                Ok((row.get(0)?, uint(row, 1)?, uint(row, 2)?, row.get::<_, Vec<u8>>(3)?))
            });
            position = match row.optional() {
                Ok(None) => break,
                Ok(Some((at, room, seq, frame))) => {
                    self.row(at, room, seq, Some(frame))?;
                    at
                }
                Err(error) if is_damage(&error) => {
                    let row =
                        name.query_row([position], |row| Ok((row.get(0)?, uint(row, 1)?, uint(row, 2)?)));
                    match row {
                        Ok((at, room, seq)) => {
                            self.row(at, room, seq, None)?;
                            at
                        }
                        // What stood here is missed where the next of its room comes.
                        Err(_) => position + 1,
                    }
                }
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// Takes one row of the log; `None` for a frame that can not be read.
    fn row(&mut self, position: i64, room: u64, seq: u64, frame: Option<Vec<u8>>) -> rusqlite::Result<()> {
        let id = RoomId(room);
        let Some(state) = self.rooms.get_mut(&room) else {
            self.report.find("log.db", Some(id), Some((seq, seq)), "the event's room is unknown");
            return Ok(());
        };
        if seq < state.first {
            return Ok(()); // older than the room keeps, and not removed yet
        }
        if seq > state.head {
            self.report.find("log.db", Some(id), Some((seq, seq)), "the event stands behind its room's head");
            return Ok(());
        }
        if seq < state.next {
            self.report.find(
                "log.db",
                Some(id),
                Some((seq, seq)),
                "the event is there twice, or out of order",
            );
            return Ok(());
        }
        if seq > state.next {
            state.is_torn = true;
            let missing = Some((state.next, seq - 1));
            self.report.find("log.db", Some(id), missing, "missing from the log");
        }
        state.next = seq.saturating_add(1);
        let Some((event, _)) = frame.and_then(|frame| record(id, Seq(seq), frame)) else {
            state.is_torn = true;
            self.report.find("log.db", Some(id), Some((seq, seq)), "the record is damaged");
            return Ok(());
        };
        self.report.verified.events += 1;
        self.event(position, &event)
    }

    /// Takes an event whose record is good.
    fn event(&mut self, position: i64, event: &Event) -> rusqlite::Result<()> {
        let seqs = Some((event.seq.0, event.seq.0));
        let key = params![event.client_id.as_bytes(), int(event.author.0), ordinal(event.room.0)];
        match self.identity.query_row(key, |row| uint(row, 0)).optional()? {
            Some(seq) if seq == event.seq.0 => {}
            Some(other) => {
                let what = format!("the event's identity stands for seq {other}");
                self.report.find("log.db", Some(event.room), seqs, what);
            }
            None => self.report.find("log.db", Some(event.room), seqs, "the event's identity is missing"),
        }
        if let Some((entry, up_to)) = &mut self.index
            && position <= *up_to
        {
            let key = params![ordinal(event.room.0), ordinal(event.seq.0)];
            let found = entry.query_row(key, |row| row.get::<_, i64>(0)).optional()?;
            if found != Some(position) {
                let what = "the index leads elsewhere: remove index.db while the server is stopped";
                self.report.find("index.db", Some(event.room), seqs, what);
            }
        }
        let Some(state) = self.rooms.get_mut(&event.room.0) else { return Ok(()) };
        if event.time.0 < state.time {
            self.report.find(
                "log.db",
                Some(event.room),
                seqs,
                "the event's time is before its predecessor's",
            );
        }
        state.time = event.time.0;
        state.members.on_event(event);
        Ok(())
    }

    /// Whether each room's log reaches up to its head.
    fn ends(&mut self) {
        for (id, room) in &mut self.rooms {
            if room.next <= room.head {
                room.is_torn = true;
                let missing = Some((room.next, room.head));
                self.report.find("log.db", Some(RoomId(*id)), missing, "missing from the log");
            }
            if room.control > room.head {
                let what = "the room's last control event stands behind its head";
                self.report.find("log.db", Some(RoomId(*id)), None, what);
            }
        }
    }

    /// Whether there are as many identities as events. That each event has one has been seen already.
    fn identities(&mut self) -> rusqlite::Result<()> {
        let mut select = self.log.prepare("SELECT room, seq FROM identities")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (id, seq) = (uint(row, 0)?, uint(row, 1)?);
            match self.rooms.get_mut(&id) {
                Some(room) if seq > room.head => {
                    let what = "an identity stands for an event behind the room's head";
                    self.report.find("log.db", Some(RoomId(id)), Some((seq, seq)), what);
                }
                Some(room) if seq >= room.first => room.identities += 1,
                Some(_) => {}
                None => self.report.find(
                    "log.db",
                    Some(RoomId(id)),
                    Some((seq, seq)),
                    "an identity's room is unknown",
                ),
            }
        }
        for (id, room) in &self.rooms {
            let seqs = room.head.saturating_add(1).saturating_sub(room.first);
            if room.identities > seqs || (room.identities < seqs && room.is_torn) {
                let what = format!("{} identities for {seqs} events", room.identities);
                self.report.find("log.db", Some(RoomId(*id)), None, what);
            }
        }
        Ok(())
    }
}

fn rooms(log: &Connection) -> rusqlite::Result<BTreeMap<u64, Room>> {
    let mut select = log.prepare("SELECT id, first, head, control FROM rooms")?;
    let rooms = select.query_map([], |row| {
        let (first, head) = (uint(row, 1)?, uint(row, 2)?);
        Ok((
            uint(row, 0)?,
            Room {
                first,
                head,
                control: uint(row, 3)?,
                next: first,
                time: 0,
                is_torn: false,
                identities: 0,
                members: Members::default(),
            },
        ))
    })?;
    rooms.collect()
}

/// Looks events up in the index, if it is this log's.
fn of_this_log<'a>(
    log: &Connection,
    index: &'a Connection,
) -> rusqlite::Result<Option<(Statement<'a>, i64)>> {
    let id = crate::lineage::log_id(log)?;
    let sql = "SELECT position FROM progress WHERE log = ?1";
    let Some(up_to) = index.query_row(sql, [id], |row| row.get(0)).optional()? else { return Ok(None) };
    let entry = index.prepare("SELECT position FROM entries WHERE room = ?1 AND seq = ?2")?;
    Ok(Some((entry, up_to)))
}

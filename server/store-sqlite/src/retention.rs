//! Retention: a room's first event moves at once, in one small transaction; the rows go later, in slices.

use hark_core::ports::{Expiry, IDENTITY_MS_MIN, Moved, Removal, is_too_old, stricter};
use hark_protocol::{ClientId, Event, Retention, RoomId, Seq, UnixMillis};
use rusqlite::{Connection, TransactionBehavior, params};

use crate::error::Fault;
use crate::index::positions;
use crate::lineage::last_position;
use crate::log::Parts;
use crate::places::Place;
use crate::reader::all;
use crate::rows::{self, int, limit, ordinal, record, uint};

/// Rooms that one call looks at.
const ROOMS_MAX: usize = 1_024;

/// Events whose sizes one call adds up for one room.
const SIZES_MAX: u64 = 4_096;

/// Rooms from which one slice removes.
const SWEPT_ROOMS_MAX: usize = 64;

/// Identities that one slice forgets.
const FAREWELLS_MAX: usize = 512;

/// Records that are tried in search of one that can be read.
const TRIES_MAX: u64 = 16;

impl Parts {
    /// Moves the first events of some rooms.
    pub(crate) fn expire(
        &mut self,
        now: UnixMillis,
        server: Retention,
        after: RoomId,
    ) -> Result<Expiry, Fault> {
        self.places.make_way();
        let rooms = self.rooms_behind(server, after)?;
        let next = if rooms.len() == ROOMS_MAX { rooms.last().map(|place| place.room) } else { None };
        let mut changed = Vec::new();
        for place in &rooms {
            if is_due(place, &stricter(place.retention, server), now) {
                let moved = self.moved(*place, &stricter(place.retention, server), now)?;
                if moved != *place {
                    changed.push((place.first, moved));
                }
            }
        }
        if changed.is_empty() {
            return Ok(Expiry { moved: Vec::new(), next });
        }
        let transaction = self.log.transaction_with_behavior(TransactionBehavior::Immediate)?;
        changed.iter().for_each(|(_, place)| self.places.put(*place));
        self.places.write(&transaction)?;
        transaction.commit()?;
        let moved = changed.into_iter().filter(|(before, place)| place.first > *before);
        let moved = moved.map(|(before, place)| Moved {
            room: place.room,
            first: place.first,
            events: place.first.0 - before.0,
        });
        Ok(Expiry { moved: moved.collect(), next })
    }

    /// Rooms that keep less than everything.
    fn rooms_behind(&mut self, server: Retention, after: RoomId) -> Result<Vec<Place>, Fault> {
        let which = match server == Retention::default() {
            true => "(max_age_s <> 0 OR max_events <> 0 OR max_bytes <> 0) AND",
            false => "",
        };
        let sql = format!("SELECT id FROM rooms WHERE {which} id > ?1 ORDER BY id LIMIT ?2");
        let ids = all(&self.log, &sql, params![ordinal(after.0), limit(ROOMS_MAX)], |row| {
            Ok(RoomId(uint(row, 0)?))
        })?;
        let mut places = Vec::with_capacity(ids.len());
        for id in ids {
            places.extend(self.places.peek(&self.log, id)?);
        }
        Ok(places)
    }

    /// The place with its first where the bounds want it, as far as one call goes.
    fn moved(&self, mut place: Place, bounds: &Retention, now: UnixMillis) -> Result<Place, Fault> {
        let end = place.head.next();
        let mut first = place.first;
        if bounds.max_events > 0 {
            first = first.max(Seq(end.0.saturating_sub(bounds.max_events)));
        }
        if is_too_old(place.oldest, bounds.max_age_s, now) {
            first =
                self.first_young(place.room, (first, end), |time| !is_too_old(time, bounds.max_age_s, now))?;
        }
        if is_too_large(&place, bounds) {
            first = first.max(self.first_within(&place, bounds.max_bytes)?);
        }
        place.first = first;
        place.oldest = match first < end {
            // Unknown: what was known still holds.
            true => self.time_from(place.room, first, end)?.unwrap_or(place.oldest),
            false => place.time,
        };
        Ok(place)
    }

    /// The first seq whose event is young; times never run back, so half of what is left is looked at each time.
    fn first_young(
        &self,
        room: RoomId,
        (mut low, mut high): (Seq, Seq),
        is_young: impl Fn(UnixMillis) -> bool,
    ) -> Result<Seq, Fault> {
        while low < high {
            let middle = Seq(low.0 + (high.0 - low.0) / 2);
            match self.time_from(room, middle, high)? {
                Some(time) if !is_young(time) => low = middle.next(),
                // What nobody can read is kept until something behind it is known to be old.
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The time of the event at `seq`, or of the next one that can be read before `end`.
    fn time_from(&self, room: RoomId, seq: Seq, end: Seq) -> Result<Option<UnixMillis>, Fault> {
        for seq in (seq.0..end.0.min(seq.0.saturating_add(TRIES_MAX))).map(Seq) {
            if let Some(event) = self.past_event(room, seq)? {
                return Ok(Some(event.time));
            }
        }
        Ok(None)
    }

    fn past_event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, Fault> {
        let position = positions(&self.shared, &self.past.index, room, (seq.0, seq.0))?.pop().flatten();
        let frame = match position {
            Some(position) => rows::frame(&self.past.log, position)?,
            None => None,
        };
        Ok(frame.and_then(|frame| record(room, seq, frame)).map(|(event, _)| event))
    }

    /// The seq from which on the room's events are no more than `max_bytes`, or one on the way there.
    fn first_within(&self, place: &Place, max_bytes: u64) -> Result<Seq, Fault> {
        let mut bytes = place.bytes;
        let mut seq = place.first;
        let last = place.head.0.min(seq.0.saturating_add(SIZES_MAX - 1));
        for position in positions(&self.shared, &self.past.index, place.room, (seq.0, last))? {
            if bytes <= max_bytes {
                return Ok(seq);
            }
            let frame = match position {
                Some(position) => rows::frame(&self.past.log, position)?,
                None => None,
            };
            if seq > place.uncounted {
                bytes = bytes.saturating_sub(frame.map_or(0, |frame| frame.len() as u64));
            }
            seq = seq.next();
        }
        Ok(seq)
    }

    /// Removes one slice of what has expired.
    pub(crate) fn remove_expired(&mut self, now: UnixMillis, events_max: usize) -> Result<Removal, Fault> {
        let (slice, more) = self.slice(events_max)?;
        let farewells = due_farewells(&self.log, now)?;
        if slice.is_empty() && farewells.is_empty() {
            return Ok(Removal { events: 0, more });
        }
        let removed = match self.remove(&slice, &farewells, now) {
            Err(fault) if fault.is_damage() => {
                // Rows around a damaged page stay where they are; nobody reads them any more.
                tracing::warn!(error = %fault, "expired events can not be removed and stay in the file");
                self.places.forget_all();
                self.pass_over(&slice)
            }
            removed => removed,
        };
        removed?;
        let mut trims = self.shared.trims.lock();
        let swept = slice.iter().map(|part| (part.place.room, part.swept));
        trims.extend(swept);
        drop(trims);
        let events = slice.iter().map(|part| part.swept.0 - part.place.swept.0).sum();
        Ok(Removal { events, more: more || farewells.len() == FAREWELLS_MAX })
    }

    /// What goes next, and whether more waits behind it. The newest record of all stays: at the next start it says
    /// that the log is whole.
    fn slice(&mut self, events_max: usize) -> Result<(Vec<Part>, bool), Fault> {
        let sql = "SELECT id FROM rooms WHERE swept < first ORDER BY id LIMIT ?1";
        let ids = all(&self.log, sql, params![limit(SWEPT_ROOMS_MAX)], |row| Ok(RoomId(uint(row, 0)?)))?;
        let newest = last_position(&self.log)?;
        let mut left = u64::try_from(events_max).unwrap_or(u64::MAX);
        let (mut slice, mut more) = (Vec::new(), ids.len() == SWEPT_ROOMS_MAX);
        for id in ids {
            let Some(place) = self.places.get(&self.log, id)? else { continue };
            if left == 0 {
                more = true;
                break;
            }
            let end = place.first.0.min(place.swept.0.saturating_add(left));
            let found =
                positions(&self.shared, &self.past.index, id, (place.swept.0, end.saturating_sub(1)))?;
            let held = found.iter().position(|position| *position == Some(newest));
            let count = held.unwrap_or(found.len());
            let swept = Seq(place.swept.0 + count as u64);
            more |= held.is_none() && swept < place.first;
            left -= count as u64;
            if count > 0 {
                let rows = (place.swept.0..).map(Seq).zip(found).take(count).collect();
                slice.push(Part { place, swept, rows });
            }
        }
        Ok((slice, more))
    }

    fn remove(&mut self, slice: &[Part], farewells: &[Farewell], now: UnixMillis) -> Result<(), Fault> {
        let transaction = self.log.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for part in slice {
            let mut place = part.place;
            for (seq, position) in &part.rows {
                let Some(position) = *position else { continue };
                // Where the page can not be read, its row is left alone.
                let Some(frame) = rows::frame(&self.past.log, position)? else { continue };
                if *seq > place.uncounted {
                    place.bytes = place.bytes.saturating_sub(frame.len() as u64);
                }
                let event = record(place.room, *seq, frame).map(|(event, _)| event);
                if let Some(event) = event {
                    part_from(&transaction, position, &event, now)?;
                }
                transaction.prepare_cached("DELETE FROM log WHERE position = ?1")?.execute([position])?;
            }
            place.swept = part.swept;
            if place.swept > place.head {
                // What could not be read had a size too.
                place.bytes = 0;
            }
            self.places.put(place);
        }
        for farewell in farewells {
            farewell.carry_out(&transaction)?;
        }
        self.places.write(&transaction)?;
        Ok(transaction.commit()?)
    }

    /// Goes on behind a slice that can not be removed.
    fn pass_over(&mut self, slice: &[Part]) -> Result<(), Fault> {
        let transaction = self.log.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for part in slice {
            self.places.put(Place { swept: part.swept, ..part.place });
        }
        self.places.write(&transaction)?;
        Ok(transaction.commit()?)
    }
}

/// What one slice removes from one room.
struct Part {
    place: Place,
    /// Up to here, this one excluded.
    swept: Seq,
    rows: Vec<(Seq, Option<i64>)>,
}

/// Whether the room may hold more than the bounds allow.
fn is_due(place: &Place, bounds: &Retention, now: UnixMillis) -> bool {
    let events = place.head.next().0.saturating_sub(place.first.0);
    events > 0
        && ((bounds.max_events > 0 && events > bounds.max_events)
            || is_too_old(place.oldest, bounds.max_age_s, now)
            || is_too_large(place, bounds))
}

/// Whether it holds more bytes. While events wait for their removal nobody knows: they are counted still.
fn is_too_large(place: &Place, bounds: &Retention) -> bool {
    bounds.max_bytes > 0 && place.swept >= place.first && place.bytes > bounds.max_bytes
}

/// Forgets the identity of an event that is removed, or notes that it is to be forgotten later.
fn part_from(log: &Connection, position: i64, event: &Event, now: UnixMillis) -> rusqlite::Result<()> {
    let farewell = Farewell {
        position,
        client_id: event.client_id,
        author: event.author.0,
        room: event.room,
        seq: event.seq,
    };
    if event.time.0.saturating_add(IDENTITY_MS_MIN) <= now.0 {
        return farewell.carry_out(log);
    }
    let mut note = log.prepare_cached(
        "INSERT INTO farewells (position, time, client_id, author, room, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO NOTHING",
    )?;
    let author = int(farewell.author);
    let (client_id, time) = (farewell.client_id.as_bytes(), int(event.time.0));
    note.execute(params![position, time, client_id, author, ordinal(event.room.0), ordinal(event.seq.0)])?;
    Ok(())
}

/// An identity whose event has been removed.
struct Farewell {
    position: i64,
    client_id: ClientId,
    author: u64,
    room: RoomId,
    seq: Seq,
}

impl Farewell {
    /// Forgets the identity, unless it stands for another event by now.
    fn carry_out(&self, log: &Connection) -> rusqlite::Result<()> {
        let mut forget = log.prepare_cached(
            "DELETE FROM identities WHERE client_id = ?1 AND author = ?2 AND room = ?3 AND seq = ?4",
        )?;
        let (room, seq) = (ordinal(self.room.0), ordinal(self.seq.0));
        forget.execute(params![self.client_id.as_bytes(), int(self.author), room, seq])?;
        log.prepare_cached("DELETE FROM farewells WHERE position = ?1")?.execute([self.position])?;
        Ok(())
    }
}

/// Identities that are old enough to be forgotten.
fn due_farewells(log: &Connection, now: UnixMillis) -> Result<Vec<Farewell>, Fault> {
    let sql = "SELECT position, client_id, author, room, seq, time FROM farewells ORDER BY position LIMIT ?1";
    let oldest = all(log, sql, params![limit(FAREWELLS_MAX)], |row| {
        let client_id = ClientId::new(row.get(1)?);
        let nonsense = || Fault::Nonsense("a stored client id is not acceptable".into());
        let farewell = Farewell {
            position: row.get(0)?,
            client_id: client_id.ok_or_else(nonsense)?,
            author: uint(row, 2)?,
            room: RoomId(uint(row, 3)?),
            seq: Seq(uint(row, 4)?),
        };
        Ok((farewell, uint(row, 5)?))
    })?;
    let due = oldest.into_iter().take_while(|(_, time)| time.saturating_add(IDENTITY_MS_MIN) <= now.0);
    Ok(due.map(|(farewell, _)| farewell).collect())
}

//! What becomes of each draft: identity, then staleness, then the judgement it came with.

use bytes::Bytes;
use hark_core::Refusal;
use hark_core::ports::{Author, Change, Draft, NewRoom, Outcome, Proposal, Sealed, Target};
use hark_protocol::limits::BODY_BYTES_MAX;
use hark_protocol::{
    AccountId, JoinBody, Kind, LimitId, Retention, RoomId, RoomName, Seq, UnixMillis, Visibility, Wire,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Fault;
use crate::index::{Shared, positions};
use crate::lineage::least_epoch;
use crate::places::{Place, Places};
use crate::reader::Lane;
use crate::rows::{int, ordinal, record, uint};
use crate::tail::Entry;
use crate::{changes, rows};

/// What will be answered once the group is on the disk.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The draft became these events.
    Events(Vec<Sealed>),
    /// The draft became none.
    Nothing(Outcome),
}

impl Decision {
    fn refused(refusal: Refusal) -> Decision {
        Decision::Nothing(Outcome::Refused(refusal))
    }
}

/// A group of drafts inside its transaction.
pub(crate) struct Group<'a> {
    log: &'a Connection,
    places: &'a mut Places,
    past: &'a Lane,
    shared: &'a Shared,
    now: UnixMillis,
    entries: Vec<Entry>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(
        log: &'a Connection,
        places: &'a mut Places,
        past: &'a Lane,
        shared: &'a Shared,
        now: UnixMillis,
    ) -> Group<'a> {
        Group { log, places, past, shared, now, entries: Vec::new() }
    }

    /// Decides one draft and writes what it becomes.
    pub(crate) fn decide(&mut self, draft: Draft) -> Result<Decision, Fault> {
        match draft.target.clone() {
            Target::Room(room) => match self.places.get(self.log, room)? {
                Some(place) => self.decide_in(place, draft),
                None => Ok(Decision::refused(Refusal::NotFound("room"))),
            },
            Target::Create(new) => match self.room_named(&new.name)? {
                Some(place) => self.decide_taken(place, &draft),
                None => self.create(&draft, &new),
            },
        }
    }

    /// Writes the rooms' rows and hands out where the group's events stand.
    pub(crate) fn finish(self) -> Result<Vec<Entry>, Fault> {
        self.places.write(self.log)?;
        Ok(self.entries)
    }

    fn decide_in(&mut self, place: Place, draft: Draft) -> Result<Decision, Fault> {
        match (place.control > draft.judged_at, draft.proposal.clone()) {
            (false, Proposal::Append { kind, body, change }) => {
                self.append(place, &draft, (kind, body, change))
            }
            (false, Proposal::Refuse(refusal)) => self.known_or(&place, &draft, Outcome::Refused(refusal)),
            (false, Proposal::Holds(seq)) => match self.known(&place, &draft)? {
                Some(known) => Ok(known),
                None => self.duplicate_of(&place, seq),
            },
            (true, _) => self.known_or(&place, &draft, Outcome::Stale),
        }
    }

    /// Adds the event, unless its identity is stored: the insert itself looks it up.
    fn append(
        &mut self,
        place: Place,
        draft: &Draft,
        what: (Kind, Bytes, Change),
    ) -> Result<Decision, Fault> {
        let change = what.2.clone();
        let Ok(sealed) = Sealed::new(place.next(self.now), &draft.author, draft.client_id, what) else {
            let refusal = Refusal::TooLarge { limit: LimitId::BODY_BYTES, value: BODY_BYTES_MAX as u64 };
            return self.known_or(&place, draft, Outcome::Refused(refusal));
        };
        if !self.claim(&sealed, draft.author.account, draft)? {
            // Another insert with this identity came first.
            let missing = || Fault::Nonsense("an identity is stored and not stored".into());
            return self.known(&place, draft)?.ok_or_else(missing);
        }
        self.write(place, &sealed, draft.author.account, change)?;
        Ok(Decision::Events(vec![sealed]))
    }

    /// Stores the identity of a sealed event; `false` if it is stored already.
    fn claim(&self, sealed: &Sealed, author: AccountId, draft: &Draft) -> Result<bool, Fault> {
        let position = sealed.position();
        let mut insert = self.log.prepare_cached(
            "INSERT INTO identities (client_id, author, room, seq, time, request)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?;
        let inserted = insert.execute(params![
            draft.client_id.as_bytes(),
            int(author.0),
            ordinal(position.room.0),
            ordinal(position.seq.0),
            int(position.time.0),
            draft.request.0,
        ])?;
        Ok(inserted == 1)
    }

    /// Writes a sealed event and its change, and moves the room's place on.
    fn write(
        &mut self,
        mut place: Place,
        sealed: &Sealed,
        author: AccountId,
        change: Change,
    ) -> Result<Place, Fault> {
        let position = sealed.position();
        self.log
            .prepare_cached("INSERT INTO log (room, seq, frame) VALUES (?1, ?2, ?3)")?
            .execute(params![ordinal(position.room.0), ordinal(position.seq.0), sealed.frame().as_slice()])?;
        let entry = Entry { room: place.room, seq: position.seq, position: self.log.last_insert_rowid() };
        self.entries.push(entry);
        if place.first > place.head {
            place.oldest = position.time;
        }
        place.bytes = place.bytes.saturating_add(sealed.frame().as_slice().len() as u64);
        (place.head, place.time) = (position.seq, position.time);
        if change.is_control() {
            place.control = position.seq;
        }
        changes::apply(self.log, &mut place, author, change)?;
        self.places.put(place);
        Ok(place)
    }

    /// What the draft's identity says, if it is stored.
    fn known(&self, place: &Place, draft: &Draft) -> Result<Option<Decision>, Fault> {
        let mut select = self.log.prepare_cached(
            "SELECT seq, time, request FROM identities WHERE client_id = ?1 AND author = ?2 AND room = ?3",
        )?;
        let identity =
            params![draft.client_id.as_bytes(), int(draft.author.account.0), ordinal(place.room.0)];
        let found = select.query_row(identity, |row| {
            Ok((Seq(uint(row, 0)?), UnixMillis(uint(row, 1)?), row.get::<_, [u8; 16]>(2)?))
        });
        Ok(found.optional()?.map(|(seq, time, request)| {
            Decision::Nothing(match request == draft.request.0 {
                true => Outcome::Duplicate(place.at(seq, time)),
                false => Outcome::Conflict,
            })
        }))
    }

    /// What the draft's identity says, or this.
    fn known_or(&self, place: &Place, draft: &Draft, otherwise: Outcome) -> Result<Decision, Fault> {
        Ok(self.known(place, draft)?.unwrap_or(Decision::Nothing(otherwise)))
    }

    fn duplicate_of(&self, place: &Place, seq: Seq) -> Result<Decision, Fault> {
        // An event that can not be read still holds; its time was at most that of the newest one.
        let read = if seq < place.first { None } else { self.time_of(place.room, seq)? };
        let time = read.unwrap_or(place.time);
        Ok(Decision::Nothing(Outcome::Duplicate(place.at(seq, time))))
    }

    /// When the event with this seq was stored, by its own record.
    fn time_of(&self, room: RoomId, seq: Seq) -> Result<Option<UnixMillis>, Fault> {
        let fresh = self.entries.iter().rev().find(|entry| (entry.room, entry.seq) == (room, seq));
        let frame = match fresh {
            Some(entry) => rows::frame(self.log, entry.position)?,
            None => self.past_frame(room, seq)?,
        };
        let event = frame.and_then(|frame| record(room, seq, frame));
        if event.is_none() {
            self.shared.report(room, seq);
        }
        Ok(event.map(|(event, _)| event.time))
    }

    /// The bytes of an event of an earlier group.
    fn past_frame(&self, room: RoomId, seq: Seq) -> Result<Option<Vec<u8>>, Fault> {
        // A fault of the index must not stop the log.
        let found = positions(self.shared, &self.past.index, room, (seq.0, seq.0)).unwrap_or_default();
        match found.first() {
            Some(Some(position)) => Ok(rows::frame(&self.past.log, *position)?),
            _ => Ok(None),
        }
    }

    fn room_named(&mut self, name: &RoomName) -> Result<Option<Place>, Fault> {
        match rows::room_named(self.log, name)? {
            Some(room) => Ok(self.places.get(self.log, room)?),
            None => Ok(None),
        }
    }

    /// The answer to a draft that would make a room whose name is taken.
    fn decide_taken(&self, place: Place, draft: &Draft) -> Result<Decision, Fault> {
        if place.visibility == Visibility::DIRECT
            && let Some(joined) = self.joined(place.room, draft.author.account)?
        {
            return self.duplicate_of(&place, joined);
        }
        self.known_or(&place, draft, Outcome::Refused(Refusal::NameTaken))
    }

    fn joined(&self, room: RoomId, account: AccountId) -> Result<Option<Seq>, Fault> {
        let mut select =
            self.log.prepare_cached("SELECT joined FROM members WHERE room = ?1 AND account = ?2")?;
        let joined = select.query_row(params![ordinal(room.0), int(account.0)], |row| uint(row, 0));
        Ok(joined.optional()?.map(Seq))
    }

    fn create(&mut self, draft: &Draft, new: &NewRoom) -> Result<Decision, Fault> {
        match &draft.proposal {
            Proposal::Append { .. } => {}
            Proposal::Holds(_) => return Ok(Decision::refused(Refusal::NotFound("room"))),
            Proposal::Refuse(refusal) => return Ok(Decision::refused(refusal.clone())),
        }
        let mut place = self.insert_room(new)?;
        let mut events = Vec::with_capacity(new.members.len());
        for (author, role) in &new.members {
            let (sealed, change) =
                (join(&place, self.now, draft, author, *role)?, Change::Join { role: *role });
            self.claim(&sealed, author.account, draft)?;
            place = self.write(place, &sealed, author.account, change)?;
            events.push(sealed);
        }
        Ok(Decision::Events(events))
    }

    fn insert_room(&mut self, new: &NewRoom) -> Result<Place, Fault> {
        let mut insert = self.log.prepare_cached(
            "INSERT INTO rooms (name, visibility, history, topic, epoch, first, head, time, control)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, 0, 0, 0)",
        )?;
        // Rooms that were lost with an older log may have had this id.
        let epoch = new.epoch.max(least_epoch(self.log)?);
        let (visibility, history) = (new.visibility.0, new.history.0);
        insert.execute(params![new.name.as_str(), visibility, history, new.topic.as_str(), int(epoch.0)])?;
        let place = Place {
            room: RoomId(self.log.last_insert_rowid().cast_unsigned()),
            visibility: new.visibility,
            epoch,
            head: Seq::ZERO,
            time: UnixMillis(0),
            control: Seq::ZERO,
            members: 0,
            retention: Retention::default(),
            first: Seq::ZERO.next(),
            swept: Seq::ZERO.next(),
            bytes: 0,
            uncounted: Seq::ZERO,
            oldest: UnixMillis(0),
        };
        self.places.put(place);
        Ok(place)
    }
}

/// One of the joins with which a room's log begins.
fn join(
    place: &Place,
    now: UnixMillis,
    draft: &Draft,
    author: &Author,
    role: hark_protocol::RoomRole,
) -> Result<Sealed, Fault> {
    let mut body = Vec::new();
    JoinBody { role }.put(&mut body);
    let what = (Kind::JOIN, Bytes::from(body), Change::Join { role });
    Sealed::new(place.next(now), author, draft.client_id, what)
        .map_err(|error| Fault::Nonsense(format!("a join's body is too large: {error}")))
}

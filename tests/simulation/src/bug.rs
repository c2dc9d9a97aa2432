//! Errors that are planted to show that the rig names them. They live in what the ports are wrapped in, and
//! nowhere in the product.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hark_core::Refusal;
use hark_core::ports::{
    Appended, Budget, Cursor, CursorStore, Draft, Expiry, LogReader, LogStore, Outcome, Position, Proposal,
    Removal, RoomListing, RoomQuery, RoomRecord, Sealed, Span, StoreError, Stored, Target,
};
use hark_protocol::{
    AccountId, Blob, ClientId, Correlation, DeviceId, EncodedFrame, Event, Kind, Retention, RoomId, RoomName,
    Seq, UnixMillis,
};
use hark_server::Stores;
use parking_lot::Mutex;

use crate::client::CID_MARK;
use crate::dump::decode;
use crate::world::World;

/// An error that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The last publish of a group is acknowledged and shown, and written with the next group.
    AckBeforeCommit,
    /// Identities are known for as long as the server lives.
    DedupeInMemory,
    /// Every tenth publish is stored twice.
    Doubled,
    /// Where a reader goes on from the store, it misses the first event.
    SeamOffByOne,
    /// An event in the middle of what is read from the store is missing.
    SwallowedHole,
    /// A cursor is kept two further than it was acknowledged.
    CursorPastHole,
    /// A room that is loaded has lost its last event.
    HeadFromWhatIsLeft,
    /// Every seventh event is stored, and its room is not told.
    LostHint,
    /// Two that are stored together are told each other's place.
    SwappedAnswers,
    /// Every ninth publish is stored, and refused.
    StoredThoughRefused,
    /// What is read from the store is not what was written, and its checksum fits.
    ForgedBody,
    /// A good record is said to be damaged.
    NeedlessGap,
    /// A client that dies loses its outbox.
    OutboxForgets,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 13] = [
        Bug::AckBeforeCommit,
        Bug::DedupeInMemory,
        Bug::Doubled,
        Bug::SeamOffByOne,
        Bug::SwallowedHole,
        Bug::CursorPastHole,
        Bug::HeadFromWhatIsLeft,
        Bug::LostHint,
        Bug::SwappedAnswers,
        Bug::StoredThoughRefused,
        Bug::ForgedBody,
        Bug::NeedlessGap,
        Bug::OutboxForgets,
    ];
}

/// The error that is called so.
///
/// # Errors
/// The names that there are.
pub fn by_name(name: &str) -> Result<Bug, String> {
    let found = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    found.ok_or_else(|| format!("one of {:?}", Bug::ALL))
}

/// The stores with the planted error, if there is one.
pub(crate) fn plant(world: &Arc<World>, stores: Stores) -> Stores {
    let Some(bug) = world.bug else { return stores };
    let start = u8::try_from(world.server.starts.load(Ordering::Relaxed)).unwrap_or(u8::MAX);
    let reader = Arc::clone(&stores.reader);
    Stores {
        log: Box::new(BadLog { inner: stores.log, reader, bug, start, count: 0, held: Vec::new() }),
        reader: plant_reader(world, stores.reader),
        cursors: match bug {
            Bug::CursorPastHole => Arc::new(BadCursors(stores.cursors)),
            _ => stores.cursors,
        },
        ..stores
    }
}

/// The reader as the planted error shows it.
pub(crate) fn plant_reader(world: &Arc<World>, inner: Arc<dyn LogReader>) -> Arc<dyn LogReader> {
    match world.bug {
        Some(bug) => Arc::new(BadReader { inner, bug, count: AtomicU64::new(0), loaded: Mutex::default() }),
        None => inner,
    }
}

/// A log with an error.
struct BadLog {
    inner: Box<dyn LogStore>,
    reader: Arc<dyn LogReader>,
    bug: Bug,
    start: u8,
    count: u64,
    /// What was acknowledged and not written.
    held: Vec<Draft>,
}

impl LogStore for BadLog {
    fn append(&mut self, now: UnixMillis, drafts: Vec<Draft>) -> Result<Vec<Outcome>, StoreError> {
        match self.bug {
            Bug::AckBeforeCommit => self.acknowledge_before(now, drafts),
            Bug::DedupeInMemory => {
                let salt = self.start;
                self.salted(now, drafts, |_, _| salt)
            }
            Bug::Doubled => self.doubled(now, drafts),
            Bug::LostHint => {
                let outcomes = self.inner.append(now, drafts)?;
                Ok(outcomes.into_iter().map(|outcome| self.hide(outcome)).collect())
            }
            Bug::SwappedAnswers => {
                let mut outcomes = self.inner.append(now, drafts)?;
                let both = |one: &Outcome, other: &Outcome| match (one, other) {
                    (Outcome::Appended(one), Outcome::Appended(other)) => {
                        one.len() == 1
                            && other.len() == 1
                            && one[0].position().room == other[0].position().room
                    }
                    _ => false,
                };
                if let [.., one, other] = &mut outcomes[..]
                    && both(one, other)
                {
                    let swapped = swap(one, other);
                    (*one, *other) = swapped;
                }
                Ok(outcomes)
            }
            Bug::StoredThoughRefused => {
                let publishes: Vec<bool> = drafts.iter().map(is_publish).collect();
                let outcomes = self.inner.append(now, drafts)?;
                Ok(outcomes
                    .into_iter()
                    .zip(publishes)
                    .map(|(outcome, it)| self.refuse(outcome, it))
                    .collect())
            }
            _ => self.inner.append(now, drafts),
        }
    }

    fn expire(&mut self, now: UnixMillis, server: Retention, after: RoomId) -> Result<Expiry, StoreError> {
        self.inner.expire(now, server, after)
    }

    fn remove_expired(&mut self, now: UnixMillis, events_max: usize) -> Result<Removal, StoreError> {
        self.inner.remove_expired(now, events_max)
    }
}

impl BadLog {
    fn acknowledge_before(
        &mut self,
        now: UnixMillis,
        mut drafts: Vec<Draft>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.inner.append(now, held)?;
        }
        let last = drafts.pop_if(|draft| is_publish(draft));
        let mut outcomes = self.inner.append(now, drafts)?;
        let Some(last) = last else { return Ok(outcomes) };
        // Known already, or of a room that would refuse it: that is answered as it should be.
        let asked = Draft { proposal: Proposal::Refuse(Refusal::Unavailable), ..last.clone() };
        let known = self.inner.append(now, vec![asked])?.remove(0);
        outcomes.push(match (known, self.forge(now, &last)) {
            (Outcome::Refused(Refusal::Unavailable), Some(forged)) => {
                self.held.push(last);
                Outcome::Appended(vec![forged])
            }
            (known, _) => known,
        });
        Ok(outcomes)
    }

    fn forge(&self, now: UnixMillis, draft: &Draft) -> Option<Appended> {
        let Target::Room(room) = draft.target else { return None };
        let row = self.reader.room(room).ok()??.row;
        let position = Position { room, epoch: row.epoch, seq: row.head.next(), time: now.max(row.time) };
        sealed(position, draft)
    }

    /// Appends under other identities, of which nobody is told.
    fn salted(
        &mut self,
        now: UnixMillis,
        drafts: Vec<Draft>,
        salt: impl Fn(usize, &Draft) -> u8,
    ) -> Result<Vec<Outcome>, StoreError> {
        let salted = drafts.iter().enumerate().map(|(place, draft)| match is_publish(draft) {
            true => Draft { client_id: with_salt(draft.client_id, salt(place, draft)), ..draft.clone() },
            false => draft.clone(),
        });
        let outcomes = self.inner.append(now, salted.collect())?;
        Ok(outcomes.into_iter().zip(&drafts).map(|(outcome, draft)| unsalted(outcome, draft)).collect())
    }

    fn doubled(&mut self, now: UnixMillis, drafts: Vec<Draft>) -> Result<Vec<Outcome>, StoreError> {
        let (mut doubled, mut copies) = (Vec::new(), Vec::new());
        for draft in drafts {
            self.count += 1;
            let is_due = is_publish(&draft) && self.count.is_multiple_of(10);
            doubled.push(draft.clone());
            copies.push(false);
            if is_due {
                doubled.push(draft);
                copies.push(true);
            }
        }
        let is_copy = copies.clone();
        let outcomes = self.salted(now, doubled, |place, _| u8::from(is_copy[place]))?;
        let mut told: Vec<Outcome> = Vec::new();
        for (outcome, is_copy) in outcomes.into_iter().zip(copies) {
            match (is_copy, told.last_mut(), outcome) {
                (false, _, outcome) => told.push(outcome),
                (true, Some(Outcome::Appended(first)), Outcome::Appended(copy)) => first.extend(copy),
                (true, ..) => {}
            }
        }
        Ok(told)
    }

    fn hide(&mut self, outcome: Outcome) -> Outcome {
        self.count += 1;
        match outcome {
            Outcome::Appended(events) if events.len() == 1 && self.count.is_multiple_of(7) => {
                Outcome::Duplicate(events[0].position())
            }
            outcome => outcome,
        }
    }

    fn refuse(&mut self, outcome: Outcome, is_publish: bool) -> Outcome {
        self.count += 1;
        match outcome {
            Outcome::Appended(_) if is_publish && self.count.is_multiple_of(9) => {
                Outcome::Refused(Refusal::Forbidden("it is planted"))
            }
            outcome => outcome,
        }
    }
}

fn is_publish(draft: &Draft) -> bool {
    matches!(&draft.proposal, Proposal::Append { kind: Kind::MESSAGE, .. })
        && matches!(draft.target, Target::Room(_))
        && draft.client_id.as_bytes()[0] == CID_MARK
}

fn sealed(position: Position, draft: &Draft) -> Option<Appended> {
    let Proposal::Append { kind, body, change } = draft.proposal.clone() else { return None };
    Some(Sealed::new(position, &draft.author, draft.client_id, (kind, body, change)).ok()?.committed())
}

fn with_salt(client_id: ClientId, salt: u8) -> ClientId {
    let mut bytes = *client_id.as_bytes();
    bytes[15] = salt;
    ClientId::new(bytes).expect("invariant: the mark is not zero")
}

fn unsalted(outcome: Outcome, draft: &Draft) -> Outcome {
    match outcome {
        Outcome::Appended(events) if is_publish(draft) => {
            Outcome::Appended(events.iter().filter_map(|event| sealed(event.position(), draft)).collect())
        }
        outcome => outcome,
    }
}

/// Each under the other's place.
fn swap(one: &Outcome, other: &Outcome) -> (Outcome, Outcome) {
    match (one, other) {
        (Outcome::Appended(_), Outcome::Appended(second)) => {
            let place = second[0].position();
            (Outcome::Duplicate(place), one.clone())
        }
        _ => (one.clone(), other.clone()),
    }
}

/// A reader with an error.
struct BadReader {
    inner: Arc<dyn LogReader>,
    bug: Bug,
    count: AtomicU64,
    /// Rooms that have been loaded.
    loaded: Mutex<Vec<RoomId>>,
}

impl LogReader for BadReader {
    fn room(&self, room: RoomId) -> Result<Option<RoomRecord>, StoreError> {
        let mut record = self.inner.room(room)?;
        let mut loaded = self.loaded.lock();
        if self.bug == Bug::HeadFromWhatIsLeft
            && !loaded.contains(&room)
            && let Some(record) = record.as_mut().filter(|record| record.row.head > record.row.control)
        {
            record.row.head = record.row.head.previous();
        }
        loaded.push(room);
        Ok(record)
    }

    fn room_id(&self, name: &RoomName) -> Result<Option<RoomId>, StoreError> {
        self.inner.room_id(name)
    }

    fn rooms(&self, query: RoomQuery, after: RoomId, limit: usize) -> Result<Vec<RoomListing>, StoreError> {
        self.inner.rooms(query, after, limit)
    }

    fn rooms_of(&self, account: AccountId, after: RoomId, limit: usize) -> Result<Vec<RoomId>, StoreError> {
        self.inner.rooms_of(account, after, limit)
    }

    fn rooms_joined(&self, account: AccountId) -> Result<u64, StoreError> {
        self.inner.rooms_joined(account)
    }

    fn read(&self, room: RoomId, span: Span, budget: Budget) -> Result<Vec<Stored>, StoreError> {
        let mut read = self.inner.read(room, span, budget)?;
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let goes_on = matches!(span, Span::From(seq) if seq > Seq(1)) && read.len() > 1;
        match self.bug {
            Bug::SeamOffByOne if goes_on => drop(read.remove(0)),
            Bug::SwallowedHole if read.len() > 2 => drop(read.remove(read.len() / 2)),
            Bug::NeedlessGap if goes_on && count.is_multiple_of(5) => {
                read[0] = Stored::Damaged { seq: read[0].seq() }
            }
            Bug::ForgedBody => read = read.into_iter().map(|stored| rewrite(stored, forge_body)).collect(),
            Bug::DedupeInMemory | Bug::Doubled => {
                read = read.into_iter().map(|stored| rewrite(stored, unsalt_event)).collect();
            }
            _ => {}
        }
        Ok(read)
    }
}

/// An event written anew, with a checksum that fits.
fn rewrite(stored: Stored, change: fn(&mut Event)) -> Stored {
    let Stored::Event { seq, frame } = stored else { return stored };
    let Some(mut event) = decode(frame.as_slice()) else { return Stored::Event { seq, frame } };
    change(&mut event);
    Stored::Event { seq, frame: EncodedFrame::new(Correlation::NONE, &event) }
}

fn unsalt_event(event: &mut Event) {
    if event.client_id.as_bytes()[0] == CID_MARK {
        event.client_id = with_salt(event.client_id, 0);
    }
}

fn forge_body(event: &mut Event) {
    if event.client_id.as_bytes()[0] == CID_MARK && event.seq.0.is_multiple_of(5) {
        let mut body = event.body.to_vec();
        body[0] ^= 1;
        event.body = Blob::new(body).expect("invariant: it is as long as it was");
    }
}

/// Cursors with an error.
struct BadCursors(Arc<dyn CursorStore>);

impl CursorStore for BadCursors {
    fn cursor(&self, device: DeviceId, room: RoomId) -> Result<Option<Cursor>, StoreError> {
        self.0.cursor(device, room)
    }

    fn save_cursors(&self, cursors: &[(DeviceId, RoomId, Cursor)]) -> Result<(), StoreError> {
        let further = |cursor: &Cursor| Cursor { seq: Seq(cursor.seq.0 + 2), ..*cursor };
        let cursors: Vec<_> =
            cursors.iter().map(|(device, room, cursor)| (*device, *room, further(cursor))).collect();
        self.0.save_cursors(&cursors)
    }
}

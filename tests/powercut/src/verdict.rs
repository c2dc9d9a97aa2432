//! The judge of an image: opens it as a server would, and compares everything in it with what was promised.

use std::collections::BTreeSet;
use std::path::Path;

use hark_core::ports::{Draft, LogStore, Outcome, Stored};
use hark_core::testkit::drafts::{asking, message};
use hark_protocol::{RoomId, Seq, UnixMillis};
use hark_store_sqlite::{Housekeeping, Options, SqliteStores};

use crate::anomaly::{Anomaly, Kind};
use crate::directory::DirectoryView;
use crate::history::{Answer, Change, History, State};
use crate::reading::{LogFile, Reading, quick_check};
use crate::rng::Rng;
use crate::tape::{Promise, Version};

/// Client ids from here on are used by judges only.
const JUDGES_NUMBERS: u64 = 1 << 40;

/// Retries of acknowledged messages that are tried on one image.
const RETRIES: usize = 3;

/// An image and what must be in it.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Where it is.
    pub folder: &'a Path,
    /// Everything that was ever asked.
    pub history: &'a History,
    /// How much of that must be there, and may.
    pub promise: Promise,
}

/// An image that was found good, still open.
#[derive(Debug)]
pub struct Judged {
    /// The stores.
    pub stores: SqliteStores,
    /// Which version the log was found at.
    pub version: Version,
}

/// How images are opened: as a server would, with fewer connections.
pub fn options() -> Options {
    Options::new().readers(1)
}

/// Opens a folder as the stock store does.
///
/// # Errors
/// That it does not open.
pub fn open(folder: &Path) -> Result<SqliteStores, Anomaly> {
    options().open(folder).map_err(|error| Kind::WillNotOpen.seen(error))
}

impl Image<'_> {
    /// Opens the image and compares; then goes on with it: retries, resends, sends.
    ///
    /// # Errors
    /// The first anomaly.
    pub fn judge(&self, rng: &mut Rng) -> Result<Judged, Anomaly> {
        // Most images keep house in place, because starting a thread for each takes time.
        let housekeeping = if rng.percent(75) { Housekeeping::Inline } else { Housekeeping::Thread };
        let opened = options().housekeeping(housekeeping).open(self.folder);
        let judged = self.compare(opened.map_err(|error| Kind::WillNotOpen.seen(error))?)?;
        self.go_on(judged, rng)
    }

    /// Compares everything that open stores hold with what was promised.
    ///
    /// # Errors
    /// The first anomaly.
    pub fn compare(&self, stores: SqliteStores) -> Result<Judged, Anomaly> {
        let version = self.compare_open(&stores)?;
        Ok(Judged { stores, version })
    }

    /// The same, for stores that somebody else keeps; says which version the log is at.
    ///
    /// # Errors
    /// The first anomaly.
    pub fn compare_open(&self, stores: &SqliteStores) -> Result<Version, Anomaly> {
        let reading = Reading::of(&*stores.reader).map_err(|error| Kind::StoreFailed.seen(error))?;
        self.events(&reading)?;
        let count = self.order()?;
        let version = self.version(&reading, count)?;
        self.directory(stores)?;
        for file in ["directory.db", "index.db"] {
            let found = quick_check(self.folder, file).map_err(|error| Kind::Corrupt.seen(error))?;
            Kind::Corrupt.unless(found.is_none(), || format!("{file}: {found:?}"))?;
        }
        Ok(version)
    }

    /// Opens once more what was judged before, when nothing has been sent by anybody but the judge.
    ///
    /// # Errors
    /// What is not there any more.
    pub fn reopened(&self) -> Result<(), Anomaly> {
        let stores = open(self.folder)?;
        let reading = Reading::of(&*stores.reader).map_err(|error| Kind::StoreFailed.seen(error))?;
        let events = self.history.at(self.promise.begun.max(self.promise.floor())).events;
        for event in self.history.events.iter().take(events) {
            let there = reading.stored.iter().any(|(room, stored)| {
                let same = matches!(stored, Stored::Event { frame, .. } if *frame == event.frame);
                *room == event.room && same
            });
            Kind::LostAck
                .unless(there, || format!("{:?} {:?} is gone after a restart", event.room, event.seq))?;
        }
        Ok(())
    }

    /// Nothing lost, changed, doubled or made up, and no hole.
    fn events(&self, reading: &Reading) -> Result<(), Anomaly> {
        let may_be_there = self.history.at(self.promise.begun).events;
        let mut there = vec![false; self.history.events.len()];
        let mut identities = BTreeSet::new();
        let mut next = (RoomId(0), Seq(0));
        for (room, stored) in &reading.stored {
            let here = (*room, stored.seq());
            let expected = if next.0 == *room { next.1 } else { Seq(1) };
            Kind::Gap.unless(here.1 == expected, || format!("{here:?} stands where {expected:?} must be"))?;
            next = (*room, here.1.next());
            let Stored::Event { frame, .. } = stored else {
                return Err(Kind::Damaged.seen(format!("{here:?} can not be read")));
            };
            let place = self.history.place(here.0, here.1).filter(|place| *place < may_be_there);
            let Some(place) = place else {
                return Err(Kind::Ghost.seen(format!("{here:?}: nobody sent it")));
            };
            let sent = &self.history.events[place];
            Kind::Changed
                .unless(*frame == sent.frame, || format!("{here:?} holds other bytes than were sent"))?;
            let identity = (sent.room, sent.author, *sent.client_id.as_bytes());
            Kind::Doubled
                .unless(identities.insert(identity), || format!("{here:?} has the identity of another"))?;
            there[place] = true;
        }
        let promised = self.history.at(self.promise.floor()).events;
        match (0..promised).find(|place| !there[*place]) {
            Some(place) => Err(self.lost(place)),
            None => Ok(()),
        }
    }

    fn lost(&self, place: usize) -> Anomaly {
        let event = &self.history.events[place];
        let kind = if event.version <= self.promise.done { Kind::LostAck } else { Kind::LostShown };
        let (room, seq, version) = (event.room, event.seq, event.version);
        kind.seen(format!("{room:?} {seq:?} of version {version}; {:?}", self.promise))
    }

    /// The log's file is sound, and a beginning of all that was sent, in that order; says how long it is.
    fn order(&self) -> Result<usize, Anomaly> {
        let log = LogFile::of(self.folder).map_err(|error| Kind::Corrupt.seen(error))?;
        Kind::Corrupt.unless(log.complaint.is_none(), || format!("log.db: {:?}", log.complaint))?;
        let sent = self.history.events.iter().map(|event| (event.room, event.seq));
        match log.order.iter().zip(sent).find(|(row, sent)| **row != *sent) {
            Some((row, sent)) => Err(Kind::Reordered.seen(format!("{row:?} stands where {sent:?} must be"))),
            None => Ok(log.order.len()),
        }
    }

    /// The version that the log is at: one between what was promised and what was begun, whole.
    fn version(&self, reading: &Reading, count: usize) -> Result<Version, Anomaly> {
        let fits = |version: &Version| self.history.at(*version).events == count;
        let versions: Vec<Version> =
            (self.promise.floor()..=self.promise.begun.max(self.promise.floor())).filter(fits).collect();
        let Some(newest) = versions.last() else {
            return Err(Kind::TornGroup.seen(format!("{count} events are there; {:?}", self.promise)));
        };
        let same = |state: &State| {
            state.rooms.len() == reading.rooms.len()
                && state.rooms.values().zip(&reading.rooms).all(|(expected, found)| **expected == *found)
        };
        // What a version without new events changes is the directory.
        Kind::RoomDisagrees.unless(same(self.history.at(*newest)), || {
            let expected = &self.history.at(*newest).rooms;
            format!("found {:?}, expected {expected:?}", reading.rooms)
        })?;
        Ok(*newest)
    }

    fn directory(&self, stores: &SqliteStores) -> Result<(), Anomaly> {
        let between = self.promise.floor()..=self.promise.begun.max(self.promise.floor());
        let mut expected: Vec<&DirectoryView> =
            between.map(|version| &*self.history.at(version).directory).collect();
        expected.dedup();
        let mut found = DirectoryView::default();
        for view in &expected {
            found = DirectoryView::read(&*stores.directory, view.known.clone())
                .map_err(|error| Kind::StoreFailed.seen(error))?;
            if found == **view {
                return Ok(());
            }
        }
        Err(Kind::DirectoryDisagrees.seen(format!("found {found:?}, expected one of {expected:?}")))
    }

    /// What clients do after an outage: they send again what has no answer, and go on.
    fn go_on(&self, judged: Judged, rng: &mut Rng) -> Result<Judged, Anomaly> {
        let Judged { mut stores, version } = judged;
        self.retry_old(&mut stores, version, rng)?;
        let mut newest = version;
        for version in self.promise.done + 1..=self.promise.begun {
            newest = newest.max(version);
            self.resend(&mut stores, version, newest)?;
        }
        self.send_new(&mut stores, newest, rng)?;
        Ok(Judged { stores, version: newest })
    }

    /// A retry of what is stored gets its first seq; the same identity with another request is a conflict.
    fn retry_old(&self, stores: &mut SqliteStores, version: Version, rng: &mut Rng) -> Result<(), Anomaly> {
        let appended = self.history.appended(version);
        let chosen: Vec<_> = (0..RETRIES).filter_map(|_| rng.pick(&appended).copied()).collect();
        let mut drafts: Vec<Draft> = chosen.iter().map(|(draft, _)| (*draft).clone()).collect();
        let request = rng.number() | 1 << 63;
        drafts.extend(chosen.iter().take(1).map(|(draft, _)| asking((*draft).clone(), request)));
        let outcomes = append(stores, UnixMillis(1), drafts)?;
        for ((draft, first), outcome) in chosen.iter().zip(&outcomes) {
            let again = Answer::of(outcome);
            let expected = first.position().map(Answer::Duplicate);
            Kind::RetryForgotten.unless(Some(&again) == expected.as_ref(), || {
                format!("{:?} was {first:?} and is {again:?}", draft.client_id)
            })?;
        }
        match outcomes.get(chosen.len()) {
            Some(outcome) => Kind::ConflictMissed
                .unless(matches!(outcome, Outcome::Conflict), || format!("{outcome:?} is no conflict")),
            None => Ok(()),
        }
    }

    /// A change without an answer is sent again: it is there once, whether or not it was there before. The log is at
    /// `newest` then.
    fn resend(&self, stores: &mut SqliteStores, version: Version, newest: Version) -> Result<(), Anomaly> {
        let change = self.history.at(version).change.as_deref();
        // A client that sets a value sets it again; what adds one asks first whether it is there.
        let Some(Change::Log(now, drafts, answers)) = change else { return Ok(()) };
        let outcomes = append(stores, *now, drafts.clone())?;
        for (answer, outcome) in answers.iter().zip(&outcomes) {
            let again = Answer::of(outcome);
            let expected = answer.position();
            Kind::RetryForgotten.unless(expected.is_none() || again.position() == expected, || {
                format!("without an outage {answer:?}, and after it {again:?}")
            })?;
        }
        let reading = Reading::of(&*stores.reader).map_err(|error| Kind::StoreFailed.seen(error))?;
        self.events(&reading)?;
        let (count, expected) = (reading.stored.len(), self.history.at(newest).events);
        Kind::Doubled.unless(count == expected, || format!("{count} events instead of {expected}"))
    }

    /// A new message stands right behind the last one.
    fn send_new(&self, stores: &mut SqliteStores, version: Version, rng: &mut Rng) -> Result<(), Anomaly> {
        let rooms: Vec<_> = self.history.at(version).rooms.values().collect();
        let Some(room) = rng.pick(&rooms) else { return Ok(()) };
        let draft = message(room.row.id, 1, JUDGES_NUMBERS + rng.below(1 << 40), "after the power cut");
        let outcome = append(stores, UnixMillis(1), vec![draft])?;
        let position = outcome.first().and_then(|outcome| Answer::of(outcome).position());
        let expected = room.row.head.next();
        Kind::SeqReused.unless(position.is_some_and(|found| found.seq == expected), || {
            format!("a new message in {:?} must get {expected:?}, and got {position:?}", room.row.id)
        })
    }
}

/// Appends a group.
///
/// # Errors
/// That the store fails.
pub fn append(
    stores: &mut SqliteStores,
    now: UnixMillis,
    drafts: Vec<Draft>,
) -> Result<Vec<Outcome>, Anomaly> {
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    stores.log.append(now, drafts).map_err(|error| Kind::StoreFailed.seen(error))
}

//! What was asked of the store and what must be found for it: versions, each one change after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use hark_core::ports::{Appended, Draft, Outcome, Position, RoomRecord};
use hark_protocol::{AccountId, ClientId, EncodedFrame, RoomId, Seq, UnixMillis};

use crate::directory::{DirectoryChange, DirectoryView};
use crate::tape::Version;

/// One event as it must be found.
#[derive(Clone, Debug)]
pub struct HistoryEvent {
    /// Its room.
    pub room: RoomId,
    /// Its place there.
    pub seq: Seq,
    /// Who sent it.
    pub author: AccountId,
    /// Under which id.
    pub client_id: ClientId,
    /// Its bytes.
    pub frame: EncodedFrame,
    /// The version that brought it.
    pub version: Version,
}

/// One change that was handed to the store.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of the log: a group of drafts, the time it was given, and what the answers are.
    Log(UnixMillis, Vec<Draft>, Vec<Answer>),
    /// Of the directory, and what the answer is.
    Directory(DirectoryChange, String),
}

/// What the store says to a draft, as far as it can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It became these events.
    Appended(Vec<(Position, EncodedFrame)>),
    /// It is stored already, there.
    Duplicate(Position),
    /// Something else is stored under its identity.
    Conflict,
    /// It must be judged again.
    Stale,
    /// It was refused, so.
    Refused(String),
}

impl Answer {
    /// What an outcome says.
    pub fn of(outcome: &Outcome) -> Answer {
        let event = |event: &Appended| (event.position(), event.frame().clone());
        match outcome {
            Outcome::Appended(events) => Answer::Appended(events.iter().map(event).collect()),
            Outcome::Duplicate(position) => Answer::Duplicate(*position),
            Outcome::Conflict => Answer::Conflict,
            Outcome::Stale => Answer::Stale,
            Outcome::Refused(refusal) => Answer::Refused(format!("{refusal:?}")),
        }
    }

    /// Where the draft's first event stands, if it has one.
    pub fn position(&self) -> Option<Position> {
        match self {
            Answer::Appended(events) => events.first().map(|(position, _)| *position),
            Answer::Duplicate(position) => Some(*position),
            Answer::Conflict | Answer::Stale | Answer::Refused(_) => None,
        }
    }
}

/// Everything as it is after a number of changes.
#[derive(Clone, Debug)]
pub struct State {
    /// So many events, counted from the history's first.
    pub events: usize,
    /// The rooms.
    pub rooms: BTreeMap<RoomId, Arc<RoomRecord>>,
    /// The directory.
    pub directory: Arc<DirectoryView>,
    /// The change that made it; none for the beginning.
    pub change: Option<Arc<Change>>,
}

/// All versions, and all events in the order in which the log must hold them.
#[derive(Clone, Debug)]
pub struct History {
    /// Events.
    pub events: Vec<HistoryEvent>,
    /// States; the one at place n is version n.
    pub states: Vec<State>,
    /// Where in `events` the event of a room and seq is.
    places: BTreeMap<(RoomId, Seq), usize>,
}

impl History {
    /// The history before anything has happened.
    pub fn new() -> History {
        let (rooms, directory) = (BTreeMap::new(), Arc::new(DirectoryView::default()));
        let states = vec![State { events: 0, rooms, directory, change: None }];
        History { events: Vec::new(), states, places: BTreeMap::new() }
    }

    /// The newest version.
    pub fn last(&self) -> Version {
        Version::try_from(self.states.len().saturating_sub(1)).unwrap_or(Version::MAX)
    }

    /// The state at a version, or at the newest one before it.
    pub fn at(&self, version: Version) -> &State {
        let place = (version as usize).min(self.states.len().saturating_sub(1));
        &self.states[place]
    }

    /// Adds a state with the events that are new in it.
    pub fn push(&mut self, state: State, events: Vec<HistoryEvent>) {
        for event in events {
            self.places.insert((event.room, event.seq), self.events.len());
            self.events.push(event);
        }
        self.states.push(state);
    }

    /// Takes the newest version back.
    pub fn pop(&mut self) {
        if self.states.len() > 1 {
            self.states.pop();
        }
        let events = self.states.last().map_or(0, |state| state.events);
        for event in self.events.drain(events.min(self.events.len())..) {
            self.places.remove(&(event.room, event.seq));
        }
    }

    /// The place in `events` of what stands there in a room.
    pub fn place(&self, room: RoomId, seq: Seq) -> Option<usize> {
        self.places.get(&(room, seq)).copied()
    }

    /// Drafts of versions up to this one that became events, with their answers.
    pub fn appended(&self, version: Version) -> Vec<(&Draft, &Answer)> {
        let states = self.states.iter().take(version as usize + 1);
        let changes = states.filter_map(|state| state.change.as_deref());
        let groups = changes.filter_map(|change| match change {
            Change::Log(_, drafts, answers) => Some(drafts.iter().zip(answers)),
            Change::Directory(..) => None,
        });
        groups.flatten().filter(|(_, answer)| matches!(answer, Answer::Appended(_))).collect()
    }
}

impl Default for History {
    fn default() -> History {
        History::new()
    }
}

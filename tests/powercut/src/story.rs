//! A seeded story: what is asked of the store, one change after the other, and from the stores in memory what
//! the answers and the result must be.

use std::collections::BTreeMap;
use std::sync::Arc;

use hark_core::memory::MemoryStores;
use hark_core::ports::{Change as RoomChange, Draft, LogReader, LogStore, Proposal, RoomRecord, StoreError};
use hark_core::testkit::drafts::{
    asking, control, create, draft, judged_at, message, new_room, refuse, topic,
};
use hark_protocol::{AccountId, ClientId, EncodedFrame, RoomId, RoomRole, Seq, UnixMillis, Visibility};

use crate::directory::{DirectoryChange, DirectoryView, ROOMS_MAX};
use crate::history::{Answer, Change, History, HistoryEvent, State};
use crate::rng::Rng;
use crate::tape::Version;

/// Accounts that write.
const AUTHORS: u64 = 6;

/// What kind of story it is; a seed determines it.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Drafts of one group at most.
    pub group_max: u64,
    /// Bytes of a body at most.
    pub body_max: usize,
    /// Whether client ids are random instead of growing.
    pub random_ids: bool,
    /// How many in a hundred changes are the directory's.
    pub directory_percent: u64,
}

impl Shape {
    /// The shape that a stream of chance gives.
    pub fn any(rng: &mut Rng) -> Shape {
        Shape {
            group_max: *rng.pick(&[1, 4, 12]).unwrap_or(&4),
            body_max: *rng.pick(&[60, 300, 300, 9_000]).unwrap_or(&300),
            random_ids: rng.percent(30),
            directory_percent: *rng.pick(&[0, 10, 25]).unwrap_or(&10),
        }
    }
}

/// A story being told.
#[derive(Debug)]
pub struct Story {
    rng: Rng,
    shape: Shape,
    memory: MemoryStores,
    /// What has happened and what must be found for it.
    pub history: History,
    number: u64,
}

impl Story {
    /// A story at its beginning.
    pub fn new(mut rng: Rng) -> Story {
        let shape = Shape::any(&mut rng);
        Story { rng, shape, memory: MemoryStores::new(), history: History::new(), number: 0 }
    }

    /// Makes the next change, in memory, and says which version it makes.
    pub fn go_on(&mut self) -> Version {
        let change = self.next_change();
        self.apply(change)
    }

    /// Takes the newest version back: the store had not done it when it was killed.
    pub fn forget_last(&mut self) {
        self.history.pop();
        let changes: Vec<_> = self.history.states.iter().filter_map(|state| state.change.clone()).collect();
        self.memory = MemoryStores::new();
        for change in changes {
            self.answer(&change);
        }
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(1_000 + self.number * 10)
    }

    fn next_change(&mut self) -> Change {
        self.number += 1;
        if self.rng.percent(self.shape.directory_percent) {
            let view = self.history.at(self.history.last()).directory.clone();
            let change = DirectoryChange::any(&view, self.number, &mut self.rng);
            return Change::Directory(change, String::new());
        }
        let count = 1 + self.rng.below(self.shape.group_max);
        let drafts = (0..count).map(|_| self.draft()).collect();
        Change::Log(self.now(), drafts, Vec::new())
    }

    fn apply(&mut self, change: Change) -> Version {
        let change = self.answer(&change);
        let version = self.history.last() + 1;
        let before = self.history.at(version);
        let (mut rooms, mut directory) = (before.rooms.clone(), before.directory.clone());
        let mut events = Vec::new();
        match &change {
            Change::Log(_, drafts, answers) => {
                events = new_events(drafts, answers, version);
                self.refresh(&mut rooms, &events);
            }
            Change::Directory(change, _) => {
                let known = directory.known.after(change);
                directory = Arc::new(sure(DirectoryView::read(&*self.memory.directory, known)));
            }
        }
        let events_before = self.history.events.len();
        let change = Some(Arc::new(change));
        self.history.push(State { events: events_before + events.len(), rooms, directory, change }, events);
        version
    }

    /// The change with the answer that the stores in memory give to it.
    fn answer(&mut self, change: &Change) -> Change {
        match change {
            Change::Log(now, drafts, _) => {
                let outcomes = sure(self.memory.log.append(*now, drafts.clone()));
                Change::Log(*now, drafts.clone(), outcomes.iter().map(Answer::of).collect())
            }
            Change::Directory(change, _) => {
                Change::Directory(change.clone(), sure(change.apply(&*self.memory.directory)))
            }
        }
    }

    fn refresh(&self, rooms: &mut BTreeMap<RoomId, Arc<RoomRecord>>, events: &[HistoryEvent]) {
        for event in events {
            if let Some(record) = sure(self.memory.reader.room(event.room)) {
                rooms.insert(event.room, Arc::new(record));
            }
        }
    }

    fn draft(&mut self) -> Draft {
        let rooms = &self.history.at(self.history.last()).rooms;
        let count = rooms.len() as u64;
        self.number += 1;
        if count == 0 || (count < ROOMS_MAX && self.rng.percent(4)) {
            let members: Vec<u64> = (1..=1 + self.rng.below(3)).collect();
            let visibility = if self.rng.percent(70) { Visibility::PUBLIC } else { Visibility::PRIVATE };
            return create(new_room(&format!("room-{}", count + 1), visibility, &members), self.number);
        }
        let room = RoomId(1 + self.rng.below(count));
        let account = 1 + self.rng.below(AUTHORS);
        let chance = self.rng.below(100);
        match chance {
            0..62 => self.message(room, account),
            62..76 => self.again(room, account, chance >= 72),
            76..90 => self.control(room, account, chance),
            _ => self.unusual(room, account, chance),
        }
    }

    fn message(&mut self, room: RoomId, account: u64) -> Draft {
        let longest = if self.rng.percent(90) { self.shape.body_max.min(300) } else { self.shape.body_max };
        let length = 1 + self.rng.index(longest);
        let letter = char::from(b'a' + u8::try_from(self.rng.below(26)).unwrap_or(0));
        let body = format!("{} {}", self.number, letter.to_string().repeat(length));
        let mut draft = message(room, account, self.number, &body);
        if self.shape.random_ids {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.rng.number().to_le_bytes());
            id[8..].copy_from_slice(&(self.rng.number() | 1).to_le_bytes());
            draft.client_id = ClientId::new(id).unwrap_or(draft.client_id);
        }
        draft
    }

    /// A draft that is stored already, as it was or as another request.
    fn again(&mut self, room: RoomId, account: u64, as_another: bool) -> Draft {
        let appended = self.history.appended(self.history.last());
        match self.rng.pick(&appended).map(|(draft, _)| (*draft).clone()) {
            Some(old) if as_another => asking(old, 1 + self.number),
            Some(old) => old,
            None => self.message(room, account),
        }
    }

    fn control(&mut self, room: RoomId, account: u64, chance: u64) -> Draft {
        let other = AccountId(1 + self.rng.below(AUTHORS));
        let change = match chance {
            76..81 => RoomChange::Join { role: RoomRole::MEMBER },
            81..84 => RoomChange::Leave,
            84..86 => RoomChange::Topic { topic: topic(&format!("topic {}", self.number)) },
            86..87 => RoomChange::Role { account: other, role: RoomRole::OWNER },
            87..89 => RoomChange::Invite { account: other },
            _ => RoomChange::Kick { account: other },
        };
        control(room, account, self.number, change)
    }

    /// Drafts that become nothing.
    fn unusual(&mut self, room: RoomId, account: u64, chance: u64) -> Draft {
        match chance {
            90..93 => draft(room, account, self.number, Proposal::Holds(Seq(1))),
            93..95 => draft(room, account, self.number, refuse()),
            95..97 => judged_at(self.message(room, account), 0),
            97..98 => self.message(RoomId(999), account),
            _ => create(new_room(&format!("room-{room}"), Visibility::PUBLIC, &[account]), self.number),
        }
    }
}

fn new_events(drafts: &[Draft], answers: &[Answer], version: Version) -> Vec<HistoryEvent> {
    let mut events = Vec::new();
    for (draft, answer) in drafts.iter().zip(answers) {
        let Answer::Appended(appended) = answer else { continue };
        for (position, frame) in appended {
            events.push(HistoryEvent {
                room: position.room,
                seq: position.seq,
                author: author(frame).unwrap_or(draft.author.account),
                client_id: draft.client_id,
                frame: frame.clone(),
                version,
            });
        }
    }
    events
}

/// The author that an event names: a room's first joins have different ones.
fn author(frame: &EncodedFrame) -> Option<AccountId> {
    crate::reading::event(frame).map(|event| event.author)
}

/// What stores in memory answer: they fail only where they are told to.
fn sure<T>(result: Result<T, StoreError>) -> T {
    result.expect("invariant: nobody told the stores in memory to fail")
}

//! A room with its log as the world sees it: what was stored, what can be read, and what the room knows yet.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use hark_core::Limits;
use hark_core::delivery::RoomHandle;
use hark_core::ports::{
    Appended, Author, Budget, Change, Position, Proposal, RoomRecord, RoomRow, Sealed, Stored,
};
use hark_core::room::{Ask, Room};
use hark_protocol::*;

use crate::samples;

/// Who owns every room, and removes others from it.
pub(super) const OWNER: u64 = 9;

/// An event as it was stored, before anything happened to its record.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) frame: EncodedFrame,
    pub(super) removes: Option<(AccountId, EndReason)>,
    pub(super) is_damaged: bool,
}

/// The handle that deliveries hold.
#[derive(Clone, Debug)]
pub(super) struct Handle(Rc<RefCell<Room>>);

impl RoomHandle for Handle {
    fn with<R>(&self, look: impl FnOnce(&Room) -> R) -> R {
        look(&self.0.borrow())
    }
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) id: RoomId,
    pub(super) handle: Handle,
    /// Every event there ever was, by seq.
    pub(super) events: BTreeMap<Seq, Truth>,
    /// The oldest event that can be read; the room may not know yet.
    pub(super) first: Seq,
    /// What is on the disk and not yet in the room.
    pending: VecDeque<Appended>,
    tail_bytes_max: usize,
}

pub(super) fn author(account: u64) -> Author {
    Author { account: AccountId(account), name: samples::name(&format!("account-{account}")) }
}

impl Log {
    /// A room with one event, its owner's join.
    pub(super) fn new(id: RoomId, history: HistoryPolicy, tail_bytes_max: usize) -> Log {
        let row = RoomRow {
            id,
            name: RoomName::parse("garden").unwrap(),
            visibility: Visibility::PUBLIC,
            history,
            topic: Line::default(),
            retention: hark_protocol::Retention::default(),
            epoch: Epoch(7),
            first: Seq(1),
            head: Seq::ZERO,
            time: UnixMillis(0),
            control: Seq::ZERO,
        };
        let room = Room::load(RoomRecord { row, members: Vec::new(), invited: Vec::new() });
        let handle = Handle(Rc::new(RefCell::new(room)));
        let (events, pending) = (BTreeMap::new(), VecDeque::new());
        let mut log = Log { id, handle, events, first: Seq(1), pending, tail_bytes_max };
        let role = RoomRole::OWNER;
        log.store(&author(OWNER), (Kind::JOIN, vec![role.0].into(), Change::Join { role }));
        log.apply();
        log
    }

    /// The newest event on the disk.
    pub(super) fn head(&self) -> Seq {
        self.events.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq)
    }

    /// What the room makes of a request; the event is on the disk then, and not yet in the room.
    pub(super) fn append(&mut self, by: &Author, ask: &Ask) {
        self.apply(); // the one writer has applied a batch before it judges the next one
        let limits = Limits::open();
        let proposal = self.handle.with(|room| room.judge(by, ask, &limits));
        if let Proposal::Append { kind, body, change } = proposal {
            self.store(by, (kind, body, change));
        }
    }

    fn store(&mut self, by: &Author, what: (Kind, bytes::Bytes, Change)) {
        let seq = self.head().next();
        let removes = match &what.2 {
            Change::Leave => Some((by.account, EndReason::LEFT)),
            Change::Kick { account } => Some((*account, EndReason::KICKED)),
            _ => None,
        };
        let removes = removes.filter(|(account, _)| self.handle.with(|room| room.member(*account).is_some()));
        let position = Position { room: self.id, epoch: Epoch(7), seq, time: UnixMillis(seq.0) };
        let sealed = Sealed::new(position, by, samples::client_id(seq.0), what).unwrap();
        self.events.insert(seq, Truth { frame: sealed.frame().clone(), removes, is_damaged: false });
        self.pending.push_back(sealed.committed());
    }

    /// The room takes note of what is on the disk. Returns whether that was news.
    pub(super) fn apply(&mut self) -> bool {
        let is_news = !self.pending.is_empty();
        for appended in self.pending.drain(..) {
            self.handle.0.borrow_mut().apply(&appended, self.tail_bytes_max);
        }
        is_news
    }

    pub(super) fn shrink_tail(&mut self, bytes_max: usize) {
        self.handle.0.borrow_mut().shrink_tail(bytes_max);
    }

    /// The record can not be trusted any more; what the tail still has is as it was.
    pub(super) fn damage(&mut self, seq: Seq) {
        if let Some(event) = self.events.get_mut(&seq) {
            event.is_damaged = true;
        }
    }

    /// Events before `first` are gone from the disk.
    pub(super) fn retain_from(&mut self, first: Seq) {
        self.first = self.first.max(first.min(self.head().next()));
    }

    /// The room is let go and loaded anew: it knows where its log begins, and has no tail.
    pub(super) fn reload(&mut self) {
        self.apply();
        let mut room = self.handle.0.borrow_mut();
        let row = RoomRow { first: self.first, ..room.row().clone() };
        let members = room.members_after(AccountId(0)).copied().collect();
        *room = Room::load(RoomRecord { row, members, invited: Vec::new() });
    }

    /// A read as the port promises it.
    pub(super) fn read(&self, from: Seq, budget: Budget) -> Vec<Stored> {
        let mut bytes = 0;
        let mut read = Vec::new();
        for (seq, event) in self.events.range(from.max(self.first)..).take(budget.events) {
            bytes += event.frame.as_slice().len();
            if bytes > budget.bytes && !read.is_empty() {
                break;
            }
            read.push(match event.is_damaged {
                true => Stored::Damaged { seq: *seq },
                false => Stored::Event { seq: *seq, frame: event.frame.clone() },
            });
        }
        read
    }
}

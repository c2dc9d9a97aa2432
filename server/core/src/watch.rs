//! Watching rooms without reading them: the subscriptions of the level `heads`.
//!
//! ```text
//!          hint, recheck            head is above what was told, and the last HEAD is a second old
//!   quiet ───────────────▶ dirty ────────────────────────────────────────────────────────────────▶ HEAD, quiet
//!     ▲                    ▲ │
//!     └── nothing to tell ─│─┤
//!                     tick │ └── told less than a second ago ──▶ resting
//!                          └────────────────────────────────────────┘
//! ```
//!
//! A watch has no events in flight, so it counts against no window and no PING waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hark_protocol::{
    AccountId, Ack, Correlation, EndReason, Epoch, Head, RoomId, Seq, SubscriptionEnded, encode_into,
};

use crate::delivery::RoomHandle;
use crate::room::{Room, View};
use crate::subscription::BeyondSent;

/// Nanoseconds between two HEADs of one watch.
const HEAD_INTERVAL_NS: u64 = 1_000_000_000;

#[derive(Debug)]
struct Watch<H> {
    handle: H,
    epoch: Epoch,
    joined: Seq,
    /// What the peer has acknowledged, or came with.
    position: Seq,
    /// The head that it was told last; its position before that.
    told: Seq,
    /// The greatest head that it knows of, SUBSCRIBED included.
    known: Seq,
    /// When the next HEAD may be written.
    due_ns: u64,
    state: State,
}

/// Whether a watch's room is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    Dirty,
    /// It has news, and was told of others too short a while ago.
    Resting,
}

/// What a watch's room has come to.
enum Look {
    Nothing,
    Head(Seq),
    Later,
    Ended(EndReason),
}

/// The watches of one connection.
#[derive(Debug)]
pub struct Watches<H> {
    account: AccountId,
    watches: BTreeMap<RoomId, Watch<H>>,
    /// Those whose rooms may have news, first come first served.
    dirty: VecDeque<RoomId>,
    resting: BTreeSet<RoomId>,
}

impl<H: RoomHandle> Watches<H> {
    /// No watches yet.
    pub fn new(account: AccountId) -> Watches<H> {
        Watches { account, watches: BTreeMap::new(), dirty: VecDeque::new(), resting: BTreeSet::new() }
    }

    /// Adds a watch whose first event would be `next`.
    pub fn insert(&mut self, room: RoomId, handle: H, view: &View, next: Seq) {
        let position = next.previous();
        let watch = Watch {
            handle,
            epoch: view.epoch,
            joined: view.joined,
            position,
            told: position,
            known: view.head.max(position),
            due_ns: 0,
            state: State::Quiet,
        };
        self.remove(room);
        self.watches.insert(room, watch);
        self.hint(room);
    }

    /// Ends a watch, and hands back what it held on to.
    pub fn remove(&mut self, room: RoomId) -> Option<H> {
        self.resting.remove(&room);
        self.watches.remove(&room).map(|watch| watch.handle)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Where the watch of a room stands.
    pub fn place(&self, room: RoomId) -> Option<(Epoch, Seq)> {
        self.watches.get(&room).map(|watch| (watch.epoch, watch.position))
    }

    /// What gives access to a room that is watched.
    pub fn handle(&self, room: RoomId) -> Option<&H> {
        self.watches.get(&room).map(|watch| &watch.handle)
    }

    /// The room may have news.
    pub fn hint(&mut self, room: RoomId) {
        if let Some(watch) = self.watches.get_mut(&room)
            && watch.state == State::Quiet
        {
            watch.state = State::Dirty;
            self.dirty.push_back(room);
        }
    }

    /// Looks again at every room, in case a hint was lost.
    pub fn recheck(&mut self) {
        let rooms: Vec<RoomId> = self.watches.keys().copied().collect();
        rooms.into_iter().for_each(|room| self.hint(room));
    }

    /// Whether some have news and were told of others too short a while ago: a tick is wanted, a second from now.
    pub fn wants_tick(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Looks again at those that have rested.
    pub fn tick(&mut self) {
        for room in std::mem::take(&mut self.resting) {
            if let Some(watch) = self.watches.get_mut(&room) {
                watch.state = State::Dirty;
                self.dirty.push_back(room);
            }
        }
    }

    /// Takes an ACK: the position moves, never back. True unless it is passed over; `None` where nothing is watched.
    ///
    /// # Errors
    /// [`BeyondSent`] for a seq above the head that was told.
    pub fn on_ack(&mut self, ack: &Ack) -> Option<Result<bool, BeyondSent>> {
        let watch = self.watches.get_mut(&ack.room)?;
        if watch.epoch != ack.epoch {
            return Some(Ok(false));
        }
        if ack.seq > watch.known {
            return Some(Err(BeyondSent { acked: ack.seq, sent: watch.known }));
        }
        let is_news = ack.seq >= watch.position;
        watch.position = watch.position.max(ack.seq);
        Some(Ok(is_news))
    }

    /// Writes the HEADs that are due, until `out` holds `bytes_max`, and the ends of watches whose accounts were
    /// removed; hands out the rooms of those. What was told less than a second ago waits.
    pub fn tell(&mut self, now_ns: u64, bytes_max: usize, out: &mut Vec<u8>) -> Vec<RoomId> {
        let mut ended = Vec::new();
        while out.len() < bytes_max {
            let Some(room) = self.dirty.pop_front() else { break };
            let Some(watch) = self.watches.get_mut(&room) else { continue };
            if std::mem::replace(&mut watch.state, State::Quiet) != State::Dirty {
                continue; // left behind by a watch before this one
            }
            match watch.look(self.account, now_ns) {
                Look::Nothing => {}
                Look::Later => {
                    watch.state = State::Resting;
                    self.resting.insert(room);
                }
                Look::Head(head) => {
                    watch.told = head;
                    watch.known = watch.known.max(head);
                    watch.due_ns = now_ns.saturating_add(HEAD_INTERVAL_NS);
                    let behind = head.0 - watch.position.0;
                    let notice = Head { room, epoch: watch.epoch, head, behind };
                    encode_into(Correlation::NONE, &notice, out);
                }
                Look::Ended(reason) => {
                    let (epoch, seq) = (watch.epoch, watch.position);
                    encode_into(Correlation::NONE, &SubscriptionEnded { room, epoch, seq, reason }, out);
                    ended.push(room);
                }
            }
        }
        ended
    }
}

impl<H: RoomHandle> Watch<H> {
    fn look(&self, account: AccountId, now_ns: u64) -> Look {
        self.handle.with(|room: &Room| {
            if room.member(account).is_none_or(|member| member.joined != self.joined) {
                let removal = room.tail().removal(account, self.joined);
                return Look::Ended(removal.unwrap_or(EndReason::KICKED));
            }
            match room.head() {
                head if head <= self.told.max(self.position) => Look::Nothing,
                _ if now_ns < self.due_ns => Look::Later,
                head => Look::Head(head),
            }
        })
    }
}

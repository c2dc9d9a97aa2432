//! Delivery to one connection: all its subscriptions, which of them have news, and what is written next.
//!
//! The state of one subscription in here:
//!
//! ```text
//!           hint, ACK, tick                 tail reaches back to next
//!   quiet ──────────────────▶ dirty ──────────────────────────────────▶ written, dirty again if more is left
//!     ▲                        │ │                 a place is free              read
//!     │ head reached           │ └──▶ queued ────────────────────▶ fetching ──────────▶ dirty
//!     └────────────────────────┤       it does not
//!                              └──▶ lagging: out of credit ── ACK ──▶ dirty
//! ```
//!
//! Those that the connection's window holds back take turns: whoever was held back first is looked at first
//! when there is credit again. The same goes for the few places in which events from the store may wait.

use std::collections::{BTreeMap, VecDeque};

use hark_protocol::{
    AccountId, Ack, Correlation, EndReason, Epoch, Head, RoomId, Seq, SubscriptionEnded, encode_into,
};

use crate::outstanding::Progress;
use crate::pen::{Pen, Turn};
use crate::ports::{Budget, Stored};
use crate::room::Room;
use crate::room::View;
use crate::subscription::{BeyondSent, Subscription};
use crate::watch::Watches;

/// Events written for one room before the next one has its turn.
const TURN_EVENTS_MAX: u64 = 64;

/// Bytes read from the store at once for one subscription.
const FETCH_BYTES_MAX: usize = 128 * 1024;

/// Subscriptions of one connection that read from the store at once, or have read and not yet sent: more would
/// only fill the memory while a slow peer takes its time.
const FETCHES_MAX: usize = 4;

/// Access to a room that others change.
pub trait RoomHandle {
    /// Looks at the room as it is now. Must not wait and must not call back into the delivery.
    fn with<R>(&self, look: impl FnOnce(&Room) -> R) -> R;
}

/// A read from the store that a subscription needs, because the room's tail does not reach back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The room.
    pub room: RoomId,
    /// Which subscription of the connection, so that the result of an older one is not taken for its own.
    pub generation: u64,
    /// The first event wanted.
    pub from: Seq,
    /// How much.
    pub budget: Budget,
}

/// What a round of writing came to.
#[derive(Debug, Default)]
pub struct Round {
    /// Events written.
    pub events: u64,
    /// Reads that have to be made before their subscriptions can go on.
    pub fetches: Vec<Fetch>,
    /// Rooms whose subscription has ended.
    pub ended: Vec<RoomId>,
}

#[derive(Debug)]
struct Entry<H> {
    handle: H,
    subscription: Subscription,
    generation: u64,
    is_dirty: bool,
    fetch: FetchState,
    /// Out of credit while its room has more.
    is_lagging: bool,
    /// Among those that the connection's window holds back.
    is_held_back: bool,
    /// It has had its last event, and is only there until its caller takes it away.
    is_ended: bool,
    head_told: Seq,
}

/// How a subscription stands with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchState {
    /// It needs nothing from there.
    None,
    /// It waits for a place.
    Queued,
    /// It has a place, and a read under way.
    Reading,
    /// It has a place, and what was read is being sent.
    Sending,
}

/// Every subscription of one connection.
#[derive(Debug)]
pub struct Delivery<H> {
    account: AccountId,
    window: u64,
    in_flight: u64,
    generations: u64,
    entries: BTreeMap<RoomId, Entry<H>>,
    dirty: VecDeque<RoomId>,
    /// Held back by the connection's window, longest first.
    held_back: VecDeque<RoomId>,
    /// Waiting for a place to read from the store, longest first.
    queued: VecDeque<RoomId>,
    /// Places taken by those who read from the store.
    places_taken: usize,
    lagging: usize,
    /// The subscriptions of the level `heads`.
    watches: Watches<H>,
}

impl<H: RoomHandle> Delivery<H> {
    /// No subscriptions yet; at most `window` events in flight in all.
    pub fn new(account: AccountId, window: u32) -> Delivery<H> {
        Delivery {
            account,
            window: u64::from(window),
            in_flight: 0,
            generations: 0,
            entries: BTreeMap::new(),
            dirty: VecDeque::new(),
            held_back: VecDeque::new(),
            queued: VecDeque::new(),
            places_taken: 0,
            lagging: 0,
            watches: Watches::new(account),
        }
    }

    /// Adds a subscription, in the place of the one to that room if there is any.
    pub fn insert(&mut self, room: RoomId, handle: H, subscription: Subscription) {
        self.end(room);
        self.generations += 1;
        let generation = self.generations;
        let head_told = Seq::ZERO;
        let fetch = FetchState::None;
        let (is_dirty, is_lagging, is_held_back, is_ended) = (false, false, false, false);
        let entry = Entry {
            handle,
            subscription,
            generation,
            is_dirty,
            fetch,
            is_lagging,
            is_held_back,
            is_ended,
            head_told,
        };
        self.entries.insert(room, entry);
        self.hint(room);
    }

    /// Adds a subscription of the level `heads` whose first event would be `next`, in the place of the one to that
    /// room if there is any.
    pub fn watch(&mut self, room: RoomId, handle: H, view: &View, next: Seq) {
        self.end(room);
        self.watches.insert(room, handle, view, next);
    }

    /// Ends the subscription to that room, of whatever level; true if there was one.
    pub fn end(&mut self, room: RoomId) -> bool {
        self.remove(room).is_some() || self.watches.remove(room).is_some()
    }

    /// Ends a subscription of the level `full`, and hands back what it held on to.
    pub fn remove(&mut self, room: RoomId) -> Option<(H, Subscription)> {
        let entry = self.entries.remove(&room)?;
        self.lagging -= usize::from(entry.is_lagging);
        if entry.is_held_back {
            self.held_back.retain(|other| *other != room);
        }
        match entry.fetch {
            FetchState::None => {}
            FetchState::Queued => self.queued.retain(|other| *other != room),
            FetchState::Reading | FetchState::Sending => self.leave_place(),
        }
        self.give_back(entry.subscription.in_flight());
        Some((entry.handle, entry.subscription))
    }

    /// Events that were in flight are not any more: as many of those that were held back for want of them are
    /// looked at again. Each of them takes at least one.
    fn give_back(&mut self, events: u64) {
        self.in_flight -= events;
        let mut credit = self.window.saturating_sub(self.in_flight);
        while credit > 0 {
            let Some(room) = self.held_back.pop_front() else { break };
            if let Some(entry) = self.entries.get_mut(&room) {
                entry.is_held_back = false;
                self.hint(room);
                credit -= 1;
            }
        }
    }

    /// A place to read from the store is free: for whoever has waited longest.
    fn leave_place(&mut self) {
        self.places_taken -= 1;
        if let Some(room) = self.queued.pop_front()
            && let Some(entry) = self.entries.get_mut(&room)
        {
            entry.fetch = FetchState::None;
            self.hint(room);
        }
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.entries.len() + self.watches.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events sent and not acknowledged, over all subscriptions.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Where the subscription to that room stands: the last seq that was sent, or its position if it is one of the
    /// level `heads`.
    pub fn place(&self, room: RoomId) -> Option<(Epoch, Seq)> {
        let full = self.get(room).map(|subscription| (subscription.epoch(), subscription.sent()));
        full.or_else(|| self.watches.place(room))
    }

    /// The subscription of the level `full` to that room.
    pub fn get(&self, room: RoomId) -> Option<&Subscription> {
        self.entries.get(&room).map(|entry| &entry.subscription)
    }

    /// What gives access to a room that is followed.
    pub fn handle(&self, room: RoomId) -> Option<&H> {
        self.entries.get(&room).map(|entry| &entry.handle).or_else(|| self.watches.handle(room))
    }

    /// The room may have news. A hint too many costs a look, a hint too few costs time until the next
    /// [`Delivery::recheck`]; neither costs an event.
    pub fn hint(&mut self, room: RoomId) {
        self.watches.hint(room);
        if let Some(entry) = self.entries.get_mut(&room)
            && !entry.is_dirty
            && !entry.is_ended
            && !matches!(entry.fetch, FetchState::Queued | FetchState::Reading)
        {
            entry.is_dirty = true;
            self.dirty.push_back(room);
        }
    }

    /// Compares every cursor with its room's head, in case a hint was lost.
    pub fn recheck(&mut self) {
        self.watches.recheck();
        let behind = |entry: &Entry<H>| entry.subscription.next() <= entry.handle.with(Room::head);
        let rooms: Vec<RoomId> =
            self.entries.iter().filter(|(_, entry)| behind(entry)).map(|(room, _)| *room).collect();
        rooms.into_iter().for_each(|room| self.hint(room));
    }

    /// Whether a round would find something to look at.
    pub fn has_news(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes an ACK; true unless it is passed over. That is one for a room that is not followed, or of another
    /// incarnation of its log, because it may have crossed the subscription's end, and one below another.
    ///
    /// # Errors
    /// [`BeyondSent`], after which the peer's count can not be trusted.
    pub fn on_ack(&mut self, ack: &Ack) -> Result<bool, BeyondSent> {
        let Some(entry) = self.entries.get_mut(&ack.room) else {
            return self.watches.on_ack(ack).unwrap_or(Ok(false));
        };
        if entry.subscription.epoch() != ack.epoch {
            return Ok(false);
        }
        let before = entry.subscription.acked();
        let events = entry.subscription.on_ack(ack.seq)?;
        if events > 0 {
            self.hint(ack.room);
            self.give_back(events);
        }
        Ok(ack.seq >= before)
    }

    /// Writes events behind `out` until it holds `bytes_max`, or nothing is left to write.
    pub fn round(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> Round {
        let mut round = Round::default();
        while out.len() < bytes_max {
            let Some(room) = self.next_dirty() else { break };
            let Some(entry) = self.entries.get_mut(&room) else { continue };
            if !std::mem::take(&mut entry.is_dirty) {
                continue; // left behind by a subscription before this one
            }
            let credit = self.window.saturating_sub(self.in_flight);
            let before = entry.subscription.in_flight();
            let events_max = credit.min(entry.subscription.credit()).min(TURN_EVENTS_MAX);
            let turn = entry.turn(&mut Pen { room, account: self.account, events_max, bytes_max, out });
            let sent = entry.subscription.in_flight() - before;
            self.in_flight += sent;
            round.events += sent;
            if let Turn::Ended(reason) = turn {
                entry.is_ended = true;
                entry.write_ended(room, reason, out);
                round.ended.push(room);
            }
            self.after_turn(room, &turn, &mut round.fetches);
        }
        round
    }

    /// The next room to look at. Credit that was given to those before it, and that they had no use for, goes to
    /// whoever is held back.
    fn next_dirty(&mut self) -> Option<RoomId> {
        while self.dirty.is_empty() && self.in_flight < self.window {
            let Some(room) = self.held_back.pop_front() else { break };
            if let Some(entry) = self.entries.get_mut(&room) {
                entry.is_held_back = false;
                self.hint(room);
            }
        }
        self.dirty.pop_front()
    }

    /// Takes note of how a turn went.
    fn after_turn(&mut self, room: RoomId, turn: &Turn, fetches: &mut Vec<Fetch>) {
        let credit = self.window.saturating_sub(self.in_flight);
        let Some(entry) = self.entries.get_mut(&room) else { return };
        let lags = matches!(turn, Turn::Starved);
        self.lagging = self.lagging + usize::from(lags) - usize::from(entry.is_lagging);
        entry.is_lagging = lags;
        if lags {
            // Whoever can not go on makes room for the others; what it had read is read again.
            entry.subscription.drop_stored();
        }
        let is_sent = entry.fetch == FetchState::Sending && !entry.subscription.has_stored();
        if is_sent {
            entry.fetch = FetchState::None;
        }
        match turn {
            // With credit of its own it is the connection's that is wanting.
            Turn::Starved if entry.subscription.credit() > 0 && !entry.is_held_back => {
                entry.is_held_back = true;
                self.held_back.push_back(room);
            }
            Turn::Fetch if is_sent || self.places_taken < FETCHES_MAX => {
                self.places_taken += usize::from(!is_sent);
                fetches.push(entry.fetch(room, credit));
                return;
            }
            Turn::Fetch => {
                entry.fetch = FetchState::Queued;
                self.queued.push_back(room);
            }
            Turn::More => self.hint(room),
            Turn::Quiet | Turn::Starved | Turn::Ended(_) => {}
        }
        if is_sent {
            self.leave_place();
        }
    }

    /// Takes what a [`Fetch`] has read. An empty or failed read is tried again at the next recheck.
    pub fn fetched(&mut self, fetch: &Fetch, mut read: Vec<Stored>) {
        let Some(entry) = self.entries.get_mut(&fetch.room) else { return };
        if entry.generation != fetch.generation {
            return;
        }
        // The store may be ahead of the room, whose head is what everybody goes by.
        let head = entry.handle.with(Room::head);
        read.retain(|stored| stored.seq() <= head);
        if entry.subscription.keep_stored(read) {
            entry.fetch = FetchState::Sending;
            self.hint(fetch.room);
        } else {
            entry.fetch = FetchState::None;
            self.leave_place();
        }
    }

    /// How many subscriptions are out of credit while their rooms have more.
    pub fn lagging(&self) -> usize {
        self.lagging
    }

    /// Writes the HEADs of subscriptions of the level `heads` that are due, until `out` holds `bytes_max`, and hands
    /// out the rooms from which the account was removed.
    pub fn tell_watches(&mut self, now_ns: u64, bytes_max: usize, out: &mut Vec<u8>) -> Vec<RoomId> {
        self.watches.tell(now_ns, bytes_max, out)
    }

    /// Whether subscriptions of the level `heads` want a tick, a second from now.
    pub fn wants_tick(&self) -> bool {
        self.watches.wants_tick()
    }

    /// A second has passed: those that wanted it are told of by [`Delivery::tell_watches`].
    pub fn tick(&mut self) {
        self.watches.tick();
    }

    /// Writes a HEAD for every subscription that lags and whose room has moved on since the last. An account
    /// that has been removed is not told how its room goes on.
    pub fn tell_heads(&mut self, out: &mut Vec<u8>) {
        let credit = self.window.saturating_sub(self.in_flight);
        for (room, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.is_lagging) {
            let (account, subscription) = (self.account, &entry.subscription);
            if subscription.credit().min(credit) > 0 {
                continue; // it has been given some, and the next round will use it
            }
            let (head, is_member) = entry.handle.with(|room| (room.head(), room.member(account).is_some()));
            if is_member && entry.head_told < head {
                entry.head_told = head;
                let behind = head.0 - subscription.sent().0;
                let notice = Head { room: *room, epoch: subscription.epoch(), head, behind };
                encode_into(Correlation::NONE, &notice, out);
            }
        }
    }
}

impl<H: RoomHandle> Progress for Delivery<H> {
    /// For each live subscription that is behind, the head as it is now, whether or not it was hinted at.
    fn targets(&self) -> Vec<(RoomId, Seq)> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.subscription.is_live())
            .map(|(room, entry)| (*room, entry.handle.with(Room::head)))
            .filter(|(room, head)| !self.has_reached(*room, *head))
            .collect()
    }

    fn has_reached(&self, room: RoomId, seq: Seq) -> bool {
        let Some(entry) = self.entries.get(&room) else { return true };
        if !entry.subscription.is_live() {
            return true; // it was live when the target was set: this is another one, followed since
        }
        let credit = entry.subscription.credit().min(self.window.saturating_sub(self.in_flight));
        entry.subscription.next() > seq || credit == 0
    }
}

impl<H: RoomHandle> Entry<H> {
    /// Writes what one turn allows.
    fn turn(&mut self, pen: &mut Pen<'_>) -> Turn {
        let Entry { handle, subscription, .. } = self;
        pen.write_replayed(subscription); // at once, where there is nothing to replay
        let written = match subscription.has_stored() {
            true => pen.write_stored(handle, subscription),
            false => handle.with(|room| pen.write_tail(room, subscription)),
        };
        written.unwrap_or_else(Turn::Ended)
    }

    fn fetch(&mut self, room: RoomId, connection_credit: u64) -> Fetch {
        self.fetch = FetchState::Reading;
        let events = usize::try_from(connection_credit.min(self.subscription.credit())).unwrap_or(usize::MAX);
        let budget = Budget { events, bytes: FETCH_BYTES_MAX };
        Fetch { room, generation: self.generation, from: self.subscription.next(), budget }
    }

    fn write_ended(&self, room: RoomId, reason: EndReason, out: &mut Vec<u8>) {
        let (epoch, seq) = (self.subscription.epoch(), self.subscription.sent());
        encode_into(Correlation::NONE, &SubscriptionEnded { room, epoch, seq, reason }, out);
    }
}

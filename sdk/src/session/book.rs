//! The book of subscriptions: per room, which event comes next, and how much credit the server has left.
//!
//! ```text
//!            SUBSCRIBE sent         verdict: exact, gap
//!   Wanted ─────────────────► Asked ────────────────────► Live
//!     ▲ ▲                       │ │                         │
//!     │ └──── connection lost ──┘ │ reset, refused,         │ SUBSCRIPTION_ENDED,
//!     │                           ▼ unfollowed              ▼ unfollowed
//!     │                         (gone)                    (gone)
//!     └───────────────────── connection lost ───────────────┘
//! ```
//!
//! While a room is Wanted or Asked its events belong to a subscription that is over, and are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hark_protocol::{
    AccountId, Ack, EncodedFrame, Epoch, Event as WireEvent, Gap as WireGap, Head, Level, List, Replayed,
    RoomId, Seq, Signalled, Subscribe, Subscribed, SubscriptionEnded, Unsubscribe, Verdict, VerdictItem,
};

use crate::error::Refusal;
use crate::event::{EndReason, Event, Gap, Origin, Position, RoomEvent, Start};
use crate::session::flow::Flow;
use crate::session::requests::{Flight, Requests};
use crate::session::subscription::{Phase, Place, Subscription, violation};
use crate::session::{Effect, Failure, FeedId, Moment, Taken, Token, Violation, tell};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Book {
    rooms: BTreeMap<RoomId, Subscription>,
    feeds: BTreeMap<FeedId, RoomId>,
    /// Rooms to ask for now.
    wanted: BTreeSet<RoomId>,
    /// Rooms to ask for later.
    deferred: BTreeSet<(Moment, RoomId)>,
    /// Rooms to follow no longer, of which the server is to be told.
    unwanted: BTreeSet<RoomId>,
    /// Live rooms of which something was taken that is not acknowledged.
    ripe: BTreeSet<RoomId>,
    /// How many events that is.
    ripe_events: u64,
    /// When they are acknowledged at the latest.
    ack_due: Option<Moment>,
    /// How far the application has come in each room that it has followed.
    positions: BTreeMap<RoomId, Position>,
}

impl Book {
    /// A book of an application that had come so far before.
    pub(super) fn new(positions: BTreeMap<RoomId, Position>) -> Book {
        Book { positions, ..Book::default() }
    }

    // -- What the application wants -----------------------------------------------------------------------------

    pub(super) fn follow(
        &mut self,
        token: Token,
        feed: FeedId,
        room: RoomId,
        (start, level): (Start, Level),
        out: &mut Vec<Effect>,
    ) {
        if let Some(older) = self.remove(room) {
            older.end(EndReason::Replaced, Failure::Replaced, out);
        }
        let subscription = Subscription {
            feed,
            start,
            level,
            told: Seq::ZERO,
            asker: Some(token),
            place: None,
            phase: Phase::Wanted,
            pushed: 0,
            taken: Taken::default(),
            acked: Seq::ZERO,
            refusals: 0,
        };
        // SUBSCRIBE takes the older subscription's place on the server, too.
        self.unwanted.remove(&room);
        self.rooms.insert(room, subscription);
        self.feeds.insert(feed, room);
        self.wanted.insert(room);
    }

    pub(super) fn positions(&self) -> &BTreeMap<RoomId, Position> {
        &self.positions
    }

    /// Moves the unread position of a watched room, as far as the server has told its head.
    pub(super) fn on_read(&mut self, feed: FeedId, seq: Seq, out: &mut Vec<Effect>) {
        let Some(room) = self.feeds.get(&feed).copied() else { return };
        let Some(subscription) = self.rooms.get_mut(&room) else { return };
        let seq = seq.min(subscription.told);
        if let Some(place) = subscription.place
            && subscription.level == Level::HEADS
            && seq >= place.next
        {
            subscription.advance(seq);
            if let Phase::Live { .. } = subscription.phase {
                tell(&Ack { room, epoch: place.epoch, seq }, out);
            }
        }
    }

    pub(super) fn unfollow(&mut self, feed: FeedId, out: &mut Vec<Effect>) {
        let Some(room) = self.feeds.get(&feed).copied() else { return };
        self.acknowledge_room(room, out);
        let Some(subscription) = self.remove(room) else { return };
        if subscription.phase != Phase::Wanted {
            self.unwanted.insert(room);
        }
        if let Some(token) = subscription.asker {
            out.push(Effect::Answer(token, Err(Failure::Closed)));
        }
        out.push(Effect::EndFeed(feed));
    }

    pub(super) fn on_taken(
        &mut self,
        feed: FeedId,
        taken: Taken,
        flow: &Flow,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        let Some(room) = self.feeds.get(&feed).copied() else { return };
        let Some(subscription) = self.rooms.get_mut(&room) else { return };
        let before = subscription.unacknowledged();
        subscription.taken = taken;
        if let (Some(place), Some(seq)) = (subscription.place, taken.seq) {
            self.positions.insert(room, Position { epoch: place.epoch, seq });
        }
        let Phase::Live { window, .. } = subscription.phase else {
            // It may have waited for the application to catch up before it is followed on.
            if subscription.phase == Phase::Wanted && subscription.refusals == 0 {
                self.wanted.insert(room);
            }
            return;
        };
        let after = subscription.unacknowledged();
        if after == 0 {
            return;
        }
        self.ripe.insert(room);
        self.ripe_events += after.saturating_sub(before);
        if after >= u64::from(window / 2).max(1) {
            self.acknowledge_room(room, out);
        } else if self.ripe_events >= (flow.connection_window / 2).max(1) {
            self.acknowledge(out);
        } else {
            self.ack_due.get_or_insert(now + ACK_DELAY);
        }
    }

    // -- Credit -------------------------------------------------------------------------------------------------

    /// Acknowledges everything that was taken.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<Effect>) {
        while let Some(room) = self.ripe.first().copied() {
            self.acknowledge_room(room, out);
        }
        self.ack_due = None;
    }

    fn acknowledge_room(&mut self, room: RoomId, out: &mut Vec<Effect>) {
        if !self.ripe.remove(&room) {
            return;
        }
        if let Some(subscription) = self.rooms.get_mut(&room)
            && let Some(place) = subscription.place
        {
            self.ripe_events = self.ripe_events.saturating_sub(subscription.unacknowledged());
            let seq = subscription.taken.seq.unwrap_or(subscription.acked);
            subscription.acked = seq;
            tell(&Ack { room, epoch: place.epoch, seq }, out);
        }
        if self.ripe.is_empty() {
            (self.ripe_events, self.ack_due) = (0, None);
        }
    }

    pub(super) fn on_deadline(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.ack_due.is_some_and(|due| now >= due) {
            self.acknowledge(out);
        }
        while let Some((_, room)) = self.deferred.first().copied().filter(|(due, _)| *due <= now) {
            self.deferred.pop_first();
            if self.rooms.get(&room).is_some_and(|subscription| subscription.phase == Phase::Wanted) {
                self.wanted.insert(room);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let deferred = self.deferred.first().map(|(due, _)| *due);
        [self.ack_due, deferred].into_iter().flatten().min()
    }

    // -- Asking -------------------------------------------------------------------------------------------------

    /// Sends UNSUBSCRIBE and SUBSCRIBE for what is not wanted and wanted.
    pub(super) fn pump(&mut self, requests: &mut Requests, flow: &Flow, out: &mut Vec<Effect>) {
        while !self.unwanted.is_empty() && requests.has_place(flow) {
            let rooms = pop_some(&mut self.unwanted, flow.subscribe_rooms_max);
            let correlation = requests.open(Flight::Unsubscribe);
            let unsubscribe = Unsubscribe { rooms: List::truncated(rooms) };
            out.push(Effect::Send(EncodedFrame::new(correlation, &unsubscribe)));
        }
        while !self.wanted.is_empty() && requests.has_place(flow) {
            let rooms = pop_some(&mut self.wanted, flow.subscribe_rooms_max);
            let (mut asked, mut items) = (Vec::new(), Vec::new());
            for room in rooms {
                let Some(subscription) = self.rooms.get_mut(&room) else { continue };
                if subscription.is_behind(flow.window) {
                    // Asked for when the application has taken more; see on_taken.
                    continue;
                }
                subscription.phase = Phase::Asked;
                asked.push((room, subscription.feed));
                items.push(subscription.item(room, flow.window));
            }
            if !items.is_empty() {
                let correlation = requests.open(Flight::Subscribe(asked));
                let subscribe = Subscribe { rooms: List::truncated(items) };
                out.push(Effect::Send(EncodedFrame::new(correlation, &subscribe)));
            }
        }
    }

    pub(super) fn on_subscribed(
        &mut self,
        asked: &[(RoomId, FeedId)],
        answer: Subscribed,
        flow: &Flow,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let verdicts = answer.rooms.into_vec();
        let is_aligned = verdicts.len() == asked.len()
            && verdicts.iter().zip(asked).all(|(verdict, (room, _))| verdict.room == *room);
        if !is_aligned {
            return Err(violation("SUBSCRIBED is not about the rooms that were asked for"));
        }
        for (verdict, (room, feed)) in verdicts.into_iter().zip(asked) {
            // Since then it may have been dropped, or followed anew by another feed.
            if self.rooms.get(room).is_some_and(|subscription| subscription.feed == *feed) {
                self.on_verdict(*room, verdict, flow, now, out)?;
            }
        }
        Ok(())
    }

    fn on_verdict(
        &mut self,
        room: RoomId,
        verdict: VerdictItem,
        flow: &Flow,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(subscription) = self.rooms.get_mut(&room) else { return Ok(()) };
        match verdict.verdict {
            Verdict::EXACT | Verdict::GAP => {
                if subscription.asker.is_some() && subscription.level == Level::FULL {
                    // Until it has taken something the application is where it began.
                    let begins =
                        if verdict.verdict == Verdict::GAP { verdict.gap_from } else { verdict.next };
                    let position = Position { epoch: verdict.epoch, seq: begins.previous() };
                    self.positions.insert(room, position);
                }
                subscription.on_begun(verdict, flow, out)?;
                // A durable cursor is to learn of what was taken while there was no connection.
                let taken = subscription.unacknowledged();
                if taken > 0 {
                    self.ripe.insert(room);
                    self.ripe_events += taken;
                    self.ack_due.get_or_insert(now + ACK_DELAY);
                }
                Ok(())
            }
            Verdict::RESET => {
                self.positions.remove(&room);
                if let Some(mut subscription) = self.remove(room) {
                    subscription.answer(verdict.clone(), out);
                    let (epoch, first, head) = (verdict.epoch, verdict.first, verdict.head);
                    subscription.push(RoomEvent::Reset { epoch, first, head }, out);
                    subscription.end(EndReason::Reset, Failure::Closed, out);
                }
                Ok(())
            }
            Verdict::REFUSED => {
                self.on_refused(room, &Refusal::code(verdict.code), now, out);
                Ok(())
            }
            other => Err(violation(&format!("SUBSCRIBED has the unknown verdict {other}"))),
        }
    }

    /// The whole SUBSCRIBE was refused.
    pub(super) fn on_subscribe_refused(
        &mut self,
        asked: &[(RoomId, FeedId)],
        refusal: &Refusal,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        for (room, feed) in asked {
            if self.rooms.get(room).is_some_and(|subscription| subscription.feed == *feed) {
                self.on_refused(*room, refusal, now, out);
            }
        }
    }

    fn on_refused(&mut self, room: RoomId, refusal: &Refusal, now: Moment, out: &mut Vec<Effect>) {
        let Some(subscription) = self.rooms.get_mut(&room) else { return };
        if subscription.asker.is_none() && refusal.retryable {
            // It was followed before: this will pass.
            subscription.phase = Phase::Wanted;
            subscription.refusals += 1;
            let wait = RETRY_FIRST.saturating_mul(1 << subscription.refusals.min(6)).min(RETRY_CAP);
            self.deferred.insert((now + wait.max(refusal.retry_after.unwrap_or_default()), room));
            return;
        }
        if let Some(subscription) = self.remove(room) {
            subscription.end(EndReason::Refused(refusal.code), Failure::Refused(refusal.clone()), out);
        }
    }

    // -- What arrives -------------------------------------------------------------------------------------------

    pub(super) fn on_event(
        &mut self,
        event: WireEvent,
        me: AccountId,
        flow: &Flow,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some((subscription, place, head)) = self.live(event.room) else { return Ok(()) };
        if subscription.level == Level::HEADS {
            let room = event.room;
            return Err(violation(&format!("room {room} is watched, and an event came")));
        }
        if event.seq < place.next {
            // Shown already.
            return Ok(());
        }
        if event.seq > place.next {
            let (room, seq, next) = (event.room, event.seq, place.next);
            return Err(violation(&format!("room {room}: event {seq} came where {next} was due")));
        }
        subscription.advance(event.seq);
        let origin = if event.seq <= head { Origin::Replay } else { Origin::Live };
        let event = Event::new(event, place.epoch, origin, me);
        subscription.push_within(RoomEvent::Event(event), flow, out)
    }

    pub(super) fn on_gap(
        &mut self,
        gap: &WireGap,
        flow: &Flow,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some((subscription, place, _)) = self.live_in(gap.room, gap.epoch)? else { return Ok(()) };
        if gap.to < place.next && gap.from <= gap.to {
            return Ok(());
        }
        if gap.from != place.next || gap.to < gap.from {
            let (room, from, to, next) = (gap.room, gap.from, gap.to, place.next);
            return Err(violation(&format!("room {room}: gap {from} to {to} came where {next} was due")));
        }
        subscription.advance(gap.to);
        let item = Gap { from: gap.from, to: gap.to, reason: Some(gap.reason) };
        subscription.push_within(RoomEvent::Gap(item), flow, out)
    }

    pub(super) fn on_replayed(
        &mut self,
        mark: &Replayed,
        flow: &Flow,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some((subscription, _, _)) = self.live_in(mark.room, mark.epoch)? else { return Ok(()) };
        subscription.push_within(RoomEvent::Replayed { head: mark.seq }, flow, out)
    }

    pub(super) fn on_head(
        &mut self,
        mark: &Head,
        flow: &Flow,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some((subscription, _, _)) = self.live_in(mark.room, mark.epoch)? else { return Ok(()) };
        if subscription.level == Level::HEADS {
            subscription.tell_head(mark.head, mark.behind, out);
            return Ok(());
        }
        subscription.push_if_there_is_room(
            RoomEvent::Lagging { head: mark.head, behind: mark.behind },
            flow,
            out,
        );
        Ok(())
    }

    pub(super) fn on_signalled(&mut self, signal: Signalled, flow: &Flow, out: &mut Vec<Effect>) {
        if let Some((subscription, _, _)) = self.live(signal.room) {
            let item = RoomEvent::Signal { account: signal.account, name: signal.name, kind: signal.kind };
            subscription.push_if_there_is_room(item, flow, out);
        }
    }

    pub(super) fn on_ended(
        &mut self,
        end: &SubscriptionEnded,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if self.live_in(end.room, end.epoch)?.is_none() {
            return Ok(());
        }
        if let Some(subscription) = self.remove(end.room) {
            subscription.end(EndReason::from_wire(end.reason), Failure::Closed, out);
        }
        Ok(())
    }

    // -- The end of a connection --------------------------------------------------------------------------------

    pub(super) fn on_lost(&mut self) {
        self.unwanted.clear();
        self.ripe.clear();
        (self.ripe_events, self.ack_due) = (0, None);
        self.deferred.clear();
        for (room, subscription) in &mut self.rooms {
            subscription.phase = Phase::Wanted;
            self.wanted.insert(*room);
        }
    }

    pub(super) fn give_up(&mut self, out: &mut Vec<Effect>) {
        self.on_lost();
        self.wanted.clear();
        self.feeds.clear();
        for subscription in std::mem::take(&mut self.rooms).into_values() {
            subscription.end(EndReason::Closed, Failure::Closed, out);
        }
    }

    // -- Helpers ------------------------------------------------------------------------------------------------

    fn remove(&mut self, room: RoomId) -> Option<Subscription> {
        let subscription = self.rooms.remove(&room)?;
        self.feeds.remove(&subscription.feed);
        self.wanted.remove(&room);
        if self.ripe.remove(&room) {
            self.ripe_events = self.ripe_events.saturating_sub(subscription.unacknowledged());
        }
        Some(subscription)
    }

    /// The room's subscription if events of it are to be looked at, with its place and its replay's end.
    fn live(&mut self, room: RoomId) -> Option<(&mut Subscription, Place, Seq)> {
        let subscription = self.rooms.get_mut(&room)?;
        match (subscription.phase, subscription.place) {
            (Phase::Live { head, .. }, Some(place)) => Some((subscription, place, head)),
            _ => None,
        }
    }

    fn live_in(
        &mut self,
        room: RoomId,
        epoch: Epoch,
    ) -> Result<Option<(&mut Subscription, Place, Seq)>, Violation> {
        match self.live(room) {
            Some((_, place, _)) if place.epoch != epoch => {
                Err(violation(&format!("room {room} is followed in epoch {}, not {epoch}", place.epoch)))
            }
            live => Ok(live),
        }
    }
}

/// How long a taken event waits for others to be acknowledged with it. Less than a person notices in "behind", and
/// all that a durable cursor may lag behind while the connection stands.
const ACK_DELAY: Duration = Duration::from_millis(500);

/// Between refusals of a room that was followed before.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Between refusals of a room that was followed before, at most.
const RETRY_CAP: Duration = Duration::from_secs(30);

fn pop_some(rooms: &mut BTreeSet<RoomId>, count: usize) -> Vec<RoomId> {
    std::iter::from_fn(|| rooms.pop_first()).take(count).collect()
}

//! One subscription: a cursor over a room's log with a window of events in flight.
//!
//! ```text
//!            acked             next            head
//!   ───────────┼─────────────────┼───────────────┼──▶ seq
//!    has it    │   in flight     │  not yet sent │
//!              └─ at most window ┘
//! ```

use std::collections::VecDeque;

use hark_protocol::{Epoch, From, GapReason, Seq, SubscribeItem};
use thiserror::Error;

use crate::ports::{Cursor, Stored};
use crate::room::View;

/// Where a subscription begins, and what that leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Every event from `next` on will come.
    Exact {
        /// The first event that will come.
        next: Seq,
    },
    /// Events before `next` are wanted and can not be delivered.
    Gap {
        /// The first of them.
        from: Seq,
        /// The first event that will come.
        next: Seq,
        /// Why they can not.
        reason: GapReason,
    },
    /// The position is not one of this log.
    Reset,
    /// The way of saying where to begin is unknown.
    Unsupported,
}

impl Beginning {
    /// Resolves where an item of SUBSCRIBE begins in what the account can see of the room; `cursor` is what
    /// the device has acknowledged before. Without one, [`From::CURSOR`] is [`From::START`].
    pub fn resolve(item: &SubscribeItem, view: &View, cursor: Option<Cursor>) -> Beginning {
        match (item.from, cursor) {
            (From::POSITION, _) => behind(item.epoch, item.seq, view),
            (From::CURSOR, Some(cursor)) => behind(cursor.epoch, cursor.seq, view),
            (From::START | From::CURSOR, _) => Beginning::Exact { next: view.first },
            (From::NOW, _) => Beginning::Exact { next: view.head.next() },
            (From::LATEST, _) => {
                let next = Seq(view.head.next().0.saturating_sub(item.seq.0));
                Beginning::Exact { next: next.max(view.first) }
            }
            _ => Beginning::Unsupported,
        }
    }
}

fn behind(epoch: Epoch, seq: Seq, view: &View) -> Beginning {
    if (epoch != Epoch(0) && epoch != view.epoch) || seq > view.head {
        return Beginning::Reset;
    }
    let next = seq.next();
    match next < view.first {
        false => Beginning::Exact { next },
        true => {
            let reason = if view.since_join { GapReason::BEFORE_JOIN } else { GapReason::RETENTION };
            Beginning::Gap { from: next, next: view.first, reason }
        }
    }
}

/// An ACK for what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("seq {acked} was acknowledged, and {sent} is the last that was sent")]
pub struct BeyondSent {
    /// What the peer says it has.
    pub acked: Seq,
    /// What it can have.
    pub sent: Seq,
}

/// A cursor over one room's log. The room itself is not in here: this is what one peer has of it.
#[derive(Debug)]
pub struct Subscription {
    epoch: Epoch,
    joined: Seq,
    window: u64,
    next: Seq,
    acked: Seq,
    /// Gaps between `acked` and `next`, ascending and apart from each other: they are not in flight.
    gaps: VecDeque<(Seq, Seq)>,
    /// Where the head stood at the subscription, until REPLAYED has been sent.
    replay_to: Option<Seq>,
    /// What was read from the store and not yet sent, ascending from `next`.
    stored: VecDeque<Stored>,
}

impl Subscription {
    /// A subscription that begins with `next`.
    pub fn new(view: &View, next: Seq, window: u32) -> Subscription {
        Subscription {
            epoch: view.epoch,
            joined: view.joined,
            window: u64::from(window),
            next,
            acked: next.previous(),
            gaps: VecDeque::new(),
            replay_to: Some(view.head),
            stored: VecDeque::new(),
        }
    }

    /// Which incarnation of the log it reads.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The next seq that is to be sent.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// The last seq that was sent, or the position that the peer came with.
    pub fn sent(&self) -> Seq {
        self.next.previous()
    }

    /// The last seq that the peer has acknowledged.
    pub fn acked(&self) -> Seq {
        self.acked
    }

    /// The join event of the membership that it rests on. An event behind it that removes the account ends the
    /// subscription; one from before does not.
    pub fn joined(&self) -> Seq {
        self.joined
    }

    /// Events sent and not acknowledged.
    pub fn in_flight(&self) -> u64 {
        let skipped: u64 = self.gaps.iter().map(|(from, to)| to.0 - from.previous().max(self.acked).0).sum();
        self.sent().0 - self.acked.0 - skipped
    }

    /// Events that may be sent before the next ACK.
    pub fn credit(&self) -> u64 {
        self.window.saturating_sub(self.in_flight())
    }

    /// Notes that the event `next` was sent.
    pub fn on_sent(&mut self) {
        self.next = self.next.next();
    }

    /// Notes that a GAP from `next` up to `to` was sent: it counts as delivered, and takes up no window.
    pub fn on_gap(&mut self, to: Seq) {
        match self.gaps.back_mut() {
            Some((_, end)) if end.next() == self.next => *end = to,
            _ => self.gaps.push_back((self.next, to)),
        }
        self.next = to.next();
    }

    /// Takes an ACK, and says how many events it gave back; one that is not news gives back nothing.
    ///
    /// # Errors
    /// [`BeyondSent`]; nothing has moved.
    pub fn on_ack(&mut self, seq: Seq) -> Result<u64, BeyondSent> {
        if seq > self.sent() {
            return Err(BeyondSent { acked: seq, sent: self.sent() });
        }
        if seq <= self.acked {
            return Ok(0);
        }
        let before = self.in_flight();
        self.acked = seq;
        while self.gaps.front().is_some_and(|(_, to)| *to <= seq) {
            self.gaps.pop_front();
        }
        Ok(before - self.in_flight())
    }

    /// Whether every event of the replay has been sent, so that what comes now is live.
    pub fn is_live(&self) -> bool {
        self.replay_to.is_none()
    }

    /// Takes the mark at which the replay ends, once it has been reached.
    pub fn take_replayed(&mut self) -> Option<Seq> {
        self.replay_to.take_if(|to| *to < self.next)
    }

    /// Keeps what was read from the store for it, and says whether it did: a read that is empty, or that begins
    /// with what has been sent meanwhile, is of no use.
    pub fn keep_stored(&mut self, read: Vec<Stored>) -> bool {
        let is_useful = read.first().is_some_and(|first| first.seq() >= self.next);
        if is_useful {
            self.stored = read.into();
        }
        is_useful
    }

    /// The next of what was read from the store.
    pub fn take_stored(&mut self) -> Option<Stored> {
        self.stored.pop_front()
    }

    /// Forgets what was read from the store and not sent.
    pub fn drop_stored(&mut self) {
        self.stored.clear();
    }

    /// Whether something that was read from the store waits to be sent.
    pub fn has_stored(&self) -> bool {
        !self.stored.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hark_protocol::{Level, RoomId, SubscriptionMode};
    use proptest::prelude::*;

    const VIEW: View =
        View { epoch: Epoch(9), first: Seq(5), since_join: false, head: Seq(20), joined: Seq(1) };

    fn item(from: From, epoch: u64, seq: u64) -> SubscribeItem {
        SubscribeItem {
            room: RoomId(1),
            from,
            epoch: Epoch(epoch),
            seq: Seq(seq),
            mode: SubscriptionMode::TRANSIENT,
            level: Level::FULL,
            window: 0,
        }
    }

    #[test]
    fn every_way_to_begin() {
        let exact = |next| Beginning::Exact { next: Seq(next) };
        let gap = |from| Beginning::Gap { from: Seq(from), next: Seq(5), reason: GapReason::RETENTION };
        let cases = [
            (From::POSITION, 9, 10, exact(11)),
            (From::POSITION, 0, 10, exact(11)),
            (From::POSITION, 9, 20, exact(21)),
            (From::POSITION, 9, 21, Beginning::Reset),
            (From::POSITION, 8, 10, Beginning::Reset),
            (From::POSITION, 9, 4, exact(5)),
            (From::POSITION, 9, 3, gap(4)),
            (From::POSITION, 9, 0, gap(1)),
            (From::CURSOR, 0, 0, exact(5)),
            (From::START, 0, 0, exact(5)),
            (From::NOW, 0, 0, exact(21)),
            (From::LATEST, 0, 0, exact(21)),
            (From::LATEST, 0, 3, exact(18)),
            (From::LATEST, 0, u64::MAX, exact(5)),
            (From(77), 0, 0, Beginning::Unsupported),
        ];
        for (from, epoch, seq, expected) in cases {
            assert_eq!(
                Beginning::resolve(&item(from, epoch, seq), &VIEW, None),
                expected,
                "{from} {epoch} {seq}"
            );
        }
        let cursor = Cursor { epoch: Epoch(9), seq: Seq(7) };
        assert_eq!(Beginning::resolve(&item(From::CURSOR, 0, 0), &VIEW, Some(cursor)), exact(8));
    }

    #[test]
    fn what_is_missing_before_a_join_says_so() {
        let view = View { since_join: true, ..VIEW };
        let expected = Beginning::Gap { from: Seq(2), next: Seq(5), reason: GapReason::BEFORE_JOIN };
        assert_eq!(Beginning::resolve(&item(From::POSITION, 9, 1), &view, None), expected);
    }

    #[test]
    fn an_ack_beyond_what_was_sent_moves_nothing() {
        let mut subscription = Subscription::new(&VIEW, Seq(11), 4);
        subscription.on_sent();
        assert_eq!(subscription.on_ack(Seq(12)), Err(BeyondSent { acked: Seq(12), sent: Seq(11) }));
        assert_eq!((subscription.acked(), subscription.in_flight()), (Seq(10), 1));
        assert_eq!(subscription.on_ack(Seq(11)), Ok(1));
        assert_eq!(subscription.on_ack(Seq(11)), Ok(0));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Send,
        Gap(u64),
        Ack(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![Just(Op::Send), (1..50_u64).prop_map(Op::Gap), (0..20_u64).prop_map(Op::Ack)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Against a model that remembers each seq: what is in flight is what was sent as an event and not
        /// acknowledged, and never more than the window.
        #[test]
        fn in_flight_is_what_was_sent_and_not_acknowledged(ops in prop::collection::vec(op(), 0..60)) {
            let mut subscription = Subscription::new(&VIEW, Seq(11), 8);
            let mut sent: Vec<u64> = Vec::new();
            for op in ops {
                match op {
                    Op::Send if subscription.credit() == 0 => {}
                    Op::Send => {
                        sent.push(subscription.next().0);
                        subscription.on_sent();
                    }
                    Op::Gap(length) => {
                        let to = Seq(subscription.next().0 + length - 1);
                        subscription.on_gap(to);
                    }
                    Op::Ack(back) => {
                        let seq = subscription.sent().0.saturating_sub(back);
                        let given = sent.iter().filter(|one| **one <= seq).count() as u64;
                        sent.retain(|one| *one > seq);
                        prop_assert_eq!(subscription.on_ack(Seq(seq)), Ok(given));
                    }
                }
                prop_assert_eq!(subscription.in_flight(), sent.len() as u64);
                prop_assert!(subscription.in_flight() <= 8);
            }
        }
    }
}

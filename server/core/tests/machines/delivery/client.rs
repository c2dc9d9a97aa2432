//! What a client may expect of the frames it is sent: it knows every log as it was stored, and checks each
//! frame against the specification.

use std::collections::{BTreeMap, BTreeSet};

use hark_core::delivery::RoomHandle;
use hark_core::room::View;
use hark_protocol::*;

use super::log::{Log, Truth};

/// One subscription as its client sees it.
#[derive(Debug)]
pub(super) struct Following {
    window: u64,
    joined: Seq,
    /// The next seq that has to come.
    pub(super) next: Seq,
    pub(super) acked: Seq,
    /// Events that came and are not acknowledged.
    pub(super) unacked: BTreeSet<Seq>,
    replay_to: Seq,
    pub(super) is_live: bool,
    /// What the last HEAD said.
    pub(super) head_told: Seq,
    is_behind_gap: bool,
    must_end: Option<Option<EndReason>>,
    pub(super) is_ended: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) account: AccountId,
    window: u64,
    pub(super) follows: BTreeMap<RoomId, Following>,
}

impl Client {
    pub(super) fn new(account: AccountId, window: u32) -> Client {
        Client { account, window: window.into(), follows: BTreeMap::new() }
    }

    pub(super) fn follow(&mut self, room: RoomId, view: &View, next: Seq, window: u32) {
        let following = Following {
            window: window.into(),
            joined: view.joined,
            next,
            acked: next.previous(),
            unacked: BTreeSet::new(),
            replay_to: view.head,
            is_live: false,
            head_told: Seq::ZERO,
            is_behind_gap: false,
            must_end: None,
            is_ended: false,
        };
        self.follows.insert(room, following);
    }

    /// Events in flight over all subscriptions.
    pub(super) fn in_flight(&self) -> u64 {
        self.follows.values().map(|following| following.unacked.len() as u64).sum()
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Takes one frame of the server's.
    pub(super) fn take(&mut self, frame: &Frame, logs: &BTreeMap<RoomId, Log>) {
        let connection_is_full = self.in_flight() >= self.window;
        let (room, epoch) = match frame {
            Frame::Event(event) => (event.room, Epoch(7)),
            Frame::Gap(gap) => (gap.room, gap.epoch),
            Frame::Replayed(mark) => (mark.room, mark.epoch),
            Frame::Head(head) => (head.room, head.epoch),
            Frame::SubscriptionEnded(end) => (end.room, end.epoch),
            other => panic!("a delivery sends no {}", other.frame_type()),
        };
        assert_eq!(epoch, Epoch(7));
        let log = &logs[&room];
        let Some(following) = self.follows.get_mut(&room) else { panic!("room {room} is not followed") };
        assert!(!following.is_ended, "LG-R47: {frame:?} behind the end");
        if following.must_end.is_some() {
            let is_end = matches!(frame, Frame::SubscriptionEnded(_));
            assert!(is_end, "LG-R47: {frame:?} behind the event that removes the account");
        }
        match frame {
            Frame::Event(event) => {
                assert!(!connection_is_full, "LG-R34: an EVENT beyond the connection's window");
                following.on_event(event, self.account, log);
            }
            Frame::Gap(gap) => following.on_gap(gap, self.account, log),
            Frame::Replayed(mark) => following.on_replayed(mark),
            Frame::Head(head) => following.on_head(head, connection_is_full, log),
            Frame::SubscriptionEnded(end) => following.on_end(end, self.account, log),
            _ => {}
        }
    }
}

impl Following {
    fn on_event(&mut self, event: &Event, account: AccountId, log: &Log) {
        self.expect(event.seq);
        assert!(!self.is_full(), "LG-R33: an EVENT beyond the window");
        assert!(event.seq <= log.handle.with(|room| room.head()), "an EVENT that the room does not know of");
        let truth = &log.events[&event.seq];
        let sealed = Frame::Event(event.clone()).encode(Correlation::NONE);
        assert_eq!(sealed, truth.frame, "the record is not the frame");
        self.unacked.insert(event.seq);
        self.next = event.seq.next();
        self.is_behind_gap = false;
        if let Some((_, reason)) = truth.removes.filter(|(removed, _)| *removed == account)
            && event.seq > self.joined
        {
            self.must_end = Some(Some(reason));
        }
    }

    fn on_gap(&mut self, gap: &Gap, account: AccountId, log: &Log) {
        self.expect(gap.from);
        assert!(gap.to >= gap.from && gap.to <= log.head());
        for (seq, truth) in log.events.range(gap.from..=gap.to) {
            match gap.reason {
                GapReason::DAMAGED => assert!(truth.is_damaged, "{seq} is not damaged"),
                GapReason::RETENTION => assert!(*seq < log.first, "{seq} can be read"),
                other => panic!("a gap for {other} behind the verdict"),
            }
            if truth.removes.is_some_and(|(removed, _)| removed == account) && *seq > self.joined {
                self.must_end = Some(None); // what can not be read does not say how it came
            }
        }
        self.next = gap.to.next();
        self.is_behind_gap = true;
    }

    /// What comes next is this: nothing is left out, and the replay's end is marked where it is.
    fn expect(&self, seq: Seq) {
        assert_eq!(seq, self.next, "LG-R26, LG-R27");
        assert!(
            self.is_live || seq <= self.replay_to,
            "LG-R28: {seq} before the REPLAYED of {}",
            self.replay_to
        );
    }

    fn on_replayed(&mut self, mark: &Replayed) {
        assert!(!self.is_live, "LG-R28: REPLAYED twice");
        assert_eq!(mark.seq, self.replay_to);
        assert!(self.next > self.replay_to, "LG-R28: REPLAYED before {}", self.replay_to);
        self.is_live = true;
    }

    fn on_head(&mut self, head: &Head, connection_is_full: bool, log: &Log) {
        assert!(self.is_full() || connection_is_full, "LG-R42: HEAD where there is credit");
        assert!(head.head >= self.next && head.head <= log.head());
        assert!(head.head > self.head_told, "HEAD twice for one head");
        assert_eq!(head.behind, head.head.0 - self.next.previous().0);
        self.head_told = head.head;
    }

    fn on_end(&mut self, end: &SubscriptionEnded, account: AccountId, log: &Log) {
        assert_eq!(end.seq, self.next.previous());
        match self.must_end {
            Some(Some(reason)) => assert_eq!(end.reason, reason),
            Some(None) => {}
            // Behind a gap nobody can say whether the removal was in it: then the subscription may end early.
            None => {
                let removes = |truth: &Truth| truth.removes.is_some_and(|(who, _)| who == account);
                let is_removed = log.events.range(self.next..).any(|(_, truth)| removes(truth));
                assert!(
                    self.is_behind_gap && is_removed,
                    "SUBSCRIPTION_ENDED and nothing removed the account"
                );
            }
        }
        self.is_ended = true;
    }

    pub(super) fn is_full(&self) -> bool {
        self.unacked.len() as u64 >= self.window
    }

    pub(super) fn ack(&mut self, seq: Seq) {
        if seq > self.acked {
            self.acked = seq;
            self.unacked = self.unacked.split_off(&seq.next());
        }
    }

    pub(super) fn is_caught_up(&self, log: &Log) -> bool {
        self.is_live && self.next == log.head().next()
    }
}

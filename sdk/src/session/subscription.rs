//! One room that is followed: which event comes next, and how much waits for the application.

use hark_protocol::{
    Epoch, ErrorCode, Frame, From, Level, List, RoomId, Seq, SubscribeItem, Subscribed, SubscriptionMode,
    Verdict, VerdictItem,
};

use crate::event::{EndReason, Gap, RoomEvent, Start};
use crate::session::flow::{Flow, MARKS_MAX};
use crate::session::{Effect, Failure, FeedId, Taken, Token, Violation};

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) feed: FeedId,
    pub(super) start: Start,
    pub(super) level: Level,
    /// The head that was told last, of a room that is watched.
    pub(super) told: Seq,
    /// Who waits for the first verdict.
    pub(super) asker: Option<Token>,
    /// Where the application is, once there was a verdict.
    pub(super) place: Option<Place>,
    pub(super) phase: Phase,
    /// Items put into the feed.
    pub(super) pushed: u64,
    pub(super) taken: Taken,
    /// Events up to here are acknowledged.
    pub(super) acked: Seq,
    /// Refusals in a row that may pass.
    pub(super) refusals: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: Epoch,
    /// The seq that must come next.
    pub(super) next: Seq,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Wanted,
    Asked,
    Live {
        /// Where the head stood at the verdict: up to there it is replay.
        head: Seq,
        window: u32,
    },
}

impl Subscription {
    /// Whether so much of an earlier connection still waits for the application that another window on top of it
    /// would be too much.
    pub(super) fn is_behind(&self, window: u32) -> bool {
        self.pushed - self.taken.items.min(self.pushed) > u64::from(window / 2)
    }

    pub(super) fn item(&self, room: RoomId, window: u32) -> SubscribeItem {
        let (from, epoch, seq) = match (self.place, self.start) {
            (Some(place), _) => (From::POSITION, place.epoch, place.next.previous()),
            (None, Start::Now) => (From::NOW, Epoch(0), Seq::ZERO),
            (None, Start::Beginning) => (From::START, Epoch(0), Seq::ZERO),
            (None, Start::Latest(count)) => (From::LATEST, Epoch(0), Seq(count)),
            (None, Start::After { epoch, seq }) => (From::POSITION, epoch.unwrap_or_default(), seq),
            (None, Start::Cursor) => (From::CURSOR, Epoch(0), Seq::ZERO),
        };
        let mode = match self.start {
            Start::Cursor => SubscriptionMode::DURABLE,
            _ => SubscriptionMode::TRANSIENT,
        };
        SubscribeItem { room, from, epoch, seq, mode, level: self.level, window }
    }

    /// The seq that must come first, where the client named a position.
    pub(super) fn due(&self) -> Option<Seq> {
        match (self.place, self.start) {
            (Some(place), _) => Some(place.next),
            (None, Start::After { seq, .. }) => Some(seq.next()),
            (None, _) => None,
        }
    }

    pub(super) fn on_begun(
        &mut self,
        verdict: VerdictItem,
        flow: &Flow,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let room = verdict.room;
        let is_gap = verdict.verdict == Verdict::GAP;
        let begins = if is_gap { verdict.gap_from } else { verdict.next };
        if let Some(due) = self.due().filter(|due| *due != begins) {
            return Err(violation(&format!("room {room} goes on at {begins} where {due} was due")));
        }
        if is_gap && (verdict.gap_to < verdict.gap_from || verdict.gap_to.next() != verdict.next) {
            return Err(violation(&format!("room {room}: the verdict's gap does not fit its next event")));
        }
        if self.place.is_some_and(|place| place.epoch != verdict.epoch) {
            return Err(violation(&format!("room {room}: another epoch without a reset")));
        }
        let is_durable = self.start == Start::Cursor;
        if self.place.is_none() || !is_durable {
            self.acked = verdict.next.previous();
        }
        self.place = Some(Place { epoch: verdict.epoch, next: verdict.next });
        self.phase = Phase::Live { head: verdict.head, window: flow.window };
        self.refusals = 0;
        let gap = Gap { from: verdict.gap_from, to: verdict.gap_to, reason: Some(verdict.gap_reason) };
        if self.level == Level::HEADS {
            let (head, behind) = (verdict.head, verdict.head.0.saturating_sub(verdict.next.previous().0));
            self.answer(verdict, out);
            self.tell_head(head, behind, out);
            return Ok(());
        }
        self.answer(verdict, out);
        match is_gap {
            true => self.push_within(RoomEvent::Gap(gap), flow, out),
            false => Ok(()),
        }
    }

    /// Tells how far a watched room has come. Not counted: only the latest word waits.
    pub(super) fn tell_head(&mut self, head: Seq, behind: u64, out: &mut Vec<Effect>) {
        self.told = self.told.max(head);
        out.push(Effect::Latest(self.feed, RoomEvent::Lagging { head, behind }));
    }

    pub(super) fn answer(&mut self, verdict: VerdictItem, out: &mut Vec<Effect>) {
        if let Some(token) = self.asker.take() {
            let rooms = List::truncated(vec![verdict]);
            out.push(Effect::Answer(token, Ok(Frame::Subscribed(Subscribed { rooms }))));
        }
    }

    pub(super) fn advance(&mut self, seq: Seq) {
        if let Some(place) = &mut self.place {
            place.next = seq.next();
        }
    }

    /// Events between the last acknowledged one and the last that was taken.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.taken.seq.map_or(0, |seq| seq.0.saturating_sub(self.acked.0))
    }

    pub(super) fn waiting(&self) -> u64 {
        self.pushed.saturating_sub(self.taken.items)
    }

    pub(super) fn push(&mut self, item: RoomEvent, out: &mut Vec<Effect>) {
        self.pushed += 1;
        out.push(Effect::Item(self.feed, item));
    }

    /// Pushes what must not be lost. A server that keeps to the window can not send more than fits.
    pub(super) fn push_within(
        &mut self,
        item: RoomEvent,
        flow: &Flow,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let window = match self.phase {
            Phase::Live { window, .. } => window,
            _ => flow.window,
        };
        if self.waiting() >= flow.items_max(window) {
            return Err(violation("the server sends more than it was given credit for"));
        }
        self.push(item, out);
        Ok(())
    }

    /// Pushes what may be lost.
    pub(super) fn push_if_there_is_room(&mut self, item: RoomEvent, flow: &Flow, out: &mut Vec<Effect>) {
        if self.waiting() + MARKS_MAX / 2 < flow.items_max(flow.window) {
            self.push(item, out);
        }
    }

    pub(super) fn end(mut self, reason: EndReason, failure: Failure, out: &mut Vec<Effect>) {
        match self.asker.take() {
            Some(token) => out.push(Effect::Answer(token, Err(failure))),
            None => self.push(RoomEvent::Ended { reason }, out),
        }
        out.push(Effect::EndFeed(self.feed));
    }
}

pub(super) fn violation(words: &str) -> Violation {
    Violation { words: words.to_owned(), code: ErrorCode::FLOW }
}

//! Requests on their way: the queue of what is to be sent, and the table of what waits for its answer.
//!
//! What changes something is sent in the order of calls and, after a lost connection, again in that order, with
//! the same client ids. Each request is answered exactly once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hark_protocol::{Correlation, ErrorCode, Frame, RoomId};

use crate::error::Refusal;
use crate::session::ask::{Ask, Lane, Repeat};
use crate::session::flow::Flow;
use crate::session::{Effect, Failure, FeedId, Moment, Token, Violation};

/// Something that waits for its answer.
#[derive(Debug)]
pub(super) enum Flight {
    /// HELLO or AUTH.
    Handshake,
    /// A request of the application.
    Ask(Ask),
    /// A SUBSCRIBE for these rooms.
    Subscribe(Vec<(RoomId, FeedId)>),
    /// An UNSUBSCRIBE.
    Unsubscribe,
    /// A PING of the machine's own.
    Heartbeat,
}

/// See the [module](self). Bounded by the permits that the handles need for every request.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next_correlation: u32,
    next_order: u64,
    ordered: BTreeMap<u64, Ask>,
    reads: VecDeque<Ask>,
    in_flight: BTreeMap<u32, Flight>,
    ordered_in_flight: usize,
    bytes_in_flight: usize,
    /// Nothing ordered is sent before this.
    held_until: Option<Moment>,
    /// Per room, the place of the newest publish that was stored. Kept while older ones may still be unanswered.
    stored: BTreeMap<RoomId, u64>,
}

impl Requests {
    /// Takes a request in.
    pub(super) fn queue(&mut self, token: Token, frame: Frame) {
        self.next_order += 1;
        let ask = Ask { order: self.next_order, token, frame, was_sent: false, refused: None };
        match ask.lane() {
            Lane::Ordered => {
                self.ordered.insert(ask.order, ask);
            }
            Lane::Read => self.reads.push_back(ask),
        }
    }

    /// Notes something that waits for its answer, and under which correlation.
    pub(super) fn open(&mut self, flight: Flight) -> Correlation {
        loop {
            self.next_correlation = self.next_correlation.wrapping_add(1);
            // 0 answers nothing, and after four thousand million requests an old one might still be waiting.
            if self.next_correlation != 0 && !self.in_flight.contains_key(&self.next_correlation) {
                break;
            }
        }
        self.in_flight.insert(self.next_correlation, flight);
        Correlation(self.next_correlation)
    }

    /// What a final answer is the answer to; it waits no longer.
    pub(super) fn close(&mut self, correlation: Correlation) -> Option<Flight> {
        let flight = self.in_flight.remove(&correlation.0)?;
        if let Flight::Ask(ask) = &flight
            && ask.lane() == Lane::Ordered
        {
            self.ordered_in_flight -= 1;
            self.bytes_in_flight -= ask.bytes();
        }
        Some(flight)
    }

    /// The handshake's answer has come, whatever correlation it bore.
    pub(super) fn forget_handshake(&mut self) {
        self.in_flight.retain(|_, flight| !matches!(flight, Flight::Handshake));
    }

    pub(super) fn has_heartbeat(&self) -> bool {
        self.in_flight.values().any(|flight| matches!(flight, Flight::Heartbeat))
    }

    /// Whether the application still waits for any answer.
    pub(super) fn is_outstanding(&self) -> bool {
        !self.ordered.is_empty() || !self.reads.is_empty() || self.is_in_flight()
    }

    /// Whether an answer to the application's requests is on its way.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.values().any(|flight| matches!(flight, Flight::Ask(_)))
    }

    /// Whether one more request may be sent.
    pub(super) fn has_place(&self, flow: &Flow) -> bool {
        self.in_flight.len() < flow.requests_max
    }

    /// When a pause that the server asked for is over.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.held_until.filter(|_| !self.ordered.is_empty() && self.ordered_in_flight == 0)
    }

    /// Sends what may be sent.
    pub(super) fn pump(&mut self, flow: &Flow, now: Moment, out: &mut Vec<Effect>) {
        while self.has_place(flow) {
            let Some(ask) = self.reads.pop_front() else { break };
            self.send(ask, out);
        }
        // Not before everything behind the refused one is answered, too: one of those may have to go first.
        if self.held_until.is_some_and(|until| now < until || self.ordered_in_flight > 0) {
            return;
        }
        self.held_until = None;
        while self.has_place(flow) && self.ordered_in_flight < flow.ordered_max {
            let Some((_, ask)) = self.ordered.first_key_value() else { break };
            if self.bytes_in_flight > 0 && self.bytes_in_flight + ask.bytes() > flow.bytes_max {
                break;
            }
            let Some((_, ask)) = self.ordered.pop_first() else { break };
            match flow.too_large(&ask.frame) {
                // It fitted when it was queued, before a reconnect to a server with lower limits.
                Some(failure) if !ask.was_sent => out.push(Effect::Answer(ask.token, Err(failure))),
                _ => self.send(ask, out),
            }
        }
    }

    fn send(&mut self, mut ask: Ask, out: &mut Vec<Effect>) {
        ask.was_sent = true;
        ask.refused = None;
        if ask.lane() == Lane::Ordered {
            self.ordered_in_flight += 1;
            self.bytes_in_flight += ask.bytes();
        }
        let frame = ask.frame.clone();
        let correlation = self.open(Flight::Ask(ask));
        out.push(Effect::Send(frame.encode(correlation)));
    }

    /// Judges the answer to a request.
    pub(super) fn on_answer(
        &mut self,
        ask: Ask,
        answer: Frame,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        match answer {
            Frame::Error(error) => self.on_refusal(ask, Refusal::new(&error), now, out),
            answer if answer.frame_type() == ask.expects() => {
                if let Some(room) = ask.publishes_to() {
                    self.on_stored(room, ask.order, out);
                }
                out.push(Effect::Answer(ask.token, Ok(answer)));
            }
            answer => {
                let words = format!("{} is not an answer to {}", answer.frame_type(), ask.frame.frame_type());
                self.take_back(ask, out);
                return Err(Violation { words, code: ErrorCode::BAD_STATE });
            }
        }
        self.forget_stored();
        Ok(())
    }

    /// A publish that came too fast is sent again when the server said, unless a later one into the same room was
    /// stored meanwhile: then its place is gone, and the application is to decide.
    fn on_refusal(&mut self, mut ask: Ask, refusal: Refusal, now: Moment, out: &mut Vec<Effect>) {
        let is_passed = |room| self.stored.get(&room).is_some_and(|stored| *stored > ask.order);
        let may_wait =
            refusal.code == ErrorCode::RATE && ask.publishes_to().is_some_and(|room| !is_passed(room));
        if !may_wait {
            return out.push(Effect::Answer(ask.token, Err(Failure::Refused(refusal))));
        }
        let until = now + refusal.retry_after.unwrap_or(PAUSE);
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        ask.refused = Some(refusal);
        self.ordered.insert(ask.order, ask);
    }

    fn on_stored(&mut self, room: RoomId, order: u64, out: &mut Vec<Effect>) {
        let stored = self.stored.entry(room).or_insert(order);
        *stored = order.max(*stored);
        let is_passed = |ask: &Ask| ask.refused.is_some() && ask.publishes_to() == Some(room);
        let passed: Vec<u64> =
            self.ordered.range(..order).filter(|(_, ask)| is_passed(ask)).map(|(order, _)| *order).collect();
        for order in passed {
            if let Some(Ask { token, refused: Some(refusal), .. }) = self.ordered.remove(&order) {
                out.push(Effect::Answer(token, Err(Failure::Refused(refusal))));
            }
        }
    }

    fn forget_stored(&mut self) {
        if self.ordered_in_flight == 0 && !self.stored.is_empty() {
            self.stored.clear();
        }
    }

    /// Fails the read, if it is one, whose answer can not be understood.
    pub(super) fn fail_read(&mut self, correlation: Correlation, words: &str, out: &mut Vec<Effect>) {
        let is_read = matches!(
            self.in_flight.get(&correlation.0),
            Some(Flight::Ask(ask)) if ask.lane() == Lane::Read
        );
        if is_read && let Some(Flight::Ask(ask)) = self.close(correlation) {
            out.push(Effect::Answer(ask.token, Err(Failure::Protocol(words.into()))));
        }
    }

    /// The connection is gone: what had no answer takes its place in the queue again.
    pub(super) fn on_lost(&mut self, out: &mut Vec<Effect>) {
        let in_flight = std::mem::take(&mut self.in_flight);
        (self.ordered_in_flight, self.bytes_in_flight) = (0, 0);
        self.stored.clear();
        let mut asks: Vec<Ask> = in_flight
            .into_values()
            .filter_map(|flight| match flight {
                Flight::Ask(ask) => Some(ask),
                _ => None,
            })
            .collect();
        asks.sort_by_key(|ask| ask.order);
        // From the back, because reads go in at the front.
        for ask in asks.into_iter().rev() {
            self.take_back(ask, out);
        }
    }

    fn take_back(&mut self, ask: Ask, out: &mut Vec<Effect>) {
        match (ask.repeat(), ask.lane()) {
            (Repeat::Unsafe, _) => out.push(Effect::Answer(ask.token, Err(Failure::Unknown))),
            (Repeat::Safe, Lane::Read) => self.reads.push_front(ask),
            (Repeat::Safe, Lane::Ordered) => {
                self.ordered.insert(ask.order, ask);
            }
        }
    }

    /// There will be no connection any more: everything is answered with what is known of it.
    pub(super) fn give_up(&mut self, out: &mut Vec<Effect>) {
        self.on_lost(out);
        for ask in std::mem::take(&mut self.ordered).into_values() {
            let failure = match (ask.refused, ask.was_sent) {
                (Some(refusal), _) => Failure::Refused(refusal),
                (None, true) => Failure::Unknown,
                (None, false) => Failure::Closed,
            };
            out.push(Effect::Answer(ask.token, Err(failure)));
        }
        for ask in std::mem::take(&mut self.reads) {
            out.push(Effect::Answer(ask.token, Err(Failure::Closed)));
        }
    }
}

/// The pause after "too fast" from a server that does not say how long.
const PAUSE: Duration = Duration::from_secs(1);

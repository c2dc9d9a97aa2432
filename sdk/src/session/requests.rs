//! Requests on their way: the queue of what is to be sent, and the table of what waits for its answer.
//!
//! What changes something is sent in the order of calls and, after a lost connection, again in that order, with
//! the same client ids. What the server refuses for now is sent again, and nothing of the same room passes it; other
//! rooms go on. Each request is answered exactly once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hark_protocol::{ClientId, Correlation, ErrorCode, Frame, Publish, RoomId};

use crate::error::Refusal;
use crate::session::ask::{Ask, Keep, Repeat, Sort};
use crate::session::flow::Flow;
use crate::session::lane::{Lane, LaneKey, Predecessor};
use crate::session::names::RoomNames;
use crate::session::{Effect, Failure, FeedId, Moment, Token, Violation};

/// Something that waits for its answer.
#[derive(Debug)]
pub(super) enum Flight {
    /// HELLO or AUTH.
    Handshake,
    /// The application's request at this place.
    Ask(u64),
    /// A SUBSCRIBE for these rooms.
    Subscribe(Vec<(RoomId, FeedId)>),
    /// An UNSUBSCRIBE.
    Unsubscribe,
    /// A PING of the machine's own.
    Heartbeat,
}

/// See the [module](self). Bounded by the permits that the handles need for every request.
#[derive(Debug)]
pub(super) struct Requests {
    next_correlation: u32,
    next_order: u64,
    /// Every request without a final answer, by its place in the order of calls.
    asks: BTreeMap<u64, Ask>,
    in_flight: BTreeMap<u32, Flight>,
    /// Places of reads that are to be sent.
    reads: VecDeque<u64>,
    lanes: BTreeMap<LaneKey, Lane>,
    /// The lanes that may send, by the place of what they would send.
    heads: BTreeMap<u64, LaneKey>,
    /// The lanes that wait for a time.
    held: BTreeSet<(Moment, LaneKey)>,
    /// Nothing ordered is sent before this: the account is too fast, in whatever room.
    held_until: Option<Moment>,
    /// What is ordered and in flight at most: one behind "too fast", and one more for each that was stored since.
    pace: usize,
    ordered_in_flight: usize,
    bytes_in_flight: usize,
    expiries: BTreeSet<(Moment, u64)>,
    names: RoomNames,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            next_correlation: 0,
            next_order: 0,
            asks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            reads: VecDeque::new(),
            lanes: BTreeMap::new(),
            heads: BTreeMap::new(),
            held: BTreeSet::new(),
            held_until: None,
            pace: usize::MAX,
            ordered_in_flight: 0,
            bytes_in_flight: 0,
            expiries: BTreeSet::new(),
            names: RoomNames::default(),
        }
    }
}

impl Requests {
    /// Takes a request in, whose answer is waited for until `until`.
    pub(super) fn queue(&mut self, token: Token, frame: Frame, until: Option<Moment>, keep: Keep) {
        self.next_order += 1;
        let place = self.next_order;
        let ask = Ask {
            order: place,
            token: Some(token),
            lane: self.names.lane(&frame),
            frame,
            until,
            keep,
            was_sent: false,
            was_lost: false,
            refused: None,
        };
        if let Some(until) = until {
            self.expiries.insert((until, place));
        }
        let (sort, key) = (ask.sort(), ask.lane);
        self.asks.insert(place, ask);
        match sort {
            Sort::Read => self.reads.push_back(place),
            Sort::Ordered => {
                self.lanes.entry(key).or_default().waiting.insert(place);
                self.refresh(key);
            }
        }
    }

    /// Takes a publish in that an earlier process may have sent.
    pub(super) fn queue_found(&mut self, token: Token, publish: Publish) {
        self.queue(token, Frame::Publish(publish), None, Keep::Disk);
        if let Some(ask) = self.asks.get_mut(&self.next_order) {
            (ask.was_sent, ask.was_lost) = (true, true);
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
        self.in_flight.remove(&correlation.0)
    }

    /// The handshake's answer has come, whatever correlation it bore.
    pub(super) fn forget_handshake(&mut self) {
        self.in_flight.retain(|_, flight| !matches!(flight, Flight::Handshake));
    }

    /// Whether HELLO, AUTH or RESUME has no answer yet.
    pub(super) fn has_handshake(&self) -> bool {
        self.in_flight.values().any(|flight| matches!(flight, Flight::Handshake))
    }

    pub(super) fn has_heartbeat(&self) -> bool {
        self.in_flight.values().any(|flight| matches!(flight, Flight::Heartbeat))
    }

    /// Whether the application still waits for any answer.
    pub(super) fn is_outstanding(&self) -> bool {
        self.asks.values().any(|ask| ask.token.is_some())
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
        let all = self.held_until.filter(|_| !self.heads.is_empty() && self.ordered_in_flight == 0);
        let lane = self.held.first().map(|(until, _)| *until);
        [all, lane].into_iter().flatten().min()
    }

    /// When an answer has been waited for long enough.
    pub(super) fn expiry(&self) -> Option<Moment> {
        self.expiries.first().map(|(until, _)| *until)
    }

    /// The publishes without a verdict, in the order of calls: to whom, what, and whether they ever left.
    pub(super) fn publishes(&self) -> impl Iterator<Item = (Token, &Publish, bool)> {
        self.asks.values().filter_map(|ask| Some((ask.token?, ask.publish()?, ask.was_sent)))
    }

    // -- Sending ------------------------------------------------------------------------------------------------

    /// Sends what may be sent.
    pub(super) fn pump(&mut self, flow: &Flow, now: Moment, out: &mut Vec<Effect>) {
        while self.has_place(flow) {
            let Some(place) = self.reads.pop_front() else { break };
            self.send(place, out);
        }
        while let Some((_, key)) = self.held.first().copied().filter(|(until, _)| *until <= now) {
            self.held.pop_first();
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.release();
            }
            self.refresh(key);
        }
        // Not before everything in flight is answered, too: what is refused with it has to go again in its order.
        if self.held_until.is_some_and(|until| now < until || self.ordered_in_flight > 0) {
            return;
        }
        self.held_until = None;
        while self.has_place(flow) && self.ordered_in_flight < flow.ordered_max.min(self.pace) {
            let Some((place, key)) = self.heads.first_key_value().map(|(place, key)| (*place, *key)) else {
                break;
            };
            let Some(ask) = self.asks.get(&place) else { break };
            if self.bytes_in_flight > 0 && self.bytes_in_flight + ask.bytes() > flow.bytes_max {
                break;
            }
            // It fitted when it was queued, before a reconnect to a server with lower limits. If it was sent it may
            // be stored, and the server says so; unless it would not even read it.
            let is_sendable = ask.publish().is_none_or(|publish| ask.was_sent && flow.fits_a_frame(publish));
            match ask.publish().and_then(|publish| flow.too_large(publish)).filter(|_| !is_sendable) {
                Some(failure) => {
                    let failure = ask.given_up(failure);
                    self.answer(place, Err(failure), out);
                }
                None => self.send(place, out),
            }
            self.refresh(key);
        }
    }

    fn send(&mut self, place: u64, out: &mut Vec<Effect>) {
        let Some(ask) = self.asks.get_mut(&place) else { return };
        (ask.was_sent, ask.refused) = (true, None);
        let mut frame = ask.frame.clone();
        if ask.sort() == Sort::Ordered {
            self.ordered_in_flight += 1;
            self.bytes_in_flight += ask.bytes();
            let lane = self.lanes.entry(ask.lane).or_default();
            lane.waiting.remove(&place);
            lane.in_flight.insert(place);
            if let Frame::Publish(publish) = &mut frame {
                say(lane.on_sent(publish.client_id), publish);
            }
        }
        let correlation = self.open(Flight::Ask(place));
        out.push(Effect::Send(frame.encode(correlation)));
    }

    /// Notes anew what a lane would send next.
    fn refresh(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if let Some(listed) = lane.listed.take() {
            self.heads.remove(&listed);
        }
        let is_publish = |place| self.asks.get(&place).is_some_and(|ask| ask.publish().is_some());
        lane.listed = match key {
            // What names no room is pipelined as it is: nothing in it waits for anything else.
            None => lane.waiting.first().copied(),
            Some(_) => lane.next(is_publish),
        };
        if let Some(place) = lane.listed {
            self.heads.insert(place, key);
        } else if lane.is_idle() {
            self.lanes.remove(&key);
        }
    }

    // -- Answers ------------------------------------------------------------------------------------------------

    /// Judges the answer to a request.
    pub(super) fn on_answer(
        &mut self,
        place: u64,
        answer: Frame,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(ask) = self.asks.get(&place) else { return Ok(()) };
        let (key, is_publish, is_ordered) = (ask.lane, ask.publish().is_some(), ask.sort() == Sort::Ordered);
        if is_ordered {
            self.ordered_in_flight -= 1;
            self.bytes_in_flight -= ask.bytes();
        }
        if is_ordered && let Some(lane) = self.lanes.get_mut(&key) {
            lane.in_flight.remove(&place);
        }
        match answer {
            Frame::Error(error) => self.on_refusal(place, Refusal::new(&error), now, out),
            answer if answer.frame_type() == ask.expects() => {
                self.names.learn(&ask.frame, &answer);
                if is_publish {
                    self.on_stored(key, place, out);
                }
                self.answer(place, Ok(answer), out);
            }
            answer => {
                let words = format!("{} is not an answer to {}", answer.frame_type(), ask.frame.frame_type());
                self.take_back(place, out);
                return Err(Violation { words, code: ErrorCode::BAD_STATE });
            }
        }
        if is_ordered {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.settle();
            }
            self.refresh(key);
        }
        Ok(())
    }

    /// A publish that may succeed later is sent again when the server said, unless a later one into the same room
    /// was stored meanwhile: then its place is gone, and the application is to decide.
    fn on_refusal(&mut self, place: u64, refusal: Refusal, now: Moment, out: &mut Vec<Effect>) {
        let Some(ask) = self.asks.get_mut(&place) else { return };
        let key = ask.lane;
        let (Some(client_id), Some(lane)) =
            (ask.publish().map(|publish| publish.client_id), self.lanes.get_mut(&key))
        else {
            return self.answer(place, Err(Failure::Refused(refusal)), out);
        };
        let is_about_another = refusal.code == ErrorCode::PREDECESSOR_REFUSED;
        let may_pass = refusal.retryable || is_about_another;
        if is_about_another {
            lane.on_predecessor_refused();
        } else if may_pass {
            lane.on_refused(client_id);
        }
        if !may_pass || ask.token.is_none() {
            return self.answer(place, Err(Failure::Refused(refusal)), out);
        }
        if lane.is_passed(place) {
            ask.refused = Some(refusal);
            let failure = ask.given_up(Failure::Unknown);
            return self.answer(place, Err(failure), out);
        }
        if refusal.code == ErrorCode::RATE {
            let until = now + refusal.retry_after.unwrap_or(PAUSE);
            self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
            self.pace = 1;
        } else if !is_about_another {
            let until = lane.hold(refusal.retry_after, now);
            self.held.retain(|(_, lane)| *lane != key);
            self.held.insert((until, key));
        }
        ask.refused = Some(refusal);
        lane.waiting.insert(place);
    }

    fn on_stored(&mut self, key: LaneKey, place: u64, out: &mut Vec<Effect>) {
        self.pace = self.pace.saturating_add(1);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.on_stored(place);
        let is_passed = |asks: &BTreeMap<u64, Ask>, place: &u64| {
            asks.get(place).is_some_and(|ask| ask.refused.is_some() && ask.publish().is_some())
        };
        let passed: Vec<u64> =
            lane.waiting.range(..place).filter(|place| is_passed(&self.asks, place)).copied().collect();
        for place in passed {
            if let Some(failure) = self.asks.get(&place).map(|ask| ask.given_up(Failure::Unknown)) {
                self.answer(place, Err(failure), out);
            }
        }
    }

    /// The final answer to a request that is not in flight.
    fn answer(&mut self, place: u64, answer: Result<Frame, Failure>, out: &mut Vec<Effect>) {
        let Some(ask) = self.asks.remove(&place) else { return };
        if let Some(until) = ask.until {
            self.expiries.remove(&(until, place));
        }
        if let Some(lane) = self.lanes.get_mut(&ask.lane) {
            lane.waiting.remove(&place);
        }
        if let Some(token) = ask.token {
            out.push(Effect::Answer(token, answer));
        }
    }

    /// Fails the read, if it is one, whose answer can not be understood.
    pub(super) fn fail_read(&mut self, correlation: Correlation, words: &str, out: &mut Vec<Effect>) {
        let Some(Flight::Ask(place)) = self.in_flight.get(&correlation.0) else { return };
        let place = *place;
        if self.asks.get(&place).is_some_and(|ask| ask.sort() == Sort::Read) {
            self.close(correlation);
            self.answer(place, Err(Failure::Protocol(words.into())), out);
        }
    }

    // -- Giving up ----------------------------------------------------------------------------------------------

    /// Waits no longer for what has been waited for long enough. What is kept on a disk stays, and its answer is
    /// told when it comes.
    pub(super) fn on_expiry(&mut self, now: Moment, out: &mut Vec<Effect>) {
        while let Some((_, place)) = self.expiries.first().copied().filter(|(until, _)| *until <= now) {
            self.expiries.pop_first();
            let Some(ask) = self.asks.get_mut(&place) else { continue };
            ask.until = None;
            match (ask.keep, ask.token) {
                (Keep::Disk, Some(token)) => out.push(Effect::Late(token)),
                _ => self.drop_ask(place, Failure::Expired, out),
            }
        }
    }

    /// Gives a publish up: it is not sent again. Says whether there was one.
    pub(super) fn abandon(&mut self, client_id: ClientId, out: &mut Vec<Effect>) -> bool {
        let is_it = |ask: &Ask| {
            ask.token.is_some() && ask.publish().is_some_and(|publish| publish.client_id == client_id)
        };
        let places: Vec<u64> = self.asks.values().filter(|ask| is_it(ask)).map(|ask| ask.order).collect();
        for place in &places {
            self.drop_ask(*place, Failure::Abandoned, out);
        }
        !places.is_empty()
    }

    fn drop_ask(&mut self, place: u64, otherwise: Failure, out: &mut Vec<Effect>) {
        let Some(ask) = self.asks.get_mut(&place) else { return };
        let (failure, key) = (ask.given_up(otherwise), ask.lane);
        let is_in_flight = match ask.sort() {
            Sort::Read => !self.reads.contains(&place),
            Sort::Ordered => self.lanes.get(&key).is_some_and(|lane| lane.in_flight.contains(&place)),
        };
        if is_in_flight {
            // Its answer is still to come, and says what the server thinks of those behind it.
            if let Some(token) = ask.token.take() {
                out.push(Effect::Answer(token, Err(failure)));
            }
            return;
        }
        self.reads.retain(|read| *read != place);
        self.answer(place, Err(failure), out);
        self.refresh(key);
    }

    /// The connection is gone: what had no answer takes its place in the queue again.
    pub(super) fn on_lost(&mut self, out: &mut Vec<Effect>) {
        let in_flight = std::mem::take(&mut self.in_flight);
        (self.ordered_in_flight, self.bytes_in_flight) = (0, 0);
        self.held.clear();
        self.lanes.values_mut().for_each(Lane::on_lost);
        let mut places: Vec<u64> = in_flight
            .into_values()
            .filter_map(|flight| match flight {
                Flight::Ask(place) => Some(place),
                _ => None,
            })
            .collect();
        places.sort_unstable();
        // From the back, because reads go in at the front.
        for place in places.into_iter().rev() {
            if let Some(ask) = self.asks.get_mut(&place) {
                ask.was_lost = true;
            }
            self.take_back(place, out);
        }
        let keys: Vec<LaneKey> = self.lanes.keys().copied().collect();
        keys.into_iter().for_each(|key| self.refresh(key));
    }

    /// Puts what was in flight, and has no answer, into its place again.
    fn take_back(&mut self, place: u64, out: &mut Vec<Effect>) {
        let Some(ask) = self.asks.get(&place) else { return };
        let (key, sort) = (ask.lane, ask.sort());
        if sort == Sort::Ordered {
            self.lanes.entry(key).or_default().in_flight.remove(&place);
        }
        match (ask.repeat(), sort) {
            (Repeat::Unsafe, _) => self.answer(place, Err(Failure::Unknown), out),
            _ if ask.token.is_none() => self.answer(place, Err(Failure::Unknown), out),
            (Repeat::Safe, Sort::Read) => self.reads.push_front(place),
            (Repeat::Safe, Sort::Ordered) => {
                self.lanes.entry(key).or_default().waiting.insert(place);
            }
        }
        if sort == Sort::Ordered {
            self.refresh(key);
        }
    }

    /// There will be no connection any more: everything is answered with what is known of it.
    pub(super) fn give_up(&mut self, out: &mut Vec<Effect>) {
        self.on_lost(out);
        self.reads.clear();
        let places: Vec<u64> = self.asks.keys().copied().collect();
        for place in places {
            let Some(ask) = self.asks.get(&place) else { continue };
            let failure = match (ask.keep, ask.sort()) {
                (Keep::Disk, _) => Failure::Kept,
                (Keep::Memory, Sort::Read) => Failure::Closed,
                (Keep::Memory, Sort::Ordered) => ask.given_up(Failure::Closed),
            };
            self.answer(place, Err(failure), out);
        }
        self.lanes.clear();
        self.heads.clear();
    }
}

/// Writes into a publish what it has to say about those refused before it.
fn say(predecessor: Predecessor, publish: &mut Publish) {
    publish.abandon = predecessor == Predecessor::Abandoned;
}

/// The pause after "too fast" from a server that does not say how long.
const PAUSE: Duration = Duration::from_secs(1);

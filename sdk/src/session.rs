//! The client's side of a conversation: a machine without a socket, a clock or chance of its own.
//!
//! ```text
//!                dialled          WELCOME               AUTHENTICATED
//!   Connecting ──────────► Hello ─────────► Authenticating ───────────► Ready
//!     ▲    │ failed          │ lost               │ lost                  │ lost
//!     │    ▼                 ▼                    ▼                       ▼
//!     └─ Waiting ◄───────────┴────────────────────┴───────────────────────┘
//!   time    │                                                             │ close, nothing outstanding
//!           │ close, nothing outstanding                                  ▼
//!           └─────────────────────────► Closed ◄──── the peer hangs up ─ Closing
//! ```
//!
//! The first attempt that fails, a loss that may not be repaired and a refusal that another attempt would only
//! repeat (wrong secret, disabled account, no common version) lead to Closed from anywhere. Requests and
//! subscriptions outlive connections: what was not answered is sent again, what was followed is followed on.

use std::time::Duration;

use hark_protocol::limits::{AGENT_BYTES_MAX, FRAME_BYTES_DEFAULT};
use hark_protocol::{
    AccountId, Auth, Authenticated, Close, Correlation, DecodeError, Disposition, EncodedFrame, ErrorCode,
    Frame, FrameError, LimitId, Line, Payload, Pong, PresenceMode, RawFrame, RoomId, Scope, Seq, Signal,
    SignalKind, VERSION, Welcome,
};

use crate::credentials::{Credentials, Token as DeviceToken};
use crate::error::{ConnectErrorKind, Kind as _, Refusal};
use crate::event::{RoomEvent, Start};
use crate::options::{Offline, Reconnect};
use crate::probe::{connect_kind, hello};
use crate::status::{AccountInfo, ClientEvent, Reason, ServerInfo};

mod ask;
mod book;
mod failure;
mod flow;
mod heartbeat;
mod requests;
#[cfg(test)]
mod tests;

use book::{Book, Violation};
pub(crate) use failure::Failure;
use flow::Flow;
use heartbeat::Heartbeat;
use requests::{Flight, Requests};

/// Time since some moment that the machine does not care about.
pub(crate) type Moment = Duration;

/// What the machine calls a request by when it answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(pub(crate) u64);

/// One stream of a room's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FeedId(pub(crate) u64);

/// How far an application has read a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Items of every sort.
    pub(crate) items: u64,
    /// The last seq.
    pub(crate) seq: Option<Seq>,
}

/// What a client is and how it behaves.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) agent: Line<AGENT_BYTES_MAX>,
    pub(crate) credentials: Credentials,
    pub(crate) presence: PresenceMode,
    pub(crate) offline: Offline,
    pub(crate) reconnect: Reconnect,
    pub(crate) connect_timeout: Duration,
    pub(crate) window: u32,
}

/// What the application wants.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request; exactly one [`Effect::Answer`] comes of it.
    Request { token: Token, frame: Frame },
    /// Something to tell a room now or never.
    Signal { room: RoomId, kind: SignalKind },
    /// A room to follow; the answer is SUBSCRIBED with its one verdict.
    Follow { token: Token, feed: FeedId, room: RoomId, start: Start },
    /// How far a feed was read.
    Taken { feed: FeedId, taken: Taken },
    /// Nobody reads a feed any more.
    Unfollow { feed: FeedId },
    /// The end, when everything outstanding is answered or `patience` has passed.
    Close { disposition: Disposition, patience: Duration },
}

/// What is to be done; in the order in which it is listed.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Open a connection.
    Dial,
    /// Send a frame on it.
    Send(EncodedFrame),
    /// Give the connection, or the attempt, up; frames sent before this are written as far as the peer takes them.
    Disconnect,
    /// A request's answer.
    Answer(Token, Result<Frame, Failure>),
    /// The next item of a feed.
    Item(FeedId, RoomEvent),
    /// The feed has had its last item.
    EndFeed(FeedId),
    /// Something for whoever watches the client.
    Event(ClientEvent),
    /// Logged in: what that taught.
    Ready { account: AccountInfo, server: ServerInfo, token: Option<DeviceToken> },
    /// What is outstanding is being finished; nothing new is taken.
    Leaving,
    /// The end, for good.
    Closed(Reason),
}

/// How a connection, or an attempt at one, ended underneath.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It never came to be.
    Dial(ConnectErrorKind),
    /// The peer hung up.
    Eof,
    /// The network failed.
    Io(String),
    /// What arrived is not a frame.
    Frame(FrameError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting { deadline: Moment },
    Hello { deadline: Moment },
    Authenticating { deadline: Moment },
    Ready { since: Moment, drain: Drain },
    Waiting { until: Moment },
    Closing { deadline: Moment },
    Closed,
}

/// Whether the server has said that it is going away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// It has; nothing new is sent, and the client comes back then.
    Until(Moment),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Session {
    config: Config,
    state: State,
    chance: u64,
    /// Attempts since a connection last stood for a while.
    attempt: u32,
    /// Whether there ever was a login: until then the first failure is the end.
    was_ready: bool,
    /// The server's word on when to come back.
    not_before: Moment,
    server: Option<ServerInfo>,
    me: AccountId,
    flow: Flow,
    requests: Requests,
    book: Book,
    heartbeat: Heartbeat,
    leaving: Option<Leave>,
}

/// The application's wish to end.
#[derive(Clone, Copy, Debug)]
struct Leave {
    disposition: Disposition,
    deadline: Moment,
}

impl Session {
    /// A client that begins its first attempt at once. `seed` is the chance in its reconnects.
    pub(crate) fn new(config: Config, seed: u64, now: Moment, out: &mut Vec<Effect>) -> Session {
        let mut session = Session {
            state: State::Closed,
            chance: seed,
            attempt: 0,
            was_ready: false,
            not_before: Moment::ZERO,
            server: None,
            me: AccountId(0),
            flow: Flow::new(config.window),
            requests: Requests::default(),
            book: Book::default(),
            heartbeat: Heartbeat::default(),
            leaving: None,
            config,
        };
        session.dial(now, out);
        session
    }

    /// The byte stream is there, TLS and all.
    pub(crate) fn on_connected(&mut self, out: &mut Vec<Effect>) {
        if let State::Connecting { deadline } = self.state {
            self.state = State::Hello { deadline };
            let hello = hello(self.config.agent.clone());
            let correlation = self.requests.open(Flight::Handshake);
            out.push(Effect::Send(EncodedFrame::new(correlation, &hello)));
        }
    }

    /// The connection or the attempt is over.
    pub(crate) fn on_disconnected(&mut self, lost: Lost, now: Moment, out: &mut Vec<Effect>) {
        match (self.state, lost) {
            (State::Waiting { .. } | State::Closed, _) => {}
            (State::Closing { .. }, Lost::Eof) => self.finish(Reason::Requested, out),
            (State::Closing { .. }, lost) => self.finish(Session::reason(lost), out),
            (State::Hello { .. }, Lost::Frame(error @ FrameError::Magic(_))) => {
                self.tell_and_close(error.code(), out);
                self.lose(Reason::Connect(ConnectErrorKind::NotHark), now, out);
            }
            (_, Lost::Frame(error)) => {
                self.tell_and_close(error.code(), out);
                self.lose(Reason::Protocol(error.to_string()), now, out);
            }
            (State::Ready { drain: Drain::Until(_), .. }, _) => self.lose(Reason::GoingAway, now, out),
            (_, lost) => self.lose(Session::reason(lost), now, out),
        }
    }

    /// Bytes arrived: the server lives.
    pub(crate) fn on_bytes(&mut self, now: Moment) {
        self.heartbeat.on_bytes(now);
    }

    /// The longest payload that is taken, EVENT and PAGE aside.
    pub(crate) const LENGTH_MAX: u32 = FRAME_BYTES_DEFAULT;

    /// A whole frame arrived.
    pub(crate) fn on_frame(&mut self, raw: &RawFrame, now: Moment, out: &mut Vec<Effect>) {
        let correlation = raw.header().correlation;
        match Frame::decode(raw) {
            Ok(frame) => self.on_decoded(correlation, frame, now, out),
            Err(_) if raw.header().frame_type.is_ignorable() => {}
            Err(error) => self.on_undecodable(correlation, &error, now, out),
        }
        self.pump(now, out);
    }

    /// The application wants something.
    pub(crate) fn on_command(&mut self, command: Command, now: Moment, out: &mut Vec<Effect>) {
        match command {
            Command::Request { token, frame } => self.on_request(token, frame, out),
            Command::Signal { room, kind } => {
                if self.is_open() {
                    out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, &Signal { room, kind })));
                }
            }
            Command::Follow { token, feed, room, start } => match self.refuses() {
                Some(failure) => out.push(Effect::Answer(token, Err(failure))),
                None => self.book.follow(token, feed, room, start, out),
            },
            Command::Taken { feed, taken } => self.book.on_taken(feed, taken, &self.flow, now, out),
            Command::Unfollow { feed } => self.book.unfollow(feed, out),
            Command::Close { disposition, patience } => self.on_close(disposition, now + patience, out),
        }
        self.pump(now, out);
    }

    /// The moment of [`Session::deadline`] has come, or any other.
    pub(crate) fn on_deadline(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.leaving.is_some_and(|leave| now >= leave.deadline) {
            self.leave_now(now, out);
        }
        match self.state {
            State::Connecting { deadline }
            | State::Hello { deadline }
            | State::Authenticating { deadline }
                if now >= deadline =>
            {
                self.lose(Reason::Connect(ConnectErrorKind::Timeout), now, out);
            }
            State::Waiting { until } if now >= until => self.dial(now, out),
            State::Closing { deadline } if now >= deadline => {
                // The peer was told; that it does not hang up is its own affair.
                out.push(Effect::Disconnect);
                self.finish(Reason::Requested, out);
            }
            State::Ready { .. } => self.on_heartbeat(now, out),
            _ => {}
        }
        self.book.on_deadline(now, out);
        self.pump(now, out);
    }

    /// When [`Session::on_deadline`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let own = match self.state {
            State::Connecting { deadline }
            | State::Hello { deadline }
            | State::Authenticating { deadline }
            | State::Closing { deadline } => Some(deadline),
            State::Waiting { until } => Some(until),
            State::Ready { .. } => self.heartbeat.deadline(),
            State::Closed => return None,
        };
        let waiting = match self.is_open() {
            true => [self.book.deadline(), self.requests.deadline()],
            false => [None, None],
        };
        let leaving = self.leaving.map(|leave| leave.deadline);
        [own, leaving].into_iter().chain(waiting).flatten().min()
    }

    /// Whether nothing will ever happen any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Ready { drain: Drain::No, .. })
    }

    // -- What arrives -------------------------------------------------------------------------------------------

    fn on_decoded(&mut self, correlation: Correlation, frame: Frame, now: Moment, out: &mut Vec<Effect>) {
        match (self.state, frame) {
            (State::Hello { deadline }, Frame::Welcome(welcome)) => {
                self.on_welcome(&welcome, deadline, now, out)
            }
            (State::Authenticating { .. }, Frame::Authenticated(answer)) => {
                self.on_authenticated(&answer, now, out)
            }
            (State::Hello { .. } | State::Authenticating { .. }, Frame::Error(error)) => {
                self.on_refused_login(&error, now, out);
            }
            (State::Hello { .. } | State::Authenticating { .. } | State::Ready { .. }, Frame::Ping(ping)) => {
                out.push(Effect::Send(EncodedFrame::new(correlation, &Pong { data: ping.data })));
            }
            (State::Hello { .. } | State::Authenticating { .. }, Frame::GoAway(away)) => {
                let wait = Duration::from_millis(u64::from(away.reconnect_after_ms));
                self.not_before = now + wait;
                let busy = ConnectErrorKind::Busy { retry_after: (!wait.is_zero()).then_some(wait) };
                self.lose(Reason::Connect(busy), now, out);
            }
            (
                State::Hello { .. } | State::Authenticating { .. } | State::Ready { .. },
                Frame::Close(close),
            ) => {
                self.on_peer_close(close, now, out);
            }
            (State::Ready { .. }, frame) => self.on_ready_frame(correlation, frame, now, out),
            // What was on its way when the client took leave is of no interest any more.
            (State::Connecting { .. } | State::Waiting { .. } | State::Closing { .. } | State::Closed, _) => {
            }
            (State::Hello { .. } | State::Authenticating { .. }, frame) => {
                self.break_off(
                    format!("{} before the login", frame.frame_type()),
                    ErrorCode::BAD_STATE,
                    now,
                    out,
                );
            }
        }
    }

    fn on_ready_frame(&mut self, correlation: Correlation, frame: Frame, now: Moment, out: &mut Vec<Effect>) {
        let judged = match frame {
            Frame::Event(event) => self.book.on_event(event, self.me, &self.flow, out),
            Frame::Gap(gap) => self.book.on_gap(&gap, &self.flow, out),
            Frame::Replayed(mark) => self.book.on_replayed(&mark, &self.flow, out),
            Frame::Head(head) => self.book.on_head(&head, &self.flow, out),
            Frame::SubscriptionEnded(end) => self.book.on_ended(&end, out),
            Frame::Signalled(signal) => {
                self.book.on_signalled(signal, &self.flow, out);
                Ok(())
            }
            Frame::Presence(presence) => {
                let (account, name, state) = (presence.account, presence.name, presence.state);
                out.push(Effect::Event(ClientEvent::Presence { account, name, state }));
                Ok(())
            }
            Frame::Profile(profile) => {
                let display_name = profile.display_name.as_str().to_owned();
                let (account, name) = (profile.account, profile.name);
                out.push(Effect::Event(ClientEvent::Profile { account, name, display_name }));
                Ok(())
            }
            Frame::GoAway(away) => {
                self.on_going_away(&away, now, out);
                Ok(())
            }
            Frame::Error(error) if error.scope == Scope::CONNECTION => {
                self.on_connection_error(&error, now, out);
                Ok(())
            }
            Frame::Error(_) if correlation == Correlation::NONE => Ok(()),
            answer => self.on_answer(correlation, answer, now, out),
        };
        if let Err(violation) = judged {
            self.break_off(violation.words, violation.code, now, out);
        }
    }

    fn on_answer(
        &mut self,
        correlation: Correlation,
        answer: Frame,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(flight) = self.requests.close(correlation) else {
            let words = format!("{} answers nothing that was asked", answer.frame_type());
            return Err(Violation { words, code: ErrorCode::BAD_STATE });
        };
        match (flight, answer) {
            (Flight::Ask(ask), answer) => self.requests.on_answer(ask, answer, now, out),
            (Flight::Subscribe(asked), Frame::Subscribed(answer)) => {
                self.book.on_subscribed(&asked, answer, &self.flow, now, out)
            }
            (Flight::Subscribe(asked), Frame::Error(error)) => {
                self.book.on_subscribe_refused(&asked, &Refusal::new(&error), now, out);
                Ok(())
            }
            (Flight::Unsubscribe, Frame::Ok(_) | Frame::Error(_))
            | (Flight::Heartbeat, Frame::Pong(_) | Frame::Error(_)) => Ok(()),
            (_, answer) => {
                let words = format!("{} is not an answer to what was asked", answer.frame_type());
                Err(Violation { words, code: ErrorCode::BAD_STATE })
            }
        }
    }

    fn on_undecodable(
        &mut self,
        correlation: Correlation,
        error: &DecodeError,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        if !matches!(self.state, State::Hello { .. } | State::Authenticating { .. } | State::Ready { .. }) {
            return;
        }
        if let DecodeError::UnknownType(_) = error {
            let told = error_frame(ErrorCode::UNKNOWN_TYPE, &error.to_string());
            return out.push(Effect::Send(EncodedFrame::new(correlation, &told)));
        }
        // A read that can not be understood fails by itself; to break off would only repeat it.
        if self.requests.fail_read(correlation, &error.to_string(), out) {
            return;
        }
        self.break_off(error.to_string(), ErrorCode::MALFORMED, now, out);
    }

    // -- Login --------------------------------------------------------------------------------------------------

    fn dial(&mut self, now: Moment, out: &mut Vec<Effect>) {
        self.state = State::Connecting { deadline: now + self.config.connect_timeout };
        out.push(Effect::Event(ClientEvent::Connecting));
        out.push(Effect::Dial);
    }

    fn on_welcome(&mut self, welcome: &Welcome, deadline: Moment, now: Moment, out: &mut Vec<Effect>) {
        if welcome.version != VERSION {
            self.tell_and_close(ErrorCode::VERSION_UNSUPPORTED, out);
            return self.lose(Reason::Connect(ConnectErrorKind::Version), now, out);
        }
        self.requests.forget_handshake();
        self.flow = Flow::advertised(self.config.window, welcome);
        self.heartbeat = Heartbeat::advertised(welcome, now);
        self.server = Some(ServerInfo::new(welcome));
        self.state = State::Authenticating { deadline };
        let (method, secret, device_label) = self.config.credentials.auth();
        let name = self.config.credentials.name().clone();
        let auth = Auth { method, name, secret, device_label, presence: self.config.presence };
        let correlation = self.requests.open(Flight::Handshake);
        out.push(Effect::Send(EncodedFrame::new(correlation, &auth)));
    }

    fn on_authenticated(&mut self, answer: &Authenticated, now: Moment, out: &mut Vec<Effect>) {
        let Some(server) = self.server.clone() else { return };
        self.requests.forget_handshake();
        let token = (!answer.device_token.is_empty()).then(|| answer.device_token.clone());
        if let Some(token) = &token {
            // From now on by the device: the password again would make another one at every reconnect.
            let (name, token) = (answer.name.clone(), token.clone());
            self.config.credentials = Credentials::DeviceToken { name, token };
        }
        (self.me, self.was_ready) = (answer.account, true);
        self.state = State::Ready { since: now, drain: Drain::No };
        self.heartbeat.begin(now);
        out.push(Effect::Ready { account: AccountInfo::new(answer), server, token });
        out.push(Effect::Event(ClientEvent::Connected));
    }

    fn on_refused_login(&mut self, error: &hark_protocol::Error, now: Moment, out: &mut Vec<Effect>) {
        self.not_before = now + Duration::from_millis(u64::from(error.retry_after_ms));
        self.lose(Reason::Connect(connect_kind(error)), now, out);
    }

    // -- The end of a connection --------------------------------------------------------------------------------

    fn on_going_away(&mut self, away: &hark_protocol::GoAway, now: Moment, out: &mut Vec<Effect>) {
        let State::Ready { since, .. } = self.state else { return };
        let reconnect_after = Duration::from_millis(u64::from(away.reconnect_after_ms));
        self.state = State::Ready { since, drain: Drain::Until(now + reconnect_after) };
        self.not_before = now + reconnect_after;
        out.push(Effect::Event(ClientEvent::GoingAway {
            code: away.code,
            reconnect_after,
            addresses: away.addresses.iter().map(|address| address.as_str().to_owned()).collect(),
            text: away.text.as_str().to_owned(),
        }));
    }

    fn on_connection_error(&mut self, error: &hark_protocol::Error, now: Moment, out: &mut Vec<Effect>) {
        self.not_before = now + Duration::from_millis(u64::from(error.retry_after_ms));
        let reason = match error.code {
            ErrorCode::ACCOUNT_DISABLED => Reason::Connect(ConnectErrorKind::Disabled),
            ErrorCode::SHUTTING_DOWN => Reason::GoingAway,
            code => Reason::ClosedByServer { code, text: error.text.as_str().to_owned() },
        };
        self.lose(reason, now, out);
    }

    fn on_peer_close(&mut self, close: Close, now: Moment, out: &mut Vec<Effect>) {
        let reason = match (self.state, close.code) {
            (_, ErrorCode::ACCOUNT_DISABLED) => Reason::Connect(ConnectErrorKind::Disabled),
            (State::Ready { drain: Drain::Until(_), .. }, _) => Reason::GoingAway,
            (State::Ready { .. }, code) => {
                Reason::ClosedByServer { code, text: close.text.as_str().to_owned() }
            }
            _ => Reason::Connect(ConnectErrorKind::Closed),
        };
        self.lose(reason, now, out);
    }

    fn on_heartbeat(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.heartbeat.is_dead(now) {
            return self.lose(Reason::Silent, now, out);
        }
        if let Some(ping) = self.heartbeat.ping(now) {
            // One at a time: an unanswered one would be followed by a second, which says nothing more.
            if !self.requests.has_heartbeat() {
                let correlation = self.requests.open(Flight::Heartbeat);
                out.push(Effect::Send(EncodedFrame::new(correlation, &ping)));
            }
        }
    }

    /// The server broke the protocol: it is told, and the connection is made anew.
    fn break_off(&mut self, words: String, code: ErrorCode, now: Moment, out: &mut Vec<Effect>) {
        self.tell_and_close(code, out);
        self.lose(Reason::Protocol(words), now, out);
    }

    fn tell_and_close(&mut self, code: ErrorCode, out: &mut Vec<Effect>) {
        let close = Close { code, disposition: Disposition::KEEP, text: Line::default() };
        out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, &close)));
    }

    fn lose(&mut self, reason: Reason, now: Moment, out: &mut Vec<Effect>) {
        if let State::Ready { since, .. } = self.state
            && now.saturating_sub(since) >= STABLE
        {
            self.attempt = 0;
        }
        out.push(Effect::Disconnect);
        self.requests.on_lost(out);
        self.book.on_lost();
        let is_over = match &reason {
            Reason::Connect(kind) => !self.was_ready || is_final(kind),
            _ => !self.was_ready,
        };
        let has_left = self.leaving.is_some() && !self.is_outstanding();
        if is_over || !self.config.reconnect.allows(self.attempt + 1) {
            return self.finish(reason, out);
        }
        if has_left {
            return self.finish(Reason::Requested, out);
        }
        self.attempt += 1;
        let random = self.draw();
        let backoff = match (&reason, self.not_before > now) {
            // The server has spread its clients already.
            (Reason::GoingAway, true) => Duration::ZERO,
            _ => self.config.reconnect.delay(self.attempt, random),
        };
        let delay = backoff.max(self.not_before.saturating_sub(now));
        self.state = State::Waiting { until: now + delay };
        out.push(Effect::Event(ClientEvent::Reconnecting { attempt: self.attempt, delay, reason }));
    }

    fn finish(&mut self, reason: Reason, out: &mut Vec<Effect>) {
        self.state = State::Closed;
        self.requests.give_up(out);
        self.book.give_up(out);
        out.push(Effect::Closed(reason));
    }

    fn reason(lost: Lost) -> Reason {
        match lost {
            Lost::Dial(kind) => Reason::Connect(kind),
            Lost::Eof => Reason::Lost("the server hung up".to_owned()),
            Lost::Io(words) => Reason::Lost(words),
            Lost::Frame(error) => Reason::Protocol(error.to_string()),
        }
    }

    /// The next number of a splitmix64 sequence.
    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    // -- What the application wants -----------------------------------------------------------------------------

    fn on_request(&mut self, token: Token, frame: Frame, out: &mut Vec<Effect>) {
        let failure = self.refuses().or_else(|| self.flow.too_large(&frame));
        match failure {
            Some(failure) => out.push(Effect::Answer(token, Err(failure))),
            None => self.requests.queue(token, frame),
        }
    }

    /// Why nothing new is taken, if it is not.
    fn refuses(&self) -> Option<Failure> {
        match (self.state, self.config.offline) {
            (State::Closed | State::Closing { .. }, _) => Some(Failure::Closed),
            _ if self.leaving.is_some() => Some(Failure::Closed),
            (State::Ready { .. }, _) | (_, Offline::Queue { .. }) => None,
            (_, Offline::Refuse) => Some(Failure::Offline),
        }
    }

    fn on_close(&mut self, disposition: Disposition, deadline: Moment, out: &mut Vec<Effect>) {
        if self.leaving.is_none() && !matches!(self.state, State::Closing { .. } | State::Closed) {
            self.leaving = Some(Leave { disposition, deadline });
            out.push(Effect::Leaving);
        }
    }

    fn is_outstanding(&self) -> bool {
        self.requests.is_outstanding()
    }

    /// Takes leave, whatever is outstanding.
    fn leave_now(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let Some(leave) = self.leaving.take() else { return };
        match self.state {
            State::Ready { .. } => {
                self.book.acknowledge(out);
                let close =
                    Close { code: ErrorCode(0), disposition: leave.disposition, text: Line::default() };
                out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, &close)));
                self.state = State::Closing { deadline: now + FAREWELL };
                // Nothing that comes now is an answer any more.
                self.requests.give_up(out);
            }
            State::Closing { .. } | State::Closed => {}
            _ => {
                out.push(Effect::Disconnect);
                self.finish(Reason::Requested, out);
            }
        }
    }

    /// Sends what may be sent now.
    fn pump(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.is_open() {
            self.requests.pump(&self.flow, now, out);
            self.book.pump(&mut self.requests, &self.flow, out);
        }
        if self.leaving.is_some() && !self.is_outstanding() {
            self.leave_now(now, out);
        }
        if let State::Ready { drain: Drain::Until(_), .. } = self.state
            && !self.requests.is_in_flight()
        {
            self.book.acknowledge(out);
            self.tell_and_close(ErrorCode(0), out);
            self.lose(Reason::GoingAway, now, out);
        }
    }
}

/// A connection that stood so long was a good one: what follows its loss is a new series of attempts.
const STABLE: Duration = Duration::from_secs(10);

/// How long the server may take to hang up after CLOSE.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether another attempt would only be refused again.
fn is_final(kind: &ConnectErrorKind) -> bool {
    match kind {
        ConnectErrorKind::AuthFailed | ConnectErrorKind::Disabled | ConnectErrorKind::Version => true,
        ConnectErrorKind::Refusal(refusal) => !refusal.retryable && !kind.is_retryable(),
        _ => false,
    }
}

fn error_frame(code: ErrorCode, text: &str) -> hark_protocol::Error {
    hark_protocol::Error {
        code,
        scope: code.scope(),
        retryable: false,
        resume_allowed: false,
        retry_after_ms: 0,
        limit: LimitId(0),
        limit_value: 0,
        text: Line::lossy(text),
    }
}

/// Sends a payload that asks for nothing.
fn tell<P: Payload>(payload: &P, out: &mut Vec<Effect>) {
    out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, payload)));
}

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

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hark_protocol::limits::{AGENT_BYTES_MAX, RECEIVE_FRAME_BYTES_MAX};
use hark_protocol::{
    AccountId, AuthMethod, ClientId, Correlation, DecodeError, Disposition, EncodedFrame, ErrorCode, Frame,
    FrameError, Level, Line, Payload, PresenceMode, Publish, RawFrame, RoomId, Seq, Signal, SignalKind,
};

use crate::credentials::{Credentials, Token as DeviceToken};
use crate::error::ConnectErrorKind;
use crate::event::{Position, RoomEvent, Start};
use crate::options::{Offline, Reconnect};
use crate::probe::hello;
use crate::status::{AccountInfo, ClientEvent, Reason, ServerInfo};

mod arrival;
mod ask;
mod book;
mod ending;
mod failure;
mod flow;
mod heartbeat;
mod lane;
mod names;
mod login;
mod requests;
mod subscription;
#[cfg(test)]
mod tests;

pub(crate) use ask::Keep;
use book::Book;
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
    /// Who logs in; `None` where a session is all there is.
    pub(crate) credentials: Option<Credentials>,
    /// What takes an earlier session up again.
    pub(crate) session_token: Option<DeviceToken>,
    /// How far an earlier process had come in each room.
    pub(crate) positions: BTreeMap<RoomId, Position>,
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
    /// A publish that is waited for until `within` has passed; exactly one [`Effect::Answer`] comes of it.
    Publish { token: Token, publish: Publish, within: Option<Duration>, keep: Keep },
    /// A publish that is not to be sent again; the answer is OK, or [`Failure::NotThere`].
    Abandon { token: Token, client_id: ClientId },
    /// Something to tell a room now or never.
    Signal { room: RoomId, kind: SignalKind },
    /// A room to follow; the answer is SUBSCRIBED with its one verdict.
    Follow { token: Token, feed: FeedId, room: RoomId, start: Start, level: Level },
    /// How far a feed was read.
    Taken { feed: FeedId, taken: Taken },
    /// The unread position of a watched room is to be moved.
    Read { feed: FeedId, seq: Seq },
    /// The network has changed, or is there again.
    NetworkChanged,
    /// Nobody reads a feed any more.
    Unfollow { feed: FeedId },
    /// The end, when everything outstanding is answered or `patience` has passed.
    Close { disposition: Disposition, patience: Duration },
}

/// What is to be done; in the order in which it is listed.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Open a connection, to another address of the service if the server has named one.
    Dial { address: Option<String> },
    /// Send a frame on it.
    Send(EncodedFrame),
    /// Give the connection, or the attempt, up; frames sent before this are written as far as the peer takes them.
    Disconnect,
    /// The time for a publish's answer is over; it goes on all the same, because it is kept on a disk.
    Late(Token),
    /// A request's answer.
    Answer(Token, Result<Frame, Failure>),
    /// The next item of a feed.
    Item(FeedId, RoomEvent),
    /// How far a watched room has come; it takes the place of what the feed was told before and has not handed out.
    Latest(FeedId, RoomEvent),
    /// The feed has had its last item.
    EndFeed(FeedId),
    /// Something for whoever watches the client.
    Event(ClientEvent),
    /// Logged in: what that taught.
    Ready {
        account: AccountInfo,
        server: ServerInfo,
        token: Option<DeviceToken>,
        session_token: Option<DeviceToken>,
    },
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

/// The server did what the protocol forbids.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    words: String,
    code: ErrorCode,
}

/// What is left of the bytes that arrived when their whole frames are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    None,
    /// The beginning of a frame that was not there before.
    NewPartial,
    /// More of a frame that had begun before.
    SamePartial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting { deadline: Moment },
    Hello { deadline: Moment },
    Authenticating { deadline: Moment, login: Login },
    Ready { since: Moment, drain: Drain },
    Waiting { until: Moment },
    Closing { deadline: Moment, disposition: Disposition },
    Closed,
}

/// Whether the server has said that it is going away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// It has; nothing new is sent, and the client comes back then.
    Until(Moment),
}

/// With what the client is logging in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    Auth,
    Resume,
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
    /// The token of a RESUME whose answer was lost with its connection. It may be carried out late, and take the
    /// session from this client's own newer connection.
    lost_resume: Option<DeviceToken>,
    /// The server's word on when to come back.
    not_before: Moment,
    server: Option<ServerInfo>,
    auth_methods: Vec<AuthMethod>,
    /// Where to connect, the next one first, when the server has named other addresses; `None` = where it began.
    addresses: VecDeque<Option<String>>,
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
            lost_resume: None,
            not_before: Moment::ZERO,
            server: None,
            auth_methods: Vec::new(),
            addresses: VecDeque::new(),
            me: AccountId(0),
            flow: Flow::new(config.window),
            requests: Requests::default(),
            book: Book::new(config.positions.clone()),
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
            (State::Closing { .. }, lost) => {
                out.push(Effect::Disconnect);
                let reason = match lost {
                    // As it should be: the server answers CLOSE by hanging up.
                    Lost::Eof => Reason::Requested,
                    lost => Session::reason(lost),
                };
                self.finish(reason, out);
            }
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

    /// Bytes arrived, whose whole frames were handed over: the server lives.
    pub(crate) fn on_bytes(&mut self, rest: Rest, now: Moment, out: &mut Vec<Effect>) {
        if let Some(silent_for) = self.heartbeat.on_bytes(rest, now)
            && matches!(self.state, State::Ready { .. })
        {
            out.push(Effect::Event(ClientEvent::Recovered { silent_for }));
        }
    }

    /// The longest payload that is taken.
    pub(crate) const LENGTH_MAX: u32 = RECEIVE_FRAME_BYTES_MAX;

    /// A whole frame arrived.
    pub(crate) fn on_frame(&mut self, raw: &RawFrame, now: Moment, out: &mut Vec<Effect>) {
        let correlation = raw.header().correlation;
        match Frame::decode(raw) {
            Ok(frame) => self.on_decoded(correlation, frame, now, out),
            Err(DecodeError::UnknownType(unknown)) if unknown.is_ignorable() => {}
            Err(error) => self.on_undecodable(correlation, &error, now, out),
        }
        self.pump(now, out);
    }

    /// The application wants something.
    pub(crate) fn on_command(&mut self, command: Command, now: Moment, out: &mut Vec<Effect>) {
        match command {
            Command::Request { token, frame } => self.on_request(token, frame, out),
            Command::Publish { token, publish, within, keep } => {
                let until = within.map(|within| now.saturating_add(within));
                self.on_publish(token, publish, until, keep, out);
            }
            Command::Abandon { token, client_id } => {
                let answer = match self.requests.abandon(client_id, out) {
                    true => Ok(Frame::Ok(hark_protocol::Ok {})),
                    false => Err(Failure::NotThere),
                };
                out.push(Effect::Answer(token, answer));
            }
            Command::Signal { room, kind } => {
                if self.is_open() {
                    out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, &Signal { room, kind })));
                }
            }
            Command::Follow { token, feed, room, start, level } => match self.refuses() {
                Some(failure) => out.push(Effect::Answer(token, Err(failure))),
                None => self.book.follow(token, feed, room, (start, level), out),
            },
            Command::Read { feed, seq } => self.book.on_read(feed, seq, out),
            Command::NetworkChanged => self.on_network_changed(now, out),
            Command::Taken { feed, taken } => self.book.on_taken(feed, taken, &self.flow, now, out),
            Command::Unfollow { feed } => self.book.unfollow(feed, out),
            Command::Close { disposition, patience } => {
                self.on_close(disposition, now.saturating_add(patience), out)
            }
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
            | State::Authenticating { deadline, .. }
                if now >= deadline =>
            {
                self.lose(Reason::Connect(ConnectErrorKind::Timeout), now, out);
            }
            State::Waiting { until } if now >= until => self.dial(now, out),
            State::Closing { deadline, .. } if now >= deadline => self.stop_waiting(out),
            State::Ready { .. } => self.on_heartbeat(now, out),
            _ => {}
        }
        self.requests.on_expiry(now, out);
        self.book.on_deadline(now, out);
        self.pump(now, out);
    }

    /// The network is another one, or is there again: what was put off is done now, what is under way must succeed
    /// soon, and what looks alive must show it. The server's own word on when to come back is kept.
    fn on_network_changed(&mut self, now: Moment, out: &mut Vec<Effect>) {
        match &mut self.state {
            State::Waiting { until } => {
                *until = now.max(self.not_before);
                self.attempt = 0;
                if *until <= now {
                    self.dial(now, out);
                }
            }
            State::Connecting { deadline }
            | State::Hello { deadline }
            | State::Authenticating { deadline, .. }
                if self.was_ready =>
            {
                *deadline = (*deadline).min(now + ATTEMPT);
                self.attempt = 0;
            }
            State::Ready { .. } => {
                self.heartbeat.probe(now);
                self.on_heartbeat(now, out);
            }
            _ => {}
        }
    }

    /// How far the application has come in each room that it has followed.
    pub(crate) fn positions(&self) -> &BTreeMap<RoomId, Position> {
        self.book.positions()
    }

    /// When [`Session::on_deadline`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let own = match self.state {
            State::Connecting { deadline }
            | State::Hello { deadline }
            | State::Authenticating { deadline, .. }
            | State::Closing { deadline, .. } => Some(deadline),
            State::Waiting { until } => Some(until),
            State::Ready { .. } => self.heartbeat.deadline(),
            State::Closed => return None,
        };
        let waiting = match self.is_open() {
            true => [self.book.deadline(), self.requests.deadline()],
            false => [None, None],
        };
        let leaving = self.leaving.map(|leave| leave.deadline);
        [own, leaving, self.requests.expiry()].into_iter().chain(waiting).flatten().min()
    }

    /// Whether nothing will ever happen any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Ready { drain: Drain::No, .. })
    }

    fn on_request(&mut self, token: Token, frame: Frame, out: &mut Vec<Effect>) {
        match self.refuses() {
            Some(failure) => out.push(Effect::Answer(token, Err(failure))),
            None => self.requests.queue(token, frame, None, Keep::Memory),
        }
    }

    fn on_publish(
        &mut self,
        token: Token,
        publish: Publish,
        until: Option<Moment>,
        keep: Keep,
        out: &mut Vec<Effect>,
    ) {
        let refused = match (self.refuses(), keep) {
            (Some(Failure::Closed), Keep::Disk) => Some(Failure::Kept),
            // It is on the disk by now, and goes when there is a connection again.
            (Some(_), Keep::Disk) => None,
            (refused, _) => refused,
        };
        match refused.or_else(|| self.flow.too_large(&publish)) {
            Some(failure) => out.push(Effect::Answer(token, Err(failure))),
            None => self.requests.queue(token, Frame::Publish(publish), until, keep),
        }
    }

    /// A publish that an earlier process has left on the disk. To be called before anything else is asked for: it
    /// goes first.
    pub(crate) fn on_found(&mut self, token: Token, publish: Publish) {
        self.requests.queue_found(token, publish);
    }

    /// Why a publish would not be taken now, if it would not.
    pub(crate) fn refuses_publish(&self, publish: &Publish) -> Option<Failure> {
        self.refuses().or_else(|| self.flow.too_large(publish))
    }

    /// Whether a publish would be taken now.
    pub(crate) fn takes_publishes(&self) -> bool {
        self.refuses().is_none()
    }

    /// The publishes without a verdict, in the order of calls, and whether each ever left.
    pub(crate) fn publishes(&self) -> impl Iterator<Item = (Token, &Publish, bool)> {
        self.requests.publishes()
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

/// How long an attempt that began on another network may go on.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Sends a payload that asks for nothing.
fn tell<P: Payload>(payload: &P, out: &mut Vec<Effect>) {
    out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, payload)));
}

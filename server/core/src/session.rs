//! The conversation with one peer: which frames belong where, what is asked of the server, and that every
//! request is answered exactly once.
//!
//! ```text
//!           HELLO               AUTH, REGISTER            answer of AUTH
//!   Init ─────────▶ Greeted ───────────────────▶ Deciding ───────────────▶ Active
//!                      ▲                            │                        │
//!                      └────────────────────────────┘ refused, registered    │
//!   any state ──▶ Closed: CLOSE, a broken rule, a deadline; nothing is said after it ◀─┘
//! ```

use std::sync::Arc;

use hark_protocol::limits::{AGENT_BYTES_MAX, PRE_AUTH_FRAME_BYTES_MAX};
use hark_protocol::{
    AuthMethod, Authenticated, Capability, Close, Correlation, DecodeError, Disposition, Error, ErrorCode,
    Frame, FrameType, Hello, Line, List, Payload, Pong, RawFrame, Scope, VERSION, Welcome, encode_into,
};

use crate::outstanding::{Barriers, Outstanding, Progress};
use crate::rate::{Bucket, Rate};
use crate::{CloseReason, Limits, Refusal};

/// What every session of a server has in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits, as WELCOME tells them.
    pub limits: Arc<Limits>,
    /// Whether REGISTER is allowed.
    pub registration: bool,
    /// The server's name and version.
    pub agent: Line<AGENT_BYTES_MAX>,
}

/// What the caller has to do about a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: whatever there was to say has been written.
    Done,
    /// Carry it out, and give its answer to [`Session::answer`] or [`Session::refuse`].
    Request(Correlation, Frame),
    /// Carry it out; it has no answer.
    Notice(Frame),
    /// The peer wants to go. Nothing more is read.
    Leave(Disposition),
}

#[derive(Debug)]
enum State {
    Init,
    Greeted { hello: Greeting, tries: u32 },
    Deciding { hello: Greeting, tries: u32 },
    Active { hello: Greeting },
    Closed,
}

/// What came of HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// What both sides can do.
    pub capabilities: Vec<Capability>,
    /// The connection window: what the client asked for, within the server's maximum.
    pub window: u32,
}

/// Who sends a type, and whether it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// A client asks; there is exactly one final answer.
    Request,
    /// A client tells; there is no answer.
    Notice,
    /// Only servers send it.
    ServerOnly,
}

/// The conversation with one peer.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    state: State,
    outstanding: Outstanding,
    barriers: Barriers,
    idle_frames: Bucket,
}

/// What this server can do beyond the core.
const CAPABILITIES: [Capability; 2] = [Capability::PRESENCE, Capability::SIGNALS];

impl Session {
    /// A conversation in which nothing has been said.
    pub fn new(settings: Settings) -> Session {
        Session {
            settings,
            state: State::Init,
            outstanding: Outstanding::default(),
            barriers: Barriers::default(),
            idle_frames: Bucket::default(),
        }
    }

    /// Payload bytes that the peer may send in one frame now.
    pub fn frame_bytes_max(&self) -> u32 {
        match self.state {
            State::Active { .. } => self.settings.limits.frame_bytes_max,
            _ => PRE_AUTH_FRAME_BYTES_MAX,
        }
    }

    /// Whether the next frame may be read: while a login is decided, or too much is unanswered, it waits in
    /// the peer's socket.
    pub fn wants_frames(&self) -> bool {
        let in_flight_max =
            usize::try_from(self.settings.limits.requests_in_flight_max).unwrap_or(usize::MAX);
        match self.state {
            State::Init | State::Greeted { .. } => true,
            State::Active { .. } => self.outstanding.len() + self.barriers.len() < in_flight_max,
            State::Deciding { .. } | State::Closed => false,
        }
    }

    /// What came of HELLO, once it has been read.
    pub fn greeting(&self) -> Option<&Greeting> {
        match &self.state {
            State::Greeted { hello, .. } | State::Deciding { hello, .. } | State::Active { hello } => {
                Some(hello)
            }
            State::Init | State::Closed => None,
        }
    }

    /// Whether both sides can do it.
    pub fn has(&self, capability: Capability) -> bool {
        self.greeting().is_some_and(|hello| hello.capabilities.contains(&capability))
    }

    /// Whether the peer has said who it is.
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }

    /// Whether every request has its answer and every PING its PONG.
    pub fn is_settled(&self) -> bool {
        self.outstanding.is_empty() && self.barriers.is_empty()
    }

    /// Takes one frame. What can be said at once is written behind `out`. `now_ns` is for rates.
    ///
    /// # Errors
    /// [`CloseReason`]: the caller ends the connection with [`Session::close`].
    pub fn on_frame(&mut self, raw: &RawFrame, now_ns: u64, out: &mut Vec<u8>) -> Result<Step, CloseReason> {
        let correlation = raw.header().correlation;
        let frame_type = raw.header().frame_type;
        if matches!(self.state, State::Init) {
            return self.on_first_frame(raw, out);
        }
        if is_idle(frame_type) {
            let per_second = self.settings.limits.idle_frames_per_second;
            let rate = Rate { per_second, burst: per_second };
            self.idle_frames.take(rate, now_ns).map_err(|_| CloseReason::Flood)?;
        }
        match Frame::decode(raw) {
            Ok(frame) => self.on_decoded(correlation, frame, out),
            Err(DecodeError::UnknownType(unknown)) if unknown.is_ignorable() => Ok(Step::Done),
            Err(error) => {
                self.say(correlation, &Refusal::Unreadable(error), out);
                Ok(Step::Done)
            }
        }
    }

    fn on_first_frame(&mut self, raw: &RawFrame, out: &mut Vec<u8>) -> Result<Step, CloseReason> {
        if raw.header().frame_type.is_ignorable() {
            return Ok(Step::Done);
        }
        if raw.header().frame_type != FrameType::HELLO {
            return Err(CloseReason::BadState("the first frame must be HELLO"));
        }
        let hello = Hello::decode(raw.payload()).map_err(|_| CloseReason::BadHello)?;
        if hello.version_min > hello.version_max || raw.header().correlation == Correlation::NONE {
            return Err(CloseReason::BadHello);
        }
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            return Err(CloseReason::VersionUnsupported { min: VERSION, max: VERSION });
        }
        let common = |one: &&Capability| CAPABILITIES.contains(one);
        let capabilities: Vec<Capability> = hello.capabilities.iter().filter(common).copied().collect();
        let window_max = self.settings.limits.connection_window_events_max;
        let window =
            if hello.connection_window == 0 { window_max } else { hello.connection_window.min(window_max) };
        let welcome = Welcome {
            version: VERSION,
            capabilities: List::truncated(capabilities.clone()),
            limits: self.settings.limits.advertised(),
            auth_methods: List::truncated(vec![AuthMethod::PASSWORD, AuthMethod::DEVICE_TOKEN]),
            registration: self.settings.registration,
            agent: self.settings.agent.clone(),
        };
        encode_into(raw.header().correlation, &welcome, out);
        self.state = State::Greeted { hello: Greeting { capabilities, window }, tries: 0 };
        Ok(Step::Done)
    }

    fn on_decoded(
        &mut self,
        correlation: Correlation,
        frame: Frame,
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        match (&frame, sort(frame.frame_type())) {
            (_, Sort::ServerOnly) if frame.frame_type().is_ignorable() => Ok(Step::Done),
            (_, Sort::ServerOnly) => Err(CloseReason::BadState("only servers send this frame")),
            (Frame::Hello(_), _) => Err(CloseReason::BadState("HELLO comes once")),
            (Frame::Close(close), _) => Ok(Step::Leave(close.disposition)),
            (Frame::Ping(ping), _) => {
                self.barriers.push(correlation, ping.data.clone(), self.outstanding.last());
                Ok(Step::Done)
            }
            (Frame::Pong(_), _) => Ok(Step::Notice(frame)),
            (Frame::Error(_), _) => Ok(Step::Done), // never answered
            (Frame::Cancel(cancel), _) => {
                self.outstanding.cancel(cancel.request);
                Ok(Step::Notice(frame))
            }
            (_, Sort::Notice) if self.is_active() => Ok(Step::Notice(frame)),
            (_, Sort::Notice) => {
                self.say(Correlation::NONE, &Refusal::Unauthenticated, out);
                Ok(Step::Done)
            }
            (_, Sort::Request) => self.on_request(correlation, frame, out),
        }
    }

    fn on_request(
        &mut self,
        correlation: Correlation,
        frame: Frame,
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let opens = matches!(frame, Frame::Auth(_) | Frame::Register(_));
        if correlation == Correlation::NONE {
            self.say(correlation, &Refusal::Malformed("a request needs a correlation"), out);
            return Ok(Step::Done);
        }
        if opens && self.is_active() {
            return Err(CloseReason::BadState("this connection is logged in"));
        }
        if !opens && !self.is_active() {
            self.say(correlation, &Refusal::Unauthenticated, out);
            return Ok(Step::Done);
        }
        if !self.outstanding.insert(correlation) {
            // Not under that correlation: it would be taken for the other request's final answer.
            self.say(Correlation::NONE, &Refusal::Malformed("this correlation is in use"), out);
            return Ok(Step::Done);
        }
        if opens {
            self.state = match std::mem::replace(&mut self.state, State::Closed) {
                State::Greeted { hello, tries } => State::Deciding { hello, tries },
                other => other,
            };
        }
        Ok(Step::Request(correlation, frame))
    }

    /// Gives a request its final answer. One that was cancelled is told so instead, and one that has its
    /// answer already gets no other.
    pub fn answer(&mut self, correlation: Correlation, frame: &Frame, out: &mut Vec<u8>) {
        match self.outstanding.answer(correlation) {
            None => {}
            Some(true) if is_read(frame.frame_type()) => self.say(correlation, &Refusal::Cancelled, out),
            Some(_) => frame.encode_into(correlation, out),
        }
        if let State::Deciding { .. } = self.state {
            self.decided(false);
        }
    }

    /// Gives the request AUTH its answer: the peer is who it says.
    pub fn authenticated(&mut self, correlation: Correlation, who: &Authenticated, out: &mut Vec<u8>) {
        if self.outstanding.answer(correlation).is_some() {
            encode_into(correlation, who, out);
            self.decided(true);
        }
    }

    fn decided(&mut self, is_active: bool) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Deciding { hello, .. } if is_active => State::Active { hello },
            State::Deciding { hello, tries } => State::Greeted { hello, tries },
            other => other,
        };
    }

    /// Refuses a request as its final answer.
    ///
    /// # Errors
    /// [`CloseReason`] when it was one failed login too many.
    pub fn refuse(
        &mut self,
        correlation: Correlation,
        refusal: &Refusal,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        match self.outstanding.answer(correlation) {
            None => return Ok(()),
            Some(_) => self.say(correlation, refusal, out),
        }
        self.decided(false);
        let (State::Greeted { tries, .. }, Refusal::AuthFailed) = (&mut self.state, refusal) else {
            return Ok(());
        };
        *tries += 1;
        match *tries < self.settings.limits.auth_tries_max {
            true => Ok(()),
            false => Err(CloseReason::TooManyAuthTries),
        }
    }

    fn say(&self, correlation: Correlation, refusal: &Refusal, out: &mut Vec<u8>) {
        let code = refusal.code();
        let (limit, limit_value) = refusal.limit();
        let error = Error {
            code,
            scope: Scope::REQUEST,
            retryable: code.is_retryable(),
            resume_allowed: code.allows_resume(),
            retry_after_ms: refusal.retry_after_ms(),
            limit,
            limit_value,
            text: Line::lossy(&refusal.to_string()),
        };
        encode_into(correlation, &error, out);
    }

    /// Writes the PONGs that are due.
    pub fn pongs(&mut self, progress: &impl Progress, out: &mut Vec<u8>) {
        while let Some(due) = self.barriers.take_due(&self.outstanding, progress) {
            encode_into(due.correlation, &Pong { data: due.data }, out);
        }
    }

    /// Ends the conversation: what is wrong, then CLOSE, then nothing more. `None` is an end without an error.
    pub fn close(&mut self, reason: Option<&CloseReason>, out: &mut Vec<u8>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.state = State::Closed;
        if let Some(reason) = reason {
            encode_into(Correlation::NONE, &reason.to_error(), out);
        }
        let close = Close {
            code: reason.map_or(ErrorCode(0), CloseReason::code),
            disposition: Disposition::KEEP,
            text: reason.map_or_else(Line::default, |reason| Line::lossy(&reason.to_string())),
        };
        encode_into(Correlation::NONE, &close, out);
    }
}

/// Frames that cost work and carry none, so that only their number can be judged.
fn is_idle(frame_type: FrameType) -> bool {
    matches!(frame_type, FrameType::PING | FrameType::PONG | FrameType::CANCEL | FrameType::SIGNAL)
        || (frame_type.is_ignorable() && !frame_type.is_known())
}

/// Answers to requests that CANCEL stops.
fn is_read(answer: FrameType) -> bool {
    matches!(
        answer,
        FrameType::PAGE | FrameType::ROOMS | FrameType::ROOM | FrameType::MEMBERS | FrameType::ACCOUNTS
    )
}

fn sort(frame_type: FrameType) -> Sort {
    match frame_type {
        FrameType::WELCOME
        | FrameType::AUTHENTICATED
        | FrameType::GOAWAY
        | FrameType::OK
        | FrameType::ROOMS
        | FrameType::ROOM
        | FrameType::MEMBERS
        | FrameType::PUBLISHED
        | FrameType::SUBSCRIBED
        | FrameType::SUBSCRIPTION_ENDED
        | FrameType::EVENT
        | FrameType::REPLAYED
        | FrameType::HEAD
        | FrameType::GAP
        | FrameType::PAGE
        | FrameType::SIGNALLED
        | FrameType::PRESENCE
        | FrameType::PROFILE
        | FrameType::ACCOUNTS => Sort::ServerOnly,
        FrameType::PING
        | FrameType::PONG
        | FrameType::ERROR
        | FrameType::CANCEL
        | FrameType::CLOSE
        | FrameType::ACK
        | FrameType::SIGNAL => Sort::Notice,
        _ => Sort::Request,
    }
}

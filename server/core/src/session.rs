//! The conversation with one peer: which frames belong where, what is asked of the server, and that every
//! request is answered exactly once.
//!
//! ```text
//!           HELLO           AUTH, RESUME, REGISTER        AUTHENTICATED
//!   Init ─────────▶ Greeted ───────────────────▶ Deciding ───────────────▶ Active
//!                      ▲                            │
//!                      └────────────────────────────┘ refused, registered
//!
//!   any state ── a broken rule ──▶ Ending ── close() ──▶ Closed: nothing is said any more
//!            └── a deadline, the peer's CLOSE, no error: close() ──▲
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
    Greeted {
        hello: Greeting,
        tries: u32,
    },
    Deciding {
        hello: Greeting,
        tries: u32,
    },
    Active {
        hello: Greeting,
    },
    /// A rule was broken, in the request with that correlation if it is not 0. The last words are to be said.
    Ending {
        reason: CloseReason,
        correlation: Correlation,
    },
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
    /// This version does not name it.
    Unknown,
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
            State::Deciding { .. } | State::Ending { .. } | State::Closed => false,
        }
    }

    /// What came of HELLO, once it has been read.
    pub fn greeting(&self) -> Option<&Greeting> {
        match &self.state {
            State::Greeted { hello, .. } | State::Deciding { hello, .. } | State::Active { hello } => {
                Some(hello)
            }
            State::Init | State::Ending { .. } | State::Closed => None,
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

    /// Whether the request with that correlation was cancelled before it was answered.
    pub fn is_cancelled(&self, correlation: Correlation) -> bool {
        self.outstanding.is_cancelled(correlation)
    }

    /// Whether every request has its answer and every PING its PONG.
    pub fn is_settled(&self) -> bool {
        self.outstanding.is_empty() && self.barriers.is_empty()
    }

    /// Takes one frame. What can be said at once is written behind `out`. `now_ns` is for rates.
    ///
    /// # Errors
    /// [`CloseReason`]: the caller ends the connection with [`Session::close`]. Every later frame has the same.
    pub fn on_frame(&mut self, raw: &RawFrame, now_ns: u64, out: &mut Vec<u8>) -> Result<Step, CloseReason> {
        match &self.state {
            State::Closed => return Ok(Step::Done),
            State::Ending { reason, .. } => return Err(reason.clone()),
            _ => {}
        }
        let correlation = raw.header().correlation;
        let sort = sort(raw.header().frame_type);
        self.judge(raw, sort, now_ns, out).map_err(|reason| {
            // An answer with a correlation that another request has would be taken for that one's.
            let answers = sort == Sort::Request && !self.is_in_use(correlation);
            self.end(reason, if answers { correlation } else { Correlation::NONE })
        })
    }

    fn judge(
        &mut self,
        raw: &RawFrame,
        sort: Sort,
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<Step, CloseReason> {
        let frame_type = raw.header().frame_type;
        if is_idle(frame_type) {
            let per_second = self.settings.limits.idle_frames_per_second;
            let rate = Rate { per_second, burst: per_second };
            self.idle_frames.take(rate, now_ns).map_err(|_| CloseReason::Flood)?;
        }
        match sort {
            // Whoever may not know a type may skip it, wherever it comes.
            Sort::ServerOnly | Sort::Unknown if frame_type.is_ignorable() => Ok(Step::Done),
            _ if frame_type == FrameType::ERROR => self.on_error(raw),
            _ if matches!(self.state, State::Init) => self.on_first_frame(raw, out),
            Sort::ServerOnly => Err(CloseReason::BadState("only servers send this frame")),
            Sort::Notice => self.on_notice(raw, out),
            Sort::Request | Sort::Unknown => self.on_request(raw, out),
        }
    }

    /// The peer found something wrong. It is never answered, whatever it says.
    fn on_error(&self, raw: &RawFrame) -> Result<Step, CloseReason> {
        match Error::decode(raw.payload()) {
            Ok(error) if error.scope == Scope::CONNECTION => Ok(Step::Leave(Disposition::KEEP)),
            _ if matches!(self.state, State::Init) => Err(CloseReason::BadState(FIRST_IS_HELLO)),
            _ => Ok(Step::Done),
        }
    }

    fn on_first_frame(&mut self, raw: &RawFrame, out: &mut Vec<u8>) -> Result<Step, CloseReason> {
        let correlation = raw.header().correlation;
        if raw.header().frame_type != FrameType::HELLO {
            return Err(CloseReason::BadState(FIRST_IS_HELLO));
        }
        match Hello::decode(raw.payload()) {
            _ if correlation == Correlation::NONE => self.say(correlation, &NO_CORRELATION, out),
            Err(error) => self.say(correlation, &Refusal::Unreadable(error), out),
            Ok(hello) => self.welcome(correlation, &hello, out)?,
        }
        Ok(Step::Done)
    }

    fn welcome(
        &mut self,
        correlation: Correlation,
        hello: &Hello,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            return Err(CloseReason::VersionUnsupported { min: VERSION, max: VERSION });
        }
        let common = |one: &Capability| hello.capabilities.contains(one);
        let capabilities: Vec<Capability> = CAPABILITIES.into_iter().filter(common).collect();
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
        encode_into(correlation, &welcome, out);
        self.state = State::Greeted { hello: Greeting { capabilities, window }, tries: 0 };
        Ok(())
    }

    /// Takes what has no answer. What is wrong with it is said with correlation 0, because nothing was asked.
    fn on_notice(&mut self, raw: &RawFrame, out: &mut Vec<u8>) -> Result<Step, CloseReason> {
        let needs_login = matches!(raw.header().frame_type, FrameType::ACK | FrameType::SIGNAL);
        if needs_login && !self.is_active() {
            self.say(Correlation::NONE, &Refusal::Unauthenticated, out);
            return Ok(Step::Done);
        }
        match Frame::decode(raw) {
            Err(error) => {
                self.say(Correlation::NONE, &Refusal::Unreadable(error), out);
                Ok(Step::Done)
            }
            Ok(Frame::Close(close)) => Ok(Step::Leave(close.disposition)),
            Ok(frame) => {
                if let Frame::Cancel(cancel) = &frame {
                    self.outstanding.cancel(cancel.request);
                }
                Ok(Step::Notice(frame))
            }
        }
    }

    /// Takes what has an answer.
    fn on_request(&mut self, raw: &RawFrame, out: &mut Vec<u8>) -> Result<Step, CloseReason> {
        let (correlation, frame_type) = (raw.header().correlation, raw.header().frame_type);
        match (frame_type, &self.state) {
            (FrameType::HELLO, _) => return Err(CloseReason::BadState("HELLO comes once")),
            (FrameType::AUTH | FrameType::RESUME | FrameType::REGISTER, State::Active { .. }) => {
                return Err(CloseReason::BadState("this connection is logged in"));
            }
            (FrameType::AUTH | FrameType::RESUME | FrameType::REGISTER, State::Deciding { .. }) => {
                return Err(CloseReason::BadState("a login is being decided"));
            }
            _ => {}
        }
        match self.judge_request(raw) {
            Ok(frame) => Ok(self.accept(correlation, frame)),
            Err(refusal) => {
                // Under a correlation in use it would be taken for the other request's final answer.
                let told = if self.is_in_use(correlation) { Correlation::NONE } else { correlation };
                self.say(told, &refusal, out);
                Ok(Step::Done)
            }
        }
    }

    /// The request, unless it is refused: by state, type, correlation or payload, in this order.
    fn judge_request(&self, raw: &RawFrame) -> Result<Frame, Refusal> {
        let (correlation, frame_type) = (raw.header().correlation, raw.header().frame_type);
        let needs_login = !matches!(
            frame_type,
            FrameType::AUTH | FrameType::RESUME | FrameType::REGISTER | FrameType::PING
        );
        if !frame_type.is_known() {
            return Err(Refusal::Unreadable(DecodeError::UnknownType(frame_type)));
        }
        if needs_login && !self.is_active() {
            return Err(Refusal::Unauthenticated);
        }
        if correlation == Correlation::NONE {
            return Err(NO_CORRELATION);
        }
        if self.is_in_use(correlation) {
            return Err(Refusal::Malformed("this correlation belongs to a request without an answer"));
        }
        Frame::decode(raw).map_err(Refusal::Unreadable)
    }

    /// Takes note of a request that is going to be answered.
    fn accept(&mut self, correlation: Correlation, frame: Frame) -> Step {
        if let Frame::Ping(ping) = frame {
            self.barriers.push(correlation, ping.data, self.outstanding.last());
            return Step::Done;
        }
        self.outstanding.insert(correlation);
        if matches!(frame, Frame::Auth(_) | Frame::Resume(_) | Frame::Register(_)) {
            self.state = match std::mem::replace(&mut self.state, State::Closed) {
                State::Greeted { hello, tries } => State::Deciding { hello, tries },
                other => other,
            };
        }
        Step::Request(correlation, frame)
    }

    fn is_in_use(&self, correlation: Correlation) -> bool {
        self.outstanding.contains(correlation) || self.barriers.contains(correlation)
    }

    fn end(&mut self, reason: CloseReason, correlation: Correlation) -> CloseReason {
        self.state = State::Ending { reason: reason.clone(), correlation };
        reason
    }

    /// Gives a request its final answer. One that was cancelled is told so instead, and one that has its
    /// answer already gets no other.
    pub fn answer(&mut self, correlation: Correlation, frame: &Frame, out: &mut Vec<u8>) {
        match self.take_asked(correlation) {
            None => return,
            Some(true) if is_read(frame.frame_type()) => self.say(correlation, &Refusal::Cancelled, out),
            Some(_) => frame.encode_into(correlation, out),
        }
        self.decided(false);
    }

    /// Gives the request AUTH or RESUME its answer: the peer is who it says.
    pub fn authenticated(&mut self, correlation: Correlation, who: &Authenticated, out: &mut Vec<u8>) {
        if self.take_asked(correlation).is_some() {
            encode_into(correlation, who, out);
            self.decided(true);
        }
    }

    /// Takes a request off those without an answer, and says whether it was cancelled. On a connection that
    /// ends nothing is owed any more.
    fn take_asked(&mut self, correlation: Correlation) -> Option<bool> {
        match self.state {
            State::Ending { .. } | State::Closed => None,
            _ => self.outstanding.answer(correlation),
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
    /// [`CloseReason`] when it was one failed login too many: the answer is the ERROR that [`Session::close`]
    /// writes.
    pub fn refuse(
        &mut self,
        correlation: Correlation,
        refusal: &Refusal,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseReason> {
        if self.take_asked(correlation).is_none() {
            return Ok(());
        }
        self.decided(false);
        let is_try = matches!(refusal, Refusal::AuthFailed | Refusal::SessionExpired);
        if let (State::Greeted { tries, .. }, true) = (&mut self.state, is_try) {
            *tries += 1;
            if *tries >= self.settings.limits.auth_tries_max {
                return Err(self.end(CloseReason::TooManyAuthTries, correlation));
            }
        }
        self.say(correlation, refusal, out);
        Ok(())
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
        if matches!(self.state, State::Ending { .. } | State::Closed) {
            return;
        }
        while let Some(due) = self.barriers.take_due(&self.outstanding, progress) {
            encode_into(due.correlation, &Pong { data: due.data }, out);
        }
    }

    /// Ends the conversation: what is wrong, then CLOSE, then nothing more. `None` is an end without an error.
    pub fn close(&mut self, reason: Option<&CloseReason>, out: &mut Vec<u8>) {
        let (broken, correlation) = match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => return,
            State::Ending { reason, correlation } => (Some(reason), correlation),
            _ => (None, Correlation::NONE),
        };
        let reason = broken.as_ref().or(reason);
        if let Some(reason) = reason {
            encode_into(correlation, &reason.to_error(), out);
        }
        let close = Close {
            code: reason.map_or(ErrorCode(0), CloseReason::code),
            disposition: Disposition::KEEP,
            text: reason.map_or_else(Line::default, |reason| Line::lossy(&reason.to_string())),
        };
        encode_into(Correlation::NONE, &close, out);
    }
}

const FIRST_IS_HELLO: &str = "the first frame must be HELLO";
const NO_CORRELATION: Refusal = Refusal::Malformed("a request needs a correlation");

/// Frames that cost work and carry none, so that only their number can be judged.
fn is_idle(frame_type: FrameType) -> bool {
    matches!(frame_type, FrameType::PING | FrameType::PONG | FrameType::CANCEL) || frame_type.is_ignorable()
}

/// Answers to requests that CANCEL stops.
fn is_read(answer: FrameType) -> bool {
    matches!(answer, FrameType::PAGE | FrameType::ROOMS | FrameType::MEMBERS | FrameType::ACCOUNTS)
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
        FrameType::PONG
        | FrameType::ERROR
        | FrameType::CANCEL
        | FrameType::CLOSE
        | FrameType::ACK
        | FrameType::SIGNAL => Sort::Notice,
        known if known.is_known() => Sort::Request,
        _ => Sort::Unknown,
    }
}

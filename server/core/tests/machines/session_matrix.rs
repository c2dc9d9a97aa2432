//! The session's transitions: every state against every kind of input, in one golden table.
//!
//! A cell says what comes of an input: `-` nothing, `request`, `notice`, `barrier` (a PING that waits), `leave`,
//! the type of the frame that is written, `CODE` for an ERROR of request scope, `!CODE` for the ERROR that ends
//! the connection. `@0` behind a code: it carries correlation 0 and not the frame's. `>State`: where it leads.

use std::fmt::Write;
use std::sync::Arc;

use hark_core::outstanding::Progress;
use hark_core::session::{Session, Settings, Step};
use hark_core::{CloseReason, Limits, Refusal};
use hark_protocol::*;

use crate::samples;
use crate::wire::{raw, raw_payload, written};

/// The states in the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Init,
    Greeted,
    Deciding,
    Active,
    Ending,
    Closed,
}

const STATES: [At; 6] = [At::Init, At::Greeted, At::Deciding, At::Active, At::Ending, At::Closed];

/// A request that has no answer yet wherever there can be one: the AUTH in Deciding, a HISTORY in Active.
const ASKED: u32 = 1;

/// The request with which Ending began.
const ENDED_BY: u32 = 2;

pub(crate) fn new_session() -> Session {
    session_with(Limits { auth_tries_max: 3, ..Limits::open() })
}

pub(crate) fn session_with(limits: Limits) -> Session {
    Session::new(Settings {
        limits: Arc::new(limits),
        registration: true,
        agent: "harkd/test".parse().unwrap(),
    })
}

/// Feeds one frame, and expects the connection to go on.
pub(crate) fn feed(session: &mut Session, correlation: u32, frame: impl Into<Frame>) -> Step {
    session.on_frame(&raw(correlation, &frame.into()), 0, &mut Vec::new()).expect("the connection goes on")
}

pub(crate) fn greeted(limits: Limits) -> Session {
    let mut session = session_with(limits);
    feed(&mut session, 100, samples::hello());
    session
}

pub(crate) fn active(limits: Limits) -> Session {
    let mut session = greeted(limits);
    feed(&mut session, 101, samples::auth());
    session.authenticated(Correlation(101), &samples::authenticated(), &mut Vec::new());
    session
}

fn at(state: At) -> Session {
    let limits = Limits { auth_tries_max: 3, ..Limits::open() };
    let mut session = match state {
        At::Init => new_session(),
        At::Greeted | At::Deciding => greeted(limits),
        At::Active | At::Ending | At::Closed => active(limits),
    };
    match state {
        At::Init | At::Greeted => {}
        At::Deciding => drop(feed(&mut session, ASKED, samples::auth())),
        At::Active => drop(feed(&mut session, ASKED, samples::history())),
        At::Ending => {
            feed(&mut session, ASKED, samples::history());
            let hello = raw(ENDED_BY, &samples::hello().into());
            session.on_frame(&hello, 0, &mut Vec::new()).expect_err("a second HELLO");
        }
        At::Closed => {
            feed(&mut session, ASKED, samples::history());
            session.close(None, &mut Vec::new());
        }
    }
    session
}

/// Which state a session shows itself to be in. Ending and Closed are told apart by what they do.
fn shown(session: &mut Session) -> At {
    match (session.greeting().is_some(), session.is_active(), session.wants_frames()) {
        (_, true, _) => At::Active,
        (true, false, true) => At::Greeted,
        (true, false, false) => At::Deciding,
        (false, false, true) => At::Init,
        (false, false, false) => {
            let mut out = Vec::new();
            session.close(None, &mut out);
            if out.is_empty() { At::Closed } else { At::Ending }
        }
    }
}

enum Input {
    /// A frame with this correlation.
    Frame(RawFrame),
    Answer(u32, Frame),
    Authenticated(u32),
    Refusal(u32, Refusal),
    Close(Option<CloseReason>),
}

struct Nothing;

impl Progress for Nothing {
    fn targets(&self) -> Vec<(RoomId, Seq)> {
        Vec::new()
    }
    fn has_reached(&self, _: RoomId, _: Seq) -> bool {
        true
    }
}

/// What comes of one input in one state, as the table says it.
fn cell(state: At, input: &Input) -> String {
    let mut session = at(state);
    let mut out = Vec::new();
    let mut said = String::new();
    let asked = match input {
        Input::Frame(frame) => {
            let correlation = frame.header().correlation.0;
            match session.on_frame(frame, 0, &mut out) {
                Ok(Step::Done) => {}
                Ok(Step::Request(asked, _)) => said = format!("request{}", at_zero(asked.0, correlation)),
                Ok(Step::Notice(_)) => said = "notice".into(),
                Ok(Step::Leave(_)) => said = "leave".into(),
                // What ended it first is what ends it.
                Err(reason) if state == At::Ending => said = end(&mut session, &reason, ENDED_BY),
                Err(reason) => said = end(&mut session, &reason, correlation),
            }
            correlation
        }
        Input::Answer(asked, frame) => {
            session.answer(Correlation(*asked), frame, &mut out);
            *asked
        }
        Input::Authenticated(asked) => {
            session.authenticated(Correlation(*asked), &samples::authenticated(), &mut out);
            *asked
        }
        Input::Refusal(asked, refusal) => {
            if let Err(reason) = session.refuse(Correlation(*asked), refusal, &mut out) {
                said = end(&mut session, &reason, *asked);
            }
            *asked
        }
        Input::Close(reason) => {
            session.close(reason.as_ref(), &mut out);
            0
        }
    };
    if said.is_empty() && out.is_empty() && !matches!(state, At::Ending | At::Closed) {
        session.pongs(&Nothing, &mut out); // a PONG is due at once, or behind the answer of ASKED
        if !session.is_settled() && matches!(input, Input::Frame(frame) if is_ping(frame)) {
            said = "barrier".into();
        }
    }
    describe(&out, asked, &mut said);
    let now = shown(&mut session);
    if said.is_empty() {
        said.push('-');
    }
    if now != state && !said.starts_with('!') {
        write!(said, ">{now:?}").unwrap();
    }
    said
}

fn is_ping(frame: &RawFrame) -> bool {
    frame.header().frame_type == FrameType::PING
}

/// Ends the connection as its caller would, and says which error the peer is told.
fn end(session: &mut Session, reason: &CloseReason, correlation: u32) -> String {
    let mut out = Vec::new();
    session.close(Some(reason), &mut out);
    let frames = written(&out);
    let [(told, Frame::Error(error)), (0, Frame::Close(close))] = &frames[..] else {
        panic!("an ERROR and a CLOSE end a connection, not {frames:?}");
    };
    assert_eq!(error.scope, Scope::CONNECTION);
    assert_eq!(error.code.scope(), Scope::CONNECTION, "{} does not end connections", error.code);
    assert_eq!((close.code, close.disposition), (error.code, Disposition::KEEP));
    format!("!{}{}", error.code, at_zero(*told, correlation))
}

fn describe(out: &[u8], asked: u32, said: &mut String) {
    for (told, frame) in written(out) {
        if !said.is_empty() {
            said.push('+');
        }
        match frame {
            Frame::Error(error) if error.scope == Scope::REQUEST => {
                assert_eq!(error.code.scope(), Scope::REQUEST);
                write!(said, "{}{}", error.code, at_zero(told, asked)).unwrap();
            }
            Frame::Error(error) => write!(said, "!{}", error.code).unwrap(),
            frame => {
                let expected = if frame.frame_type() == FrameType::CLOSE { 0 } else { asked };
                assert_eq!(told, expected, "{}", frame.frame_type());
                write!(said, "{}", frame.frame_type()).unwrap();
            }
        }
    }
}

fn at_zero(told: u32, asked: u32) -> &'static str {
    match told {
        told if told == asked => "",
        0 => "@0",
        _ => panic!("correlation {told}, neither 0 nor {asked}"),
    }
}

/// Three bytes that are no payload of any type, nor an extension record.
const GARBAGE: &[u8] = &[0xff; 3];

fn inputs() -> Vec<(String, Input)> {
    let mut inputs = Vec::new();
    let mut add = |name: String, input| inputs.push((name, input));
    for frame in samples::every_frame() {
        // CO-R13: what is not a request has correlation 0.
        let correlation = if is_asked_for(frame.frame_type()) { 9 } else { 0 };
        add(frame.frame_type().to_string(), Input::Frame(raw(correlation, &frame)));
    }
    for frame in samples::every_frame() {
        let frame_type = frame.frame_type();
        add(format!("{frame_type} unreadable"), Input::Frame(raw_payload(9, frame_type, GARBAGE)));
    }
    let fatal = samples::error(ErrorCode::BAD_STATE, Scope::CONNECTION);
    add("ERROR of connection scope".into(), Input::Frame(raw(0, &fatal.into())));
    for (name, frame_type) in [("critical", FrameType(0x0211)), ("ignorable", FrameType(0x8211))] {
        add(format!("unknown {name}"), Input::Frame(raw_payload(9, frame_type, GARBAGE)));
        add(format!("unknown {name}, in use"), Input::Frame(raw_payload(ASKED, frame_type, GARBAGE)));
    }
    let ping = Ping { data: Blob::default() };
    let requests: [Frame; 4] =
        [samples::hello().into(), samples::auth().into(), ping.into(), samples::publish().into()];
    for frame in requests {
        let frame_type = frame.frame_type();
        add(format!("{frame_type} with 0"), Input::Frame(raw(0, &frame)));
        add(format!("{frame_type} with one in use"), Input::Frame(raw(ASKED, &frame)));
        let unreadable = |correlation| Input::Frame(raw_payload(correlation, frame_type, GARBAGE));
        add(format!("{frame_type} with 0, unreadable"), unreadable(0));
        add(format!("{frame_type} in use, unreadable"), unreadable(ASKED));
    }
    for (name, correlation) in [("asked", ASKED), ("nobody asked", 77)] {
        add(format!("OK, {name}"), Input::Answer(correlation, Ok {}.into()));
        add(format!("PAGE, {name}"), Input::Answer(correlation, samples::page().into()));
        add(format!("authenticated, {name}"), Input::Authenticated(correlation));
        add(format!("NOT_FOUND, {name}"), Input::Refusal(correlation, Refusal::NotFound("room")));
        add(format!("AUTH_FAILED, {name}"), Input::Refusal(correlation, Refusal::AuthFailed));
        add(format!("SESSION_EXPIRED, {name}"), Input::Refusal(correlation, Refusal::SessionExpired));
    }
    add("close".into(), Input::Close(None));
    add("close for HEARTBEAT".into(), Input::Close(Some(CloseReason::Heartbeat { after_ms: 1 })));
    inputs
}

/// Whether the specification lists the type with an answer.
fn is_asked_for(frame_type: FrameType) -> bool {
    !matches!(
        frame_type,
        FrameType::PONG
            | FrameType::ERROR
            | FrameType::CANCEL
            | FrameType::CLOSE
            | FrameType::ACK
            | FrameType::SIGNAL
            | FrameType::SIGNALLED
            | FrameType::PRESENCE
            | FrameType::PROFILE
    )
}

fn table() -> String {
    let mut lines = format!("{:36}", "");
    STATES.iter().for_each(|state| write!(lines, "{:26}", format!("{state:?}")).unwrap());
    let mut lines = format!("{}\n", lines.trim_end());
    for (name, input) in inputs() {
        let mut line = format!("{name:36}");
        STATES.iter().for_each(|state| write!(line, "{:26}", cell(*state, &input)).unwrap());
        writeln!(lines, "{}", line.trim_end()).unwrap();
    }
    lines
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    let (table, golden) = (table(), include_str!("session_matrix.txt"));
    for (line, (is, ought)) in table.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, ought, "line {}; the whole table as it is:\n{table}", line + 1);
    }
    assert_eq!(table.lines().count(), golden.lines().count(), "the whole table as it is:\n{table}");
}

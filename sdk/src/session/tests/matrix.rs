//! Every state against every input, compared with one golden table.

use std::fmt::Write;

use hark_protocol::{
    AccountName, Blob, ClientId, Close, Event, GoAway, Kind, Ping, Pong, Publish, RoomId, Seq, UnixMillis,
};

use super::*;

/// The states, and how a session comes to be in each.
const STATES: [&str; 9] = [
    "connecting",
    "hello",
    "authenticating",
    "resuming",
    "ready",
    "draining",
    "waiting",
    "closing",
    "closed",
];

/// What can happen to a session.
const INPUTS: [&str; 24] = [
    "connected",
    "dial failed",
    "eof",
    "io error",
    "bad checksum",
    "welcome",
    "welcome v2",
    "authenticated",
    "auth failed",
    "session expired",
    "session replaced",
    "account disabled",
    "busy",
    "rate",
    "event",
    "ping",
    "unasked pong",
    "goaway",
    "close",
    "unknown critical",
    "unknown ignorable",
    "network changed",
    "request",
    "leave",
];

const NOW: Moment = Duration::from_secs(100);

/// A session in a state. All but the first four have logged in once; there is one publish in flight in ready and
/// draining, so that draining lasts.
fn session(state: &str) -> Session {
    let mut out = Vec::new();
    let token = (state == "resuming").then(|| Secret::parse("token").unwrap());
    let config = Config { session_token: token, ..config() };
    let mut session = Session::new(config, 1, NOW, &mut out);
    let publish = || Command::Request { token: Token(1), frame: publish(1) };
    if state == "connecting" {
        return session;
    }
    session.on_connected(&mut out);
    if state == "hello" {
        return session;
    }
    session.on_frame(&raw(1, &welcome(1)), NOW, &mut out);
    if state == "authenticating" || state == "resuming" {
        return session;
    }
    session.on_frame(&raw(2, &authenticated()), NOW, &mut out);
    match state {
        "ready" => session.on_command(publish(), NOW, &mut out),
        "draining" => {
            session.on_command(publish(), NOW, &mut out);
            session.on_frame(&raw(0, &goaway()), NOW, &mut out);
        }
        "waiting" => session.on_disconnected(Lost::Eof, NOW, &mut out),
        "closing" => leave(&mut session, &mut out),
        "closed" => {
            leave(&mut session, &mut out);
            session.on_disconnected(Lost::Eof, NOW, &mut out);
        }
        other => panic!("{other} is not a state"),
    }
    session
}

fn leave(session: &mut Session, out: &mut Vec<Effect>) {
    let close = Command::Close { disposition: Disposition::KEEP, patience: Duration::from_secs(5) };
    session.on_command(close, NOW, out);
}

fn publish(n: u8) -> Frame {
    Frame::Publish(Publish {
        room: RoomId(1),
        client_id: ClientId::new([n; 16]).unwrap(),
        kind: Kind::MESSAGE,
        abandon: false,
        body: Blob::default(),
    })
}

fn goaway() -> Frame {
    Frame::GoAway(GoAway {
        code: ErrorCode::SHUTTING_DOWN,
        reconnect_after_ms: 3000,
        addresses: List::default(),
        text: Line::default(),
    })
}

fn event() -> Frame {
    Frame::Event(Event {
        room: RoomId(1),
        seq: Seq(1),
        time: UnixMillis(1),
        author: AccountId(2),
        author_name: AccountName::parse("bob").unwrap(),
        client_id: ClientId::new([7; 16]).unwrap(),
        kind: Kind::MESSAGE,
        body: Blob::default(),
    })
}

fn apply(session: &mut Session, input: &str, out: &mut Vec<Effect>) {
    let mut frame = |frame: RawFrame| session.on_frame(&frame, NOW, out);
    match input {
        "connected" => session.on_connected(out),
        "dial failed" => session.on_disconnected(Lost::Dial(ConnectErrorKind::Refused), NOW, out),
        "eof" => session.on_disconnected(Lost::Eof, NOW, out),
        "io error" => session.on_disconnected(Lost::Io("reset".into()), NOW, out),
        "bad checksum" => session.on_disconnected(Lost::Frame(FrameError::Checksum), NOW, out),
        "welcome" => frame(raw(1, &welcome(1))),
        "welcome v2" => frame(raw(1, &welcome(2))),
        "authenticated" => frame(raw(2, &authenticated())),
        "auth failed" => frame(raw(2, &error(ErrorCode::AUTH_FAILED, 0))),
        "session expired" => frame(raw(2, &error(ErrorCode::SESSION_EXPIRED, 0))),
        "session replaced" => frame(raw(0, &error(ErrorCode::SESSION_REPLACED, 0))),
        "account disabled" => frame(raw(0, &error(ErrorCode::ACCOUNT_DISABLED, 0))),
        "busy" => frame(raw(0, &error(ErrorCode::BUSY, 5000))),
        // Correlation 3 is the publish that is in flight.
        "rate" => frame(raw(3, &error(ErrorCode::RATE, 5000))),
        "event" => frame(raw(0, &event())),
        "ping" => frame(raw(9, &Frame::Ping(Ping { data: Blob::default() }))),
        "unasked pong" => frame(raw(9, &Frame::Pong(Pong { data: Blob::default() }))),
        "goaway" => frame(raw(0, &goaway())),
        "close" => frame(raw(
            0,
            &Frame::Close(Close {
                code: ErrorCode(0),
                disposition: Disposition::KEEP,
                text: Line::default(),
            }),
        )),
        "unknown critical" => frame(strange(0x0177, 9)),
        "unknown ignorable" => frame(strange(0xc001, 0)),
        "network changed" => session.on_command(Command::NetworkChanged, NOW, out),
        "request" => session.on_command(Command::Request { token: Token(2), frame: publish(2) }, NOW, out),
        "leave" => leave(session, out),
        other => panic!("{other} is not an input"),
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Connecting { .. } => "connecting",
        State::Hello { .. } => "hello",
        State::Authenticating { login: Login::Auth, .. } => "authenticating",
        State::Authenticating { login: Login::Resume, .. } => "resuming",
        State::Ready { drain: Drain::No, .. } => "ready",
        State::Ready { drain: Drain::Until(_), .. } => "draining",
        State::Waiting { .. } => "waiting",
        State::Closing { .. } => "closing",
        State::Closed => "closed",
    }
}

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Send(frame) => type_of(frame).to_string(),
        Effect::Answer(token, Ok(_)) => format!("answer {}", token.0),
        Effect::Answer(token, Err(failure)) => {
            let words = format!("{failure:?}");
            let word = words.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            format!("fail {} {word}", token.0)
        }
        Effect::Dial { .. } => "dial".into(),
        Effect::Disconnect => "disconnect".into(),
        Effect::Ready { .. } => "login".into(),
        Effect::Leaving => "leaving".into(),
        Effect::Closed(_) => "closed".into(),
        Effect::Event(ClientEvent::Reconnecting { .. }) => "+reconnecting".into(),
        Effect::Event(ClientEvent::GoingAway { .. }) => "+going-away".into(),
        Effect::Event(ClientEvent::Connected) => "+connected".into(),
        other => format!("{other:?}"),
    }
}

fn table() -> String {
    let mut table = String::new();
    for state in STATES {
        for input in INPUTS {
            let mut session = session(state);
            assert_eq!(name(session.state), state);
            let mut out = Vec::new();
            apply(&mut session, input, &mut out);
            let effects: Vec<String> = out.iter().map(shown).collect();
            let line = format!("{state:<15}{input:<18}{:<15}{}", name(session.state), effects.join(", "));
            writeln!(table, "{}", line.trim_end()).unwrap();
        }
    }
    table
}

#[test]
fn every_state_meets_every_input_as_the_table_says() {
    let golden = include_str!("matrix.txt");
    let table = table();
    for (is, should) in table.lines().zip(golden.lines()) {
        assert_eq!(is, should);
    }
    assert_eq!(table, golden, "rows are missing");
}

#[test]
fn a_closed_session_stays_closed_and_answers_at_once() {
    for input in INPUTS {
        let mut session = session("closed");
        let mut out = Vec::new();
        apply(&mut session, input, &mut out);
        assert!(session.is_closed() && session.deadline().is_none(), "{input}");
        assert_eq!(out.len(), usize::from(input == "request"), "{input}: {out:?}");
    }
}

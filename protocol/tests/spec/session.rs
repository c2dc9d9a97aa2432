//! One whole conversation in bytes, made from values: `spec/session.md`.

use std::collections::BTreeMap;

use hark_protocol::limits::Limit;
use hark_protocol::wire::Wire;
use hark_protocol::*;

use crate::annotate;
use crate::registry::hold;
use crate::samples::{ANN, BOB, EPOCH, TEA, account, client_id, line, list, message, room, secret, time};
use crate::schema::Schema;

/// What happens next.
enum Step {
    /// A heading and what it is about.
    Part(&'static str, &'static str),
    /// A frame, who sends it, and a word about it.
    Frame(&'static str, u32, Box<Frame>, &'static str),
    /// The connection breaks: nothing that is unanswered will be.
    Cut,
}

const CLIENT: &str = "client";
const SERVER: &str = "server";

fn part(title: &'static str, text: &'static str) -> Step {
    Step::Part(title, text)
}

fn client(correlation: u32, frame: impl Into<Frame>, note: &'static str) -> Step {
    Step::Frame(CLIENT, correlation, Box::new(frame.into()), note)
}

fn server(correlation: u32, frame: impl Into<Frame>, note: &'static str) -> Step {
    Step::Frame(SERVER, correlation, Box::new(frame.into()), note)
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        capabilities: list([Capability::PRESENCE, Capability::SIGNALS]),
        connection_window: 1_024,
        agent: line("example/1.0"),
    }
}

/// A WELCOME with every limit: the registry's default, or something plausible where it is the server's own.
fn welcome(schema: &Schema) -> Welcome {
    let plausible = |name: &str| match name {
        "connections_per_account_max" => 16,
        "publish_rate_per_second" => 20,
        "publish_burst_max" => 40,
        "connections_max" => 10_000,
        "login_rate" => 10,
        "connections_per_address_max" => 64,
        other => panic!("{other} has no default"),
    };
    let limits: Vec<Limit> = schema
        .registry
        .limit
        .iter()
        .map(|row| Limit { id: LimitId(row.id), value: row.default.unwrap_or_else(|| plausible(&row.name)) })
        .collect();
    Welcome {
        version: 1,
        capabilities: list([Capability::PRESENCE, Capability::SIGNALS]),
        limits: list(limits),
        auth_methods: list([AuthMethod::PASSWORD, AuthMethod::DEVICE_TOKEN]),
        registration: true,
        agent: line("harkd/0.1.0"),
    }
}

fn auth(method: AuthMethod, text: &str, label: &str) -> Auth {
    let presence = PresenceMode::VISIBLE;
    Auth { method, name: account("ann"), secret: secret(text), device_label: line(label), presence }
}

fn authenticated(token: &str) -> Authenticated {
    Authenticated {
        account: ANN,
        name: account("ann"),
        display_name: line("Ann"),
        role: AccountRole::USER,
        device: DeviceId(21),
        device_token: secret(token),
        resumed: false,
        session_token: secret("ses-3ad7f0"),
        session_lifetime_s: 2_592_000,
    }
}

fn joined(seq: u64, author: (AccountId, &str), role: RoomRole) -> Event {
    let mut body = Vec::new();
    kind::JoinBody { role }.put(&mut body);
    Event { kind: Kind::JOIN, body: Blob::new(body).unwrap(), ..message(seq, author, "") }
}

fn publish(id: u8, text: &str) -> Publish {
    let body = text.parse().unwrap();
    Publish { room: TEA, client_id: client_id(id), kind: Kind::MESSAGE, abandon: false, body }
}

fn published(seq: u64, duplicate: bool) -> Published {
    let durability = Durability::DISK;
    Published { room: TEA, epoch: EPOCH, seq: Seq(seq), time: time(seq * 1_000), durability, duplicate }
}

fn subscribe(from: From, epoch: Epoch, seq: u64) -> Subscribe {
    let (mode, level) = (SubscriptionMode::DURABLE, Level::FULL);
    Subscribe {
        rooms: list([SubscribeItem { room: TEA, from, epoch, seq: Seq(seq), mode, level, window: 64 }]),
    }
}

fn subscribed(head: u64, next: u64) -> Subscribed {
    Subscribed {
        rooms: list([VerdictItem {
            room: TEA,
            verdict: Verdict::EXACT,
            epoch: EPOCH,
            first: Seq(1),
            head: Seq(head),
            next: Seq(next),
            gap_from: Seq::ZERO,
            gap_to: Seq::ZERO,
            gap_reason: GapReason(0),
            code: ErrorCode(0),
        }]),
    }
}

fn replayed(seq: u64) -> Replayed {
    Replayed { room: TEA, epoch: EPOCH, seq: Seq(seq) }
}

fn ack(seq: u64) -> Ack {
    Ack { room: TEA, epoch: EPOCH, seq: Seq(seq) }
}

const ANNA: (AccountId, &str) = (ANN, "ann");
const BOBBY: (AccountId, &str) = (BOB, "bob");

fn first_connection(schema: &Schema) -> Vec<Step> {
    vec![
        part("Hello", "TLS 1.3 with the ALPN protocol `hark/1` has been agreed. The client speaks first."),
        client(1, hello(), "It speaks version 1 only, and takes 1024 unacknowledged events in all."),
        server(1, welcome(schema), "Version 1, both capabilities, and every limit."),
        part(
            "An account",
            "Ann has a registration token. REGISTER makes the account; AUTH logs in and makes a device.",
        ),
        client(
            2,
            Register {
                token: secret("reg-5f2b8c"),
                name: account("ann"),
                password: secret("correct horse"),
                display_name: line("Ann"),
            },
            "",
        ),
        server(2, hark_protocol::Ok {}, "The account is durable."),
        client(
            3,
            auth(AuthMethod::PASSWORD, "correct horse", "laptop"),
            "The label is not empty: a device is made.",
        ),
        server(3, authenticated("dev-91c04e"), "The token is told this once."),
        part(
            "A room",
            "Making a room makes its author the first member, which is the first event of its log.",
        ),
        client(
            4,
            RoomCreate {
                client_id: client_id(1),
                name: room("tea"),
                visibility: Visibility::PUBLIC,
                history: HistoryPolicy::ALL,
                topic: line("What to brew"),
            },
            "",
        ),
        server(4, published(1, false), "The join event has seq 1."),
        part("Following it", "From the start, and durably: what is acknowledged moves the device's cursor."),
        client(5, subscribe(From::START, Epoch(0), 0), ""),
        server(5, subscribed(1, 1), "Every event from seq 1 on will come."),
        server(
            0,
            joined(1, ANNA, RoomRole::OWNER),
            "Sealed: these bytes are on the disk and in every reader's hands.",
        ),
        server(0, replayed(1), "That was all there was; what follows is live."),
        client(0, ack(1), ""),
        part(
            "Saying something",
            "PUBLISH and PING are sent together. The PONG comes behind the client's own event.",
        ),
        client(6, publish(2, "kettle is on"), ""),
        client(7, Ping { data: "here?".parse().unwrap() }, ""),
        server(6, published(2, false), "On the disk, as seq 2."),
        server(0, message(2, ANNA, "kettle is on"), "To the author as to everybody."),
        server(7, Pong { data: "here?".parse().unwrap() }, "The barrier."),
        client(0, ack(2), ""),
        part("A sign of life", "Nothing has come for a while, so the server asks."),
        server(0, Ping { data: "".parse().unwrap() }, ""),
        client(0, Pong { data: "".parse().unwrap() }, ""),
    ]
}

fn second_connection(schema: &Schema) -> Vec<Step> {
    vec![
        part(
            "A cut",
            "The client publishes, and the connection breaks before the answer. It can not know what became of it.",
        ),
        client(8, publish(3, "two sugars?"), "It did reach the server, as seq 3."),
        Step::Cut,
        part(
            "Coming back",
            "Bob has joined and spoken meanwhile. On a new connection everything begins anew but the account.",
        ),
        client(1, hello(), ""),
        server(1, welcome(schema), "As before."),
        client(
            2,
            Resume { session_token: secret("ses-3ad7f0"), presence: PresenceMode::VISIBLE },
            "The session goes on, without a password.",
        ),
        server(
            2,
            Authenticated { resumed: true, session_token: secret("ses-81b6e2"), ..authenticated("") },
            "The same device, and a new session token for the next time.",
        ),
        client(
            3,
            subscribe(From::POSITION, EPOCH, 2),
            "The last event that the client has is seq 2 of this epoch.",
        ),
        server(3, subscribed(5, 3), "Nothing is lost: events 3 to 5 come."),
        server(0, message(3, ANNA, "two sugars?"), "The publish whose answer was lost."),
        server(0, joined(4, BOBBY, RoomRole::MEMBER), ""),
        server(0, message(5, BOBBY, "none, thanks"), ""),
        server(0, replayed(5), ""),
        client(4, publish(3, "two sugars?"), "Sent again with the same client id, to be sure."),
        server(4, published(3, true), "It was there: the first seq, and `duplicate`."),
        client(0, ack(5), ""),
        part(
            "The end",
            "The client says CLOSE as its last frame. The server answers what is open, says CLOSE too, and both close the transport.",
        ),
        client(
            0,
            Close { code: ErrorCode(0), disposition: Disposition::KEEP, text: line("") },
            "The login lasts.",
        ),
        server(0, Close { code: ErrorCode(0), disposition: Disposition::KEEP, text: line("") }, ""),
    ]
}

fn steps(schema: &Schema) -> Vec<Step> {
    let mut steps = first_connection(schema);
    steps.extend(second_connection(schema));
    steps
}

fn page(schema: &Schema) -> String {
    let mut out = String::from(
        "# A session in bytes\n\n\
         Everything that is said in two connections, frame by frame, with TLS left out. It is made from values by a test of\n\
         the protocol crate, so the bytes are right; client ids, tokens and times are made up.\n",
    );
    let mut number = 0;
    for step in steps(schema) {
        match step {
            Step::Part(title, text) => out.push_str(&format!("\n## {title}\n\n{text}\n")),
            Step::Cut => out.push_str("\n*The connection is lost.*\n"),
            Step::Frame(from, correlation, frame, note) => {
                number += 1;
                let name = frame.frame_type();
                let bytes = frame.encode(Correlation(correlation));
                let shown = annotate::frame(schema, bytes.as_slice());
                let note = if note.is_empty() { String::new() } else { format!("{note}\n\n") };
                out.push_str(&format!("\n### {number}. {from}: {name}\n\n{note}```text\n{shown}```\n"));
            }
        }
    }
    out
}

#[test]
fn the_session_s_page_is_made_of_its_values() {
    hold("session.md", &page(&Schema::load()));
}

#[test]
fn the_session_keeps_the_rules_of_requests_and_answers() {
    let schema = Schema::load();
    let mut waiting: BTreeMap<u32, &[String]> = BTreeMap::new();
    let mut lost = 0;
    for step in steps(&schema) {
        let (from, correlation, frame) = match &step {
            Step::Part(..) => continue,
            Step::Cut => {
                lost += waiting.len();
                waiting.clear();
                continue;
            }
            Step::Frame(from, correlation, frame, _) => (*from, *correlation, frame),
        };
        let row = schema.registry.frame(frame.frame_type().name().unwrap());
        assert!(row.sent_by == from || row.sent_by == "both", "{}: sent by {from}", row.name);
        match (from, row.answered_by.as_slice()) {
            (CLIENT, []) => assert_eq!(correlation, 0, "{}", row.name),
            (CLIENT, answers) => {
                assert_ne!(correlation, 0, "{}", row.name);
                assert!(waiting.insert(correlation, answers).is_none(), "{correlation} is in flight");
            }
            (_, _) if correlation == 0 => {}
            (_, _) => {
                let answers = waiting.remove(&correlation).expect("a request waits for this answer");
                assert!(answers.contains(&row.name), "{} answers {answers:?}", row.name);
            }
        }
    }
    assert!(waiting.is_empty(), "requests without an answer: {waiting:?}");
    assert_eq!(lost, 1, "the cut loses one answer");
}

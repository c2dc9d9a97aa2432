//! Whole frames that have to be refused, each for a reason of its own.

use crate::extremes::{self, Extreme};
use crate::hex;
use crate::schema::{Schema, seal};
use crate::vectors::Vector;

/// A payload that is spelled out byte by byte.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn u8(mut self, value: u8) -> Raw {
        self.0.push(value);
        self
    }
    fn u16(self, value: u16) -> Raw {
        self.bytes(value.to_be_bytes())
    }
    fn u32(self, value: u32) -> Raw {
        self.bytes(value.to_be_bytes())
    }
    fn u64(self, value: u64) -> Raw {
        self.bytes(value.to_be_bytes())
    }
    fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Raw {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }
    /// An account's or a room's name.
    fn name(self, text: impl AsRef<[u8]>) -> Raw {
        let length = u8::try_from(text.as_ref().len()).unwrap();
        self.u8(length).bytes(text)
    }
    /// A line or a secret.
    fn text(self, text: impl AsRef<[u8]>) -> Raw {
        let length = u16::try_from(text.as_ref().len()).unwrap();
        self.u16(length).bytes(text)
    }
    /// Opaque bytes or enclosed frames.
    fn blob(self, bytes: impl AsRef<[u8]>) -> Raw {
        let length = u32::try_from(bytes.as_ref().len()).unwrap();
        self.u32(length).bytes(bytes)
    }
    fn client_id(self, byte: u8) -> Raw {
        self.bytes([byte; 16])
    }
}

fn raw() -> Raw {
    Raw::default()
}

type Reject = (&'static str, &'static str, &'static str, &'static str, Raw, &'static str);

fn x(count: usize) -> Vec<u8> {
    vec![b'x'; count]
}

/// A vector of what is refused.
pub(crate) fn vector(
    schema: &Schema,
    id: &str,
    label: &str,
    error: &str,
    bytes: &[u8],
    comment: &str,
) -> Vector {
    let row = schema.registry.error.iter().find(|row| row.name == error).expect("a registered code");
    Vector {
        id: id.to_owned(),
        covers: vec![label.to_owned()],
        result: "invalid".to_owned(),
        error: Some(error.to_owned()),
        scope: Some(row.scope.clone()),
        hex: Some(hex::encode(bytes)),
        comment: comment.to_owned(),
        ..Vector::default()
    }
}

/// Frames that are whole and can not be carried out.
pub(crate) fn payload(schema: &Schema) -> Vec<Vector> {
    let groups = [
        hello(),
        register(),
        login(),
        ping_and_end(),
        changes(),
        names(),
        log(schema),
        enclosed(schema),
        pages(),
        extensions(schema),
    ];
    let mut vectors: Vec<Vector> = (groups.into_iter().flatten())
        .map(|(id, frame, label, error, payload, comment)| {
            let row = schema.registry.frame(frame);
            let correlation = u32::from(!row.ignorable && row.name != "EVENT" && row.name != "CANCEL");
            vector(schema, id, label, error, &seal(row.code, correlation, &payload.0), comment)
        })
        .collect();
    for (id, code, comment) in [
        ("type-reserved", 0x020c, "RESET is reserved: an unknown critical type"),
        ("type-private", 0x4001, "a private type that the receiver does not know"),
        ("type-signal-critical", 0x0301, "the code of SIGNAL without bit 15 is another type"),
        ("type-zero", 0x0000, "type 0 is never assigned"),
    ] {
        vectors.push(vector(schema, id, "FR-R20", "UNKNOWN_TYPE", &seal(code, 9, &[]), comment));
    }
    vectors
}

const SHORT: &str = "FR-R25";
const BOUND: &str = "FR-R26";
const LINE: &str = "FR-R34";
const NAME: &str = "FR-R33";
const UTF8: &str = "FR-R32";
const FLAG: &str = "FR-R28";
const TRAIL: &str = "FR-R36";
const CRIT: &str = "FR-R38";
const ZERO: &str = "FR-R29";
const ENCLOSED: &str = "FR-R42";
const NOCOUNT: &str = "FR-R27";
const BAD: &str = "MALFORMED";
const UNSUP: &str = "UNSUPPORTED";

fn hello() -> Vec<Reject> {
    let start = || raw().u8(1).u8(1);
    let plain = || start().u16(0).u32(0);
    let welcome = |limits: u16, methods: u16| raw().u8(1).u16(0).u16(limits).u16(methods);
    vec![
        ("hello-empty", "HELLO", SHORT, BAD, raw(), "no payload where fields are required"),
        (
            "hello-window-short",
            "HELLO",
            SHORT,
            BAD,
            start().u16(0).u8(0),
            "connection_window has one byte of four",
        ),
        ("hello-capabilities-65", "HELLO", BOUND, BAD, start().u16(65).bytes(x(130)), "65 capabilities"),
        (
            "hello-capabilities-missing",
            "HELLO",
            NOCOUNT,
            BAD,
            start().u16(64).u16(1),
            "64 counted, one there",
        ),
        ("hello-agent-newline", "HELLO", LINE, BAD, plain().text("a\nb"), "U+000A in a line"),
        ("hello-agent-129", "HELLO", BOUND, BAD, plain().text(x(129)), "agent of 129 bytes"),
        (
            "hello-trailing-byte",
            "HELLO",
            TRAIL,
            BAD,
            plain().text("").u8(0),
            "one byte behind the last field",
        ),
        ("welcome-limits-129", "WELCOME", BOUND, BAD, welcome(129, 0).bytes(x(1290)), "129 limits"),
        ("welcome-methods-17", "WELCOME", BOUND, BAD, welcome(0, 17).bytes(x(17)), "17 methods"),
        ("welcome-registration-2", "WELCOME", FLAG, BAD, welcome(0, 0).u8(2).text(""), "a flag of 2"),
    ]
}

fn register() -> Vec<Reject> {
    let register = |name: &str| raw().text("t").name(name);
    vec![
        ("register-token-257", "REGISTER", BOUND, BAD, raw().text(x(257)), "token of 257 bytes"),
        (
            "register-name-one",
            "REGISTER",
            NAME,
            BAD,
            register("a").text("").text(""),
            "account name of one byte",
        ),
        (
            "register-name-upper",
            "REGISTER",
            NAME,
            BAD,
            register("Ann").text("").text(""),
            "an upper-case letter",
        ),
        (
            "register-password-1025",
            "REGISTER",
            BOUND,
            BAD,
            register("ann").text(x(1025)),
            "password of 1025 bytes",
        ),
        (
            "register-display-override",
            "REGISTER",
            LINE,
            BAD,
            register("ann").text("").text("a\u{202e}b"),
            "U+202E turns the direction of text",
        ),
        ("register-display-delete", "REGISTER", LINE, BAD, register("ann").text("").text("\u{7f}"), "U+007F"),
    ]
}

fn login() -> Vec<Reject> {
    let auth = || raw().u8(1).name("ann");
    vec![
        (
            "auth-name-slash",
            "AUTH",
            NAME,
            BAD,
            raw().u8(1).name("a/b").text("").text("").u8(1),
            "a slash in a name",
        ),
        ("auth-name-33", "AUTH", BOUND, BAD, raw().u8(1).name(x(33)), "account name of 33 bytes"),
        ("auth-name-empty", "AUTH", NAME, BAD, raw().u8(1).name("").text("").text("").u8(1), "an empty name"),
        (
            "auth-secret-latin1",
            "AUTH",
            UTF8,
            BAD,
            auth().text(b"p\xe4ss").text("").u8(1),
            "a secret in Latin-1",
        ),
        (
            "auth-label-separator",
            "AUTH",
            LINE,
            BAD,
            auth().text("p").text("a\u{2028}b").u8(1),
            "U+2028 separates lines",
        ),
        ("auth-label-65", "AUTH", BOUND, BAD, auth().text("p").text(x(65)), "device label of 65 bytes"),
        ("auth-presence-missing", "AUTH", SHORT, BAD, auth().text("p").text(""), "the last field is missing"),
        ("resume-token-257", "RESUME", BOUND, BAD, raw().text(x(257)), "session token of 257 bytes"),
        ("resume-presence-missing", "RESUME", SHORT, BAD, raw().text("ses"), "the presence mode is missing"),
        (
            "authenticated-token-257",
            "AUTHENTICATED",
            BOUND,
            BAD,
            raw().u64(7).name("ann").text("").u8(1).u64(1).text(x(257)),
            "device token of 257 bytes",
        ),
    ]
}

fn ping_and_end() -> Vec<Reject> {
    let error = |retryable: u8, resume: u8| raw().u16(0x010c).u8(1).u8(retryable).u8(resume);
    let rest = |raw: Raw| raw.u32(0).u16(0).u64(0);
    let goaway = || raw().u16(12).u32(0);
    vec![
        ("ping-65", "PING", BOUND, BAD, raw().blob(x(65)), "65 bytes of data"),
        (
            "ping-length-huge",
            "PING",
            NOCOUNT,
            BAD,
            raw().u32(u32::MAX),
            "a length of 4 GiB and nothing behind it",
        ),
        (
            "ping-length-long",
            "PING",
            SHORT,
            BAD,
            raw().u32(3).bytes("hi"),
            "three bytes announced, two there",
        ),
        ("pong-65", "PONG", BOUND, BAD, raw().blob(x(65)), "65 bytes of data"),
        ("goaway-addresses-17", "GOAWAY", BOUND, BAD, goaway().u16(17).bytes(x(64)), "17 addresses"),
        ("goaway-address-257", "GOAWAY", BOUND, BAD, goaway().u16(1).text(x(257)), "an address of 257 bytes"),
        ("error-retryable-2", "ERROR", FLAG, BAD, rest(error(2, 0)).text(""), "a flag of 2"),
        ("error-resume-255", "ERROR", FLAG, BAD, rest(error(0, 255)).text(""), "a flag of 255"),
        ("error-text-257", "ERROR", BOUND, BAD, rest(error(0, 0)).text(x(257)), "a text of 257 bytes"),
        ("error-text-escape", "ERROR", LINE, BAD, rest(error(0, 0)).text("\u{1b}[2J"), "U+001B"),
        ("ok-byte", "OK", TRAIL, BAD, raw().u8(0), "a byte where there is no field"),
        ("cancel-empty", "CANCEL", SHORT, BAD, raw(), "no correlation to cancel"),
        ("close-control-c1", "CLOSE", LINE, BAD, raw().u16(0).u8(1).text("\u{85}"), "U+0085"),
        (
            "close-text-surrogate",
            "CLOSE",
            UTF8,
            BAD,
            raw().u16(0).u8(1).text(b"\xed\xa0\x80"),
            "U+D800 in UTF-8",
        ),
    ]
}

fn changes() -> Vec<Reject> {
    let create = |id: u8, name: &[u8]| raw().client_id(id).name(name).u8(1).u8(1);
    let room = || raw().client_id(1).u64(3);
    vec![
        ("create-client-id-zero", "ROOM_CREATE", ZERO, BAD, create(0, b"tea").text(""), "sixteen zeros"),
        ("create-name-empty", "ROOM_CREATE", NAME, BAD, create(1, b"").text(""), "an empty room name"),
        ("create-name-65", "ROOM_CREATE", NAME, BAD, create(1, &x(65)).text(""), "65 bytes of a plain name"),
        ("create-name-plus", "ROOM_CREATE", NAME, BAD, create(1, b"a+b").text(""), "+ without @"),
        ("create-topic-513", "ROOM_CREATE", BOUND, BAD, create(1, b"tea").text(x(513)), "topic of 513 bytes"),
        (
            "create-topic-missing",
            "ROOM_CREATE",
            SHORT,
            BAD,
            create(1, b"tea"),
            "no topic, not even its length",
        ),
        (
            "leave-room-short",
            "ROOM_LEAVE",
            SHORT,
            BAD,
            raw().client_id(1).bytes(x(7)),
            "seven bytes of a room id",
        ),
        ("invite-name-nul", "ROOM_INVITE", NAME, BAD, room().name("an\0"), "U+0000 in a name"),
        ("kick-reason-257", "ROOM_KICK", BOUND, BAD, room().name("bob").text(x(257)), "reason of 257 bytes"),
        ("kick-reason-isolate", "ROOM_KICK", LINE, BAD, room().name("bob").text("\u{2066}x"), "U+2066"),
        ("topic-overlong", "ROOM_TOPIC", UTF8, BAD, room().text(b"\xc0\x80"), "U+0000 in two bytes"),
        ("topic-nul", "ROOM_TOPIC", LINE, BAD, room().text("\0"), "U+0000"),
        ("role-missing", "ROOM_ROLE", SHORT, BAD, room().name("bob"), "the role is missing"),
        (
            "retention-bytes-short",
            "ROOM_RETENTION",
            SHORT,
            BAD,
            room().u32(60).u64(10).u32(0),
            "four bytes of eight",
        ),
        ("direct-name-space", "ROOM_DIRECT", NAME, BAD, raw().client_id(1).name("a b"), "a space in a name"),
    ]
}

fn names() -> Vec<Reject> {
    let join = |name: &[u8]| raw().client_id(1).name(name);
    vec![
        ("join-direct-one", "ROOM_JOIN", NAME, BAD, join(b"@ann"), "@ without a second name"),
        ("join-direct-short", "ROOM_JOIN", NAME, BAD, join(b"@a+bob"), "an account name of one byte"),
        ("join-name-67", "ROOM_JOIN", BOUND, BAD, join(&x(67)), "67 bytes"),
        ("join-name-ring", "ROOM_JOIN", NAME, BAD, join("t\u{e5}".as_bytes()), "a letter outside ASCII"),
        ("join-name-cut", "ROOM_JOIN", UTF8, BAD, join(b"t\xc3"), "a character cut in half"),
        ("get-direct-order", "ROOM_GET", NAME, BAD, raw().name("@bob+ann"), "the names are not in order"),
        ("get-direct-third", "ROOM_GET", NAME, BAD, raw().name("@ann+bob+cat"), "three names"),
        ("get-name-tab", "ROOM_GET", NAME, BAD, raw().name("a\tb"), "a tab in a name"),
        ("presence-name-at", "PRESENCE", NAME, BAD, raw().u64(7).name("@nn").u8(1), "@ in an account name"),
        ("profile-set-65", "PROFILE_SET", BOUND, BAD, raw().text(x(65)), "display name of 65 bytes"),
        ("signal-kind-missing", "SIGNAL", SHORT, BAD, raw().u64(3), "the kind is missing"),
        ("disable-flag", "ACCOUNT_DISABLE", FLAG, BAD, raw().name("bob").u8(9), "a flag of 9"),
        ("list-limit-half", "ACCOUNT_LIST", SHORT, BAD, raw().u64(0).u8(0), "one byte of two"),
    ]
}

fn log(schema: &Schema) -> Vec<Reject> {
    let publish = |id: u8| raw().u64(3).client_id(id).u16(1).u8(0);
    let event = schema.registry.frame("EVENT");
    let fields = extremes::payload(schema, &event.fields, Extreme::Minimal);
    let whole = seal(event.code, 0, &schema.encode(&event.fields, &fields));
    vec![
        (
            "publish-abandon-flag",
            "PUBLISH",
            FLAG,
            BAD,
            raw().u64(3).client_id(1).u16(1).u8(2).blob("tea"),
            "a flag of 2",
        ),
        ("publish-client-id-zero", "PUBLISH", ZERO, BAD, publish(0).blob(""), "sixteen zeros"),
        ("publish-body-huge", "PUBLISH", BOUND, BAD, publish(1).u32(1_048_321), "one byte above the bound"),
        (
            "publish-body-short",
            "PUBLISH",
            SHORT,
            BAD,
            publish(1).u32(5).bytes("tea"),
            "five announced, three there",
        ),
        (
            "event-name-space",
            "EVENT",
            NAME,
            BAD,
            raw().bytes(x(32)).name("a b").client_id(1).u16(1).blob(""),
            "a space in a name",
        ),
        (
            "event-trailing",
            "EVENT",
            TRAIL,
            BAD,
            raw().bytes(&whole[20..]).bytes(x(3)),
            "three bytes behind the body",
        ),
        (
            "history-limit-short",
            "HISTORY",
            SHORT,
            BAD,
            raw().u64(3).u8(1).u64(0).u64(0).u8(0),
            "one byte of two",
        ),
        ("gap-reason-missing", "GAP", SHORT, BAD, raw().bytes(x(32)), "the reason is missing"),
        ("ack-trailing", "ACK", TRAIL, BAD, raw().bytes(x(24)).u8(1), "one byte behind the seq"),
    ]
}

fn enclosed(schema: &Schema) -> Vec<Reject> {
    let event = schema.registry.frame("EVENT");
    let fields = extremes::payload(schema, &event.fields, Extreme::Minimal);
    let whole = seal(event.code, 0, &schema.encode(&event.fields, &fields));
    let page = |more: u8| raw().u64(3).u64(1).u64(1).u64(9).u8(more);
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut renamed = whole.clone();
    renamed[3] = b'X';
    let ping = seal(0x0007, 0, &[0, 0, 0, 0]);
    let cut = &whole[..whole.len() - 1];
    vec![
        ("page-more-2", "PAGE", FLAG, BAD, page(2).blob(""), "a flag of 2"),
        ("page-frames-ping", "PAGE", ENCLOSED, BAD, page(0).blob(ping), "a PING among the events"),
        (
            "page-frames-checksum",
            "PAGE",
            ENCLOSED,
            BAD,
            page(0).blob(flipped),
            "an event with one bit turned",
        ),
        ("page-frames-cut", "PAGE", ENCLOSED, BAD, page(0).blob(cut), "an event without its last byte"),
        (
            "page-frames-second",
            "PAGE",
            ENCLOSED,
            BAD,
            page(1).blob([&whole[..], &renamed].concat()),
            "a second event without magic",
        ),
        ("page-frames-huge", "PAGE", BOUND, BAD, page(0).u32(1_048_577), "more than any frame may hold"),
    ]
}

fn pages() -> Vec<Reject> {
    vec![
        ("subscribe-501", "SUBSCRIBE", BOUND, BAD, raw().u16(501), "501 rooms"),
        ("subscribe-missing", "SUBSCRIBE", NOCOUNT, BAD, raw().u16(500), "500 counted, none there"),
        ("subscribe-item-cut", "SUBSCRIBE", SHORT, BAD, raw().u16(1).bytes(x(22)), "an item without its end"),
        ("subscribed-65535", "SUBSCRIBED", BOUND, BAD, raw().u16(u16::MAX), "the largest count"),
        ("unsubscribe-501", "UNSUBSCRIBE", BOUND, BAD, raw().u16(501).bytes(x(4008)), "501 rooms, all there"),
        ("rooms-101", "ROOMS", BOUND, BAD, raw().u16(101), "101 rooms"),
        ("rooms-more-missing", "ROOMS", SHORT, BAD, raw().u16(0), "the last field is missing"),
        ("members-101", "MEMBERS", BOUND, BAD, raw().u64(3).u16(101), "101 members"),
        ("accounts-more-3", "ACCOUNTS", FLAG, BAD, raw().u16(0).u8(3), "a flag of 3"),
    ]
}

fn extensions(schema: &Schema) -> Vec<Reject> {
    let ping = || raw().blob("hi");
    let publish = || raw().u64(3).client_id(1).u16(1).u8(0).blob("tea");
    let hello = schema.registry.frame("HELLO");
    let smallest = schema.encode(&hello.fields, &extremes::payload(schema, &hello.fields, Extreme::Minimal));
    vec![
        (
            "ping-extension-half",
            "PING",
            TRAIL,
            BAD,
            ping().bytes([0x80, 1, 0]),
            "an extension record of three bytes",
        ),
        (
            "ping-extension-long",
            "PING",
            TRAIL,
            BAD,
            ping().bytes([0x80, 1, 0, 2, 9]),
            "an extension record that is longer than the payload",
        ),
        (
            "ping-extension-critical-cut",
            "PING",
            TRAIL,
            BAD,
            ping().bytes([0, 1, 0, 0, 0x80, 2]),
            "a critical tag and then half a record: the cut counts",
        ),
        (
            "ping-extension-critical",
            "PING",
            CRIT,
            UNSUP,
            ping().bytes([0, 1, 0, 0]),
            "tag 0x0001 is critical",
        ),
        (
            "publish-extension-second",
            "PUBLISH",
            CRIT,
            UNSUP,
            publish().bytes([0x80, 1, 0, 1, 7, 0x40, 0, 0, 1, 7]),
            "an ignorable record, then a critical private one",
        ),
        (
            "hello-extension-critical",
            "HELLO",
            CRIT,
            UNSUP,
            raw().bytes(smallest).bytes([0x3f, 0xff, 0, 2, 1, 2]),
            "tag 0x3fff is critical",
        ),
    ]
}

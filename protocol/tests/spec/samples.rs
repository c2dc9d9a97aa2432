//! One plausible frame of every type, as Rust values: what Ann and Bob might say to each other in the room `tea`.

use hark_protocol::limits::Limit;
use hark_protocol::*;

pub(crate) const ANN: AccountId = AccountId(7);
pub(crate) const BOB: AccountId = AccountId(8);
pub(crate) const TEA: RoomId = RoomId(3);
pub(crate) const EPOCH: Epoch = Epoch(1_790_000_000_000);

pub(crate) fn account(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub(crate) fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    Line::parse(text).unwrap()
}

pub(crate) fn secret<const MAX: usize>(text: &str) -> Secret<MAX> {
    Secret::parse(text).unwrap()
}

pub(crate) fn list<T, const MAX: usize>(elements: impl Into<Vec<T>>) -> List<T, MAX> {
    List::new(elements.into()).unwrap()
}

/// A client id of version 7's shape whose last byte is `n`.
pub(crate) fn client_id(n: u8) -> ClientId {
    let mut bytes = *b"\x01\x9a\x5c\x2e\x7b\x10\x70\x00\x80\x00\x00\x00\x00\x00\x00\x00";
    bytes[15] = n;
    ClientId::new(bytes).unwrap()
}

pub(crate) fn time(n: u64) -> UnixMillis {
    UnixMillis(1_790_000_000_000 + n)
}

pub(crate) fn message(seq: u64, author: (AccountId, &str), text: &str) -> Event {
    Event {
        room: TEA,
        seq: Seq(seq),
        time: time(seq * 1_000),
        author: author.0,
        author_name: account(author.1),
        client_id: client_id(u8::try_from(seq).unwrap()),
        kind: Kind::MESSAGE,
        body: text.parse().unwrap(),
    }
}

fn summary() -> RoomSummary {
    RoomSummary {
        room: TEA,
        name: room("tea"),
        visibility: Visibility::PUBLIC,
        history: HistoryPolicy::ALL,
        topic: line("What to brew"),
        members: 2,
        role: RoomRole::OWNER,
        epoch: EPOCH,
        first: Seq(1),
        head: Seq(4),
        time: time(4_000),
        retention: Retention::default(),
    }
}

/// A frame of every type with the correlation that it has, in the registry's order.
pub(crate) fn all() -> Vec<(Correlation, Frame)> {
    let mut all = connection();
    all.extend(endings());
    all.extend(rooms());
    all.extend(log());
    all.extend(reading());
    all.extend(ephemeral());
    all.extend(admin());
    all
}

fn asked(correlation: u32, frame: impl Into<Frame>) -> (Correlation, Frame) {
    (Correlation(correlation), frame.into())
}

fn told(frame: impl Into<Frame>) -> (Correlation, Frame) {
    (Correlation::NONE, frame.into())
}

fn connection() -> Vec<(Correlation, Frame)> {
    vec![
        asked(
            1,
            Hello {
                version_min: 1,
                version_max: 1,
                capabilities: list([Capability::PRESENCE, Capability::SIGNALS]),
                connection_window: 0,
                agent: line("example/1.0"),
            },
        ),
        asked(
            1,
            Welcome {
                version: 1,
                capabilities: list([Capability::PRESENCE, Capability::SIGNALS]),
                limits: list([
                    Limit { id: LimitId::FRAME_BYTES, value: 65_536 },
                    Limit { id: LimitId::WINDOW, value: 256 },
                ]),
                auth_methods: list([AuthMethod::PASSWORD, AuthMethod::DEVICE_TOKEN]),
                registration: true,
                agent: line("harkd/0.1.0"),
            },
        ),
        asked(
            2,
            Register {
                token: secret("reg-5f2b8c"),
                name: account("ann"),
                password: secret("correct horse"),
                display_name: line("Ann"),
            },
        ),
        asked(
            3,
            Auth {
                method: AuthMethod::PASSWORD,
                name: account("ann"),
                secret: secret("correct horse"),
                device_label: line("laptop"),
                presence: PresenceMode::VISIBLE,
            },
        ),
        asked(
            3,
            Authenticated {
                account: ANN,
                name: account("ann"),
                display_name: line("Ann"),
                role: AccountRole::USER,
                device: DeviceId(21),
                device_token: secret("dev-91c04e"),
                resumed: false,
                session_token: secret("ses-3ad7f0"),
                session_lifetime_s: 2_592_000,
            },
        ),
        asked(3, Resume { session_token: secret("ses-3ad7f0"), presence: PresenceMode::VISIBLE }),
    ]
}

fn endings() -> Vec<(Correlation, Frame)> {
    vec![
        asked(9, Ping { data: "nonce-01".parse().unwrap() }),
        asked(9, Pong { data: "nonce-01".parse().unwrap() }),
        told(GoAway {
            code: ErrorCode::SHUTTING_DOWN,
            reconnect_after_ms: 2_500,
            addresses: list([line("b.example.org:4275")]),
            text: line("restart for an update"),
        }),
        asked(
            12,
            Error {
                code: ErrorCode::RATE,
                scope: Scope::REQUEST,
                retryable: true,
                resume_allowed: true,
                retry_after_ms: 750,
                limit: LimitId::PUBLISH_RATE,
                limit_value: 20,
                text: line("too fast"),
            },
        ),
        asked(2, hark_protocol::Ok {}),
        told(Cancel { request: Correlation(31) }),
        told(Close { code: ErrorCode(0), disposition: Disposition::KEEP, text: line("") }),
    ]
}

fn rooms() -> Vec<(Correlation, Frame)> {
    vec![
        asked(
            4,
            RoomCreate {
                client_id: client_id(1),
                name: room("tea"),
                visibility: Visibility::PUBLIC,
                history: HistoryPolicy::ALL,
                topic: line("What to brew"),
            },
        ),
        asked(5, RoomJoin { client_id: client_id(2), name: room("tea") }),
        asked(6, RoomLeave { client_id: client_id(3), room: TEA }),
        asked(7, RoomInvite { client_id: client_id(4), room: TEA, account: account("bob") }),
        asked(
            8,
            RoomKick { client_id: client_id(5), room: TEA, account: account("bob"), reason: line("coffee") },
        ),
        asked(10, RoomTopic { client_id: client_id(6), room: TEA, topic: line("Oolong") }),
        asked(
            11,
            RoomRoleSet {
                client_id: client_id(7),
                room: TEA,
                account: account("bob"),
                role: RoomRole::MODERATOR,
            },
        ),
        asked(13, RoomDirect { client_id: client_id(8), account: account("bob") }),
        asked(14, RoomList { filter: RoomFilter::JOINED, after: RoomId(0), limit: 50 }),
        asked(14, Rooms { rooms: list([summary()]), more: false }),
        asked(15, RoomGet { name: room("tea") }),
        asked(15, Room { room: summary() }),
        asked(16, RoomMembers { room: TEA, after: AccountId(0), limit: 0 }),
        asked(
            16,
            Members {
                room: TEA,
                members: list([
                    Member {
                        account: ANN,
                        name: account("ann"),
                        display_name: line("Ann"),
                        role: RoomRole::OWNER,
                        joined: Seq(1),
                        presence: PresenceState::ONLINE,
                    },
                    Member {
                        account: BOB,
                        name: account("bob"),
                        display_name: line("Bob"),
                        role: RoomRole::MEMBER,
                        joined: Seq(2),
                        presence: PresenceState::OFFLINE,
                    },
                ]),
                more: false,
            },
        ),
        asked(
            30,
            RoomRetention {
                client_id: client_id(9),
                room: TEA,
                retention: Retention { max_age_s: 2_592_000, max_events: 0, max_bytes: 1 << 30 },
            },
        ),
    ]
}

fn log() -> Vec<(Correlation, Frame)> {
    vec![
        asked(
            17,
            Publish {
                room: TEA,
                client_id: client_id(3),
                kind: Kind::MESSAGE,
                abandon: false,
                body: "kettle is on".parse().unwrap(),
            },
        ),
        asked(
            17,
            Published {
                room: TEA,
                epoch: EPOCH,
                seq: Seq(3),
                time: time(3_000),
                durability: Durability::DISK,
                duplicate: false,
            },
        ),
        asked(
            18,
            Subscribe {
                rooms: list([SubscribeItem {
                    room: TEA,
                    from: From::POSITION,
                    epoch: EPOCH,
                    seq: Seq(2),
                    mode: SubscriptionMode::DURABLE,
                    level: Level::FULL,
                    window: 64,
                }]),
            },
        ),
        asked(
            18,
            Subscribed {
                rooms: list([VerdictItem {
                    room: TEA,
                    verdict: Verdict::EXACT,
                    epoch: EPOCH,
                    first: Seq(1),
                    head: Seq(4),
                    next: Seq(3),
                    gap_from: Seq::ZERO,
                    gap_to: Seq::ZERO,
                    gap_reason: GapReason(0),
                    code: ErrorCode(0),
                }]),
            },
        ),
    ]
}

fn reading() -> Vec<(Correlation, Frame)> {
    let sealed = [message(3, (ANN, "ann"), "kettle is on"), message(4, (BOB, "bob"), "coming")]
        .map(|event| EncodedFrame::new(Correlation::NONE, &event));
    vec![
        asked(19, Unsubscribe { rooms: list([TEA]) }),
        told(SubscriptionEnded { room: TEA, epoch: EPOCH, seq: Seq(9), reason: EndReason::KICKED }),
        told(message(3, (ANN, "ann"), "kettle is on")),
        told(Replayed { room: TEA, epoch: EPOCH, seq: Seq(4) }),
        told(Ack { room: TEA, epoch: EPOCH, seq: Seq(4) }),
        told(Head { room: TEA, epoch: EPOCH, head: Seq(900), behind: 640 }),
        told(Gap { room: TEA, epoch: EPOCH, from: Seq(5), to: Seq(5), reason: GapReason::DAMAGED }),
        asked(20, History { room: TEA, direction: Direction::BEFORE, epoch: EPOCH, seq: Seq(5), limit: 2 }),
        asked(
            20,
            Page {
                room: TEA,
                epoch: EPOCH,
                first: Seq(1),
                head: Seq(4),
                more: true,
                events: Frames::new(&sealed),
            },
        ),
    ]
}

fn ephemeral() -> Vec<(Correlation, Frame)> {
    vec![
        told(Signal { room: TEA, kind: SignalKind::TYPING }),
        told(Signalled { room: TEA, account: ANN, name: account("ann"), kind: SignalKind::TYPING }),
        asked(22, PresenceSet { state: PresenceState::AWAY }),
        told(Presence { account: ANN, name: account("ann"), state: PresenceState::AWAY }),
        asked(23, ProfileSet { display_name: line("Ann of the teapot") }),
        told(Profile { account: ANN, name: account("ann"), display_name: line("Ann of the teapot") }),
    ]
}

fn admin() -> Vec<(Correlation, Frame)> {
    vec![
        asked(
            24,
            AccountAdd { name: account("bob"), password: secret("battery staple"), role: AccountRole::USER },
        ),
        asked(25, AccountList { after: AccountId(0), limit: 0 }),
        asked(
            25,
            Accounts {
                accounts: list([Account {
                    account: BOB,
                    name: account("bob"),
                    display_name: line("Bob"),
                    role: AccountRole::USER,
                    disabled: false,
                    created: time(0),
                }]),
                more: true,
            },
        ),
        asked(26, AccountDisable { name: account("bob"), disabled: true }),
        asked(27, AccountPassword { name: account("bob"), password: secret("battery stapler") }),
    ]
}

/// The body of each control event with its kind's word.
pub(crate) fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let encoded = |put: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        put(&mut out);
        out
    };
    let (name, role) = (account("bob"), RoomRole::MODERATOR);
    let topic = kind::TopicBody { topic: line("Oolong") };
    let role = kind::RoleBody { account: BOB, name: name.clone(), role };
    let invite = kind::InviteBody { account: BOB, name: name.clone() };
    let kick = kind::KickBody { account: BOB, name, reason: line("coffee") };
    let retention = Retention { max_age_s: 86_400, max_events: 10_000, max_bytes: 0 };
    let retention = kind::RetentionBody { retention };
    let join = kind::JoinBody { role: RoomRole::OWNER };
    vec![
        ("join", encoded(&|out| join.put(out))),
        ("kick", encoded(&|out| kick.put(out))),
        ("topic", encoded(&|out| topic.put(out))),
        ("role", encoded(&|out| role.put(out))),
        ("invite", encoded(&|out| invite.put(out))),
        ("retention", encoded(&|out| retention.put(out))),
    ]
}

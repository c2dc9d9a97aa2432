//! One readable frame of every type.

use hark_protocol::*;

/// A value of every payload there is, in the registry's order.
pub(crate) fn every_frame() -> Vec<Frame> {
    let frames = [connection(), rooms(), log(), ephemeral(), admin()].concat();
    let types: Vec<FrameType> = frames.iter().map(Frame::frame_type).collect();
    let tables: Vec<FrameType> = Frame::TABLES.iter().map(|(frame_type, _)| *frame_type).collect();
    assert_eq!(types, tables, "a payload has no sample, or stands elsewhere");
    frames
}

pub(crate) fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

pub(crate) fn client_id(number: u64) -> ClientId {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ClientId::new(bytes).unwrap()
}

pub(crate) fn hello() -> Hello {
    Hello {
        version_min: VERSION,
        version_max: VERSION,
        capabilities: List::default(),
        connection_window: 0,
        agent: Line::default(),
    }
}

pub(crate) fn auth() -> Auth {
    Auth {
        method: AuthMethod::PASSWORD,
        name: name("ann"),
        secret: "correct horse".parse().unwrap(),
        device_label: Line::default(),
        presence: PresenceMode::VISIBLE,
    }
}

pub(crate) fn authenticated() -> Authenticated {
    Authenticated {
        account: AccountId(1),
        name: name("ann"),
        display_name: "Ann".parse().unwrap(),
        role: AccountRole::USER,
        device: DeviceId(0),
        device_token: Secret::default(),
        resumed: false,
        session_token: Secret::default(),
        session_lifetime_s: 0,
    }
}

pub(crate) fn error(code: ErrorCode, scope: Scope) -> Error {
    Error {
        code,
        scope,
        retryable: false,
        resume_allowed: true,
        retry_after_ms: 0,
        limit: LimitId(0),
        limit_value: 0,
        text: Line::default(),
    }
}

pub(crate) fn history() -> History {
    History { room: RoomId(1), direction: Direction::BEFORE, epoch: Epoch(0), seq: Seq::ZERO, limit: 0 }
}

pub(crate) fn publish() -> Publish {
    Publish {
        room: RoomId(1),
        client_id: client_id(1),
        kind: Kind::MESSAGE,
        abandon: false,
        body: "hi".parse().unwrap(),
    }
}

pub(crate) fn published() -> Published {
    Published {
        room: RoomId(1),
        epoch: Epoch(1),
        seq: Seq(1),
        time: UnixMillis(1),
        durability: Durability::DISK,
        duplicate: false,
    }
}

pub(crate) fn page() -> Page {
    Page {
        room: RoomId(1),
        epoch: Epoch(1),
        first: Seq(1),
        head: Seq(1),
        more: false,
        events: Frames::default(),
    }
}

fn register() -> Register {
    Register {
        token: "reg-1".parse().unwrap(),
        name: name("ann"),
        password: "correct horse".parse().unwrap(),
        display_name: Line::default(),
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        capabilities: List::default(),
        limits: List::default(),
        auth_methods: List::default(),
        registration: true,
        agent: Line::default(),
    }
}

fn connection() -> Vec<Frame> {
    let go_away = GoAway {
        code: ErrorCode::SHUTTING_DOWN,
        reconnect_after_ms: 0,
        addresses: List::default(),
        text: Line::default(),
    };
    let close = Close { code: ErrorCode(0), disposition: Disposition::END, text: Line::default() };
    vec![
        hello().into(),
        welcome().into(),
        register().into(),
        auth().into(),
        authenticated().into(),
        Resume { session_token: "ses-1".parse().unwrap(), presence: PresenceMode::VISIBLE }.into(),
        Ping { data: "data".parse().unwrap() }.into(),
        Pong { data: "data".parse().unwrap() }.into(),
        go_away.into(),
        error(ErrorCode::MALFORMED, Scope::REQUEST).into(),
        Ok {}.into(),
        Cancel { request: Correlation(99) }.into(),
        close.into(),
    ]
}

fn summary() -> RoomSummary {
    RoomSummary {
        room: RoomId(1),
        name: RoomName::parse("garden").unwrap(),
        visibility: Visibility::PUBLIC,
        history: HistoryPolicy::ALL,
        topic: Line::default(),
        members: 1,
        role: RoomRole::MEMBER,
        epoch: Epoch(1),
        first: Seq(1),
        head: Seq(1),
        time: UnixMillis(1),
        retention: Retention::default(),
    }
}

fn rooms() -> Vec<Frame> {
    let (room, client_id, account) = (RoomId(1), client_id(1), name("bob"));
    let garden = RoomName::parse("garden").unwrap();
    let create = RoomCreate {
        client_id,
        name: garden.clone(),
        visibility: Visibility::PUBLIC,
        history: HistoryPolicy::ALL,
        topic: Line::default(),
    };
    vec![
        create.into(),
        RoomJoin { client_id, name: garden.clone() }.into(),
        RoomLeave { client_id, room }.into(),
        RoomInvite { client_id, room, account: account.clone() }.into(),
        RoomKick { client_id, room, account: account.clone(), reason: Line::default() }.into(),
        RoomTopic { client_id, room, topic: Line::default() }.into(),
        RoomRoleSet { client_id, room, account: account.clone(), role: RoomRole::MEMBER }.into(),
        RoomDirect { client_id, account }.into(),
        RoomList { filter: RoomFilter::PUBLIC, after: RoomId(0), limit: 0 }.into(),
        Rooms { rooms: List::default(), more: false }.into(),
        RoomGet { name: garden }.into(),
        Room { room: summary() }.into(),
        RoomMembers { room, after: AccountId(0), limit: 0 }.into(),
        Members { room, members: List::default(), more: false }.into(),
        RoomRetention { client_id, room, retention: Retention::default() }.into(),
    ]
}

fn log() -> Vec<Frame> {
    let (room, epoch, seq) = (RoomId(1), Epoch(1), Seq(1));
    let event = Event {
        room,
        seq,
        time: UnixMillis(1),
        author: AccountId(1),
        author_name: name("ann"),
        client_id: client_id(1),
        kind: Kind::MESSAGE,
        body: Blob::default(),
    };
    vec![
        publish().into(),
        published().into(),
        Subscribe { rooms: List::default() }.into(),
        Subscribed { rooms: List::default() }.into(),
        Unsubscribe { rooms: List::default() }.into(),
        SubscriptionEnded { room, epoch, seq, reason: EndReason::LEFT }.into(),
        event.into(),
        Replayed { room, epoch, seq }.into(),
        Ack { room, epoch, seq }.into(),
        Head { room, epoch, head: seq, behind: 0 }.into(),
        Gap { room, epoch, from: seq, to: seq, reason: GapReason::DAMAGED }.into(),
        history().into(),
        page().into(),
    ]
}

fn ephemeral() -> Vec<Frame> {
    let (room, account, ann, kind) = (RoomId(1), AccountId(1), name("ann"), SignalKind::TYPING);
    vec![
        Signal { room, kind }.into(),
        Signalled { room, account, name: ann.clone(), kind }.into(),
        PresenceSet { state: PresenceState::ONLINE }.into(),
        Presence { account, name: ann.clone(), state: PresenceState::ONLINE }.into(),
        ProfileSet { display_name: Line::default() }.into(),
        Profile { account, name: ann, display_name: Line::default() }.into(),
    ]
}

fn admin() -> Vec<Frame> {
    let password: Secret<1024> = "correct horse".parse().unwrap();
    vec![
        AccountAdd { name: name("bob"), password: password.clone(), role: AccountRole::USER }.into(),
        AccountList { after: AccountId(0), limit: 0 }.into(),
        Accounts { accounts: List::default(), more: false }.into(),
        AccountDisable { name: name("bob"), disabled: true }.into(),
        AccountPassword { name: name("bob"), password }.into(),
    ]
}

//! What a room makes of every request, by visibility and by who asks, in one golden table.
//!
//! A cell is the kind of the event that is added, `holds SEQ` where what is asked for is so already, or the code
//! of the refusal.

use std::fmt::Write;

use hark_core::ports::{Author, MemberRow, Proposal, RoomRecord, RoomRow};
use hark_core::room::{Ask, Room};
use hark_core::{Limits, Refusal};
use hark_protocol::*;

use crate::samples;

const OUTSIDER: u64 = 1;
const INVITED: u64 = 2;
const MEMBER: u64 = 3;
const MODERATOR: u64 = 4;
const OWNER: u64 = 5;
/// Others of the same standing, who are the objects of requests.
const OTHER: u64 = 10;

const WHO: [(&str, u64); 5] = [
    ("outsider", OUTSIDER),
    ("invited", INVITED),
    ("member", MEMBER),
    ("moderator", MODERATOR),
    ("owner", OWNER),
];

pub(crate) fn author(account: u64) -> Author {
    Author { account: AccountId(account), name: samples::name(&format!("account-{account}")) }
}

/// What the room keeps.
const KEPT: Retention = Retention { max_age_s: 0, max_events: 99, max_bytes: 0 };

pub(crate) fn room_row(visibility: Visibility, history: HistoryPolicy) -> RoomRow {
    RoomRow {
        id: RoomId(1),
        name: RoomName::parse("garden").unwrap(),
        visibility,
        history,
        topic: "roses".parse().unwrap(),
        retention: KEPT,
        epoch: Epoch(7),
        first: Seq(1),
        head: Seq(40),
        time: UnixMillis(0),
        control: Seq(33),
    }
}

/// A room with one of each standing and another of each. In a direct room nobody is invited.
fn room(visibility: Visibility) -> Room {
    let roles = [(MEMBER, RoomRole::MEMBER), (MODERATOR, RoomRole::MODERATOR), (OWNER, RoomRole::OWNER)];
    let member = |(account, role)| MemberRow { account: AccountId(account), role, joined: Seq(account) };
    let others = roles.map(|(account, role)| (account + OTHER, role));
    let invited = [INVITED, INVITED + OTHER].map(|account| (AccountId(account), Seq(account))).to_vec();
    Room::load(RoomRecord {
        row: room_row(visibility, HistoryPolicy::ALL),
        members: roles.into_iter().chain(others).map(member).collect(),
        invited: if visibility == Visibility::DIRECT { Vec::new() } else { invited },
    })
}

fn requests(asks: &Author) -> Vec<(String, Ask)> {
    let publish = |kind, bytes: u32| Ask::Publish { kind, body: vec![0; bytes as usize].into() };
    let max = Limits::open().body_bytes_max();
    let mut requests = vec![
        ("publish a message".into(), publish(Kind::MESSAGE, 5)),
        ("publish the largest".into(), publish(Kind::MESSAGE, max)),
        ("publish one byte more".into(), publish(Kind::MESSAGE, max + 1)),
        ("publish an application's".into(), publish(Kind::APPLICATION_FIRST, 5)),
        ("publish a join".into(), publish(Kind::JOIN, 1)),
        ("publish a reserved kind".into(), publish(Kind(0x0002), 5)),
        ("join".into(), Ask::Join { rooms_joined: 0 }),
        ("leave".into(), Ask::Leave),
        ("set another topic".into(), Ask::SetTopic { topic: "lilies".parse().unwrap() }),
        ("set the same topic".into(), Ask::SetTopic { topic: "roses".parse().unwrap() }),
        ("set another retention".into(), Ask::SetRetention { retention: Retention::default() }),
        ("set the same retention".into(), Ask::SetRetention { retention: KEPT }),
    ];
    for (name, whom) in WHO {
        requests.push((format!("invite another {name}"), Ask::Invite { guest: author(whom + OTHER) }));
    }
    for (name, whom) in WHO {
        let kick = Ask::Kick { member: author(whom + OTHER), reason: Line::default() };
        requests.push((format!("kick another {name}"), kick));
    }
    requests.push(("kick oneself".into(), Ask::Kick { member: asks.clone(), reason: Line::default() }));
    for role in [RoomRole::NONE, RoomRole::MEMBER, RoomRole::MODERATOR, RoomRole::OWNER, RoomRole(9)] {
        let set = |whom| Ask::SetRole { member: author(whom + OTHER), role };
        requests.push((format!("make another member {role}"), set(MEMBER)));
        requests.push((format!("make another owner {role}"), set(OWNER)));
        requests.push((format!("make another outsider {role}"), set(OUTSIDER)));
    }
    requests
        .push(("make oneself member".into(), Ask::SetRole { member: asks.clone(), role: RoomRole::MEMBER }));
    let rate = Refusal::Rate { limit: LimitId::PUBLISH_RATE, value: 1, retry_after_ms: 9 };
    requests.push(("what is refused already".into(), Ask::Refused(rate)));
    requests
}

fn cell(room: &Room, by: &Author, ask: &Ask) -> String {
    match room.judge(by, ask, &Limits::open()) {
        Proposal::Append { kind, .. } => kind.to_string(),
        Proposal::Holds(seq) => format!("holds {seq}"),
        Proposal::Refuse(refusal) => refusal.code().to_string(),
    }
}

fn table() -> String {
    let mut lines = String::new();
    for visibility in [Visibility::PUBLIC, Visibility::PRIVATE, Visibility::DIRECT] {
        let room = room(visibility);
        write!(lines, "{:32}", visibility.to_string()).unwrap();
        WHO.iter().for_each(|(name, _)| write!(lines, "{name:13}").unwrap());
        for row in 0..requests(&author(MEMBER)).len() {
            let name = requests(&author(MEMBER)).swap_remove(row).0;
            write!(lines, "\n{name:32}").unwrap();
            for (_, who) in WHO {
                let by = author(who);
                write!(lines, "{:13}", cell(&room, &by, &requests(&by)[row].1)).unwrap();
            }
        }
        lines.push_str("\n\n");
    }
    lines.trim_end().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn every_request_of_everybody_is_judged_as_the_table_says() {
    let (table, golden) = (table(), include_str!("room_matrix.txt"));
    for (line, (is, ought)) in table.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, ought, "line {}; the whole table as it is:\n{table}", line + 1);
    }
    assert_eq!(table.lines().count(), golden.lines().count(), "the whole table as it is:\n{table}");
}

#[test]
fn a_limit_is_reached_and_never_passed() {
    let (by, outsider) = (author(MODERATOR), author(OUTSIDER));
    let room = room(Visibility::PUBLIC); // six members, two invitations
    let judge = |by: &Author, ask: &Ask, limits: Limits| room.judge(by, ask, &limits);
    let join = |rooms_joined| Ask::Join { rooms_joined };
    let invite = Ask::Invite { guest: outsider.clone() };
    let cases = [
        (&outsider, join(0), Limits { members_per_room_max: 7, ..Limits::open() }, None),
        (
            &outsider,
            join(0),
            Limits { members_per_room_max: 6, ..Limits::open() },
            Some((LimitId::MEMBERS_PER_ROOM, 6)),
        ),
        (&outsider, join(4), Limits { rooms_per_account_max: 5, ..Limits::open() }, None),
        (
            &outsider,
            join(5),
            Limits { rooms_per_account_max: 5, ..Limits::open() },
            Some((LimitId::ROOMS_PER_ACCOUNT, 5)),
        ),
        (&by, invite.clone(), Limits { invites_per_room_max: 3, ..Limits::open() }, None),
        (
            &by,
            invite,
            Limits { invites_per_room_max: 2, ..Limits::open() },
            Some((LimitId::INVITES_PER_ROOM, 2)),
        ),
    ];
    for (by, ask, limits, refused) in cases {
        match (judge(by, &ask, limits), refused) {
            (Proposal::Append { .. }, None) => {}
            (Proposal::Refuse(refusal), Some(limit)) => {
                assert_eq!((refusal.code(), refusal.limit()), (ErrorCode::LIMIT, limit));
            }
            (proposal, refused) => panic!("{ask:?}: {proposal:?}, and not {refused:?}"),
        }
    }
}

#[test]
fn control_events_say_what_they_did() {
    let (room, by, bob) = (room(Visibility::PUBLIC), author(OWNER), author(MEMBER + OTHER));
    let reason: Line<{ limits::REASON_BYTES_MAX }> = "spam".parse().unwrap();
    let topic: Line<{ limits::TOPIC_BYTES_MAX }> = "lilies".parse().unwrap();
    let guest = author(OUTSIDER);
    let (account, name, role) = (bob.account, bob.name.clone(), RoomRole::MODERATOR);
    let cases = [
        (author(OUTSIDER), Ask::Join { rooms_joined: 0 }, bytes(&JoinBody { role: RoomRole::MEMBER })),
        (by.clone(), Ask::Leave, Vec::new()),
        (
            by.clone(),
            Ask::Invite { guest: guest.clone() },
            bytes(&InviteBody { account: guest.account, name: guest.name }),
        ),
        (
            by.clone(),
            Ask::Kick { member: bob.clone(), reason: reason.clone() },
            bytes(&KickBody { account, name: name.clone(), reason }),
        ),
        (by.clone(), Ask::SetTopic { topic: topic.clone() }, bytes(&TopicBody { topic })),
        (
            by.clone(),
            Ask::SetRetention { retention: Retention::default() },
            bytes(&RetentionBody { retention: Retention::default() }),
        ),
        (by, Ask::SetRole { member: bob, role }, bytes(&RoleBody { account, name, role })),
    ];
    for (by, ask, expected) in cases {
        let Proposal::Append { body, .. } = room.judge(&by, &ask, &Limits::open()) else {
            panic!("{ask:?} adds nothing");
        };
        assert_eq!(body, expected, "{ask:?}");
    }
}

fn bytes(body: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.put(&mut bytes);
    bytes
}

//! Rooms: making them, getting in and out, and who may see and do what.

use hark_protocol::{
    Direction, EndReason, ErrorCode, Event, Frame, From as Start, HistoryPolicy, InviteBody, JoinBody,
    KickBody, Kind, LimitId, Line, Reader, RoleBody, RoomCreate, RoomDirect, RoomFilter, RoomGet, RoomId,
    RoomInvite, RoomLeave, RoomList, RoomMembers, RoomRole, RoomRoleSet, RoomSummary, RoomTopic, TopicBody,
    Verdict, Visibility, Wire,
};

use crate::rig::{Peer, Rig, client_id, every, in_room, join, kick, publish, the};

fn create(name: &str, id: u64) -> RoomCreate {
    RoomCreate {
        client_id: client_id(id),
        name: name.parse().unwrap(),
        visibility: Visibility::PUBLIC,
        history: HistoryPolicy::ALL,
        topic: Line::default(),
    }
}

fn invite(room: RoomId, name: &str, id: u64) -> RoomInvite {
    RoomInvite { client_id: client_id(id), room, account: name.parse().unwrap() }
}

fn topic(room: RoomId, text: &str, id: u64) -> RoomTopic {
    RoomTopic { client_id: client_id(id), room, topic: Line::parse(text).unwrap() }
}

fn role(room: RoomId, name: &str, role: RoomRole, id: u64) -> RoomRoleSet {
    RoomRoleSet { client_id: client_id(id), room, account: name.parse().unwrap(), role }
}

fn direct(name: &str, id: u64) -> RoomDirect {
    RoomDirect { client_id: client_id(id), account: name.parse().unwrap() }
}

fn get(name: &str) -> RoomGet {
    RoomGet { name: name.parse().unwrap() }
}

fn body<T: Wire>(event: &Event) -> T {
    T::take(&mut Reader::new(event.body.clone().into_bytes())).unwrap()
}

async fn members(peer: &mut Peer, room: RoomId) -> Vec<(String, RoomRole)> {
    let ask = RoomMembers { room, after: hark_protocol::AccountId(0), limit: 0 };
    let page = the!(peer.ask(ask).await, Members);
    page.members.iter().map(|member| (member.name.to_string(), member.role)).collect()
}

async fn list(peer: &mut Peer, filter: RoomFilter) -> Vec<RoomSummary> {
    let page = the!(peer.ask(RoomList { filter, after: RoomId(0), limit: 0 }).await, Rooms);
    page.rooms.into_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_begins_with_its_owner_and_its_topic() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let create = RoomCreate { topic: Line::parse("two sugars").unwrap(), ..create("tea", 1) };
    let made = the!(ann.ask(create.clone()).await, Published);
    assert_eq!((made.seq.0, made.duplicate), (1, false));
    assert_eq!(members(&mut ann, made.room).await, [("ann".to_owned(), RoomRole::OWNER)]);
    let log = ann.log(made.room).await;
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].kind, body::<JoinBody>(&log[0]).role), (Kind::JOIN, RoomRole::OWNER));
    let room = the!(ann.ask(get("tea")).await, Room).room;
    assert_eq!((room.topic.as_str(), room.members, room.role), ("two sugars", 1, RoomRole::OWNER));
    assert_eq!((room.epoch, room.first.0, room.head.0, room.time), (made.epoch, 1, 1, made.time));

    let again = the!(ann.ask(create).await, Published);
    assert_eq!((again.room, again.seq, again.duplicate), (made.room, made.seq, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_given_once_and_kinds_of_rooms_are_judged() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    ann.ask(create("tea", 1)).await;
    assert_eq!(bob.refusal(create("tea", 1)).await.code, ErrorCode::NAME_TAKEN);
    assert_eq!(ann.refusal(create("tea", 2)).await.code, ErrorCode::NAME_TAKEN);
    let as_direct = RoomCreate { visibility: Visibility::DIRECT, ..create("mine", 3) };
    assert_eq!(ann.refusal(as_direct).await.code, ErrorCode::MALFORMED);
    assert_eq!(ann.refusal(create("@ann+bob", 4)).await.code, ErrorCode::MALFORMED);
    let unknown = RoomCreate { visibility: Visibility(9), ..create("mine", 5) };
    assert_eq!(ann.refusal(unknown).await.code, ErrorCode::UNSUPPORTED);
    let unknown = RoomCreate { history: HistoryPolicy(9), ..create("mine", 6) };
    assert_eq!(ann.refusal(unknown).await.code, ErrorCode::UNSUPPORTED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_twice_is_joining_once() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    assert_eq!(bob.refusal(join("nowhere", 1)).await.code, ErrorCode::NOT_FOUND);
    let joined = bob.join("tea", 1).await;
    assert_eq!((joined.room, joined.seq.0, joined.duplicate), (room, 2, false));
    ann.publish(room, 1, "hello").await;
    for id in [1, 2] {
        let again = bob.join("tea", id).await;
        assert_eq!((again.seq, again.time, again.duplicate), (joined.seq, joined.time, true));
    }
    bob.subscribe(in_room(room, Start::START, 0)).await;
    let seqs: Vec<u64> = every!(bob.replay().await, Event).iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_out_and_hears_nothing_more() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    assert_eq!(bob.refusal(RoomLeave { client_id: client_id(9), room }).await.code, ErrorCode::NOT_MEMBER);
    bob.join("tea", 1).await;
    bob.follow(room).await;
    let left = bob.leave(room, 2).await;
    ann.publish_all(room, 10..15).await;
    let heard = bob.barrier().await;
    let [Frame::Event(event), Frame::SubscriptionEnded(ended)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((event.kind, event.seq), (Kind::LEAVE, left.seq));
    assert_eq!((ended.reason, ended.seq, ended.epoch), (EndReason::LEFT, left.seq, left.epoch));

    let asks: [Frame; 3] = [
        publish(room, 3, "still here?").into(),
        RoomLeave { client_id: client_id(4), room }.into(),
        RoomMembers { room, after: hark_protocol::AccountId(0), limit: 0 }.into(),
    ];
    for ask in asks {
        assert_eq!(bob.refusal(ask).await.code, ErrorCode::NOT_MEMBER);
    }
    let again = the!(bob.ask(RoomLeave { client_id: client_id(2), room }).await, Published);
    assert_eq!((again.seq, again.duplicate), (left.seq, true));
    assert_eq!(bob.join("tea", 5).await.seq.0, left.seq.0 + 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_kicked_hears_of_it_and_nothing_behind_it() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    bob.follow(room).await;
    let kicked = ann.kick(room, "bob", 2).await;
    ann.publish_all(room, 10..60).await;
    let heard = bob.barrier().await;
    let [Frame::Event(event), Frame::SubscriptionEnded(ended)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((event.kind, event.seq), (Kind::KICK, kicked.seq));
    assert_eq!(body::<KickBody>(event).name.as_str(), "bob");
    assert_eq!((ended.reason, ended.seq), (EndReason::KICKED, kicked.seq));
    let verdict = bob.subscribe(in_room(room, Start::START, 0)).await;
    assert_eq!((verdict.verdict, verdict.code), (Verdict::REFUSED, ErrorCode::NOT_MEMBER));

    // Back in, the old kick does not end the new subscription that replays over it.
    let joined = bob.join("tea", 3).await;
    bob.subscribe(in_room(room, Start::START, 0)).await;
    let heard = bob.replay().await;
    assert_eq!(every!(heard, Event).len() as u64, joined.seq.0);
    assert!(bob.barrier().await.is_empty(), "it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_say_who_may_do_what() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let (mut bob, mut eve) = (rig.login("bob").await, rig.login("eve").await);
    rig.account("dan");
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    eve.join("tea", 1).await;

    let forbidden: [Frame; 4] = [
        topic(room, "mine", 2).into(),
        kick(room, "eve", 3).into(),
        invite(room, "dan", 4).into(),
        role(room, "bob", RoomRole::OWNER, 5).into(),
    ];
    for request in forbidden {
        assert_eq!(bob.refusal(request).await.code, ErrorCode::FORBIDDEN);
    }
    the!(ann.ask(role(room, "bob", RoomRole::MODERATOR, 10)).await, Published);
    the!(bob.ask(topic(room, "biscuits", 11)).await, Published);
    the!(bob.ask(invite(room, "dan", 12)).await, Published);
    assert_eq!(bob.refusal(kick(room, "ann", 13)).await.code, ErrorCode::FORBIDDEN);
    assert_eq!(bob.refusal(role(room, "eve", RoomRole::MODERATOR, 14)).await.code, ErrorCode::FORBIDDEN);
    bob.kick(room, "eve", 15).await;
    assert_eq!(ann.refusal(role(room, "eve", RoomRole::OWNER, 16)).await.code, ErrorCode::NOT_FOUND);
    assert_eq!(ann.refusal(role(room, "bob", RoomRole::NONE, 17)).await.code, ErrorCode::MALFORMED);
    assert_eq!(ann.refusal(role(room, "bob", RoomRole(9), 18)).await.code, ErrorCode::UNSUPPORTED);
    assert_eq!(ann.refusal(kick(room, "eve", 19)).await.code, ErrorCode::NOT_FOUND);
    assert_eq!(ann.refusal(kick(room, "nobody", 20)).await.code, ErrorCode::NOT_FOUND);

    let log = ann.log(room).await;
    let kinds: Vec<Kind> = log.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [Kind::JOIN, Kind::JOIN, Kind::JOIN, Kind::ROLE, Kind::TOPIC, Kind::INVITE, Kind::KICK]
    );
    assert_eq!(body::<RoleBody>(&log[3]).role, RoomRole::MODERATOR);
    assert_eq!(body::<TopicBody>(&log[4]).topic.as_str(), "biscuits");
    assert_eq!(body::<InviteBody>(&log[5]).name.as_str(), "dan");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_already_adds_nothing() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    rig.account("bob");
    let room = ann.create_room("tea").await;
    let requests: [(Frame, Frame); 3] = [
        (topic(room, "biscuits", 1).into(), topic(room, "biscuits", 2).into()),
        (invite(room, "bob", 3).into(), invite(room, "bob", 4).into()),
        (role(room, "ann", RoomRole::OWNER, 5).into(), role(room, "ann", RoomRole::OWNER, 6).into()),
    ];
    for (first, second) in requests {
        let first = the!(ann.ask(first).await, Published);
        let second = the!(ann.ask(second).await, Published);
        assert!(second.duplicate && second.seq >= first.seq, "{first:?} {second:?}");
    }
    assert_eq!(ann.log(room).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_room_is_as_if_it_were_not_there() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room_as("den", Visibility::PRIVATE, HistoryPolicy::ALL).await;
    let nowhere = RoomId(room.0 + 1_000);
    let pairs: [(Frame, Frame); 6] = [
        (get("den").into(), get("nowhere").into()),
        (join("den", 1).into(), join("nowhere", 1).into()),
        (publish(room, 2, "psst").into(), publish(nowhere, 2, "psst").into()),
        (topic(room, "x", 3).into(), topic(nowhere, "x", 3).into()),
        (kick(room, "ann", 4).into(), kick(nowhere, "ann", 4).into()),
        (history(room).into(), history(nowhere).into()),
    ];
    for (hidden, absent) in pairs {
        let (one, other) = (bob.refusal(hidden).await, bob.refusal(absent).await);
        assert_eq!(one.code, ErrorCode::NOT_FOUND);
        assert_eq!(one, other);
    }
    for hidden in [room, nowhere] {
        let verdict = bob.subscribe(in_room(hidden, Start::NOW, 0)).await;
        assert_eq!((verdict.verdict, verdict.code), (Verdict::REFUSED, ErrorCode::NOT_FOUND));
    }
    assert!(list(&mut bob, RoomFilter::PUBLIC).await.is_empty());

    the!(ann.ask(invite(room, "bob", 5)).await, Published);
    assert_eq!(the!(bob.ask(get("den")).await, Room).room.role, RoomRole::NONE);
    assert_eq!(bob.refusal(publish(room, 6, "psst")).await.code, ErrorCode::NOT_MEMBER);
    assert_eq!(list(&mut bob, RoomFilter::INVITED).await.len(), 1);
    bob.join("den", 7).await;
    assert!(list(&mut bob, RoomFilter::INVITED).await.is_empty());
    assert_eq!(list(&mut bob, RoomFilter::JOINED).await[0].role, RoomRole::MEMBER);

    // The invitation was used up: whoever leaves needs a new one.
    bob.leave(room, 8).await;
    assert_eq!(bob.refusal(join("den", 9)).await.code, ErrorCode::NOT_FOUND);
}

fn history(room: RoomId) -> hark_protocol::History {
    hark_protocol::History {
        room,
        direction: Direction::BEFORE,
        epoch: hark_protocol::Epoch(0),
        seq: hark_protocol::Seq(0),
        limit: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_takes_an_invitation_back() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room_as("den", Visibility::PRIVATE, HistoryPolicy::ALL).await;
    the!(ann.ask(invite(room, "bob", 1)).await, Published);
    ann.kick(room, "bob", 2).await;
    assert_eq!(bob.refusal(join("den", 3)).await.code, ErrorCode::NOT_FOUND);
    assert_eq!(ann.refusal(invite(room, "nobody", 4)).await.code, ErrorCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_accounts_have_one_direct_room() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let mut eve = rig.login("eve").await;
    let made = the!(bob.ask(direct("ann", 1)).await, Published);
    assert_eq!((made.seq.0, made.duplicate), (1, false));
    let found = the!(ann.ask(direct("bob", 1)).await, Published);
    assert_eq!((found.room, found.seq.0, found.duplicate), (made.room, 2, true));
    let again = the!(bob.ask(direct("ann", 2)).await, Published);
    assert_eq!((again.seq.0, again.duplicate), (1, true));
    let member = |name: &str| (name.to_owned(), RoomRole::MEMBER);
    let mut both = members(&mut ann, made.room).await;
    both.sort();
    assert_eq!(both, [member("ann"), member("bob")]);
    let room = the!(ann.ask(get("@ann+bob")).await, Room).room;
    assert_eq!((room.visibility, room.members), (Visibility::DIRECT, 2));

    let forbidden: [Frame; 5] = [
        RoomLeave { client_id: client_id(3), room: made.room }.into(),
        topic(made.room, "x", 4).into(),
        invite(made.room, "eve", 5).into(),
        kick(made.room, "bob", 6).into(),
        role(made.room, "bob", RoomRole::OWNER, 7).into(),
    ];
    for request in forbidden {
        assert_eq!(ann.refusal(request).await.code, ErrorCode::FORBIDDEN);
    }
    assert_eq!(ann.refusal(direct("ann", 8)).await.code, ErrorCode::MALFORMED);
    assert_eq!(ann.refusal(direct("nobody", 9)).await.code, ErrorCode::NOT_FOUND);
    assert_eq!(eve.refusal(get("@ann+bob")).await.code, ErrorCode::NOT_FOUND);
    assert_eq!(eve.refusal(publish(made.room, 1, "hm")).await.code, ErrorCode::NOT_FOUND);
    ann.publish(made.room, 10, "hello").await;
    assert_eq!(bob.log(made.room).await.last().unwrap().body[..], b"hello"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_do_not_hear_each_other() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let (tea, coffee) = (ann.create_room("tea").await, ann.create_room("coffee").await);
    bob.join("tea", 1).await;
    bob.join("coffee", 1).await;
    bob.follow(tea).await;
    bob.follow(coffee).await;
    let requests = (10..110).map(|id| {
        let room = if id % 2 == 0 { tea } else { coffee };
        publish(room, id, room.0.to_string()).into()
    });
    ann.send_all(requests).await;
    ann.barrier().await;
    let heard = every!(bob.barrier().await, Event);
    assert_eq!(heard.len(), 100);
    for room in [tea, coffee] {
        let seqs: Vec<u64> =
            heard.iter().filter(|event| event.room == room).map(|event| event.seq.0).collect();
        assert_eq!(seqs, (3..53).collect::<Vec<_>>());
    }
    assert!(heard.iter().all(|event| event.body[..] == *event.room.0.to_string().as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_pages() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    for n in 0..7 {
        ann.create_room(&format!("room-{n}")).await;
    }
    bob.join("room-3", 1).await;
    let mut found: Vec<RoomSummary> = Vec::new();
    loop {
        let after = found.last().map_or(RoomId(0), |room| room.room);
        let page = the!(bob.ask(RoomList { filter: RoomFilter::PUBLIC, after, limit: 3 }).await, Rooms);
        assert!(page.rooms.len() <= 3);
        found.extend(page.rooms.into_vec());
        if !page.more {
            break;
        }
    }
    let names: Vec<String> = found.iter().map(|room| room.name.to_string()).collect();
    assert_eq!(names, (0..7).map(|n| format!("room-{n}")).collect::<Vec<_>>());
    assert!(found.iter().all(|room| (room.role == RoomRole::MEMBER) == (room.name.as_str() == "room-3")));
    let unknown = RoomList { filter: RoomFilter(9), after: RoomId(0), limit: 0 };
    assert_eq!(bob.refusal(unknown).await.code, ErrorCode::UNSUPPORTED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_rooms_hold_and_a_retry_passes_them() {
    let rig = Rig::with(|limits| {
        limits.rooms_per_account_max = 2;
        limits.members_per_room_max = 2;
        limits.invites_per_room_max = 1;
    })
    .await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let mut eve = rig.login("eve").await;
    the!(ann.ask(create("tea", 1)).await, Published);
    let coffee = the!(ann.ask(create("coffee", 2)).await, Published).room;
    let error = ann.refusal(create("milk", 3)).await;
    assert_eq!(
        (error.code, error.limit, error.limit_value),
        (ErrorCode::LIMIT, LimitId::ROOMS_PER_ACCOUNT, 2)
    );
    bob.join("tea", 1).await;
    assert_eq!(eve.refusal(join("tea", 1)).await.limit, LimitId::MEMBERS_PER_ROOM);
    the!(ann.ask(invite(coffee, "bob", 4)).await, Published);
    assert_eq!(ann.refusal(invite(coffee, "eve", 5)).await.limit, LimitId::INVITES_PER_ROOM);
    bob.ask(create("milk", 2)).await;
    assert_eq!(bob.refusal(join("coffee", 3)).await.limit, LimitId::ROOMS_PER_ACCOUNT);
    // Identity comes before limits.
    assert!(the!(ann.ask(create("coffee", 2)).await, Published).duplicate);
    assert!(bob.join("tea", 1).await.duplicate);
    assert_eq!(ann.refusal(direct("eve", 6)).await.limit, LimitId::ROOMS_PER_ACCOUNT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_without_members_keeps_its_log() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    ann.publish(room, 1, "for later").await;
    ann.leave(room, 2).await;
    assert_eq!(bob.refusal(create("tea", 1)).await.code, ErrorCode::NAME_TAKEN);
    assert_eq!(bob.join("tea", 2).await.seq.0, 4);
    assert_eq!(members(&mut bob, room).await, [("bob".to_owned(), RoomRole::MEMBER)]);
    assert_eq!(bob.log(room).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_retried_like_publishes() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    rig.account("bob");
    let room = ann.create_room("tea").await;
    let first = the!(ann.ask(topic(room, "biscuits", 1)).await, Published);
    the!(ann.ask(topic(room, "scones", 2)).await, Published);
    let again = the!(ann.ask(topic(room, "biscuits", 1)).await, Published);
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    assert_eq!(the!(ann.ask(get("tea")).await, Room).room.topic.as_str(), "scones");
    assert_eq!(ann.refusal(topic(room, "cake", 1)).await.code, ErrorCode::CONFLICT);
    assert_eq!(ann.refusal(invite(room, "bob", 1)).await.code, ErrorCode::CONFLICT);
    assert_eq!(ann.refusal(publish(room, 1, "biscuits")).await.code, ErrorCode::CONFLICT);
}

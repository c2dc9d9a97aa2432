//! SUBSCRIBE and what follows from it: verdicts, replay, windows, cursors and the barrier.

use std::collections::HashMap;

use hark_protocol::limits::SUBSCRIBE_ROOMS_MAX;
use hark_protocol::{
    Ack, Blob, EndReason, Epoch, ErrorCode, Frame, From as Start, GapReason, HistoryPolicy, Level, LimitId,
    List, Ping, RoomId, Seq, Subscribe, SubscribeItem, SubscriptionMode, Unsubscribe, Verdict, Visibility,
};

use crate::rig::{Login, Peer, Rig, Setup, every, in_room, join, publish, the};

fn seqs(frames: &[Frame]) -> Vec<u64> {
    every!(frames, Event).iter().map(|event| event.seq.0).collect()
}

fn durable(room: RoomId, from: Start, seq: u64) -> SubscribeItem {
    SubscribeItem { mode: SubscriptionMode::DURABLE, ..in_room(room, from, seq) }
}

/// Ann with a room of 20 events.
async fn room_of_twenty(rig: &Rig) -> (Peer, RoomId) {
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish_all(room, 2..=20).await;
    (ann, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_begins_where_it_was_asked_to() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of_twenty(&rig).await;
    let cases = [
        (Start::START, 0, 1),
        (Start::START, 77, 1),
        (Start::NOW, 0, 21),
        (Start::LATEST, 3, 18),
        (Start::LATEST, 0, 21),
        (Start::LATEST, u64::MAX, 1),
        (Start::POSITION, 0, 1),
        (Start::POSITION, 17, 18),
        (Start::POSITION, 20, 21),
        (Start::CURSOR, 0, 1),
    ];
    for (from, seq, next) in cases {
        let verdict = ann.subscribe(in_room(room, from, seq)).await;
        assert_eq!((verdict.verdict, verdict.next.0), (Verdict::EXACT, next), "{from} {seq}");
        assert_eq!((verdict.room, verdict.first.0, verdict.head.0), (room, 1, 20));
        let said = ann.replay().await;
        assert_eq!(seqs(&said), (next..=20).collect::<Vec<_>>(), "{from} {seq}");
        let replayed = the!(said.last().unwrap().clone(), Replayed);
        assert_eq!((replayed.room, replayed.epoch, replayed.seq.0), (room, verdict.epoch, 20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_and_subscribes_in_one_write_follows_the_room() {
    let rig = Rig::start().await;
    let (_ann, room) = room_of_twenty(&rig).await;
    let mut bob = rig.login("bob").await;
    let rooms = List::new(vec![in_room(room, Start::LATEST, 1)]).unwrap();
    let asked = bob.send_all([join("tea", 1).into(), Subscribe { rooms }.into()]).await;
    assert_eq!(the!(bob.answer(asked[0]).await, Published).seq.0, 21);
    let verdict = the!(bob.answer(asked[1]).await, Subscribed).rooms[0].clone();
    assert_eq!((verdict.verdict, verdict.next.0), (Verdict::EXACT, 21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_log_is_a_reset_and_nothing_comes() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of_twenty(&rig).await;
    let epoch = ann.follow(room).await.epoch;
    let past = in_room(room, Start::POSITION, 21);
    let other_epoch = SubscribeItem { epoch: Epoch(epoch.0 + 1), ..in_room(room, Start::POSITION, 5) };
    for item in [past, other_epoch] {
        ann.follow(room).await;
        let verdict = ann.subscribe(item).await;
        assert_eq!((verdict.verdict, verdict.next, verdict.head.0), (Verdict::RESET, Seq(0), 20));
        assert_eq!(verdict.epoch, epoch);
        assert_eq!(rig.number("hark_subscriptions"), 0, "the subscription before it has ended, too");
    }
    ann.publish(room, 1_000, "unheard").await;
    assert!(ann.barrier().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_before_the_join_is_a_gap_and_not_silence() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room_as("tea", Visibility::PUBLIC, HistoryPolicy::SINCE_JOIN).await;
    ann.publish_all(room, 2..=4).await;
    assert_eq!(bob.join("tea", 1).await.seq.0, 5);
    ann.publish(room, 6, "welcome").await;

    let verdict = bob.subscribe(in_room(room, Start::POSITION, 1)).await;
    assert_eq!((verdict.verdict, verdict.next.0, verdict.first.0), (Verdict::GAP, 5, 5));
    assert_eq!((verdict.gap_from.0, verdict.gap_to.0), (2, 4));
    assert_eq!(verdict.gap_reason, GapReason::BEFORE_JOIN);
    assert_eq!(seqs(&bob.replay().await), [5, 6]);

    let verdict = bob.subscribe(in_room(room, Start::START, 0)).await;
    assert_eq!((verdict.verdict, verdict.next.0), (Verdict::EXACT, 5));
    assert_eq!(seqs(&bob.replay().await), [5, 6]);
    let verdict = ann.subscribe(in_room(room, Start::POSITION, 1)).await;
    assert_eq!(verdict.verdict, Verdict::EXACT, "ann was there from the first event on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_room_has_its_own_verdict_in_the_order_of_the_request() {
    let rig = Rig::with(|limits| limits.subscriptions_max = 2).await;
    let mut ann = rig.login("ann").await;
    let mut rooms = Vec::new();
    for name in ["one", "two", "three"] {
        rooms.push(ann.create_room(name).await);
    }
    let items = vec![
        in_room(RoomId(999), Start::NOW, 0),
        in_room(rooms[0], Start(77), 0),
        SubscribeItem { level: Level(9), ..in_room(rooms[0], Start::NOW, 0) },
        SubscribeItem { mode: SubscriptionMode(9), ..in_room(rooms[0], Start::NOW, 0) },
        in_room(rooms[0], Start::NOW, 0),
        in_room(rooms[1], Start::NOW, 0),
        in_room(rooms[2], Start::NOW, 0),
        in_room(rooms[0], Start::START, 0),
    ];
    let expected = [0x107, 0x103, 0x103, 0x103, 0, 0, 0x10b, 0];
    let asked: Vec<RoomId> = items.iter().map(|item| item.room).collect();
    let answer = the!(ann.ask(Subscribe { rooms: List::new(items).unwrap() }).await, Subscribed);
    assert_eq!(answer.rooms.iter().map(|verdict| verdict.room).collect::<Vec<_>>(), asked);
    assert_eq!(answer.rooms.iter().map(|verdict| verdict.code.0).collect::<Vec<_>>(), expected);
    let refused = &answer.rooms[0];
    assert_eq!((refused.verdict, refused.epoch, refused.head), (Verdict::REFUSED, Epoch(0), Seq(0)));
    let empty = the!(ann.ask(Subscribe { rooms: List::default() }).await, Subscribed);
    assert!(empty.rooms.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_rooms_are_one_round_trip() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let mut items = Vec::new();
    for n in 0..SUBSCRIBE_ROOMS_MAX {
        items.push(in_room(ann.create_room(&format!("room-{n}")).await, Start::START, 0));
    }
    let last = items.last().unwrap().room;
    let answer = the!(ann.ask(Subscribe { rooms: List::new(items).unwrap() }).await, Subscribed);
    assert!(answer.rooms.iter().all(|verdict| verdict.verdict == Verdict::EXACT));
    let mut replayed = 0;
    let mut events = 0;
    while replayed < SUBSCRIBE_ROOMS_MAX {
        match ann.news().await {
            Frame::Replayed(_) => replayed += 1,
            Frame::Event(_) => events += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events, SUBSCRIBE_ROOMS_MAX);
    ann.publish(last, 1, "live").await;
    assert_eq!(seqs(&ann.barrier().await), [2]);
}

// A2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_missed_five_thousand_messages_in_forty_rooms_gets_them_all() {
    const ROOMS: u64 = 40;
    const MISSED: u64 = 125;
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        let name = format!("room-{n}");
        rooms.push(ann.create_room(&name).await);
        bob.join(&name, n + 1).await;
    }
    bob.vanish();
    for room in &rooms {
        ann.publish_all(*room, 100..=99 + MISSED).await;
    }
    let mut bob = rig.login("bob").await;
    let items: Vec<_> = rooms.iter().map(|room| in_room(*room, Start::POSITION, 2)).collect();
    let answer = the!(bob.ask(Subscribe { rooms: List::new(items).unwrap() }).await, Subscribed);
    assert!(answer.rooms.iter().all(|verdict| verdict.verdict == Verdict::EXACT));
    let mut next: HashMap<RoomId, (Epoch, u64)> =
        answer.rooms.iter().map(|verdict| (verdict.room, (verdict.epoch, 3))).collect();
    let mut replayed = 0;
    while replayed < ROOMS {
        match bob.news().await {
            Frame::Event(event) => {
                let (epoch, seq) = next.get_mut(&event.room).unwrap();
                assert_eq!(event.seq, Seq(*seq));
                *seq += 1;
                // More than the connection's window is on its way.
                if event.seq.0 % 25 == 0 {
                    bob.ack(event.room, *epoch, event.seq).await;
                }
            }
            Frame::Replayed(_) => replayed += 1,
            Frame::Head(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(next.values().all(|(_, next)| *next == 3 + MISSED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_becomes_live_without_a_seam() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish_all(room, 2..=300).await;
    let mut bob = rig.login("bob").await;
    bob.join("tea", 1).await;
    let publishing = tokio::spawn(async move { ann.publish_all(room, 1_000..1_700).await.len() });
    let epoch = bob.subscribe(in_room(room, Start::START, 0)).await.epoch;
    let mut next = 1;
    while next <= 1_001 {
        let Frame::Event(event) = bob.news().await else { continue };
        assert_eq!(event.seq.0, next);
        if next % 50 == 0 {
            bob.ack(room, epoch, event.seq).await;
        }
        next += 1;
    }
    assert_eq!(publishing.await.unwrap(), 700);
    assert!(seqs(&bob.barrier().await).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_as_many_events_and_not_one_more() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    let item = SubscribeItem { window: 5, ..in_room(room, Start::NOW, 0) };
    let epoch = bob.subscribe(item).await.epoch;
    the!(bob.news().await, Replayed);
    ann.publish_all(room, 10..25).await; // seqs 3 to 17
    assert_eq!(seqs(&bob.barrier().await), [3, 4, 5, 6, 7], "and the PONG came at zero credit");
    bob.ack(room, epoch, Seq(4)).await;
    assert_eq!(seqs(&bob.barrier().await), [8, 9]);
    bob.ack(room, epoch, Seq(4)).await;
    bob.ack(room, epoch, Seq(3)).await;
    bob.ack(room, Epoch(epoch.0 + 1), Seq(9)).await;
    bob.ack(RoomId(999), epoch, Seq(9)).await;
    assert!(seqs(&bob.barrier().await).is_empty(), "none of these gives credit");
    bob.ack(room, epoch, Seq(9)).await;
    assert_eq!(seqs(&bob.barrier().await), [10, 11, 12, 13, 14]);

    let head = loop {
        if let Frame::Head(head) = bob.news().await {
            break head;
        }
    };
    assert_eq!((head.room, head.epoch, head.head.0, head.behind), (room, epoch, 17, 3));
    bob.ack(room, epoch, Seq(14)).await;
    assert_eq!(seqs(&bob.barrier().await), [15, 16, 17]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_windows_of_a_connection_and_of_the_server_hold_too() {
    let rig = Rig::with(|limits| limits.window_events_max = 3).await;
    let mut ann = rig.login("ann").await;
    let (tea, coffee) = (ann.create_room("tea").await, ann.create_room("coffee").await);
    let login = Login { connection_window: 4, ..Login::default() };
    let mut bob = rig.login_with("bob", login).await;
    bob.join("tea", 1).await;
    bob.join("coffee", 1).await;
    let asked = SubscribeItem { window: 1_000, ..in_room(tea, Start::NOW, 0) };
    let epoch = bob.subscribe(asked).await.epoch;
    the!(bob.news().await, Replayed);
    bob.follow(coffee).await;
    ann.publish_all(tea, 10..20).await;
    let heard = bob.barrier().await;
    assert_eq!(seqs(&heard), [3, 4, 5], "the server's own window of a subscription");
    ann.publish_all(coffee, 10..20).await;
    let heard = every!(bob.barrier().await, Event);
    assert_eq!(heard.iter().map(|event| (event.room, event.seq.0)).collect::<Vec<_>>(), [(coffee, 3)]);
    bob.ack(tea, epoch, Seq(5)).await;
    let heard = every!(bob.barrier().await, Event);
    assert_eq!(heard.len(), 3, "three given back, three sent: {heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_beyond_what_was_sent_ends_the_connection_and_moves_nothing() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of_twenty(&rig).await;
    let token = rig.device_token("bob");
    let mut bob = rig.login_by_token("bob", &token, Login::default()).await;
    bob.join("tea", 1).await;
    let item = SubscribeItem { window: 5, ..durable(room, Start::START, 0) };
    let epoch = bob.subscribe(item).await.epoch;
    for seq in 1..=5 {
        assert_eq!(bob.event().await.seq.0, seq);
    }
    bob.ack(room, epoch, Seq(11)).await;
    assert_eq!(bob.end_by_error().await.code, ErrorCode::FLOW);
    let mut bob = rig.login_by_token("bob", &token, Login::default()).await;
    assert_eq!(bob.subscribe(durable(room, Start::CURSOR, 0)).await.next.0, 1);
    assert!(ann.barrier().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_and_ping_together_show_the_echo_before_the_pong() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.follow(room).await;
    for id in 1..=100 {
        let ping = Ping { data: Blob::default() };
        let sent = ann.send_all([publish(room, id, "echo").into(), ping.into()]).await;
        let mut said = Vec::new();
        while !matches!(said.last(), Some(Frame::Pong(_))) {
            let (of, frame) = ann.next().await;
            assert!(of.0 == 0 || sent.contains(&of));
            said.push(frame);
        }
        assert_eq!(seqs(&said), [id + 1], "{said:?}");
        assert_eq!(every!(said, Published).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_again_replaces_and_unsubscribing_ends() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of_twenty(&rig).await;
    ann.follow(room).await;
    ann.follow(room).await;
    ann.publish(room, 100, "once").await;
    assert_eq!(seqs(&ann.barrier().await), [21]);
    assert_eq!(rig.number("hark_subscriptions"), 1);
    let stop = Unsubscribe { rooms: List::new(vec![room, RoomId(999)]).unwrap() };
    the!(ann.ask(stop).await, Ok);
    ann.publish(room, 101, "unheard").await;
    assert!(ann.barrier().await.is_empty());
    assert_eq!(rig.number("hark_subscriptions"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cursor_of_a_device_outlives_its_connection() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of_twenty(&rig).await;
    let token = rig.device_token("bob");
    let bob = || rig.login_by_token("bob", &token, Login::default());
    let mut first = bob().await;
    first.join("tea", 1).await;
    let epoch = first.subscribe(durable(room, Start::CURSOR, 0)).await.epoch;
    assert_eq!(seqs(&first.replay().await), (1..=21).collect::<Vec<_>>());
    first.ack(room, epoch, Seq(7)).await;
    first.ack(room, epoch, Seq(5)).await; // never back
    first.barrier().await;
    first.vanish();

    let mut second = bob().await;
    let verdict = second.subscribe(durable(room, Start::CURSOR, 0)).await;
    assert_eq!((verdict.verdict, verdict.next.0), (Verdict::EXACT, 8));
    assert_eq!(seqs(&second.replay().await), (8..=21).collect::<Vec<_>>());
    second.ack(room, epoch, Seq(9)).await;
    second.barrier().await;
    ann.publish(room, 100, "meanwhile").await;
    second.vanish();

    // Once it is saved, it is the store that knows.
    let device = hark_server::token::token_hash(&token);
    let device =
        hark_core::ports::Directory::device(&*rig.directory, &device, hark_protocol::UnixMillis(1)).unwrap();
    let device = device.unwrap().id;
    rig.until("the cursor is saved", |rig| {
        let saved = hark_core::ports::CursorStore::cursor(&*rig.directory, device, room).unwrap();
        saved.is_some_and(|cursor| cursor.seq == Seq(9))
    })
    .await;
    let mut third = bob().await;
    assert_eq!(third.subscribe(durable(room, Start::CURSOR, 0)).await.next.0, 10);
    assert_eq!(seqs(&third.replay().await), (10..=22).collect::<Vec<_>>());

    // Another device of the account has a cursor of its own, and a transient subscription moves none.
    let mut other = rig.login("bob").await;
    assert_eq!(other.subscribe(in_room(room, Start::CURSOR, 0)).await.next.0, 1);
    third.subscribe(in_room(room, Start::NOW, 0)).await;
    the!(third.news().await, Replayed);
    ann.publish(room, 101, "transient").await;
    assert_eq!(third.event().await.seq.0, 23);
    third.ack(room, epoch, Seq(23)).await;
    third.barrier().await;
    assert_eq!(third.subscribe(durable(room, Start::CURSOR, 0)).await.next.0, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_subscription_needs_a_device() {
    let rig = Rig::start().await;
    let (_ann, room) = room_of_twenty(&rig).await;
    let mut peer = rig.greeted().await;
    let login = crate::rig::auth(hark_protocol::AuthMethod::PASSWORD, "ann", crate::rig::PASSWORD);
    the!(peer.ask(login).await, Authenticated);
    let verdict = peer.subscribe(durable(room, Start::NOW, 0)).await;
    assert_eq!((verdict.verdict, verdict.code), (Verdict::REFUSED, ErrorCode::FORBIDDEN));
    assert_eq!(peer.subscribe(in_room(room, Start::CURSOR, 0)).await.next.0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_follows_a_room_durably_in_one_place() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of_twenty(&rig).await;
    let token = rig.device_token("ann");
    let mut one = rig.login_by_token("ann", &token, Login::default()).await;
    let mut other = rig.login_by_token("ann", &token, Login::default()).await;
    let mut bystander = rig.login("ann").await;
    bystander.subscribe(durable(room, Start::NOW, 0)).await;
    the!(bystander.news().await, Replayed);
    let epoch = one.subscribe(durable(room, Start::NOW, 0)).await.epoch;
    the!(one.news().await, Replayed);
    for _ in 0..3 {
        other.subscribe(durable(room, Start::NOW, 0)).await;
        the!(other.news().await, Replayed);
        let ended = the!(one.news().await, SubscriptionEnded);
        assert_eq!((ended.room, ended.epoch, ended.reason), (room, epoch, EndReason::REPLACED));
        std::mem::swap(&mut one, &mut other);
    }
    let head = ann.publish(room, 100, "for one").await.seq;
    assert_eq!(seqs(&one.barrier().await), [head.0]);
    assert!(other.barrier().await.is_empty());
    assert_eq!(seqs(&bystander.barrier().await), [head.0], "another device is not concerned");
    // A transient one stands beside it, and an ACK that crosses the takeover is passed over.
    other.tell(Ack { room, epoch, seq: head }).await;
    other.follow(room).await;
    assert!(one.barrier().await.is_empty());
    assert_eq!(rig.number("hark_subscriptions"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_a_gap_and_the_room_goes_on() {
    let rig = Rig::build(Setup { tail_bytes_max: 0, ..Setup::default() }).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    for id in 2..=12 {
        ann.publish(room, id, vec![0; 30_000]).await; // more than the tail of a room keeps when memory is short
    }
    rig.faults.damage(room, Seq(4));
    rig.faults.damage(room, Seq(5));
    let verdict = ann.subscribe(in_room(room, Start::START, 0)).await;
    assert_eq!(verdict.verdict, Verdict::EXACT);
    let said = ann.replay().await;
    assert_eq!(seqs(&said), [1, 2, 3, 6, 7, 8, 9, 10, 11, 12]);
    let gaps: Vec<_> = every!(said, Gap).iter().map(|gap| (gap.from.0, gap.to.0, gap.reason)).collect();
    assert_eq!(gaps, [(4, 4, GapReason::DAMAGED), (5, 5, GapReason::DAMAGED)]);
    assert_eq!(ann.log(room).await.len(), 10);
    ann.publish(room, 13, "on and on").await;
    assert_eq!(seqs(&ann.barrier().await), [13]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_rooms_than_one_subscribe_holds_can_not_be_said() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let item = in_room(RoomId(1), Start::NOW, 0);
    let mut payload = 501_u16.to_be_bytes().to_vec();
    for _ in 0..501 {
        hark_protocol::Wire::put(&item, &mut payload);
    }
    let correlation = ann.next_correlation();
    ann.send_bytes(&crate::rig::raw_frame(0x0203, correlation.0, &payload)).await;
    let error = the!(ann.answer(correlation).await, Error);
    assert!([ErrorCode::MALFORMED, ErrorCode::LIMIT].contains(&error.code), "{error:?}");
    assert!(error.limit == LimitId(0) || error.limit == LimitId::SUBSCRIBE_ROOMS);
}

//! Subscriptions of the level `heads`: how far rooms are, without a single event of them.

use hark_protocol::{
    Ack, EndReason, Epoch, ErrorCode, Frame, From as Start, Head, Level, List, RoomId, Seq, Subscribe,
    SubscribeItem, SubscriptionMode, Verdict,
};

use crate::rig::{Login, Peer, Rig, every, in_room, the};

fn watch(room: RoomId, from: Start, seq: u64) -> SubscribeItem {
    SubscribeItem { level: Level::HEADS, ..in_room(room, from, seq) }
}

async fn head(peer: &mut Peer) -> Head {
    the!(peer.news().await, Head)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_is_told_of_the_head_and_of_no_event() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    ann.publish_all(room, 1..=8).await;
    let verdict = bob.subscribe(watch(room, Start::POSITION, 4)).await;
    assert_eq!((verdict.verdict, verdict.next, verdict.head), (Verdict::EXACT, Seq(5), Seq(10)));
    let first = head(&mut bob).await;
    assert_eq!((first.room, first.head, first.behind), (room, Seq(10), 6));

    ann.publish_all(room, 9..=58).await;
    let mut heads = Vec::new();
    while heads.last().is_none_or(|head: &Head| head.head < Seq(60)) {
        heads.push(head(&mut bob).await);
    }
    assert!(heads.len() <= 3, "fifty events are told together: {heads:?}");
    assert_eq!(heads.last().unwrap().behind, 56);

    let epoch = verdict.epoch;
    bob.ack(room, epoch, Seq(58)).await;
    assert!(bob.barrier().await.is_empty(), "no PONG waits for a watched room");
    ann.publish(room, 59, "more").await;
    assert_eq!(head(&mut bob).await.behind, 3);
    bob.ack(room, epoch, Seq(62)).await;
    assert_eq!(bob.end_by_error().await.code, ErrorCode::FLOW, "62 was never told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_takes_up_no_window() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let tight = Login { connection_window: 1, ..Login::default() };
    let mut bob = rig.login_with("bob", tight).await;
    let mut rooms = Vec::new();
    for number in 0..20_u64 {
        let name = format!("tea-{number}");
        let id = hark_protocol::RoomCreate {
            client_id: crate::rig::client_id(1_000 + number),
            name: name.parse().unwrap(),
            visibility: hark_protocol::Visibility::PUBLIC,
            history: hark_protocol::HistoryPolicy::ALL,
            topic: hark_protocol::Line::default(),
        };
        rooms.push(the!(ann.ask(id).await, Published).room);
        bob.join(&name, 1).await;
    }
    let items: Vec<_> = rooms.iter().map(|room| watch(*room, Start::START, 0)).collect();
    let verdicts = the!(bob.ask(Subscribe { rooms: List::new(items).unwrap() }).await, Subscribed);
    assert!(verdicts.rooms.iter().all(|item| item.verdict == Verdict::EXACT));
    let said = bob.barrier().await;
    assert_eq!(every!(said, Head).len(), 20);
    assert_eq!(said.len(), 20);
    // A room that is read has the whole window.
    let verdict = bob.subscribe(in_room(rooms[0], Start::START, 0)).await;
    assert_eq!(bob.event().await.seq, Seq(1));
    bob.ack(rooms[0], verdict.epoch, Seq(1)).await;
    assert_eq!(bob.event().await.seq, Seq(2));
    assert_eq!(rig.number("hark_subscriptions"), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_durable_watch_acknowledges_is_the_devices_cursor() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish_all(room, 1..=9).await;
    let token = rig.device_token("ann");
    let mut watcher = rig.login_by_token("ann", &token, Login::default()).await;
    let durable = SubscribeItem { mode: SubscriptionMode::DURABLE, ..watch(room, Start::START, 0) };
    let verdict = watcher.subscribe(durable.clone()).await;
    assert_eq!(head(&mut watcher).await.behind, 10);
    watcher.ack(room, verdict.epoch, Seq(7)).await;
    watcher.ack(room, verdict.epoch, Seq(3)).await; // an older one moves nothing
    watcher.tell(Ack { room, epoch: Epoch(verdict.epoch.0 + 1), seq: Seq(99) }).await;
    assert!(watcher.barrier().await.is_empty());

    let mut other = rig.login_by_token("ann", &token, Login::default()).await;
    let verdict = other.subscribe(SubscribeItem { from: Start::CURSOR, ..durable.clone() }).await;
    assert_eq!(verdict.next, Seq(8));
    let ended = the!(watcher.news().await, SubscriptionEnded);
    assert_eq!((ended.reason, ended.seq), (EndReason::REPLACED, Seq(7)));
    // Reading takes over from watching, and the other way round.
    let verdict = other.subscribe(SubscribeItem { level: Level::FULL, from: Start::CURSOR, ..durable }).await;
    assert_eq!(verdict.next, Seq(8));
    let said = other.replay().await;
    assert_eq!(every!(said, Event).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_watches_no_more() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    for (round, reason) in [(1, EndReason::KICKED), (2, EndReason::LEFT)] {
        bob.join("tea", round).await;
        bob.subscribe(watch(room, Start::NOW, 0)).await;
        assert!(bob.barrier().await.is_empty());
        match reason {
            EndReason::KICKED => ann.kick(room, "bob", 100 + round).await,
            _ => bob.leave(room, 100 + round).await,
        };
        let ended = the!(bob.news().await, SubscriptionEnded);
        assert_eq!((ended.room, ended.reason), (room, reason));
        ann.publish(room, 200 + round, "without bob").await;
        assert!(bob.barrier().await.is_empty());
        assert_eq!(rig.number("hark_subscriptions"), 0);
    }
    let frames = [Frame::from(hark_protocol::Unsubscribe { rooms: List::new(vec![room]).unwrap() })];
    for frame in frames {
        the!(bob.ask(frame).await, Ok);
    }
    let unknown = SubscribeItem { level: Level(9), ..watch(room, Start::NOW, 0) };
    assert_eq!(ann.subscribe(unknown).await.code, ErrorCode::UNSUPPORTED);
}

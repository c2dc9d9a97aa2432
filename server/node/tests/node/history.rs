//! HISTORY: pages of a log, which hold the very bytes that subscribers get.

use hark_protocol::{
    AccountId, Cancel, Direction, Epoch, ErrorCode, Frame, FrameType, From as Start, History, HistoryPolicy,
    RoomId, RoomMembers, Seq, Visibility,
};

use crate::rig::{Peer, Rig, events, every, in_room, the};

fn ask(room: RoomId, direction: Direction, seq: u64, limit: u16) -> History {
    History { room, direction, epoch: Epoch(0), seq: Seq(seq), limit }
}

async fn room_of(rig: &Rig, events: u64) -> (Peer, RoomId) {
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish_all(room, 2..=events).await;
    (ann, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_forwards_and_backwards_make_up_the_log() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 50).await;
    let log = ann.log(room).await;
    assert_eq!(log.iter().map(|event| event.seq.0).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    for limit in [1, 7, 49, 50, 51] {
        let (mut forwards, mut more) = (Vec::new(), true);
        while more {
            let page = ann.page(room, Direction::AFTER, forwards.len() as u64, limit).await;
            assert!(page.events.iter().count() <= usize::from(limit));
            assert_eq!((page.first.0, page.head.0), (1, 50));
            forwards.extend(events(&page));
            more = page.more;
        }
        assert_eq!(forwards, log, "forwards by {limit}");

        let (mut backwards, mut before, mut more) = (Vec::new(), 0, true);
        while more {
            let page = ann.page(room, Direction::BEFORE, before, limit).await;
            let mut events = events(&page);
            before = events[0].seq.0;
            events.append(&mut backwards);
            (backwards, more) = (events, page.more);
        }
        assert_eq!(backwards, log, "backwards by {limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_ends_where_its_limits_say() {
    let rig = Rig::with(|limits| limits.page_bytes_max = 32 * 1024).await;
    let (mut ann, room) = room_of(&rig, 150).await;
    for (limit, expected) in [(0, 100), (u16::MAX, 100), (100, 100), (3, 3)] {
        assert_eq!(ann.page(room, Direction::AFTER, 0, limit).await.events.iter().count(), expected);
    }
    for id in 1_000..1_004 {
        ann.publish(room, id, vec![0; 20_000]).await;
    }
    let page = ann.page(room, Direction::BEFORE, 0, 0).await;
    assert_eq!(events(&page).iter().map(|event| event.seq.0).collect::<Vec<_>>(), [154]);
    assert!(page.more);
    ann.publish(room, 2_000, vec![0; 65_280]).await;
    let page = ann.page(room, Direction::AFTER, 154, 0).await;
    assert_eq!(events(&page).len(), 1, "at least one, however large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direction_without_events_is_an_empty_page() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 10).await;
    for (direction, seq) in
        [(Direction::BEFORE, 1), (Direction::AFTER, 10), (Direction::AFTER, 11), (Direction::AFTER, u64::MAX)]
    {
        let page = ann.page(room, direction, seq, 5).await;
        assert_eq!((page.events.iter().count(), page.more, page.head.0), (0, false, 10), "{direction} {seq}");
    }
    let page = ann.page(room, Direction::BEFORE, u64::MAX, 5).await;
    assert_eq!(events(&page)[0].seq.0, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_holds_the_bytes_that_subscribers_get() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 5).await;
    let page = ann.page(room, Direction::AFTER, 0, 0).await;
    let item = in_room(room, Start::START, 0);
    ann.send(hark_protocol::Subscribe { rooms: hark_protocol::List::new(vec![item]).unwrap() }).await;
    let mut delivered = Vec::new();
    while delivered.len() < 5 {
        let raw = ann.next_raw().await.unwrap();
        if raw.header().frame_type == FrameType::EVENT {
            delivered.push(raw);
        }
    }
    assert_eq!(page.events.iter().collect::<Vec<_>>(), delivered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_members_read_and_only_since_their_join_where_the_room_says_so() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room_as("tea", Visibility::PUBLIC, HistoryPolicy::SINCE_JOIN).await;
    ann.publish_all(room, 2..=4).await;
    assert_eq!(bob.refusal(ask(room, Direction::BEFORE, 0, 0)).await.code, ErrorCode::NOT_MEMBER);
    bob.join("tea", 1).await;
    ann.publish(room, 6, "hello").await;
    for (direction, seq) in [(Direction::BEFORE, 0), (Direction::AFTER, 0), (Direction::AFTER, 2)] {
        let page = bob.page(room, direction, seq, 0).await;
        assert_eq!(events(&page).iter().map(|event| event.seq.0).collect::<Vec<_>>(), [5, 6]);
        assert_eq!((page.first.0, page.more), (5, false));
    }
    for seq in [1, 3, 5] {
        let page = bob.page(room, Direction::BEFORE, seq, 0).await;
        assert_eq!((page.events.iter().count(), page.more), (0, false), "before {seq}");
    }
    // Who comes back sees from the latest join on.
    bob.leave(room, 2).await;
    assert_eq!(bob.join("tea", 3).await.seq.0, 8);
    assert_eq!(bob.log(room).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_epochs_and_directions_are_refused() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 3).await;
    let epoch = ann.page(room, Direction::AFTER, 0, 0).await.epoch;
    let here = History { epoch, ..ask(room, Direction::AFTER, 0, 0) };
    the!(ann.ask(here).await, Page);
    let elsewhere = History { epoch: Epoch(epoch.0 + 1), ..ask(room, Direction::AFTER, 0, 0) };
    assert_eq!(ann.refusal(elsewhere).await.code, ErrorCode::EPOCH_CHANGED);
    assert_eq!(ann.refusal(ask(room, Direction(9), 0, 0)).await.code, ErrorCode::UNSUPPORTED);
    assert_eq!(ann.refusal(ask(RoomId(999), Direction::AFTER, 0, 0)).await.code, ErrorCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_read_is_answered_once() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 50).await;
    let mut cancelled = 0;
    for _ in 0..50 {
        let request = ann.next_correlation();
        let mut bytes = Frame::from(ask(room, Direction::AFTER, 0, 0)).encode(request).as_slice().to_vec();
        let cancel: Frame = Cancel { request }.into();
        bytes.extend_from_slice(cancel.encode(hark_protocol::Correlation::NONE).as_slice());
        ann.send_bytes(&bytes).await;
        let said = ann.barrier().await;
        match &said[..] {
            [Frame::Page(_)] => {}
            [Frame::Error(error)] if error.code == ErrorCode::CANCELLED => cancelled += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(cancelled > 0, "a CANCEL that is read with its request comes first");
    let members = RoomMembers { room, after: AccountId(0), limit: 0 };
    let request = ann.send(members).await;
    the!(ann.answer(request).await, Members);
    ann.tell(Cancel { request }).await;
    assert!(ann.barrier().await.is_empty(), "too late, and of no effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_can_not_be_cancelled() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 1).await;
    let request = ann.next_correlation();
    let publish: Frame = crate::rig::publish(room, 1, "said is said").into();
    let mut bytes = publish.encode(request).as_slice().to_vec();
    let cancel: Frame = Cancel { request }.into();
    bytes.extend_from_slice(cancel.encode(hark_protocol::Correlation::NONE).as_slice());
    ann.send_bytes(&bytes).await;
    assert_eq!(every!(ann.barrier().await, Published).len(), 1);
    assert_eq!(ann.log(room).await.len(), 2);
}

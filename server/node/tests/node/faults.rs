//! Stores that fail: nothing is acknowledged or shown that is not stored.

use std::time::Duration;

use hark_core::ports::StoreError;
use hark_protocol::{ErrorCode, HistoryPolicy, Line, RoomCreate, RoomTopic, Visibility};

use crate::rig::{Rig, client_id, every, join, publish, the};

fn full() -> StoreError {
    StoreError::Unavailable("the disk is full at /secret/place".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_stored_has_not_happened() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    ann.follow(room).await;

    rig.faults.fail_next_append(full());
    let error = ann.refusal(publish(room, 1, "lost?")).await;
    assert_eq!(error.code, ErrorCode::UNAVAILABLE);
    assert!(error.retryable && error.retry_after_ms > 0 && !error.text.as_str().contains("/secret"));
    assert!(ann.barrier().await.is_empty(), "nobody is shown anything");

    rig.faults.fail_next_append(full());
    assert_eq!(bob.refusal(join("tea", 1)).await.code, ErrorCode::UNAVAILABLE);
    assert_eq!(bob.refusal(publish(room, 2, "in?")).await.code, ErrorCode::NOT_MEMBER);

    rig.faults.fail_next_append(full());
    let topic = RoomTopic { client_id: client_id(3), room, topic: Line::parse("biscuits").unwrap() };
    assert_eq!(ann.refusal(topic).await.code, ErrorCode::UNAVAILABLE);

    let create = RoomCreate {
        client_id: client_id(4),
        name: "coffee".parse().unwrap(),
        visibility: Visibility::PUBLIC,
        history: HistoryPolicy::ALL,
        topic: Line::default(),
    };
    rig.faults.fail_next_append(full());
    assert_eq!(ann.refusal(create.clone()).await.code, ErrorCode::UNAVAILABLE);
    assert!(!the!(ann.ask(create).await, Published).duplicate);

    let acked = ann.publish(room, 1, "lost?").await;
    assert_eq!((acked.seq.0, acked.duplicate), (2, false), "no seq was used up");
    assert_eq!(every!(ann.barrier().await, Event).len(), 1);
    let name = "tea".parse().unwrap();
    let room = the!(ann.ask(hark_protocol::RoomGet { name }).await, Room).room;
    assert_eq!((room.members, room.topic.as_str(), room.head.0), (1, "", 2));
    assert!(rig.node.is_ready());
    assert_eq!(rig.number("hark_commits_failed_total"), 4);
}

/// LG-R16, LG-R91: who repeats what is stored is never told that it is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_not_refused_for_a_full_disk() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let stored = ann.publish(room, 1, "cup").await;

    rig.faults.fail_next_append(full());
    let again = ann.publish(room, 1, "cup").await;
    assert_eq!((again.seq, again.duplicate), (stored.seq, true));
    rig.faults.fail_next_append(full());
    assert_eq!(ann.refusal(publish(room, 1, "saucer")).await.code, ErrorCode::CONFLICT);
    rig.faults.fail_next_append(full());
    assert_eq!(ann.refusal(publish(room, 2, "pot")).await.code, ErrorCode::UNAVAILABLE);
    assert_eq!(ann.publish(room, 2, "pot").await.seq.0, stored.seq.0 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_batch_fails_together_and_can_be_sent_again() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    rig.faults.fail_next_append(full());
    let requests: Vec<hark_protocol::Frame> =
        (1..=50).map(|id| publish(room, id, format!("message {id}")).into()).collect();
    ann.send_all(requests).await;
    let said = ann.barrier().await;
    let errors = every!(said, Error);
    assert_eq!(errors[0].code, ErrorCode::UNAVAILABLE);
    assert!(errors[1..].iter().all(|error| error.code == ErrorCode::PREDECESSOR_REFUSED), "{errors:?}");
    let refused = errors.len();
    let stored = every!(said, Published).len();
    assert!(refused > 0 && refused + stored == 50, "{refused} refused, {stored} stored");
    let acked = ann.publish_all(room, 1..=50).await;
    assert_eq!(acked.iter().filter(|published| published.duplicate).count(), stored);
    assert_eq!(ann.log(room).await.len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_can_not_be_trusted_fails_the_node_and_acknowledges_nothing_more() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let still_well = tokio::time::timeout(Duration::from_millis(50), rig.node.failed()).await;
    assert!(still_well.is_err(), "{still_well:?}");

    rig.faults.fail_next_append(StoreError::Fatal("a sync failed".into()));
    let unknown = ann.refusal(publish(room, 1, "gone")).await.code;
    assert_eq!(unknown, ErrorCode::INTERNAL, "whether it is stored nobody knows");
    let why = tokio::time::timeout(crate::rig::PATIENCE, rig.node.failed()).await.unwrap();
    assert!(why.contains("a sync failed"), "{why}");
    assert!(!rig.node.is_ready());
    // The next sync may well succeed, and still nobody knows what the disk holds.
    assert_eq!(ann.refusal(publish(room, 2, "after")).await.code, ErrorCode::PREDECESSOR_REFUSED);
    assert_eq!(ann.refusal(publish(room, 1, "gone")).await.code, ErrorCode::UNAVAILABLE);
    assert_eq!(ann.log(room).await.len(), 1);
    assert!(rig.shutdown().await.in_time);
}

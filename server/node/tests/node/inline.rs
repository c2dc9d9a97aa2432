//! A node without threads of its own: the stores are called in place, and what it answers is the same.

use std::sync::Arc;
use std::time::Duration;

use hark_protocol::{AuthMethod, Direction, Frame, Seq};
use hark_server::Executor;
use hark_server::executor::{Call, Pace};

use crate::rig::{PASSWORD, Rig, Setup, auth, events, every, hello, publish, the};

async fn inline(executor: Executor) -> Rig {
    Rig::build(Setup { executor, ..Setup::default() }).await
}

#[tokio::test]
async fn a_node_in_one_thread_serves_and_stores() {
    let rig = inline(Executor::inline()).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.follow(room).await;
    ann.send_all((1..=100).map(|id| publish(room, id, "cup").into()).collect::<Vec<Frame>>()).await;
    let said = ann.barrier().await;
    assert_eq!(every!(said.clone(), Published).len(), 100);
    assert_eq!(every!(said, Event).len(), 100);
    assert_eq!(events(&ann.page(room, Direction::BEFORE, 0, 1).await)[0].seq, Seq(101));
    rig.assert_healthy().await;
}

#[tokio::test]
async fn a_password_is_hashed_in_place() {
    let rig = inline(Executor::inline()).await;
    rig.account("ann");
    let mut peer = rig.stranger().await;
    the!(peer.ask(hello(&[], 0)).await, Welcome);
    the!(peer.ask(auth(AuthMethod::PASSWORD, "ann", PASSWORD)).await, Authenticated);
}

#[tokio::test]
async fn what_was_taken_is_stored_before_a_shutdown_returns() {
    struct SlowDisk;
    impl Pace for SlowDisk {
        fn before(&self, call: Call) -> Duration {
            Duration::from_millis(if call == Call::Append { 20 } else { 0 })
        }
        fn after(&self, call: Call) -> Duration {
            self.before(call)
        }
    }
    let rig = inline(Executor::Inline(Arc::new(SlowDisk))).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.send_all((1..=50).map(|id| publish(room, id, "bye").into()).collect::<Vec<Frame>>()).await;
    ann.next().await;
    let reader = rig.reader.clone();
    let shutdown = tokio::spawn(rig.shutdown());
    let acked = 1 + every!(ann.end().await, Published).len() as u64;
    assert!(shutdown.await.unwrap().in_time);
    let head = hark_core::ports::LogReader::room(&*reader, room).unwrap().unwrap().row.head;
    assert_eq!(head, Seq(1 + acked));
}

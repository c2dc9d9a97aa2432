//! Lag instead of loss: a reader that stalls costs a cursor, and everything comes when it reads again.

use hark_protocol::{Frame, From as Start, Seq, SubscribeItem};

use crate::rig::{Peer, Rig, Setup, every, in_room};

const READERS: usize = 20;
const MESSAGES: u64 = 3_000;
const WINDOW: u32 = 16;
const TAIL_BYTES: usize = 256 * 1024;

/// Reads and acknowledges until the head has come; what comes is dense.
async fn read_all(
    mut peer: Peer,
    room: hark_protocol::RoomId,
    epoch: hark_protocol::Epoch,
    head: u64,
) -> Peer {
    let mut next = 2;
    while next <= head {
        if let Frame::Event(event) = peer.news().await {
            assert_eq!(event.seq, Seq(next));
            if next % u64::from(WINDOW / 2) == 0 || next == head {
                peer.ack(room, epoch, event.seq).await;
            }
            next += 1;
        }
    }
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stalled_reader_among_many_costs_a_cursor_and_loses_nothing() {
    let rig = Rig::build(Setup { tail_bytes_max: TAIL_BYTES, ..Setup::default() }).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let narrow = SubscribeItem { window: WINDOW, ..in_room(room, Start::NOW, 0) };
    let mut stalled = rig.login("ann").await;
    let epoch = stalled.subscribe(narrow.clone()).await.epoch;
    let head = 1 + MESSAGES;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut peer = rig.login("ann").await;
        peer.subscribe(narrow.clone()).await;
        readers.push(tokio::spawn(read_all(peer, room, epoch, head)));
    }
    for first in (1..=MESSAGES).step_by(100) {
        ann.publish_all(room, first..first + 100).await;
    }
    let mut served = Vec::new();
    for reader in readers {
        served.push(reader.await.unwrap());
    }
    rig.until("only one lags", |rig| rig.number("hark_subscriptions_lagging") == 1).await;
    // What was written for it is its window; of the log, memory holds no more than the tails may.
    let events = u64::from(WINDOW) + READERS as u64 * MESSAGES;
    assert_eq!(rig.number("hark_frames_sent_total{type=\"EVENT\"}"), events);
    let heads_sent = |rig: &Rig| rig.number("hark_frames_sent_total{type=\"HEAD\"}");
    rig.until("it is told how far behind it is", |rig| heads_sent(rig) >= 1).await;

    let said = stalled.barrier().await;
    assert_eq!(every!(said, Event).len(), usize::try_from(WINDOW).unwrap());
    let heads = every!(said, Head);
    assert!(heads.is_sorted_by_key(|head| head.head), "{heads:?}");
    for head in &heads {
        assert_eq!(head.behind, head.head.0 - 1 - u64::from(WINDOW));
    }
    // It reads again: the rest comes, in order, from where it stood.
    stalled.ack(room, epoch, Seq(1 + u64::from(WINDOW))).await;
    let mut next = 2 + u64::from(WINDOW);
    while next <= head {
        if let Frame::Event(event) = stalled.news().await {
            assert_eq!(event.seq, Seq(next));
            stalled.ack(room, epoch, event.seq).await;
            next += 1;
        }
    }
    assert!(every!(stalled.barrier().await, Event).is_empty());
    rig.until("nobody lags", |rig| rig.number("hark_subscriptions_lagging") == 0).await;
}

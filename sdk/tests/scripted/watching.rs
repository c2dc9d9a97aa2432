//! Watching rooms: heads only, the latest word, and a position of one's own.

use std::time::Duration;

use hark_protocol::*;
use hark_sdk::{ClientEvent, EndReason, Reason, Start, Watch};

use crate::server::*;

fn head(head: u64, behind: u64) -> Head {
    Head { room: ROOM, epoch: EPOCH, head: Seq(head), behind }
}

async fn watch(room: &hark_sdk::Room, peer: &mut Peer, start: Start) -> (Watch, SubscribeItem) {
    let (watch, item) = tokio::join!(room.watch(start), async {
        let (correlation, item) = peer.subscribe().await;
        peer.send(correlation, exact(4, 10)).await;
        item
    });
    (watch.unwrap(), item)
}

async fn told(watch: &mut Watch) -> (u64, u64) {
    let update = within(10, watch.next()).await.expect("a word");
    (update.head.0, update.behind)
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_where_the_room_is_and_keeps_the_latest_word_only() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut watch, item) = watch(&room, &mut peer, Start::Cursor).await;
    assert_eq!((item.level, item.mode, item.from), (Level::HEADS, SubscriptionMode::DURABLE, From::CURSOR));
    assert_eq!(told(&mut watch).await, (10, 7));
    for seq in 11..=500 {
        peer.send(Correlation::NONE, head(seq, seq - 3)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(&mut watch).await, (500, 497));
}

#[tokio::test(start_paused = true)]
async fn marking_as_read_goes_as_far_as_the_head_was_told_and_outlives_the_connection() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut watch, _) = watch(&room, &mut peer, Start::Now).await;
    assert_eq!(told(&mut watch).await, (10, 7));
    for (mark, acknowledged) in [(6, 6), (99, 10)] {
        watch.mark_read(Seq(mark));
        let (_, frame) = peer.recv().await;
        assert_eq!(frame, Frame::Ack(Ack { room: ROOM, epoch: EPOCH, seq: Seq(acknowledged) }));
    }
    watch.mark_read(Seq(5));
    drop(peer);
    let mut peer = server.login().await;
    let (correlation, item) = peer.subscribe().await;
    assert_eq!((item.from, item.seq, item.level), (From::POSITION, Seq(10), Level::HEADS));
    peer.send(correlation, exact(11, 12)).await;
    assert_eq!(told(&mut watch).await, (12, 2));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_watched_room_breaks_the_protocol() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let (_watch, _) = watch(&room, &mut peer, Start::Now).await;
    let mut events = client.events();
    peer.send(Correlation::NONE, event(4)).await;
    let lost = within(10, futures_util::StreamExt::next(&mut events)).await.unwrap();
    assert!(matches!(&lost, ClientEvent::Reconnecting { reason: Reason::Protocol(_), .. }), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_says_why_and_a_dropped_one_is_taken_back() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut first, _) = watch(&room, &mut peer, Start::Now).await;
    let end =
        SubscriptionEnded { room: ROOM, epoch: EPOCH, seq: Seq(3), reason: hark_protocol::EndReason::KICKED };
    peer.send(Correlation::NONE, end).await;
    assert_eq!(told(&mut first).await, (10, 7));
    assert_eq!(within(10, first.next()).await, None);
    assert_eq!(first.ended(), Some(&EndReason::Kicked));
    let (second, _) = watch(&room, &mut peer, Start::Now).await;
    drop(second);
    assert!(matches!(peer.recv().await.1, Frame::Unsubscribe(_)));
}

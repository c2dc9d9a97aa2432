//! A slow application: the server waits, and memory does not grow.

use std::time::Duration;

use hark_protocol::*;
use hark_sdk::{RoomEvent, Start};

use crate::server::*;

/// A server's view of one subscription: it sends what credit allows.
struct Credit {
    sent: u64,
    acked: u64,
    window: u64,
}

async fn begin(server: &mut Server, window: u32) -> (hark_sdk::Client, hark_sdk::Events, Peer, Credit) {
    let (_, builder) = (0, server_builder(server).window(window));
    let (client, room, mut peer) = in_room(server, builder).await;
    let subscribing = async {
        let (correlation, item) = peer.subscribe().await;
        peer.send(correlation, exact(1, 1_000_000)).await;
        u64::from(item.window)
    };
    let (events, window) = tokio::join!(room.events(Start::Beginning), subscribing);
    (client, events.unwrap(), peer, Credit { sent: 0, acked: 0, window })
}

fn server_builder(server: &mut Server) -> hark_sdk::ClientBuilder<Memory> {
    let (replacement, builder) = Server::new();
    *server = replacement;
    builder
}

impl Credit {
    /// Sends as many events as credit allows.
    async fn spend(&mut self, peer: &mut Peer) {
        while self.sent < self.acked + self.window {
            self.sent += 1;
            peer.send(Correlation::NONE, event(self.sent)).await;
        }
    }

    /// Takes the next ACK, if one comes in time.
    async fn earn(&mut self, peer: &mut Peer) -> bool {
        match tokio::time::timeout(Duration::from_secs(5), peer.recv()).await {
            Ok((_, Frame::Ack(ack))) => {
                assert!(ack.seq.0 <= self.sent && ack.seq.0 > self.acked, "{ack:?}");
                self.acked = ack.seq.0;
                true
            }
            // The reader has what it wanted.
            Ok((_, Frame::Unsubscribe(_))) => false,
            Ok(other) => panic!("{other:?}"),
            Err(_) => false,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_takes_nothing_gives_no_credit() {
    let (mut server, _) = Server::new();
    let (_client, mut events, mut peer, mut credit) = begin(&mut server, 16).await;
    credit.spend(&mut peer).await;
    assert!(!credit.earn(&mut peer).await, "nothing was taken");
    let taken = async {
        for seq in 1..=9 {
            let Some(RoomEvent::Event(event)) = events.next().await else { panic!("an event") };
            assert_eq!(event.seq, Seq(seq));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    };
    let (earned, ()) = tokio::join!(credit.earn(&mut peer), taken);
    assert!(earned, "half a window was taken");
    assert_eq!(credit.acked, 8, "the ninth is still being worked on");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_everything_in_order() {
    let (mut server, _) = Server::new();
    let (_client, mut events, mut peer, mut credit) = begin(&mut server, 64).await;
    let reader = tokio::spawn(async move {
        for seq in 1..=2000 {
            let Some(RoomEvent::Event(event)) = events.next().await else { panic!("an event") };
            assert_eq!(event.seq, Seq(seq));
            if seq % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        }
    });
    let mut acks = 0;
    while !reader.is_finished() {
        credit.spend(&mut peer).await;
        acks += u32::from(credit.earn(&mut peer).await);
    }
    reader.await.unwrap();
    assert!((30..=80).contains(&acks), "about one ACK for half a window or a whole one, not {acks}");
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_acknowledged_soon_even_if_it_is_little() {
    let (mut server, _) = Server::new();
    let (client, mut events, mut peer, mut credit) = begin(&mut server, 64).await;
    for seq in 1..=3 {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    credit.sent = 3;
    for _ in 0..3 {
        events.next().await;
    }
    events.done();
    assert!(credit.earn(&mut peer).await);
    assert_eq!(credit.acked, 3);
    // What is taken just before the end is acknowledged in the last breath.
    peer.send(Correlation::NONE, event(4)).await;
    events.next().await;
    events.done();
    let closing = tokio::spawn(async move { client.close().await });
    let said = [peer.recv().await.1, peer.recv().await.1];
    assert!(matches!(&said, [Frame::Ack(ack), Frame::Close(_)] if ack.seq == Seq(4)), "{said:?}");
    drop(peer);
    closing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_credit_is_left() {
    let (mut server, _) = Server::new();
    let (client, _events, mut peer, _) = begin(&mut server, 16).await;
    let mut watching = client.events();
    for seq in 1..=200 {
        let sealed = Frame::from(event(seq)).encode(Correlation::NONE);
        // The client may have hung up by now.
        if tokio::io::AsyncWriteExt::write_all(&mut peer.stream, sealed.as_slice()).await.is_err() {
            break;
        }
    }
    let _ = tokio::io::AsyncWriteExt::flush(&mut peer.stream).await;
    let lost = within(10, futures_util::StreamExt::next(&mut watching)).await.unwrap();
    assert!(
        matches!(&lost, hark_sdk::ClientEvent::Reconnecting { reason: hark_sdk::Reason::Protocol(_), .. }),
        "{lost:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_behind_is_not_followed_on_before_it_has_caught_up() {
    let (mut server, _) = Server::new();
    let (_client, mut events, mut peer, mut credit) = begin(&mut server, 16).await;
    credit.spend(&mut peer).await;
    // All of it has arrived when a later request is answered.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(peer);
    let mut peer = server.login().await;
    assert!(tokio::time::timeout(Duration::from_secs(20), peer.recv()).await.is_err(), "sixteen events wait");
    for _ in 0..16 {
        events.next().await;
    }
    let asking = async {
        let (correlation, item) = peer.subscribe().await;
        assert_eq!((item.from, item.seq), (From::POSITION, Seq(16)));
        peer.send(correlation, exact(17, 20)).await;
        peer.send(Correlation::NONE, event(17)).await;
    };
    let (item, ()) = tokio::join!(events.next(), asking);
    assert!(matches!(item, Some(RoomEvent::Event(event)) if event.seq == Seq(17)));
}

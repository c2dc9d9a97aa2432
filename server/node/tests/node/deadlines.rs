//! Deadlines: silence, dribbles and peers that take nothing are given up, and nobody else suffers.

use std::time::{Duration, Instant};

use hark_protocol::{Correlation, ErrorCode, Frame, From as Start, Ping, Pong};

use crate::rig::{Peer, Rig, every, frames, hello, in_room, publish, the};

/// Waits for the end, which must come after `ms` and not much later.
async fn ends_after(began: Instant, ms: u64, peer: &mut Peer) -> ErrorCode {
    let code = peer.end_by_error().await.code;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(ms * 9 / 10), "ended after {took:?} instead of {ms} ms");
    assert!(took < Duration::from_millis(ms) + Duration::from_secs(4), "ended after {took:?}");
    code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_says_nothing_until_hello_is_overdue() {
    let rig = Rig::with(|limits| limits.hello_timeout_ms = 300).await;
    let began = Instant::now();
    let mut silent = rig.stranger().await;
    assert_eq!(ends_after(began, 300, &mut silent).await, ErrorCode::TIMEOUT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dribble_does_not_put_off_hello_or_the_login() {
    let rig = Rig::with(|limits| {
        limits.hello_timeout_ms = 300;
        limits.auth_timeout_ms = 600;
    })
    .await;
    let greeting = Frame::from(hello(&[], 0)).encode(Correlation(1));
    let began = Instant::now();
    let mut peer = rig.stranger().await;
    peer.send_bytes(greeting.as_slice()).await;
    the!(peer.answer(Correlation(1)).await, Welcome);
    let mut pings = tokio::time::interval(Duration::from_millis(50));
    for correlation in 1..=8 {
        pings.tick().await;
        let ping: Frame = Ping { data: hark_protocol::Blob::default() }.into();
        peer.send_bytes(ping.encode(Correlation(correlation)).as_slice()).await;
        the!(peer.answer(Correlation(correlation)).await, Pong);
    }
    assert_eq!(ends_after(began, 600, &mut peer).await, ErrorCode::TIMEOUT);

    let began = Instant::now();
    let mut peer = rig.stranger().await;
    for byte in &greeting.as_slice()[..6] {
        pings.tick().await;
        peer.try_send_bytes(&[*byte]).await;
    }
    assert_eq!(ends_after(began, 300, &mut peer).await, ErrorCode::TIMEOUT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_begins_has_to_end() {
    let rig = Rig::with(|limits| limits.frame_timeout_ms = 300).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let bytes = Frame::from(publish(room, 1, "never ends")).encode(Correlation(9));
    let began = Instant::now();
    let mut pieces = tokio::time::interval(Duration::from_millis(60));
    for byte in &bytes.as_slice()[..3] {
        ann.send_bytes(&[*byte]).await;
        pieces.tick().await;
    }
    assert_eq!(ends_after(began, 300, &mut ann).await, ErrorCode::TIMEOUT);
    let mut idle = rig.login("bob").await;
    rig.until("longer than a frame may take", |_| began.elapsed() > Duration::from_millis(900)).await;
    assert!(idle.barrier().await.is_empty(), "silence between frames is no frame");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_is_given_up_and_who_answers_is_not() {
    let rig = Rig::with(|limits| limits.heartbeat_interval_ms = 200).await;
    let mut answering = rig.login("ann").await;
    let mut mute = rig.login("bob").await;
    let began = Instant::now();
    let watch = tokio::spawn(async move {
        let mut pings = 0;
        while began.elapsed() < Duration::from_millis(1_500) {
            let (correlation, frame) = answering.next().await;
            let Frame::Ping(ping) = frame else { panic!("{frame:?}") };
            pings += 1;
            let pong: Frame = Pong { data: ping.data }.into();
            answering.send_bytes(pong.encode(correlation).as_slice()).await;
        }
        pings
    });
    let said = mute.end().await;
    let took = began.elapsed();
    let [Frame::Ping(_), Frame::Error(error), Frame::Close(close)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((error.code, close.code), (ErrorCode::HEARTBEAT, ErrorCode::HEARTBEAT));
    assert!(took >= Duration::from_millis(550) && took < Duration::from_secs(5), "given up after {took:?}");
    let pings = watch.await.unwrap();
    assert!((3..=8).contains(&pings), "{pings} PINGs in 1.5 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_is_a_sign_of_life() {
    let rig = Rig::with(|limits| limits.heartbeat_interval_ms = 200).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for id in 1..=10 {
        ticks.tick().await;
        ann.publish(room, id, "still here").await;
    }
    assert!(every!(ann.barrier().await, Ping).is_empty(), "nobody has to ask");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_is_ended_and_hurts_nobody() {
    let rig = Rig::with(|limits| {
        limits.write_timeout_ms = 300;
        limits.window_events_max = 100_000;
        limits.connection_window_events_max = 100_000;
    })
    .await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    let mut stuck = rig.login("bob").await;
    stuck.subscribe(in_room(room, Start::NOW, 0)).await;
    bob.follow(room).await;
    // What the sockets of both sides hold at most is far below 60 MB.
    let mut slowest = Duration::ZERO;
    for id in 1..=1_000 {
        let began = Instant::now();
        ann.publish(room, id, vec![7; 60_000]).await;
        slowest = slowest.max(began.elapsed());
        assert_eq!(bob.event().await.seq.0, id + 2);
    }
    assert!(slowest < Duration::from_secs(2), "a publish took {slowest:?}");
    rig.until("the reader that stopped is gone", |rig| rig.number("hark_connections") == 2).await;
    assert_eq!(rig.number("hark_subscriptions"), 1);
    let said = frames(&stuck.drain().await);
    assert!(every!(said, Event).len() < 1_000, "it was not served in full");
    rig.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_asks_and_never_reads_is_ended() {
    let rig = Rig::with(|limits| limits.write_timeout_ms = 300).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    for id in 1..=4 {
        ann.publish(room, id, vec![7; 60_000]).await;
    }
    let mut greedy = rig.login("ann").await;
    let asking = async {
        for _ in 0..1_000 {
            let correlation = greedy.next_correlation();
            let ask: Frame = hark_protocol::History {
                room,
                direction: hark_protocol::Direction::AFTER,
                epoch: hark_protocol::Epoch(0),
                seq: hark_protocol::Seq(0),
                limit: 0,
            }
            .into();
            greedy.try_send_bytes(ask.encode(correlation).as_slice()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking).await.expect("requests are taken or hung up on");
    rig.until("the reader is gone", |rig| rig.number("hark_connections") == 1).await;
    rig.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_counted_as_suspect_and_then_as_lost() {
    let rig = Rig::with(|limits| limits.heartbeat_interval_ms = 300).await;
    let mut ann = rig.login("ann").await;
    rig.until("it is suspect", |rig| rig.number("hark_connections_suspect") == 1).await;
    assert_eq!(rig.number("hark_peers_lost_total"), 0);
    ann.barrier().await;
    rig.until("it has spoken", |rig| rig.number("hark_connections_suspect") == 0).await;
    let said = ann.end().await;
    assert!(
        matches!(&said[..], [.., Frame::Error(error), Frame::Close(_)] if error.code == ErrorCode::HEARTBEAT)
    );
    assert_eq!(rig.number("hark_connections_suspect"), 0);
    assert_eq!((rig.number("hark_peers_suspected_total"), rig.number("hark_peers_lost_total")), (2, 1));
}

//! Losing connections: how that is noticed, when the client comes back, and when it does not.

use std::time::Duration;

use futures_util::StreamExt;
use hark_protocol::*;
use hark_sdk::{ClientEvent, ClientState, Reason, Reconnect, RoomEvent, Start};
use tokio::time::Instant;

use crate::server::*;

#[tokio::test(start_paused = true)]
async fn silence_is_noticed_by_heartbeat() {
    let (mut server, builder) = Server::new();
    server.limits = vec![(LimitId::HEARTBEAT_INTERVAL_MS, 200), (LimitId::HEARTBEAT_TIMEOUT_MS, 600)];
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    for _ in 0..20 {
        let (correlation, frame) = peer.recv().await;
        let Frame::Ping(ping) = frame else { panic!("{frame:?}") };
        peer.send(correlation, Pong { data: ping.data }).await;
    }
    assert_eq!(client.state(), ClientState::Connected);
    let begun = Instant::now();
    let mut events = client.events();
    assert!(matches!(within(10, events.next()).await, Some(ClientEvent::Suspect { .. })));
    let lost = within(10, events.next()).await.unwrap();
    assert!(matches!(lost, ClientEvent::Reconnecting { attempt: 1, reason: Reason::Silent, .. }), "{lost:?}");
    assert!(begun.elapsed() <= Duration::from_millis(900), "{:?}", begun.elapsed());
    let _peer = server.login().await;
    within(10, client.connected()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn any_byte_is_a_sign_of_life() {
    let (mut server, builder) = Server::new();
    server.limits = vec![(LimitId::HEARTBEAT_INTERVAL_MS, 200), (LimitId::HEARTBEAT_TIMEOUT_MS, 600)];
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    // One long frame, a byte at a time: never answered, never whole, and yet alive.
    let frame = EncodedFrame::new(Correlation(1), &Ping { data: "x".repeat(60).parse().unwrap() });
    for byte in &frame.as_slice()[..40] {
        peer.send_raw(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(client.state(), ClientState::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_never_finished_is_not_waited_for() {
    let (mut server, builder) = Server::new();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    let begun = Instant::now();
    let mut frame = EncodedFrame::new(Correlation::NONE, &event(1)).as_slice().to_vec();
    frame[12..16].copy_from_slice(&1_000_000u32.to_be_bytes());
    frame.resize(1000, 0);
    let mut events = client.events();
    let trickling = async {
        for byte in frame {
            peer.send_raw(&[byte]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        lost = events.next() => {
            assert!(matches!(&lost, Some(ClientEvent::Reconnecting { reason: Reason::Protocol(_), .. })), "{lost:?}");
        }
        () = trickling => panic!("it is waited for"),
    }
    assert!(begun.elapsed() < Duration::from_secs(200), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_servers_ping_is_answered_without_the_application() {
    let (mut server, builder) = Server::new();
    let (_client, _room, mut peer) = in_room(&mut server, builder).await;
    let ping = Ping { data: "anything".parse().unwrap() };
    peer.send(Correlation(77), ping.clone()).await;
    let (correlation, frame) = peer.recv().await;
    assert_eq!((correlation, frame), (Correlation(77), Frame::Pong(Pong { data: ping.data })));
}

#[tokio::test(start_paused = true)]
async fn goaway_lets_what_is_begun_be_finished_and_its_delay_is_kept() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let mut events = client.events();
    let begun_before = room.publish(hark_sdk::Draft::text("before"));
    let (correlation, _) = peer.publish().await;
    let away = GoAway {
        code: ErrorCode::SHUTTING_DOWN,
        reconnect_after_ms: 3000,
        addresses: List::default(),
        text: Line::default(),
    };
    let told = Instant::now();
    peer.send(Correlation::NONE, away).await;
    assert!(matches!(within(60, events.next()).await, Some(ClientEvent::GoingAway { .. })));
    let begun_after = room.publish(hark_sdk::Draft::text("after"));
    peer.published(correlation, 1).await;
    begun_before.await.unwrap();
    let said = peer.rest().await;
    assert!(matches!(&said[..], [Frame::Close(_)]), "{said:?}");
    let mut peer = server.login().await;
    let waited = told.elapsed();
    assert!(waited >= Duration::from_millis(2990) && waited < Duration::from_secs(4), "{waited:?}");
    let (correlation, publish) = peer.publish().await;
    assert_eq!(publish.body, "after".parse().unwrap());
    peer.published(correlation, 2).await;
    begun_after.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_after_goaway_is_left_alone_as_long_as_it_said() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let _unanswered = room.publish(hark_sdk::Draft::text("before"));
    peer.publish().await;
    let away = GoAway {
        code: ErrorCode::SHUTTING_DOWN,
        reconnect_after_ms: 3000,
        addresses: List::default(),
        text: Line::default(),
    };
    peer.send(Correlation::NONE, away).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(peer);
    assert!(!server.is_dialled_within(Duration::from_millis(2700)).await);
    server.login().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_servers_retry_after_is_kept() {
    let (mut server, builder) = Server::new();
    let (_client, _room, peer) = in_room(&mut server, builder).await;
    drop(peer);
    let mut peer = server.accept().await;
    let (correlation, _) = peer.recv().await;
    peer.send(correlation, error(ErrorCode::BUSY, 30_000)).await;
    assert!(!server.is_dialled_within(Duration::from_millis(29_900)).await);
    server.login().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_checksum_is_not_shown_and_the_connection_is_made_anew() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let subscribing = async {
        let (correlation, _) = peer.subscribe().await;
        peer.send(correlation, exact(1, 0)).await;
    };
    let (events, ()) = tokio::join!(room.events(Start::Now), subscribing);
    let mut events = events.unwrap();
    let mut broken = Frame::from(event(1)).encode(Correlation::NONE).as_slice().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    peer.send_raw(&broken).await;
    let said = peer.rest().await;
    assert!(matches!(&said[..], [Frame::Close(close)] if close.code == ErrorCode::BAD_CHECKSUM), "{said:?}");
    let mut peer = server.login().await;
    let (correlation, item) = peer.subscribe().await;
    assert_eq!(item.seq, Seq(0));
    peer.send(correlation, exact(1, 1)).await;
    peer.send(Correlation::NONE, event(1)).await;
    let RoomEvent::Event(shown) = within(60, events.next()).await.unwrap() else { panic!("an event") };
    assert_eq!(shown.text().unwrap(), "message 1");
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_four_gigabytes_ends_the_connection_before_it_is_read() {
    let (mut server, builder) = Server::new();
    let (_client, _room, mut peer) = in_room(&mut server, builder).await;
    let mut huge = EncodedFrame::new(Correlation::NONE, &event(1)).as_slice().to_vec();
    huge[12..16].copy_from_slice(&[0xff; 4]);
    peer.send_raw(&huge[..20]).await;
    let said = peer.rest().await;
    assert!(
        matches!(&said[..], [Frame::Close(close)] if close.code == ErrorCode::FRAME_TOO_LARGE),
        "{said:?}"
    );
    server.login().await;
}

#[tokio::test(start_paused = true)]
async fn refused_connections_are_tried_again_ever_more_rarely() {
    let (mut server, builder) = Server::new();
    let (client, _room, peer) = in_room(&mut server, builder).await;
    let mut events = client.events();
    let begun = Instant::now();
    drop(peer);
    for attempt in 1..=10 {
        drop(server.dialled().await);
        if attempt == 1 {
            assert!(begun.elapsed() <= Duration::from_secs(1));
        }
    }
    assert!(begun.elapsed() >= Duration::from_secs(12), "{:?}", begun.elapsed());
    let mut delays = Vec::new();
    while let Some(Some(event)) = futures_util::FutureExt::now_or_never(events.next()) {
        if let ClientEvent::Reconnecting { attempt, delay, .. } = event {
            delays.push(delay);
            assert_eq!(attempt as usize, delays.len());
            assert!(delay <= Duration::from_secs(60));
        }
    }
    assert!(delays.len() >= 9, "{delays:?}");
    let _peer = server.login().await;
    within(10, client.connected()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attempts_end_where_they_are_limited() {
    let (mut server, builder) = Server::new();
    let reconnect = Reconnect { attempts_max: Some(2), ..Reconnect::default() };
    let (client, room, peer) = in_room(&mut server, builder.reconnect(reconnect)).await;
    drop(peer);
    let waiting = tokio::spawn(async move { room.send("waits").await });
    for _ in 0..2 {
        drop(server.dialled().await);
    }
    assert!(matches!(within(60, client.connected()).await, Err(ClientState::Closed { .. })));
    assert!(waiting.await.unwrap().is_err());
    assert!(!server.is_dialled_within(Duration::from_secs(600)).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_error_of_the_server_is_told_as_the_reason() {
    let (mut server, builder) = Server::new();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    let mut events = client.events();
    peer.send(Correlation::NONE, error(ErrorCode::FLOOD, 2000)).await;
    let lost = within(10, events.next()).await.unwrap();
    let ClientEvent::Reconnecting { delay, reason, .. } = lost else { panic!("{lost:?}") };
    assert!(delay >= Duration::from_secs(2));
    assert!(matches!(reason, Reason::ClosedByServer { code: ErrorCode::FLOOD, .. }), "{reason:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_account_is_the_end() {
    let (mut server, builder) = Server::new();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    let mut events = client.events();
    peer.send(Correlation::NONE, error(ErrorCode::ACCOUNT_DISABLED, 0)).await;
    assert!(matches!(within(10, events.next()).await, Some(ClientEvent::Closed { .. })));
    assert!(!server.is_dialled_within(Duration::from_secs(600)).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_reads_is_given_up() {
    let (mut server, builder) = Server::new();
    server.limits = vec![(LimitId::HEARTBEAT_INTERVAL_MS, 200), (LimitId::HEARTBEAT_TIMEOUT_MS, 600)];
    let (_client, room, peer) = in_room(&mut server, builder).await;
    let outcomes: Vec<_> = (0..40).map(|_| room.publish(hark_sdk::Draft::text("x".repeat(60_000)))).collect();
    let mut second = server.login().await;
    second.publish().await;
    drop((peer, outcomes));
}

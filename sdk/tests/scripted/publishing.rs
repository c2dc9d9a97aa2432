//! Publishing: one outcome for each publish, in order, whatever happens to the connection.

use std::time::Duration;

use futures_util::future::join_all;
use hark_protocol::*;
use hark_sdk::{Draft, Offline, Reconnect, SendErrorKind};

use crate::server::*;

#[tokio::test(start_paused = true)]
async fn a_send_resolves_on_the_servers_word_only() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let sending = tokio::spawn(async move { room.send("hello").await });
    let (correlation, publish) = peer.publish().await;
    assert_eq!((publish.room, &publish.body[..]), (ROOM, &b"hello"[..]));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!sending.is_finished(), "nothing was answered yet");
    peer.send(correlation, published(4, true)).await;
    let sent = sending.await.unwrap().unwrap();
    assert_eq!((sent.seq, sent.epoch, sent.duplicate), (Seq(4), EPOCH, true));
    assert_eq!(sent.client_id, publish.client_id);
}

#[tokio::test(start_paused = true)]
async fn a_publish_whose_answer_was_lost_is_sent_again_under_its_client_id() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let sending = tokio::spawn(async move { room.send("once").await });
    let (_, first) = peer.publish().await;
    drop(peer);
    let mut peer = server.login().await;
    let (correlation, second) = peer.publish().await;
    assert_eq!(first, second);
    peer.send(correlation, published(1, true)).await;
    assert!(sending.await.unwrap().unwrap().duplicate);
    let late = tokio::time::timeout(Duration::from_secs(20), peer.publish()).await;
    assert!(late.is_err(), "it was answered: {late:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_fix_the_order_whenever_their_futures_are_polled() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let mut outcomes: Vec<_> = (0..300).map(|n| room.publish(Draft::text(format!("{n}")))).collect();
    outcomes.reverse();
    let waiting = tokio::spawn(join_all(outcomes));
    for n in 0..300 {
        let (correlation, publish) = peer.publish().await;
        assert_eq!(publish.body, format!("{n}").parse().unwrap());
        peer.published(correlation, n + 1).await;
    }
    let seqs: Vec<u64> = waiting.await.unwrap().into_iter().map(|sent| sent.unwrap().seq.0).collect();
    assert_eq!(seqs, (1..=300).rev().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_published_offline_is_sent_in_order_behind_what_was_unanswered() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let early: Vec<_> = (0..3).map(|n| room.publish(Draft::text(format!("{n}")))).collect();
    for _ in 0..3 {
        peer.publish().await;
    }
    drop(peer);
    while client.state() == hark_sdk::ClientState::Connected {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let late: Vec<_> = (3..6).map(|n| room.publish(Draft::text(format!("{n}")))).collect();
    let mut peer = server.login().await;
    for n in 0..6 {
        let (correlation, publish) = peer.publish().await;
        assert_eq!(publish.body, format!("{n}").parse().unwrap());
        peer.published(correlation, n + 1).await;
    }
    let sent = join_all(early.into_iter().chain(late)).await;
    assert!(sent.iter().zip(1..).all(|(sent, seq)| sent.as_ref().unwrap().seq == Seq(seq)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_queue_says_that_nothing_was_sent() {
    let (mut server, builder) = Server::new();
    let (client, room, peer) = in_room(&mut server, builder.offline(Offline::Refuse)).await;
    drop(peer);
    while client.state() == hark_sdk::ClientState::Connected {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = room.send("lost").await.unwrap_err();
    assert_eq!(refused.kind(), &SendErrorKind::Offline);
    assert!(refused.is_retryable() && refused.kind().is_definite());
    let mut peer = server.login().await;
    client.connected().await.unwrap();
    let sending = tokio::spawn(async move { room.send("kept").await });
    assert_eq!(peer.publish().await.1.body, "kept".parse().unwrap());
    drop(sending);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_or_waits_as_asked() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder.offline(Offline::Queue { max: 2 })).await;
    let first = room.publish(Draft::text("1"));
    let _second = room.publish(Draft::text("2"));
    let third = room.publish(Draft::text("3")).await.unwrap_err();
    assert_eq!(third.kind(), &SendErrorKind::QueueFull);
    let waiting = tokio::spawn({
        let room = room.clone();
        async move { room.reserve().await.unwrap().publish(Draft::text("4")).await }
    });
    let (correlation, _) = peer.publish().await;
    peer.publish().await;
    assert!(tokio::time::timeout(Duration::from_secs(5), peer.publish()).await.is_err());
    peer.published(correlation, 1).await;
    first.await.unwrap();
    let (correlation, fourth) = peer.publish().await;
    assert_eq!(fourth.body, "4".parse().unwrap());
    peer.published(correlation, 3).await;
    assert_eq!(waiting.await.unwrap().unwrap().seq, Seq(3));
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_servers_limit_never_leaves() {
    let (mut server, builder) = Server::new();
    server.limits.push((LimitId::BODY_BYTES, 1024));
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let refused = room.send("x".repeat(2048)).await.unwrap_err();
    assert_eq!(refused.kind(), &SendErrorKind::TooLarge { size: 2048, max: 1024 });
    let control = room.publish(Draft::new(Kind::JOIN, "x")).await.unwrap_err();
    assert_eq!(control.kind(), &SendErrorKind::NotPublishable);
    assert!(tokio::time::timeout(Duration::from_secs(5), peer.publish()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_definite_no_is_told_once_and_not_repeated() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    for code in [ErrorCode::CONFLICT, ErrorCode::NOT_MEMBER, ErrorCode::LIMIT] {
        let outcome = room.publish(Draft::text("no"));
        let (correlation, _) = peer.publish().await;
        peer.send(correlation, error(code, 0)).await;
        let refused = outcome.await.unwrap_err();
        assert_eq!(refused.is_retryable(), code.is_retryable());
        let SendErrorKind::Rejected(refusal) = refused.kind() else { panic!("{refused}") };
        assert_eq!(refusal.code, code);
        assert!(tokio::time::timeout(Duration::from_secs(90), peer.publish()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn too_fast_waits_as_long_as_the_server_says_and_keeps_the_order() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let outcomes: Vec<_> = (0..3).map(|n| room.publish(Draft::text(format!("{n}")))).collect();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (correlation, publish) = peer.publish().await;
        peer.send(correlation, error(ErrorCode::RATE, 4000)).await;
        ids.push(publish.client_id);
    }
    let begun = tokio::time::Instant::now();
    for (seq, id) in (1..).zip(ids) {
        let (correlation, publish) = peer.publish().await;
        assert!(begun.elapsed() >= Duration::from_millis(3990), "{:?}", begun.elapsed());
        assert_eq!(publish.client_id, id);
        peer.published(correlation, seq).await;
    }
    assert!(join_all(outcomes).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn too_fast_is_told_when_a_later_publish_was_stored() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (first, second) = (room.publish(Draft::text("1")), room.publish(Draft::text("2")));
    let (one, _) = peer.publish().await;
    let (two, _) = peer.publish().await;
    peer.send(one, error(ErrorCode::RATE, 1000)).await;
    peer.published(two, 1).await;
    assert_eq!(second.await.unwrap().seq, Seq(1));
    let refused = first.await.unwrap_err();
    assert!(matches!(refused.kind(), SendErrorKind::Rejected(refusal) if refusal.code == ErrorCode::RATE));
}

#[tokio::test(start_paused = true)]
async fn a_connection_given_up_for_good_leaves_what_was_sent_unknown_and_the_rest_unsent() {
    let (mut server, builder) = Server::new();
    server.limits.push((LimitId::REQUESTS_IN_FLIGHT, 2));
    let (_client, room, mut peer) = in_room(&mut server, builder.reconnect(Reconnect::never())).await;
    let (first, second) = (room.publish(Draft::text("1")), room.publish(Draft::text("2")));
    peer.publish().await;
    drop(peer);
    assert_eq!(first.await.unwrap_err().kind(), &SendErrorKind::Unknown);
    assert_eq!(second.await.unwrap_err().kind(), &SendErrorKind::Closed);
    assert_eq!(room.send("3").await.unwrap_err().kind(), &SendErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_unanswered_and_takes_leave() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let outcomes: Vec<_> = (0..5).map(|n| room.publish(Draft::text(format!("{n}")))).collect();
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    let mut correlations = Vec::new();
    for _ in 0..5 {
        correlations.push(peer.publish().await.0);
    }
    assert!(!closing.is_finished());
    assert_eq!(room.send("too late").await.unwrap_err().kind(), &SendErrorKind::Closed);
    for (correlation, seq) in correlations.into_iter().zip(1..) {
        peer.published(correlation, seq).await;
    }
    assert!(join_all(outcomes).await.iter().all(Result::is_ok));
    let (_, frame) = peer.recv().await;
    assert!(matches!(frame, Frame::Close(close) if close.disposition == Disposition::KEEP));
    drop(peer);
    within(10, closing).await.unwrap();
    assert_eq!(client.state(), hark_sdk::ClientState::Closed { reason: hark_sdk::Reason::Requested });
}

#[tokio::test(start_paused = true)]
async fn dropping_every_handle_finishes_what_is_unanswered_first() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let outcome = room.publish(Draft::text("last"));
    drop((client, room));
    let (correlation, _) = peer.publish().await;
    peer.published(correlation, 1).await;
    assert_eq!(outcome.await.unwrap().seq, Seq(1));
    assert!(matches!(peer.recv().await.1, Frame::Close(_)));
}

#[tokio::test(start_paused = true)]
async fn closing_loses_patience_with_a_server_that_does_not_answer() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let outcome = room.publish(Draft::text("1"));
    peer.publish().await;
    let begun = tokio::time::Instant::now();
    client.close_within(Duration::from_secs(3)).await;
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    assert_eq!(outcome.await.unwrap_err().kind(), &SendErrorKind::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_join_does_not_pass_what_was_published_into_its_room_before_it() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let sending = tokio::spawn(async move { room.send("kicked meanwhile").await });
    let (_, first) = peer.publish().await;
    let joining = tokio::spawn({
        let client = client.clone();
        async move { client.join("tea").await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(peer); // the answer, NOT_MEMBER, is lost with it
    let mut peer = server.login().await;
    let (correlation, again) = peer.publish().await;
    assert_eq!(again, first, "as long as nobody knows what became of it, nothing lets it in");
    peer.send(correlation, error(ErrorCode::NOT_MEMBER, 0)).await;
    assert!(sending.await.unwrap().is_err());
    match peer.recv().await {
        (correlation, Frame::RoomJoin(_)) => peer.published(correlation, 7).await,
        other => panic!("ROOM_JOIN, not {other:?}"),
    }
    joining.await.unwrap().unwrap();
}

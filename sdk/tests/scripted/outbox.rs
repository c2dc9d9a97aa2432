//! The outbox: what is kept outlives the application, and whoever gives a publish up knows what that means.

use std::path::Path;
use std::time::Duration;

use hark_protocol::*;
use hark_sdk::{
    ConnectErrorKind, Draft, Outbox, OutboxOptions, OutboxProblem, Outcome, Reconnect, SendErrorKind, Settled,
};
use tokio::time::timeout;

use crate::server::*;

/// What an application that dies now leaves behind: its folder as it is, without its lock.
pub(crate) fn left_behind(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for folder in std::fs::read_dir(dir).unwrap() {
        let folder = folder.unwrap();
        let into = copy.path().join(folder.file_name());
        std::fs::create_dir(&into).unwrap();
        std::fs::copy(folder.path().join("outbox.log"), into.join("outbox.log")).unwrap();
    }
    copy
}

pub(crate) async fn next(outbox: &Outbox) -> Settled {
    within(60, outbox.settled()).await.expect("an outcome")
}

/// Waits until nothing comes any more, however long that takes.
pub(crate) async fn is_silent(peer: &mut Peer) -> bool {
    timeout(Duration::from_secs(300), peer.publish()).await.is_err()
}

// A1, A9
#[tokio::test(start_paused = true)]
async fn what_was_queued_is_sent_by_the_next_process_under_the_same_ids_and_before_anything_new() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder.clone().outbox_dir(dir.path())).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let mut publishing = room.publish(Draft::text(format!("{n}")));
        ids.push(within(60, publishing.queued()).await.unwrap());
    }
    // The first is answered, the second stored and its answer lost; the third arrived nowhere.
    let (correlation, _) = peer.publish().await;
    peer.published(correlation, 1).await;
    assert_eq!(next(&client.outbox()).await.client_id, ids[0]);
    let copy = left_behind(dir.path());

    let (mut server, builder) = Server::new();
    let (second, mut peer) = tokio::join!(builder.outbox_dir(copy.path()).connect(), server.login());
    let second = second.unwrap();
    let pending = second.outbox().pending().await.unwrap();
    assert!(pending.iter().all(|pending| pending.may_be_stored));
    let mut sent = Vec::new();
    while sent.last() != Some(&ids[3]) {
        let (correlation, publish) = peer.publish().await;
        let place = ids.iter().position(|id| *id == publish.client_id).unwrap();
        assert_eq!(publish.body, format!("{place}").parse().unwrap());
        peer.send(correlation, published(1 + place as u64, place < 2)).await;
        sent.push(publish.client_id);
        let settled = next(&second.outbox()).await;
        assert_eq!((settled.room, settled.client_id), (ROOM, publish.client_id));
        assert_eq!(matches!(settled.outcome, Outcome::Duplicate(_)), place < 2, "{settled:?}");
    }
    // The first may come again: that it was answered may not have reached the disk.
    assert!(sent == ids || sent == ids[1..], "{sent:?}");
    assert!(second.outbox().pending().await.unwrap().is_empty());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_new_publish_goes_behind_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let builder = builder.outbox_dir(dir.path());
    let (client, room, peer) = in_room(&mut server, builder.clone().reconnect(Reconnect::never())).await;
    let old: Vec<_> = (0..3).map(|n| room.publish(Draft::text(format!("old {n}")))).collect();
    let mut kept = Vec::new();
    for mut publishing in old {
        kept.push(within(60, publishing.queued()).await.unwrap());
        drop(publishing);
    }
    drop(peer);
    client.close().await;
    let (_client, room, mut peer) = {
        let (client, mut peer) = tokio::join!(builder.connect(), server.login());
        let client = client.unwrap();
        let (room, ()) = tokio::join!(client.room("tea"), async {
            for id in &kept {
                assert_eq!(peer.publish().await.1.client_id, *id);
            }
            peer.give_room().await;
        });
        (client, room.unwrap(), peer)
    };
    let _new = room.publish(Draft::text("new"));
    assert_eq!(peer.publish().await.1.body, "new".parse().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_without_an_answer_says_that_it_is_kept_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let builder = builder.outbox_dir(dir.path());
    let (client, room, mut peer) = in_room(&mut server, builder.clone()).await;
    let publishing = room.publish(Draft::text("unanswered"));
    let id = publishing.client_id().unwrap();
    peer.publish().await;
    client.close_within(Duration::from_secs(1)).await;
    let error = publishing.await.unwrap_err();
    assert_eq!(error.kind(), &SendErrorKind::Kept);
    assert!(!error.kind().is_definite());
    let (client, mut peer) = tokio::join!(builder.connect(), server.login());
    let (correlation, publish) = peer.publish().await;
    assert_eq!(publish.client_id, id);
    peer.send(correlation, published(5, true)).await;
    let outbox = client.unwrap().outbox();
    assert!(matches!(next(&outbox).await.outcome, Outcome::Duplicate(sent) if sent.seq == Seq(5)));
}

#[tokio::test(start_paused = true)]
async fn what_has_a_verdict_is_not_sent_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let builder = builder.outbox_dir(dir.path());
    let (client, room, mut peer) = in_room(&mut server, builder.clone()).await;
    let (stored, refused) = (room.publish(Draft::text("1")), room.publish(Draft::text("2")));
    let (correlation, _) = peer.publish().await;
    peer.published(correlation, 1).await;
    let (correlation, _) = peer.publish().await;
    peer.send(correlation, error(ErrorCode::NOT_MEMBER, 0)).await;
    assert!(matches!(stored.outcome().await, Outcome::Sent(_)));
    assert!(matches!(refused.outcome().await, Outcome::Rejected(_)));
    drop(peer);
    client.close().await;
    let (client, mut peer) = tokio::join!(builder.connect(), server.login());
    let client = client.unwrap();
    assert!(client.outbox().pending().await.unwrap().is_empty());
    assert!(is_silent(&mut peer).await);
}

// I5: whoever was told no is not proved wrong by the next process.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_on_the_disk_before_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder.outbox_dir(dir.path())).await;
    // Others without an answer: nothing else makes the outbox write.
    let open: Vec<_> = (0..3).map(|n| room.publish(Draft::text(format!("open {n}")))).collect();
    for _ in 0..3 {
        peer.publish().await;
    }
    let (refused, given_up) = (room.publish(Draft::text("no")), room.publish(Draft::text("regretted")));
    let (correlation, _) = peer.publish().await;
    let (_, regretted) = peer.publish().await;
    peer.send(correlation, error(ErrorCode::NOT_MEMBER, 0)).await;
    assert!(matches!(refused.outcome().await, Outcome::Rejected(_)));
    assert!(client.outbox().abandon(regretted.client_id).await.unwrap());
    let copy = left_behind(dir.path());
    assert_eq!(given_up.outcome().await, Outcome::Unknown);

    let (mut server, builder) = Server::new();
    let (second, mut peer) = tokio::join!(builder.outbox_dir(copy.path()).connect(), server.login());
    for publishing in &open {
        assert_eq!(Some(peer.publish().await.1.client_id), publishing.client_id());
    }
    assert!(is_silent(&mut peer).await);
    drop((second, client));
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_in_use_or_can_not_be_is_told_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let builder = builder.outbox_dir(dir.path());
    let (_client, _room, _peer) = in_room(&mut server, builder.clone()).await;
    let locked = builder.clone().connect().await.unwrap_err();
    assert!(
        matches!(locked.kind(), ConnectErrorKind::Outbox(OutboxProblem::Locked { .. }))
            && locked.is_retryable(),
        "{locked}"
    );
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let unusable = builder.outbox_dir(file).connect().await.unwrap_err();
    assert!(
        matches!(unusable.kind(), ConnectErrorKind::Outbox(OutboxProblem::Unusable { .. })),
        "{unusable}"
    );
    assert!(!server.is_dialled_within(Duration::from_secs(60)).await);
}

#[tokio::test(start_paused = true)]
async fn bounds_hold_for_entries_and_bytes_and_for_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = OutboxOptions { entries_max: 3, bytes_max: 100, ..OutboxOptions::new(dir.path()) };
    let (mut server, builder) = Server::new();
    let builder = builder.outbox(options);
    let (client, room, mut peer) = in_room(&mut server, builder.clone()).await;
    let mut first = room.publish(Draft::text("x".repeat(80)));
    first.queued().await.unwrap();
    assert_eq!(
        room.publish(Draft::text("x".repeat(21))).await.unwrap_err().kind(),
        &SendErrorKind::QueueFull
    );
    let (mut second, mut third) = (room.publish(Draft::text("2")), room.publish(Draft::text("3")));
    second.queued().await.unwrap();
    third.queued().await.unwrap();
    assert_eq!(room.publish(Draft::text("4")).await.unwrap_err().kind(), &SendErrorKind::QueueFull);
    drop(peer);
    client.close_within(Duration::ZERO).await;
    let (_client, room);
    (_client, room, peer) = {
        let (client, mut peer) = tokio::join!(builder.connect(), server.login());
        let client = client.unwrap();
        let (room, ()) = tokio::join!(client.room("tea"), async {
            for seq in 1..=3 {
                let (correlation, _) = peer.publish().await;
                if seq == 2 {
                    peer.published(correlation, seq).await;
                }
            }
            peer.give_room().await;
        });
        (client, room.unwrap(), peer)
    };
    let _fourth = room.publish(Draft::text("4"));
    assert_eq!(peer.publish().await.1.body, "4".parse().unwrap());
    assert_eq!(room.publish(Draft::text("5")).await.unwrap_err().kind(), &SendErrorKind::QueueFull);
}

// -- Giving up ----------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn without_an_answer_in_time_the_outcome_says_what_is_known() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder.send_within(Duration::from_secs(30))).await;
    let begun = tokio::time::Instant::now();
    let unanswered = room.publish(Draft::text("sent, not answered"));
    peer.publish().await;
    assert_eq!(unanswered.outcome().await, Outcome::Unknown);
    assert_eq!(begun.elapsed().as_secs(), 30);
    drop(peer);
    while client.state() == hark_sdk::ClientState::Connected {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let never_sent = room.publish(Draft::text("never sent").within(Duration::from_millis(1)));
    let later = room.publish(Draft::text("later"));
    assert_eq!(never_sent.outcome().await, Outcome::NotSent(SendErrorKind::Expired));
    let mut peer = server.login().await;
    let (correlation, publish) = peer.publish().await;
    assert_eq!((publish.body, publish.abandon), ("later".parse().unwrap(), false));
    peer.published(correlation, 1).await;
    assert!(matches!(later.outcome().await, Outcome::Sent(_)));
    assert!(is_silent(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_on_the_disk_outlives_its_time_and_its_verdict_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let builder = builder.outbox_dir(dir.path()).send_within(Duration::from_secs(5));
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let publishing = room.publish(Draft::text("slow"));
    let (correlation, publish) = peer.publish().await;
    assert_eq!(publishing.outcome().await, Outcome::Kept);
    assert_eq!(client.outbox().pending().await.unwrap()[0].client_id, publish.client_id);
    peer.published(correlation, 9).await;
    let settled = next(&client.outbox()).await;
    assert_eq!(settled.client_id, publish.client_id);
    assert!(matches!(settled.outcome, Outcome::Sent(sent) if sent.seq == Seq(9)));
    assert!(client.outbox().pending().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_not_sent_again_by_this_process_or_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let builder = builder.outbox_dir(dir.path());
    let (client, room, mut peer) = in_room(&mut server, builder.clone()).await;
    let publishing = room.publish(Draft::text("regretted"));
    let (_, publish) = peer.publish().await;
    assert!(client.outbox().abandon(publish.client_id).await.unwrap());
    assert!(!client.outbox().abandon(publish.client_id).await.unwrap());
    assert_eq!(publishing.outcome().await, Outcome::Unknown);
    drop(peer);
    let mut peer = server.login().await;
    assert!(is_silent(&mut peer).await);
    drop(peer);
    client.close().await;
    let (client, mut peer) = tokio::join!(builder.connect(), server.login());
    let client = client.unwrap();
    assert!(client.outbox().pending().await.unwrap().is_empty());
    assert!(is_silent(&mut peer).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_wait_for_an_outcome_can_ask_for_it_later() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let id = room.publish(Draft::text("1")).client_id().unwrap();
    let (correlation, _) = peer.publish().await;
    peer.published(correlation, 3).await;
    let settled = next(&client.outbox()).await;
    assert_eq!((settled.room, settled.client_id), (ROOM, id));
    drop(peer);
    client.close().await;
    assert_eq!(client.outbox().settled().await, None);
}

// -- Refusals that may pass -----------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_pipeline_goes_again_from_the_refused_one_on_in_its_order() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let outcomes: Vec<_> = (0..4).map(|n| room.publish(Draft::text(format!("{n}")))).collect();
    for n in 0..4 {
        let (correlation, _) = peer.publish().await;
        match n {
            0 => peer.published(correlation, 1).await,
            1 => peer.send(correlation, error(ErrorCode::UNAVAILABLE, 2000)).await,
            _ => peer.send(correlation, error(ErrorCode::PREDECESSOR_REFUSED, 0)).await,
        }
    }
    let begun = tokio::time::Instant::now();
    for n in 1..4 {
        let (correlation, publish) = peer.publish().await;
        assert!(begun.elapsed() >= Duration::from_millis(1990), "{:?}", begun.elapsed());
        assert_eq!((publish.body, publish.abandon), (format!("{n}").parse().unwrap(), false));
        peer.published(correlation, n + 1).await;
    }
    for (seq, outcome) in (1..).zip(outcomes) {
        assert_eq!(outcome.await.unwrap().seq, Seq(seq));
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_refused_publish_that_is_given_up_the_next_one_says_so() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let first = room.publish(Draft::text("1").within(Duration::from_secs(3)));
    let (second, third) = (room.publish(Draft::text("2")), room.publish(Draft::text("3")));
    for code in [ErrorCode::RATE, ErrorCode::PREDECESSOR_REFUSED, ErrorCode::PREDECESSOR_REFUSED] {
        let (correlation, _) = peer.publish().await;
        peer.send(correlation, error(code, 10_000)).await;
    }
    let Outcome::Rejected(refusal) = first.outcome().await else { panic!("a refusal") };
    assert_eq!((refusal.code, refusal.retryable), (ErrorCode::RATE, true));
    for (n, abandon) in [(2, true), (3, false)] {
        let (correlation, publish) = peer.publish().await;
        assert_eq!((publish.body, publish.abandon), (format!("{n}").parse().unwrap(), abandon));
        peer.published(correlation, n).await;
    }
    assert_eq!(second.await.unwrap().seq, Seq(2));
    assert_eq!(third.await.unwrap().seq, Seq(3));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_can_not_be_written_does_not_stop_another() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let _stuck = room.publish(Draft::text("stuck"));
    let (correlation, _) = peer.publish().await;
    peer.send(correlation, error(ErrorCode::UNAVAILABLE, 60_000)).await;
    let (other, ()) = tokio::join!(client.room("coffee"), peer.give_room_as(RoomId(8)));
    let other = other.unwrap();
    let _behind = room.publish(Draft::text("behind"));
    let free = other.publish(Draft::text("free"));
    let (correlation, publish) = peer.publish().await;
    assert_eq!(publish.room, RoomId(8));
    peer.send(correlation, Published { room: RoomId(8), ..published(1, false) }).await;
    assert!(free.await.is_ok());
    let begun = tokio::time::Instant::now();
    for text in ["stuck", "behind"] {
        assert_eq!(peer.publish().await.1.body, text.parse().unwrap());
    }
    assert!(begun.elapsed() >= Duration::from_secs(59));
}

#[tokio::test(start_paused = true)]
async fn what_changes_a_room_otherwise_waits_for_the_publishes_before_it() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let last_words = room.publish(Draft::text("last words"));
    let leaving = tokio::spawn({
        let room = room.clone();
        async move { room.leave().await }
    });
    let (correlation, _) = peer.publish().await;
    peer.send(correlation, error(ErrorCode::RATE, 1000)).await;
    let (correlation, publish) = peer.publish().await;
    assert_eq!(publish.body, "last words".parse().unwrap());
    peer.published(correlation, 1).await;
    last_words.await.unwrap();
    let (correlation, frame) = peer.recv().await;
    assert!(matches!(frame, Frame::RoomLeave(_)), "{frame:?}");
    peer.published(correlation, 2).await;
    leaving.await.unwrap().unwrap();
}

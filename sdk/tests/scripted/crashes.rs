//! Applications that die at the worst moment: what they were told of a publish stays true, and the next one goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hark_protocol::*;
use hark_sdk::{
    Client, ConnectErrorKind, Draft, Offline, Outcome, Publishing, Reconnect, Room, SendErrorKind,
};
use tokio::time::timeout;

use crate::outbox::{is_silent, left_behind, next};
use crate::server::*;

/// What a process that begins with the folder as it is now would send, in order.
async fn left_for_the_next(dir: &Path) -> Vec<ClientId> {
    let copy = left_behind(dir);
    let (mut server, builder) = Server::new();
    let (client, _peer) = tokio::join!(builder.outbox_dir(copy.path()).connect(), server.login());
    let pending = client.unwrap().outbox().pending().await.unwrap();
    pending.into_iter().map(|pending| pending.client_id).collect()
}

/// The folder of an application that died with these bodies unanswered.
async fn died_with(bodies: &[String]) -> (tempfile::TempDir, Vec<ClientId>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let (_client, room, _peer) = in_room(&mut server, builder.outbox_dir(dir.path())).await;
    let mut ids = Vec::new();
    for body in bodies {
        ids.push(room.publish(Draft::text(body.clone())).queued().await.unwrap());
    }
    (left_behind(dir.path()), ids)
}

async fn goes_offline(client: &Client, peer: Peer) {
    drop(peer);
    while client.state() == hark_sdk::ClientState::Connected {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The one folder in the outbox's.
fn account_folder(dir: &Path) -> PathBuf {
    std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path()
}

// -- What was told is on the disk ---------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Rejected,
    TooLargeAtOnce,
    TooLargeAfterAReconnect,
    Offline,
    Closed,
    Abandoned,
    AbandonedInFlight,
}

const EVERY: [Told; 7] = [
    Told::Rejected,
    Told::TooLargeAtOnce,
    Told::TooLargeAfterAReconnect,
    Told::Offline,
    Told::Closed,
    Told::Abandoned,
    Told::AbandonedInFlight,
];

/// One publish that stays unanswered, another one that is told something, and the client that did it.
async fn tells(told: Told, dir: &Path) -> (Client, ClientId, ClientId, Outcome) {
    let (mut server, builder) = Server::new();
    server.limits.push((LimitId::BODY_BYTES, 1000));
    let offline = if told == Told::Offline { Offline::Refuse } else { Offline::Queue { max: 9 } };
    let builder = builder.outbox_dir(dir).offline(offline);
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let first = room.publish(Draft::text("1")).queued().await.unwrap();
    peer.publish().await;
    let publish = |size: usize| room.publish(Draft::text("x".repeat(size)));
    let second = match told {
        Told::Rejected => {
            let second = publish(900);
            let (correlation, _) = peer.publish().await;
            peer.send(correlation, error(ErrorCode::NOT_MEMBER, 0)).await;
            second
        }
        Told::TooLargeAtOnce => publish(1001),
        Told::TooLargeAfterAReconnect => {
            goes_offline(&client, peer).await;
            let mut second = publish(900);
            second.queued().await.unwrap();
            server.limits.push((LimitId::BODY_BYTES, 899));
            server.limits.remove(server.limits.len() - 2);
            peer = server.login().await;
            peer.publish().await;
            second
        }
        Told::Offline => {
            goes_offline(&client, peer).await;
            publish(900)
        }
        Told::Closed => {
            let closing = client.clone();
            tokio::spawn(async move { closing.close().await });
            while client.state() == hark_sdk::ClientState::Connected {
                tokio::task::yield_now().await;
            }
            publish(900)
        }
        Told::Abandoned => {
            goes_offline(&client, peer).await;
            abandoned(&client, &room).await
        }
        Told::AbandonedInFlight => abandoned(&client, &room).await,
    };
    let id = second.client_id().unwrap();
    (client, first, id, within(60, second.outcome()).await)
}

async fn abandoned(client: &Client, room: &Room) -> Publishing {
    let mut second = room.publish(Draft::text("regretted"));
    let id = second.queued().await.unwrap();
    assert!(client.outbox().abandon(id).await.unwrap());
    second
}

#[tokio::test(start_paused = true)]
async fn whatever_was_told_of_a_publish_is_on_the_disk_though_another_one_is_outstanding() {
    for told in EVERY {
        let dir = tempfile::tempdir().unwrap();
        let (_client, first, second, outcome) = tells(told, dir.path()).await;
        let is_as_told = match told {
            Told::Rejected => matches!(outcome, Outcome::Rejected(_)),
            Told::TooLargeAtOnce | Told::TooLargeAfterAReconnect => {
                matches!(outcome, Outcome::NotSent(SendErrorKind::TooLarge { .. }))
            }
            Told::Offline => outcome == Outcome::NotSent(SendErrorKind::Offline),
            Told::Closed => outcome == Outcome::NotSent(SendErrorKind::Closed),
            Told::Abandoned => outcome == Outcome::NotSent(SendErrorKind::Abandoned),
            Told::AbandonedInFlight => {
                matches!(outcome, Outcome::Unknown | Outcome::NotSent(SendErrorKind::Abandoned))
            }
        };
        assert!(is_as_told, "{told:?}: {outcome:?}");
        let left = left_for_the_next(dir.path()).await;
        assert_eq!(left, [first], "{told:?}: {second:?} is not to be sent");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_abandoned_is_on_the_disk_when_the_abandoning_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let (client, room, peer) = in_room(&mut server, builder.outbox_dir(dir.path())).await;
    goes_offline(&client, peer).await;
    let first = room.publish(Draft::text("1")).queued().await.unwrap();
    let second = room.publish(Draft::text("2")).queued().await.unwrap();
    assert!(client.outbox().abandon(second).await.unwrap());
    let folder = left_behind(dir.path());
    assert!(!client.outbox().abandon(second).await.unwrap());
    assert_eq!(left_for_the_next(folder.path()).await, [first]);
    // Nobody waited for it, so it is among the outcomes.
    let settled = next(&client.outbox()).await;
    assert_eq!((settled.client_id, settled.outcome), (second, Outcome::NotSent(SendErrorKind::Abandoned)));
}

// -- The next process ---------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_was_left_in_several_rooms_keeps_the_order_of_each() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, builder) = Server::new();
    let (client, tea, mut peer) = in_room(&mut server, builder.outbox_dir(dir.path())).await;
    let (coffee, ()) = tokio::join!(client.room("coffee"), peer.give_room_as(RoomId(8)));
    let coffee = coffee.unwrap();
    let mut ids = Vec::new();
    for n in 0..200 {
        let room = if n % 3 == 0 { &coffee } else { &tea };
        ids.push((room.id(), room.publish(Draft::text(format!("{n}"))).queued().await.unwrap()));
    }
    let copy = left_behind(dir.path());
    let (mut server, builder) = Server::new();
    let (client, mut peer) = tokio::join!(builder.outbox_dir(copy.path()).connect(), server.login());
    let _client = client.unwrap();
    let mut sent = Vec::new();
    for seq in 1..=200 {
        let (correlation, publish) = peer.publish().await;
        sent.push((publish.room, publish.client_id));
        peer.send(correlation, Published { room: publish.room, ..published(seq, false) }).await;
    }
    for room in [ROOM, RoomId(8)] {
        let of = |all: &[(RoomId, ClientId)]| -> Vec<ClientId> {
            all.iter().filter(|(other, _)| *other == room).map(|(_, id)| *id).collect()
        };
        assert_eq!(of(&sent), of(&ids));
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_frame_of_this_server_can_carry_is_settled_and_does_not_end_the_connection() {
    let bodies = [50_000, 20_000, 5].map(|size| "x".repeat(size));
    let (dir, ids) = died_with(&bodies).await;
    let (mut server, builder) = Server::new();
    server.limits.extend([(LimitId::FRAME_BYTES, 32_768), (LimitId::BODY_BYTES, 10_000)]);
    let (client, mut peer) = tokio::join!(builder.outbox_dir(dir.path()).connect(), server.login());
    let client = client.unwrap();
    // What only its body is too large for may have been stored by the process that died: the server knows.
    for (seq, id) in (1..).zip(&ids[1..]) {
        let (correlation, publish) = peer.publish().await;
        assert_eq!(publish.client_id, *id);
        peer.send(correlation, published(seq, true)).await;
    }
    let mut outcomes = Vec::new();
    for _ in &ids {
        let settled = next(&client.outbox()).await;
        outcomes.push((settled.client_id, settled.outcome));
    }
    assert!(outcomes.contains(&(ids[0], Outcome::Unknown)), "{outcomes:?}");
    assert!(is_silent(&mut peer).await);
    assert!(client.outbox().pending().await.unwrap().is_empty());
    assert!(left_for_the_next(dir.path()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_does_not_keep_what_is_on_it_from_being_sent() {
    let (dir, ids) = died_with(&["1".to_owned(), "2".to_owned()]).await;
    // The file can not be written anew.
    let fresh = account_folder(dir.path()).join("outbox.new");
    std::fs::create_dir(&fresh).unwrap();
    std::fs::write(fresh.join("in the way"), "").unwrap();
    let (mut server, builder) = Server::new();
    let (client, mut peer) = tokio::join!(builder.outbox_dir(dir.path()).connect(), server.login());
    let client = client.unwrap();
    for (seq, id) in (1..).zip(&ids) {
        let (correlation, publish) = peer.publish().await;
        assert_eq!(publish.client_id, *id);
        peer.published(correlation, seq).await;
        assert_eq!(next(&client.outbox()).await.client_id, *id);
    }
    client.close().await;
    assert!(left_for_the_next(dir.path()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_to_connect_that_was_given_up_does_not_lock_the_next_one_out() {
    let (dir, ids) = died_with(&["1".to_owned()]).await;
    let (mut server, builder) = Server::new();
    let builder = builder.outbox_dir(dir.path()).reconnect(Reconnect::never());
    let attempt = timeout(Duration::from_secs(1), builder.clone().connect());
    let (attempt, silent) = tokio::join!(attempt, server.accept());
    assert!(attempt.is_err(), "the server is silent");
    let (refused, ()) = tokio::join!(builder.clone().connect(), async { drop(server.greet().await) });
    drop(silent);
    let refused = refused.unwrap_err();
    assert!(!matches!(refused.kind(), ConnectErrorKind::Outbox(_)), "{refused}");
    let (client, mut peer) = tokio::join!(builder.connect(), server.login());
    let _client = client.unwrap();
    assert_eq!(peer.publish().await.1.client_id, ids[0]);
}

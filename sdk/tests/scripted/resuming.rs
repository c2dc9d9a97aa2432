//! Sessions: taken up again on the next connection and by the next process, and left to whoever has taken them.

use std::time::Duration;

use futures_util::StreamExt;
use hark_protocol::*;
use hark_sdk::{
    BadExport, Client, ClientEvent, ConnectErrorKind, Origin, Reason, RoomEvent, SessionExport, Start, Trust,
};

use crate::server::*;

/// A client with a session, its room and the server's end of its connection.
async fn in_session(
    server: &mut Server,
    builder: hark_sdk::ClientBuilder<Memory>,
    token: &str,
) -> (Client, hark_sdk::Room, Peer) {
    let (client, mut peer) = tokio::join!(builder.connect(), async {
        let mut peer = server.greet().await;
        let (correlation, auth) = peer.recv().await;
        assert!(matches!(auth, Frame::Auth(_)), "{auth:?}");
        peer.send(correlation, session(token, false)).await;
        peer
    });
    let client = client.expect("the login succeeds");
    let (room, ()) = tokio::join!(client.room("tea"), peer.give_room());
    (client.clone(), room.expect("the room is there"), peer)
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_again_with_the_newest_token() {
    let (mut server, builder) = Server::new();
    let (client, _room, peer) = in_session(&mut server, builder, "one").await;
    drop(peer);
    let peer = server.resume("one", "two").await;
    drop(peer);
    // The answer is lost with its connection: the token that was shown is shown again.
    let mut peer = server.greet().await;
    peer.resume("two").await;
    drop(peer);
    let _peer = server.resume("two", "three").await;
    within(10, client.connected()).await.unwrap();
    assert!(client.account().resumed);
    assert_eq!(client.account().session_lifetime, Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_no_more_is_followed_by_a_login_on_the_same_connection() {
    let (mut server, builder) = Server::new();
    let (client, _room, peer) = in_session(&mut server, builder, "one").await;
    drop(peer);
    let mut peer = server.greet().await;
    let correlation = peer.resume("one").await;
    peer.send(correlation, error(ErrorCode::SESSION_EXPIRED, 0)).await;
    let (correlation, auth) = peer.recv().await;
    assert!(matches!(auth, Frame::Auth(_)), "{auth:?}");
    peer.send(correlation, session("new", false)).await;
    within(10, client.connected()).await.unwrap();
    assert!(!client.account().resumed);
    drop(peer);
    server.resume("new", "newer").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_has_taken_the_session_up_is_not_driven_out() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_session(&mut server, builder, "one").await;
    let mut events = client.events();
    peer.send(Correlation::NONE, error(ErrorCode::SESSION_REPLACED, 0)).await;
    let ended = within(10, events.next()).await.unwrap();
    assert_eq!(ended, ClientEvent::Closed { reason: Reason::SessionReplaced });
    assert!(room.send("nobody hears this").await.is_err());
    assert!(!server.is_dialled_within(Duration::from_secs(3600)).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_its_own_late_resume_has_driven_out_logs_in_anew() {
    let (mut server, builder) = Server::new();
    let (client, _room, peer) = in_session(&mut server, builder, "one").await;
    drop(peer);
    let mut given_up = server.greet().await;
    given_up.resume("one").await;
    drop(given_up);
    let mut peer = server.resume("one", "two").await;
    within(10, client.connected()).await.unwrap();
    // The first RESUME is carried out only now, and takes the session from the second.
    peer.send(Correlation::NONE, error(ErrorCode::SESSION_REPLACED, 0)).await;
    let mut peer = server.greet().await;
    let (correlation, auth) = peer.recv().await;
    assert!(matches!(auth, Frame::Auth(_)), "{auth:?}");
    peer.send(correlation, session("three", false)).await;
    within(10, client.connected()).await.unwrap();
    // Once the newest token has been used, whoever takes the session is somebody else.
    drop(peer);
    let mut peer = server.resume("three", "four").await;
    let mut events = client.events();
    peer.send(Correlation::NONE, error(ErrorCode::SESSION_REPLACED, 0)).await;
    while within(10, events.next()).await.unwrap()
        != (ClientEvent::Closed { reason: Reason::SessionReplaced })
    {}
    assert!(!server.is_dialled_within(Duration::from_secs(3600)).await);
}

// A11
#[tokio::test(start_paused = true)]
async fn a_bot_that_restarts_sees_nothing_again_and_misses_nothing() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_session(&mut server, builder, "one").await;
    let (events, ()) = tokio::join!(room.events_from_saved(Start::Now), async {
        let (correlation, item) = peer.subscribe().await;
        assert_eq!(item.from, From::NOW, "nothing was saved yet");
        peer.send(correlation, exact(6, 5)).await;
    });
    let mut events = events.unwrap();
    assert_eq!(client.export_session().await.position(ROOM).unwrap().seq, Seq(5));
    for seq in 6..=9 {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    for seq in 6..=8 {
        let RoomEvent::Event(event) = within(10, events.next()).await.unwrap() else { panic!("an event") };
        assert_eq!((event.seq, event.origin), (Seq(seq), Origin::Live));
    }
    // The eighth was handed out and is still being worked on: it comes again. The seventh does not.
    let text = client.export_session().await.expose();
    drop((client, room, events, peer));

    let export: SessionExport = text.parse().unwrap();
    assert_eq!(export.position(ROOM).unwrap().seq, Seq(7));
    let (mut server, builder) = Server::new();
    let builder = without_credentials(&server, builder).resume(export);
    let (client, mut peer) = tokio::join!(builder.connect(), server.resume("one", "two"));
    let client = client.unwrap();
    let (room, ()) = tokio::join!(client.room("tea"), peer.give_room());
    let room = room.unwrap();
    let (events, ()) = tokio::join!(room.events_from_saved(Start::Now), async {
        let (correlation, item) = peer.subscribe().await;
        assert_eq!((item.from, item.epoch, item.seq), (From::POSITION, EPOCH, Seq(7)));
        peer.send(correlation, exact(8, 10)).await;
    });
    let mut events = events.unwrap();
    for seq in 8..=11 {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    for seq in 8..=11 {
        let RoomEvent::Event(event) = within(10, events.next()).await.unwrap() else { panic!("an event") };
        assert_eq!(event.seq, Seq(seq));
        assert_eq!(event.origin, if seq <= 10 { Origin::Replay } else { Origin::Live });
    }
    // What was done counts, and so does the end of the client.
    events.done();
    tokio::join!(client.close(), async {
        peer.rest().await;
        drop(peer);
    });
    let export = client.export_session().await;
    assert_eq!(export.position(ROOM).unwrap().seq, Seq(11));
    assert!(export.expose().contains("\ntwo\n"));
}

/// A builder for the same server that has nobody to log in.
fn without_credentials(
    server: &Server,
    builder: hark_sdk::ClientBuilder<Memory>,
) -> hark_sdk::ClientBuilder<Memory> {
    let connector = server.connector();
    drop(builder);
    Client::builder(NAME).connector(connector).trust(Trust::CaPem(server.identity.ca_pem.clone()))
}

#[tokio::test(start_paused = true)]
async fn an_export_whose_session_is_no_more_says_so_where_there_are_no_credentials() {
    let (mut server, builder) = Server::new();
    let (client, _room, _peer) = in_session(&mut server, builder.clone(), "one").await;
    let export = client.export_session().await;
    let builder = without_credentials(&server, builder);
    let (refused, said) = tokio::join!(builder.clone().resume(export.clone()).connect(), async {
        let mut peer = server.greet().await;
        let correlation = peer.resume("one").await;
        peer.send(correlation, error(ErrorCode::SESSION_EXPIRED, 0)).await;
        peer.rest().await
    });
    assert_eq!(refused.unwrap_err().kind(), &ConnectErrorKind::SessionExpired);
    assert!(matches!(&said[..], [Frame::Close(_)]), "{said:?}");
    assert_eq!(builder.connect().await.unwrap_err().kind(), &ConnectErrorKind::Address, "nobody to log in");
}

#[tokio::test(start_paused = true)]
async fn an_export_is_good_for_its_own_server_and_account_only() {
    let (mut server, builder) = Server::new();
    let (client, _room, _peer) = in_session(&mut server, builder.clone(), "one").await;
    let export = client.export_session().await;
    let text = export.expose();
    let elsewhere: SessionExport = reseal(&text.replace(NAME, "other.example.org"));
    let somebody: SessionExport = reseal(&text.replace("\nann\n", "\nbob\n"));
    for export in [elsewhere, somebody] {
        let refused = builder.clone().resume(export).connect().await.unwrap_err();
        assert_eq!(refused.kind(), &ConnectErrorKind::Address, "{refused}");
    }
    assert_eq!("".parse::<SessionExport>(), Err(BadExport));
    assert!(!server.is_dialled_within(Duration::from_secs(60)).await);
}

/// A changed text with the checksum that fits it.
fn reseal(text: &str) -> SessionExport {
    let body = &text[..text.rfind("end ").unwrap()];
    let mut sum = !0u32;
    for byte in body.bytes() {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
    }
    format!("{body}end {:08x}\n", !sum).parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn ending_the_session_says_so_and_keeping_it_does_too() {
    for is_end in [true, false] {
        let (mut server, builder) = Server::new();
        let (client, _room, mut peer) = in_session(&mut server, builder, "one").await;
        let (ended, said) = tokio::join!(
            async {
                if is_end {
                    client.end_session().await.unwrap();
                } else {
                    client.close().await;
                }
            },
            async {
                let said = peer.recv().await.1;
                drop(peer);
                said
            }
        );
        let () = ended;
        let disposition = if is_end { Disposition::END } else { Disposition::KEEP };
        assert!(matches!(&said, Frame::Close(close) if close.disposition == disposition), "{said:?}");
    }
}

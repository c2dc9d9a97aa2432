//! Signs of life: doubt, recovery and loss, a network that changes, and an application that is stuck.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use hark_protocol::*;
use hark_sdk::{ClientEvent, ClientEvents, ClientState, Reason, RoomEvent, Start};
use tokio::time::Instant;

use crate::server::*;

const SHORT: [(LimitId, u64); 2] =
    [(LimitId::HEARTBEAT_INTERVAL_MS, 1000), (LimitId::HEARTBEAT_TIMEOUT_MS, 3000)];

async fn ping(peer: &mut Peer) -> (Correlation, Pong) {
    match peer.recv().await {
        (correlation, Frame::Ping(ping)) => (correlation, Pong { data: ping.data }),
        other => panic!("PING, not {other:?}"),
    }
}

async fn next(events: &mut ClientEvents) -> ClientEvent {
    within(3600, events.next()).await.expect("an event of the client")
}

#[tokio::test(start_paused = true)]
async fn silence_is_doubted_before_it_is_given_up_and_any_byte_ends_the_doubt() {
    let (mut server, builder) = Server::new();
    server.limits = SHORT.to_vec();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, begun) = (client.events(), Instant::now());
    ping(&mut peer).await;
    let ClientEvent::Suspect { silent_for } = next(&mut events).await else { panic!("doubt") };
    assert_eq!((begun.elapsed().as_secs(), silent_for.as_secs()), (2, 2));
    assert_eq!(client.state(), ClientState::Connected);
    peer.send(Correlation::NONE, event(1)).await;
    let ClientEvent::Recovered { silent_for } = next(&mut events).await else { panic!("recovery") };
    assert_eq!(silent_for.as_secs(), 2);
    assert!(matches!(next(&mut events).await, ClientEvent::Suspect { .. }));
    let lost = next(&mut events).await;
    assert!(matches!(&lost, ClientEvent::Reconnecting { reason: Reason::Silent, .. }), "{lost:?}");
    assert_eq!(begun.elapsed().as_secs(), 5, "three seconds after the last byte");
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_is_given_more_time_than_a_fast_one() {
    let (mut server, builder) = Server::new();
    server.limits = SHORT.to_vec();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    for _ in 0..12 {
        let (correlation, pong) = ping(&mut peer).await;
        tokio::time::sleep(Duration::from_millis(800)).await;
        peer.send(correlation, pong).await;
    }
    let (mut events, begun) = (client.events(), Instant::now());
    // Eight round trips until it is doubted, twenty-four until it is given up.
    assert!(matches!(next(&mut events).await, ClientEvent::Suspect { .. }));
    assert!(begun.elapsed() >= Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(matches!(next(&mut events).await, ClientEvent::Reconnecting { reason: Reason::Silent, .. }));
    let given = begun.elapsed();
    assert!(given >= Duration::from_secs(18) && given <= Duration::from_secs(20), "{given:?}");
}

// A10
#[tokio::test(start_paused = true)]
async fn a_network_that_is_back_ends_the_longest_wait_at_once() {
    let (mut server, builder) = Server::new();
    let (client, _room, peer) = in_room(&mut server, builder).await;
    let mut events = client.events();
    drop(peer);
    let mut longest = Duration::ZERO;
    while longest < Duration::from_secs(50) {
        if let ClientEvent::Reconnecting { delay, .. } = next(&mut events).await {
            longest = delay;
            if longest < Duration::from_secs(50) {
                drop(server.dialled().await);
            }
        }
    }
    let begun = Instant::now();
    client.network_changed();
    let _peer = server.login().await;
    within(1, client.connected()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_back_does_not_outvote_the_servers_own_word() {
    let (mut server, builder) = Server::new();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    let mut events = client.events();
    peer.send(Correlation::NONE, error(ErrorCode::FLOOD, 20_000)).await;
    assert!(matches!(next(&mut events).await, ClientEvent::Reconnecting { .. }));
    client.network_changed();
    assert!(!server.is_dialled_within(Duration::from_millis(19_900)).await);
    server.login().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_looks_alive_is_asked_when_the_network_has_changed() {
    let (mut server, builder) = Server::new();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    let mut events = client.events();
    client.network_changed();
    let begun = Instant::now();
    let (correlation, pong) = ping(&mut peer).await;
    assert!(begun.elapsed() < Duration::from_millis(10));
    peer.send(correlation, pong).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(client.state(), ClientState::Connected);
    client.network_changed();
    let begun = Instant::now();
    ping(&mut peer).await;
    let lost = next(&mut events).await;
    assert!(matches!(&lost, ClientEvent::Reconnecting { reason: Reason::Silent, .. }), "{lost:?}");
    assert!(begun.elapsed() <= Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_stuck_neither_stops_pongs_nor_acknowledges_anything() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder.window(4)).await;
    let subscribing = async {
        let (correlation, item) = peer.subscribe().await;
        peer.send(correlation, exact(1, 100)).await;
        item.window
    };
    let (events, window) = tokio::join!(room.events(Start::Beginning), subscribing);
    let mut events = events.unwrap();
    // Its handler has the first event and does not come back.
    for seq in 1..=u64::from(window) {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    let RoomEvent::Event(_) = within(10, events.next()).await.unwrap() else { panic!("an event") };
    for n in 1..=20u32 {
        peer.send(Correlation(n), Ping { data: n.to_string().parse().unwrap() }).await;
        let (correlation, frame) = peer.recv().await;
        assert_eq!(
            (correlation, frame),
            (Correlation(n), Frame::Pong(Pong { data: n.to_string().parse().unwrap() }))
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert!(peer.recv().now_or_never().is_none(), "nothing was taken, so nothing is acknowledged");
}

#[tokio::test(start_paused = true)]
async fn other_addresses_of_the_service_are_tried_in_turn_and_then_its_own() {
    let (mut server, builder) = Server::new();
    let (client, _room, mut peer) = in_room(&mut server, builder).await;
    let away = GoAway {
        code: ErrorCode::SHUTTING_DOWN,
        reconnect_after_ms: 2000,
        addresses: List::truncated(
            ["one.example.org:1", "not an address", "two.example.org"].map(Line::lossy).to_vec(),
        ),
        text: Line::default(),
    };
    peer.send(Correlation::NONE, away).await;
    let told = Instant::now();
    peer.rest().await;
    drop(server.dialled().await);
    assert!(told.elapsed() >= Duration::from_millis(1990), "{:?}", told.elapsed());
    drop(server.dialled().await);
    drop(server.dialled().await);
    let peer = server.login().await;
    within(10, client.connected()).await.unwrap();
    let own = format!("{NAME}:4275");
    let tried = ["one.example.org:1", "two.example.org:4275", &own, "one.example.org:1"];
    assert_eq!(server.addresses.lock().unwrap()[1..], tried);
    // Where somebody answered the client comes back first.
    drop(peer);
    server.login().await;
    assert_eq!(server.addresses.lock().unwrap().last().unwrap(), "one.example.org:1");
}

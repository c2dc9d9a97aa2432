//! Shutdown: everybody is told, what has begun is finished, and then it is over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hark_protocol::{ErrorCode, Frame};
use tokio::net::TcpStream;

use crate::rig::{PATIENCE, Rig, client_id, every, publish};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_told_to_come_back_and_what_they_have_begun_is_answered() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let mut idle = rig.login("bob").await;
    let mut stranger = rig.greeted().await;
    let (address, reader) = (rig.address, rig.reader.clone());

    let requests: Vec<Frame> = (1..=100).map(|id| publish(room, id, "bye").into()).collect();
    ann.send_all(requests).await;
    let (_, first) = ann.next().await; // they came in one write, so all of them have been read
    let began = Instant::now();
    let shutdown = tokio::spawn(rig.shutdown());

    let mut said = ann.end().await;
    said.insert(0, first);
    assert_eq!(every!(said, Published).len(), 100);
    let goaway = every!(said, GoAway);
    assert_eq!(goaway.len(), 1);
    assert_eq!(goaway[0].code, ErrorCode::SHUTTING_DOWN);
    assert!(matches!(said.last(), Some(Frame::Close(close)) if close.code == ErrorCode(0)), "{said:?}");

    let said = idle.end().await;
    assert!(matches!(&said[..], [Frame::GoAway(_), Frame::Close(_)]), "{said:?}");
    let said = stranger.end().await;
    assert!(matches!(said.last(), Some(Frame::Close(_))), "{said:?}");

    let report = shutdown.await.unwrap();
    assert_eq!((report.connections, report.in_time), (3, true));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    let room = hark_core::ports::LogReader::room(&*reader, room).unwrap().unwrap();
    assert_eq!(room.row.head.0, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_publish_is_acknowledged_or_not_stored() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let reader = rig.reader.clone();
    let requests: Vec<Frame> = (1..=5_000).map(|id| publish(room, id, "flood").into()).collect();
    ann.send_all(requests).await;
    ann.next().await;
    let report = tokio::spawn(rig.shutdown());
    let said = ann.end().await;
    assert!(report.await.unwrap().in_time);
    let acked = 1 + every!(said, Published).len() as u64;
    let head = hark_core::ports::LogReader::room(&*reader, room).unwrap().unwrap().row.head.0;
    assert_eq!(head, 1 + acked, "what was not acknowledged is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_to_come_back_are_spread() {
    let rig = Rig::start().await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(rig.login("ann").await);
    }
    let shutdown = tokio::spawn(rig.shutdown());
    let mut times = BTreeSet::new();
    for peer in &mut peers {
        let said = peer.end().await;
        times.insert(every!(said, GoAway)[0].reconnect_after_ms);
    }
    assert!(times.len() >= 15, "{times:?}");
    assert!(times.iter().all(|ms| u128::from(*ms) <= PATIENCE.as_millis()), "{times:?}");
    shutdown.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_does_not_hold_up_the_end() {
    let rig = Rig::with(|limits| {
        limits.window_events_max = 100_000;
        limits.connection_window_events_max = 100_000;
    })
    .await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let mut stuck = rig.login("ann").await;
    stuck.subscribe(crate::rig::in_room(room, hark_protocol::From::NOW, 0)).await;
    for id in 1..=400 {
        ann.publish(room, id, vec![7; 60_000]).await;
    }
    assert_eq!(ann.log(room).await.last().unwrap().client_id, client_id(400));
    let began = Instant::now();
    let report = rig.node.shutdown(Duration::from_secs(1)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((report.connections, report.in_time), (2, false));
    assert_eq!(metrics(&rig.metrics, "hark_connections"), 0, "whoever takes nothing is hung up on");
}

fn metrics(metrics: &hark_server::metrics::Metrics, name: &str) -> u64 {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn farewells_are_spread_and_whoever_is_not_told_yet_is_served() {
    let rig = Rig::start().await;
    let mut peers = Vec::new();
    for _ in 0..200 {
        peers.push(rig.login("ann").await);
    }
    let room = peers[199].create_room("tea").await;
    let reader = rig.reader.clone();
    let shutdown = tokio::spawn(rig.shutdown());
    let mut last = peers.pop().unwrap();
    // The first has been told while the last, 398 ms later, still publishes.
    let mut first = peers.remove(0);
    assert_eq!(every!(first.end().await, GoAway).len(), 1);
    let acked = last.publish(room, 1, "not yet").await;
    let said = last.end().await;
    let goaway = every!(said, GoAway);
    assert!(goaway[0].reconnect_after_ms > 1_000, "behind all others: {goaway:?}");
    let mut times = Vec::new();
    for peer in &mut peers {
        times.push(every!(peer.end().await, GoAway)[0].reconnect_after_ms);
    }
    assert!(times.iter().all(|ms| *ms <= 2_400), "{times:?}");
    assert!(times.iter().collect::<BTreeSet<_>>().len() > 150, "{times:?}");
    assert!(shutdown.await.unwrap().in_time);
    let room = hark_core::ports::LogReader::room(&*reader, room).unwrap().unwrap();
    assert_eq!(room.row.head, acked.seq);
}

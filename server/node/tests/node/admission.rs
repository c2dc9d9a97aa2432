//! How many connections there may be, and what one too many is told.

use std::time::Duration;

use hark_protocol::{ErrorCode, LimitId};
use tokio::net::TcpStream;

use crate::rig::{PATIENCE, Rig, hello, the};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_told_so_at_once() {
    let rig = Rig::with(|limits| limits.connections_max = 2).await;
    let first = rig.login("ann").await;
    let mut second = rig.login("bob").await;
    for _ in 0..3 {
        let error = rig.stranger().await.end_by_error().await; // without having said anything
        assert_eq!((error.code, error.limit, error.limit_value), (ErrorCode::BUSY, LimitId::CONNECTIONS, 2));
        assert!(error.retryable && error.retry_after_ms > 0, "{error:?}");
    }
    assert!(second.barrier().await.is_empty());
    first.vanish();
    rig.until("there is room", |rig| rig.number("hark_connections") == 1).await;
    rig.login("ann").await;
    assert_eq!(rig.number("hark_connections_refused_total{reason=\"connections\"}"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections() {
    let rig = Rig::with(|limits| limits.connections_per_address_max = 1).await;
    let _first = rig.login("ann").await;
    let error = rig.stranger().await.end_by_error().await;
    assert_eq!((error.code, error.limit), (ErrorCode::BUSY, LimitId::CONNECTIONS_PER_ADDRESS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_have_places_of_their_own() {
    let rig = Rig::with(|limits| limits.unauthenticated_per_address_max = 2).await;
    let mut first = rig.stranger().await;
    let second = rig.stranger().await;
    assert_eq!(rig.stranger().await.end_by_error().await.code, ErrorCode::BUSY);
    // Logging in frees the place, and so does going away.
    let token = rig.device_token("ann");
    the!(first.ask(hello(&[], 0)).await, Welcome);
    let auth = crate::rig::auth(hark_protocol::AuthMethod::DEVICE_TOKEN, "ann", &token);
    the!(first.ask(auth).await, Authenticated);
    let third = rig.greeted().await;
    assert_eq!(rig.stranger().await.end_by_error().await.code, ErrorCode::BUSY);
    second.vanish();
    third.vanish();
    rig.until("they are gone", |rig| rig.number("hark_connections") == 1).await;
    rig.login("bob").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_never_shake_hands_do_not_keep_others_out() {
    let rig = Rig::with(|limits| limits.tls_timeout_ms = 1_000).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(rig.address).await.unwrap());
    }
    let login = rig.login("ann");
    tokio::time::timeout(Duration::from_secs(2), login).await.expect("a good client gets in");
    rig.until("they are given up", |rig| rig.number("hark_connections") == 0).await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_leaves_nothing_behind() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let token = rig.device_token("bob");
    rig.login("bob").await.join("tea", 1).await;
    for round in 0..200 {
        let mut bob = rig.login_by_token("bob", &token, Default::default()).await;
        match round % 3 {
            0 => bob.vanish(),
            1 => drop(bob),
            _ => {
                bob.follow(room).await;
                bob.vanish();
            }
        }
    }
    rig.until("only ann is left", |rig| rig.number("hark_connections") == 1).await;
    assert_eq!(rig.number("hark_subscriptions"), 0);
    ann.barrier().await;
    let report = tokio::time::timeout(PATIENCE, rig.shutdown()).await.unwrap();
    assert!(report.in_time && report.connections == 1, "{report:?}");
}

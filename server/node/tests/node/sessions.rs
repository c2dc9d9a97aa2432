//! Sessions: taking one up again, one connection at a time, and what makes its tokens worthless.

use std::time::{Duration, Instant};

use hark_core::Limits;
use hark_core::ports::{Directory, NewAccount, NewDevice, PasswordHash, StoreError};
use hark_protocol::{
    AccountName, AccountRole, Auth, AuthMethod, Authenticated, Capability, Close, Correlation, Disposition,
    ErrorCode, Frame, From as Start, LimitId, Line, PresenceMode, PresenceState, Resume, Secret, UnixMillis,
};
use hark_server::Node;
use hark_server::token::token_hash;

use crate::rig::{Login, PASSWORD, Peer, Rig, auth, hello, in_room, server_config, the};

fn resume(token: &str) -> Resume {
    Resume { session_token: Secret::parse(token).unwrap(), presence: PresenceMode::HIDDEN }
}

fn close(disposition: Disposition) -> Close {
    Close { code: ErrorCode(0), disposition, text: Line::default() }
}

/// A peer that has logged in with that device, and its session's token.
async fn begin(rig: &Rig, name: &str, device_token: &str) -> (Peer, String) {
    let mut peer = rig.greeted().await;
    let who = the!(peer.ask(auth(AuthMethod::DEVICE_TOKEN, name, device_token)).await, Authenticated);
    (peer, who.session_token.expose().to_owned())
}

async fn take_up(rig: &Rig, token: &str) -> (Peer, Authenticated) {
    let mut peer = rig.greeted().await;
    let who = the!(peer.ask(resume(token)).await, Authenticated);
    (peer, who)
}

async fn refused(rig: &Rig, token: &str) -> ErrorCode {
    rig.greeted().await.refusal(resume(token)).await.code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_handed_a_session_and_a_password_alone_is_not() {
    let rig = Rig::start().await;
    let device_token = rig.device_token("ann");
    let (_ann, token) = begin(&rig, "ann", &device_token).await;
    assert!(token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
    assert_ne!(token, device_token);
    let who = the!(rig.greeted().await.ask(auth(AuthMethod::PASSWORD, "ann", PASSWORD)).await, Authenticated);
    assert!(who.session_token.is_empty());
    assert_eq!((who.session_lifetime_s, who.resumed), (0, false));
    let labelled =
        Auth { device_label: Line::parse("new").unwrap(), ..auth(AuthMethod::PASSWORD, "ann", PASSWORD) };
    let who = the!(rig.greeted().await.ask(labelled).await, Authenticated);
    assert!(!who.session_token.is_empty() && !who.device_token.is_empty());
    assert_eq!((who.session_lifetime_s, who.resumed), (30 * 24 * 60 * 60, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_taken_up_as_who_it_was_with_a_new_token_each_time() {
    let rig = Rig::start().await;
    let account = rig.account("ann");
    let (mut ann, first) = begin(&rig, "ann", &rig.device_token("ann")).await;
    ann.tell(close(Disposition::KEEP)).await;
    ann.end().await;
    let mut tokens = vec![first];
    let mut devices = Vec::new();
    for _ in 0..5 {
        let (mut peer, who) = take_up(&rig, tokens.last().unwrap()).await;
        assert_eq!((who.account, who.name.as_str(), who.resumed), (account, "ann", true));
        assert!(who.device_token.is_empty() && who.session_lifetime_s > 0);
        devices.push(who.device);
        tokens.push(who.session_token.expose().to_owned());
        let name = format!("tea-{}", tokens.len());
        peer.create_room(&name).await;
        peer.vanish();
    }
    assert!(devices.iter().all(|device| *device == devices[0] && device.0 != 0));
    for outdated in &tokens[..4] {
        assert_eq!(refused(&rig, outdated).await, ErrorCode::SESSION_EXPIRED);
    }
    assert_eq!(rig.number("hark_resumes_total{outcome=\"done\"}"), 5);
    assert_eq!(rig.number("hark_resumes_total{outcome=\"expired\"}"), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_locks_nobody_out() {
    let rig = Rig::start().await;
    let (_ann, token) = begin(&rig, "ann", &rig.device_token("ann")).await;
    for answered in 1..=3 {
        let mut peer = rig.greeted().await;
        peer.send(resume(&token)).await;
        rig.until("it is decided", |rig| rig.number("hark_resumes_total{outcome=\"done\"}") == answered)
            .await;
        peer.vanish(); // the answer is on its way to nobody
    }
    let (_peer, who) = take_up(&rig, &token).await;
    let next = who.session_token.expose().to_owned();
    let (_peer, _) = take_up(&rig, &next).await;
    assert_eq!(refused(&rig, &token).await, ErrorCode::SESSION_EXPIRED, "the newest was used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_before_is_told_and_ends() {
    let rig = Rig::start().await;
    let (mut before, token) = begin(&rig, "ann", &rig.device_token("ann")).await;
    let room = before.create_room("tea").await;
    before.follow(room).await;
    let (mut after, _) = take_up(&rig, &token).await;
    assert_eq!(before.end_by_error().await.code, ErrorCode::SESSION_REPLACED);
    assert!(!after.publish(room, 7, "still here").await.duplicate);
    assert_eq!(rig.number("hark_sessions_replaced_total"), 1);
    assert_eq!(rig.number("hark_sessions_connected"), 1);
    drop(before);
    rig.until("one is left", |rig| rig.number("hark_connections") == 1).await;
    let (_third, _) = take_up(&rig, &token).await;
    assert_eq!(
        after.end_by_error().await.code,
        ErrorCode::SESSION_REPLACED,
        "the end of the first freed nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_takes_nothing_is_replaced_at_once_all_the_same() {
    let rig = Rig::with(|limits| {
        limits.window_events_max = 100_000;
        limits.connection_window_events_max = 100_000;
        limits.connections_per_account_max = 1;
    })
    .await;
    let mut bob =
        rig.login_with("bob", Login { capabilities: &[Capability::PRESENCE], ..Login::default() }).await;
    let room = bob.create_room("tea").await;
    let mut stuck = rig.greeted().await;
    let visible = Auth {
        presence: PresenceMode::VISIBLE,
        ..auth(AuthMethod::DEVICE_TOKEN, "ann", &rig.device_token("ann"))
    };
    let token = the!(stuck.ask(visible).await, Authenticated).session_token;
    stuck.join("tea", 1).await;
    bob.follow(room).await;
    stuck.subscribe(in_room(room, Start::NOW, 0)).await;
    for id in 1..=400 {
        bob.publish(room, id, vec![7; 60_000]).await;
    }
    // Behind it are a full socket and a reader that is paused by it.
    let pings = (0..200).map(|_| hark_protocol::Ping { data: hark_protocol::Blob::default() }.into());
    stuck.send_all(pings).await;

    let began = Instant::now();
    let (_owner, _) = take_up(&rig, token.expose()).await; // the one place of the account is its own
    rig.until("the stuck one is gone", |rig| rig.number("hark_connections") == 2).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}: a stalled write would have been given up after 10 s");
    let is_offline =
        |frame: &Frame| matches!(frame, Frame::Presence(it) if it.state == PresenceState::OFFLINE);
    while !is_offline(&bob.news().await) {}
    assert_eq!(rig.number("hark_subscriptions"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_exactly_one_has_the_session_in_the_end() {
    let rig = Rig::start().await;
    let (_ann, mut token) = begin(&rig, "ann", &rig.device_token("ann")).await;
    for round in 0..40 {
        let (mut one, mut other) = (rig.greeted().await, rig.greeted().await);
        let asked = tokio::join!(one.send(resume(&token)), other.send(resume(&token)));
        let (mut seen, mut owners) = (Vec::new(), Vec::new());
        for (mut peer, correlation) in [(one, asked.0), (other, asked.1)] {
            let who = the!(peer.answer(correlation).await, Authenticated);
            seen.push((peer, who));
        }
        // Both are answered, so the one that came first has been told to go, and a PING shows who lives.
        for (mut peer, who) in seen {
            let ping: Frame = hark_protocol::Ping { data: hark_protocol::Blob::default() }.into();
            peer.try_send_bytes(ping.encode(Correlation(99)).as_slice()).await;
            match peer.next().await.1 {
                Frame::Pong(_) => owners.push((peer, who)),
                Frame::Error(error) => assert_eq!(error.code, ErrorCode::SESSION_REPLACED, "round {round}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(owners.len(), 1, "round {round}");
        token = owners[0].1.session_token.expose().to_owned();
        assert_eq!(rig.number("hark_sessions_connected"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_none_end_their_connection_and_shut_nobody_out() {
    let rig = Rig::with(|limits| limits.login_failures_per_address = 1).await;
    let (_ann, token) = begin(&rig, "ann", &rig.device_token("ann")).await;
    let device_token = rig.device_token("ann");
    let mut peer = rig.greeted().await;
    for wrong in ["", &device_token] {
        assert_eq!(peer.refusal(resume(wrong)).await.code, ErrorCode::SESSION_EXPIRED);
    }
    peer.send(resume("hst_0000")).await;
    assert_eq!(peer.end_by_error().await.code, ErrorCode::TOO_MANY_AUTH_TRIES);
    for _ in 0..40 {
        assert_eq!(refused(&rig, "hst_1111").await, ErrorCode::SESSION_EXPIRED);
    }
    let mut peer = rig.greeted().await;
    the!(peer.ask(auth(AuthMethod::DEVICE_TOKEN, "ann", &device_token)).await, Authenticated);
    take_up(&rig, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_expired_session_one_may_log_in_on_the_same_connection() {
    let rig = Rig::start().await;
    let device_token = rig.device_token("ann");
    let mut peer = rig.greeted().await;
    assert_eq!(peer.refusal(resume("hst_0")).await.code, ErrorCode::SESSION_EXPIRED);
    let unknown = Resume { presence: PresenceMode(99), ..resume("hst_0") };
    assert_eq!(peer.refusal(unknown).await.code, ErrorCode::UNSUPPORTED);
    the!(peer.ask(auth(AuthMethod::DEVICE_TOKEN, "ann", &device_token)).await, Authenticated);
    peer.send(resume("hst_0")).await;
    assert_eq!(peer.end_by_error().await.code, ErrorCode::BAD_STATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_logs_out_of_is_worthless_when_close_comes() {
    let rig = Rig::start().await;
    let device_token = rig.device_token("ann");
    for (disposition, session, device) in [
        (Disposition::KEEP, true, true),
        (Disposition(77), true, true),
        (Disposition::END, false, true),
        (Disposition::FORGET_DEVICE, false, false),
    ] {
        let (_before, first) = begin(&rig, "ann", &device_token).await;
        let (mut peer, who) = take_up(&rig, &first).await;
        peer.tell(close(disposition)).await;
        let said = peer.end().await;
        let [Frame::Close(goodbye)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((goodbye.code, goodbye.disposition), (ErrorCode(0), Disposition::KEEP));
        for token in [who.session_token.expose(), &first] {
            let answer = rig.greeted().await.ask(resume(token)).await;
            assert_eq!(matches!(answer, Frame::Authenticated(_)), session, "{disposition}: {answer:?}");
            if session {
                break; // the newest was used, so the other is worthless
            }
        }
        let answer = rig.greeted().await.ask(auth(AuthMethod::DEVICE_TOKEN, "ann", &device_token)).await;
        assert_eq!(matches!(answer, Frame::Authenticated(_)), device, "{disposition}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_that_fails_does_not_end_in_good_order() {
    let rig = Rig::start().await;
    let device_token = rig.device_token("ann");
    for disposition in [Disposition::END, Disposition::FORGET_DEVICE] {
        let (mut peer, token) = begin(&rig, "ann", &device_token).await;
        rig.directory.fail_next_change(StoreError::Unavailable("the disk is full".into()));
        peer.tell(close(disposition)).await;
        let said = peer.end().await;
        let [Frame::Error(error), Frame::Close(goodbye)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((error.code, goodbye.code), (ErrorCode::INTERNAL, ErrorCode::INTERNAL), "{disposition}");
        take_up(&rig, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_whose_session_can_not_be_stored_is_no_login() {
    let rig = Rig::start().await;
    let device_token = rig.device_token("ann");
    let mut peer = rig.greeted().await;
    rig.directory.fail_next_change(StoreError::Unavailable("the disk is full".into()));
    let login = auth(AuthMethod::DEVICE_TOKEN, "ann", &device_token);
    assert_eq!(peer.refusal(login.clone()).await.code, ErrorCode::UNAVAILABLE);
    let token = the!(peer.ask(login).await, Authenticated).session_token;
    let mut next = rig.greeted().await;
    rig.directory.fail_next_change(StoreError::Unavailable("the disk is full".into()));
    assert_eq!(next.refusal(resume(token.expose())).await.code, ErrorCode::UNAVAILABLE);
    assert!(peer.barrier().await.is_empty(), "nobody has taken its session up");
    the!(next.ask(resume(token.expose())).await, Authenticated);
    assert_eq!(peer.end_by_error().await.code, ErrorCode::SESSION_REPLACED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_disabled_account_wait_until_it_is_enabled() {
    let rig = Rig::start().await;
    let (peer, token) = begin(&rig, "ann", &rig.device_token("ann")).await;
    peer.vanish();
    rig.directory.set_disabled(rig.account("ann"), true).unwrap();
    assert_eq!(refused(&rig, &token).await, ErrorCode::SESSION_EXPIRED);
    rig.directory.set_disabled(rig.account("ann"), false).unwrap();
    take_up(&rig, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_of_the_connection_before_is_the_sessions_own() {
    let rig = Rig::with(|limits| limits.connections_per_account_max = 2).await;
    let device_token = rig.device_token("ann");
    let (mut first, token) = begin(&rig, "ann", &device_token).await;
    let (_second, _) = begin(&rig, "ann", &device_token).await;
    let (third, who) = take_up(&rig, &token).await;
    assert_eq!(first.end_by_error().await.code, ErrorCode::SESSION_REPLACED);
    let token = who.session_token.expose().to_owned();
    third.vanish();
    rig.until("it has left", |rig| rig.number("hark_sessions_connected") == 1).await;
    let (_fourth, _) = begin(&rig, "ann", &device_token).await;
    let mut late = rig.greeted().await;
    let error = late.refusal(resume(&token)).await;
    assert_eq!((error.code, error.limit), (ErrorCode::LIMIT, LimitId::CONNECTIONS_PER_ACCOUNT));
    drop(_fourth);
    rig.until("there is a place", |rig| rig.number("hark_sessions_connected") == 1).await;
    the!(late.ask(resume(&token)).await, Authenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_has_so_many_sessions_and_those_without_a_connection_make_way() {
    let rig = Rig::with(|limits| limits.sessions_per_device_max = 2).await;
    let device_token = rig.device_token("ann");
    let (first, oldest) = begin(&rig, "ann", &device_token).await;
    let (second, newer) = begin(&rig, "ann", &device_token).await;
    let (mut third, none) = begin(&rig, "ann", &device_token).await;
    assert_eq!(none, "", "all of them have a connection");
    assert!(third.barrier().await.is_empty());
    for (peer, left) in [(first, 1), (second, 0)] {
        peer.vanish();
        rig.until("it has left", |rig| rig.number("hark_sessions_connected") == left).await;
    }
    let (_fourth, token) = begin(&rig, "ann", &device_token).await;
    assert_ne!(token, "");
    assert_eq!(refused(&rig, &oldest).await, ErrorCode::SESSION_EXPIRED);
    take_up(&rig, &newer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_whose_peers_are_gone_before_the_answer_leave_nothing_behind() {
    let rig = Rig::with(|limits| limits.connections_per_account_max = 200).await;
    let device_token = rig.device_token("ann");
    let (ann, token) = begin(&rig, "ann", &device_token).await;
    for round in 0..100 {
        let mut peer = rig.stranger().await;
        let login: Frame = match round % 2 {
            0 => auth(AuthMethod::DEVICE_TOKEN, "ann", &device_token).into(),
            _ => resume(&token).into(),
        };
        peer.send_all([hello(&[], 0).into(), login]).await;
        peer.vanish();
    }
    drop(ann);
    rig.until("nobody is left", |rig| {
        rig.number("hark_connections") == 0 && rig.number("hark_sessions_connected") == 0
    })
    .await;
    let mut peers = Vec::new();
    for _ in 0..200 {
        peers.push(begin(&rig, "ann", &device_token).await);
    }
    rig.assert_healthy().await;
}

/// A node over what is kept in a folder, and where it listens.
async fn node_in(folder: &std::path::Path, device_token: &str) -> (Node, std::net::SocketAddr) {
    let stores = hark_server::assemble::open_stores(folder).unwrap();
    let name = AccountName::parse("ann").unwrap();
    if stores.directory.account(&name).unwrap().is_none() {
        let password = PasswordHash("none that anybody knows".into());
        let account = NewAccount {
            name,
            display_name: Line::parse("Ann").unwrap(),
            role: AccountRole::USER,
            password: password.clone(),
            created: UnixMillis(1),
        };
        let account = stores.directory.add_account(account).unwrap();
        let (label, token) = (Line::parse("phone").unwrap(), token_hash(device_token));
        let device = NewDevice { account, label, token, password, now: UnixMillis(1) };
        stores.directory.add_device(device, 9).unwrap();
    }
    let node = Node::builder()
        .limits(Limits::open())
        .session_lifetime(Duration::from_secs(60))
        .tls(std::sync::Arc::new(arc_swap::ArcSwap::new(server_config())))
        .stores(stores)
        .start(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap())
        .await
        .unwrap();
    let address = node.local_addr();
    (node, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let device_token = "a token of the device";
    let mut token: Option<String> = None;
    for _ in 0..3 {
        let (node, address) = node_in(folder.path(), device_token).await;
        let mut peer = Peer::connect(address).await;
        the!(peer.ask(hello(&[], 0)).await, Welcome);
        let who = match &token {
            None => peer.ask(auth(AuthMethod::DEVICE_TOKEN, "ann", device_token)).await,
            Some(token) => peer.ask(resume(token)).await,
        };
        let who = the!(who, Authenticated);
        assert_eq!((who.resumed, who.session_lifetime_s), (token.is_some(), 60));
        token = Some(who.session_token.expose().to_owned());
        assert!(node.shutdown(Duration::from_secs(5)).await.in_time);
        peer.drain().await;
    }
}

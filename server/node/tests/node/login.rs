//! AUTH and REGISTER: who gets in, and what the others are told.

use std::time::Duration;

use hark_protocol::{
    Auth, AuthMethod, Authenticated, Close, Correlation, DeviceId, Disposition, ErrorCode, Frame, LimitId,
    Line, PresenceMode, Register, Secret,
};

use crate::rig::{Login, PASSWORD, Peer, Rig, Setup, auth, hello, the};

fn with_password(name: &str, password: &str) -> Auth {
    auth(AuthMethod::PASSWORD, name, password)
}

fn with_token(name: &str, token: &str) -> Auth {
    auth(AuthMethod::DEVICE_TOKEN, name, token)
}

fn register(token: &str, name: &str, password: &str) -> Register {
    Register {
        token: Secret::parse(token).unwrap(),
        name: name.parse().unwrap(),
        password: Secret::parse(password).unwrap(),
        display_name: Line::parse("Bob B.").unwrap(),
    }
}

async fn new_device(rig: &Rig, name: &str) -> (Peer, Authenticated) {
    let mut peer = rig.greeted().await;
    let label = Line::parse("phone").unwrap();
    let auth = Auth { device_label: label, ..with_password(name, PASSWORD) };
    let who = the!(peer.ask(auth).await, Authenticated);
    (peer, who)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_without_a_label_logs_this_connection_in_and_makes_no_device() {
    let rig = Rig::start().await;
    let account = rig.account("ann");
    let who = the!(rig.greeted().await.ask(with_password("ann", PASSWORD)).await, Authenticated);
    assert_eq!((who.account, who.name.as_str(), who.display_name.as_str()), (account, "ann", "ann"));
    assert_eq!((who.device, who.device_token.is_empty()), (DeviceId(0), true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_makes_a_device_whose_token_logs_in_again_and_is_told_once() {
    let rig = Rig::start().await;
    rig.account("ann");
    let (_, made) = new_device(&rig, "ann").await;
    assert_ne!(made.device, DeviceId(0));
    let mut again = rig.greeted().await;
    let who = the!(again.ask(with_token("ann", made.device_token.expose())).await, Authenticated);
    assert_eq!((who.account, who.device), (made.account, made.device));
    assert!(who.device_token.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failed_login_is_answered_with_the_same_bytes() {
    let rig = Rig::start().await;
    let others_token = rig.device_token("bob");
    let token = rig.device_token("ann");
    let disabled_token = rig.device_token("dan");
    hark_core::ports::Directory::set_disabled(&*rig.directory, rig.account("dan"), true).unwrap();
    let failures = [
        with_password("ann", "wrong horse"),
        with_password("nobody", PASSWORD),
        with_password("dan", PASSWORD),
        with_password("ann", ""),
        with_token("ann", &others_token),
        with_token("nobody", &token),
        with_token("dan", &disabled_token),
        with_token("ann", PASSWORD),
        with_token("ann", ""),
    ];
    let mut answers = Vec::new();
    for failure in failures {
        let mut peer = rig.greeted().await;
        peer.send_bytes(Frame::from(failure).encode(Correlation(9)).as_slice()).await;
        answers.push(peer.next_raw().await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let error = the!(Frame::decode(&answers[0]).unwrap(), Error);
    assert_eq!(error.code, ErrorCode::AUTH_FAILED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_failed_try_ends_the_connection() {
    let rig = Rig::start().await;
    rig.account("ann");
    let mut peer = rig.greeted().await;
    assert_eq!(peer.refusal(with_password("ann", "wrong")).await.code, ErrorCode::AUTH_FAILED);
    let token = register("not the token", "eve", PASSWORD);
    assert_eq!(peer.refusal(token).await.code, ErrorCode::AUTH_FAILED);
    peer.send(with_password("ann", "wrong again")).await;
    assert_eq!(peer.end_by_error().await.code, ErrorCode::TOO_MANY_AUTH_TRIES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_after_failed_tries_succeeds_and_a_second_one_ends_the_connection() {
    let rig = Rig::start().await;
    rig.account("ann");
    let mut peer = rig.greeted().await;
    for _ in 0..2 {
        assert_eq!(peer.refusal(with_password("ann", "wrong")).await.code, ErrorCode::AUTH_FAILED);
    }
    the!(peer.ask(with_password("ann", PASSWORD)).await, Authenticated);
    peer.send(with_password("ann", PASSWORD)).await;
    assert_eq!(peer.end_by_error().await.code, ErrorCode::BAD_STATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_methods_and_modes_are_unsupported_and_cost_no_try() {
    let rig = Rig::start().await;
    rig.account("ann");
    let mut peer = rig.greeted().await;
    for _ in 0..5 {
        let unknown = Auth { method: AuthMethod(99), ..with_password("ann", PASSWORD) };
        assert_eq!(peer.refusal(unknown).await.code, ErrorCode::UNSUPPORTED);
        let unknown = Auth { presence: PresenceMode(99), ..with_password("ann", PASSWORD) };
        assert_eq!(peer.refusal(unknown).await.code, ErrorCode::UNSUPPORTED);
    }
    the!(peer.ask(with_password("ann", PASSWORD)).await, Authenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_registration_token_gets_an_account() {
    let rig = Rig::start().await;
    let token = rig.registration_token.expose().to_owned();
    let mut peer = rig.greeted().await;
    assert_eq!(peer.refusal(register(&token, "bob", "2short")).await.code, ErrorCode::MALFORMED);
    the!(peer.ask(register(&token, "bob", PASSWORD)).await, Ok);
    assert_eq!(peer.refusal(register(&token, "bob", PASSWORD)).await.code, ErrorCode::NAME_TAKEN);
    assert_eq!(
        peer.refusal(register("wrong", "bob", PASSWORD)).await.code,
        ErrorCode::AUTH_FAILED,
        "the token is judged before the name"
    );
    let who = the!(peer.ask(with_password("bob", PASSWORD)).await, Authenticated);
    assert_eq!(who.display_name.as_str(), "Bob B.");
    assert_eq!(rig.number("hark_registrations_total"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_registrations_says_so() {
    let rig = Rig::build(Setup { registration: false, ..Setup::default() }).await;
    let token = rig.registration_token.expose().to_owned();
    let mut peer = rig.greeted().await;
    assert_eq!(peer.refusal(register(&token, "bob", PASSWORD)).await.code, ErrorCode::FORBIDDEN);
}

fn close(disposition: Disposition) -> Close {
    Close { code: ErrorCode(0), disposition, text: Line::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_forgotten_is_worthless_when_close_comes() {
    let rig = Rig::start().await;
    rig.account("ann");
    for (disposition, outlives) in [
        (Disposition::KEEP, true),
        (Disposition::END, true),
        (Disposition(77), true),
        (Disposition::FORGET_DEVICE, false),
    ] {
        let (mut peer, made) = new_device(&rig, "ann").await;
        peer.tell(close(disposition)).await;
        let said = peer.end().await;
        let [Frame::Close(goodbye)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((goodbye.code, goodbye.disposition), (ErrorCode(0), Disposition::KEEP));
        let answer = rig.greeted().await.ask(with_token("ann", made.device_token.expose())).await;
        assert_eq!(matches!(answer, Frame::Authenticated(_)), outlives, "{disposition}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_beyond_the_limit_push_out_the_oldest() {
    let rig = Rig::with(|limits| limits.devices_per_account_max = 2).await;
    rig.account("ann");
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(new_device(&rig, "ann").await.1.device_token);
    }
    for (token, outlives) in tokens.iter().zip([false, true, true]) {
        let answer = rig.greeted().await.ask(with_token("ann", token.expose())).await;
        assert_eq!(matches!(answer, Frame::Authenticated(_)), outlives);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_connections_and_no_more() {
    let rig = Rig::with(|limits| limits.connections_per_account_max = 2).await;
    let token = rig.device_token("ann");
    let first = rig.login_by_token("ann", &token, Login::default()).await;
    let _second = rig.login_by_token("ann", &token, Login::default()).await;
    let mut third = rig.greeted().await;
    let error = third.refusal(with_token("ann", &token)).await;
    assert_eq!((error.code, error.limit), (ErrorCode::LIMIT, LimitId::CONNECTIONS_PER_ACCOUNT));
    assert_eq!(error.limit_value, 2);
    rig.login("bob").await;
    first.vanish();
    rig.until("one is gone", |rig| rig.number("hark_connections") == 2).await;
    the!(third.ask(with_token("ann", &token)).await, Authenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_fails_too_often_has_to_wait_and_others_need_not() {
    let rig = Rig::with(|limits| limits.login_failures_per_account = 2).await;
    rig.account("ann");
    rig.account("bob");
    for _ in 0..2 {
        let error = rig.greeted().await.refusal(with_password("ann", "wrong")).await;
        assert_eq!(error.code, ErrorCode::AUTH_FAILED);
    }
    let error = rig.greeted().await.refusal(with_password("ann", PASSWORD)).await;
    assert_eq!((error.code, error.limit, error.limit_value), (ErrorCode::RATE, LimitId::LOGIN_RATE, 2));
    assert!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
    the!(rig.greeted().await.ask(with_password("bob", PASSWORD)).await, Authenticated);
    tokio::time::sleep(Duration::from_millis(error.retry_after_ms.into())).await; // as the server advised
    the!(rig.greeted().await.ask(with_password("ann", PASSWORD)).await, Authenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_passwords_does_not_shut_out_a_good_one() {
    let rig = Rig::with(|limits| limits.auth_timeout_ms = 60_000).await;
    let token = rig.device_token("ann");
    let mut flood = Vec::new();
    for _ in 0..150 {
        let mut peer = rig.stranger().await;
        peer.send_all([hello(&[], 0).into(), with_password("ann", "wrong").into()]).await;
        flood.push(peer);
    }
    let good = rig.login_by_token("ann", &token, Login::default());
    tokio::time::timeout(Duration::from_secs(2), good).await.expect("a token is not held up by passwords");
    let mut refused = 0;
    for mut peer in flood {
        match the!(peer.answer(Correlation(2)).await, Error).code {
            ErrorCode::AUTH_FAILED => {}
            ErrorCode::RATE => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "so many hashes at once were not refused");
}

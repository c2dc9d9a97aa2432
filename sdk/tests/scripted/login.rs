//! Connecting: what is said in which order, and what each refusal is called.

use std::time::Duration;

use hark_protocol::*;
use hark_sdk::{ClientState, ConnectErrorKind, Credentials, Reason, Reconnect, RegisterErrorKind};

use crate::server::*;

#[tokio::test(start_paused = true)]
async fn a_login_says_hello_waits_for_welcome_and_only_then_shows_its_secret() {
    let (mut server, builder) = Server::new();
    let connecting = tokio::spawn(builder.visible(true).agent("test/1").connect());
    let mut peer = server.accept().await;
    let (correlation, frame) = peer.recv().await;
    let Frame::Hello(hello) = frame else { panic!("HELLO comes first") };
    assert_eq!((hello.version_min, hello.version_max, hello.agent.as_str()), (1, 1, "test/1"));
    assert_ne!(correlation, Correlation::NONE);
    tokio::time::timeout(Duration::from_secs(5), peer.recv()).await.expect_err("nothing before WELCOME");
    peer.send(correlation, server.welcome()).await;
    let (correlation, frame) = peer.recv().await;
    let Frame::Auth(auth) = frame else { panic!("AUTH comes second") };
    assert_eq!((auth.method, auth.secret.expose()), (AuthMethod::PASSWORD, "correct horse"));
    assert_eq!(auth.presence, PresenceMode::VISIBLE);
    peer.send(correlation, authenticated("")).await;
    let client = connecting.await.unwrap().unwrap();
    assert_eq!(client.account().display_name, "Ann");
    assert_eq!(client.welcome().agent, "script/1");
    assert_eq!(client.state(), ClientState::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_version_out_of_range_is_refused_without_a_secret() {
    let (mut server, builder) = Server::new();
    let connecting = tokio::spawn(builder.connect());
    let mut peer = server.accept().await;
    let (correlation, _) = peer.recv().await;
    peer.send(correlation, Welcome { version: 2, ..server.welcome() }).await;
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ConnectErrorKind::Version);
    let said = peer.rest().await;
    assert!(
        matches!(&said[..], [Frame::Close(close)] if close.code == ErrorCode::VERSION_UNSUPPORTED),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_method_that_the_server_does_not_list_is_not_used() {
    let (mut server, builder) = Server::new();
    let connecting = tokio::spawn(builder.connect());
    let mut peer = server.accept().await;
    let (correlation, _) = peer.recv().await;
    let auth_methods = List::truncated(vec![AuthMethod::DEVICE_TOKEN]);
    peer.send(correlation, Welcome { auth_methods, ..server.welcome() }).await;
    let refused = connecting.await.unwrap().unwrap_err();
    assert!(matches!(refused.kind(), ConnectErrorKind::Refusal(refusal) if !refusal.retryable));
    assert!(matches!(&peer.rest().await[..], [Frame::Close(_)]));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_one_attempt() {
    for code in [ErrorCode::AUTH_FAILED, ErrorCode::ACCOUNT_DISABLED] {
        let (mut server, builder) = Server::new();
        let connecting = tokio::spawn(builder.connect());
        let mut peer = server.greet().await;
        let (correlation, _) = peer.recv().await;
        peer.send(correlation, error(code, 0)).await;
        let refused = connecting.await.unwrap().unwrap_err();
        assert!(matches!(refused.kind(), ConnectErrorKind::AuthFailed | ConnectErrorKind::Disabled));
        assert!(!refused.is_retryable());
        assert!(!server.is_dialled_within(Duration::from_secs(600)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_refused_at_a_reconnect_is_the_end() {
    let (mut server, builder) = Server::new();
    let (client, peer) = tokio::join!(builder.connect(), server.login());
    let client = client.unwrap();
    drop(peer);
    let mut peer = server.greet().await;
    let (correlation, _) = peer.recv().await;
    peer.send(correlation, error(ErrorCode::AUTH_FAILED, 0)).await;
    let ended = within(10, client.connected()).await.unwrap_err();
    assert_eq!(ended, ClientState::Closed { reason: Reason::Connect(ConnectErrorKind::AuthFailed) });
    assert!(!server.is_dialled_within(Duration::from_secs(600)).await);
    assert!(client.ping().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_first_login_that_fails_is_not_repeated() {
    let (mut server, builder) = Server::new();
    let connecting = tokio::spawn(builder.connect());
    let mut peer = server.accept().await;
    let (correlation, _) = peer.recv().await;
    peer.send(correlation, error(ErrorCode::BUSY, 5000)).await;
    let refused = connecting.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), &ConnectErrorKind::Busy { retry_after: Some(Duration::from_secs(5)) });
    assert!(refused.is_retryable());
    assert!(!server.is_dialled_within(Duration::from_secs(600)).await);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out() {
    let (mut server, builder) = Server::new();
    let connecting = tokio::spawn(builder.connect_timeout(Duration::from_secs(7)).connect());
    let begun = tokio::time::Instant::now();
    let _silent = server.accept().await;
    assert_eq!(connecting.await.unwrap().unwrap_err().kind(), &ConnectErrorKind::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_device_login_comes_back_with_its_token() {
    let (mut server, builder) = Server::new();
    let credentials = Credentials::password_for_device("ann", "correct horse", "phone").unwrap();
    let connecting = tokio::spawn(builder.credentials(credentials).connect());
    let mut peer = server.greet().await;
    let (correlation, frame) = peer.recv().await;
    let Frame::Auth(auth) = frame else { panic!("AUTH") };
    assert_eq!(auth.device_label.as_str(), "phone");
    peer.send(correlation, authenticated("the token")).await;
    let client = connecting.await.unwrap().unwrap();
    assert_eq!(client.device_token().unwrap().expose(), "the token");
    drop(peer);
    let mut peer = server.greet().await;
    let (_, frame) = peer.recv().await;
    let Frame::Auth(auth) = frame else { panic!("AUTH") };
    assert_eq!((auth.method, auth.secret.expose()), (AuthMethod::DEVICE_TOKEN, "the token"));
    assert_eq!(auth.device_label.as_str(), "");
}

#[tokio::test(start_paused = true)]
async fn registration_speaks_to_the_point() {
    let (mut server, builder) = Server::new();
    let answers = [
        (Frame::Ok(Ok {}), None),
        (Frame::Error(error(ErrorCode::NAME_TAKEN, 0)), Some(RegisterErrorKind::NameTaken)),
        (Frame::Error(error(ErrorCode::AUTH_FAILED, 0)), Some(RegisterErrorKind::TokenRefused)),
    ];
    for (answer, expected) in answers {
        let registering = builder.clone();
        let registering =
            tokio::spawn(
                async move { registering.register("the-token", "ann", "correct horse", "Ann").await },
            );
        let mut peer = server.greet().await;
        let (correlation, frame) = peer.recv().await;
        let Frame::Register(register) = frame else { panic!("REGISTER, not {frame:?}") };
        assert_eq!((register.token.expose(), register.name.as_str()), ("the-token", "ann"));
        peer.send(correlation, answer).await;
        assert_eq!(registering.await.unwrap().map_err(|error| error.kind().clone()).err(), expected);
    }
    let invalid = builder.clone().register("t", "A Name", "correct horse", "").await.unwrap_err();
    assert_eq!(invalid.kind(), &RegisterErrorKind::Invalid);
    assert!(!server.is_dialled_within(Duration::from_secs(60)).await);
}

#[tokio::test(start_paused = true)]
async fn a_registration_whose_answer_is_lost_has_an_unknown_outcome() {
    let (mut server, builder) = Server::new();
    let registering =
        tokio::spawn(async move { builder.register("the-token", "ann", "correct horse", "").await });
    let mut peer = server.greet().await;
    peer.recv().await;
    drop(peer);
    assert_eq!(registering.await.unwrap().unwrap_err().kind(), &RegisterErrorKind::Unknown);
}

#[tokio::test(start_paused = true)]
async fn logging_out_forgets_the_device_and_says_whether_it_did() {
    let (mut server, builder) = Server::new();
    let (client, peer) = tokio::join!(builder.reconnect(Reconnect::never()).connect(), server.login());
    let (client, mut peer) = (client.unwrap(), peer);
    let logging_out = tokio::spawn(async move { client.logout().await });
    let (_, frame) = peer.recv().await;
    assert!(matches!(frame, Frame::Close(close) if close.disposition == Disposition::FORGET_DEVICE));
    drop(peer);
    logging_out.await.unwrap().unwrap();
}

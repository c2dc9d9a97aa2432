//! Trust: a wrong certificate is named for what is wrong with it, and nothing secret is sent to its owner.

use hark_protocol::Frame;
use hark_sdk::{Client, ConnectErrorKind, Fingerprint, TlsProblem, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::*;

/// What connecting to a server of this identity under a trust comes to; whatever the client says is counted.
async fn problem(identity: Identity, trust: Trust) -> ConnectErrorKind {
    let (mut server, builder) = Server::of(identity, b"hark/1");
    let acceptor = server.identity.acceptor(b"hark/1");
    let connecting = tokio::spawn(builder.trust(trust).connect());
    let stream = server.dialled().await;
    // The server's side of the handshake may finish or fail; either way no frame arrives.
    if let Ok(mut stream) = acceptor.accept(stream).await {
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        assert!(said.is_empty(), "the client spoke before it trusted");
    }
    connecting.await.unwrap().unwrap_err().into_kind()
}

fn time(year: i32) -> impl Fn(&mut rcgen::CertificateParams) {
    move |params| {
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        params.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_issuer_is_named() {
    let stranger = Identity::new().ca_pem;
    let kind = problem(Identity::new(), Trust::CaPem(stranger)).await;
    assert_eq!(kind, ConnectErrorKind::Tls(TlsProblem::UnknownIssuer));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_name_is_named_with_the_right_ones() {
    let identity = Identity::with(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example.org".try_into().unwrap())];
    });
    let trust = Trust::CaPem(identity.ca_pem.clone());
    let expected =
        TlsProblem::WrongName { expected: NAME.to_owned(), presented: vec!["other.example.org".to_owned()] };
    assert_eq!(problem(identity, trust).await, ConnectErrorKind::Tls(expected));
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_and_an_early_one_are_told_apart() {
    for (year, expected) in [(2001, TlsProblem::Expired), (2201, TlsProblem::NotYetValid)] {
        let identity = Identity::with(time(year));
        let trust = Trust::CaPem(identity.ca_pem.clone());
        assert_eq!(problem(identity, trust).await, ConnectErrorKind::Tls(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pin_accepts_its_certificate_whatever_else_is_wrong_with_it() {
    let identity = Identity::with(time(2001));
    let (mut server, builder) = Server::of(identity, b"hark/1");
    let pin = Trust::Pin(server.identity.fingerprint);
    let (client, _peer) = tokio::join!(builder.trust(pin).server_name("any.name").connect(), server.login());
    client.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pin_mismatch_shows_the_fingerprint_that_was_seen() {
    let identity = Identity::new();
    let seen = identity.fingerprint;
    let kind = problem(identity, Trust::Pin(Fingerprint([0; 32]))).await;
    assert_eq!(kind, ConnectErrorKind::Tls(TlsProblem::PinMismatch { seen }));
    assert!(kind.to_string().contains(&seen.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_tls_server_of_another_protocol_is_not_hark() {
    let (mut server, builder) = Server::of(Identity::new(), b"h2");
    let acceptor = server.identity.acceptor(b"h2");
    let connecting = tokio::spawn(builder.connect());
    let stream = server.dialled().await;
    let _ = acceptor.accept(stream).await;
    assert_eq!(connecting.await.unwrap().unwrap_err().kind(), &ConnectErrorKind::NotHark);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_speak_tls_is_named() {
    let (mut server, builder) = Server::new();
    let connecting = tokio::spawn(builder.connect());
    let mut stream = server.dialled().await;
    stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
    let kind = connecting.await.unwrap().unwrap_err().into_kind();
    assert_eq!(kind, ConnectErrorKind::Tls(TlsProblem::NotTls));
}

#[tokio::test(start_paused = true)]
async fn what_speaks_tls_and_then_something_else_is_not_hark() {
    let (mut server, builder) = Server::new();
    let connecting = tokio::spawn(builder.connect());
    let mut peer = server.accept().await;
    peer.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(connecting.await.unwrap().unwrap_err().kind(), &ConnectErrorKind::NotHark);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_server_tells_its_fingerprint_and_sends_nothing_secret() {
    let (mut server, builder) = Server::new();
    for is_known in [true, false] {
        let trust = if is_known { server.identity.ca_pem.clone() } else { Identity::new().ca_pem };
        let probing = tokio::spawn(builder.clone().trust(Trust::CaPem(trust)).probe());
        let mut peer = server.greet().await;
        let said = peer.rest().await;
        assert!(matches!(&said[..], [Frame::Close(_)]), "{said:?}");
        let probe = probing.await.unwrap().unwrap();
        assert_eq!(probe.fingerprint, server.identity.fingerprint);
        assert_eq!(probe.issuer_known, is_known);
        assert_eq!(probe.problem, (!is_known).then_some(TlsProblem::UnknownIssuer));
        assert_eq!(probe.server.agent, "script/1");
    }
}

#[tokio::test]
async fn nobody_at_the_address_and_no_address_are_told_apart() {
    let builder = |address: &str| {
        let credentials = hark_sdk::Credentials::password("ann", "correct horse").unwrap();
        Client::builder(address).trust(Trust::Pin(Fingerprint([0; 32]))).credentials(credentials)
    };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = builder(&closed.to_string()).connect().await.unwrap_err();
    assert_eq!(refused.kind(), &ConnectErrorKind::Refused);
    for bad in ["", "a b", "host:notaport"] {
        assert_eq!(builder(bad).connect().await.unwrap_err().kind(), &ConnectErrorKind::Address, "{bad:?}");
    }
    let no_file = builder("localhost").trust(Trust::CaFile("/nonexistent.pem".into())).connect().await;
    assert_eq!(no_file.unwrap_err().kind(), &ConnectErrorKind::Address);
}

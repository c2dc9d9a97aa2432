//! Nobody gets in without TLS 1.3 and without asking for this protocol by name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hark_protocol::{Correlation, Frame, MAGIC};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, Error as TlsError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::rig::{PATIENCE, Rig, client_config, hello};

/// What a node answers to bytes on a bare TCP connection, up to its end.
async fn bare(rig: &Rig, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("the node hangs up");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_is_never_answered_in_plaintext() {
    let rig = Rig::start().await;
    let plain = Frame::from(hello(&[], 0)).encode(Correlation(1));
    let answer = bare(&rig, plain.as_slice()).await;
    assert!(!answer.windows(4).any(|bytes| bytes == MAGIC), "{answer:02x?}");
    assert!(answer.is_empty() || answer[0] == 21, "a TLS alert or nothing: {answer:02x?}");
    rig.until("the refusal is counted", |rig| {
        rig.number("hark_connections_refused_total{reason=\"tls_handshake\"}") == 1
    })
    .await;
    rig.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_is_refused() {
    let rig = Rig::start().await;
    let answer = bare(&rig, &client_hello_1_2()).await;
    let [21, _, _, _, _, fatal, description, ..] = answer[..] else { panic!("no alert: {answer:02x?}") };
    assert_eq!((fatal, description), (2, 70), "a fatal protocol_version alert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_another_protocol_is_refused_by_alert() {
    let rig = Rig::start().await;
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let connector = TlsConnector::from(client_config(&[b"http/1.1"]));
    let error = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap_err();
    let alert = error.get_ref().and_then(|it| it.downcast_ref::<TlsError>());
    assert_eq!(alert, Some(&TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_no_protocol_is_hung_up_on() {
    let rig = Rig::start().await;
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let connector = TlsConnector::from(Arc::clone(&client_config(&[])));
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let _ = stream.write_all(Frame::from(hello(&[], 0)).encode(Correlation(1)).as_slice()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("the node hangs up");
    assert_eq!(answer, b"");
    assert_eq!(rig.number("hark_connections_refused_total{reason=\"alpn\"}"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_stops_half_way_is_given_up_in_time() {
    let rig = Rig::with(|limits| limits.tls_timeout_ms = 300).await;
    let began = Instant::now();
    let half = client_hello_1_2();
    bare(&rig, &half[..half.len() / 2]).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(280), "given up after {took:?}");
    assert!(took < Duration::from_secs(5), "given up after {took:?}");
    rig.until("the connection is gone", |rig| rig.number("hark_connections") == 0).await;
}

/// The least ClientHello of TLS 1.2 that can be read: one cipher suite, and the extensions that ECDHE needs.
fn client_hello_1_2() -> Vec<u8> {
    let extensions = [
        &[0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x1d][..], // supported_groups: x25519
        &[0x00, 0x0b, 0x00, 0x02, 0x01, 0x00],                 // ec_point_formats: uncompressed
        &[0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03],     // signature_algorithms: ecdsa p256 sha256
    ]
    .concat();
    let mut body = vec![0x03, 0x03];
    body.extend_from_slice(&[0x5a; 32]); // random
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]); // no session id, one cipher suite, no compression
    body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&extensions);
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let record = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
    let mut hello = vec![22, 3, 1, record[0], record[1], 1, 0, length[0], length[1]];
    hello.extend_from_slice(&body);
    hello
}

//! A server and its clients in one program: what embedders build on, without a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hark_sdk::{Client, ClientBuilder, Credentials, NewRoom, RoomEvent, Start, Trust};
use hark_server::clock::{Clock, SystemClock};
use hark_server::entropy::OsEntropy;
use hark_server::first_run::Access;
use hark_server::metrics::Metrics;
use hark_server::tls::{CertificateSource, OwnCertificates, Reloader};
use hark_server::{Node, assemble};
use hark_tests::client::PASSWORD;
use hark_tests::scale::PATIENCE;
use tokio::net::TcpListener;

/// A node on a free port, over SQLite in a folder, with a certificate of its own; and its registration token.
async fn start(folder: &Path) -> (Node, String) {
    let now = SystemClock.now();
    let stores = assemble::open_stores(folder).expect("an empty folder");
    let access = Access::ensure(&*stores.directory, folder, true, &OsEntropy, now).expect("a working disk");
    let certificates = CertificateSource::Own(OwnCertificates::new(folder.join("tls"), &[]));
    let tls = Reloader::start(certificates, Arc::new(Metrics::new()), now).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let node = Node::builder().tls(tls.current()).stores(stores).start(listener).await.expect("a node");
    let token = access.registration.expect("registration is enabled").token;
    (node, token.expose().to_owned())
}

fn client(node: &Node, folder: &Path) -> ClientBuilder {
    Client::builder(node.local_addr().to_string()).trust(Trust::CaFile(folder.join("tls/ca.pem")))
}

async fn person(node: &Node, folder: &Path, token: &str, name: &str) -> Client {
    client(node, folder).register(token, name, PASSWORD, "").await.expect("a new account");
    let credentials = Credentials::password(name, PASSWORD).expect("a name and a password");
    client(node, folder).credentials(credentials).connect().await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_its_clients_live_in_one_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (node, token) = start(folder.path()).await;
    let alice = person(&node, folder.path(), &token, "alice").await;
    let bob = person(&node, folder.path(), &token, "bob").await;

    let tea = alice.create_room(NewRoom::public("tea")).await.expect("a new room");
    let mut events =
        bob.join("tea").await.expect("a public room").events(Start::Beginning).await.expect("a member");
    let sent = tea.send("hello").await.expect("the server's word");
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            match events.next().await.expect("the stream goes on") {
                RoomEvent::Event(event) if event.text().is_some() => break event,
                _ => {}
            }
        }
    });
    let heard = heard.await.expect("the message arrives");
    assert_eq!((heard.seq, heard.text().as_deref(), heard.own), (sent.seq, Some("hello"), false));

    alice.close().await;
    bob.close().await;
    let report = node.shutdown(Duration::from_secs(10)).await;
    assert!(report.in_time, "{report:?}");
}

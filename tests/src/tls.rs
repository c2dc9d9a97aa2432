//! A TLS connection without a protocol on top: what a stranger can say who got through the handshake.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::server::Server;

/// Sends bytes through TLS and returns what the server says until it closes.
///
/// # Panics
/// When the handshake fails, or the server neither closes nor says anything for as long as patience lasts.
#[track_caller]
pub fn exchange(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config(server)), name).expect("a configuration in order");
    let mut stream = StreamOwned::new(connection, server.connect());
    stream.write_all(bytes).and_then(|()| stream.flush()).expect("the handshake succeeds");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        // Closed without a goodbye, or reset with bytes unread: gone all the same.
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => answer,
        Err(error) => panic!("the server does not close the connection: {error}"),
    }
}

fn config(server: &Server) -> ClientConfig {
    let ca = server.place().data().join("tls/ca.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ca).expect("the authority's certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("TLS 1.3").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"hark/1".to_vec()];
    config
}

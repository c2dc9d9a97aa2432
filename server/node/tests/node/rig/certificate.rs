//! One authority and certificate for all tests of this process, made by the server's own code.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use hark_server::clock::{Clock, SystemClock};
use hark_server::tls::{self, CertificateSource, OwnCertificates};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

struct Made {
    server: Arc<ServerConfig>,
    authority: CertificateDer<'static>,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let own = OwnCertificates::new(PathBuf::from(folder.path()), &[]);
        let authority = own.authority_path();
        let identity = CertificateSource::Own(own).identity(SystemClock.now()).unwrap();
        let server = tls::server_config(&identity).unwrap();
        Made { server, authority: CertificateDer::from_pem_file(authority).unwrap() }
    })
}

/// The TLS of every node under test.
pub(crate) fn server_config() -> Arc<ServerConfig> {
    Arc::clone(&made().server)
}

/// A client that trusts the node's authority and asks for those protocols.
pub(crate) fn client_config(alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(made().authority.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

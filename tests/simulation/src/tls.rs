//! One certificate for all runs, of which every byte count is the same in every process.
//!
//! An Ed25519 signature has one length; those of the server's own ECDSA certificates vary by a byte or two, and with
//! them the sizes of the handshake's segments, which a trace holds.

use std::sync::{Arc, OnceLock};

use hark_sdk::{Fingerprint, Trust};
use hark_server::tls::{Identity, server_config};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use rustls::ServerConfig;

/// The name in the certificate, and the server's in the simulated network.
pub(crate) const SERVER: &str = "server";

struct Made {
    identity: Identity,
    trust: Fingerprint,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key pair can be made");
        let mut params = CertificateParams::new(vec![SERVER.to_owned()]).expect("it is a name");
        params.serial_number = Some(SerialNumber::from_slice(&[0x4b; 8]));
        let certificate = params.self_signed(&key).expect("a certificate can be made");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (cert_path, key_path) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert_path, certificate.pem()).expect("a file can be written");
        std::fs::write(&key_path, key.serialize_pem()).expect("a file can be written");
        let identity = Identity::load(&cert_path, &key_path).expect("what was just written can be read");
        Made { identity, trust: Fingerprint::of(certificate.der()) }
    })
}

/// The TLS of a server that starts: nothing of an earlier start is in it.
pub(crate) fn server() -> Arc<ServerConfig> {
    server_config(&made().identity).expect("the certificate can be used")
}

/// By what clients recognise it.
pub(crate) fn trust() -> Trust {
    Trust::Pin(made().trust)
}

//! The TLS that clients meet: version 1.3, `hark/1`, one ticket, nothing before the handshake's end.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ServerConnection;
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, version};

use super::error::TlsError;
use super::identity::Identity;

/// What a client asks for by ALPN: it names the frame header, not the protocol version.
pub const ALPN: &[u8] = b"hark/1";

/// The configuration that shows `identity`.
///
/// # Errors
/// [`TlsError::NotMade`] if the cryptography can not be set up.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let not_made = |error: rustls::Error| TlsError::NotMade(error.to_string());
    let resolver = SingleCertAndKey::from(Arc::clone(&identity.certified));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(not_made)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // One is enough: a client that comes back gets the next one with that connection.
    config.send_tls13_tickets = 1;
    // Early data could be replayed by whoever recorded it.
    config.max_early_data_size = 0;
    // Tickets carry the session themselves, so ten thousand clients that come back at once all resume.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(not_made)?;
    Ok(Arc::new(config))
}

/// Whether the client asked for this protocol. The handshake itself fails for a client that asked for others
/// only, but passes one that asked for none.
pub fn asked_for_hark(connection: &ServerConnection) -> bool {
    connection.alpn_protocol() == Some(ALPN)
}

/// The one source of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

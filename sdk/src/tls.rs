//! Trust: which server is the right one, and which check failed when it is not.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

mod chain;
mod pin;
mod problem;

use chain::ChainVerifier;
pub(crate) use pin::{PinVerifier, ProbeVerifier};
pub(crate) use problem::HandshakeFailure;
pub use problem::TlsProblem;

/// The application protocol that both sides must name in the handshake.
pub(crate) const ALPN: &[u8] = b"hark/1";

/// How the server is recognised.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Trust {
    /// By a certificate that the operating system trusts, for the server's name.
    #[default]
    System,
    /// By a certificate under one of the authorities in this PEM file, for the server's name.
    CaFile(PathBuf),
    /// By a certificate under one of these authorities, given as PEM, for the server's name.
    CaPem(Vec<u8>),
    /// By its one certificate, whatever name, issuer and dates that has. That the server holds the
    /// certificate's key is still checked.
    Pin(Fingerprint),
}

/// The SHA-256 of a server's certificate in DER. Reads and prints as `sha256:` and 64 hex digits; colons between
/// the digits and a missing prefix are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// A text that is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a fingerprint is sha256: and 64 hex digits")]
pub struct BadFingerprint;

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Fingerprint {
        let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, BadFingerprint> {
        let text = text.trim();
        let digits = match text.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => &text[7..],
            _ => text,
        };
        let digits: Vec<u32> = digits
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).ok_or(BadFingerprint))
            .collect::<Result<_, _>>()?;
        if digits.len() != 64 {
            return Err(BadFingerprint);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::try_from(pair[0] * 16 + pair[1]).map_err(|_| BadFingerprint)?;
        }
        Ok(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a trust can not be used at all, before anything is dialled.
#[derive(Debug, Error)]
pub(crate) enum BadTrust {
    #[error("the file {path} can not be read: {error}", path = path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("there is no certificate in {0}")]
    NoCertificate(String),
    #[error("a certificate in {0} can not be read: {1}")]
    BadCertificate(String, String),
    #[error("the trust store can not be used: {0}")]
    Store(String),
    #[error("{0:?} is not a server name")]
    ServerName(String),
}

/// The one provider of cryptography; named, so that another one in the program changes nothing here.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The verifier that stands for `trust`.
pub(crate) fn verifier(trust: &Trust) -> Result<Arc<dyn ServerCertVerifier>, BadTrust> {
    match trust {
        Trust::System => rustls_platform_verifier::Verifier::new(provider())
            .map(|verifier| Arc::new(ChainVerifier(Arc::new(verifier))) as Arc<dyn ServerCertVerifier>)
            .map_err(|error| BadTrust::Store(error.to_string())),
        Trust::CaFile(path) => {
            let pem =
                std::fs::read(path).map_err(|error| BadTrust::Unreadable { path: path.clone(), error })?;
            authorities(&pem, &path.display().to_string())
        }
        Trust::CaPem(pem) => authorities(pem, "the given PEM"),
        Trust::Pin(fingerprint) => Ok(Arc::new(PinVerifier::new(*fingerprint, &provider()))),
    }
}

fn authorities(pem: &[u8], whence: &str) -> Result<Arc<dyn ServerCertVerifier>, BadTrust> {
    let bad = |error: &dyn fmt::Display| BadTrust::BadCertificate(whence.to_owned(), error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() {
        return Err(BadTrust::NoCertificate(whence.to_owned()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    verifier
        .map(|verifier| Arc::new(ChainVerifier(verifier)) as Arc<dyn ServerCertVerifier>)
        .map_err(|error| BadTrust::Store(error.to_string()))
}

/// TLS 1.3 with our ALPN and nothing else, and `verifier` in judgement.
pub(crate) fn client_config(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, BadTrust> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| BadTrust::Store(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// A verifier that lets the handshake finish and notes what `trust` thinks of the certificate.
pub(crate) fn probe_verifier(trust: &Trust) -> Arc<ProbeVerifier> {
    // A trust that can not be used accepts nothing; a look at the server is possible all the same.
    let judge = verifier(trust).map_err(|error| TlsProblem::Other(error.to_string()));
    Arc::new(ProbeVerifier::new(judge, &provider()))
}

/// Reads a server's name, a host's or a number.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, BadTrust> {
    ServerName::try_from(name.to_owned()).map_err(|_| BadTrust::ServerName(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_read_what_they_print() {
        let fingerprint = Fingerprint::of(b"abc");
        let text = fingerprint.to_string();
        assert_eq!(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let upper = text[7..].to_uppercase();
        let pairs: Vec<&str> = (0..32).map(|at| &upper[2 * at..2 * at + 2]).collect();
        for spelling in [&text, &upper, &pairs.join(":"), &format!("SHA256:{upper}")] {
            assert_eq!(spelling.parse(), Ok(fingerprint), "{spelling}");
        }
        for bad in [
            "",
            "sha256:",
            &text[..70],
            &format!("{text}0"),
            &text.replace('b', "g"),
            "é".repeat(40).as_str(),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(BadFingerprint), "{bad}");
        }
    }

    #[test]
    fn a_trust_without_a_certificate_is_refused_before_dialling() {
        assert!(matches!(verifier(&Trust::CaPem(b"nothing".to_vec())), Err(BadTrust::NoCertificate(_))));
        let missing = Trust::CaFile("/nonexistent/ca.pem".into());
        assert!(matches!(verifier(&missing), Err(BadTrust::Unreadable { .. })));
    }
}

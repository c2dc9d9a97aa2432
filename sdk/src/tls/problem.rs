//! Which check of a TLS handshake failed, in words that say what to do.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::tls::Fingerprint;
use crate::tls::pin::PinMismatch;

/// Which check of the TLS handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// No trusted authority issued the server's certificate.
    UnknownIssuer,
    /// The certificate is for other names.
    WrongName {
        /// The name that was asked for.
        expected: String,
        /// The names that the certificate is for.
        presented: Vec<String>,
    },
    /// The certificate's time is over, or the local clock is ahead.
    Expired,
    /// The certificate's time has not come, or the local clock is behind.
    NotYetValid,
    /// It is another certificate than the pinned one.
    PinMismatch {
        /// The fingerprint of the certificate that the server showed.
        seen: Fingerprint,
    },
    /// What answers does not speak TLS.
    NotTls,
    /// Another check failed; the text says which.
    Other(String),
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsProblem::UnknownIssuer => {
                f.write_str("the server's certificate was issued by nobody that is trusted (unknown issuer)")
            }
            TlsProblem::WrongName { expected, presented } => write!(
                f,
                "the server's certificate is not for {expected:?} but for {}",
                if presented.is_empty() { "other names".to_owned() } else { presented.join(", ") }
            ),
            TlsProblem::Expired => {
                f.write_str("the server's certificate has expired, or this machine's clock is ahead")
            }
            TlsProblem::NotYetValid => {
                f.write_str("the server's certificate is not valid yet, or this machine's clock is behind")
            }
            TlsProblem::PinMismatch { seen } => {
                write!(f, "the server's certificate is not the pinned one; it showed {seen}")
            }
            TlsProblem::NotTls => f.write_str("what answers there does not speak TLS"),
            TlsProblem::Other(words) => write!(f, "the TLS handshake failed: {words}"),
        }
    }
}

/// What a failed handshake comes to.
#[derive(Debug)]
pub(crate) enum HandshakeFailure {
    /// A check failed.
    Problem(TlsProblem),
    /// The peer speaks TLS, but none of our application protocols.
    NoCommonAlpn,
    /// The network failed, or the peer hung up.
    Io(io::Error),
}

impl HandshakeFailure {
    /// Reads what tokio-rustls hands out: an io error around a rustls error, or a plain one.
    pub(crate) fn from_io(error: io::Error, expected: &str) -> HandshakeFailure {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => HandshakeFailure::from_tls(tls, expected),
            None => HandshakeFailure::Io(error),
        }
    }

    fn from_tls(error: &rustls::Error, expected: &str) -> HandshakeFailure {
        match error {
            rustls::Error::InvalidCertificate(certificate) => {
                HandshakeFailure::Problem(TlsProblem::from_certificate(certificate, expected))
            }
            rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
                HandshakeFailure::Problem(TlsProblem::NotTls)
            }
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | rustls::Error::NoApplicationProtocol => HandshakeFailure::NoCommonAlpn,
            other => HandshakeFailure::Problem(TlsProblem::Other(other.to_string())),
        }
    }
}

impl TlsProblem {
    pub(crate) fn from_certificate(error: &CertificateError, expected: &str) -> TlsProblem {
        match error {
            CertificateError::UnknownIssuer => TlsProblem::UnknownIssuer,
            CertificateError::NotValidForName => {
                TlsProblem::WrongName { expected: expected.to_owned(), presented: Vec::new() }
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let presented = presented.iter().map(|name| plain_name(name)).collect();
                TlsProblem::WrongName { expected: expected.to_owned(), presented }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsProblem::NotYetValid
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<PinMismatch>() {
                Some(mismatch) => TlsProblem::PinMismatch { seen: mismatch.seen },
                None => TlsProblem::Other(other.to_string()),
            },
            other => TlsProblem::Other(other.to_string()),
        }
    }
}

/// `DnsName("a")` as rustls presents a certificate's names, without its wrapping; what a certificate says about
/// itself is a stranger's text, so anything but a name's characters is dropped.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '*')).collect()
}

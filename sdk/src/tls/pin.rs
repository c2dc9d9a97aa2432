//! Verifiers of our own: one that knows a certificate by its fingerprint, and one that only takes note.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use crate::tls::{Fingerprint, TlsProblem};

/// The server showed another certificate than the pinned one.
#[derive(Debug)]
pub(super) struct PinMismatch {
    pub(super) seen: Fingerprint,
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server showed {}", self.seen)
    }
}

impl std::error::Error for PinMismatch {}

/// Accepts one certificate, whatever its name, issuer and dates, and demands its key's signature.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    pin: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    pub(crate) fn new(pin: Fingerprint, provider: &CryptoProvider) -> PinVerifier {
        PinVerifier { pin, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Fingerprint::of(end_entity);
        if seen == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = OtherError(Arc::new(PinMismatch { seen }));
        Err(Error::InvalidCertificate(CertificateError::Other(mismatch)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a probe saw of a server's certificate.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) verdict: Result<(), TlsProblem>,
}

/// Lets every certificate pass, notes its fingerprint and what a real verifier says of it. For connections on
/// which nothing secret is sent.
#[derive(Debug)]
pub(crate) struct ProbeVerifier {
    judge: Result<Arc<dyn ServerCertVerifier>, TlsProblem>,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Option<Seen>>,
}

impl ProbeVerifier {
    pub(crate) fn new(
        judge: Result<Arc<dyn ServerCertVerifier>, TlsProblem>,
        provider: &CryptoProvider,
    ) -> ProbeVerifier {
        ProbeVerifier {
            judge,
            algorithms: provider.signature_verification_algorithms,
            seen: Mutex::new(None),
        }
    }

    pub(crate) fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for ProbeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.judge.clone().and_then(|judge| {
            match judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                Ok(_) => Ok(()),
                Err(Error::InvalidCertificate(error)) => {
                    Err(TlsProblem::from_certificate(&error, &server_name.to_str()))
                }
                Err(other) => Err(TlsProblem::Other(other.to_string())),
            }
        });
        let seen = Seen { fingerprint: Fingerprint::of(end_entity), verdict };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

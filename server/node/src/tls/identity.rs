//! A certificate with its key: what the server shows to its clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hark_protocol::UnixMillis;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::error::TlsError;
use super::fingerprint::Fingerprint;
use super::server_config::provider;
use super::validity::Validity;

/// A certificate with those that lead to its root, and its private key. The two belong together.
#[derive(Clone)]
pub struct Identity {
    /// Both, ready for use.
    pub certified: Arc<CertifiedKey>,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
    /// When it is valid.
    pub validity: Validity,
    cert_path: PathBuf,
}

impl Identity {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// What is wrong with either file.
    pub fn load(cert_path: &Path, key_path: &Path) -> Result<Identity, TlsError> {
        let chain = read_chain(cert_path)?;
        let key = read_key(key_path)?;
        let leaf = chain.first().ok_or_else(|| no_pem(cert_path, CERTIFICATE, "it is empty".to_owned()))?;
        let fingerprint = Fingerprint::of(leaf);
        let validity = Validity::of(leaf).map_err(|why| unusable(cert_path, why))?;
        let signing = provider().key_provider.load_private_key(key);
        let signing = signing.map_err(|error| unusable(key_path, error.to_string()))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::KeyDoesNotFit { cert: cert_path.into(), key: key_path.into() });
            }
            Err(error) => return Err(unusable(cert_path, error.to_string())),
        }
        Ok(Identity { certified: Arc::new(certified), fingerprint, validity, cert_path: cert_path.into() })
    }

    /// Whether the certificate is valid at `now`.
    ///
    /// # Errors
    /// [`TlsError::NotYetValid`] or [`TlsError::Expired`].
    pub fn check_time(&self, now: UnixMillis) -> Result<(), TlsError> {
        let path = || self.cert_path.clone();
        match self.validity {
            Validity { from, .. } if now < from => Err(TlsError::NotYetValid { path: path(), from, now }),
            Validity { until, .. } if now > until => Err(TlsError::Expired { path: path(), at: until, now }),
            _ => Ok(()),
        }
    }

    /// The certificate itself.
    pub(super) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certified.cert.first()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The certificates in a file, in their order.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(|error| TlsError::Unreadable { path: path.into(), error })?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| no_pem(path, CERTIFICATE, error.to_string()))?;
    match chain.is_empty() {
        true => Err(no_pem(path, CERTIFICATE, what_it_looks_like(&pem))),
        false => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = fs::read(path).map_err(|error| TlsError::Unreadable { path: path.into(), error })?;
    let pem = Zeroizing::new(pem);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_pem(path, PRIVATE_KEY, what_it_looks_like(&pem)))
}

/// A guess that saves the operator one: the mistakes that are made with these files are few.
fn what_it_looks_like(content: &[u8]) -> String {
    let has = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
    let guess = match () {
        () if content.is_empty() => "it is empty",
        () if content.first() == Some(&0x30) => {
            "it looks like DER: convert it with `openssl x509 -inform der` or `openssl pkey -inform der`"
        }
        () if has("ENCRYPTED") => {
            "its key has a passphrase: remove that with `openssl pkey -in FILE -out FILE`"
        }
        () if has("-----BEGIN CERTIFICATE REQUEST") => {
            "it holds a request for a certificate, not the certificate"
        }
        () if has("-----BEGIN CERTIFICATE") => "it holds a certificate: are the two files swapped?",
        () if has("PRIVATE KEY-----") => "it holds a private key: are the two files swapped?",
        () => "it is something else",
    };
    guess.to_owned()
}

fn no_pem(path: &Path, wanted: &'static str, why: String) -> TlsError {
    TlsError::NotPem { path: path.into(), wanted, why }
}

fn unusable(path: &Path, why: String) -> TlsError {
    TlsError::Unusable { path: path.into(), why }
}

const CERTIFICATE: &str = "certificate";
const PRIVATE_KEY: &str = "private key";

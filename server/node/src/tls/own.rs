//! The server's own certificates in its data folder: made when missing, renewed when they no longer fit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hark_protocol::UnixMillis;
use rustls::pki_types::{ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::authority::Authority;
use super::error::TlsError;
use super::identity::{Identity, read_chain};
use super::server_config::provider;
use super::validity::Validity;

/// A folder with `ca.pem`, `ca.key`, `cert.pem` and `key.pem`.
#[derive(Clone, Debug)]
pub struct OwnCertificates {
    folder: PathBuf,
    names: Vec<String>,
}

impl OwnCertificates {
    /// Those in `folder`, for the local names and `names`.
    pub fn new(folder: PathBuf, names: &[String]) -> OwnCertificates {
        let mut all: Vec<String> = LOCAL_NAMES.iter().map(|name| (*name).to_owned()).collect();
        all.extend(names.iter().filter(|name| !LOCAL_NAMES.contains(&name.as_str())).cloned());
        OwnCertificates { folder, names: all }
    }

    /// The authority's certificate, which clients are given to trust.
    pub fn authority_path(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The server certificate's file and its key's.
    pub(super) fn files(&self) -> [PathBuf; 2] {
        [self.folder.join("cert.pem"), self.folder.join("key.pem")]
    }

    /// The certificate to use at `now`; it is made first if there is none that fits.
    pub(super) fn identity(&self, now: UnixMillis) -> Result<Identity, TlsError> {
        make_folder(&self.folder)
            .map_err(|error| TlsError::Unwritable { path: self.folder.clone(), error })?;
        let [cert_path, key_path] = self.files();
        let authority_key = self.folder.join("ca.key");
        if !self.authority_path().exists() {
            let authority = Authority::create(&authority_key, &self.authority_path(), now)?;
            authority.issue(&self.names, &key_path, &cert_path, now)?;
        }
        let why = match self.load_fitting(now)? {
            Fit::Good(identity) => return Ok(identity),
            Fit::Bad(why) => why,
        };
        let lost = || TlsError::AuthorityLost { folder: self.folder.clone(), why: why.clone() };
        let authority = Authority::load(&authority_key, now).map_err(|_| lost())?;
        authority.issue(&self.names, &key_path, &cert_path, now)?;
        match self.load_fitting(now)? {
            Fit::Good(identity) => Ok(identity),
            Fit::Bad(_) => Err(lost()),
        }
    }

    /// The certificate that is there and fits at `now`.
    pub(super) fn look(&self, now: UnixMillis) -> Result<Option<Identity>, TlsError> {
        if !self.authority_path().exists() {
            return Ok(None);
        }
        match self.load_fitting(now)? {
            Fit::Good(identity) => Ok(Some(identity)),
            Fit::Bad(_) => Ok(None),
        }
    }

    fn load_fitting(&self, now: UnixMillis) -> Result<Fit, TlsError> {
        let [cert_path, key_path] = self.files();
        let identity = match Identity::load(&cert_path, &key_path) {
            Ok(identity) => identity,
            // Permissions are the operator's to repair; a file that is gone or broken can be made anew.
            Err(TlsError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Fit::Bad("the server's own certificate is missing".to_owned()));
            }
            Err(error @ TlsError::Unreadable { .. }) => return Err(error),
            Err(error) => return Ok(Fit::Bad(format!("the server's own certificate is broken ({error})"))),
        };
        // A clock that is behind would have every certificate made anew, each with another fingerprint.
        if now < identity.validity.from {
            return Ok(Fit::Good(identity));
        }
        Ok(match self.objection(&identity, now)? {
            Some(why) => Fit::Bad(why),
            None => Fit::Good(identity),
        })
    }

    /// Why the certificate should be replaced, if it should.
    fn objection(&self, identity: &Identity, now: UnixMillis) -> Result<Option<String>, TlsError> {
        if is_near_expiry(identity.validity, now) {
            return Ok(Some("the server's own certificate expires soon".to_owned()));
        }
        let unusable =
            |why: webpki::Error| TlsError::Unusable { path: self.files()[0].clone(), why: why.to_string() };
        let Some(leaf) = identity.leaf() else { return Ok(Some("the certificate is empty".to_owned())) };
        let leaf = EndEntityCert::try_from(leaf).map_err(unusable)?;
        for name in &self.names {
            let is_named = ServerName::try_from(name.as_str())
                .is_ok_and(|n| leaf.verify_is_valid_for_subject_name(&n).is_ok());
            if !is_named {
                return Ok(Some(format!("the server's own certificate does not name {name}")));
            }
        }
        let is_signed = self.is_signed_by_authority(&leaf, now)?;
        Ok((!is_signed).then(|| "the server's own certificate is not signed by ca.pem".to_owned()))
    }

    fn is_signed_by_authority(&self, leaf: &EndEntityCert<'_>, now: UnixMillis) -> Result<bool, TlsError> {
        let path = self.authority_path();
        let chain = read_chain(&path)?;
        let unusable = |why: webpki::Error| TlsError::Unusable { path: path.clone(), why: why.to_string() };
        let anchors: Vec<_> =
            chain.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<_, _>>().map_err(unusable)?;
        let time = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        let algorithms = provider().signature_verification_algorithms.all;
        let usage = KeyUsage::server_auth();
        Ok(leaf.verify_for_usage(algorithms, &anchors, &[], time, usage, None, None).is_ok())
    }
}

/// Whether a certificate should be replaced by now.
pub(super) fn is_near_expiry(validity: Validity, now: UnixMillis) -> bool {
    now.0.saturating_add(RENEW_BEFORE_MS) > validity.until.0
}

enum Fit {
    Good(Identity),
    Bad(String),
}

fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// What a certificate is always made for.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Thirty days: a server that is started once a month never shows an expired certificate.
const RENEW_BEFORE_MS: u64 = 30 * 86_400_000;

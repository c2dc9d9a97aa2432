//! TLS: where the certificate comes from, what it is worth, and how a new one is taken up while running.

mod authority;
mod error;
mod fingerprint;
mod identity;
mod own;
mod reload;
mod server_config;
mod validity;

#[cfg(test)]
mod tests;

pub use error::TlsError;
pub use fingerprint::Fingerprint;
pub use identity::Identity;
pub use own::OwnCertificates;
pub use reload::{Looked, Reloader};
pub use server_config::{ALPN, asked_for_hark, server_config};
pub use validity::{Validity, day};

use hark_protocol::UnixMillis;

use crate::config::TlsFiles;

/// Where the server's certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// The server makes it, and the authority that vouches for it.
    Own(OwnCertificates),
    /// The operator brings it along.
    Files(TlsFiles),
}

impl CertificateSource {
    /// The certificate to use at `now`. Own ones are made when they are missing, do not fit or are about to
    /// expire.
    ///
    /// # Errors
    /// What is wrong with the files, or with the machine's clock.
    pub fn identity(&self, now: UnixMillis) -> Result<Identity, TlsError> {
        let identity = match self {
            CertificateSource::Own(own) => own.identity(now)?,
            CertificateSource::Files(files) => Identity::load(&files.cert, &files.key)?,
        };
        identity.check_time(now)?;
        Ok(identity)
    }

    /// The certificate that is there at `now`, changing nothing; `None` where the server will make one.
    ///
    /// # Errors
    /// What is wrong with the files, or with the machine's clock.
    pub fn look(&self, now: UnixMillis) -> Result<Option<Identity>, TlsError> {
        let identity = match self {
            CertificateSource::Own(own) => own.look(now)?,
            CertificateSource::Files(files) => Some(Identity::load(&files.cert, &files.key)?),
        };
        if let Some(identity) = &identity {
            identity.check_time(now)?;
        }
        Ok(identity)
    }
}

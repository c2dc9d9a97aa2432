//! What can be wrong with certificates: each says what was found and what to do.

use std::io;
use std::path::PathBuf;

use hark_protocol::UnixMillis;
use thiserror::Error;

use super::validity::day;

/// Why there is no certificate to use.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can not be read.
    #[error(
        "{} can not be read: {error}; check that it is there and that the user who runs harkd may read it",
        .path.display()
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file can not be written.
    #[error("{} can not be written: {error}; harkd keeps its own certificate there", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds no PEM of the wanted sort.
    #[error(
        "{} holds no {wanted} in PEM form, which has a line -----BEGIN {}-----; {why}",
        .path.display(), .wanted.to_uppercase()
    )]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// What the reader says.
        why: String,
    },
    /// A certificate or key is in PEM form, but of no use.
    #[error("{} can not be used: {why}", .path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the TLS library says.
        why: String,
    },
    /// The key is not the certificate's.
    #[error(
        "the key in {} does not belong to the certificate in {}; the two files must come from the same \
         request",
        .key.display(), .cert.display()
    )]
    KeyDoesNotFit {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate is no longer valid.
    #[error(
        "the certificate in {} expired on {}, and this machine's clock shows {}; renew it, or set the \
         clock if it is wrong",
        .path.display(), day(*.at), day(*.now)
    )]
    Expired {
        /// Which file.
        path: PathBuf,
        /// Its last moment.
        at: UnixMillis,
        /// The clock.
        now: UnixMillis,
    },
    /// The certificate is not valid yet.
    #[error(
        "the certificate in {} is valid from {} only, and this machine's clock shows {}; most likely the \
         clock is wrong: set it",
        .path.display(), day(*.from), day(*.now)
    )]
    NotYetValid {
        /// Which file.
        path: PathBuf,
        /// Its first moment.
        from: UnixMillis,
        /// The clock.
        now: UnixMillis,
    },
    /// The own certificate must be made anew, but the authority's key is gone or another's.
    #[error(
        "{why}, and a new one can not be made: {} is not the key of {}; put the right key back, or remove \
         the folder {} to begin anew, after which every client needs the new ca.pem",
        .folder.join("ca.key").display(), .folder.join("ca.pem").display(), .folder.display()
    )]
    AuthorityLost {
        /// The folder with the own certificates.
        folder: PathBuf,
        /// Why a new certificate is needed.
        why: String,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    NotMade(String),
}

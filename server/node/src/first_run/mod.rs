//! What a server makes when it is started for the first time, and finds again at every later start.

mod account;
mod folder;
mod greeting;
mod registration;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use hark_core::ports::{Directory, DirectoryError, StoreError};
use hark_protocol::UnixMillis;
use thiserror::Error;

pub use account::{Admin, reset_admin_password};
pub use folder::{DataFolder, Found};
pub use greeting::{Greeting, HarkCommand};
pub use registration::Registration;

use crate::entropy::Entropy;
use crate::password::PasswordError;
use crate::settings::Settings;

/// What people need to get in.
#[derive(Debug)]
pub struct Access {
    /// The administrator.
    pub admin: Admin,
    /// The token with which people make accounts; `None` while nobody may.
    pub registration: Option<Registration>,
}

/// Whether something was made just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Yes.
    Made,
    /// It was there.
    Found,
}

impl Access {
    /// Makes what is missing and finds what is there: the server's settings, the account `admin`, and the
    /// registration token if people may register.
    ///
    /// # Errors
    /// What the store or the file system could not do.
    pub fn ensure(
        directory: &dyn Directory,
        folder: &Path,
        registration_enabled: bool,
        entropy: &dyn Entropy,
        now: UnixMillis,
    ) -> Result<Access, FirstRunError> {
        let mut settings = Settings::load_or_create(directory, entropy)?;
        let admin = account::ensure_admin(directory, folder, entropy, now)?;
        let registration = match registration_enabled {
            true => Some(registration::ensure(&mut settings, directory, folder, entropy)?),
            false => None,
        };
        Ok(Access { admin, registration })
    }
}

/// Why a server could not be set up: what is wrong and what to do.
#[derive(Debug, Error)]
pub enum FirstRunError {
    /// The folder holds something else.
    #[error(
        "{} is not empty and holds no Hark data (it holds {found}, but no {}); name another folder with \
         --data or HARKD_DATA",
        .folder.display(), folder::MARKER
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Something that lies in it.
        found: String,
    },
    /// The folder was made by another version.
    #[error(
        "{} holds Hark data of another format ({found:?}); use the version of harkd that made it",
        .folder.display()
    )]
    OtherFormat {
        /// The folder.
        folder: PathBuf,
        /// What its marker says.
        found: String,
    },
    /// A file or folder can not be used.
    #[error(
        "{} can not be used: {error}; harkd keeps its data there and must be able to read and write it",
        .path.display()
    )]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The registration token's file holds something that is none.
    #[error(
        "{} holds no usable token: {why}; delete the file and start again for a new one",
        .path.display()
    )]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The administrator's account is not there.
    #[error("there is no account admin to set a password for; start harkd once and it is made")]
    NoAdmin,
    /// The store failed.
    #[error("{0}; check the disk under the data folder")]
    Store(#[from] StoreError),
    /// The directory refused.
    #[error("the account admin could not be set up: {0}")]
    Directory(#[from] DirectoryError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> FirstRunError {
    let path = path.to_owned();
    move |error| FirstRunError::File { path, error }
}

//! What a client shows to be let in.

use hark_protocol::limits::{DEVICE_LABEL_BYTES_MAX, PASSWORD_BYTES_MAX, TOKEN_BYTES_MAX};
use hark_protocol::{AccountName, AuthMethod, BadText, Line, Secret};

/// A password. Its `Debug` prints the length only.
pub type Password = Secret<PASSWORD_BYTES_MAX>;

/// A device token or a registration token. Its `Debug` prints the length only.
pub type Token = Secret<TOKEN_BYTES_MAX>;

/// What a client shows to be let in. It goes over the wire only after the server has been recognised.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// An account's name and password.
    Password {
        /// The account's name.
        name: AccountName,
        /// Its password.
        password: Password,
        /// Makes a device of this name, whose token [`Client::device_token`](crate::Client::device_token)
        /// gives; without one the login ends with the connection, and every reconnect shows the password.
        device_label: Option<Line<DEVICE_LABEL_BYTES_MAX>>,
    },
    /// An account's name and the token of one of its devices.
    DeviceToken {
        /// The account's name.
        name: AccountName,
        /// The token.
        token: Token,
    },
}

impl Credentials {
    /// Name and password, for a login that makes no device.
    ///
    /// # Errors
    /// [`BadText`] when the name is not an account's name or the password is too long.
    pub fn password(name: &str, password: &str) -> Result<Credentials, BadText> {
        Ok(Credentials::Password {
            name: AccountName::parse(name)?,
            password: Secret::parse(password)?,
            device_label: None,
        })
    }

    /// Name and password, for a login that makes a device called `label`.
    ///
    /// # Errors
    /// As [`Credentials::password`], and for a label that is not one line of at most 64 bytes.
    pub fn password_for_device(name: &str, password: &str, label: &str) -> Result<Credentials, BadText> {
        Ok(Credentials::Password {
            name: AccountName::parse(name)?,
            password: Secret::parse(password)?,
            device_label: Some(Line::parse(label)?),
        })
    }

    /// Name and device token.
    ///
    /// # Errors
    /// [`BadText`] when the name is not an account's name or the token is too long.
    pub fn device_token(name: &str, token: &str) -> Result<Credentials, BadText> {
        Ok(Credentials::DeviceToken { name: AccountName::parse(name)?, token: Secret::parse(token)? })
    }

    /// The account's name.
    pub fn name(&self) -> &AccountName {
        match self {
            Credentials::Password { name, .. } | Credentials::DeviceToken { name, .. } => name,
        }
    }

    /// The fields of AUTH that these credentials fill: method, secret and device label.
    pub(crate) fn auth(&self) -> (AuthMethod, Password, Line<DEVICE_LABEL_BYTES_MAX>) {
        match self {
            Credentials::Password { password, device_label, .. } => {
                (AuthMethod::PASSWORD, password.clone(), device_label.clone().unwrap_or_default())
            }
            Credentials::DeviceToken { token, .. } => {
                let secret =
                    Secret::parse(token.expose()).expect("invariant: a token is shorter than a password");
                (AuthMethod::DEVICE_TOKEN, secret, Line::default())
            }
        }
    }
}

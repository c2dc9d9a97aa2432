//! What an admin may do: looking after a server's accounts.

use hark_protocol::{
    Account, AccountAdd, AccountDisable, AccountId, AccountList, AccountName, AccountPassword, AccountRole,
    BadText, Frame, Secret,
};

use crate::client::{Client, parse_account};
use crate::credentials::Password;
use crate::error::{Error, RequestError, RequestErrorKind};

/// What an admin may do. A client without the admin role is answered FORBIDDEN, except for its own password.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

/// Whether an account may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Enabled,
    /// It may not, and its connections are ended.
    Disabled,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// Adds an account.
    ///
    /// # Errors
    /// [`RequestErrorKind::Refused`] with NAME_TAKEN or FORBIDDEN; `Invalid` for a name or password of no
    /// acceptable form; `Unknown` when the connection was lost before the answer.
    pub async fn add_account(
        &self,
        name: &str,
        password: &str,
        role: AccountRole,
    ) -> Result<(), RequestError> {
        let (name, password) = account(name, password)?;
        self.client.done(AccountAdd { name, password, role }).await
    }

    /// All accounts, by id. Asks for page after page; cancel-safe.
    ///
    /// # Errors
    /// [`RequestErrorKind::Refused`] with FORBIDDEN.
    pub async fn accounts(&self) -> Result<Vec<Account>, RequestError> {
        let (mut accounts, mut after) = (Vec::new(), AccountId(0));
        loop {
            let Frame::Accounts(page) = self.client.handle.request(AccountList { after, limit: 0 }).await?
            else {
                return Err(RequestErrorKind::Protocol.into());
            };
            let last = page.accounts.last().map_or(after, |account| account.account);
            accounts.extend(page.accounts.into_vec());
            if !page.more || last <= after {
                return Ok(accounts);
            }
            after = last;
        }
    }

    /// Shuts an account out, or lets it in again.
    ///
    /// # Errors
    /// [`RequestErrorKind::Refused`] with NOT_FOUND or FORBIDDEN.
    pub async fn set_access(&self, name: &str, access: Access) -> Result<(), RequestError> {
        let name = parse_account(name).map_err(invalid)?;
        self.client.done(AccountDisable { name, disabled: access == Access::Disabled }).await
    }

    /// Sets an account's password and forgets its devices. Everybody may set their own.
    ///
    /// # Errors
    /// [`RequestErrorKind::Refused`] with NOT_FOUND, FORBIDDEN or, for a password too short, MALFORMED.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), RequestError> {
        let (name, password) = account(name, password)?;
        self.client.done(AccountPassword { name, password }).await
    }
}

fn account(name: &str, password: &str) -> Result<(AccountName, Password), RequestError> {
    Ok((parse_account(name).map_err(invalid)?, Secret::parse(password).map_err(invalid)?))
}

fn invalid(error: BadText) -> RequestError {
    Error::with(RequestErrorKind::Invalid, error)
}

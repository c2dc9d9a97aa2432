//! The directory: accounts, their devices, and what the server knows about itself.

use hark_protocol::limits::{DEVICE_LABEL_BYTES_MAX, DISPLAY_NAME_BYTES_MAX};
use hark_protocol::{AccountId, AccountName, AccountRole, DeviceId, Line, UnixMillis};
use thiserror::Error;

use super::StoreError;

/// A password as it is kept: a PHC string, never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// A token as it is kept: its SHA-256, never the token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash")
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// The name that people see; never empty.
    pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    /// What it may do on the server.
    pub role: AccountRole,
    /// Whether it is shut out.
    pub disabled: bool,
    /// When it was made.
    pub created: UnixMillis,
    /// Its password.
    pub password: PasswordHash,
}

/// An account that is to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name.
    pub name: AccountName,
    /// The name that people see.
    pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    /// What it may do on the server.
    pub role: AccountRole,
    /// Its password.
    pub password: PasswordHash,
    /// When it is made.
    pub created: UnixMillis,
}

/// A device: a login that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its id.
    pub id: DeviceId,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub label: Line<DEVICE_LABEL_BYTES_MAX>,
    /// When it was made.
    pub created: UnixMillis,
    /// When it last logged in, to the hour.
    pub last_used: UnixMillis,
}

impl DeviceRow {
    /// What is noted of a login at `now`: the hour it lies in, so that most logins write nothing.
    pub fn noted(now: UnixMillis) -> UnixMillis {
        const HOUR_MS: u64 = 60 * 60 * 1_000;
        UnixMillis(now.0 - now.0 % HOUR_MS)
    }
}

/// A device that is to be made.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub label: Line<DEVICE_LABEL_BYTES_MAX>,
    /// The hash of its token.
    pub token: TokenHash,
    /// The password that was shown for it, as it was kept when it was checked.
    pub password: PasswordHash,
    /// When it is made.
    pub now: UnixMillis,
}

/// Why the directory did not do it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DirectoryError {
    /// Another account has the name.
    #[error("the name is taken")]
    NameTaken,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// What it rests on has changed since it was checked.
    #[error("the account has changed meanwhile")]
    Outdated,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Accounts, devices and settings. Every change is on the disk when the call returns.
pub trait Directory: Send + Sync + 'static {
    /// Makes an account.
    ///
    /// # Errors
    /// [`DirectoryError::NameTaken`] or the store's.
    fn add_account(&self, account: NewAccount) -> Result<AccountId, DirectoryError>;

    /// The account of that name.
    ///
    /// # Errors
    /// The store's.
    fn account(&self, name: &AccountName) -> Result<Option<AccountRow>, StoreError>;

    /// The accounts with these ids, in the order of the ids given; unknown ones are left out.
    ///
    /// # Errors
    /// The store's.
    fn accounts_by_id(&self, ids: &[AccountId]) -> Result<Vec<AccountRow>, StoreError>;

    /// Accounts in the order of their ids, from behind `after`, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    fn accounts(&self, after: AccountId, limit: usize) -> Result<Vec<AccountRow>, StoreError>;

    /// Sets an account's password and forgets its devices.
    ///
    /// # Errors
    /// [`DirectoryError::NoAccount`] or the store's.
    fn set_password(&self, account: AccountId, password: PasswordHash) -> Result<(), DirectoryError>;

    /// Shuts an account out, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NoAccount`] or the store's.
    fn set_disabled(&self, account: AccountId, disabled: bool) -> Result<(), DirectoryError>;

    /// Sets the name that people see.
    ///
    /// # Errors
    /// [`DirectoryError::NoAccount`] or the store's.
    fn set_display_name(
        &self,
        account: AccountId,
        display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    ) -> Result<(), DirectoryError>;

    /// Makes a device, if the password that was checked is still the account's and the account is not shut out:
    /// checking takes long enough for a change to overtake it. If the account would have more than `devices_max`,
    /// those unused the longest are forgotten; the new one never is.
    ///
    /// # Errors
    /// [`DirectoryError::NoAccount`], [`DirectoryError::Outdated`] or the store's.
    fn add_device(&self, device: NewDevice, devices_max: u32) -> Result<DeviceId, DirectoryError>;

    /// The device with that token, noting that it was used at `now`.
    ///
    /// # Errors
    /// The store's.
    fn device(&self, token: &TokenHash, now: UnixMillis) -> Result<Option<DeviceRow>, StoreError>;

    /// Forgets a device, its token and its cursors; one that is not there is passed over.
    ///
    /// # Errors
    /// The store's.
    fn forget_device(&self, device: DeviceId) -> Result<(), StoreError>;

    /// What the server keeps under that key.
    ///
    /// # Errors
    /// The store's.
    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps a value under that key.
    ///
    /// # Errors
    /// The store's.
    fn set_setting(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
}

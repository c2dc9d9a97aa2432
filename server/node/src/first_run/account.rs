//! The account `admin`: made at the first start with a random password, which lies in a file of its owner's only.

use std::path::{Path, PathBuf};

use hark_core::ports::{AccountRow, Directory, NewAccount};
use hark_protocol::limits::PASSWORD_BYTES_MAX;
use hark_protocol::{AccountName, AccountRole, Line, Secret, UnixMillis};

use super::{FirstRunError, Origin, file_error};
use crate::entropy::{Entropy, random_bytes};
use crate::password::hash_now;
use crate::private_file::write_private;

/// The administrator's account.
#[derive(Debug)]
pub struct Admin {
    /// Whether it was made just now.
    pub origin: Origin,
    /// Its password, if it was made just now.
    pub password: Option<Secret<PASSWORD_BYTES_MAX>>,
    /// The file with its first password; `None` where the operator has removed it.
    pub password_file: Option<PathBuf>,
}

/// Finds the account, or makes it. The file is written before the account, so that a crash between the two leaves
/// a file that the next attempt replaces, and never an account whose password nobody knows.
pub(super) fn ensure_admin(
    directory: &dyn Directory,
    folder: &Path,
    entropy: &dyn Entropy,
    now: UnixMillis,
) -> Result<Admin, FirstRunError> {
    let file = folder.join(PASSWORD_FILE);
    if admin(directory)?.is_some() {
        let password_file = file.exists().then_some(file);
        return Ok(Admin { origin: Origin::Found, password: None, password_file });
    }
    let password = write_new_password(&file, entropy)?;
    directory.add_account(NewAccount {
        name: admin_name(),
        display_name: Line::lossy(NAME),
        role: AccountRole::ADMIN,
        password: hash_now(password.expose(), &random_bytes(entropy))?,
        created: now,
    })?;
    Ok(Admin { origin: Origin::Made, password: Some(password), password_file: Some(file) })
}

/// Gives the account `admin` a new random password, for an operator who has lost the old one, and lets it in
/// again if it was disabled. Returns the file that holds it.
///
/// # Errors
/// When there is no such account yet, or the store or the file system fails.
pub fn reset_admin_password(
    directory: &dyn Directory,
    folder: &Path,
    entropy: &dyn Entropy,
) -> Result<PathBuf, FirstRunError> {
    let account = admin(directory)?.ok_or(FirstRunError::NoAdmin)?;
    let file = folder.join(PASSWORD_FILE);
    let password = write_new_password(&file, entropy)?;
    directory.set_password(account.id, hash_now(password.expose(), &random_bytes(entropy))?)?;
    directory.set_disabled(account.id, false)?;
    Ok(file)
}

fn admin(directory: &dyn Directory) -> Result<Option<AccountRow>, FirstRunError> {
    Ok(directory.account(&admin_name())?)
}

fn write_new_password(
    file: &Path,
    entropy: &dyn Entropy,
) -> Result<Secret<PASSWORD_BYTES_MAX>, FirstRunError> {
    let password = random_password(entropy);
    write_private(file, format!("{}\n", password.expose()).as_bytes()).map_err(file_error(file))?;
    Ok(password)
}

/// Four groups of five characters that are not mistaken for one another: 100 bits, and a person can type it.
fn random_password(entropy: &dyn Entropy) -> Secret<PASSWORD_BYTES_MAX> {
    let letters = random_bytes::<20>(entropy).map(|byte| ALPHABET[usize::from(byte & 31)]);
    let groups: Vec<String> =
        letters.chunks(5).map(|group| group.iter().map(|c| char::from(*c)).collect()).collect();
    Secret::parse(&groups.join("-")).expect("invariant: 23 characters are a password")
}

fn admin_name() -> AccountName {
    AccountName::parse(NAME).expect("invariant: admin is an account name")
}

const NAME: &str = "admin";
const PASSWORD_FILE: &str = "admin-password";
const ALPHABET: [u8; 32] = *b"abcdefghijkmnpqrstuvwxyz23456789";

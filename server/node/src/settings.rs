//! What the server keeps about itself in its directory: who it is, its secret for request hashes, and the hash
//! of the token with which people register.

use hark_core::ports::{Directory, StoreError, TokenHash};

use crate::entropy::{Entropy, random_bytes};

/// What the server keeps about itself. Made once, then the same at every start.
#[derive(Clone)]
pub struct Settings {
    /// Tells this server's data from another's.
    pub server_id: [u8; 16],
    /// Keys the hashes of requests, so that a stolen database does not say what was in a redacted message.
    pub identity_key: [u8; 32],
    /// The hash of the registration token; `None` until one is made.
    pub registration_token: Option<TokenHash>,
}

impl Settings {
    /// What `directory` holds; what it does not hold yet is made and kept.
    ///
    /// # Errors
    /// The store's, or [`StoreError::Damaged`] for a value of the wrong length.
    pub fn load_or_create(directory: &dyn Directory, entropy: &dyn Entropy) -> Result<Settings, StoreError> {
        Ok(Settings {
            server_id: load_or_create(directory, SERVER_ID, entropy)?,
            identity_key: load_or_create(directory, IDENTITY_KEY, entropy)?,
            registration_token: load(directory, REGISTRATION_TOKEN)?.map(TokenHash),
        })
    }

    /// Keeps `hash` as the registration token's, in place of any before.
    ///
    /// # Errors
    /// The store's.
    pub fn set_registration_token(
        &mut self,
        directory: &dyn Directory,
        hash: TokenHash,
    ) -> Result<(), StoreError> {
        directory.set_setting(REGISTRATION_TOKEN, &hash.0)?;
        self.registration_token = Some(hash);
        Ok(())
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("server_id", &self.server_id).finish_non_exhaustive()
    }
}

fn load_or_create<const N: usize>(
    directory: &dyn Directory,
    key: &str,
    entropy: &dyn Entropy,
) -> Result<[u8; N], StoreError> {
    if let Some(value) = load(directory, key)? {
        return Ok(value);
    }
    let value = random_bytes::<N>(entropy);
    directory.set_setting(key, &value)?;
    Ok(value)
}

fn load<const N: usize>(directory: &dyn Directory, key: &str) -> Result<Option<[u8; N]>, StoreError> {
    let Some(value) = directory.setting(key)? else { return Ok(None) };
    let found = value.len();
    let wrong_length = |_| StoreError::Damaged(format!("the setting {key} has {found} bytes instead of {N}"));
    <[u8; N]>::try_from(value).map(Some).map_err(wrong_length)
}

const SERVER_ID: &str = "server_id";
const IDENTITY_KEY: &str = "identity_key";
const REGISTRATION_TOKEN: &str = "registration_token_hash";

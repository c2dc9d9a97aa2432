//! The registration token: the file in the data folder is the token, the store keeps its hash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hark_core::ports::Directory;
use hark_protocol::Secret;
use hark_protocol::limits::TOKEN_BYTES_MAX;

use super::{FirstRunError, Origin, file_error};
use crate::entropy::Entropy;
use crate::private_file::write_private;
use crate::settings::Settings;
use crate::token::{TokenKind, new_token, same_token, token_hash};

/// The token with which people make accounts.
#[derive(Debug)]
pub struct Registration {
    /// Whether it was made just now.
    pub origin: Origin,
    /// The token.
    pub token: Secret<TOKEN_BYTES_MAX>,
    /// The file that holds it. Removing it before a start makes a new token; writing another into it takes that.
    pub file: PathBuf,
}

/// Takes the token out of its file, or makes one, and has the store hold its hash.
pub(super) fn ensure(
    settings: &mut Settings,
    directory: &dyn Directory,
    folder: &Path,
    entropy: &dyn Entropy,
) -> Result<Registration, FirstRunError> {
    let file = folder.join(FILE);
    let (origin, token) = match fs::read_to_string(&file) {
        Ok(text) => (Origin::Found, usable(text.trim(), &file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = new_token(TokenKind::Registration, entropy);
            let text = format!("{}\n", token.expose());
            write_private(&file, text.as_bytes()).map_err(file_error(&file))?;
            (Origin::Made, token)
        }
        Err(error) => return Err(file_error(&file)(error)),
    };
    let hash = token_hash(token.expose());
    if !settings.registration_token.is_some_and(|kept| same_token(&kept, &hash)) {
        settings.set_registration_token(directory, hash)?;
    }
    Ok(Registration { origin, token, file })
}

fn usable(text: &str, file: &Path) -> Result<Secret<TOKEN_BYTES_MAX>, FirstRunError> {
    let wrong = |why| FirstRunError::Token { path: file.into(), why };
    if text.len() < TOKEN_BYTES_MIN {
        return Err(wrong("it is so short that it could be guessed"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("it is not one word of plain characters"));
    }
    Secret::parse(text).map_err(|_| wrong("it is too long"))
}

const FILE: &str = "registration-token";
/// 16 characters out of 32 are 80 bits.
const TOKEN_BYTES_MIN: usize = 16;

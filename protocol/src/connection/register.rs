//! REGISTER: an account made by whoever holds a registration token.

use crate::limits::{DISPLAY_NAME_BYTES_MAX, PASSWORD_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::wire::payload;
use crate::{AccountName, Line, Secret};

payload! {
    /// Asks for an account. Answered by OK; the client then logs in with AUTH.
    pub struct Register: REGISTER {
        /// The registration token.
        pub token: Secret<TOKEN_BYTES_MAX>,
        /// The account's name.
        pub name: AccountName,
        /// The account's password.
        pub password: Secret<PASSWORD_BYTES_MAX>,
        /// The name that people see; empty = the account's name.
        pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    }
}

//! PROFILE_SET and PROFILE: the name that people see.

use crate::limits::DISPLAY_NAME_BYTES_MAX;
use crate::wire::payload;
use crate::{AccountId, AccountName, Line};

payload! {
    /// Changes one's display name. Answered by OK.
    pub struct ProfileSet: PROFILE_SET {
        /// The new one; empty = the account's name.
        pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    }
}

payload! {
    /// The display name of an account with which the receiver shares a followed room has changed.
    pub struct Profile: PROFILE {
        /// Who.
        pub account: AccountId,
        /// Their name.
        pub name: AccountName,
        /// What people see from now on.
        pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    }
}

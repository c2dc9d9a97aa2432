//! ACCOUNT_ADD, ACCOUNT_LIST, ACCOUNT_DISABLE, ACCOUNT_PASSWORD: who may log in.

use crate::limits::{DISPLAY_NAME_BYTES_MAX, LIST_PAGE_MAX, PASSWORD_BYTES_MAX};
use crate::wire::{payload, record};
use crate::{AccountId, AccountName, AccountRole, Line, List, Secret, UnixMillis};

payload! {
    /// Adds an account. Answered by OK.
    pub struct AccountAdd: ACCOUNT_ADD {
        /// Its name.
        pub name: AccountName,
        /// Its password.
        pub password: Secret<PASSWORD_BYTES_MAX>,
        /// What it may do on the server.
        pub role: AccountRole,
    }
}

payload! {
    /// Asks for accounts in the order of their ids. Answered by ACCOUNTS.
    pub struct AccountList: ACCOUNT_LIST {
        /// Only accounts with a greater id; 0 = from the beginning.
        pub after: AccountId,
        /// How many at most; 0 = a whole page.
        pub limit: u16,
    }
}

record! {
    /// One account as an admin sees it.
    pub struct Account as "account" {
        /// The account.
        pub account: AccountId,
        /// Its name.
        pub name: AccountName,
        /// The name that people see.
        pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
        /// What it may do on the server.
        pub role: AccountRole,
        /// Whether it is shut out.
        pub disabled: bool,
        /// When it was made.
        pub created: UnixMillis,
    }
}

payload! {
    /// A page of accounts.
    pub struct Accounts: ACCOUNTS {
        /// The accounts, by id.
        pub accounts: List<Account, LIST_PAGE_MAX>,
        /// Whether there are more behind the last one.
        pub more: bool,
    }
}

payload! {
    /// Disables or enables an account. A disabled one is disconnected and can not log in. Answered by OK.
    pub struct AccountDisable: ACCOUNT_DISABLE {
        /// Whose.
        pub name: AccountName,
        /// Whether it is shut out from now on.
        pub disabled: bool,
    }
}

payload! {
    /// Sets an account's password and forgets its devices. An admin may set anybody's, others their own.
    /// Answered by OK.
    pub struct AccountPassword: ACCOUNT_PASSWORD {
        /// Whose.
        pub name: AccountName,
        /// The new password.
        pub password: Secret<PASSWORD_BYTES_MAX>,
    }
}

//! Frames by which an admin looks after a server: its accounts.

mod accounts;

pub use accounts::{Account, AccountAdd, AccountDisable, AccountList, AccountPassword, Accounts};

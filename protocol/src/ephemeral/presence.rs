//! PRESENCE_SET and PRESENCE: who is there.

use crate::wire::payload;
use crate::{AccountId, AccountName, PresenceState};

payload! {
    /// Says whether one is online or away, for this connection. Answered by OK.
    pub struct PresenceSet: PRESENCE_SET {
        /// `online` or `away`.
        pub state: PresenceState,
    }
}

payload! {
    /// The presence of an account with which the receiver shares a followed room.
    pub struct Presence: PRESENCE {
        /// Who.
        pub account: AccountId,
        /// Their name.
        pub name: AccountName,
        /// The most present of their visible connections.
        pub state: PresenceState,
    }
}

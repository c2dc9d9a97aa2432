//! SIGNAL and SIGNALLED: what somebody is doing in a room right now.

use crate::open::open_enum;
use crate::wire::payload;
use crate::{AccountId, AccountName, RoomId};

open_enum! {
    /// What somebody is doing.
    pub struct SignalKind(u8) as "signal kind" {
        /// Typing; to be forgotten after six seconds without another.
        TYPING = 1 "typing",
        /// Not typing any more.
        IDLE = 2 "idle",
    }
}

payload! {
    /// Tells a room what one is doing. Has no answer, and no effect where the sender is not a member.
    pub struct Signal: SIGNAL {
        /// The room.
        pub room: RoomId,
        /// What one is doing.
        pub kind: SignalKind,
    }
}

payload! {
    /// Tells what a co-member is doing, to connections that follow the room and have the capability.
    pub struct Signalled: SIGNALLED {
        /// The room.
        pub room: RoomId,
        /// Who.
        pub account: AccountId,
        /// Their name.
        pub name: AccountName,
        /// What they are doing.
        pub kind: SignalKind,
    }
}

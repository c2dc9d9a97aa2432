//! ROOM_CREATE and ROOM_DIRECT: rooms that were not there before.

use crate::limits::TOPIC_BYTES_MAX;
use crate::open::open_enum;
use crate::wire::payload;
use crate::{AccountName, ClientId, Line, RoomName};

open_enum! {
    /// Who can see and join a room.
    pub struct Visibility(u8) as "visibility" {
        /// Everybody.
        PUBLIC = 1 "public",
        /// Whoever is invited.
        PRIVATE = 2 "private",
        /// Two accounts, for ever. Made by ROOM_DIRECT only.
        DIRECT = 3 "direct",
    }
}

open_enum! {
    /// How far back a member may read.
    pub struct HistoryPolicy(u8) as "history policy" {
        /// To the first event.
        ALL = 1 "all",
        /// To the member's own join.
        SINCE_JOIN = 2 "since join",
    }
}

payload! {
    /// Makes a room, with the author as its owner. Answered by PUBLISHED with the author's join event.
    pub struct RoomCreate: ROOM_CREATE {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room's name.
        pub name: RoomName,
        /// Who can see and join it; not `direct`.
        pub visibility: Visibility,
        /// How far back a member may read.
        pub history: HistoryPolicy,
        /// The first topic; may be empty.
        pub topic: Line<TOPIC_BYTES_MAX>,
    }
}

payload! {
    /// Opens the direct room with an account, making it if need be. Answered by PUBLISHED.
    pub struct RoomDirect: ROOM_DIRECT {
        /// The request's identity.
        pub client_id: ClientId,
        /// The other account.
        pub account: AccountName,
    }
}

//! The requests that change a room: each becomes one event of its log, and is answered by PUBLISHED.

use crate::limits::{REASON_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::wire::{payload, record};
use crate::{AccountName, ClientId, Line, RoomId, RoomName, RoomRole};

payload! {
    /// Become a member of a public room, or of one whose invitation waits.
    pub struct RoomJoin: ROOM_JOIN {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room's name.
        pub name: RoomName,
    }
}

payload! {
    /// Stop being a member.
    pub struct RoomLeave: ROOM_LEAVE {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room.
        pub room: RoomId,
    }
}

payload! {
    /// Let an account join a private room.
    pub struct RoomInvite: ROOM_INVITE {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room.
        pub room: RoomId,
        /// Who may join.
        pub account: AccountName,
    }
}

payload! {
    /// Remove a member.
    pub struct RoomKick: ROOM_KICK {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room.
        pub room: RoomId,
        /// Who is removed.
        pub account: AccountName,
        /// Why; may be empty.
        pub reason: Line<REASON_BYTES_MAX>,
    }
}

payload! {
    /// Change the topic.
    pub struct RoomTopic: ROOM_TOPIC {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room.
        pub room: RoomId,
        /// The new topic; may be empty.
        pub topic: Line<TOPIC_BYTES_MAX>,
    }
}

payload! {
    /// Change a member's role.
    pub struct RoomRoleSet: ROOM_ROLE {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room.
        pub room: RoomId,
        /// Whose role.
        pub account: AccountName,
        /// The new role.
        pub role: RoomRole,
    }
}

record! {
    /// How much of its log a room keeps. Whichever bound is passed first, the oldest events go.
    #[derive(Copy, Default)]
    pub struct Retention as "retention" {
        /// Seconds after which an event goes; 0 = no bound.
        pub max_age_s: u32,
        /// Events that are kept; 0 = no bound.
        pub max_events: u64,
        /// Bytes of events that are kept, headers included; 0 = no bound.
        pub max_bytes: u64,
    }
}

payload! {
    /// Change how much of its log a room keeps.
    pub struct RoomRetention: ROOM_RETENTION {
        /// The request's identity.
        pub client_id: ClientId,
        /// The room.
        pub room: RoomId,
        /// What it keeps from now on, within the server's own bounds.
        pub retention: Retention,
    }
}

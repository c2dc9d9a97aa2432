//! ROOM_MEMBERS: who is in a room.

use crate::limits::{DISPLAY_NAME_BYTES_MAX, LIST_PAGE_MAX};
use crate::open::open_enum;
use crate::wire::{payload, record};
use crate::{AccountId, AccountName, Line, List, RoomId, Seq};

open_enum! {
    /// What an account may do in a room. Greater roles include the lesser ones.
    pub struct RoomRole(u8) as "room role" {
        /// Not a member.
        NONE = 0 "none",
        /// Read and publish.
        MEMBER = 1 "member",
        /// Also invite, kick members and change the topic.
        MODERATOR = 2 "moderator",
        /// Also kick moderators, change roles and retention.
        OWNER = 3 "owner",
    }
}

open_enum! {
    /// Whether somebody is there.
    pub struct PresenceState(u8) as "presence state" {
        /// No visible connection.
        OFFLINE = 0 "offline",
        /// Connected, and busy with something else.
        AWAY = 1 "away",
        /// Connected.
        ONLINE = 2 "online",
    }
}

record! {
    /// One member of a room.
    pub struct Member as "member" {
        /// The account.
        pub account: AccountId,
        /// Its name.
        pub name: AccountName,
        /// The name that people see.
        pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
        /// What it may do in the room.
        pub role: RoomRole,
        /// The seq of its join event.
        pub joined: Seq,
        /// Whether it is there.
        pub presence: PresenceState,
    }
}

payload! {
    /// Asks for a room's members in the order of their account ids. Answered by MEMBERS.
    pub struct RoomMembers: ROOM_MEMBERS {
        /// The room.
        pub room: RoomId,
        /// Only accounts with a greater id; 0 = from the beginning.
        pub after: AccountId,
        /// How many at most; 0 = a whole page.
        pub limit: u16,
    }
}

payload! {
    /// A page of members.
    pub struct Members: MEMBERS {
        /// The room.
        pub room: RoomId,
        /// The members, by account id.
        pub members: List<Member, LIST_PAGE_MAX>,
        /// Whether there are more behind the last one.
        pub more: bool,
    }
}

//! The kinds of events in a room's log, and what the body of each control event holds.

use crate::limits::{REASON_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::open::open_enum;
use crate::wire::record;
use crate::{AccountId, AccountName, Line, Retention, RoomRole};

open_enum! {
    /// What an event is. Clients publish [`Kind::MESSAGE`] and the kinds `0x4000..=0x7fff`, which belong to
    /// applications; the others are control events, which the server mints from requests.
    pub struct Kind(u16) as "kind" {
        /// A message; its body is the application's, by custom UTF-8 text.
        MESSAGE = 0x0001 "message",
        /// The author became a member. Body: [`JoinBody`].
        JOIN = 0x0101 "join",
        /// The author stopped being a member. Empty body.
        LEAVE = 0x0102 "leave",
        /// The author removed a member. Body: [`KickBody`].
        KICK = 0x0103 "kick",
        /// The author changed the topic. Body: [`TopicBody`].
        TOPIC = 0x0104 "topic",
        /// The author changed a member's role. Body: [`RoleBody`].
        ROLE = 0x0105 "role",
        /// The author let an account join a private room. Body: [`InviteBody`].
        INVITE = 0x0106 "invite",
        /// The author changed how long the room keeps its events. Body: [`RetentionBody`].
        RETENTION = 0x0109 "retention",
    }
}

impl Kind {
    /// The first kind that applications may define for themselves.
    pub const APPLICATION_FIRST: Kind = Kind(0x4000);
    /// The last kind that applications may define for themselves.
    pub const APPLICATION_LAST: Kind = Kind(0x7fff);

    /// Whether a client may PUBLISH it.
    pub fn is_publishable(self) -> bool {
        self == Kind::MESSAGE || (Kind::APPLICATION_FIRST..=Kind::APPLICATION_LAST).contains(&self)
    }
}

record! {
    /// Body of a join event.
    pub struct JoinBody as "body" {
        /// The role that the new member has.
        pub role: RoomRole,
    }
}

record! {
    /// Body of a kick event.
    pub struct KickBody as "body" {
        /// Who was removed.
        pub account: AccountId,
        /// Their name.
        pub name: AccountName,
        /// Why, in the author's words; may be empty.
        pub reason: Line<REASON_BYTES_MAX>,
    }
}

record! {
    /// Body of a topic event.
    pub struct TopicBody as "body" {
        /// The new topic; may be empty.
        pub topic: Line<TOPIC_BYTES_MAX>,
    }
}

record! {
    /// Body of a role event.
    pub struct RoleBody as "body" {
        /// Whose role changed.
        pub account: AccountId,
        /// Their name.
        pub name: AccountName,
        /// The role they have now.
        pub role: RoomRole,
    }
}

record! {
    /// Body of an invite event.
    pub struct InviteBody as "body" {
        /// Who may join now.
        pub account: AccountId,
        /// Their name.
        pub name: AccountName,
    }
}

record! {
    /// Body of a retention event.
    pub struct RetentionBody as "body" {
        /// What the room keeps from now on.
        pub retention: Retention,
    }
}

//! ACK, HEAD, GAP and REPLAYED: how far a subscription has come.

use crate::open::open_enum;
use crate::wire::payload;
use crate::{Epoch, RoomId, Seq};

payload! {
    /// Everything of the room up to `seq` has arrived: gives back credit, and moves a durable cursor.
    pub struct Ack: ACK {
        /// The room.
        pub room: RoomId,
        /// Which incarnation of its log.
        pub epoch: Epoch,
        /// The last seq that has arrived.
        pub seq: Seq,
    }
}

payload! {
    /// The window is full: how far the log goes beyond what was sent.
    pub struct Head: HEAD {
        /// The room.
        pub room: RoomId,
        /// Which incarnation of its log.
        pub epoch: Epoch,
        /// The newest seq.
        pub head: Seq,
        /// How many events stand between what was sent and the head.
        pub behind: u64,
    }
}

open_enum! {
    /// Why events can not be delivered.
    pub struct GapReason(u8) as "gap reason" {
        /// They were older or more than the room keeps.
        RETENTION = 1 "retention",
        /// They were before the account joined, and the room's history begins there.
        BEFORE_JOIN = 2 "before join",
        /// Their records are damaged on the server's disk.
        DAMAGED = 3 "damaged",
    }
}

payload! {
    /// Events that can not be delivered; it counts as their delivery, up to `to`.
    pub struct Gap: GAP {
        /// The room.
        pub room: RoomId,
        /// Which incarnation of its log.
        pub epoch: Epoch,
        /// The first missing seq.
        pub from: Seq,
        /// The last missing seq.
        pub to: Seq,
        /// Why.
        pub reason: GapReason,
    }
}

payload! {
    /// Every event that the log held at the moment of the subscription has been sent.
    pub struct Replayed: REPLAYED {
        /// The room.
        pub room: RoomId,
        /// Which incarnation of its log.
        pub epoch: Epoch,
        /// Where the head stood.
        pub seq: Seq,
    }
}

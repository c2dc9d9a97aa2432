//! PUBLISH and PUBLISHED: one event into a room's log, and the server's word that it is there.

use crate::limits::BODY_BYTES_MAX;
use crate::open::open_enum;
use crate::wire::payload;
use crate::{Blob, ClientId, Epoch, Kind, RoomId, Seq, UnixMillis};

open_enum! {
    /// What an acknowledgement promises.
    pub struct Durability(u8) as "durability" {
        /// The event is on the server's disk: its file was synced before this was sent.
        DISK = 1 "disk",
    }
}

payload! {
    /// Adds an event to a room's log. Answered by PUBLISHED.
    pub struct Publish: PUBLISH {
        /// The room.
        pub room: RoomId,
        /// The publish's identity: with room and author it finds the event for as long as that exists.
        pub client_id: ClientId,
        /// A kind that clients may publish.
        pub kind: Kind,
        /// Whether the refused PUBLISH for which the room waits is given up: it will not be sent again, and this
        /// one need not wait for it.
        pub abandon: bool,
        /// The body, which the server does not read.
        pub body: Blob<BODY_BYTES_MAX>,
    }
}

payload! {
    /// The event is in the log; so is answered every request that becomes an event.
    pub struct Published: PUBLISHED {
        /// The room.
        pub room: RoomId,
        /// Which incarnation of its log.
        pub epoch: Epoch,
        /// Where the event stands.
        pub seq: Seq,
        /// When it was stored.
        pub time: UnixMillis,
        /// What this acknowledgement promises.
        pub durability: Durability,
        /// Whether the event was there before this request.
        pub duplicate: bool,
    }
}

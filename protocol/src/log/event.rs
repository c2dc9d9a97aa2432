//! EVENT: one event of a room's log. It says nothing about who receives it, so it is encoded once, sealed,
//! stored, and sent to everybody as it is.

use crate::limits::BODY_BYTES_MAX;
use crate::wire::payload;
use crate::{AccountId, AccountName, Blob, ClientId, Kind, RoomId, Seq, UnixMillis};

payload! {
    /// One event. Its epoch is that of the subscription or PAGE in which it comes.
    pub struct Event: EVENT {
        /// The room.
        pub room: RoomId,
        /// Where it stands in the room's log.
        pub seq: Seq,
        /// When it was stored; never decreases along the log.
        pub time: UnixMillis,
        /// Who caused it.
        pub author: AccountId,
        /// The author's name, so that a record can be read by itself.
        pub author_name: AccountName,
        /// The identity that the author gave it.
        pub client_id: ClientId,
        /// What it is.
        pub kind: Kind,
        /// What it says.
        pub body: Blob<BODY_BYTES_MAX>,
    }
}

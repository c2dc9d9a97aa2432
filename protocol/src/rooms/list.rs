//! ROOM_LIST and ROOM_GET: finding rooms.

use crate::limits::{LIST_PAGE_MAX, TOPIC_BYTES_MAX};
use crate::open::open_enum;
use crate::wire::{payload, record};
use crate::{
    Epoch, HistoryPolicy, Line, List, Retention, RoomId, RoomName, RoomRole, Seq, UnixMillis, Visibility,
};

open_enum! {
    /// Which rooms a list holds.
    pub struct RoomFilter(u8) as "room filter" {
        /// Those that the account is a member of.
        JOINED = 1 "joined",
        /// The public ones.
        PUBLIC = 2 "public",
        /// Those in which an invitation waits.
        INVITED = 3 "invited",
    }
}

record! {
    /// A room as a stranger to its log sees it.
    pub struct RoomSummary as "room summary" {
        /// The room.
        pub room: RoomId,
        /// Its name.
        pub name: RoomName,
        /// Who can see and join it.
        pub visibility: Visibility,
        /// How far back a member may read.
        pub history: HistoryPolicy,
        /// What it is about.
        pub topic: Line<TOPIC_BYTES_MAX>,
        /// How many members it has.
        pub members: u32,
        /// The asking account's role in it; `none` where it is not a member.
        pub role: RoomRole,
        /// Which incarnation its log is.
        pub epoch: Epoch,
        /// The seq of the oldest event that its log still has. A member may read later ones only, where history is
        /// `since join`.
        pub first: Seq,
        /// The seq of its newest event.
        pub head: Seq,
        /// When the newest event was stored.
        pub time: UnixMillis,
        /// What the room keeps, as its owners have set it; the server's own bounds come on top.
        pub retention: Retention,
    }
}

payload! {
    /// Asks for rooms in the order of their ids. Answered by ROOMS.
    pub struct RoomList: ROOM_LIST {
        /// Which ones.
        pub filter: RoomFilter,
        /// Only rooms with a greater id; 0 = from the beginning.
        pub after: RoomId,
        /// How many at most; 0 = a whole page.
        pub limit: u16,
    }
}

payload! {
    /// A page of rooms.
    pub struct Rooms: ROOMS {
        /// The rooms, by id.
        pub rooms: List<RoomSummary, LIST_PAGE_MAX>,
        /// Whether there are more behind the last one.
        pub more: bool,
    }
}

payload! {
    /// Asks for one room by its name. Answered by ROOM, or by NOT_FOUND for a room that the account may not see.
    pub struct RoomGet: ROOM_GET {
        /// The room's name.
        pub name: RoomName,
    }
}

payload! {
    /// One room.
    pub struct Room: ROOM {
        /// The room.
        pub room: RoomSummary,
    }
}

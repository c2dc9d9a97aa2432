//! SUBSCRIBE and what belongs to it: following rooms from a position.

use crate::error_code::ErrorCode;
use crate::limits::SUBSCRIBE_ROOMS_MAX;
use crate::log::GapReason;
use crate::open::open_enum;
use crate::wire::{payload, record};
use crate::{Epoch, List, RoomId, Seq};

open_enum! {
    /// Where a subscription begins.
    pub struct From(u8) as "from" {
        /// Behind the event at `epoch` and `seq`, which the client has.
        POSITION = 1 "position",
        /// Behind what the device last acknowledged on a durable subscription.
        CURSOR = 2 "cursor",
        /// With the newest `seq` events.
        LATEST = 3 "latest",
        /// Behind the newest event.
        NOW = 4 "now",
        /// With the oldest event that can be read.
        START = 5 "start",
    }
}

open_enum! {
    /// What outlives a subscription.
    pub struct SubscriptionMode(u8) as "subscription mode" {
        /// Nothing.
        TRANSIENT = 1 "transient",
        /// The device's cursor: what it acknowledges is remembered.
        DURABLE = 2 "durable",
    }
}

open_enum! {
    /// How much a subscription tells.
    pub struct Level(u8) as "level" {
        /// Every event.
        FULL = 1 "full",
        /// No event; HEAD says how far the log has grown.
        HEADS = 2 "heads",
    }
}

record! {
    /// One room to follow.
    pub struct SubscribeItem as "subscribe item" {
        /// The room.
        pub room: RoomId,
        /// Where to begin.
        pub from: From,
        /// With `position`: the epoch of the seq; 0 = not known, and not compared.
        pub epoch: Epoch,
        /// With `position`: the last seq that the client has. With `latest`: how many events. Otherwise 0.
        pub seq: Seq,
        /// What outlives it.
        pub mode: SubscriptionMode,
        /// How much it tells.
        pub level: Level,
        /// Unacknowledged events in flight at most; 0 = the server's maximum. With the level `heads`: ignored.
        pub window: u32,
    }
}

payload! {
    /// Follows rooms; one that the connection follows already is followed anew. Answered by SUBSCRIBED.
    pub struct Subscribe: SUBSCRIBE {
        /// The rooms.
        pub rooms: List<SubscribeItem, SUBSCRIBE_ROOMS_MAX>,
    }
}

open_enum! {
    /// What came of the wish to follow a room from a position.
    pub struct Verdict(u8) as "verdict" {
        /// Every event from the position on will come.
        EXACT = 1 "exact",
        /// Events `gap_from` to `gap_to` can not be delivered; those behind them will come.
        GAP = 2 "gap",
        /// The position is not one of this log. Nothing will come.
        RESET = 3 "reset",
        /// `code` says why. Nothing will come.
        REFUSED = 4 "refused",
    }
}

record! {
    /// What came of one room.
    pub struct VerdictItem as "verdict item" {
        /// The room.
        pub room: RoomId,
        /// What came of it.
        pub verdict: Verdict,
        /// Which incarnation the log is; 0 when refused.
        pub epoch: Epoch,
        /// The oldest seq that this account can read; 0 when refused.
        pub first: Seq,
        /// The newest seq; 0 when refused.
        pub head: Seq,
        /// The seq of the first event that will come; 0 when reset or refused.
        pub next: Seq,
        /// First seq of the gap; 0 without one.
        pub gap_from: Seq,
        /// Last seq of the gap; 0 without one.
        pub gap_to: Seq,
        /// Why there is a gap; 0 without one.
        pub gap_reason: GapReason,
        /// Why it was refused; 0 when it was not.
        pub code: ErrorCode,
    }
}

payload! {
    /// Answers SUBSCRIBE, one verdict for each of its rooms in the same order, before any of their events.
    pub struct Subscribed: SUBSCRIBED {
        /// The verdicts.
        pub rooms: List<VerdictItem, SUBSCRIBE_ROOMS_MAX>,
    }
}

payload! {
    /// Stops following rooms. Answered by OK, after which none of their events comes.
    pub struct Unsubscribe: UNSUBSCRIBE {
        /// The rooms; one that is not followed is passed over.
        pub rooms: List<RoomId, SUBSCRIBE_ROOMS_MAX>,
    }
}

open_enum! {
    /// Why a subscription ended.
    pub struct EndReason(u8) as "end reason" {
        /// The account left the room.
        LEFT = 1 "left",
        /// The account was removed from the room.
        KICKED = 2 "kicked",
        /// Another connection of the device follows the room durably now.
        REPLACED = 3 "replaced",
    }
}

payload! {
    /// The server ended a subscription; no event of the room comes after this frame.
    pub struct SubscriptionEnded: SUBSCRIPTION_ENDED {
        /// The room.
        pub room: RoomId,
        /// Which incarnation of its log.
        pub epoch: Epoch,
        /// The last seq that was sent.
        pub seq: Seq,
        /// Why.
        pub reason: EndReason,
    }
}

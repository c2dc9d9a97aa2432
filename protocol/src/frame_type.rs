//! The type codes of frames: which payload a header announces, and whether a stranger may skip it.

use binrw::{BinRead, BinWrite};

use crate::open::open_enum;
use crate::wire::IGNORABLE;

open_enum! {
    /// What a frame is. Bit 15 set: ignorable when unknown, and never a request; clear: critical.
    /// Families: `0x00__` connection, `0x01__` rooms, `0x02__` log, `0x03__` ephemeral, `0x04__`
    /// administration, `0x05__` blobs, `0x4000..=0x7fff` private use; the same with bit 15.
    #[derive(BinRead, BinWrite)]
    #[brw(big)]
    pub struct FrameType(u16) as "frame type" {
        /// Client's first frame: versions, capabilities, window.
        HELLO = 0x0001 "HELLO",
        /// Server's answer: the version chosen, capabilities, every limit.
        WELCOME = 0x0002 "WELCOME",
        /// Make an account with a registration token.
        REGISTER = 0x0003 "REGISTER",
        /// Log in.
        AUTH = 0x0004 "AUTH",
        /// Who the connection now speaks for.
        AUTHENTICATED = 0x0005 "AUTHENTICATED",
        /// Take up a session again.
        RESUME = 0x0006 "RESUME",
        /// Answer me, behind everything before.
        PING = 0x0007 "PING",
        /// The answer, with the same bytes.
        PONG = 0x0008 "PONG",
        /// The server is about to close; come back later, or elsewhere.
        GOAWAY = 0x0009 "GOAWAY",
        /// A request or the connection failed.
        ERROR = 0x000a "ERROR",
        /// A request was done and has nothing to say.
        OK = 0x000b "OK",
        /// Stop a read.
        CANCEL = 0x000c "CANCEL",
        /// The last frame of an orderly end.
        CLOSE = 0x000d "CLOSE",

        /// Make a room.
        ROOM_CREATE = 0x0101 "ROOM_CREATE",
        /// Become a member.
        ROOM_JOIN = 0x0102 "ROOM_JOIN",
        /// Stop being a member.
        ROOM_LEAVE = 0x0103 "ROOM_LEAVE",
        /// Let an account join a private room.
        ROOM_INVITE = 0x0104 "ROOM_INVITE",
        /// Remove a member.
        ROOM_KICK = 0x0105 "ROOM_KICK",
        /// Change the topic.
        ROOM_TOPIC = 0x0106 "ROOM_TOPIC",
        /// Change a member's role.
        ROOM_ROLE = 0x0107 "ROOM_ROLE",
        /// Open the direct room with an account.
        ROOM_DIRECT = 0x0108 "ROOM_DIRECT",
        /// Ask for rooms.
        ROOM_LIST = 0x0109 "ROOM_LIST",
        /// A page of rooms.
        ROOMS = 0x010a "ROOMS",
        /// Ask for one room by name.
        ROOM_GET = 0x010b "ROOM_GET",
        /// One room.
        ROOM = 0x010c "ROOM",
        /// Ask for a room's members.
        ROOM_MEMBERS = 0x010d "ROOM_MEMBERS",
        /// A page of members.
        MEMBERS = 0x010e "MEMBERS",
        /// Change how long a room keeps its events.
        ROOM_RETENTION = 0x010f "ROOM_RETENTION",

        /// Add an event to a room's log.
        PUBLISH = 0x0201 "PUBLISH",
        /// Where it stands, and what that is worth.
        PUBLISHED = 0x0202 "PUBLISHED",
        /// Follow rooms.
        SUBSCRIBE = 0x0203 "SUBSCRIBE",
        /// A verdict for each.
        SUBSCRIBED = 0x0204 "SUBSCRIBED",
        /// Stop following rooms.
        UNSUBSCRIBE = 0x0205 "UNSUBSCRIBE",
        /// The server stopped a subscription.
        SUBSCRIPTION_ENDED = 0x0206 "SUBSCRIPTION_ENDED",
        /// One event of a room's log, sealed.
        EVENT = 0x0207 "EVENT",
        /// The replay has reached where the head stood at the subscription.
        REPLAYED = 0x0208 "REPLAYED",
        /// Everything up to here has arrived.
        ACK = 0x0209 "ACK",
        /// How far the log goes beyond what was sent.
        HEAD = 0x020a "HEAD",
        /// Events that can not be delivered.
        GAP = 0x020b "GAP",
        /// Ask for stored events.
        HISTORY = 0x020d "HISTORY",
        /// Stored events as they are.
        PAGE = 0x020e "PAGE",

        /// Say what one is doing in a room.
        SIGNAL = 0x8301 "SIGNAL",
        /// What a member is doing in a room.
        SIGNALLED = 0x8302 "SIGNALLED",
        /// Say whether one is there.
        PRESENCE_SET = 0x0303 "PRESENCE_SET",
        /// Whether a co-member is there.
        PRESENCE = 0x8304 "PRESENCE",
        /// Change one's display name.
        PROFILE_SET = 0x0305 "PROFILE_SET",
        /// A co-member's display name changed.
        PROFILE = 0x8306 "PROFILE",

        /// Add an account.
        ACCOUNT_ADD = 0x0401 "ACCOUNT_ADD",
        /// Ask for accounts.
        ACCOUNT_LIST = 0x0402 "ACCOUNT_LIST",
        /// A page of accounts.
        ACCOUNTS = 0x0403 "ACCOUNTS",
        /// Disable or enable an account.
        ACCOUNT_DISABLE = 0x0404 "ACCOUNT_DISABLE",
        /// Set an account's password.
        ACCOUNT_PASSWORD = 0x0405 "ACCOUNT_PASSWORD",
    }
}

impl FrameType {
    /// Whether a receiver that does not know the type may skip the frame.
    pub fn is_ignorable(self) -> bool {
        self.0 & IGNORABLE != 0
    }

    /// Whether an operator's own extensions may use the code.
    pub fn is_private(self) -> bool {
        (0x4000..=0x7fff).contains(&(self.0 & !IGNORABLE))
    }
}

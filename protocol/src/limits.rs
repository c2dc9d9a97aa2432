//! Every bound of the wire: unit, value and reason. What a server can set is advertised in WELCOME.

use crate::open::open_enum;
use crate::wire::record;

/// Payload bytes of a frame that every client of version 1 accepts: an operator who lowers a limit must not make
/// old messages undeliverable.
pub const RECEIVE_FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// Payload bytes of a frame sent to a server before it has authenticated the peer: a HELLO, a REGISTER or an
/// AUTH with the longest fields fits three times.
pub const PRE_AUTH_FRAME_BYTES_MAX: u32 = 4 * 1024;

/// Payload bytes of a frame sent to a server, unless it advertises another limit.
pub const FRAME_BYTES_DEFAULT: u32 = 64 * 1024;

/// Smallest `frame_bytes_max` that a server may set: every request but PUBLISH fits.
pub const FRAME_BYTES_MIN: u32 = 32 * 1024;

/// What a PAGE with one EVENT adds to that event's body, rounded up: so much smaller is the largest body than
/// the largest frame, and PAGE{EVENT{body_bytes_max}} always fits.
pub const BODY_OVERHEAD_BYTES: u32 = 256;

/// Bytes of an event's body that the wire can carry at all.
pub const BODY_BYTES_MAX: usize = (RECEIVE_FRAME_BYTES_MAX - BODY_OVERHEAD_BYTES) as usize;

/// Bytes of an account's name, at least: one-letter names are too easily mistaken.
pub const ACCOUNT_NAME_BYTES_MIN: usize = 2;
/// Bytes of an account's name, at most.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 32;
/// Bytes of a room's name, at most; a direct room's name is two account names and two signs.
pub const ROOM_NAME_BYTES_MAX: usize = 64;
/// Bytes of a password: Argon2 must not be fed without bound.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Bytes of a password, at least, when one is set.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Bytes of a device or registration token in its text form.
pub const TOKEN_BYTES_MAX: usize = 256;
/// Bytes of a display name.
pub const DISPLAY_NAME_BYTES_MAX: usize = 64;
/// Bytes of a device's label.
pub const DEVICE_LABEL_BYTES_MAX: usize = 64;
/// Bytes of the name and version by which a program introduces itself.
pub const AGENT_BYTES_MAX: usize = 128;
/// Bytes of a topic.
pub const TOPIC_BYTES_MAX: usize = 512;
/// Bytes of the reason of a kick.
pub const REASON_BYTES_MAX: usize = 256;
/// Bytes of the text of ERROR, GOAWAY and CLOSE.
pub const ERROR_TEXT_BYTES_MAX: usize = 256;
/// Bytes of one address in GOAWAY.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Addresses in one GOAWAY.
pub const ADDRESSES_MAX: usize = 16;
/// Bytes of PING and PONG: a nonce and a time fit.
pub const PING_BYTES_MAX: usize = 64;
/// Elements of the capability list in HELLO and WELCOME.
pub const CAPABILITIES_MAX: usize = 64;
/// Elements of the limits list in WELCOME.
pub const LIMITS_MAX: usize = 128;
/// Elements of the list of authentication methods in WELCOME.
pub const AUTH_METHODS_MAX: usize = 16;
/// Rooms in one SUBSCRIBE, SUBSCRIBED or UNSUBSCRIBE: 64 KiB hold them with room to spare.
pub const SUBSCRIBE_ROOMS_MAX: usize = 500;
/// Rooms, members or accounts in one page of a list.
pub const LIST_PAGE_MAX: usize = 100;

open_enum! {
    /// A limit that a server advertises in WELCOME and an ERROR names when it was hit.
    pub struct LimitId(u16) as "limit id" {
        /// Payload bytes of a frame sent to the server.
        FRAME_BYTES = 0x0001 "frame_bytes_max",
        /// Body bytes of a PUBLISH.
        BODY_BYTES = 0x0002 "body_bytes_max",
        /// Unacknowledged events in flight on one subscription.
        WINDOW = 0x0003 "window_events_max",
        /// Unacknowledged events in flight on the connection.
        CONNECTION_WINDOW = 0x0004 "connection_window_events_max",
        /// Requests without a final answer on the connection.
        REQUESTS_IN_FLIGHT = 0x0005 "requests_in_flight_max",
        /// Events in one PAGE.
        PAGE_EVENTS = 0x0006 "page_events_max",
        /// Bytes of enclosed frames in one PAGE.
        PAGE_BYTES = 0x0007 "page_bytes_max",
        /// Rooms that one account may be a member of.
        ROOMS_PER_ACCOUNT = 0x0008 "rooms_per_account_max",
        /// Devices that one account may have; the one unused the longest makes way.
        DEVICES_PER_ACCOUNT = 0x0009 "devices_per_account_max",
        /// Connections that one account may have at once.
        CONNECTIONS_PER_ACCOUNT = 0x000a "connections_per_account_max",
        /// Subscriptions on one connection.
        SUBSCRIPTIONS = 0x000b "subscriptions_max",
        /// Milliseconds between signs of life that a side asks for.
        HEARTBEAT_INTERVAL_MS = 0x000c "heartbeat_interval_ms",
        /// Milliseconds without a byte after which the connection is given up.
        HEARTBEAT_TIMEOUT_MS = 0x000d "heartbeat_timeout_ms",
        /// Milliseconds from the accepted connection to HELLO.
        HELLO_TIMEOUT_MS = 0x000e "hello_timeout_ms",
        /// Milliseconds from the accepted connection to AUTHENTICATED.
        AUTH_TIMEOUT_MS = 0x000f "auth_timeout_ms",
        /// Milliseconds from a frame's first byte to its last.
        FRAME_TIMEOUT_MS = 0x0010 "frame_timeout_ms",
        /// Milliseconds without progress of a write.
        WRITE_TIMEOUT_MS = 0x0011 "write_timeout_ms",
        /// Failed logins on one connection.
        AUTH_TRIES = 0x0012 "auth_tries_max",
        /// Publishes a second for one account; 0 = no limit.
        PUBLISH_RATE = 0x0013 "publish_rate_per_second",
        /// Publishes above the rate that may come at once.
        PUBLISH_BURST = 0x0014 "publish_burst_max",
        /// Bytes of the data in a PING.
        PING_BYTES = 0x0015 "ping_bytes_max",
        /// Rooms in one SUBSCRIBE.
        SUBSCRIBE_ROOMS = 0x0016 "subscribe_rooms_max",
        /// Members of one room.
        MEMBERS_PER_ROOM = 0x0017 "members_per_room_max",
        /// Connections to the server.
        CONNECTIONS = 0x0018 "connections_max",
        /// Failed logins of one account or from one address in a span of time.
        LOGIN_RATE = 0x0019 "login_rate",
        /// Invitations that wait in one room.
        INVITES_PER_ROOM = 0x001a "invites_per_room_max",
        /// Connections from one address.
        CONNECTIONS_PER_ADDRESS = 0x001b "connections_per_address_max",
        /// Sessions that one device may have; the one without a connection for the longest makes way.
        SESSIONS_PER_DEVICE = 0x001c "sessions_per_device_max",
    }
}

record! {
    /// One limit and what it is set to.
    pub struct Limit as "limit" {
        /// Which limit.
        pub id: LimitId,
        /// Its value, in the unit that the specification's table of limits gives.
        pub value: u64,
    }
}

//! CLOSE and GOAWAY: how a connection ends on purpose.

use crate::error_code::ErrorCode;
use crate::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, ERROR_TEXT_BYTES_MAX};
use crate::open::open_enum;
use crate::wire::payload;
use crate::{Line, List};

open_enum! {
    /// What becomes of the login when the connection ends.
    pub struct Disposition(u8) as "disposition" {
        /// The login lasts; the client will be back.
        KEEP = 1 "keep",
        /// This session is over.
        END = 2 "end",
        /// The session is over and the device is forgotten: its token is worth nothing any more.
        FORGET_DEVICE = 3 "forget device",
    }
}

payload! {
    /// The last frame that its sender sends.
    pub struct Close: CLOSE {
        /// Why, if it was an error; 0 = it was not.
        pub code: ErrorCode,
        /// What becomes of the login; a server's CLOSE always says keep.
        pub disposition: Disposition,
        /// For a person reading a log.
        pub text: Line<ERROR_TEXT_BYTES_MAX>,
    }
}

payload! {
    /// The server will close soon. The client finishes what it has begun and comes back.
    pub struct GoAway: GOAWAY {
        /// Why.
        pub code: ErrorCode,
        /// Come back after so many milliseconds, which the server spreads over its clients.
        pub reconnect_after_ms: u32,
        /// Other addresses of the same service, best first; empty = the same one.
        pub addresses: List<Line<ADDRESS_BYTES_MAX>, ADDRESSES_MAX>,
        /// For a person reading a log.
        pub text: Line<ERROR_TEXT_BYTES_MAX>,
    }
}

//! PING and PONG: a sign of life, and a barrier.

use crate::Blob;
use crate::limits::PING_BYTES_MAX;
use crate::wire::payload;

payload! {
    /// Asks for a PONG. Either side may send it.
    pub struct Ping: PING {
        /// Anything; the PONG carries the same.
        pub data: Blob<PING_BYTES_MAX>,
    }
}

payload! {
    /// Answers a PING, behind everything that its reading obliged the server to send.
    pub struct Pong: PONG {
        /// What the PING carried.
        pub data: Blob<PING_BYTES_MAX>,
    }
}

//! HELLO: the client's first frame.

use crate::limits::{AGENT_BYTES_MAX, CAPABILITIES_MAX};
use crate::wire::payload;
use crate::{Capability, Line, List};

payload! {
    /// The client's first frame, in a layout that is frozen for every version.
    pub struct Hello: HELLO {
        /// Lowest version that the client speaks.
        pub version_min: u8,
        /// Highest version that the client speaks.
        pub version_max: u8,
        /// What the client can do beyond the core.
        pub capabilities: List<Capability, CAPABILITIES_MAX>,
        /// Unacknowledged events that the client takes in all, over its subscriptions; 0 = the server's maximum.
        pub connection_window: u32,
        /// The client's name and version, for logs.
        pub agent: Line<AGENT_BYTES_MAX>,
    }
}

//! What a side can do beyond the core of the protocol; only what both offer is used.

use crate::open::open_enum;

open_enum! {
    /// A part of the protocol that may be absent. A receiver ignores the ones it does not know.
    pub struct Capability(u16) as "capability" {
        /// PRESENCE and PROFILE frames.
        PRESENCE = 0x0001 "presence",
        /// SIGNALLED frames.
        SIGNALS = 0x0002 "signals",
    }
}

//! Frames that are never stored: typing, presence, display names. They have no seq and may be coalesced.

mod presence;
mod profile;
mod signal;

pub use presence::{Presence, PresenceSet};
pub use profile::{Profile, ProfileSet};
pub use signal::{Signal, SignalKind, Signalled};

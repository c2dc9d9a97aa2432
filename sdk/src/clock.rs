//! What time it is: the machine's clock, unless a test or a simulation plugs in its own.

use std::time::{SystemTime, UNIX_EPOCH};

use hark_protocol::UnixMillis;

/// Tells the time of day, with which client ids begin. Durations are measured by the runtime, not by this.
pub trait Clock: Send + Sync + 'static {
    /// The time now. May stand still or step back, as a machine's clock does.
    fn now(&self) -> UnixMillis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(unix.as_millis()).unwrap_or(0))
    }
}

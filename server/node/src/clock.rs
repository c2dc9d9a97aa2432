//! The clock: the one place where the server learns what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use hark_protocol::UnixMillis;

/// Tells the time. Durations and deadlines are measured by the runtime, not by this.
pub trait Clock: Send + Sync + 'static {
    /// The time now. May stand still or step back, as a machine's clock does.
    fn now(&self) -> UnixMillis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        // A clock before 1970 reads as 0, which `is_plausible` refuses at start.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Whether a clock that shows `now` can be right: not before this program was written, not after 2100. A machine
/// whose battery is dead starts in 1970 or 2000, and every stored time and every certificate would suffer.
pub fn is_plausible(now: UnixMillis) -> bool {
    (PLAUSIBLE_FROM.0..PLAUSIBLE_UNTIL.0).contains(&now.0)
}

/// 2025-01-01T00:00:00Z.
const PLAUSIBLE_FROM: UnixMillis = UnixMillis(1_735_689_600_000);
/// 2100-01-01T00:00:00Z.
const PLAUSIBLE_UNTIL: UnixMillis = UnixMillis(4_102_444_800_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_1970_is_not_plausible() {
        assert!(!is_plausible(UnixMillis(0)));
        assert!(!is_plausible(UnixMillis(u64::MAX)));
        assert!(is_plausible(UnixMillis(1_800_000_000_000)));
    }
}

//! The rate at which a pipeline may send: a bucket that fills with time.

use std::time::Duration;

use hark_sdk::{LimitId, ServerInfo};
use tokio::time::Instant;

/// Keeps within the rate that the server advertises, so that it has nothing to refuse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// Time that one message costs; zero = no limit.
    cost: Duration,
    /// How far ahead of its cost a message may be.
    ahead_max: Duration,
    /// When everything that was sent has been paid for.
    paid_at: Instant,
}

impl Pacer {
    /// For the limits of a server.
    pub(super) fn of(server: &ServerInfo, now: Instant) -> Pacer {
        let limit = |id| server.limit(id).unwrap_or(0);
        Pacer::new(limit(LimitId::PUBLISH_RATE), limit(LimitId::PUBLISH_BURST), now)
    }

    /// For `per_second` messages, 0 = as many as there are, and `burst` of them at once.
    pub(super) fn new(per_second: u64, burst: u64, now: Instant) -> Pacer {
        let cost = match per_second {
            0 => Duration::ZERO,
            rate => Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX),
        };
        // Half of the burst: the rate is the account's, and this may not be its only sender.
        let ahead_max = cost.saturating_mul(u32::try_from(burst / 2).unwrap_or(u32::MAX));
        Pacer { cost, ahead_max, paid_at: now }
    }

    /// How long the next message has to wait.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        self.paid_at.saturating_duration_since(now).saturating_sub(self.ahead_max)
    }

    /// Counts a message.
    pub(super) fn spend(&mut self, now: Instant) {
        self.paid_at = self.paid_at.max(now) + self.cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_rate_is_not_waited_for() {
        let begun = Instant::now();
        let mut pacer = Pacer::new(0, 0, begun);
        (0..10_000).for_each(|_| pacer.spend(begun));
        assert_eq!(pacer.delay(begun), Duration::ZERO);
    }

    #[test]
    fn a_rate_is_kept_behind_half_of_the_burst() {
        let begun = Instant::now();
        let mut pacer = Pacer::new(10, 20, begun);
        (0..10).for_each(|_| pacer.spend(begun));
        assert_eq!(pacer.delay(begun), Duration::ZERO);
        pacer.spend(begun);
        assert_eq!(pacer.delay(begun), Duration::from_millis(100));
        assert_eq!(pacer.delay(begun + Duration::from_millis(100)), Duration::ZERO);
    }

    #[test]
    fn time_that_passed_unused_is_not_saved_up() {
        let begun = Instant::now();
        let mut pacer = Pacer::new(10, 0, begun);
        let later = begun + Duration::from_secs(60);
        pacer.spend(later);
        assert_eq!(pacer.delay(later), Duration::from_millis(100));
    }
}

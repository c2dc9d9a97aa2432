//! How a client behaves: what it does offline, and how it comes back.

use std::time::Duration;

/// What happens to requests while there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// They wait, in order, and are sent when the connection is back.
    Queue {
        /// Publishes without an answer, sent or not, that the client keeps; another one waits or is refused.
        max: usize,
    },
    /// They fail at once with a typed error, and nothing was sent. What had been sent before the connection was
    /// lost is still sent again and answered.
    Refuse,
}

/// Publishes without an answer that a client keeps unless it is told otherwise.
pub const OFFLINE_QUEUE_DEFAULT: usize = 1024;

impl Default for Offline {
    fn default() -> Offline {
        Offline::Queue { max: OFFLINE_QUEUE_DEFAULT }
    }
}

impl Offline {
    pub(crate) fn queue_max(self) -> usize {
        match self {
            Offline::Queue { max } => max,
            Offline::Refuse => OFFLINE_QUEUE_DEFAULT,
        }
    }
}

/// How a lost connection is made again: after a random part of a span that doubles from `first` to `cap` (full
/// jitter), so that the clients of a server that comes back do not all come at once. A server's own word on when
/// to come back is always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The longest delay before the first attempt.
    pub first: Duration,
    /// The longest delay before any attempt.
    pub cap: Duration,
    /// Attempts in a row before the client gives up for good; `None` = it never does, `Some(0)` = none at all.
    pub attempts_max: Option<u32>,
}

impl Default for Reconnect {
    /// Within a second at first, within a minute at last, for ever.
    fn default() -> Reconnect {
        Reconnect { first: Duration::from_secs(1), cap: Duration::from_secs(60), attempts_max: None }
    }
}

impl Reconnect {
    /// A lost connection is the client's end.
    pub fn never() -> Reconnect {
        Reconnect { attempts_max: Some(0), ..Reconnect::default() }
    }

    /// Whether attempt number `attempt`, counted from 1, is to be made.
    pub(crate) fn allows(&self, attempt: u32) -> bool {
        self.attempts_max.is_none_or(|max| attempt <= max)
    }

    /// The delay before attempt number `attempt`, counted from 1, with `random` as the chance in it.
    pub(crate) fn delay(&self, attempt: u32, random: u64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let span = self.first.saturating_mul(1 << doublings).min(self.cap);
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        // At least a tenth of the span: a server that refuses at once must not be asked a thousand times a second.
        let least_ms = span_ms / 10;
        Duration::from_millis(least_ms + random % (span_ms - least_ms).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_are_spread() {
        let reconnect = Reconnect::default();
        for attempt in 1..100 {
            let span = Duration::from_secs(1 << (attempt - 1).min(6)).min(Duration::from_secs(60));
            let delays: Vec<_> = (0..1000u64)
                .map(|n| reconnect.delay(attempt, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect();
            assert!(delays.iter().all(|delay| *delay <= span && *delay >= span / 10), "attempt {attempt}");
            assert!(
                delays.iter().any(|delay| *delay < span / 3) && delays.iter().any(|delay| *delay > span / 2)
            );
        }
    }

    #[test]
    fn twenty_attempts_a_minute_are_not_exceeded() {
        // Whatever chance does, ten refusals in a row take at least this long.
        let reconnect = Reconnect::default();
        let least: Duration = (1..=20).map(|attempt| reconnect.delay(attempt, 0)).sum();
        assert!(least >= Duration::from_secs(60), "{least:?}");
    }

    #[test]
    fn never_allows_nothing() {
        assert!(!Reconnect::never().allows(1));
        assert!(Reconnect::default().allows(u32::MAX));
        assert_eq!(Reconnect { first: Duration::ZERO, ..Reconnect::default() }.delay(9, 7), Duration::ZERO);
    }
}

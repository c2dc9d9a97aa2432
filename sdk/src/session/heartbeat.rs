//! Whether the server is alive: when to ask, and when to stop waiting.

use std::time::Duration;

use hark_protocol::{Blob, LimitId, Ping, Welcome};

use crate::session::Moment;

/// Asks at the interval that the server advertises, and gives up after its timeout without a byte.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    heard: Moment,
    next_ping: Moment,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { interval: INTERVAL, timeout: TIMEOUT, heard: Moment::ZERO, next_ping: Moment::MAX }
    }
}

impl Heartbeat {
    pub(super) fn advertised(welcome: &Welcome, now: Moment) -> Heartbeat {
        let milliseconds = |id, otherwise: Duration, least: Duration| {
            welcome.limit(id).map_or(otherwise, Duration::from_millis).clamp(least, LONGEST)
        };
        let interval = milliseconds(LimitId::HEARTBEAT_INTERVAL_MS, INTERVAL, SHORTEST);
        // Less than two intervals would take one late answer for a death.
        let timeout = milliseconds(LimitId::HEARTBEAT_TIMEOUT_MS, TIMEOUT.max(interval * 3), interval * 2);
        Heartbeat { interval, timeout, heard: now, next_ping: Moment::MAX }
    }

    /// The conversation begins.
    pub(super) fn begin(&mut self, now: Moment) {
        self.heard = now;
        self.next_ping = now + self.interval;
    }

    pub(super) fn on_bytes(&mut self, now: Moment) {
        self.heard = now;
    }

    pub(super) fn is_dead(&self, now: Moment) -> bool {
        now >= self.heard + self.timeout
    }

    /// A PING, when it is time for one.
    pub(super) fn ping(&mut self, now: Moment) -> Option<Ping> {
        if now < self.next_ping {
            return None;
        }
        self.next_ping = now + self.interval;
        Some(Ping { data: Blob::default() })
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        Some(self.next_ping.min(self.heard + self.timeout))
    }
}

/// Where the server advertises nothing.
const INTERVAL: Duration = Duration::from_secs(30);
/// Where the server advertises nothing.
const TIMEOUT: Duration = Duration::from_secs(90);
/// A server that advertises less is asked this often all the same.
const SHORTEST: Duration = Duration::from_millis(100);
/// A server that advertises more is asked this often all the same: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

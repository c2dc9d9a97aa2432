//! Whether the server is alive: when to ask, and when to stop waiting.

use std::time::Duration;

use hark_protocol::{Blob, LimitId, Ping, Welcome};

use crate::session::{Moment, Rest};

/// Asks at the interval that the server advertises, and gives up after its timeout without a byte.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    heard: Moment,
    next_ping: Moment,
    /// Since when a frame has been arriving that is not whole.
    partial: Option<Moment>,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat {
            interval: INTERVAL,
            timeout: TIMEOUT,
            heard: Moment::ZERO,
            next_ping: Moment::MAX,
            partial: None,
        }
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
        Heartbeat { interval, timeout, heard: now, next_ping: Moment::MAX, partial: None }
    }

    /// The conversation begins.
    pub(super) fn begin(&mut self, now: Moment) {
        self.heard = now;
        self.next_ping = now + self.interval;
    }

    /// Bytes arrived, and left a frame unfinished or not.
    pub(super) fn on_bytes(&mut self, rest: Rest, now: Moment) {
        self.heard = now;
        self.partial = match rest {
            Rest::None => None,
            Rest::NewPartial => Some(now),
            Rest::SamePartial => self.partial.or(Some(now)),
        };
    }

    /// Whether a frame has been arriving for so long that nobody means to finish it.
    pub(super) fn is_stalled(&self, now: Moment) -> bool {
        self.partial.is_some_and(|since| now >= since + FRAME)
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
        let stalled = self.partial.map_or(Moment::MAX, |since| since + FRAME);
        Some(self.next_ping.min(self.heard + self.timeout).min(stalled))
    }
}

/// From a frame's first byte to its last: a megabyte at the speed of a telephone line.
const FRAME: Duration = Duration::from_secs(180);
/// Where the server advertises nothing.
const INTERVAL: Duration = Duration::from_secs(30);
/// Where the server advertises nothing.
const TIMEOUT: Duration = Duration::from_secs(90);
/// A server that advertises less is asked this often all the same.
const SHORTEST: Duration = Duration::from_millis(100);
/// A server that advertises more is asked this often all the same: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

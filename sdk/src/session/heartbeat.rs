//! Whether the server is alive: when to ask, when to doubt, and when to stop waiting.
//!
//! ```text
//!            a PING has no answer for max(interval, 8 round trips)       silence: max(timeout, 24 round trips)
//!   normal ────────────────────────────────────────────────────► suspect ─────────────────────────────────────► lost
//!     ▲                                                             │
//!     └──────────────────────── any byte ───────────────────────────┘
//! ```

use std::time::Duration;

use hark_protocol::{Blob, LimitId, Ping, Welcome};

use crate::session::{Moment, Rest};

/// Asks at the interval that the server advertises, doubts when that is not answered, and gives up after so long
/// without a byte. A line that has shown itself to be slow is given more time.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    heard: Moment,
    next_ping: Moment,
    /// When the PING was sent that has no answer.
    asked: Option<Moment>,
    /// The smoothed time from PING to PONG.
    round_trip: Duration,
    /// When something must have been heard because the network has changed.
    probe: Option<Moment>,
    is_suspect: bool,
    /// Since when a frame has been arriving that is not whole.
    partial: Option<Moment>,
}

/// What has become of the server's being alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// Nothing new.
    Same,
    /// From now on it is in doubt; silent for so long.
    Suspect(Duration),
    /// It is given up.
    Lost,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat {
            interval: INTERVAL,
            timeout: TIMEOUT,
            heard: Moment::ZERO,
            next_ping: Moment::MAX,
            asked: None,
            round_trip: Duration::ZERO,
            probe: None,
            is_suspect: false,
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
        Heartbeat { interval, timeout, heard: now, ..Heartbeat::default() }
    }

    /// The conversation begins.
    pub(super) fn begin(&mut self, now: Moment) {
        self.heard = now;
        self.next_ping = now + self.interval;
    }

    /// Bytes arrived, and left a frame unfinished or not. If the server had been in doubt, for how long it had been
    /// silent.
    pub(super) fn on_bytes(&mut self, rest: Rest, now: Moment) -> Option<Duration> {
        let silent_for = now.saturating_sub(self.heard);
        (self.heard, self.probe) = (now, None);
        self.partial = match rest {
            Rest::None => None,
            Rest::NewPartial => Some(now),
            Rest::SamePartial => self.partial.or(Some(now)),
        };
        std::mem::take(&mut self.is_suspect).then_some(silent_for)
    }

    /// A PING is answered, or will not be.
    pub(super) fn on_answer(&mut self, now: Moment) {
        let Some(asked) = self.asked.take() else { return };
        let sample = now.saturating_sub(asked);
        self.round_trip = match self.round_trip {
            Duration::ZERO => sample,
            smoothed => (smoothed * 7 + sample) / 8,
        };
    }

    /// Whether a frame has been arriving for so long that nobody means to finish it.
    pub(super) fn is_stalled(&self, now: Moment) -> bool {
        self.partial.is_some_and(|since| now >= since + FRAME)
    }

    /// Looks at the time.
    pub(super) fn pulse(&mut self, now: Moment) -> Pulse {
        if now >= self.lost_at() {
            return Pulse::Lost;
        }
        if !self.is_suspect && self.suspect_at().is_some_and(|at| now >= at) {
            self.is_suspect = true;
            return Pulse::Suspect(now.saturating_sub(self.heard));
        }
        Pulse::Same
    }

    /// A PING, when it is time for one.
    pub(super) fn ping(&mut self, now: Moment) -> Option<Ping> {
        if now < self.next_ping {
            return None;
        }
        self.next_ping = now + self.interval;
        Some(Ping { data: Blob::default() })
    }

    /// A PING has been sent.
    pub(super) fn on_asked(&mut self, now: Moment) {
        self.asked = Some(now);
    }

    /// The network has changed: asks at once, and gives the connection up if nothing is heard soon.
    pub(super) fn probe(&mut self, now: Moment) {
        self.next_ping = now;
        let soon = now + PROBE.max(self.round_trip * 8);
        self.probe = Some(self.probe.map_or(soon, |probe| probe.min(soon)));
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let stalled = self.partial.map_or(Moment::MAX, |since| since + FRAME);
        let suspect = self.suspect_at().filter(|_| !self.is_suspect).unwrap_or(Moment::MAX);
        Some(self.next_ping.min(self.lost_at()).min(stalled).min(suspect))
    }

    fn lost_at(&self) -> Moment {
        // More than 90 seconds nobody waits, unless the server asks for it.
        let slow = (self.round_trip * 24).min(TIMEOUT);
        let silent = self.heard + self.timeout.max(slow);
        self.probe.map_or(silent, |probe| probe.min(silent))
    }

    fn suspect_at(&self) -> Option<Moment> {
        // What was heard behind the question is a sign of life, though not the answer.
        self.asked.map(|asked| asked.max(self.heard) + self.interval.max(self.round_trip * 8))
    }
}

/// From a frame's first byte to its last: a megabyte at the speed of a telephone line.
const FRAME: Duration = Duration::from_secs(180);
/// Where the server advertises nothing.
const INTERVAL: Duration = Duration::from_secs(30);
/// Where the server advertises nothing; and as long as a slow line is waited for at most.
const TIMEOUT: Duration = Duration::from_secs(90);
/// A server that advertises less is asked this often all the same.
const SHORTEST: Duration = Duration::from_millis(100);
/// A server that advertises more is asked this often all the same: a day.
const LONGEST: Duration = Duration::from_secs(86_400);
/// How long an answer may take when the network has changed: a radio that wakes up takes a second or two.
const PROBE: Duration = Duration::from_secs(3);

//! The deadlines of a connection: which of them runs, and what it means when it passes.

use std::time::Duration;

use hark_core::{CloseReason, Limits};
use hark_protocol::LimitId;
use tokio::time::Instant;

/// How often a connection that lags is told of its rooms' heads.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// How often every cursor is compared with its room's head, in case a hint was lost.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How long a connection that is told to go may take to finish what it has begun.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// However slow the path is, a peer that is silent for longer is given up.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing; the timer was early.
    Nothing,
    /// Give a sign of life and ask for one.
    Ping,
    /// Compare cursors with heads.
    Recheck,
    /// Tell a lagging peer how far behind it is.
    Heads,
    /// The connection has had its time.
    Close(CloseReason),
    /// What was to be finished before the end is not, and is given up.
    Drained,
}

/// How far the peer has come in saying who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// HELLO is awaited.
    Silent,
    /// A login is awaited.
    Greeted,
    /// It is logged in.
    Active,
}

/// When each deadline of a connection passes.
#[derive(Debug)]
pub(super) struct Deadlines {
    accepted: Instant,
    heard: Instant,
    was_reading: bool,
    pinged: Option<Instant>,
    is_suspect: bool,
    /// When the PING went out whose PONG has not come.
    asked: Option<Instant>,
    /// Smoothed time from a PING to its PONG.
    round_trip: Duration,
    frame_began: Option<Instant>,
    write_stuck: Option<Instant>,
    recheck: Instant,
    heads: Option<Instant>,
    drain: Option<Instant>,
    close: Option<Instant>,
}

impl Deadlines {
    /// The deadlines of a connection accepted at `accepted`; its handshake counts.
    pub(super) fn new(accepted: Instant, now: Instant) -> Deadlines {
        Deadlines {
            accepted,
            heard: now,
            was_reading: true,
            pinged: None,
            is_suspect: false,
            asked: None,
            round_trip: Duration::ZERO,
            frame_began: None,
            write_stuck: None,
            recheck: now + RECHECK_INTERVAL,
            heads: None,
            drain: None,
            close: None,
        }
    }

    /// Any byte is a sign of life.
    pub(super) fn on_heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
        self.is_suspect = false;
    }

    /// Notes whether the server reads. What a peer said while nobody listened can not be held against it, so
    /// its silence begins anew when reading does.
    pub(super) fn set_reading(&mut self, is_reading: bool, now: Instant) {
        if is_reading && !std::mem::replace(&mut self.was_reading, is_reading) {
            self.on_heard(now);
        }
        self.was_reading = is_reading;
    }

    /// A PONG came: measures the round trip, smoothed as TCP does it (RFC 6298).
    pub(super) fn on_pong(&mut self, now: Instant) {
        let Some(asked) = self.asked.take() else { return };
        let sample = now - asked;
        self.round_trip = match self.round_trip.is_zero() {
            true => sample,
            false => (self.round_trip * 7 + sample) / 8,
        };
    }

    /// How long a peer may be silent: three intervals, or longer on a slow path, but never past 90 seconds.
    fn silence_max(&self, limits: &Limits) -> Duration {
        ms(limits.heartbeat_timeout_ms()).max(self.round_trip * 24).min(SILENCE_MAX)
    }

    /// After what silence a peer that has been asked for a sign of life is suspected of being gone.
    fn suspicion(&self, limits: &Limits) -> Duration {
        self.silence_max(limits) * 2 / 3
    }

    /// Whether the peer is suspected of being gone.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// Notes whether a frame has begun to come and is not all there. What the server itself leaves unread
    /// has not begun.
    pub(super) fn set_partial(&mut self, is_partial: bool, now: Instant) {
        match is_partial {
            true => self.frame_began = self.frame_began.or(Some(now)),
            false => self.frame_began = None,
        }
    }

    /// A whole frame was taken: the next one has its own time.
    pub(super) fn on_frame(&mut self) {
        self.frame_began = None;
    }

    /// Notes whether bytes wait for the peer, and that some were taken just now.
    pub(super) fn set_unsent(&mut self, is_unsent: bool, progressed: bool, now: Instant) {
        match (is_unsent, progressed) {
            (false, _) => self.write_stuck = None,
            (true, true) => self.write_stuck = Some(now),
            (true, false) => self.write_stuck = self.write_stuck.or(Some(now)),
        }
    }

    /// Notes whether the connection lags.
    pub(super) fn set_lagging(&mut self, lags: bool, now: Instant) {
        self.heads = if lags { self.heads.or(Some(now + LAG_INTERVAL)) } else { None };
    }

    /// The connection is to finish and go.
    pub(super) fn drain(&mut self, now: Instant) {
        self.drain.get_or_insert(now + DRAIN_MAX);
    }

    /// The last frames have been written, and only their delivery is waited for, until then.
    pub(super) fn close(&mut self, until: Instant) {
        self.close.get_or_insert(until);
    }

    /// The earliest moment at which something may be due.
    pub(super) fn next(&self, stage: Stage, is_reading: bool, limits: &Limits) -> Instant {
        if let Some(close) = self.close {
            return close;
        }
        let login = match stage {
            Stage::Silent => Some(self.accepted + ms(limits.hello_timeout_ms)),
            Stage::Greeted => Some(self.accepted + ms(limits.auth_timeout_ms)),
            Stage::Active => None,
        };
        let ping = self.heard + ms(limits.heartbeat_interval_ms);
        let heartbeat = match (stage == Stage::Active && is_reading, self.pinged) {
            (true, None) => ping,
            (true, Some(_)) if !self.is_suspect => self.heard + self.suspicion(limits),
            (true, Some(_)) => self.heard + self.silence_max(limits),
            (false, _) => self.recheck,
        };
        let frame = self.frame_began.map(|at| at + ms(limits.frame_timeout_ms));
        let write = self.write_stuck.map(|at| at + ms(limits.write_timeout_ms));
        [login, frame, write, self.heads, self.drain, Some(heartbeat)]
            .into_iter()
            .flatten()
            .fold(self.recheck, Instant::min)
    }

    /// What is due at `now`. A connection that the server itself does not read is not judged by what it says.
    pub(super) fn due(&mut self, now: Instant, stage: Stage, is_reading: bool, limits: &Limits) -> Due {
        if self.drain.is_some_and(|at| at <= now) {
            return Due::Drained;
        }
        if let Some(reason) = self.passed(now, stage, is_reading, limits) {
            return Due::Close(reason);
        }
        if self.heads.is_some_and(|at| at <= now) {
            self.heads = Some(now + LAG_INTERVAL);
            return Due::Heads;
        }
        if self.recheck <= now {
            self.recheck = now + RECHECK_INTERVAL;
            return Due::Recheck;
        }
        let is_quiet = now >= self.heard + ms(limits.heartbeat_interval_ms);
        if stage == Stage::Active && is_reading && is_quiet && self.pinged.is_none() {
            self.pinged = Some(now);
            self.asked = self.asked.or(Some(now));
            return Due::Ping;
        }
        if stage == Stage::Active && is_reading && self.pinged.is_some() {
            self.is_suspect |= now >= self.heard + self.suspicion(limits);
        }
        Due::Nothing
    }

    fn passed(&self, now: Instant, stage: Stage, is_reading: bool, limits: &Limits) -> Option<CloseReason> {
        let timeout = |since: Instant, after_ms, what, limit| {
            (now >= since + ms(after_ms)).then_some(CloseReason::Timeout { what, limit, after_ms })
        };
        let login = match stage {
            Stage::Silent => {
                timeout(self.accepted, limits.hello_timeout_ms, "HELLO", LimitId::HELLO_TIMEOUT_MS)
            }
            Stage::Greeted => {
                timeout(self.accepted, limits.auth_timeout_ms, "a login", LimitId::AUTH_TIMEOUT_MS)
            }
            Stage::Active => None,
        };
        let frame = || {
            let began = self.frame_began.filter(|_| is_reading)?;
            timeout(began, limits.frame_timeout_ms, "the rest of a frame", LimitId::FRAME_TIMEOUT_MS)
        };
        let write = || {
            let stuck = self.write_stuck? + ms(limits.write_timeout_ms);
            (now >= stuck).then_some(CloseReason::WriteStalled { after_ms: limits.write_timeout_ms })
        };
        let heartbeat = || {
            let silence_max = self.silence_max(limits);
            let after_ms = u32::try_from(silence_max.as_millis()).unwrap_or(u32::MAX);
            let is_dead = stage == Stage::Active && is_reading && now >= self.heard + silence_max;
            is_dead.then_some(CloseReason::Heartbeat { after_ms })
        };
        login.or_else(frame).or_else(write).or_else(heartbeat)
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_suspected_before_it_is_lost_and_a_byte_clears_it() {
        let (limits, start) = (Limits::public(), Instant::now());
        let mut deadlines = Deadlines::new(start, start);
        deadlines.recheck = at(start, 1_000_000);
        assert_eq!(deadlines.due(at(start, 30_000), Stage::Active, true, &limits), Due::Ping);
        assert_eq!(deadlines.next(Stage::Active, true, &limits), at(start, 60_000));
        deadlines.due(at(start, 59_999), Stage::Active, true, &limits);
        assert!(!deadlines.is_suspect());
        assert_eq!(deadlines.due(at(start, 60_000), Stage::Active, true, &limits), Due::Nothing);
        assert!(deadlines.is_suspect());
        assert_eq!(deadlines.next(Stage::Active, true, &limits), at(start, 90_000));
        deadlines.on_heard(at(start, 89_999));
        assert!(!deadlines.is_suspect());
        assert_eq!(deadlines.due(at(start, 90_000), Stage::Active, true, &limits), Due::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_peer_could_not_say_while_nobody_read_is_not_held_against_it() {
        let (limits, start) = (Limits::public(), Instant::now());
        let mut deadlines = Deadlines::new(start, start);
        deadlines.recheck = at(start, 1_000_000);
        deadlines.set_reading(true, start);
        assert_eq!(deadlines.due(at(start, 30_000), Stage::Active, true, &limits), Due::Ping);
        deadlines.due(at(start, 60_000), Stage::Active, true, &limits);
        assert!(deadlines.is_suspect());
        deadlines.set_reading(false, at(start, 61_000));
        assert_eq!(deadlines.due(at(start, 200_000), Stage::Active, false, &limits), Due::Nothing);
        deadlines.set_reading(true, at(start, 200_000));
        assert!(!deadlines.is_suspect());
        assert_eq!(deadlines.due(at(start, 229_999), Stage::Active, true, &limits), Due::Nothing);
        assert_eq!(deadlines.due(at(start, 230_000), Stage::Active, true, &limits), Due::Ping);
        assert_eq!(deadlines.due(at(start, 289_999), Stage::Active, true, &limits), Due::Nothing);
        let heartbeat = Due::Close(CloseReason::Heartbeat { after_ms: 90_000 });
        assert_eq!(deadlines.due(at(start, 290_000), Stage::Active, true, &limits), heartbeat);
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_answered_by_a_ping_and_then_by_the_end() {
        let (limits, start) = (Limits::public(), Instant::now());
        let mut deadlines = Deadlines::new(start, start);
        deadlines.recheck = at(start, 1_000_000);
        assert_eq!(deadlines.due(at(start, 29_999), Stage::Active, true, &limits), Due::Nothing);
        assert_eq!(deadlines.due(at(start, 30_000), Stage::Active, true, &limits), Due::Ping);
        assert_eq!(deadlines.due(at(start, 30_001), Stage::Active, true, &limits), Due::Nothing);
        assert_eq!(deadlines.due(at(start, 90_000), Stage::Active, false, &limits), Due::Nothing);
        let heartbeat = Due::Close(CloseReason::Heartbeat { after_ms: 90_000 });
        assert_eq!(deadlines.due(at(start, 90_000), Stage::Active, true, &limits), heartbeat);
        deadlines.on_heard(at(start, 90_000));
        assert_eq!(deadlines.due(at(start, 90_001), Stage::Active, true, &limits), Due::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_path_has_more_patience() {
        let (start, limits) = (Instant::now(), Limits { heartbeat_interval_ms: 1_000, ..Limits::public() });
        let mut deadlines = Deadlines::new(start, start);
        assert_eq!(deadlines.due(at(start, 1_000), Stage::Active, true, &limits), Due::Ping);
        deadlines.on_heard(at(start, 1_500));
        deadlines.on_pong(at(start, 1_500));
        assert_eq!(deadlines.silence_max(&limits), Duration::from_secs(12));
        assert_eq!(deadlines.due(at(start, 4_600), Stage::Active, true, &limits), Due::Ping);
        deadlines.on_pong(at(start, 64_600));
        assert_eq!(deadlines.silence_max(&limits), SILENCE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dribble_does_not_stretch_the_login_or_the_frame() {
        let (limits, start) = (Limits::public(), Instant::now());
        let mut deadlines = Deadlines::new(start, start);
        let code = |due| match due {
            Due::Close(CloseReason::Timeout { limit, .. }) => Some(limit),
            _ => None,
        };
        deadlines.set_partial(true, at(start, 1_000));
        deadlines.on_heard(at(start, 4_999));
        deadlines.set_partial(true, at(start, 4_999));
        assert_eq!(
            code(deadlines.due(at(start, 5_000), Stage::Silent, true, &limits)),
            Some(LimitId::HELLO_TIMEOUT_MS)
        );
        assert_eq!(
            code(deadlines.due(at(start, 10_000), Stage::Greeted, true, &limits)),
            Some(LimitId::AUTH_TIMEOUT_MS)
        );
        assert_eq!(
            code(deadlines.due(at(start, 11_000), Stage::Active, true, &limits)),
            Some(LimitId::FRAME_TIMEOUT_MS)
        );
        assert_eq!(deadlines.next(Stage::Silent, true, &limits), at(start, 5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_may_be_slow_but_not_stuck() {
        let (limits, start) = (Limits::public(), Instant::now());
        let mut deadlines = Deadlines::new(start, start);
        deadlines.set_unsent(true, false, start);
        deadlines.set_unsent(true, true, at(start, 9_000));
        deadlines.recheck = at(start, 1_000_000);
        assert_eq!(deadlines.due(at(start, 18_999), Stage::Active, true, &limits), Due::Nothing);
        let stalled = Due::Close(CloseReason::WriteStalled { after_ms: 10_000 });
        assert_eq!(deadlines.due(at(start, 19_000), Stage::Active, true, &limits), stalled);
    }
}

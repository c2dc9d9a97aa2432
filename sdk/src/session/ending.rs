//! How a connection ends, and what comes after: another attempt, or nothing.

use std::time::Duration;

use hark_protocol::{Close, Correlation, Disposition, EncodedFrame, ErrorCode, Line, Scope};

use crate::error::ConnectErrorKind;
use crate::session::heartbeat::Pulse;
use crate::session::requests::Flight;
use crate::session::{Drain, Effect, Leave, Login, Lost, Moment, Session, State};
use crate::status::{ClientEvent, Reason};

impl Session {
    pub(super) fn on_going_away(&mut self, away: &hark_protocol::GoAway, now: Moment, out: &mut Vec<Effect>) {
        let State::Ready { since, .. } = self.state else { return };
        let reconnect_after = Duration::from_millis(u64::from(away.reconnect_after_ms));
        self.state = State::Ready { since, drain: Drain::Until(now + reconnect_after) };
        self.not_before = now + reconnect_after;
        let addresses: Vec<String> =
            away.addresses.iter().map(|address| address.as_str().to_owned()).collect();
        if !addresses.is_empty() {
            self.addresses = addresses.iter().cloned().map(Some).chain([None]).collect();
        }
        out.push(Effect::Event(ClientEvent::GoingAway {
            code: away.code,
            reconnect_after,
            addresses,
            text: away.text.as_str().to_owned(),
        }));
    }

    pub(super) fn on_connection_error(
        &mut self,
        error: &hark_protocol::Error,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        self.not_before = now + Duration::from_millis(u64::from(error.retry_after_ms));
        let reason = match error.code {
            ErrorCode::ACCOUNT_DISABLED => Reason::Connect(ConnectErrorKind::Disabled),
            ErrorCode::SHUTTING_DOWN => Reason::GoingAway,
            ErrorCode::SESSION_REPLACED => Reason::SessionReplaced,
            code => Reason::ClosedByServer { code, text: error.text.as_str().to_owned() },
        };
        self.lose(reason, now, out);
    }

    pub(super) fn on_peer_close(&mut self, close: Close, now: Moment, out: &mut Vec<Effect>) {
        let reason = match (self.state, close.code) {
            (_, ErrorCode::ACCOUNT_DISABLED) => Reason::Connect(ConnectErrorKind::Disabled),
            (_, ErrorCode::SESSION_REPLACED) => Reason::SessionReplaced,
            (State::Ready { drain: Drain::Until(_), .. }, _) => Reason::GoingAway,
            (State::Ready { .. }, code) => {
                Reason::ClosedByServer { code, text: close.text.as_str().to_owned() }
            }
            _ => Reason::Connect(ConnectErrorKind::Closed),
        };
        self.lose(reason, now, out);
    }

    pub(super) fn on_heartbeat(&mut self, now: Moment, out: &mut Vec<Effect>) {
        match self.heartbeat.pulse(now) {
            Pulse::Lost => return self.lose(Reason::Silent, now, out),
            Pulse::Suspect(silent_for) => out.push(Effect::Event(ClientEvent::Suspect { silent_for })),
            Pulse::Same => {}
        }
        if self.heartbeat.is_stalled(now) {
            return self.break_off("a frame is never finished".to_owned(), ErrorCode::TIMEOUT, now, out);
        }
        if let Some(ping) = self.heartbeat.ping(now) {
            // One at a time: an unanswered one would be followed by a second, which says nothing more.
            if !self.requests.has_heartbeat() {
                self.heartbeat.on_asked(now);
                let correlation = self.requests.open(Flight::Heartbeat);
                out.push(Effect::Send(EncodedFrame::new(correlation, &ping)));
            }
        }
    }

    /// The server broke the protocol: it is told, and the connection is made anew.
    pub(super) fn break_off(&mut self, words: String, code: ErrorCode, now: Moment, out: &mut Vec<Effect>) {
        self.tell_and_close(code, out);
        self.lose(Reason::Protocol(words), now, out);
    }

    pub(super) fn tell_and_close(&mut self, code: ErrorCode, out: &mut Vec<Effect>) {
        let close = Close { code, disposition: Disposition::KEEP, text: Line::default() };
        out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, &close)));
    }

    pub(super) fn lose(&mut self, reason: Reason, now: Moment, out: &mut Vec<Effect>) {
        if let State::Ready { since, .. } = self.state
            && now.saturating_sub(since) >= STABLE
        {
            self.attempt = 0;
        }
        if !matches!(self.state, State::Ready { .. }) {
            // Where this attempt went there is nobody; the next one tries the next address.
            self.addresses.rotate_left(usize::from(!self.addresses.is_empty()));
        }
        let is_own = reason == Reason::SessionReplaced && self.is_own_rival();
        if matches!(self.state, State::Authenticating { login: Login::Resume, .. })
            && self.requests.has_handshake()
        {
            self.lost_resume.clone_from(&self.config.session_token);
        }
        out.push(Effect::Disconnect);
        self.requests.on_lost(out);
        self.book.on_lost();
        let is_over = match &reason {
            Reason::Connect(kind) => !self.was_ready || is_final(kind),
            // Coming back would drive out who has the session now.
            Reason::SessionReplaced => !is_own,
            _ => !self.was_ready,
        };
        let has_left = self.leaving.is_some() && !self.is_outstanding();
        if is_over || !self.config.reconnect.allows(self.attempt + 1) {
            return self.finish(reason, out);
        }
        if has_left {
            return self.finish(Reason::Requested, out);
        }
        self.attempt += 1;
        let random = self.draw();
        let backoff = match (&reason, self.not_before > now) {
            // The server has spread its clients already.
            (Reason::GoingAway, true) => Duration::ZERO,
            _ => self.config.reconnect.delay(self.attempt, random),
        };
        let delay = backoff.max(self.not_before.saturating_sub(now));
        self.state = State::Waiting { until: now + delay };
        out.push(Effect::Event(ClientEvent::Reconnecting { attempt: self.attempt, delay, reason }));
    }

    /// Whether it was this client's own RESUME, of a connection that it had given up, that took the session. Then it
    /// logs in anew, which takes nothing from anybody.
    fn is_own_rival(&mut self) -> bool {
        let is_own = self.lost_resume.take().is_some() && self.config.credentials.is_some();
        if is_own {
            self.config.session_token = None;
        }
        is_own
    }

    pub(super) fn finish(&mut self, reason: Reason, out: &mut Vec<Effect>) {
        self.state = State::Closed;
        self.requests.give_up(out);
        self.book.give_up(out);
        out.push(Effect::Closed(reason));
    }

    pub(super) fn reason(lost: Lost) -> Reason {
        match lost {
            Lost::Dial(kind) => Reason::Connect(kind),
            Lost::Eof => Reason::Lost("the server hung up".to_owned()),
            Lost::Io(words) => Reason::Lost(words),
            Lost::Frame(error) => Reason::Protocol(error.to_string()),
        }
    }

    /// The next number of a splitmix64 sequence.
    pub(super) fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn on_close(&mut self, disposition: Disposition, deadline: Moment, out: &mut Vec<Effect>) {
        if self.leaving.is_none() && !matches!(self.state, State::Closing { .. } | State::Closed) {
            self.leaving = Some(Leave { disposition, deadline });
            out.push(Effect::Leaving);
        }
    }

    pub(super) fn is_outstanding(&self) -> bool {
        self.requests.is_outstanding()
    }

    /// Takes leave, whatever is outstanding.
    pub(super) fn leave_now(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let Some(leave) = self.leaving.take() else { return };
        match self.state {
            State::Ready { .. } => {
                self.book.acknowledge(out);
                let close =
                    Close { code: ErrorCode(0), disposition: leave.disposition, text: Line::default() };
                out.push(Effect::Send(EncodedFrame::new(Correlation::NONE, &close)));
                let deadline = now + FAREWELL;
                self.state = State::Closing { deadline, disposition: leave.disposition };
                // Nothing that comes now is an answer any more.
                self.requests.give_up(out);
            }
            State::Closing { .. } | State::Closed => {}
            _ => {
                out.push(Effect::Disconnect);
                self.finish(Reason::Requested, out);
            }
        }
    }

    /// The server was told of the end and does not hang up. That is its own affair, unless it was to do something.
    pub(super) fn stop_waiting(&mut self, out: &mut Vec<Effect>) {
        let State::Closing { disposition, .. } = self.state else { return };
        out.push(Effect::Disconnect);
        let reason = if disposition == Disposition::KEEP { Reason::Requested } else { Reason::Silent };
        self.finish(reason, out);
    }
}

/// A connection that stood so long was a good one: what follows its loss is a new series of attempts.
const STABLE: Duration = Duration::from_secs(10);

/// How long the server may take to hang up after CLOSE.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether another attempt would only be refused again.
fn is_final(kind: &ConnectErrorKind) -> bool {
    match kind {
        ConnectErrorKind::AuthFailed
        | ConnectErrorKind::Disabled
        | ConnectErrorKind::SessionExpired
        | ConnectErrorKind::Version => true,
        // A connection's error says nothing about the next connection.
        ConnectErrorKind::Refusal(refusal) => !refusal.retryable && refusal.code.scope() == Scope::REQUEST,
        _ => false,
    }
}

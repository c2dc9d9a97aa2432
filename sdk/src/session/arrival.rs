//! What arrives: which frame means what in which state.

use std::time::Duration;

use hark_protocol::{Correlation, DecodeError, EncodedFrame, ErrorCode, Frame, Pong, Scope};

use crate::error::{ConnectErrorKind, Refusal};
use crate::session::requests::Flight;
use crate::session::{Effect, Moment, Session, State, Violation};
use crate::status::{ClientEvent, Reason};

impl Session {
    pub(super) fn on_decoded(
        &mut self,
        correlation: Correlation,
        frame: Frame,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        match (self.state, frame) {
            (State::Hello { deadline }, Frame::Welcome(welcome)) => {
                self.on_welcome(&welcome, deadline, now, out)
            }
            (State::Authenticating { .. }, Frame::Authenticated(answer)) => {
                self.on_authenticated(&answer, now, out)
            }
            (State::Hello { .. } | State::Authenticating { .. }, Frame::Error(error)) => {
                self.on_refused_login(&error, now, out);
            }
            (State::Hello { .. } | State::Authenticating { .. } | State::Ready { .. }, Frame::Ping(ping)) => {
                out.push(Effect::Send(EncodedFrame::new(correlation, &Pong { data: ping.data })));
            }
            (State::Hello { .. } | State::Authenticating { .. }, Frame::GoAway(away)) => {
                let wait = Duration::from_millis(u64::from(away.reconnect_after_ms));
                self.not_before = now + wait;
                let busy = ConnectErrorKind::Busy { retry_after: (!wait.is_zero()).then_some(wait) };
                self.lose(Reason::Connect(busy), now, out);
            }
            (
                State::Hello { .. } | State::Authenticating { .. } | State::Ready { .. },
                Frame::Close(close),
            ) => {
                self.on_peer_close(close, now, out);
            }
            (State::Ready { .. }, frame) => self.on_ready_frame(correlation, frame, now, out),
            // What was on its way when the client took leave is of no interest any more.
            (State::Connecting { .. } | State::Waiting { .. } | State::Closing { .. } | State::Closed, _) => {
            }
            (State::Hello { .. } | State::Authenticating { .. }, frame) => {
                self.break_off(
                    format!("{} before the login", frame.frame_type()),
                    ErrorCode::BAD_STATE,
                    now,
                    out,
                );
            }
        }
    }

    pub(super) fn on_ready_frame(
        &mut self,
        correlation: Correlation,
        frame: Frame,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        let judged = match frame {
            Frame::Event(event) => self.book.on_event(event, self.me, &self.flow, out),
            Frame::Gap(gap) => self.book.on_gap(&gap, &self.flow, out),
            Frame::Replayed(mark) => self.book.on_replayed(&mark, &self.flow, out),
            Frame::Head(head) => self.book.on_head(&head, &self.flow, out),
            Frame::SubscriptionEnded(end) => self.book.on_ended(&end, out),
            Frame::Signalled(signal) => {
                self.book.on_signalled(signal, &self.flow, out);
                Ok(())
            }
            Frame::Presence(presence) => {
                let (account, name, state) = (presence.account, presence.name, presence.state);
                out.push(Effect::Event(ClientEvent::Presence { account, name, state }));
                Ok(())
            }
            Frame::Profile(profile) => {
                let display_name = profile.display_name.as_str().to_owned();
                let (account, name) = (profile.account, profile.name);
                out.push(Effect::Event(ClientEvent::Profile { account, name, display_name }));
                Ok(())
            }
            Frame::GoAway(away) => {
                self.on_going_away(&away, now, out);
                Ok(())
            }
            Frame::Error(error) if error.scope == Scope::CONNECTION => {
                self.on_connection_error(&error, now, out);
                Ok(())
            }
            Frame::Error(_) if correlation == Correlation::NONE => Ok(()),
            answer => self.on_answer(correlation, answer, now, out),
        };
        if let Err(violation) = judged {
            self.break_off(violation.words, violation.code, now, out);
        }
    }

    pub(super) fn on_answer(
        &mut self,
        correlation: Correlation,
        answer: Frame,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(flight) = self.requests.close(correlation) else {
            let words = format!("{} answers nothing that was asked", answer.frame_type());
            return Err(Violation { words, code: ErrorCode::BAD_STATE });
        };
        match (flight, answer) {
            (Flight::Ask(ask), answer) => self.requests.on_answer(ask, answer, now, out),
            (Flight::Subscribe(asked), Frame::Subscribed(answer)) => {
                self.book.on_subscribed(&asked, answer, &self.flow, now, out)
            }
            (Flight::Subscribe(asked), Frame::Error(error)) => {
                self.book.on_subscribe_refused(&asked, &Refusal::new(&error), now, out);
                Ok(())
            }
            (Flight::Heartbeat, Frame::Pong(_) | Frame::Error(_)) => {
                self.heartbeat.on_answer(now);
                Ok(())
            }
            (Flight::Unsubscribe, Frame::Ok(_) | Frame::Error(_)) => Ok(()),
            (_, answer) => {
                let words = format!("{} is not an answer to what was asked", answer.frame_type());
                Err(Violation { words, code: ErrorCode::BAD_STATE })
            }
        }
    }

    pub(super) fn on_undecodable(
        &mut self,
        correlation: Correlation,
        error: &DecodeError,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        if !matches!(self.state, State::Hello { .. } | State::Authenticating { .. } | State::Ready { .. }) {
            return;
        }
        // What can not be read ends the connection; a read whose answer it was is not asked again, because the
        // answer would be the same.
        self.requests.fail_read(correlation, &error.to_string(), out);
        let code = match error {
            // Critical, and not to be passed over: what it says may change what everything behind it means.
            DecodeError::UnknownType(_) => ErrorCode::UNKNOWN_TYPE,
            DecodeError::UnknownCriticalExtension(_) => ErrorCode::UNSUPPORTED,
            _ => ErrorCode::MALFORMED,
        };
        self.break_off(error.to_string(), code, now, out);
    }
}

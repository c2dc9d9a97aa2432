//! What comes back to a connection from elsewhere: the final answers of its requests, and reads from the store.

use std::time::Duration;

use hark_core::ports::Position;
use hark_core::room::Ask;
use hark_core::{CloseReason, Refusal};
use hark_protocol::{Correlation, Durability, Frame, PresenceState, Published};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::link::{Answer, Decision, Identity, LoggedIn, Prepared};
use crate::metrics::PublishOutcome;
use crate::writer::{Goal, Job};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn on_answer(&mut self, answer: Answer) -> Result<(), CloseReason> {
        match answer {
            Answer::Reply(correlation, frame) => self.session.answer(correlation, &frame, self.io.out()),
            Answer::Refused(correlation, refusal) => {
                self.doomed = None; // it was a login's that did not come about
                self.entering.take_if(|entering| *entering == correlation);
                self.refuse_request(correlation, &refusal)?;
            }
            Answer::Decided(correlation, outcome) => {
                self.entering.take_if(|entering| *entering == correlation);
                self.on_decided(correlation, outcome)?;
            }
            Answer::LoggedIn(correlation, who) => self.on_logged_in(correlation, *who)?,
            Answer::Prepared(correlation, prepared) => {
                self.is_preparing = false;
                match *prepared {
                    Ok(prepared) => self.submit_prepared(correlation, prepared),
                    Err(refusal) => self.refuse_request(correlation, &refusal)?,
                }
            }
            Answer::Subscribing(correlation, rooms) => {
                self.is_preparing = false;
                self.on_subscribing(correlation, rooms);
            }
            Answer::Called(correlation, answer) => self.on_called(correlation, answer)?,
            Answer::Forgotten(Ok(())) => self.is_preparing = false,
            // The peer must not believe that its token is worth nothing now.
            Answer::Forgotten(Err(())) => return Err(CloseReason::Internal),
            Answer::Fetched(fetch, read) => {
                if let Some(delivery) = &mut self.delivery {
                    delivery.fetched(&fetch, read);
                }
            }
        }
        Ok(())
    }

    /// What the writer decided: an acknowledgement only for what it says is on the disk.
    fn on_decided(&mut self, correlation: Correlation, decision: Decision) -> Result<(), CloseReason> {
        let (position, duplicate, outcome) = match decision {
            Decision::Stored(position) => (position, false, PublishOutcome::Stored),
            Decision::Duplicate(position) => (position, true, PublishOutcome::Duplicate),
            Decision::Refused(refusal) => return self.refuse_decided(correlation, &refusal),
        };
        self.hub.metrics.publish_answered(outcome);
        self.session.answer(correlation, &published(position, duplicate), self.io.out());
        Ok(())
    }

    fn refuse_decided(&mut self, correlation: Correlation, refusal: &Refusal) -> Result<(), CloseReason> {
        self.hub.metrics.publish_answered(match refusal {
            Refusal::Rate { .. } => PublishOutcome::Rate,
            Refusal::PredecessorRefused => PublishOutcome::Predecessor,
            Refusal::Unavailable => PublishOutcome::Unavailable,
            _ => PublishOutcome::Refused,
        });
        self.refuse_request(correlation, refusal)
    }

    fn on_logged_in(&mut self, correlation: Correlation, who: LoggedIn) -> Result<(), CloseReason> {
        let identity = Identity {
            account: who.answer.account,
            name: who.answer.name.clone(),
            role: who.answer.role,
            device: who.answer.device,
            presence: who.presence,
        };
        self.seat = Some(who.seat);
        self.session.authenticated(correlation, &who.answer, self.io.out());
        self.admission.logged_in();
        let window = self.session.greeting().map_or(0, |greeting| greeting.window);
        self.delivery = Some(hark_core::delivery::Delivery::new(identity.account, window));
        if identity.presence == hark_protocol::PresenceMode::VISIBLE {
            let who = (identity.account, &identity.name);
            self.hub.presences.set(who, self.id, PresenceState::ONLINE);
        }
        tracing::info!(connection = self.id.0, account = %identity.name, device = identity.device.0, "logged in");
        self.identity = Some(identity);
        self.doomed.take().map_or(Ok(()), Err)
    }

    fn submit_prepared(&mut self, correlation: Correlation, prepared: Prepared) {
        if matches!(prepared.job.goal, Goal::Create(..) | Goal::Room(_, Ask::Join { .. })) {
            self.entering = Some(correlation);
        }
        self.submit_later(prepared.job, prepared.wait);
    }

    /// Hands a job to the writer, or holds it back until the writer has room.
    pub(super) fn submit(&mut self, job: Job) {
        self.held = self.hub.writer.submit(job);
    }

    /// Hands a job to the writer after a wait, during which nothing more is read from the peer.
    pub(super) fn submit_later(&mut self, job: Job, wait: Duration) {
        match wait.is_zero() {
            true => self.submit(job),
            false => self.paused = Some((tokio::time::Instant::now() + wait, job)),
        }
    }
}

/// The acknowledgement of an event that is on the disk.
fn published(position: Position, duplicate: bool) -> Frame {
    Frame::Published(Published {
        room: position.room,
        epoch: position.epoch,
        seq: position.seq,
        time: position.time,
        durability: Durability::DISK,
        duplicate,
    })
}

//! Requests that need the stores: a few of a connection at once, the others wait their turn.
//!
//! What waits costs its frame and no more, and none is begun while the peer does not take what it has asked for
//! already: the answers to a small pipeline of requests may be very large.

use std::collections::VecDeque;
use std::sync::Arc;

use hark_core::{CloseReason, Refusal};
use hark_protocol::{Correlation, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, OUT_BYTES_MAX, account, lists, log};
use crate::hub::Hub;
use crate::link::{Answer, Identity};

/// Calls of one connection that run at once: while one answer is written the next one is read.
const RUNNING_MAX: usize = 2;

/// What waits, and how many run.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: VecDeque<(Correlation, Frame)>,
    running: usize,
}

impl Calls {
    pub(super) fn push(&mut self, correlation: Correlation, frame: Frame) {
        self.waiting.push_back((correlation, frame));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Begins as many calls as may run now. One that was cancelled while it waited is not begun at all.
    pub(super) fn start_calls(&mut self) -> Result<(), CloseReason> {
        while self.calls.running < RUNNING_MAX && self.io.unsent() < OUT_BYTES_MAX {
            let Some((correlation, frame)) = self.calls.waiting.pop_front() else { break };
            if self.session.is_cancelled(correlation) {
                self.refuse_request(correlation, &Refusal::Cancelled)?;
                continue;
            }
            let Some(identity) = self.identity.clone() else { continue };
            self.calls.running += 1;
            let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
            self.hub.tasks.spawn(async move {
                let answer = carry_out(&hub, &identity, frame).await;
                link.answer(Answer::Called(correlation, answer));
            });
        }
        Ok(())
    }

    /// Gives a call its answer.
    pub(super) fn on_called(
        &mut self,
        correlation: Correlation,
        answer: Result<Frame, Refusal>,
    ) -> Result<(), CloseReason> {
        self.calls.running -= 1;
        match answer {
            Ok(frame) => {
                self.session.answer(correlation, &frame, self.io.out());
                Ok(())
            }
            Err(refusal) => self.refuse_request(correlation, &refusal),
        }
    }
}

async fn carry_out(hub: &Hub, identity: &Identity, frame: Frame) -> Result<Frame, Refusal> {
    let asking = identity.account;
    match frame {
        Frame::History(history) => log::read_history(hub, asking, history).await.map(Frame::Page),
        Frame::RoomList(list) => lists::rooms(hub, asking, list).await.map(Frame::Rooms),
        Frame::RoomGet(get) => lists::room(hub, identity, get).await.map(Frame::Room),
        Frame::RoomMembers(ask) => lists::members(hub, asking, ask).await.map(Frame::Members),
        Frame::ProfileSet(set) => account::set_profile(hub, identity, set).await,
        other => account::administer(hub, identity, other).await,
    }
}

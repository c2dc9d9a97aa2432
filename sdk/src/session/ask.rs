//! One request of the application, and what its type says about sending it.

use hark_protocol::{Frame, FrameType, Publish};

use crate::error::Refusal;
use crate::session::lane::LaneKey;
use crate::session::{Failure, Moment, Token};

/// A request without an answer. It keeps its place among the others for life.
#[derive(Debug)]
pub(super) struct Ask {
    /// Its place in the order of calls.
    pub(super) order: u64,
    /// Who waits for the answer; `None` = nobody any more, and it is not sent again.
    pub(super) token: Option<Token>,
    pub(super) frame: Frame,
    /// What it keeps its order with, if order matters.
    pub(super) lane: LaneKey,
    /// Until when the answer is waited for.
    pub(super) until: Option<Moment>,
    pub(super) keep: Keep,
    /// Whether it ever left: then the server may have done it.
    pub(super) was_sent: bool,
    /// Whether a connection was lost with it unanswered: what was on its way there may still arrive.
    pub(super) was_lost: bool,
    /// The server's "not now", while it waits to be sent again.
    pub(super) refused: Option<Refusal>,
}

/// What becomes of a request when nobody waits for it any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is gone with the wait: it lives in memory.
    Memory,
    /// It is on a disk, and stays until it has a verdict or is abandoned.
    Disk,
}

/// Whether the order of a request matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// It changes something: it is sent behind everything that was asked before it.
    Ordered,
    /// It reads: it need not wait for a queue of publishes.
    Read,
}

/// Whether a request may be sent again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It carries an identity, sets a value or reads one.
    Safe,
    /// The second one would be answered as if somebody else had sent the first.
    Unsafe,
}

impl Ask {
    pub(super) fn sort(&self) -> Sort {
        match self.frame {
            Frame::RoomList(_)
            | Frame::RoomGet(_)
            | Frame::RoomMembers(_)
            | Frame::History(_)
            | Frame::AccountList(_)
            | Frame::Ping(_) => Sort::Read,
            _ => Sort::Ordered,
        }
    }

    pub(super) fn repeat(&self) -> Repeat {
        match self.frame {
            Frame::AccountAdd(_) => Repeat::Unsafe,
            _ => Repeat::Safe,
        }
    }

    /// The type of a good answer.
    pub(super) fn expects(&self) -> FrameType {
        match self.frame {
            Frame::RoomList(_) => FrameType::ROOMS,
            Frame::RoomGet(_) => FrameType::ROOM,
            Frame::RoomMembers(_) => FrameType::MEMBERS,
            Frame::History(_) => FrameType::PAGE,
            Frame::AccountList(_) => FrameType::ACCOUNTS,
            Frame::Ping(_) => FrameType::PONG,
            Frame::PresenceSet(_)
            | Frame::ProfileSet(_)
            | Frame::AccountAdd(_)
            | Frame::AccountDisable(_)
            | Frame::AccountPassword(_) => FrameType::OK,
            _ => FrameType::PUBLISHED,
        }
    }

    /// The publish that it is, if it is one.
    pub(super) fn publish(&self) -> Option<&Publish> {
        match &self.frame {
            Frame::Publish(publish) => Some(publish),
            _ => None,
        }
    }

    /// What is known about it when it is not to be sent again: `otherwise`, unless it was sent or refused.
    pub(super) fn given_up(&self, otherwise: Failure) -> Failure {
        match &self.refused {
            Some(refusal) if !self.was_lost => Failure::Refused(refusal.clone()),
            _ if self.was_sent => Failure::Unknown,
            _ => otherwise,
        }
    }

    /// Bytes of its body.
    pub(super) fn bytes(&self) -> usize {
        match &self.frame {
            Frame::Publish(publish) => publish.body.len(),
            _ => 0,
        }
    }
}

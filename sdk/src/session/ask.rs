//! One request of the application, and what its type says about sending it.

use hark_protocol::{Frame, FrameType, RoomId};

use crate::error::Refusal;
use crate::session::Token;

/// A request without an answer. It keeps its place among the others for life.
#[derive(Debug)]
pub(super) struct Ask {
    /// Its place in the order of calls.
    pub(super) order: u64,
    pub(super) token: Token,
    pub(super) frame: Frame,
    /// Whether it ever left: then the server may have done it.
    pub(super) was_sent: bool,
    /// The server's "not now", while it waits to be sent again.
    pub(super) refused: Option<Refusal>,
}

/// In which queue a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
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
    pub(super) fn lane(&self) -> Lane {
        match self.frame {
            Frame::RoomList(_)
            | Frame::RoomGet(_)
            | Frame::RoomMembers(_)
            | Frame::History(_)
            | Frame::AccountList(_)
            | Frame::Ping(_) => Lane::Read,
            _ => Lane::Ordered,
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

    /// The room into which it publishes.
    pub(super) fn publishes_to(&self) -> Option<RoomId> {
        match &self.frame {
            Frame::Publish(publish) => Some(publish.room),
            _ => None,
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

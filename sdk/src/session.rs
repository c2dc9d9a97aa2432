//! The client's side of a conversation, as a machine.

use hark_protocol::limits::AGENT_BYTES_MAX;
use hark_protocol::{Line, PresenceMode, Seq};

use crate::credentials::Credentials;
use crate::options::{Offline, Reconnect};

mod failure;

pub(crate) use failure::Failure;

/// One stream of a room's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FeedId(pub(crate) u64);

/// How far an application has read a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Items of every sort.
    pub(crate) items: u64,
    /// The last seq.
    pub(crate) seq: Option<Seq>,
}

/// What a client is and how it behaves.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) agent: Line<AGENT_BYTES_MAX>,
    pub(crate) credentials: Credentials,
    pub(crate) presence: PresenceMode,
    pub(crate) offline: Offline,
    pub(crate) reconnect: Reconnect,
    pub(crate) connect_timeout: std::time::Duration,
    pub(crate) window: u32,
}

//! The sessions of devices: which tokens take one up again, and which of them have a connection.
//!
//! A session has one connection at a time. Whoever takes it up raises its generation in the same transaction in
//! which its tokens change, so that of any number that try at once each knows whether it came last.

use hark_protocol::{AccountId, DeviceId, UnixMillis};

use super::{StoreError, TokenHash};

/// Names a session; never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// One connection's hold on a session: it lasts until another connection takes the session up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// The session.
    pub session: SessionId,
    /// How many connections it has had, this one included.
    pub generation: u64,
}

/// A session that a token takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSession {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// Which device's.
    pub device: DeviceId,
}

/// What is to become of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// A login of a device begins one, which has a connection. With as many sessions as a device may have, those
    /// that have been without a connection the longest make way; if all have one, none is begun.
    Begin {
        /// The device.
        device: DeviceId,
        /// The hash of the session's first token.
        token: TokenHash,
        /// Sessions that the device may have.
        sessions_max: u32,
        /// Milliseconds for which it is kept without a connection.
        lifetime_ms: u64,
    },
    /// Another connection takes one up. It is found by the token that was handed out last, or by the one that
    /// took it up last; from now on those are `new` and `token`.
    TakeUp {
        /// The hash of the token that was shown.
        token: TokenHash,
        /// The hash of the next one.
        new: TokenHash,
        /// Milliseconds for which it is kept without a connection.
        lifetime_ms: u64,
    },
    /// It is forgotten, unless another connection has taken it up.
    End(Hold),
    /// Its connection is gone, unless another one has taken it up.
    Leave(Hold),
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// The connection holds it.
    Held(Hold),
    /// None was begun: the device has as many as it may, and all have a connection.
    Full,
    /// There is no such session or device any more, or its account is shut out.
    Gone,
    /// It has ended, or is without a connection, or it was not this connection's to leave.
    Done,
    /// It was not ended: another connection has taken it up.
    Replaced,
}

/// The sessions of devices. They go with their devices. Every change is on the disk when the call returns.
pub trait Sessions: Send + Sync + 'static {
    /// The session that the token takes up, if it has not lapsed and its account is not shut out.
    ///
    /// # Errors
    /// The store's.
    fn session(&self, token: &TokenHash, now: UnixMillis) -> Result<Option<FoundSession>, StoreError>;

    /// Carries changes out, each seeing those before it, and all in one transaction. The outcomes are in the
    /// order of the changes.
    ///
    /// # Errors
    /// The store's; nothing has changed.
    fn change_sessions(
        &self,
        now: UnixMillis,
        changes: &[SessionChange],
    ) -> Result<Vec<SessionOutcome>, StoreError>;

    /// No session has a connection: those that had one when the last process ended are without since `now`.
    ///
    /// # Errors
    /// The store's.
    fn part_sessions(&self, now: UnixMillis) -> Result<(), StoreError>;

    /// Forgets sessions that have lapsed, at most so many at once, and says how many.
    ///
    /// # Errors
    /// The store's.
    fn forget_lapsed_sessions(&self, now: UnixMillis, at_most: usize) -> Result<usize, StoreError>;
}

//! What the core asks of the world: small, batch-shaped, blocking traits. Whoever implements them is called on
//! threads that may block; each has a suite in [`testkit`](crate::testkit) that says what it promises.

mod cursors;
mod directory;
mod draft;
mod log;
mod retention;
mod sessions;

use thiserror::Error;

pub use cursors::{Cursor, CursorStore};
pub use directory::{
    AccountRow, DeviceRow, Directory, DirectoryError, NewAccount, NewDevice, PasswordHash, TokenHash,
};
pub use draft::{
    Appended, Author, Change, Draft, NewRoom, Outcome, Position, Proposal, RequestHash, Sealed, Target,
};
pub use log::{
    Budget, Condition, EpochChange, LogReader, LogStore, MemberRow, RoomListing, RoomQuery, RoomRecord,
    RoomRow, Span, Stored,
};
pub use retention::{Expiry, IDENTITY_MS_MIN, Moved, Removal, is_too_old, stricter};
pub use sessions::{FoundSession, Hold, SessionChange, SessionId, SessionOutcome, Sessions};

/// A store could not do what it was asked. Nothing has changed, in memory either.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It may work later: the disk is full, a file could not be read. The peer is told UNAVAILABLE.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is on the disk contradicts itself; the operator is told.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A sync failed, so nobody can say what is on the disk: the process must end, and recover by starting.
    #[error("the store can not be trusted any more: {0}")]
    Fatal(String),
}

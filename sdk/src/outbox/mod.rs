//! What was published and has no verdict yet: looking at it, giving it up, and learning what became of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hark_protocol::{ClientId, Kind, RoomId};
use tokio::sync::Notify;

use crate::client::Client;
use crate::error::{Refusal, RequestError, SendError, SendErrorKind};
use crate::room::Sent;

pub(crate) mod disk;
mod log;
mod options;

pub use options::{
    Damaged, OUTBOX_BYTES_DEFAULT, OUTBOX_ENTRIES_DEFAULT, OutboxOptions, OutboxProblem, Writing,
};

/// What the client has taken and the server has not judged yet, in the order in which it was published. Made by
/// [`Client::outbox`]. With [`outbox_dir`](crate::ClientBuilder::outbox_dir) it is on a disk and outlives the
/// application: what is found there at the start is sent first, with the same client ids and content.
#[derive(Clone, Debug)]
pub struct Outbox {
    client: Client,
}

/// A publish without a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// The room.
    pub room: RoomId,
    /// Its identity.
    pub client_id: ClientId,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub body: Bytes,
    /// Whether it may be in the log already: this process has sent it, or an earlier one may have.
    pub may_be_stored: bool,
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is in the log.
    Sent(Sent),
    /// It is in the log, where an earlier try had put it.
    Duplicate(Sent),
    /// The server said no: it is not in the log.
    Rejected(Refusal),
    /// It was not sent, for the client's own reason, and is not in the log.
    NotSent(SendErrorKind),
    /// Nobody knows: it was sent, and nothing was heard of it in time. Publishing it again with the same client id is
    /// safe and finds out.
    Unknown,
    /// Not decided yet: it is in the outbox on the disk, and will be sent again.
    Kept,
}

/// What became of a publish that nobody was waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The room.
    pub room: RoomId,
    /// Its identity.
    pub client_id: ClientId,
    /// What became of it.
    pub outcome: Outcome,
}

impl From<Result<Sent, SendError>> for Outcome {
    fn from(result: Result<Sent, SendError>) -> Outcome {
        match result {
            Ok(sent) if sent.duplicate => Outcome::Duplicate(sent),
            Ok(sent) => Outcome::Sent(sent),
            Err(error) => match error.into_kind() {
                SendErrorKind::Rejected(refusal) => Outcome::Rejected(refusal),
                SendErrorKind::Unknown => Outcome::Unknown,
                SendErrorKind::Kept => Outcome::Kept,
                kind => Outcome::NotSent(kind),
            },
        }
    }
}

impl Outbox {
    pub(crate) fn new(client: Client) -> Outbox {
        Outbox { client }
    }

    /// What has no verdict, in the order in which it was published. What is still being written to the disk is left
    /// out. Cancel-safe.
    ///
    /// # Errors
    /// [`RequestErrorKind::Closed`](crate::RequestErrorKind::Closed): the client has ended; what it kept on a disk
    /// is still there.
    pub async fn pending(&self) -> Result<Vec<Pending>, RequestError> {
        Ok(self.client.handle.pending().await?)
    }

    /// Gives a publish up: it is not sent again, and what was published behind it goes on. Whoever waits for it
    /// learns [`SendErrorKind::Abandoned`] if it was never sent, what the server said if that was no, and
    /// [`SendErrorKind::Unknown`] otherwise. Says whether there was such a publish; when it has said so, no later
    /// process sends it either. Dropping the future does not stop what was begun.
    ///
    /// # Errors
    /// [`RequestErrorKind::Closed`](crate::RequestErrorKind::Closed).
    /// [`RequestErrorKind::Outbox`](crate::RequestErrorKind::Outbox): the disk could not be told. Giving it up once
    /// more tries to tell it again.
    pub async fn abandon(&self, client_id: ClientId) -> Result<bool, RequestError> {
        Ok(self.client.handle.abandon(client_id).await?)
    }

    /// The next outcome of a publish that nobody waits for: one that was found on the disk, one whose time had
    /// passed, or one whose future was dropped. Each is told once, to whoever asks first, and in no case kept beyond
    /// the process: what is in doubt after a crash can be found in the room by its client id. At most 10 000 wait
    /// to be told; the oldest are dropped then. `None` when the client has ended and all were told. Cancel-safe.
    pub async fn settled(&self) -> Option<Settled> {
        self.client.handle.shared.outcomes.next().await
    }
}

/// Outcomes that wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    queue: Mutex<Queue>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    settled: VecDeque<Settled>,
    is_over: bool,
}

impl Outcomes {
    /// Keeps an outcome until somebody asks; the driver's side.
    pub(crate) fn push(&self, settled: Settled) {
        self.with(|queue| {
            if queue.settled.len() >= OUTCOMES_MAX {
                queue.settled.pop_front();
            }
            queue.settled.push_back(settled);
        });
        self.notify.notify_one();
    }

    /// No outcome will come any more; the driver's side.
    pub(crate) fn end(&self) {
        self.with(|queue| queue.is_over = true);
        self.notify.notify_waiters();
        self.notify.notify_one();
    }

    async fn next(&self) -> Option<Settled> {
        loop {
            let (settled, is_over, more) = self.with(|queue| {
                let settled = queue.settled.pop_front();
                (settled, queue.is_over, !queue.settled.is_empty() || queue.is_over)
            });
            if settled.is_some() || is_over {
                if more {
                    // One permit may stand for several outcomes.
                    self.notify.notify_one();
                }
                return settled;
            }
            self.notify.notified().await;
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Shared by the driver and the handles.
pub(crate) type SharedOutcomes = Arc<Outcomes>;

/// Outcomes that nobody has asked for: as many as an outbox has entries by default.
const OUTCOMES_MAX: usize = OUTBOX_ENTRIES_DEFAULT;

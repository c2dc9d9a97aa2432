//! PUBLISH: from the frame to the writer's queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hark_core::Refusal;
use hark_core::ports::Author;
use hark_core::room::Ask;
use hark_protocol::{Correlation, Frame, LimitId, Publish};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::link::{Answer, Prepared};
use crate::room_entry::RoomEntry;
use crate::writer::{Goal, InOrder, Job};

/// A publish that would have to wait longer than this for its rate is refused instead.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Bodies below this are copied out of the buffer into which they were read.
const COPY_BYTES_MAX: usize = 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Who the connection's events are by.
    pub(super) fn author(&self) -> Option<Author> {
        let identity = self.identity.as_ref()?;
        Some(Author { account: identity.account, name: identity.name.clone() })
    }

    /// Takes a publish. Over its account's rate it is slowed down first, by reading no further; only what
    /// would have to wait too long is refused, and even then a retry of what is stored is answered as such.
    pub(super) fn publish(&mut self, correlation: Correlation, publish: Publish) {
        let Some(author) = self.author() else { return };
        let (room, client_id) = (publish.room, publish.client_id);
        let frame = Frame::Publish(publish);
        let request = self.hub.identities.hash(&frame);
        let Frame::Publish(Publish { kind, body, abandon, .. }) = frame else { return };
        let (refusal, wait) = self.rate(&author);
        let ask = refusal.map_or_else(|| Ask::Publish { kind, body: own(body.into_bytes()) }, Ask::Refused);
        let link = Arc::clone(&self.link);
        let job = move |entry: Arc<RoomEntry>| {
            let publish = Some(InOrder { room, abandons: abandon, place: None });
            let goal = Goal::Room(entry, ask);
            Job { link, correlation, author, client_id, request, goal, publish }
        };
        if let Some(entry) = self.hub.loaded_room(room) {
            return self.submit_later(job(entry), wait);
        }
        self.is_preparing = true;
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            let prepared = match hub.room(room).await {
                Ok(entry) => Ok(Prepared { job: job(entry), wait }),
                // Nobody but this connection is waited for, and nothing of it is on its way to the room.
                Err(refusal) => Err(link.refuse_publish(room, (client_id, abandon), refusal)),
            };
            link.answer(Answer::Prepared(correlation, Box::new(prepared)));
        });
    }

    /// Takes one event of the account's rate: how long it has to wait, or why it is refused.
    pub(super) fn rate(&self, author: &Author) -> (Option<Refusal>, Duration) {
        let wait = match self.hub.take_publish(author.account, WAIT_MAX) {
            Ok(wait) => return (None, wait),
            Err(wait) => wait,
        };
        let refusal = Refusal::Rate {
            limit: LimitId::PUBLISH_RATE,
            value: self.hub.limits().publish_rate_per_second.into(),
            retry_after_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        (Some(refusal), Duration::ZERO)
    }
}

/// A body to be kept until it is stored. A small one gets its own few bytes, so that it does not hold on to
/// the whole buffer into which it was read.
fn own(body: Bytes) -> Bytes {
    if body.len() < COPY_BYTES_MAX { Bytes::copy_from_slice(&body) } else { body }
}

//! Watching a room: how far its log has come, without reading it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use hark_protocol::{Level, Seq};

use crate::error::SubscribeError;
use crate::event::{EndReason, RoomEvent, Start};
use crate::feed::Feed;
use crate::room::Room;

/// The stream of [`Room::watch`]: for lists of rooms with their unread counts. Only the latest word waits for a slow
/// reader. It survives reconnects; dropping it ends the subscription.
#[derive(Debug)]
pub struct Watch {
    feed: Arc<Feed>,
    room: Room,
    ended: Option<EndReason>,
}

/// How far a watched room has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadUpdate {
    /// The log's newest seq.
    pub head: Seq,
    /// How many events stand above the position that was marked as read.
    pub behind: u64,
}

impl Watch {
    pub(crate) async fn begin(room: &Room, start: Start) -> Result<Watch, SubscribeError> {
        let handle = &room.client().handle;
        let feed = handle.new_feed();
        // Made before the answer, so that dropping this future drops the subscription, too.
        let watch = Watch { feed: feed.clone(), room: room.clone(), ended: None };
        handle.follow(feed, room.id(), start, Level::HEADS).await?;
        Ok(watch)
    }

    /// The room that is watched.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The latest head, once it is another one than before; `None` when the watch has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<HeadUpdate> {
        StreamExt::next(self).await
    }

    /// Counts everything up to `seq` as read, as far as the head has been told: later updates count from there. On a
    /// watch that began at [`Start::Cursor`] the server remembers it. While there is no connection it is noted, and
    /// the server learns it from the next subscription; for a cursor only from what is marked then.
    pub fn mark_read(&self, seq: Seq) {
        self.room.client().handle.mark_read(self.feed.id(), seq);
    }

    /// Why it ended, once [`Watch::next`] has given `None`.
    pub fn ended(&self) -> Option<&EndReason> {
        self.ended.as_ref()
    }
}

impl Stream for Watch {
    type Item = HeadUpdate;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HeadUpdate>> {
        loop {
            match self.feed.poll_next(cx) {
                Poll::Ready(Some(RoomEvent::Lagging { head, behind })) => {
                    return Poll::Ready(Some(HeadUpdate { head, behind }));
                }
                Poll::Ready(Some(RoomEvent::Ended { reason })) => self.ended = Some(reason),
                // A reset is followed by the end, which names it.
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.feed.drop_stream();
    }
}

//! Following a room: a stream of what happens in it, across reconnects.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use hark_protocol::{Epoch, Frame, Level, Seq};

use crate::error::{SubscribeError, SubscribeErrorKind};
use crate::event::{RoomEvent, Start};
use crate::feed::Feed;
use crate::room::Room;
use crate::session::Taken;

/// The stream of [`Room::events`]. Its last item is [`RoomEvent::Ended`].
///
/// An item counts as taken when the next one is asked for: what a program was working on when it crashed comes
/// again to a subscription that began at [`Start::Cursor`]. Dropping the stream ends the subscription.
#[derive(Debug)]
pub struct Events {
    feed: Arc<Feed>,
    room: Room,
    begun: Begun,
    taken: Taken,
    handed: Option<Option<Seq>>,
}

/// Where a subscription began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Begun {
    /// Which incarnation the log is.
    pub epoch: Epoch,
    /// The oldest seq that the account can read.
    pub first: Seq,
    /// The newest seq at that moment.
    pub head: Seq,
    /// The seq of the first event that comes.
    pub next: Seq,
}

impl Events {
    pub(crate) async fn follow(room: &Room, start: Start) -> Result<Events, SubscribeError> {
        let handle = &room.client().handle;
        let feed = handle.new_feed();
        // Made before the answer, so that dropping this future drops the subscription, too.
        let mut events = Events {
            feed: feed.clone(),
            room: room.clone(),
            begun: Begun::default(),
            taken: Taken::default(),
            handed: None,
        };
        match handle.follow(feed, room.id(), start, Level::FULL).await? {
            Frame::Subscribed(answer) if answer.rooms.len() == 1 => {
                let verdict = &answer.rooms[0];
                events.begun = Begun {
                    epoch: verdict.epoch,
                    first: verdict.first,
                    head: verdict.head,
                    next: verdict.next,
                };
                Ok(events)
            }
            _ => Err(SubscribeErrorKind::Closed.into()),
        }
    }

    /// The room that is followed.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Where the subscription began; a later reconnect does not change it.
    pub fn begun(&self) -> Begun {
        self.begun
    }

    /// The next item; `None` after [`RoomEvent::Ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        StreamExt::next(self).await
    }

    /// Counts what was handed out last as taken, without asking for another item. For a program that stops here and
    /// begins at [`Start::Cursor`] next time; follow it with [`Client::close`](crate::Client::close), which
    /// tells the server.
    pub fn done(&mut self) {
        self.count_handed();
        self.feed.list();
    }

    fn count_handed(&mut self) {
        if let Some(seq) = self.handed.take() {
            self.taken.items += 1;
            self.taken.seq = seq.or(self.taken.seq);
            self.feed.took(self.taken);
        }
    }
}

impl Stream for Events {
    type Item = RoomEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        self.count_handed();
        let polled = self.feed.poll_next(cx);
        if let Poll::Ready(Some(item)) = &polled {
            self.handed = Some(match item {
                RoomEvent::Event(event) => Some(event.seq),
                RoomEvent::Gap(gap) => Some(gap.to),
                _ => None,
            });
        }
        polled
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.feed.drop_stream();
    }
}

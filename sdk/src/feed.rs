//! The bounded queue between the driver and one [`Events`](crate::Events) stream, and how far the stream has read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::event::RoomEvent;
use crate::session::{FeedId, Taken};

/// One stream's queue. Its length is bounded by the session, which counts what it has put in against what was
/// taken out and treats a server that sends more than its credit as broken.
#[derive(Debug)]
pub(crate) struct Feed {
    id: FeedId,
    /// After how many taken items the driver is told without waiting for the queue to run dry.
    tell_after: u64,
    queue: Mutex<Queue>,
    is_listed: AtomicBool,
    wake: Arc<Wake>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<RoomEvent>,
    taken: Taken,
    told: u64,
    waker: Option<Waker>,
    is_over: bool,
    is_dropped: bool,
}

/// What streams tell the driver: which of them have read on or were dropped. A feed stands in the list at most
/// once, so its length is bounded by the number of streams.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    feeds: Mutex<Vec<Arc<Feed>>>,
    notify: Notify,
}

impl Wake {
    /// Waits until a feed has something to tell. Cancel-safe.
    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// The feeds that have something to tell.
    pub(crate) fn drain(&self) -> Vec<Arc<Feed>> {
        let feeds = std::mem::take(&mut *self.feeds.lock().unwrap_or_else(PoisonError::into_inner));
        // Before their counts are read, so that what is taken from now on lists the feed again.
        feeds.iter().for_each(|feed| feed.is_listed.store(false, Ordering::SeqCst));
        feeds
    }
}

impl Feed {
    pub(crate) fn new(id: FeedId, window: u32, wake: Arc<Wake>) -> Arc<Feed> {
        Arc::new(Feed {
            id,
            tell_after: u64::from(window / 4).max(1),
            queue: Mutex::default(),
            is_listed: AtomicBool::new(false),
            wake,
        })
    }

    pub(crate) fn id(&self) -> FeedId {
        self.id
    }

    /// Puts an item in; the driver's side.
    pub(crate) fn push(&self, item: RoomEvent) {
        let mut queue = self.lock();
        queue.items.push_back(item);
        if let Some(waker) = queue.waker.take() {
            drop(queue);
            waker.wake();
        }
    }

    /// Puts an item in, in the place of the last one of its sort if that still waits; the driver's side.
    pub(crate) fn push_latest(&self, item: RoomEvent) {
        let mut queue = self.lock();
        let is_same = |last: &RoomEvent| std::mem::discriminant(last) == std::mem::discriminant(&item);
        if queue.items.back().is_some_and(is_same) {
            queue.items.pop_back();
        }
        drop(queue);
        self.push(item);
    }

    /// No item will come any more; the driver's side.
    pub(crate) fn end(&self) {
        let mut queue = self.lock();
        queue.is_over = true;
        if let Some(waker) = queue.waker.take() {
            drop(queue);
            waker.wake();
        }
    }

    /// What the application has taken so far, and whether it has dropped the stream; the driver's side.
    pub(crate) fn progress(&self) -> (Taken, Dropped) {
        let mut queue = self.lock();
        queue.told = queue.taken.items;
        (queue.taken, if queue.is_dropped { Dropped::Yes } else { Dropped::No })
    }

    /// The next item; the stream's side.
    pub(crate) fn poll_next(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        let mut queue = self.lock();
        let item = queue.items.pop_front();
        if item.is_none() && !queue.is_over {
            queue.waker = Some(cx.waker().clone());
        }
        let ready = match (item, queue.is_over) {
            (Some(item), _) => Poll::Ready(Some(item)),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        };
        let untold = queue.taken.items.saturating_sub(queue.told);
        let tell = untold >= self.tell_after || (untold > 0 && queue.items.is_empty());
        drop(queue);
        if tell {
            self.list();
        }
        ready
    }

    /// Notes that an item which was handed out before is done with; the stream's side.
    pub(crate) fn took(&self, taken: Taken) {
        self.lock().taken = taken;
    }

    /// Tells the driver what was taken, without waiting for more; the stream's side.
    pub(crate) fn list(self: &Arc<Self>) {
        if !self.is_listed.swap(true, Ordering::SeqCst) {
            self.wake.feeds.lock().unwrap_or_else(PoisonError::into_inner).push(self.clone());
        }
        self.wake.notify.notify_one();
    }

    /// The stream is gone: nobody reads any more.
    pub(crate) fn drop_stream(self: &Arc<Self>) {
        {
            let mut queue = self.lock();
            queue.is_dropped = true;
            queue.items = VecDeque::new();
        }
        self.list();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the application has dropped a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Yes,
    No,
}

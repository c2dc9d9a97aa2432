//! The link to a connection: where other tasks and threads leave what concerns it, and by which they wake it.
//!
//! An idle link owns no buffers. Wake-ups coalesce: a connection that has not looked yet is not woken twice.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hark_core::Refusal;
use hark_core::delivery::Fetch;
use hark_core::pipeline::{Pipeline, Place};
use hark_core::ports::{Cursor, Position, Stored};
use hark_protocol::{
    AccountId, AccountName, AccountRole, Authenticated, ClientId, Correlation, DeviceId, EncodedFrame, Frame,
    PresenceMode, RoomId, SubscribeItem,
};
use parking_lot::Mutex;

use crate::room_entry::{FollowKey, RoomEntry};
use crate::seat::Seat;
use crate::writer::Job;

/// Signals and presences that may wait; more are dropped, as their nature allows.
const WHISPERS_MAX: usize = 256;

/// What a connection finds when it looks.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Rooms that may have news.
    pub(crate) hints: Vec<RoomId>,
    /// What came of its requests and reads; never more than it may have in flight.
    pub(crate) answers: Vec<Answer>,
    /// Frames that may be lost.
    pub(crate) whispers: Vec<EncodedFrame>,
    /// What the server wants of it.
    pub(crate) orders: Vec<Order>,
    is_woken: bool,
    /// The connection is gone.
    is_closed: bool,
}

/// What came of a request or a read.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The final answer.
    Reply(Correlation, Frame),
    /// The final answer is no.
    Refused(Correlation, Refusal),
    /// What the writer decided.
    Decided(Correlation, Decision),
    /// The login succeeded.
    LoggedIn(Correlation, Box<LoggedIn>),
    /// What a change of a room needs to know has been looked up.
    Prepared(Correlation, Box<Result<Prepared, Refusal>>),
    /// The rooms of a SUBSCRIBE have been looked up.
    Subscribing(Correlation, Vec<Subscribing>),
    /// What came of a request that needed the stores.
    Called(Correlation, Result<Frame, Refusal>),
    /// Whether what the peer logged out of has been forgotten.
    Forgotten(Result<(), ()>),
    /// What a subscription needed from the store.
    Fetched(Fetch, Vec<Stored>),
}

/// What became of a request that was to become an event.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is on the disk.
    Stored(Position),
    /// It was there already, or what it asks for holds.
    Duplicate(Position),
    /// It is not.
    Refused(Refusal),
}

/// Who a login is.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    pub(crate) answer: Authenticated,
    pub(crate) presence: PresenceMode,
    pub(crate) seat: Seat,
}

/// Who a connection speaks for.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) account: AccountId,
    pub(crate) name: AccountName,
    pub(crate) role: AccountRole,
    pub(crate) device: DeviceId,
    pub(crate) presence: PresenceMode,
}

/// A request that becomes an event, ready for the writer after the wait that its account's rate asks for.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) job: Job,
    pub(crate) wait: Duration,
}

/// One room of a SUBSCRIBE, looked up.
#[derive(Debug)]
pub(crate) struct Subscribing {
    pub(crate) item: SubscribeItem,
    pub(crate) found: Result<(Arc<RoomEntry>, Option<Cursor>), Refusal>,
}

/// What the server wants of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Say goodbye, finish what has begun, and go.
    Drain {
        /// What to tell the peer.
        reconnect_after_ms: u32,
    },
    /// The account was disabled: go at once.
    Disabled,
    /// Another connection has taken the session up: go at once.
    SessionReplaced,
    /// Another connection of the device follows the room durably now.
    Replaced(RoomId, FollowKey),
    /// Too many rooms wait for a publish of the connection's that was refused: go.
    TooMuchRefused,
    /// The writer has room again.
    WriterHasRoom,
}

/// Where others leave what concerns a connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    inbox: Mutex<Inbox>,
    /// The order of the connection's publishes; the writer's, but for those that do not get so far.
    pub(crate) pipeline: Mutex<Pipeline>,
    waker: AtomicWaker,
}

impl Link {
    /// What comes for a connection that is gone is dropped, once the lock is free: it may hold on to things of
    /// its own.
    fn put(&self, put: impl FnOnce(&mut Inbox)) {
        let wake = {
            let mut inbox = self.inbox.lock();
            if inbox.is_closed {
                return;
            }
            put(&mut inbox);
            !std::mem::replace(&mut inbox.is_woken, true)
        };
        if wake {
            self.waker.wake();
        }
    }

    /// A room may have news.
    pub(crate) fn hint(&self, room: RoomId) {
        self.put(|inbox| inbox.hints.push(room));
    }

    /// Something came of a request.
    pub(crate) fn answer(&self, answer: Answer) {
        self.put(|inbox| inbox.answers.push(answer));
    }

    /// The server wants something.
    pub(crate) fn order(&self, order: Order) {
        self.put(|inbox| inbox.orders.push(order));
    }

    /// A frame that may be lost. Full: it is.
    pub(crate) fn whisper(&self, frame: EncodedFrame) {
        self.put(|inbox| {
            if inbox.whispers.len() < WHISPERS_MAX {
                inbox.whispers.push(frame);
            }
        });
    }

    /// Takes everything that was left.
    pub(crate) fn take(&self) -> Inbox {
        std::mem::take(&mut *self.inbox.lock())
    }

    /// The connection is gone: what was left and what will be is for nobody.
    pub(crate) fn close(&self) {
        let closed = Inbox { is_closed: true, ..Inbox::default() };
        let left = std::mem::replace(&mut *self.inbox.lock(), closed);
        drop(left);
    }

    /// Takes note of a publish that is refused before it gets to the writer, and says what its author is told.
    pub(crate) fn refuse_publish(
        &self,
        room: RoomId,
        (client_id, abandons): (ClientId, bool),
        refusal: Refusal,
    ) -> Refusal {
        let mut pipeline = self.pipeline.lock();
        match pipeline.enter(room, client_id, abandons) {
            Place::Free => pipeline.refused(room, client_id, refusal),
            // Why the room can not be had matters more than the order, if it is for good.
            Place::Behind if !refusal.code().is_retryable() => refusal,
            Place::Behind => Refusal::PredecessorRefused,
        }
    }

    /// Ready when something was left since the last [`Link::take`].
    pub(crate) fn poll_left(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.inbox.lock().is_woken { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_is_left_wakes_once_and_what_comes_after_the_end_wakes_nobody_and_is_kept_nowhere() {
        let (link, bell) = (Arc::<Link>::default(), Arc::<Bell>::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        assert!(link.poll_left(&mut context).is_pending());
        link.hint(RoomId(1));
        link.hint(RoomId(2));
        assert!(link.poll_left(&mut context).is_ready());
        assert_eq!((bell.0.load(Ordering::SeqCst), link.take().hints.len()), (1, 2));
        assert!(link.poll_left(&mut context).is_pending(), "it was taken");

        link.hint(RoomId(3));
        link.close();
        link.hint(RoomId(4));
        link.order(Order::Disabled);
        link.answer(Answer::Forgotten(Ok(())));
        assert!(link.poll_left(&mut context).is_pending(), "nothing is left for who is gone");
        let left = link.inbox.lock();
        assert!(left.hints.is_empty() && left.orders.is_empty() && left.answers.is_empty());
    }
}

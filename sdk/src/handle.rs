//! What a client's handles and its driver share: the way in for requests, and what is known about the connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hark_protocol::{Disposition, Frame, RoomId, SignalKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot, watch};

use crate::credentials::Token;
use crate::entropy::Ids;
use crate::event::Start;
use crate::feed::{Feed, Wake};
use crate::session::{Failure, FeedId};
use crate::status::{AccountInfo, ClientEvent, ClientState, ServerInfo};

/// Requests other than publishes that wait for their answers at once; another one waits for one of them.
pub(crate) const REQUESTS_MAX: usize = 256;

/// Signals on their way to the driver; another one is dropped, as signals may be.
const SIGNALS_MAX: usize = 64;

/// Client events that a slow reader finds when it comes; older ones are dropped and counted.
const CLIENT_EVENTS_MAX: usize = 256;

/// The answer to an order.
pub(crate) type Reply = oneshot::Sender<Result<Frame, Failure>>;

/// What a handle asks of the driver.
pub(crate) enum Order {
    /// A request that is answered.
    Request { frame: Frame, reply: Reply, permit: OwnedSemaphorePermit },
    /// A signal, which is not.
    Signal { room: RoomId, kind: SignalKind, _permit: OwnedSemaphorePermit },
    /// A room to follow; the answer is SUBSCRIBED with its one verdict.
    Follow { feed: Arc<Feed>, room: RoomId, start: Start, reply: Reply, permit: OwnedSemaphorePermit },
    /// The end. The answer comes when it is done.
    Close { disposition: Disposition, patience: Duration, reply: oneshot::Sender<()> },
}

/// The handles' side of a driver.
pub(crate) struct Handle {
    orders: mpsc::Sender<Order>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ids: Ids,
    pub(crate) window: u32,
}

/// What the driver knows and every handle may read.
pub(crate) struct Shared {
    /// Permits for publishes without an answer; the driver gives them back with the answers.
    pub(crate) publishes: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    signals: Arc<Semaphore>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) state: watch::Sender<ClientState>,
    pub(crate) events: broadcast::Sender<ClientEvent>,
    known: Mutex<Known>,
    next_feed: std::sync::atomic::AtomicU64,
}

/// What the last login taught.
#[derive(Clone, Default)]
struct Known {
    account: Option<AccountInfo>,
    server: Option<ServerInfo>,
    token: Option<Token>,
}

impl Shared {
    /// What a driver and its handles share, and the driver's end of the orders. The channel can not be full: an
    /// order needs a permit, and it has a place for every permit and for a few CLOSEs.
    pub(crate) fn new(publishes_max: usize) -> (Arc<Shared>, mpsc::Sender<Order>, mpsc::Receiver<Order>) {
        let (orders, received) = mpsc::channel(publishes_max + REQUESTS_MAX + SIGNALS_MAX + 16);
        let shared = Shared {
            publishes: Arc::new(Semaphore::new(publishes_max)),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            signals: Arc::new(Semaphore::new(SIGNALS_MAX)),
            wake: Arc::default(),
            state: watch::channel(ClientState::Connecting).0,
            events: broadcast::channel(CLIENT_EVENTS_MAX).0,
            known: Mutex::default(),
            next_feed: 1.into(),
        };
        (Arc::new(shared), orders, received)
    }

    /// Notes what a login taught.
    pub(crate) fn learn(&self, account: AccountInfo, server: ServerInfo, token: Option<Token>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.account = Some(account);
        known.server = Some(server);
        known.token = token.or(known.token.take());
    }

    /// Tells whoever waits for a permit that there will be none.
    pub(crate) fn close(&self) {
        self.publishes.close();
        self.requests.close();
        self.signals.close();
    }
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, orders: mpsc::Sender<Order>, ids: Ids, window: u32) -> Handle {
        Handle { orders, shared, ids, window }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn request(&self, frame: impl Into<Frame>) -> Result<Frame, Failure> {
        let permit = self.shared.requests.clone().acquire_owned().await.map_err(|_| Failure::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.order(Order::Request { frame: frame.into(), reply, permit })?;
        // A driver that vanishes without an answer took the request with it.
        answer.await.unwrap_or(Err(Failure::Unknown))
    }

    /// Hands a publish to the driver, which it reaches in the order of these calls.
    pub(crate) fn publish(
        &self,
        frame: Frame,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Frame, Failure>>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Request { frame, reply, permit })?;
        Ok(answer)
    }

    /// Sends a signal, or drops it when too many are on their way.
    pub(crate) fn signal(&self, room: RoomId, kind: SignalKind) {
        if let Ok(permit) = self.shared.signals.clone().try_acquire_owned() {
            let _ = self.order(Order::Signal { room, kind, _permit: permit });
        }
    }

    /// Follows a room into `feed`.
    pub(crate) async fn follow(&self, feed: Arc<Feed>, room: RoomId, start: Start) -> Result<Frame, Failure> {
        let permit = self.shared.requests.clone().acquire_owned().await.map_err(|_| Failure::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.order(Order::Follow { feed, room, start, reply, permit })?;
        answer.await.unwrap_or(Err(Failure::Closed))
    }

    /// Ends the client and waits until it has ended.
    pub(crate) async fn close(&self, disposition: Disposition, patience: Duration) {
        let (reply, done) = oneshot::channel();
        if self.orders.send(Order::Close { disposition, patience, reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    pub(crate) fn new_feed(&self) -> Arc<Feed> {
        let id = self.shared.next_feed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Feed::new(FeedId(id), self.window, self.shared.wake.clone())
    }

    pub(crate) fn account(&self) -> AccountInfo {
        self.known().account.expect("invariant: handles are given out after the first login")
    }

    pub(crate) fn server(&self) -> ServerInfo {
        self.known().server.expect("invariant: handles are given out after the first login")
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.known().token
    }

    fn known(&self) -> Known {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn order(&self, order: Order) -> Result<(), Failure> {
        self.orders.try_send(order).map_err(|_| Failure::Closed)
    }
}

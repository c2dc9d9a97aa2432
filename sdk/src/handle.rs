//! What a client's handles and its driver share: the way in for requests, and what is known about the connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hark_protocol::{ClientId, Disposition, Frame, Level, Publish, RoomId, Seq, SignalKind};
use tokio::sync::{
    AcquireError, Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, broadcast, mpsc, oneshot, watch,
};

use crate::credentials::Token;
use crate::entropy::Ids;
use crate::event::{Position, Start};
use crate::feed::{Feed, Wake};
use crate::outbox::{Pending, SharedOutcomes};
use crate::session::{Failure, FeedId};
use crate::status::{AccountInfo, ClientEvent, ClientState, ServerInfo};

/// Requests other than publishes that wait for their answers at once; another one waits for one of them.
pub(crate) const REQUESTS_MAX: usize = 256;

/// Signals on their way to the driver; another one is dropped, as signals may be.
const SIGNALS_MAX: usize = 64;

/// Client events that a slow reader finds when it comes; older ones are dropped and counted.
const CLIENT_EVENTS_MAX: usize = 256;

/// More unanswered publishes than anybody should want to keep.
const ENTRIES_MAX: usize = 1 << 20;

/// The answer to an order.
pub(crate) type Reply = oneshot::Sender<Result<Frame, Failure>>;

/// Where the answer to an order comes.
pub(crate) type Answer = oneshot::Receiver<Result<Frame, Failure>>;

/// What a handle asks of the driver.
pub(crate) enum Order {
    /// A request that is answered.
    Request { frame: Frame, reply: Reply, permit: OwnedSemaphorePermit },
    /// A publish.
    Publish(PublishOrder),
    /// What has no verdict.
    Pending { reply: oneshot::Sender<Vec<Pending>>, _permit: OwnedSemaphorePermit },
    /// A publish that is not to be sent again.
    Abandon { client_id: ClientId, reply: Reply, permit: OwnedSemaphorePermit },
    /// A signal, which is not.
    Signal { room: RoomId, kind: SignalKind, _permit: OwnedSemaphorePermit },
    /// A room to follow; the answer is SUBSCRIBED with its one verdict.
    Follow {
        feed: Arc<Feed>,
        room: RoomId,
        start: Start,
        level: Level,
        reply: Reply,
        permit: OwnedSemaphorePermit,
    },
    /// The unread position of a watched room is to be moved.
    Read { feed: FeedId, seq: Seq, _permit: OwnedSemaphorePermit },
    /// How far the application has come everywhere.
    Positions { reply: oneshot::Sender<Positions>, _permit: OwnedSemaphorePermit },
    /// The end. The answer, where somebody waits for it, comes when it is done.
    Close { disposition: Disposition, patience: Duration, reply: Option<oneshot::Sender<()>> },
}

/// How far an application has come in each room.
pub(crate) type Positions = BTreeMap<RoomId, Position>;

/// A publish on its way to the session.
pub(crate) struct PublishOrder {
    pub(crate) publish: Publish,
    /// How long its answer is waited for.
    pub(crate) within: Option<Duration>,
    pub(crate) reply: Reply,
    /// Told when the client has it for good: on the disk, if it has one.
    pub(crate) queued: oneshot::Sender<()>,
    pub(crate) permits: Permits,
}

/// The place that a publish takes in the outbox; it goes back with the answer. What was found on a disk may be more
/// than there are places.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    _entry: Option<OwnedSemaphorePermit>,
    bytes: Option<OwnedSemaphorePermit>,
}

/// How much an outbox holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxBounds {
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
}

/// What a handle knows from its builder.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) server_address: String,
    pub(crate) resumed: Positions,
    /// How long the answer to a publish is waited for, unless it says otherwise.
    pub(crate) send_within: Option<Duration>,
}

/// The handles' side of a driver.
pub(crate) struct Handle {
    orders: mpsc::Sender<Order>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ids: Ids,
    pub(crate) window: u32,
    /// The server's address, as the builder was given it.
    pub(crate) server_address: String,
    /// Where an earlier process was, if this client goes on from there.
    pub(crate) resumed: Positions,
    send_within: Option<Duration>,
}

/// What the driver knows and every handle may read.
pub(crate) struct Shared {
    /// Permits for publishes without an answer; the driver gives them back with the answers.
    publishes: Arc<Semaphore>,
    /// The same for the bytes of their bodies.
    bytes: Arc<Semaphore>,
    bytes_max: u32,
    pub(crate) outcomes: SharedOutcomes,
    requests: Arc<Semaphore>,
    signals: Arc<Semaphore>,
    pub(crate) wake: Arc<Wake>,
    /// Told when the application says that the network has changed.
    pub(crate) network: Notify,
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
    session_token: Option<Token>,
    /// Positions of the rooms, as of the client's end.
    positions: Positions,
}

impl Shared {
    /// What a driver and its handles share, and the driver's end of the orders. The channel can not be full: an
    /// order needs a permit, and it has a place for every permit and for a few CLOSEs.
    pub(crate) fn new(bounds: OutboxBounds) -> (Arc<Shared>, mpsc::Sender<Order>, mpsc::Receiver<Order>) {
        let entries_max = bounds.entries_max.clamp(1, ENTRIES_MAX);
        let (orders, received) = mpsc::channel(entries_max + REQUESTS_MAX + SIGNALS_MAX + 16);
        // A semaphore hands out at most so many at once.
        let bytes_max = u32::try_from(bounds.bytes_max.max(1)).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3);
        let shared = Shared {
            publishes: Arc::new(Semaphore::new(entries_max)),
            bytes: Arc::new(Semaphore::new(bytes_max as usize)),
            bytes_max,
            outcomes: SharedOutcomes::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            signals: Arc::new(Semaphore::new(SIGNALS_MAX)),
            wake: Arc::default(),
            network: Notify::new(),
            state: watch::channel(ClientState::Connecting).0,
            events: broadcast::channel(CLIENT_EVENTS_MAX).0,
            known: Mutex::default(),
            next_feed: 1.into(),
        };
        (Arc::new(shared), orders, received)
    }

    /// Notes what a login taught.
    pub(crate) fn learn(
        &self,
        account: AccountInfo,
        server: ServerInfo,
        token: Option<Token>,
        session_token: Option<Token>,
    ) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.session_token = session_token;
        known.account = Some(account);
        known.server = Some(server);
        known.token = token.or(known.token.take());
    }

    /// Notes where the application was when the client ended.
    pub(crate) fn learn_positions(&self, positions: Positions) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).positions = positions;
    }

    /// A place in the outbox, waited for. Cancel-safe.
    pub(crate) async fn place(&self) -> Result<Permits, AcquireError> {
        let entry = Some(self.publishes.clone().acquire_owned().await?);
        Ok(Permits { _entry: entry, bytes: None })
    }

    /// A place in the outbox, if there is one now.
    pub(crate) fn try_place(&self) -> Result<Permits, TryAcquireError> {
        let entry = Some(self.publishes.clone().try_acquire_owned()?);
        Ok(Permits { _entry: entry, bytes: None })
    }

    /// Room for a body, waited for. Cancel-safe.
    pub(crate) async fn room_for(&self, body: usize, permits: &mut Permits) -> Result<(), AcquireError> {
        if permits.bytes.is_none() {
            permits.bytes = Some(self.bytes.clone().acquire_many_owned(self.weight(body)).await?);
        }
        Ok(())
    }

    /// Room for a body, if there is some now.
    pub(crate) fn try_room_for(&self, body: usize, permits: &mut Permits) -> Result<(), TryAcquireError> {
        if permits.bytes.is_none() {
            permits.bytes = Some(self.bytes.clone().try_acquire_many_owned(self.weight(body))?);
        }
        Ok(())
    }

    /// The places of something that is there already, whether there are any or not.
    pub(crate) fn place_of_found(&self, body: usize) -> Permits {
        let mut permits = self.try_place().unwrap_or_default();
        // More than fits was kept when the bounds were wider.
        let _ = self.try_room_for(body, &mut permits);
        permits
    }

    /// A body weighs its bytes, and no more than everything: a single one always fits.
    fn weight(&self, body: usize) -> u32 {
        u32::try_from(body).unwrap_or(u32::MAX).min(self.bytes_max)
    }

    /// Tells whoever waits for a permit that there will be none.
    pub(crate) fn close(&self) {
        self.publishes.close();
        self.bytes.close();
        self.requests.close();
        self.signals.close();
    }
}

impl Handle {
    pub(crate) fn new(
        shared: Arc<Shared>,
        orders: mpsc::Sender<Order>,
        ids: Ids,
        window: u32,
        keeping: Kept,
    ) -> Handle {
        let Kept { server_address, resumed, send_within } = keeping;
        Handle { orders, shared, ids, window, server_address, resumed, send_within }
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
        publish: Publish,
        within: Option<Duration>,
        permits: Permits,
    ) -> Result<(Answer, oneshot::Receiver<()>), Failure> {
        let ((reply, answer), (queued, is_queued)) = (oneshot::channel(), oneshot::channel());
        let within = within.or(self.send_within);
        self.order(Order::Publish(PublishOrder { publish, within, reply, queued, permits }))?;
        Ok((answer, is_queued))
    }

    /// The publishes without a verdict.
    pub(crate) async fn pending(&self) -> Result<Vec<Pending>, Failure> {
        let permit = self.shared.requests.clone().acquire_owned().await.map_err(|_| Failure::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.order(Order::Pending { reply, _permit: permit })?;
        answer.await.map_err(|_| Failure::Closed)
    }

    /// Gives a publish up, and says whether there was one.
    pub(crate) async fn abandon(&self, client_id: ClientId) -> Result<bool, Failure> {
        let permit = self.shared.requests.clone().acquire_owned().await.map_err(|_| Failure::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.order(Order::Abandon { client_id, reply, permit })?;
        match answer.await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(Failure::NotThere)) => Ok(false),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Closed),
        }
    }

    /// Sends a signal, or drops it when too many are on their way.
    pub(crate) fn signal(&self, room: RoomId, kind: SignalKind) {
        if let Ok(permit) = self.shared.signals.clone().try_acquire_owned() {
            let _ = self.order(Order::Signal { room, kind, _permit: permit });
        }
    }

    /// Follows a room into `feed`.
    pub(crate) async fn follow(
        &self,
        feed: Arc<Feed>,
        room: RoomId,
        start: Start,
        level: Level,
    ) -> Result<Frame, Failure> {
        let permit = self.shared.requests.clone().acquire_owned().await.map_err(|_| Failure::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.order(Order::Follow { feed, room, start, level, reply, permit })?;
        answer.await.unwrap_or(Err(Failure::Closed))
    }

    /// Moves the unread position of a watched room. With too many on their way the last word counts, and is the next.
    pub(crate) fn mark_read(&self, feed: FeedId, seq: Seq) {
        if let Ok(permit) = self.shared.signals.clone().try_acquire_owned() {
            let _ = self.order(Order::Read { feed, seq, _permit: permit });
        }
    }

    /// How far the application has come in each room; after the client's end, how far it had.
    pub(crate) async fn positions(&self) -> Positions {
        if let Ok(permit) = self.shared.requests.clone().acquire_owned().await {
            let (reply, answer) = oneshot::channel();
            if self.order(Order::Positions { reply, _permit: permit }).is_ok()
                && let Ok(positions) = answer.await
            {
                return positions;
            }
        }
        self.known().positions
    }

    /// Ends the client and waits until it has ended.
    pub(crate) async fn close(&self, disposition: Disposition, patience: Duration) {
        let (reply, done) = oneshot::channel();
        if self.orders.send(Order::Close { disposition, patience, reply: Some(reply) }).await.is_ok() {
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

    pub(crate) fn session_token(&self) -> Option<Token> {
        self.known().session_token
    }

    fn known(&self) -> Known {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn order(&self, order: Order) -> Result<(), Failure> {
        self.orders.try_send(order).map_err(|_| Failure::Closed)
    }
}

//! The node: a Hark server as a value that can be started, asked and stopped.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use hark_core::Limits;
use hark_core::ports::StoreError;
use hark_core::session::Settings as SessionSettings;
use hark_protocol::{Line, Retention};
use rustls::ServerConfig;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, OsEntropy, random_bytes};
use crate::executor::{Executor, Pace};
use crate::farewell;
use crate::hub::{Hub, HubParts};
use crate::link::Order;
use crate::listener::{Door, Listener};
use crate::metrics::Metrics;
use crate::password::{PasswordError, PasswordPool};
use crate::retention::Tending;
use crate::scribe::Scribe;
use crate::settings::Settings;
use crate::storage::{Storage, Stores};
use crate::tails::TailBudget;

/// Memory for the newest events of all rooms together, unless the builder says otherwise.
pub(crate) const TAIL_BYTES_DEFAULT: usize = 256 * 1024 * 1024;

/// How long a session is kept while it has no connection, unless the builder says otherwise.
pub(crate) const SESSION_LIFETIME_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Over how long at most a shutdown spreads the farewells, unless the builder says otherwise.
pub(crate) const FAREWELL_SPREAD_DEFAULT: Duration = Duration::from_secs(5);

/// How often cursors are saved, and unused rooms let go.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// How often sessions that have lapsed are looked for.
const LAPSE_INTERVAL: Duration = Duration::from_secs(60);

/// How long presence changes gather before they are told.
const PRESENCE_INTERVAL: Duration = Duration::from_millis(200);

/// How long the tasks of connections that were hung up on may take to end.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);

/// Why a node could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The builder was not told what it can not do without.
    #[error("a node needs {0}")]
    Missing(&'static str),
    /// The stores could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Passwords can not be hashed here.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The listener or a thread could not be had.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a node is made of. Only TLS and the stores have no default.
pub struct NodeBuilder {
    limits: Limits,
    registration: bool,
    agent: String,
    tail_bytes_max: usize,
    session_lifetime: Duration,
    retention: Retention,
    farewell_spread: Duration,
    tls: Option<Arc<ArcSwap<ServerConfig>>>,
    stores: Option<Stores>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    executor: Executor,
}

impl NodeBuilder {
    /// The limits; those of a public server by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> NodeBuilder {
        self.limits = limits;
        self
    }

    /// Whether holders of the registration token may make accounts; they may by default.
    #[must_use]
    pub fn registration(mut self, registration: bool) -> NodeBuilder {
        self.registration = registration;
        self
    }

    /// The name and version by which the server introduces itself.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> NodeBuilder {
        self.agent = agent.into();
        self
    }

    /// Bytes of memory for the newest events of all rooms together.
    #[must_use]
    pub fn tail_bytes_max(mut self, bytes: usize) -> NodeBuilder {
        self.tail_bytes_max = bytes;
        self
    }

    /// How long a session is kept while it has no connection; 30 days by default.
    #[must_use]
    pub fn session_lifetime(mut self, lifetime: Duration) -> NodeBuilder {
        self.session_lifetime = lifetime;
        self
    }

    /// How much of their logs rooms keep at most; everything by default. A room's own bounds come on top.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> NodeBuilder {
        self.retention = retention;
        self
    }

    /// Over how long at most a shutdown spreads the farewells; 5 seconds by default, and never more than half of
    /// the grace time.
    #[must_use]
    pub fn farewell_spread(mut self, spread_max: Duration) -> NodeBuilder {
        self.farewell_spread = spread_max;
        self
    }

    /// The certificate and TLS settings; may be swapped while the node runs.
    #[must_use]
    pub fn tls(mut self, tls: Arc<ArcSwap<ServerConfig>>) -> NodeBuilder {
        self.tls = Some(tls);
        self
    }

    /// The stores.
    #[must_use]
    pub fn stores(mut self, stores: Stores) -> NodeBuilder {
        self.stores = Some(stores);
        self
    }

    /// Where the node counts what it does.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> NodeBuilder {
        self.metrics = metrics;
        self
    }

    /// Where the node learns the time; the machine's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> NodeBuilder {
        self.clock = clock;
        self
    }

    /// Where the node takes randomness from; the system's by default.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> NodeBuilder {
        self.entropy = entropy;
        self
    }

    /// Where the stores are called; on threads by default.
    #[must_use]
    pub fn executor(mut self, executor: Executor) -> NodeBuilder {
        self.executor = executor;
        self
    }

    /// Starts serving. Belongs in a multi-threaded Tokio runtime, unless the executor calls the stores in place.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start<L: Listener>(self, listener: L) -> Result<Node, StartError> {
        let tls = self.tls.ok_or(StartError::Missing("TLS settings"))?;
        let stores = self.stores.ok_or(StartError::Missing("stores"))?;
        let local_addr = listener.local_addr()?;
        let settings = Settings::load_or_create(&*stores.directory, &*self.entropy)?;
        stores.sessions.part_sessions(self.clock.now())?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let passwords = PasswordPool::new(cores, Arc::clone(&self.entropy), Arc::clone(&self.metrics))?
            .on(self.executor.clone());
        let limits = Arc::new(self.limits);
        let tails = Arc::new(TailBudget::new(self.tail_bytes_max));
        let parts = HubParts {
            session: SessionSettings {
                limits: Arc::clone(&limits),
                registration: self.registration,
                agent: Line::lossy(&self.agent),
            },
            storage: Storage::new(
                Arc::clone(&stores.reader),
                stores.directory,
                stores.cursors,
                stores.sessions,
                self.executor.clone(),
            ),
            tails: Arc::clone(&tails),
            metrics: Arc::clone(&self.metrics),
            passwords,
            settings,
            session_lifetime: self.session_lifetime,
            clock: Arc::clone(&self.clock),
            entropy: self.entropy,
        };
        let hub = Arc::new(Hub::new(parts));
        hub.metrics.limits_set(&limits);
        let (log, reader, metrics, clock) = (stores.log, stores.reader, self.metrics, self.clock);
        let loaded = {
            let hub = Arc::clone(&hub);
            Box::new(move |room| hub.loaded_room(room))
        };
        let tending = Tending::new(self.retention, loaded);
        let scribe = Scribe { log, reader, limits, clock, metrics, tails, tending, backlog: VecDeque::new() };
        let writer = match self.executor {
            Executor::Threads => WriterTask::Thread(start_writer(&hub, scribe)?),
            Executor::Inline(pace) => WriterTask::Task(tokio::spawn(write(Arc::clone(&hub), scribe, pace))),
        };
        let door = Arc::new(Door::new(Arc::clone(&hub), tls));
        let housekeeping = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(Arc::clone(&door).run(listener)),
            tokio::spawn(keep_house(Arc::clone(&hub), housekeeping.clone())),
            tokio::spawn(tell_presences(Arc::clone(&hub), housekeeping.clone())),
        ];
        let (is_ready, farewell_spread) = (AtomicBool::new(true), self.farewell_spread);
        Ok(Node {
            hub,
            door,
            local_addr,
            is_ready,
            writer: Some(writer),
            housekeeping,
            farewell_spread,
            tasks,
        })
    }
}

fn start_writer(hub: &Arc<Hub>, scribe: Scribe) -> io::Result<JoinHandle<()>> {
    let hub = Arc::clone(hub);
    let run = move || {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hub.writer.run(scribe)));
        if ran.is_err() {
            hub.writer.fail(WRITER_PANICKED.into());
        }
    };
    std::thread::Builder::new().name("hark-writer".into()).spawn(run)
}

/// The writer as a task.
async fn write(hub: Arc<Hub>, scribe: Scribe, pace: Arc<dyn Pace>) {
    if Executor::guard(hub.writer.run_inline(scribe, &*pace)).await.is_err() {
        hub.writer.fail(WRITER_PANICKED.into());
    }
}

const WRITER_PANICKED: &str = "the writer panicked; nothing can be stored until the next start";

/// What runs the writer, to be waited for at the end.
enum WriterTask {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl WriterTask {
    /// Waits until everything that was taken is written. Whether it ended in order.
    async fn join(self) -> bool {
        match self {
            WriterTask::Task(task) => task.await.is_ok(),
            WriterTask::Thread(thread) => {
                matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(())))
            }
        }
    }
}

/// Saves cursors and which connections are gone, lets go of what nobody uses.
async fn keep_house(hub: Arc<Hub>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut forget_at = tokio::time::Instant::now();
    loop {
        // Biased: with the end first, neither can keep the other waiting, and a run of a simulation is one trace.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        hub.flush_cursors().await;
        hub.sessions.flush().await;
        let now = tokio::time::Instant::now();
        if now >= forget_at && !hub.sessions.forget_lapsed().await {
            forget_at = now + LAPSE_INTERVAL;
        }
        hub.sweep();
        hub.writer.tend();
        hub.metrics.store_condition(&hub.storage.condition());
    }
}

/// Tells presences, so often at most as is bearable.
async fn tell_presences(hub: Arc<Hub>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased; // as in `keep_house`
            () = stop.cancelled() => return,
            () = hub.presences.changed() => {}
        }
        for presence in hub.presences.take_changes() {
            hub.tell_presence(presence).await;
        }
        tokio::time::sleep(PRESENCE_INTERVAL).await;
    }
}

/// What came of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections that were open.
    pub connections: usize,
    /// Whether all of them ended by themselves within the time given.
    pub in_time: bool,
}

/// A running Hark server. Dropping it without [`Node::shutdown`] leaves its tasks to the runtime's end.
pub struct Node {
    hub: Arc<Hub>,
    door: Arc<Door>,
    local_addr: SocketAddr,
    is_ready: AtomicBool,
    writer: Option<WriterTask>,
    housekeeping: CancellationToken,
    farewell_spread: Duration,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Node {
    /// A node that has to be told its TLS settings and its stores.
    pub fn builder() -> NodeBuilder {
        NodeBuilder {
            limits: Limits::public(),
            registration: true,
            agent: concat!("harkd/", env!("CARGO_PKG_VERSION")).into(),
            tail_bytes_max: TAIL_BYTES_DEFAULT,
            retention: Retention::default(),
            session_lifetime: SESSION_LIFETIME_DEFAULT,
            farewell_spread: FAREWELL_SPREAD_DEFAULT,
            tls: None,
            stores: None,
            metrics: Arc::new(Metrics::new()),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            executor: Executor::default(),
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether it takes connections.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed) && self.hub.writer.failed().borrow().is_none()
    }

    /// Resolves when the store can not be trusted any more, with the reason: the process should end, because
    /// what is on the disk can only be known by starting anew. Cancel-safe.
    pub async fn failed(&self) -> String {
        let mut failed: watch::Receiver<Option<String>> = self.hub.writer.failed();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await, // the sender lives as long as the node
        }
    }

    /// Stops accepting, tells the peers one after the other to come back later, each at a time of its own, and lets
    /// them finish what they have begun; until it is told, a peer is served as ever. Those
    /// that have not done so when `grace` is over are hung up on. Returns when what was taken is stored.
    pub async fn shutdown(mut self, grace: Duration) -> ShutdownReport {
        self.is_ready.store(false, Ordering::Relaxed);
        self.door.shutdown.cancel();
        let links: Vec<_> = self.door.open.lock().values().cloned().collect();
        let connections = links.len();
        let chance = || u64::from_be_bytes(random_bytes(&*self.hub.entropy.0));
        let farewells = farewell::plan(connections, grace, self.farewell_spread, chance);
        let began = tokio::time::Instant::now();
        for (link, farewell) in links.into_iter().zip(farewells) {
            tokio::time::sleep_until(began + farewell.after).await;
            link.order(Order::Drain { reconnect_after_ms: farewell.reconnect_after_ms });
        }
        self.hub.tasks.close();
        let in_time = tokio::time::timeout_at(began + grace, self.hub.tasks.wait()).await.is_ok();
        if !in_time {
            self.door.abort.cancel();
            // What they have left behind them is short work; a call to a store that hangs is not waited for.
            let _ = tokio::time::timeout(ABORT_PATIENCE, self.hub.tasks.wait()).await;
        }
        self.housekeeping.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await; // a panic in there has been reported by the runtime
        }
        self.hub.flush_cursors().await;
        self.hub.sessions.flush().await;
        self.hub.writer.close();
        if let Some(writer) = self.writer.take()
            && !writer.join().await
        {
            tracing::error!("the writer did not end in order");
        }
        ShutdownReport { connections, in_time }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

//! The way in: accepting transports, admission, the TLS handshake, and then a connection of its own.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Full, Gate};
use crate::connection::{Accepted, Connection};
use crate::hub::{ConnectionId, Hub};
use crate::link::{Link, Order};
use crate::metrics::RefusedBecause;
use crate::tls::asked_for_hark;

/// Peers that are told at once that there is no room; more than these are only hung up on, because telling
/// costs a handshake.
const POLITE_REFUSALS_MAX: usize = 32;

/// Where transports come from. Not only sockets: a test may have a network of its own.
pub trait Listener: Send + 'static {
    /// What is accepted.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next transport and where it comes from. Never fails: what goes wrong is retried inside.
    fn accept(&mut self) -> impl Future<Output = (Self::Io, SocketAddr)> + Send;

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let mut pause = Duration::from_millis(10);
        loop {
            match TcpListener::accept(self).await {
                Ok((stream, address)) => {
                    // Frames are gathered before they are written; waiting for more would only add latency.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a socket can not be set to send at once");
                    }
                    return (stream, address);
                }
                Err(error) => {
                    tracing::warn!(%error, ?pause, "no connection can be accepted; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

/// What serving needs besides the hub.
pub(crate) struct Door {
    pub(crate) hub: Arc<Hub>,
    pub(crate) tls: Arc<ArcSwap<ServerConfig>>,
    pub(crate) gate: Arc<Gate>,
    /// In order, so that a shutdown tells them in one.
    pub(crate) open: Mutex<BTreeMap<ConnectionId, Arc<Link>>>,
    /// Nobody is let in any more.
    pub(crate) shutdown: CancellationToken,
    /// Whoever is still there has had its time.
    pub(crate) abort: CancellationToken,
    polite: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(hub: Arc<Hub>, tls: Arc<ArcSwap<ServerConfig>>) -> Door {
        let gate = Arc::new(Gate::new(hub.limits()));
        Door {
            hub,
            tls,
            gate,
            open: Mutex::default(),
            shutdown: CancellationToken::new(),
            abort: CancellationToken::new(),
            polite: Arc::new(Semaphore::new(POLITE_REFUSALS_MAX)),
        }
    }

    /// Accepts and serves until it is told to stop.
    pub(crate) async fn run<L: Listener>(self: Arc<Self>, mut listener: L) {
        loop {
            // Biased, here and below, so that chance does not decide; the rare comes first and starves nobody.
            let (stream, address) = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let door = Arc::clone(&self);
            match self.gate.admit(address.ip()) {
                Ok(admission) => self.hub.tasks.spawn(door.serve(stream, address, admission)),
                Err(full) => {
                    self.hub.metrics.connection_refused(full.because);
                    let Ok(permit) = Arc::clone(&self.polite).try_acquire_owned() else { continue };
                    self.hub.tasks.spawn(async move {
                        door.refuse(stream, address, full).await;
                        drop(permit);
                    })
                }
            };
        }
    }

    /// Serves one transport to its end. A panic in here ends this connection and no other.
    async fn serve<S>(self: Arc<Self>, stream: S, address: SocketAddr, admission: Admission)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.hub.metrics.connection_accepted();
        let served = AssertUnwindSafe(self.serve_counted(stream, address, admission)).catch_unwind();
        let ended = tokio::select! {
            biased;
            ended = served => ended,
            () = self.abort.cancelled() => Ok(()),
        };
        if ended.is_err() {
            self.hub.metrics.connection_panicked();
            tracing::error!(peer = %address, "a connection's task panicked; the others go on");
        }
        self.hub.metrics.connection_closed();
    }

    async fn serve_counted<S>(&self, stream: S, address: SocketAddr, admission: Admission)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let at = Instant::now();
        let Some(stream) = self.shake_hands(stream, address).await else { return };
        let id = self.hub.next_connection();
        let link = Arc::<Link>::default();
        let _open = Open::new(self, id, &link);
        if self.shutdown.is_cancelled() {
            link.order(Order::Drain { reconnect_after_ms: 0 });
        }
        tracing::debug!(connection = id.0, peer = %address, "connected");
        let accepted = Accepted { stream, id, address: address.ip(), at, admission, link };
        Connection::new(Arc::clone(&self.hub), accepted).run().await;
        tracing::debug!(connection = id.0, "disconnected");
    }

    async fn refuse<S>(&self, stream: S, address: SocketAddr, full: Full)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let at = Instant::now();
        let Some(stream) = self.shake_hands(stream, address).await else { return };
        let (id, link, admission) = (self.hub.next_connection(), Arc::default(), Admission::none());
        let accepted = Accepted { stream, id, address: address.ip(), at, admission, link };
        Connection::new(Arc::clone(&self.hub), accepted).refuse(full.reason()).await;
    }

    /// The TLS handshake, within its time. Nobody gets in without having asked for this protocol by name.
    async fn shake_hands<S>(&self, stream: S, address: SocketAddr) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(self.tls.load_full());
        let patience = Duration::from_millis(self.hub.limits().tls_timeout_ms.into());
        let refused = |because: RefusedBecause, why: &dyn std::fmt::Display| {
            self.hub.metrics.connection_refused(because);
            tracing::debug!(peer = %address, %why, "no TLS handshake");
            None
        };
        let shaken = tokio::select! {
            biased;
            shaken = tokio::time::timeout(patience, acceptor.accept(stream)) => shaken,
            () = self.shutdown.cancelled() => {
                // Whoever has said nothing yet misses nothing.
                return refused(RefusedBecause::ShuttingDown, &"the server is shutting down");
            }
        };
        match shaken {
            Err(elapsed) => refused(RefusedBecause::TlsHandshake, &elapsed),
            Ok(Err(error)) => refused(RefusedBecause::TlsHandshake, &error),
            Ok(Ok(mut stream)) if !asked_for_hark(stream.get_ref().1) => {
                // Whoever asked for another protocol was told so in the handshake; this one asked for none.
                let _ = tokio::time::timeout(patience, stream.shutdown()).await;
                refused(RefusedBecause::Alpn, &"the peer did not ask for hark/1")
            }
            Ok(Ok(stream)) => Some(stream),
        }
    }
}

/// A connection's entry among those that are told of a shutdown, for as long as it is there.
struct Open<'a> {
    door: &'a Door,
    id: ConnectionId,
}

impl<'a> Open<'a> {
    fn new(door: &'a Door, id: ConnectionId, link: &Arc<Link>) -> Open<'a> {
        door.open.lock().insert(id, Arc::clone(link));
        Open { door, id }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.door.open.lock().remove(&self.id);
    }
}

//! The network between clients and server: turmoil's, with a tap on each end of each connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use hark_sdk::{Address, Connector};
use hark_server::Listener;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::world::{World, client_name};

/// One end of a connection, as faults see it.
pub(crate) struct TapState {
    /// The client whose it is; `None` on the server's side and for those who are never disturbed.
    pub(crate) client: Option<usize>,
    name: String,
    read_bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    is_dead: bool,
    is_stalled: bool,
    is_gone: bool,
    /// Bytes that may still be written before the connection is cut.
    cut_after: Option<u64>,
    wakers: Vec<Waker>,
}

impl TapState {
    /// Whether anybody still holds the connection.
    pub(crate) fn is_open(&self) -> bool {
        let inner = self.inner.lock();
        !inner.is_dead && !inner.is_gone
    }

    /// Resets the connection.
    pub(crate) fn reset(&self) {
        self.change(|inner| inner.is_dead = true);
    }

    /// Cuts the connection when so many more bytes have been written.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.change(|inner| inner.cut_after = Some(bytes));
    }

    /// Stops to read, or begins again.
    pub(crate) fn stall(&self, is_stalled: bool) {
        self.change(|inner| inner.is_stalled = is_stalled);
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let wakers = {
            let mut inner = self.inner.lock();
            change(&mut inner);
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A stream that is watched, and that faults can get at.
pub(crate) struct Tap {
    inner: TcpStream,
    state: Arc<TapState>,
    world: Arc<World>,
}

impl Tap {
    fn new(world: &Arc<World>, inner: TcpStream, client: Option<usize>, side: &str) -> Tap {
        let number = world.connections.fetch_add(1, Ordering::Relaxed);
        let name = format!("{side}#{number}");
        let read_bytes_max =
            client.and_then(|client| world.plan.clients.get(client)).map_or(0, |plan| plan.read_bytes_max);
        world.note(&name, format_args!("open"));
        let state = Arc::new(TapState { client, name, read_bytes_max, inner: Mutex::default() });
        if client.is_some() {
            world.taps.lock().push(Arc::clone(&state));
        }
        Tap { inner, state, world: Arc::clone(world) }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Nothing is noted here: a stream may be dropped outside of virtual time.
        self.state.inner.lock().is_gone = true;
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        {
            let mut inner = tap.state.inner.lock();
            if inner.is_dead {
                return Poll::Ready(Err(reset()));
            }
            inner.wakers.retain(|waker| !waker.will_wake(cx.waker()));
            inner.wakers.push(cx.waker().clone());
            if inner.is_stalled {
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        match tap.state.read_bytes_max {
            0 => ready!(Pin::new(&mut tap.inner).poll_read(cx, buf))?,
            max => {
                let mut scratch = [0; 1_024];
                let most = max.min(scratch.len()).min(buf.remaining());
                let mut part = ReadBuf::new(&mut scratch[..most]);
                ready!(Pin::new(&mut tap.inner).poll_read(cx, &mut part))?;
                buf.put_slice(part.filled());
            }
        }
        tap.world.note(&tap.state.name, format_args!("read {}", buf.filled().len() - before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        let (most, is_cut) = {
            let inner = tap.state.inner.lock();
            if inner.is_dead {
                return Poll::Ready(Err(reset()));
            }
            let left = inner.cut_after.map(|left| usize::try_from(left).unwrap_or(usize::MAX));
            (left.unwrap_or(usize::MAX).min(buf.len()), left.is_some_and(|left| left <= buf.len()))
        };
        let count = match most {
            0 => 0,
            _ => ready!(Pin::new(&mut tap.inner).poll_write(cx, &buf[..most]))?,
        };
        tap.world.note(&tap.state.name, format_args!("write {count}"));
        let mut inner = tap.state.inner.lock();
        if let Some(left) = &mut inner.cut_after {
            *left = left.saturating_sub(count as u64);
        }
        if is_cut && count == most {
            inner.is_dead = true;
            return Poll::Ready(if count == 0 { Err(reset()) } else { Ok(count) });
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// How a client reaches the server.
#[derive(Clone)]
pub(crate) struct SimConnector {
    /// The run.
    pub(crate) world: Arc<World>,
    /// Whose connections these are; `None` for those who are never disturbed.
    pub(crate) client: Option<usize>,
}

impl Connector for SimConnector {
    type Stream = Tap;

    async fn connect(&self, address: &Address) -> io::Result<Tap> {
        let name = self.client.map_or_else(|| "rig".to_owned(), client_name);
        self.world.note(&name, format_args!("dial"));
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
        if let Err(error) = &stream {
            self.world.note(&name, format_args!("not connected: {:?}", error.kind()));
        }
        Ok(Tap::new(&self.world, stream?, self.client, &name))
    }
}

/// Where the server listens.
pub(crate) struct SimListener {
    inner: TcpListener,
    world: Arc<World>,
}

impl SimListener {
    /// Listens on `port` of the host that runs.
    ///
    /// # Errors
    /// The network's.
    pub(crate) async fn bind(world: &Arc<World>, port: u16) -> io::Result<SimListener> {
        let inner = TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await?;
        Ok(SimListener { inner, world: Arc::clone(world) })
    }
}

impl Listener for SimListener {
    type Io = Tap;

    async fn accept(&mut self) -> (Tap, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((stream, address)) => return (Tap::new(&self.world, stream, None, "s"), address),
                Err(error) => {
                    self.world.note("s", format_args!("not accepted: {:?}", error.kind()));
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

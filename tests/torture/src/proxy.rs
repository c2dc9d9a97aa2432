//! A TCP proxy that breaks what goes through it: it delays, cuts, stalls, dribbles, swallows and forgets to say
//! goodbye. It sees TLS records only, so it knows of bytes and directions, not of frames.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A proxy that listens until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    links: Mutex<Vec<Arc<Link>>>,
    refusing: AtomicBool,
    refused: AtomicU64,
}

/// One connection through the proxy.
#[derive(Debug)]
pub struct Link {
    flow: watch::Sender<Flow>,
    end: watch::Sender<End>,
    up: AtomicU64,
    down: AtomicU64,
    broken: AtomicU64,
}

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They are passed on.
    Pass,
    /// … a moment later.
    Delay(Duration),
    /// … one by one.
    Dribble,
    /// They wait.
    Stall,
    /// Those from the server are dropped; those to the server are passed on.
    SwallowDown,
    /// The connection is cut behind so many more bytes, whichever way they go.
    CutAfter(u64),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not yet.
    None,
    /// Both sides are told by FIN.
    Cut,
    /// The client is told by RST, the server by FIN.
    Reset,
    /// The client is told; the server is not, and goes on writing into the void for a while.
    HalfOpen,
}

/// How long the server's side of a half-open connection is kept.
const HALF_OPEN: Duration = Duration::from_secs(8);

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// Bytes of a chunk that are passed on one by one; the rest follows as it is, or a flood would never end.
const DRIBBLE_MAX: usize = 2_000;

impl Proxy {
    /// A proxy before this address.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let links = Mutex::new(Vec::new());
        let (refusing, refused) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { upstream, links, refusing, refused });
        let task = tokio::spawn(listen(listener, shared.clone()));
        Ok(Proxy { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections that live.
    pub fn links(&self) -> Vec<Arc<Link>> {
        let mut links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.is_alive());
        links.clone()
    }

    /// From now on new connections are closed at once, or no more.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Relaxed);
    }

    /// How many were.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.links().iter().for_each(|link| link.end(End::Cut));
    }
}

impl Link {
    fn new() -> Link {
        let (up, down, broken) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Link { flow: watch::channel(Flow::Pass).0, end: watch::channel(End::None).0, up, down, broken }
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        *self.end.borrow() == End::None
    }

    /// What happens to bytes from now on.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// Ends it; the first end counts.
    pub fn end(&self, how: End) {
        self.end.send_if_modified(|end| {
            std::mem::replace(end, if *end == End::None { how } else { *end }) == End::None
        });
    }

    /// Bytes that were read from the client.
    pub fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Bytes that were read from the server.
    pub fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    /// Bytes that were swallowed, delayed or dribbled.
    pub fn broken(&self) -> u64 {
        self.broken.load(Relaxed)
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors: the rig's own fault, which passes.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        if shared.refusing.load(Relaxed) {
            shared.refused.fetch_add(1, Relaxed);
            let _ = client.set_zero_linger();
            continue;
        }
        tokio::spawn(carry(client, shared.clone()));
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.upstream).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let link = Arc::new(Link::new());
    shared.links.lock().unwrap_or_else(PoisonError::into_inner).push(link.clone());
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let mut up = Pump { from: client_in, to: server_out, link: link.clone(), way: Way::Up };
    let mut down = Pump { from: server_in, to: client_out, link: link.clone(), way: Way::Down };
    let mut end = link.end.subscribe();
    let how = tokio::select! {
        () = async { tokio::join!(up.run(), down.run()); } => End::Cut,
        how = end.wait_for(|end| *end != End::None) => how.map_or(End::Cut, |how| *how),
    };
    link.end(how);
    match how {
        End::Reset => drop(up.from.as_ref().set_zero_linger()),
        End::HalfOpen => {
            let Pump { from: client_in, to: server_out, .. } = up;
            let Pump { from: mut server_in, to: client_out, .. } = down;
            drop((client_in, client_out));
            // Read, or a full buffer would tell the server; nothing is answered.
            let mut void = [0; CHUNK];
            let _ =
                timeout(HALF_OPEN, async { while server_in.read(&mut void).await.is_ok_and(|n| n > 0) {} })
                    .await;
            drop(server_out);
        }
        End::Cut | End::None => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// One direction of a connection.
struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    link: Arc<Link>,
    way: Way,
}

impl Pump {
    /// Passes bytes on until either side is done, and hands on who is.
    async fn run(&mut self) {
        let mut flow = self.link.flow.subscribe();
        let mut chunk = vec![0; CHUNK];
        loop {
            let now = *flow.borrow_and_update();
            if now == Flow::Stall {
                let _ = flow.changed().await;
                continue;
            }
            let read = tokio::select! {
                read = self.from.read(&mut chunk) => read,
                _ = flow.changed() => continue,
            };
            let Ok(count @ 1..) = read else { break };
            self.count(count);
            if self.pass(now, &chunk[..count]).await.is_err() {
                break;
            }
        }
        let _ = self.to.shutdown().await;
    }

    fn count(&self, bytes: usize) {
        let counter = if self.way == Way::Up { &self.link.up } else { &self.link.down };
        counter.fetch_add(bytes as u64, Relaxed);
    }

    async fn pass(&mut self, flow: Flow, bytes: &[u8]) -> io::Result<()> {
        let broken = |bytes: usize| self.link.broken.fetch_add(bytes as u64, Relaxed);
        match flow {
            Flow::Pass | Flow::Stall => self.to.write_all(bytes).await,
            Flow::Delay(time) => {
                broken(bytes.len());
                sleep(time).await;
                self.to.write_all(bytes).await
            }
            Flow::Dribble => {
                broken(bytes.len().min(DRIBBLE_MAX));
                let (slow, rest) = bytes.split_at(bytes.len().min(DRIBBLE_MAX));
                for byte in slow {
                    self.to.write_all(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
                self.to.write_all(rest).await
            }
            Flow::SwallowDown if self.way == Way::Down => {
                broken(bytes.len());
                Ok(())
            }
            Flow::SwallowDown => self.to.write_all(bytes).await,
            Flow::CutAfter(left) => self.cut_after(left, bytes).await,
        }
    }

    async fn cut_after(&mut self, left: u64, bytes: &[u8]) -> io::Result<()> {
        let passed = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.to.write_all(&bytes[..passed]).await?;
        let left = left - passed as u64;
        if left > 0 {
            self.link.flow.send_replace(Flow::CutAfter(left));
        } else {
            self.link.end(if bytes.len().is_multiple_of(2) { End::Cut } else { End::Reset });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (Proxy, TcpStream, TcpStream, Arc<Link>) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (accepted, _) = server.accept().await.unwrap();
        while proxy.links().is_empty() {
            tokio::task::yield_now().await;
        }
        let link = proxy.links().remove(0);
        (proxy, client, accepted, link)
    }

    #[tokio::test]
    async fn what_is_not_broken_arrives() {
        let (_proxy, mut client, mut server, link) = pair().await;
        for flow in [Flow::Pass, Flow::Dribble, Flow::Delay(Duration::from_millis(1))] {
            link.set(flow);
            client.write_all(b"to the server").await.unwrap();
            let mut got = [0; 13];
            server.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"to the server", "{flow:?}");
        }
        drop(client);
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "the goodbye is passed on");
    }

    #[tokio::test]
    async fn acknowledgements_are_swallowed_and_requests_are_not() {
        let (_proxy, mut client, mut server, link) = pair().await;
        link.set(Flow::SwallowDown);
        client.write_all(b"publish").await.unwrap();
        server.read_exact(&mut [0; 7]).await.unwrap();
        server.write_all(b"published").await.unwrap();
        while link.broken() < 9 {
            tokio::task::yield_now().await;
        }
        link.end(End::Cut);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert!(!link.is_alive());
    }

    #[tokio::test]
    async fn a_cut_comes_behind_the_byte_that_was_asked_for() {
        let (_proxy, mut client, mut server, link) = pair().await;
        link.set(Flow::CutAfter(5));
        client.write_all(b"to the server").await.unwrap();
        let mut got = Vec::new();
        let _ = server.read_to_end(&mut got).await;
        assert_eq!(got, b"to th");
    }

    #[tokio::test]
    async fn the_server_of_a_half_open_connection_is_not_told() {
        let (_proxy, mut client, mut server, link) = pair().await;
        link.end(End::HalfOpen);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        server.write_all(b"into the void").await.unwrap();
        let told = timeout(Duration::from_millis(50), server.read(&mut [0])).await;
        assert!(told.is_err(), "{told:?}");
    }
}

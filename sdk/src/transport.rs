//! How a byte stream to the server is made: a TCP connection, unless something else is plugged in.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::address::Address;

/// Makes byte streams to a server. TLS is put on top by the SDK, so a connector only has to bring bytes there
/// and back: over TCP, through a proxy, or through a simulated network.
pub trait Connector: Send + Sync + 'static {
    /// The byte stream.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a stream to `address`. Dropping the future gives the attempt up; the SDK does that when its
    /// connect timeout has passed.
    fn connect(&self, address: &Address) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Connects by TCP, trying each of a name's addresses in turn, without delaying small writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    type Stream = TcpStream;

    async fn connect(&self, address: &Address) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

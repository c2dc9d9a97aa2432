//! The driver's connection: being dialled, or a stream with what is read from it and what is to be written.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hark_protocol::EncodedFrame;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::io::poll_read_buf;

use crate::error::ConnectError;

/// An attempt to connect.
pub(super) type Dialing<S> = Pin<Box<dyn Future<Output = Result<S, ConnectError>> + Send>>;

/// The connection, whatever there is of it.
pub(super) enum Link<S> {
    /// Nothing.
    Down,
    /// An attempt.
    Dialing(Dialing<S>),
    /// A stream.
    Up(Box<Wire<S>>),
}

/// What happened on a link.
#[derive(Debug)]
pub(super) enum Step {
    /// The attempt succeeded; the link is up.
    Connected,
    /// The attempt failed; the link is down.
    Failed(ConnectError),
    /// Bytes arrived in the wire's input.
    Read,
    /// The peer hung up.
    Eof,
    /// The network failed.
    Broken(io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Waits until something happens, and writes what is to be written meanwhile. Cancel-safe: all of its state is
    /// in the link.
    pub(super) async fn step(&mut self) -> Step {
        if let Link::Dialing(dialing) = self {
            match dialing.as_mut().await {
                Ok(stream) => {
                    *self = Link::Up(Box::new(Wire::new(stream)));
                    return Step::Connected;
                }
                Err(error) => {
                    *self = Link::Down;
                    return Step::Failed(error);
                }
            }
        }
        match self {
            Link::Up(wire) => poll_fn(|cx| wire.poll(cx)).await,
            _ => std::future::pending().await,
        }
    }

    /// Puts a frame behind what is to be written.
    pub(super) fn send(&mut self, frame: &EncodedFrame) {
        if let Link::Up(wire) = self {
            wire.output.extend_from_slice(frame.as_slice());
        }
    }
}

/// A stream with its two buffers.
pub(super) struct Wire<S> {
    stream: S,
    pub(super) input: BytesMut,
    output: BytesMut,
    must_flush: bool,
    failed: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn new(stream: S) -> Wire<S> {
        Wire { stream, input: BytesMut::new(), output: BytesMut::new(), must_flush: false, failed: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.failed.is_none()
            && let Err(error) = self.write(cx)
        {
            // What the peer said before it hung up may still be there to be read.
            self.failed = Some(error);
            self.output.clear();
        }
        // A peer that takes nothing gets no more answers: without this, PINGs would fill the memory.
        if self.output.len() > OUTPUT_MAX {
            return Poll::Pending;
        }
        self.input.reserve(READ);
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input) {
            Poll::Ready(Ok(0)) => Poll::Ready(Step::Eof),
            Poll::Ready(Ok(_)) => Poll::Ready(Step::Read),
            // A peer that hangs up without TLS's own goodbye has hung up all the same.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Step::Eof),
            Poll::Ready(Err(error)) => Poll::Ready(Step::Broken(error)),
            Poll::Pending => match self.failed.take() {
                Some(error) => Poll::Ready(Step::Broken(error)),
                None => Poll::Pending,
            },
        }
    }

    /// Writes as much as the stream takes.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.output.advance(count);
                    self.must_flush = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        if self.must_flush && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.must_flush = false;
        }
        if self.output.capacity() > OUTPUT_MAX {
            // One burst must not keep its buffer for the rest of the connection's life.
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Writes what is left, as far as the peer takes it in a moment, and closes.
    pub(super) async fn part(mut self) {
        let parting = async {
            self.stream.write_all(&self.output).await?;
            self.stream.shutdown().await
        };
        let _ = timeout(PARTING, parting).await;
    }
}

/// Bytes to be written above which nothing more is read.
const OUTPUT_MAX: usize = 1 << 18;

/// Bytes of room for each read: one TLS record.
const READ: usize = 16 * 1024;

/// How long the last words may take.
const PARTING: Duration = Duration::from_secs(1);

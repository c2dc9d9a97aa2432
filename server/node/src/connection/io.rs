//! The socket side of a connection: one buffer in, one buffer out, and one place to wait for everything.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use hark_protocol::{FrameError, RawFrame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use crate::link::Link;

/// Bytes read from the socket at once: one TLS record.
const READ_BYTES: usize = 16 * 1024;

/// With less room than this a new buffer is taken, because the old one belongs to what was read into it.
const READ_BYTES_LEAST: usize = 2 * 1024;

/// A buffer that has grown past this is given back once it is empty.
const KEEP_BYTES_MAX: usize = 64 * 1024;

/// Everything that can wake a connection.
#[derive(Debug)]
pub(super) enum Wake {
    /// So many bytes came; 0 is the peer's end.
    Read(usize),
    /// So many of the bytes that are to be written were taken; 0 when they were only flushed.
    Wrote(usize),
    /// Something was left at the link.
    Left,
    /// The deadline has passed.
    Deadline,
    /// The transport failed.
    Failed(io::Error),
}

/// What a connection waits for besides its link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Whether bytes from the peer are wanted.
    pub(super) read: bool,
    /// When to wake in any case.
    pub(super) deadline: Instant,
}

/// A transport with its buffers.
#[derive(Debug)]
pub(super) struct Io<S> {
    stream: S,
    input: BytesMut,
    out: Vec<u8>,
    /// How much of `out` has been written.
    written: usize,
    /// How much of `out` has been counted.
    counted: usize,
    needs_flush: bool,
    sleep: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    pub(super) fn new(stream: S) -> Io<S> {
        Io {
            stream,
            input: BytesMut::new(),
            out: Vec::new(),
            written: 0,
            counted: 0,
            needs_flush: false,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Where frames for the peer are written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What has come behind `out` since the last time, to be counted before it is written.
    pub(super) fn uncounted(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.counted, self.out.len());
        &self.out[from..]
    }

    /// Bytes that the peer has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether everything has been handed to the network.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.needs_flush
    }

    /// Whether a frame has begun to come and is not all there.
    pub(super) fn has_partial(&self) -> bool {
        !self.input.is_empty()
    }

    /// The next whole frame.
    pub(super) fn take_frame(&mut self, length_max: u32) -> Result<Option<RawFrame>, FrameError> {
        RawFrame::take(&mut self.input, length_max)
    }

    /// Waits for the first thing to happen. Cancel-safe: nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self, link: &Link, wanted: Wanted) -> Wake {
        if self.sleep.deadline() > wanted.deadline || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(wanted.deadline);
        }
        std::future::poll_fn(|context| self.poll_next(context, link, wanted)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>, link: &Link, wanted: Wanted) -> Poll<Wake> {
        // Writing comes first: whatever else goes on, what has been said gets out.
        if let Poll::Ready(wrote) = self.poll_write(context) {
            return Poll::Ready(wrote.map_or_else(Wake::Failed, Wake::Wrote));
        }
        if link.poll_left(context).is_ready() {
            return Poll::Ready(Wake::Left);
        }
        if wanted.read
            && let Poll::Ready(read) = self.poll_read(context)
        {
            return Poll::Ready(read.map_or_else(Wake::Failed, Wake::Read));
        }
        // The timer may be set earlier than needed: setting it anew at each turn would cost more.
        ready!(self.sleep.as_mut().poll(context));
        Poll::Ready(Wake::Deadline)
    }

    /// Writes, and flushes once everything is written; ready with the bytes that were taken, pending when
    /// nothing can be done or is to be done.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut count = 0;
        if self.unsent() > 0 {
            count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.out[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.needs_flush = true;
            self.recycle_out();
        }
        if self.needs_flush && self.unsent() == 0 {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.needs_flush = false;
                    return Poll::Ready(Ok(count));
                }
                Poll::Pending if count == 0 => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
    }

    /// Gives back the room of what has been written, so that the buffer never holds more than what waits.
    fn recycle_out(&mut self) {
        if self.unsent() == 0 {
            self.written = 0;
            match self.out.capacity() > KEEP_BYTES_MAX {
                true => self.out = Vec::new(),
                false => self.out.clear(),
            }
        } else if self.written >= KEEP_BYTES_MAX {
            self.out.drain(..self.written);
            self.written = 0;
        }
        self.counted = self.out.len();
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < READ_BYTES_LEAST {
            self.input.reserve(READ_BYTES);
        }
        let polled = poll_read_buf(Pin::new(&mut self.stream), context, &mut self.input);
        if polled.is_pending() && self.input.is_empty() {
            self.input = BytesMut::new(); // an idle connection keeps no buffer
        }
        polled
    }

    /// The transport is gone: what was to be written is dropped.
    pub(super) fn abandon(&mut self) {
        self.out = Vec::new();
        self.written = 0;
        self.counted = 0;
        self.needs_flush = false;
    }

    /// Ends the transport: `close_notify`, and then whatever the peer still says is read and dropped until it
    /// ends too, so that the last frames are not overtaken by a reset.
    pub(super) async fn finish(&mut self, patience: Duration) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let ending = async {
            self.stream.shutdown().await?;
            let mut scrap = [0; 1024];
            while self.stream.read(&mut scrap).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(patience, ending).await; // the peer's manners are its own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that takes a few bytes whenever it is let.
    struct Slow {
        taken: usize,
        allowed: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.allowed);
            if count == 0 {
                return Poll::Pending;
            }
            self.allowed -= count;
            self.taken += count;
            Poll::Ready(Ok(count))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Slow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_buffer_that_never_empties_does_not_grow() {
        let mut io = Io::new(Slow { taken: 0, allowed: 0 });
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut sent = 0;
        for _ in 0..1_000 {
            while io.unsent() < KEEP_BYTES_MAX {
                io.out().extend_from_slice(&[7; 1_000]);
                sent += 1_000;
            }
            io.stream.allowed = 5_000;
            assert!(matches!(io.poll_write(&mut context), Poll::Ready(Ok(5_000))));
            assert!(io.out.len() <= 2 * KEEP_BYTES_MAX + 1_000, "{} bytes are kept", io.out.len());
        }
        assert_eq!(io.stream.taken + io.unsent(), sent, "and loses nothing");
        io.stream.allowed = usize::MAX;
        assert!(matches!(io.poll_write(&mut context), Poll::Ready(Ok(_))));
        assert!(io.is_flushed() && io.out.capacity() <= KEEP_BYTES_MAX, "{}", io.out.capacity());
        assert_eq!(io.stream.taken, sent);
    }
}

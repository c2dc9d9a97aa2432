//! A peer that speaks the protocol by hand: it sends what it is told to and shows what it gets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hark_protocol::limits::RECEIVE_FRAME_BYTES_MAX;
use hark_protocol::{Blob, Correlation, Error, Frame, Ping, RawFrame, Scope};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client_config;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to a node.
pub(crate) struct Peer {
    stream: TlsStream<TcpStream>,
    input: BytesMut,
    last_correlation: u32,
    /// What came while something else was waited for.
    aside: VecDeque<(Correlation, Frame)>,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let config = client_config(&[b"hark/1"]);
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(&config)).connect(name, stream).await.unwrap();
        Peer { stream, input: BytesMut::new(), last_correlation: 0, aside: VecDeque::new() }
    }

    /// Sends bytes in one write.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(PATIENCE, sent).await.expect("the node takes bytes").unwrap();
    }

    /// Sends bytes to a node that may have hung up.
    pub(crate) async fn try_send_bytes(&mut self, bytes: &[u8]) {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let _ = tokio::time::timeout(PATIENCE, sent).await.expect("the node takes bytes or hangs up");
    }

    pub(crate) fn next_correlation(&mut self) -> Correlation {
        self.last_correlation += 1;
        Correlation(self.last_correlation)
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, frame: impl Into<Frame>) -> Correlation {
        let correlation = self.next_correlation();
        self.send_bytes(frame.into().encode(correlation).as_slice()).await;
        correlation
    }

    /// Sends requests in one write.
    pub(crate) async fn send_all(&mut self, requests: impl IntoIterator<Item = Frame>) -> Vec<Correlation> {
        let mut bytes = Vec::new();
        let mut correlations = Vec::new();
        for request in requests {
            let correlation = self.next_correlation();
            bytes.extend_from_slice(request.encode(correlation).as_slice());
            correlations.push(correlation);
        }
        self.send_bytes(&bytes).await;
        correlations
    }

    /// Sends a frame that is not answered.
    pub(crate) async fn tell(&mut self, frame: impl Into<Frame>) {
        self.send_bytes(frame.into().encode(Correlation::NONE).as_slice()).await;
    }

    /// The next frame as it came, or `None` at an orderly end of the stream.
    ///
    /// # Panics
    /// When the stream ends without `close_notify`, or nothing comes.
    pub(crate) async fn next_raw(&mut self) -> Option<RawFrame> {
        let read = async {
            loop {
                if let Some(raw) = RawFrame::take(&mut self.input, RECEIVE_FRAME_BYTES_MAX).unwrap() {
                    return Some(raw);
                }
                if self.stream.read_buf(&mut self.input).await.expect("close_notify before the end") == 0 {
                    assert!(self.input.is_empty(), "the stream ends inside a frame");
                    return None;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the node says something")
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> (Correlation, Frame) {
        match self.aside.pop_front() {
            Some(frame) => frame,
            None => self.next_from_stream().await.expect("the connection goes on"),
        }
    }

    /// The next frame that answers nothing.
    pub(crate) async fn news(&mut self) -> Frame {
        let (correlation, frame) = self.next().await;
        assert_eq!(correlation, Correlation::NONE, "{frame:?}");
        frame
    }

    async fn next_from_stream(&mut self) -> Option<(Correlation, Frame)> {
        let raw = self.next_raw().await?;
        assert_eq!(raw.header().flags, 0);
        Some((raw.header().correlation, Frame::decode(&raw).unwrap()))
    }

    /// The final answer to a request; what else comes meanwhile is kept for [`Peer::next`].
    pub(crate) async fn answer(&mut self, correlation: Correlation) -> Frame {
        if let Some(at) = self.aside.iter().position(|(of, _)| *of == correlation) {
            return self.aside.remove(at).unwrap().1;
        }
        loop {
            let (of, frame) = self.next_from_stream().await.expect("an answer before the end");
            if of == correlation {
                return frame;
            }
            self.aside.push_back((of, frame));
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, request: impl Into<Frame>) -> Frame {
        let correlation = self.send(request).await;
        self.answer(correlation).await
    }

    /// Sends a request that is refused, and the connection lives.
    pub(crate) async fn refusal(&mut self, request: impl Into<Frame>) -> Error {
        match self.ask(request).await {
            Frame::Error(error) => {
                assert_eq!((error.scope, error.code.scope()), (Scope::REQUEST, Scope::REQUEST), "{error:?}");
                assert_eq!(error.retryable, error.code.is_retryable(), "{error:?}");
                error
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Everything that the node had to say up to now: what comes before the PONG of a PING.
    pub(crate) async fn barrier(&mut self) -> Vec<Frame> {
        let correlation = self.next_correlation();
        self.send_bytes(Frame::from(Ping { data: Blob::default() }).encode(correlation).as_slice()).await;
        let mut before: Vec<Frame> = std::mem::take(&mut self.aside).into_iter().map(|(_, it)| it).collect();
        loop {
            match self.next_from_stream().await.expect("a PONG before the end") {
                (of, Frame::Pong(_)) if of == correlation => return before,
                (_, frame) => before.push(frame),
            }
        }
    }

    /// Everything up to the end, which must be an orderly one: CLOSE, `close_notify`, nothing more.
    pub(crate) async fn end(&mut self) -> Vec<Frame> {
        let mut before: Vec<Frame> = std::mem::take(&mut self.aside).into_iter().map(|(_, it)| it).collect();
        while let Some((_, frame)) = self.next_from_stream().await {
            before.push(frame);
        }
        before
    }

    /// The end for an error: ERROR, then CLOSE with the same code, and nothing else.
    pub(crate) async fn end_by_error(&mut self) -> Error {
        let frames = self.end().await;
        let [Frame::Error(error), Frame::Close(close)] = &frames[..] else {
            panic!("not ERROR and CLOSE: {frames:?}")
        };
        assert_eq!(error.scope, Scope::CONNECTION, "{error:?}");
        assert_eq!((error.code, error.code.scope()), (close.code, Scope::CONNECTION));
        error.clone()
    }

    /// Reads whatever comes until the node hangs up, however it does.
    pub(crate) async fn drain(&mut self) -> Vec<u8> {
        let mut everything = self.input.split().to_vec();
        let read = self.stream.read_to_end(&mut everything);
        let _ = tokio::time::timeout(PATIENCE, read).await.expect("the node hangs up");
        everything
    }

    /// Hangs up without a word.
    pub(crate) fn vanish(self) {
        let (socket, _) = self.stream.into_inner();
        socket.set_zero_linger().unwrap();
    }
}

/// The whole frames in bytes that were read to the end.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut input = BytesMut::from(bytes);
    std::iter::from_fn(|| RawFrame::take(&mut input, RECEIVE_FRAME_BYTES_MAX).ok().flatten())
        .map(|raw| Frame::decode(&raw).unwrap())
        .collect()
}

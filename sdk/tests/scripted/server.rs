//! A server that does what a test tells it, frame by frame.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use hark_protocol::limits::{Limit, RECEIVE_FRAME_BYTES_MAX};
use hark_protocol::*;
use hark_sdk::{Address, Client, ClientBuilder, Connector, Credentials, Fingerprint, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The name in the server's certificate.
pub(crate) const NAME: &str = "chat.example.org";
/// The room that tests use.
pub(crate) const ROOM: RoomId = RoomId(7);
/// The account that logs in.
pub(crate) const ME: AccountId = AccountId(1);
/// The incarnation of the room's log.
pub(crate) const EPOCH: Epoch = Epoch(5);

/// A certificate authority and what it signed.
pub(crate) struct Identity {
    pub(crate) ca_pem: Vec<u8>,
    pub(crate) fingerprint: Fingerprint,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        Identity::with(|_| {})
    }

    /// An identity whose certificate is what `change` makes of it.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Identity {
            ca_pem: issuer.pem().into_bytes(),
            fingerprint: Fingerprint::of(certificate.der()),
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    pub(crate) fn acceptor(&self, alpn: &[u8]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Brings the client's end of a pipe to the server, or refuses.
pub(crate) struct Memory {
    dialled: mpsc::UnboundedSender<DuplexStream>,
    addresses: Arc<Mutex<Vec<String>>>,
}

impl Connector for Memory {
    type Stream = DuplexStream;

    async fn connect(&self, address: &Address) -> io::Result<DuplexStream> {
        self.addresses.lock().unwrap().push(address.to_string());
        let (ours, theirs) = duplex(64 * 1024);
        self.dialled.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(ours)
    }
}

pub(crate) struct Server {
    pub(crate) identity: Identity,
    sender: mpsc::UnboundedSender<DuplexStream>,
    dialled: mpsc::UnboundedReceiver<DuplexStream>,
    /// Where clients have connected to.
    pub(crate) addresses: Arc<Mutex<Vec<String>>>,
    acceptor: TlsAcceptor,
    pub(crate) limits: Vec<(LimitId, u64)>,
}

impl Server {
    /// A server, and a builder for clients that trust it.
    pub(crate) fn new() -> (Server, ClientBuilder<Memory>) {
        Server::of(Identity::new(), b"hark/1")
    }

    pub(crate) fn of(identity: Identity, alpn: &[u8]) -> (Server, ClientBuilder<Memory>) {
        let (sender, dialled) = mpsc::unbounded_channel();
        let addresses = Arc::default();
        let builder = Client::builder(NAME)
            .connector(Memory { dialled: sender.clone(), addresses: Arc::clone(&addresses) })
            .trust(Trust::CaPem(identity.ca_pem.clone()))
            .credentials(Credentials::password("ann", "correct horse").unwrap());
        let acceptor = identity.acceptor(alpn);
        let limits =
            vec![(LimitId::HEARTBEAT_INTERVAL_MS, 3_600_000), (LimitId::HEARTBEAT_TIMEOUT_MS, 7_200_000)];
        (Server { identity, sender, dialled, addresses, acceptor, limits }, builder)
    }

    /// What brings clients here.
    pub(crate) fn connector(&self) -> Memory {
        Memory { dialled: self.sender.clone(), addresses: self.addresses.clone() }
    }

    /// The next byte stream, before TLS.
    pub(crate) async fn dialled(&mut self) -> DuplexStream {
        within(3600, self.dialled.recv()).await.expect("the client dials")
    }

    /// Whether the client dials within a time.
    pub(crate) async fn is_dialled_within(&mut self, time: Duration) -> bool {
        matches!(timeout(time, self.dialled.recv()).await, Ok(Some(_)))
    }

    /// The next connection, behind TLS.
    pub(crate) async fn accept(&mut self) -> Peer {
        let stream = self.dialled().await;
        let stream = self.acceptor.accept(stream).await.expect("the handshake succeeds");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"hark/1"[..]));
        Peer { stream, input: BytesMut::new() }
    }

    /// The next connection as far as HELLO and WELCOME.
    pub(crate) async fn greet(&mut self) -> Peer {
        let mut peer = self.accept().await;
        let (correlation, hello) = peer.recv().await;
        let Frame::Hello(hello) = hello else { panic!("HELLO comes first, not {hello:?}") };
        assert!(hello.version_min <= 1 && 1 <= hello.version_max);
        peer.send(correlation, self.welcome()).await;
        peer
    }

    /// The next connection, logged in.
    pub(crate) async fn login(&mut self) -> Peer {
        let mut peer = self.greet().await;
        let (correlation, auth) = peer.recv().await;
        assert!(matches!(auth, Frame::Auth(_)), "{auth:?}");
        peer.send(correlation, authenticated("")).await;
        peer
    }

    /// The next connection, on which the session with the token `old` is taken up and gets the token `new`.
    pub(crate) async fn resume(&mut self, old: &str, new: &str) -> Peer {
        let mut peer = self.greet().await;
        let correlation = peer.resume(old).await;
        peer.send(correlation, session(new, true)).await;
        peer
    }

    pub(crate) fn welcome(&self) -> Welcome {
        Welcome {
            version: 1,
            capabilities: List::default(),
            limits: List::truncated(
                self.limits.iter().map(|(id, value)| Limit { id: *id, value: *value }).collect(),
            ),
            auth_methods: List::truncated(vec![AuthMethod::PASSWORD, AuthMethod::DEVICE_TOKEN]),
            registration: true,
            agent: Line::lossy("script/1"),
        }
    }
}

/// One connection, from the server's side.
pub(crate) struct Peer {
    pub(crate) stream: TlsStream<DuplexStream>,
    input: BytesMut,
}

impl Peer {
    pub(crate) async fn send(&mut self, correlation: Correlation, frame: impl Into<Frame>) {
        let sealed = frame.into().encode(correlation);
        self.send_raw(sealed.as_slice()).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client reads");
        self.stream.flush().await.expect("the client reads");
    }

    /// The next frame of any type.
    pub(crate) async fn recv(&mut self) -> (Correlation, Frame) {
        self.try_recv().await.expect("a frame, not the end of the connection")
    }

    /// The next frame, or `None` when the client has hung up.
    pub(crate) async fn try_recv(&mut self) -> Option<(Correlation, Frame)> {
        loop {
            if let Some(raw) = RawFrame::take(&mut self.input, RECEIVE_FRAME_BYTES_MAX).expect("a frame") {
                assert_eq!(raw.header().flags, 0);
                return Some((
                    raw.header().correlation,
                    Frame::decode(&raw).expect("a frame of this version"),
                ));
            }
            match within(3600, self.stream.read_buf(&mut self.input)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next RESUME, which is for the session with the token `token`.
    pub(crate) async fn resume(&mut self, token: &str) -> Correlation {
        match self.recv().await {
            (correlation, Frame::Resume(resume)) => {
                assert_eq!(resume.session_token.expose(), token);
                correlation
            }
            other => panic!("RESUME, not {other:?}"),
        }
    }

    /// The next PUBLISH.
    pub(crate) async fn publish(&mut self) -> (Correlation, Publish) {
        match self.recv().await {
            (correlation, Frame::Publish(publish)) => (correlation, publish),
            other => panic!("PUBLISH, not {other:?}"),
        }
    }

    /// The next SUBSCRIBE, for one room.
    pub(crate) async fn subscribe(&mut self) -> (Correlation, SubscribeItem) {
        match self.recv().await {
            (correlation, Frame::Subscribe(subscribe)) => {
                (correlation, subscribe.rooms.first().expect("a room").clone())
            }
            other => panic!("SUBSCRIBE, not {other:?}"),
        }
    }

    /// Answers a request about the room with its description.
    pub(crate) async fn give_room(&mut self) {
        self.give_room_as(ROOM).await;
    }

    /// Answers a request about a room with a description of the room `room`.
    pub(crate) async fn give_room_as(&mut self, room: RoomId) {
        match self.recv().await {
            (correlation, Frame::RoomGet(get)) => {
                let room = RoomSummary {
                    room,
                    name: get.name,
                    visibility: Visibility::PUBLIC,
                    history: HistoryPolicy::ALL,
                    topic: Line::default(),
                    members: 2,
                    role: RoomRole::MEMBER,
                    epoch: EPOCH,
                    first: Seq(1),
                    head: Seq(0),
                    time: UnixMillis(0),
                    retention: Retention::default(),
                };
                self.send(correlation, Room { room }).await;
            }
            other => panic!("ROOM_GET, not {other:?}"),
        }
    }

    /// Says that a publish is stored.
    pub(crate) async fn published(&mut self, correlation: Correlation, seq: u64) {
        self.send(correlation, published(seq, false)).await;
    }

    /// Reads until the client hangs up, and gives what it said.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some((_, frame)) = self.try_recv().await {
            frames.push(frame);
        }
        frames
    }
}

/// A client, its room and the server's end of its connection.
pub(crate) async fn in_room(
    server: &mut Server,
    builder: ClientBuilder<Memory>,
) -> (Client, hark_sdk::Room, Peer) {
    let (client, mut peer) = tokio::join!(builder.connect(), server.login());
    let client = client.expect("the login succeeds");
    let (room, ()) = tokio::join!(client.room("tea"), peer.give_room());
    (client.clone(), room.expect("the room is there"), peer)
}

pub(crate) fn authenticated(token: &str) -> Authenticated {
    Authenticated {
        account: ME,
        name: AccountName::parse("ann").unwrap(),
        display_name: Line::lossy("Ann"),
        role: AccountRole::USER,
        device: DeviceId(if token.is_empty() { 0 } else { 3 }),
        device_token: Secret::parse(token).unwrap(),
        resumed: false,
        session_token: Secret::default(),
        session_lifetime_s: 0,
    }
}

/// A login of a device, with a session.
pub(crate) fn session(token: &str, resumed: bool) -> Authenticated {
    Authenticated {
        device: DeviceId(3),
        resumed,
        session_token: Secret::parse(token).unwrap(),
        session_lifetime_s: 3600,
        ..authenticated("")
    }
}

pub(crate) fn published(seq: u64, duplicate: bool) -> Published {
    Published {
        room: ROOM,
        epoch: EPOCH,
        seq: Seq(seq),
        time: UnixMillis(1000 + seq),
        durability: Durability::DISK,
        duplicate,
    }
}

pub(crate) fn event(seq: u64) -> Event {
    Event {
        room: ROOM,
        seq: Seq(seq),
        time: UnixMillis(1000 + seq),
        author: AccountId(2),
        author_name: AccountName::parse("bob").unwrap(),
        client_id: ClientId::new([9; 16]).unwrap(),
        kind: Kind::MESSAGE,
        body: format!("message {seq}").parse().unwrap(),
    }
}

pub(crate) fn exact(next: u64, head: u64) -> Subscribed {
    verdict(VerdictItem {
        room: ROOM,
        verdict: Verdict::EXACT,
        epoch: EPOCH,
        first: Seq(1),
        head: Seq(head),
        next: Seq(next),
        gap_from: Seq(0),
        gap_to: Seq(0),
        gap_reason: GapReason(0),
        code: ErrorCode(0),
    })
}

pub(crate) fn verdict(item: VerdictItem) -> Subscribed {
    Subscribed { rooms: List::truncated(vec![item]) }
}

pub(crate) fn error(code: ErrorCode, retry_after_ms: u32) -> Error {
    Error {
        code,
        scope: code.scope(),
        retryable: code.is_retryable(),
        resume_allowed: false,
        retry_after_ms,
        limit: LimitId(0),
        limit_value: 0,
        text: Line::lossy("so says the script"),
    }
}

/// A deadline for what must happen: a test that hangs says where.
#[track_caller]
pub(crate) fn within<F: Future>(seconds: u64, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match timeout(Duration::from_secs(seconds), future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened in {seconds} s at {caller}"),
        }
    }
}

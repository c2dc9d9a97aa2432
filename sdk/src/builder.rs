//! Describing a client: where the server is, how it is recognised, who logs in and how the client behaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hark_protocol::limits::AGENT_BYTES_MAX;
use hark_protocol::{AccountName, Line, PresenceMode};
use rustls::pki_types::ServerName;
use tokio::task::spawn_blocking;

use crate::address::Address;
use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::credentials::Credentials;
use crate::dial::Dialer;
use crate::driver::{self, Keeping};
use crate::entropy::{Entropy, Ids, OsEntropy};
use crate::error::{ConnectError, ConnectErrorKind, Error, RegisterError};
use crate::export::SessionExport;
use crate::handle::{Kept, OutboxBounds};
use crate::options::{Offline, Reconnect};
use crate::outbox::disk::Disk;
use crate::outbox::{OUTBOX_BYTES_DEFAULT, OutboxOptions, Writing};
use crate::probe::Probe;
use crate::session::Config;
use crate::tls::{self, Trust};
use crate::transport::{Connector, TcpConnector};

/// A client that is yet to be connected. Made by [`Client::builder`].
#[must_use = "nothing happens before connect()"]
pub struct ClientBuilder<C = TcpConnector> {
    settings: Settings,
    connector: Arc<C>,
}

#[derive(Clone)]
struct Settings {
    address: String,
    trust: Trust,
    server_name: Option<String>,
    credentials: Option<Credentials>,
    presence: PresenceMode,
    offline: Offline,
    reconnect: Reconnect,
    connect_timeout: Duration,
    window: u32,
    agent: String,
    outbox: Option<OutboxOptions>,
    resume: Option<SessionExport>,
    send_within: Option<Duration>,
    queue_bytes: usize,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

impl ClientBuilder {
    pub(crate) fn new(address: String) -> ClientBuilder {
        let settings = Settings {
            address,
            trust: Trust::default(),
            server_name: None,
            credentials: None,
            presence: PresenceMode::HIDDEN,
            offline: Offline::default(),
            reconnect: Reconnect::default(),
            connect_timeout: CONNECT_TIMEOUT,
            window: WINDOW,
            agent: concat!("hark-sdk/", env!("CARGO_PKG_VERSION")).to_owned(),
            outbox: None,
            resume: None,
            send_within: None,
            queue_bytes: OUTBOX_BYTES_DEFAULT,
            entropy: Arc::new(OsEntropy),
            clock: Arc::new(SystemClock),
        };
        ClientBuilder { settings, connector: Arc::new(TcpConnector) }
    }
}

impl<C: Connector> ClientBuilder<C> {
    /// How the server is recognised; by the operating system's authorities unless told otherwise.
    pub fn trust(self, trust: Trust) -> Self {
        self.set(|settings| Settings { trust, ..settings })
    }

    /// The name that the server's certificate must be for; the address's host unless told otherwise.
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.set(|settings| Settings { server_name: Some(name.into()), ..settings })
    }

    /// Who logs in, and with what.
    pub fn credentials(self, credentials: Credentials) -> Self {
        self.set(|settings| Settings { credentials: Some(credentials), ..settings })
    }

    /// Whether the connection counts for the account's presence; it does not unless told otherwise.
    pub fn visible(self, visible: bool) -> Self {
        self.set(|settings| Settings {
            presence: if visible { PresenceMode::VISIBLE } else { PresenceMode::HIDDEN },
            ..settings
        })
    }

    /// What happens to requests while there is no connection: up to 1024 publishes wait unless told otherwise.
    pub fn offline(self, offline: Offline) -> Self {
        self.set(|settings| Settings { offline, ..settings })
    }

    /// Goes on where an earlier process was: takes its session up again, and knows how far it had come in each room
    /// (see [`Room::events_from_saved`](crate::Room::events_from_saved)). When the session is no more the client logs
    /// in with the credentials, if it has any; the positions are as good as before.
    pub fn resume(self, export: SessionExport) -> Self {
        self.set(|settings| Settings { resume: Some(export), ..settings })
    }

    /// Bytes of bodies of unanswered publishes that are kept in memory, 64 MiB unless told otherwise; a single one may
    /// be more. An outbox on a disk has [a bound of its own](OutboxOptions::bytes_max).
    pub fn queue_bytes(self, bytes_max: usize) -> Self {
        self.set(|settings| Settings { queue_bytes: bytes_max, ..settings })
    }

    /// Keeps publishes that have no verdict in the folder `dir`: they outlive the application, and are sent again, with
    /// the same client ids, before anything new when it connects the next time. A publish counts as taken only when
    /// it is on the disk; see [`Publishing::queued`](crate::Publishing::queued). Bounds are those of
    /// [`OutboxOptions::new`], in place of [`Offline::Queue`]'s.
    ///
    /// The server is known by the address that the builder was given, and the account by its name.
    pub fn outbox_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.outbox(OutboxOptions::new(dir))
    }

    /// As [`ClientBuilder::outbox_dir`], with bounds and behaviour of one's own.
    pub fn outbox(self, outbox: OutboxOptions) -> Self {
        self.set(|settings| Settings { outbox: Some(outbox), ..settings })
    }

    /// How long the server's word on a publish is waited for, reconnects and refusals that may pass included; for
    /// ever, that is as long as the client lives, unless told otherwise. Afterwards
    ///
    /// - what was never sent is dropped: [`SendErrorKind::Expired`](crate::SendErrorKind::Expired);
    /// - what the server refused for now is dropped, and its word returned: `Rejected`;
    /// - what was sent and not answered is not sent again: `Unknown`;
    /// - but what is in an outbox on a disk stays there and is sent on: `Kept`. Only
    ///   [`Outbox::abandon`](crate::Outbox::abandon) takes it out.
    ///
    /// What was published behind it goes on in its order.
    pub fn send_within(self, within: Duration) -> Self {
        self.set(|settings| Settings { send_within: Some(within), ..settings })
    }

    /// How a lost connection is made again.
    pub fn reconnect(self, reconnect: Reconnect) -> Self {
        self.set(|settings| Settings { reconnect, ..settings })
    }

    /// How long an attempt may take, from the address to the login; 10 seconds unless told otherwise.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| Settings { connect_timeout: timeout, ..settings })
    }

    /// How many events of one room may wait for the application before the server waits, too; 256 unless told
    /// otherwise, and never more than the server allows. With the largest body this bounds a stream's memory.
    pub fn window(self, events: u32) -> Self {
        self.set(|settings| Settings { window: events.max(1), ..settings })
    }

    /// The program's name and version, for the server's logs; at most 128 bytes.
    pub fn agent(self, agent: impl Into<String>) -> Self {
        self.set(|settings| Settings { agent: agent.into(), ..settings })
    }

    /// Where chance comes from: client ids and jitter. The operating system unless told otherwise.
    pub fn entropy(self, entropy: impl Entropy) -> Self {
        self.set(|settings| Settings { entropy: Arc::new(entropy), ..settings })
    }

    /// What time of day client ids begin with. The machine's clock unless told otherwise.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|settings| Settings { clock: Arc::new(clock), ..settings })
    }

    /// What makes byte streams to the server: TCP unless told otherwise. TLS goes on top of it.
    pub fn connector<D: Connector>(self, connector: D) -> ClientBuilder<D> {
        ClientBuilder { settings: self.settings, connector: Arc::new(connector) }
    }

    /// Connects and logs in: one attempt, whose error is returned. From then on a lost connection is made again.
    /// Must be called within a tokio runtime. Dropping the future gives the attempt up.
    ///
    /// # Errors
    /// [`ConnectErrorKind`] says which check failed. Nothing secret is sent before the server was recognised.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let dialer = self.dialer()?;
        let address: Address = self.settings.address.parse().map_err(address_error)?;
        let resume = self.settings.resume.clone();
        let credentials = self.settings.credentials.clone();
        let account = account(&address, credentials.as_ref(), resume.as_ref())?;
        let (session_token, resumed) =
            resume.map_or_else(Default::default, |export| (export.token, export.positions));
        let config = Config {
            agent: agent(&self.settings.agent),
            credentials,
            session_token,
            positions: resumed.clone(),
            presence: self.settings.presence,
            offline: self.settings.offline,
            reconnect: self.settings.reconnect,
            connect_timeout: self.settings.connect_timeout,
            window: self.settings.window,
        };
        let ids = Ids::new(self.settings.entropy.clone(), &*self.settings.clock);
        let kept =
            Kept { server_address: address.to_string(), resumed, send_within: self.settings.send_within };
        let keeping = self.keeping(account, kept, ids.random()).await?;
        driver::start(dialer, config, ids, keeping).await
    }

    /// Opens the outbox, and says how much it holds.
    async fn keeping(&self, account: AccountName, kept: Kept, salt: u64) -> Result<Keeping, ConnectError> {
        let Some(options) = self.settings.outbox.clone() else {
            let entries_max = self.settings.offline.queue_max();
            let bounds = OutboxBounds { entries_max, bytes_max: self.settings.queue_bytes };
            return Ok(Keeping { bounds, disk: None, kept });
        };
        let bounds = OutboxBounds { entries_max: options.entries_max, bytes_max: options.bytes_max };
        let (server, writing) = (kept.server_address.clone(), options.writing);
        let open = move || Disk::open(&options.dir, &server, account.as_str(), options.damaged, salt);
        let disk = match writing {
            Writing::Inline => open(),
            Writing::Background => spawn_blocking(open).await.map_err(address_error)?,
        };
        let disk = disk.map_err(ConnectErrorKind::Outbox)?;
        Ok(Keeping { bounds, disk: Some((disk, writing)), kept })
    }

    /// Looks at a server without trusting it: its certificate, whether the builder's trust would accept that, and
    /// what the server says about itself. Sends nothing secret. For asking a person on first use.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`], except that the certificate is never the reason.
    pub async fn probe(self) -> Result<Probe, ConnectError> {
        let connector = self.connector.clone();
        let (address, server_name) = self.destination()?;
        crate::probe::probe(
            connector,
            address,
            server_name,
            &self.settings.trust,
            agent(&self.settings.agent),
            self.settings.connect_timeout,
        )
        .await
    }

    /// Makes an account with a registration token, on a connection of its own. An empty display name is the
    /// account's name. Credentials are not needed and not used. Dropping the future leaves the outcome open.
    ///
    /// # Errors
    /// [`RegisterErrorKind`](crate::RegisterErrorKind).
    pub async fn register(
        self,
        token: &str,
        name: &str,
        password: &str,
        display_name: &str,
    ) -> Result<(), RegisterError> {
        let register = crate::probe::registration(token, name, password, display_name)?;
        let dialer = self.dialer().map_err(RegisterError::from)?;
        crate::probe::register(&dialer, register, agent(&self.settings.agent), self.settings.connect_timeout)
            .await
    }

    fn set(self, change: impl FnOnce(Settings) -> Settings) -> Self {
        ClientBuilder { settings: change(self.settings), connector: self.connector }
    }

    fn dialer(&self) -> Result<Dialer<C>, ConnectError> {
        let (address, server_name) = self.destination()?;
        let verifier = tls::verifier(&self.settings.trust).map_err(address_error)?;
        let config = tls::client_config(verifier).map_err(address_error)?;
        Ok(Dialer::new(self.connector.clone(), address, server_name, config))
    }

    fn destination(&self) -> Result<(Address, ServerName<'static>), ConnectError> {
        let address: Address = self.settings.address.parse().map_err(address_error)?;
        let name = self.settings.server_name.as_deref().unwrap_or(&address.host);
        let server_name = tls::server_name(name).map_err(address_error)?;
        Ok((address, server_name))
    }
}

impl<C> Clone for ClientBuilder<C> {
    fn clone(&self) -> Self {
        ClientBuilder { settings: self.settings.clone(), connector: self.connector.clone() }
    }
}

impl<C> std::fmt::Debug for ClientBuilder<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("address", &self.settings.address).finish_non_exhaustive()
    }
}

/// Address, TLS and login together: what a person waits for without doubting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Events of one room in flight: at half of it an ACK goes out, so that a round trip does not stop the flow.
const WINDOW: u32 = 256;

fn address_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ConnectError {
    Error::with(ConnectErrorKind::Address, error)
}

/// Who the client will be.
fn account(
    address: &Address,
    credentials: Option<&Credentials>,
    resume: Option<&SessionExport>,
) -> Result<AccountName, ConnectError> {
    let resumable = resume.filter(|export| export.has_session()).map(SessionExport::account);
    let account = credentials.map(Credentials::name).or(resumable);
    let account = account.ok_or_else(|| address_error("there are no credentials to log in with"))?;
    match resume {
        Some(export) if export.server() != address.to_string() => {
            Err(address_error(format!("the exported session is one of {}", export.server())))
        }
        Some(export) if export.account() != account => {
            Err(address_error(format!("the exported session is one of {}", export.account())))
        }
        _ => Ok(account.clone()),
    }
}

fn agent(text: &str) -> Line<AGENT_BYTES_MAX> {
    Line::lossy(text)
}

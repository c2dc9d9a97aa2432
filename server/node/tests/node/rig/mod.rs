//! A real node in this process, over stores in memory, and what tests need to know and do around it.

mod certificate;
mod peer;
mod raw;
mod talk;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use hark_core::Limits;
use hark_core::memory::{MemoryDirectory, MemoryFaults, MemoryReader, MemoryStores};
use hark_core::ports::{Directory, NewAccount, NewDevice, PasswordHash};
use hark_protocol::limits::TOKEN_BYTES_MAX;
use hark_protocol::{
    AccountId, AccountName, AccountRole, Auth, AuthMethod, Capability, Hello, Line, PresenceMode, Retention,
    Secret, UnixMillis,
};
use hark_server::entropy::OsEntropy;
use hark_server::metrics::Metrics;
use hark_server::password::hash_now;
use hark_server::settings::Settings;
use hark_server::token::{TokenKind, new_token, token_hash};
use hark_server::{Executor, Node, ShutdownReport, Stores};
use tokio::net::TcpListener;

pub(crate) use certificate::{client_config, server_config};
pub(crate) use peer::{PATIENCE, Peer, frames};
pub(crate) use raw::{raw_frame, reseal};
pub(crate) use talk::{client_id, events, every, in_room, join, kick, publish, the};

/// The password of every account that a rig makes.
pub(crate) const PASSWORD: &str = "correct horse";

/// A running node and its insides.
pub(crate) struct Rig {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) directory: Arc<MemoryDirectory>,
    pub(crate) reader: Arc<MemoryReader>,
    pub(crate) faults: MemoryFaults,
    pub(crate) registration_token: Secret<TOKEN_BYTES_MAX>,
}

/// What may be different about a node.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) registration: bool,
    pub(crate) tail_bytes_max: usize,
    pub(crate) executor: Executor,
    pub(crate) retention: Retention,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            limits: Limits::open(),
            registration: true,
            tail_bytes_max: 64 * 1024 * 1024,
            executor: Executor::default(),
            retention: Retention::default(),
        }
    }
}

/// How a peer logs in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Login<'a> {
    pub(crate) capabilities: &'a [Capability],
    pub(crate) connection_window: u32,
    pub(crate) is_visible: bool,
}

impl Rig {
    /// A node with the limits of an open server.
    pub(crate) async fn start() -> Rig {
        Rig::build(Setup::default()).await
    }

    /// A node with those limits, changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Limits)) -> Rig {
        let mut setup = Setup::default();
        change(&mut setup.limits);
        Rig::build(setup).await
    }

    pub(crate) async fn build(setup: Setup) -> Rig {
        let stores = MemoryStores::new();
        let registration_token = new_token(TokenKind::Registration, &OsEntropy);
        Settings::load_or_create(&*stores.directory, &OsEntropy)
            .unwrap()
            .set_registration_token(&*stores.directory, token_hash(registration_token.expose()))
            .unwrap();
        let metrics = Arc::new(Metrics::new());
        let node = Node::builder()
            .limits(setup.limits)
            .registration(setup.registration)
            .tail_bytes_max(setup.tail_bytes_max)
            .metrics(Arc::clone(&metrics))
            .executor(setup.executor)
            .retention(setup.retention)
            .tls(Arc::new(ArcSwap::new(server_config())))
            .stores(Stores {
                log: Box::new(stores.log),
                reader: stores.reader.clone(),
                directory: stores.directory.clone(),
                cursors: stores.directory.clone(),
                sessions: stores.directory.clone(),
            })
            .start(TcpListener::bind("127.0.0.1:0").await.unwrap())
            .await
            .unwrap();
        Rig {
            address: node.local_addr(),
            node,
            metrics,
            directory: stores.directory,
            reader: stores.reader,
            faults: stores.faults,
            registration_token,
        }
    }

    /// The account of that name, which is made if there is none.
    pub(crate) fn account(&self, name: &str) -> AccountId {
        self.account_with_role(name, AccountRole::USER)
    }

    pub(crate) fn account_with_role(&self, name: &str, role: AccountRole) -> AccountId {
        let name = AccountName::parse(name).unwrap();
        if let Some(row) = self.directory.account(&name).unwrap() {
            return row.id;
        }
        let display_name = Line::parse(name.as_str()).unwrap();
        let (password, created) = (password_hash(), UnixMillis(1));
        self.directory.add_account(NewAccount { name, display_name, role, password, created }).unwrap()
    }

    /// The token of a new device of that account.
    pub(crate) fn device_token(&self, name: &str) -> String {
        let account = self.account(name);
        let password = self.directory.accounts_by_id(&[account]).unwrap().remove(0).password;
        let token = new_token(TokenKind::Device, &OsEntropy);
        let label = Line::parse("test").unwrap();
        let hash = token_hash(token.expose());
        let device = NewDevice { account, label, token: hash, password, now: UnixMillis(1) };
        self.directory.add_device(device, u32::MAX).unwrap();
        token.expose().to_owned()
    }

    /// A peer that has said nothing.
    pub(crate) async fn stranger(&self) -> Peer {
        Peer::connect(self.address).await
    }

    /// A peer that has said HELLO.
    pub(crate) async fn greeted(&self) -> Peer {
        let mut peer = self.stranger().await;
        the!(peer.ask(hello(&[], 0)).await, Welcome);
        peer
    }

    /// A peer that is logged in with a device of its own, not visible and without capabilities.
    pub(crate) async fn login(&self, name: &str) -> Peer {
        self.login_with(name, Login::default()).await
    }

    pub(crate) async fn login_with(&self, name: &str, login: Login<'_>) -> Peer {
        let token = self.device_token(name);
        self.login_by_token(name, &token, login).await
    }

    /// A peer that is logged in with that device.
    pub(crate) async fn login_by_token(&self, name: &str, token: &str, login: Login<'_>) -> Peer {
        let mut peer = self.stranger().await;
        the!(peer.ask(hello(login.capabilities, login.connection_window)).await, Welcome);
        let presence = if login.is_visible { PresenceMode::VISIBLE } else { PresenceMode::HIDDEN };
        let auth = Auth { presence, ..auth(AuthMethod::DEVICE_TOKEN, name, token) };
        the!(peer.ask(auth).await, Authenticated);
        peer
    }

    /// Fails unless a newcomer is served as if nothing had happened.
    pub(crate) async fn assert_healthy(&self) {
        let served = async {
            let mut sentinel = self.login("sentinel").await;
            let name = format!("sentinel-{}", self.number("hark_logins_total{outcome=\"done\"}"));
            let room = sentinel.create_room(&name).await;
            assert!(!sentinel.publish(room, 1, "well").await.duplicate);
        };
        tokio::time::timeout(Duration::from_secs(5), served).await.expect("a newcomer is served in time");
        assert_eq!(self.number("hark_connections_panicked_total"), 0);
    }

    /// What stands behind that name in the metrics.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    /// Waits until something is so that happens by itself.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Rig) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !is_so(self) {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
            looks.tick().await;
        }
    }

    pub(crate) async fn shutdown(self) -> ShutdownReport {
        self.node.shutdown(PATIENCE).await
    }
}

/// HELLO of version 1.
pub(crate) fn hello(capabilities: &[Capability], connection_window: u32) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        capabilities: hark_protocol::List::new(capabilities.to_vec()).unwrap(),
        connection_window,
        agent: Line::parse("a test").unwrap(),
    }
}

/// A login without a device of its own that shows nobody anything.
pub(crate) fn auth(method: AuthMethod, name: &str, secret: &str) -> Auth {
    Auth {
        method,
        name: AccountName::parse(name).unwrap(),
        secret: Secret::parse(secret).unwrap(),
        device_label: Line::default(),
        presence: PresenceMode::HIDDEN,
    }
}

/// Hashed once: the same password is good for all.
fn password_hash() -> PasswordHash {
    static HASH: OnceLock<PasswordHash> = OnceLock::new();
    HASH.get_or_init(|| hash_now(PASSWORD, &[7; 16]).unwrap()).clone()
}

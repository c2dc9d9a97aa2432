//! The server of a run: the product's node over SQLite, with a disk that the plan plays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use hark_core::Limits;
use hark_core::ports::{
    Directory, DirectoryError, Draft, Expiry, LogReader, LogStore, NewAccount, NewDevice, Outcome,
    PasswordHash, Removal, StoreError,
};
use hark_protocol::{AccountName, AccountRole, Line, Retention, RoomId, UnixMillis};
use hark_server::clock::Clock;
use hark_server::executor::{Call, Executor, Pace};
use hark_server::token::token_hash;
use hark_server::{Node, Stores};
use hark_store_sqlite::{Housekeeping, Options, SqliteStores};

use crate::bug;
use crate::chance::Seeded;
use crate::net::SimListener;
use crate::tls;
use crate::world::{World, client_name};

/// Where it listens.
pub(crate) const PORT: u16 = 4_275;

/// Who makes the rooms, kicks people and reads at the end.
pub(crate) const STEWARD: &str = "steward";

/// When runs begin: 2026-01-01, at which every certificate of a run is valid.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// Opens the stores of a run, as the server does and as the dump at the end does.
///
/// # Errors
/// The store's.
pub(crate) fn open(world: &World) -> Result<SqliteStores, hark_store_sqlite::OpenError> {
    Options::new()
        .readers(1)
        .housekeeping(Housekeeping::Inline)
        .index_batch(world.plan.server.index_batch)
        .open(&world.folder.join("server"))
}

/// Serves until it is told to stop.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn serve(world: Arc<World>) -> turmoil::Result {
    let start = world.server.starts.fetch_add(1, Ordering::Relaxed) + 1;
    world.note("s", format_args!("start {start}"));
    // What a server was told that crashed in the same moment is not for this one.
    tokio::select! {
        biased;
        () = world.server.stop.notified() => {}
        () = std::future::ready(()) => {}
    }
    let SqliteStores { log, reader, directory } = open(&world)?;
    if start == 1 {
        make_accounts(&world, &*directory)?;
    }
    let (cursors, sessions) = (Arc::clone(&directory) as _, Arc::clone(&directory) as _);
    let stores = Stores { log: Box::new(log), reader, directory, cursors, sessions };
    let stores = bug::plant(&world, stores);
    let seen: Arc<dyn LogReader> = Arc::clone(&stores.reader);
    *world.server.reader.lock() = Arc::downgrade(&seen);
    drop(seen);
    let stores = Stores { log: Box::new(Disk { inner: stores.log, world: Arc::clone(&world) }), ..stores };
    let listener = SimListener::bind(&world, PORT).await?;
    let node = Node::builder()
        .limits(limits(&world))
        .retention(Retention { max_events: world.plan.server.keep_events, ..Retention::default() })
        .tail_bytes_max(world.plan.server.tail_bytes_max)
        .tls(Arc::new(ArcSwap::new(tls::server())))
        .stores(stores)
        .clock(Arc::new(SimClock(Arc::clone(&world))))
        .entropy(Arc::new(Seeded::new(world.plan.seed, &format!("server {start}"))))
        .executor(Executor::Inline(Arc::new(SimPace(Arc::clone(&world)))))
        .start(listener)
        .await?;
    tokio::select! {
        biased;
        () = world.server.stop.notified() => {
            let report = node.shutdown(Duration::from_millis(300)).await;
            world.note("s", format_args!("stopped: {report:?}"));
        }
        why = node.failed() => {
            world.find(format!("the server failed: {why}"));
        }
    }
    Ok(())
}

fn limits(world: &World) -> Limits {
    let plan = &world.plan.server;
    Limits {
        window_events_max: plan.window_events_max,
        publish_rate_per_second: plan.publish_rate,
        publish_burst_max: plan.publish_rate,
        heartbeat_interval_ms: 400,
        write_timeout_ms: 2_000,
        frame_timeout_ms: 2_000,
        tls_timeout_ms: 2_000,
        hello_timeout_ms: 2_000,
        auth_timeout_ms: 3_000,
        page_events_max: 40,
        ..Limits::open()
    }
}

/// Accounts and devices of all who take part. Nobody has a password: hashing is not what is looked at here.
fn make_accounts(world: &World, directory: &dyn Directory) -> Result<(), DirectoryError> {
    let clients = (0..world.plan.clients.len()).map(client_name);
    for name in clients.chain([STEWARD.to_owned()]) {
        let account = AccountName::parse(&name).expect("invariant: it is an account's name");
        let password = PasswordHash("nobody's".into());
        let display_name = Line::lossy(&name);
        let created = UnixMillis(EPOCH_MS);
        let account = directory.add_account(NewAccount {
            name: account,
            display_name,
            role: AccountRole::USER,
            password: password.clone(),
            created,
        })?;
        let (label, token) = (Line::lossy("simulated"), token_hash(&token(&name)));
        directory.add_device(NewDevice { account, label, token, password, now: created }, u32::MAX)?;
    }
    Ok(())
}

/// The token of the one device of an account.
pub(crate) fn token(name: &str) -> String {
    format!("hdt_{name}")
}

/// The time of day in a run.
#[derive(Clone)]
pub(crate) struct SimClock(pub Arc<World>);

impl SimClock {
    fn time(&self) -> UnixMillis {
        UnixMillis(EPOCH_MS + u64::try_from(self.0.now().as_millis()).unwrap_or(0))
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixMillis {
        self.time()
    }
}

impl hark_sdk::Clock for SimClock {
    fn now(&self) -> UnixMillis {
        self.time()
    }
}

/// How long the disk takes.
struct SimPace(Arc<World>);

impl SimPace {
    fn pause(&self) -> Duration {
        let slow = self.0.server.slow.load(Ordering::Relaxed);
        let most = if slow { 500 } else { self.0.plan.server.disk_pause_ms_max };
        Duration::from_millis(self.0.server.chance.lock().between(0, most))
    }
}

impl Pace for SimPace {
    fn before(&self, _: Call) -> Duration {
        self.pause()
    }

    fn after(&self, call: Call) -> Duration {
        let cut = call == Call::Append && self.0.server.cut_on_commit.swap(false, Ordering::Relaxed);
        if cut {
            self.0.note("rig", format_args!("cut between commit and the word of it"));
            self.0.taps.lock().iter().for_each(|tap| tap.reset());
        }
        // Long enough for the cut to be felt before the word is out.
        self.pause().max(Duration::from_millis(if cut { 5 } else { 0 }))
    }
}

/// A log on a disk that may be full.
struct Disk {
    inner: Box<dyn LogStore>,
    world: Arc<World>,
}

impl LogStore for Disk {
    fn append(&mut self, now: UnixMillis, drafts: Vec<Draft>) -> Result<Vec<Outcome>, StoreError> {
        if self.world.server.full.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("the disk is full".into()));
        }
        self.world.note("s", format_args!("append {}", drafts.len()));
        self.inner.append(now, drafts)
    }

    fn expire(&mut self, now: UnixMillis, server: Retention, after: RoomId) -> Result<Expiry, StoreError> {
        self.inner.expire(now, server, after)
    }

    fn remove_expired(&mut self, now: UnixMillis, events_max: usize) -> Result<Removal, StoreError> {
        self.inner.remove_expired(now, events_max)
    }
}

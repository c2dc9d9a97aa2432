//! What the connections of a node share: its rooms, its accounts' connections, the writer and the stores.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hark_core::cursor_book::CursorBook;
use hark_core::ports::SessionId;
use hark_core::rate::{Bucket, Rate};
use hark_core::room::Room;
use hark_core::session::Settings as SessionSettings;
use hark_core::{Limits, Refusal};
use hark_protocol::{AccountId, DeviceId, LimitId, RoomId};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::identity::Identities;
use crate::link::{Link, Order};
use crate::logins::LoginThrottle;
use crate::metrics::Metrics;
use crate::password::PasswordPool;
use crate::presence::Presences;
use crate::room_entry::RoomEntry;
use crate::seat::Owner;
use crate::session_keeper::SessionKeeper;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::tails::TailBudget;
use crate::writer::Writer;

/// Names one connection for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// What the connections of a node share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) session: SessionSettings,
    pub(crate) storage: Storage,
    pub(crate) writer: Writer,
    pub(crate) tails: Arc<TailBudget>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) passwords: PasswordPool,
    pub(crate) identities: Identities,
    pub(crate) settings: Settings,
    pub(crate) logins: LoginThrottle,
    pub(crate) presences: Presences,
    pub(crate) cursors: Mutex<CursorBook>,
    pub(crate) sessions: SessionKeeper,
    /// How long a session is kept without a connection.
    pub(crate) session_lifetime: Duration,
    /// The sessions that have a connection here.
    pub(crate) owners: Mutex<HashMap<SessionId, Owner>>,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    /// What connections have begun and somebody has to see the end of.
    pub(crate) tasks: TaskTracker,
    pub(crate) started: tokio::time::Instant,
    rooms: Mutex<HashMap<RoomId, Arc<RoomCell>>>,
    accounts: Mutex<HashMap<AccountId, AccountEntry>>,
    connections: AtomicU64,
}

type RoomCell = OnceCell<Arc<RoomEntry>>;

/// A clock that can be printed.
#[derive(Clone)]
pub(crate) struct SharedClock(pub(crate) Arc<dyn Clock>);

/// Entropy that can be printed.
#[derive(Clone)]
pub(crate) struct SharedEntropy(pub(crate) Arc<dyn Entropy>);

impl std::fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl std::fmt::Debug for SharedEntropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

/// An account that is connected, and what its publishes have used of their rate.
#[derive(Debug, Default)]
struct AccountEntry {
    /// In order, so that they are told in one.
    links: BTreeMap<ConnectionId, Arc<Link>>,
    publishes: Bucket,
    /// Disabled by this process: a login that was being decided at that moment finds it here.
    is_disabled: bool,
}

/// What a hub is made of.
pub(crate) struct HubParts {
    pub(crate) session: SessionSettings,
    pub(crate) storage: Storage,
    pub(crate) tails: Arc<TailBudget>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) passwords: PasswordPool,
    pub(crate) settings: Settings,
    pub(crate) session_lifetime: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Hub {
    pub(crate) fn new(parts: HubParts) -> Hub {
        let limits = &parts.session.limits;
        let clock = SharedClock(parts.clock);
        Hub {
            logins: LoginThrottle::new(limits.login_failures_per_account, limits.login_failures_per_address),
            identities: Identities::new(&parts.settings.identity_key),
            session: parts.session,
            writer: Writer::new(),
            tails: parts.tails,
            metrics: parts.metrics,
            passwords: parts.passwords,
            settings: parts.settings,
            presences: Presences::default(),
            cursors: Mutex::default(),
            sessions: SessionKeeper::new(parts.storage.clone(), clock.clone()),
            session_lifetime: parts.session_lifetime,
            owners: Mutex::default(),
            clock,
            entropy: SharedEntropy(parts.entropy),
            storage: parts.storage,
            tasks: TaskTracker::new(),
            started: tokio::time::Instant::now(),
            rooms: Mutex::default(),
            accounts: Mutex::default(),
            connections: AtomicU64::new(0),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.session.limits
    }

    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Nanoseconds since the node started, for rates.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The room, if it is in memory.
    pub(crate) fn loaded_room(&self, room: RoomId) -> Option<Arc<RoomEntry>> {
        self.rooms.lock().get(&room)?.get().cloned()
    }

    /// The room, loaded if need be; `NotFound` if there is none. Many may ask at once, one reads.
    pub(crate) async fn room(&self, room: RoomId) -> Result<Arc<RoomEntry>, Refusal> {
        let cell = Arc::clone(self.rooms.lock().entry(room).or_default());
        let mut is_new = false;
        let loaded = cell.get_or_try_init(|| {
            is_new = true;
            self.load(room)
        });
        let loaded = loaded.await.cloned();
        if is_new && let Ok(entry) = &loaded {
            self.catch_up_with_retention(entry).await?;
        }
        if loaded.is_err() {
            let mut rooms = self.rooms.lock();
            // Only the cell that failed, and only if nobody else is still trying it.
            if rooms.get(&room).is_some_and(|now| Arc::ptr_eq(now, &cell) && Arc::strong_count(now) <= 2) {
                rooms.remove(&room);
            }
        }
        loaded
    }

    /// A room whose first moved between the read and the moment at which everybody could see the entry has not been
    /// told of it.
    async fn catch_up_with_retention(&self, entry: &RoomEntry) -> Result<(), Refusal> {
        let room = entry.id();
        if let Some(record) = self.storage.read(move |reader| reader.room(room)).await? {
            self.tails.note(entry.expire(record.row.first));
        }
        Ok(())
    }

    async fn load(&self, room: RoomId) -> Result<Arc<RoomEntry>, Refusal> {
        let record = self.storage.read(move |reader| reader.room(room)).await?;
        let record = record.ok_or(Refusal::NotFound("room"))?;
        self.metrics.room_loaded();
        Ok(Arc::new(RoomEntry::new(Room::load(record))))
    }

    /// Lets go of rooms that nobody uses, and of tails that nobody reads when memory is short.
    pub(crate) fn sweep(&self) {
        let is_short = self.tails.is_spent();
        self.rooms.lock().retain(|_, cell| {
            let Some(entry) = cell.get() else { return Arc::strong_count(cell) > 1 };
            // The map's cell holds the one reference; a follower, a waiting job or a look-up holds more.
            if Arc::strong_count(cell) == 1 && Arc::strong_count(entry) == 1 {
                self.tails.note(-entry.look(|room| room.tail().bytes()).cast_signed());
                self.metrics.room_unloaded();
                return false;
            }
            if is_short {
                self.tails.note(-entry.shrink_tail(TailBudget::BYTES_SCARCE));
            }
            true
        });
        let now_ns = self.now_ns();
        self.accounts.lock().retain(|_, entry| {
            entry.is_disabled || !entry.links.is_empty() || !entry.publishes.is_idle(now_ns)
        });
        self.logins.sweep(now_ns);
    }

    /// Notes that an account is connected once more; refused when it has as many connections as it may, not
    /// counting those that are about to end.
    pub(crate) fn connect(
        &self,
        account: AccountId,
        connection: ConnectionId,
        link: &Arc<Link>,
        ending: usize,
    ) -> Result<(), Refusal> {
        let mut accounts = self.accounts.lock();
        let entry = accounts.entry(account).or_default();
        if entry.is_disabled {
            return Err(Refusal::AuthFailed);
        }
        self.has_place_in(entry, ending)?;
        entry.links.insert(connection, Arc::clone(link));
        Ok(())
    }

    fn has_place_in(&self, entry: &AccountEntry, ending: usize) -> Result<(), Refusal> {
        let max = self.limits().connections_per_account_max;
        match entry.links.len() - ending.min(entry.links.len()) < usize::try_from(max).unwrap_or(usize::MAX) {
            true => Ok(()),
            false => Err(Refusal::Limit { limit: LimitId::CONNECTIONS_PER_ACCOUNT, value: max.into() }),
        }
    }

    /// Shuts an account out, with whatever connections it has, or lets it in again.
    pub(crate) fn set_disabled(&self, account: AccountId, is_disabled: bool) {
        let mut accounts = self.accounts.lock();
        let entry = accounts.entry(account).or_default();
        entry.is_disabled = is_disabled;
        if is_disabled {
            entry.links.values().for_each(|link| link.order(Order::Disabled));
        }
    }

    /// Notes that a connection of an account is gone.
    pub(crate) fn disconnect(&self, account: AccountId, connection: ConnectionId) {
        if let Some(entry) = self.accounts.lock().get_mut(&account) {
            entry.links.remove(&connection);
        }
        self.presences.remove(account, connection);
    }

    /// Takes one publish of the account's rate, and says after what wait it may be carried out.
    ///
    /// # Errors
    /// The wait, which is longer than `wait_max`; nothing was taken.
    pub(crate) fn take_publish(&self, account: AccountId, wait_max: Duration) -> Result<Duration, Duration> {
        let limits = self.limits();
        let rate = Rate { per_second: limits.publish_rate_per_second, burst: limits.publish_burst_max };
        if rate.per_second == 0 {
            return Ok(Duration::ZERO);
        }
        let wait_max_ns = u64::try_from(wait_max.as_nanos()).unwrap_or(u64::MAX);
        let now_ns = self.now_ns();
        let mut accounts = self.accounts.lock();
        let wait = accounts.entry(account).or_default().publishes.reserve(rate, now_ns, wait_max_ns);
        wait.map(Duration::from_nanos).map_err(Duration::from_nanos)
    }

    /// Saves the cursors that have moved.
    pub(crate) async fn flush_cursors(&self) {
        let moved = self.cursors.lock().take();
        if moved.is_empty() {
            return;
        }
        let saved = self.storage.cursors(move |store| store.save_cursors(&moved)).await;
        self.cursors.lock().saved(saved.is_ok());
    }

    /// The cursor of a device in a room, whether it is saved or waits to be.
    pub(crate) async fn cursor(
        &self,
        device: DeviceId,
        room: RoomId,
    ) -> Result<Option<hark_core::ports::Cursor>, Refusal> {
        let moved = self.cursors.lock().get(device, room);
        let stored = self.storage.cursors(move |store| store.cursor(device, room)).await?;
        // Within one epoch a cursor never moves back, wherever it is kept.
        Ok(match (moved, stored) {
            (Some(moved), Some(stored)) if moved.epoch == stored.epoch && moved.seq < stored.seq => {
                Some(stored)
            }
            (moved, stored) => moved.or(stored),
        })
    }
}

//! What all parts of a run share: the plan, the state of the network and the disk, and what was written down.
//!
//! A run has one thread. The locks are there because what is handed to a node or to the SDK must be `Send`; none
//! is ever waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hark_checker::record::{Phase, Publish, What};
use hark_core::ports::LogReader;
use hark_protocol::{ClientId, Epoch, RoomId, Seq};
use hark_sdk::{ClientState, SessionExport};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bug::Bug;
use crate::chance::Chance;
use crate::net::TapState;
use crate::plan::Plan;
use crate::trace::Trace;
use crate::written::Written;

/// What all parts of a run share.
pub(crate) struct World {
    /// The scenario.
    pub(crate) plan: Plan,
    /// Where everything is that lasts: the server's data and the clients' outboxes.
    pub(crate) folder: PathBuf,
    /// The error that is planted, if one is.
    pub(crate) bug: Option<Bug>,
    /// What the server does, and what is done to it.
    pub(crate) server: ServerState,
    /// What clients remember beyond their death, by number.
    pub(crate) memories: Vec<Mutex<Memory>>,
    /// Every connection's client side, in the order in which they were made.
    pub(crate) taps: Mutex<Vec<Arc<TapState>>>,
    /// Whether the rooms are there.
    pub(crate) rooms_made: AtomicBool,
    /// What is wrong and no history can say.
    pub(crate) findings: Mutex<Vec<String>>,
    now_ns: AtomicU64,
    written: Mutex<Written>,
    trace: Mutex<Trace>,
    pub(crate) connections: AtomicU64,
    /// Logins that took up a session.
    pub(crate) resumed: AtomicU64,
}

/// What the server does, and what is done to it.
pub(crate) struct ServerState {
    /// Tells it to stop in order.
    pub(crate) stop: Notify,
    /// How often it was started.
    pub(crate) starts: AtomicU64,
    /// Reads its store while it is up.
    pub(crate) reader: Mutex<Weak<dyn LogReader>>,
    /// Its disk is slow.
    pub(crate) slow: AtomicBool,
    /// Its disk is full.
    pub(crate) full: AtomicBool,
    /// The next commit cuts all connections.
    pub(crate) cut_on_commit: AtomicBool,
    pub(crate) chance: Mutex<Chance>,
}

/// What a client remembers beyond its death, and what can be seen of it while it lives.
#[derive(Default)]
pub(crate) struct Memory {
    /// How often it was started.
    pub(crate) boots: u64,
    /// How many messages it has made.
    pub(crate) messages: u64,
    /// How many bursts are done.
    pub(crate) bursts: usize,
    /// By room.
    pub(crate) rooms: Vec<RoomMemory>,
    /// The SDK's handle, while it lives.
    pub(crate) client: Option<hark_sdk::Client>,
    /// Publishes that were begun and whose outcome has not been written down: (room, client id).
    pub(crate) open: BTreeSet<(usize, ClientId)>,
    /// Streams that have begun and not ended: (name, room).
    pub(crate) streams: BTreeSet<(String, usize)>,
    /// Its session, as it was written down last.
    pub(crate) export: Option<SessionExport>,
    /// What its outbox has taken for good, and was not definitely refused.
    pub(crate) taken: BTreeSet<(usize, ClientId)>,
    /// … and of which it has not learned what became.
    pub(crate) undecided: BTreeSet<(usize, ClientId)>,
    /// Until when it takes no events.
    pub(crate) stalled_until: Duration,
}

/// What a client remembers of a room.
#[derive(Default)]
pub(crate) struct RoomMemory {
    /// The last event that it has.
    pub(crate) position: Option<(Epoch, Seq)>,
    /// Messages without a final answer, by number.
    pub(crate) unsettled: BTreeMap<u64, (ClientId, Vec<u8>)>,
    /// Whether it has been out of the room since it has a position: what the server keeps is not comparable then.
    pub(crate) was_away: bool,
    /// Whether it has left the room and is not back. What it published meanwhile would be refused for good, and if
    /// the word of that was lost, sent again behind what it publishes when it is back: nobody promises an order then.
    pub(crate) is_out: bool,
    /// Whether it should be following the room now.
    pub(crate) follows: bool,
}

impl World {
    /// The beginning of a run in `folder`.
    pub(crate) fn new(plan: Plan, folder: &Path, bug: Option<Bug>, trace: Trace) -> World {
        let rooms = plan.rooms.len();
        let memory = |_| {
            let rooms = std::iter::repeat_with(RoomMemory::default).take(rooms).collect();
            Mutex::new(Memory { rooms, ..Memory::default() })
        };
        let nobody: Weak<hark_core::memory::MemoryReader> = Weak::new();
        World {
            memories: (0..plan.clients.len()).map(memory).collect(),
            server: ServerState {
                stop: Notify::new(),
                starts: AtomicU64::new(0),
                reader: Mutex::new(nobody),
                slow: AtomicBool::new(false),
                full: AtomicBool::new(false),
                cut_on_commit: AtomicBool::new(false),
                chance: Mutex::new(Chance::new(plan.seed, "disk")),
            },
            plan,
            folder: folder.to_owned(),
            bug,
            taps: Mutex::default(),
            rooms_made: AtomicBool::new(false),
            findings: Mutex::default(),
            now_ns: AtomicU64::new(0),
            written: Mutex::default(),
            trace: Mutex::new(trace),
            connections: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
        }
    }

    /// Virtual time since the run began.
    pub(crate) fn now(&self) -> Duration {
        let passed = Duration::from_nanos(self.now_ns.load(Ordering::Relaxed));
        turmoil::sim_elapsed().unwrap_or(passed)
    }

    /// Sets the time for whoever is not part of the network.
    pub(crate) fn set_now(&self, now: Duration) {
        self.now_ns.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Waits for a moment of the run.
    pub(crate) async fn until(&self, at: Duration) {
        while let Some(left) = at.checked_sub(self.now()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&self, who: &str, what: std::fmt::Arguments<'_>) {
        self.trace.lock().line(self.now(), who, what);
    }

    /// Writes a line of the history, which is one of the trace, too.
    pub(crate) fn record(&self, client: &str, what: What) {
        self.note(client, format_args!("{what:?}"));
        self.written.lock().push(self.now(), client, what);
    }

    /// What was written down, at the end.
    pub(crate) fn take(&self) -> (Written, Trace) {
        (std::mem::take(&mut *self.written.lock()), std::mem::take(&mut *self.trace.lock()))
    }

    /// Notes what is wrong.
    pub(crate) fn find(&self, what: String) {
        self.note("rig", format_args!("finding: {what}"));
        self.findings.lock().push(what);
    }

    /// What is wrong so far.
    pub(crate) fn found(&self) -> Vec<String> {
        self.findings.lock().clone()
    }

    /// A client died: what it was doing has no end that it could tell of.
    pub(crate) fn client_died(&self, client: usize) {
        let (open, streams) = {
            let mut memory = self.memories[client].lock();
            memory.client = None;
            memory.stalled_until = Duration::ZERO;
            memory.rooms.iter_mut().for_each(|room| (room.follows, room.is_out) = (false, false));
            (std::mem::take(&mut memory.open), std::mem::take(&mut memory.streams))
        };
        let name = client_name(client);
        if self.bug == Some(Bug::OutboxForgets) {
            let _ = std::fs::remove_dir_all(self.folder.join("outboxes").join(&name)); // it may have none
        }
        for (room, cid) in open {
            let phase = Phase::Info { why: "the client died".into() };
            self.publish(client, room, cid, phase);
        }
        for (reader, room) in streams {
            let room = self.plan.rooms[room].name.clone();
            self.record(&name, What::Ended { reader, room, reason: "stopped".into() });
        }
    }

    /// Writes down how far a publish is.
    pub(crate) fn publish(&self, client: usize, room: usize, cid: ClientId, phase: Phase) {
        let author = client_name(client);
        let room = self.plan.rooms[room].name.clone();
        self.record(
            &client_name(client),
            What::Publish(Publish { room, author, cid: hex(cid.as_bytes()), phase }),
        );
    }

    /// What keeps the run from being at rest: everybody connected, everything answered, everybody at the head.
    pub(crate) fn unrest(&self) -> Option<String> {
        let reader = self.server.reader.lock().upgrade();
        let Some(reader) = reader else { return Some("the server is down".into()) };
        for (number, memory) in self.memories.iter().enumerate() {
            let memory = memory.lock();
            let name = client_name(number);
            match memory.client.as_ref().map(hark_sdk::Client::state) {
                Some(ClientState::Connected) => {}
                state => return Some(format!("{name} is {state:?}")),
            }
            if memory.bursts < self.plan.clients[number].bursts.len() {
                return Some(format!("{name} has not begun all that it was to publish"));
            }
            if let Some((room, cid)) = memory.open.first() {
                return Some(format!("{name} waits for {} in r{room}", hex(cid.as_bytes())));
            }
            if let Some((room, cid)) = memory.undecided.first() {
                return Some(format!("{name} has {} of r{room} in its outbox", hex(cid.as_bytes())));
            }
            if let Some((page, _)) = memory.streams.iter().find(|(stream, _)| stream.contains(".page")) {
                return Some(format!("{name} is reading {page}"));
            }
            for (room, remembered) in memory.rooms.iter().enumerate() {
                let reads = self.plan.part(number, room).is_some_and(|part| part.reads.is_some());
                if !reads {
                    continue;
                }
                if !remembered.follows {
                    return Some(format!("{name} does not follow r{room}"));
                }
                let head = head(&*reader, &self.plan.rooms[room].name);
                let seq = remembered.position.map_or(0, |(_, seq)| seq.0);
                if seq < head {
                    return Some(format!("{name} has {seq} of r{room}, whose head is {head}"));
                }
            }
        }
        None
    }
}

/// Where a room's log ends, as the store has it.
fn head(reader: &dyn LogReader, name: &str) -> u64 {
    let id = name.parse().ok().and_then(|name| reader.room_id(&name).ok().flatten());
    let row = id.and_then(|id: RoomId| reader.room(id).ok().flatten());
    row.map_or(0, |record| record.row.head.0)
}

/// The name of a client, which is its account's and its place's in the network.
pub(crate) fn client_name(number: usize) -> String {
    format!("c{number}")
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

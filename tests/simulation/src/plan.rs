//! The scenario of a seed: who is there, what they do and when, and what goes wrong.

use std::time::Duration;

use crate::chance::Chance;
use crate::fault::{Fault, Timed};

/// What happens in one run, as far as it is decided beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Who writes and reads.
    pub clients: Vec<ClientPlan>,
    /// Where.
    pub rooms: Vec<RoomPlan>,
    /// What goes wrong, in the order in which it begins.
    pub faults: Vec<Timed>,
    /// Kicks: when, from which room, whom.
    pub kicks: Vec<(Duration, usize, usize)>,
    /// When the last thing is begun.
    pub horizon: Duration,
    /// The longest way of a message through a healthy network.
    pub latency_max: Duration,
    /// How the server is set up.
    pub server: ServerPlan,
}

/// A room.
#[derive(Clone, Debug)]
pub struct RoomPlan {
    /// Its name.
    pub name: String,
    /// Whether newcomers may read what was before them.
    pub shows_all: bool,
}

/// How a server is set up: small numbers, so that every edge is met.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// Bytes of the newest events in memory; with 0 rooms keep the least.
    pub tail_bytes_max: usize,
    /// So many unindexed events are indexed.
    pub index_batch: usize,
    /// Events in flight on one subscription.
    pub window_events_max: u32,
    /// Events that each room keeps; 0 is all of them.
    pub keep_events: u64,
    /// Publishes a second for one account; 0 is no limit.
    pub publish_rate: u32,
    /// The longest that an append or a look takes.
    pub disk_pause_ms_max: u64,
}

/// A client.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// What it does in each room; `None` where it does not go.
    pub rooms: Vec<Option<RoomPart>>,
    /// Publishes, in the order of their times.
    pub bursts: Vec<Burst>,
    /// What else it does, in the order of their times.
    pub moves: Vec<(Duration, Move)>,
    /// Events that may wait for the application.
    pub window: u32,
    /// The most bytes that a read of its socket gives; 0 is no limit.
    pub read_bytes_max: usize,
    /// Whether it writes its session down, and takes it up again when it is back from a crash.
    pub resumes: bool,
    /// Whether its publishes are kept in an outbox on a disk, and not by itself.
    pub outbox: bool,
}

/// What a client does in a room.
#[derive(Clone, Copy, Debug)]
pub struct RoomPart {
    /// How it reads; `None` if it only writes.
    pub reads: Option<Reading>,
    /// The longest that it thinks about an event.
    pub think_ms_max: u64,
}

/// Where a client begins to read, at first and when it is back from a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Behind what it has, which it keeps itself.
    Position,
    /// Behind what the server remembers of its device.
    Cursor,
    /// Behind what the session that it has written down says.
    Saved,
    /// With the newest so many, then behind what it has.
    Latest(u64),
    /// With what is new, then behind what it has.
    Now,
}

/// Publishes that are handed over at once.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// When.
    pub at: Duration,
    /// Where.
    pub room: usize,
    /// How many.
    pub count: u64,
    /// The longest body.
    pub body_bytes_max: u64,
}

/// Something that a client does besides.
#[derive(Clone, Copy, Debug)]
pub enum Move {
    /// Leaves a room, and comes back after a while.
    Leave(usize),
    /// Reads the newest so many events of a room's history.
    Page(usize, u64),
    /// Stops taking events for so long.
    Stall(Duration),
    /// Tells the SDK that the network has changed.
    Nudge,
}

/// Times below are given in milliseconds.
const MS: fn(u64) -> Duration = Duration::from_millis;

impl Plan {
    /// The scenario of a seed.
    pub fn new(seed: u64) -> Plan {
        let mut chance = Chance::new(seed, "plan");
        let (clients, rooms) = (2 + chance.index(7), 1 + chance.index(4));
        let horizon_ms = chance.between(2_500, 4_500);
        let rooms: Vec<RoomPlan> =
            (0..rooms).map(|n| RoomPlan { name: format!("r{n}"), shows_all: chance.percent(70) }).collect();
        let messages = chance.between(110, 260).div_ceil(clients as u64);
        // On a long way a small window is a slow one, and slowness is not what is looked for.
        let (latency_ms_max, windows): (u64, &[u32]) =
            chance.pick(&[(2, &[2, 4, 8, 256]), (10, &[8, 32, 256]), (40, &[32, 64, 256])]);
        let window_events_max = chance.pick(windows);
        let client = |chance: &mut Chance| client(chance, rooms.len(), horizon_ms, messages, windows);
        let mut clients: Vec<ClientPlan> = (0..clients).map(|_| client(&mut chance)).collect();
        let kicks = match chance.percent(40) {
            true => vec![(
                MS(chance.between(500, horizon_ms)),
                chance.index(rooms.len()),
                chance.index(clients.len()),
            )],
            false => Vec::new(),
        };
        let mut chance_of_faults = Chance::new(seed, "faults");
        let mut faults = faults(&mut chance_of_faults, clients.len(), horizon_ms);
        die_with_work(&mut chance_of_faults, &mut faults, &mut clients);
        let server = ServerPlan {
            tail_bytes_max: chance.pick(&[0, 0, 1 << 26]),
            index_batch: chance.pick(&[1, 7, 40, 4_096]),
            window_events_max,
            keep_events: if Chance::new(seed, "retention").percent(25) {
                chance.pick(&[15, 40, 100])
            } else {
                0
            },
            publish_rate: chance.pick(&[0, 0, 0, 30]),
            disk_pause_ms_max: chance.pick(&[0, 2, 5, 20]),
        };
        Plan {
            seed,
            clients,
            rooms,
            faults,
            kicks,
            horizon: MS(horizon_ms),
            latency_max: MS(latency_ms_max),
            server,
        }
    }

    /// Whether a client has anything to do in a room.
    pub fn part(&self, client: usize, room: usize) -> Option<RoomPart> {
        self.clients.get(client)?.rooms.get(room).copied().flatten()
    }
}

fn client(chance: &mut Chance, rooms: usize, horizon_ms: u64, messages: u64, windows: &[u32]) -> ClientPlan {
    let mut parts: Vec<Option<RoomPart>> = (0..rooms)
        .map(|_| {
            let reads = match chance.index(10) {
                0 => None,
                1 | 2 => Some(Reading::Cursor),
                3 => Some(Reading::Latest(chance.between(0, 20))),
                4 => Some(Reading::Now),
                5 | 6 => Some(Reading::Saved),
                _ => Some(Reading::Position),
            };
            let think_ms_max = chance.pick(&[0, 0, 1, 15]);
            chance.percent(75).then_some(RoomPart { reads, think_ms_max })
        })
        .collect();
    if parts.iter().all(Option::is_none) {
        parts[0] = Some(RoomPart { reads: Some(Reading::Position), think_ms_max: 0 });
    }
    let there: Vec<usize> = (0..rooms).filter(|room| parts[*room].is_some()).collect();
    let (mut bursts, mut left) = (Vec::new(), messages);
    while left > 0 {
        let count = chance.between(1, 20).min(left);
        left -= count;
        let body_bytes_max = chance.pick(&[20, 200, 200, 4_000]);
        bursts.push(Burst {
            at: MS(chance.between(50, horizon_ms)),
            room: chance.pick(&there),
            count,
            body_bytes_max,
        });
    }
    bursts.sort_by_key(|burst| burst.at);
    let mut moves: Vec<(Duration, Move)> = (0..chance.index(4))
        .map(|_| {
            let what = match chance.index(6) {
                0 => Move::Leave(chance.pick(&there)),
                1 | 2 => Move::Stall(MS(chance.between(200, 1_500))),
                3 => Move::Nudge,
                _ => Move::Page(chance.pick(&there), chance.between(1, 150)),
            };
            (MS(chance.between(300, horizon_ms)), what)
        })
        .collect();
    moves.sort_by_key(|(at, _)| *at);
    let read_bytes_max = if chance.percent(15) { chance.pick(&[5, 33, 700]) } else { 0 };
    ClientPlan {
        rooms: parts,
        bursts,
        moves,
        window: chance.pick(windows),
        read_bytes_max,
        resumes: chance.percent(50),
        outbox: chance.percent(35),
    }
}

/// Sees to it that many a client that dies has published what nobody has answered: it is cut off for a while before.
fn die_with_work(chance: &mut Chance, faults: &mut Vec<Timed>, clients: &mut [ClientPlan]) {
    let dying: Vec<(usize, Duration)> = faults
        .iter()
        .filter_map(|timed| match timed.fault {
            Fault::ClientCrash { client, .. } => Some((client, timed.at)),
            _ => None,
        })
        .collect();
    for (client, at) in dying {
        let (begun, published) = (at.saturating_sub(MS(400)), at.saturating_sub(MS(chance.between(20, 300))));
        let room = clients[client].rooms.iter().position(Option::is_some);
        let (Some(room), true) = (room, chance.percent(60)) else { continue };
        let lasts = MS(chance.between(400, 900));
        faults.push(Timed { at: begun, lasts, fault: Fault::Partition(client) });
        let count = chance.between(1, 8);
        clients[client].bursts.push(Burst { at: published, room, count, body_bytes_max: 100 });
        clients[client].bursts.sort_by_key(|burst| burst.at);
        clients[client].outbox = chance.percent(60);
    }
    faults.sort_by_key(|timed| timed.at);
}

fn faults(chance: &mut Chance, clients: usize, horizon_ms: u64) -> Vec<Timed> {
    let mut faults: Vec<Timed> = (0..chance.between(3, 7))
        .map(|_| {
            let client = chance.index(clients);
            let (fault, shortest, longest) = match chance.index(16) {
                0 | 1 => (Fault::Partition(client), 50, 2_500),
                2 => (Fault::PartitionToServer(client), 50, 2_500),
                3 => (Fault::PartitionFromServer(client), 50, 2_500),
                4 => (Fault::Hold(client), 50, 2_500),
                5 => (Fault::Slow(client), 200, 1_500),
                6 => (Fault::ServerCrash { silent: chance.percent(50) }, 20, 1_000),
                7 => (Fault::ServerCrash { silent: false }, 1, 300),
                8 => (Fault::ServerShutdown, 100, 500),
                9 => (Fault::ClientCrash { client, silent: chance.percent(50) }, 10, 1_500),
                10 => (Fault::Reset(client), 1, 1),
                11 => (Fault::CutAfter(client, chance.between(1, 9_000)), 1, 1),
                12 => (Fault::CutOnCommit, 1, 1),
                13 => (Fault::SocketStall(client), 200, 2_000),
                14 => (Fault::SlowDisk, 100, 1_000),
                _ => (Fault::DiskFull, 50, 800),
            };
            let at = MS(chance.between(200, horizon_ms));
            Timed { at, lasts: MS(chance.between(shortest, longest)), fault }
        })
        .collect();
    faults.sort_by_key(|timed| timed.at);
    faults
}

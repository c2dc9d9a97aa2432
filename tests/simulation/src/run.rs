//! One run: builds the network, lets time pass, makes the faults, waits until all is at rest, and has it judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hark_checker::record::{VERSION, What};
use hark_checker::{Least, Report, Terms};
use turmoil::{Builder, Sim};

use crate::bug::Bug;
use crate::fault::{Fault, Timed};
use crate::net::TapState;
use crate::plan::Plan;
use crate::tls::SERVER;
use crate::trace::Trace;
use crate::world::{World, client_name};
use crate::{client, dump, reader, server};

/// What is to be different from an ordinary run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variation {
    /// An error to plant.
    pub bug: Option<Bug>,
    /// Whether the trace keeps its lines.
    pub keep_trace: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What is wrong and no history can say: stuck, cursors that skip, resets without a reason, panics.
    pub findings: Vec<String>,
    /// What the checker says of the history.
    pub report: Report,
    /// The trace.
    pub trace: Trace,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// Logins that took up a session.
    pub resumed: u64,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty() && self.report.counts.is_empty() && self.report.vacuous.is_empty()
    }

    /// What is wrong, by name: the checker's names, and the first word of each finding.
    pub fn names(&self) -> Vec<String> {
        let findings = self.findings.iter().filter_map(|finding| Some(finding.split_once(':')?.0.to_owned()));
        let kinds = self.report.counts.keys().map(|kind| kind.name().0.to_owned());
        let mut names: Vec<String> = kinds.chain(findings).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// How long everything may take to be at rest after the last fault and the last publish (I13).
pub const REST_MAX: Duration = Duration::from_secs(10);

/// The same behind a partition. The simulated network loses for good what a partition swallows, where TCP would send it
/// again, so a connection with a hole is found by its heartbeat alone; and a PING that is answered across the partition
/// makes the heartbeat as patient as its round trip was long, 24 times over.
pub const REST_BEHIND_PARTITIONS_MAX: Duration = Duration::from_secs(60);

fn rest_max(plan: &Plan) -> Duration {
    let swallows = |fault: &Fault| {
        matches!(fault, Fault::Partition(_) | Fault::PartitionToServer(_) | Fault::PartitionFromServer(_))
    };
    match plan.faults.iter().any(|timed| swallows(&timed.fault)) {
        true => REST_BEHIND_PARTITIONS_MAX,
        false => REST_MAX,
    }
}

/// Runs a seed to its end.
pub fn run(seed: u64, variation: Variation) -> Outcome {
    run_plan(Plan::new(seed), variation)
}

/// Runs a scenario to its end.
pub fn run_plan(plan: Plan, variation: Variation) -> Outcome {
    let seed = plan.seed;
    let folder = tempfile::tempdir_in(memory_folder()).expect("a folder for the store can be made");
    for part in ["server", "outboxes"] {
        std::fs::create_dir(folder.path().join(part)).expect("a folder can be made");
    }
    let trace = if variation.keep_trace { Trace::kept() } else { Trace::default() };
    let world = Arc::new(World::new(plan, folder.path(), variation.bug, trace));
    let origin = format!("cargo run -p hark-simulation -- --seed {seed}");
    world.record("rig", What::History { version: VERSION, origin });
    let panics = crate::panics::watch(|| {
        let elapsed = Run::new(&world).complete();
        world.set_now(elapsed);
        dump::dump(&world);
        world.record("rig", What::End);
    });
    panics.into_iter().for_each(|panic| world.find(format!("panic: {panic}")));
    let (written, trace) = world.take();
    let terms = Terms {
        least: Least { acks: 1, faults: 0, unknown: 0, drains: 3 },
        settlement: rest_max(&world.plan),
    };
    let report = hark_checker::check(written.records(), &terms);
    let resumed = world.resumed.load(Ordering::Relaxed);
    Outcome { seed, findings: world.found(), report, trace, elapsed: world.now(), resumed }
}

/// A file system in memory, where there is one: what the disk promises is another rig's matter.
fn memory_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// The shortest way of a message.
const LATENCY_MIN: Duration = Duration::from_millis(1);

/// The way of a message through a network that is slow.
const LATENCY_SLOW: Duration = Duration::from_millis(200);

struct Run<'a> {
    sim: Sim<'a>,
    world: Arc<World>,
    /// Faults that are on, with the time of their end and whether anybody can have felt them.
    on: Vec<(Duration, Fault, bool)>,
    /// By host, when it is to be started again. The later of two wishes holds.
    down: BTreeMap<String, Duration>,
}

impl Run<'_> {
    fn new(world: &Arc<World>) -> Run<'static> {
        let mut sim = Builder::new()
            .rng_seed(world.plan.seed)
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(LATENCY_MIN)
            .max_message_latency(world.plan.latency_max)
            .tcp_capacity(256)
            .simulation_duration(Duration::from_secs(3_600))
            .build();
        let shared = Arc::clone(world);
        sim.host(SERVER, move || server::serve(Arc::clone(&shared)));
        for number in 0..world.plan.clients.len() {
            let shared = Arc::clone(world);
            sim.host(client_name(number), move || client::live(Arc::clone(&shared), number));
        }
        let shared = Arc::clone(world);
        sim.host("steward", move || client::steward(Arc::clone(&shared)));
        Run { sim, world: Arc::clone(world), on: Vec::new(), down: BTreeMap::new() }
    }

    fn complete(mut self) -> Duration {
        let faults = self.world.plan.faults.clone();
        let mut next = faults.iter().peekable();
        while self.now() < self.world.plan.horizon || next.peek().is_some() || self.is_disturbed() {
            while let Some(timed) = next.next_if(|timed| timed.at <= self.now()) {
                self.begin(timed);
            }
            self.end_faults();
            self.start_those_due();
            if !self.step() {
                return self.now();
            }
        }
        self.rest();
        self.drain();
        self.sim.crash(SERVER);
        self.now()
    }

    fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    fn is_disturbed(&self) -> bool {
        !self.on.is_empty() || !self.down.is_empty()
    }

    /// Lets a tick pass; `false` if the run can not go on.
    fn step(&mut self) -> bool {
        let stepped = self.sim.step();
        self.world.set_now(self.sim.elapsed());
        if let Err(error) = &stepped {
            self.world.find(format!("host: {error}"));
        }
        stepped.is_ok()
    }

    /// Waits until all is at rest.
    fn rest(&mut self) {
        let begun = self.now();
        let mut unrest = None;
        let rest_max = rest_max(&self.world.plan);
        while self.now() < begun + rest_max {
            for _ in 0..20 {
                if !self.step() {
                    return;
                }
            }
            unrest = self.world.unrest();
            if unrest.is_none() {
                self.world.note("rig", format_args!("at rest after {:?}", self.now() - begun));
                return;
            }
        }
        self.world.find(format!("stuck: {} after {rest_max:?}", unrest.unwrap_or_default()));
    }

    /// Reads everything three times over.
    fn drain(&mut self) {
        for number in 0..3 {
            self.sim.client(format!("d{number}"), reader::drain(Arc::clone(&self.world), number));
        }
        let most = self.now() + Duration::from_secs(20);
        while self.now() < most {
            let stepped = self.sim.step();
            self.world.set_now(self.sim.elapsed());
            match stepped {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => return self.world.find(format!("host: {error}")),
            }
        }
        self.world.find("stuck: the fresh readers did not come to an end".into());
    }

    fn begin(&mut self, timed: &Timed) {
        let end = self.now() + timed.lasts;
        self.world.note("rig", format_args!("{:?} for {:?}", timed.fault, timed.lasts));
        let effective = self.is_felt(timed.fault);
        match timed.fault {
            Fault::Partition(client) => self.sim.partition(client_name(client), SERVER),
            Fault::PartitionToServer(client) => self.sim.partition_oneway(client_name(client), SERVER),
            Fault::PartitionFromServer(client) => self.sim.partition_oneway(SERVER, client_name(client)),
            Fault::Hold(client) => self.sim.hold(client_name(client), SERVER),
            Fault::Slow(client) => self.sim.set_link_latency(client_name(client), SERVER, LATENCY_SLOW),
            Fault::ServerCrash { silent } => self.crash(SERVER, silent, end),
            Fault::ServerShutdown => {
                // One that is being stopped, or is down, is not told again.
                if self.sim.is_host_running(SERVER) && !self.down.contains_key(SERVER) {
                    self.world.server.stop.notify_one();
                    self.down(SERVER, end);
                }
            }
            Fault::ClientCrash { client, silent } => {
                self.crash(&client_name(client), silent, end);
                self.world.client_died(client);
            }
            Fault::Reset(client) => self.taps_of(client).iter().for_each(|tap| tap.reset()),
            Fault::CutAfter(client, bytes) => {
                self.taps_of(client).iter().for_each(|tap| tap.cut_after(bytes));
            }
            Fault::CutOnCommit => self.world.server.cut_on_commit.store(true, Ordering::Relaxed),
            Fault::SocketStall(client) => self.taps_of(client).iter().for_each(|tap| tap.stall(true)),
            Fault::SlowDisk => self.world.server.slow.store(true, Ordering::Relaxed),
            Fault::DiskFull => self.world.server.full.store(true, Ordering::Relaxed),
        }
        self.on.push((end, timed.fault, effective));
    }

    /// Whether anybody can feel a fault that begins now.
    fn is_felt(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::ServerCrash { .. } | Fault::ServerShutdown | Fault::SlowDisk | Fault::DiskFull => {
                self.sim.is_host_running(SERVER)
            }
            Fault::CutOnCommit => !self.open_taps(|_| true).is_empty(),
            Fault::ClientCrash { client, .. } => self.sim.is_host_running(client_name(client)),
            Fault::Partition(client)
            | Fault::PartitionToServer(client)
            | Fault::PartitionFromServer(client)
            | Fault::Hold(client)
            | Fault::Slow(client)
            | Fault::Reset(client)
            | Fault::CutAfter(client, _)
            | Fault::SocketStall(client) => !self.taps_of(client).is_empty(),
        }
    }

    fn end_faults(&mut self) {
        let now = self.now();
        let (over, on) = std::mem::take(&mut self.on).into_iter().partition(|(end, ..)| *end <= now);
        self.on = on;
        let over: Vec<(Duration, Fault, bool)> = over;
        for (_, fault, effective) in over {
            self.heal(fault);
            let kind = fault.kind().to_owned();
            self.world.record("rig", What::Fault { kind, effective });
        }
    }

    fn heal(&mut self, fault: Fault) {
        let world = &self.world;
        match fault {
            Fault::Partition(client)
            | Fault::PartitionToServer(client)
            | Fault::PartitionFromServer(client)
            | Fault::Hold(client) => {
                self.sim.release(client_name(client), SERVER);
                self.sim.repair(client_name(client), SERVER);
            }
            Fault::Slow(client) => self.usual_latency(&client_name(client), SERVER),
            Fault::CutOnCommit => {}
            Fault::SocketStall(client) => self.taps_of(client).iter().for_each(|tap| tap.stall(false)),
            Fault::SlowDisk => world.server.slow.store(false, Ordering::Relaxed),
            Fault::DiskFull => world.server.full.store(false, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Ends a host at once, unless it is down already.
    fn crash(&mut self, host: &str, silent: bool, until: Duration) {
        if !self.sim.is_host_running(host) {
            return;
        }
        if silent {
            // Its last words are lost, so nobody learns of its death but by its silence.
            self.others(host).iter().for_each(|other| self.sim.partition(host, other.as_str()));
        }
        self.dropping_tasks_of(host, |sim| sim.crash(host));
        if silent {
            self.others(host).iter().for_each(|other| self.sim.repair(host, other.as_str()));
        }
        self.down(host, until);
    }

    /// Does what drops the tasks of a host. A runtime drops them in an order that depends on how many tasks this
    /// process has had, and the last words of each draw a latency; so that no trace depends on that order, they all
    /// take the same.
    fn dropping_tasks_of(&mut self, host: &str, what: impl FnOnce(&mut Sim<'_>)) {
        let others = self.others(host);
        others.iter().for_each(|other| self.sim.set_link_latency(host, other.as_str(), LATENCY_MIN));
        what(&mut self.sim);
        others.iter().for_each(|other| self.usual_latency(host, other));
        for (_, fault, _) in &self.on {
            if let Fault::Slow(client) = fault {
                self.sim.set_link_latency(client_name(*client), SERVER, LATENCY_SLOW);
            }
        }
    }

    fn usual_latency(&self, host: &str, other: &str) {
        self.sim.set_link_latency(host, other, LATENCY_MIN);
        self.sim.set_link_max_message_latency(host, other, self.world.plan.latency_max);
    }

    fn others(&self, host: &str) -> Vec<String> {
        match host {
            SERVER => (0..self.world.plan.clients.len()).map(client_name).chain(["steward".into()]).collect(),
            _ => vec![SERVER.to_owned()],
        }
    }

    fn down(&mut self, host: &str, until: Duration) {
        let at = self.down.entry(host.to_owned()).or_insert(until);
        *at = until.max(*at);
    }

    fn start_those_due(&mut self) {
        let now = self.now();
        let due: Vec<String> =
            self.down.iter().filter(|(_, at)| **at <= now).map(|(host, _)| host.clone()).collect();
        for host in due {
            // A server that was told to stop takes its time.
            if !self.sim.is_host_running(host.as_str()) {
                self.down.remove(&host);
                self.dropping_tasks_of(&host, |sim| sim.bounce(host.as_str()));
            }
        }
    }

    fn open_taps(&self, chosen: impl Fn(&TapState) -> bool) -> Vec<Arc<TapState>> {
        let taps = self.world.taps.lock();
        taps.iter().filter(|tap| tap.is_open() && chosen(tap)).cloned().collect()
    }

    fn taps_of(&self, client: usize) -> Vec<Arc<TapState>> {
        self.open_taps(|tap| tap.client == Some(client))
    }
}

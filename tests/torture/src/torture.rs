//! The torture itself: authors publish and readers follow while everything around them breaks, again and again;
//! then everybody settles, the log is read afresh, and the checker says what it was worth.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hark_checker::record::Policy;
use hark_checker::{Least, Record, Report, Terms, Verdict, What, check};
use rustix::process::Signal;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::Trouble;
use crate::author::{Author, Desk, Tally};
use crate::bug::Bug;
use crate::chance::Chance;
use crate::dump::{dump, open, rooms};
use crate::fault::Fault;
use crate::proxy::{End, Flow};
use crate::reader::{Reader, drain};
use crate::recorder::Recorder;
use crate::world::{Account, World, no_disk};

/// What a run sets out to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often the server is killed.
    pub kills: usize,
    /// Which schedule of faults.
    pub seed: u64,
    /// An empty folder, which stays.
    pub folder: PathBuf,
    /// Kinds of faults that are made between kills.
    pub faults: Vec<Fault>,
    /// How many of each kind have an effect at least.
    pub of_each: usize,
    /// Publishes that are acknowledged at least.
    pub acks: usize,
    /// Messages that authors may publish around a kill.
    pub messages: usize,
    /// Publishes whose author never learns what became of them, at least.
    pub unknown: usize,
    /// One kill in so many is made between commit and acknowledgement.
    pub before_ack_every: usize,
    /// What is planted.
    pub bug: Option<Bug>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the checker says.
    pub report: Report,
    /// The history.
    pub records: Vec<Record>,
    /// Kills.
    pub kills: usize,
    /// … with at least [`IN_FLIGHT_LEAST`] publishes in flight.
    pub full_kills: usize,
    /// … between commit and acknowledgement.
    pub kills_before_ack: usize,
    /// How long it took, judging included.
    pub took: Duration,
    /// … and the faults of each kind.
    pub spent: BTreeMap<Fault, Duration>,
}

/// Publishes that must be in flight at nine kills of ten.
pub const IN_FLIGHT_LEAST: usize = 50;

/// Unanswered publishes that each author keeps: together more than [`IN_FLIGHT_LEAST`], or kills would be idle.
const UNANSWERED_MAX: usize = 40;

/// Messages that authors may publish around a kill, unless told otherwise.
pub const MESSAGES: usize = 500;

/// Messages that are acknowledged behind a backup before it is restored: few, because what a restored log has lost
/// shows nothing any more.
const BEHIND_BACKUP: usize = 40;

const AUTHORS: usize = 4;
const READERS: usize = 4;
const ROOMS: [&str; 2] = ["tea", "hall"];
const DRAINS: usize = 3;
const DISK_MIB: usize = 192;

/// How long everybody may take to settle before the rig gives up waiting; the checker's patience is shorter.
const SETTLE: Duration = Duration::from_secs(25);

impl Plan {
    /// So many kills with every kind of fault that can be made here between them.
    pub fn new(kills: usize, seed: u64, folder: PathBuf) -> Plan {
        let can = |fault: &Fault| *fault != Fault::DiskFull || no_disk().is_none();
        let faults = Fault::BETWEEN_KILLS.into_iter().filter(can).collect();
        Plan {
            kills,
            seed,
            folder,
            faults,
            of_each: 10,
            acks: 1_000,
            messages: MESSAGES,
            unknown: 1,
            before_ack_every: 10,
            bug: None,
        }
    }
}

impl Outcome {
    /// Whether nothing was wrong, and enough happened for that to mean something.
    pub fn is_good(&self) -> bool {
        self.report.verdict == Verdict::Valid && self.full_kills * 10 >= self.kills * 9
    }
}

/// A run under way.
pub struct Run {
    pub(crate) plan: Plan,
    pub(crate) world: World,
    pub(crate) recorder: Recorder,
    pub(crate) tally: Arc<Tally>,
    pub(crate) chance: Chance,
    pub(crate) effects: BTreeMap<Fault, usize>,
    /// How long the faults of each kind have taken.
    pub(crate) spent: BTreeMap<Fault, Duration>,
    allowance: Arc<Semaphore>,
    authors: VecDeque<Author>,
    readers: VecDeque<Reader>,
    accounts: Vec<Account>,
    kills: usize,
    full_kills: usize,
    kills_before_ack: usize,
}

/// Runs a plan to its end.
///
/// # Errors
/// When the rig itself can not go on: that is a failure, too, and the folder has what was seen.
pub async fn torture(plan: Plan) -> Result<Outcome, Trouble> {
    let begun = Instant::now();
    let mut run = Run::start(plan).await?;
    let recorder = run.recorder.clone();
    let folder = run.plan.folder.clone();
    if let Err(trouble) = run.go().await {
        crate::recorder::save(&recorder.take(), &folder.join("history.jsonl"))?;
        return Err(trouble);
    }
    let Run { kills, full_kills, kills_before_ack, .. } = run;
    let spent = run.spent.clone();
    let (records, report) = verdict(run).await?;
    Ok(Outcome { report, records, kills, full_kills, kills_before_ack, took: begun.elapsed(), spent })
}

/// Has the checker judge what a run has written down.
async fn verdict(run: Run) -> Result<(Vec<Record>, Report), Trouble> {
    let least =
        Least { acks: run.plan.acks, faults: run.plan.of_each, unknown: run.plan.unknown, drains: DRAINS };
    let terms = Terms { least, ..Terms::default() };
    let judged = tokio::task::spawn_blocking(move || {
        let records = run.recorder.take();
        let report = check(&records, &terms);
        (records, report)
    });
    Ok(judged.await?)
}

/// The same for a mode: what is not valid is kept in the folder.
pub(crate) async fn judge(run: Run, folder: &Path) -> Result<(Report, bool), Trouble> {
    let (records, report) = verdict(run).await?;
    let good = report.verdict == Verdict::Valid;
    if !good {
        crate::recorder::save(&records, &folder.join("history.jsonl"))?;
    }
    Ok((report, good))
}

impl Run {
    pub(crate) async fn start(plan: Plan) -> Result<Run, Trouble> {
        let disk = plan.faults.contains(&Fault::DiskFull).then_some(DISK_MIB);
        let world = World::start(&plan.folder, disk).await?;
        let recorder = Recorder::new(&format!("torture --cycles {} --seed {}", plan.kills, plan.seed));
        let kill = (plan.kills > 0).then_some(&Fault::Kill);
        let kinds = plan.faults.iter().chain(kill).map(|fault| fault.name().to_owned());
        recorder.write("rig", What::Enabled { faults: kinds.collect() });
        let mut accounts = Vec::new();
        for number in 0..AUTHORS + READERS {
            let kind = if number < AUTHORS { "author" } else { "reader" };
            accounts.push(world.account(&format!("{kind}{number}")).await?);
        }
        world.rooms(&ROOMS, &accounts).await?;
        for row in rooms(&open(&world.data())?)? {
            recorder.write("rig", room_record(&row.name, row.epoch));
        }
        let chance = Chance::new(plan.seed);
        let mut run = Run {
            plan,
            world,
            recorder,
            tally: Arc::default(),
            chance,
            effects: BTreeMap::new(),
            spent: BTreeMap::new(),
            allowance: Arc::new(Semaphore::new(0)),
            authors: VecDeque::new(),
            readers: VecDeque::new(),
            accounts,
            kills: 0,
            full_kills: 0,
            kills_before_ack: 0,
        };
        run.begin();
        Ok(run)
    }

    fn begin(&mut self) {
        for number in 0..AUTHORS {
            let (account, desk, chance) = (self.accounts[number].clone(), self.desk(), self.chance.part());
            self.authors.push_back(Author::begin(&account, 0, self.world.way(), desk, chance, Vec::new()));
        }
        for number in 0..READERS {
            let (account, room) = (&self.accounts[AUTHORS + number], ROOMS[number % ROOMS.len()]);
            let (name, recorder) = (account.name.clone(), self.recorder.clone());
            self.readers.push_back(Reader::begin(&name, account, room, self.world.way(), recorder));
        }
    }

    fn desk(&self) -> Desk {
        Desk {
            recorder: self.recorder.clone(),
            allowance: self.allowance.clone(),
            tally: self.tally.clone(),
            bug: self.plan.bug,
            rooms: ROOMS.map(str::to_owned).to_vec(),
            unanswered_max: UNANSWERED_MAX,
        }
    }

    /// Lets authors publish so many messages from now on, whatever was left before.
    pub(crate) fn allow(&self, messages: usize) {
        self.allowance.forget_permits(self.allowance.available_permits());
        self.allowance.add_permits(messages);
    }

    /// Lets them publish so many more.
    pub(crate) fn add(&self, messages: usize) {
        self.allowance.add_permits(messages);
    }

    async fn go(&mut self) -> Result<(), Trouble> {
        let mut schedule = self.schedule();
        for kill in 0..self.plan.kills {
            let left = self.plan.kills - kill;
            for fault in schedule.drain(..schedule.len() / left).collect::<Vec<_>>() {
                self.strike(fault).await?;
            }
            self.cycle(kill).await?;
        }
        self.top_up().await?;
        self.settle().await
    }

    /// Every kind as often as it must have an effect, and a little more, in any order.
    fn schedule(&mut self) -> Vec<Fault> {
        let of_each = self.plan.of_each.max(self.plan.kills / 5);
        let mut schedule: Vec<Fault> =
            self.plan.faults.iter().flat_map(|fault| std::iter::repeat_n(*fault, of_each)).collect();
        self.chance.shuffle(&mut schedule);
        schedule
    }

    /// A kill, and what happens while the server is down.
    async fn cycle(&mut self, number: usize) -> Result<(), Trouble> {
        let begun = Instant::now();
        self.kill((number + 1).is_multiple_of(self.plan.before_ack_every)).await?;
        if let Some(bug) = self.plan.bug {
            bug.strike(&self.world.data())?;
        }
        if number.is_multiple_of(3) {
            self.replace_author().await?;
        }
        self.world.restart().await?;
        self.allow(MESSAGES / 5);
        if number.is_multiple_of(2) {
            self.replace_reader().await?;
        }
        if !self.wait_for_ack(MESSAGES / 5).await {
            return Err("nothing is acknowledged after a restart".into());
        }
        *self.spent.entry(Fault::Kill).or_default() += begun.elapsed();
        Ok(())
    }

    /// SIGKILL once the pipelines are full; some time after that, or with the answers on their way.
    pub(crate) async fn kill(&mut self, before_ack: bool) -> Result<bool, Trouble> {
        let mut cut = Vec::new();
        if before_ack {
            // Somebody has to be there whose acknowledgements can be swallowed.
            self.wait_for_ack(MESSAGES / 5).await;
            let (links, effective) = self.swallow_acks(self.plan.messages).await;
            self.kills_before_ack += usize::from(effective);
            self.note(Fault::CutBeforeAck, effective);
            cut = links;
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        if !before_ack {
            self.allow(self.plan.messages);
            self.fill_pipelines(deadline).await;
            let goal = self.tally.acked.load(Relaxed) + self.chance.below(self.plan.messages / 2);
            while self.tally.acked.load(Relaxed) < goal && Instant::now() < deadline {
                sleep(Duration::from_micros(200)).await;
            }
        }
        // Right behind a batch of acknowledgements little is in flight.
        self.fill_pipelines(deadline).await;
        let in_flight = self.tally.in_flight.load(Relaxed);
        self.world.signal(Signal::KILL)?;
        self.world.kill().await?;
        self.kills += 1;
        self.full_kills += usize::from(in_flight >= IN_FLIGHT_LEAST);
        self.note(Fault::Kill, in_flight > 0);
        cut.iter().for_each(|link| link.end(End::Cut));
        Ok(in_flight > 0)
    }

    /// Lets authors publish so many messages, and waits until one is acknowledged.
    async fn wait_for_ack(&self, messages: usize) -> bool {
        let acked = self.tally.acked.load(Relaxed);
        self.allow(messages);
        let deadline = Instant::now() + SETTLE;
        while self.tally.acked.load(Relaxed) == acked && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
        self.tally.acked.load(Relaxed) > acked
    }

    /// Waits until enough publishes are in flight.
    async fn fill_pipelines(&self, deadline: Instant) {
        while self.tally.in_flight.load(Relaxed) < IN_FLIGHT_LEAST + AUTHORS && Instant::now() < deadline {
            sleep(Duration::from_micros(200)).await;
        }
    }

    /// An author's process dies with its pipeline full; another one of the account takes up what is unresolved.
    pub(crate) async fn replace_author(&mut self) -> Result<(), Trouble> {
        let fullest = (0..self.authors.len()).max_by_key(|number| self.authors[*number].in_flight());
        let Some(author) = fullest.and_then(|number| self.authors.remove(number)) else { return Ok(()) };
        let (account, session, unresolved) = author.die().await?;
        let (desk, chance) = (self.desk(), self.chance.part());
        let next = Author::begin(&account, session + 1, self.world.way(), desk, chance, unresolved);
        self.authors.push_back(next);
        Ok(())
    }

    pub(crate) async fn replace_reader(&mut self) -> Result<(), Trouble> {
        let Some(reader) = self.readers.pop_front() else { return Ok(()) };
        let (way, recorder) = (self.world.way(), self.recorder.clone());
        self.readers.push_back(reader.begin_again(way, recorder, self.plan.bug).await?);
        Ok(())
    }

    /// Makes faults again whose kind has had too little effect.
    async fn top_up(&mut self) -> Result<(), Trouble> {
        for fault in self.plan.faults.clone() {
            for _ in 0..2 * self.plan.of_each {
                if self.effects.get(&fault).copied().unwrap_or(0) >= self.plan.of_each {
                    break;
                }
                self.strike(fault).await?;
            }
        }
        Ok(())
    }

    /// A backup is made; some messages later the server is killed and the backup put in the place of its data. What
    /// came behind it is gone, and everybody is told.
    pub(crate) async fn restore(&mut self) -> Result<bool, Trouble> {
        let backup = self.world.backup().await?;
        let goal = self.tally.acked.load(Relaxed) + BEHIND_BACKUP;
        self.allow(2 * BEHIND_BACKUP);
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.tally.acked.load(Relaxed) < goal && Instant::now() < deadline {
            sleep(Duration::from_millis(1)).await;
        }
        let newest = rooms(&open(&self.world.data())?)?;
        self.world.kill().await?;
        self.world.restore(&backup).await?;
        let kept = rooms(&open(&self.world.data())?)?;
        self.world.restart().await?;
        for (row, now) in backup.rooms.iter().zip(rooms(&open(&self.world.data())?)?) {
            let (room, from, epoch) = (row.name.clone(), row.epoch, now.epoch);
            self.recorder.write("rig", What::Restore { room, from, epoch, kept: row.head });
        }
        if kept.iter().map(|row| row.head).ne(backup.rooms.iter().map(|row| row.head)) {
            return Err("a restored log does not end where its backup ended".into());
        }
        let effective = newest.iter().zip(&kept).any(|(newest, kept)| newest.head > kept.head);
        Ok(effective)
    }

    /// No more faults, no more messages: everybody is answered and reaches the head; then the log is read afresh.
    pub(crate) async fn settle(&mut self) -> Result<(), Trouble> {
        self.world.proxy().refuse(false);
        self.world.proxy().links().iter().for_each(|link| link.set(Flow::Pass));
        self.allow(0);
        let deadline = Instant::now() + SETTLE;
        while self.tally.in_flight.load(Relaxed) > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        let authors = std::mem::take(&mut self.authors);
        for author in authors {
            author.die().await?;
        }
        let heads = self.drain().await?;
        let is_behind = |reader: &Reader| heads.get(reader.room()).is_some_and(|head| reader.seen() < *head);
        while self.readers.iter().any(is_behind) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        for reader in std::mem::take(&mut self.readers) {
            reader.end().await?;
        }
        self.world.terminate().await?;
        if self.plan.bug.is_none() {
            self.world.verify().await?;
        }
        dump(&self.world.data(), &self.recorder)?;
        self.recorder.write("rig", What::End);
        Ok(())
    }

    /// Three fresh readers of each room.
    async fn drain(&self) -> Result<BTreeMap<String, u64>, Trouble> {
        let way = self.world.direct()?;
        let mut heads = BTreeMap::new();
        for room in ROOMS {
            for number in 0..DRAINS {
                let account = &self.accounts[AUTHORS + number];
                let name = format!("drain{number}-{room}");
                let head = drain(&name, account, room, &way, &self.recorder).await?;
                heads.insert(room.to_owned(), head);
            }
        }
        Ok(heads)
    }
}

fn room_record(room: &str, epoch: u64) -> What {
    What::Room { room: room.to_owned(), epoch, history: Policy::All }
}

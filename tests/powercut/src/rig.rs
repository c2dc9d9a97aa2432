//! The rig: takes, and of each many images, each judged; what was found, and how much was tried.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::anomaly::{Anomaly, Kind};
use crate::damage;
use crate::disk::{Disk, Mood, Syncs};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::take::{Take, record};
use crate::tape::{Mark, Op, Promise, Tape};
use crate::verdict::Image;

/// Of so many images in a hundred, one bit is flipped afterwards.
const FLIPPED_PERCENT: u64 = 2;

/// Of so many images in a hundred, the index is taken away or overwritten first.
const INDEX_DAMAGED_PERCENT: u64 = 4;

/// Of so many images in a hundred, the store is closed and opened once more.
const REOPENED_PERCENT: u64 = 4;

/// A run of so many images must have tried everything.
const IMAGES_OF_A_FULL_RUN: u64 = 4_000;

/// What is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Determines everything but the order in which threads work.
    pub seed: u64,
    /// Images in all.
    pub images: u64,
    /// Images of each take.
    pub images_per_take: u64,
    /// Threads.
    pub threads: usize,
    /// What becomes of syncs.
    pub syncs: Syncs,
    /// A bug to be found.
    pub planted: Option<Planted>,
}

impl Config {
    /// So many images of an honest disk.
    pub fn new(seed: u64, images: u64) -> Config {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Config { seed, images, images_per_take: 80, threads, syncs: Syncs::Full, planted: None }
    }

    /// Whether anomalies are what is looked for, so that one does not end the run.
    fn expects_anomalies(&self) -> bool {
        self.syncs != Syncs::Full
    }
}

/// One image of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// After so many steps the power fails.
    pub after: usize,
    /// Determines what is left of what was not synced, and what is tried on it.
    pub seed: u64,
    /// What becomes of syncs.
    pub syncs: Syncs,
}

/// What was found first.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The take; none when it could not be recorded without an anomaly.
    pub take: Option<Take>,
    /// The take's seed.
    pub take_seed: u64,
    /// The image; none as above.
    pub cut: Option<Cut>,
    /// What is wrong with it.
    pub anomaly: Anomaly,
}

/// What a run has tried and found.
#[derive(Debug, Default)]
pub struct Summary {
    /// Takes recorded.
    pub takes: u64,
    /// Images judged.
    pub images: u64,
    /// Images by what became of unsynced writes, in the order of [`Mood::ALL`].
    pub by_mood: [u64; 4],
    /// Images in which a change was under way.
    pub under_way: u64,
    /// Images of a disk that had been used by a process that was killed, and by one after it.
    pub after_kill: u64,
    /// Images cut while a store was being opened or closed.
    pub opening_or_closing: u64,
    /// Writes and syncs that were failed while the takes were recorded.
    pub faults: u64,
    /// Images cut after a sync had failed.
    pub after_failed_sync: u64,
    /// Changes that were promised in all images together.
    pub promised: u64,
    /// Anomalies by kind.
    pub anomalies: BTreeMap<Kind, u64>,
    /// The first of them.
    pub failure: Option<Box<Failure>>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    fn add(&mut self, other: Summary) {
        self.takes += other.takes;
        self.images += other.images;
        for (mine, theirs) in self.by_mood.iter_mut().zip(other.by_mood) {
            *mine += theirs;
        }
        self.under_way += other.under_way;
        self.after_kill += other.after_kill;
        self.opening_or_closing += other.opening_or_closing;
        self.promised += other.promised;
        self.faults += other.faults;
        self.after_failed_sync += other.after_failed_sync;
        for (kind, count) in other.anomalies {
            *self.anomalies.entry(kind).or_default() += count;
        }
        self.failure = self.failure.take().or(other.failure);
    }

    /// Images with an anomaly of this kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.anomalies.get(&kind).copied().unwrap_or(0)
    }

    /// What the run did not try although it should have: a run that tries nothing finds nothing. A short one is not
    /// asked.
    pub fn vacuous(&self) -> Option<&'static str> {
        if self.images < IMAGES_OF_A_FULL_RUN {
            return None;
        }
        let tried = [
            (self.promised >= 10 * self.images, "there were too few promises"),
            (self.by_mood.iter().all(|count| *count > 0), "a way of losing writes was not tried"),
            (self.under_way > 0, "nothing was ever under way"),
            (self.after_kill > 0, "no process was ever killed"),
            (self.after_failed_sync > 0, "no sync ever failed"),
            (self.opening_or_closing > 0, "no power was cut at a start or an end"),
        ];
        tried.iter().find(|(held, _)| !held).map(|(_, complaint)| *complaint)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let [dropped, subset, torn, kept] = self.by_mood;
        write!(
            f,
            "{} images of {} takes in {seconds:.1} s, {:.0} images/s: {dropped} dropped, {subset} subset, {torn} torn, \
             {kept} kept; {} with a change under way, {} after a kill, {} at a start or an end, \
             {} after a failed sync; {} faults; {} promised changes compared; ",
            self.images,
            self.takes,
            self.images as f64 / seconds.max(0.001),
            self.under_way,
            self.after_kill,
            self.opening_or_closing,
            self.after_failed_sync,
            self.faults,
            self.promised
        )?;
        if self.anomalies.is_empty() {
            return f.write_str("no anomaly");
        }
        let list: Vec<String> =
            self.anomalies.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        write!(f, "anomalies: {}", list.join(", "))
    }
}

/// Where takes and images live: in memory, where the system has such a place.
pub fn root() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Runs the rig; an honest disk ends it at the first anomaly.
///
/// # Errors
/// When there is no place for the folders.
pub fn run(config: &Config) -> std::io::Result<Summary> {
    let begun = Instant::now();
    let root = tempfile::Builder::new().prefix("hark-powercut-").tempdir_in(root())?;
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || worker(config, root.path(), &next, &stop);
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..config.threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(part) => summary.add(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    summary.elapsed = begun.elapsed();
    Ok(summary)
}

/// The seed of a run's take with this number.
pub fn take_seed(seed: u64, number: u64) -> u64 {
    Rng::new(seed ^ number.wrapping_mul(0xd605_bbb5_8c8a_bc4d)).number()
}

fn worker(config: &Config, root: &Path, next: &AtomicU64, stop: &AtomicBool) -> Summary {
    let mut summary = Summary::default();
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let begun = number * config.images_per_take;
        if begun >= config.images {
            break;
        }
        let images = config.images_per_take.min(config.images - begun);
        let seed = take_seed(config.seed, number);
        match record(seed, root, config.planted) {
            Ok(take) => {
                summary.faults += u64::from(take.faults);
                images_of(&take, images, config, root, &mut summary);
            }
            Err(anomaly) => summary.note(Failure { take: None, take_seed: seed, cut: None, anomaly }),
        }
        summary.takes += 1;
        if summary.failure.is_some() && !config.expects_anomalies() {
            stop.store(true, Ordering::Relaxed);
        }
    }
    summary
}

impl Summary {
    fn note(&mut self, failure: Failure) {
        *self.anomalies.entry(failure.anomaly.kind).or_default() += 1;
        self.failure.get_or_insert_with(|| Box::new(failure));
    }

    fn count_image(&mut self, state: &Walk<'_>, mood: Mood) {
        self.images += 1;
        let place = Mood::ALL.iter().position(|it| *it == mood).unwrap_or(0);
        self.by_mood[place] += 1;
        self.under_way += u64::from(state.promise.begun > state.promise.floor());
        self.after_kill += u64::from(state.killed);
        self.opening_or_closing += u64::from(state.at_the_edge);
        self.promised += u64::from(state.promise.floor());
        self.after_failed_sync += u64::from(state.sync_failed);
    }
}

/// A walk along a tape.
struct Walk<'a> {
    take: &'a Take,
    disk: Disk,
    place: usize,
    promise: Promise,
    killed: bool,
    at_the_edge: bool,
    sync_failed: bool,
}

impl<'a> Walk<'a> {
    fn new(take: &'a Take, syncs: Syncs) -> Walk<'a> {
        let (disk, promise) = (Disk::new(syncs), Promise::default());
        Walk { take, disk, place: 0, promise, killed: false, at_the_edge: false, sync_failed: false }
    }

    fn go_to(&mut self, after: usize) {
        let tape = &self.take.tape;
        for op in tape.ops.iter().take(after).skip(self.place) {
            self.disk.take(op, tape);
            self.sync_failed |= matches!(op, Op::FailedSync { .. });
            let Op::Mark(mark) = op else { continue };
            self.promise.note(*mark);
            match mark {
                Mark::Opening | Mark::Closing => self.at_the_edge = true,
                Mark::Opened | Mark::Begun(_) => self.at_the_edge = false,
                Mark::Killed => self.killed = true,
                Mark::Done(_) | Mark::Shown(_) => {}
            }
        }
        self.place = self.place.max(after);
    }

    /// Makes the image, and judges it.
    fn judge(&self, cut: Cut, planted: Option<Planted>, root: &Path) -> (Mood, Result<(), Anomaly>) {
        let mut rng = Rng::new(cut.seed);
        let mood = Mood::any(&mut rng);
        (mood, self.judge_as(mood, planted, root, &mut rng))
    }

    fn judge_as(
        &self,
        mood: Mood,
        planted: Option<Planted>,
        root: &Path,
        rng: &mut Rng,
    ) -> Result<(), Anomaly> {
        let folder = tempfile::tempdir_in(root)?;
        let folder = folder.path();
        self.disk.image(&self.take.tape, mood, rng, folder)?;
        if rng.percent(INDEX_DAMAGED_PERCENT) {
            damage::index(folder, rng)?;
        }
        if let Some(planted) = planted {
            planted.before_opening(folder)?;
        }
        let (history, promise) = (&self.take.history, self.promise);
        let image = Image { folder, history, promise };
        let judged = image.judge(rng)?;
        if rng.percent(REOPENED_PERCENT) {
            drop(judged);
            image.reopened()?;
        } else if rng.percent(FLIPPED_PERCENT) || planted == Some(Planted::HeadFromWhatIsLeft) {
            drop(judged);
            damage::flipped(folder, planted, rng)?;
        }
        Ok(())
    }
}

/// Where the power may fail: anywhere from the tape's first opening on, and more often where it matters most.
struct Places {
    first: usize,
    end: usize,
    promises: Vec<usize>,
    kills: Vec<usize>,
}

impl Places {
    fn of(tape: &Tape) -> Places {
        let (mut promises, mut kills) = (Vec::new(), Vec::new());
        for (place, op) in tape.ops.iter().enumerate() {
            match op {
                Op::Mark(Mark::Done(_) | Mark::Shown(_)) => promises.push(place + 1),
                Op::Mark(Mark::Killed) => kills.push(place + 1),
                _ => {}
            }
        }
        // What stands before the first opening is a disk as it was found.
        let first = tape.ops.iter().position(|op| *op == Op::Mark(Mark::Opening)).unwrap_or(0);
        Places { first, end: tape.ops.len(), promises, kills }
    }

    fn any(&self, rng: &mut Rng) -> usize {
        let anywhere = self.first + rng.index(self.end - self.first + 1);
        match rng.below(10) {
            0..3 => rng.pick(&self.promises).copied().unwrap_or(anywhere).max(self.first),
            // A start after a kill takes some twenty steps until the first reader is answered.
            3..5 => match rng.pick(&self.kills) {
                Some(kill) => self.end.min(kill + rng.index(60)),
                None => anywhere,
            },
            _ => anywhere,
        }
    }
}

fn images_of(take: &Take, images: u64, config: &Config, root: &Path, summary: &mut Summary) {
    let mut rng = Rng::new(take.seed ^ config.seed);
    let places = Places::of(&take.tape);
    let mut cut = || Cut { after: places.any(&mut rng), seed: rng.number(), syncs: config.syncs };
    let mut cuts: Vec<Cut> = (0..images).map(|_| cut()).collect();
    cuts.sort_by_key(|cut| cut.after);
    let mut walk = Walk::new(take, config.syncs);
    for cut in cuts {
        walk.go_to(cut.after);
        let (mood, verdict) = walk.judge(cut, config.planted, root);
        summary.count_image(&walk, mood);
        if let Err(anomaly) = verdict {
            let take_seed = take.seed;
            summary.note(Failure { take: Some(take.clone()), take_seed, cut: Some(cut), anomaly });
            if !config.expects_anomalies() {
                return;
            }
        }
    }
}

/// Judges one image of a take again.
///
/// # Errors
/// What is wrong with it.
pub fn replay(take: &Take, cut: Cut, planted: Option<Planted>) -> Result<(), Anomaly> {
    let root = tempfile::Builder::new().prefix("hark-powercut-").tempdir_in(root())?;
    let mut walk = Walk::new(take, cut.syncs);
    walk.go_to(cut.after);
    walk.judge(cut, planted, root.path()).1
}

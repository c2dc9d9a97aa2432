//! One take: a story told to the real store while everything that it writes is recorded, over several lives of the
//! process, some of which end by a kill.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hark_core::ports::{Budget, LogReader, LogStore, Span, StoreError};
use hark_protocol::{RoomId, Seq, UnixMillis};
use hark_store_sqlite::{Housekeeping, Options, SqliteReader, SqliteStores};
use tempfile::TempDir;

use crate::anomaly::{Anomaly, Kind};
use crate::directory::ROOMS_MAX;
use crate::disk::{Disk, Mood, Syncs};
use crate::history::{Answer, Change, History};
use crate::planted::{self, Planted};
use crate::recorder::{Fault, FaultKind, Recorder};
use crate::rng::Rng;
use crate::story::Story;
use crate::tape::{Mark, Op, Promise, Tape, Version};
use crate::verdict::Image;
use crate::vfs;

/// A recording with everything that is needed to judge what is left of it.
#[derive(Clone, Debug)]
pub struct Take {
    /// The seed that determines the story.
    pub seed: u64,
    /// Everything that was asked.
    pub history: History,
    /// Everything that was written.
    pub tape: Tape,
    /// What became of changes that were under way when a life ended.
    pub resolutions: Vec<Resolution>,
    /// Calls of the VFS that were failed.
    pub faults: u32,
}

/// What became of the change that was under way when the process was killed or the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The version that it would make.
    pub version: Version,
    /// Whether it was made.
    pub made: bool,
}

/// How a take is made: a seed determines it.
#[derive(Clone, Debug)]
struct Plan {
    lives: u64,
    changes: u64,
    kill_percent: u64,
    watched: bool,
    fault_percent: u64,
    options: Options,
}

impl Plan {
    fn any(rng: &mut Rng) -> Plan {
        let pages = *rng.pick(&[8, 20, 60]).unwrap_or(&20);
        let batch = *rng.pick(&[3, 10, 40]).unwrap_or(&10);
        // In place, the seed determines the tape too; on its thread the keeper comes between where it may.
        let housekeeping = if rng.percent(40) { Housekeeping::Inline } else { Housekeeping::Thread };
        let options = Options::new().vfs(vfs::NAME).readers(1).housekeeping(housekeeping);
        Plan {
            lives: 1 + rng.below(4),
            changes: 10 + rng.below(40),
            kill_percent: 60,
            watched: rng.percent(25),
            fault_percent: *rng.pick(&[0, 15, 30, 60]).unwrap_or(&0),
            options: options.checkpoints(pages, pages * 4).index_batch(batch),
        }
    }
}

/// Records a take with this seed, in folders of its own below `root`.
///
/// # Errors
/// An anomaly that shows without a power cut: a wrong answer, or something lost by a kill.
pub fn record(seed: u64, root: &Path, planted: Option<Planted>) -> Result<Take, Anomaly> {
    let mut rng = Rng::new(seed);
    let story = Story::new(rng.fork());
    let plan = Plan::any(&mut rng);
    let mut taking = Taking { rng, plan, story, resolutions: Vec::new(), faults: 0, planted };
    let tape = taking.lives(root)?;
    let Taking { story, resolutions, faults, .. } = taking;
    Ok(Take { seed, history: story.history, tape, resolutions, faults })
}

/// The history of a take that was recorded before.
pub fn history(seed: u64, resolutions: &[Resolution], last: Version) -> History {
    let mut story = Story::new(Rng::new(seed).fork());
    for resolution in resolutions {
        while story.history.last() < resolution.version {
            story.go_on();
        }
        if !resolution.made {
            story.forget_last();
        }
    }
    while story.history.last() < last {
        story.go_on();
    }
    story.history
}

struct Taking {
    rng: Rng,
    plan: Plan,
    story: Story,
    resolutions: Vec<Resolution>,
    faults: u32,
    planted: Option<Planted>,
}

enum End {
    Closed,
    Killed(Tape),
    Left(Tape),
}

/// What a change has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Done,
    /// The store can not be used any more; nobody knows whether the change was made.
    Fatal,
}

/// How often a change is tried again while a fault lasts.
const TRIES: u32 = 200;

impl Taking {
    fn lives(&mut self, root: &Path) -> Result<Tape, Anomaly> {
        let mut folder = tempfile::tempdir_in(root)?;
        let mut recorder = Arc::new(Recorder::behind(Tape::default(), folder.path()));
        for left in (0..self.plan.lives).rev() {
            let end = self.life(&folder, &recorder, left)?;
            if !matches!(end, End::Closed) {
                self.faults += recorder.faults_in_all();
            }
            match end {
                End::Closed => {}
                End::Left(tape) => return Ok(tape),
                End::Killed(tape) => {
                    folder = tempfile::tempdir_in(root)?;
                    let tape = self.left_over(tape, folder.path())?;
                    recorder = Arc::new(Recorder::behind(tape, folder.path()));
                }
            }
        }
        Ok(recorder.finish())
    }

    /// What the next life finds, and the tape on which it goes on: after a kill all that was written, which a power
    /// cut can still take away; after a power cut something else, and nothing of it is lost any more.
    fn left_over(&mut self, mut tape: Tape, folder: &Path) -> Result<Tape, Anomaly> {
        let disk = all_written(&tape);
        if self.planted.is_some_and(Planted::needs_kills) || self.rng.percent(60) {
            disk.image(&tape, Mood::Kept, &mut self.rng, folder)?;
            tape.ops.push(Op::Mark(Mark::Killed));
            return Ok(tape);
        }
        let promise = tape.promise(tape.ops.len());
        disk.image(&tape, Mood::any(&mut self.rng), &mut self.rng, folder)?;
        let mut tape = Tape::of(folder)?;
        let marks = [Mark::Done(promise.done), Mark::Shown(promise.shown), Mark::Begun(promise.begun)];
        tape.ops.extend(marks.map(Op::Mark));
        Ok(tape)
    }

    fn life(&mut self, folder: &TempDir, recorder: &Arc<Recorder>, left: u64) -> Result<End, Anomaly> {
        let _attached = vfs::attach(folder.path(), recorder.clone())?;
        let is_first = self.story.history.last() == 0;
        if !is_first && self.planted == Some(Planted::NoBootCheckpoint) {
            return self.life_without_checkpoint(folder, recorder);
        }
        let mut stores = self.open(folder, recorder)?;
        if !is_first {
            stores = self.after_outage(stores, folder, recorder)?;
        }
        if self.rng.percent(self.plan.fault_percent) || self.planted == Some(Planted::FailedSyncAcknowledged)
        {
            recorder.plan(self.fault());
        }
        let watcher = self.plan.watched.then(|| Watcher::start(stores.reader.clone(), recorder.clone()));
        let mut came = Came::Done;
        for _ in 0..self.plan.changes {
            came = self.change(&mut stores, folder, recorder, watcher.as_ref())?;
            if came == Came::Fatal {
                break;
            }
        }
        drop(watcher);
        self.end(stores, recorder, came, left == 0)
    }

    fn open(&mut self, folder: &TempDir, recorder: &Recorder) -> Result<SqliteStores, Anomaly> {
        if self.planted == Some(Planted::LeftoversTrusted) {
            recorder.overlook_what_is_written_again();
        }
        let faulty = self.rng.percent(self.plan.fault_percent / 2);
        if faulty {
            recorder.plan(self.fault());
        }
        recorder.expect_start()?;
        recorder.mark(Mark::Opening);
        let mut opened = self.plan.options.open(folder.path());
        for _ in 0..TRIES {
            if opened.is_ok() || recorder.faults_struck() == 0 {
                break;
            }
            recorder.expect_start()?;
            opened = self.plan.options.open(folder.path());
        }
        recorder.mark(Mark::Opened);
        opened.map_err(|error| Kind::WillNotOpen.seen(error))
    }

    /// Something that goes wrong some time.
    fn fault(&mut self) -> Fault {
        let rng = &mut self.rng;
        let kind = match rng.below(5) {
            0 | 1 => FaultKind::SyncFails,
            2 => FaultKind::NoSpace,
            3 => FaultKind::ShortWrite,
            _ => FaultKind::WriteFails,
        };
        let files = ["log.db-wal", "log.db-wal", "log.db", "directory.db", "index.db", ""];
        let file = *rng.pick(&files).unwrap_or(&"");
        let times = if kind == FaultKind::SyncFails || rng.percent(50) { 1 } else { 1 + rng.below(20) };
        let fault = Fault { kind, file, after: small(rng.below(60)), times: small(times) };
        match self.planted {
            Some(planted) if planted.needs_failed_syncs() => {
                Fault { kind: FaultKind::SyncFails, file: "log.db-wal", after: fault.after / 4, times: 1 }
            }
            _ => fault,
        }
    }

    fn end(
        &mut self,
        stores: SqliteStores,
        recorder: &Recorder,
        came: Came,
        is_last: bool,
    ) -> Result<End, Anomaly> {
        if self.planted.is_some_and(Planted::needs_kills) || self.rng.percent(self.plan.kill_percent) {
            let tape = match came {
                Came::Done => self.kill(recorder, is_last),
                Came::Fatal => recorder.finish(),
            };
            return Ok(if is_last { End::Left(tape) } else { End::Killed(tape) });
        }
        recorder.mark(Mark::Closing);
        drop(stores);
        Ok(if is_last { End::Left(recorder.finish()) } else { End::Closed })
    }

    /// Ends the recording in the middle of the last change, or right behind it.
    fn kill(&mut self, recorder: &Recorder, is_last: bool) -> Tape {
        let newest = self.story.history.last();
        let rng = &mut self.rng;
        recorder.kill(|tape| {
            let begun = tape.last(Mark::Begun(newest)).map_or(0, |place| place + 1);
            let rest = &tape.ops[begun..];
            // Written and not synced: a kill there leaves what only the system's memory holds.
            let unsynced: Vec<usize> =
                (0..rest.len()).filter(|place| matches!(rest[*place], Op::Sync { .. })).collect();
            match rng.pick(&unsynced).copied() {
                _ if is_last => tape.ops.len(),
                Some(place) if rng.percent(50) => begun + place,
                _ => begun + rng.index(rest.len() + 1),
            }
        })
    }

    /// Finds out whether the change that was under way has been made. What is seen now is seen for ever.
    fn after_outage(
        &mut self,
        stores: SqliteStores,
        folder: &TempDir,
        recorder: &Recorder,
    ) -> Result<SqliteStores, Anomaly> {
        let newest = self.story.history.last();
        let promise = recorder.promise();
        let image = |promise| Image { folder: folder.path(), history: &self.story.history, promise };
        if promise.floor() >= newest {
            return Ok(image(promise).compare(stores)?.stores);
        }
        let made = Promise { done: promise.done, shown: newest, begun: newest };
        let not_made = Promise { begun: newest.saturating_sub(1), ..promise };
        // A store that is asked again answers the same, so the second question is asked only if need be.
        let (stores, found) = match image(made).compare_open(&stores) {
            Ok(_) => (stores, true),
            Err(_) => (image(not_made).compare(stores)?.stores, false),
        };
        self.resolutions.push(Resolution { version: newest, made: found });
        if !found {
            self.story.forget_last();
        }
        recorder.mark(Mark::Shown(self.story.history.last()));
        Ok(stores)
    }

    fn life_without_checkpoint(&mut self, folder: &TempDir, recorder: &Recorder) -> Result<End, Anomaly> {
        recorder.expect_start()?;
        let count = planted::shown_without_checkpoint(folder.path())?;
        let history = &self.story.history;
        let shown = history.events.get(..count).and_then(<[_]>::last).map_or(0, |event| event.version);
        recorder.mark(Mark::Shown(shown));
        Ok(End::Left(recorder.finish()))
    }

    fn change(
        &mut self,
        stores: &mut SqliteStores,
        folder: &TempDir,
        recorder: &Recorder,
        watcher: Option<&Watcher>,
    ) -> Result<Came, Anomaly> {
        let version = self.story.go_on();
        if let Some(watcher) = watcher {
            watcher.expect(&self.story.history, version);
        }
        let Some(change) = self.story.history.at(version).change.clone() else { return Ok(Came::Done) };
        recorder.mark(Mark::Begun(version));
        match self.planted {
            Some(Planted::AckBeforeCommit) => recorder.mark(Mark::Done(version)),
            Some(Planted::ShowBeforeCommit) => recorder.mark(Mark::Shown(version)),
            _ => {}
        }
        for turn in 0..TRIES {
            match ask(stores, &change)? {
                Ok(()) => {
                    recorder.mark(Mark::Done(version));
                    return Ok(Came::Done);
                }
                Err(StoreError::Unavailable(_)) if recorder.faults_struck() > 0 => {
                    if turn == 0 {
                        self.nothing_of(version, stores, folder, recorder)?;
                    }
                }
                Err(StoreError::Fatal(_)) if recorder.sync_failed() => {
                    if self.planted == Some(Planted::FailedSyncAcknowledged) {
                        recorder.mark(Mark::Done(version));
                    }
                    return still_fatal(stores);
                }
                Err(error) => return Err(Kind::StoreFailed.seen(error)),
            }
        }
        Err(Kind::StoreFailed.seen("it goes on failing after the fault is over"))
    }

    /// A change that was refused because the store is unavailable has changed nothing.
    fn nothing_of(
        &self,
        version: Version,
        stores: &SqliteStores,
        folder: &TempDir,
        recorder: &Recorder,
    ) -> Result<(), Anomaly> {
        let promise = Promise { begun: version.saturating_sub(1), ..recorder.promise() };
        Image { folder: folder.path(), history: &self.story.history, promise }
            .compare_open(stores)
            .map(|_| ())
    }
}

/// Once it has been fatal, it is fatal for everybody.
fn still_fatal(stores: &mut SqliteStores) -> Result<Came, Anomaly> {
    let appended = stores.log.append(UnixMillis(1), Vec::new()).map(|_| ());
    let read = stores.reader.room(RoomId(1)).map(|_| ());
    for answer in [appended, read] {
        let fatal = matches!(answer, Err(StoreError::Fatal(_)));
        Kind::FaultHidden.unless(fatal, || format!("after a failed sync the store answers {answer:?}"))?;
    }
    Ok(Came::Fatal)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Hands a change to the store; what it answers must be what the stores in memory answered.
///
/// # Errors
/// An answer that is another one. Inside: that the store failed.
pub fn ask(stores: &mut SqliteStores, change: &Change) -> Result<Result<(), StoreError>, Anomaly> {
    match change {
        Change::Log(now, drafts, answers) => match stores.log.append(*now, drafts.clone()) {
            Err(error) => Ok(Err(error)),
            Ok(outcomes) => {
                let found: Vec<Answer> = outcomes.iter().map(Answer::of).collect();
                Kind::Disagrees
                    .unless(found == *answers, || format!("answered {found:?}, expected {answers:?}"))?;
                Ok(Ok(()))
            }
        },
        Change::Directory(change, answer) => match change.apply(&*stores.directory) {
            Err(error) => Ok(Err(error)),
            Ok(found) => {
                Kind::Disagrees
                    .unless(found == *answer, || format!("{change:?} answered {found}, expected {answer}"))?;
                Ok(Ok(()))
            }
        },
    }
}

/// The disk at the end of a tape.
pub fn all_written(tape: &Tape) -> Disk {
    let mut disk = Disk::new(Syncs::Full);
    for op in &tape.ops {
        disk.take(op, tape);
    }
    disk
}

/// A thread that reads the newest events while they are written, and marks what it was shown.
struct Watcher {
    expected: Arc<Mutex<Vec<(RoomId, Seq, Version)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    fn start(reader: Arc<SqliteReader>, recorder: Arc<Recorder>) -> Watcher {
        let expected = Arc::<Mutex<Vec<(RoomId, Seq, Version)>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let watch = {
            let (expected, stop) = (expected.clone(), stop.clone());
            move || {
                let mut newest = 0;
                while !stop.load(Ordering::Relaxed) {
                    for room in (1..=ROOMS_MAX).map(RoomId) {
                        let Some(seq) = newest_seq(&reader, room) else { continue };
                        let expected = locked(&expected);
                        let version =
                            expected.iter().rev().find(|it| (it.0, it.1) == (room, seq)).map(|it| it.2);
                        if let Some(version) = version.filter(|version| *version > newest) {
                            newest = version;
                            recorder.mark(Mark::Shown(version));
                        }
                    }
                    std::thread::yield_now();
                }
            }
        };
        Watcher { expected, stop, thread: Some(std::thread::spawn(watch)) }
    }

    /// Tells the watcher which version the events are of that may appear now.
    fn expect(&self, history: &History, version: Version) {
        let events = history.events.iter().rev().take_while(|event| event.version == version);
        locked(&self.expected).extend(events.map(|event| (event.room, event.seq, version)));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn newest_seq(reader: &SqliteReader, room: RoomId) -> Option<Seq> {
    let budget = Budget { events: 1, bytes: usize::MAX };
    reader.read(room, Span::Before(Seq(u64::MAX)), budget).ok()?.last().map(|stored| stored.seq())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

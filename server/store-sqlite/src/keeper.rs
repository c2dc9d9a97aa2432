//! Keeping house behind the log: indexing and checkpoints, on a thread so that no acknowledgement waits for it, or
//! in place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use hark_protocol::{Epoch, UnixMillis};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::database::checkpoint;
use crate::error::Fault;
use crate::index::{Indexer, Shared};
use crate::lineage::last_position;
use crate::mark::{Mark, State};

/// Who indexes and checkpoints what the writer leaves behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Housekeeping {
    /// A thread of the store's own; what is left when the store is dropped is done then.
    #[default]
    Thread,
    /// The append that leaves so much that it is due, in place. Nothing is done when the store is dropped: the next
    /// start catches up, as it does after a crash. For those who may have no threads, such as a simulation in which a
    /// run has to be one sequence of events.
    Inline,
}

/// The handle: rings for work, and joins the thread when it is dropped.
#[derive(Debug)]
pub(crate) enum Keeper {
    Thread {
        bell: Arc<Bell>,
        thread: Option<JoinHandle<()>>,
    },
    /// The house, and when the log's mark was written last.
    Inline {
        house: House,
        noted: Option<UnixMillis>,
    },
}

/// What there is to do. Ringing again for what waits already changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chores {
    pub(crate) index: bool,
    pub(crate) checkpoint: bool,
    /// Note how far the log has come.
    pub(crate) note: bool,
    /// End, after the rest.
    pub(crate) stop: bool,
}

impl Chores {
    /// Nothing.
    pub(crate) const NONE: Chores = Chores { index: false, checkpoint: false, note: false, stop: false };

    /// Whether there is anything to do.
    pub(crate) fn any(self) -> bool {
        self.index || self.checkpoint || self.note || self.stop
    }
}

#[derive(Debug, Default)]
pub(crate) struct Bell {
    chores: Mutex<Chores>,
    rung: Condvar,
}

/// What keeping house works with.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) shared: Arc<Shared>,
    pub(crate) indexer: Arc<Mutex<Indexer>>,
    pub(crate) checkpointer: Arc<Mutex<Connection>>,
    pub(crate) marker: Arc<Mutex<Marker>>,
}

const FAILED: &str = "the log can not be indexed, checkpointed or marked; it is tried again";

/// How long the end waits for readers that are still at work.
const LAST_READERS: Duration = Duration::from_secs(1);

/// Leaves nothing in the write-ahead log. Readers close after the writer, and can not do it: a log file that somebody
/// puts in the place of this one would be mixed with what is left there.
fn empty_wal(log: &Connection) -> rusqlite::Result<()> {
    log.busy_timeout(LAST_READERS)?;
    checkpoint(log, "TRUNCATE").map(drop)
}

/// As long as the log goes on, its mark is so old at most; what is behind the mark can be taken away unnoticed. A mark
/// costs syncs of its own, which no acknowledgement waits for.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// Writes the log's mark.
#[derive(Debug)]
pub(crate) struct Marker {
    folder: PathBuf,
    /// What is said next; its position is the one that was said last.
    mark: Mark,
}

impl Marker {
    /// A marker of the log; `at_work` is what it says until the end.
    pub(crate) fn new(folder: &Path, log: String, epoch: Epoch, at_work: State) -> Marker {
        Marker { folder: folder.into(), mark: Mark { log, position: -1, epoch, state: at_work, doubt: None } }
    }

    /// Writes how far `log` has come, if that is news.
    pub(crate) fn note(&mut self, log: &Connection) -> Result<(), Fault> {
        let position = last_position(log)?;
        if position == self.mark.position { Ok(()) } else { self.write(position) }
    }

    /// Writes how far `log` has come at the end.
    fn note_end(&mut self, log: &Connection) -> Result<(), Fault> {
        self.mark.state = State::Stopped;
        self.write(last_position(log)?)
    }

    fn write(&mut self, position: i64) -> Result<(), Fault> {
        let mark = Mark { position, ..self.mark.clone() };
        mark.write(&self.folder).map_err(|error| Fault::Mark(error.to_string()))?;
        self.mark = mark;
        Ok(())
    }
}

impl Keeper {
    /// A keeper without a thread, which works whenever it is rung for.
    pub(crate) fn inline(house: House) -> Keeper {
        Keeper::Inline { house, noted: None }
    }

    pub(crate) fn start(house: House) -> io::Result<Keeper> {
        let bell = Arc::<Bell>::default();
        let work = {
            let bell = bell.clone();
            move || house.keep(&bell)
        };
        let thread = Builder::new().name("hark-keeper".into()).spawn(work)?;
        Ok(Keeper::Thread { bell, thread: Some(thread) })
    }

    /// Whether it has to be rung for a mark at `now`; a thread has a clock of its own.
    pub(crate) fn owes_mark(&mut self, now: UnixMillis) -> bool {
        let Keeper::Inline { noted, .. } = self else { return false };
        // A clock that goes back is a reason like any other.
        let is_due = noted.is_none_or(|noted| u128::from(now.0.abs_diff(noted.0)) >= MARK_EVERY.as_millis());
        if is_due {
            *noted = Some(now);
        }
        is_due
    }

    /// Rings for these chores.
    pub(crate) fn ring(&self, chores: Chores) {
        match self {
            Keeper::Thread { bell, .. } => bell.ring(chores),
            Keeper::Inline { house, .. } => {
                if let Err(fault) = house.work(chores) {
                    let error = house.shared.health.judge(fault);
                    tracing::error!(%error, "{FAILED}");
                }
            }
        }
    }
}

impl Bell {
    fn ring(&self, more: Chores) {
        let mut chores = self.chores.lock();
        chores.index |= more.index;
        chores.checkpoint |= more.checkpoint;
        chores.note |= more.note;
        chores.stop |= more.stop;
        self.rung.notify_one();
    }

    /// What there is to do by `deadline`, when a mark is due.
    fn wait(&self, deadline: Instant) -> Chores {
        let mut chores = self.chores.lock();
        while !chores.any() {
            if self.rung.wait_until(&mut chores, deadline).timed_out() {
                chores.note = true;
            }
        }
        std::mem::take(&mut chores)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let Keeper::Thread { bell, thread } = self else { return };
        // What is not indexed yet is, so that the next start has nothing to catch up with.
        bell.ring(Chores { index: true, checkpoint: true, note: true, stop: true });
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread had panicked");
        }
    }
}

impl House {
    fn keep(self, bell: &Bell) {
        let mut failing = false;
        let mut noted = Instant::now();
        loop {
            let mut chores = bell.wait(noted + MARK_EVERY);
            chores.note |= noted.elapsed() >= MARK_EVERY;
            if chores.note {
                noted = Instant::now();
            }
            let done = self.work(chores).map_err(|fault| self.shared.health.judge(fault));
            match &done {
                Err(error) if !failing => {
                    tracing::error!(%error, "{FAILED}");
                }
                Ok(()) if failing => tracing::info!("the log is indexed and checkpointed again"),
                _ => {}
            }
            failing = done.is_err();
            if chores.stop {
                return;
            }
        }
    }

    fn work(&self, chores: Chores) -> Result<(), Fault> {
        if self.shared.health.check().is_err() {
            return Ok(());
        }
        if chores.index {
            let mut indexer = self.indexer.lock();
            indexer.catch_up(&self.shared)?;
            indexer.trim(&self.shared)?;
        }
        let log = self.checkpointer.lock();
        if chores.stop {
            empty_wal(&log)?;
            return self.marker.lock().note_end(&log);
        }
        if chores.checkpoint {
            checkpoint(&log, "PASSIVE")?;
        }
        if chores.note { self.marker.lock().note(&log) } else { Ok(()) }
    }
}

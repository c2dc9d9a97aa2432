//! The driver's outbox on a disk: publishes wait here until they are durable, and only then reach the session.
//!
//! While the disk is busy every other order waits behind them, so that the order of calls is kept. What comes
//! meanwhile is written at once: batches form by themselves.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;

use hark_protocol::{Frame, Publish};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::warn;

use crate::handle::{Order, PublishOrder};
use crate::outbox::Writing;
use crate::outbox::disk::Disk;
use crate::session::{Failure, Token};

/// See the [module](self).
pub(super) struct Keeper {
    /// `None` while it is being written to.
    disk: Option<Disk>,
    writing: Writing,
    work: Option<JoinHandle<(Disk, io::Result<Vec<u64>>)>>,
    /// What is being written.
    batch: Vec<PublishOrder>,
    /// What waits behind it. Bounded by the permits of the orders.
    queue: VecDeque<Order>,
    /// Entries with a verdict, of which the disk does not know yet.
    settled: Vec<u64>,
    /// Those of them that are being written.
    settling: Vec<u64>,
    /// Those of them that could not be written; they go with the next publish, or not at all.
    owed: Vec<u64>,
    entries: HashMap<Token, u64>,
    /// Answers that may be told only when the disk knows them: whoever hears no must not be proved wrong by the next
    /// process, which would send again what it finds.
    noes: Vec<(Token, Answer)>,
    /// Those of them that are being written.
    writing_noes: Vec<(Token, Answer)>,
}

/// The answer to a request.
type Answer = Result<Frame, Failure>;

/// What the keeper has for the driver.
pub(super) enum Kept {
    /// An order whose turn it is.
    Order(Order),
    /// A publish that is on the disk, under this number.
    Stored(PublishOrder, u64),
    /// A publish that could not be written.
    Failed(PublishOrder, String),
    /// An answer that the disk knows now.
    Answer(Token, Answer),
}

impl Keeper {
    pub(super) fn new(disk: Disk, writing: Writing) -> Keeper {
        Keeper {
            disk: Some(disk),
            writing,
            work: None,
            batch: Vec::new(),
            queue: VecDeque::new(),
            settled: Vec::new(),
            settling: Vec::new(),
            owed: Vec::new(),
            entries: HashMap::new(),
            noes: Vec::new(),
            writing_noes: Vec::new(),
        }
    }

    /// What is on the disk, in order.
    pub(super) fn found(&self) -> Vec<(u64, Publish)> {
        let live = self.disk.as_ref().map(Disk::live);
        live.into_iter().flatten().map(|(entry, publish)| (*entry, publish.clone())).collect()
    }

    /// Notes what the session calls an entry.
    pub(super) fn note(&mut self, token: Token, entry: u64) {
        self.entries.insert(token, entry);
    }

    /// An entry has a verdict, or was given up. Gives the answer back if it may be told at once: that something is
    /// stored stays true, whatever the disk knows of it.
    pub(super) fn settle(&mut self, token: Token, answer: Answer) -> Option<Answer> {
        let Some(entry) = self.entries.remove(&token) else { return Some(answer) };
        self.settled.push(entry);
        if answer.is_ok() {
            return Some(answer);
        }
        self.tell_written(token, answer);
        None
    }

    /// Tells an answer when everything that was settled before it is on the disk.
    pub(super) fn tell_written(&mut self, token: Token, answer: Answer) {
        self.noes.push((token, answer));
    }

    /// The entry stays on the disk, and this process is done with it.
    pub(super) fn leave(&mut self, token: Token) {
        self.entries.remove(&token);
    }

    /// Takes an order in, behind those before it.
    pub(super) fn push(&mut self, order: Order) {
        self.queue.push_back(order);
    }

    /// What can be done now without waiting for the disk. Begins a write when there is something to be written.
    pub(super) fn next(&mut self, out: &mut Vec<Kept>) {
        while self.work.is_none() {
            self.gather(out);
            // Settled entries cost a write of their own only when it is the last, or when they have become many: sent
            // again after a crash they are answered as duplicates.
            let is_idle = self.entries.is_empty() && !self.settled.is_empty();
            let is_light = self.noes.is_empty() && self.settled.len() < SETTLED_MAX;
            if self.batch.is_empty() && !is_idle && is_light {
                return;
            }
            self.begin(out);
        }
    }

    /// Hands out the orders at the front that need no disk, and takes the publishes behind them for the next write.
    fn gather(&mut self, out: &mut Vec<Kept>) {
        let mut bytes = 0;
        while let Some(order) = self.queue.pop_front() {
            match order {
                Order::Publish(order) if bytes < BATCH_BYTES => {
                    bytes += order.publish.body.len();
                    self.batch.push(order);
                }
                order if self.batch.is_empty() => out.push(Kept::Order(order)),
                order => return self.queue.push_front(order),
            }
        }
    }

    fn begin(&mut self, out: &mut Vec<Kept>) {
        if !self.batch.is_empty() {
            self.settled.append(&mut self.owed);
        }
        self.settling = std::mem::take(&mut self.settled);
        self.writing_noes = std::mem::take(&mut self.noes);
        let Some(mut disk) = self.disk.take() else {
            return self.finish(Err(io::Error::other("the thread that wrote it has died")), out);
        };
        let settled = self.settling.clone();
        let puts: Vec<Publish> = self.batch.iter().map(|order| order.publish.clone()).collect();
        let write = move || {
            let written = disk.write(&settled, &puts);
            (disk, written)
        };
        match self.writing {
            Writing::Background => self.work = Some(spawn_blocking(write)),
            Writing::Inline => {
                let (disk, written) = write();
                self.disk = Some(disk);
                self.finish(written, out);
            }
        }
    }

    /// Waits for the write that was begun; for ever, if there is none. Cancel-safe: the write goes on, and is still
    /// waited for the next time.
    pub(super) async fn written(&mut self) -> io::Result<Vec<u64>> {
        let Some(work) = &mut self.work else { return pending().await };
        let done = work.await;
        self.work = None;
        match done {
            Ok((disk, written)) => {
                self.disk = Some(disk);
                written
            }
            // The disk is gone with the thread: every write from now on fails.
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Hands out what was written, or was not.
    pub(super) fn finish(&mut self, written: io::Result<Vec<u64>>, out: &mut Vec<Kept>) {
        let batch = std::mem::take(&mut self.batch);
        out.extend(self.writing_noes.drain(..).map(|(token, answer)| Kept::Answer(token, answer)));
        match written {
            Ok(entries) => {
                out.extend(batch.into_iter().zip(entries).map(|(order, entry)| Kept::Stored(order, entry)));
            }
            Err(error) => {
                warn!(%error, "the outbox could not be written");
                self.owed.append(&mut self.settling);
                out.extend(batch.into_iter().map(|order| Kept::Failed(order, error.to_string())));
            }
        }
    }

    /// Writes what is left to be written, for good, and hands out the rest.
    pub(super) async fn close(mut self) -> Vec<Kept> {
        let mut left = Vec::new();
        if self.work.is_some() {
            let written = self.written().await;
            self.finish(written, &mut left);
        }
        left.extend(self.queue.drain(..).map(Kept::Order));
        left.extend(self.noes.drain(..).map(|(token, answer)| Kept::Answer(token, answer)));
        let mut settled = std::mem::take(&mut self.settled);
        settled.append(&mut self.owed);
        if let Some(mut disk) = self.disk.take().filter(|_| !settled.is_empty()) {
            let mut write = move || drop(disk.write(&settled, &[]));
            match self.writing {
                // What fails here is sent once more by the next process, and answered as a duplicate.
                Writing::Background => drop(spawn_blocking(write).await),
                Writing::Inline => write(),
            }
        }
        left
    }
}

/// Bytes of bodies in one write.
const BATCH_BYTES: usize = 4 << 20;

/// Settled entries that may wait for a write.
const SETTLED_MAX: usize = 256;

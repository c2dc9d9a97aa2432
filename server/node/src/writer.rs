//! The writer: the one thread through which everything goes that becomes an event.
//!
//! It takes whatever waits, has each room judge what is asked of it, gives the whole group to the log in one
//! transaction, and when that is on the disk tells the rooms, their followers and the askers, in this order.
//! Batches form by themselves: while one is being synced the next one gathers.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hark_core::Limits;
use hark_core::Refusal;
use hark_core::ports::{
    Appended, Author, Change, Draft, LogReader, LogStore, NewRoom, Outcome, Proposal, RequestHash,
    StoreError, Target,
};
use hark_core::room::Ask;
use hark_protocol::{ClientId, Correlation, Kind, RoomId, Seq};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::link::{Answer, Link, Order};
use crate::metrics::Metrics;
use crate::room_entry::RoomEntry;
use crate::tails::TailBudget;

/// Drafts in one transaction: enough to share a sync among everybody who waits, few enough that the first
/// of them does not wait long.
const BATCH_DRAFTS_MAX: usize = 1_024;

/// Bytes of bodies in one transaction.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Requests that may wait; when there are more, connections read less.
const QUEUE_JOBS_MAX: usize = 16 * 1_024;

/// Bytes of bodies that may wait.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request that is to become an event, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) link: Arc<Link>,
    pub(crate) correlation: Correlation,
    pub(crate) author: Author,
    pub(crate) client_id: ClientId,
    pub(crate) request: RequestHash,
    pub(crate) goal: Goal,
}

/// What a job wants.
#[derive(Debug)]
pub(crate) enum Goal {
    /// Something of a room that is there.
    Room(Arc<RoomEntry>, Ask),
    /// A room, or why it is refused if it is not there yet.
    Create(NewRoom, Result<(), Refusal>),
}

impl Job {
    fn bytes(&self) -> usize {
        match &self.goal {
            Goal::Room(_, Ask::Publish { body, .. }) => body.len(),
            _ => 0,
        }
    }

    fn room(&self) -> Option<RoomId> {
        match &self.goal {
            Goal::Room(entry, _) => Some(entry.id()),
            Goal::Create(..) => None,
        }
    }

    fn is_control(&self) -> bool {
        matches!(&self.goal, Goal::Room(_, ask) if ask.is_control())
    }
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Connections that hold a job back until there is room.
    waiting: Vec<Arc<Link>>,
    is_closed: bool,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.jobs.len() >= QUEUE_JOBS_MAX || self.bytes >= QUEUE_BYTES_MAX
    }

    fn push_back(&mut self, job: Job) {
        self.bytes += job.bytes();
        self.jobs.push_back(job);
    }

    /// Takes the next batch, in order of arrival. A room gives no more to it behind a change of its own,
    /// because what follows has to be judged by what that change makes of the room.
    fn take_batch(&mut self) -> Vec<Job> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut changing: HashSet<RoomId> = HashSet::new();
        let mut left: VecDeque<Job> = VecDeque::new();
        while batch.len() < BATCH_DRAFTS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(job) = self.jobs.pop_front() else { break };
            match job.room() {
                Some(room) if changing.contains(&room) => {
                    left.push_back(job);
                    continue;
                }
                Some(room) if job.is_control() => {
                    changing.insert(room);
                }
                _ => {}
            }
            bytes += job.bytes();
            batch.push(job);
        }
        self.bytes -= bytes;
        while let Some(job) = left.pop_back() {
            self.jobs.push_front(job);
        }
        batch
    }

    fn put_back(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.bytes += job.bytes();
            self.jobs.push_front(job);
        }
    }
}

/// What the writer works with.
pub(crate) struct WriterParts {
    pub(crate) log: Box<dyn LogStore>,
    pub(crate) reader: Arc<dyn LogReader>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tails: Arc<TailBudget>,
}

/// The handle by which connections reach the writer.
pub(crate) struct Writer {
    queue: Mutex<Queue>,
    news: Condvar,
    failed: watch::Sender<Option<String>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.queue.lock().jobs.len()).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new() -> Writer {
        let (failed, _) = watch::channel(None);
        Writer { queue: Mutex::default(), news: Condvar::new(), failed }
    }

    /// Hands a job over, or hands it back when too much waits; the job's connection is told when there is
    /// room again.
    pub(crate) fn submit(&self, job: Job) -> Option<Job> {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            drop(queue);
            job.link.answer(Answer::Refused(job.correlation, Refusal::Unavailable));
            return None;
        }
        if queue.is_full() {
            queue.waiting.push(Arc::clone(&job.link));
            return Some(job);
        }
        queue.push_back(job);
        drop(queue);
        self.news.notify_one();
        None
    }

    /// Nothing more is taken; what waits is still written, and then [`Writer::run`] returns.
    pub(crate) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.news.notify_one();
    }

    /// Nothing can be stored any more: what waits and what comes is refused.
    pub(crate) fn fail(&self, why: String) {
        self.failed.send_replace(Some(why));
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        queue.bytes = 0;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        for job in jobs {
            job.link.answer(Answer::Refused(job.correlation, Refusal::Unavailable));
        }
    }

    /// Why the store can not be trusted any more, once it can not.
    pub(crate) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Writes until the writer is closed and nothing waits. Blocks; belongs on a thread of its own.
    pub(crate) fn run(&self, mut parts: WriterParts) {
        while let Some(batch) = self.wait_for_batch() {
            let again = parts.write(batch, &self.failed);
            if !again.is_empty() {
                self.queue.lock().put_back(again);
            }
        }
    }

    fn wait_for_batch(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() {
            if queue.is_closed {
                return None;
            }
            self.news.wait(&mut queue);
        }
        let batch = queue.take_batch();
        let woken = if queue.is_full() { Vec::new() } else { std::mem::take(&mut queue.waiting) };
        drop(queue);
        woken.into_iter().for_each(|link| link.order(Order::WriterHasRoom));
        Some(batch)
    }
}

impl WriterParts {
    /// Writes one batch, and returns the jobs that have to be judged again.
    fn write(&mut self, batch: Vec<Job>, failed: &watch::Sender<Option<String>>) -> Vec<Job> {
        let drafts = batch.iter().map(|job| self.judge(job)).collect();
        let started = Instant::now();
        match self.log.append(self.clock.now(), drafts) {
            Ok(outcomes) => self.tell(batch, outcomes, started),
            Err(error) => {
                self.metrics.commit_failed();
                tracing::error!(%error, requests = batch.len(), "nothing of a batch was stored");
                if let StoreError::Fatal(why) = error {
                    failed.send_replace(Some(why));
                }
                for job in batch {
                    job.link.answer(Answer::Refused(job.correlation, Refusal::Unavailable));
                }
                Vec::new()
            }
        }
    }

    fn judge(&self, job: &Job) -> Draft {
        let (target, proposal, judged_at) = match &job.goal {
            Goal::Create(room, verdict) => {
                let proposal = verdict.clone().map_or_else(Proposal::Refuse, |()| joins());
                (Target::Create(room.clone()), proposal, Seq::ZERO)
            }
            Goal::Room(entry, ask) => entry.look(|room| {
                (Target::Room(entry.id()), room.judge(&job.author, ask, &self.limits), room.judged_at())
            }),
        };
        let (author, client_id, request) = (job.author.clone(), job.client_id, job.request);
        Draft { target, author, client_id, request, proposal, judged_at }
    }

    /// Tells what came of a batch: first the rooms and their followers, then the askers, so that who has the
    /// answer can have the event.
    fn tell(&self, batch: Vec<Job>, outcomes: Vec<Outcome>, started: Instant) -> Vec<Job> {
        let events: usize = outcomes.iter().map(appended_in).sum();
        if events > 0 {
            self.metrics.committed(events, started.elapsed());
        }
        self.apply(&batch, &outcomes);
        let mut again = Vec::new();
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Stale => {
                    self.refresh(&job);
                    again.push(job);
                }
                outcome => job.link.answer(Answer::Decided(job.correlation, outcome)),
            }
        }
        again
    }

    /// Applies each room's events together, so that a follower is told once for all of them.
    fn apply(&self, batch: &[Job], outcomes: &[Outcome]) {
        let mut by_room: Vec<(&Arc<RoomEntry>, Vec<Appended>)> = Vec::new();
        let mut places: std::collections::HashMap<RoomId, usize> = std::collections::HashMap::new();
        for (job, outcome) in batch.iter().zip(outcomes) {
            if let (Goal::Room(entry, _), Outcome::Appended(events)) = (&job.goal, outcome) {
                let place = *places.entry(entry.id()).or_insert_with(|| {
                    by_room.push((entry, Vec::new()));
                    by_room.len() - 1
                });
                by_room[place].1.extend(events.iter().cloned());
            }
        }
        for (entry, events) in by_room {
            self.tails.note(entry.apply(&events, self.tails.bytes_per_room()));
        }
    }

    /// Another server wrote to the room: takes over what the store has of it.
    fn refresh(&self, job: &Job) {
        let Goal::Room(entry, _) = &job.goal else { return };
        match self.reader.room(entry.id()) {
            Ok(Some(record)) => entry.change(|room| room.refresh(record)),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, room = %entry.id(), "a room could not be read again"),
        }
    }
}

/// The proposal of a draft that makes a room: its join events, which the store makes from the members.
fn joins() -> Proposal {
    Proposal::Append { kind: Kind::JOIN, body: Bytes::new(), change: Change::None }
}

fn appended_in(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Appended(events) => events.len(),
        _ => 0,
    }
}

//! The writer: the way to the one thread, or task, through which everything goes that becomes an event.
//!
//! Jobs wait here in the order in which connections hand them over. The writer takes whatever waits; while it
//! waits for the disk the next jobs gather, so that batches form by themselves.

use std::collections::VecDeque;
use std::sync::Arc;

use hark_core::Refusal;
use hark_core::pipeline::Place;
use hark_core::ports::{Author, NewRoom, RequestHash};
use hark_core::room::Ask;
use hark_protocol::{ClientId, Correlation, RoomId};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, watch};

use crate::executor::{Call, Pace, pause};
use crate::link::{Answer, Decision, Link, Order};
use crate::room_entry::RoomEntry;
use crate::scribe::{Scribe, Written};

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
    /// Its part in the order of its connection's publishes, if it is one.
    pub(crate) publish: Option<InOrder>,
}

/// A publish as its connection's pipeline knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InOrder {
    pub(crate) room: RoomId,
    /// Whether it gives up what was refused before it.
    pub(crate) abandons: bool,
    /// Where it stands, once it has entered.
    pub(crate) place: Option<Place>,
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
    /// Bytes of the body that it brings.
    pub(crate) fn bytes(&self) -> usize {
        match &self.goal {
            Goal::Room(_, Ask::Publish { body, .. }) => body.len(),
            _ => 0,
        }
    }

    /// Tells the asker what came of it.
    pub(crate) fn answer(self, decision: Decision) {
        self.link.answer(Answer::Decided(self.correlation, decision));
    }

    /// Tells the asker that nothing came of it, or of those before it.
    pub(crate) fn refuse(mut self, refusal: Refusal) {
        let refusal = self.refused(refusal);
        self.answer(Decision::Refused(refusal));
    }

    /// Where it stands among its connection's publishes; what is none stands nowhere behind another. It enters
    /// once, however often it is judged, but one before it may have been refused since.
    pub(crate) fn place(&mut self) -> Place {
        let Some(publish) = &mut self.publish else { return Place::Free };
        let mut pipeline = self.link.pipeline.lock();
        let place = match publish.place {
            None => pipeline.enter(publish.room, self.client_id, publish.abandons),
            Some(Place::Free) if !publish.abandons => pipeline.place(publish.room, self.client_id),
            Some(place) => place,
        };
        publish.place = Some(place);
        place
    }

    /// Takes note of a refusal, and says what the asker is told.
    pub(crate) fn refused(&mut self, refusal: Refusal) -> Refusal {
        let (place, Some(publish)) = (self.place(), &self.publish) else { return refusal };
        if place == Place::Behind {
            return Refusal::PredecessorRefused;
        }
        let mut pipeline = self.link.pipeline.lock();
        let told = pipeline.refused(publish.room, self.client_id, refusal);
        let is_overdue = pipeline.is_overdue();
        drop(pipeline);
        if is_overdue {
            self.link.order(Order::TooMuchRefused);
        }
        told
    }
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Connections that hold a job back until there is room, first come first served.
    waiting: VecDeque<Arc<Link>>,
    /// Whether it is time to look after what rooms keep.
    tends: bool,
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

    fn take(&mut self, count: usize) -> Vec<Job> {
        let taken: Vec<Job> = self.jobs.drain(..count.min(self.jobs.len())).collect();
        self.bytes -= taken.iter().map(Job::bytes).sum::<usize>();
        taken
    }

    /// Takes as many of those who wait as there are places.
    fn take_waiting(&mut self) -> Vec<Arc<Link>> {
        let places = if self.is_full() { 0 } else { QUEUE_JOBS_MAX - self.jobs.len() };
        self.waiting.drain(..places.min(self.waiting.len())).collect()
    }
}

/// What the writer does next.
struct Turn {
    jobs: Vec<Job>,
    /// Whether a slice of retention's work follows.
    tends: bool,
}

/// The handle by which connections reach the writer.
pub(crate) struct Writer {
    queue: Mutex<Queue>,
    news: News,
    failed: watch::Sender<Option<String>>,
}

/// How whoever writes is told that there is something to do.
#[derive(Debug, Default)]
struct News {
    /// For a thread.
    rung: Condvar,
    /// For a task.
    told: Notify,
}

impl News {
    fn tell(&self) {
        self.rung.notify_one();
        self.told.notify_one();
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("waiting", &self.queue.lock().jobs.len()).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new() -> Writer {
        let (failed, _) = watch::channel(None);
        Writer { queue: Mutex::default(), news: News::default(), failed }
    }

    /// Hands a job over, or hands it back when too much waits; the job's connection is told when there is
    /// room again.
    pub(crate) fn submit(&self, job: Job) -> Option<Job> {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            drop(queue);
            job.refuse(Refusal::Unavailable);
            return None;
        }
        if queue.is_full() {
            queue.waiting.push_back(Arc::clone(&job.link));
            return Some(job);
        }
        queue.push_back(job);
        drop(queue);
        self.news.tell();
        None
    }

    /// Has retention looked after, in slices between the batches, until there is nothing to be done.
    pub(crate) fn tend(&self) {
        self.queue.lock().tends = true;
        self.news.tell();
    }

    /// Nothing more is taken; what waits is still written, and then [`Writer::run`] returns.
    pub(crate) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.news.tell();
    }

    /// Nothing can be stored any more: what waits and what comes is refused.
    pub(crate) fn fail(&self, why: String) {
        self.failed.send_replace(Some(why));
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        queue.bytes = 0;
        let jobs = std::mem::take(&mut queue.jobs);
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        jobs.into_iter().for_each(|job| job.refuse(Refusal::Unavailable));
        waiting.into_iter().for_each(|link| link.order(Order::WriterHasRoom));
    }

    /// Why the store can not be trusted any more, once it can not.
    pub(crate) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Writes until the writer is closed and nothing waits. Blocks; belongs on a thread of its own.
    pub(crate) fn run(&self, mut scribe: Scribe) {
        while let Some(turn) = self.wait_for_turn(&scribe) {
            if !turn.jobs.is_empty() || scribe.has_backlog() {
                let written = scribe.write(turn.jobs);
                self.announce(&mut scribe, written);
            }
            if turn.tends {
                self.tend_now(&mut scribe);
            }
        }
    }

    /// As [`Writer::run`], in a task: the appends are made in place, with the pauses that `pace` asks for. If the
    /// future is dropped, what is on the disk by then is there, and nobody has been told of it.
    pub(crate) async fn run_inline(&self, mut scribe: Scribe, pace: &dyn Pace) {
        loop {
            // Made before the look, so that what is told in between is not missed.
            let told = self.news.told.notified();
            match self.is_due(&scribe) {
                Some(true) => {}
                Some(false) => {
                    told.await;
                    continue;
                }
                None => return,
            }
            // What comes during the first pause is in the same group.
            pause(pace.before(Call::Append)).await;
            let taken = Writer::take(&mut self.queue.lock(), &scribe);
            let turn = Writer::wake(taken);
            if !turn.jobs.is_empty() || scribe.has_backlog() {
                let written = scribe.write(turn.jobs);
                pause(pace.after(Call::Append)).await;
                self.announce(&mut scribe, written);
            }
            if turn.tends {
                self.tend_now(&mut scribe);
            }
        }
    }

    /// Tells what came of a batch.
    fn announce(&self, scribe: &mut Scribe, written: Written) {
        if let Err(why) = scribe.announce(written) {
            // The next sync may well succeed, and still nobody knows what the disk holds.
            self.fail(why);
            scribe.give_up();
        }
    }

    /// Does a slice of what retention asks for; if there is more, it goes on behind the next batch.
    fn tend_now(&self, scribe: &mut Scribe) {
        match scribe.tend() {
            Ok(more) => self.queue.lock().tends |= more,
            Err(why) => {
                self.fail(why);
                scribe.give_up();
            }
        }
    }

    /// Whether there is something to write; `None` when there is nothing and nothing will come.
    fn is_due(&self, scribe: &Scribe) -> Option<bool> {
        let queue = self.queue.lock();
        let is_due = !queue.jobs.is_empty() || scribe.has_backlog();
        (is_due || !queue.is_closed).then_some(is_due || queue.tends)
    }

    /// What waits, as much of it as the scribe takes; waits for something unless the scribe has something left.
    fn wait_for_turn(&self, scribe: &Scribe) -> Option<Turn> {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() && !scribe.has_backlog() {
            if queue.is_closed {
                return None;
            }
            if queue.tends {
                break;
            }
            self.news.rung.wait(&mut queue);
        }
        let taken = Writer::take(&mut queue, scribe);
        drop(queue);
        Some(Writer::wake(taken))
    }

    /// What waits, as much of it as the scribe takes, and those for whom there is room now.
    fn take(queue: &mut Queue, scribe: &Scribe) -> (Turn, Vec<Arc<Link>>) {
        let turn = Turn { jobs: queue.take(scribe.wants()), tends: std::mem::take(&mut queue.tends) };
        (turn, queue.take_waiting())
    }

    /// Tells those who wait that there is room, which must not be done under the queue's lock.
    fn wake((turn, waiting): (Turn, Vec<Arc<Link>>)) -> Turn {
        waiting.into_iter().for_each(|link| link.order(Order::WriterHasRoom));
        turn
    }
}

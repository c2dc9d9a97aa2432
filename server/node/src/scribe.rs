//! The scribe: what the writer does with the jobs it takes.
//!
//! Each room judges what is asked of it, the whole batch goes to the log in one transaction, and when that is
//! on the disk the rooms are told, then their followers, then the askers.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hark_core::pipeline::Place;
use hark_core::ports::{
    Appended, Author, Change, Draft, LogReader, LogStore, Outcome, Proposal, StoreError, Target,
};
use hark_core::room::{Ask, Room};
use hark_core::{Limits, Refusal};
use hark_protocol::{Kind, RoomId, Seq};

use crate::clock::Clock;
use crate::link::Decision;
use crate::metrics::Metrics;
use crate::retention::Tending;
use crate::room_entry::RoomEntry;
use crate::tails::TailBudget;
use crate::writer::{Goal, Job};

/// Drafts in one transaction: enough to share a sync among everybody who waits, few enough that the first
/// of them does not wait long.
const BATCH_DRAFTS_MAX: usize = 1_024;

/// Bytes of bodies in one transaction.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the writer works with.
pub(crate) struct Scribe {
    pub(crate) log: Box<dyn LogStore>,
    pub(crate) reader: Arc<dyn LogReader>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tails: Arc<TailBudget>,
    pub(crate) tending: Tending,
    /// Jobs that were taken and could not go into a batch yet, in order.
    pub(crate) backlog: VecDeque<Job>,
}

/// A batch that the log has taken or refused, and of which nobody has been told.
pub(crate) struct Written {
    jobs: Vec<Job>,
    started: Instant,
    result: Result<Vec<Outcome>, StoreError>,
}

impl Scribe {
    /// Whether there is something to write even if nothing comes.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// How many more jobs it takes.
    pub(crate) fn wants(&self) -> usize {
        BATCH_DRAFTS_MAX.saturating_sub(self.backlog.len())
    }

    /// Writes one batch of what was left over and what is new. Nobody is told of it yet.
    pub(crate) fn write(&mut self, jobs: Vec<Job>) -> Written {
        self.backlog.extend(jobs);
        let (jobs, drafts) = self.take_batch();
        let started = Instant::now();
        let result = self.log.append(self.clock.now(), drafts);
        Written { jobs, started, result }
    }

    /// Tells what came of a batch.
    ///
    /// # Errors
    /// Why the store can not be trusted any more.
    pub(crate) fn announce(&mut self, written: Written) -> Result<(), String> {
        let Written { jobs, started, result } = written;
        match result {
            Ok(outcomes) => {
                self.tell(jobs, outcomes, started);
                Ok(())
            }
            // One damaged page must not hold up everybody whose request has nothing to do with it.
            Err(StoreError::Damaged(_)) if jobs.len() > 1 => self.write_singly(jobs),
            Err(error @ StoreError::Unavailable(_)) => {
                self.refuse_unknown(jobs, error);
                Ok(())
            }
            Err(error) => self.refuse(jobs, error),
        }
    }

    fn write_singly(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        let mut jobs = VecDeque::from(jobs);
        let mut result = Ok(());
        // What has to be judged again must not be passed by those behind it.
        let left = self.backlog.len();
        while result.is_ok()
            && self.backlog.len() == left
            && let Some(mut job) = jobs.pop_front()
        {
            let started = Instant::now();
            let draft = self.judge(&mut job);
            match self.log.append(self.clock.now(), vec![draft]) {
                Ok(outcomes) => self.tell(vec![job], outcomes, started),
                Err(error) => result = self.refuse(vec![job], error),
            }
        }
        let behind = self.backlog.split_off(self.backlog.len() - left);
        self.backlog.extend(jobs);
        self.backlog.extend(behind);
        result
    }

    /// Does a slice of what retention asks for, and says whether there is more to be done at once.
    ///
    /// # Errors
    /// Why the store can not be trusted any more.
    pub(crate) fn tend(&mut self) -> Result<bool, String> {
        self.tending.slice(&mut *self.log, self.clock.now(), &self.metrics, &self.tails)
    }

    /// Refuses what was taken and is not written.
    pub(crate) fn give_up(&mut self) {
        let left = std::mem::take(&mut self.backlog);
        left.into_iter().for_each(|job| job.refuse(Refusal::Unavailable));
    }

    /// Nothing of these was stored now. But an author who repeats what was stored earlier gets its place: to them a
    /// refusal would say that it is not there. Looking identities up writes nothing, so a full disk allows it.
    fn refuse_unknown(&mut self, mut jobs: Vec<Job>, error: StoreError) {
        let refused = |job: &mut Job| {
            let draft = self.judge(job);
            match draft.proposal {
                Proposal::Holds(_) => draft,
                _ => Draft { proposal: Proposal::Refuse(Refusal::Unavailable), ..draft },
            }
        };
        let drafts = jobs.iter_mut().map(refused).collect();
        match self.log.append(self.clock.now(), drafts) {
            Ok(outcomes) => {
                self.metrics.commit_failed();
                tracing::error!(%error, requests = jobs.len(), "nothing of a batch was stored");
                self.tell(jobs, outcomes, Instant::now());
            }
            Err(_) => drop(self.refuse(jobs, error)),
        }
    }

    /// Nothing of these was stored; or, if the sync failed, nobody knows.
    fn refuse(&self, jobs: Vec<Job>, error: StoreError) -> Result<(), String> {
        self.metrics.commit_failed();
        tracing::error!(%error, requests = jobs.len(), "nothing of a batch was stored");
        let (refusal, result) = match error {
            StoreError::Fatal(why) => (Refusal::Internal, Err(why)),
            StoreError::Damaged(_) => (Refusal::Internal, Ok(())),
            StoreError::Unavailable(_) => (Refusal::Unavailable, Ok(())),
        };
        for mut job in jobs {
            // Of several of one pipeline the first is refused, and the others wait for it; but where nobody knows
            // what is stored, none is said to have waited.
            let told = job.refused(refusal.clone());
            let told = if result.is_err() { refusal.clone() } else { told };
            job.answer(Decision::Refused(told));
        }
        result
    }

    /// Judges what waits, in order, until a batch is full. Behind a change of its own a room gives no more to
    /// the batch, because what follows has to be judged by what that change makes of the room; and behind a
    /// publish that is refused for now its pipeline gives no more, because only the store knows whether it is a
    /// retry of what is stored.
    fn take_batch(&mut self) -> (Vec<Job>, Vec<Draft>) {
        let (mut jobs, mut drafts, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut changing: HashSet<RoomId> = HashSet::new();
        let mut unsettled: HashSet<(usize, RoomId)> = HashSet::new();
        let mut left = VecDeque::new();
        while jobs.len() < BATCH_DRAFTS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(mut job) = self.backlog.pop_front() else { break };
            let pipeline = Arc::as_ptr(&job.link) as usize;
            if let Goal::Room(entry, _) = &job.goal
                && (changing.contains(&entry.id()) || unsettled.contains(&(pipeline, entry.id())))
            {
                left.push_back(job);
                continue;
            }
            let draft = self.judge(&mut job);
            if let Target::Room(room) = draft.target {
                if is_change(&draft.proposal) {
                    changing.insert(room);
                } else if job.publish.is_some() && may_come_again(&draft.proposal) {
                    unsettled.insert((pipeline, room));
                }
            }
            bytes += job.bytes();
            jobs.push(job);
            drafts.push(draft);
        }
        left.append(&mut self.backlog);
        self.backlog = left;
        (jobs, drafts)
    }

    fn judge(&self, job: &mut Job) -> Draft {
        let place = job.place();
        let (target, proposal, judged_at) = match &job.goal {
            Goal::Create(room, verdict) => {
                let proposal = verdict.clone().map_or_else(Proposal::Refuse, |()| joins());
                (Target::Create(room.clone()), proposal, Seq::ZERO)
            }
            Goal::Room(entry, ask) => entry.look(|room| {
                let proposal = match (place, &job.publish) {
                    (Place::Behind, _) => Proposal::Refuse(Refusal::PredecessorRefused),
                    (Place::Free, None) => room.judge(&job.author, ask, &self.limits),
                    (Place::Free, Some(_)) => judge_publish(room, &job.author, ask, &self.limits),
                };
                (Target::Room(entry.id()), proposal, room.judged_at())
            }),
        };
        let (author, client_id, request) = (job.author.clone(), job.client_id, job.request);
        Draft { target, author, client_id, request, proposal, judged_at }
    }

    /// Tells what came of a batch: first the rooms and their followers, then the askers, so that who has the
    /// answer can have the event. What has to be judged again comes first in the next batch.
    fn tell(&mut self, jobs: Vec<Job>, outcomes: Vec<Outcome>, started: Instant) {
        let mut events = 0;
        // In order, so that the same batch always wakes the same connections in the same order.
        let mut by_room: BTreeMap<RoomId, (Arc<RoomEntry>, Vec<Appended>)> = BTreeMap::new();
        let mut decided = Vec::with_capacity(jobs.len());
        let mut again = VecDeque::new();
        for (mut job, outcome) in jobs.into_iter().zip(outcomes) {
            let decision = match outcome {
                Outcome::Appended(appended) => {
                    events += appended.len();
                    let decision = first_of(&appended);
                    if let Goal::Room(entry, _) = &job.goal {
                        let place =
                            by_room.entry(entry.id()).or_insert_with(|| (Arc::clone(entry), Vec::new()));
                        place.1.extend(appended);
                    }
                    decision
                }
                Outcome::Duplicate(position) => Decision::Duplicate(position),
                Outcome::Conflict => Decision::Refused(Refusal::Conflict),
                Outcome::Refused(refusal) => Decision::Refused(job.refused(refusal)),
                Outcome::Stale => {
                    self.refresh(&job);
                    again.push_back(job);
                    continue;
                }
            };
            decided.push((job, decision));
        }
        if events > 0 {
            self.metrics.committed(events, started.elapsed());
        }
        self.tending.note_stored(events);
        // Each room is told of all its events together, and each follower once for all of them.
        for (entry, appended) in by_room.into_values() {
            self.tails.note(entry.apply(&appended, self.tails.bytes_per_room()));
        }
        decided.into_iter().for_each(|(job, decision)| job.answer(decision));
        again.append(&mut self.backlog);
        self.backlog = again;
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

/// The acknowledgement of what was stored. A room that was made has several events; its author's own is the
/// first.
fn first_of(appended: &[Appended]) -> Decision {
    match appended.first() {
        Some(first) => Decision::Stored(first.position()),
        None => Decision::Refused(Refusal::Internal),
    }
}

/// Judges a publish that comes too fast by whether its author may publish at all: a stranger is not told to come
/// again.
fn judge_publish(room: &Room, author: &Author, ask: &Ask, limits: &Limits) -> Proposal {
    match (ask, room.view(author.account)) {
        (Ask::Refused(_), Err(stranger)) => Proposal::Refuse(stranger),
        _ => room.judge(author, ask, limits),
    }
}

/// Whether it is refused for now.
fn may_come_again(proposal: &Proposal) -> bool {
    matches!(proposal, Proposal::Refuse(refusal)
        if *refusal != Refusal::PredecessorRefused && refusal.code().is_retryable())
}

/// Whether carrying it out changes what the room's later requests are judged by.
fn is_change(proposal: &Proposal) -> bool {
    matches!(proposal, Proposal::Append { change, .. } if change.is_control())
}

/// The proposal of a draft that makes a room: its join events, which the store makes from the members.
fn joins() -> Proposal {
    Proposal::Append { kind: Kind::JOIN, body: Bytes::new(), change: Change::None }
}

#[cfg(test)]
mod tests;

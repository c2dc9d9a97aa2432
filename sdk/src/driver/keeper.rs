//! The driver's outbox on a disk: publishes wait here until they are durable, and only then reach the session.
//!
//! While the disk is busy every other order waits behind them, so that the order of calls is kept. What comes
//! meanwhile is written at once: batches form by themselves.
//!
//! What the application is told must stay true when it dies right then. An entry that is in the log may come up again:
//! sent by the next process, it is answered as a duplicate. Of every other verdict, and of an abandonment, the
//! disk learns first.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::sync::Arc;

use hark_protocol::{Frame, Publish};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::warn;

use crate::handle::{Order, PublishOrder};
use crate::outbox::Writing;
use crate::outbox::disk::{Disk, WriteError};
use crate::session::{Failure, Token};

/// What the session says of a request.
pub(super) type Answer = Result<Frame, Failure>;

/// What a write gives: the numbers of what was put in.
pub(super) type Written = Result<Vec<u64>, WriteError>;

/// See the [module](self).
pub(super) struct Keeper {
    /// `None` while it is being written to.
    disk: Option<Disk>,
    writing: Writing,
    work: Option<JoinHandle<(Disk, Written)>>,
    /// What is being written.
    batch: Vec<PublishOrder>,
    /// What waits behind it. Bounded by the permits of the orders.
    queue: VecDeque<Order>,
    /// Entries with a verdict, of which the disk does not know yet.
    settled: Vec<u64>,
    /// Those of them that are being written.
    settling: Vec<u64>,
    /// Those of them that could not be written; they go with the next publish or verdict, or not at all.
    owed: Vec<u64>,
    entries: HashMap<Token, u64>,
    /// Answers that wait until the disk knows of them.
    held: Vec<(Token, Answer)>,
    /// Those of them that are being written.
    holding: Vec<(Token, Answer)>,
}

/// What the keeper has for the driver.
pub(super) enum Kept {
    /// An order whose turn it is.
    Order(Order),
    /// A publish that is on the disk, under this number.
    Stored(PublishOrder, u64),
    /// A publish that was not taken.
    Failed(PublishOrder, Failure),
    /// An answer that may be told now.
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
            held: Vec::new(),
            holding: Vec::new(),
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

    /// Takes what the session says of a request, and gives back what may be told at once.
    pub(super) fn judge(&mut self, token: Token, answer: Answer) -> Option<Answer> {
        let Some(entry) = self.entries.remove(&token) else { return Some(answer) };
        match answer {
            // The entry stays, and this process is done with it.
            Err(Failure::Kept) => Some(answer),
            Ok(_) => {
                self.settled.push(entry);
                Some(answer)
            }
            Err(_) => {
                self.settled.push(entry);
                self.held.push((token, answer));
                None
            }
        }
    }

    /// Takes what the session says of an abandonment, and gives it back if the disk need not learn of it.
    pub(super) fn judge_abandonment(&mut self, token: Token, answer: Answer) -> Option<Answer> {
        if self.held.is_empty() && self.holding.is_empty() && self.owed.is_empty() {
            return Some(answer);
        }
        self.held.push((token, answer));
        None
    }

    /// Takes an order in, behind those before it.
    pub(super) fn push(&mut self, order: Order) {
        self.queue.push_back(order);
    }

    /// What can be done now without waiting for the disk. Begins a write when there is something to be written.
    /// `refuses` says why a publish would not be taken, if it would not: such a one never gets to the disk.
    pub(super) fn next(&mut self, refuses: impl Fn(&Publish) -> Option<Failure>, out: &mut Vec<Kept>) {
        while self.work.is_none() {
            self.gather(&refuses, out);
            // Entries in the log cost a write of their own only when it is the last, or when they have become many.
            let is_idle = self.entries.is_empty() && !self.settled.is_empty();
            let is_due = is_idle || !self.held.is_empty() || self.settled.len() >= SETTLED_MAX;
            if self.batch.is_empty() && !is_due {
                return;
            }
            self.begin(out);
        }
    }

    /// Hands out the orders at the front that need no disk, and takes the publishes behind them for the next write.
    fn gather(&mut self, refuses: impl Fn(&Publish) -> Option<Failure>, out: &mut Vec<Kept>) {
        let mut bytes = 0;
        while let Some(order) = self.queue.pop_front() {
            match order {
                Order::Publish(order) if bytes < BATCH_BYTES => match refuses(&order.publish) {
                    Some(failure) => out.push(Kept::Failed(order, failure)),
                    None => {
                        bytes += order.publish.body.len();
                        self.batch.push(order);
                    }
                },
                order if self.batch.is_empty() => out.push(Kept::Order(order)),
                order => return self.queue.push_front(order),
            }
        }
    }

    fn begin(&mut self, out: &mut Vec<Kept>) {
        if !self.batch.is_empty() || !self.held.is_empty() {
            self.settled.append(&mut self.owed);
        }
        self.settling = std::mem::take(&mut self.settled);
        self.holding = std::mem::take(&mut self.held);
        let Some(mut disk) = self.disk.take() else {
            let error = io::Error::other("the thread that wrote it has died");
            return self.finish(Err(WriteError::Undone(error)), out);
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
    pub(super) async fn written(&mut self) -> Written {
        let Some(work) = &mut self.work else { return pending().await };
        let done = work.await;
        self.work = None;
        match done {
            Ok((disk, written)) => {
                self.disk = Some(disk);
                written
            }
            // The disk is gone with the thread: every write from now on fails, and this one got who knows how far.
            Err(error) => Err(WriteError::InDoubt(io::Error::other(error))),
        }
    }

    /// Hands out what was written, or was not, and what may be told now.
    pub(super) fn finish(&mut self, written: Written, out: &mut Vec<Kept>) {
        let (batch, held) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.holding));
        match written {
            Ok(entries) => {
                out.extend(held.into_iter().map(|(token, answer)| Kept::Answer(token, answer)));
                out.extend(batch.into_iter().zip(entries).map(|(order, entry)| Kept::Stored(order, entry)));
            }
            Err(error) => {
                warn!(%error, "the outbox could not be written");
                self.owed.append(&mut self.settling);
                let why: Arc<str> = error.to_string().into();
                // What was to be settled is on the disk as before, and the next process may send it.
                let in_doubt = Failure::InDoubt(why.clone());
                out.extend(held.into_iter().map(|(token, _)| Kept::Answer(token, Err(in_doubt.clone()))));
                let failure = match error {
                    WriteError::Undone(_) => Failure::Outbox(why),
                    WriteError::InDoubt(_) => in_doubt,
                };
                out.extend(batch.into_iter().map(|order| Kept::Failed(order, failure.clone())));
            }
        }
    }

    /// Writes what is left to be written, for good, and lets others have the folder. Gives back what was not handed
    /// out; a publish that is stored stays so.
    pub(super) async fn close(mut self) -> Vec<Kept> {
        let mut left = Vec::new();
        if self.work.is_some() {
            let written = self.written().await;
            self.finish(written, &mut left);
        }
        left.extend(self.queue.drain(..).map(Kept::Order));
        self.settled.append(&mut self.owed);
        if !self.settled.is_empty() || !self.held.is_empty() {
            // What fails here and is in the log is sent once more by the next process, and answered as a duplicate.
            self.begin(&mut left);
        }
        if self.work.is_some() {
            let written = self.written().await;
            self.finish(written, &mut left);
        }
        left
    }
}

/// Bytes of bodies in one write.
const BATCH_BYTES: usize = 4 << 20;

/// Settled entries that may wait for a write.
const SETTLED_MAX: usize = 256;

#[cfg(test)]
mod schedule;

#[cfg(test)]
mod tests {
    use hark_protocol::{Blob, ClientId, Kind, RoomId};
    use tokio::sync::oneshot;

    use super::*;
    use crate::error::SendError;
    use crate::handle::Permits;
    use crate::outbox::Damaged;

    fn publish(n: u8) -> Publish {
        Publish {
            room: RoomId(1),
            client_id: ClientId::new([n; 16]).unwrap(),
            kind: Kind::MESSAGE,
            abandon: false,
            body: Blob::new(vec![n]).unwrap(),
        }
    }

    pub(super) fn order(n: u8) -> Order {
        let (reply, queued) = (oneshot::channel().0, oneshot::channel().0);
        let (publish, permits) = (publish(n), Permits::default());
        Order::Publish(PublishOrder { publish, within: None, reply, queued, permits })
    }

    /// A keeper of two entries, called 1 and 2 by the session too, whose disk takes nothing any more.
    fn scratched(dir: &tempfile::TempDir) -> Keeper {
        let mut disk = Disk::open(dir.path(), "chat:4275", "ann", Damaged::Refuse, 1).unwrap();
        let entries = disk.write(&[], &[publish(1), publish(2)]).unwrap();
        disk.scratch();
        let mut keeper = Keeper::new(disk, Writing::Inline);
        for entry in entries {
            keeper.note(Token(entry), entry);
        }
        keeper
    }

    fn next(keeper: &mut Keeper) -> Vec<Kept> {
        let mut out = Vec::new();
        keeper.next(|_| None, &mut out);
        out
    }

    fn answers(out: Vec<Kept>) -> Vec<(Token, Answer)> {
        let answer = |kept| match kept {
            Kept::Answer(token, answer) => (token, answer),
            _ => panic!("an answer"),
        };
        out.into_iter().map(answer).collect()
    }

    #[test]
    fn a_verdict_that_the_disk_can_not_be_told_is_told_as_a_doubt() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = scratched(&dir);
        let done = Ok(Frame::Ok(hark_protocol::Ok {}));
        assert_eq!(keeper.judge(Token(1), Err(Failure::Abandoned)), None);
        assert_eq!(keeper.judge_abandonment(Token(8), done), None);
        let told = answers(next(&mut keeper));
        assert!(
            matches!(&told[..], [(Token(1), Err(Failure::InDoubt(_))), (Token(8), Err(Failure::InDoubt(_)))]),
            "{told:?}"
        );
        // Giving it up again tries again, and does not say that all is well.
        assert_eq!(keeper.judge_abandonment(Token(9), Err(Failure::NotThere)), None);
        let told = answers(next(&mut keeper));
        assert!(matches!(&told[..], [(Token(9), Err(Failure::InDoubt(_)))]), "{told:?}");
    }

    #[test]
    fn a_failure_behind_which_the_next_process_may_send_it_is_not_definite() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = scratched(&dir);
        keeper.push(order(3));
        let out = next(&mut keeper);
        let [Kept::Failed(_, failure)] = &out[..] else { panic!("one failure") };
        assert!(!SendError::from(failure.clone()).kind().is_definite(), "{failure:?}");
    }

    #[tokio::test]
    async fn a_thread_that_died_leaves_a_doubt_and_then_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = scratched(&dir);
        keeper.disk = None;
        keeper.work = Some(spawn_blocking(|| panic!("a test's")));
        let Order::Publish(publish) = order(3) else { panic!("a publish") };
        keeper.batch.push(publish);
        let (written, mut out) = (keeper.written().await, Vec::new());
        keeper.finish(written, &mut out);
        assert!(matches!(&out[..], [Kept::Failed(_, Failure::InDoubt(_))]));
        keeper.push(order(4));
        assert!(matches!(&next(&mut keeper)[..], [Kept::Failed(_, Failure::Outbox(_))]));
    }

    #[test]
    fn what_would_be_refused_never_gets_to_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "chat:4275", "ann", Damaged::Refuse, 1).unwrap();
        let mut keeper = Keeper::new(disk, Writing::Inline);
        keeper.push(order(1));
        keeper.push(order(2));
        let is_first = |publish: &Publish| publish.client_id.as_bytes()[0] == 1;
        let mut out = Vec::new();
        keeper.next(|publish| is_first(publish).then_some(Failure::Offline), &mut out);
        assert!(matches!(&out[..], [Kept::Failed(_, Failure::Offline), Kept::Stored(_, 1)]));
        assert_eq!(keeper.found(), [(1, publish(2))]);
    }
}

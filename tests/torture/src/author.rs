//! Somebody who publishes through the SDK, as fast as their outbox allows, and writes down what they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hark_checker::record::{Phase, Publish};
use hark_checker::{What, body_hash};
use hark_sdk::{Client, ClientId, Draft, Kind, Room, SendError, SendErrorKind, Sent};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::Trouble;
use crate::bug::Bug;
use crate::chance::Chance;
use crate::recorder::Recorder;
use crate::world::{Account, Way, room};

/// What all authors share.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Where they write down what happens.
    pub recorder: Recorder,
    /// One permit for each message that they may still publish.
    pub allowance: Arc<Semaphore>,
    /// How they are doing.
    pub tally: Arc<Tally>,
    /// What is wrong with them, where a test says so.
    pub bug: Option<Bug>,
    /// The rooms.
    pub rooms: Vec<String>,
    /// Publishes without an answer that one author keeps.
    pub unanswered_max: usize,
}

/// How all authors together are doing.
#[derive(Debug, Default)]
pub struct Tally {
    /// Publishes without an answer.
    pub in_flight: AtomicUsize,
    /// Publishes that were acknowledged.
    pub acked: AtomicUsize,
    /// Publishes that were refused.
    pub refused: AtomicUsize,
    /// Bytes by which bodies are longer than they would be.
    pub body_extra: AtomicUsize,
}

/// An author at work.
#[derive(Debug)]
pub struct Author {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Vec<Message>, Trouble>>,
    account: Account,
    session: usize,
    in_flight: Arc<AtomicUsize>,
}

/// A message of which it is not known whether it is stored.
#[derive(Clone, Debug)]
pub struct Message {
    room: usize,
    client_id: ClientId,
    body: Vec<u8>,
}

impl Author {
    /// Somebody begins, or begins again as another process of the same account, with what the last one left
    /// unresolved.
    pub fn begin(
        account: &Account,
        session: usize,
        way: Way,
        desk: Desk,
        chance: Chance,
        unresolved: Vec<Message>,
    ) -> Author {
        let (stop, stopped) = watch::channel(false);
        let name = format!("{}-{session}", account.name);
        let in_flight = Arc::<AtomicUsize>::default();
        let own = in_flight.clone();
        let work = Work {
            desk,
            account: account.clone(),
            name,
            chance,
            stopped,
            made: 0,
            serial: session,
            epochs: Vec::new(),
            own,
        };
        let task = tokio::spawn(work.run(way, unresolved));
        Author { stop, task, account: account.clone(), session, in_flight }
    }

    /// Its publishes without an answer.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Ends without waiting for answers, as a process does that dies: gives what is unresolved by then.
    ///
    /// # Errors
    /// What went wrong meanwhile.
    pub async fn die(self) -> Result<(Account, usize, Vec<Message>), Trouble> {
        self.stop.send_replace(true);
        Ok((self.account, self.session, self.task.await??))
    }
}

struct Work {
    desk: Desk,
    account: Account,
    name: String,
    chance: Chance,
    stopped: watch::Receiver<bool>,
    made: u64,
    serial: usize,
    /// The epochs of the rooms, which only a bug asks for.
    epochs: Vec<u64>,
    /// Publishes without an answer.
    own: Arc<AtomicUsize>,
}

impl Work {
    async fn run(mut self, way: Way, unresolved: Vec<Message>) -> Result<Vec<Message>, Trouble> {
        let mut stopped = self.stopped.clone();
        let (client, rooms) = tokio::select! {
            entered = self.enter(way) => entered?,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(unresolved),
        };
        if self.desk.bug == Some(Bug::AckEarly) {
            for room in &rooms {
                self.epochs.push(room.info().await?.epoch.0);
            }
        }
        let mut outcomes = JoinSet::new();
        let mut left = Vec::new();
        let mut again = unresolved.into_iter();
        loop {
            while let Some(outcome) = outcomes.try_join_next() {
                left.extend(outcome?);
            }
            if *self.stopped.borrow() {
                break;
            }
            let next = again.next();
            if next.is_none() && !self.is_free().await {
                continue;
            }
            let is_retry = next.is_some();
            let message = next.unwrap_or_else(|| self.message());
            if !self.publish(&rooms[message.room], message.clone(), is_retry, &mut outcomes).await {
                left.push(message);
                break;
            }
        }
        left.extend(again);
        self.leave(client, outcomes, left).await
    }

    async fn enter(&self, way: Way) -> Result<(Client, Vec<Room>), Trouble> {
        let client = way.client(&self.account, self.desk.unanswered_max).await?;
        let mut rooms = Vec::new();
        for name in &self.desk.rooms {
            rooms.push(room(&client, name).await?);
        }
        Ok((client, rooms))
    }

    /// Waits until it may publish; false when it should look around first.
    async fn is_free(&mut self) -> bool {
        tokio::select! {
            permit = self.desk.allowance.acquire() => permit.map(|permit| permit.forget()).is_ok(),
            _ = self.stopped.changed() => false,
            // What was answered meanwhile is taken out of memory.
            () = tokio::time::sleep(Duration::from_millis(100)) => false,
        }
    }

    /// A message that nobody has sent. Bodies are of any size, and differ.
    fn message(&mut self) -> Message {
        self.made += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.chance.any().to_be_bytes());
        id[8..].copy_from_slice(&(self.made << 16 | self.serial as u64 & 0xffff).to_be_bytes());
        let size =
            if self.made.is_multiple_of(16) { self.chance.below(4_000) } else { self.chance.below(60) };
        let size = size + self.desk.tally.body_extra.load(Relaxed);
        let body = format!("{} {} {}", self.name, self.made, "x".repeat(size)).into_bytes();
        let client_id = ClientId::new(id).expect("invariant: the number made is not 0");
        Message { room: self.chance.below(self.desk.rooms.len()), client_id, body }
    }

    /// Hands a message over, as soon as there is room; false when it could not be, because the client is stopped.
    async fn publish(
        &mut self,
        room: &Room,
        message: Message,
        is_retry: bool,
        outcomes: &mut JoinSet<Option<Message>>,
    ) -> bool {
        let permit = tokio::select! {
            permit = room.reserve() => permit,
            _ = self.stopped.changed() => return false,
        };
        let Ok(permit) = permit else { return false };
        let note = Note::new(self, &message);
        let hash = body_hash(&message.body);
        note.write(Phase::Invoke { session: self.name.clone(), hash });
        note.begin();
        let bug = self.desk.bug;
        let draft = Draft::new(Kind::MESSAGE, message.body.clone());
        // The bug: what is sent again gets another identity.
        let fresh = bug == Some(Bug::FreshIdentity) && is_retry;
        let publishing = permit.publish(if fresh { draft } else { draft.client_id(message.client_id) });
        if bug == Some(Bug::AckEarly) {
            let invented = INVENTED
                + u64::from(u32::from_be_bytes(std::array::from_fn(|n| message.client_id.as_bytes()[n])));
            note.write(Phase::Ok { epoch: self.epochs[message.room], seq: invented, duplicate: false });
        }
        outcomes.spawn(async move { note.outcome(publishing.await, bug).then_some(message) });
        true
    }

    async fn leave(
        self,
        client: Client,
        mut outcomes: JoinSet<Option<Message>>,
        mut left: Vec<Message>,
    ) -> Result<Vec<Message>, Trouble> {
        client.close_within(Duration::ZERO).await;
        while let Some(outcome) = outcomes.join_next().await {
            left.extend(outcome?);
        }
        Ok(left)
    }
}

/// Where the outcome of one publish is written down.
struct Note {
    recorder: Recorder,
    tally: Arc<Tally>,
    own: Arc<AtomicUsize>,
    client: String,
    room: String,
    author: String,
    cid: String,
}

impl Note {
    fn new(work: &Work, message: &Message) -> Note {
        let desk = &work.desk;
        Note {
            recorder: desk.recorder.clone(),
            tally: desk.tally.clone(),
            own: work.own.clone(),
            client: work.name.clone(),
            room: desk.rooms[message.room].clone(),
            author: work.account.name.clone(),
            cid: message.client_id.to_string(),
        }
    }

    fn write(&self, phase: Phase) {
        let (room, author, cid) = (self.room.clone(), self.author.clone(), self.cid.clone());
        self.recorder.write(&self.client, What::Publish(Publish { room, author, cid, phase }));
    }

    fn begin(&self) {
        self.tally.in_flight.fetch_add(1, Relaxed);
        self.own.fetch_add(1, Relaxed);
    }

    /// Writes an outcome down; true when nobody knows it.
    fn outcome(&self, outcome: Result<Sent, SendError>, bug: Option<Bug>) -> bool {
        self.tally.in_flight.fetch_sub(1, Relaxed);
        self.own.fetch_sub(1, Relaxed);
        let phase = match outcome {
            Ok(sent) => {
                self.tally.acked.fetch_add(1, Relaxed);
                Phase::Ok { epoch: sent.epoch.0, seq: sent.seq.0, duplicate: sent.duplicate }
            }
            Err(error) if error.kind().is_definite() => {
                self.tally.refused.fetch_add(1, Relaxed);
                Phase::Fail { code: code(&error) }
            }
            Err(error) => Phase::Info { why: error.to_string() },
        };
        let is_unknown = matches!(phase, Phase::Info { .. });
        match bug {
            Some(Bug::AckEarly) => false,
            Some(Bug::OutboxDropped) if is_unknown => false,
            _ => {
                self.write(phase);
                is_unknown
            }
        }
    }
}

/// Publishes one message and writes down how that went.
pub async fn tell(
    recorder: &Recorder,
    session: &str,
    (author, room, client_id): (&str, &str, ClientId),
    body: &[u8],
    publishing: impl Future<Output = Result<Sent, SendError>>,
) {
    let note = Note {
        recorder: recorder.clone(),
        tally: Arc::default(),
        own: Arc::default(),
        client: session.to_owned(),
        room: room.to_owned(),
        author: author.to_owned(),
        cid: client_id.to_string(),
    };
    note.write(Phase::Invoke { session: session.to_owned(), hash: body_hash(body) });
    note.begin();
    note.outcome(publishing.await, None);
}

/// Where seqs begin that nobody has given.
const INVENTED: u64 = 1 << 40;

/// A refusal's code, as histories hold it.
fn code(error: &SendError) -> String {
    match error.kind() {
        SendErrorKind::Rejected(refusal) => refusal.code.to_string(),
        other => format!("{other:?}"),
    }
}

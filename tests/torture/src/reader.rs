//! Somebody who follows a room through the SDK and writes down what they are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hark_checker::What;
use hark_checker::record::{Asked, Subscribe};
use hark_sdk::{Client, EndReason, Epoch, Events, RoomEvent, Seq, Start};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Trouble;
use crate::bug::Bug;
use crate::dump::told;
use crate::recorder::Recorder;
use crate::world::{Account, PATIENCE, Way, room};

/// A reader at work.
#[derive(Debug)]
pub struct Reader {
    name: String,
    account: Account,
    room: String,
    stop: watch::Sender<bool>,
    seen: Arc<Seen>,
    task: JoinHandle<Result<(), Trouble>>,
}

/// How far a reader has come.
#[derive(Debug, Default)]
struct Seen {
    epoch: AtomicU64,
    seq: AtomicU64,
    /// How often the log became another one; each has a stream of its own name in the history.
    logs: AtomicU64,
}

impl Reader {
    /// Somebody begins to follow a room, from its beginning or behind what the last one of that name has seen.
    pub fn begin(name: &str, account: &Account, room: &str, way: Way, recorder: Recorder) -> Reader {
        Reader::go_on(name, account, room, way, recorder, (Arc::default(), None))
    }

    fn go_on(
        name: &str,
        account: &Account,
        room: &str,
        way: Way,
        recorder: Recorder,
        (seen, bug): (Arc<Seen>, Option<Bug>),
    ) -> Reader {
        let (stop, stopped) = watch::channel(false);
        let work = Work {
            name: name.to_owned(),
            account: account.clone(),
            room: room.to_owned(),
            recorder,
            seen: seen.clone(),
            bug,
            stopped,
        };
        let (name, account, room) = (name.to_owned(), account.clone(), room.to_owned());
        Reader { name, account, room, stop, seen, task: tokio::spawn(work.run(way)) }
    }

    /// The room that is followed.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// The last seq that was seen.
    pub fn seen(&self) -> u64 {
        self.seen.seq.load(Relaxed)
    }

    /// Another process of the same reader: goes on behind what the last one has seen.
    ///
    /// # Errors
    /// What went wrong with the one that ends.
    pub async fn begin_again(
        self,
        way: Way,
        recorder: Recorder,
        bug: Option<Bug>,
    ) -> Result<Reader, Trouble> {
        self.stop.send_replace(true);
        self.task.await??;
        Ok(Reader::go_on(&self.name, &self.account, &self.room, way, recorder, (self.seen, bug)))
    }

    /// Ends.
    ///
    /// # Errors
    /// What went wrong meanwhile.
    pub async fn end(self) -> Result<(), Trouble> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

struct Work {
    name: String,
    account: Account,
    room: String,
    recorder: Recorder,
    seen: Arc<Seen>,
    bug: Option<Bug>,
    stopped: watch::Receiver<bool>,
}

impl Work {
    async fn run(self, way: Way) -> Result<(), Trouble> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            served = self.serve(way) => served,
            _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
        }
    }

    async fn serve(self, way: Way) -> Result<(), Trouble> {
        let client = way.client(&self.account, 8).await?;
        loop {
            let start = self.start();
            let name = self.stream_name();
            let mut stream =
                Stream { name: &name, room: &self.room, recorder: &self.recorder, seen: &self.seen };
            let events = stream.subscribe(&client, &self.account.name, start, false).await?;
            match stream.follow(events).await {
                // Another incarnation of the log: read it all, under a name of its own.
                Some(EndReason::Reset) => {
                    self.seen.logs.fetch_add(1, Relaxed);
                    self.seen.seq.store(0, Relaxed);
                }
                _ => return Ok(()),
            }
        }
    }
}

impl Work {
    fn stream_name(&self) -> String {
        match self.seen.logs.load(Relaxed) {
            0 => self.name.clone(),
            logs => format!("{}-log{logs}", self.name),
        }
    }

    /// Where the next stream begins: behind what was seen, unless a bug is planted.
    fn start(&self) -> Start {
        let seq = self.seen.seq.load(Relaxed);
        let epoch = Some(Epoch(self.seen.epoch.load(Relaxed))).filter(|epoch| epoch.0 > 0);
        let after = |seq| Start::After { epoch, seq: Seq(seq) };
        match self.bug {
            _ if seq == 0 => Start::Beginning,
            Some(Bug::CursorPastHole) => Start::Now,
            Some(Bug::SeamOneTooLate) => after(seq + 1),
            Some(Bug::SeamOneTooEarly) => after(seq - 1),
            _ => after(seq),
        }
    }
}

/// One stream and where it is written down.
struct Stream<'a> {
    name: &'a str,
    room: &'a str,
    recorder: &'a Recorder,
    seen: &'a Seen,
}

impl Stream<'_> {
    fn write(&self, what: What) {
        self.recorder.write(self.name, what);
    }

    fn asked(&self, phase: Asked) {
        self.write(What::Subscribe(Subscribe {
            reader: self.name.to_owned(),
            room: self.room.to_owned(),
            phase,
        }));
    }

    async fn subscribe(
        &mut self,
        client: &Client,
        account: &str,
        start: Start,
        drain: bool,
    ) -> Result<Events, Trouble> {
        let handle = room(client, self.room).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.asked(Asked::Invoke { account: account.to_owned(), drain });
            match handle.events(start).await {
                Ok(events) => {
                    let begun = events.begun();
                    self.asked(Asked::Ok { epoch: begun.epoch.0, next: begun.next.0, head: begun.head.0 });
                    return Ok(events);
                }
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    }

    /// Reads until the stream ends.
    async fn follow(&mut self, mut events: Events) -> Option<EndReason> {
        while let Some(item) = events.next().await {
            if let Some(reason) = self.take(item) {
                return Some(reason);
            }
        }
        None
    }

    fn take(&mut self, item: RoomEvent) -> Option<EndReason> {
        let (reader, room) = (self.name.to_owned(), self.room.to_owned());
        match item {
            RoomEvent::Event(event) => {
                let (epoch, seq) = (event.epoch.0, event.seq.0);
                let event =
                    told(event.author_name.as_str(), &event.client_id.to_string(), event.kind, &event.body);
                self.write(What::Deliver { reader, room, epoch, seq, event });
                self.seen.epoch.store(epoch, Relaxed);
                self.seen.seq.store(seq, Relaxed);
            }
            RoomEvent::Gap(gap) => {
                let epoch = self.seen.epoch.load(Relaxed).max(1);
                let reason = gap.reason.map_or_else(|| "none".to_owned(), |reason| reason.to_string());
                self.write(What::Gap { reader, room, epoch, from: gap.from.0, to: gap.to.0, reason });
                self.seen.seq.store(gap.to.0, Relaxed);
            }
            RoomEvent::Reset { epoch, .. } => self.write(What::Reset { reader, room, epoch: epoch.0 }),
            RoomEvent::Ended { reason } => {
                let words = match reason {
                    EndReason::Left => "left".to_owned(),
                    EndReason::Kicked => "kicked".to_owned(),
                    EndReason::Reset => "reset".to_owned(),
                    ref other => format!("{other:?}"),
                };
                self.write(What::Ended { reader, room, reason: words });
                return Some(reason);
            }
            _ => {}
        }
        None
    }
}

/// Reads a room from its beginning to the head that it has when it is asked for, with a fresh client.
///
/// # Errors
/// When it can not be read to its end in time.
pub async fn drain(
    name: &str,
    account: &Account,
    room: &str,
    way: &Way,
    recorder: &Recorder,
) -> Result<u64, Trouble> {
    let client = way.client(account, 8).await?;
    let seen = Seen::default();
    let mut stream = Stream { name, room, recorder, seen: &seen };
    let mut events = stream.subscribe(&client, &account.name, Start::Beginning, true).await?;
    let head = events.begun().head.0;
    let read = async {
        while seen.seq.load(Relaxed) < head {
            let Some(item) = events.next().await else { break };
            if stream.take(item).is_some() {
                break;
            }
        }
    };
    // What is missing is named by the checker, not here.
    let _ = tokio::time::timeout(4 * PATIENCE, read).await;
    client.close_within(Duration::ZERO).await;
    Ok(head)
}

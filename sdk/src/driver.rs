//! The one task that owns a connection: it feeds the session what happens and does what the session says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hark_protocol::{ClientId, Disposition, Frame, RawFrame, RoomId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::client::TlsStream;
use tracing::debug;

use crate::client::{CLOSE_PATIENCE, Client};
use crate::dial::Dialer;
use crate::entropy::Ids;
use crate::error::{ConnectError, ConnectErrorKind, Error, SendErrorKind};
use crate::feed::{Dropped, Feed};
use crate::handle::{
    Handle, Kept as KeptByHandle, Order, OutboxBounds, Permits, Positions, PublishOrder, Reply, Shared,
};
use crate::outbox::disk::Disk;
use crate::outbox::{Outcome, Pending, Settled, Writing};
use crate::room::Sent;
use crate::session::{Command, Config, Effect, Failure, FeedId, Keep, Lost, Rest, Session, Token};
use crate::status::{ClientEvent, ClientState, Reason};
use crate::transport::Connector;

mod keeper;
mod link;

use keeper::{Answer, Keeper, Kept, Written};
use link::{Link, Step};

/// Connects, logs in, and leaves behind a task that keeps the connection.
pub(crate) async fn start<C: Connector>(
    dialer: Dialer<C>,
    config: Config,
    ids: Ids,
    keeping: Keeping,
) -> Result<Client, ConnectError> {
    let (shared, orders, received) = Shared::new(keeping.bounds);
    let (first, mut connected) = oneshot::channel();
    let window = config.window;
    let started = Instant::now();
    let mut effects = Vec::new();
    let session = Session::new(config, ids.random(), Duration::ZERO, &mut effects);
    let keeper = keeping.disk.map(|(disk, writing)| Keeper::new(disk, writing));
    let mut driver = Driver {
        session,
        effects,
        link: Link::Down,
        dialer: Arc::new(dialer),
        started,
        orders: received,
        keeper,
        is_abandoned: false,
        shared: shared.clone(),
        next_token: 0,
        waiting: HashMap::new(),
        feeds: HashMap::new(),
        first: Some(first),
        dial_error: None,
        failed: None,
        closers: Vec::new(),
        partings: JoinSet::new(),
    };
    driver.take_found();
    let handle = Handle::new(shared, orders, ids, window, keeping.kept);
    // Until the first login the driver is a part of this future: dropped with it, it lets go of the outbox at once.
    let mut running = Box::pin(driver.run());
    let first = tokio::select! {
        biased;
        () = &mut running => connected.try_recv().ok(),
        first = &mut connected => {
            // One that has failed still has its last words to say.
            tokio::spawn(running);
            first.ok()
        }
    };
    match first {
        Some(result) => result.map(|()| Client { handle: Arc::new(handle) }),
        None => Err(ConnectErrorKind::Closed.into()),
    }
}

/// How publishes without a verdict are kept.
pub(crate) struct Keeping {
    pub(crate) bounds: OutboxBounds,
    pub(crate) disk: Option<(Disk, Writing)>,
    pub(crate) kept: KeptByHandle,
}

struct Driver<C: Connector> {
    session: Session,
    effects: Vec<Effect>,
    link: Link<TlsStream<C::Stream>>,
    dialer: Arc<Dialer<C>>,
    started: Instant,
    orders: mpsc::Receiver<Order>,
    /// The outbox, if it is on a disk.
    keeper: Option<Keeper>,
    /// Whether every handle is gone.
    is_abandoned: bool,
    shared: Arc<Shared>,
    next_token: u64,
    waiting: HashMap<Token, Waiting>,
    feeds: HashMap<FeedId, Arc<Feed>>,
    /// Who waits for the first login.
    first: Option<oneshot::Sender<Result<(), ConnectError>>>,
    /// Why the last attempt failed, in full.
    dial_error: Option<ConnectError>,
    /// Why the client has ended.
    failed: Option<ConnectError>,
    /// Who waits for the end.
    closers: Vec<oneshot::Sender<()>>,
    /// Last words on connections that were given up.
    partings: JoinSet<()>,
}

/// A request without an answer. Its permits go back when it is answered.
struct Waiting {
    /// `None` when nobody waits any more, or never did.
    reply: Option<Reply>,
    about: About,
    _permits: (Option<OwnedSemaphorePermit>, Permits),
}

/// What a request is about, as far as the driver has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A publish, with its room and its identity.
    Publish(RoomId, ClientId),
    /// Giving publishes up.
    Abandonment,
    /// Anything else.
    Other,
}

impl<C: Connector> Driver<C> {
    async fn run(mut self) {
        let sleep = sleep_until(self.started);
        tokio::pin!(sleep);
        loop {
            self.perform();
            if self.session.is_closed() {
                break;
            }
            let deadline = self.session.deadline().map(|deadline| self.started + deadline.min(FAR));
            if let Some(deadline) = deadline.filter(|deadline| *deadline != Sleep::deadline(&sleep)) {
                sleep.as_mut().reset(deadline);
            }
            // Biased, so that what happens depends on nothing but what has happened. Nobody starves: orders and words
            // of what was taken are bounded by permits and by what was read, so the link gets its turn; and behind
            // what was read the deadline is looked at in any case. Bytes come before the deadline, because a server
            // that has spoken lives, however late its words are looked at.
            tokio::select! {
                biased;
                order = self.orders.recv(), if !self.is_abandoned => self.on_order(order),
                () = self.shared.wake.wait() => self.on_wake(),
                () = self.shared.network.notified() => {
                    let now = self.started.elapsed();
                    self.session.on_command(Command::NetworkChanged, now, &mut self.effects);
                }
                written = written(&mut self.keeper) => self.on_written(written),
                Some(_) = self.partings.join_next() => {}
                step = self.link.step() => {
                    self.on_step(step);
                    self.on_time();
                }
                () = &mut sleep, if deadline.is_some() => {
                    self.session.on_deadline(self.started.elapsed(), &mut self.effects);
                }
            }
        }
        self.finish().await;
    }

    /// Does what is due by now, if anything is.
    fn on_time(&mut self) {
        let now = self.started.elapsed();
        if self.session.deadline().is_some_and(|deadline| deadline <= now) {
            self.session.on_deadline(now, &mut self.effects);
        }
    }

    fn on_step(&mut self, step: Step) {
        let now = self.started.elapsed();
        match step {
            Step::Connected => self.session.on_connected(&mut self.effects),
            Step::Failed(error) => {
                debug!(%error, "dialling failed");
                let kind = error.kind().clone();
                self.dial_error = Some(error);
                self.session.on_disconnected(Lost::Dial(kind), now, &mut self.effects);
            }
            Step::Read => self.on_read(now),
            Step::Eof => self.session.on_disconnected(Lost::Eof, now, &mut self.effects),
            Step::Broken(error) => {
                self.session.on_disconnected(Lost::Io(error.to_string()), now, &mut self.effects);
            }
        }
    }

    fn on_read(&mut self, now: Duration) {
        let Link::Up(wire) = &mut self.link else { return };
        let mut partial = Rest::SamePartial;
        loop {
            match RawFrame::take(&mut wire.input, Session::LENGTH_MAX) {
                Ok(Some(raw)) => {
                    partial = Rest::NewPartial;
                    self.session.on_frame(&raw, now, &mut self.effects);
                }
                Ok(None) => {
                    let rest = if wire.input.is_empty() { Rest::None } else { partial };
                    return self.session.on_bytes(rest, now, &mut self.effects);
                }
                Err(error) => {
                    return self.session.on_disconnected(Lost::Frame(error), now, &mut self.effects);
                }
            }
        }
    }

    /// Takes an order and those behind it, so that their frames leave in one write.
    fn on_order(&mut self, order: Option<Order>) {
        let now = self.started.elapsed();
        let Some(order) = order else {
            self.is_abandoned = true;
            let (disposition, patience) = (Disposition::KEEP, CLOSE_PATIENCE);
            self.pass_order(Order::Close { disposition, patience, reply: None }, now);
            return self.keep_on();
        };
        self.pass_order(order, now);
        for _ in 1..ORDERS_AT_ONCE {
            let Ok(order) = self.orders.try_recv() else { break };
            self.pass_order(order, now);
        }
        self.keep_on();
    }

    /// Lets an order take its turn: at once, or behind the publishes that are being written to the disk.
    fn pass_order(&mut self, order: Order, now: Duration) {
        match &mut self.keeper {
            Some(keeper) => keeper.push(order),
            None => self.take_order(order, now),
        }
    }

    fn on_written(&mut self, written: Written) {
        let mut kept = Vec::new();
        if let Some(keeper) = &mut self.keeper {
            keeper.finish(written, &mut kept);
        }
        self.take_kept(kept);
        self.keep_on();
    }

    /// Lets the outbox write what there is to be written, and takes what it has for the session.
    fn keep_on(&mut self) {
        let mut kept = Vec::new();
        if let Some(keeper) = &mut self.keeper {
            keeper.next(|publish| self.session.refuses_publish(publish), &mut kept);
        }
        self.take_kept(kept);
    }

    fn take_kept(&mut self, kept: Vec<Kept>) {
        let now = self.started.elapsed();
        for kept in kept {
            match kept {
                Kept::Order(order) => self.take_order(order, now),
                Kept::Stored(order, entry) => self.take_publish(order, Some(entry), now),
                Kept::Failed(order, failure) => self.tell_failed(order, failure),
                Kept::Answer(token, answer) => self.tell_answer(token, answer),
            }
        }
    }

    /// What an earlier process has left goes first.
    fn take_found(&mut self) {
        let found = self.keeper.as_ref().map(Keeper::found).unwrap_or_default();
        for (entry, publish) in found {
            let waiting = Waiting {
                reply: None,
                about: About::Publish(publish.room, publish.client_id),
                _permits: (None, self.shared.place_of_found(publish.body.len())),
            };
            let token = self.wait_for(waiting);
            if let Some(keeper) = &mut self.keeper {
                keeper.note(token, entry);
            }
            self.session.on_found(token, publish);
        }
    }

    fn take_publish(&mut self, order: PublishOrder, entry: Option<u64>, now: Duration) {
        let PublishOrder { publish, within, reply, queued, permits } = order;
        let token = self.wait_for(Waiting {
            reply: Some(reply),
            about: About::Publish(publish.room, publish.client_id),
            _permits: (None, permits),
        });
        let keep = if entry.is_some() { Keep::Disk } else { Keep::Memory };
        if let (Some(keeper), Some(entry)) = (&mut self.keeper, entry) {
            keeper.note(token, entry);
        }
        if entry.is_some() || self.session.takes_publishes() {
            // Whoever does not want to know has dropped it.
            let _ = queued.send(());
        }
        self.session.on_command(Command::Publish { token, publish, within, keep }, now, &mut self.effects);
    }

    fn tell_pending(&self, reply: oneshot::Sender<Vec<Pending>>) {
        let pending = self.session.publishes().map(|(token, publish, may_be_stored)| {
            let was_found = self.waiting.get(&token).is_some_and(|waiting| waiting.reply.is_none());
            Pending {
                room: publish.room,
                client_id: publish.client_id,
                kind: publish.kind,
                body: publish.body.clone().into_bytes(),
                may_be_stored: may_be_stored || was_found,
            }
        });
        let _ = reply.send(pending.collect());
    }

    fn take_order(&mut self, order: Order, now: Duration) {
        let command = match order {
            Order::Publish(order) => return self.take_publish(order, None, now),
            Order::Pending { reply, .. } => return self.tell_pending(reply),
            Order::Abandon { client_id, reply, permit } => {
                Command::Abandon { token: self.wait_for_abandonment(reply, permit), client_id }
            }
            Order::Request { frame, reply, permit } => {
                Command::Request { token: self.wait_for_reply(reply, permit), frame }
            }
            Order::Signal { room, kind, _permit } => Command::Signal { room, kind },
            Order::Read { feed, seq, .. } => Command::Read { feed, seq },
            Order::Positions { reply, .. } => {
                let _ = reply.send(self.positions(now));
                return;
            }
            Order::Follow { feed, room, start, level, reply, permit } => {
                // Its word that it was dropped may have come before this.
                if feed.progress().1 == Dropped::Yes {
                    return;
                }
                let (id, token) = (feed.id(), self.wait_for_reply(reply, permit));
                self.feeds.insert(id, feed);
                Command::Follow { token, feed: id, room, start, level }
            }
            Order::Close { disposition, patience, reply } => {
                self.closers.extend(reply);
                Command::Close { disposition, patience }
            }
        };
        self.session.on_command(command, now, &mut self.effects);
    }

    fn wait_for_reply(&mut self, reply: Reply, permit: OwnedSemaphorePermit) -> Token {
        let permits = (Some(permit), Permits::default());
        self.wait_for(Waiting { reply: Some(reply), about: About::Other, _permits: permits })
    }

    fn wait_for_abandonment(&mut self, reply: Reply, permit: OwnedSemaphorePermit) -> Token {
        let permits = (Some(permit), Permits::default());
        self.wait_for(Waiting { reply: Some(reply), about: About::Abandonment, _permits: permits })
    }

    fn wait_for(&mut self, waiting: Waiting) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.waiting.insert(token, waiting);
        token
    }

    fn on_wake(&mut self) {
        let now = self.started.elapsed();
        for feed in self.shared.wake.drain() {
            let (taken, dropped) = feed.progress();
            let id = feed.id();
            self.session.on_command(Command::Taken { feed: id, taken }, now, &mut self.effects);
            if dropped == Dropped::Yes {
                self.session.on_command(Command::Unfollow { feed: id }, now, &mut self.effects);
            }
        }
    }

    /// How far the application has come by now in each room.
    fn positions(&mut self, now: Duration) -> Positions {
        let feeds: Vec<Arc<Feed>> = self.feeds.values().cloned().collect();
        for feed in feeds {
            let (feed, taken) = (feed.id(), feed.progress().0);
            self.session.on_command(Command::Taken { feed, taken }, now, &mut self.effects);
        }
        self.session.positions().clone()
    }

    fn perform(&mut self) {
        while !self.effects.is_empty() {
            self.perform_all();
        }
    }

    fn perform_all(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.perform_one(effect);
        }
        // The emptied vector is kept for its memory.
        self.effects = effects;
        self.keep_on();
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Dial { address } => {
                let dialer = self.dialer.clone();
                self.link = Link::Dialing(Box::pin(async move { dialer.dial(address.as_deref()).await }));
            }
            Effect::Send(frame) => self.link.send(&frame),
            Effect::Disconnect => {
                if let Link::Up(wire) = std::mem::replace(&mut self.link, Link::Down) {
                    self.partings.spawn(wire.part());
                }
            }
            Effect::Answer(token, answer) => self.answer(token, answer),
            Effect::Late(token) => {
                if let Some(reply) = self.waiting.get_mut(&token).and_then(|waiting| waiting.reply.take()) {
                    let _ = reply.send(Err(Failure::Kept));
                }
            }
            Effect::Item(feed, item) => {
                if let Some(feed) = self.feeds.get(&feed) {
                    feed.push(item);
                }
            }
            Effect::Latest(feed, item) => {
                if let Some(feed) = self.feeds.get(&feed) {
                    feed.push_latest(item);
                }
            }
            Effect::EndFeed(feed) => {
                if let Some(feed) = self.feeds.remove(&feed) {
                    feed.end();
                }
            }
            Effect::Ready { account, server, token, session_token } => {
                self.shared.learn(account, server, token, session_token);
            }
            Effect::Event(event) => self.tell(event),
            Effect::Leaving => {
                self.shared.state.send_replace(ClientState::Closing);
            }
            Effect::Closed(reason) => self.on_closed(reason),
        }
    }

    /// Tells an answer, at once or when the disk knows of it.
    fn answer(&mut self, token: Token, answer: Answer) {
        let about = self.waiting.get(&token).map(|waiting| waiting.about);
        let answer = match &mut self.keeper {
            Some(keeper) if about == Some(About::Abandonment) => keeper.judge_abandonment(token, answer),
            Some(keeper) => keeper.judge(token, answer),
            None => Some(answer),
        };
        if let Some(answer) = answer {
            self.tell_answer(token, answer);
        }
    }

    fn tell_answer(&mut self, token: Token, answer: Answer) {
        let is_kept = answer == Err(Failure::Kept);
        let Some(waiting) = self.waiting.remove(&token) else { return };
        let unheard = match waiting.reply {
            Some(reply) => reply.send(answer).err(),
            None => Some(answer),
        };
        if let (Some(answer), About::Publish(room, client_id)) = (unheard, waiting.about)
            && !is_kept
        {
            let outcome = publish_outcome(answer, client_id);
            self.shared.outcomes.push(Settled { room, client_id, outcome });
        }
    }

    /// Tells of a publish that the session has never seen.
    fn tell_failed(&mut self, order: PublishOrder, failure: Failure) {
        let (room, client_id) = (order.publish.room, order.publish.client_id);
        if let Err(answer) = order.reply.send(Err(failure)) {
            let outcome = publish_outcome(answer, client_id);
            self.shared.outcomes.push(Settled { room, client_id, outcome });
        }
    }

    fn tell(&mut self, event: ClientEvent) {
        let state = match &event {
            ClientEvent::Connecting => Some(ClientState::Connecting),
            ClientEvent::Connected => Some(ClientState::Connected),
            ClientEvent::Reconnecting { attempt, delay, reason } => {
                debug!(attempt, ?delay, %reason, "connection lost");
                Some(ClientState::Reconnecting { attempt: *attempt, delay: *delay, reason: reason.clone() })
            }
            _ => None,
        };
        if let Some(state) = state {
            self.shared.state.send_if_modified(|current| {
                // A client that is being closed stays so, whatever its connection does meanwhile.
                let changes = *current != ClientState::Closing;
                if changes {
                    *current = state;
                }
                changes
            });
        }
        if event == ClientEvent::Connected
            && let Some(first) = self.first.take()
        {
            let _ = first.send(Ok(()));
        }
        let _ = self.shared.events.send(event);
    }

    fn on_closed(&mut self, reason: Reason) {
        debug!(%reason, "client closed");
        self.shared.learn_positions(self.session.positions().clone());
        self.failed = Some(connect_error(&reason, self.dial_error.take()));
        self.shared.state.send_replace(ClientState::Closed { reason: reason.clone() });
        let _ = self.shared.events.send(ClientEvent::Closed { reason });
        self.shared.close();
    }

    /// Answers what came too late, and whoever waits for the end.
    async fn finish(mut self) {
        self.orders.close();
        let left = match self.keeper.take() {
            Some(keeper) => keeper.close().await,
            None => Vec::new(),
        };
        for left in left {
            match left {
                Kept::Order(order) => self.refuse(order),
                // It is on the disk, and the next process sends it.
                Kept::Stored(order, _) => drop(order.reply.send(Err(Failure::Kept))),
                Kept::Failed(order, failure) => self.tell_failed(order, failure),
                Kept::Answer(token, answer) => self.tell_answer(token, answer),
            }
        }
        while let Ok(order) = self.orders.try_recv() {
            self.refuse(order);
        }
        self.shared.outcomes.end();
        // Not before the outbox can be opened again: whoever hears that it failed may try again at once.
        if let (Some(first), Some(failed)) = (self.first.take(), self.failed.take()) {
            let _ = first.send(Err(failed));
        }
        while self.partings.join_next().await.is_some() {}
        for closer in self.closers {
            let _ = closer.send(());
        }
    }

    /// Answers what came when the client had ended.
    fn refuse(&mut self, order: Order) {
        match order {
            Order::Request { reply, .. }
            | Order::Publish(PublishOrder { reply, .. })
            | Order::Abandon { reply, .. }
            | Order::Follow { reply, .. } => {
                let _ = reply.send(Err(Failure::Closed));
            }
            Order::Close { reply, .. } => self.closers.extend(reply),
            // Its sender is dropped, which says so.
            Order::Signal { .. } | Order::Read { .. } | Order::Pending { .. } | Order::Positions { .. } => {}
        }
    }
}

/// Waits for a write to the outbox, for ever where there is none.
async fn written(keeper: &mut Option<Keeper>) -> Written {
    match keeper {
        Some(keeper) => keeper.written().await,
        None => std::future::pending().await,
    }
}

fn publish_outcome(answer: Result<Frame, Failure>, client_id: ClientId) -> Outcome {
    Outcome::from(match answer {
        Ok(Frame::Published(published)) => Ok(Sent::new(&published, client_id)),
        Ok(_) => Err(SendErrorKind::Unknown.into()),
        Err(failure) => Err(failure.into()),
    })
}

/// Why the first login failed.
fn connect_error(reason: &Reason, dial_error: Option<ConnectError>) -> ConnectError {
    match (reason, dial_error) {
        (Reason::Connect(kind), Some(error)) if error.kind() == kind => error,
        (Reason::Connect(kind), _) => kind.clone().into(),
        (Reason::Protocol(words), _) => Error::with(ConnectErrorKind::Protocol, words.clone()),
        (Reason::SessionReplaced, _) => ConnectErrorKind::SessionReplaced.into(),
        (Reason::Lost(words), _) => Error::with(ConnectErrorKind::Closed, words.clone()),
        (reason, _) => Error::with(ConnectErrorKind::Closed, reason.to_string()),
    }
}

/// A deadline that is as good as none: the clock can not count further than some centuries.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Orders that are taken before anything else is looked at.
const ORDERS_AT_ONCE: usize = 256;

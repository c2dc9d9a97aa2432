//! Random schedules: connections that break anywhere, a server that refuses, repeats and leaves holes, and an
//! application that is slow. Whatever happens, every publish has one outcome and every event is shown once, in order.

use std::collections::{BTreeMap, VecDeque};

use hark_protocol::{
    Ack, Blob, ClientId, Durability, Event, From, GapReason, Kind, Publish, Published, RoomId, Seq,
    Subscribe, Subscribed, UnixMillis, Verdict, VerdictItem,
};
use hark_protocol::{Epoch, Head, Pong};

use super::*;

const ROOM: RoomId = RoomId(1);
const EPOCH: Epoch = Epoch(3);
const FEED: FeedId = FeedId(1);
const FOLLOW: Token = Token(1_000_000);

/// A source of chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the server remembers for good.
#[derive(Default)]
struct Log {
    events: Vec<(ClientId, AccountId)>,
    seqs: BTreeMap<ClientId, u64>,
    /// What it will never store.
    unwelcome: Vec<ClientId>,
}

impl Log {
    /// The seq of an event, and whether it was there.
    fn store(&mut self, client_id: ClientId, author: AccountId) -> (u64, bool) {
        if let Some(seq) = self.seqs.get(&client_id) {
            return (*seq, true);
        }
        self.events.push((client_id, author));
        self.seqs.insert(client_id, self.events.len() as u64);
        (self.events.len() as u64, false)
    }
}

/// One connection: frames on their way in both directions, and what the server knows of the client.
#[derive(Default)]
struct Connection {
    up: VecDeque<RawFrame>,
    down: VecDeque<RawFrame>,
    following: Option<Following>,
    /// The first publish that came too fast and was not sent again since.
    too_fast: Option<ClientId>,
}

struct Following {
    next: u64,
    acked: u64,
    window: u64,
}

struct World {
    chance: Chance,
    session: Session,
    out: Vec<Effect>,
    now: Moment,
    log: Log,
    connection: Option<Connection>,
    is_dialling: bool,
    /// Whether the world still makes trouble.
    is_wild: bool,
    keeps_order: bool,
    published: Vec<ClientId>,
    outcomes: BTreeMap<u64, Result<u64, Failure>>,
    /// Items that the application has not taken, and what it has seen.
    waiting: VecDeque<RoomEvent>,
    taken: Taken,
    shown: u64,
    others: u8,
    violations: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut out = Vec::new();
        let session = Session::new(config(), seed, Moment::ZERO, &mut out);
        let mut world = World {
            chance: Chance(seed),
            session,
            out,
            now: Moment::ZERO,
            log: Log::default(),
            connection: None,
            is_dialling: false,
            is_wild: false,
            keeps_order: seed.is_multiple_of(2),
            published: Vec::new(),
            outcomes: BTreeMap::new(),
            waiting: VecDeque::new(),
            taken: Taken::default(),
            shown: 0,
            others: 0,
            violations: 0,
        };
        world.perform();
        world.settle();
        let start = Start::After { epoch: None, seq: Seq(0) };
        world.command(Command::Follow { token: FOLLOW, feed: FEED, room: ROOM, start });
        world.is_wild = true;
        world
    }

    fn command(&mut self, command: Command) {
        self.session.on_command(command, self.now, &mut self.out);
        self.perform();
    }

    fn perform(&mut self) {
        for effect in std::mem::take(&mut self.out) {
            match effect {
                Effect::Dial => self.is_dialling = true,
                Effect::Send(frame) => {
                    let connection = self.connection.as_mut().expect("frames are sent on a connection");
                    connection.up.push_back(RawFrame::from_stored(frame.to_bytes()).unwrap());
                }
                Effect::Disconnect => (self.connection, self.is_dialling) = (None, false),
                Effect::Answer(FOLLOW, answer) => assert!(answer.is_ok(), "{answer:?}"),
                Effect::Answer(token, answer) => {
                    let outcome = answer.map(|frame| match frame {
                        Frame::Published(published) => published.seq.0,
                        other => panic!("{other:?}"),
                    });
                    let earlier = self.outcomes.insert(token.0, outcome);
                    assert!(earlier.is_none(), "publish {token:?} has two outcomes");
                }
                Effect::Item(FEED, item) => self.waiting.push_back(item),
                Effect::Event(ClientEvent::Reconnecting { reason: Reason::Protocol(_), .. }) => {
                    self.violations += 1
                }
                Effect::Closed(reason) => panic!("nothing here is final: {reason:?}"),
                _ => {}
            }
        }
        let events = self.waiting.iter().filter(|item| matches!(item, RoomEvent::Event(_))).count();
        assert!(events <= 8 + 4, "more than one and a half windows wait: {events}");
        assert!(self.waiting.len() <= 8 + 4 + 64, "the queue grows: {}", self.waiting.len());
    }

    fn step(&mut self) {
        match self.chance.below(16) {
            0..=3 => self.server_reads(),
            4..=7 => self.client_reads(),
            8 | 9 => self.server_sends_events(),
            10 => self.publish(),
            11 => {
                self.others += 1;
                let id = ClientId::new([self.others, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
                self.log.store(id, AccountId(2));
            }
            12 | 13 => self.take(),
            14 => self.wait(),
            _ if self.is_wild && self.chance.one_in(4) => self.breaks(),
            _ => self.dial(),
        }
    }

    /// The application publishes, if it may have one more unanswered.
    fn publish(&mut self) {
        if self.published.len() - self.outcomes.len() >= 64 || self.published.len() >= 60_000 {
            return;
        }
        let n = self.published.len() as u64;
        let mut id = [1; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let client_id = ClientId::new(id).unwrap();
        self.published.push(client_id);
        let publish =
            Publish { room: ROOM, client_id, kind: Kind::MESSAGE, abandon: false, body: Blob::default() };
        self.command(Command::Request { token: Token(n), frame: Frame::Publish(publish) });
    }

    /// The application takes some of what waits.
    fn take(&mut self) {
        for _ in 0..=self.chance.below(6) {
            let Some(item) = self.waiting.pop_front() else { break };
            self.taken.items += 1;
            if let RoomEvent::Event(event) = item {
                assert_eq!(event.seq.0, self.shown + 1, "events are shown once and in order");
                let stored = self.log.events[event.seq.0 as usize - 1];
                assert_eq!((event.client_id, event.author), stored);
                assert_eq!(event.own, stored.1 == AccountId(1));
                self.shown = event.seq.0;
                self.taken.seq = Some(event.seq);
            }
        }
        self.command(Command::Taken { feed: FEED, taken: self.taken });
    }

    fn wait(&mut self) {
        if let Some(deadline) = self.session.deadline() {
            self.now = self.now.max(deadline);
            self.session.on_deadline(self.now, &mut self.out);
            self.perform();
        }
    }

    fn dial(&mut self) {
        if std::mem::take(&mut self.is_dialling) {
            if self.is_wild && self.chance.one_in(3) {
                let lost = Lost::Dial(ConnectErrorKind::Refused);
                self.session.on_disconnected(lost, self.now, &mut self.out);
            } else {
                self.connection = Some(Connection::default());
                self.session.on_connected(&mut self.out);
            }
            self.perform();
        }
    }

    /// The connection breaks, with whatever was on its way.
    fn breaks(&mut self) {
        if self.connection.take().is_some() {
            self.session.on_disconnected(Lost::Io("reset".into()), self.now, &mut self.out);
            self.perform();
        }
    }

    fn client_reads(&mut self) {
        let Some(raw) = self.connection.as_mut().and_then(|connection| connection.down.pop_front()) else {
            return;
        };
        self.session.on_bytes(Rest::None, self.now);
        self.session.on_frame(&raw, self.now, &mut self.out);
        self.perform();
    }

    fn server_reads(&mut self) {
        let Some(raw) = self.connection.as_mut().and_then(|connection| connection.up.pop_front()) else {
            return;
        };
        let correlation = raw.header().correlation;
        match Frame::decode(&raw).unwrap() {
            Frame::Hello(_) => self.down(correlation, &welcome(1)),
            Frame::Auth(_) => self.down(correlation, &authenticated()),
            Frame::Ping(ping) => self.down(correlation, &Frame::Pong(Pong { data: ping.data })),
            Frame::Publish(publish) => self.on_publish(correlation, &publish),
            Frame::Subscribe(subscribe) => self.on_subscribe(correlation, &subscribe),
            Frame::Ack(ack) => self.on_ack(&ack),
            Frame::Close(_) => self.breaks(),
            other => panic!("{other:?}"),
        }
    }

    fn down(&mut self, correlation: Correlation, frame: &Frame) {
        if let Some(connection) = &mut self.connection {
            connection.down.push_back(raw(correlation.0, frame));
        }
    }

    fn on_publish(&mut self, correlation: Correlation, publish: &Publish) {
        let is_known = self.log.seqs.contains_key(&publish.client_id);
        // Identity before judgement: what was stored is never refused.
        if !is_known && let Some(code) = self.refuses(publish.client_id) {
            return self.down(correlation, &error(code, 50));
        }
        let (seq, duplicate) = self.log.store(publish.client_id, AccountId(1));
        let published = Published {
            room: ROOM,
            epoch: EPOCH,
            seq: Seq(seq),
            time: UnixMillis(seq),
            durability: Durability::DISK,
            duplicate,
        };
        self.down(correlation, &Frame::Published(published));
    }

    /// A server that keeps order lets nothing pass a publish that it has refused for now.
    fn refuses(&mut self, client_id: ClientId) -> Option<ErrorCode> {
        if self.log.unwelcome.contains(&client_id) {
            return Some(ErrorCode::TOO_LARGE);
        }
        let keeps_order = self.keeps_order;
        let connection = self.connection.as_mut()?;
        if connection.too_fast == Some(client_id) {
            connection.too_fast = None;
        }
        if !self.is_wild {
            return connection.too_fast.filter(|_| keeps_order).map(|_| ErrorCode::RATE);
        }
        if self.chance.one_in(16) {
            self.log.unwelcome.push(client_id);
            return Some(ErrorCode::TOO_LARGE);
        }
        let is_too_fast = self.chance.one_in(8) || (keeps_order && connection.too_fast.is_some());
        if is_too_fast {
            connection.too_fast.get_or_insert(client_id);
        }
        is_too_fast.then_some(ErrorCode::RATE)
    }

    fn on_subscribe(&mut self, correlation: Correlation, subscribe: &Subscribe) {
        let item = &subscribe.rooms[0];
        assert_eq!((subscribe.rooms.len(), item.from), (1, From::POSITION));
        let head = self.log.events.len() as u64;
        let refused = self.is_wild && item.epoch != Epoch(0) && self.chance.one_in(6);
        let verdict = VerdictItem {
            room: ROOM,
            verdict: if refused { Verdict::REFUSED } else { Verdict::EXACT },
            epoch: EPOCH,
            first: Seq(1),
            head: Seq(head),
            next: item.seq.next(),
            gap_from: Seq(0),
            gap_to: Seq(0),
            gap_reason: GapReason(0),
            code: if refused { ErrorCode::UNAVAILABLE } else { ErrorCode(0) },
        };
        self.down(correlation, &Frame::Subscribed(Subscribed { rooms: List::truncated(vec![verdict]) }));
        if let Some(connection) = self.connection.as_mut().filter(|_| !refused) {
            let (next, acked) = (item.seq.0 + 1, item.seq.0);
            connection.following = Some(Following { next, acked, window: u64::from(item.window) });
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        let following = self.connection.as_mut().and_then(|connection| connection.following.as_mut());
        let following = following.expect("only what is followed is acknowledged");
        assert!(ack.seq.0 < following.next && ack.seq.0 >= following.acked, "{ack:?} of {}", following.next);
        assert_eq!((ack.room, ack.epoch), (ROOM, EPOCH));
        following.acked = ack.seq.0;
    }

    /// Sends what credit allows; a wild server leaves events out and sends others twice.
    fn server_sends_events(&mut self) {
        let (is_hole, is_twice) =
            (self.is_wild && self.chance.one_in(20), self.is_wild && self.chance.one_in(10));
        let head = self.log.events.len() as u64;
        let Some(connection) = self.connection.as_mut() else { return };
        let Some(following) = connection.following.as_mut() else { return };
        if following.next > following.acked + following.window {
            let behind = head + 1 - following.next.min(head);
            let mark = Head { room: ROOM, epoch: EPOCH, head: Seq(head), behind };
            connection.down.push_back(raw(0, &Frame::Head(mark)));
            return;
        }
        if following.next > head {
            return;
        }
        let seq = following.next + u64::from(is_hole && following.next < head);
        following.next = seq + 1;
        let (client_id, author) = self.log.events[seq as usize - 1];
        let event = Event {
            room: ROOM,
            seq: Seq(seq),
            time: UnixMillis(seq),
            author,
            author_name: AccountName::parse("xx").unwrap(),
            client_id,
            kind: Kind::MESSAGE,
            body: Blob::default(),
        };
        for _ in 0..=u32::from(is_twice) {
            connection.down.push_back(raw(0, &Frame::Event(event.clone())));
        }
    }

    /// Lets everything come to rest: no more trouble, everything on its way arrives.
    fn settle(&mut self) {
        self.is_wild = false;
        for _ in 0..100_000 {
            self.dial();
            let is_moving = self
                .connection
                .as_ref()
                .is_some_and(|connection| !connection.up.is_empty() || !connection.down.is_empty());
            let (shown, waiting) = (self.shown, self.waiting.len());
            self.server_reads();
            self.server_sends_events();
            self.client_reads();
            self.take();
            let is_behind = shown != self.shown || waiting > 0 || self.shown < self.log.events.len() as u64;
            let is_ready = matches!(self.session.state, State::Ready { .. });
            let is_answered = self.outcomes.len() == self.published.len();
            if is_ready && !is_moving && is_answered && (!is_behind || self.taken.items == 0) {
                return;
            }
            if !is_moving {
                self.wait();
            }
        }
        panic!(
            "it does not come to rest: {:?}, {} of {} answered",
            self.session.state,
            self.outcomes.len(),
            self.published.len()
        );
    }

    /// What must be true when everything is at rest.
    fn check(&self) {
        assert_eq!(self.outcomes.len(), self.published.len(), "every publish has an outcome");
        let mut last = 0;
        for (n, client_id) in self.published.iter().enumerate() {
            match (&self.outcomes[&(n as u64)], self.log.seqs.get(client_id)) {
                (Ok(seq), Some(stored)) => {
                    assert_eq!(seq, stored);
                    assert!(
                        *seq > last || !self.keeps_order,
                        "publish {n} stands at {seq}, behind one that was made later"
                    );
                    last = *seq;
                }
                (Err(Failure::Refused(_)), None) => {}
                (outcome, stored) => panic!("publish {n}: {outcome:?} and {stored:?}"),
            }
        }
        assert_eq!(self.shown, self.log.events.len() as u64, "everything was shown");
    }
}

#[test]
fn whatever_happens_every_publish_has_one_outcome_and_every_event_is_shown_once() {
    let (mut violations, mut events) = (0, 0);
    for seed in 0..600 {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.step();
        }
        world.settle();
        world.take();
        world.settle();
        world.check();
        violations += world.violations;
        events += world.log.events.len();
    }
    // The world was wild enough to mean something.
    assert!(violations > 100 && events > 10_000, "{violations} holes, {events} events");
}

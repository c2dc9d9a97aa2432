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
const ABANDON: Token = Token(1_000_001);

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
    /// The publish that was refused for now and was neither sent again nor given up since.
    awaited: Option<ClientId>,
    /// What the client sent under which correlation, and which refused one it knows the server to wait for.
    sent: BTreeMap<u32, ClientId>,
    told: Option<ClientId>,
}

/// What the application published.
struct Made {
    client_id: ClientId,
    keep: Keep,
    /// What became of it; a publish in memory is gone with its process.
    fate: Option<Fate>,
    /// Whether its time had passed before there was a verdict.
    is_late: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Answered(Result<u64, Failure>),
    DiedWithTheProcess,
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
    /// Connections that the client has lost and the server has not: what was on its way may still arrive.
    zombies: Vec<Connection>,
    is_dialling: bool,
    /// Whether the world still makes trouble.
    is_wild: bool,
    keeps_order: bool,
    made: Vec<Made>,
    /// Which publish a token stands for.
    tokens: BTreeMap<u64, usize>,
    next_token: u64,
    /// Places in `made` of what is on the disk, in order.
    disk: Vec<usize>,
    deaths: u64,
    /// Whether the client has ended by itself: its first login failed.
    is_over: bool,
    was_ready: bool,
    is_following: bool,
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
            zombies: Vec::new(),
            is_dialling: false,
            is_wild: false,
            keeps_order: !seed.is_multiple_of(4),
            made: Vec::new(),
            tokens: BTreeMap::new(),
            next_token: 0,
            disk: Vec::new(),
            deaths: 0,
            is_over: false,
            was_ready: false,
            is_following: false,
            waiting: VecDeque::new(),
            taken: Taken::default(),
            shown: 0,
            others: 0,
            violations: 0,
        };
        world.perform();
        world.settle();
        world.follow();
        world.is_wild = true;
        world
    }

    /// Follows the room from where the application is.
    fn follow(&mut self) {
        self.is_following = true;
        let epoch = (self.shown > 0).then_some(EPOCH);
        let start = Start::After { epoch, seq: Seq(self.shown) };
        self.command(Command::Follow { token: FOLLOW, feed: FEED, room: ROOM, start, level: Level::FULL });
    }

    /// The process dies and another one begins, with what is on the disk and with the position of the application.
    fn dies(&mut self) {
        if self.deaths >= 4 || !self.chance.one_in(8) {
            return;
        }
        self.deaths += 1;
        self.begins_again();
    }

    fn begins_again(&mut self) {
        (self.is_over, self.was_ready) = (false, false);
        self.zombies.extend(self.connection.take());
        for made in self.made.iter_mut().filter(|made| made.keep == Keep::Memory) {
            made.fate.get_or_insert(Fate::DiedWithTheProcess);
        }
        self.tokens.clear();
        (self.waiting, self.taken, self.is_dialling) = (VecDeque::new(), Taken::default(), false);
        self.session = Session::new(config(), self.chance.0, self.now, &mut self.out);
        for place in self.disk.clone() {
            let token = self.token(place);
            let publish = publish(self.made[place].client_id);
            self.session.on_found(token, publish);
        }
        self.perform();
        // Its first login is as hard as any.
        self.follow();
    }

    fn token(&mut self, place: usize) -> Token {
        self.next_token += 1;
        self.tokens.insert(self.next_token, place);
        Token(self.next_token)
    }

    /// How many publishes have no outcome.
    fn open(&self) -> usize {
        self.made.iter().filter(|made| made.fate.is_none()).count()
    }

    fn command(&mut self, command: Command) {
        self.session.on_command(command, self.now, &mut self.out);
        self.perform();
    }

    fn perform(&mut self) {
        let mut must_follow = false;
        for effect in std::mem::take(&mut self.out) {
            match effect {
                Effect::Dial { .. } => self.is_dialling = true,
                Effect::Send(frame) => {
                    let connection = self.connection.as_mut().expect("frames are sent on a connection");
                    connection.up.push_back(RawFrame::from_stored(frame.to_bytes()).unwrap());
                    if let (correlation, Frame::Publish(publish)) = sent(&frame) {
                        self.sends(correlation, &publish);
                    }
                }
                Effect::Disconnect => (self.connection, self.is_dialling) = (None, false),
                Effect::Answer(FOLLOW, answer) => {
                    // A first SUBSCRIBE that is refused for now is the application's to repeat.
                    must_follow = matches!(answer, Err(Failure::Refused(_)));
                    assert!(
                        matches!(answer, Ok(_) | Err(Failure::Closed | Failure::Refused(_))),
                        "{answer:?}"
                    );
                }
                Effect::Answer(ABANDON, _) => {}
                Effect::Answer(token, answer) => {
                    let outcome = answer.map(|frame| match frame {
                        Frame::Published(published) => published.seq.0,
                        other => panic!("{other:?}"),
                    });
                    let place = self.tokens.remove(&token.0).expect("a publish has one outcome");
                    if outcome == Err(Failure::Kept) {
                        // The process that follows finds it on the disk.
                        continue;
                    }
                    self.made[place].fate = Some(Fate::Answered(outcome));
                    self.disk.retain(|kept| *kept != place);
                }
                Effect::Late(token) => {
                    let made = &mut self.made[self.tokens[&token.0]];
                    assert!(made.keep == Keep::Disk && !made.is_late, "it is told once, of what is kept");
                    made.is_late = true;
                }
                Effect::Item(FEED, item) => self.waiting.push_back(item),
                Effect::Event(ClientEvent::Reconnecting { reason: Reason::Protocol(_), .. }) => {
                    self.violations += 1
                }
                Effect::Closed(reason) => {
                    assert!(!self.was_ready, "nothing but a first login is final: {reason:?}");
                    self.is_over = true;
                }
                Effect::Ready { .. } => self.was_ready = true,
                _ => {}
            }
        }
        if self.is_over {
            self.begins_again();
        } else if must_follow {
            self.follow();
        }
        let events = self.waiting.iter().filter(|item| matches!(item, RoomEvent::Event(_))).count();
        assert!(events <= 8 + 4, "more than one and a half windows wait: {events}");
        assert!(self.waiting.len() <= 8 + 4 + 64, "the queue grows: {}", self.waiting.len());
    }

    /// The client sends a publish. Nothing goes before one that it knows to be waited for, unless that one is given
    /// up; and then it says so.
    fn sends(&mut self, correlation: Correlation, publish: &Publish) {
        let connection = self.connection.as_mut().expect("frames are sent on a connection");
        connection.sent.insert(correlation.0, publish.client_id);
        match connection.told.take() {
            Some(told) if told != publish.client_id && self.keeps_order => {
                let made = self.made.iter().find(|made| made.client_id == told).expect("it was made");
                assert!(made.fate.is_some(), "a publish passes one that was refused");
                assert!(publish.abandon, "what is given up is said to be");
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        match self.chance.below(18) {
            16 => self.abandons(),
            17 if self.is_wild => self.dies(),
            17 => {}
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
        if self.open() >= 64 || self.made.len() >= 60_000 {
            return;
        }
        let n = self.made.len() as u64;
        let mut id = [1; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let client_id = ClientId::new(id).unwrap();
        let keep = if self.chance.one_in(2) { Keep::Disk } else { Keep::Memory };
        let within = self.chance.one_in(3).then(|| Duration::from_millis(1 + self.chance.below(90_000)));
        let place = self.made.len();
        self.made.push(Made { client_id, keep, fate: None, is_late: false });
        if keep == Keep::Disk {
            self.disk.push(place);
        }
        let token = self.token(place);
        self.command(Command::Publish { token, publish: publish(client_id), within, keep });
    }

    /// The application gives one of its publishes up.
    fn abandons(&mut self) {
        let open: Vec<usize> = (0..self.made.len()).filter(|n| self.made[*n].fate.is_none()).collect();
        if open.is_empty() || !self.chance.one_in(3) {
            return;
        }
        // Mostly the oldest: that is where refusals and lost answers are.
        let place = open[self.chance.below((open.len() as u64).min(3)) as usize];
        let client_id = self.made[place].client_id;
        let was_open = self.made[place].fate.is_none();
        self.command(Command::Abandon { token: ABANDON, client_id });
        assert!(self.made[place].fate.is_some(), "what is given up has an outcome at once");
        let is_given_up = matches!(
            self.made[place].fate,
            Some(Fate::Answered(Err(Failure::Abandoned | Failure::Unknown | Failure::Refused(_))))
        );
        assert!(is_given_up || !was_open, "{:?}", self.made[place].fate);
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

    /// The connection breaks: nothing comes down any more; what was on its way up may still arrive.
    fn breaks(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.down.clear();
            self.zombies.push(connection);
            self.session.on_disconnected(Lost::Io("reset".into()), self.now, &mut self.out);
            self.perform();
        }
    }

    /// The server reads what was sent on a connection that the client has lost, or finds out that it is lost.
    fn server_reads_late(&mut self) {
        let Some(mut connection) = self.zombies.pop() else { return };
        let live = self.connection.take();
        for _ in 0..self.chance.below(4) {
            let Some(raw) = connection.up.pop_front() else { break };
            self.connection = Some(std::mem::take(&mut connection));
            if let Frame::Publish(publish) = Frame::decode(&raw).unwrap() {
                self.on_publish(raw.header().correlation, &publish);
            }
            connection = self.connection.take().unwrap();
        }
        self.connection = live;
        if !connection.up.is_empty() && !self.chance.one_in(4) {
            self.zombies.push(connection);
        }
    }

    fn client_reads(&mut self) {
        let Some(raw) = self.connection.as_mut().and_then(|connection| connection.down.pop_front()) else {
            return;
        };
        if let (Frame::Error(error), Some(connection)) = (Frame::decode(&raw).unwrap(), &mut self.connection)
            && matches!(error.code, ErrorCode::RATE | ErrorCode::UNAVAILABLE)
        {
            connection.told = connection.sent.get(&raw.header().correlation.0).copied();
        }
        self.session.on_bytes(Rest::None, self.now, &mut self.out);
        self.session.on_frame(&raw, self.now, &mut self.out);
        self.perform();
    }

    fn server_reads(&mut self) {
        if self.chance.one_in(3) {
            self.server_reads_late();
        }
        let Some(raw) = self.connection.as_mut().and_then(|connection| connection.up.pop_front()) else {
            return;
        };
        let correlation = raw.header().correlation;
        match Frame::decode(&raw).unwrap() {
            Frame::Hello(_) => self.down(correlation, &welcome(1)),
            Frame::Auth(_) => self.down(correlation, &in_session()),
            Frame::Resume(_) if self.is_wild && self.chance.one_in(4) => {
                self.down(correlation, &error(ErrorCode::SESSION_EXPIRED, 0));
            }
            Frame::Resume(_) => self.down(correlation, &in_session()),
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
        if !is_known && let Some(code) = self.refuses(publish) {
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

    /// A server that keeps order lets nothing pass a publish that it has refused for now, until that comes again or
    /// is said to be given up.
    fn refuses(&mut self, publish: &Publish) -> Option<ErrorCode> {
        let (client_id, is_wild) = (publish.client_id, self.is_wild);
        let connection = self.connection.as_mut()?;
        if let Some(awaited) = connection.awaited.filter(|_| self.keeps_order) {
            if publish.abandon {
                let made = self.made.iter().find(|made| made.client_id == awaited).expect("it was made");
                assert!(made.fate.is_some(), "what was given up is not waited for by anybody");
            } else if awaited != client_id {
                return Some(ErrorCode::PREDECESSOR_REFUSED);
            }
        }
        connection.awaited = None;
        if self.log.unwelcome.contains(&client_id) {
            return Some(ErrorCode::TOO_LARGE);
        }
        if !is_wild {
            return None;
        }
        if self.chance.one_in(16) {
            self.log.unwelcome.push(client_id);
            return Some(ErrorCode::TOO_LARGE);
        }
        let code = match self.chance.below(24) {
            0..=2 => ErrorCode::RATE,
            3 => ErrorCode::UNAVAILABLE,
            _ => return None,
        };
        connection.awaited = Some(client_id);
        Some(code)
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
            let is_answered = self.open() == 0;
            if is_ready && !is_moving && is_answered && (!is_behind || !self.is_following) {
                return;
            }
            if !is_moving {
                self.wait();
            }
        }
        panic!(
            "it does not come to rest: {:?}, {} of {} answered",
            self.session.state,
            self.made.len() - self.open(),
            self.made.len()
        );
    }

    /// What must be true when everything is at rest.
    fn check(&self) {
        let mut last = 0;
        for (n, made) in self.made.iter().enumerate() {
            let stored = self.log.seqs.get(&made.client_id).copied();
            let fate = made.fate.as_ref().expect("every publish has an outcome");
            match (fate, stored) {
                (Fate::Answered(Ok(seq)), Some(stored)) => assert_eq!(*seq, stored),
                (
                    Fate::Answered(Err(
                        Failure::Refused(_) | Failure::Expired | Failure::Abandoned | Failure::Closed,
                    )),
                    None,
                ) => {}
                // Nobody knows, and a word that came too late may still have been heard, behind others.
                (Fate::Answered(Err(Failure::Unknown)) | Fate::DiedWithTheProcess, _) => continue,
                (fate, stored) => panic!("publish {n}: {fate:?} and {stored:?}"),
            }
            assert!(made.keep == Keep::Memory || *fate != Fate::DiedWithTheProcess);
            if let Some(seq) = stored.filter(|_| self.keeps_order) {
                assert!(seq > last, "publish {n} stands at {seq}, behind one that was made later");
                last = seq;
            }
        }
        assert!(self.disk.is_empty() && self.tokens.is_empty(), "nothing is kept that has an outcome");
        assert_eq!(self.shown, self.log.events.len() as u64, "everything was shown");
    }
}

fn publish(client_id: ClientId) -> Publish {
    Publish { room: ROOM, client_id, kind: Kind::MESSAGE, abandon: false, body: Blob::default() }
}

/// A login with a session, so that later connections try to take it up again.
fn in_session() -> Frame {
    let Frame::Authenticated(answer) = authenticated() else { panic!("AUTHENTICATED") };
    Frame::Authenticated(Authenticated { session_token: Secret::parse("token").unwrap(), ..answer })
}

/// How many schedules are played: `PROPTEST_CASES`, or enough for every day.
fn cases() -> u64 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(600)
}

#[test]
fn whatever_happens_every_publish_has_one_outcome_and_every_event_is_shown_once() {
    let (mut violations, mut events, mut deaths) = (0, 0, 0);
    for seed in 0..cases() {
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
        deaths += world.deaths;
    }
    // The world was wild enough to mean something.
    assert!(
        violations > cases() / 6 && events as u64 > cases() * 16 && deaths > cases(),
        "{violations} holes, {events} events, {deaths} deaths"
    );
}

//! The world of a schedule: logs, connections, what is under way between them, and the steps that move it.

use std::collections::{BTreeMap, BTreeSet};

use hark_core::delivery::{Delivery, Fetch, RoomHandle};
use hark_core::outstanding::{Barriers, Outstanding};
use hark_core::ports::Stored;
use hark_core::room::Ask;
use hark_core::subscription::{Beginning, Subscription};
use hark_protocol::*;
use proptest::prelude::Just;
use proptest::{prop_oneof, strategy::Strategy};

use super::client::Client;
use super::log::{Handle, Log, OWNER, author};
use crate::wire::written;

/// More than may read from the store at once.
pub(super) const ROOMS: u64 = 7;
/// Accounts 1 and 2; account 1 is connected twice.
const ACCOUNTS: [u64; 3] = [1, 1, 2];

/// One step. Rooms, connections and what is under way are chosen by number.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Append(u64, What),
    Apply(u64, [Fate; 3]),
    Hints(usize, usize),
    Recheck(usize),
    Round(usize, usize),
    Read(usize, usize),
    Fetched(usize, usize, Fetching),
    Ack(usize, u64, u64),
    AckBeyond(usize, u64, u64),
    AckStray(usize, u64),
    Subscribe(usize, u64, Start, u32),
    Unsubscribe(usize, u64),
    TellHeads(usize),
    Ping(usize),
    Pongs(usize),
    ShrinkTail(u64, usize),
    Damage(u64, u64),
    Retain(u64, u64),
    Reload(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Message(u64, usize),
    Join(u64),
    Leave(u64),
    Kick(u64),
}

/// What becomes of a hint.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Comes,
    ComesTwice,
    IsLost,
}

/// What becomes of a read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fetching {
    Whole,
    Fails,
    Short(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Oldest,
    Now,
    Latest(u64),
    Behind(u64),
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let (room, at) = (|| 1..=ROOMS, || 0..ACCOUNTS.len());
    let body = prop_oneof![4 => 0..40_usize, 1 => 2_000..3_000_usize];
    let what = prop_oneof![
        12 => (prop_oneof![Just(OWNER), 1..3_u64], body).prop_map(|(by, size)| What::Message(by, size)),
        3 => (1..3_u64).prop_map(What::Join),
        1 => (1..3_u64).prop_map(What::Leave),
        1 => (1..3_u64).prop_map(What::Kick),
    ];
    let fate = || prop_oneof![4 => Just(Fate::Comes), 1 => Just(Fate::ComesTwice), 1 => Just(Fate::IsLost)];
    let fetching = prop_oneof![
        4 => Just(Fetching::Whole),
        1 => Just(Fetching::Fails),
        1 => (1..4_usize).prop_map(Fetching::Short),
    ];
    let start = prop_oneof![
        Just(Start::Oldest),
        Just(Start::Now),
        (0..20_u64).prop_map(Start::Latest),
        (0..40_u64).prop_map(Start::Behind),
    ];
    let window = prop_oneof![1..6_u32, 1..200_u32];
    let bytes = prop_oneof![1..300_usize, Just(100_000)];
    prop_oneof![
        20 => (room(), what).prop_map(|(room, what)| Op::Append(room, what)),
        12 => (room(), [fate(), fate(), fate()]).prop_map(|(room, fates)| Op::Apply(room, fates)),
        10 => (at(), 0..8_usize).prop_map(|(at, turn)| Op::Hints(at, turn)),
        2 => at().prop_map(Op::Recheck),
        20 => (at(), bytes).prop_map(|(at, bytes)| Op::Round(at, bytes)),
        6 => (at(), 0..4_usize).prop_map(|(at, nth)| Op::Read(at, nth)),
        12 => (at(), 0..4_usize, fetching).prop_map(|(at, nth, how)| Op::Fetched(at, nth, how)),
        14 => (at(), room(), 0..10_u64).prop_map(|(at, room, back)| Op::Ack(at, room, back)),
        1 => (at(), room(), 1..10_u64).prop_map(|(at, room, over)| Op::AckBeyond(at, room, over)),
        1 => (at(), room()).prop_map(|(at, room)| Op::AckStray(at, room)),
        5 => (at(), room(), start, window).prop_map(|(at, room, start, window)| Op::Subscribe(at, room, start, window)),
        1 => (at(), room()).prop_map(|(at, room)| Op::Unsubscribe(at, room)),
        2 => at().prop_map(Op::TellHeads),
        2 => at().prop_map(Op::Ping),
        4 => at().prop_map(Op::Pongs),
        2 => (room(), 0..500_usize).prop_map(|(room, bytes)| Op::ShrinkTail(room, bytes)),
        1 => (room(), 0..20_u64).prop_map(|(room, back)| Op::Damage(room, back)),
        1 => (room(), 0..20_u64).prop_map(|(room, keep)| Op::Retain(room, keep)),
        1 => room().prop_map(Op::Reload),
    ]
}

/// What a schedule's world is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) tail_bytes_max: usize,
    pub(super) connection_window: u32,
}

#[derive(Debug)]
pub(super) struct World {
    logs: BTreeMap<RoomId, Log>,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    delivery: Delivery<Handle>,
    client: Client,
    hints: Vec<RoomId>,
    /// Reads that were asked for, and what was read where that has happened already.
    fetches: Vec<(Fetch, Option<Vec<Stored>>)>,
    outstanding: Outstanding,
    barriers: Barriers,
    /// For each PING, the room heads that its PONG has to follow.
    pings: BTreeMap<Correlation, BTreeMap<RoomId, Seq>>,
    pinged: u32,
}

impl World {
    pub(super) fn new(sizes: Sizes) -> World {
        let policy = |id| if id == ROOMS { HistoryPolicy::SINCE_JOIN } else { HistoryPolicy::ALL };
        let log = |id| (RoomId(id), Log::new(RoomId(id), policy(id), sizes.tail_bytes_max));
        let connection = |account| Connection::new(AccountId(account), sizes.connection_window);
        World { logs: (1..=ROOMS).map(log).collect(), connections: ACCOUNTS.map(connection).into() }
    }

    pub(super) fn step(&mut self, op: Op) {
        match op {
            Op::Append(room, what) => self.append(room, what),
            Op::Apply(room, fates) => self.apply(RoomId(room), fates),
            Op::Recheck(at) => self.connections[at].delivery.recheck(),
            Op::Hints(at, turn) => self.connections[at].take_hints(turn),
            Op::Round(at, bytes) => self.connections[at].round(bytes, &self.logs),
            Op::Read(at, nth) => self.connections[at].read(nth, &self.logs),
            Op::Fetched(at, nth, how) => self.connections[at].fetched(nth, how, &self.logs),
            Op::Ack(at, room, back) => self.connections[at].ack(RoomId(room), back),
            Op::AckBeyond(at, room, over) => self.connections[at].ack_beyond(RoomId(room), over),
            Op::AckStray(at, room) => self.connections[at].ack_stray(RoomId(room)),
            Op::Subscribe(at, room, start, window) => {
                self.connections[at].subscribe(&self.logs[&RoomId(room)], start, window);
            }
            Op::Unsubscribe(at, room) => self.connections[at].unsubscribe(RoomId(room)),
            Op::TellHeads(at) => self.connections[at].tell_heads(&self.logs),
            Op::Ping(at) => self.connections[at].ping(),
            Op::Pongs(at) => self.connections[at].pongs(),
            Op::ShrinkTail(room, bytes) => self.log(room).shrink_tail(bytes),
            Op::Damage(room, back) => {
                let log = self.log(room);
                log.damage(Seq(log.head().0.saturating_sub(back)));
            }
            Op::Retain(room, keep) => {
                let log = self.log(room);
                log.retain_from(Seq(log.head().next().0.saturating_sub(keep)));
            }
            Op::Reload(room) => self.log(room).reload(),
        }
        self.connections.iter().for_each(Connection::check);
    }

    fn log(&mut self, room: u64) -> &mut Log {
        self.logs.get_mut(&RoomId(room)).expect("a room of this world")
    }

    fn read_all(&mut self, at: usize) {
        while !self.connections[at].fetches.is_empty() {
            self.step(Op::Fetched(at, 0, Fetching::Whole));
        }
    }

    /// What the connection has of a room: the next seq that has to come, unless nothing will.
    pub(super) fn next(&self, at: usize, room: u64) -> Option<Seq> {
        self.connections[at].client.follows.get(&RoomId(room)).map(|following| following.next)
    }

    fn append(&mut self, room: u64, what: What) {
        let member = |account| author(account);
        let (by, ask) = match what {
            What::Message(by, size) => {
                (by, Ask::Publish { kind: Kind::MESSAGE, body: vec![b'x'; size].into() })
            }
            What::Join(by) => (by, Ask::Join { rooms_joined: 0 }),
            What::Leave(by) => (by, Ask::Leave),
            What::Kick(whom) => (OWNER, Ask::Kick { member: member(whom), reason: Line::default() }),
        };
        self.log(room).append(&author(by), &ask);
    }

    fn apply(&mut self, room: RoomId, fates: [Fate; 3]) {
        if !self.log(room.0).apply() {
            return;
        }
        for (connection, fate) in self.connections.iter_mut().zip(fates) {
            let times = match fate {
                Fate::Comes => 1,
                Fate::ComesTwice => 2,
                Fate::IsLost => 0,
            };
            connection.hints.extend(std::iter::repeat_n(room, times));
        }
    }

    /// From now on nothing is lost and every client acknowledges: behind one look at everything each has to
    /// catch up with every room that it follows, without another, and every PING has its PONG.
    pub(super) fn settle(&mut self) {
        for log in self.logs.values_mut() {
            log.apply();
            if log.first > log.head() {
                log.reload(); // where nothing is left to be read, only the room can say so
            }
        }
        for at in 0..self.connections.len() {
            let events: u64 = self.logs.values().map(|log| log.head().0).sum();
            let turns = 4 * events + 20;
            self.read_all(at);
            self.step(Op::Recheck(at));
            for _ in 0..turns {
                self.step(Op::Round(at, 100_000));
                self.read_all(at);
                (1..=ROOMS).for_each(|room| self.step(Op::Ack(at, room, 0)));
                if self.connections[at].is_settled(&self.logs) {
                    break;
                }
            }
            self.step(Op::Pongs(at));
            let connection = &self.connections[at];
            assert!(connection.is_settled(&self.logs), "{connection:?} does not catch up");
            assert!(connection.pings.is_empty(), "PONGs that never come: {:?}", connection.pings);
        }
    }
}

impl Connection {
    fn new(account: AccountId, window: u32) -> Connection {
        Connection {
            delivery: Delivery::new(account, window),
            client: Client::new(account, window),
            hints: Vec::new(),
            fetches: Vec::new(),
            outstanding: Outstanding::default(),
            barriers: Barriers::default(),
            pings: BTreeMap::new(),
            pinged: 0,
        }
    }

    /// What holds after every step.
    fn check(&self) {
        assert_eq!(self.delivery.in_flight(), self.client.in_flight(), "events in flight");
        let followed: BTreeSet<RoomId> = self.client.follows.keys().copied().collect();
        assert_eq!(self.delivery.len(), followed.len());
        for (room, following) in &self.client.follows {
            let subscription = self.delivery.get(*room).expect("it is followed");
            assert_eq!(subscription.next(), following.next);
            assert_eq!(subscription.acked(), following.acked);
            assert_eq!(subscription.in_flight(), following.unacked.len() as u64);
            assert_eq!(subscription.is_live(), following.is_live);
        }
        let reads: BTreeSet<_> = self.fetches.iter().map(|(fetch, _)| fetch.generation).collect();
        assert_eq!(reads.len(), self.fetches.len(), "two reads at once for one subscription");
    }

    fn take_hints(&mut self, turn: usize) {
        let mut hints = std::mem::take(&mut self.hints);
        let turn = turn % hints.len().max(1);
        hints.rotate_left(turn);
        hints.into_iter().for_each(|room| self.delivery.hint(room));
    }

    fn round(&mut self, bytes_max: usize, logs: &BTreeMap<RoomId, Log>) {
        let mut out = Vec::new();
        let before = self.client.in_flight();
        let round = self.delivery.round(bytes_max, &mut out);
        let frames = written(&out);
        frames.iter().for_each(|(correlation, frame)| {
            assert_eq!(*correlation, 0);
            self.client.take(frame, logs);
        });
        let events = frames.iter().filter(|(_, frame)| matches!(frame, Frame::Event(_))).count() as u64;
        assert_eq!(round.events, events);
        assert_eq!(self.client.in_flight(), before + events);
        let mut begins = 0;
        for (_, frame) in &frames {
            let marks = 150; // a GAP and a REPLAYED may stand between the bound and the event behind them
            let is_event = matches!(frame, Frame::Event(_));
            assert!(!is_event || begins < bytes_max + marks, "an EVENT at byte {begins} of {bytes_max}");
            begins += frame.encode(Correlation::NONE).as_slice().len();
        }
        for room in &round.ended {
            assert!(self.client.follows.remove(room).is_some_and(|following| following.is_ended));
            assert!(self.delivery.remove(*room).is_some());
        }
        assert!(self.client.follows.values().all(|following| !following.is_ended));
        self.fetches.extend(round.fetches.into_iter().map(|fetch| (fetch, None)));
    }

    fn read(&mut self, nth: usize, logs: &BTreeMap<RoomId, Log>) {
        if let Some((fetch, read)) = self.fetches.get_mut(nth) {
            *read = Some(logs[&fetch.room].read(fetch.from, fetch.budget));
        }
    }

    fn fetched(&mut self, nth: usize, how: Fetching, logs: &BTreeMap<RoomId, Log>) {
        if nth >= self.fetches.len() {
            return;
        }
        let (fetch, read) = self.fetches.remove(nth);
        assert!(fetch.budget.events > 0);
        let mut read = read.unwrap_or_else(|| logs[&fetch.room].read(fetch.from, fetch.budget));
        match how {
            Fetching::Whole => {}
            Fetching::Fails => read.clear(),
            Fetching::Short(events) => read.truncate(events),
        }
        self.delivery.fetched(&fetch, read);
    }

    fn ack(&mut self, room: RoomId, back: u64) {
        let Some(following) = self.client.follows.get_mut(&room) else { return };
        let seq = Seq(following.next.previous().0.saturating_sub(back));
        let moves = seq >= following.acked;
        following.ack(seq);
        assert_eq!(self.delivery.on_ack(&Ack { room, epoch: Epoch(7), seq }), Ok(moves));
    }

    fn ack_beyond(&mut self, room: RoomId, over: u64) {
        let Some(following) = self.client.follows.get(&room) else { return };
        let seq = Seq(following.next.previous().0 + over);
        let refused = self.delivery.on_ack(&Ack { room, epoch: Epoch(7), seq });
        assert!(refused.is_err(), "LG-R36: an ACK of {seq} was taken");
    }

    /// LG-R37: an ACK of another epoch, or for a room that is not followed.
    fn ack_stray(&mut self, room: RoomId) {
        let epoch = if self.client.follows.contains_key(&room) { Epoch(6) } else { Epoch(7) };
        assert_eq!(self.delivery.on_ack(&Ack { room, epoch, seq: Seq(u64::MAX) }), Ok(false));
    }

    fn subscribe(&mut self, log: &Log, start: Start, window: u32) {
        let Ok(view) = log.handle.with(|room| room.view(self.client.account)) else { return };
        let (from, seq) = match start {
            Start::Oldest => (From::START, 0),
            Start::Now => (From::NOW, 0),
            Start::Latest(events) => (From::LATEST, events),
            Start::Behind(seq) => (From::POSITION, seq),
        };
        let item = SubscribeItem {
            room: log.id,
            from,
            epoch: Epoch(0),
            seq: Seq(seq),
            mode: SubscriptionMode::TRANSIENT,
            level: Level::FULL,
            window,
        };
        let next = match Beginning::resolve(&item, &view, None) {
            Beginning::Exact { next } | Beginning::Gap { next, .. } => next,
            Beginning::Reset | Beginning::Unsupported => return,
        };
        self.client.follow(log.id, &view, next, window);
        self.strike(log.id);
        self.delivery.insert(log.id, log.handle.clone(), Subscription::new(&view, next, window));
    }

    fn unsubscribe(&mut self, room: RoomId) {
        let was = self.client.follows.remove(&room).is_some();
        self.strike(room);
        assert_eq!(self.delivery.remove(room).is_some(), was);
    }

    /// Looks at everything, and tells how far behind the client is where there is no credit.
    fn tell_heads(&mut self, logs: &BTreeMap<RoomId, Log>) {
        self.delivery.recheck();
        self.round(usize::MAX / 2, logs);
        let mut out = Vec::new();
        self.delivery.tell_heads(&mut out);
        let frames = written(&out);
        assert!(frames.len() <= self.delivery.lagging());
        frames.iter().for_each(|(_, frame)| self.client.take(frame, logs));
        let is_full = self.client.in_flight() >= self.client.window();
        for (room, following) in &self.client.follows {
            let reads = self.fetches.iter().any(|(fetch, _)| fetch.room == *room);
            let account = self.client.account;
            let (head, is_member) =
                logs[room].handle.with(|room| (room.head(), room.member(account).is_some()));
            if (following.is_full() || is_full) && following.next <= head && is_member && !reads {
                assert_eq!(following.head_told, head, "LG-R42: events, no credit and no HEAD");
            }
        }
    }

    fn ping(&mut self) {
        self.pinged += 1;
        let correlation = Correlation(self.pinged);
        self.barriers.push(correlation, Blob::default(), self.outstanding.last());
        let live = self.client.follows.iter().filter(|(_, following)| following.is_live);
        let heads = live
            .map(|(room, _)| (*room, self.delivery.handle(*room).expect("followed").with(|it| it.head())));
        self.pings.insert(correlation, heads.collect());
    }

    /// A PING waits no more for a room whose subscription has ended.
    fn strike(&mut self, room: RoomId) {
        for targets in self.pings.values_mut() {
            targets.remove(&room);
        }
    }

    fn pongs(&mut self) {
        let client = &self.client;
        let is_full = client.in_flight() >= client.window();
        for targets in self.pings.values_mut() {
            targets.retain(|room, head| {
                client.follows.get(room).is_some_and(|it| it.next <= *head && !it.is_full() && !is_full)
            });
        }
        while let Some(due) = self.barriers.take_due(&self.outstanding, &self.delivery) {
            let targets = self.pings.remove(&due.correlation).expect("a PING that waits");
            assert!(targets.is_empty(), "CO-R30: a PONG before {targets:?}");
        }
        // CO-R31: a PONG that is held back waits for a live room that can go on.
        if !self.pings.is_empty() {
            let can_go_on = |room: &RoomId| {
                let following = &client.follows[room];
                let head = self.delivery.handle(*room).expect("followed").with(|it| it.head());
                following.is_live && following.next <= head && !following.is_full() && !is_full
            };
            assert!(client.follows.keys().any(can_go_on), "a PONG is held back for nothing");
        }
    }

    fn is_settled(&self, logs: &BTreeMap<RoomId, Log>) -> bool {
        let caught_up =
            self.client.follows.iter().all(|(room, following)| following.is_caught_up(&logs[room]));
        caught_up && self.fetches.is_empty() && self.client.in_flight() == 0
    }
}

//! Valid histories: a server that keeps its promise, with authors who pipeline, retry and give up, readers who fall
//! behind, kicks, retention and restored backups.

use std::collections::VecDeque;

use hark_checker::record::{
    Asked, CONFLICT, Change, Phase, Policy, Publish, Record, Subscribe, Told, VERSION, What,
};

use crate::chance::Chance;

/// The room that is never restored: anomalies are injected there.
pub(crate) const TEA: &str = "tea";
/// The room whose newcomers see nothing from before.
pub(crate) const DEN: &str = "den";

pub(crate) struct World {
    pub(crate) records: Vec<Record>,
    chance: Chance,
    t: u64,
    rooms: Vec<Room>,
    sessions: Vec<Session>,
    readers: Vec<Reader>,
    made: usize,
}

struct Room {
    name: &'static str,
    policy: Policy,
    epoch: u64,
    first: u64,
    log: Vec<Told>,
}

struct Session {
    name: String,
    author: String,
    pending: VecDeque<Pending>,
    acked: Vec<(Pending, u64, u64)>,
}

#[derive(Clone)]
struct Pending {
    room: usize,
    cid: String,
    hash: String,
    stored: Option<u64>,
}

struct Reader {
    name: String,
    account: String,
    room: usize,
    next: u64,
    /// The last seq that it may see.
    removed_at: Option<u64>,
    over: bool,
}

/// A valid history of about so many steps.
pub(crate) fn valid(seed: u64, steps: usize) -> Vec<Record> {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.coda();
    world.settle();
    world.records
}

impl World {
    fn new(seed: u64) -> World {
        let room = |name, policy| Room { name, policy, epoch: 1, first: 1, log: Vec::new() };
        let rooms = vec![room(TEA, Policy::All), room("hall", Policy::All), room(DEN, Policy::SinceJoin)];
        let (records, sessions, readers) = (Vec::new(), Vec::new(), Vec::new());
        let chance = Chance::new(seed);
        let mut world = World { records, chance, t: 0, rooms, sessions, readers, made: 0 };
        world.write("rig", What::History { version: VERSION, origin: format!("seed {seed}") });
        world.write("rig", What::Enabled { faults: vec!["kill".into()] });
        for number in 0..world.rooms.len() {
            let Room { name, policy, epoch, .. } = world.rooms[number];
            world.write("rig", What::Room { room: name.into(), epoch, history: policy });
            world.member(number, "owner", Change::In);
        }
        for author in ["ann", "bob", "cy"] {
            world.open_session(author);
        }
        for account in ["ann", "dee"] {
            (0..world.rooms.len()).for_each(|room| world.member(room, account, Change::In));
            (0..world.rooms.len()).for_each(|room| world.follow(room, account));
        }
        world
    }

    fn write(&mut self, client: &str, what: What) {
        self.t += 1 + self.chance.next() % 1_000_000;
        self.records.push(Record { t: self.t, client: client.into(), what });
    }

    fn open_session(&mut self, author: &str) -> usize {
        let name = format!("{author}-{}", self.sessions.len());
        let (pending, acked) = (VecDeque::new(), Vec::new());
        self.sessions.push(Session { name, author: author.into(), pending, acked });
        self.sessions.len() - 1
    }

    fn member(&mut self, room: usize, account: &str, change: Change) {
        let seq = self.control(room, account);
        let epoch = self.rooms[room].epoch;
        let room = self.rooms[room].name.into();
        self.write("rig", What::Member { room, epoch, seq, account: account.into(), change });
    }

    fn control(&mut self, room: usize, account: &str) -> u64 {
        self.made += 1;
        let cid = format!("control-{}", self.made);
        let told = Told { author: account.into(), cid, hash: "control".into(), control: true };
        self.rooms[room].log.push(told);
        self.rooms[room].log.len() as u64
    }

    fn step(&mut self) {
        let session = self.chance.below(self.sessions.len());
        match self.chance.below(100) {
            0..24 => self.send(session),
            24..46 => drop(self.store(session)),
            46..64 => drop(self.ack(session)),
            64..66 => self.refuse(session),
            66..68 => self.give_up(session),
            68..70 => self.retry(session),
            70..72 => self.conflict(session),
            72..94 => self.deliver_one(),
            94..96 => self.write("rig", What::Fault { kind: "kill".into(), effective: true }),
            96 => self.retire(),
            97 if self.chance.one_in(4) => self.restore(),
            98 if self.chance.one_in(3) => self.remove_somebody(),
            _ => {
                let room = self.chance.below(self.rooms.len());
                self.newcomer(room);
            }
        }
    }

    fn publish(&mut self, session: usize, message: &Pending, phase: Phase) {
        let room = self.rooms[message.room].name.into();
        let (author, cid) = (self.sessions[session].author.clone(), message.cid.clone());
        let client = self.sessions[session].name.clone();
        self.write(&client, What::Publish(Publish { room, author, cid, phase }));
    }

    fn invoke(&mut self, session: usize, message: &Pending) {
        let phase =
            Phase::Invoke { session: self.sessions[session].name.clone(), hash: message.hash.clone() };
        self.publish(session, message, phase);
    }

    fn send(&mut self, session: usize) {
        let room = self.chance.below(self.rooms.len());
        for _ in 0..=self.chance.below(3) {
            self.send_to(session, room);
        }
    }

    fn send_to(&mut self, session: usize, room: usize) {
        self.made += 1;
        let (cid, hash) = (format!("c{}", self.made), format!("h{}", self.made));
        let message = Pending { room, cid, hash, stored: None };
        self.invoke(session, &message);
        self.sessions[session].pending.push_back(message);
    }

    /// The server stores the oldest message that it does not have.
    fn store(&mut self, session: usize) -> bool {
        let Session { author, pending, .. } = &mut self.sessions[session];
        let Some(message) = pending.iter_mut().find(|it| it.stored.is_none()) else { return false };
        let log = &mut self.rooms[message.room].log;
        let (author, cid, hash) = (author.clone(), message.cid.clone(), message.hash.clone());
        log.push(Told { author, cid, hash, control: false });
        message.stored = Some(log.len() as u64);
        true
    }

    fn ack(&mut self, session: usize) -> bool {
        let Some(message) = self.sessions[session].pending.front().cloned() else { return false };
        let Some(seq) = message.stored else { return false };
        self.sessions[session].pending.pop_front();
        let epoch = self.rooms[message.room].epoch;
        self.publish(session, &message, Phase::Ok { epoch, seq, duplicate: false });
        self.sessions[session].acked.push((message, epoch, seq));
        true
    }

    fn refuse(&mut self, session: usize) {
        let pending = &mut self.sessions[session].pending;
        if pending.front().is_some_and(|it| it.stored.is_none()) {
            let message = pending.pop_front().expect("looked at above");
            self.publish(session, &message, Phase::Fail { code: "rate".into() });
        }
    }

    fn give_up(&mut self, session: usize) {
        if let Some(message) = self.sessions[session].pending.pop_front() {
            self.publish(session, &message, Phase::Info { why: "the connection was lost".into() });
        }
    }

    /// An acknowledged message once more; what a restored log has lost is not tried.
    fn retry(&mut self, session: usize) {
        let acked = &self.sessions[session].acked;
        if let Some((message, epoch, seq)) = self.chance.pick(acked).cloned()
            && epoch == self.rooms[message.room].epoch
        {
            self.invoke(session, &message);
            self.publish(session, &message, Phase::Ok { epoch, seq, duplicate: true });
        }
    }

    fn conflict(&mut self, session: usize) {
        let acked = &self.sessions[session].acked;
        if let Some((message, ..)) = self.chance.pick(acked).cloned() {
            let other = Pending { hash: format!("{}-other", message.hash), ..message };
            self.invoke(session, &other);
            self.publish(session, &other, Phase::Fail { code: CONFLICT.into() });
        }
    }

    /// A new reader, from somewhere.
    fn follow(&mut self, room: usize, account: &str) {
        let name = format!("{account}-{}-r{}", self.rooms[room].name, self.readers.len());
        let (head, first) = (self.rooms[room].log.len() as u64, self.rooms[room].first);
        let joined = self.rooms[room].log.iter().rposition(|it| it.control && it.author == account);
        let joined = joined.map_or(1, |index| index as u64 + 1);
        let oldest = if self.rooms[room].policy == Policy::SinceJoin { joined.max(first) } else { first };
        let next =
            if self.chance.one_in(2) { oldest } else { oldest + self.chance.next() % (head + 2 - oldest) };
        self.subscribe(&name, room, account, false, next);
        self.readers.push(Reader {
            name,
            account: account.into(),
            room,
            next,
            removed_at: None,
            over: false,
        });
    }

    fn subscribe(&mut self, reader: &str, room: usize, account: &str, drain: bool, next: u64) {
        let (epoch, head) = (self.rooms[room].epoch, self.rooms[room].log.len() as u64);
        let name = self.rooms[room].name;
        let ask = |phase| What::Subscribe(Subscribe { reader: reader.into(), room: name.into(), phase });
        self.write(reader, ask(Asked::Invoke { account: account.into(), drain }));
        self.write(reader, ask(Asked::Ok { epoch, next, head }));
    }

    fn deliver_one(&mut self) {
        let reader = self.chance.below(self.readers.len());
        for _ in 0..=self.chance.below(6) {
            self.deliver(reader);
        }
    }

    /// Hands a reader what comes next; false when there is nothing.
    fn deliver(&mut self, number: usize) -> bool {
        let reader = &self.readers[number];
        let room = &self.rooms[reader.room];
        let (name, epoch, seq) = (reader.name.clone(), room.epoch, reader.next);
        if reader.over || seq > room.log.len() as u64 {
            return false;
        }
        let of = || (name.clone(), room.name.to_owned());
        let (reader_name, room_name) = of();
        if seq < room.first {
            let to = room.first - 1;
            let reason = "retention".to_owned();
            let gap = What::Gap { reader: reader_name, room: room_name, epoch, from: seq, to, reason };
            self.readers[number].next = to + 1;
            self.write(&name, gap);
            return true;
        }
        let event = room.log[seq as usize - 1].clone();
        let removed = reader.removed_at == Some(seq);
        let ended = What::Ended { reader: of().0, room: of().1, reason: "kicked".into() };
        let shown = What::Deliver { reader: reader_name, room: room_name, epoch, seq, event };
        self.readers[number].next = seq + 1;
        self.write(&name, shown);
        if removed {
            self.readers[number].over = true;
            self.write(&name, ended);
        }
        true
    }

    /// A room's oldest events are given up; what somebody is to be told before the end of its stream stays.
    fn retire(&mut self) {
        let room = self.chance.below(2);
        let removed = |it: &&Reader| it.room == room && it.removed_at.is_some() && !it.over;
        if self.rooms[room].log.len() > 12 && !self.readers.iter().any(|it| removed(&it)) {
            let first = self.rooms[room].first + self.chance.next() % 3;
            self.rooms[room].first = first.min(self.rooms[room].log.len() as u64 / 3);
        }
    }

    /// The hall's log is put back to an older state: readers are told, and authors send again what has no answer.
    fn restore(&mut self) {
        let room = 1;
        let head = self.rooms[room].log.len() as u64;
        let kept = head - self.chance.next() % (head / 4 + 1);
        let from = self.rooms[room].epoch;
        if kept < self.rooms[room].first || from > 2 {
            return;
        }
        self.rooms[room].epoch += 1;
        self.rooms[room].log.truncate(kept as usize);
        let (name, epoch) = (self.rooms[room].name.to_owned(), self.rooms[room].epoch);
        self.write("rig", What::Restore { room: name.clone(), from, epoch, kept });
        for session in &mut self.sessions {
            let lost = |it: &&mut Pending| it.room == room && it.stored.is_some_and(|seq| seq > kept);
            session.pending.iter_mut().filter(lost).for_each(|it| it.stored = None);
        }
        for number in 0..self.readers.len() {
            if self.readers[number].room == room && !self.readers[number].over {
                let reader = self.readers[number].name.clone();
                self.readers[number].over = true;
                self.write(&reader, What::Reset { reader: reader.clone(), room: name.clone(), epoch });
                let reason = "reset".to_owned();
                self.write(&reader, What::Ended { reader: reader.clone(), room: name.clone(), reason });
            }
        }
        self.follow(room, "dee");
    }

    fn remove_somebody(&mut self) {
        let number = self.chance.below(self.readers.len());
        let Reader { room, account, .. } = &self.readers[number];
        // Only guests go, so that nobody's messages are refused for it; and not from the hall, whose log may be
        // put back to a time when they were there.
        if account.starts_with("guest") && *room != 1 {
            let (room, account) = (*room, account.clone());
            self.remove(room, &account);
        }
    }

    fn remove(&mut self, room: usize, account: &str) {
        let is_there = |it: &Reader| it.room == room && it.account == account && it.removed_at.is_none();
        if !self.readers.iter().any(is_there) {
            return;
        }
        self.member(room, account, Change::Out);
        let seq = self.rooms[room].log.len() as u64;
        for reader in self.readers.iter_mut().filter(|it| it.room == room && it.account == account) {
            reader.removed_at = reader.removed_at.or(Some(seq));
        }
    }

    fn newcomer(&mut self, room: usize) {
        self.made += 1;
        let account = format!("guest{}", self.made);
        self.member(room, &account, Change::In);
        self.follow(room, &account);
    }

    /// What every history has, so that every anomaly finds its place: pipelined pairs, two authors at once, a
    /// newcomer who is removed, one who may not look back, and control events behind it all.
    fn coda(&mut self) {
        self.settle_authors();
        self.newcomer(0);
        let guest = self.readers.last().expect("made above").account.clone();
        let (one, two) = (self.open_session("ann"), self.open_session("bob"));
        for (first, second) in [(one, one), (one, two)] {
            self.send_to(first, 0);
            self.send_to(second, 0);
            self.store(first);
            self.store(second);
            self.ack(second);
            self.ack(first);
            self.ack(second);
        }
        self.catch_up();
        self.remove(0, &guest);
        self.newcomer(2);
        self.control(0, "owner");
        let third = self.open_session("cy");
        (0..3).for_each(|_| self.send_to(third, 0));
        self.settle_authors();
        self.control(0, "owner");
    }

    fn settle_authors(&mut self) {
        for session in 0..self.sessions.len() {
            while self.store(session) {}
            while self.ack(session) {}
        }
    }

    fn catch_up(&mut self) {
        for reader in 0..self.readers.len() {
            while self.deliver(reader) {}
        }
    }

    fn settle(&mut self) {
        self.settle_authors();
        self.catch_up();
        for number in 0..self.rooms.len() {
            for n in 0..3 {
                let (name, first) =
                    (format!("drain{n}-{}", self.rooms[number].name), self.rooms[number].first);
                self.subscribe(&name, number, "owner", true, first);
                let (account, room, next) = ("owner".to_owned(), number, first);
                self.readers.push(Reader { name, account, room, next, removed_at: None, over: false });
                while self.deliver(self.readers.len() - 1) {}
            }
            let Room { name, epoch, first, ref log, .. } = self.rooms[number];
            let rows: Vec<(u64, Told)> =
                (1..).zip(log.iter().cloned()).filter(|(seq, _)| *seq >= first).collect();
            let head = log.len() as u64;
            for (seq, event) in rows {
                self.write("rig", What::Store { room: name.into(), seq, event, damaged: false });
            }
            self.write("rig", What::Head { room: name.into(), epoch, first, head });
        }
        self.write("rig", What::End);
    }
}

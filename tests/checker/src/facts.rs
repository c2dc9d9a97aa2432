//! What a history says, put in order: rooms, messages with every attempt to send them, and what stands where.

use std::collections::{BTreeMap, HashMap};

use crate::lineage::{Lineage, Place};
use crate::record::{Change, Phase, Policy, Publish, Record, Told, What};

/// A room, by its place in [`Facts::rooms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RoomNo(pub(crate) usize);

/// A message, by its place in [`Facts::messages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageNo(pub(crate) usize);

/// Everything that a history says of logs.
#[derive(Debug)]
pub(crate) struct Facts<'h> {
    pub(crate) records: &'h [Record],
    pub(crate) rooms: Vec<Room<'h>>,
    pub(crate) messages: Vec<Message<'h>>,
    /// The line in which a body was first sent into a room: bodies differ, or they tell nothing.
    pub(crate) sent_bodies: HashMap<(RoomNo, &'h str), usize>,
    /// When the last fault was made that anybody can have felt.
    pub(crate) last_fault: u64,
    /// When the last message was resolved.
    pub(crate) last_outcome: u64,
    /// Whether the store was dumped: otherwise the fresh readers say what the log is.
    pub(crate) dumped: bool,
    pub(crate) steps: u64,
    room_numbers: HashMap<&'h str, RoomNo>,
    message_numbers: HashMap<(RoomNo, &'h str, &'h str), MessageNo>,
    drains: HashMap<&'h str, bool>,
}

/// One room.
#[derive(Debug, Default)]
pub(crate) struct Room<'h> {
    pub(crate) name: &'h str,
    pub(crate) policy: Policy,
    pub(crate) lineage: Lineage,
    declared: bool,
    /// By account, at which seqs it came and went, in order.
    pub(crate) members: HashMap<&'h str, Vec<(u64, Change)>>,
    /// What anybody says of a place, under the epoch in which it was put there.
    pub(crate) spots: BTreeMap<Place, Spot<'h>>,
    /// First and head, as the dump has them.
    pub(crate) bounds: Option<(u64, u64)>,
    /// The seqs of the log at the end, damaged ones left out, in order.
    pub(crate) kept: Vec<u64>,
}

/// What anybody says of one place.
#[derive(Debug, Default)]
pub(crate) struct Spot<'h> {
    /// What different people were told is there: what agrees with an earlier telling is not kept.
    pub(crate) tellings: Vec<Telling<'h>>,
    /// Messages that were acknowledged there, with the line of the first time.
    pub(crate) acks: Vec<(MessageNo, usize)>,
    /// The first time that a reader was shown it.
    pub(crate) shown: Option<usize>,
    /// The line by which it is part of the log at the end, and what is.
    pub(crate) kept: Option<(usize, MessageNo)>,
    /// The line by which the store holds it damaged.
    pub(crate) damaged: Option<usize>,
}

/// One thing that somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Telling<'h> {
    pub(crate) message: MessageNo,
    pub(crate) hash: &'h str,
    pub(crate) line: usize,
}

/// One identity in one room.
#[derive(Debug)]
pub(crate) struct Message<'h> {
    pub(crate) room: RoomNo,
    pub(crate) cid: &'h str,
    /// Whether the server minted it.
    pub(crate) control: bool,
    /// In the order in which they were begun.
    pub(crate) attempts: Vec<Attempt<'h>>,
    /// Where anybody saw it.
    pub(crate) seen: Vec<Place>,
    /// Where it was acknowledged, with the line and time of the first time.
    pub(crate) acked: Vec<(Place, usize, u64)>,
}

/// One attempt to publish.
#[derive(Debug)]
pub(crate) struct Attempt<'h> {
    pub(crate) client: &'h str,
    pub(crate) session: &'h str,
    pub(crate) hash: &'h str,
    pub(crate) line: usize,
    pub(crate) t: u64,
    pub(crate) outcome: Option<Outcome<'h>>,
}

/// What became of an attempt.
#[derive(Debug)]
pub(crate) struct Outcome<'h> {
    pub(crate) phase: &'h Phase,
    pub(crate) t: u64,
}

impl Attempt<'_> {
    /// The code with which it was definitely refused.
    pub(crate) fn refused(&self) -> Option<&str> {
        match self.outcome.as_ref()?.phase {
            Phase::Fail { code } => Some(code),
            _ => None,
        }
    }
}

impl<'h> Facts<'h> {
    /// Reads a history, whose lines are in the order of their times.
    pub(crate) fn new(records: &'h [Record]) -> Facts<'h> {
        let mut facts = Facts {
            records,
            rooms: Vec::new(),
            messages: Vec::new(),
            sent_bodies: HashMap::new(),
            last_fault: 0,
            last_outcome: 0,
            dumped: records.iter().any(|record| matches!(record.what, What::Head { .. })),
            steps: 0,
            room_numbers: HashMap::new(),
            message_numbers: HashMap::new(),
            drains: HashMap::new(),
        };
        for record in records {
            facts.declare(&record.what);
        }
        for (line, record) in records.iter().enumerate() {
            facts.take(line, record);
        }
        facts.settle();
        facts
    }

    /// The number of a room that may not have been declared.
    pub(crate) fn room(&mut self, name: &'h str) -> RoomNo {
        let next = RoomNo(self.rooms.len());
        let number = *self.room_numbers.entry(name).or_insert(next);
        if number == next {
            self.rooms.push(Room { name, ..Room::default() });
        }
        number
    }

    /// The number of a room that is known.
    pub(crate) fn room_number(&self, name: &str) -> Option<RoomNo> {
        self.room_numbers.get(name).copied()
    }

    /// Whether a reader is one of the fresh ones at the end.
    pub(crate) fn is_drain(&self, reader: &str) -> bool {
        self.drains.get(reader).copied().unwrap_or(false)
    }

    /// First pass: what has to be known before the rest can be understood.
    fn declare(&mut self, what: &'h What) {
        self.steps += 1;
        match what {
            What::Room { room, epoch, history } => {
                let number = self.room(room);
                let room = &mut self.rooms[number.0];
                (room.policy, room.lineage, room.declared) = (*history, Lineage::new(*epoch), true);
            }
            What::Restore { room, from, epoch, kept } => {
                let number = self.room(room);
                self.rooms[number.0].lineage.restore(*epoch, Place { epoch: *from, seq: *kept });
            }
            What::Member { room, seq, account, change, .. } => {
                let number = self.room(room);
                self.rooms[number.0].members.entry(account).or_default().push((*seq, *change));
            }
            What::Subscribe(subscribe) => {
                if let crate::record::Asked::Invoke { drain, .. } = subscribe.phase {
                    self.drains.insert(&subscribe.reader, drain);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, line: usize, record: &'h Record) {
        self.steps += 1;
        match &record.what {
            What::Publish(publish) => self.publish(line, record, publish),
            What::Deliver { reader, room, epoch, seq, event } => {
                let drained = !self.dumped && self.is_drain(reader);
                let place = Place { epoch: *epoch, seq: *seq };
                let (message, spot) = self.tell(line, room, place, event);
                spot.shown.get_or_insert(line);
                if drained {
                    spot.kept.get_or_insert((line, message));
                }
            }
            What::Store { room, seq, event, damaged } => {
                let number = self.room(room);
                let place = Place { epoch: self.rooms[number.0].lineage.last(), seq: *seq };
                if *damaged {
                    self.spot(number, place).damaged = Some(line);
                } else {
                    let (message, spot) = self.tell(line, room, place, event);
                    spot.kept.get_or_insert((line, message));
                }
            }
            What::Head { room, first, head, .. } => {
                let number = self.room(room);
                self.rooms[number.0].bounds = Some((*first, *head));
            }
            What::Fault { effective: true, .. } => self.last_fault = record.t,
            _ => {}
        }
    }

    fn publish(&mut self, line: usize, record: &'h Record, publish: &'h Publish) {
        let room = self.room(&publish.room);
        let number = self.message(room, &publish.author, &publish.cid);
        let message = &mut self.messages[number.0];
        if let Phase::Invoke { session, hash } = &publish.phase {
            let (client, t) = (record.client.as_str(), record.t);
            message.attempts.push(Attempt { client, session, hash, line, t, outcome: None });
            self.sent_bodies.entry((room, hash)).or_insert(line);
            return;
        }
        // The oldest attempt of that client which has no outcome yet: nearly always the only one.
        let client = record.client.as_str();
        let open = message.attempts.iter_mut().find(|it| it.outcome.is_none() && it.client == client);
        if let Some(attempt) = open {
            attempt.outcome = Some(Outcome { phase: &publish.phase, t: record.t });
        }
        self.last_outcome = record.t;
        if let Phase::Ok { epoch, seq, .. } = publish.phase {
            let place = self.origin(room, Place { epoch, seq });
            let acked = &mut self.messages[number.0].acked;
            if acked.iter().all(|(known, ..)| *known != place) {
                acked.push((place, line, record.t));
                self.spot(room, place).acks.push((number, line));
            }
        }
    }

    fn tell(
        &mut self,
        line: usize,
        room: &'h str,
        place: Place,
        event: &'h Told,
    ) -> (MessageNo, &mut Spot<'h>) {
        let room = self.room(room);
        let number = self.message(room, &event.author, &event.cid);
        let place = self.origin(room, place);
        let message = &mut self.messages[number.0];
        message.control |= event.control;
        if !message.seen.contains(&place) {
            message.seen.push(place);
        }
        let spot = self.spot(room, place);
        let telling = Telling { message: number, hash: &event.hash, line };
        if spot.tellings.iter().all(|it| (it.message, it.hash) != (telling.message, telling.hash)) {
            spot.tellings.push(telling);
        }
        (number, spot)
    }

    fn message(&mut self, room: RoomNo, author: &'h str, cid: &'h str) -> MessageNo {
        let next = MessageNo(self.messages.len());
        let number = *self.message_numbers.entry((room, author, cid)).or_insert(next);
        if number == next {
            let (attempts, seen, acked) = (Vec::new(), Vec::new(), Vec::new());
            self.messages.push(Message { room, cid, control: false, attempts, seen, acked });
        }
        number
    }

    /// A room that nobody declared begins with the first epoch that anybody names.
    fn origin(&mut self, room: RoomNo, place: Place) -> Place {
        let room = &mut self.rooms[room.0];
        if !room.declared {
            (room.lineage, room.declared) = (Lineage::new(place.epoch), true);
        }
        room.lineage.origin(place)
    }

    fn spot(&mut self, room: RoomNo, place: Place) -> &mut Spot<'h> {
        let place = self.origin(room, place);
        self.rooms[room.0].spots.entry(place).or_default()
    }

    /// Puts in order what was gathered.
    fn settle(&mut self) {
        for room in &mut self.rooms {
            self.steps += room.spots.len() as u64;
            let kept = room.spots.iter().filter(|(_, spot)| spot.kept.is_some());
            room.kept = kept.map(|(place, _)| place.seq).collect();
            room.kept.sort_unstable();
            for changes in room.members.values_mut() {
                changes.sort_unstable_by_key(|(seq, _)| *seq);
                changes.dedup();
            }
        }
    }
}

impl Room<'_> {
    /// The oldest seq that can be read at the end; 1 where nobody said.
    pub(crate) fn first(&self) -> u64 {
        self.bounds.map_or_else(|| self.kept.first().copied().unwrap_or(1), |(first, _)| first)
    }

    /// The newest seq at the end.
    pub(crate) fn head(&self) -> u64 {
        self.bounds.map_or_else(|| self.kept.last().copied().unwrap_or(0), |(_, head)| head)
    }

    /// How many seqs from `from` to `to` are part of the log at the end.
    pub(crate) fn kept_between(&self, from: u64, to: u64) -> usize {
        let below = |seq: u64| self.kept.partition_point(|it| *it < seq);
        below(to.saturating_add(1)).saturating_sub(below(from))
    }
}

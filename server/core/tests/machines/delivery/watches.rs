//! Watches under random schedules, beside a client that checks every HEAD against the rooms as they are.

use std::collections::BTreeMap;

use hark_core::delivery::{Delivery, RoomHandle};
use hark_core::room::{Ask, Room};
use hark_protocol::*;
use proptest::prelude::*;

use super::log::{Handle, Log, OWNER, author};
use crate::wire::written;

const ROOMS: u64 = 3;
const WATCHER: u64 = 1;
const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
enum Op {
    Publish(u64),
    Leave(u64),
    Kick(u64),
    Join(u64),
    Hint(u64),
    Recheck,
    Pass(u64),
    Tick,
    Tell(usize),
    Ack(u64, u64),
    AckBeyond(u64, u64),
    Watch(u64, u64),
    Unsubscribe(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let room = || 1..=ROOMS;
    prop_oneof![
        10 => room().prop_map(Op::Publish),
        1 => room().prop_map(Op::Leave),
        1 => room().prop_map(Op::Kick),
        2 => room().prop_map(Op::Join),
        8 => room().prop_map(Op::Hint),
        1 => Just(Op::Recheck),
        4 => (0..2 * SECOND).prop_map(Op::Pass),
        3 => Just(Op::Tick),
        10 => prop_oneof![4 => Just(100_000_usize), 1 => 0..50_usize].prop_map(Op::Tell),
        4 => (room(), 0..4_u64).prop_map(|(room, back)| Op::Ack(room, back)),
        1 => (room(), 1..4_u64).prop_map(|(room, over)| Op::AckBeyond(room, over)),
        4 => (room(), 0..8_u64).prop_map(|(room, back)| Op::Watch(room, back)),
        1 => room().prop_map(Op::Unsubscribe),
    ]
}

/// What the client knows of a room that it watches.
#[derive(Debug)]
struct Watched {
    position: u64,
    /// The greatest head that it was told, by SUBSCRIBED or HEAD.
    known: u64,
    told_at: Option<u64>,
    told: u64,
    joined: Seq,
}

#[derive(Debug)]
struct World {
    logs: BTreeMap<u64, Log>,
    delivery: Delivery<Handle>,
    watched: BTreeMap<u64, Watched>,
    now: u64,
    heads: usize,
    ends: usize,
}

impl World {
    fn new() -> World {
        let log = |room| (room, Log::new(RoomId(room), HistoryPolicy::ALL, 2_000));
        World {
            logs: (1..=ROOMS).map(log).collect(),
            delivery: Delivery::new(AccountId(WATCHER), 1),
            watched: BTreeMap::new(),
            now: 1,
            heads: 0,
            ends: 0,
        }
    }

    fn append(&mut self, room: u64, by: u64, ask: &Ask) {
        let log = self.logs.get_mut(&room).unwrap();
        log.append(&author(by), ask);
        log.apply();
    }

    fn joined(&self, room: u64) -> Option<Seq> {
        let account = AccountId(WATCHER);
        self.logs[&room].handle.with(|room: &Room| room.member(account).map(|member| member.joined))
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Publish(room) => {
                self.append(room, OWNER, &Ask::Publish { kind: Kind::MESSAGE, body: "tea".into() });
            }
            Op::Leave(room) => self.append(room, WATCHER, &Ask::Leave),
            Op::Kick(room) => {
                let ask = Ask::Kick { member: author(WATCHER), reason: Line::default() };
                self.append(room, OWNER, &ask);
            }
            Op::Join(room) => self.append(room, WATCHER, &Ask::Join { rooms_joined: 0 }),
            Op::Hint(room) => self.delivery.hint(RoomId(room)),
            Op::Recheck => self.delivery.recheck(),
            Op::Pass(ns) => self.now += ns,
            Op::Tick => self.delivery.tick(),
            Op::Tell(bytes_max) => self.tell(bytes_max),
            Op::Ack(room, back) => {
                let Some(watched) = self.watched.get_mut(&room) else { return };
                let seq = watched.known.saturating_sub(back);
                let is_news = seq >= watched.position;
                let ack = Ack { room: RoomId(room), epoch: Epoch(7), seq: Seq(seq) };
                assert_eq!(self.delivery.on_ack(&ack), Ok(is_news));
                watched.position = watched.position.max(seq);
            }
            Op::AckBeyond(room, over) => {
                let Some(watched) = self.watched.get(&room) else { return };
                let seq = Seq(watched.known + over);
                let ack = Ack { room: RoomId(room), epoch: Epoch(7), seq };
                assert!(self.delivery.on_ack(&ack).is_err(), "what was not told is not had");
                let stray = Ack { epoch: Epoch(8), ..ack };
                assert_eq!(self.delivery.on_ack(&stray), Ok(false));
            }
            Op::Watch(room, back) => self.watch(room, back),
            Op::Unsubscribe(room) => {
                assert_eq!(self.delivery.end(RoomId(room)), self.watched.remove(&room).is_some());
            }
        }
        assert_eq!(self.delivery.len(), self.watched.len());
        assert_eq!((self.delivery.in_flight(), self.delivery.lagging()), (0, 0));
    }

    fn watch(&mut self, room: u64, back: u64) {
        let Some(joined) = self.joined(room) else { return };
        let log = &self.logs[&room];
        let view = log.handle.with(|room: &Room| room.view(AccountId(WATCHER)).unwrap());
        let next = Seq((view.head.0 + 1).saturating_sub(back).max(1));
        self.delivery.watch(RoomId(room), log.handle.clone(), &view, next);
        let position = next.0 - 1;
        let watched = Watched { position, known: view.head.0, told_at: None, told: position, joined };
        self.watched.insert(room, watched);
    }

    fn tell(&mut self, bytes_max: usize) {
        let mut out = Vec::new();
        let removed = self.delivery.tell_watches(self.now, bytes_max, &mut out);
        let mut ended = Vec::new();
        for (correlation, frame) in written(&out) {
            assert_eq!(correlation, 0);
            match frame {
                Frame::Head(head) => self.on_head(&head),
                Frame::SubscriptionEnded(end) => {
                    let watched = self.watched.remove(&end.room.0).expect("it is watched");
                    assert_ne!(self.joined(end.room.0), Some(watched.joined), "it was removed");
                    assert_eq!((end.seq.0, end.epoch), (watched.position, Epoch(7)));
                    assert!([EndReason::LEFT, EndReason::KICKED].contains(&end.reason));
                    ended.push(end.room);
                    self.ends += 1;
                }
                other => panic!("a watch is not sent {other:?}"),
            }
        }
        assert_eq!(removed, ended);
        for room in removed {
            assert!(self.delivery.end(room));
        }
    }

    fn on_head(&mut self, head: &Head) {
        let (room, now) = (head.room.0, self.now);
        assert_eq!(head.head, self.logs[&room].head(), "as it is now");
        let joined = self.joined(room);
        let watched = self.watched.get_mut(&room).expect("it is watched");
        assert_eq!(joined, Some(watched.joined), "who was removed is told nothing");
        assert!(head.head.0 > watched.position && head.head.0 > watched.told, "it is news");
        assert_eq!(head.behind, head.head.0 - watched.position);
        assert!(watched.told_at.is_none_or(|at| now >= at + SECOND), "once a second at most");
        (watched.told, watched.known) = (head.head.0, watched.known.max(head.head.0));
        watched.told_at = Some(now);
        self.heads += 1;
    }

    /// However hints were lost: after a recheck and a second everybody knows how far the rooms are.
    fn settle(&mut self) {
        self.now += SECOND;
        for op in [Op::Recheck, Op::Tick, Op::Tell(usize::MAX)] {
            self.run(op);
        }
        assert!(!self.delivery.wants_tick());
        for (room, watched) in &self.watched {
            let head = self.logs[room].head().0;
            assert!(watched.position.max(watched.told) >= head, "{room}: {watched:?} and {head}");
            assert_eq!(self.joined(*room), Some(watched.joined));
        }
    }
}

proptest! {
    #![proptest_config(crate::schedules(3_000))]

    #[test]
    fn a_watcher_learns_how_far_its_rooms_are_and_no_more(ops in prop::collection::vec(op(), 0..150)) {
        let mut world = World::new();
        (1..=ROOMS).for_each(|room| world.run(Op::Join(room)));
        (1..=ROOMS).for_each(|room| world.run(Op::Watch(room, 2)));
        ops.into_iter().for_each(|op| world.run(op));
        world.settle();
    }
}

#[test]
fn a_first_head_comes_at_once_and_the_next_ones_once_a_second() {
    let mut world = World::new();
    world.run(Op::Join(1));
    world.run(Op::Watch(1, 2));
    world.run(Op::Tell(1_000));
    assert_eq!(world.heads, 1, "the room is ahead of the position");
    for _ in 0..10 {
        for op in [Op::Publish(1), Op::Hint(1), Op::Tell(1_000)] {
            world.run(op);
        }
    }
    assert!(world.heads == 1 && world.delivery.wants_tick());
    for op in [Op::Pass(SECOND), Op::Tick, Op::Tell(1_000), Op::Tick, Op::Tell(1_000)] {
        world.run(op);
    }
    assert!(world.heads == 2 && !world.delivery.wants_tick());
    world.run(Op::Leave(1));
    world.run(Op::Hint(1));
    world.run(Op::Tell(1_000));
    assert_eq!((world.heads, world.ends, world.delivery.len()), (2, 1, 0));
}

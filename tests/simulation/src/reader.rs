//! Reading in a run: following a room across deaths and removals, reading pages, and the fresh readers of the end.

use std::sync::Arc;
use std::time::Duration;

use hark_checker::body_hash;
use hark_checker::record::{Asked, Subscribe, Told, What};
use hark_protocol::{Epoch, Seq};
use hark_sdk::{
    EndReason, Event, Events, Gap, HistoryItem, Kind, Room, RoomEvent, Start, SubscribeErrorKind,
};

use crate::chance::Chance;
use crate::client::{connect, join};
use crate::plan::{Reading, RoomPart};
use crate::server::STEWARD;
use crate::world::{World, client_name, hex};

/// One client's reading of one room.
pub(crate) struct Follower {
    world: Arc<World>,
    number: usize,
    boot: u64,
    room: usize,
    handle: Room,
    reading: Reading,
    think_ms_max: u64,
    chance: Chance,
}

/// Why a stream is not read any more.
enum Left {
    /// The account is not a member any more.
    Membership,
    /// Something else; asking again may help.
    Otherwise,
    /// The client has ended.
    Closed,
}

impl Follower {
    /// Who reads, where and how.
    pub(crate) fn new(
        world: &Arc<World>,
        (number, boot, room): (usize, u64, usize),
        handle: Room,
        reading: Reading,
        part: RoomPart,
    ) -> Follower {
        let chance = Chance::new(world.plan.seed, &format!("reader {number} {boot} {room}"));
        let (world, think_ms_max) = (Arc::clone(world), part.think_ms_max);
        Follower { world, number, boot, room, handle, reading, think_ms_max, chance }
    }

    /// Follows the room for as long as the client lives.
    pub(crate) async fn follow(mut self) {
        for round in 0.. {
            let reader = format!("c{}.{}.r{}.{round}", self.number, self.boot, self.room);
            let left = self.follow_once(&reader, round).await;
            self.world.memories[self.number].lock().streams.remove(&(reader, self.room));
            match left {
                Left::Closed => return,
                Left::Otherwise => tokio::time::sleep(Duration::from_millis(70)).await,
                Left::Membership => {
                    self.remember(|room| (room.was_away, room.follows) = (true, false));
                    let away = self.chance.between(0, 600);
                    tokio::time::sleep(Duration::from_millis(away)).await;
                    let client = self.handle.client().clone();
                    if join(&self.world, &client, self.room).await.is_none() {
                        return;
                    }
                    self.remember(|room| room.is_out = false);
                }
            }
        }
    }

    async fn follow_once(&mut self, reader: &str, round: u64) -> Left {
        let had = self.world.memories[self.number].lock().rooms[self.room].position;
        let start = self.start(had, round);
        self.world.memories[self.number].lock().streams.insert((reader.to_owned(), self.room));
        let asked = Asked::Invoke { account: client_name(self.number), drain: false };
        self.subscribe(reader, asked);
        let mut events = match self.handle.events(start).await {
            Ok(events) => events,
            Err(error) => {
                self.world.note(&client_name(self.number), format_args!("not followed: {:?}", error.kind()));
                self.ended(reader, "stopped");
                return match error.kind() {
                    SubscribeErrorKind::NotMember | SubscribeErrorKind::NotFound => Left::Membership,
                    SubscribeErrorKind::Closed => Left::Closed,
                    _ => Left::Otherwise,
                };
            }
        };
        let begun = events.begun();
        self.subscribe(reader, Asked::Ok { epoch: begun.epoch.0, next: begun.next.0, head: begun.head.0 });
        self.judge_beginning(start, had, &events);
        self.remember(|room| {
            room.follows = true;
            // Whoever begins later than at the beginning has what is before it, as far as being at the head goes.
            let before = Seq(begun.next.0.saturating_sub(1));
            room.position = room.position.max(Some((begun.epoch, before)));
        });
        self.read(reader, &mut events).await
    }

    fn start(&self, had: Option<(Epoch, Seq)>, round: u64) -> Start {
        let behind = |(epoch, seq)| Start::After { epoch: Some(epoch), seq };
        match (self.reading, had) {
            (Reading::Cursor, _) => Start::Cursor,
            // By an earlier life's session, where there was one; by what this life has had, once it has had any.
            (Reading::Saved, had) => {
                let saved = self.handle.client().saved_position(self.handle.id()).filter(|_| round == 0);
                saved.map_or_else(|| had.map_or(Start::Beginning, behind), Start::from)
            }
            (_, Some(had)) => behind(had),
            (Reading::Position, None) => Start::Beginning,
            (Reading::Latest(count), None) => Start::Latest(count),
            (Reading::Now, None) => Start::Now,
        }
    }

    /// Where a stream may begin, which no history says: never behind what the application has not had.
    fn judge_beginning(&self, start: Start, had: Option<(Epoch, Seq)>, events: &Events) {
        let (next, seq) = (events.begun().next.0, had.map_or(0, |(_, seq)| seq.0));
        let was_away = self.world.memories[self.number].lock().rooms[self.room].was_away;
        let is_kept = self.world.plan.server.keep_events == 0;
        let is_whole = is_kept && self.world.plan.rooms[self.room].shows_all && !was_away;
        if is_whole
            && matches!(start, Start::Cursor | Start::After { .. } | Start::Beginning)
            && next > seq + 1
        {
            self.world.find(format!(
                "cursor-skip: c{} has {seq} of r{} and was led to {next}",
                self.number, self.room
            ));
        }
    }

    async fn read(&mut self, reader: &str, events: &mut Events) -> Left {
        let name = client_name(self.number);
        loop {
            let stalled = self.world.memories[self.number].lock().stalled_until;
            self.world.until(stalled).await;
            let Some(item) = events.next().await else { return Left::Closed };
            match item {
                RoomEvent::Event(event) => {
                    self.think().await;
                    self.world.record(&name, deliver(reader, &self.room_name(), &event));
                    self.remember(|room| room.position = Some((event.epoch, event.seq)));
                }
                RoomEvent::Gap(gap) => {
                    let epoch = events.begun().epoch;
                    self.world.record(&name, gap_line((reader, &self.room_name()), epoch, &gap));
                    self.remember(|room| room.position = Some((epoch, gap.to)));
                }
                RoomEvent::Reset { epoch, .. } => {
                    let what =
                        What::Reset { reader: reader.to_owned(), room: self.room_name(), epoch: epoch.0 };
                    self.world.record(&name, what);
                    self.world.find(format!("reset: {reader} was told of another log, and there is none"));
                    self.remember(|room| room.position = None);
                }
                RoomEvent::Ended { reason } => return self.end(reader, &reason),
                other => self.world.note(&name, format_args!("{other:?}")),
            }
        }
    }

    fn end(&self, reader: &str, reason: &EndReason) -> Left {
        self.world.note(&client_name(self.number), format_args!("{reader} ended: {reason:?}"));
        match reason {
            EndReason::Left => {
                self.ended(reader, "left");
                Left::Membership
            }
            EndReason::Kicked => {
                self.ended(reader, "kicked");
                Left::Membership
            }
            EndReason::Reset => {
                self.ended(reader, "reset");
                Left::Otherwise
            }
            // Removed while it was away: the subscription was refused when it came back.
            EndReason::Refused(_) => {
                self.ended(reader, "stopped");
                Left::Membership
            }
            EndReason::Closed => Left::Closed,
            other => {
                self.world.find(format!("ended: {reader} was ended: {other:?}"));
                self.ended(reader, "stopped");
                Left::Otherwise
            }
        }
    }

    async fn think(&mut self) {
        let pause = self.chance.between(0, self.think_ms_max);
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn remember(&self, change: impl FnOnce(&mut crate::world::RoomMemory)) {
        change(&mut self.world.memories[self.number].lock().rooms[self.room]);
    }

    fn room_name(&self) -> String {
        self.world.plan.rooms[self.room].name.clone()
    }

    fn subscribe(&self, reader: &str, phase: Asked) {
        subscribe(&self.world, &client_name(self.number), reader, &self.room_name(), phase);
    }

    fn ended(&self, reader: &str, reason: &str) {
        ended(&self.world, &client_name(self.number), reader, &self.room_name(), reason);
    }
}

fn subscribe(world: &World, client: &str, reader: &str, room: &str, phase: Asked) {
    let what = Subscribe { reader: reader.to_owned(), room: room.to_owned(), phase };
    world.record(client, What::Subscribe(what));
}

fn ended(world: &World, client: &str, reader: &str, room: &str, reason: &str) {
    let what = What::Ended { reader: reader.to_owned(), room: room.to_owned(), reason: reason.to_owned() };
    world.record(client, what);
}

fn deliver(reader: &str, room: &str, event: &Event) -> What {
    What::Deliver {
        reader: reader.to_owned(),
        room: room.to_owned(),
        epoch: event.epoch.0,
        seq: event.seq.0,
        event: Told {
            author: event.author_name.as_str().to_owned(),
            cid: hex(event.client_id.as_bytes()),
            hash: body_hash(&event.body),
            control: event.kind != Kind::MESSAGE,
        },
    }
}

fn gap_line((reader, room): (&str, &str), epoch: Epoch, gap: &Gap) -> What {
    What::Gap {
        reader: reader.to_owned(),
        room: room.to_owned(),
        epoch: epoch.0,
        from: gap.from.0,
        to: gap.to.0,
        reason: gap.reason.map_or_else(|| "unknown".to_owned(), |why| why.to_string()),
    }
}

/// Reads the newest events of a room's history, as a stream that ends by itself.
pub(crate) async fn page(world: &World, number: usize, reader: &str, room: usize, handle: &Room, limit: u64) {
    let stream = (reader.to_owned(), room);
    world.memories[number].lock().streams.insert(stream.clone());
    let (client, room) = (client_name(number), world.plan.rooms[room].name.clone());
    subscribe(world, &client, reader, &room, Asked::Invoke { account: client.clone(), drain: false });
    match handle.history().latest().limit(limit).collect().await {
        Ok(items) => {
            shown(world, &client, reader, &room, &items);
        }
        Err(error) => world.note(&client, format_args!("no page: {:?}", error.kind())),
    }
    world.memories[number].lock().streams.remove(&stream);
    ended(world, &client, reader, &room, "stopped");
}

/// Writes down what a part of a history holds.
fn shown(world: &World, client: &str, reader: &str, room: &str, items: &[HistoryItem]) {
    let seq = |item: &HistoryItem, is_last: bool| match item {
        HistoryItem::Event(event) => Some((event.epoch.0, event.seq.0)),
        HistoryItem::Gap(gap) => Some((0, if is_last { gap.to.0 } else { gap.from.0 })),
        _ => None,
    };
    let epoch = items.iter().find_map(|item| seq(item, false).filter(|(epoch, _)| *epoch != 0));
    let (Some((epoch, _)), Some(first), Some(last)) = (epoch, items.first(), items.last()) else { return };
    let (Some((_, next)), Some((_, head))) = (seq(first, false), seq(last, true)) else { return };
    subscribe(world, client, reader, room, Asked::Ok { epoch, next, head });
    for item in items {
        match item {
            HistoryItem::Event(event) => world.record(client, deliver(reader, room, event)),
            HistoryItem::Gap(gap) => world.record(client, gap_line((reader, room), Epoch(epoch), gap)),
            other => world.note(client, format_args!("{other:?}")),
        }
    }
}

/// How long a fresh reader may take.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// A fresh reader of all rooms, when all is over: number 0 and 1 follow, number 2 reads history.
///
/// # Errors
/// None; the signature is that of a host.
pub(crate) async fn drain(world: Arc<World>, number: u64) -> turmoil::Result {
    let name = format!("d{number}");
    let reading = async {
        let client = connect(&world, &name, None, 1).await;
        for plan in &world.plan.rooms {
            let reader = format!("{name}.{}", plan.name);
            subscribe(
                &world,
                &name,
                &reader,
                &plan.name,
                Asked::Invoke { account: STEWARD.to_owned(), drain: true },
            );
            let Ok(room) = client.room(&plan.name).await else {
                world.find(format!("drain: {name} does not find {}", plan.name));
                continue;
            };
            match number {
                2 => match room.history().collect().await {
                    Ok(items) => shown(&world, &name, &reader, &plan.name, &items),
                    Err(error) => world.find(format!("drain: {name} can not read {}: {error}", plan.name)),
                },
                _ => drain_live(&world, &name, &reader, &room, &plan.name).await,
            }
            ended(&world, &name, &reader, &plan.name, "stopped");
        }
        client.close().await;
    };
    if tokio::time::timeout(DRAIN_MAX, reading).await.is_err() {
        world.find(format!("stuck: {name} did not read everything within {DRAIN_MAX:?}"));
    }
    Ok(())
}

async fn drain_live(world: &World, name: &str, reader: &str, room: &Room, room_name: &str) {
    let Ok(mut events) = room.events(Start::Beginning).await else {
        return world.find(format!("drain: {name} can not follow {room_name}"));
    };
    let begun = events.begun();
    subscribe(
        world,
        name,
        reader,
        room_name,
        Asked::Ok { epoch: begun.epoch.0, next: begun.next.0, head: begun.head.0 },
    );
    while let Some(item) = events.next().await {
        match item {
            RoomEvent::Event(event) => {
                world.record(name, deliver(reader, room_name, &event));
                if event.seq >= begun.head {
                    return;
                }
            }
            RoomEvent::Gap(gap) => {
                world.record(name, gap_line((reader, room_name), begun.epoch, &gap));
                if gap.to >= begun.head {
                    return;
                }
            }
            other => world.note(name, format_args!("{other:?}")),
        }
    }
    world.find(format!("drain: the stream of {name} ended before the head of {room_name}"));
}

//! The dump of the store at the end, and what it says about memberships.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hark_checker::body_hash;
use hark_checker::record::{Change, Policy, Told, What};
use hark_core::ports::{Budget, LogReader, Span, Stored};
use hark_protocol::{AccountId, ClientId, Event, Frame, KickBody, Kind, RawFrame, Reader, Seq, Wire};

use crate::plan::Move;
use crate::server;
use crate::world::{World, hex};

/// Writes down what the store holds. The server must be gone.
pub(crate) fn dump(world: &Arc<World>) {
    let stores = match server::open(world) {
        Ok(stores) => stores,
        Err(error) => return world.find(format!("dump: the store can not be opened: {error}")),
    };
    let reader = crate::bug::plant_reader(world, stores.reader);
    for (number, room) in world.plan.rooms.iter().enumerate() {
        let dumped = dump_room(world, &*reader, &room.name, policy(room.shows_all));
        match dumped {
            Ok(_) if world.plan.server.keep_events > 0 => {} // what was taken may be gone by now
            Ok(stored) => judge_outboxes(world, number, &stored),
            Err(error) => world.find(format!("dump: {} can not be read: {error}", room.name)),
        }
    }
}

fn dump_room(
    world: &World,
    reader: &dyn LogReader,
    name: &str,
    history: Policy,
) -> Result<BTreeSet<ClientId>, String> {
    let told = |error: hark_core::ports::StoreError| error.to_string();
    let id = name.parse().map_err(|_| "it is no name".to_owned())?;
    let id = reader.room_id(&id).map_err(told)?.ok_or("it is not there")?;
    let row = reader.room(id).map_err(told)?.ok_or("it has no row")?.row;
    let (room, epoch) = (name.to_owned(), row.epoch.0);
    world.record("rig", What::Room { room, epoch, history });
    let budget = Budget { events: usize::MAX, bytes: usize::MAX };
    let mut stored_ids = BTreeSet::new();
    let mut names: BTreeMap<AccountId, String> = BTreeMap::new();
    for stored in reader.read(id, Span::From(Seq(1)), budget).map_err(told)? {
        let seq = stored.seq();
        let Stored::Event { frame, .. } = stored else {
            let nothing =
                Told { author: String::new(), cid: String::new(), hash: String::new(), control: false };
            let room = name.to_owned();
            world.record("store", What::Store { room, seq: seq.0, event: nothing, damaged: true });
            continue;
        };
        let event = decode(frame.as_slice()).ok_or_else(|| format!("{} is no event", seq.0))?;
        stored_ids.insert(event.client_id);
        names.insert(event.author, event.author_name.as_str().to_owned());
        if let Some((account, change)) = membership(&event, &names) {
            let (room, epoch) = (name.to_owned(), row.epoch.0);
            world.record("store", What::Member { room, epoch, seq: seq.0, account, change });
        }
        let (room, event) = (name.to_owned(), told_of(&event));
        world.record("store", What::Store { room, seq: seq.0, event, damaged: false });
    }
    let (room, epoch) = (name.to_owned(), row.epoch.0);
    world.record("store", What::Head { room, epoch, first: row.first.0, head: row.head.0 });
    Ok(stored_ids)
}

/// What an outbox has taken for good, and was not refused, must be in the log; refusals that nobody was there to
/// learn can only come where a client is no member for a while.
fn judge_outboxes(world: &World, room: usize, stored: &BTreeSet<ClientId>) {
    for (client, memory) in world.memories.iter().enumerate() {
        let leaves = |(_, what): &(_, Move)| matches!(what, Move::Leave(left) if *left == room);
        let is_kicked = world.plan.kicks.iter().any(|(_, from, who)| (*from, *who) == (room, client));
        if is_kicked || world.plan.clients[client].moves.iter().any(leaves) {
            continue;
        }
        for (_, cid) in memory.lock().taken.iter().filter(|(of, cid)| *of == room && !stored.contains(cid)) {
            world.find(format!("outbox-lost: c{client} had {} of r{room} on its disk", hex(cid.as_bytes())));
        }
    }
}

fn policy(shows_all: bool) -> Policy {
    if shows_all { Policy::All } else { Policy::SinceJoin }
}

/// An event from its sealed bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<Event> {
    let raw = RawFrame::from_stored(bytes::Bytes::copy_from_slice(bytes)).ok()?;
    match Frame::decode(&raw) {
        Ok(Frame::Event(event)) => Some(event),
        _ => None,
    }
}

fn told_of(event: &Event) -> Told {
    Told {
        author: event.author_name.as_str().to_owned(),
        cid: hex(event.client_id.as_bytes()),
        hash: body_hash(&event.body),
        control: event.kind != Kind::MESSAGE,
    }
}

fn membership(event: &Event, names: &BTreeMap<AccountId, String>) -> Option<(String, Change)> {
    let author = event.author_name.as_str().to_owned();
    match event.kind {
        Kind::JOIN => Some((author, Change::In)),
        Kind::LEAVE => Some((author, Change::Out)),
        Kind::KICK => {
            let body = KickBody::take(&mut Reader::new(event.body.clone().into_bytes())).ok()?;
            let name = names.get(&body.account).cloned();
            Some((name.unwrap_or_else(|| body.name.as_str().to_owned()), Change::Out))
        }
        _ => None,
    }
}

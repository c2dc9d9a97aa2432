//! A client of a run: an application on the SDK that publishes, reads, leaves, comes back and keeps on paper what it
//! must not forget.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use hark_checker::body_hash;
use hark_checker::record::Phase;
use hark_protocol::{ClientId, ErrorCode};
use hark_sdk::{
    Client, ClientBuilder, ClientEvent, Credentials, Draft, Kind, Offline, OutboxOptions, Outcome,
    Publishing, Reconnect, Room, SendErrorKind, Writing,
};
use tokio::task::spawn_local;

use crate::chance::{Chance, Seeded};
use crate::net::SimConnector;
use crate::plan::Move;
use crate::reader::{Follower, page};
use crate::server::{PORT, SimClock, token};
use crate::tls;
use crate::world::{World, client_name};

/// A client that is yet to connect: every choice that chance or the clock would make is the seed's.
pub(crate) fn builder(
    world: &Arc<World>,
    name: &str,
    client: Option<usize>,
    boot: u64,
) -> ClientBuilder<SimConnector> {
    let account = if client.is_some() { name } else { crate::server::STEWARD };
    let credentials = Credentials::device_token(account, &token(account));
    let window = client.and_then(|client| world.plan.clients.get(client)).map_or(256, |plan| plan.window);
    let builder = Client::builder(format!("{}:{PORT}", tls::SERVER))
        .trust(tls::trust())
        .credentials(credentials.expect("invariant: it is a name and a token"))
        .reconnect(Reconnect {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(1),
            attempts_max: None,
        })
        .connect_timeout(Duration::from_secs(2))
        .offline(Offline::Queue { max: 64 })
        .window(window)
        .entropy(Seeded::new(world.plan.seed, &format!("{name} {boot}")))
        .clock(SimClock(Arc::clone(world)))
        .connector(SimConnector { world: Arc::clone(world), client });
    let Some((number, plan)) = client.and_then(|number| Some((number, world.plan.clients.get(number)?)))
    else {
        return builder;
    };
    let export = world.memories[number].lock().export.clone();
    let builder = match export.filter(|_| plan.resumes) {
        Some(export) => builder.resume(export),
        None => builder,
    };
    match plan.outbox {
        true => builder.outbox(OutboxOptions {
            entries_max: 64,
            writing: Writing::Inline,
            ..OutboxOptions::new(world.folder.join("outboxes").join(name))
        }),
        false => builder,
    }
}

/// Connects, however often it takes.
pub(crate) async fn connect(world: &Arc<World>, name: &str, client: Option<usize>, boot: u64) -> Client {
    let mut tries = 0;
    loop {
        // Chance of another boot each time: two tries of one must not draw the same.
        match builder(world, name, client, boot * 1_000 + tries).connect().await {
            Ok(client) => return client,
            Err(error) => {
                world.note(name, format_args!("no login: {:?}", error.kind()));
                tries += 1;
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        }
    }
}

/// Lives until it is killed.
///
/// # Errors
/// None; the signature is that of a host.
pub(crate) async fn live(world: Arc<World>, number: usize) -> turmoil::Result {
    let boot = {
        let mut memory = world.memories[number].lock();
        memory.boots += 1;
        memory.boots
    };
    let name = client_name(number);
    world.note(&name, format_args!("boot {boot}"));
    let client = connect(&world, &name, Some(number), boot).await;
    world.memories[number].lock().client = Some(client.clone());
    spawn_local(write_session_down(Arc::clone(&world), number, client.clone()));
    take_stock_of_outbox(&world, number, &client).await;
    while !world.rooms_made.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut rooms = Vec::new();
    for room in 0..world.plan.rooms.len() {
        rooms.push(match world.plan.part(number, room) {
            Some(_) => join(&world, &client, room).await,
            None => None,
        });
    }
    for (room, handle) in rooms.iter().enumerate() {
        if let (Some(handle), Some(part)) = (handle, world.plan.part(number, room))
            && let Some(reading) = part.reads
        {
            let follower = Follower::new(&world, (number, boot, room), handle.clone(), reading, part);
            spawn_local(follower.follow());
        }
    }
    spawn_local(move_about(Arc::clone(&world), client.clone(), (number, boot), rooms.clone()));
    let author = Author { world, number, boot, rooms };
    spawn_local(author.clone().learn(client));
    author.resend();
    author.write().await;
    std::future::pending().await
}

/// Becomes a member, however often it takes; `None` when the client has ended.
pub(crate) async fn join(world: &World, client: &Client, room: usize) -> Option<Room> {
    use hark_sdk::RoomErrorKind as Why;
    loop {
        match client.join(&world.plan.rooms[room].name).await {
            Ok(room) => return Some(room),
            Err(error) if *error.kind() == Why::Closed => return None,
            Err(error) => {
                world.note("rig", format_args!("not joined: {:?}", error.kind()));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Who writes.
#[derive(Clone)]
struct Author {
    world: Arc<World>,
    number: usize,
    boot: u64,
    rooms: Vec<Option<Room>>,
}

impl Author {
    /// Sends again what an earlier life had no answer to, with the same identities, before anything new. What the
    /// outbox has taken is its business.
    fn resend(&self) {
        let unsettled: Vec<(usize, u64, ClientId, Vec<u8>)> = {
            let memory = self.world.memories[self.number].lock();
            let taken = &memory.taken;
            let of_room = |(room, it): (usize, &crate::world::RoomMemory)| {
                it.unsettled
                    .iter()
                    .filter(move |(_, (cid, _))| !taken.contains(&(room, *cid)))
                    .map(move |(n, (cid, body))| (room, *n, *cid, body.clone()))
                    .collect::<Vec<_>>()
            };
            memory.rooms.iter().enumerate().flat_map(of_room).collect()
        };
        for (room, message, cid, body) in unsettled {
            self.publish(room, message, cid, body, None);
        }
    }

    /// Publishes what is planned, a burst at a time.
    async fn write(&self) {
        let plan = &self.world.plan.clients[self.number];
        let mut chance = Chance::new(self.world.plan.seed, &format!("bodies {} {}", self.number, self.boot));
        loop {
            let done = self.world.memories[self.number].lock().bursts;
            let Some(burst) = plan.bursts.get(done) else { return };
            self.world.until(burst.at).await;
            let Some(room) = &self.rooms[burst.room] else { return };
            for _ in 0..burst.count {
                let Ok(permit) = room.reserve().await else { return };
                self.be_in(burst.room).await;
                let bytes = chance.between(1, burst.body_bytes_max);
                let (message, cid, body) = self.make(burst.room, bytes);
                self.publish(burst.room, message, cid, body, Some(permit));
            }
            self.world.memories[self.number].lock().bursts = done + 1;
        }
    }

    /// Learns what becomes of publishes that nobody waits for, because they are an earlier life's.
    async fn learn(self, client: Client) {
        while let Some(settled) = client.outbox().settled().await {
            let is_it = |room: &Option<Room>| room.as_ref().is_some_and(|room| room.id() == settled.room);
            let Some(room) = self.rooms.iter().position(is_it) else { continue };
            let cid = settled.client_id;
            let phase = match settled.outcome {
                Outcome::Sent(sent) | Outcome::Duplicate(sent) => {
                    Phase::Ok { epoch: sent.epoch.0, seq: sent.seq.0, duplicate: sent.duplicate }
                }
                Outcome::Rejected(refusal) => Phase::Fail { code: refusal.code.to_string() },
                _ => continue,
            };
            {
                let mut memory = self.world.memories[self.number].lock();
                memory.undecided.remove(&(room, cid));
                memory.rooms[room].unsettled.retain(|_, (known, _)| *known != cid);
                if matches!(phase, Phase::Fail { .. }) {
                    memory.taken.remove(&(room, cid));
                }
            }
            self.world.publish(self.number, room, cid, phase);
        }
    }

    /// Waits until the client is back in a room that it has left.
    async fn be_in(&self, room: usize) {
        while self.world.memories[self.number].lock().rooms[room].is_out {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A message with an identity of its own, written down before it is sent.
    fn make(&self, room: usize, bytes: u64) -> (u64, ClientId, Vec<u8>) {
        let mut memory = self.world.memories[self.number].lock();
        memory.messages += 1;
        let message = memory.messages;
        let mut id = [0; 16];
        id[0] = CID_MARK;
        id[1] = u8::try_from(self.number).expect("invariant: there are few clients");
        id[2] = u8::try_from(room).expect("invariant: there are few rooms");
        id[6..14].copy_from_slice(&message.to_be_bytes());
        let cid = ClientId::new(id).expect("invariant: it is not zero");
        let mut body = format!("{}:{room}:{message};", self.number).into_bytes();
        body.resize(body.len().max(usize::try_from(bytes).unwrap_or(0)), b'.');
        memory.rooms[room].unsettled.insert(message, (cid, body.clone()));
        (message, cid, body)
    }

    /// Hands a message over, and leaves somebody behind who waits for what comes of it.
    fn publish(
        &self,
        room: usize,
        message: u64,
        cid: ClientId,
        body: Vec<u8>,
        permit: Option<hark_sdk::Permit>,
    ) {
        let Some(handle) = self.rooms[room].clone() else { return };
        self.invoke(room, cid, &body, "");
        let draft = Draft::new(Kind::MESSAGE, body.clone()).client_id(cid);
        let publishing = match permit {
            Some(permit) => permit.publish(draft),
            None => handle.publish(draft),
        };
        spawn_local(self.clone().settle(room, message, (cid, body), publishing));
    }

    fn invoke(&self, room: usize, cid: ClientId, body: &[u8], session: &str) {
        let session = format!("c{}.{}.r{room}{session}", self.number, self.boot);
        self.world.memories[self.number].lock().open.insert((room, cid));
        let phase = Phase::Invoke { session, hash: body_hash(body) };
        self.world.publish(self.number, room, cid, phase);
    }

    /// Waits for the outcome of a publish, and asks again under the same identity where the server says that this
    /// may help.
    async fn settle(self, room: usize, message: u64, (cid, body): (ClientId, Vec<u8>), first: Publishing) {
        let mut publishing = first;
        for again in 1.. {
            if self.world.plan.clients[self.number].outbox && publishing.queued().await.is_ok() {
                let mut memory = self.world.memories[self.number].lock();
                memory.taken.insert((room, cid));
                memory.undecided.insert((room, cid));
            }
            let outcome = publishing.await;
            let (phase, retry_after) = match outcome {
                Ok(sent) => {
                    let (epoch, seq) = (sent.epoch.0, sent.seq.0);
                    (Phase::Ok { epoch, seq, duplicate: sent.duplicate }, None)
                }
                Err(error) => match error.kind() {
                    SendErrorKind::Rejected(refusal) => {
                        let wait = refusal.retry_after.unwrap_or(Duration::from_millis(80));
                        let code = match refusal.code {
                            ErrorCode::CONFLICT => hark_checker::record::CONFLICT.to_owned(),
                            code => code.to_string(),
                        };
                        (Phase::Fail { code }, refusal.retryable.then_some(wait))
                    }
                    SendErrorKind::Unknown | SendErrorKind::Kept => {
                        (Phase::Info { why: "unknown".into() }, Some(Duration::ZERO))
                    }
                    SendErrorKind::QueueFull => {
                        (Phase::Fail { code: "queue-full".into() }, Some(Duration::from_millis(50)))
                    }
                    other => (Phase::Fail { code: other.to_string() }, None),
                },
            };
            let is_closed = matches!(phase, Phase::Info { .. });
            {
                let mut memory = self.world.memories[self.number].lock();
                memory.open.remove(&(room, cid));
                match &phase {
                    Phase::Info { .. } => {}
                    phase => {
                        memory.undecided.remove(&(room, cid));
                        if matches!(phase, Phase::Fail { .. }) {
                            memory.taken.remove(&(room, cid));
                        }
                    }
                }
                if retry_after.is_none() {
                    memory.rooms[room].unsettled.remove(&message);
                }
            }
            self.world.publish(self.number, room, cid, phase);
            let (Some(wait), Some(handle)) = (retry_after.filter(|_| !is_closed), &self.rooms[room]) else {
                return;
            };
            self.world.memories[self.number].lock().open.insert((room, cid));
            tokio::time::sleep(wait).await;
            self.invoke(room, cid, &body, &format!(".again{again}"));
            publishing = handle.publish(Draft::new(Kind::MESSAGE, body.clone()).client_id(cid));
        }
    }
}

/// Writes the session down whenever there is a connection, and from time to time.
async fn write_session_down(world: Arc<World>, number: usize, client: Client) {
    let mut events = client.events();
    loop {
        let export = client.export_session().await;
        world.memories[number].lock().export = Some(export);
        let Ok(event) = tokio::time::timeout(Duration::from_millis(150), events.next()).await else {
            continue;
        };
        match event {
            None => return,
            Some(ClientEvent::Connected) if client.account().resumed => {
                world.resumed.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
        }
    }
}

/// Finds out what the outbox still holds of what it had taken: the rest was decided when nobody was there to learn it.
async fn take_stock_of_outbox(world: &World, number: usize, client: &Client) {
    if client.account().resumed {
        world.resumed.fetch_add(1, Ordering::Relaxed);
    }
    let Ok(pending) = client.outbox().pending().await else { return };
    let pending: Vec<ClientId> = pending.iter().map(|pending| pending.client_id).collect();
    world.memories[number].lock().undecided.retain(|(_, cid)| pending.contains(cid));
}

/// The first byte of the identities that clients of a run give their messages.
pub(crate) const CID_MARK: u8 = 0x5a;

/// Does what is planned besides.
async fn move_about(
    world: Arc<World>,
    client: Client,
    (number, boot): (usize, u64),
    rooms: Vec<Option<Room>>,
) {
    let moves = world.plan.clients[number].moves.clone();
    for (turn, (at, what)) in moves.into_iter().enumerate() {
        if at < world.now() {
            continue; // an earlier life did it, or missed it
        }
        world.until(at).await;
        world.note(&client_name(number), format_args!("{what:?}"));
        match what {
            Move::Nudge => client.network_changed(),
            Move::Stall(lasts) => world.memories[number].lock().stalled_until = world.now() + lasts,
            Move::Leave(room) => {
                if let Some(handle) = &rooms[room] {
                    world.memories[number].lock().rooms[room].is_out = true;
                    let left = handle.leave().await;
                    world.note(&client_name(number), format_args!("left: {}", left.is_ok()));
                    if left.is_err() {
                        world.memories[number].lock().rooms[room].is_out = false;
                        continue;
                    }
                    // Whoever does not follow would never notice that it is out.
                    if world.plan.part(number, room).is_none_or(|part| part.reads.is_none()) {
                        join(&world, handle.client(), room).await;
                        world.memories[number].lock().rooms[room].is_out = false;
                    }
                }
            }
            Move::Page(room, limit) => {
                if let Some(handle) = &rooms[room] {
                    page(&world, number, &format!("c{number}.{boot}.page{turn}"), room, handle, limit).await;
                }
            }
        }
    }
}

/// Makes the rooms, and kicks whom the plan says.
///
/// # Errors
/// None; the signature is that of a host.
pub(crate) async fn steward(world: Arc<World>) -> turmoil::Result {
    use hark_sdk::{NewRoom, RoomErrorKind as Why};
    let client = connect(&world, crate::server::STEWARD, None, 1).await;
    let mut rooms = Vec::new();
    for (number, plan) in world.plan.rooms.iter().enumerate() {
        let history = match plan.shows_all {
            true => hark_protocol::HistoryPolicy::ALL,
            false => hark_protocol::HistoryPolicy::SINCE_JOIN,
        };
        let room = loop {
            match client.create_room(NewRoom::public(&plan.name).history(history)).await {
                Ok(room) => break room,
                // Made by a request that was answered UNAVAILABLE or whose answer was lost for good.
                Err(error) if *error.kind() == Why::NameTaken => match client.room(&plan.name).await {
                    Ok(room) => break room,
                    Err(error) => world.note("steward", format_args!("{:?}", error.kind())),
                },
                Err(error) => world.note("steward", format_args!("{:?}", error.kind())),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        world.note("steward", format_args!("made r{number}"));
        rooms.push(room);
    }
    world.rooms_made.store(true, Ordering::Relaxed);
    for (at, room, client) in world.plan.kicks.clone() {
        world.until(at).await;
        let kicked = rooms[room].kick(&client_name(client), "the plan says so").await;
        world.note(
            "steward",
            format_args!("kick c{client} from r{room}: {:?}", kicked.map_err(|e| e.kind().clone())),
        );
    }
    std::future::pending().await
}

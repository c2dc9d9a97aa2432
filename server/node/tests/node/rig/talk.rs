//! The requests that most tests make, in short.

use hark_protocol::{
    AccountName, Ack, Blob, ClientId, Direction, Epoch, Event, Frame, From as Start, History, HistoryPolicy,
    Kind, Level, Line, List, Page, Publish, Published, RoomCreate, RoomId, RoomJoin, RoomKick, RoomLeave,
    RoomName, Seq, Subscribe, SubscribeItem, Subscribed, SubscriptionMode, VerdictItem, Visibility,
};

use super::Peer;

/// The payload of a frame that must be of that type.
macro_rules! the {
    ($frame:expr, $kind:ident) => {
        match $frame {
            hark_protocol::Frame::$kind(payload) => payload,
            other => panic!("not {}: {other:?}", stringify!($kind)),
        }
    };
}

/// The payloads of all frames of that type, in order.
macro_rules! every {
    ($frames:expr, $kind:ident) => {
        $frames
            .iter()
            .filter_map(|frame| match frame {
                hark_protocol::Frame::$kind(payload) => Some(payload.clone()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}

pub(crate) use {every, the};

/// The client id with that number.
pub(crate) fn client_id(number: u64) -> ClientId {
    let mut bytes = [0xc1; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ClientId::new(bytes).unwrap()
}

/// A message.
pub(crate) fn publish(room: RoomId, id: u64, body: impl AsRef<[u8]>) -> Publish {
    let body = Blob::new(body.as_ref().to_vec()).unwrap();
    Publish { room, client_id: client_id(id), kind: Kind::MESSAGE, abandon: false, body }
}

/// A transient subscription to a room with the server's window.
pub(crate) fn in_room(room: RoomId, from: Start, seq: u64) -> SubscribeItem {
    SubscribeItem {
        room,
        from,
        epoch: Epoch(0),
        seq: Seq(seq),
        mode: SubscriptionMode::TRANSIENT,
        level: Level::FULL,
        window: 0,
    }
}

impl Peer {
    /// Makes a public room whose members read all of it.
    pub(crate) async fn create_room(&mut self, name: &str) -> RoomId {
        self.create_room_as(name, Visibility::PUBLIC, HistoryPolicy::ALL).await
    }

    pub(crate) async fn create_room_as(
        &mut self,
        name: &str,
        visibility: Visibility,
        history: HistoryPolicy,
    ) -> RoomId {
        let topic = Line::default();
        let name = RoomName::parse(name).unwrap();
        let create = RoomCreate { client_id: client_id(1 << 32), name, visibility, history, topic };
        the!(self.ask(create).await, Published).room
    }

    /// Joins with the client id of that number.
    pub(crate) async fn join(&mut self, name: &str, id: u64) -> Published {
        the!(self.ask(join(name, id)).await, Published)
    }

    pub(crate) async fn leave(&mut self, room: RoomId, id: u64) -> Published {
        the!(self.ask(RoomLeave { client_id: client_id(id), room }).await, Published)
    }

    pub(crate) async fn kick(&mut self, room: RoomId, name: &str, id: u64) -> Published {
        the!(self.ask(kick(room, name, id)).await, Published)
    }

    pub(crate) async fn publish(&mut self, room: RoomId, id: u64, body: impl AsRef<[u8]>) -> Published {
        the!(self.ask(publish(room, id, body)).await, Published)
    }

    /// Publishes messages with those numbers in one write, and waits for the acknowledgements.
    pub(crate) async fn publish_all(
        &mut self,
        room: RoomId,
        ids: impl IntoIterator<Item = u64>,
    ) -> Vec<Published> {
        let requests: Vec<Frame> =
            ids.into_iter().map(|id| publish(room, id, format!("message {id}")).into()).collect();
        let correlations = self.send_all(requests).await;
        let mut published = Vec::new();
        for correlation in correlations {
            published.push(the!(self.answer(correlation).await, Published));
        }
        published
    }

    pub(crate) async fn subscribe(&mut self, item: SubscribeItem) -> VerdictItem {
        let Subscribed { rooms } =
            the!(self.ask(Subscribe { rooms: List::new(vec![item]).unwrap() }).await, Subscribed);
        assert_eq!(rooms.len(), 1);
        rooms[0].clone()
    }

    /// Follows a room from its present head on, and waits until that is live.
    pub(crate) async fn follow(&mut self, room: RoomId) -> VerdictItem {
        let verdict = self.subscribe(in_room(room, Start::NOW, 0)).await;
        the!(self.news().await, Replayed);
        verdict
    }

    pub(crate) async fn ack(&mut self, room: RoomId, epoch: Epoch, seq: Seq) {
        self.tell(Ack { room, epoch, seq }).await;
    }

    /// Everything up to REPLAYED, and that itself.
    pub(crate) async fn replay(&mut self) -> Vec<Frame> {
        let mut said = Vec::new();
        while !matches!(said.last(), Some(Frame::Replayed(_))) {
            said.push(self.news().await);
        }
        said
    }

    /// The next frame, which is an EVENT.
    pub(crate) async fn event(&mut self) -> Event {
        the!(self.news().await, Event)
    }

    /// A page of a room's log.
    pub(crate) async fn page(&mut self, room: RoomId, direction: Direction, seq: u64, limit: u16) -> Page {
        let history = History { room, direction, epoch: Epoch(0), seq: Seq(seq), limit };
        the!(self.ask(history).await, Page)
    }

    /// The whole log of a room.
    pub(crate) async fn log(&mut self, room: RoomId) -> Vec<Event> {
        let mut log: Vec<Event> = Vec::new();
        loop {
            let after = log.last().map_or(0, |event| event.seq.0);
            let page = self.page(room, Direction::AFTER, after, 0).await;
            log.extend(events(&page));
            if !page.more {
                return log;
            }
        }
    }
}

/// The events in a page.
pub(crate) fn events(page: &Page) -> Vec<Event> {
    page.events.iter().map(|raw| the!(Frame::decode(&raw).unwrap(), Event)).collect()
}

pub(crate) fn join(name: &str, id: u64) -> RoomJoin {
    RoomJoin { client_id: client_id(id), name: RoomName::parse(name).unwrap() }
}

pub(crate) fn kick(room: RoomId, name: &str, id: u64) -> RoomKick {
    let account = AccountName::parse(name).unwrap();
    RoomKick { client_id: client_id(id), room, account, reason: Line::default() }
}

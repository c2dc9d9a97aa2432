//! A client: one login on one server, and the handles that use it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{self, BoxStream};
use hark_protocol::limits::{DISPLAY_NAME_BYTES_MAX, PING_BYTES_MAX};
use hark_protocol::{
    AccountName, Blob, Disposition, Frame, Line, Ping, PresenceSet, PresenceState, ProfileSet, RoomCreate,
    RoomDirect, RoomFilter, RoomGet, RoomId, RoomJoin, RoomList, RoomName, RoomSummary,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout};

use crate::admin::Admin;
use crate::builder::ClientBuilder;
use crate::credentials::Token;
use crate::error::{Error, RequestError, RequestErrorKind, RoomError, RoomErrorKind};
use crate::event::Position;
use crate::export::SessionExport;
use crate::handle::Handle;
use crate::new_room::NewRoom;
use crate::outbox::Outbox;
use crate::room::Room;
use crate::status::{AccountInfo, ClientEvent, ClientState, ServerInfo};

/// A login on a server. Clones are cheap and share one connection, which one background task keeps: it
/// reconnects, takes up subscriptions where they were and sends unanswered publishes again with the same client id.
///
/// When the last clone (with the rooms and streams made from it) is dropped, the task finishes what is
/// outstanding, for a few seconds at most, and ends. [`Client::close`] does the same and waits for it.
#[derive(Clone)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
}

impl Client {
    /// Begins to describe a client for the server at `address`: `host`, `host:port`, `[v6]:port`; the port is
    /// 4275 unless it is given.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }

    /// Who the client speaks for, as the last login said.
    pub fn account(&self) -> AccountInfo {
        self.handle.account()
    }

    /// The token of the device that a password login with a label made. Keep it and log in with it next time.
    pub fn device_token(&self) -> Option<Token> {
        self.handle.token()
    }

    /// What the server said about itself, its limits included, as of the last connection.
    pub fn welcome(&self) -> ServerInfo {
        self.handle.server()
    }

    /// Whether the client is connected, at this moment.
    pub fn state(&self) -> ClientState {
        self.handle.shared.state.borrow().clone()
    }

    /// Waits until the client is connected. Cancel-safe.
    ///
    /// # Errors
    /// The state that it ended in, when it is closed for good.
    pub async fn connected(&self) -> Result<(), ClientState> {
        let mut states = self.handle.shared.state.subscribe();
        let ended =
            |state: &ClientState| matches!(state, ClientState::Connected | ClientState::Closed { .. });
        match states.wait_for(ended).await.map(|state| state.clone()) {
            Ok(ClientState::Connected) => Ok(()),
            Ok(other) => Err(other),
            Err(_) => Err(self.state()),
        }
    }

    /// What happens to the client from now on. A reader that falls behind finds [`ClientEvent::Missed`].
    pub fn events(&self) -> ClientEvents {
        let receiver = self.handle.shared.events.subscribe();
        let events = stream::unfold(receiver, |mut receiver| async {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(count)) => ClientEvent::Missed { count },
                Err(RecvError::Closed) => return None,
            };
            Some((event, receiver))
        });
        ClientEvents { events: Box::pin(events) }
    }

    /// Asks the server for a sign of life, behind everything that was asked before, and gives the time it took.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`RequestErrorKind::Offline`] under [`Offline::Refuse`](crate::Offline::Refuse), and `Closed`.
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        let begun = Instant::now();
        let data = Blob::<PING_BYTES_MAX>::new(self.handle.ids.random().to_be_bytes().to_vec());
        let data = data.map_err(|error| Error::with(RequestErrorKind::Invalid, error))?;
        match self.handle.request(Ping { data }).await? {
            Frame::Pong(_) => Ok(begun.elapsed()),
            _ => Err(RequestErrorKind::Protocol.into()),
        }
    }

    /// The rooms that `filter` describes, by id. Asks for page after page; cancel-safe.
    ///
    /// # Errors
    /// [`RequestErrorKind::Refused`] with the server's code, and the errors of every request.
    pub async fn rooms(&self, filter: RoomFilter) -> Result<Vec<RoomSummary>, RequestError> {
        let (mut rooms, mut after) = (Vec::new(), RoomId(0));
        loop {
            let Frame::Rooms(page) = self.handle.request(RoomList { filter, after, limit: 0 }).await? else {
                return Err(RequestErrorKind::Protocol.into());
            };
            let last = page.rooms.last().map_or(after, |room| room.room);
            rooms.extend(page.rooms.into_vec());
            // A page that does not lead on would be asked for for ever.
            if !page.more || last <= after {
                return Ok(rooms);
            }
            after = last;
        }
    }

    /// The room called `name`, which the account may see. Cancel-safe.
    ///
    /// # Errors
    /// [`RoomErrorKind::NotFound`] for a room that is not there or may not be seen; `Invalid` for a name that no
    /// room can have.
    pub async fn room(&self, name: &str) -> Result<Room, RoomError> {
        let name = parse_room(name)?;
        match self.handle.request(RoomGet { name }).await? {
            Frame::Room(answer) => Ok(Room::new(self, answer.room.room, answer.room.name)),
            _ => Err(RoomErrorKind::Protocol.into()),
        }
    }

    /// Makes a room with this account as its owner and first member. If the connection is lost on the way it is
    /// asked for again under the same identity, so that there is one room. Dropping the future does not stop what
    /// was begun.
    ///
    /// # Errors
    /// [`RoomErrorKind::NameTaken`], `Invalid` for a name or topic of no acceptable form, `Refused` for limits.
    pub async fn create_room(&self, new: NewRoom) -> Result<Room, RoomError> {
        let name = parse_room(&new.name)?;
        let topic = Line::parse(&new.topic).map_err(|error| Error::with(RoomErrorKind::Invalid, error))?;
        let request = RoomCreate {
            client_id: self.handle.ids.client_id(),
            name: name.clone(),
            visibility: new.visibility,
            history: new.history,
            topic,
        };
        self.opened(request.into(), name).await
    }

    /// Becomes a member of the room called `name`: a public one, or one whose invitation waits. Being a member
    /// already is no error. Dropping the future does not stop what was begun.
    ///
    /// # Errors
    /// [`RoomErrorKind::NotFound`] for a room that is not there or can not be joined, `Refused` for limits.
    pub async fn join(&self, name: &str) -> Result<Room, RoomError> {
        let name = parse_room(name)?;
        let request = RoomJoin { client_id: self.handle.ids.client_id(), name: name.clone() };
        self.opened(request.into(), name).await
    }

    /// Opens the room that this account shares with `account` alone, making it if need be. Dropping the future does
    /// not stop what was begun.
    ///
    /// # Errors
    /// [`RoomErrorKind::NotFound`] where there is no such account, `Invalid` for one's own name.
    pub async fn direct(&self, account: &str) -> Result<Room, RoomError> {
        let other = parse_account(account).map_err(|error| Error::with(RoomErrorKind::Invalid, error))?;
        let name = RoomName::direct(&self.account().name, &other)
            .ok_or_else(|| Error::with(RoomErrorKind::Invalid, "a direct room has two different accounts"))?;
        let request = RoomDirect { client_id: self.handle.ids.client_id(), account: other };
        self.opened(request.into(), name).await
    }

    async fn opened(&self, request: Frame, name: RoomName) -> Result<Room, RoomError> {
        match self.handle.request(request).await? {
            Frame::Published(answer) => Ok(Room::new(self, answer.room, name)),
            _ => Err(RoomErrorKind::Protocol.into()),
        }
    }

    /// Says whether one is online or away, for this connection. Only a [visible](ClientBuilder::visible) client
    /// is seen. After a reconnect it is online again. Cancel-safe.
    ///
    /// # Errors
    /// [`RequestErrorKind::Refused`] for a state that can not be set.
    pub async fn set_presence(&self, state: PresenceState) -> Result<(), RequestError> {
        self.done(PresenceSet { state }).await
    }

    /// Changes the name that people see; empty = the account's name. Cancel-safe.
    ///
    /// # Errors
    /// [`RequestErrorKind::Invalid`] for a name that is not one line of at most 64 bytes.
    pub async fn set_display_name(&self, display_name: &str) -> Result<(), RequestError> {
        let display_name = Line::<DISPLAY_NAME_BYTES_MAX>::parse(display_name)
            .map_err(|error| Error::with(RequestErrorKind::Invalid, error))?;
        self.done(ProfileSet { display_name }).await
    }

    /// Says that the network has changed, or is there again: an operating system's own word, a device that wakes up.
    /// A client that waits for its next attempt makes it at once, unless the server has said when to come back; one
    /// that looks connected asks for a sign of life and gives up after three seconds without one. Cheap, and harmless
    /// when nothing has changed.
    pub fn network_changed(&self) {
        self.handle.shared.network.notify_one();
    }

    /// What another process needs to go on where this one is: the session, and how far each followed room was taken.
    /// An item counts as taken when the next one is asked for, or by [`Events::done`](crate::Events::done). May be
    /// called at any time, also after [`Client::close`], which keeps the session.
    ///
    /// The session's token changes with every connection, and the one before it is good until the new one has been
    /// used. So export again after each [`ClientEvent::Connected`]; with an older one, the credentials are needed, and
    /// the positions are as good as ever.
    pub async fn export_session(&self) -> SessionExport {
        let positions = self.handle.positions().await;
        SessionExport {
            server: self.handle.server_address.clone(),
            account: self.account().name,
            token: self.handle.session_token(),
            positions,
        }
    }

    /// Where an earlier process was in a room, as [`ClientBuilder::resume`] was told.
    pub fn saved_position(&self, room: RoomId) -> Option<Position> {
        self.handle.resumed.get(&room).copied()
    }

    /// What was published and has no verdict yet.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// What an admin may do. Others are answered FORBIDDEN, except for their own password.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// Ends the client: waits for the answers to what is outstanding, for ten seconds at most, takes leave of the
    /// server and closes the connection. The login and the session are kept. Every clone, room and stream made from it ends with
    /// it. Dropping the future does not stop it.
    pub async fn close(&self) {
        self.handle.close(Disposition::KEEP, CLOSE_PATIENCE).await;
    }

    /// Ends the client as [`Client::close`] does, with another patience for what is outstanding.
    pub async fn close_within(&self, patience: Duration) {
        self.handle.close(Disposition::KEEP, patience).await;
    }

    /// Ends the client and makes the server forget the device: its token is worth nothing any more.
    ///
    /// # Errors
    /// [`RequestErrorKind::Offline`] when the server can not be told because there is no connection; the client
    /// then lives on. `Unknown` when the connection was lost before the server had closed it, and `Closed`.
    pub async fn logout(&self) -> Result<(), RequestError> {
        self.end(Disposition::FORGET_DEVICE).await
    }

    /// Ends the client and its session: what was [exported](Client::export_session) of it is worth nothing any more.
    /// The device stays.
    ///
    /// # Errors
    /// As [`Client::logout`].
    pub async fn end_session(&self) -> Result<(), RequestError> {
        self.end(Disposition::END).await
    }

    async fn end(&self, disposition: Disposition) -> Result<(), RequestError> {
        match self.state() {
            ClientState::Connected => {}
            ClientState::Closing | ClientState::Closed { .. } => return Err(RequestErrorKind::Closed.into()),
            _ => return Err(RequestErrorKind::Offline.into()),
        }
        let mut states = self.handle.shared.state.subscribe();
        self.handle.close(disposition, CLOSE_PATIENCE).await;
        let closed = states.wait_for(|state| matches!(state, ClientState::Closed { .. }));
        let ended =
            timeout(CLOSE_PATIENCE, closed).await.ok().and_then(Result::ok).map(|state| state.clone());
        match ended {
            Some(ClientState::Closed { reason: crate::Reason::Requested }) => Ok(()),
            _ => Err(RequestErrorKind::Unknown.into()),
        }
    }

    /// A request whose answer is OK.
    pub(crate) async fn done(&self, request: impl Into<Frame>) -> Result<(), RequestError> {
        match self.handle.request(request).await? {
            Frame::Ok(_) => Ok(()),
            _ => Err(RequestErrorKind::Protocol.into()),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// The stream of [`Client::events`]. It ends when the client has ended and every handle is gone.
pub struct ClientEvents {
    events: BoxStream<'static, ClientEvent>,
}

impl Stream for ClientEvents {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for ClientEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientEvents").finish_non_exhaustive()
    }
}

/// How long an ending client waits for the answers to what is outstanding.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

fn parse_room(name: &str) -> Result<RoomName, RoomError> {
    RoomName::parse(name).map_err(|error| Error::with(RoomErrorKind::Invalid, error))
}

pub(crate) fn parse_account(name: &str) -> Result<AccountName, hark_protocol::BadText> {
    AccountName::parse(name)
}

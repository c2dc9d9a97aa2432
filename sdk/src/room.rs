//! A room: saying something in it, following it, reading it, changing it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hark_protocol::limits::BODY_BYTES_MAX;
use hark_protocol::{
    AccountId, AccountName, Blob, ClientId, Durability, Epoch, Frame, Kind, Line, Member, Publish, Retention,
    RoomGet, RoomId, RoomInvite, RoomKick, RoomLeave, RoomMembers, RoomName, RoomRetention, RoomRole,
    RoomRoleSet, RoomSummary, RoomTopic, Seq, SignalKind, UnixMillis,
};
use tokio::sync::{TryAcquireError, oneshot};

use crate::client::{Client, parse_account};
use crate::error::{Error, RoomError, RoomErrorKind, SendError, SendErrorKind, SubscribeError};
use crate::event::Start;
use crate::events::Events;
use crate::handle::{Answer, Permits};
use crate::history::History;
use crate::outbox::Outcome;
use crate::session::Failure;
use crate::watch::Watch;

/// A room on the server. Clones are cheap. Having a handle says nothing about being a member.
#[derive(Clone)]
pub struct Room {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    id: RoomId,
    name: RoomName,
}

/// An event that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it is: [`Kind::MESSAGE`], or one of the application's own kinds, `0x4000` to `0x7fff`.
    pub kind: Kind,
    /// What it says. At most what the server advertises as `body_bytes_max`.
    pub body: Bytes,
    /// Its identity; `None` = a new one is made. The same id published again, by whatever process, is the same
    /// event: the server answers with its first seq.
    pub client_id: Option<ClientId>,
    /// How long the server's word is waited for; `None` = as the client's builder says. See
    /// [`ClientBuilder::send_within`](crate::ClientBuilder::send_within).
    pub within: Option<Duration>,
}

impl Draft {
    /// A message.
    pub fn text(text: impl Into<String>) -> Draft {
        Draft::new(Kind::MESSAGE, text.into())
    }

    /// An event of any kind that clients may publish.
    pub fn new(kind: Kind, body: impl Into<Bytes>) -> Draft {
        Draft { kind, body: body.into(), client_id: None, within: None }
    }

    /// With this identity.
    #[must_use]
    pub fn client_id(self, client_id: ClientId) -> Draft {
        Draft { client_id: Some(client_id), ..self }
    }

    /// With this time for the server's word.
    #[must_use]
    pub fn within(self, within: Duration) -> Draft {
        Draft { within: Some(within), ..self }
    }
}

/// The server's word that an event is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The room.
    pub room: RoomId,
    /// Which incarnation of its log.
    pub epoch: Epoch,
    /// Where the event stands.
    pub seq: Seq,
    /// When it was stored.
    pub time: UnixMillis,
    /// What the server promises with this.
    pub durability: Durability,
    /// Whether the event was there before this publish: it had been sent before, and arrived.
    pub duplicate: bool,
    /// The event's identity.
    pub client_id: ClientId,
}

impl Room {
    pub(crate) fn new(client: &Client, id: RoomId, name: RoomName) -> Room {
        Room { inner: Arc::new(Inner { client: client.clone(), id, name }) }
    }

    /// The room's id.
    pub fn id(&self) -> RoomId {
        self.inner.id
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.inner.name
    }

    /// The client whose handle this is.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// What the server says about the room now: topic, members, head, one's own role. Cancel-safe.
    ///
    /// # Errors
    /// [`RoomErrorKind::NotFound`] for a room that the account may not see any more.
    pub async fn info(&self) -> Result<RoomSummary, RoomError> {
        match self.request(RoomGet { name: self.inner.name.clone() }).await? {
            Frame::Room(answer) => Ok(answer.room),
            _ => Err(RoomErrorKind::Protocol.into()),
        }
    }

    /// Publishes a message and waits for the server's word. While as many publishes are unanswered as the client
    /// keeps, it waits before sending. If the connection is lost the message is sent again with the same client
    /// id, so that it is stored once.
    ///
    /// Messages are sent in the order in which these futures are first polled; [`Room::publish`] fixes the order
    /// earlier. Dropping the future does not take back a message that was handed over.
    ///
    /// # Errors
    /// [`SendError`], whose kind tells whether anything may have been stored.
    pub async fn send(&self, text: impl Into<String>) -> Result<Sent, SendError> {
        let text = text.into();
        let mut permit = self.reserve().await?;
        let shared = &self.inner.client.handle.shared;
        shared.room_for(text.len(), &mut permit.permits).await.map_err(|_| SendErrorKind::Closed)?;
        permit.publish(Draft::text(text)).await
    }

    /// Publishes an event. It is handed over in this call, so that the order of calls is the order of the log,
    /// whenever the returned futures are polled; dropping one does not take its event back. Several are on their way
    /// at once. What the server can not take now (it comes too fast, the disk is full) is sent again when it said,
    /// with the same client id, and nothing of the room passes it; within the time of
    /// [`send_within`](crate::ClientBuilder::send_within). Only from a server that lets later ones pass, and has
    /// stored one, the refusal is returned, because the order would be lost. Every other refusal is returned at once,
    /// and events behind it stand.
    ///
    /// # Errors
    /// The future fails with [`SendErrorKind::QueueFull`] at once when as many publishes, or bytes, are unanswered as
    /// the client keeps; [`Room::reserve`] and [`Room::send`] wait instead.
    pub fn publish(&self, draft: Draft) -> Publishing {
        match self.inner.client.handle.shared.try_place() {
            Ok(permits) => Permit { room: self.clone(), permits }.publish(draft),
            Err(error) => Publishing::failed(full_or_closed(error).into()),
        }
    }

    /// Waits until there is room for one more unanswered publish; whether there is room for its bytes is seen when
    /// it is published. Cancel-safe.
    ///
    /// # Errors
    /// [`SendErrorKind::Closed`].
    pub async fn reserve(&self) -> Result<Permit, SendError> {
        let permits = self.inner.client.handle.shared.place().await.map_err(|_| SendErrorKind::Closed)?;
        Ok(Permit { room: self.clone(), permits })
    }

    /// Follows the room. The stream survives reconnects: it goes on where it was, without duplicates and without a
    /// silent gap. A client follows a room once: following it again ends the older stream.
    ///
    /// What the application has not taken yet is bounded by the client's [window](crate::ClientBuilder::window):
    /// past that the server waits. Dropping the future or the stream ends the subscription.
    ///
    /// # Errors
    /// [`SubscribeError`]: the server would not let the account follow the room, or the client is offline or
    /// closed.
    pub async fn events(&self, start: Start) -> Result<Events, SubscribeError> {
        Events::follow(self, start).await
    }

    /// Follows the room from where an earlier process was, as [`ClientBuilder::resume`](crate::ClientBuilder::resume)
    /// was told; from `otherwise` if it had not followed this room. What it had taken does not come again, and what
    /// has happened since comes as [`Origin::Replay`](crate::Origin::Replay).
    ///
    /// # Errors
    /// As [`Room::events`].
    pub async fn events_from_saved(&self, otherwise: Start) -> Result<Events, SubscribeError> {
        self.events(self.client().saved_position(self.id()).map_or(otherwise, Start::from)).await
    }

    /// Watches the room without reading it: how far its log has come, and how far that is above where one began.
    /// [`Start::Cursor`] is the device's own cursor, which [`Watch::mark_read`] moves. A client has one subscription
    /// for each room: watching it ends a stream of [`Room::events`], and the other way round.
    ///
    /// # Errors
    /// As [`Room::events`].
    pub async fn watch(&self, start: Start) -> Result<Watch, SubscribeError> {
        Watch::begin(self, start).await
    }

    /// Reads what is stored, page after page.
    pub fn history(&self) -> History {
        History::new(self.clone())
    }

    /// Who is in the room, and whether they are there, by account id. Asks for page after page; cancel-safe.
    ///
    /// # Errors
    /// [`RoomErrorKind::NotMember`] or `NotFound`.
    pub async fn members(&self) -> Result<Vec<Member>, RoomError> {
        let (mut members, mut after) = (Vec::new(), AccountId(0));
        loop {
            let request = RoomMembers { room: self.inner.id, after, limit: 0 };
            let Frame::Members(page) = self.request(request).await? else {
                return Err(RoomErrorKind::Protocol.into());
            };
            let last = page.members.last().map_or(after, |member| member.account);
            members.extend(page.members.into_vec());
            if !page.more || last <= after {
                return Ok(members);
            }
            after = last;
        }
    }

    /// Tells the room what one is doing right now. Not stored and not answered: it may be dropped, and is while
    /// there is no connection. Say typing again at most every few seconds; it is forgotten after six.
    pub fn typing(&self, kind: SignalKind) {
        self.inner.client.handle.signal(self.inner.id, kind);
    }

    /// Lets an account join this private room. Dropping the future does not stop what was begun.
    ///
    /// # Errors
    /// [`RoomErrorKind::NotFound`] for an account that is not there, `Forbidden`, `NotMember`.
    pub async fn invite(&self, account: &str) -> Result<Sent, RoomError> {
        let (client_id, account) = (self.new_id(), name_of(account)?);
        self.change(client_id, RoomInvite { client_id, room: self.inner.id, account }).await
    }

    /// Removes a member, with a reason of at most 256 bytes that may be empty.
    ///
    /// # Errors
    /// As [`Room::invite`].
    pub async fn kick(&self, account: &str, reason: &str) -> Result<Sent, RoomError> {
        let (client_id, account, reason) = (self.new_id(), name_of(account)?, line(reason)?);
        self.change(client_id, RoomKick { client_id, room: self.inner.id, account, reason }).await
    }

    /// Changes the topic: one line of at most 512 bytes, may be empty.
    ///
    /// # Errors
    /// As [`Room::invite`].
    pub async fn set_topic(&self, topic: &str) -> Result<Sent, RoomError> {
        let (client_id, topic) = (self.new_id(), line(topic)?);
        self.change(client_id, RoomTopic { client_id, room: self.inner.id, topic }).await
    }

    /// Changes a member's role.
    ///
    /// # Errors
    /// As [`Room::invite`].
    pub async fn set_role(&self, account: &str, role: RoomRole) -> Result<Sent, RoomError> {
        let (client_id, account) = (self.new_id(), name_of(account)?);
        self.change(client_id, RoomRoleSet { client_id, room: self.inner.id, account, role }).await
    }

    /// Changes how much of its log the room keeps, within the server's own bounds; 0 is no bound. Whoever wanted what
    /// goes is told by a gap, and nothing brings it back.
    ///
    /// # Errors
    /// As [`Room::invite`].
    pub async fn set_retention(&self, retention: Retention) -> Result<Sent, RoomError> {
        let client_id = self.new_id();
        self.change(client_id, RoomRetention { client_id, room: self.inner.id, retention }).await
    }

    /// Stops being a member. A stream that follows the room ends with the event that says so.
    ///
    /// # Errors
    /// [`RoomErrorKind::NotMember`].
    pub async fn leave(&self) -> Result<Sent, RoomError> {
        let client_id = self.new_id();
        self.change(client_id, RoomLeave { client_id, room: self.inner.id }).await
    }

    pub(crate) async fn request(&self, request: impl Into<Frame>) -> Result<Frame, Failure> {
        self.inner.client.handle.request(request).await
    }

    async fn change(&self, client_id: ClientId, request: impl Into<Frame>) -> Result<Sent, RoomError> {
        match self.request(request).await? {
            Frame::Published(answer) => Ok(Sent::new(&answer, client_id)),
            _ => Err(RoomErrorKind::Protocol.into()),
        }
    }

    fn new_id(&self) -> ClientId {
        self.inner.client.handle.ids.client_id()
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("id", &self.inner.id)
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

impl Sent {
    pub(crate) fn new(answer: &hark_protocol::Published, client_id: ClientId) -> Sent {
        Sent {
            room: answer.room,
            epoch: answer.epoch,
            seq: answer.seq,
            time: answer.time,
            durability: answer.durability,
            duplicate: answer.duplicate,
            client_id,
        }
    }
}

/// Room for one more unanswered publish. Dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    room: Room,
    permits: Permits,
}

impl Permit {
    /// Publishes an event, as [`Room::publish`] does.
    pub fn publish(self, draft: Draft) -> Publishing {
        let Permit { room, mut permits } = self;
        if !draft.kind.is_publishable() {
            return Publishing::failed(SendErrorKind::NotPublishable.into());
        }
        let size = draft.body.len();
        let Ok(body) = Blob::<BODY_BYTES_MAX>::new(draft.body) else {
            return Publishing::failed(SendErrorKind::TooLarge { size, max: BODY_BYTES_MAX as u64 }.into());
        };
        let handle = &room.inner.client.handle;
        if let Err(error) = handle.shared.try_room_for(size, &mut permits) {
            return Publishing::failed(full_or_closed(error).into());
        }
        let client_id = draft.client_id.unwrap_or_else(|| room.new_id());
        let publish = Publish { room: room.id(), client_id, kind: draft.kind, abandon: false, body };
        match handle.publish(publish, draft.within, permits) {
            Ok((answer, queued)) => {
                Publishing { state: Waiting::For { answer, queued: Some(queued), client_id } }
            }
            Err(failure) => Publishing::failed(failure.into()),
        }
    }
}

fn full_or_closed(error: TryAcquireError) -> SendErrorKind {
    match error {
        TryAcquireError::NoPermits => SendErrorKind::QueueFull,
        TryAcquireError::Closed => SendErrorKind::Closed,
    }
}

/// A publish on its way: a future of the server's word. Dropping it does not take the publish back.
#[derive(Debug)]
#[must_use = "the outcome of a publish is known only to who awaits it"]
pub struct Publishing {
    state: Waiting,
}

#[derive(Debug)]
enum Waiting {
    For { answer: Answer, queued: Option<oneshot::Receiver<()>>, client_id: ClientId },
    Failed(Option<SendError>),
}

impl Publishing {
    fn failed(error: SendError) -> Publishing {
        Publishing { state: Waiting::Failed(Some(error)) }
    }

    /// The event's identity; `None` when it was refused before it had one.
    pub fn client_id(&self) -> Option<ClientId> {
        match &self.state {
            Waiting::For { client_id, .. } => Some(*client_id),
            Waiting::Failed(_) => None,
        }
    }

    /// Waits until the client has taken the publish for good: with
    /// [`outbox_dir`](crate::ClientBuilder::outbox_dir) it is on the disk then, and will be sent even if the
    /// application dies now. Says nothing about the server; await the future itself for that. Cancel-safe.
    ///
    /// # Errors
    /// Why it was not taken: [`SendErrorKind::Outbox`] when it can not be written, `Offline`, `Closed` and the like.
    pub async fn queued(&mut self) -> Result<ClientId, SendError> {
        if let Waiting::For { queued: Some(queued), client_id, .. } = &mut self.state {
            let (is_taken, client_id) = (queued.await.is_ok(), *client_id);
            if let Waiting::For { queued, .. } = &mut self.state {
                *queued = None;
            }
            if is_taken {
                return Ok(client_id);
            }
        } else if let Waiting::For { client_id, .. } = &self.state {
            return Ok(*client_id);
        }
        // It was not taken, so the answer is there, and says why.
        match (&mut *self).await {
            Ok(sent) => Ok(sent.client_id),
            Err(error) => Err(error),
        }
    }

    /// The same future with every outcome by its name.
    pub async fn outcome(self) -> Outcome {
        self.await.into()
    }
}

impl Future for Publishing {
    type Output = Result<Sent, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Sent, SendError>> {
        match &mut self.state {
            Waiting::For { answer, client_id, .. } => Pin::new(answer).poll(cx).map(|answer| match answer {
                Ok(Ok(Frame::Published(answer))) => Ok(Sent::new(&answer, *client_id)),
                Ok(Err(failure)) => Err(failure.into()),
                // A driver that vanished took the publish with it.
                Ok(Ok(_)) | Err(_) => Err(SendErrorKind::Unknown.into()),
            }),
            Waiting::Failed(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

fn name_of(account: &str) -> Result<AccountName, RoomError> {
    parse_account(account).map_err(|error| Error::with(RoomErrorKind::Invalid, error))
}

fn line<const MAX: usize>(text: &str) -> Result<Line<MAX>, RoomError> {
    Line::parse(text).map_err(|error| Error::with(RoomErrorKind::Invalid, error))
}

//! What happens in a room, as an application sees it.

use bytes::Bytes;
use hark_protocol::{
    AccountId, AccountName, ClientId, Epoch, ErrorCode, GapReason, InviteBody, JoinBody, KickBody, Kind,
    Reader, RetentionBody, RoleBody, RoomId, Seq, SignalKind, TopicBody, UnixMillis, Wire,
};

/// One event of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The room.
    pub room: RoomId,
    /// Which incarnation of its log.
    pub epoch: Epoch,
    /// Where it stands in the log: dense from 1, the same for everybody.
    pub seq: Seq,
    /// When the server stored it.
    pub time: UnixMillis,
    /// Who caused it.
    pub author: AccountId,
    /// The author's name.
    pub author_name: AccountName,
    /// The identity that the author gave it.
    pub client_id: ClientId,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub body: Bytes,
    /// Whether it is new or was in the log already when it was asked for.
    pub origin: Origin,
    /// Whether this client's own account is the author. A bot that answers must skip these.
    pub own: bool,
}

/// Whether an event is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It came into the log after the (re)subscription.
    Live,
    /// It was in the log before: history, or what was missed while offline.
    Replay,
}

/// What a control event changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The author became a member.
    Join(JoinBody),
    /// The author stopped being a member.
    Leave,
    /// The author removed a member.
    Kick(KickBody),
    /// The author changed the topic.
    Topic(TopicBody),
    /// The author changed a member's role.
    Role(RoleBody),
    /// The author let an account join a private room.
    Invite(InviteBody),
    /// The author changed how much of its log the room keeps.
    Retention(RetentionBody),
}

impl Event {
    pub(crate) fn new(raw: hark_protocol::Event, epoch: Epoch, origin: Origin, me: AccountId) -> Event {
        Event {
            room: raw.room,
            epoch,
            seq: raw.seq,
            time: raw.time,
            author: raw.author,
            author_name: raw.author_name,
            client_id: raw.client_id,
            kind: raw.kind,
            body: raw.body.into_bytes(),
            origin,
            own: raw.author == me,
        }
    }

    /// A message's text; `None` for other kinds. What is not UTF-8 in it becomes U+FFFD. The text is a
    /// stranger's: it may hold any character, terminal escapes included.
    pub fn text(&self) -> Option<std::borrow::Cow<'_, str>> {
        (self.kind == Kind::MESSAGE).then(|| String::from_utf8_lossy(&self.body))
    }

    /// What a control event changed; `None` for messages, for kinds that this version does not know and for a
    /// body that it can not read.
    pub fn change(&self) -> Option<Change> {
        match self.kind {
            Kind::JOIN => self.read().map(Change::Join),
            Kind::LEAVE => Some(Change::Leave),
            Kind::KICK => self.read().map(Change::Kick),
            Kind::TOPIC => self.read().map(Change::Topic),
            Kind::ROLE => self.read().map(Change::Role),
            Kind::INVITE => self.read().map(Change::Invite),
            Kind::RETENTION => self.read().map(Change::Retention),
            _ => None,
        }
    }

    fn read<W: Wire>(&self) -> Option<W> {
        W::take(&mut Reader::new(self.body.clone())).ok()
    }
}

/// Events that can not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing seq.
    pub from: Seq,
    /// The last missing seq.
    pub to: Seq,
    /// Why, where the server said so.
    pub reason: Option<GapReason>,
}

/// One item of a followed room. Events and gaps come in order and together cover every seq from the start on:
/// an application that sees no [`RoomEvent::Gap`] has missed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// An event of the log.
    Event(Event),
    /// Events of the log that can not be delivered.
    Gap(Gap),
    /// Everything that was in the log at the time of the (re)subscription has been delivered.
    Replayed {
        /// Where the log's head stood.
        head: Seq,
    },
    /// The application is so far behind that the server waits for it. Nothing is lost.
    Lagging {
        /// The log's newest seq.
        head: Seq,
        /// How many events have not been sent yet.
        behind: u64,
    },
    /// Somebody is doing something right now. Never stored; may be dropped under pressure.
    Signal {
        /// Who.
        account: AccountId,
        /// Their name.
        name: AccountName,
        /// What they are doing.
        kind: SignalKind,
    },
    /// The log is another incarnation than the one that was followed: what was read before can not be continued.
    /// [`RoomEvent::Ended`] follows; follow the room anew from where it makes sense.
    Reset {
        /// The new incarnation.
        epoch: Epoch,
        /// Its oldest seq that can be read.
        first: Seq,
        /// Its newest seq.
        head: Seq,
    },
    /// The last item.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// Why a room is not followed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The account left the room.
    Left,
    /// The account was removed from the room.
    Kicked,
    /// Another connection of the device follows the room durably now.
    ReplacedElsewhere,
    /// This client followed the room anew.
    Replaced,
    /// The log is another incarnation; see [`RoomEvent::Reset`].
    Reset,
    /// The server would not let the client follow it any further after a reconnect.
    Refused(ErrorCode),
    /// The client was closed.
    Closed,
    /// The server gave a reason that this version does not name.
    Other(hark_protocol::EndReason),
}

impl EndReason {
    pub(crate) fn from_wire(reason: hark_protocol::EndReason) -> EndReason {
        match reason {
            hark_protocol::EndReason::LEFT => EndReason::Left,
            hark_protocol::EndReason::KICKED => EndReason::Kicked,
            hark_protocol::EndReason::REPLACED => EndReason::ReplacedElsewhere,
            other => EndReason::Other(other),
        }
    }
}

/// How far an application has come in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The incarnation of the log.
    pub epoch: Epoch,
    /// The last seq that the application has; 0 = none.
    pub seq: Seq,
}

impl From<Position> for Start {
    /// Behind the position.
    fn from(position: Position) -> Start {
        Start::After { epoch: Some(position.epoch), seq: position.seq }
    }
}

/// Where to begin to follow a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Behind the newest event: only what is new.
    Now,
    /// With the oldest event that can be read.
    Beginning,
    /// With the newest so many events.
    Latest(u64),
    /// Behind an event that the application has. With its epoch, a log that was replaced is noticed.
    After {
        /// The incarnation of the log in which the event stands; `None` = not known, and not compared.
        epoch: Option<Epoch>,
        /// The last seq that the application has; 0 = none.
        seq: Seq,
    },
    /// Behind what the device took last on a subscription of this kind. The server remembers it across processes.
    /// Needs a login by device; events taken but not yet acknowledged come again after a crash.
    Cursor,
}

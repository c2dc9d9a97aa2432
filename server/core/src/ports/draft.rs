//! What is to be added to a log, what came of it, and the proof that it is on the disk.

use bytes::Bytes;
use hark_protocol::limits::TOPIC_BYTES_MAX;
use hark_protocol::{
    AccountId, AccountName, Blob, ClientId, Correlation, EncodedFrame, Epoch, Event, HistoryPolicy, Kind,
    Line, OutOfBounds, Retention, RoomId, RoomName, RoomRole, Seq, UnixMillis, Visibility,
};

use crate::Refusal;

/// Who causes an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The account.
    pub account: AccountId,
    /// Its name, which the record carries.
    pub name: AccountName,
}

/// A keyed hash over everything that a request asked for, by which a retry is told from a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHash(pub [u8; 16]);

/// One request that becomes an event, judged but not yet stored.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where it goes.
    pub target: Target,
    /// Who asks.
    pub author: Author,
    /// The request's identity, together with room and author.
    pub client_id: ClientId,
    /// What was asked, to tell a retry from a conflict.
    pub request: RequestHash,
    /// What the room's judgement was.
    pub proposal: Proposal,
    /// The room's last control event when it was judged. If the log has a newer one, and the identity is not
    /// in it, the store answers [`Outcome::Stale`] and the room judges again.
    pub judged_at: Seq,
}

/// Where a draft goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// Into this room's log.
    Room(RoomId),
    /// Into a room that is made for it.
    Create(NewRoom),
}

/// A room that is to be made. Its log begins with one join event for each of `members`, in order.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Its name.
    pub name: RoomName,
    /// Who can see and join it.
    pub visibility: Visibility,
    /// How far back a member may read.
    pub history: HistoryPolicy,
    /// Its topic.
    pub topic: Line<TOPIC_BYTES_MAX>,
    /// The epoch of its log, if it is made.
    pub epoch: Epoch,
    /// Its first members; the first of them is the draft's author.
    pub members: Vec<(Author, RoomRole)>,
}

/// What the room's judgement was. Whatever it is, a request whose identity is stored is a duplicate.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// Add an event.
    Append {
        /// Its kind.
        kind: Kind,
        /// Its body.
        body: Bytes,
        /// What else changes with it.
        change: Change,
    },
    /// Add nothing: what is asked for holds since this event.
    Holds(Seq),
    /// Add nothing.
    Refuse(Refusal),
}

/// What changes in a room together with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing; the event is not a control event.
    None,
    /// The author becomes a member, and an invitation that waited for it is gone.
    Join {
        /// With this role.
        role: RoomRole,
    },
    /// The author stops being a member.
    Leave,
    /// The account stops being a member, and an invitation that waited for it is gone.
    Kick {
        /// Who.
        account: AccountId,
    },
    /// The topic changes.
    Topic {
        /// To this.
        topic: Line<TOPIC_BYTES_MAX>,
    },
    /// A member's role changes.
    Role {
        /// Whose.
        account: AccountId,
        /// To this.
        role: RoomRole,
    },
    /// What the room keeps changes.
    Retention {
        /// To this.
        retention: Retention,
    },
    /// An invitation waits for the account.
    Invite {
        /// For whom.
        account: AccountId,
    },
}

impl Change {
    /// Whether the event is a control event, against which later drafts must have been judged.
    pub fn is_control(&self) -> bool {
        *self != Change::None
    }
}

/// An encoded event whose transaction has not been committed. It can be written, but neither acknowledged nor
/// shown to anyone.
#[derive(Clone, Debug)]
pub struct Sealed {
    position: Position,
    frame: EncodedFrame,
    change: Change,
    author: Author,
}

impl Sealed {
    /// Encodes and seals an event, once its place in the log is known.
    ///
    /// # Errors
    /// When the body is larger than the wire can carry.
    pub fn new(
        position: Position,
        author: &Author,
        client_id: ClientId,
        (kind, body, change): (Kind, Bytes, Change),
    ) -> Result<Sealed, OutOfBounds> {
        let event = Event {
            room: position.room,
            seq: position.seq,
            time: position.time,
            author: author.account,
            author_name: author.name.clone(),
            client_id,
            kind,
            body: Blob::new(body)?,
        };
        let frame = EncodedFrame::new(Correlation::NONE, &event);
        Ok(Sealed { position, frame, change, author: author.clone() })
    }

    /// The bytes to be stored.
    pub fn frame(&self) -> &EncodedFrame {
        &self.frame
    }

    /// Where the event stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// States that the transaction that holds the event is on the disk. Only a store says so, and only after
    /// its commit has returned; everything that acknowledges or delivers asks for the [`Appended`] this makes.
    pub fn committed(self) -> Appended {
        Appended(self)
    }
}

/// The proof that an event is on the disk, and what acknowledges and delivers it.
#[derive(Clone, Debug)]
pub struct Appended(Sealed);

impl Appended {
    /// Where the event stands.
    pub fn position(&self) -> Position {
        self.0.position
    }

    /// The sealed bytes that every reader gets.
    pub fn frame(&self) -> &EncodedFrame {
        &self.0.frame
    }

    /// What changed in the room with it.
    pub fn change(&self) -> &Change {
        &self.0.change
    }

    /// Who caused it.
    pub fn author(&self) -> &Author {
        &self.0.author
    }
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The room.
    pub room: RoomId,
    /// Which incarnation of its log.
    pub epoch: Epoch,
    /// Its number.
    pub seq: Seq,
    /// When it was stored.
    pub time: UnixMillis,
}

/// What came of a draft.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is an event now. A room that was made for it has several.
    Appended(Vec<Appended>),
    /// Its identity is stored already, with the same request; or what it asks for holds.
    Duplicate(Position),
    /// Its identity is stored already, with another request. Nothing has changed.
    Conflict,
    /// The room has a newer control event than the draft was judged against: judge it again.
    Stale,
    /// The judgement stands.
    Refused(Refusal),
}

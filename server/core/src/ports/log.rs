//! The log: one writer that appends in groups, and readers.

use hark_protocol::limits::TOPIC_BYTES_MAX;
use hark_protocol::{
    AccountId, EncodedFrame, Epoch, HistoryPolicy, Line, Retention, RoomId, RoomName, RoomRole, Seq,
    UnixMillis, Visibility,
};

use super::{Draft, Expiry, Outcome, Removal, StoreError};

/// The one writer of all logs.
pub trait LogStore: Send + 'static {
    /// Decides and stores a group of drafts in one transaction, in order, and returns when it is on the disk:
    /// one outcome for each draft, in the same order.
    ///
    /// For each draft: if the identity (room, author, client id) is stored, the answer is `Duplicate` or, with
    /// another request hash, `Conflict`. Otherwise, if the room has a control event newer than `judged_at`,
    /// `Stale`. Otherwise its proposal is carried out: `Holds` becomes `Duplicate` of that event, `Refuse`
    /// becomes `Refused`, and `Append` gets seq = head + 1 and time = max(now, the room's last time), is
    /// sealed, and is stored together with its identity, the room's row and its change. Earlier drafts of the
    /// group count. A draft for a room that does not exist is `Refused(NotFound)`.
    ///
    /// A draft that creates: if the name is taken, the draft is looked up in that room as above, and is
    /// `Duplicate`, `Conflict` or, with an unknown identity, `Refused(NameTaken)`; for a direct room that
    /// exists the answer is always a `Duplicate` of the author's join event. If the name is free, `Append` makes
    /// the room: its events are the members' joins, whatever kind, body and change the proposal names, and the
    /// draft's client id stands for each of them, so that no author has two events of one identity.
    ///
    /// # Errors
    /// [`StoreError`]: no draft of the group has changed anything.
    fn append(&mut self, now: UnixMillis, drafts: Vec<Draft>) -> Result<Vec<Outcome>, StoreError>;

    /// Moves the first event of rooms that hold more than they keep: the stricter, in each bound, of the room's
    /// retention and the `server`'s, as of `now`. Looks at some rooms behind `after`, in the order of their ids, and
    /// says where to go on; a room of which much has to go may be moved in several steps. What is behind a room's new
    /// first is not read any more from here on. Heads and members stay as they are.
    ///
    /// A store that keeps everything does nothing.
    ///
    /// # Errors
    /// [`StoreError`]: no room has been moved.
    fn expire(&mut self, _now: UnixMillis, _server: Retention, _after: RoomId) -> Result<Expiry, StoreError> {
        Ok(Expiry::default())
    }

    /// Removes some of what can not be read any more since [`LogStore::expire`], at most `events_max` events, and
    /// identities whose event is gone and that are older than [`IDENTITY_MS_MIN`](super::IDENTITY_MS_MIN).
    ///
    /// # Errors
    /// [`StoreError`]: nothing has been removed.
    fn remove_expired(&mut self, _now: UnixMillis, _events_max: usize) -> Result<Removal, StoreError> {
        Ok(Removal::default())
    }
}

/// Readers of the logs and of the rooms' rows. What they return has been committed.
pub trait LogReader: Send + Sync + 'static {
    /// A room with its members and invitations, as of one moment.
    ///
    /// # Errors
    /// [`StoreError`].
    fn room(&self, room: RoomId) -> Result<Option<RoomRecord>, StoreError>;

    /// The room of that name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn room_id(&self, name: &RoomName) -> Result<Option<RoomId>, StoreError>;

    /// Rooms in the order of their ids, from behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn rooms(&self, query: RoomQuery, after: RoomId, limit: usize) -> Result<Vec<RoomListing>, StoreError>;

    /// The ids of the rooms of which the account is a member, in order, from behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn rooms_of(&self, account: AccountId, after: RoomId, limit: usize) -> Result<Vec<RoomId>, StoreError>;

    /// How many rooms the account is a member of.
    ///
    /// # Errors
    /// [`StoreError`].
    fn rooms_joined(&self, account: AccountId) -> Result<u64, StoreError>;

    /// Events of a room, in ascending order of seq whichever way the span runs. A forward span yields the
    /// oldest that fit the budget, a backward span the newest. At least one is returned if there is any, even
    /// one larger than the budget's bytes. Every seq inside the result's range is there, as
    /// [`Stored::Damaged`] where its record can not be trusted.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, room: RoomId, span: Span, budget: Budget) -> Result<Vec<Stored>, StoreError>;

    /// What the store has found out about itself. Never waits.
    fn condition(&self) -> Condition {
        Condition::default()
    }
}

/// What a store has found out about itself since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Records that were wanted and can not be trusted, each counted once; a store may stop counting at a
    /// thousand.
    pub damaged_records: u64,
    /// That all logs were given a new epoch when the store was opened.
    pub epoch_change: Option<EpochChange>,
}

/// All logs were given a new epoch together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochChange {
    /// Their epoch since then.
    pub epoch: Epoch,
    /// How many rooms there were.
    pub rooms: u64,
    /// Why, in one word.
    pub reason: &'static str,
}

/// Which rooms a list holds for the account that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomQuery {
    /// Those of which it is a member.
    Joined(AccountId),
    /// The public ones, whether or not it is a member.
    Public(AccountId),
    /// Those in which an invitation waits for it.
    Invited(AccountId),
}

impl RoomQuery {
    /// The account that asks.
    pub fn account(self) -> AccountId {
        let (RoomQuery::Joined(account) | RoomQuery::Public(account) | RoomQuery::Invited(account)) = self;
        account
    }
}

/// Which events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From this seq on, this one included.
    From(Seq),
    /// Before this seq, this one excluded.
    Before(Seq),
}

/// How much is read at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Events.
    pub events: usize,
    /// Bytes of sealed frames.
    pub bytes: usize,
}

/// One seq of a log as it was found on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The sealed event, its checksum verified.
    Event {
        /// Its seq.
        seq: Seq,
        /// Its bytes.
        frame: EncodedFrame,
    },
    /// The record is damaged: delivered as a GAP.
    Damaged {
        /// Its seq.
        seq: Seq,
    },
}

impl Stored {
    /// The seq that was read.
    pub fn seq(&self) -> Seq {
        match self {
            Stored::Event { seq, .. } | Stored::Damaged { seq } => *seq,
        }
    }
}

/// A room's row, which outlives its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// The room.
    pub id: RoomId,
    /// Its name.
    pub name: RoomName,
    /// Who can see and join it.
    pub visibility: Visibility,
    /// How far back a member may read.
    pub history: HistoryPolicy,
    /// Its topic.
    pub topic: Line<TOPIC_BYTES_MAX>,
    /// What it keeps, as its owners have set it.
    pub retention: Retention,
    /// Which incarnation its log is.
    pub epoch: Epoch,
    /// The oldest seq that can be read; head + 1 when there is none.
    pub first: Seq,
    /// The newest seq.
    pub head: Seq,
    /// When the newest event was stored.
    pub time: UnixMillis,
    /// The newest control event.
    pub control: Seq,
}

/// One member of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Who.
    pub account: AccountId,
    /// What they may do.
    pub role: RoomRole,
    /// Their join event.
    pub joined: Seq,
}

/// A room with everything that judging needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRecord {
    /// Its row.
    pub row: RoomRow,
    /// Its members, by account.
    pub members: Vec<MemberRow>,
    /// For whom an invitation waits and since which event, by account.
    pub invited: Vec<(AccountId, Seq)>,
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomListing {
    /// Its row.
    pub row: RoomRow,
    /// How many members it has.
    pub members: u32,
    /// The role in it of the account that asks; `NONE` where it is not a member.
    pub role: RoomRole,
}

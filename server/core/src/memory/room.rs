//! One room in memory: its row, its members, its events and their identities.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hark_protocol::limits::BODY_BYTES_MAX;
use hark_protocol::{AccountId, ClientId, Kind, LimitId, Retention, RoomId, Seq, UnixMillis};

use crate::Refusal;
use crate::ports::{
    Author, Change, MemberRow, NewRoom, Position, RequestHash, RoomRecord, RoomRow, Sealed, Stored,
};

/// A room and everything in it.
#[derive(Debug)]
pub(super) struct RoomLog {
    pub(super) row: RoomRow,
    pub(super) members: BTreeMap<AccountId, MemberRow>,
    pub(super) invited: BTreeMap<AccountId, Seq>,
    identities: HashMap<(AccountId, ClientId), (RequestHash, Seq)>,
    /// The event with seq n stands at n - 1.
    events: Vec<(UnixMillis, Stored)>,
    /// Up to here events have been removed.
    pub(super) removed: Seq,
}

impl RoomLog {
    /// A room without events.
    pub(super) fn new(id: RoomId, room: &NewRoom) -> RoomLog {
        let row = RoomRow {
            id,
            name: room.name.clone(),
            visibility: room.visibility,
            history: room.history,
            topic: room.topic.clone(),
            retention: Retention::default(),
            epoch: room.epoch,
            first: Seq::ZERO.next(),
            head: Seq::ZERO,
            time: UnixMillis(0),
            control: Seq::ZERO,
        };
        RoomLog {
            row,
            members: BTreeMap::new(),
            invited: BTreeMap::new(),
            identities: HashMap::new(),
            events: Vec::new(),
            removed: Seq::ZERO,
        }
    }

    /// The request and the event that an identity stands for.
    pub(super) fn identity(&self, author: AccountId, client_id: ClientId) -> Option<(RequestHash, Seq)> {
        self.identities.get(&(author, client_id)).copied()
    }

    /// Every identity with its event.
    pub(super) fn identities(&self) -> impl Iterator<Item = ((AccountId, ClientId), Seq)> {
        self.identities.iter().map(|(key, (_, seq))| (*key, *seq))
    }

    pub(super) fn forget_identity(&mut self, key: (AccountId, ClientId)) {
        self.identities.remove(&key);
    }

    /// Where an event stands.
    pub(super) fn position(&self, seq: Seq) -> Position {
        let time = index(seq).and_then(|at| self.events.get(at)).map_or(self.row.time, |(time, _)| *time);
        Position { room: self.row.id, epoch: self.row.epoch, seq, time }
    }

    /// Seals an event and keeps it with its identity and its change.
    pub(super) fn append(
        &mut self,
        now: UnixMillis,
        author: &Author,
        (client_id, request): (ClientId, RequestHash),
        what: (Kind, Bytes, Change),
    ) -> Result<Sealed, Refusal> {
        let position = Position {
            room: self.row.id,
            epoch: self.row.epoch,
            seq: self.row.head.next(),
            time: now.max(self.row.time),
        };
        let change = what.2.clone();
        let sealed = Sealed::new(position, author, client_id, what)
            .map_err(|_| Refusal::TooLarge { limit: LimitId::BODY_BYTES, value: BODY_BYTES_MAX as u64 })?;
        self.row.head = position.seq;
        self.row.time = position.time;
        self.identities.entry((author.account, client_id)).or_insert((request, position.seq));
        let frame = sealed.frame().clone();
        self.events.push((position.time, Stored::Event { seq: position.seq, frame }));
        self.change(author.account, position.seq, change);
        Ok(sealed)
    }

    fn change(&mut self, author: AccountId, seq: Seq, change: Change) {
        if change.is_control() {
            self.row.control = seq;
        }
        match change {
            Change::None => {}
            Change::Join { role } => {
                self.members.insert(author, MemberRow { account: author, role, joined: seq });
                self.invited.remove(&author);
            }
            Change::Leave => {
                self.members.remove(&author);
            }
            Change::Kick { account } => {
                self.members.remove(&account);
                self.invited.remove(&account);
            }
            Change::Topic { topic } => self.row.topic = topic,
            Change::Retention { retention } => self.row.retention = retention,
            Change::Role { account, role } => {
                if let Some(member) = self.members.get_mut(&account) {
                    member.role = role;
                }
            }
            Change::Invite { account } => {
                self.invited.insert(account, seq);
            }
        }
    }

    /// What is stored at `seq`.
    pub(super) fn stored(&self, seq: Seq) -> Stored {
        let found = index(seq).and_then(|at| self.events.get(at));
        found.map_or(Stored::Damaged { seq }, |(_, stored)| stored.clone())
    }

    /// Makes the record at `seq` one that can not be trusted.
    pub(super) fn damage(&mut self, seq: Seq) {
        if let Some((_, stored)) = index(seq).and_then(|at| self.events.get_mut(at)) {
            *stored = Stored::Damaged { seq };
        }
    }

    /// A copy of everything that judging needs.
    pub(super) fn record(&self) -> RoomRecord {
        RoomRecord {
            row: self.row.clone(),
            members: self.members.values().copied().collect(),
            invited: self.invited.iter().map(|(account, seq)| (*account, *seq)).collect(),
        }
    }
}

fn index(seq: Seq) -> Option<usize> {
    usize::try_from(seq.0.checked_sub(1)?).ok()
}

//! The writer in memory: decides a group of drafts as a store on a disk would.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use hark_protocol::{
    ClientId, JoinBody, Kind, Retention, RoomId, RoomName, Seq, UnixMillis, Visibility, Wire,
};

use super::lock;
use super::room::RoomLog;
use crate::Refusal;
use crate::ports::{
    Change, Draft, Expiry, LogStore, NewRoom, Outcome, Proposal, Removal, RequestHash, Sealed, StoreError,
    Target,
};

/// All rooms, by id and by name.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) rooms: BTreeMap<RoomId, RoomLog>,
    pub(super) names: HashMap<RoomName, RoomId>,
    last_room: u64,
    fault: Option<StoreError>,
}

/// The one writer of logs in memory.
#[derive(Debug)]
pub struct MemoryLog {
    logs: Arc<Mutex<Logs>>,
}

impl MemoryLog {
    pub(super) fn over(logs: Arc<Mutex<Logs>>) -> MemoryLog {
        MemoryLog { logs }
    }
}

impl LogStore for MemoryLog {
    fn append(&mut self, now: UnixMillis, drafts: Vec<Draft>) -> Result<Vec<Outcome>, StoreError> {
        let mut logs = lock(&self.logs);
        match logs.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(drafts.into_iter().map(|draft| logs.decide(now, draft)).collect()),
        }
    }

    fn expire(&mut self, now: UnixMillis, server: Retention, after: RoomId) -> Result<Expiry, StoreError> {
        Ok(lock(&self.logs).expire(now, server, after))
    }

    fn remove_expired(&mut self, now: UnixMillis, events_max: usize) -> Result<Removal, StoreError> {
        Ok(lock(&self.logs).remove_expired(now, events_max))
    }
}

impl Logs {
    fn decide(&mut self, now: UnixMillis, draft: Draft) -> Outcome {
        match draft.target.clone() {
            Target::Room(room) => match self.rooms.get_mut(&room) {
                Some(room) => room.decide(now, draft),
                None => Outcome::Refused(Refusal::NotFound("room")),
            },
            Target::Create(new) => match self.names.get(&new.name).and_then(|room| self.rooms.get(room)) {
                Some(room) => room.decide_taken(&draft),
                None => self.create(now, &draft, &new),
            },
        }
    }

    fn create(&mut self, now: UnixMillis, draft: &Draft, new: &NewRoom) -> Outcome {
        match &draft.proposal {
            Proposal::Append { .. } => {}
            Proposal::Holds(_) => return Outcome::Refused(Refusal::NotFound("room")),
            Proposal::Refuse(refusal) => return Outcome::Refused(refusal.clone()),
        }
        let id = RoomId(self.last_room + 1);
        let mut room = RoomLog::new(id, new);
        match room.begin(now, (draft.client_id, draft.request), new) {
            Ok(sealed) => {
                self.last_room = id.0;
                self.rooms.insert(id, room);
                self.names.insert(new.name.clone(), id);
                appended(sealed)
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }
}

impl RoomLog {
    fn decide(&mut self, now: UnixMillis, draft: Draft) -> Outcome {
        if let Some(known) = self.known(&draft) {
            return known;
        }
        if self.row.control > draft.judged_at {
            return Outcome::Stale;
        }
        match draft.proposal {
            Proposal::Holds(seq) => Outcome::Duplicate(self.position(seq)),
            Proposal::Refuse(refusal) => Outcome::Refused(refusal),
            Proposal::Append { kind, body, change } => {
                let identity = (draft.client_id, draft.request);
                match self.append(now, &draft.author, identity, (kind, body, change)) {
                    Ok(sealed) => appended(vec![sealed]),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
        }
    }

    /// What the draft's identity says, if it is stored.
    fn known(&self, draft: &Draft) -> Option<Outcome> {
        let (request, seq) = self.identity(draft.author.account, draft.client_id)?;
        Some(match request == draft.request {
            true => Outcome::Duplicate(self.position(seq)),
            false => Outcome::Conflict,
        })
    }

    /// The answer to a draft that would make a room of this room's name.
    fn decide_taken(&self, draft: &Draft) -> Outcome {
        if self.row.visibility == Visibility::DIRECT
            && let Some(member) = self.members.get(&draft.author.account)
        {
            return Outcome::Duplicate(self.position(member.joined));
        }
        self.known(draft).unwrap_or(Outcome::Refused(Refusal::NameTaken))
    }

    /// The joins with which a room's log begins.
    fn begin(
        &mut self,
        now: UnixMillis,
        identity: (ClientId, RequestHash),
        new: &NewRoom,
    ) -> Result<Vec<Sealed>, Refusal> {
        let join = |(author, role): &(_, _)| {
            let mut body = Vec::new();
            JoinBody { role: *role }.put(&mut body);
            self.append(now, author, identity, (Kind::JOIN, body.into(), Change::Join { role: *role }))
        };
        new.members.iter().map(join).collect()
    }
}

fn appended(sealed: Vec<Sealed>) -> Outcome {
    Outcome::Appended(sealed.into_iter().map(Sealed::committed).collect())
}

/// Makes the stores fail as a disk would.
#[derive(Clone, Debug)]
pub struct MemoryFaults {
    logs: Arc<Mutex<Logs>>,
}

impl MemoryFaults {
    pub(super) fn over(logs: Arc<Mutex<Logs>>) -> MemoryFaults {
        MemoryFaults { logs }
    }

    /// The next append changes nothing and fails with this.
    pub fn fail_next_append(&self, fault: StoreError) {
        lock(&self.logs).fault = Some(fault);
    }

    /// The record at `seq` can not be trusted from now on.
    pub fn damage(&self, room: RoomId, seq: Seq) {
        if let Some(room) = lock(&self.logs).rooms.get_mut(&room) {
            room.damage(seq);
        }
    }
}

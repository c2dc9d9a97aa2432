//! The readers of logs in memory.

use std::ops::Bound;
use std::sync::{Arc, Mutex};

use hark_protocol::{AccountId, RoomId, RoomName, RoomRole, Seq, Visibility};

use super::lock;
use super::log::Logs;
use super::room::RoomLog;
use crate::ports::{Budget, LogReader, RoomListing, RoomQuery, RoomRecord, Span, StoreError, Stored};

/// Reads logs in memory.
#[derive(Debug)]
pub struct MemoryReader {
    logs: Arc<Mutex<Logs>>,
}

impl MemoryReader {
    pub(super) fn over(logs: Arc<Mutex<Logs>>) -> MemoryReader {
        MemoryReader { logs }
    }
}

impl LogReader for MemoryReader {
    fn room(&self, room: RoomId) -> Result<Option<RoomRecord>, StoreError> {
        Ok(lock(&self.logs).rooms.get(&room).map(RoomLog::record))
    }

    fn room_id(&self, name: &RoomName) -> Result<Option<RoomId>, StoreError> {
        Ok(lock(&self.logs).names.get(name).copied())
    }

    fn rooms(&self, query: RoomQuery, after: RoomId, limit: usize) -> Result<Vec<RoomListing>, StoreError> {
        let logs = lock(&self.logs);
        let rooms = logs.rooms.values().filter(|room| room.row.id > after && room.answers(query));
        Ok(rooms.take(limit).map(|room| room.listing(query)).collect())
    }

    fn rooms_of(&self, account: AccountId, after: RoomId, limit: usize) -> Result<Vec<RoomId>, StoreError> {
        let logs = lock(&self.logs);
        let behind = logs.rooms.range((Bound::Excluded(after), Bound::Unbounded));
        let joined = behind.filter(|(_, room)| room.members.contains_key(&account));
        Ok(joined.map(|(id, _)| *id).take(limit).collect())
    }

    fn rooms_joined(&self, account: AccountId) -> Result<u64, StoreError> {
        let logs = lock(&self.logs);
        Ok(logs.rooms.values().filter(|room| room.members.contains_key(&account)).count() as u64)
    }

    fn read(&self, room: RoomId, span: Span, budget: Budget) -> Result<Vec<Stored>, StoreError> {
        Ok(lock(&self.logs).rooms.get(&room).map_or(Vec::new(), |room| room.read(span, budget)))
    }
}

impl RoomLog {
    fn answers(&self, query: RoomQuery) -> bool {
        match query {
            RoomQuery::Joined(account) => self.members.contains_key(&account),
            RoomQuery::Public(_) => self.row.visibility == Visibility::PUBLIC,
            RoomQuery::Invited(account) => self.invited.contains_key(&account),
        }
    }

    fn listing(&self, query: RoomQuery) -> RoomListing {
        RoomListing {
            row: self.row.clone(),
            members: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            role: self.members.get(&query.account()).map_or(RoomRole::NONE, |member| member.role),
        }
    }

    fn read(&self, span: Span, budget: Budget) -> Vec<Stored> {
        let (first, head) = (self.row.first.0, self.row.head.0);
        match span {
            Span::From(seq) => fill((seq.0.max(first)..=head).map(|seq| self.stored(Seq(seq))), budget),
            Span::Before(seq) => {
                let range = first..seq.0.min(head.saturating_add(1));
                let mut found = fill(range.rev().map(|seq| self.stored(Seq(seq))), budget);
                found.reverse();
                found
            }
        }
    }
}

/// As much as the budget allows, and one in any case.
fn fill(records: impl Iterator<Item = Stored>, budget: Budget) -> Vec<Stored> {
    let mut bytes = 0_usize;
    let mut found = Vec::new();
    for record in records {
        if let Stored::Event { frame, .. } = &record {
            bytes = bytes.saturating_add(frame.as_slice().len());
        }
        if !found.is_empty() && (bytes > budget.bytes || found.len() >= budget.events) {
            break;
        }
        found.push(record);
    }
    found
}

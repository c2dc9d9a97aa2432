//! What goes from rooms in memory when they hold more than they keep.

use hark_protocol::{Retention, RoomId, UnixMillis};

use super::log::Logs;
use super::room::RoomLog;
use crate::ports::{Expiry, IDENTITY_MS_MIN, Moved, Removal, Stored, is_too_old, stricter};

/// Rooms that one call looks at: few, so that every user has to go on.
const ROOMS_MAX: usize = 16;

impl Logs {
    pub(super) fn expire(&mut self, now: UnixMillis, server: Retention, after: RoomId) -> Expiry {
        let rooms = || self.rooms.keys().copied().filter(|room| *room > after);
        let ids: Vec<RoomId> = rooms().take(ROOMS_MAX).collect();
        let next = if rooms().nth(ROOMS_MAX).is_some() { ids.last().copied() } else { None };
        let moved = ids.into_iter().filter_map(|id| self.rooms.get_mut(&id)?.expire(now, server)).collect();
        Expiry { moved, next }
    }

    pub(super) fn remove_expired(&mut self, now: UnixMillis, events_max: usize) -> Removal {
        let mut left = events_max;
        for room in self.rooms.values_mut() {
            left -= room.remove(left);
            room.forget_identities(now);
        }
        let more = self.rooms.values().any(|room| room.removed.next() < room.row.first);
        Removal { events: (events_max - left) as u64, more }
    }
}

impl RoomLog {
    fn expire(&mut self, now: UnixMillis, server: Retention) -> Option<Moved> {
        let bounds = stricter(self.row.retention, server);
        let before = self.row.first;
        while self.row.first <= self.row.head && self.is_more_than(&bounds, now) {
            self.row.first = self.row.first.next();
        }
        let events = self.row.first.0 - before.0;
        (events > 0).then_some(Moved { room: self.row.id, first: self.row.first, events })
    }

    /// Whether the oldest event must go.
    fn is_more_than(&self, bounds: &Retention, now: UnixMillis) -> bool {
        let kept = (self.row.first.0..=self.row.head.0).map(hark_protocol::Seq);
        let events = self.row.head.next().0 - self.row.first.0;
        let bytes: u64 = kept.map(|seq| size(&self.stored(seq))).sum();
        (bounds.max_events > 0 && events > bounds.max_events)
            || (bounds.max_bytes > 0 && bytes > bounds.max_bytes)
            || is_too_old(self.position(self.row.first).time, bounds.max_age_s, now)
    }

    /// Removes at most so many events, and says how many it were.
    fn remove(&mut self, events_max: usize) -> usize {
        let mut count = 0;
        while count < events_max && self.removed.next() < self.row.first {
            self.removed = self.removed.next();
            self.damage(self.removed);
            count += 1;
        }
        count
    }

    fn forget_identities(&mut self, now: UnixMillis) {
        let removed = self.removed;
        let old: Vec<_> = self
            .identities()
            .filter(|(_, seq)| *seq <= removed)
            .filter(|(_, seq)| self.position(*seq).time.0.saturating_add(IDENTITY_MS_MIN) <= now.0)
            .map(|(key, _)| key)
            .collect();
        old.into_iter().for_each(|key| self.forget_identity(key));
    }
}

fn size(stored: &Stored) -> u64 {
    match stored {
        Stored::Event { frame, .. } => frame.as_slice().len() as u64,
        Stored::Damaged { .. } => 0,
    }
}

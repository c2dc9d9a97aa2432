//! The end of the log that is not indexed yet: where its events stand, in memory.

use std::collections::{HashMap, VecDeque};

use hark_protocol::{RoomId, Seq};

/// Where one event stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) room: RoomId,
    pub(crate) seq: Seq,
    pub(crate) position: i64,
}

/// Entries in the order of their positions, found by room and seq.
///
/// The writer adds a group's entries before it commits, so that no reader sees a head whose position nobody
/// knows, and takes them back if the commit fails. Until then no reader asks for them: a reader asks up to the
/// head of the room's committed row.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    positions: HashMap<(RoomId, Seq), i64>,
    order: VecDeque<Entry>,
}

impl Tail {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn position(&self, room: RoomId, seq: Seq) -> Option<i64> {
        self.positions.get(&(room, seq)).copied()
    }

    /// Adds a group's entries.
    pub(crate) fn push(&mut self, entries: &[Entry]) {
        self.positions.extend(entries.iter().map(|entry| ((entry.room, entry.seq), entry.position)));
        self.order.extend(entries);
    }

    /// Takes the group's entries back that were added last.
    pub(crate) fn take_back(&mut self, entries: &[Entry]) {
        self.order.truncate(self.order.len().saturating_sub(entries.len()));
        for entry in entries {
            self.positions.remove(&(entry.room, entry.seq));
        }
    }

    /// Forgets what the index holds by now.
    pub(crate) fn forget_up_to(&mut self, position: i64) {
        let indexed = self.order.partition_point(|entry| entry.position <= position);
        for entry in self.order.drain(..indexed) {
            self.positions.remove(&(entry.room, entry.seq));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(room: u64, seq: u64, position: i64) -> Entry {
        Entry { room: RoomId(room), seq: Seq(seq), position }
    }

    #[test]
    fn what_is_taken_back_or_indexed_is_forgotten() {
        let mut tail = Tail::default();
        tail.push(&[entry(1, 1, 10), entry(2, 1, 11)]);
        tail.push(&[entry(1, 2, 12)]);
        tail.take_back(&[entry(1, 2, 12)]);
        tail.push(&[entry(1, 2, 13)]);
        tail.forget_up_to(10);
        let find = |room, seq| tail.position(RoomId(room), Seq(seq));
        assert_eq!((find(1, 1), find(2, 1), find(1, 2), tail.len()), (None, Some(11), Some(13), 2));
    }
}

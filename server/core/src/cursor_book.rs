//! The cursor book: acknowledgements of durable subscriptions that have not been flushed to the store yet.

use std::collections::BTreeMap;

use hark_protocol::{DeviceId, RoomId};

use crate::ports::Cursor;

/// The highest cursor of each device and room since the last flush. What the store holds is a lower bound of
/// what is in here.
#[derive(Debug, Default)]
pub struct CursorBook {
    moved: BTreeMap<(DeviceId, RoomId), Cursor>,
    /// What is being saved, and may not have been yet.
    saving: BTreeMap<(DeviceId, RoomId), Cursor>,
}

impl CursorBook {
    /// Notes that a device has acknowledged a room up to a cursor. Within one epoch it never moves back.
    pub fn move_to(&mut self, device: DeviceId, room: RoomId, cursor: Cursor) {
        let held = self.get(device, room);
        if held.is_none_or(|held| held.epoch != cursor.epoch || held.seq < cursor.seq) {
            self.moved.insert((device, room), cursor);
        }
    }

    /// The cursor that the store may not have yet.
    pub fn get(&self, device: DeviceId, room: RoomId) -> Option<Cursor> {
        let key = (device, room);
        self.moved.get(&key).or_else(|| self.saving.get(&key)).copied()
    }

    /// Everything that has moved, to be saved; then say so with [`CursorBook::saved`]. Until then, taking again
    /// gives nothing.
    pub fn take(&mut self) -> Vec<(DeviceId, RoomId, Cursor)> {
        if !self.saving.is_empty() {
            return Vec::new();
        }
        self.saving = std::mem::take(&mut self.moved);
        self.saving.iter().map(|((device, room), cursor)| (*device, *room, *cursor)).collect()
    }

    /// Notes whether what was taken is saved. What is not will be taken again, unless it has moved on meanwhile.
    pub fn saved(&mut self, is_saved: bool) {
        for (key, cursor) in std::mem::take(&mut self.saving) {
            if !is_saved {
                self.moved.entry(key).or_insert(cursor);
            }
        }
    }

    /// Forgets a device.
    pub fn forget(&mut self, device: DeviceId) {
        self.moved.retain(|(of, _), _| *of != device);
        self.saving.retain(|(of, _), _| *of != device);
    }

    /// Whether there is nothing to flush.
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.saving.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hark_protocol::{Epoch, Seq};

    const KEY: (DeviceId, RoomId) = (DeviceId(1), RoomId(2));

    fn cursor(epoch: u64, seq: u64) -> Cursor {
        Cursor { epoch: Epoch(epoch), seq: Seq(seq) }
    }

    #[test]
    fn only_the_highest_is_kept_within_an_epoch() {
        let mut book = CursorBook::default();
        for (epoch, seq, expected) in [(1, 5, (1, 5)), (1, 3, (1, 5)), (1, 8, (1, 8)), (2, 1, (2, 1))] {
            book.move_to(KEY.0, KEY.1, cursor(epoch, seq));
            assert_eq!(book.get(KEY.0, KEY.1), Some(cursor(expected.0, expected.1)));
        }
    }

    #[test]
    fn what_could_not_be_saved_is_tried_again_unless_it_moved_on() {
        let mut book = CursorBook::default();
        book.move_to(KEY.0, KEY.1, cursor(1, 5));
        let taken = book.take();
        assert_eq!(taken.len(), 1);
        assert_eq!(book.get(KEY.0, KEY.1), Some(cursor(1, 5)), "it may not be in the store yet");
        assert_eq!(book.take(), []);
        book.saved(false);
        assert_eq!(book.take(), taken);
        book.move_to(KEY.0, KEY.1, cursor(1, 9));
        book.saved(false);
        assert_eq!(book.get(KEY.0, KEY.1), Some(cursor(1, 9)));
        book.take();
        book.saved(true);
        assert!(book.is_empty());
    }

    #[test]
    fn a_forgotten_device_is_forgotten() {
        let mut book = CursorBook::default();
        book.move_to(KEY.0, KEY.1, cursor(1, 5));
        book.take();
        book.move_to(KEY.0, KEY.1, cursor(1, 6));
        book.forget(KEY.0);
        assert!(book.is_empty());
    }
}

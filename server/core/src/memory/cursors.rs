//! The cursors of devices in memory.

use hark_protocol::{DeviceId, RoomId};

use super::directory::MemoryDirectory;
use super::lock;
use crate::ports::{Cursor, CursorStore, StoreError};

impl CursorStore for MemoryDirectory {
    fn cursor(&self, device: DeviceId, room: RoomId) -> Result<Option<Cursor>, StoreError> {
        Ok(lock(&self.state).cursors.get(&(device, room)).copied())
    }

    fn save_cursors(&self, cursors: &[(DeviceId, RoomId, Cursor)]) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        for (device, room, cursor) in cursors {
            // A device that was forgotten between its last ACK and the flush.
            if !state.devices.contains_key(device) {
                continue;
            }
            let held = state.cursors.entry((*device, *room)).or_insert(*cursor);
            if held.epoch != cursor.epoch || held.seq < cursor.seq {
                *held = *cursor;
            }
        }
        Ok(())
    }
}

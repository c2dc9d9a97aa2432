//! The cursors of durable subscriptions, beside the devices they belong to.

use hark_core::ports::{Cursor, CursorStore, StoreError};
use hark_protocol::{DeviceId, Epoch, RoomId, Seq};
use rusqlite::{OptionalExtension, params};

use crate::directory::SqliteDirectory;
use crate::rows::{int, ordinal, uint};

impl CursorStore for SqliteDirectory {
    fn cursor(&self, device: DeviceId, room: RoomId) -> Result<Option<Cursor>, StoreError> {
        self.look(|directory| {
            let mut select =
                directory.prepare_cached("SELECT epoch, seq FROM cursors WHERE device = ?1 AND room = ?2")?;
            let found = select.query_row(params![ordinal(device.0), ordinal(room.0)], |row| {
                Ok(Cursor { epoch: Epoch(uint(row, 0)?), seq: Seq(uint(row, 1)?) })
            });
            Ok(found.optional()?)
        })
    }

    fn save_cursors(&self, cursors: &[(DeviceId, RoomId, Cursor)]) -> Result<(), StoreError> {
        if cursors.is_empty() {
            return Ok(());
        }
        self.change(|directory| {
            // A device that was forgotten between its last ACK and the flush selects nothing.
            let mut save = directory.prepare_cached(
                "INSERT INTO cursors (device, room, epoch, seq)
                 SELECT id, ?2, ?3, ?4 FROM devices WHERE id = ?1
                 ON CONFLICT DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq
                 WHERE cursors.epoch <> excluded.epoch OR cursors.seq < excluded.seq",
            )?;
            for (device, room, cursor) in cursors {
                let (epoch, seq) = (int(cursor.epoch.0), ordinal(cursor.seq.0));
                save.execute(params![ordinal(device.0), ordinal(room.0), epoch, seq])?;
            }
            Ok(())
        })
    }
}

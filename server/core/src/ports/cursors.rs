//! The cursors of durable subscriptions: how far each device has acknowledged each room.

use hark_protocol::{DeviceId, Epoch, RoomId, Seq};

use super::StoreError;

/// How far a device has acknowledged a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which incarnation of the log.
    pub epoch: Epoch,
    /// The last acknowledged seq.
    pub seq: Seq,
}

/// Cursors. They are flushed in batches, so what is stored is a lower bound of what was acknowledged.
pub trait CursorStore: Send + Sync + 'static {
    /// The stored cursor of a device in a room.
    ///
    /// # Errors
    /// [`StoreError`].
    fn cursor(&self, device: DeviceId, room: RoomId) -> Result<Option<Cursor>, StoreError>;

    /// Stores cursors; within one epoch a stored cursor never moves back. One whose device has been forgotten
    /// is passed over.
    ///
    /// # Errors
    /// [`StoreError`]: none of them was stored.
    fn save_cursors(&self, cursors: &[(DeviceId, RoomId, Cursor)]) -> Result<(), StoreError>;
}

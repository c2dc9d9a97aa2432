//! What the writer does between batches so that rooms hold no more than they keep.

use std::sync::Arc;

use hark_core::ports::{Expiry, LogStore, Removal, StoreError};
use hark_protocol::{Retention, RoomId, UnixMillis};

use crate::metrics::Metrics;
use crate::room_entry::RoomEntry;
use crate::tails::TailBudget;

/// Events that are removed at once while nobody waits.
const IDLE_EVENTS: usize = 1_024;

/// While requests come, as many events are removed as were just stored, times this: it gains on them, and whoever
/// waits behind it does so about as long as behind another batch.
const BUSY_FACTOR: usize = 2;

/// But no fewer than this, so that it comes to an end.
const BUSY_EVENTS_MIN: usize = 64;

/// A room, if it is in memory.
pub(crate) type LoadedRoom = Box<dyn Fn(RoomId) -> Option<Arc<RoomEntry>> + Send>;

/// Moves the first events of rooms and removes what is before them, a little at a time.
pub(crate) struct Tending {
    server: Retention,
    loaded: LoadedRoom,
    /// Rooms up to this one have been looked at in this turn.
    after: RoomId,
    /// Events of the batch before.
    stored: usize,
    is_failing: bool,
}

impl Tending {
    /// Keeps to the `server`'s bounds and those of each room.
    pub(crate) fn new(server: Retention, loaded: LoadedRoom) -> Tending {
        Tending { server, loaded, after: RoomId(0), stored: 0, is_failing: false }
    }

    /// Takes note of how many events a batch has stored.
    pub(crate) fn note_stored(&mut self, events: usize) {
        self.stored = events;
    }

    /// One slice of the work, and whether there is more to be done at once.
    ///
    /// # Errors
    /// Why the store can not be trusted any more.
    pub(crate) fn slice(
        &mut self,
        log: &mut dyn LogStore,
        now: UnixMillis,
        metrics: &Metrics,
        tails: &TailBudget,
    ) -> Result<bool, String> {
        let done = log.expire(now, self.server, self.after).and_then(|expiry| {
            let more = !expiry.moved.is_empty();
            self.tell(&expiry, metrics, tails);
            let removal = log.remove_expired(now, self.events_max())?;
            metrics.events_removed(removal.events);
            let Removal { more: more_removal, .. } = removal;
            Ok(more || more_removal)
        });
        self.stored = 0;
        match done {
            Ok(more) => {
                self.is_failing = false;
                Ok(more)
            }
            Err(StoreError::Fatal(why)) => Err(why),
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "retention could not be carried out; it is tried again");
                }
                Ok(false)
            }
        }
    }

    /// Tells the rooms that are in memory, and their followers, what can not be read any more.
    fn tell(&mut self, expiry: &Expiry, metrics: &Metrics, tails: &TailBudget) {
        self.after = expiry.next.unwrap_or(RoomId(0));
        for moved in &expiry.moved {
            metrics.events_expired(moved.events);
            if let Some(entry) = (self.loaded)(moved.room) {
                tails.note(entry.expire(moved.first));
            }
        }
    }

    fn events_max(&self) -> usize {
        match self.stored {
            0 => IDLE_EVENTS,
            stored => stored.saturating_mul(BUSY_FACTOR).max(BUSY_EVENTS_MIN),
        }
    }
}

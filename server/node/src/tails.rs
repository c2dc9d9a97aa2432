//! The byte budget that the tails of all rooms share.

use std::sync::atomic::{AtomicIsize, Ordering};

/// Bytes that one room's tail may keep while there is plenty: at 200 bytes an event, some 5,000 of them.
const ROOM_BYTES_PLENTY: usize = 1024 * 1024;

/// How much memory the newest events of all rooms may take together.
#[derive(Debug)]
pub(crate) struct TailBudget {
    bytes_max: isize,
    bytes: AtomicIsize,
}

impl TailBudget {
    /// Bytes that one room's tail may keep when the budget is spent: about two windows of short messages.
    pub(crate) const BYTES_SCARCE: usize = 64 * 1024;

    pub(crate) fn new(bytes_max: usize) -> TailBudget {
        TailBudget { bytes_max: isize::try_from(bytes_max).unwrap_or(isize::MAX), bytes: AtomicIsize::new(0) }
    }

    /// How much one room may keep now.
    pub(crate) fn bytes_per_room(&self) -> usize {
        if self.is_spent() { TailBudget::BYTES_SCARCE } else { ROOM_BYTES_PLENTY }
    }

    /// Whether the tails hold more than they may together.
    pub(crate) fn is_spent(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    /// Notes by how much a tail has grown, or shrunk.
    pub(crate) fn note(&self, bytes: isize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

//! The ports in memory, for tests and for trying things out: nothing outlives the process.

mod cursors;
mod directory;
mod log;
mod reader;
mod retention;
mod room;
mod sessions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use directory::MemoryDirectory;
pub use log::{MemoryFaults, MemoryLog};
pub use reader::MemoryReader;

/// All ports in memory, over one set of logs and one directory.
#[derive(Debug)]
pub struct MemoryStores {
    /// The one writer of the logs.
    pub log: MemoryLog,
    /// The logs' readers.
    pub reader: Arc<MemoryReader>,
    /// Accounts, devices, settings and cursors.
    pub directory: Arc<MemoryDirectory>,
    /// How a test makes them fail.
    pub faults: MemoryFaults,
}

impl MemoryStores {
    /// Empty stores.
    pub fn new() -> MemoryStores {
        let logs = Arc::<Mutex<log::Logs>>::default();
        MemoryStores {
            log: MemoryLog::over(logs.clone()),
            reader: Arc::new(MemoryReader::over(logs.clone())),
            directory: Arc::default(),
            faults: MemoryFaults::over(logs),
        }
    }
}

impl Default for MemoryStores {
    fn default() -> MemoryStores {
        MemoryStores::new()
    }
}

/// Locks, whether or not a thread panicked while it held the lock: every change here is made of steps that
/// can not panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    #[test]
    fn memory_logs_keep_the_log_contract() {
        testkit::log::suite(|| {
            let stores = MemoryStores::new();
            (stores.log, stores.reader, ())
        });
    }

    #[test]
    fn memory_directory_keeps_the_directory_contract() {
        testkit::directory::suite(|| (MemoryStores::new().directory, ()));
    }

    #[test]
    fn memory_directory_keeps_the_cursor_contract() {
        testkit::cursors::suite(|| (MemoryStores::new().directory, ()));
    }

    #[test]
    fn memory_directory_keeps_the_session_contract() {
        testkit::sessions::suite(|| (MemoryStores::new().directory, ()));
    }
}

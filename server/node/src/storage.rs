//! The way to the stores, all but the log's writer: bounded, and wherever the node's executor makes calls.

use std::sync::Arc;

use hark_core::Refusal;
use hark_core::ports::{
    Condition, CursorStore, Directory, DirectoryError, LogReader, LogStore, Sessions, StoreError,
};
use tokio::sync::Semaphore;

use crate::executor::{Call, Executor};

/// The stores that a node works with.
pub struct Stores {
    /// The one writer of the logs.
    pub log: Box<dyn LogStore>,
    /// Readers of the logs.
    pub reader: Arc<dyn LogReader>,
    /// Accounts, devices, settings.
    pub directory: Arc<dyn Directory>,
    /// Cursors of durable subscriptions.
    pub cursors: Arc<dyn CursorStore>,
    /// Sessions of devices.
    pub sessions: Arc<dyn Sessions>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

/// Calls that may run at once. A store has few readers, and what waits here waits without a thread.
const CALLS_MAX: usize = 16;

/// Changes of the directory that may run at once.
const CHANGES_MAX: usize = 2;

/// Everything of the stores but the writer.
#[derive(Clone)]
pub(crate) struct Storage {
    reader: Arc<dyn LogReader>,
    directory: Arc<dyn Directory>,
    cursors: Arc<dyn CursorStore>,
    sessions: Arc<dyn Sessions>,
    calls: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    executor: Executor,
}

impl Storage {
    pub(crate) fn new(
        reader: Arc<dyn LogReader>,
        directory: Arc<dyn Directory>,
        cursors: Arc<dyn CursorStore>,
        sessions: Arc<dyn Sessions>,
        executor: Executor,
    ) -> Storage {
        Storage {
            reader,
            directory,
            cursors,
            sessions,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            executor,
        }
    }

    /// What the store has found out about itself.
    pub(crate) fn condition(&self) -> Condition {
        self.reader.condition()
    }

    /// Reads the logs.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn LogReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let reader = Arc::clone(&self.reader);
        self.call(move || call(&*reader).map_err(|error| refusal(&error))).await
    }

    /// Changes the directory. Changes wait for the disk, so they have places of their own and leave readers
    /// theirs.
    pub(crate) async fn change_directory<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Directory) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let change = Arc::clone(&self.changes).acquire_owned().await.map_err(|_| Refusal::Unavailable)?;
        let done = self.directory(call).await;
        drop(change);
        done
    }

    /// Reads the directory.
    pub(crate) async fn directory<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Directory) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let directory = Arc::clone(&self.directory);
        self.call(move || call(&*directory).map_err(|error| directory_refusal(&error))).await
    }

    /// Reads or saves cursors.
    pub(crate) async fn cursors<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn CursorStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let cursors = Arc::clone(&self.cursors);
        self.call(move || call(&*cursors).map_err(|error| refusal(&error))).await
    }

    /// Reads or changes sessions.
    pub(crate) async fn sessions<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Sessions) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let sessions = Arc::clone(&self.sessions);
        self.call(move || call(&*sessions).map_err(|error| refusal(&error))).await
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = Arc::clone(&self.calls).acquire_owned().await.map_err(|_| Refusal::Unavailable)?;
        let running = self.executor.run(Call::Look, move || {
            let result = call();
            drop(permit);
            result
        });
        running.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a call to a store did not return");
            Err(Refusal::Internal)
        })
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("free", &self.calls.available_permits()).finish_non_exhaustive()
    }
}

/// What a peer is told of a store's failure; the log is told the rest.
fn refusal(error: &StoreError) -> Refusal {
    tracing::error!(%error, "a store failed");
    match error {
        StoreError::Unavailable(_) | StoreError::Fatal(_) => Refusal::Unavailable,
        StoreError::Damaged(_) => Refusal::Internal,
    }
}

fn directory_refusal(error: &DirectoryError) -> Refusal {
    match error {
        DirectoryError::NameTaken => Refusal::NameTaken,
        DirectoryError::NoAccount => Refusal::NotFound("account"),
        DirectoryError::Outdated => Refusal::AuthFailed,
        DirectoryError::Store(error) => refusal(error),
    }
}

//! Bugs that stores have had elsewhere, planted around ours: the rig must find each, or it proves nothing.

use std::path::Path;

use hark_core::ports::Stored;
use rusqlite::{Connection, OpenFlags, params};

use crate::anomaly::{Anomaly, Kind};
use crate::reading::Reading;
use crate::verdict::open;
use crate::vfs;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A message is acknowledged when the store is asked to keep it, not when it has.
    AckBeforeCommit,
    /// Readers are shown a message before the store has kept it.
    ShowBeforeCommit,
    /// A failed sync is taken for a success.
    FailedSyncAcknowledged,
    /// Who has sent what is known in memory only, and forgotten by a restart.
    DedupeInMemory,
    /// After a restart a room goes on behind the last message that can be read.
    HeadFromWhatIsLeft,
    /// A restart reads what a killed process wrote, without having it synced first.
    NoBootCheckpoint,
    /// After a failed sync and a kill, a restart trusts what it reads in the write-ahead log to be on the disk.
    LeftoversTrusted,
    /// A restart writes a group's events and its rooms in two transactions: the second is missing.
    RoomsWrittenApart,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 8] = [
        Planted::AckBeforeCommit,
        Planted::ShowBeforeCommit,
        Planted::FailedSyncAcknowledged,
        Planted::DedupeInMemory,
        Planted::HeadFromWhatIsLeft,
        Planted::NoBootCheckpoint,
        Planted::LeftoversTrusted,
        Planted::RoomsWrittenApart,
    ];

    /// Whether only a process that was killed shows it.
    pub fn needs_kills(self) -> bool {
        matches!(self, Planted::NoBootCheckpoint | Planted::LeftoversTrusted)
    }

    /// Whether only a failed sync shows it.
    pub fn needs_failed_syncs(self) -> bool {
        matches!(self, Planted::FailedSyncAcknowledged | Planted::LeftoversTrusted)
    }

    /// What the bug has done to a folder by the time that the store is open again.
    ///
    /// # Errors
    /// When the folder is not one of a store.
    pub fn before_opening(self, folder: &Path) -> Result<(), Anomaly> {
        match self {
            Planted::DedupeInMemory => change(folder, "DELETE FROM identities"),
            // The newest row of a room is the one that the missing transaction would have written.
            Planted::RoomsWrittenApart => change(
                folder,
                "UPDATE rooms SET head = head - 1 WHERE id = (SELECT room FROM log ORDER BY position DESC LIMIT 1)",
            ),
            Planted::HeadFromWhatIsLeft => heads_from_what_is_left(folder),
            _ => Ok(()),
        }
    }
}

fn change(folder: &Path, sql: &str) -> Result<(), Anomaly> {
    // Opened once, so that the files are complete.
    drop(open(folder)?);
    let log = Connection::open(folder.join("log.db")).map_err(|error| Kind::Rig.seen(error))?;
    log.execute_batch(sql).map_err(|error| Kind::Rig.seen(error))
}

fn heads_from_what_is_left(folder: &Path) -> Result<(), Anomaly> {
    let stores = open(folder)?;
    let reading = Reading::of(&*stores.reader).map_err(|error| Kind::StoreFailed.seen(error))?;
    drop(stores);
    let log = Connection::open(folder.join("log.db")).map_err(|error| Kind::Rig.seen(error))?;
    for room in &reading.rooms {
        let left = reading.stored.iter().filter(|(id, _)| *id == room.row.id);
        let readable = left.filter(|(_, stored)| matches!(stored, Stored::Event { .. }));
        let head = readable.map(|(_, stored)| stored.seq().0).max().unwrap_or(0);
        let sql = "UPDATE rooms SET head = ?2 WHERE id = ?1";
        let values = params![room.row.id.0.cast_signed(), head.cast_signed()];
        log.execute(sql, values).map_err(|error| Kind::Rig.seen(error))?;
    }
    Ok(())
}

/// A restart without the checkpoint: how many events a reader is shown by a folder that was opened just like that.
///
/// # Errors
/// When it can not be read.
pub fn shown_without_checkpoint(folder: &Path) -> Result<usize, Anomaly> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = folder.join("log.db");
    let log =
        Connection::open_with_flags_and_vfs(path, flags, vfs::NAME).map_err(|error| Kind::Rig.seen(error))?;
    let count = log.query_row("SELECT count(*) FROM log", [], |row| row.get::<_, i64>(0));
    let count = count.map_err(|error| Kind::Rig.seen(error))?;
    // Like a process that lives on until the power fails: nothing is closed in order.
    std::mem::forget(log);
    usize::try_from(count).map_err(|error| Kind::Rig.seen(error))
}

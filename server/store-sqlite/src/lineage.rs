//! Whether the log is still the continuation of what clients have seen; where it is not, all its rooms get a new epoch
//! before anything is read.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hark_core::epoch::next_epoch;
use hark_core::ports::EpochChange;
use hark_protocol::{Epoch, RoomId, Seq, UnixMillis};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::error::is_damage;
use crate::mark::{Mark, State};
use crate::rows::{int, ordinal, record, uint};

/// Why the logs of a folder can not be taken for the continuation of what clients have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It was put back from a backup by `harkd restore`.
    Restored,
    /// It is the copy that `harkd backup` made.
    Backup,
    /// It is not the log that was here before.
    OtherLog,
    /// It ends before what was acknowledged from it.
    Behind,
    /// The server did not end well, and the write-ahead log that it left has been removed.
    WalRemoved,
    /// The newest record is damaged or missing, so that nobody can say what else was there.
    EndDamaged,
}

impl Doubt {
    /// One word for the operator's tools.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Doubt::Restored => "restored",
            Doubt::Backup => "backup",
            Doubt::OtherLog => "other-log",
            Doubt::Behind => "behind",
            Doubt::WalRemoved => "wal-removed",
            Doubt::EndDamaged => "end-damaged",
        }
    }
}

/// The key in `meta` that a backup's log carries.
pub(crate) const BACKUP_KEY: &str = "backup";

/// What can be seen of a log only before it is opened, because opening makes the write-ahead log.
#[derive(Debug)]
pub(crate) struct Signs {
    pub(crate) mark: Option<Mark>,
    has_wal: bool,
}

impl Signs {
    /// Looks at the folder of the log at `path`.
    pub(crate) fn read(folder: &Path, path: &Path) -> std::io::Result<Signs> {
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        Ok(Signs { mark: Mark::read(folder)?, has_wal: PathBuf::from(wal).exists() })
    }

    /// What speaks against the log being the continuation of what clients have seen, if anything does.
    pub(crate) fn doubt(&self, log: &Connection) -> rusqlite::Result<Option<Doubt>> {
        let (id, last) = (log_id(log)?, last_position(log)?);
        let backup = "SELECT EXISTS (SELECT 1 FROM meta WHERE key = ?1)";
        if log.query_row(backup, [BACKUP_KEY], |row| row.get(0))? {
            return Ok(Some(Doubt::Backup));
        }
        if let Some(mark) = &self.mark {
            if mark.log != hex(&id) {
                return Ok(Some(Doubt::OtherLog));
            }
            if mark.position > last {
                return Ok(Some(Doubt::Behind));
            }
            if mark.state == State::Running && !self.has_wal {
                return Ok(Some(Doubt::WalRemoved));
            }
        }
        let is_judged = judged_up_to(log)? == Some(last);
        Ok((!is_judged && !ends_well(log, last)?).then_some(Doubt::EndDamaged))
    }
}

/// Up to which position the log had come when its rooms last got an epoch together.
fn judged_up_to(log: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT position FROM epochs ORDER BY id DESC LIMIT 1";
    log.query_row(sql, [], |row| row.get(0)).optional()
}

/// Whether the newest record is there, can be trusted, and is the newest of its room.
fn ends_well(log: &Connection, last: i64) -> rusqlite::Result<bool> {
    if last == 0 {
        return Ok(true);
    }
    let newest = log
        .query_row("SELECT room, seq, frame FROM log WHERE position = ?1", [last], |row| {
            Ok((RoomId(uint(row, 0)?), Seq(uint(row, 1)?), row.get::<_, Vec<u8>>(2)?))
        })
        .optional();
    let (room, seq, frame) = match newest {
        Ok(Some(newest)) => newest,
        Ok(None) => return Ok(false),
        Err(error) if is_damage(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let head = "SELECT head FROM rooms WHERE id = ?1";
    let head = log.query_row(head, [ordinal(room.0)], |row| uint(row, 0)).optional()?;
    Ok(head == Some(seq.0) && record(room, seq, frame).is_some())
}

/// Gives every room a new epoch, greater than any that the log or `above` knows of, and takes out what stands in the
/// log behind the heads of its rooms. Heads stay as the rooms' rows say, so no seq is used twice in any epoch. All
/// of it is on the disk when this returns.
pub(crate) fn begin_epochs(
    log: &mut Connection,
    doubt: Doubt,
    above: Epoch,
) -> rusqlite::Result<EpochChange> {
    let transaction = log.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = now();
    let chance = transaction.query_row("SELECT random()", [], |row| row.get::<_, i64>(0))?.cast_unsigned();
    let epoch = next_epoch(now, chance, above.max(greatest_epoch(&transaction)?));
    if doubt == Doubt::EndDamaged {
        cut(&transaction)?;
    }
    let rooms = transaction.execute("UPDATE rooms SET epoch = ?1", [int(epoch.0)])?;
    transaction.execute(
        "INSERT INTO epochs (epoch, time, position, reason) VALUES (?1, ?2, ?3, ?4)",
        params![int(epoch.0), int(now.0), last_position(&transaction)?, doubt.word()],
    )?;
    transaction.execute("DELETE FROM meta WHERE key = ?1", [BACKUP_KEY])?;
    transaction.commit()?;
    Ok(EpochChange { epoch, rooms: u64::try_from(rooms).unwrap_or(u64::MAX), reason: doubt.word() })
}

/// Removes events and identities that the rooms' rows know nothing of: their transaction is on the disk in part.
fn cut(log: &Connection) -> rusqlite::Result<()> {
    for table in ["identities", "log"] {
        let behind = format!(
            "DELETE FROM {table} WHERE seq > coalesce((SELECT head FROM rooms WHERE id = {table}.room), 0)"
        );
        match log.execute(&behind, []) {
            // What can not be read can not be removed either, and is not read as an event.
            Err(error) if is_damage(&error) => {}
            done => drop(done?),
        }
    }
    Ok(())
}

/// The greatest epoch that the log knows of.
pub(crate) fn greatest_epoch(log: &Connection) -> rusqlite::Result<Epoch> {
    // Without a sign, the negative ones are the greatest.
    let sql = "SELECT epoch FROM (SELECT epoch FROM rooms UNION ALL SELECT epoch FROM epochs)
               ORDER BY epoch < 0 DESC, epoch DESC LIMIT 1";
    let found = log.query_row(sql, [], |row| uint(row, 0)).optional()?;
    Ok(Epoch(found.unwrap_or(0)))
}

/// The epoch that a new room's must reach.
pub(crate) fn least_epoch(log: &Connection) -> rusqlite::Result<Epoch> {
    let sql = "SELECT epoch FROM epochs ORDER BY id DESC LIMIT 1";
    let found = log.prepare_cached(sql)?.query_row([], |row| uint(row, 0)).optional()?;
    Ok(Epoch(found.unwrap_or(0)))
}

/// Which log this is.
pub(crate) fn log_id(log: &Connection) -> rusqlite::Result<Vec<u8>> {
    log.query_row("SELECT value FROM meta WHERE key = 'log'", [], |row| row.get(0))
}

/// The last position that the log has used.
pub(crate) fn last_position(log: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'log'";
    Ok(log.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(0))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

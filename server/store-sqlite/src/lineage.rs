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

    /// The doubt of that word. One that a newer version has written is a doubt as well.
    pub(crate) fn called(word: &str) -> Doubt {
        use Doubt::{Backup, Behind, EndDamaged, OtherLog, Restored, WalRemoved};
        let all = [Restored, Backup, OtherLog, WalRemoved, EndDamaged];
        all.into_iter().find(|doubt| doubt.word() == word).unwrap_or(Behind)
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

    /// What would not be seen any more once the log has been opened, which makes the write-ahead log.
    fn fleeting(&self) -> Option<Doubt> {
        let mark = self.mark.as_ref()?;
        let is_missed = mark.state == State::Running && !self.has_wal;
        mark.doubt.or(is_missed.then_some(Doubt::WalRemoved))
    }

    /// Makes durable what would not be seen any more once the log has been opened: this start may fail, and the next
    /// one has to know.
    pub(crate) fn keep(&self, folder: &Path) -> std::io::Result<()> {
        match (&self.mark, self.fleeting()) {
            (Some(mark), doubt) if doubt != mark.doubt => Mark { doubt, ..mark.clone() }.write(folder),
            _ => Ok(()),
        }
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
            if let Some(doubt) = self.fleeting() {
                return Ok(Some(doubt));
            }
            if mark.position > last {
                return Ok(Some(Doubt::Behind));
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
    // Whatever the doubt is about, the end may be damaged too, and is not looked at again after this.
    let behind = Behind::find(log)?;
    match begin(log, doubt, above, &behind) {
        // What can not be reached can not be removed either, and is not read as an event.
        Err(error) if is_damage(&error) => begin(log, doubt, above, &Behind::default()),
        begun => begun,
    }
}

fn begin(log: &mut Connection, doubt: Doubt, above: Epoch, behind: &Behind) -> rusqlite::Result<EpochChange> {
    let transaction = log.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = now();
    let chance = transaction.query_row("SELECT random()", [], |row| row.get::<_, i64>(0))?.cast_unsigned();
    let epoch = next_epoch(now, chance, above.max(greatest_epoch(&transaction)?));
    behind.cut(&transaction)?;
    let rooms = transaction.execute("UPDATE rooms SET epoch = ?1", [int(epoch.0)])?;
    leave_ids_out(&transaction, "rooms", epoch)?;
    transaction.execute(
        "INSERT INTO epochs (epoch, time, position, reason) VALUES (?1, ?2, ?3, ?4)",
        params![int(epoch.0), int(now.0), last_position(&transaction)?, doubt.word()],
    )?;
    transaction.execute("DELETE FROM meta WHERE key = ?1", [BACKUP_KEY])?;
    transaction.commit()?;
    Ok(EpochChange { epoch, rooms: u64::try_from(rooms).unwrap_or(u64::MAX), reason: doubt.word() })
}

/// Lets the table hand out only ids that no lost one had: it goes on behind the time that the epoch counts, in steps of
/// which a second has 65,536. Ids count up by one, and nobody makes as many things a second for as long as a log lives.
pub(crate) fn leave_ids_out(database: &Connection, table: &str, epoch: Epoch) -> rusqlite::Result<()> {
    let last = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
    let last: i64 = database.query_row(last, [table], |row| row.get(0)).optional()?.unwrap_or(0);
    let by_clock = ordinal(epoch.0).min(BY_CLOCK_MAX);
    database.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
    let behind = by_clock.max(last.saturating_add(IDS_LEFT_OUT)).min(ID_MAX).max(last);
    database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", params![table, behind])?;
    Ok(())
}

/// So many ids are left out where the clock says nothing.
const IDS_LEFT_OUT: i64 = 1 << 20;
/// An epoch that came from nowhere must not use the ids up.
const BY_CLOCK_MAX: i64 = 1 << 48;
/// Ids stay below what programs can carry whose only numbers are floating.
const ID_MAX: i64 = 1 << 52;

/// Events and identities that the rooms' rows know nothing of: their transaction is on the disk in part.
#[derive(Debug, Default)]
struct Behind {
    positions: Vec<i64>,
    farewells: Vec<i64>,
    identities: Vec<(Vec<u8>, i64, i64)>,
}

impl Behind {
    /// Finds them before the transaction that removes them: one that has seen a damaged page can not commit.
    fn find(log: &Connection) -> rusqlite::Result<Behind> {
        let is_behind = |table: &str| {
            format!("FROM {table} WHERE seq > coalesce((SELECT head FROM rooms WHERE id = {table}.room), 0)")
        };
        // The newest first, so that damage in the middle hides none of them.
        let events = format!("SELECT position {} ORDER BY position DESC", is_behind("log"));
        let farewells = format!("SELECT position {}", is_behind("farewells"));
        let identities = format!("SELECT client_id, author, room {}", is_behind("identities"));
        Ok(Behind {
            positions: readable(log, &events, |row| row.get(0))?,
            farewells: readable(log, &farewells, |row| row.get(0))?,
            identities: readable(log, &identities, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?,
        })
    }

    fn cut(&self, log: &Connection) -> rusqlite::Result<()> {
        for position in &self.positions {
            log.prepare_cached("DELETE FROM log WHERE position = ?1")?.execute([position])?;
        }
        for position in &self.farewells {
            log.prepare_cached("DELETE FROM farewells WHERE position = ?1")?.execute([position])?;
        }
        let identity = "DELETE FROM identities WHERE client_id = ?1 AND author = ?2 AND room = ?3";
        for (client_id, author, room) in &self.identities {
            log.prepare_cached(identity)?.execute(params![client_id, author, room])?;
        }
        Ok(())
    }
}

/// The rows of a query up to the first that can not be read.
fn readable<T>(
    log: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut select = log.prepare(sql)?;
    let mut found = Vec::new();
    for row in select.query_map([], read)? {
        match row {
            Err(error) if is_damage(&error) => break,
            row => found.push(row?),
        }
    }
    Ok(found)
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

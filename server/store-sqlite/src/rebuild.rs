//! Rebuilding a log whose end can not be read: nothing can be appended to it any more, so what is sound moves into a new
//! file.

use std::fs;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::OpenError;
use crate::database::{Database, checkpoint, remove_if_there, sync_folder};
use crate::error::is_damage;
use crate::lineage::last_position;

/// Tables that are copied whole: without any of them nobody knows what the events mean.
const TABLES: &[&str] =
    &["meta", "rooms", "members", "invites", "identities", "epochs", "farewells", "sqlite_sequence"];

/// Rows of one transaction.
const BATCH_ROWS: i64 = 10_000;

/// Whether the place at which the log grows can not be read.
pub(crate) fn is_needed(log: &Connection) -> rusqlite::Result<bool> {
    let newest = log
        .query_row("SELECT position FROM log ORDER BY position DESC LIMIT 1", [], |row| row.get::<_, i64>(0));
    match newest.optional() {
        Err(error) if is_damage(&error) => Ok(true),
        found => found.map(|_| false),
    }
}

/// Copies what can be read of `damaged` into a new file, puts that in the place of `log`, and opens it. The damaged
/// file stays beside it. Takes as long as reading all of it takes.
pub(crate) fn rebuild(log: &Database, damaged: Connection) -> Result<Connection, OpenError> {
    let new = Database { path: log.beside(".rebuilt"), ..log.clone() };
    new.remove()?;
    let mut target = new.open()?;
    let copied = copy(&damaged, &mut target).and_then(|records| {
        checkpoint(&target, "TRUNCATE")?;
        Ok(records)
    });
    drop((target, damaged));
    let records = match copied {
        Ok(records) => records,
        Err(source) => {
            new.remove()?;
            return Err(match is_damage(&source) {
                true => OpenError::Damaged { path: log.path.clone(), source },
                false => new.error(source),
            });
        }
    };
    let kept = (1_u32..).map(|number| log.beside(&format!(".damaged-{number}"))).find(|path| !path.exists());
    let kept = kept.unwrap_or_default();
    // What the write-ahead logs held has been moved into the files.
    for left in ["-wal", "-shm"].iter().flat_map(|suffix| [log.beside(suffix), new.beside(suffix)]) {
        remove_if_there(&left)?;
    }
    let put = fs::hard_link(&log.path, &kept).and_then(|()| fs::rename(&new.path, &log.path));
    let put = put.and_then(|()| sync_folder(&log.path));
    put.map_err(|source| OpenError::File { path: log.path.clone(), source })?;
    tracing::error!(
        records,
        kept = %kept.display(),
        "the end of log.db could not be read: what can be read of it is in a new file"
    );
    log.open()
}

/// Copies the tables, and every record that can be read; says how many these are.
fn copy(from: &Connection, to: &mut Connection) -> rusqlite::Result<u64> {
    to.execute_batch("PRAGMA foreign_keys = OFF")?;
    for table in TABLES {
        copy_table(from, to, table)?;
    }
    let (last, mut position, mut records) = (last_position(from)?, first_position(from)?, 0);
    let mut select = from.prepare("SELECT room, seq, frame FROM log WHERE position = ?1")?;
    while position <= last {
        let transaction = to.transaction()?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO log (position, room, seq, frame) VALUES (?1, ?2, ?3, ?4)")?;
            let end = last.min(position.saturating_add(BATCH_ROWS - 1));
            for at in position..=end {
                let row = select.query_row([at], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
                });
                match row.optional() {
                    Ok(Some((room, seq, frame))) => {
                        insert.execute(params![at, room, seq, frame])?;
                        records += 1;
                    }
                    Ok(None) => {}
                    Err(error) if is_damage(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            position = end + 1;
        }
        transaction.commit()?;
    }
    // Inserting has counted only up to the last record that is there.
    to.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'log'", [last])?;
    to.execute_batch("PRAGMA foreign_keys = ON")?;
    Ok(records)
}

/// Where the oldest record may stand.
fn first_position(from: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT position FROM log ORDER BY position LIMIT 1";
    match from.query_row(sql, [], |row| row.get(0)).optional() {
        Err(error) if is_damage(&error) => Ok(1),
        found => Ok(found?.unwrap_or(1)),
    }
}

fn copy_table(from: &Connection, to: &mut Connection, table: &str) -> rusqlite::Result<()> {
    let mut select = from.prepare(&format!("SELECT * FROM {table}"))?;
    let columns = select.column_count();
    let places = vec!["?"; columns].join(", ");
    let transaction = to.transaction()?;
    {
        transaction.execute(&format!("DELETE FROM {table}"), [])?;
        let mut insert = transaction.prepare(&format!("INSERT INTO {table} VALUES ({places})"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            insert.execute(params_from_iter(values))?;
        }
    }
    transaction.commit()
}

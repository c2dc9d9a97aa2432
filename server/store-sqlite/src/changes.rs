//! What changes in a room's tables together with an event.

use hark_core::ports::Change;
use hark_protocol::{AccountId, RoomRole};
use rusqlite::{Connection, ToSql, params};

use crate::places::Place;
use crate::rows::{int, ordinal};

/// Writes the change that `author` makes in the room with the event at its head; the members that come and go
/// with it are counted in its place.
pub(crate) fn apply(
    log: &Connection,
    place: &mut Place,
    author: AccountId,
    change: Change,
) -> rusqlite::Result<()> {
    let room = ordinal(place.room.0);
    match change {
        Change::None => {}
        Change::Join { role } => {
            join(log, place, author, role)?;
            uninvite(log, room, author)?;
        }
        Change::Leave => remove(log, place, author)?,
        Change::Kick { account } => {
            remove(log, place, account)?;
            uninvite(log, room, account)?;
        }
        Change::Topic { topic } => {
            run(log, "UPDATE rooms SET topic = ?2 WHERE id = ?1", params![room, topic.as_str()])?;
        }
        Change::Retention { retention } => place.retention = retention,
        Change::Role { account, role } => {
            let sql = "UPDATE members SET role = ?3 WHERE room = ?1 AND account = ?2";
            run(log, sql, params![room, int(account.0), role.0])?;
        }
        Change::Invite { account } => {
            let sql = "INSERT INTO invites (room, account, seq) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO UPDATE SET seq = excluded.seq";
            run(log, sql, params![room, int(account.0), ordinal(place.head.0)])?;
        }
    }
    Ok(())
}

fn join(log: &Connection, place: &mut Place, account: AccountId, role: RoomRole) -> rusqlite::Result<()> {
    let member = params![ordinal(place.room.0), int(account.0), role.0, ordinal(place.head.0)];
    let insert = "INSERT INTO members (room, account, role, joined) VALUES (?1, ?2, ?3, ?4)
                  ON CONFLICT DO NOTHING";
    if run(log, insert, member)? > 0 {
        place.members = place.members.saturating_add(1);
        return Ok(());
    }
    run(log, "UPDATE members SET role = ?3, joined = ?4 WHERE room = ?1 AND account = ?2", member)?;
    Ok(())
}

fn remove(log: &Connection, place: &mut Place, account: AccountId) -> rusqlite::Result<()> {
    let member = params![ordinal(place.room.0), int(account.0)];
    let gone = run(log, "DELETE FROM members WHERE room = ?1 AND account = ?2", member)? > 0;
    place.members = place.members.saturating_sub(u32::from(gone));
    Ok(())
}

fn uninvite(log: &Connection, room: i64, account: AccountId) -> rusqlite::Result<()> {
    run(log, "DELETE FROM invites WHERE room = ?1 AND account = ?2", params![room, int(account.0)])?;
    Ok(())
}

/// Says how many rows it has changed.
fn run(log: &Connection, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    log.prepare_cached(sql)?.execute(values)
}

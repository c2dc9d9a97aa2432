//! What changes in a room's tables together with an event.

use hark_core::ports::Change;
use hark_protocol::{AccountId, RoomId, Seq};
use rusqlite::{Connection, params};

use crate::rows::{int, ordinal};

/// Writes the change that `author` makes in the room with the event at `seq`.
pub(crate) fn apply(
    log: &Connection,
    room: RoomId,
    author: AccountId,
    seq: Seq,
    change: Change,
) -> rusqlite::Result<()> {
    let (room, author, seq) = (ordinal(room.0), int(author.0), ordinal(seq.0));
    let run = |sql, values: &[&dyn rusqlite::ToSql]| log.prepare_cached(sql)?.execute(values).map(|_| ());
    match change {
        Change::None => Ok(()),
        Change::Join { role } => {
            run(
                "INSERT INTO members (room, account, role, joined) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET role = excluded.role, joined = excluded.joined",
                params![room, author, role.0, seq],
            )?;
            run("DELETE FROM invites WHERE room = ?1 AND account = ?2", params![room, author])
        }
        Change::Leave => run("DELETE FROM members WHERE room = ?1 AND account = ?2", params![room, author]),
        Change::Kick { account } => {
            let whom = int(account.0);
            run("DELETE FROM members WHERE room = ?1 AND account = ?2", params![room, whom])?;
            run("DELETE FROM invites WHERE room = ?1 AND account = ?2", params![room, whom])
        }
        Change::Topic { topic } => {
            run("UPDATE rooms SET topic = ?2 WHERE id = ?1", params![room, topic.as_str()])
        }
        Change::Role { account, role } => run(
            "UPDATE members SET role = ?3 WHERE room = ?1 AND account = ?2",
            params![room, int(account.0), role.0],
        ),
        Change::Invite { account } => run(
            "INSERT INTO invites (room, account, seq) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET seq = excluded.seq",
            params![room, int(account.0), seq],
        ),
    }
}

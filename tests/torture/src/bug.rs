//! Bugs that are planted, so that the rig can be seen to find them. They sit in the rig's own clients, or in what
//! happens to the store behind the server's back.

use std::path::Path;

use rusqlite::Connection;

use crate::Trouble;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Something between client and server acknowledges what it has not brought there.
    AckEarly,
    /// What is sent again gets another identity.
    FreshIdentity,
    /// What is unresolved when a client ends is forgotten, and nobody is told.
    OutboxDropped,
    /// A reader that comes back begins with what is new.
    CursorPastHole,
    /// A reader that comes back begins one event too late.
    SeamOneTooLate,
    /// A reader that comes back begins one event too early.
    SeamOneTooEarly,
    /// The disk has forgotten the last commits when the server comes back.
    CommitsForgotten,
    /// A bit of a stored event is flipped.
    BitFlipped,
}

impl Bug {
    /// Does to the store what the bug does while the server is down.
    pub(crate) fn strike(self, data: &Path) -> Result<(), Trouble> {
        match self {
            Bug::CommitsForgotten => forget(&Connection::open(data.join("log.db"))?),
            Bug::BitFlipped => flip(&Connection::open(data.join("log.db"))?),
            _ => Ok(()),
        }
    }
}

/// Takes the newest events out, as if they had never come.
fn forget(log: &Connection) -> Result<(), Trouble> {
    log.execute_batch(
        "BEGIN;
         DELETE FROM identities WHERE (room, seq) IN (SELECT room, seq FROM log ORDER BY position DESC LIMIT 20);
         DELETE FROM log WHERE position IN (SELECT position FROM log ORDER BY position DESC LIMIT 20);
         UPDATE rooms SET head = (SELECT max(seq) FROM log WHERE log.room = rooms.id);
         COMMIT;",
    )?;
    Ok(())
}

fn flip(log: &Connection) -> Result<(), Trouble> {
    let middle =
        "SELECT position, frame FROM log ORDER BY position LIMIT 1 OFFSET (SELECT count(*) / 2 FROM log)";
    let (position, mut frame): (i64, Vec<u8>) =
        log.query_row(middle, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(byte) = frame.last_mut() {
        *byte ^= 1;
    }
    log.execute("UPDATE log SET frame = ?2 WHERE position = ?1", (position, frame))?;
    Ok(())
}

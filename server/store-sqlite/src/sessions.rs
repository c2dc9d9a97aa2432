//! The sessions of devices, beside the devices they belong to.

use hark_core::ports::{
    FoundSession, Hold, SessionChange, SessionId, SessionOutcome, Sessions, StoreError, TokenHash,
};
use hark_protocol::{AccountId, DeviceId, UnixMillis};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::directory::SqliteDirectory;
use crate::error::Fault;
use crate::rows::{limit, ordinal, uint};

impl Sessions for SqliteDirectory {
    fn session(&self, token: &TokenHash, now: UnixMillis) -> Result<Option<FoundSession>, StoreError> {
        self.look(|directory| {
            let mut select = directory.prepare_cached(
                "SELECT sessions.id, devices.account, devices.id FROM sessions
                 JOIN devices ON devices.id = sessions.device
                 JOIN accounts ON accounts.id = devices.account
                 WHERE (newest = ?1 OR resumed = ?1) AND (left_at IS NULL OR left_at + lifetime_ms > ?2)
                 AND NOT accounts.disabled",
            )?;
            let found = select.query_row(params![token.0, ordinal(now.0)], |row| {
                Ok(FoundSession {
                    id: SessionId(uint(row, 0)?),
                    account: AccountId(uint(row, 1)?),
                    device: DeviceId(uint(row, 2)?),
                })
            });
            Ok(found.optional()?)
        })
    }

    fn change_sessions(
        &self,
        now: UnixMillis,
        changes: &[SessionChange],
    ) -> Result<Vec<SessionOutcome>, StoreError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.change(|directory| changes.iter().map(|change| carry_out(directory, now, change)).collect())
    }

    fn part_sessions(&self, now: UnixMillis) -> Result<(), StoreError> {
        self.change(|directory| {
            let sql = "UPDATE sessions SET left_at = ?1 WHERE left_at IS NULL";
            directory.execute(sql, params![ordinal(now.0)])?;
            Ok(())
        })
    }

    fn forget_lapsed_sessions(&self, now: UnixMillis, at_most: usize) -> Result<usize, StoreError> {
        let lapsed =
            "SELECT id FROM sessions WHERE left_at IS NOT NULL AND left_at + lifetime_ms <= ?1 LIMIT ?2";
        let any = self.look(|directory| {
            let mut select = directory.prepare_cached(lapsed)?;
            Ok(select.exists(params![ordinal(now.0), 1])?)
        })?;
        if !any {
            return Ok(0); // a transaction would cost a sync for nothing
        }
        let sql = format!("DELETE FROM sessions WHERE id IN ({lapsed})");
        self.change(|directory| Ok(directory.execute(&sql, params![ordinal(now.0), limit(at_most)])?))
    }
}

fn carry_out(
    directory: &Transaction<'_>,
    now: UnixMillis,
    change: &SessionChange,
) -> Result<SessionOutcome, Fault> {
    match *change {
        SessionChange::Begin { device, token, sessions_max, lifetime_ms } => {
            begin(directory, device, token, (sessions_max, lifetime_ms))
        }
        SessionChange::TakeUp { token, new, lifetime_ms } => {
            take_up(directory, now, (token, new), lifetime_ms)
        }
        SessionChange::End(hold) => {
            let sql = "DELETE FROM sessions WHERE id = ?1 AND generation = ?2";
            let mut delete = directory.prepare_cached(sql)?;
            delete.execute(params![ordinal(hold.session.0), ordinal(hold.generation)])?;
            let mut select = directory.prepare_cached("SELECT 1 FROM sessions WHERE id = ?1")?;
            match select.exists(params![ordinal(hold.session.0)])? {
                true => Ok(SessionOutcome::Replaced),
                false => Ok(SessionOutcome::Done),
            }
        }
        SessionChange::Leave(hold) => {
            let sql =
                "UPDATE sessions SET left_at = ?3 WHERE id = ?1 AND generation = ?2 AND left_at IS NULL";
            let mut update = directory.prepare_cached(sql)?;
            update.execute(params![ordinal(hold.session.0), ordinal(hold.generation), ordinal(now.0)])?;
            Ok(SessionOutcome::Done)
        }
    }
}

fn begin(
    directory: &Transaction<'_>,
    device: DeviceId,
    token: TokenHash,
    (sessions_max, lifetime_ms): (u32, u64),
) -> Result<SessionOutcome, Fault> {
    let device = ordinal(device.0);
    let mut let_in = directory.prepare_cached(
        "SELECT NOT disabled FROM accounts JOIN devices ON devices.account = accounts.id WHERE devices.id = ?1",
    )?;
    if let_in.query_row(params![device], |row| row.get(0)).optional()? != Some(true) {
        return Ok(SessionOutcome::Gone);
    }
    let mut count =
        directory.prepare_cached("SELECT count(*), count(left_at) FROM sessions WHERE device = ?1")?;
    let (all, parted): (i64, i64) = count.query_row(params![device], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if all - parted >= i64::from(sessions_max) {
        return Ok(SessionOutcome::Full);
    }
    let mut make_way = directory.prepare_cached(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions
         WHERE device = ?1 AND left_at IS NOT NULL ORDER BY left_at, id LIMIT ?2)",
    )?;
    make_way.execute(params![device, (all + 1 - i64::from(sessions_max)).max(0)])?;
    let mut insert = directory.prepare_cached(
        "INSERT INTO sessions (device, newest, generation, lifetime_ms) VALUES (?1, ?2, 1, ?3)",
    )?;
    insert.execute(params![device, token.0, ordinal(lifetime_ms)])?;
    let session = SessionId(directory.last_insert_rowid().cast_unsigned());
    Ok(SessionOutcome::Held(Hold { session, generation: 1 }))
}

fn take_up(
    directory: &Transaction<'_>,
    now: UnixMillis,
    (token, new): (TokenHash, TokenHash),
    lifetime_ms: u64,
) -> Result<SessionOutcome, Fault> {
    let mut update = directory.prepare_cached(
        "UPDATE sessions SET newest = ?2, resumed = ?1, generation = generation + 1, lifetime_ms = ?4,
         left_at = NULL
         WHERE (newest = ?1 OR resumed = ?1) AND (left_at IS NULL OR left_at + lifetime_ms > ?3)
         AND device IN (SELECT devices.id FROM devices JOIN accounts ON accounts.id = devices.account
                        WHERE devices.id = sessions.device AND NOT accounts.disabled)
         RETURNING id, generation",
    )?;
    let values = params![token.0, new.0, ordinal(now.0), ordinal(lifetime_ms)];
    let held = update
        .query_row(values, |row| Ok(Hold { session: SessionId(uint(row, 0)?), generation: uint(row, 1)? }));
    Ok(held.optional()?.map_or(SessionOutcome::Gone, SessionOutcome::Held))
}

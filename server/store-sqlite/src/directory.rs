//! Accounts, devices and settings.

use std::sync::Arc;

use hark_core::ports::{
    AccountRow, DeviceRow, Directory, DirectoryError, NewAccount, NewDevice, PasswordHash, StoreError,
    TokenHash,
};
use hark_protocol::limits::DISPLAY_NAME_BYTES_MAX;
use hark_protocol::{AccountId, AccountName, AccountRole, DeviceId, Line, UnixMillis};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::database::checkpoint;
use crate::error::Fault;
use crate::index::Shared;
use crate::lock::FolderLock;
use crate::reader::all;
use crate::rows::{int, limit, ordinal, text, uint};
use crate::wal::{CHECKPOINT_PAGES, WalMeter};

/// The directory, and the cursors of its devices. One thread writes at a time, and reads do not wait for it.
#[derive(Debug)]
pub struct SqliteDirectory {
    writer: Mutex<Writer>,
    reader: Mutex<Connection>,
    shared: Arc<Shared>,
    _lock: Arc<FolderLock>,
}

#[derive(Debug)]
struct Writer {
    directory: Connection,
    meter: WalMeter,
}

impl SqliteDirectory {
    pub(crate) fn new(
        mut directory: Connection,
        reader: Connection,
        shared: Arc<Shared>,
        lock: Arc<FolderLock>,
    ) -> rusqlite::Result<SqliteDirectory> {
        let meter = WalMeter::watch(&mut directory)?;
        let writer = Mutex::new(Writer { directory, meter });
        Ok(SqliteDirectory { writer, reader: Mutex::new(reader), shared, _lock: lock })
    }

    /// Runs a read.
    pub(crate) fn look<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.shared.health.check()?;
        read(&self.reader.lock()).map_err(|fault| self.shared.health.judge(fault))
    }

    /// Runs a change in a transaction that is on the disk when this returns.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.shared.health.check()?;
        let mut writer = self.writer.lock();
        let done = writer.run(change).map_err(|fault| self.shared.health.judge(fault));
        if writer.meter.due(CHECKPOINT_PAGES).is_some()
            && let Err(error) = checkpoint(&writer.directory, "PASSIVE")
        {
            let error = self.shared.health.judge(error);
            tracing::error!(%error, "directory.db could not be checkpointed");
        }
        done
    }

    /// Runs a change that is `false` if there is no such account.
    fn change_account(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<bool, Fault>,
    ) -> Result<(), DirectoryError> {
        if self.change(change)? { Ok(()) } else { Err(DirectoryError::NoAccount) }
    }
}

impl Writer {
    fn run<T>(&mut self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let transaction = self.directory.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = change(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }
}

impl Directory for SqliteDirectory {
    fn add_account(&self, new: NewAccount) -> Result<AccountId, DirectoryError> {
        let id = self.change(|directory| {
            let inserted = directory.execute(
                "INSERT INTO accounts (name, display_name, role, disabled, created, password)
                 VALUES (?1, ?2, ?3, 0, ?4, ?5) ON CONFLICT (name) DO NOTHING",
                params![
                    new.name.as_str(),
                    new.display_name.as_str(),
                    new.role.0,
                    int(new.created.0),
                    new.password.0
                ],
            )?;
            Ok((inserted == 1).then(|| AccountId(directory.last_insert_rowid().cast_unsigned())))
        })?;
        id.ok_or(DirectoryError::NameTaken)
    }

    fn account(&self, name: &AccountName) -> Result<Option<AccountRow>, StoreError> {
        let sql = format!("{ACCOUNTS} WHERE name = ?1");
        self.look(|directory| Ok(all(directory, &sql, params![name.as_str()], account)?.pop()))
    }

    fn accounts_by_id(&self, ids: &[AccountId]) -> Result<Vec<AccountRow>, StoreError> {
        let sql = format!("{ACCOUNTS} WHERE id = ?1");
        self.look(|directory| {
            let one = |id: &AccountId| all(directory, &sql, params![ordinal(id.0)], account);
            let found: Vec<_> = ids.iter().map(one).collect::<Result<_, _>>()?;
            Ok(found.into_iter().flatten().collect())
        })
    }

    fn accounts(&self, after: AccountId, rows: usize) -> Result<Vec<AccountRow>, StoreError> {
        let sql = format!("{ACCOUNTS} WHERE id > ?1 ORDER BY id LIMIT ?2");
        self.look(|directory| all(directory, &sql, params![ordinal(after.0), limit(rows)], account))
    }

    fn set_password(&self, account: AccountId, password: PasswordHash) -> Result<(), DirectoryError> {
        self.change_account(|directory| {
            let id = ordinal(account.0);
            let sql = "UPDATE accounts SET password = ?2 WHERE id = ?1";
            let found = directory.execute(sql, params![id, password.0])? == 1;
            directory.execute("DELETE FROM devices WHERE account = ?1", params![id])?;
            Ok(found)
        })
    }

    fn set_disabled(&self, account: AccountId, disabled: bool) -> Result<(), DirectoryError> {
        let sql = "UPDATE accounts SET disabled = ?2 WHERE id = ?1";
        self.change_account(|directory| {
            Ok(directory.execute(sql, params![ordinal(account.0), disabled])? == 1)
        })
    }

    fn set_display_name(
        &self,
        account: AccountId,
        display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    ) -> Result<(), DirectoryError> {
        let sql = "UPDATE accounts SET display_name = ?2 WHERE id = ?1";
        self.change_account(|directory| {
            Ok(directory.execute(sql, params![ordinal(account.0), display_name.as_str()])? == 1)
        })
    }

    fn add_device(&self, new: NewDevice, devices_max: u32) -> Result<DeviceId, DirectoryError> {
        self.change(|directory| {
            let account = ordinal(new.account.0);
            let rests_on = "SELECT password = ?2 AND NOT disabled FROM accounts WHERE id = ?1";
            let holds = directory.query_row(rests_on, params![account, new.password.0], |row| row.get(0));
            match holds.optional()? {
                None => return Ok(Err(DirectoryError::NoAccount)),
                Some(false) => return Ok(Err(DirectoryError::Outdated)),
                Some(true) => {}
            }
            // The most recently used stay; OFFSET skips as many as fit beside the new one.
            directory.execute(
                "DELETE FROM devices WHERE id IN (SELECT id FROM devices WHERE account = ?1
                 ORDER BY last_used DESC, id DESC LIMIT -1 OFFSET ?2)",
                params![account, devices_max.saturating_sub(1)],
            )?;
            directory.execute(
                "INSERT INTO devices (account, label, token, created, last_used)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![account, new.label.as_str(), new.token.0, int(new.now.0), noted(new.now)],
            )?;
            Ok(Ok(DeviceId(directory.last_insert_rowid().cast_unsigned())))
        })?
    }

    fn device(&self, token: &TokenHash, now: UnixMillis) -> Result<Option<DeviceRow>, StoreError> {
        let sql = "SELECT id, account, label, created, last_used FROM devices WHERE token = ?1";
        let find = |directory: &Connection| Ok(all(directory, sql, params![token.0], device)?.pop());
        match self.look(find)? {
            Some(found) if found.last_used < DeviceRow::noted(now) => self.change(|directory| {
                let note = "UPDATE devices SET last_used = max(last_used, ?2) WHERE token = ?1";
                directory.execute(note, params![token.0, noted(now)])?;
                find(directory)
            }),
            found => Ok(found),
        }
    }

    fn forget_device(&self, device: DeviceId) -> Result<(), StoreError> {
        self.change(|directory| {
            directory.execute("DELETE FROM devices WHERE id = ?1", params![ordinal(device.0)])?;
            Ok(())
        })
    }

    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(|directory| {
            let mut select = directory.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
            Ok(select.query_row(params![key], |row| row.get(0)).optional()?)
        })
    }

    fn set_setting(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.change(|directory| {
            directory.execute(
                "INSERT INTO settings (key, value) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET value = excluded.value",
                params![key, value],
            )?;
            Ok(())
        })
    }
}

const ACCOUNTS: &str = "SELECT id, name, display_name, role, disabled, created, password FROM accounts";

fn account(row: &Row<'_>) -> Result<AccountRow, Fault> {
    Ok(AccountRow {
        id: AccountId(uint(row, 0)?),
        name: text(row, 1)?,
        display_name: text(row, 2)?,
        role: AccountRole(row.get(3)?),
        disabled: row.get(4)?,
        created: UnixMillis(uint(row, 5)?),
        password: PasswordHash(row.get(6)?),
    })
}

fn device(row: &Row<'_>) -> Result<DeviceRow, Fault> {
    Ok(DeviceRow {
        id: DeviceId(uint(row, 0)?),
        account: AccountId(uint(row, 1)?),
        label: text(row, 2)?,
        created: UnixMillis(uint(row, 3)?),
        last_used: UnixMillis(uint(row, 4)?),
    })
}

fn noted(now: UnixMillis) -> i64 {
    ordinal(DeviceRow::noted(now).0)
}

//! Accounts, devices and settings in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use hark_protocol::limits::DISPLAY_NAME_BYTES_MAX;
use hark_protocol::{AccountId, AccountName, DeviceId, Line, RoomId, UnixMillis};

use super::lock;
use super::sessions::Row as SessionRow;
use crate::ports::{
    AccountRow, Cursor, DeviceRow, Directory, DirectoryError, NewAccount, NewDevice, PasswordHash, SessionId,
    StoreError, TokenHash,
};

/// The directory and the cursors of its devices.
#[derive(Debug, Default)]
pub struct MemoryDirectory {
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) accounts: BTreeMap<AccountId, AccountRow>,
    pub(super) devices: BTreeMap<DeviceId, (DeviceRow, TokenHash)>,
    pub(super) cursors: HashMap<(DeviceId, RoomId), Cursor>,
    pub(super) sessions: BTreeMap<SessionId, SessionRow>,
    pub(super) last_session: u64,
    settings: HashMap<String, Vec<u8>>,
    fault: Option<StoreError>,
    last_account: u64,
    last_device: u64,
}

impl MemoryDirectory {
    /// The next change of a session, and the next device that is to be forgotten, fails with `error`, once.
    pub fn fail_next_change(&self, error: StoreError) {
        lock(&self.state).fault = Some(error);
    }
}

impl State {
    /// Fails if a test wants it.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        self.fault.take().map_or(Ok(()), Err)
    }

    fn account_mut(&mut self, account: AccountId) -> Result<&mut AccountRow, DirectoryError> {
        self.accounts.get_mut(&account).ok_or(DirectoryError::NoAccount)
    }

    fn forget(&mut self, device: DeviceId) {
        self.devices.remove(&device);
        self.cursors.retain(|(owner, _), _| *owner != device);
        self.sessions.retain(|_, session| session.device != device);
    }

    /// An account's devices, the one unused the longest first.
    fn devices_of(&self, account: AccountId) -> Vec<DeviceId> {
        let rows = self.devices.values().map(|(row, _)| row).filter(|row| row.account == account);
        let mut devices: Vec<_> = rows.map(|row| (row.last_used, row.id)).collect();
        devices.sort_unstable();
        devices.into_iter().map(|(_, id)| id).collect()
    }
}

impl Directory for MemoryDirectory {
    fn add_account(&self, new: NewAccount) -> Result<AccountId, DirectoryError> {
        let mut state = lock(&self.state);
        if state.accounts.values().any(|account| account.name == new.name) {
            return Err(DirectoryError::NameTaken);
        }
        state.last_account += 1;
        let id = AccountId(state.last_account);
        let row = AccountRow {
            id,
            name: new.name,
            display_name: new.display_name,
            role: new.role,
            disabled: false,
            created: new.created,
            password: new.password,
        };
        state.accounts.insert(id, row);
        Ok(id)
    }

    fn account(&self, name: &AccountName) -> Result<Option<AccountRow>, StoreError> {
        Ok(lock(&self.state).accounts.values().find(|account| account.name == *name).cloned())
    }

    fn accounts_by_id(&self, ids: &[AccountId]) -> Result<Vec<AccountRow>, StoreError> {
        let state = lock(&self.state);
        Ok(ids.iter().filter_map(|id| state.accounts.get(id).cloned()).collect())
    }

    fn accounts(&self, after: AccountId, limit: usize) -> Result<Vec<AccountRow>, StoreError> {
        let state = lock(&self.state);
        Ok(state.accounts.values().filter(|account| account.id > after).take(limit).cloned().collect())
    }

    fn set_password(&self, account: AccountId, password: PasswordHash) -> Result<(), DirectoryError> {
        let mut state = lock(&self.state);
        state.account_mut(account)?.password = password;
        state.devices_of(account).into_iter().for_each(|device| state.forget(device));
        Ok(())
    }

    fn set_disabled(&self, account: AccountId, disabled: bool) -> Result<(), DirectoryError> {
        lock(&self.state).account_mut(account)?.disabled = disabled;
        Ok(())
    }

    fn set_display_name(
        &self,
        account: AccountId,
        display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    ) -> Result<(), DirectoryError> {
        lock(&self.state).account_mut(account)?.display_name = display_name;
        Ok(())
    }

    fn add_device(&self, new: NewDevice, devices_max: u32) -> Result<DeviceId, DirectoryError> {
        let mut state = lock(&self.state);
        let account = state.account_mut(new.account)?;
        if account.disabled || account.password != new.password {
            return Err(DirectoryError::Outdated);
        }
        let devices = state.devices_of(new.account);
        let others_max = usize::try_from(devices_max.saturating_sub(1)).unwrap_or(usize::MAX);
        let surplus = devices.len().saturating_sub(others_max);
        devices.into_iter().take(surplus).for_each(|device| state.forget(device));
        state.last_device += 1;
        let id = DeviceId(state.last_device);
        let row = DeviceRow {
            id,
            account: new.account,
            label: new.label,
            created: new.now,
            last_used: DeviceRow::noted(new.now),
        };
        state.devices.insert(id, (row, new.token));
        Ok(id)
    }

    fn device(&self, token: &TokenHash, now: UnixMillis) -> Result<Option<DeviceRow>, StoreError> {
        let mut state = lock(&self.state);
        let Some((row, _)) = state.devices.values_mut().find(|(_, held)| held == token) else {
            return Ok(None);
        };
        row.last_used = row.last_used.max(DeviceRow::noted(now));
        Ok(Some(row.clone()))
    }

    fn forget_device(&self, device: DeviceId) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        state.check()?;
        state.forget(device);
        Ok(())
    }

    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(lock(&self.state).settings.get(key).cloned())
    }

    fn set_setting(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        lock(&self.state).settings.insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

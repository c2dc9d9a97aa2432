//! The sessions of devices in memory.

use hark_protocol::{AccountId, DeviceId, UnixMillis};

use super::directory::{MemoryDirectory, State};
use super::lock;
use crate::ports::{
    FoundSession, Hold, SessionChange, SessionId, SessionOutcome, Sessions, StoreError, TokenHash,
};

/// A session.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) device: DeviceId,
    newest: TokenHash,
    /// The token that took it up last.
    resumed: Option<TokenHash>,
    generation: u64,
    lifetime_ms: u64,
    /// Since when it is without a connection; `None` while it has one.
    left: Option<UnixMillis>,
}

impl Row {
    fn has_lapsed(&self, now: UnixMillis) -> bool {
        self.left.is_some_and(|left| now.0 >= left.0.saturating_add(self.lifetime_ms))
    }

    fn is_taken_up_by(&self, token: &TokenHash) -> bool {
        self.newest == *token || self.resumed.as_ref() == Some(token)
    }
}

impl Sessions for MemoryDirectory {
    fn session(&self, token: &TokenHash, now: UnixMillis) -> Result<Option<FoundSession>, StoreError> {
        Ok(lock(&self.state).find(token, now))
    }

    fn change_sessions(
        &self,
        now: UnixMillis,
        changes: &[SessionChange],
    ) -> Result<Vec<SessionOutcome>, StoreError> {
        let mut state = lock(&self.state);
        state.check()?;
        Ok(changes.iter().map(|change| state.change(now, change)).collect())
    }

    fn part_sessions(&self, now: UnixMillis) -> Result<(), StoreError> {
        for row in lock(&self.state).sessions.values_mut() {
            row.left.get_or_insert(now);
        }
        Ok(())
    }

    fn forget_lapsed_sessions(&self, now: UnixMillis, at_most: usize) -> Result<usize, StoreError> {
        let sessions = &mut lock(&self.state).sessions;
        let lapsed = sessions.iter().filter(|(_, row)| row.has_lapsed(now));
        let lapsed: Vec<SessionId> = lapsed.map(|(id, _)| *id).take(at_most).collect();
        for id in &lapsed {
            sessions.remove(id);
        }
        Ok(lapsed.len())
    }
}

impl State {
    fn find(&self, token: &TokenHash, now: UnixMillis) -> Option<FoundSession> {
        let is_it = |row: &Row| row.is_taken_up_by(token) && !row.has_lapsed(now);
        let (id, row) = self.sessions.iter().find(|(_, row)| is_it(row))?;
        let account = self.let_in(row.device)?;
        Some(FoundSession { id: *id, account, device: row.device })
    }

    /// Whose device it is, unless that account is shut out.
    fn let_in(&self, device: DeviceId) -> Option<AccountId> {
        let (device, _) = self.devices.get(&device)?;
        let account = self.accounts.get(&device.account).filter(|account| !account.disabled)?;
        Some(account.id)
    }

    fn change(&mut self, now: UnixMillis, change: &SessionChange) -> SessionOutcome {
        match *change {
            SessionChange::Begin { device, token, sessions_max, lifetime_ms } => {
                self.begin(device, token, sessions_max, lifetime_ms)
            }
            SessionChange::TakeUp { token, new, lifetime_ms } => self.take_up(now, token, new, lifetime_ms),
            SessionChange::End(hold) => {
                self.sessions.retain(|id, row| !is_held(*id, row, hold));
                match self.sessions.contains_key(&hold.session) {
                    true => SessionOutcome::Replaced,
                    false => SessionOutcome::Done,
                }
            }
            SessionChange::Leave(hold) => {
                let row = self.sessions.get_mut(&hold.session);
                if let Some(row) = row.filter(|row| is_held(hold.session, row, hold)) {
                    row.left.get_or_insert(now);
                }
                SessionOutcome::Done
            }
        }
    }

    fn begin(
        &mut self,
        device: DeviceId,
        token: TokenHash,
        sessions_max: u32,
        lifetime_ms: u64,
    ) -> SessionOutcome {
        if self.let_in(device).is_none() {
            return SessionOutcome::Gone;
        }
        let of_device: Vec<_> = self.sessions.iter().filter(|(_, row)| row.device == device).collect();
        let mut parted: Vec<_> = of_device.iter().filter_map(|(id, row)| Some((row.left?, **id))).collect();
        let max = usize::try_from(sessions_max).unwrap_or(usize::MAX);
        if of_device.len() - parted.len() >= max {
            return SessionOutcome::Full;
        }
        let surplus = (of_device.len() + 1).saturating_sub(max);
        parted.sort_unstable();
        for (_, id) in parted.iter().take(surplus) {
            self.sessions.remove(id);
        }
        self.last_session += 1;
        let (id, generation) = (SessionId(self.last_session), 1);
        let row = Row { device, newest: token, resumed: None, generation, lifetime_ms, left: None };
        self.sessions.insert(id, row);
        SessionOutcome::Held(Hold { session: id, generation })
    }

    fn take_up(
        &mut self,
        now: UnixMillis,
        token: TokenHash,
        new: TokenHash,
        lifetime_ms: u64,
    ) -> SessionOutcome {
        let found = self.find(&token, now);
        let Some((id, row)) = found.and_then(|found| Some((found.id, self.sessions.get_mut(&found.id)?)))
        else {
            return SessionOutcome::Gone;
        };
        (row.newest, row.resumed) = (new, Some(token));
        (row.lifetime_ms, row.left) = (lifetime_ms, None);
        row.generation += 1;
        SessionOutcome::Held(Hold { session: id, generation: row.generation })
    }
}

fn is_held(id: SessionId, row: &Row, hold: Hold) -> bool {
    id == hold.session && row.generation == hold.generation
}

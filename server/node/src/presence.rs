//! Presence: who is there, and telling those who share a followed room with them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use hark_protocol::{
    AccountId, AccountName, Correlation, EncodedFrame, Presence, PresenceState, Profile, RoomId,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hub::{ConnectionId, Hub};

/// Rooms looked up at once when an account's co-members are searched.
const ROOMS_PAGE: usize = 500;

/// Who is there. The state of an account is the most present of its visible connections.
#[derive(Debug, Default)]
pub(crate) struct Presences {
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    present: HashMap<AccountId, Present>,
    /// Accounts whose state may differ from what was told.
    unsettled: BTreeSet<AccountId>,
}

#[derive(Debug)]
struct Present {
    name: AccountName,
    connections: HashMap<ConnectionId, PresenceState>,
    told: PresenceState,
}

impl Present {
    fn state(&self) -> PresenceState {
        self.connections.values().copied().max().unwrap_or(PresenceState::OFFLINE)
    }
}

impl Presences {
    /// Notes the state of one visible connection.
    pub(crate) fn set(
        &self,
        (account, name): (AccountId, &AccountName),
        connection: ConnectionId,
        state: PresenceState,
    ) {
        let mut table = self.table.lock();
        let present = table.present.entry(account).or_insert_with(|| Present {
            name: name.clone(),
            connections: HashMap::new(),
            told: PresenceState::OFFLINE,
        });
        present.connections.insert(connection, state);
        self.unsettle(&mut table, account);
    }

    /// Notes that a connection is gone.
    pub(crate) fn remove(&self, account: AccountId, connection: ConnectionId) {
        let mut table = self.table.lock();
        let Some(present) = table.present.get_mut(&account) else { return };
        if present.connections.remove(&connection).is_some() {
            self.unsettle(&mut table, account);
        }
    }

    fn unsettle(&self, table: &mut Table, account: AccountId) {
        table.unsettled.insert(account);
        self.changed.notify_one();
    }

    /// The state of an account.
    pub(crate) fn state(&self, account: AccountId) -> PresenceState {
        self.table.lock().present.get(&account).map_or(PresenceState::OFFLINE, Present::state)
    }

    /// Waits until something may have changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes the accounts whose state differs from what was told, as what is told now. What went back and
    /// forth meanwhile is not in it.
    pub(crate) fn take_changes(&self) -> Vec<Presence> {
        let table = &mut *self.table.lock();
        let mut changes = Vec::new();
        for account in std::mem::take(&mut table.unsettled) {
            let Some(present) = table.present.get_mut(&account) else { continue };
            let state = present.state();
            if present.told != state {
                present.told = state;
                changes.push(Presence { account, name: present.name.clone(), state });
            }
            if present.connections.is_empty() {
                table.present.remove(&account);
            }
        }
        changes
    }
}

impl Hub {
    /// Tells everybody who shares a followed room with the account of its presence.
    pub(crate) async fn tell_presence(&self, presence: Presence) {
        let account = presence.account;
        self.tell_co_members(account, EncodedFrame::new(Correlation::NONE, &presence)).await;
    }

    /// Tells everybody who shares a followed room with the account of its display name.
    pub(crate) async fn tell_profile(&self, profile: Profile) {
        let account = profile.account;
        self.tell_co_members(account, EncodedFrame::new(Correlation::NONE, &profile)).await;
    }

    async fn tell_co_members(&self, account: AccountId, frame: EncodedFrame) {
        // Each once, in the order in which they were found.
        let (mut seen, mut links) = (HashSet::new(), Vec::new());
        let mut after = RoomId(0);
        loop {
            let Ok(page) = self.storage.read(move |reader| reader.rooms_of(account, after, ROOMS_PAGE)).await
            else {
                return; // a signal may be lost
            };
            let Some(last) = page.last() else { break };
            after = *last;
            for room in page {
                let Some(entry) = self.loaded_room(room) else { continue };
                for link in entry.links(|one| one.takes_presence && one.account != account) {
                    if seen.insert(Arc::as_ptr(&link) as usize) {
                        links.push(link);
                    }
                }
            }
        }
        links.into_iter().for_each(|link| link.whisper(frame.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: AccountId = AccountId(1);

    fn set(presences: &Presences, connection: u64, state: PresenceState) {
        let name = AccountName::parse("ann").unwrap();
        presences.set((ANN, &name), ConnectionId(connection), state);
    }

    fn told(presences: &Presences) -> Vec<PresenceState> {
        presences.take_changes().into_iter().map(|change| change.state).collect()
    }

    #[test]
    fn the_most_present_connection_counts() {
        let presences = Presences::default();
        set(&presences, 1, PresenceState::AWAY);
        set(&presences, 2, PresenceState::ONLINE);
        assert_eq!(told(&presences), [PresenceState::ONLINE]);
        presences.remove(ANN, ConnectionId(2));
        assert_eq!(presences.state(ANN), PresenceState::AWAY);
        assert_eq!(told(&presences), [PresenceState::AWAY]);
        presences.remove(ANN, ConnectionId(1));
        assert_eq!(told(&presences), [PresenceState::OFFLINE]);
        assert!(presences.table.lock().present.is_empty());
    }

    #[test]
    fn what_goes_back_and_forth_is_not_told() {
        let presences = Presences::default();
        set(&presences, 1, PresenceState::ONLINE);
        assert_eq!(told(&presences), [PresenceState::ONLINE]);
        presences.remove(ANN, ConnectionId(1));
        set(&presences, 2, PresenceState::ONLINE);
        assert_eq!(told(&presences), []);
    }
}

//! A seat: a logged-in connection's place among its account's, and its hold on a session if it has one.
//!
//! A seat is given up by dropping it, wherever that happens: also where a login was decided for a connection that
//! is gone meanwhile.

use std::sync::Arc;

use hark_core::Refusal;
use hark_core::ports::{Hold, SessionId};
use hark_protocol::AccountId;

use crate::hub::{ConnectionId, Hub};
use crate::link::{Link, Order};
use crate::metrics::RefusedBecause;

/// Where a connection sits.
#[derive(Debug)]
pub(crate) struct Seat {
    hub: Arc<Hub>,
    account: AccountId,
    connection: ConnectionId,
    hold: Option<Hold>,
}

/// The connection that a session has.
#[derive(Debug)]
pub(crate) struct Owner {
    generation: u64,
    connection: ConnectionId,
    link: Arc<Link>,
}

impl Seat {
    /// A place for a connection that takes a session up, or begins one or none. The session's own connection is
    /// about to end, and does not count.
    ///
    /// # Errors
    /// `Limit`, or `AuthFailed` if the account was disabled meanwhile.
    pub(crate) fn take(
        hub: &Arc<Hub>,
        account: AccountId,
        (connection, link): (ConnectionId, &Arc<Link>),
        resumed: Option<SessionId>,
    ) -> Result<Seat, Refusal> {
        let replaces = resumed.is_some_and(|session| hub.owners.lock().contains_key(&session));
        let taken = hub.connect(account, connection, link, usize::from(replaces));
        if let Err(refusal) = taken {
            if matches!(refusal, Refusal::Limit { .. }) {
                hub.metrics.connection_refused(RefusedBecause::ConnectionsPerAccount);
            }
            return Err(refusal);
        }
        Ok(Seat { hub: Arc::clone(hub), account, connection, hold: None })
    }

    /// Notes that the connection holds a session. The one that held it before loses its place at once and is told
    /// to go; if another has taken the session up since, it is this one that is told.
    pub(crate) fn hold(&mut self, hold: Hold, link: &Arc<Link>) {
        self.hold = Some(hold);
        let before = {
            let mut owners = self.hub.owners.lock();
            if owners.get(&hold.session).is_some_and(|owner| owner.generation > hold.generation) {
                drop(owners);
                link.order(Order::SessionReplaced);
                return;
            }
            let owner =
                Owner { generation: hold.generation, connection: self.connection, link: Arc::clone(link) };
            let before = owners.insert(hold.session, owner);
            self.hub.metrics.sessions_connected(owners.len());
            before
        };
        if let Some(before) = before {
            self.hub.metrics.session_replaced();
            self.hub.disconnect(self.account, before.connection);
            before.link.order(Order::SessionReplaced);
        }
    }

    /// What it holds.
    pub(crate) fn held(&self) -> Option<Hold> {
        self.hold
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.disconnect(self.account, self.connection);
        let Some(hold) = self.hold else { return };
        let mut owners = self.hub.owners.lock();
        match owners.get(&hold.session) {
            Some(owner) if owner.generation > hold.generation => return,
            Some(owner) if owner.generation == hold.generation => drop(owners.remove(&hold.session)),
            _ => {}
        }
        self.hub.metrics.sessions_connected(owners.len());
        drop(owners);
        self.hub.sessions.leave(hold);
    }
}

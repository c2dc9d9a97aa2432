//! Admission: how many connections there may be, from one address and in all, with and without a login.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hark_core::{CloseReason, Limits};
use hark_protocol::LimitId;
use parking_lot::Mutex;

use crate::logins::network;
use crate::metrics::RefusedBecause;

/// When somebody who found no room may come again.
const RETRY_AFTER_MS: u32 = 5_000;

/// Counts connections, and says no to one too many.
#[derive(Debug)]
pub(crate) struct Gate {
    connections_max: u32,
    per_address_max: u32,
    strangers_max: u32,
    strangers_per_address_max: u32,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: u32,
    strangers: u32,
    by_address: HashMap<IpAddr, PerAddress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PerAddress {
    connections: u32,
    strangers: u32,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    pub(crate) because: RefusedBecause,
    limit: LimitId,
    value: u32,
}

impl Full {
    /// What the peer is told.
    pub(crate) fn reason(self) -> CloseReason {
        CloseReason::Busy { limit: self.limit, value: self.value.into(), retry_after_ms: RETRY_AFTER_MS }
    }
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Gate {
        Gate {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            strangers_max: limits.unauthenticated_max,
            strangers_per_address_max: limits.unauthenticated_per_address_max,
            counts: Mutex::default(),
        }
    }

    /// Lets a connection in. It counts until what this returns is dropped.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, Full> {
        let address = network(address);
        let mut counts = self.counts.lock();
        let here = counts.by_address.get(&address).copied().unwrap_or_default();
        let checks = [
            (counts.connections, self.connections_max, RefusedBecause::Connections, LimitId::CONNECTIONS),
            (
                here.connections,
                self.per_address_max,
                RefusedBecause::ConnectionsPerAddress,
                LimitId::CONNECTIONS_PER_ADDRESS,
            ),
            (counts.strangers, self.strangers_max, RefusedBecause::Unauthenticated, LimitId::CONNECTIONS),
            (
                here.strangers,
                self.strangers_per_address_max,
                RefusedBecause::UnauthenticatedPerAddress,
                LimitId::CONNECTIONS_PER_ADDRESS,
            ),
        ];
        for (count, value, because, limit) in checks {
            if count >= value {
                return Err(Full { because, limit, value });
            }
        }
        counts.connections += 1;
        counts.strangers += 1;
        let here = counts.by_address.entry(address).or_default();
        here.connections += 1;
        here.strangers += 1;
        drop(counts);
        Ok(Admission { held: Some((Arc::clone(self), address)), is_stranger: true })
    }
}

/// A connection's place. Giving it up is dropping it.
#[derive(Debug)]
pub(crate) struct Admission {
    held: Option<(Arc<Gate>, IpAddr)>,
    is_stranger: bool,
}

impl Admission {
    /// The place of a connection that is only told that there is none.
    pub(crate) fn none() -> Admission {
        Admission { held: None, is_stranger: false }
    }

    /// The peer has said who it is.
    pub(crate) fn logged_in(&mut self) {
        if let Some((gate, address)) = self.held.as_ref().filter(|_| self.is_stranger) {
            let mut counts = gate.counts.lock();
            counts.strangers -= 1;
            if let Some(here) = counts.by_address.get_mut(address) {
                here.strangers -= 1;
            }
        }
        self.is_stranger = false;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.logged_in();
        let Some((gate, address)) = self.held.take() else { return };
        let mut counts = gate.counts.lock();
        counts.connections -= 1;
        if let Some(here) = counts.by_address.get_mut(&address) {
            here.connections -= 1;
            if here.connections == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Arc<Gate> {
        let limits = Limits {
            connections_max: 4,
            connections_per_address_max: 3,
            unauthenticated_max: 3,
            unauthenticated_per_address_max: 2,
            ..Limits::public()
        };
        Arc::new(Gate::new(&limits))
    }

    fn because(result: Result<Admission, Full>) -> Option<RefusedBecause> {
        result.err().map(|full| full.because)
    }

    #[test]
    fn each_limit_has_its_own_no() {
        let (gate, one, other): (_, IpAddr, IpAddr) = (gate(), [127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut first = gate.admit(one).unwrap();
        let mut second = gate.admit(one).unwrap();
        assert_eq!(because(gate.admit(one)), Some(RefusedBecause::UnauthenticatedPerAddress));
        let _third = gate.admit(other).unwrap();
        assert_eq!(because(gate.admit(other)), Some(RefusedBecause::Unauthenticated));
        first.logged_in();
        second.logged_in();
        let _fourth = gate.admit(one).unwrap();
        assert_eq!(because(gate.admit(other)), Some(RefusedBecause::Connections));
        drop(second);
        assert!(gate.admit(other).is_ok());
    }

    #[test]
    fn a_place_that_is_given_up_leaves_nothing_behind() {
        let gate = gate();
        let address = [127, 0, 0, 1].into();
        for logs_in in [false, true] {
            let mut admission = gate.admit(address).unwrap();
            if logs_in {
                admission.logged_in();
            }
            drop(admission);
        }
        let counts = gate.counts.lock();
        assert_eq!((counts.connections, counts.strangers, counts.by_address.len()), (0, 0, 0));
    }
}

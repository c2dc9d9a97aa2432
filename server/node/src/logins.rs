//! Failed logins: how many an account and an address may have before they have to wait.
//!
//! An account is slowed down, never locked: whoever wants to lock somebody out would only have to fail.

use std::collections::HashMap;
use std::net::IpAddr;

use hark_core::Refusal;
use hark_protocol::{AccountName, LimitId};
use parking_lot::Mutex;

/// The span over which failures are counted.
const SPAN_NS: u64 = 10 * 60 * 1_000_000_000;

/// Accounts and addresses that are remembered at most. Past it the ones whose span is over are forgotten, and
/// then everything: a flood of names must not fill the memory.
const REMEMBERED_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Account(AccountName),
    Address(IpAddr),
}

/// Failures since `since_ns`.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since_ns: u64,
}

/// Counts failed logins.
#[derive(Debug)]
pub(crate) struct LoginThrottle {
    per_account: u32,
    per_address: u32,
    failures: Mutex<HashMap<Who, Failures>>,
}

impl LoginThrottle {
    pub(crate) fn new(per_account: u32, per_address: u32) -> LoginThrottle {
        LoginThrottle { per_account, per_address, failures: Mutex::default() }
    }

    /// Whether another try may be made now.
    pub(crate) fn check(&self, name: &AccountName, address: IpAddr, now_ns: u64) -> Result<(), Refusal> {
        let failures = self.failures.lock();
        let waits = [
            (Who::Account(name.clone()), self.per_account),
            (Who::Address(network(address)), self.per_address),
        ]
        .map(|(who, max)| failures.get(&who).map_or((0, max), |one| (one.wait_ns(max, now_ns), max)));
        match waits.into_iter().max() {
            Some((wait_ns @ 1.., max)) => {
                let retry_after_ms = u32::try_from(wait_ns / 1_000_000).unwrap_or(u32::MAX).max(1);
                Err(Refusal::Rate { limit: LimitId::LOGIN_RATE, value: max.into(), retry_after_ms })
            }
            _ => Ok(()),
        }
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, name: &AccountName, address: IpAddr, now_ns: u64) {
        let mut failures = self.failures.lock();
        if failures.len() >= REMEMBERED_MAX {
            failures.retain(|_, one| !one.is_over(now_ns));
            if failures.len() >= REMEMBERED_MAX {
                failures.clear();
            }
        }
        for who in [Who::Account(name.clone()), Who::Address(network(address))] {
            let one = failures.entry(who).or_insert(Failures { count: 0, since_ns: now_ns });
            if one.is_over(now_ns) {
                *one = Failures { count: 0, since_ns: now_ns };
            }
            one.count = one.count.saturating_add(1);
        }
    }

    /// Notes a success: the account's failures were its owner's.
    pub(crate) fn succeeded(&self, name: &AccountName) {
        self.failures.lock().remove(&Who::Account(name.clone()));
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&self, now_ns: u64) {
        self.failures.lock().retain(|_, one| !one.is_over(now_ns));
    }
}

impl Failures {
    fn is_over(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since_ns) >= SPAN_NS
    }

    /// Past the maximum, a try every so often: a second after the first failure too many, twice as long after
    /// each further one, up to a minute.
    fn wait_ns(&self, max: u32, now_ns: u64) -> u64 {
        if self.count < max || self.is_over(now_ns) {
            return 0;
        }
        let doublings = (self.count - max).min(6);
        let pause_ns = (1_000_000_000_u64 << doublings).min(60_000_000_000);
        let allowed_at =
            self.since_ns.saturating_add(pause_ns.saturating_mul(u64::from(self.count - max) + 1));
        allowed_at.saturating_sub(now_ns)
    }
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 customer has.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn name(text: &str) -> AccountName {
        AccountName::parse(text).unwrap()
    }

    #[test]
    fn an_account_is_slowed_down_and_not_locked() {
        let throttle = LoginThrottle::new(2, 100);
        let address: IpAddr = [127, 0, 0, 1].into();
        for _ in 0..2 {
            assert_eq!(throttle.check(&name("ann"), address, 0), Ok(()));
            throttle.failed(&name("ann"), address, 0);
        }
        assert!(matches!(
            throttle.check(&name("ann"), address, 0),
            Err(Refusal::Rate { retry_after_ms: 1_000, .. })
        ));
        assert_eq!(throttle.check(&name("bob"), address, 0), Ok(()));
        assert_eq!(throttle.check(&name("ann"), address, SECOND), Ok(()));
        throttle.succeeded(&name("ann"));
        assert_eq!(throttle.check(&name("ann"), address, 0), Ok(()));
    }

    #[test]
    fn an_address_is_slowed_down_whatever_names_it_tries() {
        let throttle = LoginThrottle::new(100, 3);
        let (bad, good): (IpAddr, IpAddr) = ([127, 0, 0, 2].into(), [127, 0, 0, 1].into());
        for other in ["aa", "bb", "cc"] {
            throttle.failed(&name(other), bad, 0);
        }
        assert!(throttle.check(&name("dd"), bad, 0).is_err());
        assert_eq!(throttle.check(&name("dd"), good, 0), Ok(()));
        throttle.sweep(SPAN_NS);
        assert_eq!(throttle.check(&name("dd"), bad, SPAN_NS), Ok(()));
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let one: IpAddr = "2001:db8:1:2:3::4".parse().unwrap();
        let same: IpAddr = "2001:db8:1:2:ffff::1".parse().unwrap();
        let other: IpAddr = "2001:db8:1:3::1".parse().unwrap();
        assert_eq!(network(one), network(same));
        assert_ne!(network(one), network(other));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}

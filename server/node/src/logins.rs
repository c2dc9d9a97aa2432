//! Failed logins: how many an account and an address may have before they have to wait.
//!
//! An account is slowed down, never locked, and not for those who have logged in from the same place before:
//! whoever wants to lock somebody out would only have to fail. Tokens can not be guessed, so tries with one
//! count for the address alone.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use hark_core::Refusal;
use hark_protocol::{AccountName, LimitId};
use parking_lot::Mutex;

/// After so long without a failure the earlier ones are forgotten.
const SPAN_NS: u64 = 10 * 60 * SECOND_NS;

/// The longest pause between two tries.
const PAUSE_NS_MAX: u64 = 60 * SECOND_NS;

const SECOND_NS: u64 = 1_000_000_000;

/// Entries of one kind that are remembered at most; past it some make way, whichever they are: a flood of
/// names or addresses must not fill the memory.
const REMEMBERED_MAX: usize = 100_000;

/// Counts failed logins.
#[derive(Debug)]
pub(crate) struct LoginThrottle {
    per_account: u32,
    per_address: u32,
    accounts: Mutex<HashMap<AccountName, Failures>>,
    addresses: Mutex<HashMap<IpAddr, Failures>>,
    /// From where accounts have logged in, and when last.
    homes: Mutex<HashMap<(AccountName, IpAddr), u64>>,
}

/// Failures, and when the last of them was.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_ns: u64,
}

impl LoginThrottle {
    pub(crate) fn new(per_account: u32, per_address: u32) -> LoginThrottle {
        LoginThrottle {
            per_account,
            per_address,
            accounts: Mutex::default(),
            addresses: Mutex::default(),
            homes: Mutex::default(),
        }
    }

    /// Whether the address may try something now.
    pub(crate) fn check_address(&self, address: IpAddr, now_ns: u64) -> Result<(), Refusal> {
        check(self.addresses.lock().get(&network(address)), self.per_address, now_ns)
    }

    /// Whether the account's password may be tried from that address now.
    pub(crate) fn check_account(
        &self,
        name: &AccountName,
        address: IpAddr,
        now_ns: u64,
    ) -> Result<(), Refusal> {
        if self.homes.lock().contains_key(&(name.clone(), network(address))) {
            return Ok(());
        }
        check(self.accounts.lock().get(name), self.per_account, now_ns)
    }

    /// Notes something of which an address may do only so much: a failure, or an account made.
    pub(crate) fn charge_address(&self, address: IpAddr, now_ns: u64) {
        charge(&mut self.addresses.lock(), network(address), now_ns);
    }

    /// Notes a wrong password.
    pub(crate) fn charge_account(&self, name: &AccountName, now_ns: u64) {
        charge(&mut self.accounts.lock(), name.clone(), now_ns);
    }

    /// Notes a success: the address is one of the account's own.
    pub(crate) fn succeeded(&self, name: &AccountName, address: IpAddr, now_ns: u64) {
        let mut homes = self.homes.lock();
        make_way(&mut homes, |_| true);
        homes.insert((name.clone(), network(address)), now_ns);
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&self, now_ns: u64) {
        self.accounts.lock().retain(|_, one| !one.is_over(now_ns));
        self.addresses.lock().retain(|_, one| !one.is_over(now_ns));
    }
}

impl Failures {
    fn is_over(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_ns) >= SPAN_NS
    }

    /// Past the maximum there is a pause after each failure: a second, and twice as long after each further
    /// one, up to a minute.
    fn wait_ns(&self, max: u32, now_ns: u64) -> u64 {
        if self.count < max || self.is_over(now_ns) {
            return 0;
        }
        let pause_ns = (SECOND_NS << (self.count - max).min(6)).min(PAUSE_NS_MAX);
        self.last_ns.saturating_add(pause_ns).saturating_sub(now_ns)
    }
}

fn check(failures: Option<&Failures>, max: u32, now_ns: u64) -> Result<(), Refusal> {
    match failures.map_or(0, |one| one.wait_ns(max, now_ns)) {
        0 => Ok(()),
        wait_ns => {
            let retry_after_ms = u32::try_from(wait_ns.div_ceil(1_000_000)).unwrap_or(u32::MAX);
            Err(Refusal::Rate { limit: LimitId::LOGIN_RATE, value: max.into(), retry_after_ms })
        }
    }
}

fn charge<K: Eq + Hash>(failures: &mut HashMap<K, Failures>, who: K, now_ns: u64) {
    make_way(failures, |one| !one.is_over(now_ns));
    let one = failures.entry(who).or_insert(Failures { count: 0, last_ns: now_ns });
    one.count = if one.is_over(now_ns) { 1 } else { one.count.saturating_add(1) };
    one.last_ns = now_ns;
}

/// Makes room for one more entry: first by what needs no remembering, then by a part of the rest.
fn make_way<K, V>(map: &mut HashMap<K, V>, mut is_needed: impl FnMut(&V) -> bool) {
    if map.len() < REMEMBERED_MAX {
        return;
    }
    let mut number = 0_usize;
    map.retain(|_, value| {
        number += 1;
        is_needed(value) && !number.is_multiple_of(16)
    });
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

    fn name(text: &str) -> AccountName {
        AccountName::parse(text).unwrap()
    }

    fn retry_after_ms(result: Result<(), Refusal>) -> u32 {
        result.err().map_or(0, |refusal| refusal.retry_after_ms())
    }

    #[test]
    fn an_account_is_slowed_down_up_to_a_minute_and_never_locked() {
        let throttle = LoginThrottle::new(2, 100);
        let (ann, address): (_, IpAddr) = (name("ann"), [127, 0, 0, 1].into());
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..11 {
            let wait = retry_after_ms(throttle.check_account(&ann, address, now));
            pauses.push(wait);
            now += u64::from(wait) * 1_000_000;
            assert_eq!(throttle.check_account(&ann, address, now), Ok(()));
            throttle.charge_account(&ann, now);
        }
        assert_eq!(pauses, [0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(throttle.check_account(&name("bob"), address, now), Ok(()));
        assert_eq!(throttle.check_account(&ann, address, now + SPAN_NS), Ok(()));
    }

    #[test]
    fn others_failures_do_not_keep_an_account_out_of_its_own_place() {
        let throttle = LoginThrottle::new(1, 100);
        let (ann, home, far): (_, IpAddr, IpAddr) =
            (name("ann"), [127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        throttle.succeeded(&ann, home, 0);
        for _ in 0..10 {
            throttle.charge_account(&ann, 0);
        }
        assert!(throttle.check_account(&ann, far, 0).is_err());
        assert_eq!(throttle.check_account(&ann, home, 0), Ok(()));
    }

    #[test]
    fn an_address_is_slowed_down_whatever_it_tries() {
        let throttle = LoginThrottle::new(100, 3);
        let (bad, good): (IpAddr, IpAddr) = ([127, 0, 0, 2].into(), [127, 0, 0, 1].into());
        for _ in 0..3 {
            throttle.charge_address(bad, 0);
        }
        assert!(throttle.check_address(bad, 0).is_err());
        assert_eq!(throttle.check_address(good, 0), Ok(()));
        throttle.sweep(SPAN_NS);
        assert_eq!(throttle.check_address(bad, SPAN_NS), Ok(()));
    }

    #[test]
    fn a_flood_of_addresses_does_not_fill_the_memory() {
        let throttle = LoginThrottle::new(1, 1);
        for number in 0..REMEMBERED_MAX as u32 + 10 {
            throttle.charge_address(IpAddr::from(number.to_be_bytes()), 0);
        }
        let remembered = throttle.addresses.lock().len();
        assert!((REMEMBERED_MAX / 2..=REMEMBERED_MAX).contains(&remembered), "{remembered}");
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

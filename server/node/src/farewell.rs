//! The farewell: at a shutdown, when each connection is told to go, and when it is told to come back.
//!
//! A thousand clients that are told at once come back at once, and log in at once. So they are told one after the
//! other, over a time that grows with their number, and each is given a time of its own to come back.

use std::time::Duration;

/// How much later one connection is told than the one before.
const STEP: Duration = Duration::from_millis(2);

/// Over how long the returns of so many connections are spread: a hundred a second, but a second at least.
const RETURN_STEP: Duration = Duration::from_millis(10);
const RETURNS_MIN: Duration = Duration::from_secs(1);
/// Nobody waits for longer than this because of others.
const RETURNS_MAX: Duration = Duration::from_secs(60);

/// What one connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// When, counted from the beginning of the shutdown.
    pub(crate) after: Duration,
    /// How many milliseconds later it is to come back.
    pub(crate) reconnect_after_ms: u32,
}

/// The farewells of so many connections, in the order in which they are told. They take `spread_max` at most, and
/// leave half of the grace time to what has been begun. `chance` gives random numbers.
pub(crate) fn plan(
    connections: usize,
    grace: Duration,
    spread_max: Duration,
    mut chance: impl FnMut() -> u64,
) -> Vec<Farewell> {
    let count = u32::try_from(connections).unwrap_or(u32::MAX).max(1);
    let spread = STEP.saturating_mul(count - 1).min(spread_max).min(grace / 2);
    let returns = RETURN_STEP.saturating_mul(count).clamp(RETURNS_MIN, RETURNS_MAX);
    // Each has a slot of its own and a random place in it: as even as can be, and no two servers alike.
    let place = |number: u32, width: Duration, count: u32, chance: u64| {
        let slots = f64::from(number) + (chance >> 11) as f64 / (1_u64 << 53) as f64;
        width.mul_f64(slots / f64::from(count))
    };
    (0..count.min(u32::try_from(connections).unwrap_or(u32::MAX)))
        .map(|number| {
            let after = place(number, spread, count, 0);
            let at = spread + place(number, returns, count, chance());
            let reconnect_after_ms = u32::try_from((at - after).as_millis()).unwrap_or(u32::MAX);
            Farewell { after, reconnect_after_ms }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn dice() -> impl FnMut() -> u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    #[test]
    fn a_few_are_told_at_once_and_a_thousand_over_two_seconds() {
        let last = |count, grace, spread_max| {
            plan(count, grace, spread_max, dice()).last().map_or(Duration::ZERO, |one| one.after)
        };
        assert_eq!(last(0, seconds(10), seconds(5)), Duration::ZERO);
        assert_eq!(last(1, seconds(10), seconds(5)), Duration::ZERO);
        assert!(last(3, seconds(10), seconds(5)) < Duration::from_millis(5));
        let thousand = last(1_000, seconds(10), seconds(5));
        assert!((Duration::from_millis(1_900)..seconds(2)).contains(&thousand), "{thousand:?}");
        assert!(last(100_000, seconds(60), seconds(5)) < seconds(5), "the operator's window");
        assert!(last(100_000, seconds(4), seconds(5)) < seconds(2), "half of the grace time");
        assert_eq!(last(1_000, Duration::ZERO, seconds(5)), Duration::ZERO);
    }

    #[test]
    fn returns_are_spread_evenly_behind_the_last_farewell() {
        let farewells = plan(1_000, seconds(10), seconds(5), dice());
        assert!(farewells.is_sorted_by_key(|one| one.after));
        let told = farewells.last().unwrap().after;
        let mut each_second = [0; 14];
        for one in &farewells {
            let at = one.after + Duration::from_millis(one.reconnect_after_ms.into());
            assert!(at >= told - Duration::from_millis(1), "nobody comes back before all are told");
            each_second[usize::try_from(at.as_secs()).unwrap()] += 1;
        }
        assert!(each_second.iter().all(|count| *count <= 101), "{each_second:?}");
        assert_eq!(each_second.iter().sum::<i32>(), 1_000);
        let few = plan(3, seconds(10), seconds(5), dice());
        assert!(few.iter().all(|one| one.reconnect_after_ms <= 1_010), "{few:?}");
    }
}

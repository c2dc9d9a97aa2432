//! Epochs: how a log that is no longer the continuation of itself is told from what it was.

use hark_protocol::{Epoch, UnixMillis};

/// How many values of an epoch fall into one millisecond, less than 65.536 and so without overlap.
const PER_MS: u64 = 65;

/// An epoch for a log that begins at `now`, greater than `above` and never 0. It counts 65,536ths of a second since
/// 1970 with chance in the last bits: whoever makes the next one a millisecond later makes a greater one, also
/// where two logs go on from one backup and know nothing of each other. It stays below 2^53 until the year 6325, so
/// that programs whose only numbers are floating can carry it.
///
/// Where the clock has gone back behind `above`, the epoch is a little greater than that; it stops at the largest
/// number there is.
pub fn next_epoch(now: UnixMillis, chance: u64, above: Epoch) -> Epoch {
    // 8,192 / 125 = 65,536 / 1,000.
    let by_clock = u128::from(now.0) * 8_192 / 125 + u128::from(chance % PER_MS);
    let by_clock = u64::try_from(by_clock).unwrap_or(u64::MAX);
    let above = above.0.saturating_add(1);
    Epoch(if by_clock >= above { by_clock.max(1) } else { above.saturating_add(chance % PER_MS) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The 20th of November 2026.
    const NOW: u64 = 1_795_190_400_000;

    #[test]
    fn an_epoch_fits_a_floating_number() {
        assert!(next_epoch(UnixMillis(NOW), u64::MAX, Epoch(0)).0 < 1 << 47);
        assert_eq!(next_epoch(UnixMillis(0), 0, Epoch(0)), Epoch(1));
    }

    #[test]
    fn a_clock_that_went_back_makes_no_lesser_epoch() {
        let before = next_epoch(UnixMillis(NOW), 1, Epoch(0));
        let after = next_epoch(UnixMillis(5), 64, before);
        assert_eq!(after, Epoch(before.0 + 65));
        assert_eq!(next_epoch(UnixMillis(5), 64, Epoch(u64::MAX)), Epoch(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_later_epoch_is_greater(now in 0..u64::MAX / 8_192, chances: (u64, u64), above: u32) {
            let first = next_epoch(UnixMillis(now), chances.0, Epoch(above.into()));
            let second = next_epoch(UnixMillis(now + 1), chances.1, Epoch(above.into()));
            prop_assert!(first > Epoch(above.into()));
            // Without a clock worth the name it is chance that tells them apart.
            prop_assert!(second > first || first.0 <= u64::from(above) + PER_MS);
        }
    }
}

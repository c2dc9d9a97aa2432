//! A rate with a burst, in one number: the generic cell rate algorithm (ITU-T I.371).

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Times a second; 0 = without limit.
    pub per_second: u32,
    /// Times above the rate that may come at once.
    pub burst: u32,
}

impl Rate {
    fn interval_ns(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second.max(1))
    }
}

/// What has been used of a [`Rate`]. Times are nanoseconds since any fixed moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// When the next one would be due, were they evenly spaced.
    due_ns: u64,
}

impl Bucket {
    /// Takes one at `now_ns`, or says in how many nanoseconds one can be had.
    ///
    /// # Errors
    /// The nanoseconds to wait; nothing was taken.
    pub fn take(&mut self, rate: Rate, now_ns: u64) -> Result<(), u64> {
        self.reserve(rate, now_ns, 0).map(|_| ())
    }

    /// Takes one that can be had within `wait_max_ns`, and says in how many nanoseconds. It is taken now: who
    /// comes next waits behind it.
    ///
    /// # Errors
    /// The nanoseconds to wait, which are too many; nothing was taken.
    pub fn reserve(&mut self, rate: Rate, now_ns: u64, wait_max_ns: u64) -> Result<u64, u64> {
        if rate.per_second == 0 {
            return Ok(0);
        }
        let due = self.due_ns.max(now_ns);
        let tolerance = rate.interval_ns().saturating_mul(u64::from(rate.burst));
        let wait = due.saturating_sub(now_ns.saturating_add(tolerance));
        if wait > wait_max_ns {
            return Err(wait);
        }
        self.due_ns = due.saturating_add(rate.interval_ns());
        Ok(wait)
    }

    /// Whether nothing is in use at `now_ns`, so that forgetting the bucket changes nothing.
    pub fn is_idle(&self, now_ns: u64) -> bool {
        self.due_ns <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };
    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::default();
        for _ in 0..4 {
            assert_eq!(bucket.take(RATE, 0), Ok(()));
        }
        assert_eq!(bucket.take(RATE, 0), Err(100 * MS));
        assert_eq!(bucket.take(RATE, 99 * MS), Err(MS));
        assert_eq!(bucket.take(RATE, 100 * MS), Ok(()));
        assert_eq!(bucket.take(RATE, 100 * MS), Err(100 * MS));
    }

    #[test]
    fn who_reserves_waits_behind_those_before() {
        let mut bucket = Bucket::default();
        let waits = [0, 0, 0, 0, 100 * MS, 200 * MS];
        for wait in waits {
            assert_eq!(bucket.reserve(RATE, 0, 250 * MS), Ok(wait));
        }
        assert_eq!(bucket.reserve(RATE, 0, 250 * MS), Err(300 * MS));
        assert_eq!(bucket.reserve(RATE, 50 * MS, 250 * MS), Ok(250 * MS));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::default();
        let unlimited = Rate { per_second: 0, burst: 0 };
        assert!((0..1_000).all(|_| bucket.take(unlimited, 0) == Ok(())));
        assert!(bucket.is_idle(0));
    }
}

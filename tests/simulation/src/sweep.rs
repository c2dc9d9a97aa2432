//! Many seeds, on as many threads as there are cores, and what they show together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::fault::Fault;
use crate::run::{Outcome, Variation, run};

/// What many seeds show together.
#[derive(Debug, Default)]
pub struct Swept {
    /// Runs.
    pub runs: usize,
    /// Those in which something is wrong, in the order of their seeds.
    pub bad: Vec<Outcome>,
    /// Publishes that were acknowledged.
    pub acks: usize,
    /// Publishes of which the author never learned what became.
    pub unknown: usize,
    /// Events that readers were shown.
    pub deliveries: usize,
    /// Logins that took up a session.
    pub resumed: u64,
    /// Faults that had an effect, by kind.
    pub faults: BTreeMap<String, usize>,
}

impl Swept {
    fn add(&mut self, outcome: Outcome) {
        let totals = &outcome.report.totals;
        self.runs += 1;
        self.acks += totals.acks;
        self.unknown += totals.unknown;
        self.deliveries += totals.deliveries;
        self.resumed += outcome.resumed;
        for (kind, count) in &totals.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        if !outcome.is_good() {
            self.bad.push(outcome);
        }
    }

    /// What so many runs show too little of: a thousand acknowledgements, ten effective faults of each kind and an
    /// unknown outcome, or nothing is proved.
    pub fn vacuous(&self) -> Vec<String> {
        let count = |kind: &&str| self.faults.get(*kind).copied().unwrap_or(0);
        let rare = Fault::KINDS.iter().filter(|kind| count(kind) < 10);
        let mut reasons: Vec<String> =
            rare.map(|kind| format!("{kind} took effect {} times", count(kind))).collect();
        if self.acks < 1_000 {
            reasons.push(format!("{} publishes were acknowledged", self.acks));
        }
        if self.resumed < 100 {
            reasons.push(format!("{} logins took up a session", self.resumed));
        }
        if self.unknown == 0 {
            reasons.push("no publish has an unknown outcome".into());
        }
        reasons
    }
}

/// Runs these seeds on `jobs` threads, and shows each outcome to `each` as it comes.
pub fn sweep(seeds: &[u64], jobs: usize, variation: Variation, each: impl Fn(&Outcome) + Sync) -> Swept {
    let (next, swept) = (AtomicUsize::new(0), Mutex::new(Swept::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(*seed, variation);
                    each(&outcome);
                    swept.lock().add(outcome);
                }
            });
        }
    });
    let mut swept = swept.into_inner();
    swept.bad.sort_by_key(|outcome| outcome.seed);
    swept
}

/// Seeds that have failed once, the oldest first: a number at the beginning of each line.
pub fn kept() -> Vec<u64> {
    let numbers = KEPT.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    numbers.collect()
}

const KEPT: &str = include_str!("../kept-seeds.txt");

/// As many threads as there are cores.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

//! The promise under simulated faults, the proof that a seed is one trace, and the proof that the rig bites.

mod bites;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use hark_simulation::sweep::{cores, kept, sweep};
use hark_simulation::{Variation, difference, run};

/// Seeds of a run: `HARK_TEST_SEEDS`.
fn seeds() -> u64 {
    number("HARK_TEST_SEEDS", 200)
}

/// The first of them, for a night that goes on where the last one ended: `HARK_TEST_SEEDS_FROM`.
fn first() -> u64 {
    number("HARK_TEST_SEEDS_FROM", 1)
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}"))
}

#[test]
fn nothing_is_lost_doubled_reordered_or_stuck_under_any_seed() {
    let begun = Instant::now();
    let mut all = kept();
    all.extend(first()..first() + seeds());
    let swept = sweep(&all, cores(), Variation::default(), |_| {});
    println!(
        "{} runs in {:?}: {} acknowledged, {} unknown, {} deliveries, {} resumed, faults {:?}",
        swept.runs,
        begun.elapsed(),
        swept.acks,
        swept.unknown,
        swept.deliveries,
        swept.resumed,
        swept.faults
    );
    for outcome in swept.bad.iter().take(3) {
        println!("cargo run -p hark-simulation -- --seed {} --trace", outcome.seed);
        println!("{:?}\n{:?}\n{}", outcome.names(), outcome.findings, outcome.report);
    }
    let bad: Vec<u64> = swept.bad.iter().map(|outcome| outcome.seed).collect();
    assert!(bad.is_empty(), "bad seeds, to be kept in tests/simulation/kept-seeds.txt: {bad:?}");
    assert_eq!(swept.vacuous(), Vec::<String>::new(), "the seeds show too little");
}

#[test]
fn a_seed_is_one_trace() {
    let seeds: Vec<u64> = (first()..first() + seeds().div_ceil(20)).collect();
    // First side by side, then one after another: nothing of the process may show in a trace.
    let traces = Mutex::new(BTreeMap::new());
    sweep(&seeds, cores(), Variation::default(), |outcome| {
        traces.lock().expect("nobody panicked").insert(outcome.seed, outcome.trace.digest());
    });
    let traces = traces.into_inner().expect("nobody panicked");
    for seed in seeds {
        let again = run(seed, Variation::default()).trace.digest();
        let words = || difference(seed, Variation::default()).unwrap_or_else(|| "a place unknown".into());
        assert_eq!(traces[&seed], again, "two runs of seed {seed} part at {}", words());
    }
}

#[test]
fn seeds_differ() {
    let digest = |seed| run(seed, Variation::default()).trace.digest();
    assert_ne!(digest(1), digest(2));
}

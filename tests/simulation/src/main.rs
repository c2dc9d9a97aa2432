//! Runs seeds and says which of them show something wrong.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use hark_simulation::{Outcome, Variation, bug, run, sweep};

/// Runs simulated servers and clients, one seed after another. The seeds that failed before come first.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One seed alone, with all that can be said about it.
    #[arg(long)]
    seed: Option<u64>,
    /// With `--seed`: prints every line of the trace.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Runs each seed twice and compares the traces.
    #[arg(long)]
    twice: bool,
    /// Plants an error, to see whether it is named.
    #[arg(long, value_parser = bug::by_name)]
    bug: Option<bug::Bug>,
    /// Threads; as many as there are cores unless told otherwise.
    #[arg(long)]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let variation = Variation { bug: arguments.bug, keep_trace: arguments.trace };
    let is_good = match arguments.seed {
        Some(seed) => one(seed, variation),
        None if arguments.twice => twice(&arguments, variation),
        None => many(&arguments, variation),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, variation: Variation) -> bool {
    let outcome = run(seed, variation);
    outcome.trace.lines().iter().for_each(|line| println!("{line}"));
    show(&outcome);
    outcome.is_good()
}

fn show(outcome: &Outcome) {
    let (hash, lines) = outcome.trace.digest();
    println!(
        "seed {}: {:?}, {:?} of virtual time, trace {hash:016x} of {lines} lines",
        outcome.seed,
        outcome.names(),
        outcome.elapsed
    );
    outcome.findings.iter().for_each(|finding| println!("  {finding}"));
    println!("{}", outcome.report);
}

fn many(arguments: &Arguments, variation: Variation) -> bool {
    let begun = Instant::now();
    let range = arguments.from..arguments.from + arguments.seeds;
    let mut seeds: Vec<u64> = sweep::kept();
    seeds.extend(range);
    let jobs = arguments.jobs.unwrap_or_else(sweep::cores);
    let swept = sweep::sweep(&seeds, jobs, variation, |outcome| {
        if !outcome.is_good() {
            println!("seed {}: {:?}", outcome.seed, outcome.names());
        }
    });
    for outcome in swept.bad.iter().take(5) {
        show(outcome);
        println!("again: cargo run -p hark-simulation -- --seed {} --trace", outcome.seed);
    }
    println!(
        "{} runs in {:?}: {} bad, {} acknowledged, {} unknown, {} deliveries, {} resumed, faults {:?}",
        swept.runs,
        begun.elapsed(),
        swept.bad.len(),
        swept.acks,
        swept.unknown,
        swept.deliveries,
        swept.resumed,
        swept.faults
    );
    let bad: Vec<u64> = swept.bad.iter().map(|outcome| outcome.seed).collect();
    if !bad.is_empty() {
        println!("bad seeds, to be kept in tests/simulation/kept-seeds.txt: {bad:?}");
    }
    let vacuous = swept.vacuous();
    vacuous.iter().for_each(|reason| println!("shows too little: {reason}"));
    bad.is_empty() && (vacuous.is_empty() || arguments.seeds < 200)
}

fn twice(arguments: &Arguments, variation: Variation) -> bool {
    let differ: Vec<u64> = (arguments.from..arguments.from + arguments.seeds)
        .filter(|seed| {
            let difference = hark_simulation::difference(*seed, variation);
            difference.iter().for_each(|words| println!("seed {seed}: {words}"));
            difference.is_some()
        })
        .collect();
    println!("{} seeds twice: {} have two traces", arguments.seeds, differ.len());
    differ.is_empty()
}

//! The torture rig as a program: so many kills, a seed, a verdict.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hark_torture::Trouble;
use hark_torture::mode::{self, Amount};
use hark_torture::recorder::save;
use hark_torture::torture::{MESSAGES, Outcome, Plan, torture};
use hark_torture::world::no_disk;

const HELP: &str = "\
Usage: tests/torture/run [--cycles N] [--messages N] [--seed S] [--minutes M] [--keep FOLDER] [--mode MODE [--count N]]

Kills real servers behind a proxy that breaks things, and has what their clients saw judged.
  --cycles   kills (25); more than 50 are made in rounds, each with a server and a history of its own
  --messages that authors may publish around each kill (500)
  --seed     the schedule of faults (from the clock); a round adds its number to it
  --minutes  goes on with new rounds until so much time has passed
  --keep     where the folders of rounds that fail are kept (target/torture)
  --mode     measures one thing instead:
               cuts         --count connections cut (10000); everybody goes on where they were
               slow-reader  --count messages (100000) past a reader that takes none
               recovery     --count messages stored (1000000), kill -9, time to the first acknowledgement
               drain        --count clients (1000) over a restart in good order
               soak         --minutes of an even load and a fault every half minute; nothing grows

Exit code: 0 nothing was lost, doubled, reordered or invented; 1 something was, or too little happened; 2 usage.";

/// Kills of one round: its history is held in memory.
const ROUND: usize = 50;

struct Order {
    cycles: usize,
    seed: u64,
    minutes: u64,
    keep: PathBuf,
    mode: Option<String>,
    count: Option<usize>,
    messages: usize,
}

fn main() -> ExitCode {
    let order = match Order::parse(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    if let Some(reason) = no_disk() {
        println!("skipped: {reason}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Trouble::from).and_then(|runtime| runtime.block_on(go(&order))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(trouble) => {
            eprintln!("torture: {trouble}");
            ExitCode::FAILURE
        }
    }
}

impl Order {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Order, String> {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |it| it.as_secs());
        let mut order = Order {
            cycles: 25,
            seed: now,
            minutes: 0,
            keep: PathBuf::from("target/torture"),
            mode: None,
            count: None,
            messages: MESSAGES,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(HELP)?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} takes a number, not {value:?}"));
            match word.as_str() {
                "--cycles" => order.cycles = usize::try_from(number()?).unwrap_or(usize::MAX),
                "--messages" => order.messages = usize::try_from(number()?).unwrap_or(MESSAGES),
                "--seed" => order.seed = number()?,
                "--minutes" => order.minutes = number()?,
                "--mode" => order.mode = Some(value),
                "--count" => order.count = usize::try_from(number()?).ok(),
                "--keep" => order.keep = PathBuf::from(&value),
                _ => return Err(HELP.to_owned()),
            }
        }
        Ok(order)
    }
}

async fn go(order: &Order) -> Result<bool, Trouble> {
    let Some(name) = &order.mode else { return rounds(order).await };
    let folder = tempfile::Builder::new().prefix("hark-torture-").tempdir()?.keep();
    let amount = Amount { count: order.count, minutes: order.minutes, seed: order.seed };
    let measured = mode::run(name, amount, &folder).await;
    let good = measured.as_ref().is_ok_and(|measured| measured.good);
    if good {
        std::fs::remove_dir_all(&folder)?;
    } else {
        println!("{name} FAILED with seed {}; its folder is {}", order.seed, folder.display());
    }
    let measured = measured?;
    let verdict = if good { "good" } else { "bad" };
    let (mode, seed) = (name, order.seed);
    let figures = measured.figures;
    println!("{}", serde_json::json!({ "mode": mode, "verdict": verdict, "seed": seed, "figures": figures }));
    println!("{verdict}: {}", measured.line);
    Ok(good)
}

/// What all rounds together were.
#[derive(Default)]
struct Sum {
    rounds: usize,
    kills: usize,
    full_kills: usize,
    kills_before_ack: usize,
    acks: usize,
    deliveries: usize,
    unknown: usize,
    faults: std::collections::BTreeMap<String, usize>,
}

async fn rounds(order: &Order) -> Result<bool, Trouble> {
    let begun = Instant::now();
    let mut sum = Sum::default();
    let mut good = true;
    while good && (sum.kills < order.cycles || begun.elapsed() < Duration::from_secs(60 * order.minutes)) {
        let seed = order.seed + sum.rounds as u64;
        let left = order.cycles.saturating_sub(sum.kills);
        let kills = if left == 0 { ROUND } else { left.min(ROUND) };
        good = round((kills, order.messages), seed, &order.keep, &mut sum).await?;
    }
    let Sum { rounds, kills, full_kills, kills_before_ack, acks, deliveries, unknown, faults } = sum;
    let seconds = begun.elapsed().as_secs_f64();
    let verdict = if good { "good" } else { "bad" };
    println!(
        "{}",
        serde_json::json!({
            "verdict": verdict, "seed": order.seed, "rounds": rounds, "kills": kills,
            "kills_with_50_in_flight": full_kills, "kills_before_ack": kills_before_ack, "acked": acks,
            "delivered": deliveries, "unknown": unknown, "faults": faults, "seconds": seconds,
        })
    );
    println!(
        "{verdict}: {kills} kills ({full_kills} with 50 publishes in flight, {kills_before_ack} between commit and \
         acknowledgement), {acks} acknowledged, {unknown} unknown, {deliveries} deliveries in {seconds:.0} s"
    );
    Ok(good)
}

async fn round(
    (kills, messages): (usize, usize),
    seed: u64,
    keep: &Path,
    sum: &mut Sum,
) -> Result<bool, Trouble> {
    let folder = tempfile::Builder::new().prefix("hark-torture-").tempdir()?.keep();
    let plan = Plan { messages, ..Plan::new(kills, seed, folder.clone()) };
    let outcome = torture(plan).await;
    let good = outcome.as_ref().is_ok_and(Outcome::is_good);
    sum.rounds += 1;
    match &outcome {
        Ok(outcome) => {
            println!("seed {seed}: {}", outcome.report);
            let spent =
                outcome.spent.iter().map(|(fault, it)| format!("{} {:.1} s", fault.name(), it.as_secs_f64()));
            println!("took {:.1} s: {}", outcome.took.as_secs_f64(), spent.collect::<Vec<_>>().join(", "));
            let totals = &outcome.report.totals;
            sum.kills += outcome.kills;
            sum.full_kills += outcome.full_kills;
            sum.kills_before_ack += outcome.kills_before_ack;
            (sum.acks, sum.deliveries) = (sum.acks + totals.acks, sum.deliveries + totals.deliveries);
            sum.unknown += totals.unknown;
            for (kind, count) in &totals.faults {
                *sum.faults.entry(kind.clone()).or_default() += count;
            }
        }
        Err(trouble) => println!("seed {seed}: the rig could not go on: {trouble}"),
    }
    if good {
        std::fs::remove_dir_all(&folder)?;
    } else {
        let kept = keep_folder(&folder, keep, seed, outcome.ok())?;
        println!(
            "seed {seed} FAILED; replay with: tests/torture/run --cycles {kills} --messages {messages} --seed {seed}"
        );
        println!("its folder is {}", kept.display());
    }
    Ok(good)
}

/// Moves what a round has left to where it is looked for, with its history.
fn keep_folder(folder: &Path, keep: &Path, seed: u64, outcome: Option<Outcome>) -> Result<PathBuf, Trouble> {
    if let Some(outcome) = outcome {
        save(&outcome.records, &folder.join("history.jsonl"))?;
    }
    std::fs::create_dir_all(keep)?;
    let kept = keep.join(format!("seed-{seed}"));
    let _ = std::fs::remove_dir_all(&kept);
    // Another file system cannot be moved to; then it stays where it is.
    if std::fs::rename(folder, &kept).is_ok() { Ok(kept) } else { Ok(folder.to_owned()) }
}

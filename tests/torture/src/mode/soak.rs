//! An even load for a long time, with a fault every half minute: memory and descriptors stay where they are.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::fleet::percentile;
use super::{Amount, Measured};
use crate::Trouble;
use crate::fault::Fault;
use crate::torture::{Plan, Run, judge};

/// Messages a second: far from what the machine can do, so that half of it stays free.
const A_SECOND: usize = 50;
/// Between faults.
const FAULT_EVERY: Duration = Duration::from_secs(30);
/// Between looks at memory and descriptors.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// By so much the median of the last quarter may be above that of the second.
const GROWTH_MAX: i64 = 16 * 1024 * 1024;
const DESCRIPTORS_MAX: i64 = 8;

/// Faults that leave the process alive: a killed one begins anew, and hides what it has gathered.
const FAULTS: [Fault; 8] = [
    Fault::Cut,
    Fault::CutBeforeAck,
    Fault::HalfOpen,
    Fault::Dribble,
    Fault::Stall,
    Fault::Delay,
    Fault::Pause,
    Fault::Descriptors,
];

pub(super) async fn run(amount: Amount, folder: &Path) -> Result<Measured, Trouble> {
    // No author dies here: each learns at last what became of its messages.
    let plan = Plan {
        faults: FAULTS.to_vec(),
        of_each: 0,
        unknown: 0,
        ..Plan::new(0, amount.seed, folder.to_owned())
    };
    let mut run = Run::start(plan).await?;
    let (begun, mut struck, mut looked) = (Instant::now(), Instant::now(), Instant::now());
    let length = Duration::from_secs(60 * amount.minutes.max(1));
    let (mut memory, mut descriptors, mut faults) = (Vec::new(), Vec::new(), 0);
    while begun.elapsed() < length {
        run.add(A_SECOND / 10);
        sleep(Duration::from_millis(100)).await;
        if looked.elapsed() >= LOOK_EVERY {
            memory.push(run.world.memory()?);
            descriptors.push(run.world.descriptors()? as u64);
            looked = Instant::now();
        }
        if struck.elapsed() >= FAULT_EVERY {
            let fault = FAULTS[faults % FAULTS.len()];
            run.strike(fault).await?;
            faults += 1;
            struck = Instant::now();
        }
    }
    run.settle().await?;
    let (report, valid) = judge(run, folder).await?;
    let (memory, descriptors) = (quarters(&memory), quarters(&descriptors));
    let growth = memory.1 - memory.0;
    let more = descriptors.1 - descriptors.0;
    let good = valid && growth <= GROWTH_MAX && more <= DESCRIPTORS_MAX;
    let mib = |bytes: i64| bytes as f64 / 1024.0 / 1024.0;
    let line = format!(
        "{} minutes at {A_SECOND} messages/s, {faults} faults: memory {:.1} MiB in the second quarter and {:.1} MiB in \
         the last, descriptors {} and {}; {report}",
        amount.minutes,
        mib(memory.0),
        mib(memory.1),
        descriptors.0,
        descriptors.1
    );
    let figures = json!({
        "minutes": amount.minutes, "faults": faults, "memory_mib": [mib(memory.0), mib(memory.1)],
        "descriptors": [descriptors.0, descriptors.1], "acked": report.totals.acks,
    });
    Ok(Measured { good, figures, line })
}

/// The medians of the second quarter and of the last.
fn quarters(values: &[u64]) -> (i64, i64) {
    let quarter = values.len() / 4;
    let median = |from: usize, to: usize| percentile(&mut values[from..to].to_vec(), 50).cast_signed();
    (median(quarter, 2 * quarter), median(values.len() - quarter, values.len()))
}

//! Connections cut at random bytes, thousands of them: every reader goes on exactly behind what it has (I10).

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::{Amount, Measured};
use crate::Trouble;
use crate::fault::Fault;
use crate::proxy::{End, Flow};
use crate::torture::{Plan, Run, judge};

/// Cuts, unless told otherwise.
const CUTS: usize = 10_000;

/// Messages that authors may publish between cuts of all connections.
const MESSAGES: usize = 60;

/// How many bytes may pass before a connection is cut: less than a login and a few messages, or many messages.
const BYTES_MAX: usize = 6_000;

/// How long a connection may take to come to its cut before it is cut where it is.
const PATIENCE: Duration = Duration::from_millis(250);

/// After so many rounds an author's and a reader's process make way for new ones.
const REPLACE_EVERY: usize = 20;

pub(super) async fn run(amount: Amount, folder: &Path) -> Result<Measured, Trouble> {
    let wanted = amount.count.unwrap_or(CUTS);
    let plan = Plan {
        faults: vec![Fault::Cut],
        of_each: wanted.min(10),
        acks: wanted.min(1_000),
        ..Plan::new(0, amount.seed, folder.to_owned())
    };
    let mut run = Run::start(plan).await?;
    let begun = Instant::now();
    let (mut cut, mut rounds) = (0, 0);
    while cut < wanted {
        run.allow(MESSAGES);
        let links = run.world.proxy().links();
        for link in &links {
            link.set(Flow::CutAfter(run.chance.below(BYTES_MAX) as u64));
        }
        let deadline = Instant::now() + PATIENCE;
        while links.iter().any(|link| link.is_alive()) && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
        for link in &links {
            // One that has not come to its byte is cut where it is, and not counted.
            let counts = !link.is_alive();
            link.end(End::Cut);
            run.note(Fault::Cut, counts);
            cut += usize::from(counts);
        }
        rounds += 1;
        if rounds % REPLACE_EVERY == 0 && run.tally.in_flight.load(Relaxed) > 0 {
            run.replace_author().await?;
            run.replace_reader().await?;
        }
        if links.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let resumed = run.world.metric("hark_resumes_total{outcome=\"done\"}")?;
    run.settle().await?;
    let (report, good) = judge(run, folder).await?;
    let line =
        format!("{cut} cuts behind a random byte, {resumed} sessions resumed, in {seconds:.0} s; {report}");
    let figures = json!({
        "cuts": cut, "sessions_resumed": resumed, "seconds": seconds,
        "acked": report.totals.acks, "delivered": report.totals.deliveries,
    });
    Ok(Measured { good, figures, line })
}

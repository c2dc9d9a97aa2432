//! Judges histories: what clients of Hark did, saw and were told, against the promise that nothing is lost,
//! doubled, reordered or invented.
//!
//! The server publishes the total order of a room as seqs, so no search for an order is needed: every judge is one
//! pass or one sorting. It shares no code with what it judges.
//!
//! ```
//! let line = r#"{"t":1,"client":"rig","op":"history","version":1,"origin":"an example"}"#;
//! let history = hark_checker::read(line.as_bytes())?;
//! let report = hark_checker::check(&hark_checker::merge(history), &hark_checker::Terms::default());
//! assert_eq!(report.verdict, hark_checker::Verdict::Unknown);
//! # Ok::<(), hark_checker::ReadError>(())
//! ```

mod anomaly;
mod facts;
mod judge;
mod lineage;
mod read;
pub mod record;
mod report;
mod vacuity;

use std::collections::BTreeMap;
use std::time::Duration;

pub use anomaly::{CONTEXT_LINES_MAX, Kind};
pub use read::{ReadError, merge, read};
pub use record::{Record, What, body_hash};
pub use report::{Anomaly, Report, Totals, Verdict};
pub use vacuity::Least;

use facts::Facts;
use judge::Settlement;

/// On what terms a history is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it must hold at least.
    pub least: Least,
    /// How long after the last fault everything must be resolved, and everybody at the head.
    pub settlement: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { least: Least::default(), settlement: Duration::from_secs(10) }
    }
}

/// Anomalies of one kind that are told with their context; the others are counted.
pub const TOLD_OF_A_KIND_MAX: usize = 5;

/// Judges a history whose records are in the order of their times (see [`merge`]).
pub fn check(records: &[Record], terms: &Terms) -> Report {
    let facts = Facts::new(records);
    let nanoseconds = u64::try_from(terms.settlement.as_nanos()).unwrap_or(u64::MAX);
    let findings = judge::judge(&facts, Settlement { nanoseconds });
    let totals = vacuity::totals(records);
    let vacuous = vacuity::vacuous(records, &totals, terms.least);
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for found in findings.found {
        let count = counts.entry(found.kind).or_default();
        *count += 1;
        if *count <= TOLD_OF_A_KIND_MAX {
            let context = anomaly::context(records, &found);
            anomalies.push(Anomaly { kind: found.kind, what: found.what, context });
        }
    }
    let verdict = match (counts.is_empty(), vacuous.is_empty()) {
        (false, _) => Verdict::Invalid,
        (true, false) => Verdict::Unknown,
        (true, true) => Verdict::Valid,
    };
    Report { verdict, counts, anomalies, vacuous, totals, steps: findings.steps }
}

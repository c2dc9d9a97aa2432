//! The judges: each looks at a history for its own kinds of anomalies, in one pass or one sorting.

mod liveness;
mod log;
mod order;
mod readers;

pub(crate) use liveness::Settlement;

use crate::anomaly::{Found, Kind};
use crate::facts::Facts;

/// What the judges have found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Found>,
    pub(crate) steps: u64,
}

impl Findings {
    pub(crate) fn name(&mut self, kind: Kind, lines: Vec<usize>, what: String) {
        self.found.push(Found { kind, what, lines });
    }

    /// Counts what a loop or a sorting of `count` things costs.
    pub(crate) fn count(&mut self, count: usize) {
        self.steps += count as u64;
    }

    pub(crate) fn count_sorting(&mut self, count: usize) {
        self.steps += count as u64 * u64::from(usize::BITS - count.leading_zeros());
    }
}

/// Has all judges look.
pub(crate) fn judge(facts: &Facts<'_>, settlement: Settlement) -> Findings {
    let mut findings = Findings { found: Vec::new(), steps: facts.steps };
    log::judge(facts, &mut findings);
    order::judge(facts, &mut findings);
    readers::judge(facts, settlement, &mut findings);
    liveness::judge(facts, settlement, &mut findings);
    findings
}

//! Whether everything was resolved in time (I13).

use crate::anomaly::Kind;
use crate::facts::Facts;
use crate::judge::Findings;

/// How long after the last fault everything must be resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    pub(crate) nanoseconds: u64,
}

impl Settlement {
    /// Whether `at` is too late for something that could begin at `begun`.
    pub(crate) fn is_late(self, facts: &Facts<'_>, begun: u64, at: u64) -> bool {
        at > begun.max(facts.last_fault).saturating_add(self.nanoseconds)
    }
}

pub(crate) fn judge(facts: &Facts<'_>, settlement: Settlement, findings: &mut Findings) {
    for message in &facts.messages {
        findings.count(message.attempts.len());
        for attempt in &message.attempts {
            match &attempt.outcome {
                None => {
                    let what = format!("nobody was told what became of {}", message.cid);
                    findings.name(Kind::Stuck, vec![attempt.line], what);
                }
                Some(outcome) if settlement.is_late(facts, attempt.t, outcome.t) => {
                    let what = format!("{} was resolved too late after the last fault", message.cid);
                    findings.name(Kind::Stuck, vec![attempt.line], what);
                }
                Some(_) => {}
            }
        }
    }
}

//! The verdict on a history, and how it is told.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::anomaly::Kind;

/// What a history is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is wrong with it, and it shows something.
    Valid,
    /// It breaks the promise.
    Invalid,
    /// Nothing is wrong with it, but it shows too little: that is a failure, too.
    Unknown,
}

/// One anomaly with what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name.
    pub kind: Kind,
    /// What was seen.
    pub what: String,
    /// Lines of the history around it.
    pub context: Vec<String>,
}

/// How much a history holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Lines.
    pub records: usize,
    /// Publishes that were begun.
    pub publishes: usize,
    /// … that were acknowledged.
    pub acks: usize,
    /// … that were definitely refused.
    pub refusals: usize,
    /// … of which nobody knows.
    pub unknown: usize,
    /// Events that readers were shown.
    pub deliveries: usize,
    /// Gaps that readers were told of.
    pub gaps: usize,
    /// Fresh readers at the end.
    pub drains: usize,
    /// Records of the store.
    pub stored: usize,
    /// Faults that had an effect, by kind.
    pub faults: BTreeMap<String, usize>,
}

/// What the checker says of a history.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it is worth.
    pub verdict: Verdict,
    /// How many anomalies of each kind there are.
    pub counts: BTreeMap<Kind, usize>,
    /// The first of each kind.
    pub anomalies: Vec<Anomaly>,
    /// What it shows too little of.
    pub vacuous: Vec<String>,
    /// How much it holds.
    pub totals: Totals,
    /// What it cost to judge it: grows as the history does, but for the logarithm of sorting.
    pub steps: u64,
}

impl Report {
    /// One JSON object on one line: the verdict, counts by name, what is vacuous, totals.
    pub fn to_json(&self) -> String {
        let counts: BTreeMap<&str, usize> = self.counts.iter().map(|(kind, n)| (kind.name().0, *n)).collect();
        let value = serde_json::json!({
            "verdict": self.verdict, "anomalies": counts, "vacuous": self.vacuous, "totals": self.totals,
        });
        value.to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for anomaly in &self.anomalies {
            let (name, invariant) = anomaly.kind.name();
            writeln!(f, "{name} ({invariant}): {}", anomaly.what)?;
            for line in &anomaly.context {
                writeln!(f, "  {line}")?;
            }
        }
        for (kind, count) in &self.counts {
            writeln!(f, "{kind}: {count}")?;
        }
        for reason in &self.vacuous {
            writeln!(f, "shows too little: {reason}")?;
        }
        let Totals { records, publishes, acks, refusals, unknown, deliveries, drains, stored, .. } =
            &self.totals;
        let verdict = format!("{:?}", self.verdict).to_lowercase();
        write!(
            f,
            "{verdict}: {records} lines, {publishes} publishes ({acks} acknowledged, {refusals} refused, \
             {unknown} unknown), {deliveries} deliveries, {drains} fresh readers, {stored} records in the store"
        )
    }
}

//! How much a history has to hold before "nothing is wrong" means something.

use std::collections::BTreeMap;

use crate::record::{Asked, Phase, Record, VERSION, What};
use crate::report::Totals;

/// What a history must hold at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// Publishes that were acknowledged.
    pub acks: usize,
    /// Faults with an effect, of every kind that the run set out to make.
    pub faults: usize,
    /// Publishes whose outcome was unknown, to the author or to a connection that was cut under them.
    pub unknown: usize,
    /// Fresh readers of every room at the end.
    pub drains: usize,
}

impl Default for Least {
    fn default() -> Least {
        Least { acks: 1_000, faults: 10, unknown: 1, drains: 3 }
    }
}

/// Counts what a history holds.
pub(crate) fn totals(records: &[Record]) -> Totals {
    let mut totals = Totals { records: records.len(), ..Totals::default() };
    for record in records {
        match &record.what {
            What::Publish(publish) => {
                let count = match publish.phase {
                    Phase::Invoke { .. } => &mut totals.publishes,
                    Phase::Ok { .. } => &mut totals.acks,
                    Phase::Fail { .. } => &mut totals.refusals,
                    Phase::Info { .. } => &mut totals.unknown,
                };
                *count += 1;
            }
            What::Deliver { .. } => totals.deliveries += 1,
            What::Gap { .. } => totals.gaps += 1,
            What::Store { .. } => totals.stored += 1,
            What::Subscribe(subscribe) => {
                totals.drains += usize::from(matches!(subscribe.phase, Asked::Invoke { drain: true, .. }));
            }
            What::Fault { kind, effective: true } => *totals.faults.entry(kind.clone()).or_default() += 1,
            _ => {}
        }
    }
    totals
}

/// What a history shows too little of.
pub(crate) fn vacuous(records: &[Record], totals: &Totals, least: Least) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut need = |what: &str, found: usize, wanted: usize| {
        if found < wanted {
            reasons.push(format!("{what}: {found} of {wanted}"));
        }
    };
    need("acknowledged publishes", totals.acks, least.acks);
    need("publishes with an unknown outcome", totals.unknown, least.unknown);
    for kind in enabled(records) {
        let found = totals.faults.get(kind).copied().unwrap_or(0);
        need(&format!("effective faults of the kind {kind}"), found, least.faults);
    }
    for (room, drains) in drains(records) {
        need(&format!("fresh readers of {room}"), drains, least.drains);
    }
    need("dumps of the store", usize::from(has(records, |it| matches!(it, What::Head { .. }))), 1);
    need("ends", usize::from(has(records, |it| matches!(it, What::End))), 1);
    let known = |it: &What| matches!(it, What::History { version: VERSION, .. });
    need("openings in a known version of the format", usize::from(has(records, known)), 1);
    reasons
}

fn has(records: &[Record], wanted: impl Fn(&What) -> bool) -> bool {
    records.iter().any(|record| wanted(&record.what))
}

fn enabled(records: &[Record]) -> impl Iterator<Item = &str> {
    let faults = |record| match record {
        &Record { what: What::Enabled { ref faults }, .. } => Some(faults),
        _ => None,
    };
    records.iter().filter_map(faults).flatten().map(String::as_str)
}

/// By room, how many fresh readers it had.
fn drains(records: &[Record]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        match &record.what {
            What::Room { room, .. } => {
                counts.entry(room.as_str()).or_default();
            }
            What::Subscribe(it) if matches!(it.phase, Asked::Invoke { drain: true, .. }) => {
                *counts.entry(it.room.as_str()).or_default() += 1;
            }
            _ => {}
        }
    }
    counts
}

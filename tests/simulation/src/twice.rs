//! A seed is one trace: runs one twice and says where the two runs part.

use crate::run::{Variation, run};

/// Where two runs of a seed part; `None` if they do not.
pub fn difference(seed: u64, variation: Variation) -> Option<String> {
    let trace = || run(seed, variation).trace;
    if trace().digest() == trace().digest() {
        return None;
    }
    let kept = || run(seed, Variation { keep_trace: true, ..variation }).trace;
    let (one, other) = (kept(), kept());
    let part = one.lines().iter().zip(other.lines()).position(|(one, other)| one != other);
    Some(match part {
        Some(line) => format!("line {line}: {} | {}", one.lines()[line], other.lines()[line]),
        None => format!("{} and {} lines", one.lines().len(), other.lines().len()),
    })
}

//! The trace of a run: every event that the order of things depends on, with its virtual time.

use std::fmt::Write as _;
use std::time::Duration;

/// Lines, or only their hash: two runs of one seed have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    hash: u64,
    count: u64,
    lines: Option<Vec<String>>,
    scratch: String,
}

impl Trace {
    /// A trace that keeps its lines.
    pub fn kept() -> Trace {
        Trace { lines: Some(Vec::new()), ..Trace::default() }
    }

    pub(crate) fn line(&mut self, at: Duration, who: &str, what: std::fmt::Arguments<'_>) {
        self.scratch.clear();
        let ms = at.as_micros();
        write!(self.scratch, "{:>6}.{:03} {who} {what}", ms / 1_000, ms % 1_000)
            .expect("invariant: a text can be written to");
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        self.hash = self.scratch.bytes().fold(self.hash ^ 0xcbf2_9ce4_8422_2325, step);
        self.count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(self.scratch.clone());
        }
    }

    /// The hash over all lines, and their number.
    pub fn digest(&self) -> (u64, u64) {
        (self.hash, self.count)
    }

    /// The lines, if they were kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

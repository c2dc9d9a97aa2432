//! What was written down of a run, for the checker.

use std::time::Duration;

use hark_checker::Record;
use hark_checker::record::What;

/// The history of a run, in the order of its times, of which no two are the same.
#[derive(Debug, Default)]
pub(crate) struct Written {
    records: Vec<Record>,
}

impl Written {
    pub(crate) fn push(&mut self, now: Duration, client: &str, what: What) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let last = self.records.last().map_or(0, |record| record.t);
        self.records.push(Record { t: now.max(last + 1), client: client.to_owned(), what });
    }

    /// The records.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
}

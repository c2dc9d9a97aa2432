//! What everybody in a run writes down, in one order and by one clock.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hark_checker::record::VERSION;
use hark_checker::{Record, What};

/// A history in the making. Clones write the same one.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    records: Mutex<Vec<Record>>,
}

impl Recorder {
    /// An empty history of this origin.
    pub fn new(origin: &str) -> Recorder {
        let shared = Shared { origin: Instant::now(), records: Mutex::new(Vec::new()) };
        let recorder = Recorder { shared: Arc::new(shared) };
        recorder.write("rig", What::History { version: VERSION, origin: origin.to_owned() });
        recorder
    }

    /// Writes a line. The clock is read under the lock: the order of the lines is that of their times.
    pub fn write(&self, client: &str, what: What) {
        let mut records = self.lock();
        let t = u64::try_from(self.shared.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        records.push(Record { t, client: client.to_owned(), what });
    }

    /// How many lines there are for which this holds.
    pub fn count(&self, holds: impl Fn(&What) -> bool) -> usize {
        self.lock().iter().filter(|record| holds(&record.what)).count()
    }

    /// All that was written; the recorder is empty after it.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.shared.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a history to a file.
///
/// # Errors
/// What the file system says.
pub fn save(records: &[Record], path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for record in records {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

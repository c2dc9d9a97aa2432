//! From files of JSON lines to one history.

use std::fmt;
use std::io::{self, BufRead};

use crate::record::Record;

/// Why a file is not a history.
#[derive(Debug)]
pub enum ReadError {
    /// It can not be read.
    Io(io::Error),
    /// A line, counted from 1, is not a record.
    Line(usize, serde_json::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => error.fmt(f),
            ReadError::Line(line, error) => write!(f, "line {line} is not a record: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads one file. Empty lines are skipped.
///
/// # Errors
/// What can not be read, and the first line that is not a record.
pub fn read(input: impl BufRead) -> Result<Vec<Record>, ReadError> {
    let mut records = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line.map_err(ReadError::Io)?;
        if !line.trim().is_empty() {
            records.push(serde_json::from_str(&line).map_err(|error| ReadError::Line(index + 1, error))?);
        }
    }
    Ok(records)
}

/// One history of all that was read: in the order of time, and of the files where times are equal.
pub fn merge(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| record.t);
    records
}

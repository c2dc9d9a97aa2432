//! Why `harkd` gives up: sentences for its operator.

use std::fmt::Display;

use hark_server::assemble::{CopyError, OpenError};
use hark_server::config::Problem;
use hark_server::first_run::FirstRunError;
use hark_server::tls::TlsError;

/// One sentence for each thing that is wrong: what it is, and what to do.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Vec<String>);

impl Failure {
    pub(crate) fn new(sentence: impl Display) -> Failure {
        Failure(vec![sentence.to_string()])
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Failure {
        Failure(problems.iter().map(Problem::to_string).collect())
    }
}

macro_rules! failure_from {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::new(error)
            }
        })+
    };
}

failure_from!(Problem, TlsError, FirstRunError);

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let what = error.to_string();
        // What an operator does about it is the same whichever file did not fit.
        let advice =
            if what.contains(DISK_FULL) { "; make room there, or choose another folder" } else { "" };
        Failure::new(format!("{what}{advice}"))
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Failure {
        match error {
            CopyError::Open(error) => Failure::from(error),
            error => {
                let what = error.to_string();
                let is_full = what.contains(DISK_FULL) || what.contains(NO_SPACE);
                let advice = if is_full { "; make room there, or choose another folder" } else { "" };
                Failure::new(format!("{what}{advice}"))
            }
        }
    }
}

/// What the system says then.
const NO_SPACE: &str = "No space left";
/// What SQLite says when a file can not grow.
const DISK_FULL: &str = "disk is full";

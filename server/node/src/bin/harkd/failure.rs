//! Why `harkd` gives up: sentences for its operator.

use std::fmt::Display;

use hark_server::assemble::OpenError;
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

failure_from!(Problem, TlsError, FirstRunError, OpenError);

//! The pure machines of the core under matrices and random schedules.
//!
//! A matrix holds every state against every kind of input in one golden table. A schedule is a list of steps
//! that proptest makes up; it is run against the machine and against a naive model of what the specification
//! says, and a failing one is shrunk, printed, and kept beside its test as `*.regressions`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod wire;
mod samples;
mod session_matrix;
mod session_rules;
mod session_schedules;
mod room_matrix;
mod room_schedules;
mod cursors_and_rates;
mod delivery;
mod pipelines;

use proptest::test_runner::{Config, FileFailurePersistence};

/// So many schedules, or as many as `PROPTEST_CASES` says; what fails is tried first the next time.
fn schedules(cases: u32) -> Config {
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    Config {
        cases: if is_set { Config::default().cases } else { cases },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

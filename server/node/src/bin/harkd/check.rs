//! `harkd --check`: judges everything that can be judged without starting, and changes nothing.

use std::fmt::Write;

use hark_server::clock::{Clock, SystemClock, is_plausible};
use hark_server::config::Loaded;
use hark_server::first_run::{DataFolder, Found};
use hark_server::tls::day;

use crate::failure::Failure;
use crate::serve::certificate_source;

/// What was found to be good.
pub(crate) fn check(loaded: &Loaded) -> Result<String, Failure> {
    let config = &loaded.config;
    let now = SystemClock.now();
    let mut problems = Vec::new();
    let mut report = String::new();
    let mut good = |line: String| {
        // Writing into a String does not fail.
        let _ = writeln!(report, "{line}");
    };
    if !is_plausible(now) {
        problems.push(clock_problem(now));
    }
    for warning in &loaded.warnings {
        good(format!("warning: {warning}"));
    }
    good(format!("configuration: good, {} keys given", loaded.given.len()));
    match DataFolder::look(&config.data) {
        Ok(Found::Hark) => good(format!("data folder: {} is there", config.data.display())),
        Ok(Found::Nothing | Found::Empty) => {
            good(format!("data folder: {} will be made at the first start", config.data.display()));
        }
        Err(error) => problems.push(error.to_string()),
    }
    match certificate_source(config).look(now) {
        Ok(Some(identity)) => good(format!(
            "certificate: {}, valid until {}",
            identity.fingerprint,
            day(identity.validity.until)
        )),
        Ok(None) => good("certificate: the server will make its own".to_owned()),
        Err(error) => problems.push(error.to_string()),
    }
    if problems.is_empty() { Ok(report) } else { Err(Failure(problems)) }
}

pub(crate) fn clock_problem(now: hark_protocol::UnixMillis) -> String {
    let day = day(now);
    format!(
        "this machine's clock shows {day}, which can not be right; set it, or certificates and times are \
             wrong"
    )
}

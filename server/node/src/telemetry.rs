//! Logs: human lines on a terminal, JSON elsewhere, always to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::LogFormat;

/// Starts logging for the whole process.
///
/// # Errors
/// A sentence, if `level` is none or something else logs already.
pub fn start(level: &str, format: LogFormat) -> Result<(), String> {
    let targets = parse_level(level)?;
    let is_human = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let lines = fmt::layer().with_writer(io::stderr);
    let layer = match is_human {
        true => lines.with_ansi(wants_colour()).boxed(),
        false => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let result = tracing_subscriber::registry().with(layer.with_filter(targets)).try_init();
    result.map_err(|error: TryInitError| format!("logging can not be started: {error}"))
}

/// Has panics logged like everything else, with their place, instead of printed.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let owned = || payload.downcast_ref::<String>().map(String::as_str);
        let what = payload.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("of no known kind");
        tracing::error!(%place, what, "a panic: this is a fault of the server's own, please report it");
    }));
}

/// What a level such as `info` or `info,hark_server=debug` lets through.
///
/// # Errors
/// A sentence that names the part which is none.
pub fn parse_level(text: &str) -> Result<Targets, String> {
    for part in text.split(',') {
        let level = part.rsplit('=').next().unwrap_or(part);
        // A single word that is no level would be taken for the name of a part, and everything logged.
        if !LEVELS.contains(&level) {
            return Err(format!("{level:?} is not a level; the levels are {}", LEVELS.join(", ")));
        }
    }
    text.parse().map_err(|error| format!("this is not a list of levels: {error}"))
}

fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_mistyped_ones_are_named() {
        for good in ["info", "off", "info,hark_server=debug", "warn,hark=trace,rustls=error"] {
            assert!(parse_level(good).is_ok(), "{good}");
        }
        for (bad, named) in [("inof", "inof"), ("info,hark=loud", "loud"), ("", "\"\""), ("info,", "\"\"")] {
            assert!(parse_level(bad).unwrap_err().contains(named), "{bad}");
        }
    }

    #[test]
    fn a_part_can_be_louder_than_the_rest() {
        let targets = parse_level("info,hark=debug").unwrap();
        assert!(targets.would_enable("hark_server::node", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("rustls", &tracing::Level::DEBUG));
    }
}

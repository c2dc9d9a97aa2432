//! How much the tests do: small and sharp by default, more when `tests/long` says so.

use std::time::Duration;

/// How long a test waits for one thing that it expects. Generous, because a loaded machine is no failure; a
/// thing that does not come at all is reported after it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Messages of the flood that all readers must see equal and in order.
pub fn messages() -> usize {
    number("HARK_TEST_MESSAGES", 10_000)
}

/// How often a server is restarted under a conversation.
pub fn restarts() -> usize {
    number("HARK_TEST_RESTARTS", 1)
}

fn number(name: &str, default: usize) -> usize {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}"))
}

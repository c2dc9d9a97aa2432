//! Runs that are not the torture itself: they measure one thing, and have a pass and a fail of their own.

mod cuts;
mod drain;
mod fleet;
mod recovery;
mod slow;
mod soak;

use std::path::Path;

use serde_json::Value;

use crate::Trouble;

/// How a mode went.
#[derive(Debug)]
pub struct Measured {
    /// Whether the figure was reached.
    pub good: bool,
    /// All figures.
    pub figures: Value,
    /// The same in words.
    pub line: String,
}

/// How much a mode does.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Cuts, messages or clients, as the mode counts; `None` = what the figure to reach asks for.
    pub count: Option<usize>,
    /// Minutes of the soak.
    pub minutes: u64,
    /// The schedule.
    pub seed: u64,
}

/// The modes by name.
pub const MODES: [&str; 5] = ["cuts", "slow-reader", "recovery", "drain", "soak"];

/// Runs a mode in an empty folder.
///
/// # Errors
/// When the rig itself can not go on, or there is no such mode.
pub async fn run(mode: &str, amount: Amount, folder: &Path) -> Result<Measured, Trouble> {
    match mode {
        "cuts" => cuts::run(amount, folder).await,
        "slow-reader" => slow::run(amount, folder).await,
        "recovery" => recovery::run(amount, folder).await,
        "drain" => drain::run(amount, folder).await,
        "soak" => soak::run(amount, folder).await,
        other => Err(format!("there is no mode {other}; there are: {}", MODES.join(", ")).into()),
    }
}

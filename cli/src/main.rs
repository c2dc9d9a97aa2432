//! `hark`: chat from a terminal or a script, written on the SDK alone.

mod args;
mod chat;
mod commands;
mod connect;
mod context;
mod exit;
mod output;
mod profile;
mod record;
mod secret;
mod text;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                output::note(format!("hark: {sentence}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

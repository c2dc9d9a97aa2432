//! harkd: the Hark server.

mod args;
mod backup;
mod check;
mod failure;
mod listener;
mod running;
mod serve;
mod signals;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use hark_server::assemble::{Damage, Present};
use hark_server::config::{self, Config, Loaded, Sources};

use args::{Args, Command};
use backup::Form;
use failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(Failure(sentences)) => {
            for sentence in sentences {
                // Nobody to tell if even this fails.
                let _ = writeln!(std::io::stderr(), "harkd: {sentence}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = load(args)?;
    match &args.command {
        Some(Command::Config { .. }) => say(&config::explain(&loaded)),
        Some(Command::Backup { target }) => say(&backup::back_up(&loaded.config, target)?),
        Some(Command::Verify { folder, json }) => {
            let folder = folder.as_deref().unwrap_or(&loaded.config.data);
            return backup::verify(folder, if *json { Form::Json } else { Form::Human });
        }
        Some(Command::Restore { backup, force, accept_damage }) => {
            let present = if *force { Present::MoveAside } else { Present::Refuse };
            let damage = if *accept_damage { Damage::Accept } else { Damage::Refuse };
            say(&backup::restore(&loaded.config, backup, present, damage)?);
        }
        Some(Command::ResetAdminPassword) => say(&serve::reset_admin_password(&loaded.config)?),
        None if args.check => say(&check::check(&loaded)?),
        None => return serve::serve(&loaded),
    }
    Ok(ExitCode::SUCCESS)
}

fn load(args: &Args) -> Result<Loaded, Failure> {
    let is_utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment: Vec<_> = std::env::vars_os().filter_map(is_utf8).collect();
    let file = config::find_file(args.config.clone(), &environment)?;
    Ok(Config::load(&Sources { file, environment, flags: args.flags() })?)
}

/// Prints to standard output. A reader that has gone away is no reason to fail.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

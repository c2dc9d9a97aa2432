//! The rig by itself: so many images from this seed, a control, a planted bug, or one saved failure again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hark_powercut::archive::Archive;
use hark_powercut::disk::Syncs;
use hark_powercut::planted::Planted;
use hark_powercut::rig::{Config, Failure, Summary, replay, run};

const USAGE: &str = "\
usage: hark-powercut [--images N] [--seed N] [--threads N] [--control normal|off] [--plant BUG]
       hark-powercut --replay FILE

Cuts the power under the SQLite store, N times, and judges what is left. A control leaves out syncs, as
synchronous=NORMAL and OFF do, and must lose; so must a planted bug. A failure is saved, and judged again by --replay.

exit codes: 0 as it should be, 1 not so, 2 wrong usage";

enum Asked {
    Run(Config),
    Replay(PathBuf),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match parse(&arguments) {
        Ok(Asked::Run(config)) => rig(&config),
        Ok(Asked::Replay(file)) => again(&file),
        Err(complaint) => {
            eprintln!("{complaint}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Asked, String> {
    let mut config = Config::new(7, 5_000);
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--images" => config.images = number(flag, value()?)?,
            "--seed" => config.seed = number(flag, value()?)?,
            "--threads" => config.threads = usize::try_from(number(flag, value()?)?).unwrap_or(1),
            "--control" => {
                config.syncs = match value()?.as_str() {
                    "normal" => Syncs::Normal,
                    "off" => Syncs::Off,
                    other => return Err(format!("there is no control {other}")),
                }
            }
            "--plant" => {
                let name = value()?;
                let found = Planted::ALL.iter().find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name));
                config.planted = Some(*found.ok_or(format!("there are the bugs {:?}", Planted::ALL))?);
            }
            "--replay" => return Ok(Asked::Replay(value()?.into())),
            other => return Err(format!("{other} is no option")),
        }
    }
    Ok(Asked::Run(config))
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{flag} needs a number, not {text:?}"))
}

/// Runs, reports, and says whether it went as it should.
fn rig(config: &Config) -> std::io::Result<bool> {
    let summary = run(config)?;
    println!("seed {}: {summary}", config.seed);
    if config.syncs != Syncs::Full || config.planted.is_some() {
        return Ok(bites(&summary));
    }
    if let Some(failure) = &summary.failure {
        report(failure, config)?;
        return Ok(false);
    }
    match summary.vacuous() {
        Some(complaint) => {
            println!("FAILED: {complaint}");
            Ok(false)
        }
        None => Ok(true),
    }
}

/// A control and a planted bug must be found.
fn bites(summary: &Summary) -> bool {
    let found = summary.failure.as_ref();
    match found {
        Some(failure) => println!("found, as it must be: {}", failure.anomaly),
        None => println!("FAILED: nothing was found, so a run that finds nothing proves nothing"),
    }
    found.is_some()
}

fn report(failure: &Failure, config: &Config) -> std::io::Result<()> {
    println!("FAILED: {}", failure.anomaly);
    match (&failure.take, failure.cut) {
        (Some(take), Some(cut)) => {
            let path = std::env::temp_dir().join(format!("hark-powercut-{}-{}.tape", take.seed, cut.after));
            Archive { take: take.clone(), cut, planted: config.planted }.save(&path)?;
            println!("take {}, cut after step {}, image {}", take.seed, cut.after, cut.seed);
            println!("again: cargo run -p hark-powercut -- --replay {}", path.display());
        }
        _ => println!("while recording take {} of seed {}: run it again", failure.take_seed, config.seed),
    }
    Ok(())
}

fn again(file: &Path) -> std::io::Result<bool> {
    let archive = Archive::load(file)?;
    match replay(&archive.take, archive.cut, archive.planted) {
        Ok(()) => println!("nothing is wrong with this image"),
        Err(anomaly) => {
            println!("FAILED: {anomaly}");
            return Ok(false);
        }
    }
    Ok(true)
}

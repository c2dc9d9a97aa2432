//! `harkd backup`, `harkd verify` and `harkd restore`: a data folder copied, checked and put back.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use hark_server::assemble::{Backup, Damage, Finding, Present, Restore, Verified, Verify};
use hark_server::config::Config;
use hark_server::first_run::{DataFolder, Found};

use crate::failure::Failure;

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A line of words for each.
    Human,
    /// A JSON object for each.
    Json,
}

/// What a backup holds beside the databases: what makes the folder Hark's, the certificates that clients trust, and
/// the files with secrets that are not used yet.
const FILES: &[&str] = &["HARK-DATA", "tls", "registration-token", "admin-password"];

/// Something is damaged. Not 1, which says that nothing could be found out, nor 2, which is a wrong command line.
const DAMAGED: u8 = 3;

/// Copies the data folder.
pub(crate) fn back_up(config: &Config, target: &Path) -> Result<String, Failure> {
    demand_hark(&config.data, "--data")?;
    let made = Backup { folder: &config.data, target, files: FILES }.make()?;
    let (rooms, bytes, place) = (made.rooms, made.bytes, target.display());
    Ok(format!(
        "{place} holds the backup: {rooms} rooms, {bytes} bytes; `harkd verify {place}` checks it, and \
         `harkd restore {place}` puts it back\n"
    ))
}

/// Checks a folder and prints what is wrong as it is found.
pub(crate) fn verify(folder: &Path, form: Form) -> Result<ExitCode, Failure> {
    demand_hark(folder, "verify")?;
    let verified = Verify { folder, is_backup: false }.run(&mut |finding| print(&line(&finding, form)))?;
    print(&summary(&verified, form));
    Ok(if verified.findings == 0 { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

/// Puts a backup into the data folder.
pub(crate) fn restore(
    config: &Config,
    backup: &Path,
    present: Present,
    damage: Damage,
) -> Result<String, Failure> {
    demand_hark(backup, "restore")?;
    let folder = DataFolder::prepare(&config.data)?;
    let restore = Restore { backup, folder: &folder.path, files: FILES, present, damage };
    let restored = restore.run(&mut |finding| tell(&finding))?;
    let (verified, change) = (restored.verified, restored.change);
    let mut report = format!(
        "{} holds the backup again: {} rooms, {} events; every room has epoch {}, so clients begin anew\n",
        config.data.display(),
        verified.rooms,
        verified.events,
        change.epoch.0,
    );
    if let Some(aside) = restored.aside {
        // Writing into a String does not fail.
        let _ = writeln!(report, "what was there before is in {}", aside.display());
    }
    Ok(report)
}

fn demand_hark(folder: &Path, named_by: &str) -> Result<(), Failure> {
    match DataFolder::look(folder)? {
        Found::Hark => Ok(()),
        Found::Nothing | Found::Empty => {
            let folder = folder.display();
            let sentence = format!("{folder} holds no Hark data; name the right folder with {named_by}");
            Err(Failure::new(sentence))
        }
    }
}

fn line(finding: &Finding, form: Form) -> String {
    if form == Form::Human {
        return format!("{finding}\n");
    }
    let mut line = format!("{{\"file\":{}", json(finding.file));
    // Writing into a String does not fail.
    if let Some(room) = finding.room {
        let _ = write!(line, ",\"room\":{}", room.0);
    }
    if let Some((first, last)) = finding.seqs {
        let _ = write!(line, ",\"seq\":{},\"last_seq\":{}", first.0, last.0);
    }
    let _ = writeln!(line, ",\"what\":{}}}", json(&finding.what));
    line
}

fn summary(verified: &Verified, form: Form) -> String {
    let Verified { rooms, events, accounts, findings } = verified;
    if form == Form::Json {
        return format!(
            "{{\"rooms\":{rooms},\"events\":{events},\"accounts\":{accounts},\"findings\":{findings}}}\n"
        );
    }
    let verdict = match findings {
        0 => "all is well".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        many => format!("{many} things are wrong"),
    };
    format!("{verdict}: {events} good events in {rooms} rooms, {accounts} accounts\n")
}

/// A text as JSON has it.
fn json(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // Writing into a String does not fail.
            control if control < ' ' => drop(write!(out, "\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn tell(finding: &Finding) {
    // Nobody to tell if even this fails.
    let _ = writeln!(std::io::stderr(), "harkd: {finding}");
}

/// A reader that has gone away is no reason to stop: the exit code still says what was found.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use hark_protocol::{RoomId, Seq};

    #[test]
    fn a_finding_is_a_line_of_words_or_an_object() {
        let finding = Finding {
            file: "log.db",
            room: Some(RoomId(7)),
            seqs: Some((Seq(3), Seq(4))),
            what: "a \"quoted\"\\\n text".into(),
        };
        assert_eq!(
            line(&finding, Form::Json),
            "{\"file\":\"log.db\",\"room\":7,\"seq\":3,\"last_seq\":4,\"what\":\"a \\\"quoted\\\"\\\\\\u000a text\"}\n"
        );
        let finding = Finding { room: None, seqs: None, ..finding };
        assert!(!line(&finding, Form::Json).contains("room"));
        assert!(line(&finding, Form::Human).starts_with("log.db: "));
    }
}

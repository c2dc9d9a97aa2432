//! The command `hark` as somebody uses it: with a configuration folder, an account and a server of their own.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Ended, Process, command, program};
use crate::scale::PATIENCE;

/// The password of everybody in the tests, unless a test says otherwise.
pub const PASSWORD: &str = "correct horse battery";

/// One account on one machine.
pub struct Person {
    name: String,
    home: TempDir,
    server: String,
    ca: PathBuf,
}

impl Person {
    /// Somebody who has an empty home, and knows a server and its certificate authority.
    ///
    /// # Panics
    /// When there is no room for a temporary folder.
    pub fn new(name: &str, server: &str, ca: PathBuf) -> Person {
        let home = tempfile::tempdir().expect("a temporary folder");
        Person { name: name.to_owned(), home, server: server.to_owned(), ca }
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The environment in which this person's `hark` runs.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let home = self.home.path().display().to_string();
        vec![
            ("HOME", home.clone()),
            ("HARK_CONFIG_HOME", home),
            ("HARK_SERVER", self.server.clone()),
            ("HARK_CA", self.ca.display().to_string()),
        ]
    }

    /// `hark` with these arguments, not yet started.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut hark = command(program("hark"));
        hark.args(arguments).envs(self.environment()).current_dir(self.home.path());
        hark
    }

    /// Starts `hark` with these words.
    pub fn start(&self, line: &str) -> Process {
        Process::start(&format!("{}$ hark {line}", self.name), self.command(line.split_whitespace()))
    }

    /// Runs `hark` with these words to its end, without input.
    #[track_caller]
    pub fn run(&self, line: &str) -> Ended {
        self.start(line).end()
    }

    /// Runs `hark` with these words and this input to its end.
    #[track_caller]
    pub fn feed(&self, line: &str, input: &str, patience: Duration) -> Ended {
        let file = self.home.path().join("input");
        std::fs::write(&file, input).expect("a temporary folder can be written to");
        let mut hark = self.command(line.split_whitespace());
        hark.stdin(std::fs::File::open(&file).expect("written above"));
        Process::start_with_stdin(&format!("{}$ hark {line}", self.name), hark).end_within(patience)
    }

    /// Makes the account with a registration token; the profile remembers it.
    #[track_caller]
    pub fn register(self, token: &str) -> Person {
        let mut hark = self.command(["register", &self.name, "--token", token]);
        hark.env("HARK_PASSWORD", PASSWORD);
        Process::start("hark register", hark).end().done();
        self
    }

    /// Sends one message and returns its seq.
    #[track_caller]
    pub fn send(&self, room: &str, text: &str) -> u64 {
        let said = Process::start("hark send", self.command(["send", room, text])).end().done();
        said.trim().parse().unwrap_or_else(|_| panic!("hark send prints the seq, not {said:?}"))
    }

    /// All messages of a room, as `hark history --json` tells them.
    #[track_caller]
    pub fn messages(&self, room: &str) -> Vec<Told> {
        let out = self.start(&format!("history {room} --json")).end_within(4 * PATIENCE).done();
        messages(out.lines())
    }
}

/// One message as `--json` tells it: what all readers must agree about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place in the room's log.
    pub seq: u64,
    /// Who sent it.
    pub sender: String,
    /// Its identity, as the sender chose it.
    pub client_id: String,
    /// When the server stored it.
    pub time: String,
    /// What it says.
    pub text: String,
}

/// The messages among lines of `--json`; what else happens in a room is left out.
///
/// # Panics
/// When a line is not an object with the keys that are promised.
#[track_caller]
pub fn messages<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Told> {
    lines.into_iter().map(parse).filter(|it| it["kind"] == "message").map(|it| told(&it)).collect()
}

#[track_caller]
fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
}

#[track_caller]
fn told(object: &Value) -> Told {
    let text =
        |key: &str| object[key].as_str().unwrap_or_else(|| panic!("no text {key:?} in {object}")).to_owned();
    let seq = object["seq"].as_u64().unwrap_or_else(|| panic!("no number \"seq\" in {object}"));
    assert!(object["room"].is_string() && !object["epoch"].is_null(), "no room or epoch in {object}");
    Told {
        seq,
        sender: text("sender"),
        client_id: text("client_id"),
        time: object["time"].to_string(),
        text: text("text"),
    }
}

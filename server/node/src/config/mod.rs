//! The configuration: one file, the environment and the command line, read through one table of keys.
//!
//! [`KEYS`] is the only place that knows a key's name, range and sentence; [`Config::default`] the only one that
//! knows its default. Everything else (the file, `HARKD_…`, `config --explain`, near misses) is derived.

mod explain;
mod file;
mod key;
mod key_table;
mod source;
mod suggest;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;

use hark_core::Limits;
use hark_protocol::Retention;

use crate::node::TAIL_BYTES_DEFAULT;

pub use explain::explain;
pub use file::{ConfigFile, find_file};
pub use key::Key;
pub use key_table::KEYS;
pub use source::{Given, Problem, Source, Sources};
use value::Value;

/// What an operator can choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where `/metrics`, `/healthz` and `/readyz` are served; `None` = nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The folder that holds everything the server remembers.
    pub data: PathBuf,
    /// DNS names and addresses, besides the local ones, for which the server's own certificate is made.
    pub names: Vec<String>,
    /// Memory for the newest events of all rooms together.
    pub tail_bytes_max: usize,
    /// How much of their logs rooms keep at most.
    pub retention: Retention,
    /// How long a shutdown may take.
    pub shutdown_grace_ms: u32,
    /// Over how long at most a shutdown spreads the farewells.
    pub shutdown_spread_ms: u32,
    /// How long a session is kept without a connection.
    pub session_lifetime_s: u32,
    /// A certificate from elsewhere.
    pub tls: Option<TlsFiles>,
    /// Whether people may make accounts with the registration token.
    pub registration: bool,
    /// Where the limits begin.
    pub profile: Profile,
    /// Every bound.
    pub limits: Limits,
    /// What is logged.
    pub log_level: String,
    /// In which form it is logged.
    pub log_format: LogFormat,
}

/// The files of a certificate that the operator brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its root, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// A set of limits to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For a server that only its own machine reaches.
    Open,
    /// For a server that strangers reach.
    Public,
}

impl Profile {
    /// The limits that it stands for.
    pub fn limits(self) -> Limits {
        match self {
            Profile::Open => Limits::open(),
            Profile::Public => Limits::public(),
        }
    }

    /// The profile for a server that listens at `listen`, where the operator names none.
    pub fn suited_to(listen: SocketAddr) -> Profile {
        if listen.ip().is_loopback() { Profile::Open } else { Profile::Public }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], CLIENT_PORT)),
            metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], METRICS_PORT))),
            data: PathBuf::from("hark-data"),
            names: Vec::new(),
            tail_bytes_max: TAIL_BYTES_DEFAULT,
            retention: Retention::default(),
            shutdown_grace_ms: 10_000,
            shutdown_spread_ms: 5_000,
            session_lifetime_s: 30 * 24 * 60 * 60,
            tls: None,
            registration: true,
            profile: Profile::Open,
            limits: Profile::Open.limits(),
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

/// A configuration, and where each part of it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was given, by whom; the keys that are not here have their defaults.
    pub given: Vec<Given>,
    /// What was passed over, each with its reason.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Whether somebody gave a value for the key with that path.
    pub fn is_given(&self, path: &str) -> bool {
        self.given.iter().any(|given| given.key.path == path)
    }
}

impl Config {
    /// The configuration that `sources` make: the file over the defaults, the environment over the file, the
    /// command line over all.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing.
    pub fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
        let mut problems = Vec::new();
        let (given, warnings) = sources.collect(&mut problems);
        let mut draft = Draft::default();
        apply(&given, &mut draft, &mut problems, |key| key.stage == key::Stage::First);
        let profile = draft.profile.unwrap_or_else(|| Profile::suited_to(draft.config.listen));
        draft.config.profile = profile;
        draft.config.limits = profile.limits();
        apply(&given, &mut draft, &mut problems, |key| key.stage == key::Stage::Limits);
        draft.finish(&given, &mut problems);
        match problems.is_empty() {
            true => Ok(Loaded { config: draft.config, given, warnings }),
            false => Err(problems),
        }
    }
}

/// A configuration while it is read: what is known only when every key was seen stands beside it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    config: Config,
    profile: Option<Profile>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Draft {
    /// Puts together what more than one key decides, and checks what only all of them show.
    fn finish(&mut self, given: &[Given], problems: &mut Vec<Problem>) {
        let mut wrong = |key: &'static str, what: String| {
            let source =
                given.iter().find(|g| g.key.path == key).map_or(Source::Default, |g| g.source.clone());
            problems.push(Problem { source, what });
        };
        match (self.cert.take(), self.key.take()) {
            (Some(cert), Some(key)) => self.config.tls = Some(TlsFiles { cert, key }),
            (None, None) => {}
            (Some(_), None) => wrong("tls.cert", "tls.cert needs tls.key beside it".to_owned()),
            (None, Some(_)) => wrong("tls.key", "tls.key needs tls.cert beside it".to_owned()),
        }
        let limits = &self.config.limits;
        if limits.hello_timeout_ms > limits.auth_timeout_ms {
            let (hello, auth) = (limits.hello_timeout_ms, limits.auth_timeout_ms);
            wrong(
                "limits.hello_timeout_ms",
                format!(
                    "limits.hello_timeout_ms = {hello} is longer than limits.auth_timeout_ms = {auth}; both run \
                     from the accepted connection, so the first must be the shorter"
                ),
            );
        }
        if self.config.metrics_listen.is_some_and(|other| other == self.config.listen && other.port() != 0) {
            wrong("metrics_listen", "metrics_listen and listen are the same address; change one".to_owned());
        }
    }
}

fn apply(given: &[Given], draft: &mut Draft, problems: &mut Vec<Problem>, is_due: impl Fn(&Key) -> bool) {
    for Given { key, value, source } in given.iter().filter(|given| is_due(given.key)) {
        if let Err(what) = (key.set)(draft, value) {
            problems
                .push(Problem { source: source.clone(), what: format!("{} = {value}: {what}", key.path) });
        }
    }
}

/// The port that clients try where none is named.
const CLIENT_PORT: u16 = 4275;
/// The port beside it, for the operator.
const METRICS_PORT: u16 = 4276;

#[cfg(test)]
mod tests;

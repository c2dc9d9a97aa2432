//! Where configured values come from: the file, the environment, the command line.

use std::fmt;
use std::path::PathBuf;

use super::file::{self, ConfigFile};
use super::key::{Key, VARIABLE_PREFIX};
use super::key_table::KEYS;
use super::suggest::suggest;
use super::value::Value;

/// Everything that a configuration is made of, read already.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, where there is one.
    pub file: Option<ConfigFile>,
    /// The environment's variables; those that do not begin with `HARKD_` are not looked at.
    pub environment: Vec<(String, String)>,
    /// Options of the command line: the option, the path of its key, its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A value that somebody gave for a key.
#[derive(Clone, Debug)]
pub struct Given {
    /// For which key.
    pub key: &'static Key,
    /// What was given.
    pub value: Value,
    /// By whom.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// A line of the file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// An option of the command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path, line) => write!(f, "{}:{line}", path.display()),
            Source::Environment(variable) => f.write_str(variable),
            Source::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Something is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub source: Source,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.what)
    }
}

impl Sources {
    /// What was given for each key, the last word only, and what was passed over.
    pub(super) fn collect(&self, problems: &mut Vec<Problem>) -> (Vec<Given>, Vec<String>) {
        let mut given = Vec::new();
        let mut warnings = Vec::new();
        if let Some(file) = &self.file {
            file::collect(file, &mut given, problems);
        }
        for (variable, text) in &self.environment {
            self::from_environment(variable, text, &mut given, &mut warnings);
        }
        for (flag, path, text) in &self.flags {
            let key = KEYS.iter().find(|key| key.path == *path);
            let source = Source::Flag(flag);
            given.extend(key.map(|key| Given { key, value: Value::Bare(text.clone()), source }));
        }
        (last_words(given), warnings)
    }
}

fn from_environment(variable: &str, text: &str, given: &mut Vec<Given>, warnings: &mut Vec<String>) {
    if !variable.starts_with(VARIABLE_PREFIX) || variable == FILE_VARIABLE {
        return;
    }
    match KEYS.iter().find(|key| key.variable() == variable) {
        Some(key) => {
            let source = Source::Environment(variable.to_owned());
            given.push(Given { key, value: Value::Bare(text.to_owned()), source });
        }
        // Not an error: an orchestrator sets HARKD_PORT and the like for a service of that name.
        None => warnings.push(unknown_variable(variable)),
    }
}

fn unknown_variable(variable: &str) -> String {
    let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let suggestion = suggest(variable, variables.iter().map(String::as_str));
    let question = suggestion.map_or(String::new(), |known| format!("; did you mean {known}?"));
    format!("the environment variable {variable} belongs to no key and is ignored{question}")
}

/// For each key the last of what was given, in the order of first mention.
fn last_words(given: Vec<Given>) -> Vec<Given> {
    let mut last: Vec<Given> = Vec::with_capacity(given.len());
    for one in given {
        match last.iter_mut().find(|earlier| earlier.key.path == one.key.path) {
            Some(earlier) => *earlier = one,
            None => last.push(one),
        }
    }
    last
}

/// The variable that names the file.
pub(super) const FILE_VARIABLE: &str = "HARKD_CONFIG";

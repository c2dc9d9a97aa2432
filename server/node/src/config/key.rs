//! One key of the configuration.

use super::{Config, Draft, Value};

/// A key: its name, its sentence, and how it is read and shown.
pub struct Key {
    /// Its name with its section, like `tls.cert`.
    pub path: &'static str,
    /// One sentence on what it does.
    pub sentence: &'static str,
    pub(super) stage: Stage,
    pub(super) set: fn(&mut Draft, &Value) -> Result<(), String>,
    pub(super) show: fn(&Config) -> Option<String>,
}

impl Key {
    /// The environment variable that overrides it, like `HARKD_TLS_CERT`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.path.replace('.', "_").to_uppercase())
    }

    /// Its value in `config` as TOML writes it; `None` where it has none.
    pub fn value_in(&self, config: &Config) -> Option<String> {
        (self.show)(config)
    }

    /// Its section and its name in there; the section of a key at the top is empty.
    pub fn section_and_name(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.path).finish()
    }
}

/// When a key is read. The limits come last: where they begin depends on the profile, and that on `listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    First,
    Limits,
}

/// What every environment variable of the server begins with.
pub(super) const VARIABLE_PREFIX: &str = "HARKD_";

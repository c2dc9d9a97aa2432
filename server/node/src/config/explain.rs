//! `harkd config --explain`: every key with its sentence, its default, its value and where that came from, in a
//! form that is itself a configuration file.

use std::fmt::Write;

use super::key_table::KEYS;
use super::{Config, Key, Loaded};

/// Every key of `loaded`. What has its default is commented out, so that the text, saved as a file, means the
/// same configuration.
pub fn explain(loaded: &Loaded) -> String {
    let defaults = defaults_beside(&loaded.config);
    let mut out = String::new();
    let mut section = "";
    for key in KEYS {
        if key.section_and_name().0 != section {
            section = key.section_and_name().0;
            line(&mut out, &format!("[{section}]\n"));
        }
        line(&mut out, &format!("# {}", key.sentence));
        let default = key.value_in(&defaults).unwrap_or_else(|| "nothing".to_owned());
        line(&mut out, &format!("# Default: {default}. Environment: {}.", key.variable()));
        line(&mut out, &value_line(key, loaded));
        out.push('\n');
    }
    out
}

fn value_line(key: &Key, loaded: &Loaded) -> String {
    let name = key.section_and_name().1;
    let given = loaded.given.iter().find(|given| given.key.path == key.path);
    match (key.value_in(&loaded.config), given) {
        (Some(value), Some(given)) => format!("{name} = {value}  # from {}", given.source),
        (Some(value), None) => format!("# {name} = {value}"),
        (None, _) => format!("# {name} ="),
    }
}

/// The defaults as they would be without a limit being set: those of the profile in force.
fn defaults_beside(config: &Config) -> Config {
    Config { profile: config.profile, limits: config.profile.limits(), ..Config::default() }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("invariant: writing into a String does not fail");
}

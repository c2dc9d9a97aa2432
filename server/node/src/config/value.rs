//! A configured value before it is understood: as TOML has it, or as bare text from elsewhere.

use std::fmt;
use std::ops::RangeInclusive;

/// What was written for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string of TOML.
    Text(String),
    /// A whole number of TOML.
    Number(u64),
    /// `true` or `false` of TOML.
    Boolean(bool),
    /// A list of strings of TOML.
    List(Vec<String>),
    /// From the environment or the command line, where everything is text.
    Bare(String),
    /// Something of TOML that no key takes, by its name.
    Other(&'static str),
}

impl Value {
    /// The value as text.
    pub fn text(&self) -> Result<&str, String> {
        match self {
            Value::Text(text) | Value::Bare(text) => Ok(text),
            other => Err(format!("a text in quotes is needed, not {}", other.kind())),
        }
    }

    /// The value as a whole number out of `range`.
    pub fn number<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Result<T, String> {
        let number = match self {
            Value::Number(number) => Some(*number),
            Value::Bare(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| "a whole number is needed".to_owned())?;
        let outside = || format!("it must be between {} and {}", range.start(), range.end());
        if !range.contains(&number) {
            return Err(outside());
        }
        T::try_from(number).map_err(|_| outside())
    }

    /// The value as a claim.
    pub fn boolean(&self) -> Result<bool, String> {
        match self {
            Value::Boolean(claim) => Ok(*claim),
            Value::Bare(text) if text == "true" => Ok(true),
            Value::Bare(text) if text == "false" => Ok(false),
            _ => Err("true or false is needed".to_owned()),
        }
    }

    /// The value as a list of texts; bare text is cut at its commas.
    pub fn list(&self) -> Result<Vec<String>, String> {
        match self {
            Value::List(list) => Ok(list.clone()),
            Value::Bare(text) => {
                Ok(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect())
            }
            _ => Err("a list of texts is needed, like [\"one\", \"other\"]".to_owned()),
        }
    }

    /// The value as one out of `words`.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        found.ok_or_else(|| format!("it must be one of {}", all.join(", ")))
    }

    fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Bare(_) => "a text",
            Value::Number(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::List(_) => "a list",
            Value::Other(kind) => kind,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::Number(number) => number.fmt(f),
            Value::Boolean(claim) => claim.fmt(f),
            Value::List(list) => f.write_str(&quoted_list(list)),
            Value::Bare(text) => write!(f, "{}", text.escape_debug()),
            Value::Other(kind) => f.write_str(kind),
        }
    }
}

/// `text` as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `list` as TOML writes it.
pub(super) fn quoted_list(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

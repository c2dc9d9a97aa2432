//! The configuration file: finding it, and reading it key by key with line numbers.

use std::io;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key_table::KEYS;
use super::source::{FILE_VARIABLE, Given, Problem, Source};
use super::suggest::suggest;
use super::value::Value;

/// A file's text, and where it lay.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it lay.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// The file that was asked for by option or by `HARKD_CONFIG`; else `harkd.toml` where the server is started, if
/// it is there.
///
/// # Errors
/// When the file that was asked for can not be read, or the one that is there.
pub fn find_file(
    asked: Option<PathBuf>,
    environment: &[(String, String)],
) -> Result<Option<ConfigFile>, Problem> {
    let by_variable =
        || environment.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, path)| path.into());
    let asked = asked.or_else(by_variable);
    let is_asked = asked.is_some();
    let path = asked.unwrap_or_else(|| PathBuf::from(FILE_NAME));
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(ConfigFile { path, text })),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_asked => Ok(None),
        Err(error) => {
            let what = format!("the configuration file can not be read: {error}");
            Err(Problem { source: Source::File(path, 0), what })
        }
    }
}

/// What `file` gives, and what is wrong in it.
pub(super) fn collect(file: &ConfigFile, given: &mut Vec<Given>, problems: &mut Vec<Problem>) {
    match DeTable::parse(&file.text) {
        Ok(table) => Walk { file, given, problems }.table("", table.get_ref()),
        Err(error) => {
            let line = line_of(&file.text, error.span().map_or(0, |span| span.start));
            let what = format!("this is not TOML: {}", error.message());
            problems.push(Problem { source: Source::File(file.path.clone(), line), what });
        }
    }
}

struct Walk<'a> {
    file: &'a ConfigFile,
    given: &'a mut Vec<Given>,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = match section {
                "" => name.get_ref().to_string(),
                section => format!("{section}.{}", name.get_ref()),
            };
            self.entry(&path, name.span().start, value);
        }
    }

    fn entry(&mut self, path: &str, at: usize, value: &Spanned<DeValue<'_>>) {
        let source = Source::File(self.file.path.clone(), line_of(&self.file.text, at));
        let key = KEYS.iter().find(|key| key.path == path);
        let is_section = KEYS.iter().any(|key| key.section_and_name().0 == path);
        let what = match (key, value.get_ref()) {
            (Some(key), value) => return self.given.push(Given { key, value: understood(value), source }),
            (None, DeValue::Table(table)) if is_section => return self.table(path, table),
            (None, _) if is_section => format!("{path} is a section: write [{path}] and its keys below"),
            (None, _) => unknown_key(path),
        };
        self.problems.push(Problem { source, what });
    }
}

fn unknown_key(path: &str) -> String {
    let shown = path.escape_debug();
    match suggest(path, KEYS.iter().map(|key| key.path)) {
        Some(known) => format!("there is no key {shown}; did you mean {known}?"),
        None => format!("there is no key {shown}; `harkd config --explain` shows every key"),
    }
}

fn understood(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(claim) => Value::Boolean(*claim),
        DeValue::Integer(integer) => match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Other("a number below 0 or beyond all bounds"),
        },
        DeValue::Array(elements) => {
            let text = |element: &Spanned<DeValue<'_>>| element.get_ref().as_str().map(str::to_owned);
            elements.iter().map(text).collect::<Option<Vec<_>>>().map_or(Value::Other("a list"), Value::List)
        }
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a section"),
    }
}

/// The number of the line in which the byte at `offset` stands, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

const FILE_NAME: &str = "harkd.toml";

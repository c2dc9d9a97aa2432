//! `spec/registry.toml` as values: what the specification says in a form that a program can read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The whole registry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    pub(crate) protocol: Protocol,
    pub(crate) header: Vec<HeaderRow>,
    pub(crate) layout: Vec<Layout>,
    pub(crate) bound: Vec<Bound>,
    pub(crate) limit: Vec<Limit>,
    pub(crate) error: Vec<Error>,
    #[serde(rename = "enum")]
    pub(crate) enums: Vec<Enum>,
    pub(crate) record: Vec<Record>,
    pub(crate) body: Vec<Body>,
    pub(crate) frame: Vec<FrameRow>,
    pub(crate) extensions: Extensions,
    pub(crate) reserved: Vec<Range>,
    pub(crate) private: Vec<Range>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protocol {
    pub(crate) version: u8,
    pub(crate) magic: String,
    pub(crate) header_bytes: usize,
    pub(crate) checked_bytes: usize,
    pub(crate) alpn: String,
    pub(crate) port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderRow {
    pub(crate) offset: usize,
    pub(crate) size: usize,
    pub(crate) name: String,
    pub(crate) meaning: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    pub(crate) name: String,
    pub(crate) form: Form,
    pub(crate) bytes: Option<usize>,
    pub(crate) prefix: Option<usize>,
    pub(crate) meaning: String,
}

/// What a layout's bytes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Form {
    #[serde(rename = "integer")]
    Integer,
    #[serde(rename = "enumeration")]
    Enumeration,
    #[serde(rename = "flag")]
    Flag,
    #[serde(rename = "client id")]
    ClientId,
    #[serde(rename = "account name")]
    AccountName,
    #[serde(rename = "room name")]
    RoomName,
    #[serde(rename = "line")]
    Line,
    #[serde(rename = "secret")]
    Secret,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "list")]
    List,
    #[serde(rename = "frames")]
    Frames,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) value: u64,
    pub(crate) unit: String,
    pub(crate) meaning: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) default: Option<u64>,
    pub(crate) meaning: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Error {
    pub(crate) code: u16,
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) retryable: bool,
    pub(crate) resume_allowed: bool,
    pub(crate) meaning: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enum {
    pub(crate) name: String,
    pub(crate) layout: String,
    pub(crate) meaning: String,
    pub(crate) values: Vec<EnumValue>,
    #[serde(default)]
    pub(crate) reserved: Vec<ReservedValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnumValue {
    pub(crate) value: u16,
    pub(crate) name: String,
    pub(crate) meaning: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReservedValue {
    pub(crate) value: u16,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) meaning: String,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) kind: String,
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) layout: String,
    pub(crate) of: Option<String>,
    pub(crate) max: Option<String>,
    pub(crate) of_max: Option<String>,
    pub(crate) meaning: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrameRow {
    pub(crate) code: u16,
    pub(crate) name: String,
    pub(crate) since: u8,
    pub(crate) sent_by: String,
    pub(crate) answered_by: Vec<String>,
    pub(crate) ignorable: bool,
    pub(crate) capability: Option<String>,
    pub(crate) chapter: String,
    pub(crate) meaning: String,
    pub(crate) fields: Vec<Field>,
    #[serde(default)]
    pub(crate) errors: Vec<FrameErrorRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrameErrorRow {
    pub(crate) code: String,
    pub(crate) when: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extensions {
    pub(crate) specified_first: u16,
    pub(crate) specified_last: u16,
    pub(crate) private_first: u16,
    pub(crate) private_last: u16,
    pub(crate) ignorable_bit: u16,
    pub(crate) assigned: Vec<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) name: String,
}

/// The folder of the specification.
pub(crate) fn spec_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec")
}

/// A file of the specification.
pub(crate) fn read(path: &str) -> String {
    let path = spec_dir().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Holds a file of the specification to what the tests make of registry and code; with `HARK_BLESS=1` in the
/// environment, writes it instead.
pub(crate) fn hold(path: &str, expected: &str) {
    let file = spec_dir().join(path);
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    if std::env::var_os("HARK_BLESS").is_some() {
        if found != expected {
            // Renamed into place, because other tests read the same folder at the same time.
            let fresh = file.with_extension("fresh");
            std::fs::write(&fresh, expected).unwrap();
            std::fs::rename(fresh, file).unwrap();
        }
        return;
    }
    let differs = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    let line = differs.unwrap_or(found.lines().count().min(expected.lines().count()));
    assert!(
        found == expected,
        "spec/{path}, line {}: found {:?}, expected {:?}; HARK_BLESS=1 cargo test -p hark-protocol writes it",
        line + 1,
        found.lines().nth(line),
        expected.lines().nth(line),
    );
}

impl Registry {
    /// Reads the registry.
    pub(crate) fn load() -> Registry {
        toml::from_str(&read("registry.toml")).unwrap_or_else(|error| panic!("spec/registry.toml: {error}"))
    }

    /// The frame of that name.
    pub(crate) fn frame(&self, name: &str) -> &FrameRow {
        self.frame.iter().find(|frame| frame.name == name).unwrap_or_else(|| panic!("no frame {name}"))
    }

    /// The frame of that code.
    pub(crate) fn frame_by_code(&self, code: u16) -> Option<&FrameRow> {
        self.frame.iter().find(|frame| frame.code == code)
    }

    /// The value of a bound.
    pub(crate) fn bound(&self, name: &str) -> usize {
        let bound = self.bound.iter().find(|bound| bound.name == name);
        usize::try_from(bound.unwrap_or_else(|| panic!("no bound {name}")).value).unwrap()
    }

    /// The width of an enumeration, by its own row or by the layout of its name.
    pub(crate) fn enum_bytes(&self, name: &str) -> Option<usize> {
        let own = self.enums.iter().find(|row| row.name == name);
        let (layout, form) = own.map_or((name, Form::Enumeration), |row| (&row.layout, Form::Integer));
        self.layout.iter().find(|row| row.name == layout && row.form == form)?.bytes
    }

    /// Every enumeration's known values with their words, those that stand in tables of their own included.
    pub(crate) fn words(&self) -> BTreeMap<&str, Vec<(u16, &str)>> {
        let mut words: BTreeMap<&str, Vec<(u16, &str)>> = BTreeMap::new();
        for row in &self.enums {
            words.insert(&row.name, row.values.iter().map(|v| (v.value, v.name.as_str())).collect());
        }
        words.insert("frame type", self.frame.iter().map(|f| (f.code, f.name.as_str())).collect());
        words.insert("error code", self.error.iter().map(|e| (e.code, e.name.as_str())).collect());
        words.insert("limit id", self.limit.iter().map(|l| (l.id, l.name.as_str())).collect());
        words
    }
}

//! A codec that knows nothing but the registry: JSON to payload bytes and back, written apart from the crate's
//! own so that the two must agree.
//!
//! Integers of eight bytes are decimal strings in JSON, for not every reader of JSON keeps 64 bits. Texts are
//! strings, opaque bytes hexadecimal strings, enumerations and smaller integers numbers, flags booleans, records
//! objects, lists arrays, and enclosed frames an array of hexadecimal strings.

use serde_json::{Map, Value, json};

use crate::hex;
use crate::registry::{Field, Form, Layout, Registry};

/// Why a payload is refused, with the error code's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) why: String,
}

fn malformed<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code: "MALFORMED", why: why.into() })
}

/// One field as it was read: where it stands in the payload and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) meaning: String,
}

/// The codec.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) registry: Registry,
}

/// What a field or an element is made of.
enum Type<'a> {
    Plain(&'a Layout),
    Enum(&'a str, usize),
    Record(&'a [Field]),
}

impl Schema {
    pub(crate) fn load() -> Schema {
        Schema { registry: Registry::load() }
    }

    fn resolve<'a>(&'a self, name: &'a str) -> Type<'a> {
        let registry = &self.registry;
        if let Some(width) = registry.enum_bytes(name) {
            return Type::Enum(name, width);
        }
        if let Some(layout) = registry.layout.iter().find(|row| row.name == name) {
            return Type::Plain(layout);
        }
        if let Some(row) = registry.record.iter().find(|row| row.name == name) {
            return Type::Record(&row.fields);
        }
        panic!("no layout {name}")
    }

    /// Encodes an object as the payload that `fields` describe.
    pub(crate) fn encode(&self, fields: &[Field], object: &Value) -> Vec<u8> {
        let object = object.as_object().expect("a payload is an object");
        let mut out = Vec::new();
        for field in fields {
            let value = object.get(&field.name).unwrap_or_else(|| panic!("{} is missing", field.name));
            self.put(&field.layout, field, value, &mut out);
        }
        assert_eq!(object.len(), fields.len(), "an object has fields that are not the payload's: {object:?}");
        out
    }

    fn put(&self, layout: &str, field: &Field, value: &Value, out: &mut Vec<u8>) {
        let layout = match self.resolve(layout) {
            Type::Record(fields) => return out.extend(self.encode(fields, value)),
            Type::Enum(_, width) => return put_integer(value.as_u64().expect("a number"), width, out),
            Type::Plain(layout) => layout,
        };
        let text = || value.as_str().unwrap_or_else(|| panic!("{}: {value} is no string", field.name));
        let prefixed = |bytes: &[u8], out: &mut Vec<u8>| {
            put_integer(bytes.len() as u64, layout.prefix.expect("a prefix"), out);
            out.extend_from_slice(bytes);
        };
        match layout.form {
            Form::Integer if layout.bytes == Some(8) => {
                out.extend(text().parse::<u64>().unwrap().to_be_bytes())
            }
            Form::Integer => put_integer(value.as_u64().expect("a number"), layout.bytes.unwrap(), out),
            Form::Enumeration => unreachable!("enumerations are resolved as such"),
            Form::Flag => out.push(u8::from(value.as_bool().expect("a boolean"))),
            Form::ClientId => out.extend(hex::decode(text())),
            Form::AccountName | Form::RoomName | Form::Line | Form::Secret => {
                prefixed(text().as_bytes(), out)
            }
            Form::Bytes => prefixed(&hex::decode(text()), out),
            Form::Frames => {
                let frames = value.as_array().expect("an array").iter();
                let bytes: Vec<u8> = frames.flat_map(|frame| hex::decode(frame.as_str().unwrap())).collect();
                prefixed(&bytes, out);
            }
            Form::List => {
                let elements = value.as_array().expect("an array");
                put_integer(elements.len() as u64, 2, out);
                let of = element(field);
                elements.iter().for_each(|value| self.put(&of.layout, &of, value, out));
            }
        }
    }

    /// Decodes a whole payload, extension records included.
    pub(crate) fn decode(&self, code: u16, payload: &[u8]) -> Result<(Value, Vec<Row>), Refused> {
        let Some(frame) = self.registry.frame_by_code(code) else {
            return Err(Refused { code: "UNKNOWN_TYPE", why: format!("{code:#06x}") });
        };
        let mut reader = Reader { schema: self, payload, at: 0, rows: Vec::new() };
        let value = reader.object("", &frame.fields)?;
        reader.extensions(frame.name == "EVENT")?;
        Ok((value, reader.rows))
    }

    /// Decodes fields that fill `bytes`, such as the body of a control event.
    pub(crate) fn decode_fields(&self, fields: &[Field], bytes: &[u8]) -> Result<Value, Refused> {
        let mut reader = Reader { schema: self, payload: bytes, at: 0, rows: Vec::new() };
        let value = reader.object("", fields)?;
        reader.extensions(true)?;
        Ok(value)
    }

    /// The word for a value of an enumeration.
    pub(crate) fn word(&self, enumeration: &str, value: u64) -> Option<String> {
        let words = self.registry.words();
        let values = words.get(enumeration)?;
        values.iter().find(|(known, _)| u64::from(*known) == value).map(|(_, word)| (*word).to_owned())
    }
}

/// The field that an element of a list is.
fn element(list: &Field) -> Field {
    let layout = list.of.clone().expect("a list names its elements");
    Field { layout, of: None, max: list.of_max.clone(), of_max: None, ..list.clone() }
}

fn put_integer(value: u64, width: usize, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    assert!(bytes[..8 - width].iter().all(|byte| *byte == 0), "{value} does not fit {width} bytes");
    out.extend_from_slice(&bytes[8 - width..]);
}

struct Reader<'a> {
    schema: &'a Schema,
    payload: &'a [u8],
    at: usize,
    rows: Vec<Row>,
}

impl Reader<'_> {
    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Refused> {
        match self.payload.get(self.at..self.at.saturating_add(count)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes.to_vec())
            }
            None => malformed("the payload ends inside a field"),
        }
    }

    fn integer(&mut self, width: usize) -> Result<u64, Refused> {
        Ok(self.bytes(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn object(&mut self, path: &str, fields: &[Field]) -> Result<Value, Refused> {
        let mut object = Map::new();
        for field in fields {
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            let value = self.value(&path, field)?;
            object.insert(field.name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    fn row(&mut self, path: &str, start: usize, meaning: String) {
        self.rows.push(Row { path: path.to_owned(), start, end: self.at, meaning });
    }

    fn value(&mut self, path: &str, field: &Field) -> Result<Value, Refused> {
        let start = self.at;
        match self.schema.resolve(&field.layout) {
            Type::Record(fields) => self.object(path, fields),
            Type::Enum(name, width) => {
                let value = self.integer(width)?;
                let word = self.schema.word(name, value);
                self.row(path, start, word.unwrap_or_else(|| value.to_string()));
                Ok(json!(value))
            }
            Type::Plain(layout) if layout.form == Form::List => self.list(path, field),
            Type::Plain(layout) => {
                let (value, meaning) = self.plain(layout, field)?;
                self.row(path, start, meaning);
                Ok(value)
            }
        }
    }

    fn list(&mut self, path: &str, field: &Field) -> Result<Value, Refused> {
        let start = self.at;
        let count = usize::try_from(self.integer(2)?).unwrap();
        if count > self.max(field) {
            return malformed(format!("{path} has {count} elements"));
        }
        self.row(path, start, format!("{count} of {}", field.of.as_deref().unwrap_or_default()));
        let of = element(field);
        let elements: Result<Vec<Value>, Refused> =
            (0..count).map(|index| self.value(&format!("{path}[{index}]"), &of)).collect();
        elements.map(Value::Array)
    }

    fn max(&self, field: &Field) -> usize {
        self.schema.registry.bound(field.max.as_deref().expect("a bounded field"))
    }

    fn plain(&mut self, layout: &Layout, field: &Field) -> Result<(Value, String), Refused> {
        match layout.form {
            Form::Integer => {
                let width = layout.bytes.expect("an integer has a width");
                let value = self.integer(width)?;
                let json = if width == 8 { json!(value.to_string()) } else { json!(value) };
                Ok((json, value.to_string()))
            }
            Form::Enumeration => unreachable!("enumerations are resolved as such"),
            Form::Flag => match self.integer(1)? {
                0 => Ok((json!(false), "no".to_owned())),
                1 => Ok((json!(true), "yes".to_owned())),
                other => malformed(format!("flag {other}")),
            },
            Form::ClientId => {
                let bytes = self.bytes(16)?;
                let text = hex::encode(&bytes);
                if bytes.iter().all(|byte| *byte == 0) { malformed("zero") } else { Ok((json!(text), text)) }
            }
            Form::Frames => self.frames(layout),
            Form::Bytes => {
                let bytes = self.prefixed(layout, self.max(field))?;
                Ok((json!(hex::encode(&bytes)), shown(&bytes)))
            }
            Form::AccountName | Form::RoomName | Form::Line | Form::Secret => self.text(layout, field),
            Form::List => unreachable!("lists are read by list()"),
        }
    }

    fn prefixed(&mut self, layout: &Layout, max: usize) -> Result<Vec<u8>, Refused> {
        let length = usize::try_from(self.integer(layout.prefix.expect("a prefix"))?).unwrap();
        if length > max { malformed(format!("{length} above {max}")) } else { self.bytes(length) }
    }

    fn text(&mut self, layout: &Layout, field: &Field) -> Result<(Value, String), Refused> {
        let max = field.max.is_some().then(|| self.max(field));
        let bytes = self.prefixed(layout, max.unwrap_or(255))?;
        let Ok(text) = String::from_utf8(bytes) else { return malformed("not UTF-8") };
        let fits = match layout.form {
            Form::AccountName => self.is_account_name(&text),
            Form::RoomName => match text.strip_prefix('@').map(|pair| pair.split_once('+')) {
                Some(Some((a, b))) => self.is_account_name(a) && self.is_account_name(b) && a < b,
                Some(None) => false,
                None => is_plain(&text, 1, self.schema.registry.bound("ROOM_NAME_BYTES_MAX")),
            },
            Form::Line => text.chars().all(is_line_character),
            _ => true,
        };
        if fits { Ok((json!(text), format!("{text:?}"))) } else { malformed(format!("{text:?}")) }
    }

    fn is_account_name(&self, text: &str) -> bool {
        let bound = |name| self.schema.registry.bound(name);
        is_plain(text, bound("ACCOUNT_NAME_BYTES_MIN"), bound("ACCOUNT_NAME_BYTES_MAX"))
    }

    fn frames(&mut self, layout: &Layout) -> Result<(Value, String), Refused> {
        let max = self.schema.registry.bound("RECEIVE_FRAME_BYTES_MAX");
        let bytes = self.prefixed(layout, max)?;
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let code = self.schema.registry.frame("EVENT").code;
            let length = match split_frame(rest, max) {
                Ok(Some((header, length))) if header.code == code => length,
                _ => return malformed("an enclosed frame is broken"),
            };
            frames.push(json!(hex::encode(&rest[..length])));
            rest = &rest[length..];
        }
        let meaning = format!("{} frames of EVENT", frames.len());
        Ok((Value::Array(frames), meaning))
    }

    fn extensions(&mut self, are_all_ignorable: bool) -> Result<(), Refused> {
        let mut critical = None;
        while self.at < self.payload.len() {
            let start = self.at;
            let tag = self.integer(2)?;
            let length = usize::try_from(self.integer(2)?).unwrap();
            self.bytes(length)?;
            self.row("extension", start, format!("tag {tag:#06x}, {length} bytes"));
            if tag & u64::from(self.schema.registry.extensions.ignorable_bit) == 0 && !are_all_ignorable {
                critical.get_or_insert(tag);
            }
        }
        match critical {
            Some(tag) => Err(Refused { code: "UNSUPPORTED", why: format!("extension {tag:#06x}") }),
            None => Ok(()),
        }
    }
}

fn is_plain(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
}

fn is_line_character(c: char) -> bool {
    let code = u32::from(c);
    let is_control = code < 0x20 || (0x7f..0xa0).contains(&code);
    let turns = (0x2028..=0x202e).contains(&code) || (0x2066..=0x2069).contains(&code);
    !is_control && !turns
}

fn shown(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= 64 => format!("{text:?}"),
        _ => format!("{} bytes", bytes.len()),
    }
}

/// A header that has been judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) code: u16,
    pub(crate) correlation: u32,
}

/// Judges the frame at the front of `bytes` by the rules of the framing chapter and tells its length.
pub(crate) fn split_frame(bytes: &[u8], length_max: usize) -> Result<Option<(Head, usize)>, &'static str> {
    let magic = b"HARK";
    if bytes.iter().zip(magic).any(|(found, expected)| found != expected) {
        return Err("BAD_MAGIC");
    }
    if bytes.len() < 20 {
        return Ok(None);
    }
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    if bytes[4] != 1 {
        return Err("BAD_VERSION");
    }
    let total = 20 + word(12) as usize;
    if total > 20 + length_max {
        return Err("FRAME_TOO_LARGE");
    }
    if bytes.len() < total {
        return Ok(None);
    }
    if crc32(bytes[..16].iter().chain(&bytes[20..total])) != word(16) {
        return Err("BAD_CHECKSUM");
    }
    Ok(Some((Head { code: u16::from_be_bytes([bytes[6], bytes[7]]), correlation: word(8) }, total)))
}

/// A frame of any content, sealed.
pub(crate) fn seal(code: u16, correlation: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = b"HARK\x01\x00".to_vec();
    frame.extend(code.to_be_bytes());
    frame.extend(correlation.to_be_bytes());
    frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    let checksum = crc32(frame.iter().chain(payload));
    frame.extend(checksum.to_be_bytes());
    frame.extend(payload);
    frame
}

/// CRC-32 (ISO-HDLC), bit by bit, as the framing chapter gives it.
pub(crate) fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

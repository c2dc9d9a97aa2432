//! The smallest and the largest value of every field, made from the registry: the ends of what a decoder takes.

use serde_json::{Map, Value, json};

use crate::hex;
use crate::registry::{Field, Form, Registry};
use crate::schema::{Schema, seal};

/// Which end of a field's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extreme {
    Minimal,
    Maximal,
}

/// Records in the lists of a maximal vector, and kilobytes in its bodies: a vector is to be read. That a decoder
/// takes the whole of a bound is tested with [`filled`] instead.
const RECORDS: usize = 2;
const BODY_BYTES: usize = 1024;

/// The payload of a frame whose every field is at that end.
pub(crate) fn payload(schema: &Schema, fields: &[Field], extreme: Extreme) -> Value {
    let mut object = Map::new();
    for field in fields {
        object.insert(field.name.clone(), value(schema, field, &field.layout, extreme));
    }
    Value::Object(object)
}

fn value(schema: &Schema, field: &Field, layout: &str, extreme: Extreme) -> Value {
    let registry = &schema.registry;
    if let Some(record) = registry.record.iter().find(|row| row.name == layout) {
        return payload(schema, &record.fields, extreme);
    }
    let is_maximal = extreme == Extreme::Maximal;
    if let Some(width) = registry.enum_bytes(layout) {
        return enumeration(registry, layout, width, is_maximal);
    }
    let row = registry.layout.iter().find(|row| row.name == layout).expect("a registered layout");
    let max = || field.max.as_deref().map_or(0, |name| registry.bound(name));
    match row.form {
        Form::Integer if row.bytes == Some(8) => json!(if is_maximal { u64::MAX } else { 0 }.to_string()),
        Form::Integer if is_maximal => json!(u64::MAX >> (64 - 8 * row.bytes.unwrap())),
        Form::Integer => json!(0),
        Form::Enumeration => unreachable!("enumerations have values of their own"),
        Form::Flag => json!(is_maximal),
        Form::ClientId if is_maximal => json!("ff".repeat(16)),
        Form::ClientId => json!(format!("{}01", "00".repeat(15))),
        Form::AccountName => json!(if is_maximal { "z".repeat(32) } else { "a0".to_owned() }),
        Form::RoomName if is_maximal => json!(format!("@{}+{}", "y".repeat(32), "z".repeat(32))),
        Form::RoomName => json!("a"),
        // Four bytes to a character: bounds count bytes.
        Form::Line | Form::Secret => {
            json!(if is_maximal { "\u{1f511}".repeat(max() / 4) } else { String::new() })
        }
        Form::Bytes => json!(if is_maximal { pattern(max().min(BODY_BYTES)) } else { String::new() }),
        Form::List => list(schema, field, is_maximal.then(max)),
        Form::Frames => enclosed(schema, is_maximal),
    }
}

fn enumeration(registry: &Registry, name: &str, width: usize, is_maximal: bool) -> Value {
    match is_maximal {
        false => json!(registry.words()[name][0].0),
        true => json!(u64::MAX >> (64 - 8 * width)),
    }
}

fn pattern(length: usize) -> String {
    hex::encode(&(0..length).map(|index| (index % 256) as u8).collect::<Vec<_>>())
}

fn list(schema: &Schema, field: &Field, max: Option<usize>) -> Value {
    let of = field.of.as_deref().expect("a list names its elements");
    let is_record = schema.registry.record.iter().any(|row| row.name == of);
    let element = Field { max: field.of_max.clone(), of: None, ..field.clone() };
    let count = max.map_or(0, |max| if is_record && of != "limit" { RECORDS } else { max });
    (0..count).map(|_| value(schema, &element, of, Extreme::Maximal)).collect()
}

fn enclosed(schema: &Schema, is_maximal: bool) -> Value {
    let event = schema.registry.frame("EVENT");
    let sealed = |extreme| {
        let body = schema.encode(&event.fields, &payload(schema, &event.fields, extreme));
        json!(hex::encode(&seal(event.code, 0, &body)))
    };
    match is_maximal {
        true => json!([sealed(Extreme::Minimal), sealed(Extreme::Maximal)]),
        false => json!([]),
    }
}

/// A bounded field's encoding with `count` bytes or elements, each as small as it can be.
pub(crate) fn filled(schema: &Schema, field: &Field, count: usize) -> Vec<u8> {
    let registry = &schema.registry;
    let row = registry.layout.iter().find(|row| row.name == field.layout).expect("a bounded layout");
    let mut out = count.to_be_bytes()[8 - row.prefix.expect("a bounded layout has a prefix")..].to_vec();
    if row.form != Form::List {
        out.extend(std::iter::repeat_n(b'x', count));
        return out;
    }
    let of = field.of.clone().expect("a list names its elements");
    let element = Field {
        name: "element".to_owned(),
        layout: of,
        max: field.of_max.clone(),
        of: None,
        ..field.clone()
    };
    let smallest = payload(schema, std::slice::from_ref(&element), Extreme::Minimal);
    let bytes = schema.encode(std::slice::from_ref(&element), &smallest);
    out.extend(std::iter::repeat_n(bytes, count).flatten());
    out
}

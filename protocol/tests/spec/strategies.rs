//! Random values of every payload, made from the registry: whatever its fields may hold.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::hex;
use crate::registry::{Field, Form};
use crate::schema::{Schema, seal};

/// Bytes and elements at most in a random text, body or list: bounds are tested on their own.
const SIZE: usize = 40;
const ELEMENTS: usize = 3;

/// The payload of these fields, in JSON.
pub(crate) fn object(schema: &Schema, fields: &[Field]) -> BoxedStrategy<Value> {
    let members: Vec<BoxedStrategy<(String, Value)>> = fields
        .iter()
        .map(|field| {
            let name = field.name.clone();
            value(schema, field, &field.layout).prop_map(move |value| (name.clone(), value)).boxed()
        })
        .collect();
    members.prop_map(|members| Value::Object(members.into_iter().collect())).boxed()
}

fn value(schema: &Schema, field: &Field, layout: &str) -> BoxedStrategy<Value> {
    let registry = &schema.registry;
    if let Some(record) = registry.record.iter().find(|row| row.name == layout) {
        return object(schema, &record.fields);
    }
    if let Some(width) = registry.enum_bytes(layout) {
        let known: Vec<u16> = registry.words()[layout].iter().map(|(value, _)| *value).collect();
        let any_value = any::<u16>().prop_map(move |value| if width == 1 { value & 0xff } else { value });
        return prop_oneof![any_value, proptest::sample::select(known)]
            .prop_map(|value| json!(value))
            .boxed();
    }
    let row = registry.layout.iter().find(|row| row.name == layout).expect("a registered layout");
    let max = field.max.as_deref().map_or(SIZE, |name| registry.bound(name)).min(SIZE);
    match row.form {
        Form::Enumeration => unreachable!("enumerations have values of their own"),
        Form::Integer if row.bytes == Some(8) => edgy().prop_map(|value| json!(value.to_string())).boxed(),
        Form::Integer => {
            let shift = 64 - 8 * row.bytes.expect("an integer has a width");
            edgy().prop_map(move |value| json!(value >> shift)).boxed()
        }
        Form::Flag => any::<bool>().prop_map(|flag| json!(flag)).boxed(),
        Form::ClientId => (1..=u128::MAX).prop_map(|id| json!(hex::encode(&id.to_be_bytes()))).boxed(),
        Form::AccountName => name(2, 32).prop_map(|name| json!(name)).boxed(),
        Form::RoomName => room_name().prop_map(|name| json!(name)).boxed(),
        Form::Line => text(max, true).prop_map(|text| json!(text)).boxed(),
        Form::Secret => text(max, false).prop_map(|text| json!(text)).boxed(),
        Form::Bytes => bytes(max).prop_map(|bytes| json!(hex::encode(&bytes))).boxed(),
        Form::List => {
            let of = field.of.clone().expect("a list names its elements");
            let element = Field { max: field.of_max.clone(), of: None, ..field.clone() };
            let elements = proptest::collection::vec(value(schema, &element, &of), 0..=ELEMENTS);
            elements.prop_map(Value::Array).boxed()
        }
        Form::Frames => {
            let event = schema.registry.frame("EVENT");
            let code = event.code;
            let registry_fields = event.fields.clone();
            let payloads = object(schema, &registry_fields);
            let frames = proptest::collection::vec(payloads, 0..=ELEMENTS);
            frames
                .prop_map(move |events| {
                    let schema = Schema::load();
                    let sealed =
                        events.iter().map(|event| seal(code, 0, &schema.encode(&registry_fields, event)));
                    sealed.map(|frame| json!(hex::encode(&frame))).collect()
                })
                .boxed()
        }
    }
}

/// Integers, those at the ends more often than chance has them.
fn edgy() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), 0..1_000_u64]
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..=max)
}

fn name(min: usize, max: usize) -> impl Strategy<Value = String> {
    let letters: Vec<char> = "abcdefghijklmnopqrstuvwxyz0123456789._-".chars().collect();
    proptest::collection::vec(proptest::sample::select(letters), min..=max)
        .prop_map(|letters| letters.into_iter().collect())
}

fn room_name() -> impl Strategy<Value = String> {
    let direct = (name(2, 32), name(2, 32)).prop_filter_map("one account twice", |(one, other)| {
        let (first, second) = if one < other { (&one, &other) } else { (&other, &one) };
        (first != second).then(|| format!("@{first}+{second}"))
    });
    prop_oneof![name(1, 64), direct]
}

fn text(max: usize, is_line: bool) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..=max).prop_map(move |chars| {
        let mut text = String::new();
        for c in chars {
            let turns = ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
            let fits = text.len() + c.len_utf8() <= max;
            if fits && !(is_line && (c.is_control() || turns)) {
                text.push(c);
            }
        }
        text
    })
}

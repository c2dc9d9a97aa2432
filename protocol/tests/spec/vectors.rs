//! The golden vectors: files that anyone's codec can be held to, made by `HARK_BLESS=1` and verified here against
//! this crate and against the codec that knows only the registry.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use hark_protocol::{Correlation, DecodeError, Frame, RawFrame, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::extremes::{self, Extreme};
use crate::fuzz_properties::{Outcome, receive};
use crate::registry::{hold, read};
use crate::schema::{Schema, seal, split_frame};
use crate::{broken, hex, json_schema, rejects, requirements, samples, streams};

/// One vector. Which fields it has depends on its file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) covers: Vec<String>,
    pub(crate) result: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) length_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) frame: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<Vec<Value>>,
    pub(crate) comment: String,
}

/// A file of vectors.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "$schema")]
    schema: String,
    about: String,
    vectors: Vec<Vector>,
}

pub(crate) const FILES: [&str; 5] =
    ["frames.json", "bodies.json", "rejects-framing.json", "rejects-payload.json", "streams.json"];

/// The vectors of a file.
pub(crate) fn load(file: &str) -> Vec<Vector> {
    let text = read(&format!("vectors/{file}"));
    let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    file.vectors
}

/// A file's text: a vector's every field on a line of its own, so that a change shows where it is.
fn text(about: &str, vectors: &[Vector]) -> String {
    let rows: Vec<String> = vectors
        .iter()
        .map(|vector| {
            let value = serde_json::to_string(vector).unwrap();
            let fields: serde_json::Map<String, Value> = serde_json::from_str(&value).unwrap();
            let order = [
                "id",
                "covers",
                "result",
                "error",
                "scope",
                "length_max",
                "hex",
                "chunks",
                "frame",
                "body",
                "events",
                "comment",
            ];
            let lines: Vec<String> = order
                .iter()
                .filter_map(|key| fields.get(*key).map(|value| format!("      {:?}: {value}", key)))
                .collect();
            format!("    {{\n{}\n    }}", lines.join(",\n"))
        })
        .collect();
    format!(
        "{{\n  \"$schema\": \"vectors.schema.json\",\n  \"about\": {},\n  \"vectors\": [\n{}\n  ]\n}}\n",
        json!(about),
        rows.join(",\n")
    )
}

/// A frame in JSON.
fn shown(schema: &Schema, bytes: &[u8]) -> Value {
    let (head, _) = split_frame(bytes, 1024 * 1024).unwrap().expect("a whole frame");
    let (fields, _) = schema.decode(head.code, &bytes[20..]).expect("a valid payload");
    let name = &schema.registry.frame_by_code(head.code).expect("a known type").name;
    json!({ "type": name, "correlation": head.correlation, "fields": fields })
}

fn covers(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn frames(schema: &Schema) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (row, (correlation, sample)) in schema.registry.frame.iter().zip(samples::all()) {
        let id = |end: &str| format!("{}-{end}", row.name.to_lowercase().replace('_', "-"));
        let extreme = |extreme, correlation| {
            let value = extremes::payload(schema, &row.fields, extreme);
            seal(row.code, correlation, &schema.encode(&row.fields, &value))
        };
        let is_answer = row.answered_by.is_empty() && row.sent_by == "client" || row.name == "EVENT";
        let (low, high) = if is_answer { (0, 0) } else { (1, u32::MAX) };
        let comments = [
            "every field as small as it can be",
            "a plausible one, which the frame's page shows",
            "every field as large as it can be, but for the length of bodies and of lists of records",
        ];
        let bytes = [
            ("minimal", extreme(Extreme::Minimal, low)),
            ("example", sample.encode(correlation).as_slice().to_vec()),
            ("maximal", extreme(Extreme::Maximal, high)),
        ];
        for ((end, bytes), comment) in bytes.into_iter().zip(comments) {
            vectors.push(valid(schema, id(end), covers(&["FR-R24", "FR-R06"]), "valid", &bytes, comment));
        }
    }
    vectors.extend(acceptable(schema));
    vectors
}

fn valid(
    schema: &Schema,
    id: String,
    covers: Vec<String>,
    result: &str,
    bytes: &[u8],
    comment: &str,
) -> Vector {
    Vector {
        id,
        covers,
        result: result.to_owned(),
        hex: Some(hex::encode(bytes)),
        frame: Some(shown(schema, bytes)),
        comment: comment.to_owned(),
        ..Vector::default()
    }
}

/// What a receiver takes although no sender of version 1 sends it.
fn acceptable(schema: &Schema) -> Vec<Vector> {
    let ping = [&[0, 0, 0, 2][..], b"hi"].concat();
    let extended = |tail: &[u8]| seal(0x0007, 5, &[&ping[..], tail].concat());
    let event = schema.registry.frame("EVENT");
    let smallest = schema.encode(&event.fields, &extremes::payload(schema, &event.fields, Extreme::Minimal));
    let mut flagged = seal(0x0007, 5, &ping);
    flagged[5] = 0xff;
    let checksum = crate::schema::crc32(flagged[..16].iter().chain(&flagged[20..]));
    flagged[16..20].copy_from_slice(&checksum.to_be_bytes());
    let rows = [
        ("ping-flags", "FR-R04", flagged, "all flags are set, and mean nothing"),
        ("ping-extension-ignorable", "FR-R37", extended(&[0x80, 1, 0, 3, 1, 2, 3]), "tag 0x8001 is skipped"),
        ("ping-extension-empty", "FR-R37", extended(&[0xc0, 0, 0, 0]), "an extension record without a value"),
        (
            "ping-extensions-two",
            "FR-R37",
            extended(&[0x80, 1, 0, 0, 0xff, 0xff, 0, 1, 0]),
            "two extension records behind the fields",
        ),
        (
            "event-extension-critical",
            "FR-R39",
            seal(event.code, 0, &[&smallest[..], &[0, 1, 0, 1, 0xaa]].concat()),
            "in an EVENT every extension record is ignorable",
        ),
    ];
    rows.into_iter()
        .map(|(id, label, bytes, comment)| {
            valid(schema, id.to_owned(), covers(&[label]), "acceptable", &bytes, comment)
        })
        .collect()
}

fn bodies(schema: &Schema) -> Vec<Vector> {
    let body = |kind: &str, end: &str, bytes: &[u8]| {
        let row = schema.registry.body.iter().find(|row| row.kind == kind).expect("a registered body");
        let fields = schema.decode_fields(&row.fields, bytes).expect("a valid body");
        Vector {
            id: format!("body-{kind}-{end}"),
            covers: covers(&["LG-R09"]),
            result: "valid".to_owned(),
            hex: Some(hex::encode(bytes)),
            body: Some(json!({ "kind": kind, "fields": fields })),
            comment: format!("the body of a {kind} event"),
            ..Vector::default()
        }
    };
    let mut vectors = Vec::new();
    for (kind, example) in samples::bodies() {
        let row = schema.registry.body.iter().find(|row| row.kind == kind).expect("a registered body");
        for (end, extreme) in [("minimal", Extreme::Minimal), ("maximal", Extreme::Maximal)] {
            let bytes = schema.encode(&row.fields, &extremes::payload(schema, &row.fields, extreme));
            vectors.push(body(kind, end, &bytes));
        }
        vectors.push(body(kind, "example", &example));
    }
    vectors
}

#[test]
fn vector_files_are_what_registry_and_code_make() {
    let schema = Schema::load();
    let files = [
        ("frames.json", "Whole frames that are taken.", frames(&schema)),
        ("bodies.json", "Bodies of control events.", bodies(&schema)),
        ("rejects-framing.json", "Bytes that end a connection.", broken::all(&schema)),
        ("rejects-payload.json", "Whole frames that are answered with an error.", rejects::payload(&schema)),
        ("streams.json", "Streams in chunks, and what a receiver makes of them.", streams::all(&schema)),
    ];
    for (file, about, vectors) in files {
        hold(&format!("vectors/{file}"), &text(about, &vectors));
    }
}

#[test]
fn vector_files_fit_their_schema_and_cover_requirements() {
    let schema: Value = serde_json::from_str(&read("vectors/vectors.schema.json")).unwrap();
    let requirements = requirements::ids();
    let mut ids = BTreeSet::new();
    for file in FILES {
        let value: Value = serde_json::from_str(&read(&format!("vectors/{file}"))).unwrap();
        json_schema::check(&schema, &value).unwrap_or_else(|error| panic!("{file}: {error}"));
        for vector in load(file) {
            assert!(!vector.covers.is_empty(), "{}: covers nothing", vector.id);
            for id in &vector.covers {
                assert!(requirements.contains(id), "{}: {id} is no requirement", vector.id);
            }
            assert!(ids.insert(vector.id.clone()), "{}: there twice", vector.id);
        }
    }
}

#[test]
fn every_type_has_a_minimal_an_example_and_a_maximal_vector() {
    let schema = Schema::load();
    let vectors = load("frames.json");
    for row in &schema.registry.frame {
        for end in ["minimal", "example", "maximal"] {
            let id = format!("{}-{end}", row.name.to_lowercase().replace('_', "-"));
            let vector = vectors.iter().find(|vector| vector.id == id).unwrap_or_else(|| panic!("no {id}"));
            assert_eq!(vector.frame.as_ref().unwrap()["type"], json!(row.name), "{id}");
        }
    }
}

fn taken(bytes: &[u8]) -> RawFrame {
    let mut input = BytesMut::from(bytes);
    let raw = RawFrame::take(&mut input, limits::RECEIVE_FRAME_BYTES_MAX).unwrap().expect("a whole frame");
    assert!(input.is_empty(), "bytes behind the frame");
    raw
}

#[test]
fn frames_decode_and_encode_to_the_vectors_byte_by_byte() {
    let schema = Schema::load();
    for vector in load("frames.json") {
        let id = &vector.id;
        let bytes = hex::decode(vector.hex.as_ref().expect("a frame has bytes"));
        let expected = vector.frame.as_ref().expect("a frame");
        assert_eq!(shown(&schema, &bytes), *expected, "{id}: the registry's reading");
        let raw = taken(&bytes);
        let frame = Frame::decode(&raw).unwrap_or_else(|error| panic!("{id}: {error}"));
        let correlation = Correlation(u32::try_from(expected["correlation"].as_u64().unwrap()).unwrap());
        assert_eq!(raw.header().correlation, correlation, "{id}");
        assert_eq!(json!(frame.frame_type().name()), expected["type"], "{id}");
        let encoded = frame.encode(correlation);
        let row = schema.registry.frame(expected["type"].as_str().unwrap());
        let registered = seal(row.code, correlation.0, &schema.encode(&row.fields, &expected["fields"]));
        assert_eq!(hex::encode(encoded.as_slice()), hex::encode(&registered), "{id}: crate and registry");
        let is_canonical = encoded.as_slice() == bytes;
        assert_eq!(is_canonical, vector.result == "valid", "{id}: {} when encoded", vector.result);
    }
}

#[test]
fn examples_are_the_samples_and_mean_them() {
    let schema = Schema::load();
    let vectors = load("frames.json");
    for (correlation, sample) in samples::all() {
        let bytes = sample.encode(correlation);
        let vector = vectors.iter().find(|vector| vector.hex == Some(hex::encode(bytes.as_slice())));
        let vector = vector.unwrap_or_else(|| panic!("no vector of the sample {:?}", sample.frame_type()));
        assert_eq!(shown(&schema, bytes.as_slice()), *vector.frame.as_ref().unwrap());
        assert_eq!(Frame::decode(&taken(bytes.as_slice())), Ok(sample));
    }
}

#[test]
fn bodies_decode_and_encode_to_the_vectors_byte_by_byte() {
    use hark_protocol::kind::{InviteBody, JoinBody, KickBody, RetentionBody, RoleBody, TopicBody};
    use hark_protocol::wire::{Reader, Wire};
    fn again<T: Wire>(bytes: Vec<u8>) -> Vec<u8> {
        let mut reader = Reader::new(Bytes::from(bytes));
        let value = T::take(&mut reader).unwrap();
        assert_eq!(reader.remaining(), 0);
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }
    let schema = Schema::load();
    for vector in load("bodies.json") {
        let bytes = hex::decode(vector.hex.as_ref().unwrap());
        let body = vector.body.as_ref().unwrap();
        let kind = body["kind"].as_str().unwrap();
        let encoded = match kind {
            "join" => again::<JoinBody>(bytes.clone()),
            "kick" => again::<KickBody>(bytes.clone()),
            "topic" => again::<TopicBody>(bytes.clone()),
            "role" => again::<RoleBody>(bytes.clone()),
            "invite" => again::<InviteBody>(bytes.clone()),
            "retention" => again::<RetentionBody>(bytes.clone()),
            other => panic!("{other} has no body"),
        };
        assert_eq!(encoded, bytes, "{}", vector.id);
        let row = schema.registry.body.iter().find(|row| row.kind == kind).unwrap();
        assert_eq!(schema.encode(&row.fields, &body["fields"]), bytes, "{}", vector.id);
    }
}

#[test]
fn rejects_are_refused_with_their_code_by_crate_and_registry() {
    let schema = Schema::load();
    for (file, is_terminal) in [("rejects-framing.json", true), ("rejects-payload.json", false)] {
        let mut checks = BTreeSet::new();
        for vector in load(file) {
            let id = &vector.id;
            let bytes = hex::decode(vector.hex.as_ref().unwrap());
            let length_max = vector.length_max.unwrap_or(limits::FRAME_BYTES_DEFAULT);
            let (code, scope) = (vector.error.as_deref().unwrap(), vector.scope.as_deref().unwrap());
            let outcomes = receive([&bytes[..]], length_max);
            let found = match outcomes.as_slice() {
                [Outcome::Broken(found)] if is_terminal => *found,
                [Outcome::Refused(_, found)] if !is_terminal => *found,
                other => panic!("{id}: {other:?}"),
            };
            assert_eq!((found.name(), found.scope().name()), (Some(code), Some(scope)), "{id}");
            let registered = match split_frame(&bytes, length_max as usize) {
                Err(broken) => broken,
                Ok(whole) => {
                    let (head, _) = whole.unwrap_or_else(|| panic!("{id}: not a whole frame"));
                    schema.decode(head.code, &bytes[20..]).expect_err(id).code
                }
            };
            assert_eq!(registered, code, "{id}: the registry's judgement");
            if !is_terminal {
                let error = Frame::decode(&taken(&bytes)).unwrap_err();
                let frame_type = taken(&bytes).header().frame_type;
                // One variant stands for a header's and a checksum's fault in an enclosed frame.
                let which = if matches!(error, DecodeError::BadEnclosedFrame(_)) { id } else { "" };
                let check = format!("{frame_type:?} {error:?} {which}");
                assert!(
                    checks.insert(check.clone()),
                    "{id}: another vector fails for the same check: {check}"
                );
            }
        }
    }
    assert!(load("rejects-framing.json").len() + load("rejects-payload.json").len() >= 60);
}

#[test]
fn streams_give_the_vectors_events_however_they_are_cut() {
    let schema = Schema::load();
    let vectors = load("streams.json");
    assert!(vectors.len() >= 15);
    for vector in vectors {
        let chunks: Vec<Vec<u8>> = vector.chunks.iter().flatten().map(|chunk| hex::decode(chunk)).collect();
        let length_max = vector.length_max.unwrap_or(limits::FRAME_BYTES_DEFAULT);
        let events = |chunks: Vec<&[u8]>| -> Vec<Value> {
            receive(chunks, length_max).iter().map(streams::event).collect()
        };
        let expected = vector.events.clone().unwrap();
        assert_eq!(events(chunks.iter().map(Vec::as_slice).collect()), expected, "{}", vector.id);
        let whole = chunks.concat();
        assert_eq!(events(vec![&whole]), expected, "{} in one chunk", vector.id);
        assert_eq!(events(whole.chunks(1).collect()), expected, "{} byte by byte", vector.id);
        assert_eq!(
            streams::registered(&schema, &whole, length_max),
            expected,
            "{} by the registry",
            vector.id
        );
        let is_broken = expected.last().is_some_and(|event| event["scope"] == "connection");
        assert_eq!(vector.result == "invalid", is_broken, "{}", vector.id);
    }
}

//! Streams in chunks: what a receiver takes, passes over and refuses, wherever the cuts are.

use serde_json::{Value, json};

use crate::extremes::{self, Extreme};
use crate::fuzz_properties::{Outcome, receive};
use crate::hex;
use crate::schema::{Schema, crc32, seal, split_frame};
use crate::vectors::Vector;

/// An outcome as a vector spells it.
pub(crate) fn event(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Taken(raw) => json!({
            "event": "frame",
            "type": raw.header().frame_type.name(),
            "correlation": raw.header().correlation.0,
            "payload": hex::encode(&raw.payload()),
        }),
        Outcome::Skipped(frame_type) => json!({ "event": "skipped", "code": frame_type.0 }),
        Outcome::Refused(correlation, code) => json!({
            "event": "error",
            "error": code.name(),
            "scope": code.scope().name(),
            "correlation": correlation.0,
        }),
        Outcome::Broken(code) => {
            json!({ "event": "error", "error": code.name(), "scope": code.scope().name(), "correlation": 0 })
        }
    }
}

/// The events of a whole stream by the registry alone.
pub(crate) fn registered(schema: &Schema, stream: &[u8], length_max: u32) -> Vec<Value> {
    let error = |name: &str, correlation: u32| {
        let row = schema.registry.error.iter().find(|row| row.name == name).expect("a registered code");
        json!({ "event": "error", "error": name, "scope": row.scope, "correlation": correlation })
    };
    let mut events = Vec::new();
    let mut rest = stream;
    loop {
        let (head, length) = match split_frame(rest, length_max as usize) {
            Ok(Some(whole)) => whole,
            Ok(None) => return events,
            Err(broken) => {
                events.push(error(broken, 0));
                return events;
            }
        };
        let payload = &rest[20..length];
        events.push(match (schema.registry.frame_by_code(head.code), schema.decode(head.code, payload)) {
            (None, _) if head.code & 0x8000 != 0 => json!({ "event": "skipped", "code": head.code }),
            (Some(row), Ok(_)) => json!({
                "event": "frame",
                "type": row.name,
                "correlation": head.correlation,
                "payload": hex::encode(payload),
            }),
            (_, judged) => error(judged.expect_err("an unknown type is refused").code, head.correlation),
        });
        rest = &rest[length..];
    }
}

fn ping(correlation: u32, data: &str) -> Vec<u8> {
    let mut payload = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    payload.extend_from_slice(data.as_bytes());
    seal(0x0007, correlation, &payload)
}

/// Splits a stream behind these places.
fn cut(stream: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut from = 0;
    for place in places.iter().copied().chain([stream.len()]) {
        chunks.push(stream[from..place].to_vec());
        from = place;
    }
    chunks
}

fn resealed(mut frame: Vec<u8>, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut frame);
    let checksum = crc32(frame[..16].iter().chain(&frame[20..]));
    frame[16..20].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// Every stream.
pub(crate) fn all(schema: &Schema) -> Vec<Vector> {
    let mut vectors = segments();
    vectors.extend(answers(schema));
    vectors.extend(breaks());
    vectors.extend(lengths());
    vectors
}

fn vector(id: &str, label: &str, length_max: Option<u32>, chunks: Vec<Vec<u8>>, comment: &str) -> Vector {
    let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let outcomes = receive(slices, length_max.unwrap_or(65_536));
    let is_broken = matches!(outcomes.last(), Some(Outcome::Broken(_)));
    Vector {
        id: format!("stream-{id}"),
        covers: vec![label.to_owned()],
        result: if is_broken { "invalid" } else { "valid" }.to_owned(),
        length_max,
        chunks: Some(chunks.iter().map(|chunk| hex::encode(chunk)).collect()),
        events: Some(outcomes.iter().map(event).collect()),
        comment: comment.to_owned(),
        ..Vector::default()
    }
}

const SEGMENT: &str = "FR-R11";

fn segments() -> Vec<Vector> {
    let one = ping(1, "one");
    let two = [ping(1, "one"), ping(2, "two")].concat();
    let many: Vec<u8> = (1..=16).flat_map(|n| ping(n, "")).collect();
    let bytes = one.chunks(1).map(<[u8]>::to_vec).collect();
    let empties = vec![vec![], one[..7].to_vec(), vec![], one[7..].to_vec(), vec![]];
    vec![
        vector("whole", SEGMENT, None, vec![one.clone()], "one frame in one chunk"),
        vector("bytes", SEGMENT, None, bytes, "one frame byte by byte"),
        vector("in-magic", SEGMENT, None, cut(&one, &[2]), "cut inside the magic"),
        vector("in-length", SEGMENT, None, cut(&one, &[14]), "cut inside the length"),
        vector("header-payload", SEGMENT, None, cut(&one, &[20]), "cut between header and payload"),
        vector("in-payload", SEGMENT, None, cut(&one, &[25]), "cut inside the payload"),
        vector("two", SEGMENT, None, vec![two.clone()], "two frames in one chunk"),
        vector("two-crossed", SEGMENT, None, cut(&two, &[40]), "a frame and a half, then the rest"),
        vector("many", SEGMENT, None, cut(&many, &[100, 101, 300]), "sixteen frames in four chunks"),
        vector("empties", SEGMENT, None, empties, "chunks without bytes between"),
        vector(
            "no-payload",
            SEGMENT,
            None,
            cut(&[seal(0x000b, 1, &[]), seal(0x000b, 2, &[])].concat(), &[20]),
            "two frames without payload",
        ),
    ]
}

fn answers(schema: &Schema) -> Vec<Vector> {
    let then = |frame: Vec<u8>| vec![[frame, ping(2, "on")].concat()];
    let event = schema.registry.frame("EVENT");
    let fields = extremes::payload(schema, &event.fields, Extreme::Minimal);
    let extended = [schema.encode(&event.fields, &fields), vec![0, 1, 0, 0]].concat();
    let critical = seal(0x0007, 1, &[0, 0, 0, 0, 0, 1, 0, 0]);
    let flagged = resealed(ping(1, "flags"), |frame| frame[5] = 0x81);
    vec![
        vector("skip", "FR-R21", None, then(seal(0xc001, 0, b"what?")), "unknown and ignorable, then on"),
        vector(
            "skip-known-low",
            "FR-R21",
            None,
            then(seal(0x8007, 0, &[])),
            "PING's code with bit 15 is not PING",
        ),
        vector("unknown", "FR-R20", None, then(seal(0x4001, 1, b"what?")), "unknown and critical, then on"),
        vector("malformed", "ER-R04", None, then(seal(0x0007, 1, &[0, 0])), "malformed, then on"),
        vector("critical", "FR-R38", None, then(critical), "a critical extension record, then on"),
        vector("event", "FR-R39", None, then(seal(event.code, 0, &extended)), "an EVENT that is extended"),
        vector("flags", "FR-R04", None, then(flagged), "flags, sealed as they are"),
    ]
}

fn breaks() -> Vec<Vector> {
    let good = ping(1, "good");
    let mut turned = ping(2, "turned");
    turned[25] ^= 0x10;
    let shorter = resealed_length(&ping(2, "x"), -1);
    let longer = resealed_length(&ping(2, "x"), 1);
    let behind = |bad: &[u8]| vec![[&good[..], bad, &good].concat()];
    let versioned = resealed(ping(2, "v"), |frame| frame[4] = 2);
    vec![
        vector("magic", "FR-R08", None, behind(b"hark"), "a good frame, noise, a good frame: one is taken"),
        vector("byte", "FR-R09", None, cut(&[&good[..], b"X"].concat(), &[good.len()]), "broken at one byte"),
        vector("checksum", "FR-R08", None, behind(&turned), "a damaged frame between good ones"),
        vector("version", "FR-R08", None, behind(&versioned), "another version between good ones"),
        vector("shorter", "FR-R05", None, behind(&shorter), "a length of one less: the rest is no frame"),
        vector("longer", "FR-R05", None, behind(&longer), "a length of one more: it swallows the next magic"),
        vector("end-in-header", "FR-R12", None, cut(&good[..11], &[4]), "the stream ends inside a header"),
        vector(
            "end-in-payload",
            "FR-R12",
            None,
            cut(&[&good[..], &good[..26]].concat(), &[good.len()]),
            "the stream ends inside the second frame's payload",
        ),
    ]
}

/// The frame with a length that is off by `change`, sealed over the bytes that this length takes in.
fn resealed_length(frame: &[u8], change: i32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let length = u32::from_be_bytes(frame[12..16].try_into().unwrap()).checked_add_signed(change).unwrap();
    frame[12..16].copy_from_slice(&length.to_be_bytes());
    let end = frame.len().min(20 + length as usize);
    let checksum = crc32(frame[..16].iter().chain(&frame[20..end]));
    frame[16..20].copy_from_slice(&checksum.to_be_bytes());
    frame
}

fn lengths() -> Vec<Vector> {
    let sized = |code: u16, length: usize| seal(code, 0, &vec![0; length]);
    let exact = sized(0xc002, 4_096);
    let above = sized(0xc002, 4_097);
    vec![
        vector(
            "preauth",
            "LM-R03",
            Some(4_096),
            cut(&exact, &[20, 2_000]),
            "exactly the limit before authentication",
        ),
        vector(
            "preauth-above",
            "FR-R14",
            Some(4_096),
            vec![above[..20].to_vec()],
            "one above: the header is enough",
        ),
        vector(
            "preauth-second",
            "FR-R14",
            Some(4_096),
            vec![[ping(1, "one"), above[..20].to_vec()].concat()],
            "a good frame, then a header above the limit",
        ),
    ]
}

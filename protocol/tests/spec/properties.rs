//! What holds for every value of every type and for every run of bytes.

use bytes::{Bytes, BytesMut};
use hark_protocol::wire::Payload;
use hark_protocol::{
    Correlation, DecodeError, EncodedFrame, ErrorCode, Event, Frame, FrameType, Frames, Page, RawFrame,
    limits,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::extremes::{self, Extreme, filled};
use crate::fuzz_properties::{self, Outcome, receive, sealed};
use crate::registry::FrameRow;
use crate::samples;
use crate::schema::{Schema, seal};
use crate::strategies;

/// Cases for each frame type; there are fifty.
const CASES: u32 = 100;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The crate's judgement of a payload.
fn judged(code: u16, payload: &[u8]) -> Result<Frame, DecodeError> {
    let raw = RawFrame::from_stored(Bytes::from(sealed(FrameType(code), payload))).expect("a sealed frame");
    Frame::decode(&raw)
}

/// Runs `test` on random payloads of every frame type.
fn for_every_type(test: impl Fn(&Schema, &FrameRow, Vec<u8>) -> Result<(), TestCaseError>) {
    let schema = Schema::load();
    for row in &schema.registry.frame {
        let payloads = strategies::object(&schema, &row.fields);
        let result = TestRunner::new(config(CASES)).run(&payloads, |value| {
            let payload = schema.encode(&row.fields, &value);
            let read = schema.decode(row.code, &payload).map(|(value, _)| value);
            prop_assert_eq!(read, Ok(value), "the registry's codec");
            test(&schema, row, payload)
        });
        result.unwrap_or_else(|error| panic!("{}: {error}", row.name));
    }
}

#[test]
fn every_payload_survives_a_round_trip() {
    for_every_type(|_, row, payload| {
        let frame = judged(row.code, &payload).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let encoded = frame.encode(Correlation(9)).to_bytes();
        prop_assert_eq!(&encoded[..], &seal(row.code, 9, &payload)[..]);
        fuzz_properties::payload(&[&row.code.to_be_bytes()[..], &payload].concat());
        Ok(())
    });
}

#[test]
fn every_cut_payload_is_malformed() {
    for_every_type(|_, row, payload| {
        for end in 0..payload.len() {
            let code = judged(row.code, &payload[..end]).map_err(|error| error.code());
            prop_assert_eq!(code, Err(ErrorCode::MALFORMED), "cut at {}", end);
        }
        Ok(())
    });
}

#[test]
fn crate_and_registry_judge_damaged_payloads_alike() {
    let schema = Schema::load();
    let damage = (any::<prop::sample::Index>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..6));
    for row in &schema.registry.frame {
        let payloads = (strategies::object(&schema, &row.fields), damage.clone());
        let result = TestRunner::new(config(CASES)).run(&payloads, |(value, (at, byte, tail))| {
            let mut payload = schema.encode(&row.fields, &value);
            if !payload.is_empty() {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            payload.extend(tail);
            let ours = judged(row.code, &payload).map(|_| ()).map_err(|error| error.code().name().unwrap());
            let theirs = schema.decode(row.code, &payload).map(|_| ()).map_err(|refused| refused.code);
            prop_assert_eq!(ours, theirs);
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{}: {error}", row.name));
    }
}

#[test]
fn every_bound_is_exact() {
    let schema = Schema::load();
    for row in &schema.registry.frame {
        let smallest = extremes::payload(&schema, &row.fields, Extreme::Minimal);
        for (index, field) in row.fields.iter().enumerate() {
            let Some(bound) = field.max.as_deref() else { continue };
            let max = schema.registry.bound(bound);
            let with = |count: usize| {
                let mut payload = Vec::new();
                for (at, other) in row.fields.iter().enumerate() {
                    let value = serde_json::json!({ &other.name: smallest[&other.name] });
                    payload.extend(match at == index {
                        true => filled(&schema, field, count),
                        false => schema.encode(std::slice::from_ref(other), &value),
                    });
                }
                payload
            };
            let name = format!("{}.{}", row.name, field.name);
            assert!(judged(row.code, &with(max)).is_ok(), "{name}: {max} are refused");
            assert!(schema.decode(row.code, &with(max)).is_ok(), "{name}: the registry refuses {max}");
            let error = judged(row.code, &with(max + 1)).unwrap_err();
            let expected = DecodeError::AboveMaximum { found: max + 1, max };
            assert_eq!(error, expected, "{name}");
        }
    }
}

#[test]
fn a_count_without_its_elements_is_refused_wherever_it_stands() {
    let schema = Schema::load();
    for row in &schema.registry.frame {
        let smallest = extremes::payload(&schema, &row.fields, Extreme::Minimal);
        for (index, field) in row.fields.iter().enumerate() {
            let Some(bound) = field.max.as_deref() else { continue };
            let mut payload: Vec<u8> = (row.fields[..index].iter())
                .flat_map(|field| {
                    let value = serde_json::json!({ &field.name: smallest[&field.name] });
                    schema.encode(std::slice::from_ref(field), &value)
                })
                .collect();
            let full = filled(&schema, field, schema.registry.bound(bound));
            let layout = schema.registry.layout.iter().find(|layout| layout.name == field.layout).unwrap();
            payload.extend(&full[..layout.prefix.unwrap()]);
            let error = judged(row.code, &payload).unwrap_err();
            assert!(matches!(error, DecodeError::Short { .. }), "{}.{}: {error}", row.name, field.name);
        }
    }
}

#[test]
fn a_refused_length_reserves_nothing() {
    let mut announced = seal(0x0201, 1, &[]);
    announced[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut input = BytesMut::with_capacity(64);
    input.extend_from_slice(&announced);
    let capacity = input.capacity();
    assert!(RawFrame::take(&mut input, limits::FRAME_BYTES_DEFAULT).is_err());
    assert_eq!(input.capacity(), capacity);
}

#[test]
fn no_type_passes_a_receiver_s_limit() {
    for length_max in [limits::PRE_AUTH_FRAME_BYTES_MAX, limits::FRAME_BYTES_DEFAULT] {
        for frame_type in [FrameType::PUBLISH, FrameType::EVENT, FrameType::PAGE, FrameType(0xbeef)] {
            let frame = seal(frame_type.0, 0, &vec![0; length_max as usize + 1]);
            let outcomes = receive([&frame[..]], length_max);
            assert_eq!(outcomes, [Outcome::Broken(ErrorCode::FRAME_TOO_LARGE)], "{frame_type:?}");
        }
    }
}

#[test]
fn a_page_with_the_largest_event_fits_the_largest_frame() {
    let largest = Event {
        body: hark_protocol::Blob::new(vec![0; limits::BODY_BYTES_MAX]).unwrap(),
        author_name: samples::account(&"z".repeat(32)),
        ..samples::message(1, (samples::ANN, "ann"), "")
    };
    let sealed = EncodedFrame::new(Correlation::NONE, &largest);
    let page = Page {
        room: samples::TEA,
        epoch: samples::EPOCH,
        first: hark_protocol::Seq(1),
        head: hark_protocol::Seq(1),
        more: false,
        events: Frames::new([&sealed]),
    };
    let encoded = EncodedFrame::new(Correlation(1), &page);
    let outcomes = receive([encoded.as_slice()], limits::RECEIVE_FRAME_BYTES_MAX);
    let [Outcome::Taken(raw)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(
        Page::decode(raw.payload()).unwrap().events.iter().next().unwrap().into_bytes(),
        sealed.to_bytes()
    );
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn arbitrary_payloads_never_panic(
        index in any::<prop::sample::Index>(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let frame_type = FrameType::KNOWN[index.index(FrameType::KNOWN.len())];
        fuzz_properties::payload(&[&frame_type.0.to_be_bytes()[..], &payload].concat());
    }

    #[test]
    fn arbitrary_streams_never_panic(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_properties::stream(&stream);
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_stream_gives_the_same_frames_however_it_is_cut(
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..6),
        mut cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        damage in proptest::option::weighted(0.3, (any::<prop::sample::Index>(), 1..=255_u8)),
    ) {
        let samples = samples::all();
        let mut stream: Vec<u8> = picks
            .iter()
            .map(|pick| &samples[pick.index(samples.len())])
            .flat_map(|(correlation, frame)| frame.encode(*correlation).as_slice().to_vec())
            .collect();
        if let Some((at, flip)) = damage {
            let at = at.index(stream.len());
            stream[at] ^= flip;
        }
        let whole = receive([&stream[..]], limits::FRAME_BYTES_DEFAULT);
        prop_assert!(damage.is_some() || whole.len() == picks.len());
        cuts.sort_by_key(|cut| cut.index(stream.len()));
        let mut chunks = Vec::new();
        let mut from = 0;
        for place in cuts.iter().map(|cut| cut.index(stream.len())).chain([stream.len()]) {
            chunks.push(&stream[from..place]);
            from = place;
        }
        prop_assert_eq!(receive(chunks, limits::FRAME_BYTES_DEFAULT), whole);
    }
}

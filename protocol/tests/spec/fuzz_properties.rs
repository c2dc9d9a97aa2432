//! What has to hold for every input: the same functions are run by property tests, by the corpus replay and by the
//! fuzz targets in `tests/fuzz`, which includes this file by its path.

use bytes::{Bytes, BytesMut};
use hark_protocol::limits::PRE_AUTH_FRAME_BYTES_MAX;
use hark_protocol::{Correlation, EncodedFrame, ErrorCode, Frame, FrameType, HEADER_BYTES, RawFrame};

/// What a receiver makes of a stream, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A frame that it can act on.
    Taken(RawFrame),
    /// A frame that it passes over.
    Skipped(FrameType),
    /// A frame that it answers with an error of request scope.
    Refused(Correlation, ErrorCode),
    /// The end: nothing of this connection is taken any more.
    Broken(ErrorCode),
}

/// Reads a stream that comes in chunks.
pub(crate) fn receive<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, length_max: u32) -> Vec<Outcome> {
    let mut input = BytesMut::new();
    let mut outcomes = Vec::new();
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match RawFrame::take(&mut input, length_max) {
                Ok(Some(raw)) => outcomes.push(judge(raw)),
                Ok(None) => break,
                Err(error) => {
                    outcomes.push(Outcome::Broken(error.code()));
                    return outcomes;
                }
            }
        }
    }
    outcomes
}

fn judge(raw: RawFrame) -> Outcome {
    let header = raw.header();
    match Frame::decode(&raw) {
        Ok(_) => Outcome::Taken(raw),
        Err(error) if error.code() == ErrorCode::UNKNOWN_TYPE && header.frame_type.is_ignorable() => {
            Outcome::Skipped(header.frame_type)
        }
        Err(error) => Outcome::Refused(header.correlation, error.code()),
    }
}

/// A frame of any type and payload, sealed as the crate seals.
pub(crate) fn sealed(frame_type: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut frame = EncodedFrame::new(Correlation::NONE, &hark_protocol::Ok {}).as_slice().to_vec();
    frame[6..8].copy_from_slice(&frame_type.0.to_be_bytes());
    frame[12..16].copy_from_slice(&u32::try_from(payload.len()).expect("a test's payload").to_be_bytes());
    let head = frame.first_chunk().expect("a header is longer than that");
    let checksum = hark_protocol::header::checksum(head, payload);
    frame[16..20].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The fuzz target `payload`: two bytes of type, then a payload. A payload that decodes is what its value encodes
/// to, but for extension records behind it, and decodes to the same value again.
pub(crate) fn payload(data: &[u8]) {
    let Some((code, payload)) = data.split_first_chunk::<2>() else { return };
    let frame_type = FrameType(u16::from_be_bytes(*code));
    let raw = RawFrame::from_stored(Bytes::from(sealed(frame_type, payload)));
    let Ok(raw) = raw else { return assert!(payload.len() > 1024 * 1024, "a sealed frame was refused") };
    let Ok(frame) = Frame::decode(&raw) else { return };
    let encoded = frame.encode(Correlation(7));
    let body = &encoded.as_slice()[HEADER_BYTES..];
    assert!(payload.starts_with(body), "{frame:?} was read from other bytes than it is written to");
    assert_eq!(frame.frame_type(), frame_type);
    let again = RawFrame::from_stored(encoded.to_bytes()).expect("what was encoded is a frame");
    assert_eq!(Frame::decode(&again).as_ref(), Ok(&frame), "the second reading differs");
    // A value that prints must not print another's secret, nor fail to print.
    assert!(!format!("{frame:?}").is_empty());
}

/// The fuzz target `stream`: one byte that says how to cut, then a stream. However it is cut, the outcomes are the
/// same; and each frame that is taken is as long as it says.
pub(crate) fn stream(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = receive([stream], PRE_AUTH_FRAME_BYTES_MAX);
    assert_eq!(receive(chunks(*cut, stream), PRE_AUTH_FRAME_BYTES_MAX), whole, "cutting made a difference");
    let mut taken = 0;
    for outcome in &whole {
        if let Outcome::Taken(raw) = outcome {
            let length = HEADER_BYTES + raw.payload().len();
            assert_eq!(usize::try_from(raw.header().length).ok(), Some(raw.payload().len()));
            taken += length;
        }
    }
    assert!(taken <= stream.len(), "more was taken than came");
}

/// Cuts a stream into chunks of 0 to 63 bytes, by a small generator that `seed` starts.
fn chunks(seed: u8, mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Chunks of one byte for seed 0, so that every place is a cut.
        let length = if seed == 0 { 1 } else { usize::try_from(state >> 26).unwrap_or(1) };
        let (chunk, rest) = stream.split_at(length.min(stream.len()));
        let is_over = stream.is_empty();
        stream = rest;
        (!is_over).then_some(chunk)
    })
}

//! Frames as bytes and back, for machines that read and write bytes.

use bytes::BytesMut;
use hark_protocol::limits::RECEIVE_FRAME_BYTES_MAX;
use hark_protocol::{
    Correlation, EncodedFrame, Frame, FrameType, HEADER_BYTES, Header, MAGIC, RawFrame, VERSION, header,
};

/// A frame as it would come from a peer.
pub(crate) fn raw(correlation: u32, frame: &Frame) -> RawFrame {
    received(frame.encode(Correlation(correlation)))
}

fn received(sealed: EncodedFrame) -> RawFrame {
    let mut bytes = BytesMut::from(sealed.as_slice());
    RawFrame::take(&mut bytes, RECEIVE_FRAME_BYTES_MAX).expect("in order").expect("whole")
}

/// A whole frame of any type around any payload, readable or not.
pub(crate) fn raw_payload(correlation: u32, frame_type: FrameType, payload: &[u8]) -> RawFrame {
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        flags: 0,
        frame_type,
        correlation: Correlation(correlation),
        length: u32::try_from(payload.len()).unwrap(),
        checksum: 0,
    };
    header.checksum = header::checksum(header.to_bytes().first_chunk().unwrap(), payload);
    let mut bytes = BytesMut::from(&header.to_bytes()[..]);
    bytes.extend_from_slice(payload);
    assert_eq!(bytes.len(), HEADER_BYTES + payload.len());
    RawFrame::take(&mut bytes, RECEIVE_FRAME_BYTES_MAX).expect("in order").expect("whole")
}

/// Every frame in what a machine has written; each has to be whole and readable.
pub(crate) fn written(out: &[u8]) -> Vec<(u32, Frame)> {
    let mut bytes = BytesMut::from(out);
    let mut frames = Vec::new();
    while let Some(raw) = RawFrame::take(&mut bytes, RECEIVE_FRAME_BYTES_MAX).expect("a frame in order") {
        frames.push((raw.header().correlation.0, Frame::decode(&raw).expect("a readable payload")));
    }
    assert!(bytes.is_empty(), "{} bytes behind the last whole frame", bytes.len());
    frames
}

//! A tokio-util codec over [`RawFrame::take`] and [`EncodedFrame`], for those who use `Framed`.

use bytes::BytesMut;
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

use crate::frame::{EncodedFrame, FrameError, RawFrame};
use crate::header::HEADER_BYTES;
use crate::limits::{FRAME_BYTES_DEFAULT, PRE_AUTH_FRAME_BYTES_MAX};

/// Why a framed transport ended.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The peer sent what is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Splits a byte stream into checked frames, and writes sealed ones. After an error it yields nothing more.
#[derive(Debug)]
pub struct FrameCodec {
    length_max: u32,
    failed: Option<FrameError>,
}

impl FrameCodec {
    /// A codec that takes payloads of at most `length_max` bytes.
    pub fn new(length_max: u32) -> FrameCodec {
        FrameCodec { length_max, failed: None }
    }

    /// Takes payloads of at most `length_max` bytes from now on.
    pub fn set_length_max(&mut self, length_max: u32) {
        self.length_max = length_max;
    }
}

impl Default for FrameCodec {
    /// What a server starts a connection with: the small limit before authentication.
    fn default() -> FrameCodec {
        FrameCodec::new(PRE_AUTH_FRAME_BYTES_MAX)
    }
}

impl Decoder for FrameCodec {
    type Item = RawFrame;
    type Error = CodecError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<RawFrame>, CodecError> {
        if let Some(failed) = self.failed {
            return Err(failed.into());
        }
        let taken = RawFrame::take(input, self.length_max);
        self.failed = taken.as_ref().err().copied();
        // One large frame must not leave its buffer behind for the rest of an idle connection's life.
        let roomy = HEADER_BYTES + usize::try_from(FRAME_BYTES_DEFAULT).unwrap_or(usize::MAX);
        if input.is_empty() && input.capacity() > roomy {
            *input = BytesMut::new();
        }
        Ok(taken?)
    }
}

impl Encoder<EncodedFrame> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: EncodedFrame, output: &mut BytesMut) -> Result<(), CodecError> {
        output.extend_from_slice(frame.as_slice());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Correlation, Ping};

    #[test]
    fn a_broken_frame_is_terminal() {
        let good = EncodedFrame::new(Correlation(1), &Ping { data: "x".parse().unwrap() });
        let mut codec = FrameCodec::default();
        let mut input = BytesMut::from(&b"HARX"[..]);
        input.extend_from_slice(good.as_slice());
        assert!(codec.decode(&mut input).is_err());
        let mut input = BytesMut::from(good.as_slice());
        assert!(codec.decode(&mut input).is_err());
    }
}

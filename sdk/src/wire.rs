//! Reading frames for people: what `hark decode` shows of a stretch of bytes.
//!
//! ```
//! # use hark_sdk::wire;
//! let bytes = [0x48, 0x41, 0x52, 0x4b, 1, 0, 0, 0x0b, 0, 0, 0, 7, 0, 0, 0, 0, 0xb6, 0xf6, 0x2d, 0x8e];
//! for frame in wire::decode(&bytes) {
//!     println!("{frame}");
//! }
//! ```

use std::fmt;

use bytes::Bytes;
use hark_protocol::limits::RECEIVE_FRAME_BYTES_MAX;
use hark_protocol::{DecodeError, Frame, FrameError, HEADER_BYTES, Header, RawFrame};
use thiserror::Error;

/// One frame of a stretch of bytes, with what can be said about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Annotated {
    /// Where the frame begins in the bytes that were given.
    pub offset: usize,
    /// The bytes of the frame, or all that is left where it is not one.
    pub bytes: Bytes,
    /// The header as it stands there, if twenty bytes are.
    pub header: Option<Header>,
    /// The payload, or why it can not be read.
    pub payload: Result<Frame, Flaw>,
}

/// Why bytes are not a frame that this version knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// The bytes end before the frame does.
    #[error("the frame is cut short: {missing} bytes are missing")]
    CutShort {
        /// How many at least.
        missing: usize,
    },
    /// Header or checksum are wrong; what follows can not be read either.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame is whole, but its payload can not be read.
    #[error(transparent)]
    Payload(#[from] DecodeError),
}

/// Reads the frames in `bytes`, one behind another. Stops behind the first that is not whole, because nothing says
/// where the next one begins. Never fails otherwise, whatever the bytes are.
pub fn decode(bytes: &[u8]) -> Frames {
    Frames { rest: Bytes::copy_from_slice(bytes), offset: 0 }
}

/// The iterator of [`decode`].
#[derive(Clone, Debug)]
pub struct Frames {
    rest: Bytes,
    offset: usize,
}

impl Iterator for Frames {
    type Item = Annotated;

    fn next(&mut self) -> Option<Annotated> {
        if self.rest.is_empty() {
            return None;
        }
        let (offset, header) = (self.offset, Header::read(&self.rest));
        let (length, payload) = match RawFrame::total_bytes(&self.rest, RECEIVE_FRAME_BYTES_MAX) {
            Ok(Some(total)) if total <= self.rest.len() => (total, read(self.rest.slice(..total))),
            Ok(total) => {
                let missing = total.unwrap_or(HEADER_BYTES) - self.rest.len();
                (self.rest.len(), Err(Flaw::CutShort { missing }))
            }
            Err(error) => (self.rest.len(), Err(error.into())),
        };
        // A wrong checksum leaves the length in doubt, and with it everything that follows.
        let length = if matches!(payload, Err(Flaw::Frame(_))) { self.rest.len() } else { length };
        self.offset += length;
        Some(Annotated { offset, bytes: self.rest.split_to(length), header, payload })
    }
}

fn read(bytes: Bytes) -> Result<Frame, Flaw> {
    Ok(Frame::decode(&RawFrame::from_stored(bytes)?)?)
}

impl Annotated {
    /// The frame's parts: offset, length and meaning of each field of the header, then of the payload as a whole.
    pub fn parts(&self) -> Vec<Part> {
        let Some(header) = self.header else { return Vec::new() };
        let fixed = [
            (0, 4, "magic", String::from_utf8_lossy(&header.magic).escape_debug().to_string()),
            (4, 1, "version", header.version.to_string()),
            (5, 1, "flags", format!("{:#04x}", header.flags)),
            (6, 2, "type", format!("{} ({:#06x})", header.frame_type, header.frame_type.0)),
            (8, 4, "correlation", header.correlation.to_string()),
            (12, 4, "length", header.length.to_string()),
            (16, 4, "checksum", format!("{:#010x}", header.checksum)),
        ];
        let part = |(at, length, name, meaning): (usize, usize, &'static str, String)| Part {
            offset: self.offset + at,
            bytes: self.bytes.slice(at..at + length),
            name,
            meaning,
        };
        let mut parts: Vec<Part> = fixed.into_iter().map(part).collect();
        let meaning = match &self.payload {
            Ok(frame) => format!("{frame:#?}"),
            Err(flaw) => flaw.to_string(),
        };
        parts.push(part((HEADER_BYTES, self.bytes.len() - HEADER_BYTES, "payload", meaning)));
        parts
    }
}

/// One part of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Where it begins in the bytes that were given.
    pub offset: usize,
    /// Its bytes.
    pub bytes: Bytes,
    /// What it is called.
    pub name: &'static str,
    /// What it says.
    pub meaning: String,
}

impl fmt::Display for Annotated {
    /// A line for the header's fields, then the payload, indented. Holds no control characters but line ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.header {
            Some(header) => writeln!(
                f,
                "{:08x}  {}  version {}  flags {:#04x}  correlation {}  length {}  checksum {:#010x}",
                self.offset,
                header.frame_type,
                header.version,
                header.flags,
                header.correlation,
                header.length,
                header.checksum
            )?,
            None => writeln!(f, "{:08x}  {} bytes", self.offset, self.bytes.len())?,
        }
        let words = match &self.payload {
            Ok(frame) => format!("{frame:#?}"),
            Err(flaw) => format!("error: {flaw}"),
        };
        words.lines().try_for_each(|line| writeln!(f, "          {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hark_protocol::{Correlation, EncodedFrame, Ping};

    fn ping() -> Vec<u8> {
        EncodedFrame::new(Correlation(7), &Ping { data: "abc".parse().unwrap() }).as_slice().to_vec()
    }

    #[test]
    fn frames_are_read_one_behind_another_with_their_places() {
        let bytes = [ping(), ping()].concat();
        let frames: Vec<Annotated> = decode(&bytes).collect();
        assert_eq!(frames.iter().map(|frame| frame.offset).collect::<Vec<_>>(), [0, 27]);
        assert!(frames.iter().all(|frame| matches!(&frame.payload, Ok(Frame::Ping(_)))));
        let parts = frames[1].parts();
        assert_eq!(
            (parts[3].offset, parts[3].name, parts[3].meaning.as_str()),
            (33, "type", "PING (0x0007)")
        );
        assert_eq!(parts.iter().map(|part| part.bytes.len()).sum::<usize>(), 27);
        assert!(frames[0].to_string().contains("correlation 7"));
    }

    #[test]
    fn broken_bytes_end_the_reading_with_their_flaw() {
        let whole = ping();
        let last = |bytes: &[u8]| decode(bytes).last().unwrap().payload.unwrap_err();
        assert_eq!(last(&whole[..26]), Flaw::CutShort { missing: 1 });
        assert_eq!(last(&whole[..3]), Flaw::CutShort { missing: 17 });
        let mut flipped = [whole.clone(), whole.clone()].concat();
        flipped[25] ^= 1;
        assert_eq!(decode(&flipped).count(), 1);
        assert_eq!(last(&flipped), Flaw::Frame(FrameError::Checksum));
        assert!(matches!(last(b"GET / HTTP/1.1"), Flaw::Frame(FrameError::Magic(_))));
        assert_eq!(decode(b"").count(), 0);
    }
}

//! The 20-byte frame header: big-endian, the same in every version of the protocol.
//!
//! ```text
//!  0        4     5     6      8            12       16        20
//!  +--------+-----+-----+------+-------------+--------+----------+
//!  | "HARK" | ver |flags| type | correlation | length | checksum |
//!  +--------+-----+-----+------+-------------+--------+----------+
//! ```

use std::io::Cursor;

use binrw::{BinRead, BinWrite};

use crate::{Correlation, FrameType};

/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 20;

/// The first four bytes of every frame, `HARK` in ASCII.
pub const MAGIC: [u8; 4] = *b"HARK";

/// The protocol version that this crate speaks, and the one in which its records are sealed.
pub const VERSION: u8 = 1;

/// Bytes of the header that the checksum covers, before the payload.
pub(crate) const CHECKED_BYTES: usize = 16;

/// The header as it stands on the wire. Nothing in it has been judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BinRead, BinWrite)]
#[brw(big)]
pub struct Header {
    /// [`MAGIC`] in a frame of this protocol.
    pub magic: [u8; 4],
    /// Version of the payload's layout; in an EVENT, the version in which the record was sealed.
    pub version: u8,
    /// Sent as 0 and ignored on receipt; a flag never changes how a payload is parsed.
    pub flags: u8,
    /// What the payload is.
    pub frame_type: FrameType,
    /// Ties a final answer to its request; 0 where nothing was asked.
    pub correlation: Correlation,
    /// Payload length in bytes.
    pub length: u32,
    /// CRC-32 (ISO-HDLC) over header bytes 0..16 and the payload.
    pub checksum: u32,
}

impl Header {
    /// Reads the header from the first [`HEADER_BYTES`] of `bytes`; `None` when there are fewer.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        Header::read_be(&mut Cursor::new(bytes)).ok()
    }

    /// The header as bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        self.write_be(&mut Cursor::new(&mut bytes[..]))
            .expect("invariant: the array is exactly one header long");
        bytes
    }
}

/// The checksum of a frame whose first sixteen header bytes are `head`.
pub fn checksum(head: &[u8; CHECKED_BYTES], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_twenty_big_endian_bytes() {
        let header = Header {
            magic: MAGIC,
            version: 1,
            flags: 0,
            frame_type: FrameType(0x0203),
            correlation: Correlation(0x0405_0607),
            length: 0x0809_0a0b,
            checksum: 0x0c0d_0e0f,
        };
        let expected = *b"HARK\x01\x00\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
        assert_eq!(header.to_bytes(), expected);
        assert_eq!(Header::read(&expected), Some(header));
    }

    #[test]
    fn nineteen_bytes_are_not_a_header_yet() {
        assert_eq!(Header::read(&[0; 19]), None);
    }

    #[test]
    fn checksum_is_crc32_iso_hdlc() {
        // The check value of CRC-32/ISO-HDLC is that of the nine bytes "123456789"; here they are split
        // between head and payload to show that both are covered, in order.
        let whole = crc32fast::hash(b"0123456789abcdef123456789");
        assert_eq!(checksum(b"0123456789abcdef", b"123456789"), whole);
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    }
}

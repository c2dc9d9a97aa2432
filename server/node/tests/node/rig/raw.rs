//! Frames by hand, right or wrong, sealed with a checksum of this file's own.

/// A frame of that type, correlation and payload.
pub(crate) fn raw_frame(frame_type: u16, correlation: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = b"HARK\x01\x00".to_vec();
    frame.extend_from_slice(&frame_type.to_be_bytes());
    frame.extend_from_slice(&correlation.to_be_bytes());
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    reseal(&mut frame);
    frame
}

/// Puts the checksum in that fits the rest of the frame.
pub(crate) fn reseal(frame: &mut [u8]) {
    let covered = frame[..16].iter().chain(&frame[20..]);
    let checksum = crc32(covered);
    frame[16..20].copy_from_slice(&checksum.to_be_bytes());
}

/// CRC-32 (ISO-HDLC), bit by bit, so that the server's is not held against itself.
fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn the_checksum_is_that_of_the_specification() {
    assert_eq!(crc32(b"123456789".iter()), 0xcbf4_3926);
}

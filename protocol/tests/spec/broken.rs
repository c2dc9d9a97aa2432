//! Bytes that are no frame, each for a reason of its own: they end the connection.

use crate::rejects::vector;
use crate::schema::{Schema, crc32, seal};
use crate::vectors::Vector;

/// Vectors that are made from one good frame.
struct Broken<'a> {
    schema: &'a Schema,
    good: Vec<u8>,
    vectors: Vec<Vector>,
}

/// Every vector of bytes that are no frame.
pub(crate) fn all(schema: &Schema) -> Vec<Vector> {
    let good = seal(0x0007, 9, b"\x00\x00\x00\x05hello");
    let mut broken = Broken { schema, good, vectors: Vec::new() };
    broken.magics();
    broken.versions();
    broken.lengths();
    broken.turned_bits();
    broken.other_checksums();
    broken.vectors
}

/// A header of that type and length, sealed as if there were no payload.
fn header(code: u16, length: u32) -> Vec<u8> {
    let mut bytes = seal(code, 9, &[]);
    bytes[12..16].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32(bytes[..16].iter());
    bytes[16..20].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

impl Broken<'_> {
    fn add(&mut self, id: &str, label: &str, error: &str, bytes: Vec<u8>, comment: &str) {
        self.vectors.push(vector(self.schema, id, label, error, &bytes, comment));
    }

    fn with(&self, at: usize, byte: u8) -> Vec<u8> {
        let mut bytes = self.good.clone();
        bytes[at] = byte;
        bytes
    }

    fn magics(&mut self) {
        for at in 0..4 {
            let bytes = self.with(at, self.good[at] ^ 0x20);
            let comment = format!("byte {at} of the magic is wrong");
            self.add(&format!("magic-{at}"), "FR-R01", "BAD_MAGIC", bytes, &comment);
        }
        for (id, label, bytes, comment) in [
            ("magic-http", "FR-R08", &b"GET / HTTP/1.1\r\n\r\n"[..], "a browser"),
            ("magic-tls", "FR-R08", &[0x16, 3, 1, 0, 200], "the start of a TLS ClientHello"),
            ("magic-one-byte", "FR-R09", b"h", "one wrong byte is enough"),
            ("magic-third-byte", "FR-R09", b"HAX", "two right bytes and a wrong one"),
        ] {
            self.add(id, label, "BAD_MAGIC", bytes.to_vec(), comment);
        }
    }

    fn versions(&mut self) {
        for version in [0, 2, 255] {
            let id = format!("version-{version}");
            let bytes = self.with(4, version);
            self.add(&id, "VE-R05", "BAD_VERSION", bytes, "a header version that is not 1");
        }
        let mut bytes = header(0x0007, u32::MAX);
        bytes[4] = 9;
        self.add("version-before-length", "FR-R07", "BAD_VERSION", bytes, "the version counts");
    }

    fn lengths(&mut self) {
        let receive = Some(1_048_576);
        let mut unsealed = header(0x0007, u32::MAX);
        unsealed[16] ^= 1;
        for (id, label, length_max, bytes, comment) in [
            ("length-above", "FR-R44", None, header(0x0201, 65_537), "one byte above frame_bytes_max"),
            ("length-preauth", "FR-R14", Some(4096), header(0x0001, 4_097), "one byte above 4096"),
            ("length-event-preauth", "FR-R44", Some(4096), header(0x0207, 4_097), "an EVENT from a stranger"),
            (
                "length-event-server",
                "FR-R44",
                None,
                header(0x0207, 65_537),
                "an EVENT to a server: its limit is for every type",
            ),
            ("length-event", "FR-R45", receive, header(0x0207, 1_048_577), "an EVENT above 1 MiB"),
            ("length-page", "FR-R45", receive, header(0x020e, 1_048_577), "a PAGE above 1 MiB"),
            (
                "length-before-checksum",
                "FR-R07",
                None,
                unsealed,
                "4 GiB and a wrong checksum: the length counts",
            ),
        ] {
            let refused = vector(self.schema, id, label, "FRAME_TOO_LARGE", &bytes, comment);
            self.vectors.push(Vector { length_max, ..refused });
        }
        let shorter = self.with(15, self.good[15] - 1);
        self.add(
            "length-shorter",
            "FR-R05",
            "BAD_CHECKSUM",
            shorter,
            "a length of one less than the payload",
        );
    }

    fn turned_bits(&mut self) {
        for (id, at, what) in [
            ("flags", 5, "flags"),
            ("type", 7, "the type"),
            ("correlation", 11, "the correlation"),
            ("payload-first", 20, "the payload's first byte"),
            ("payload-last", 28, "the payload's last byte"),
            ("stored", 19, "the checksum"),
        ] {
            let bytes = self.with(at, self.good[at] ^ 1);
            let comment = format!("a bit of {what} is turned");
            self.add(&format!("checksum-{id}"), "FR-R06", "BAD_CHECKSUM", bytes, &comment);
        }
    }

    fn other_checksums(&mut self) {
        let (head, payload) = (self.good[..16].to_vec(), self.good[20..].to_vec());
        let covered = [&head[..], &payload].concat();
        let right = crc32(covered.iter());
        let with_zeros = crc32(head.iter().chain(&[0; 4]).chain(&payload));
        for (id, checksum, comment) in [
            ("zero", 0, "no checksum"),
            ("swapped", right.swap_bytes(), "in little-endian order"),
            ("inverted", !right, "without the final inversion"),
            ("payload-only", crc32(payload.iter()), "over the payload only"),
            ("whole", with_zeros, "over the header with a zero checksum"),
            ("castagnoli", castagnoli(&covered), "CRC-32C is another polynomial"),
        ] {
            let mut bytes = self.good.clone();
            bytes[16..20].copy_from_slice(&checksum.to_be_bytes());
            self.add(&format!("checksum-{id}"), "FR-R06", "BAD_CHECKSUM", bytes, comment);
        }
    }
}

fn castagnoli(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

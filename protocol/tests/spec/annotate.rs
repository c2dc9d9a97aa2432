//! Frames in hexadecimal, each field on a line of its own with what it means.

use crate::hex;
use crate::schema::Schema;

/// Bytes on one line: a header's checksum stands at the start of the second one.
const LINE_BYTES: usize = 16;

/// The lines that show a whole valid frame.
pub(crate) fn frame(schema: &Schema, bytes: &[u8]) -> String {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let code = u16::from_be_bytes([bytes[6], bytes[7]]);
    let row = schema.registry.frame_by_code(code).expect("a known type");
    let mut out = String::new();
    line(&bytes[..4], "magic", "\"HARK\"", &mut out);
    line(&bytes[4..5], "version", &bytes[4].to_string(), &mut out);
    line(&bytes[5..6], "flags", &bytes[5].to_string(), &mut out);
    line(&bytes[6..8], "type", &row.name, &mut out);
    line(&bytes[8..12], "correlation", &word(8).to_string(), &mut out);
    line(&bytes[12..16], "length", &word(12).to_string(), &mut out);
    line(&bytes[16..20], "checksum", &format!("{:#010x}", word(16)), &mut out);
    let (_, rows) = schema.decode(code, &bytes[20..]).expect("a valid payload");
    for row in rows {
        line(&bytes[20 + row.start..20 + row.end], &row.path, &row.meaning, &mut out);
    }
    out
}

fn line(bytes: &[u8], name: &str, meaning: &str, out: &mut String) {
    let mut chunks = bytes.chunks(LINE_BYTES).map(|chunk| {
        let pairs: Vec<String> = chunk.iter().map(|byte| hex::encode(&[*byte])).collect();
        pairs.join(" ")
    });
    let first = chunks.next().unwrap_or_default();
    out.push_str(format!("{first:<48} {name:<18} {meaning}").trim_end());
    out.push('\n');
    for rest in chunks {
        out.push_str(&rest);
        out.push('\n');
    }
}

//! `hark decode`: bytes from a file, an argument or a pipe as frames that a person can read.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use hark_sdk::wire::{self, Annotated};
use serde::Serialize;

use crate::exit::{Done, Failure};
use crate::output::{Mode, Output};
use crate::text::hex;

/// A frame as `--json` prints it.
#[derive(Debug, Serialize)]
struct FrameJson {
    offset: usize,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    frame_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Explains every frame of the input. Fails, behind what could be read, if it is not made of whole frames.
pub(crate) fn run(input: &[String], output: &mut Output) -> Done {
    let bytes = bytes_of(input)?;
    let mut flaw = None;
    for frame in wire::decode(&bytes) {
        show(&frame, output)?;
        if let Err(error) = &frame.payload {
            flaw = flaw.or_else(|| Some((frame.offset, error.to_string())));
        }
    }
    match flaw {
        Some((offset, words)) => {
            Err(Failure::usage(format!("the frame at byte {offset} can not be read: {words}")))
        }
        None if bytes.is_empty() => Err(Failure::usage("there are no bytes to decode")),
        None => Ok(()),
    }
}

fn show(frame: &Annotated, output: &mut Output) -> Done {
    if output.mode() == Mode::Json {
        return output.json(&FrameJson {
            offset: frame.offset,
            frame_type: frame.header.map(|header| header.frame_type.to_string()),
            correlation: frame.header.map(|header| header.correlation.0),
            length: frame.header.map(|header| header.length),
            fields: frame.payload.as_ref().ok().map(|payload| format!("{payload:?}")),
            error: frame.payload.as_ref().err().map(ToString::to_string),
        });
    }
    let parts = frame.parts();
    if parts.is_empty() {
        output.line(format!("{:08x}  {:16}  {frame}", frame.offset, hex(&frame.bytes)).trim_end())?;
    }
    for part in parts {
        let mut meaning = part.meaning.lines();
        let head = meaning.next().unwrap_or("");
        output.line(format!(
            "{:08x}  {:16}  {:11}  {head}",
            part.offset,
            first_bytes(&part.bytes),
            part.name
        ))?;
        meaning.try_for_each(|line| output.line(format!("{:39}  {line}", "")))?;
    }
    output.line("")
}

/// The first eight bytes, and a sign that there are more.
fn first_bytes(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=8 => hex(bytes),
        _ => format!("{}…", hex(&bytes[..7])),
    }
}

/// The bytes that the arguments stand for: one file or `-`, which may hold frames or hexadecimal digits; or the
/// digits themselves.
fn bytes_of(input: &[String]) -> Done<Vec<u8>> {
    match input {
        [name] if name == "-" => {
            let mut bytes = Vec::new();
            io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::usage(format!("the standard input can not be read: {error}")))?;
            Ok(unhexed(bytes))
        }
        [name] if Path::new(name).is_file() => {
            let bytes = fs::read(name)
                .map_err(|error| Failure::usage(format!("the file {name} can not be read: {error}")))?;
            Ok(unhexed(bytes))
        }
        digits => unhex(&digits.join(" ")).ok_or_else(|| {
            Failure::usage("that is neither a file nor hexadecimal digits, two for each byte")
        }),
    }
}

/// The bytes that a file's text stands for, if it is hexadecimal; otherwise the file's own.
fn unhexed(bytes: Vec<u8>) -> Vec<u8> {
    let text = str::from_utf8(&bytes).ok().and_then(unhex);
    text.unwrap_or(bytes)
}

/// Reads hexadecimal digits, two for each byte, with spaces and line ends anywhere between bytes and comments
/// from `#` to the end of a line.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.lines().flat_map(|line| line.split('#').next().unwrap_or("").split_whitespace()) {
        let word = word.strip_prefix("0x").unwrap_or(word);
        if word.len() % 2 != 0 || !word.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for pair in word.as_bytes().chunks(2) {
            bytes.push(str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PING with correlation 7, as the specification's examples write it: with its checksum.
    const PING: &str = "48 41 52 4b 01 00 00 0b 00 00 00 07 00 00 00 00 b6 f6 2d 8e";

    #[test]
    fn hexadecimal_is_read_as_people_write_it() {
        assert_eq!(unhex("48 41\n524b # the magic\n0x01"), Some(b"HARK\x01".to_vec()));
        assert_eq!(unhex(""), Some(vec![]));
        for bad in ["4", "4g", "48 4", "é"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
        assert!(unhex(PING).is_some_and(|bytes| bytes.starts_with(b"HARK")));
    }

    #[test]
    fn a_file_holds_frames_or_their_digits() {
        assert_eq!(unhexed(b"HARK\x01\xff".to_vec()), b"HARK\x01\xff");
        assert_eq!(unhexed(b"4841 524b\n".to_vec()), b"HARK");
    }

    #[test]
    fn what_is_neither_file_nor_digits_is_a_usage_error() {
        assert_eq!(bytes_of(&["hello".into()]).unwrap_err().code(), 2);
        assert_eq!(bytes_of(&["48".into(), "41".into()]).unwrap(), b"HA");
    }
}

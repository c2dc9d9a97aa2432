//! The outbox's file as bytes: entries and what settles them, in frames that are whole or not there at all.
//!
//! ```text
//! file    = header frame*
//! header  = "HARKOUT1" salt:u64 length:u16 identity:utf-8 crc32(everything before)
//! frame   = "HOF1" length:u32 crc32(salt, offset:u64, length, payload) payload
//! payload = item+
//! item    = 1 entry:u64 room:u64 client_id:16 kind:u16 length:u32 body   -- put
//!         | 2 entry:u64                                                  -- settled
//! ```
//!
//! Numbers are big-endian. One write makes one frame, and it is synced before the next one is written: a frame that
//! is broken at the end of the file is a write that never finished, and nobody was told that it had. A broken frame
//! with a whole one behind it is damage, and is reported. The checksum covers the frame's place and a number that is
//! the file's own, so that a frame inside somebody's message is not taken for one.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use hark_protocol::limits::BODY_BYTES_MAX;
use hark_protocol::{Blob, ClientId, Kind, Publish, RoomId};

/// What one file holds, and how it is to be written on.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Whose outbox it is.
    pub(crate) identity: String,
    /// The file's own number.
    pub(crate) salt: u64,
    /// Entries without a verdict, by number.
    pub(crate) live: BTreeMap<u64, Publish>,
    /// The greatest number that was given.
    pub(crate) last: u64,
    /// Bytes up to the end of the last whole frame; what is behind them was never finished.
    pub(crate) whole: usize,
    /// What can not be read though more was written behind it.
    pub(crate) damage: Vec<Range<usize>>,
}

/// The file does not begin as an outbox does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnOutbox;

/// One change of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Something to be sent.
    Put(u64, Publish),
    /// It has a verdict, or was given up.
    Settled(u64),
}

/// A file's beginning.
pub(crate) fn header(salt: u64, identity: &str) -> Vec<u8> {
    let identity = &identity.as_bytes()[..identity.len().min(usize::from(u16::MAX))];
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&salt.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(identity.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(identity);
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// A frame that is to stand at `offset`.
pub(crate) fn frame(salt: u64, offset: usize, items: &[Item]) -> Vec<u8> {
    let mut payload = Vec::new();
    for item in items {
        match item {
            Item::Put(entry, publish) => {
                payload.push(PUT);
                payload.extend_from_slice(&entry.to_be_bytes());
                payload.extend_from_slice(&publish.room.0.to_be_bytes());
                payload.extend_from_slice(publish.client_id.as_bytes());
                payload.extend_from_slice(&publish.kind.0.to_be_bytes());
                payload.extend_from_slice(&u32::try_from(publish.body.len()).unwrap_or(0).to_be_bytes());
                payload.extend_from_slice(&publish.body);
            }
            Item::Settled(entry) => {
                payload.push(SETTLED);
                payload.extend_from_slice(&entry.to_be_bytes());
            }
        }
    }
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = MARK.to_vec();
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&checksum(salt, offset, length, &payload).to_be_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

/// Bytes that an entry takes in the file, apart from its frame.
pub(crate) fn size(publish: &Publish) -> usize {
    1 + 8 + 8 + 16 + 2 + 4 + publish.body.len()
}

/// Reads a whole file.
pub(crate) fn scan(file: &Bytes) -> Result<Scan, NotAnOutbox> {
    let mut scan = read_header(file).ok_or(NotAnOutbox)?;
    let mut at = scan.whole;
    while at < file.len() {
        if let Some((items, end)) = read_frame(file, scan.salt, at) {
            items.into_iter().for_each(|item| scan.apply(item));
            (at, scan.whole) = (end, end);
            continue;
        }
        let Some(next) = (at + 1..file.len()).find(|next| read_frame(file, scan.salt, *next).is_some())
        else {
            break;
        };
        scan.damage.push(at..next);
        at = next;
    }
    Ok(scan)
}

impl Scan {
    fn apply(&mut self, item: Item) {
        match item {
            Item::Put(entry, publish) => {
                self.last = self.last.max(entry);
                self.live.insert(entry, publish);
            }
            Item::Settled(entry) => {
                self.last = self.last.max(entry);
                self.live.remove(&entry);
            }
        }
    }
}

fn read_header(file: &Bytes) -> Option<Scan> {
    let mut reader = Reader { rest: file.clone() };
    if reader.take(MAGIC.len())? != MAGIC {
        return None;
    }
    let salt = reader.u64()?;
    let length = usize::from(reader.u16()?);
    let identity = String::from_utf8(reader.take(length)?.to_vec()).ok()?;
    let summed = file.len() - reader.rest.len();
    let sum = reader.u32()?;
    (crc32fast::hash(&file[..summed]) == sum).then(|| Scan {
        identity,
        salt,
        whole: summed + 4,
        ..Scan::default()
    })
}

/// The frame at `at`, if a whole one stands there, and where it ends.
fn read_frame(file: &Bytes, salt: u64, at: usize) -> Option<(Vec<Item>, usize)> {
    if !file.get(at..)?.starts_with(MARK) {
        return None;
    }
    let mut reader = Reader { rest: file.slice(at + MARK.len()..) };
    let (length, sum) = (reader.u32()?, reader.u32()?);
    let payload = reader.take(usize::try_from(length).ok()?)?;
    if checksum(salt, at, length, &payload) != sum {
        return None;
    }
    let mut items = Vec::new();
    let mut reader = Reader { rest: payload };
    while !reader.rest.is_empty() {
        items.push(read_item(&mut reader)?);
    }
    Some((items, file.len() - file.slice(at + FRAME_BYTES + length as usize..).len()))
}

fn read_item(reader: &mut Reader) -> Option<Item> {
    match reader.take(1)?[0] {
        PUT => {
            let entry = reader.u64()?;
            let room = RoomId(reader.u64()?);
            let client_id = ClientId::new(reader.take(16)?[..].try_into().ok()?)?;
            let kind = Kind(reader.u16()?);
            let length = usize::try_from(reader.u32()?).ok()?;
            let body = Blob::<BODY_BYTES_MAX>::new(reader.take(length)?).ok()?;
            Some(Item::Put(entry, Publish { room, client_id, kind, abandon: false, body }))
        }
        SETTLED => Some(Item::Settled(reader.u64()?)),
        _ => None,
    }
}

fn checksum(salt: u64, offset: usize, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_be_bytes());
    hasher.update(&(offset as u64).to_be_bytes());
    hasher.update(&length.to_be_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Takes bytes from the front, never more than there are.
struct Reader {
    rest: Bytes,
}

impl Reader {
    fn take(&mut self, count: usize) -> Option<Bytes> {
        (count <= self.rest.len()).then(|| self.rest.split_to(count))
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?[..].try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?[..].try_into().ok().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?[..].try_into().ok().map(u64::from_be_bytes)
    }
}

const MAGIC: &[u8] = b"HARKOUT1";
const MARK: &[u8] = b"HOF1";
/// Mark, length and checksum.
const FRAME_BYTES: usize = 12;
const PUT: u8 = 1;
const SETTLED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn publish(n: u8, body: impl Into<Bytes>) -> Publish {
        Publish {
            room: RoomId(7),
            client_id: ClientId::new([n; 16]).unwrap(),
            kind: Kind::MESSAGE,
            abandon: false,
            body: Blob::new(body.into()).unwrap(),
        }
    }

    /// A file and, after each of its frames, its length and what is live then.
    fn file() -> (Vec<u8>, Vec<(usize, Vec<u64>)>) {
        let mut bytes = header(9, "ann@chat:4275");
        let mut states = vec![(bytes.len(), vec![])];
        let frames: [&[Item]; 4] = [
            &[Item::Put(1, publish(1, "one"))],
            &[Item::Put(2, publish(2, "")), Item::Put(3, publish(3, "three"))],
            &[Item::Settled(1)],
            &[Item::Settled(3), Item::Put(4, publish(4, vec![0; 300]))],
        ];
        let live = [vec![1], vec![1, 2, 3], vec![2, 3], vec![2, 4]];
        for (items, live) in frames.into_iter().zip(live) {
            let next = frame(9, bytes.len(), items);
            bytes.extend_from_slice(&next);
            states.push((bytes.len(), live));
        }
        (bytes, states)
    }

    #[test]
    fn a_file_that_ends_at_any_byte_holds_exactly_what_was_finished() {
        let (bytes, states) = file();
        for end in 0..=bytes.len() {
            let cut = Bytes::copy_from_slice(&bytes[..end]);
            let Some((whole, live)) = states.iter().rev().find(|(length, _)| *length <= end) else {
                assert_eq!(scan(&cut).unwrap_err(), NotAnOutbox, "{end}");
                continue;
            };
            let scan = scan(&cut).unwrap();
            assert_eq!(scan.live.keys().copied().collect::<Vec<_>>(), *live, "{end}");
            assert_eq!((scan.whole, scan.damage.len()), (*whole, 0), "{end}");
            assert_eq!(scan.identity, "ann@chat:4275");
        }
    }

    #[test]
    fn a_flipped_byte_before_the_last_frame_is_reported_and_invents_nothing() {
        let (bytes, states) = file();
        let (_, last) = (states[4].0, states[3].0);
        for at in states[0].0..last {
            let mut broken = bytes.clone();
            broken[at] ^= 0x40;
            let scan = scan(&broken.into()).unwrap();
            assert_eq!(scan.damage.len(), 1, "{at}: {:?}", scan.damage);
            assert!(scan.damage[0].contains(&at), "{at}: {:?}", scan.damage);
            for (entry, publish) in scan.live {
                let length = [3, 0, 5, 300][entry as usize - 1];
                assert_eq!((publish.client_id.as_bytes()[0], publish.body.len()), (entry as u8, length));
            }
        }
    }

    #[test]
    fn a_frame_inside_a_message_is_not_taken_for_one() {
        let mut bytes = header(9, "a");
        let inner = frame(9, 0, &[Item::Put(99, publish(9, "forged"))]);
        let whole = bytes.len();
        bytes.extend_from_slice(&frame(9, whole, &[Item::Put(1, publish(1, inner))]));
        bytes.truncate(bytes.len() - 1);
        let scan = scan(&bytes.into()).unwrap();
        assert!(scan.live.is_empty() && scan.damage.is_empty(), "{scan:?}");
        assert_eq!(scan.whole, whole);
    }

    #[test]
    fn what_is_written_is_read_again_with_the_same_content() {
        let items = [Item::Put(1, publish(1, "text")), Item::Put(2, publish(2, vec![7; 70_000]))];
        let mut bytes = header(1, "a");
        let next = frame(1, bytes.len(), &items);
        bytes.extend_from_slice(&next);
        let scan = scan(&bytes.into()).unwrap();
        let read: Vec<Item> =
            scan.live.into_iter().map(|(entry, publish)| Item::Put(entry, publish)).collect();
        assert_eq!(read, items);
    }
}

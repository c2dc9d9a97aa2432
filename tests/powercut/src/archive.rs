//! A failure in a file: the tape as it was recorded, threads and all, and the image that was found bad.

use std::io;
use std::path::Path;

use crate::disk::Syncs;
use crate::planted::Planted;
use crate::rig::Cut;
use crate::take::{Resolution, Take, history};
use crate::tape::{Inode, Mark, Op, Tape};

/// How such a file begins; the last digit is the format's.
const MAGIC: &[u8; 8] = b"HARKPC-1";

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The take.
    pub take: Take,
    /// The image.
    pub cut: Cut,
    /// The bug that had been planted.
    pub planted: Option<Planted>,
}

impl Archive {
    /// Writes the file.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut out = MAGIC.to_vec();
        let mut number = |value: u64| out.extend_from_slice(&value.to_le_bytes());
        let (take, cut) = (&self.take, self.cut);
        number(take.seed);
        number(u64::from(take.history.last()));
        number(take.resolutions.len() as u64);
        for resolution in &take.resolutions {
            number(u64::from(resolution.version));
            number(u64::from(resolution.made));
        }
        number(cut.after as u64);
        number(cut.seed);
        number(SYNCS.iter().position(|it| *it == cut.syncs).unwrap_or(0) as u64);
        let planted = self.planted.and_then(|planted| Planted::ALL.iter().position(|it| *it == planted));
        number(planted.map_or(0, |place| place as u64 + 1));
        number(take.tape.ops.len() as u64);
        for op in &take.tape.ops {
            put(op, &mut out);
        }
        out.extend_from_slice(&take.tape.data);
        std::fs::write(path, out)
    }

    /// Reads the file, and tells the story again.
    ///
    /// # Errors
    /// When it can not be read, or is none of these.
    pub fn load(path: &Path) -> io::Result<Archive> {
        let bytes = std::fs::read(path)?;
        let bad =
            || io::Error::new(io::ErrorKind::InvalidData, format!("{} is no recording", path.display()));
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(bad)?;
        Reader(rest).archive().ok_or_else(bad)
    }
}

const SYNCS: [Syncs; 3] = [Syncs::Full, Syncs::Normal, Syncs::Off];

fn put(op: &Op, out: &mut Vec<u8>) {
    let (tag, numbers, name) = match op {
        Op::Create { name, inode, durable } => (0, [u64::from(inode.0), u64::from(*durable), 0], &**name),
        Op::Delete { name, durable } => (1, [u64::from(*durable), 0, 0], &**name),
        Op::Write { inode, offset, data } => (2, [u64::from(inode.0), *offset, data.len() as u64], ""),
        Op::Truncate { inode, size } => (3, [u64::from(inode.0), *size, 0], ""),
        Op::Sync { inode, folder } => (4, [u64::from(inode.0), u64::from(*folder), 0], ""),
        Op::FailedSync { inode } => (5, [u64::from(inode.0), 0, 0], ""),
        Op::Mark(mark) => {
            let (kind, version) = match mark {
                Mark::Opening => (0, 0),
                Mark::Opened => (1, 0),
                Mark::Begun(version) => (2, *version),
                Mark::Done(version) => (3, *version),
                Mark::Shown(version) => (4, *version),
                Mark::Closing => (5, 0),
                Mark::Killed => (6, 0),
            };
            (6, [kind, u64::from(version), 0], "")
        }
    };
    out.push(tag);
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    out.push(u8::try_from(name.len()).unwrap_or(0));
    out.extend_from_slice(name.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn archive(&mut self) -> Option<Archive> {
        let seed = self.number()?;
        let last = u32::try_from(self.number()?).ok()?;
        let count = self.number()?;
        let mut resolutions = Vec::new();
        for _ in 0..count {
            let version = u32::try_from(self.number()?).ok()?;
            resolutions.push(Resolution { version, made: self.number()? != 0 });
        }
        let (after, seed_of_cut) = (usize::try_from(self.number()?).ok()?, self.number()?);
        let syncs = *SYNCS.get(usize::try_from(self.number()?).ok()?)?;
        let planted = match self.number()? {
            0 => None,
            place => Some(*Planted::ALL.get(usize::try_from(place - 1).ok()?)?),
        };
        let count = self.number()?;
        let mut tape = Tape::default();
        let mut data_bytes = 0;
        for _ in 0..count {
            tape.ops.push(self.op(&mut data_bytes)?);
        }
        tape.data = self.0.to_vec();
        let whole = tape.data.len() == data_bytes;
        let history = whole.then(|| history(seed, &resolutions, last))?;
        let cut = Cut { after, seed: seed_of_cut, syncs };
        Some(Archive { take: Take { seed, history, tape, resolutions, faults: 0 }, cut, planted })
    }

    /// One step. Writes stand in the data in their order, so the length says where.
    fn op(&mut self, data_bytes: &mut usize) -> Option<Op> {
        let tag = *self.take(1)?.first()?;
        let numbers = [self.number()?, self.number()?, self.number()?];
        let length = *self.take(1)?.first()?;
        let name = std::str::from_utf8(self.take(usize::from(length))?).ok()?.into();
        let [first, second, third] = numbers;
        let inode = Inode(u32::try_from(first).ok()?);
        Some(match tag {
            0 => Op::Create { name, inode, durable: second != 0 },
            1 => Op::Delete { name, durable: first != 0 },
            2 => {
                let start = *data_bytes;
                *data_bytes = start.checked_add(usize::try_from(third).ok()?)?;
                Op::Write { inode, offset: second, data: start..*data_bytes }
            }
            3 => Op::Truncate { inode, size: second },
            4 => Op::Sync { inode, folder: second != 0 },
            5 => Op::FailedSync { inode },
            6 => Op::Mark(mark(first, u32::try_from(second).ok()?)?),
            _ => return None,
        })
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn take(&mut self, bytes: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

fn mark(kind: u64, version: u32) -> Option<Mark> {
    Some(match kind {
        0 => Mark::Opening,
        1 => Mark::Opened,
        2 => Mark::Begun(version),
        3 => Mark::Done(version),
        4 => Mark::Shown(version),
        5 => Mark::Closing,
        6 => Mark::Killed,
        _ => return None,
    })
}

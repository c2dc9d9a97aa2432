//! What a disk may hold when the power fails: what was synced for sure, and of the rest any part.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::rng::Rng;
use crate::tape::{Inode, Op, Tape};

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// With so many bytes a write-ahead log begins.
const WAL_HEADER_BYTES: usize = 32;

/// What becomes of syncs. All but `Full` are controls: they must lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// A sync does what it says.
    Full,
    /// As SQLite's `synchronous=NORMAL`: a write-ahead log is synced when it begins again and before a checkpoint, and
    /// not for a commit.
    Normal,
    /// As `synchronous=OFF`: nothing is synced.
    Off,
}

/// What becomes of writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// None of them reached the disk.
    Dropped,
    /// Some of them did.
    Subset,
    /// Some of them did, some in part.
    Torn,
    /// All of them did: what a kill leaves, too.
    Kept,
}

impl Mood {
    /// All moods.
    pub const ALL: [Mood; 4] = [Mood::Dropped, Mood::Subset, Mood::Torn, Mood::Kept];

    /// A mood by chance: mostly the ones with some chance of their own.
    pub fn any(rng: &mut Rng) -> Mood {
        match rng.below(10) {
            0 | 1 => Mood::Dropped,
            2..=4 => Mood::Subset,
            5..=8 => Mood::Torn,
            _ => Mood::Kept,
        }
    }
}

/// A disk with its cache, fed with a tape step by step.
#[derive(Debug)]
pub struct Disk {
    syncs: Syncs,
    files: BTreeMap<Inode, Content>,
    /// What each name may stand for: first what the folder says for sure, then what it was changed to since.
    names: BTreeMap<Arc<str>, Vec<Option<Inode>>>,
}

#[derive(Debug, Default)]
struct Content {
    /// What is on the disk for sure.
    durable: Vec<u8>,
    /// What came after, in order.
    later: Vec<Later>,
    name: Arc<str>,
    /// Whether `Syncs::Normal` still owes it a sync.
    owed: bool,
}

#[derive(Debug)]
struct Later {
    change: LaterChange,
    fate: Fate,
}

#[derive(Debug)]
enum LaterChange {
    Write { offset: usize, data: std::ops::Range<usize> },
    Truncate { size: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It waits for a sync.
    Open,
    /// A sync failed on it: nobody will ever know.
    Lost,
    /// It is on the disk, over something that nobody knows.
    Sure,
}

impl Disk {
    /// An empty disk.
    pub fn new(syncs: Syncs) -> Disk {
        Disk { syncs, files: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// Takes the next step of a tape.
    pub fn take(&mut self, op: &Op, tape: &Tape) {
        match op {
            Op::Create { name, inode, durable } => {
                self.files.entry(*inode).or_default().name = name.clone();
                self.rename(name, Some(*inode), *durable);
            }
            Op::Delete { name, durable } => self.rename(name, None, *durable),
            Op::Write { inode, offset, data } => {
                self.pay_before_writing(*inode, tape);
                let Ok(offset) = usize::try_from(*offset) else { return };
                self.later(*inode, LaterChange::Write { offset, data: data.clone() });
            }
            Op::Truncate { inode, size } => {
                let Ok(size) = usize::try_from(*size) else { return };
                self.later(*inode, LaterChange::Truncate { size });
            }
            Op::Sync { inode, folder } => self.sync(*inode, *folder, tape),
            Op::FailedSync { inode } => {
                for later in self.files.entry(*inode).or_default().later.iter_mut() {
                    if later.fate == Fate::Open {
                        later.fate = Fate::Lost;
                    }
                }
            }
            Op::Mark(_) => {}
        }
    }

    fn later(&mut self, inode: Inode, change: LaterChange) {
        self.files.entry(inode).or_default().later.push(Later { change, fate: Fate::Open });
    }

    fn rename(&mut self, name: &Arc<str>, to: Option<Inode>, durable: bool) {
        self.names.entry(name.clone()).or_insert_with(|| vec![None]).push(to);
        if durable {
            self.sync_folder();
        }
    }

    fn sync(&mut self, inode: Inode, folder: bool, tape: &Tape) {
        let content = self.files.entry(inode).or_default();
        match self.syncs {
            // Not SQLite's: a file that was found, or written without it.
            _ if content.name.is_empty() => content.settle(tape),
            Syncs::Off => return,
            Syncs::Normal if content.name.ends_with("-wal") && !content.begins_again() => content.owed = true,
            Syncs::Full | Syncs::Normal => content.settle(tape),
        }
        if folder {
            self.sync_folder();
        }
    }

    /// Under `NORMAL` a write-ahead log is synced before the database is written.
    fn pay_before_writing(&mut self, inode: Inode, tape: &Tape) {
        if self.syncs != Syncs::Normal {
            return;
        }
        let Some(name) = self.files.get(&inode).map(|content| format!("{}-wal", content.name)) else {
            return;
        };
        for content in self.files.values_mut().filter(|content| content.owed && *content.name == *name) {
            content.settle(tape);
            content.owed = false;
        }
    }

    fn sync_folder(&mut self) {
        for states in self.names.values_mut() {
            states.drain(..states.len().saturating_sub(1));
        }
    }

    /// Writes into `folder`, which must be empty, what the power cut leaves.
    ///
    /// # Errors
    /// When the folder can not be written to.
    pub fn image(&self, tape: &Tape, mood: Mood, rng: &mut Rng, folder: &Path) -> io::Result<()> {
        for (name, states) in &self.names {
            let state = match mood {
                Mood::Dropped => states.first(),
                Mood::Kept => states.last(),
                Mood::Subset | Mood::Torn => rng.pick(states),
            };
            if let Some(Some(inode)) = state
                && let Some(content) = self.files.get(inode)
            {
                std::fs::write(folder.join(&**name), content.survivor(tape, mood, rng))?;
            }
        }
        Ok(())
    }
}

impl Content {
    /// Whether a write-ahead log's header was written last.
    fn begins_again(&self) -> bool {
        let last = self.later.last().map(|later| &later.change);
        matches!(last, Some(LaterChange::Write { offset: 0, data }) if data.len() == WAL_HEADER_BYTES)
    }

    /// Everything so far is on the disk, except for what a failed sync has lost from sight.
    fn settle(&mut self, tape: &Tape) {
        if self.later.iter().any(|later| later.fate == Fate::Lost) {
            for later in &mut self.later {
                if later.fate == Fate::Open {
                    later.fate = Fate::Sure;
                }
            }
            return;
        }
        for later in std::mem::take(&mut self.later) {
            later.change.apply(&mut self.durable, tape);
        }
    }

    fn survivor(&self, tape: &Tape, mood: Mood, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        // How many in a hundred survive differs from file to file: all, none, and anything between.
        let survive = *rng.pick(&[5, 30, 50, 70, 95]).unwrap_or(&50);
        // And often a disk has written in order up to some point.
        let in_order = rng.percent(30).then(|| rng.index(self.later.len() + 1));
        for (place, later) in self.later.iter().enumerate() {
            let survives = match (later.fate, mood) {
                (Fate::Sure, _) | (_, Mood::Kept) => true,
                (_, Mood::Dropped) => false,
                (_, Mood::Subset | Mood::Torn) => match in_order {
                    Some(end) => place < end,
                    None => rng.percent(survive),
                },
            };
            let torn = mood == Mood::Torn && later.fate != Fate::Sure && rng.percent(40);
            if torn {
                later.change.apply_torn(&mut bytes, tape, rng);
            } else if survives {
                later.change.apply(&mut bytes, tape);
            }
        }
        bytes
    }
}

impl LaterChange {
    fn apply(&self, bytes: &mut Vec<u8>, tape: &Tape) {
        match self {
            LaterChange::Write { offset, data } => put(bytes, *offset, &tape.data[data.clone()]),
            LaterChange::Truncate { size } => bytes.resize(*size, 0),
        }
    }

    /// Applies some of the sectors that a write touches.
    fn apply_torn(&self, bytes: &mut Vec<u8>, tape: &Tape, rng: &mut Rng) {
        let LaterChange::Write { offset, data } = self else { return };
        let data = &tape.data[data.clone()];
        let mut from = 0;
        while from < data.len() {
            let at = offset + from;
            let to = data.len().min(from + SECTOR_BYTES - at % SECTOR_BYTES);
            if rng.percent(50) {
                put(bytes, at, &data[from..to]);
            }
            from = to;
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FILE: Inode = Inode(0);

    fn create(name: &str, inode: Inode, durable: bool) -> Op {
        Op::Create { name: name.into(), inode, durable }
    }

    /// What images of these steps hold under a name; `None` where it is missing. A number stands for a write of
    /// 1,024 such bytes at 0.
    fn images(name: &str, steps: &[Result<Op, u8>], mood: Mood) -> BTreeSet<Option<Vec<u8>>> {
        let mut tape = Tape::default();
        for step in steps {
            match step {
                Ok(op) => tape.ops.push(op.clone()),
                Err(byte) => tape.write(FILE, 0, &[*byte; 1_024]),
            }
        }
        let mut disk = Disk::new(Syncs::Full);
        tape.ops.iter().for_each(|op| disk.take(op, &tape));
        let image = |seed| {
            let folder = tempfile::tempdir().unwrap();
            disk.image(&tape, mood, &mut Rng::new(seed), folder.path()).unwrap();
            // The first byte of each sector is enough.
            std::fs::read(folder.path().join(name)).ok().map(|it| it.iter().step_by(512).copied().collect())
        };
        (0..60).map(image).collect()
    }

    fn set(contents: &[Option<&[u8]>]) -> BTreeSet<Option<Vec<u8>>> {
        contents.iter().map(|it| it.map(<[u8]>::to_vec)).collect()
    }

    const SYNC: Op = Op::Sync { inode: FILE, folder: false };

    #[test]
    fn what_was_synced_is_in_every_image_and_the_rest_in_some() {
        let steps = [Ok(create("a.db", FILE, true)), Err(1), Ok(SYNC), Err(2)];
        let (old, new, torn): (&[u8], &[u8], [&[u8]; 2]) = (&[1, 1], &[2, 2], [&[1, 2], &[2, 1]]);
        assert_eq!(images("a.db", &steps, Mood::Dropped), set(&[Some(old)]));
        assert_eq!(images("a.db", &steps, Mood::Kept), set(&[Some(new)]));
        assert_eq!(images("a.db", &steps, Mood::Subset), set(&[Some(old), Some(new)]));
        let any = set(&[Some(old), Some(new), Some(torn[0]), Some(torn[1])]);
        assert_eq!(images("a.db", &steps, Mood::Torn), any);
    }

    #[test]
    fn no_later_sync_makes_a_failed_one_good() {
        let failed = Op::FailedSync { inode: FILE };
        let steps = [Ok(create("a.db", FILE, true)), Err(1), Ok(SYNC), Err(2), Ok(failed), Ok(SYNC)];
        assert_eq!(images("a.db", &steps, Mood::Subset), set(&[Some(&[1, 1]), Some(&[2, 2])]));
        // What is written again is synced again.
        let again: Vec<_> = steps.into_iter().chain([Err(3), Ok(SYNC)]).collect();
        assert_eq!(images("a.db", &again, Mood::Dropped), set(&[Some(&[3, 3])]));
        assert_eq!(images("a.db", &again, Mood::Torn), set(&[Some(&[3, 3])]));
    }

    #[test]
    fn a_name_is_as_durable_as_its_folder() {
        let new = [Ok(create("a.db-wal", FILE, false)), Err(1), Ok(SYNC)];
        assert_eq!(images("a.db-wal", &new, Mood::Subset), set(&[None, Some(&[1, 1])]));
        let with_folder = Op::Sync { inode: FILE, folder: true };
        let synced: Vec<_> = new.into_iter().chain([Ok(with_folder)]).collect();
        assert_eq!(images("a.db-wal", &synced, Mood::Subset), set(&[Some(&[1, 1])]));
        // A removed file comes back, as long as nobody has synced the folder.
        let delete = |durable| Ok(Op::Delete { name: "a.db-wal".into(), durable });
        let removed: Vec<_> = synced.iter().cloned().chain([delete(false)]).collect();
        assert_eq!(images("a.db-wal", &removed, Mood::Subset), set(&[None, Some(&[1, 1])]));
        let gone: Vec<_> = synced.into_iter().chain([delete(true)]).collect();
        assert_eq!(images("a.db-wal", &gone, Mood::Subset), set(&[None]));
    }

    #[test]
    fn a_cut_file_may_still_be_long() {
        let cut = Op::Truncate { inode: FILE, size: 0 };
        let steps = [Ok(create("a.db", FILE, true)), Err(1), Ok(SYNC), Ok(cut)];
        assert_eq!(images("a.db", &steps, Mood::Subset), set(&[Some(&[]), Some(&[1, 1])]));
    }
}

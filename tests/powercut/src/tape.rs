//! What was recorded: everything that was done to the files of one folder, in order, with marks of what was promised.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A file's content, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u32);

/// How many changes of a history are in.
pub type Version = u32;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A name was given to a file that had none, and is empty unless it has been written already. `durable` says that
    /// the folder was synced before anybody wrote to it.
    Create {
        /// Its name.
        name: Arc<str>,
        /// What the name stands for from now on.
        inode: Inode,
        /// Whether a power cut leaves the name.
        durable: bool,
    },
    /// A name was removed; `durable` says that the folder was synced after it.
    Delete {
        /// Which.
        name: Arc<str>,
        /// Whether a power cut can bring it back.
        durable: bool,
    },
    /// Bytes were written.
    Write {
        /// Into what.
        inode: Inode,
        /// From this byte on.
        offset: u64,
        /// Where they stand in the tape's data.
        data: Range<usize>,
    },
    /// A file was cut, or made longer.
    Truncate {
        /// Which.
        inode: Inode,
        /// To so many bytes.
        size: u64,
    },
    /// A file was synced, and with it perhaps the names in the folder.
    Sync {
        /// Which.
        inode: Inode,
        /// Whether the names are durable too.
        folder: bool,
    },
    /// A sync failed: what it should have written may be on the disk or not, and no later sync changes that.
    FailedSync {
        /// Of which file.
        inode: Inode,
    },
    /// Something that matters to what must be found afterwards.
    Mark(Mark),
}

/// What happened above the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The store is being opened.
    Opening,
    /// It is open.
    Opened,
    /// The change that makes this version was handed to the store.
    Begun(Version),
    /// The store has answered it.
    Done(Version),
    /// A reader was shown something of this version.
    Shown(Version),
    /// The store is being closed.
    Closing,
    /// The process was killed; everything that it had written is still in the system's memory.
    Killed,
}

/// A recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    /// The steps.
    pub ops: Vec<Op>,
    /// The bytes of all writes.
    pub data: Vec<u8>,
}

/// What must be on the disk if the power fails at one point of a tape, and what may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// The newest version that was answered.
    pub done: Version,
    /// The newest of which something was shown.
    pub shown: Version,
    /// The newest that may be found: the store was at work on it.
    pub begun: Version,
}

impl Promise {
    /// Takes a mark into account.
    pub fn note(&mut self, mark: Mark) {
        match mark {
            Mark::Begun(version) => self.begun = self.begun.max(version),
            Mark::Done(version) => {
                self.done = self.done.max(version);
                self.begun = self.begun.max(version);
            }
            Mark::Shown(version) => {
                self.shown = self.shown.max(version);
                self.begun = self.begun.max(version);
            }
            Mark::Opening | Mark::Opened | Mark::Closing | Mark::Killed => {}
        }
    }

    /// The oldest version that may be found.
    pub fn floor(&self) -> Version {
        self.done.max(self.shown)
    }
}

impl Tape {
    /// A tape of a disk on which a folder's files are as they are, for sure.
    ///
    /// # Errors
    /// When the folder can not be read.
    pub fn of(folder: &Path) -> io::Result<Tape> {
        let mut names: Vec<String> = std::fs::read_dir(folder)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| (name.contains(".db") && !name.ends_with("-shm")) || name == "log.mark")
            .collect();
        names.sort();
        let mut tape = Tape::default();
        for (number, name) in (0..).zip(names) {
            let inode = Inode(number);
            let content = std::fs::read(folder.join(&name))?;
            // Named last, as everything that does not come from SQLite: a control leaves out SQLite's syncs only.
            tape.write(inode, 0, &content);
            tape.ops.push(Op::Sync { inode, folder: false });
            tape.ops.push(Op::Create { name: name.into(), inode, durable: true });
        }
        Ok(tape)
    }

    /// Adds a write.
    pub fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        self.ops.push(Op::Write { inode, offset, data: start..self.data.len() });
    }

    /// What is promised after the first `cut` steps.
    pub fn promise(&self, cut: usize) -> Promise {
        let mut promise = Promise::default();
        for op in self.ops.iter().take(cut) {
            if let Op::Mark(mark) = op {
                promise.note(*mark);
            }
        }
        promise
    }

    /// Where a mark stands for the last time.
    pub fn last(&self, mark: Mark) -> Option<usize> {
        self.ops.iter().rposition(|op| *op == Op::Mark(mark))
    }
}

//! How an outbox is kept: where, how much of it, and what can be wrong with it.

use std::fmt;
use std::path::PathBuf;

/// Publishes that an outbox on a disk keeps unless it is told otherwise.
pub const OUTBOX_ENTRIES_DEFAULT: usize = 10_000;

/// Bytes of bodies that wait for a verdict, on a disk or in memory, unless told otherwise.
pub const OUTBOX_BYTES_DEFAULT: usize = 64 << 20;

/// Keeps publishes that have no verdict on a disk, so that they outlive the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxOptions {
    /// The folder. Each server and account has a folder of its own in it, which is made when it is not there and
    /// which one process may use at a time.
    pub dir: PathBuf,
    /// Publishes without a verdict; another one waits or is refused.
    pub entries_max: usize,
    /// Bytes of their bodies; a single one may be more.
    pub bytes_max: usize,
    /// What to do when what is found there is damaged.
    pub damaged: Damaged,
    /// Where the disk is waited for.
    pub writing: Writing,
}

impl OutboxOptions {
    /// An outbox in the folder `dir`, with the default bounds.
    pub fn new(dir: impl Into<PathBuf>) -> OutboxOptions {
        OutboxOptions {
            dir: dir.into(),
            entries_max: OUTBOX_ENTRIES_DEFAULT,
            bytes_max: OUTBOX_BYTES_DEFAULT,
            damaged: Damaged::Refuse,
            writing: Writing::Background,
        }
    }
}

/// What to do with a damaged outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// Connecting fails with [`OutboxProblem::Damaged`], and everything stays as it is.
    #[default]
    Refuse,
    /// The damaged file is set aside as `outbox.damaged-1` and so on, and what can be read of it is sent; also what
    /// had its verdict, where that is what can not be read: with the same client id, so that nothing is stored twice.
    Salvage,
}

/// Where the disk is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writing {
    /// On one of the runtime's threads for blocking work.
    #[default]
    Background,
    /// Within the client's task, so that one thread does everything in one order: for simulations.
    Inline,
}

/// Why an outbox on a disk can not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboxProblem {
    /// Another process, or another client of this one, uses the outbox of this account.
    Locked {
        /// The file that it holds locked.
        path: PathBuf,
    },
    /// The folder or the file can not be made, read or written.
    Unusable {
        /// Which, and what the operating system says.
        why: String,
    },
    /// What is there belongs to another account or server.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged before its end: something that was to be sent can not be read. Connecting with
    /// [`Damaged::Salvage`] keeps a copy of it and sends the rest.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// How many bytes can not be read.
        bytes: u64,
    },
}

impl fmt::Display for OutboxProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutboxProblem::Locked { path } => write!(
                f,
                "the outbox is used by another process, which holds {}; end that one, or use another folder",
                path.display()
            ),
            OutboxProblem::Unusable { why } => write!(f, "the outbox can not be used: {why}"),
            OutboxProblem::Foreign { path } => write!(
                f,
                "the outbox {} belongs to another account or server; use another folder",
                path.display()
            ),
            OutboxProblem::Damaged { path, offset, bytes } => {
                write!(f, "the outbox {} is damaged: ", path.display())?;
                match bytes {
                    0 => f.write_str("it is empty, without even a beginning")?,
                    _ => write!(f, "{bytes} bytes from {offset} on can not be read")?,
                }
                f.write_str(
                    "; open it with Damaged::Salvage to keep a copy and send the rest, or use another folder",
                )
            }
        }
    }
}

//! The recorder behind the VFS: writes the tape, and fails where a fault is due.
//!
//! The store writes a little without SQLite: it makes new files, keeps a mark beside the log, and writes a write-ahead
//! log that it has found once more. That is seen by looking at the files, and taken for synced, as the store does sync it.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE, SQLITE_OK};

pub use crate::tape::Inode;
use crate::tape::{Mark, Op, Promise, Tape};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A sync fails with EIO, and the system forgets what it should have written.
    SyncFails,
    /// The disk is full: nothing of the write is written.
    NoSpace,
    /// The disk becomes full in the middle of the write.
    ShortWrite,
    /// A write fails with EIO in its middle.
    WriteFails,
}

/// Something that goes wrong some time.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// In files whose names begin so.
    pub file: &'static str,
    /// After so many calls that go well.
    pub after: u32,
    /// For so many calls.
    pub times: u32,
}

/// Records what is done to the files of one folder. Every call forwards and records under one lock, so the tape's
/// order is the order in which things happened, whatever threads there are.
#[derive(Debug)]
pub struct Recorder {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    folder: PathBuf,
    tape: Tape,
    /// What each name stands for, and which file of the real folder that is; `None` if that is not known yet.
    names: BTreeMap<Arc<str>, (Inode, Option<u64>)>,
    files: Vec<Arc<str>>,
    /// The mark as it was last seen.
    mark: Option<Seen>,
    fault: Option<Fault>,
    /// How often a sync of each file has failed.
    failures: BTreeMap<Inode, u32>,
    faults_struck: u32,
    faults_before: u32,
    /// Whether files count as untouched that are not.
    overlooks: bool,
    /// The process was killed: what its threads still do reaches the folder, and the tape no more.
    killed: bool,
}

/// The time of a file that nobody has written since it was set.
const UNTOUCHED: SystemTime = SystemTime::UNIX_EPOCH;

/// The file that the store writes beside the log.
const MARK: &str = "log.mark";

/// By what a file is known to be another one, or to have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    identity: u64,
    modified: Option<SystemTime>,
}

impl Seen {
    fn at(path: &Path) -> Option<Seen> {
        let found = path.metadata().ok()?;
        Some(Seen { identity: found.ino(), modified: found.modified().ok() })
    }
}

impl Recorder {
    /// A recorder that goes on where `tape` ends: `folder` holds what the tape says, and nothing that the tape does
    /// not know.
    pub fn behind(tape: Tape, folder: &Path) -> Recorder {
        let mut state = State { folder: folder.into(), ..State::default() };
        for op in &tape.ops {
            match op {
                Op::Create { name, inode, .. } => {
                    state.names.insert(name.clone(), (*inode, None));
                    state.files.push(name.clone());
                }
                Op::Delete { name, .. } => {
                    state.names.remove(name);
                }
                _ => {}
            }
        }
        state.tape = tape;
        state.mark = Seen::at(&state.folder.join(MARK));
        Recorder { state: Mutex::new(state) }
    }

    /// Nobody has the folder open, and somebody is about to: what is written into its files from now on without
    /// SQLite shows by their time.
    ///
    /// # Errors
    /// When the files' times can not be set.
    pub fn expect_start(&self) -> io::Result<()> {
        let mut state = self.state();
        let folder = state.folder.clone();
        for (name, (_, identity)) in state.names.iter_mut().filter(|(name, _)| &***name != MARK) {
            *identity = None;
            File::options().write(true).open(folder.join(&**name))?.set_modified(UNTOUCHED)?;
        }
        Ok(())
    }

    /// Takes files for untouched, whatever was written into them before SQLite opened them.
    pub fn overlook_what_is_written_again(&self) {
        self.state().overlooks = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, after a look at what the store writes without SQLite.
    fn looked_aside(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        let path = state.folder.join(MARK);
        let seen = Seen::at(&path);
        if seen != state.mark && !state.killed {
            state.mark = seen;
            state.found(MARK, &path);
        }
        state
    }

    /// Lets something go wrong, from now on.
    pub fn plan(&self, fault: Fault) {
        let mut state = self.state();
        state.faults_before += state.faults_struck;
        (state.fault, state.faults_struck) = (Some(fault), 0);
    }

    /// How many calls have been failed since the last plan.
    pub fn faults_struck(&self) -> u32 {
        self.state().faults_struck
    }

    /// How many calls have been failed in all.
    pub fn faults_in_all(&self) -> u32 {
        let state = self.state();
        state.faults_before + state.faults_struck
    }

    /// How often a sync of a file has failed.
    pub(crate) fn failures(&self, inode: Inode) -> u32 {
        self.state().failures.get(&inode).copied().unwrap_or_default()
    }

    /// Whether a sync has been failed.
    pub fn sync_failed(&self) -> bool {
        self.state().tape.ops.iter().any(|op| matches!(op, Op::FailedSync { .. }))
    }

    /// Records what happened above the disk.
    pub fn mark(&self, mark: Mark) {
        self.looked_aside().push(Op::Mark(mark));
    }

    /// What is promised by now.
    pub fn promise(&self) -> Promise {
        let state = self.state();
        state.tape.promise(state.tape.ops.len())
    }

    /// Ends the recording as a kill ends a process: in the middle of anything. `choose` says how many steps there
    /// were by then.
    pub fn kill(&self, choose: impl FnOnce(&Tape) -> usize) -> Tape {
        let mut state = self.state();
        state.killed = true;
        let cut = choose(&state.tape);
        let mut tape = std::mem::take(&mut state.tape);
        tape.ops.truncate(cut);
        tape
    }

    /// Ends the recording, and hands it out.
    pub fn finish(&self) -> Tape {
        self.kill(|tape| tape.ops.len())
    }

    /// A file was opened; it may have been written, or made anew, behind SQLite's back.
    pub(crate) fn opened(&self, name: &str, path: &Path, name_is_durable: bool) -> Inode {
        let mut state = self.looked_aside();
        let seen = Seen::at(path);
        let identity = seen.map(|seen| seen.identity);
        let is_untouched = state.overlooks || seen.is_none_or(|seen| seen.modified == Some(UNTOUCHED));
        match state.names.get_mut(name) {
            Some((inode, known @ None)) if is_untouched => {
                *known = identity;
                *inode
            }
            Some((inode, known)) if known.is_some() && *known == identity => *inode,
            Some(_) => state.found(name, path),
            None => state.create(name, identity, name_is_durable),
        }
    }

    pub(crate) fn delete(&self, name: &str, durable: bool, forward: impl FnOnce() -> c_int) -> c_int {
        let mut state = self.looked_aside();
        let code = forward();
        if code == SQLITE_OK && state.names.remove(name).is_some() {
            state.push(Op::Delete { name: name.into(), durable });
        }
        code
    }

    pub(crate) fn write(
        &self,
        inode: Inode,
        offset: u64,
        data: &[u8],
        mut forward: impl FnMut(&[u8]) -> c_int,
    ) -> c_int {
        let mut state = self.looked_aside();
        let (written, fails) = match state.strikes(inode, false) {
            None => (data.len(), None),
            Some(FaultKind::NoSpace) => (0, Some(SQLITE_FULL)),
            Some(FaultKind::ShortWrite) => (data.len() / 2, Some(SQLITE_FULL)),
            Some(FaultKind::WriteFails | FaultKind::SyncFails) => (data.len() / 2, Some(SQLITE_IOERR_WRITE)),
        };
        let part = data.get(..written).unwrap_or(data);
        let code = if part.is_empty() { SQLITE_OK } else { forward(part) };
        if code == SQLITE_OK && !part.is_empty() && !state.killed {
            state.tape.write(inode, offset, part);
        }
        if code == SQLITE_OK { fails.unwrap_or(SQLITE_OK) } else { code }
    }

    pub(crate) fn truncate(&self, inode: Inode, size: u64, forward: impl FnOnce() -> c_int) -> c_int {
        let mut state = self.looked_aside();
        let code = forward();
        if code == SQLITE_OK {
            state.push(Op::Truncate { inode, size });
        }
        code
    }

    /// Syncs a file through a handle that has been told of so many failures. As under Linux, every handle that was
    /// open when a sync failed is told of it once, whoever asked for that sync: so no writer takes its own for good
    /// when another's has lost its pages.
    pub(crate) fn sync(&self, inode: Inode, folder: bool, told: &mut u32) -> c_int {
        let mut state = self.looked_aside();
        if state.strikes(inode, true).is_some() {
            *state.failures.entry(inode).or_default() += 1;
        }
        let failures = state.failures.get(&inode).copied().unwrap_or_default();
        if failures > std::mem::replace(told, failures) {
            state.push(Op::FailedSync { inode });
            return SQLITE_IOERR_FSYNC;
        }
        state.push(Op::Sync { inode, folder });
        SQLITE_OK
    }
}

impl State {
    fn create(&mut self, name: &str, identity: Option<u64>, durable: bool) -> Inode {
        let name: Arc<str> = name.into();
        let inode = Inode(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(name.clone());
        self.names.insert(name.clone(), (inode, identity));
        self.push(Op::Create { name, inode, durable });
        inode
    }

    /// A file that was written without SQLite, and synced. Its name is given to it last, because to a power cut it is
    /// as it was before or as it is now.
    fn found(&mut self, name: &str, path: &Path) -> Inode {
        let inode = Inode(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        if !self.killed {
            self.tape.write(inode, 0, &std::fs::read(path).unwrap_or_default());
        }
        self.push(Op::Sync { inode, folder: false });
        self.create(name, Seen::at(path).map(|seen| seen.identity), true)
    }

    fn push(&mut self, op: Op) {
        if !self.killed {
            self.tape.ops.push(op);
        }
    }

    /// Whether the planned fault strikes this call.
    fn strikes(&mut self, inode: Inode, is_sync: bool) -> Option<FaultKind> {
        let fault = self.fault.as_mut()?;
        let name = self.files.get(inode.0 as usize)?;
        if is_sync != (fault.kind == FaultKind::SyncFails) || !name.starts_with(fault.file) {
            return None;
        }
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        let kind = fault.kind;
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            self.fault = None;
        }
        self.faults_struck += 1;
        Some(kind)
    }
}

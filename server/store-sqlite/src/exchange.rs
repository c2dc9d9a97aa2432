//! The exchange of a folder's data for restored data, in steps: a kill between any two leaves what was there whole, and
//! a folder that another restore takes up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::copy::{CopyError, file_error, make_folder, rename, sync, tree};

/// An exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'a> {
    /// The data folder.
    pub(crate) folder: &'a Path,
    /// What comes: `log.db`, `directory.db` and files, all of them on the disk.
    pub(crate) partial: &'a Path,
    /// Where what was there is kept, if anything was; it is not there yet.
    pub(crate) aside: Option<&'a Path>,
    /// What else there is, by name.
    pub(crate) files: &'a [&'a str],
}

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Step {
    MakeFolder(PathBuf),
    /// Keeps a file under a second name, or a folder as a copy.
    Keep(PathBuf, PathBuf),
    /// Gives something another place, and takes that of a file that is there.
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
    Sync(PathBuf),
}

impl Step {
    /// Does it.
    pub(crate) fn take(&self) -> Result<(), CopyError> {
        match self {
            Step::MakeFolder(path) => make_folder(path),
            Step::Keep(from, to) if from.is_dir() => tree(from, to),
            Step::Keep(from, to) => fs::hard_link(from, to).map_err(file_error(to)),
            Step::Move(from, to) => rename(from, to),
            Step::Remove(path) => {
                let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
                let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                removed.map_err(file_error(path))
            }
            Step::Sync(folder) => sync(folder),
        }
    }
}

/// What is kept under a second name while the log is still there. Not the log itself: a server that goes on with it
/// after a kill must not write into what was put aside.
const KEPT: &[&str] = &["log.db-wal", "log.mark", "directory.db", "directory.db-wal"];
/// What goes once the log is aside. The directory stays until it is replaced, so that no server takes the folder for
/// a new one in between.
const REMOVED: &[&str] = &[
    "log.db-wal",
    "log.db-shm",
    "log.mark",
    "index.db",
    "index.db-wal",
    "index.db-shm",
    "index.distrusted",
    "directory.db-wal",
    "directory.db-shm",
];

impl Exchange<'_> {
    /// What is to be done, in this order. From the first step that changes what was there to the last one there is no
    /// log in the folder, so no server starts.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(aside) = self.aside {
            self.put_aside(aside, &mut steps);
        }
        self.put_in_place(&mut steps);
        steps
    }

    fn put_aside(&self, aside: &Path, steps: &mut Vec<Step>) {
        steps.push(Step::MakeFolder(aside.into()));
        for name in KEPT.iter().chain(self.files).filter(|name| is_there(&self.folder.join(name))) {
            steps.push(Step::Keep(self.folder.join(name), aside.join(name)));
        }
        steps.push(Step::Sync(aside.into()));
        let log = self.folder.join("log.db");
        if is_there(&log) {
            steps.push(Step::Move(log, aside.join("log.db")));
            steps.push(Step::Sync(self.folder.into()));
        }
        for name in REMOVED.iter().filter(|name| is_there(&self.folder.join(name))) {
            steps.push(Step::Remove(self.folder.join(name)));
        }
    }

    fn put_in_place(&self, steps: &mut Vec<Step>) {
        let place = |name: &str| (self.partial.join(name), self.folder.join(name));
        let (from, to) = place("directory.db");
        steps.push(Step::Move(from, to));
        for (from, to) in self.files.iter().map(|name| place(name)) {
            // A file takes another one's place in one step, so that what makes the folder a data folder is never
            // away; whatever is not like that has been kept.
            let in_one_step = from.is_file() && !to.is_dir();
            if self.aside.is_some() && is_there(&to) && !in_one_step {
                steps.push(Step::Remove(to.clone()));
            }
            if is_there(&from) {
                steps.push(Step::Move(from, to));
            }
        }
        let (from, to) = place("log.db");
        steps.extend([Step::Sync(self.folder.into()), Step::Move(from, to), Step::Sync(self.folder.into())]);
    }
}

fn is_there(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

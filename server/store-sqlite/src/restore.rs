//! Restoring: a backup becomes a data folder, verified and under new epochs before any server can open it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hark_core::ports::EpochChange;
use hark_protocol::Epoch;
use rusqlite::Connection;

use crate::copy::{self, CopyError, file_error, make_folder, remove_left_over, rename};
use crate::database::{Database, Durability, WalAtClose, checkpoint};
use crate::lineage::{self, Doubt};
use crate::lock::FolderLock;
use crate::look::{Look, schema_of};
use crate::mark::Mark;
use crate::verify::{Finding, Verified, Verify};

/// A restore that is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Restore<'a> {
    /// The backup, or the data folder of a server.
    pub backup: &'a Path,
    /// The data folder, which must be there.
    pub folder: &'a Path,
    /// What else belongs to a backup, by name; what is not there is passed over.
    pub files: &'a [&'a str],
    /// What happens to data that the folder holds.
    pub present: Present,
    /// What happens if the backup is damaged.
    pub damage: Damage,
}

/// What happens to data that is in the way of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// It is left alone, and nothing is restored.
    Refuse,
    /// It is moved into a folder of its own inside the data folder.
    MoveAside,
}

/// What happens to a backup that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It is not restored.
    Refuse,
    /// It is restored as it is: what can not be read is a hole in its room.
    Accept,
}

/// A restore that was done.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The epoch that all logs begin.
    pub change: EpochChange,
    /// What the verification came to.
    pub verified: Verified,
    /// Where the data is that was there before.
    pub aside: Option<PathBuf>,
}

/// In here the restored files gather until all of them are whole.
const PARTIAL: &str = "restore.partial";
/// Data that was there before goes into folders of this name and a number.
const ASIDE: &str = "before-restore-";

impl Restore<'_> {
    /// Restores, and tells `tell` what is wrong with the backup. The folder's lock is held from the first step to the
    /// last, and the log comes last: a server refuses to start on what an interrupted restore leaves, and another
    /// restore takes it up.
    ///
    /// # Errors
    /// [`CopyError`]. Unless data was being moved aside already, it is where it was.
    pub fn run(&self, tell: &mut dyn FnMut(Finding)) -> Result<Restored, CopyError> {
        let lock = FolderLock::take(self.folder)?;
        let source = Look::at(self.backup)?;
        for file in ["log.db", "directory.db"] {
            if !source.has(file) {
                return Err(CopyError::NothingThere { folder: self.backup.into(), file });
            }
        }
        let is_used = ["log.db", "directory.db"].iter().any(|file| self.folder.join(file).exists());
        if is_used && self.present == Present::Refuse {
            return Err(CopyError::WouldReplace { folder: self.folder.into() });
        }
        copy::demand_space(&source, self.folder)?;
        let partial = self.folder.join(PARTIAL);
        remove_left_over(&partial)?;
        make_folder(&partial)?;
        let prepared = self.prepare(&source, &partial, tell);
        let (change, verified) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                // Best effort: the error that matters is the one before.
                let _ = remove_left_over(&partial);
                return Err(error);
            }
        };
        let aside = if is_used { Some(self.move_aside()?) } else { None };
        self.move_in(&partial)?;
        drop(lock);
        Ok(Restored { change, verified, aside })
    }

    /// Copies the backup, brings it to this version's schemas, verifies it, and begins the new epochs.
    fn prepare(
        &self,
        source: &Look,
        partial: &Path,
        tell: &mut dyn FnMut(Finding),
    ) -> Result<(EpochChange, Verified), CopyError> {
        for file in ["log.db", "directory.db"] {
            copy::database(source, file, &partial.join(file), |_| Ok(()))?;
        }
        for file in self.files {
            copy::tree(&source.path(file), &partial.join(file))?;
        }
        let directory = staged(partial, "directory.db");
        let people = directory.open()?;
        let log = staged(partial, "log.db");
        drop(log.open()?);
        let verified = Verify { folder: partial, is_backup: true }.run(tell)?;
        if verified.findings > 0 && self.damage == Damage::Refuse {
            return Err(CopyError::Damaged { verified });
        }
        let above = self.greatest_epoch();
        let mut connection = log.open()?;
        let begun = lineage::begin_epochs(&mut connection, Doubt::Restored, above);
        let change = begun.map_err(|source| log.error(source))?;
        let outdated = outdate(&people, change.epoch).and_then(|()| checkpoint(&people, "TRUNCATE"));
        outdated.map_err(|source| directory.error(source))?;
        people.close().map_err(|(_, source)| directory.error(source))?;
        let settled = checkpoint(&connection, "TRUNCATE");
        settled.map_err(|source| log.error(source))?;
        connection.close().map_err(|(_, source)| log.error(source))?;
        Ok((change, verified))
    }

    /// The greatest epoch that is known of the data that is there now: clients may have seen it. Data that can not be
    /// read says nothing, and then the clock alone has to do.
    fn greatest_epoch(&self) -> Epoch {
        let marked = Mark::read(self.folder).ok().flatten().map_or(Epoch(0), |mark| mark.epoch);
        let known = Look::locked(self.folder).open("log.db").ok();
        let known = known.and_then(|log| lineage::greatest_epoch(&log).ok());
        marked.max(known.unwrap_or(Epoch(0)))
    }

    /// Moves the data that is there into a folder of its own, and says where. The directory stays until it is
    /// replaced, so that no server takes the folder for a new one in between.
    fn move_aside(&self) -> Result<PathBuf, CopyError> {
        let free = (1_u32..).map(|number| self.folder.join(format!("{ASIDE}{number}")));
        let aside = free.into_iter().find(|path| !path.exists()).unwrap_or_default();
        make_folder(&aside)?;
        let directory = self.folder.join("directory.db");
        if directory.exists() {
            let kept = aside.join("directory.db");
            fs::hard_link(&directory, &kept).map_err(file_error(&kept))?;
        }
        for name in
            ["log.db", "log.db-wal", "log.db-shm", "log.mark", "index.db", "index.db-wal", "index.db-shm"]
                .into_iter()
                .chain(["index.distrusted", "directory.db-wal", "directory.db-shm"])
                .chain(self.files.iter().copied())
        {
            let from = self.folder.join(name);
            if fs::symlink_metadata(&from).is_ok() {
                rename(&from, &aside.join(name))?;
            }
        }
        sync(self.folder)?;
        Ok(aside)
    }

    /// Moves the restored files to where a server looks for them, the log last.
    fn move_in(&self, partial: &Path) -> Result<(), CopyError> {
        for name in ["directory.db"].into_iter().chain(self.files.iter().copied()).chain(["log.db"]) {
            let from = partial.join(name);
            if fs::symlink_metadata(&from).is_ok() {
                rename(&from, &self.folder.join(name))?;
            }
        }
        sync(self.folder)?;
        remove_left_over(partial)
    }
}

/// Takes out of a copied directory what must not come back: sessions, some of which have ended since, and ids that have
/// been handed out since.
fn outdate(directory: &Connection, epoch: Epoch) -> rusqlite::Result<()> {
    directory.execute("DELETE FROM sessions", [])?;
    for table in ["accounts", "devices", "sessions"] {
        lineage::leave_ids_out(directory, table, epoch)?;
    }
    Ok(())
}

fn staged(partial: &Path, file: &str) -> Database {
    Database {
        path: partial.join(file),
        vfs: None,
        durability: Durability::Full,
        wal_at_close: WalAtClose::Removed,
        schema: schema_of(file),
    }
}

fn sync(folder: &Path) -> Result<(), CopyError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error(folder))
}

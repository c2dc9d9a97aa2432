//! Restoring: a backup becomes a data folder, verified and under new epochs before any server can open it.

use std::fs;
use std::path::{Path, PathBuf};

use hark_core::ports::EpochChange;
use hark_protocol::Epoch;
use rusqlite::Connection;

use crate::copy::{self, CopyError, make_folder, remove_left_over, sync};
use crate::database::{Database, Durability, WalAtClose, checkpoint};
use crate::exchange::{Exchange, Step};
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
pub(crate) const PARTIAL: &str = "restore.partial";
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
        let prepared = self.prepare(&source, &partial, tell).and_then(|done| sync(&partial).map(|()| done));
        let (change, verified) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                // Best effort: the error that matters is the one before.
                let _ = remove_left_over(&partial);
                return Err(error);
            }
        };
        let aside = is_used.then(|| self.aside());
        let exchange =
            Exchange { folder: self.folder, partial: &partial, aside: aside.as_deref(), files: self.files };
        exchange.steps().iter().try_for_each(Step::take)?;
        remove_left_over(&partial)?;
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

    /// A folder that is not there yet, for the data that is.
    fn aside(&self) -> PathBuf {
        let free = (1_u32..).map(|number| self.folder.join(format!("{ASIDE}{number}")));
        free.into_iter().find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use hark_core::ports::LogStore;
    use hark_core::testkit::drafts::{create, message, new_room};
    use hark_protocol::{RoomId, UnixMillis, Visibility};

    use super::*;
    use crate::{Backup, OpenError, SqliteStores};

    const FILES: &[&str] = &["HARK-DATA", "tls", "token"];

    fn copied(from: &Path) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        copy_all(from, folder.path());
        folder
    }

    fn copy_all(from: &Path, to: &Path) {
        for name in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()) {
            let (from, to) = (from.join(&name), to.join(&name));
            if from.is_dir() {
                fs::create_dir(&to).unwrap();
                copy_all(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    }

    fn add(stores: &mut SqliteStores, numbers: std::ops::Range<u64>) {
        let drafts = numbers.map(|number| message(RoomId(1), 1, number, "cup")).collect();
        stores.log.append(UnixMillis(1), drafts).unwrap();
    }

    /// A backup of nine events, and a folder with nineteen, some of them in the write-ahead log, as a kill leaves it.
    fn backup_and_killed() -> (tempfile::TempDir, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("HARK-DATA"), "1").unwrap();
        fs::create_dir(folder.path().join("tls")).unwrap();
        fs::write(folder.path().join("tls/key"), "key").unwrap();
        let mut stores = SqliteStores::open(folder.path()).unwrap();
        stores.log.append(UnixMillis(1), vec![create(new_room("tea", Visibility::PUBLIC, &[1]), 1)]).unwrap();
        add(&mut stores, 2..10);
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("backup");
        Backup { folder: folder.path(), target: &target, files: FILES }.make().unwrap();
        fs::write(folder.path().join("token"), "not in the backup").unwrap();
        add(&mut stores, 10..20);
        (place, copied(folder.path()))
    }

    fn events(folder: &Path) -> i64 {
        let log = Connection::open(folder.join("log.db")).unwrap();
        log.query_row("SELECT max(seq) FROM log", [], |row| row.get(0)).unwrap()
    }

    /// Takes the first steps of a restore that has been prepared, and says whether that is all of them.
    fn interrupt(restore: &Restore<'_>, steps: usize) -> bool {
        let partial = restore.folder.join(PARTIAL);
        let (folder, aside) = (restore.folder, restore.aside());
        let all = Exchange { folder, partial: &partial, aside: Some(&aside), files: FILES }.steps();
        all.iter().take(steps).for_each(|step| step.take().unwrap());
        steps >= all.len()
    }

    #[test]
    fn a_restore_that_was_killed_between_any_two_steps_is_taken_up_and_loses_nothing() {
        let (place, killed) = backup_and_killed();
        let backup = place.path().join("backup");
        // The rooms have members without accounts.
        let (files, present, damage) = (FILES, Present::MoveAside, Damage::Accept);
        let restore = Restore { backup: &backup, folder: killed.path(), files, present, damage };
        let partial = killed.path().join(PARTIAL);
        make_folder(&partial).unwrap();
        restore.prepare(&Look::at(&backup).unwrap(), &partial, &mut |_| {}).unwrap();
        for steps in 0.. {
            let folder = copied(killed.path());
            let folder = folder.path();
            let restore = Restore { folder, ..restore };
            let is_all = interrupt(&restore, steps);
            assert!(folder.join("HARK-DATA").exists(), "{steps}: the folder is nobody's");
            let has_log = folder.join("log.db").exists();
            match SqliteStores::open(folder) {
                Err(error @ OpenError::Lost { .. }) => {
                    assert!(!has_log && error.to_string().contains("`harkd restore --force`"), "{error}");
                }
                opened => {
                    drop(opened.unwrap());
                    let restored = !folder.join(PARTIAL).join("log.db").exists();
                    assert_eq!(events(folder), if restored { 9 } else { 19 }, "{steps}");
                }
            }
            restore.run(&mut |_| {}).unwrap();
            assert_eq!(events(folder), 9, "{steps}");
            assert!(!folder.join(PARTIAL).exists() && !folder.join("token").exists(), "{steps}");
            assert_eq!(fs::read_to_string(folder.join("tls/key")).unwrap(), "key");
            let aside = (1..=2).map(|number| folder.join(format!("{ASIDE}{number}")));
            let is_whole = |aside: &PathBuf| {
                let has = |name| aside.join(name).exists();
                has("log.db") && has("directory.db") && has("tls/key") && has("token") && events(aside) == 19
            };
            assert_eq!(aside.filter(is_whole).count(), 1, "{steps}: what was there is not kept in one piece");
            if is_all {
                drop(SqliteStores::open(folder).unwrap());
                assert!(steps > 10);
                return;
            }
        }
    }
}

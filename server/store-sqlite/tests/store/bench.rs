//! A data folder under test: opened, filled, closed, looked into.

use std::path::{Path, PathBuf};

use hark_core::ports::{
    Appended, Budget, Directory, Draft, LogReader, LogStore, NewAccount, NewRoom, Outcome, PasswordHash,
    Span, Stored,
};
use hark_core::testkit::drafts::{create, message, new_room};
use hark_protocol::{AccountId, AccountRole, Epoch, RoomId, Seq, UnixMillis, Visibility};
use hark_store_sqlite::{SqliteStores, Verified, Verify};
use tempfile::TempDir;

/// A folder and the stores that are open in it.
pub(crate) struct Bench {
    pub(crate) stores: SqliteStores,
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder }
    }

    /// Closes the stores, lets `meddle` work on the folder, and opens them again.
    pub(crate) fn reopen(self, meddle: impl FnOnce(&Path)) -> Bench {
        let Bench { stores, folder } = self;
        drop(stores);
        meddle(folder.path());
        Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder }
    }

    /// What a kill would leave now, opened.
    pub(crate) fn killed(&self) -> Bench {
        self.killed_after(|_| {})
    }

    /// The same, after `meddle` has worked on it.
    pub(crate) fn killed_after(&self, meddle: impl FnOnce(&Path)) -> Bench {
        let folder = self.killed_folder();
        meddle(folder.path());
        Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder }
    }

    /// What a kill would leave now.
    pub(crate) fn killed_folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            let file: PathBuf = file.unwrap().path();
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        folder
    }

    pub(crate) fn append(&mut self, drafts: Vec<Draft>) -> Vec<Outcome> {
        self.stores.log.append(UnixMillis(1_000), drafts).unwrap()
    }

    /// A room of account 1 with messages up to `head`.
    pub(crate) fn room(&mut self, name: &str, head: u64) -> RoomId {
        // Small enough that there are greater ones.
        let new = NewRoom { epoch: Epoch(77), ..new_room(name, Visibility::PUBLIC, &[1]) };
        let made = self.append(vec![create(new, 1)]);
        let room = appended(&made[0])[0].position().room;
        self.append((2..=head).map(|number| message(room, 1, number, &format!("{name} {number}"))).collect());
        room
    }

    /// Accounts up to this number, so that the members of rooms have one.
    pub(crate) fn accounts(&self, count: u64) {
        for number in 1..=count {
            let new = NewAccount {
                name: format!("user-{number}").parse().unwrap(),
                display_name: "User".parse().unwrap(),
                role: AccountRole::USER,
                password: PasswordHash("$phc".into()),
                created: UnixMillis(1),
            };
            assert_eq!(self.stores.directory.add_account(new), Ok(AccountId(number)));
        }
    }

    /// The room's epoch.
    pub(crate) fn epoch(&self, room: RoomId) -> Epoch {
        self.stores.reader.room(room).unwrap().unwrap().row.epoch
    }

    /// Why all logs have a new epoch since the last opening.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.stores.reader.condition().epoch_change.map(|change| change.reason)
    }

    /// All that can be read of a room.
    pub(crate) fn read(&self, room: RoomId) -> Vec<Stored> {
        let budget = Budget { events: usize::MAX, bytes: usize::MAX };
        self.stores.reader.read(room, Span::From(Seq(1)), budget).unwrap()
    }
}

pub(crate) fn appended(outcome: &Outcome) -> &[Appended] {
    match outcome {
        Outcome::Appended(appended) => appended,
        other => panic!("not appended: {other:?}"),
    }
}

/// Runs SQL on a file of a folder, behind the stores' back.
pub(crate) fn sql(folder: &Path, file: &str, sql: &str) {
    rusqlite::Connection::open(folder.join(file)).unwrap().execute_batch(sql).unwrap();
}

/// One number from a file of a folder.
pub(crate) fn number(folder: &Path, file: &str, sql: &str) -> i64 {
    let connection = rusqlite::Connection::open(folder.join(file)).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// What a verification finds, in words, and what it counts.
pub(crate) fn verify(folder: &Path) -> (Vec<String>, Verified) {
    let mut found = Vec::new();
    let verify = Verify { folder, is_backup: false };
    let verified = verify.run(&mut |finding| found.push(finding.to_string())).unwrap();
    assert_eq!(verified.findings, found.len() as u64);
    (found, verified)
}

/// Takes a log back to its second schema.
pub(crate) const SECOND_SCHEMA: &str = "
    DROP TABLE epochs; DROP TABLE farewells; DROP INDEX rooms_retaining; DROP INDEX rooms_unswept;
    ALTER TABLE rooms DROP COLUMN max_age_s; ALTER TABLE rooms DROP COLUMN max_events;
    ALTER TABLE rooms DROP COLUMN max_bytes; ALTER TABLE rooms DROP COLUMN bytes;
    ALTER TABLE rooms DROP COLUMN uncounted; ALTER TABLE rooms DROP COLUMN oldest;
    ALTER TABLE rooms DROP COLUMN swept; PRAGMA user_version = 2;";

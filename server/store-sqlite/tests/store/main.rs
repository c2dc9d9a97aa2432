//! The SQLite stores as a whole: the ports' suites, what outlives a process, and what damage does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod bench;
mod damage;
mod differential;
mod folder;
mod lineage;
mod reopening;
mod restore;
mod retention;
mod verify;

use hark_core::testkit;
use hark_store_sqlite::SqliteStores;

fn stores() -> (SqliteStores, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStores::open(folder.path()).unwrap(), folder)
}

#[test]
fn sqlite_logs_keep_the_log_contract() {
    testkit::log::suite(|| {
        let (stores, folder) = stores();
        (stores.log, stores.reader, folder)
    });
}

#[test]
fn sqlite_directory_keeps_the_directory_contract() {
    testkit::directory::suite(|| {
        let (stores, folder) = stores();
        (stores.directory, folder)
    });
}

#[test]
fn sqlite_directory_keeps_the_cursor_contract() {
    testkit::cursors::suite(|| {
        let (stores, folder) = stores();
        (stores.directory, folder)
    });
}

#[test]
fn sqlite_directory_keeps_the_session_contract() {
    testkit::sessions::suite(|| {
        let (stores, folder) = stores();
        (stores.directory, folder)
    });
}

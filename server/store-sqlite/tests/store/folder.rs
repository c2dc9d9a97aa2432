//! What a data folder is refused for, and what the operator is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hark_core::ports::{Directory, NewAccount, PasswordHash};
use hark_protocol::{AccountRole, UnixMillis};
use hark_store_sqlite::{OpenError, SqliteStores};

use crate::bench::{Bench, sql};

fn refusal(bench: &Bench) -> OpenError {
    SqliteStores::open(bench.folder.path()).unwrap_err()
}

/// A folder that was in use and is not any more.
fn closed() -> tempfile::TempDir {
    let mut bench = Bench::new();
    bench.room("tea", 3);
    let account = NewAccount {
        name: "ann".parse().unwrap(),
        display_name: "Ann".parse().unwrap(),
        role: AccountRole::USER,
        password: PasswordHash("x".into()),
        created: UnixMillis(1),
    };
    bench.stores.directory.add_account(account).unwrap();
    bench.folder
}

#[test]
fn a_folder_in_use_is_refused_until_its_last_part_is_dropped() {
    let bench = Bench::new();
    let error = refusal(&bench);
    assert!(matches!(&error, OpenError::InUse { process: Some(id), .. } if *id == std::process::id()));
    let text = error.to_string();
    assert!(
        text.contains(bench.folder.path().to_str().unwrap()) && text.contains("stop that server"),
        "{text}"
    );

    let Bench { stores, folder } = bench;
    let SqliteStores { log, reader, directory } = stores;
    drop((log, reader));
    assert!(matches!(SqliteStores::open(folder.path()), Err(OpenError::InUse { .. })));
    drop(directory);
    SqliteStores::open(folder.path()).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = SqliteStores::open(&missing).unwrap_err();
    assert!(matches!(error, OpenError::File { .. }));
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_newer_truth_is_refused_and_left_alone() {
    for (file, newest) in [("log.db", 4), ("directory.db", 2)] {
        let folder = closed();
        sql(folder.path(), file, "PRAGMA user_version = 99");
        let error = SqliteStores::open(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 99, known, .. } if known == newest), "{error}");
        sql(folder.path(), file, &format!("PRAGMA user_version = {newest}"));
        SqliteStores::open(folder.path()).unwrap();
    }
}

#[test]
fn another_programs_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sql(folder.path(), "log.db", "CREATE TABLE bookmarks (url TEXT)");
    assert!(matches!(SqliteStores::open(folder.path()), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_truth_that_is_no_database_is_refused() {
    for file in ["log.db", "directory.db"] {
        let folder = closed();
        fs::write(folder.path().join(file), "not a database ".repeat(1_000)).unwrap();
        let error = SqliteStores::open(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Database { .. }) && error.to_string().contains(file), "{error}");
    }
}

#[test]
fn half_of_a_used_folder_is_refused() {
    for file in ["log.db", "directory.db"] {
        let folder = closed();
        fs::remove_file(folder.path().join(file)).unwrap();
        let error = SqliteStores::open(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Lost { .. }) && error.to_string().contains(file), "{error}");
        assert!(!folder.path().join(file).exists(), "nothing was made in its place");
    }
}

#[test]
fn a_first_start_that_was_cut_short_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStores::open(folder.path()).unwrap());
    for file in ["directory.db", "index.db"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    SqliteStores::open(folder.path()).unwrap();
}

#[test]
fn every_file_is_its_owners_own() {
    let mut bench = Bench::new();
    bench.room("tea", 3);
    for file in fs::read_dir(bench.folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}

//! Backups: whole as of one moment, made beside a server at work, and recognised wherever they are opened.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hark_core::testkit::drafts::message;
use hark_protocol::{Epoch, RoomId};
use hark_store_sqlite::{Backup, BackupMade, CopyError, SqliteStores};
use tempfile::TempDir;

use crate::bench::{Bench, number, sql, verify};

/// Backs `folder` up into a folder inside `place`.
pub(crate) fn back_up(folder: &Path, place: &TempDir) -> Result<(PathBuf, BackupMade), CopyError> {
    let target = place.path().join("backup");
    let made = Backup { folder, target: &target, files: &["tls", "token", "missing"] }.make()?;
    Ok((target, made))
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_under_writes_is_whole_and_has_what_was_acknowledged_before_it() {
    let mut bench = Bench::new();
    bench.accounts(1);
    let rooms = [bench.room("tea", 9), bench.room("coffee", 9)];
    let folder = bench.folder.path().to_owned();
    let (acknowledged, done) = (AtomicU64::new(9), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 10;
            while !done.load(Ordering::Relaxed) {
                bench.append(rooms.map(|room| message(room, 1, number, "cup")).into());
                acknowledged.store(number, Ordering::Release);
                number += 1;
            }
        });
        for _ in 0..8 {
            let place = tempfile::tempdir().unwrap();
            let before = acknowledged.load(Ordering::Acquire);
            let (target, made) = back_up(&folder, &place).unwrap();
            let (found, verified) = verify(&target);
            assert_eq!(found, Vec::<String>::new());
            assert_eq!((made.rooms, verified.rooms, verified.accounts), (2, 2, 1));
            assert!(verified.events >= 2 * before, "{} {before}", verified.events);
            // Both rooms grow in one transaction, so one moment shows them alike.
            assert_eq!(verified.events % 2, 0);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(acknowledged.load(Ordering::Relaxed) > 20, "nothing was written meanwhile");
}

#[test]
fn a_backup_holds_the_other_files_and_is_its_owners_own() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    fs::create_dir(folder.join("tls")).unwrap();
    for file in ["tls/ca.key", "token", "stranger"] {
        fs::write(folder.join(file), file).unwrap();
        fs::set_permissions(folder.join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let place = tempfile::tempdir().unwrap();
    let (target, made) = back_up(folder, &place).unwrap();
    assert_eq!(entries(&target), ["directory.db", "log.db", "tls", "token"]);
    assert_eq!(fs::read_to_string(target.join("tls/ca.key")).unwrap(), "tls/ca.key");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&target), mode(&target.join("tls"))), (0o700, 0o700));
    for file in ["directory.db", "log.db", "token", "tls/ca.key"] {
        assert_eq!(mode(&target.join(file)), 0o600, "{file}");
    }
    let length = |file| fs::metadata(target.join(file)).unwrap().len();
    assert_eq!(made.bytes, length("log.db") + length("directory.db"));
}

#[test]
fn a_backup_replaces_nothing_and_an_attempt_leaves_nothing() {
    let (bench, place) = (Bench::new(), tempfile::tempdir().unwrap());
    fs::write(place.path().join("backup"), "precious").unwrap();
    let error = back_up(bench.folder.path(), &place).unwrap_err();
    assert!(matches!(error, CopyError::Occupied { .. }) && error.to_string().contains("backup"), "{error}");
    assert_eq!(fs::read_to_string(place.path().join("backup")).unwrap(), "precious");

    let (empty, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let error = back_up(empty.path(), &place).unwrap_err();
    assert!(matches!(error, CopyError::NothingThere { file: "log.db", .. }), "{error}");
    let target = place.path().join("missing/backup");
    let error = Backup { folder: bench.folder.path(), target: &target, files: &[] }.make().unwrap_err();
    assert!(matches!(error, CopyError::File { .. }) && error.to_string().contains("missing"), "{error}");

    // A file that can not be copied, half-way.
    std::os::unix::fs::symlink("nowhere", bench.folder.path().join("token")).unwrap();
    let error = back_up(bench.folder.path(), &place).unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");
    assert_eq!(entries(place.path()), Vec::<String>::new());
    fs::remove_file(bench.folder.path().join("token")).unwrap();
    // What a kill left of an earlier one is in nobody's way.
    fs::create_dir(place.path().join("backup.partial")).unwrap();
    back_up(bench.folder.path(), &place).unwrap();
    assert_eq!(entries(place.path()), ["backup"]);
}

#[test]
fn backups_into_one_place_do_not_mix() {
    let mut bench = Bench::new();
    bench.accounts(1);
    bench.room("tea", 300);
    let place = tempfile::tempdir().unwrap();
    let (folder, barrier) = (bench.folder.path().to_owned(), std::sync::Barrier::new(4));
    let made = std::thread::scope(|scope| {
        let back_up = || {
            barrier.wait();
            back_up(&folder, &place).map(drop)
        };
        let backups: Vec<_> = (0..4).map(|_| scope.spawn(back_up)).collect();
        backups.into_iter().map(|backup| backup.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
    for error in made.into_iter().filter_map(Result::err) {
        assert!(matches!(error, CopyError::Underway { .. } | CopyError::Occupied { .. }), "{error}");
    }
    assert_eq!(entries(place.path()), ["backup"]);
    assert_eq!(entries(&place.path().join("backup")), ["directory.db", "log.db"]);
    assert_eq!(verify(&place.path().join("backup")).0, Vec::<String>::new());
}

#[test]
fn a_folder_that_is_no_unfinished_backup_is_left_alone() {
    let (bench, place) = (Bench::new(), tempfile::tempdir().unwrap());
    let foreign = place.path().join("backup.partial");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
    let error = back_up(bench.folder.path(), &place).unwrap_err();
    assert!(matches!(&error, CopyError::Occupied { path } if *path == foreign), "{error}");
    assert_eq!(fs::read_to_string(foreign.join("thesis.txt")).unwrap(), "years of work");
    assert_eq!(entries(place.path()), ["backup.partial"]);
}

#[test]
fn what_a_killed_backup_left_is_taken_over() {
    let (bench, place) = (Bench::new(), tempfile::tempdir().unwrap());
    let left = place.path().join("backup.partial");
    fs::create_dir_all(left.join("tls")).unwrap();
    fs::write(left.join("harkd-backup-unfinished"), "").unwrap();
    for file in ["log.db", "tls/ca.key", "admin-password"] {
        fs::write(left.join(file), "half").unwrap();
    }
    let (target, _) = back_up(bench.folder.path(), &place).unwrap();
    assert_eq!(entries(place.path()), ["backup"]);
    assert_eq!(entries(&target), ["directory.db", "log.db"]);
}

#[test]
fn a_place_may_end_in_a_slash() {
    let (bench, place) = (Bench::new(), tempfile::tempdir().unwrap());
    let target = place.path().join("backup/");
    Backup { folder: bench.folder.path(), target: &target, files: &[] }.make().unwrap();
    assert_eq!(entries(place.path()), ["backup"]);
    assert_eq!(entries(&target), ["directory.db", "log.db"]);
}

#[test]
fn a_link_to_a_folder_is_followed_and_one_into_itself_is_refused() {
    let (bench, place) = (Bench::new(), tempfile::tempdir().unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("ca.key"), "key").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), bench.folder.path().join("tls")).unwrap();
    let (target, _) = back_up(bench.folder.path(), &place).unwrap();
    assert!(!fs::symlink_metadata(target.join("tls")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(target.join("tls/ca.key")).unwrap(), "key");
    fs::remove_dir_all(target).unwrap();
    std::os::unix::fs::symlink(".", elsewhere.path().join("loop")).unwrap();
    let error = back_up(bench.folder.path(), &place).unwrap_err();
    assert!(error.to_string().contains("loop"), "{error}");
    assert_eq!(entries(place.path()), Vec::<String>::new());
}

#[test]
fn a_backup_of_a_stopped_server_changes_nothing_there() {
    let mut bench = Bench::new();
    bench.room("tea", 9);
    let Bench { stores, folder } = bench;
    drop(stores);
    for file in ["log.db-wal", "log.db-shm", "directory.db-wal", "directory.db-shm"] {
        let _ = fs::remove_file(folder.path().join(file));
    }
    let before = entries(folder.path());
    let place = tempfile::tempdir().unwrap();
    let (target, _) = back_up(folder.path(), &place).unwrap();
    assert_eq!(entries(folder.path()), before);
    assert_eq!(number(&target, "log.db", "SELECT count(*) FROM log"), 9);
}

#[test]
fn a_damaged_log_can_be_backed_up() {
    let mut bench = Bench::new();
    bench.accounts(1);
    bench.room("tea", 9);
    let bench = bench.reopen(|folder| sql(folder, "log.db", "UPDATE log SET frame = x'00' WHERE seq = 4"));
    let place = tempfile::tempdir().unwrap();
    let (target, _) = back_up(bench.folder.path(), &place).unwrap();
    assert_eq!(verify(&target).0, ["log.db, room 1, seq 4: the record is damaged"]);
}

#[test]
fn a_backup_that_is_opened_without_a_restore_gets_a_greater_epoch() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let place = tempfile::tempdir().unwrap();
    let (target, _) = back_up(bench.folder.path(), &place).unwrap();
    let opened = |folder: TempDir| Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder };
    let mut epochs = vec![Epoch(77)];
    for _ in 0..2 {
        let by_hand = tempfile::tempdir().unwrap();
        for file in ["log.db", "directory.db"] {
            fs::copy(target.join(file), by_hand.path().join(file)).unwrap();
        }
        let bench = opened(by_hand);
        assert_eq!((bench.reason(), bench.read(tea).len()), (Some("backup"), 9));
        let bench = bench.reopen(|_| {});
        assert_eq!(bench.reason(), None, "it has been told once");
        epochs.push(bench.epoch(RoomId(1)));
    }
    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
}

//! When a log is not the continuation of what clients have seen: its rooms get a greater epoch, and no seq is used twice.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hark_core::ports::{LogStore, NewRoom, Outcome, Stored};
use hark_core::testkit::drafts::{create, message, new_room};
use hark_protocol::{Epoch, RoomId, Seq, UnixMillis, Visibility};
use hark_store_sqlite::{Housekeeping, OpenError, Options, SqliteStores};

use crate::bench::{Bench, appended, number, sql, verify};

/// Fails unless the room has a greater epoch than before, for that reason, and goes on behind `head`.
#[track_caller]
fn assert_new_epoch(bench: &mut Bench, room: RoomId, before: Epoch, reason: &str, head: u64) {
    assert_eq!(bench.reason(), Some(reason));
    let epoch = bench.epoch(room);
    assert!(epoch > before, "{epoch} {before}");
    let position = appended(&bench.append(vec![message(room, 1, 9_000 + head, "more")])[0])[0].position();
    assert_eq!((position.epoch, position.seq), (epoch, Seq(head + 1)));
}

/// Closes and opens, and fails if that changes an epoch.
#[track_caller]
fn assert_settled(bench: Bench, room: RoomId) {
    let epoch = bench.epoch(room);
    let bench = bench.reopen(|_| {});
    assert_eq!((bench.reason(), bench.epoch(room)), (None, epoch));
}

fn copy(folder: &Path, from: &str, to: &str) {
    fs::copy(folder.join(from), folder.join(to)).unwrap();
}

#[test]
fn a_log_that_ended_well_or_was_killed_keeps_its_epoch() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let mut killed = bench.killed();
    assert_eq!((killed.reason(), killed.epoch(tea)), (None, Epoch(77)));
    killed.append(vec![message(tea, 1, 100, "more")]);
    let twice = killed.killed();
    assert_eq!((twice.reason(), twice.epoch(tea)), (None, Epoch(77)));
    assert_settled(bench, tea);
}

#[test]
fn an_older_log_put_back_gets_a_greater_epoch_each_time() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let mut bench = bench.reopen(|folder| copy(folder, "log.db", "older"));
    bench.append((10..30).map(|one| message(tea, 1, one, "lost")).collect());
    let mut before = bench.epoch(tea);
    for _ in 0..3 {
        bench = bench.reopen(|folder| copy(folder, "older", "log.db"));
        assert_new_epoch(&mut bench, tea, before, "behind", 9);
        before = bench.epoch(tea);
    }
    // What was lost with it is not known any more: a retry is stored, under a position of the new epoch.
    let retried = bench.append(vec![message(tea, 1, 10, "lost")]);
    assert!(matches!(retried[0], Outcome::Appended(_)));
    assert_eq!(bench.read(tea).len(), 11);
    assert_settled(bench, tea);
}

#[test]
fn a_log_behind_its_index_is_an_older_one() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let mut bench = bench.reopen(|folder| copy(folder, "log.db", "older"));
    bench.append((10..30).map(|one| message(tea, 1, one, "lost")).collect());
    let mut bench = bench.reopen(|folder| {
        copy(folder, "older", "log.db");
        fs::remove_file(folder.join("log.mark")).unwrap();
    });
    assert_new_epoch(&mut bench, tea, Epoch(77), "behind", 9);
    assert_settled(bench, tea);
}

#[test]
fn a_write_ahead_log_that_was_removed_is_missed() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    // Closed and opened, so that the file has what is kept.
    let mut bench = bench.reopen(|_| {});
    bench.append(vec![message(tea, 1, 10, "lost")]);
    let mut killed = bench.killed_after(|folder| fs::remove_file(folder.join("log.db-wal")).unwrap());
    assert_new_epoch(&mut killed, tea, Epoch(77), "wal-removed", 9);
    assert_settled(killed, tea);
}

#[test]
fn a_start_that_fails_half_way_costs_no_epoch() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let folder = bench.killed_folder();
    // The log has been opened by the time that the directory is found to be none.
    let away = tempfile::tempdir().unwrap();
    for file in ["directory.db", "directory.db-wal"] {
        fs::rename(folder.path().join(file), away.path().join(file)).unwrap();
    }
    fs::write(folder.path().join("directory.db"), "not a database ".repeat(1_000)).unwrap();
    SqliteStores::open(folder.path()).unwrap_err();
    for file in ["directory.db", "directory.db-wal"] {
        fs::copy(away.path().join(file), folder.path().join(file)).unwrap();
    }
    let bench = Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder };
    assert_eq!((bench.reason(), bench.epoch(tea)), (None, Epoch(77)));
}

/// Tries to start on a folder whose directory is as `meddle` leaves it, which fails, and puts the directory back.
fn fail_a_start(folder: &Path, meddle: impl FnOnce(&Path)) {
    let away = tempfile::tempdir().unwrap();
    let names = ["directory.db", "directory.db-wal", "directory.db-shm"];
    for name in names.iter().filter(|name| folder.join(name).exists()) {
        fs::rename(folder.join(name), away.path().join(name)).unwrap();
    }
    meddle(&folder.join("directory.db"));
    SqliteStores::open(folder).unwrap_err();
    for name in names {
        let _ = fs::remove_file(folder.join(name));
        if away.path().join(name).exists() {
            fs::copy(away.path().join(name), folder.join(name)).unwrap();
        }
    }
}

fn leave_none(_: &Path) {}

fn leave_nonsense(directory: &Path) {
    fs::write(directory, "not a database ".repeat(1_000)).unwrap();
}

#[test]
fn a_start_that_fails_forgets_no_write_ahead_log_that_was_removed() {
    for meddle in [leave_none, leave_nonsense] {
        let mut bench = Bench::new();
        let tea = bench.room("tea", 9);
        let mut bench = bench.reopen(|_| {});
        bench.append(vec![message(tea, 1, 10, "lost")]);
        let folder = bench.killed_folder();
        fs::remove_file(folder.path().join("log.db-wal")).unwrap();
        for _ in 0..2 {
            fail_a_start(folder.path(), meddle);
        }
        let mut bench = Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder };
        assert!(bench.epoch(tea) > Epoch(77));
        // The one that fails late has begun the epochs, the one that fails early has kept the reason to.
        assert!([Some("wal-removed"), None].contains(&bench.reason()));
        let position = appended(&bench.append(vec![message(tea, 1, 11, "more")])[0])[0].position();
        assert_eq!((position.epoch, position.seq), (bench.epoch(tea), Seq(10)));
        assert_settled(bench, tea);
    }
}

#[test]
fn a_start_that_fails_forgets_no_index_that_was_ahead() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 2_000);
    let mut bench = bench.reopen(|folder| copy(folder, "log.db", "older"));
    bench.append((2_001..2_030).map(|one| message(tea, 1, one, "lost")).collect());
    let Bench { stores, folder } = bench;
    drop(stores);
    copy(folder.path(), "older", "log.db");
    fs::remove_file(folder.path().join("log.mark")).unwrap();
    // No index can be built from this.
    let place = number(folder.path(), "older", LEAF_OF_THE_LOG) as usize;
    let mut bytes = fs::read(folder.path().join("older")).unwrap();
    let leaf: Vec<u8> = bytes[place..place + 4_096].into();
    bytes[place..place + 4_096].fill(0xff);
    fs::write(folder.path().join("log.db"), bytes).unwrap();
    for _ in 0..2 {
        let error = SqliteStores::open(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Index { .. }), "{error}");
    }
    let log = fs::OpenOptions::new().write(true).open(folder.path().join("log.db")).unwrap();
    log.write_all_at(&leaf, place as u64).unwrap();
    let bench = Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder };
    assert!(bench.epoch(tea) > Epoch(77));
    assert_eq!(bench.read(tea).len(), 2_000);
    assert_settled(bench, tea);
}

/// Where a page stands in the middle of the log's table that holds only events.
const LEAF_OF_THE_LOG: &str = "SELECT (pageno - 1) * 4096 FROM dbstat
    WHERE name = 'log' AND pagetype = 'leaf' LIMIT 1 OFFSET 9";

/// Where the folder's mark says that the log is.
fn marked(folder: &Path) -> u64 {
    let mark = fs::read_to_string(folder.join("log.mark")).unwrap();
    mark.lines().find_map(|line| line.strip_prefix("position ")).unwrap().parse().unwrap()
}

#[test]
fn an_older_log_put_back_after_a_kill_is_noticed_a_second_later() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let mut bench = bench.reopen(|_| {});
    let older = bench.killed_folder();
    bench.append((10..30).map(|one| message(tea, 1, one, "lost")).collect());
    let begun = Instant::now();
    while marked(bench.folder.path()) < 29 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the mark does not move");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let mut killed = bench.killed_after(|folder| {
        for file in ["log.db", "log.db-wal"] {
            fs::copy(older.path().join(file), folder.join(file)).unwrap();
        }
    });
    assert_new_epoch(&mut killed, tea, Epoch(77), "behind", 9);
    assert_settled(killed, tea);
}

#[test]
fn a_house_kept_in_place_marks_by_the_time_that_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().housekeeping(Housekeeping::Inline);
    let mut bench = Bench { stores: options.open(folder.path()).unwrap(), folder };
    let tea = bench.room("tea", 1);
    let mut at = |now, number| {
        bench.stores.log.append(UnixMillis(now), vec![message(tea, 1, number, "cup")]).unwrap();
        marked(bench.folder.path())
    };
    assert_eq!([at(1_999, 2), at(2_000, 3), at(2_999, 4), at(3_000, 5), at(500, 6)], [1, 3, 3, 5, 6]);
}

#[test]
fn what_stands_behind_the_heads_is_cut_whatever_the_doubt_is_about() {
    let raise = |folder: &Path| {
        let path = folder.join("log.mark");
        let mark = fs::read_to_string(&path).unwrap();
        fs::write(path, mark.replace("position 9", "position 999")).unwrap();
    };
    let without_wal = |folder: &Path| {
        let path = folder.join("log.mark");
        let mark = fs::read_to_string(&path).unwrap();
        fs::write(path, mark.replace("stopped", "running")).unwrap();
        fs::remove_file(folder.join("log.db-wal")).unwrap();
    };
    for reason in ["behind", "wal-removed"] {
        let mut bench = Bench::new();
        let tea = bench.room("tea", 9);
        let mut bench = bench.reopen(|folder| {
            sql(folder, "log.db", "UPDATE rooms SET head = 7");
            // Looking has made one.
            let _ = fs::write(folder.join("log.db-wal"), "");
            if reason == "behind" { raise(folder) } else { without_wal(folder) }
        });
        assert_new_epoch(&mut bench, tea, Epoch(77), reason, 7);
        let retried = bench.append(vec![message(tea, 1, 9, "tea 9")]);
        assert_eq!(appended(&retried[0])[0].position().seq, Seq(9));
        let twice = "SELECT count(*) - count(DISTINCT seq) FROM log";
        assert_eq!(number(bench.folder.path(), "log.db", twice), 0);
        assert_settled(bench, tea);
    }
}

#[test]
fn a_log_of_another_server_gets_a_greater_epoch() {
    let (mut bench, mut other) = (Bench::new(), Bench::new());
    let (tea, _) = (bench.room("tea", 9), other.room("coffee", 5));
    let other = other.reopen(|_| {});
    let foreign = other.folder.path().to_owned();
    drop(other.stores);
    let mut bench = bench.reopen(|folder| {
        fs::copy(foreign.join("log.db"), folder.join("log.db")).unwrap();
    });
    assert_new_epoch(&mut bench, tea, Epoch(77), "other-log", 5);
    assert_settled(bench, tea);
}

#[test]
fn a_damaged_end_gets_a_greater_epoch_once() {
    let damages = [
        "UPDATE log SET frame = x'00' WHERE seq = 9",
        "DELETE FROM log WHERE seq = 9",
        "DELETE FROM log WHERE seq >= 7",
    ];
    for damage in damages {
        let mut bench = Bench::new();
        let (tea, coffee) = (bench.room("tea", 3), bench.room("coffee", 9));
        let mut bench = bench.reopen(|folder| sql(folder, "log.db", damage));
        assert_eq!(bench.reason(), Some("end-damaged"), "{damage}");
        assert!(bench.epoch(tea) > Epoch(77) && bench.epoch(tea) == bench.epoch(coffee));
        bench = bench.reopen(|_| {});
        assert_eq!(bench.reason(), None, "{damage}");
        // The head is the row's, and what is missing is a hole, not the end.
        let position = appended(&bench.append(vec![message(coffee, 1, 10, "more")])[0])[0].position();
        assert_eq!(position.seq, Seq(10), "{damage}");
        let read = bench.read(coffee);
        assert!(matches!(read[8], Stored::Damaged { seq: Seq(9) }), "{damage}");
        assert!(matches!(read[9], Stored::Event { .. }), "{damage}");
    }
}

#[test]
fn events_behind_their_rooms_head_are_cut_and_their_seqs_used_under_a_greater_epoch() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let mut bench = bench.reopen(|folder| sql(folder, "log.db", "UPDATE rooms SET head = 7"));
    assert_new_epoch(&mut bench, tea, Epoch(77), "end-damaged", 7);
    // The cut event's identity went with it.
    let retried = bench.append(vec![message(tea, 1, 9, "tea 9")]);
    assert_eq!(appended(&retried[0])[0].position().seq, Seq(9));
    assert_eq!(bench.read(tea).len(), 9);
    assert!(bench.read(tea).iter().all(|stored| matches!(stored, Stored::Event { .. })));
    assert_settled(bench, tea);
}

#[test]
fn a_room_made_later_has_at_least_the_epoch_of_the_others() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 9);
    let mut bench = bench.reopen(|folder| sql(folder, "log.db", "DELETE FROM log WHERE seq = 9"));
    let new = NewRoom { epoch: Epoch(5), ..new_room("milk", Visibility::PUBLIC, &[1]) };
    let made = appended(&bench.append(vec![create(new, 1)])[0])[0].position();
    assert_eq!(made.epoch, bench.epoch(tea));
    assert_eq!(bench.epoch(made.room), made.epoch);
    assert_eq!(number(bench.folder.path(), "log.db", "SELECT count(*) FROM epochs"), 1);
}

#[test]
fn an_end_that_can_not_be_read_is_rebuilt_and_the_log_goes_on() {
    let mut bench = Bench::new();
    bench.accounts(1);
    let tea = bench.room("tea", 2_000);
    let Bench { stores, folder } = bench;
    drop(stores);
    let path = folder.path().join("log.db");
    let mut bytes = fs::read(&path).unwrap();
    // The leaf of the log's table at which it grows.
    let has = |page: &[u8]| page[0] == 0x0d && page.windows(8).any(|window| window == b"tea 2000");
    let page = bytes.chunks(4_096).position(has).unwrap() * 4_096;
    bytes[page..page + 4_096].fill(0xff);
    fs::write(&path, &bytes).unwrap();

    let mut bench = Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder };
    assert_new_epoch(&mut bench, tea, Epoch(77), "end-damaged", 2_000);
    let read = bench.read(tea);
    let damaged = read.iter().filter(|stored| matches!(stored, Stored::Damaged { .. })).count();
    assert!(read.len() == 2_001 && (1..100).contains(&damaged), "{damaged} of {}", read.len());
    assert!(matches!(read[2_000], Stored::Event { .. }));
    // Who was acknowledged stays acknowledged, whether or not the event can still be read.
    let retried = bench.append(vec![message(tea, 1, 2_000, "tea 2000"), message(tea, 1, 7, "tea 7")]);
    assert!(matches!(retried[0], Outcome::Duplicate(position) if position.seq == Seq(2_000)));
    assert!(matches!(retried[1], Outcome::Duplicate(position) if position.seq == Seq(7)));
    let found = verify(bench.folder.path()).0;
    assert!(found.iter().all(|one| one.contains("missing from the log")) && !found.is_empty(), "{found:?}");
    assert_eq!(fs::read(bench.folder.path().join("log.db.damaged-1")).unwrap(), bytes);
    assert_settled(bench, tea);
}

#[test]
fn a_log_without_its_rooms_is_refused_and_left_alone() {
    let mut bench = Bench::new();
    bench.room("tea", 2_000);
    let Bench { stores, folder } = bench;
    drop(stores);
    let path = folder.path().join("log.db");
    let mut bytes = fs::read(&path).unwrap();
    // Everything behind the schema.
    bytes[4_096..].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    let error = SqliteStores::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Database { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(!folder.path().join("log.db.rebuilt").exists());
}

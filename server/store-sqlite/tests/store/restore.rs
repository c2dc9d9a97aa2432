//! Restoring: what was in the backup is there again, under an epoch that no client has seen.

use std::fs;
use std::path::Path;

use hark_core::ports::Directory;
use hark_core::ports::{
    Cursor, CursorStore, LogReader, NewAccount, NewDevice, Outcome, PasswordHash, SessionChange,
    SessionOutcome, Sessions, Stored, TokenHash,
};
use hark_core::testkit::drafts::message;
use hark_protocol::{AccountId, AccountRole, Epoch, RoomId, Seq, UnixMillis};
use hark_store_sqlite::{CopyError, Damage, OpenError, Present, Restore, Restored, SqliteStores};
use tempfile::TempDir;

use crate::backup::back_up;
use crate::bench::{Bench, SECOND_SCHEMA, appended, number, sql, verify};

fn restore(backup: &Path, folder: &Path, present: Present) -> Result<Restored, CopyError> {
    let files = &["tls", "token"];
    Restore { backup, folder, files, present, damage: Damage::Refuse }.run(&mut |_| {})
}

/// A server with a room of nine events and a device that has a cursor, backed up.
fn backed_up() -> (Bench, TempDir) {
    let mut bench = Bench::new();
    bench.accounts(1);
    let tea = bench.room("tea", 9);
    fs::write(bench.folder.path().join("token"), "hrt_1").unwrap();
    let directory = &bench.stores.directory;
    let new = NewDevice {
        account: AccountId(1),
        label: "phone".parse().unwrap(),
        token: TokenHash([7; 32]),
        password: PasswordHash("$phc".into()),
        now: UnixMillis(1),
    };
    let device = directory.add_device(new, 9).unwrap();
    directory.save_cursors(&[(device, tea, Cursor { epoch: Epoch(77), seq: Seq(5) })]).unwrap();
    let place = tempfile::tempdir().unwrap();
    back_up(bench.folder.path(), &place).unwrap();
    (bench, place)
}

fn open(folder: TempDir) -> Bench {
    Bench { stores: SqliteStores::open(folder.path()).unwrap(), folder }
}

#[test]
fn a_restored_server_goes_on_under_a_greater_epoch() {
    let (mut bench, place) = backed_up();
    let tea = hark_protocol::RoomId(1);
    let before = bench.read(tea);
    bench.append((10..20).map(|one| message(tea, 1, one, "lost")).collect());
    let Bench { stores, folder } = bench;
    drop(stores);
    let restored = restore(&place.path().join("backup"), folder.path(), Present::MoveAside).unwrap();
    assert_eq!((restored.verified.findings, restored.verified.events), (0, 9));
    let mut bench = open(folder);
    assert_eq!(bench.reason(), None, "the restore has done it already");
    assert_eq!(bench.epoch(tea), restored.change.epoch);
    assert!(restored.change.epoch > Epoch(77));
    assert_eq!(bench.read(tea), before);
    // Devices and their cursors are there; a cursor of the old epoch is worth a reset, and nothing else.
    let device = bench.stores.directory.device(&TokenHash([7; 32]), UnixMillis(1)).unwrap().unwrap();
    let cursor = bench.stores.directory.cursor(device.id, tea).unwrap().unwrap();
    assert!(cursor.epoch < bench.epoch(tea));
    // Who was acknowledged before the backup is known; who was lost with what came after it is not.
    let outcomes = bench.append(vec![message(tea, 1, 9, "tea 9"), message(tea, 1, 10, "lost")]);
    assert!(matches!(outcomes[0], Outcome::Duplicate(position) if position.seq == Seq(9)));
    assert_eq!(appended(&outcomes[1])[0].position().seq, Seq(10));
    assert_eq!(verify(bench.folder.path()).0, Vec::<String>::new());
    // What was there before is kept.
    let aside = restored.aside.unwrap();
    assert_eq!(number(&aside, "log.db", "SELECT max(seq) FROM log"), 19);
    assert!(aside.join("directory.db").exists() && aside.join("token").exists());
    assert_eq!(fs::read_to_string(bench.folder.path().join("token")).unwrap(), "hrt_1");
}

#[test]
fn restoring_twice_from_one_backup_gives_two_epochs() {
    let (bench, place) = backed_up();
    drop(bench);
    let backup = place.path().join("backup");
    // In one folder, and in two that know nothing of each other.
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut epochs = vec![Epoch(77)];
    for (folder, present) in [
        (&one, Present::Refuse),
        (&one, Present::MoveAside),
        (&other, Present::Refuse),
        (&one, Present::MoveAside),
    ] {
        epochs.push(restore(&backup, folder.path(), present).unwrap().change.epoch);
    }
    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
}

#[test]
fn a_clock_that_went_back_is_outdone_by_what_the_folder_knows() {
    let (bench, place) = backed_up();
    let bench = bench.reopen(|folder| sql(folder, "log.db", "UPDATE rooms SET epoch = 1 << 60"));
    let Bench { stores, folder } = bench;
    drop(stores);
    let restored = restore(&place.path().join("backup"), folder.path(), Present::MoveAside).unwrap();
    assert!(restored.change.epoch > Epoch(1 << 60));
}

#[test]
fn data_and_servers_at_work_are_left_alone() {
    let (bench, place) = backed_up();
    let backup = place.path().join("backup");
    for present in [Present::Refuse, Present::MoveAside] {
        let error = restore(&backup, bench.folder.path(), present).unwrap_err();
        assert!(matches!(error, CopyError::Open(OpenError::InUse { .. })), "{error}");
    }
    let Bench { stores, folder } = bench;
    drop(stores);
    let error = restore(&backup, folder.path(), Present::Refuse).unwrap_err();
    assert!(
        matches!(error, CopyError::WouldReplace { .. }) && error.to_string().contains("--force"),
        "{error}"
    );
    let nothing = tempfile::tempdir().unwrap();
    let error = restore(nothing.path(), folder.path(), Present::MoveAside).unwrap_err();
    assert!(matches!(error, CopyError::NothingThere { .. }), "{error}");
    let bench = open(folder);
    assert_eq!((bench.reason(), bench.epoch(hark_protocol::RoomId(1))), (None, Epoch(77)));
}

#[test]
fn a_damaged_backup_is_restored_only_if_that_is_accepted() {
    let (bench, place) = backed_up();
    drop(bench);
    let backup = place.path().join("backup");
    sql(&backup, "log.db", "UPDATE log SET frame = x'00' WHERE seq = 4");
    let folder = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    let mut run = |damage| {
        let (folder, present) = (folder.path(), Present::Refuse);
        let restore = Restore { backup: &backup, folder, files: &[], present, damage };
        restore.run(&mut |finding| found.push(finding.to_string()))
    };
    let error = run(Damage::Refuse).unwrap_err();
    assert!(matches!(&error, CopyError::Damaged { verified } if verified.findings == 1), "{error}");
    run(Damage::Accept).unwrap();
    assert_eq!(found, ["log.db, room 1, seq 4: the record is damaged"; 2]);
    let bench = open(folder);
    let read = bench.read(hark_protocol::RoomId(1));
    assert!(matches!(read[3], Stored::Damaged { seq: Seq(4) }) && read.len() == 9);
}

#[test]
fn an_accepted_damage_leaves_nothing_behind_the_heads() {
    let (bench, place) = backed_up();
    drop(bench);
    let backup = place.path().join("backup");
    sql(&backup, "log.db", "UPDATE rooms SET head = 7");
    let folder = tempfile::tempdir().unwrap();
    let (damage, present) = (Damage::Accept, Present::Refuse);
    let restore = Restore { backup: &backup, folder: folder.path(), files: &[], present, damage };
    restore.run(&mut |_| {}).unwrap();
    let mut bench = open(folder);
    // The answer "duplicate" would be about an event that is in no log.
    let retried = bench.append(vec![message(RoomId(1), 1, 9, "tea 9")]);
    assert_eq!(appended(&retried[0])[0].position().seq, Seq(8));
    assert_eq!(bench.read(RoomId(1)).len(), 8);
}

#[test]
fn a_restore_hands_out_no_id_again() {
    let (mut bench, place) = backed_up();
    let backup = place.path().join("backup");
    bench.room("coffee", 1);
    let mut lost = bench.room("milk", 1);
    for round in 0..3 {
        let Bench { stores, folder } = bench;
        drop(stores);
        restore(&backup, folder.path(), Present::MoveAside).unwrap();
        bench = open(folder);
        let (room, account) = (bench.room("coffee", 1), added(&bench));
        assert!(room > lost && room.0 < 1 << 53, "{room} {lost}");
        assert!(account > AccountId(1 + round) && account.0 < 1 << 53, "{account}");
        // As many as there may be in one go.
        lost = (0..100).map(|one| bench.room(&format!("milk-{one}"), 1)).max().unwrap();
    }
}

/// One account more.
fn added(bench: &Bench) -> AccountId {
    let new = NewAccount {
        name: "late".parse().unwrap(),
        display_name: "Late".parse().unwrap(),
        role: AccountRole::USER,
        password: PasswordHash("$phc".into()),
        created: UnixMillis(1),
    };
    bench.stores.directory.add_account(new).unwrap()
}

#[test]
fn a_restore_brings_no_ended_session_back() {
    let (bench, _) = backed_up();
    let directory = &bench.stores.directory;
    let now = UnixMillis(10);
    let device = directory.device(&TokenHash([7; 32]), now).unwrap().unwrap().id;
    let token = TokenHash([9; 32]);
    let begin = SessionChange::Begin { device, token, sessions_max: 4, lifetime_ms: 1_000 };
    let begun = directory.change_sessions(now, &[begin]).unwrap();
    let SessionOutcome::Held(hold) = begun[0] else { panic!("{begun:?}") };
    let place = tempfile::tempdir().unwrap();
    let (backup, _) = back_up(bench.folder.path(), &place).unwrap();
    directory.change_sessions(now, &[SessionChange::End(hold)]).unwrap();
    let Bench { stores, folder } = bench;
    drop(stores);
    restore(&backup, folder.path(), Present::MoveAside).unwrap();
    let bench = open(folder);
    let directory = &bench.stores.directory;
    assert_eq!(directory.session(&token, now).unwrap(), None);
    let take_up = SessionChange::TakeUp { token, new: TokenHash([8; 32]), lifetime_ms: 1_000 };
    assert_eq!(directory.change_sessions(now, &[take_up]).unwrap(), [SessionOutcome::Gone]);
    // The device is still let in.
    assert!(directory.device(&TokenHash([7; 32]), now).unwrap().is_some());
}

#[test]
fn a_refused_restore_leaves_the_signs_of_a_removed_write_ahead_log() {
    let (mut bench, place) = backed_up();
    let backup = place.path().join("backup");
    sql(&backup, "log.db", "UPDATE log SET frame = x'00' WHERE seq = 4");
    bench.append(vec![message(RoomId(1), 1, 10, "lost")]);
    let folder = bench.killed_folder();
    for file in ["log.db-wal", "log.db-shm"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    // Only with what the log held before: the rest was in what is gone.
    let kept = bench.reopen(|_| {});
    fs::copy(kept.folder.path().join("log.db"), folder.path().join("log.db")).unwrap();
    let error = restore(&backup, folder.path(), Present::MoveAside).unwrap_err();
    assert!(matches!(error, CopyError::Damaged { .. }), "{error}");
    assert!(!folder.path().join("log.db-wal").exists(), "looking has changed something");
    assert_eq!(open(folder).reason(), Some("wal-removed"));
}

#[test]
fn an_interrupted_restore_is_not_served_and_taken_up_by_the_next() {
    let (bench, place) = backed_up();
    drop(bench);
    let backup = place.path().join("backup");
    let folder = tempfile::tempdir().unwrap();
    restore(&backup, folder.path(), Present::Refuse).unwrap();
    // As a kill leaves it before the last step.
    let partial = folder.path().join("restore.partial");
    fs::create_dir(&partial).unwrap();
    fs::rename(folder.path().join("log.db"), partial.join("log.db")).unwrap();
    assert!(matches!(SqliteStores::open(folder.path()), Err(OpenError::Lost { .. })));
    restore(&backup, folder.path(), Present::MoveAside).unwrap();
    assert!(!partial.exists());
    let bench = open(folder);
    assert!(bench.stores.reader.room_id(&"tea".parse().unwrap()).unwrap().is_some());
}

#[test]
fn a_backup_of_an_older_version_is_restored() {
    let (bench, place) = backed_up();
    drop(bench);
    let backup = place.path().join("backup");
    sql(&backup, "log.db", SECOND_SCHEMA);
    let folder = tempfile::tempdir().unwrap();
    let restored = restore(&backup, folder.path(), Present::Refuse).unwrap();
    assert_eq!(restored.verified.events, 9);
    assert_eq!(open(folder).read(hark_protocol::RoomId(1)).len(), 9);
}

//! Verification: nothing is wrong where nothing is, and what is wrong is named.

use std::fs;

use hark_core::ports::Change;
use hark_core::testkit::drafts::message;
use hark_protocol::{JoinBody, Kind, RoleBody, RoomId, RoomRole, Wire};
use hark_store_sqlite::{CopyError, OpenError, Verify};

use crate::bench::{Bench, sql, verify};

/// A room with three members and nine events.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.accounts(4);
    let tea = bench.room("tea", 5);
    let event = |account, number, kind, body: Vec<u8>, change| {
        let mut draft = message(tea, account, number, "");
        draft.proposal = hark_core::ports::Proposal::Append { kind, body: body.into(), change };
        draft
    };
    let body = |value: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        value(&mut out);
        out
    };
    let join = body(&|out| JoinBody { role: RoomRole::MEMBER }.put(out));
    let role = RoleBody {
        account: hark_protocol::AccountId(2),
        name: "user-2".parse().unwrap(),
        role: RoomRole::OWNER,
    };
    let role = body(&|out| role.put(out));
    let member = || Change::Join { role: RoomRole::MEMBER };
    bench.append(vec![
        event(2, 101, Kind::JOIN, join.clone(), member()),
        event(3, 102, Kind::JOIN, join.clone(), member()),
        event(4, 103, Kind::JOIN, join, member()),
        event(4, 104, Kind::LEAVE, vec![], Change::Leave),
        event(
            1,
            105,
            Kind::ROLE,
            role,
            Change::Role { account: hark_protocol::AccountId(2), role: RoomRole::OWNER },
        ),
    ]);
    bench
}

#[test]
fn nothing_is_wrong_with_a_server_that_works_was_stopped_or_was_killed() {
    let mut bench = bench();
    let (found, verified) = verify(bench.folder.path());
    assert_eq!(found, Vec::<String>::new());
    assert_eq!((verified.rooms, verified.events, verified.accounts), (1, 10, 4));
    bench.append(vec![message(RoomId(1), 1, 200, "more")]);
    assert_eq!(verify(bench.folder.path()).1.events, 11);
    let killed = bench.killed();
    let copy = tempfile::tempdir().unwrap();
    drop(killed.stores);
    for file in ["log.db", "directory.db"] {
        fs::copy(killed.folder.path().join(file), copy.path().join(file)).unwrap();
    }
    for folder in [killed.folder.path(), copy.path()] {
        assert_eq!(verify(folder).0, Vec::<String>::new());
    }
    // Having been looked at changes nothing for the next start.
    let bench = bench.reopen(|folder| assert_eq!(verify(folder).0, Vec::<String>::new()));
    assert_eq!(bench.reason(), None);
    let killed = bench.killed_after(|folder| assert_eq!(verify(folder).0, Vec::<String>::new()));
    assert_eq!(killed.reason(), None);
}

#[test]
fn what_is_wrong_is_named() {
    let log = "log.db";
    let cases: &[(&str, &str, &[&str])] = &[
        (
            log,
            "UPDATE log SET frame = x'00' WHERE seq = 3",
            &["log.db, room 1, seq 3: the record is damaged"],
        ),
        (log, "DELETE FROM log WHERE seq IN (2, 3)", &["log.db, room 1, seq 2 to 3: missing from the log"]),
        (
            log,
            "DELETE FROM log WHERE seq = 10",
            &[
                "log.db: its newest record is damaged or missing; the next start gives every room a new epoch",
                "log.db, room 1, seq 10: missing from the log",
            ],
        ),
        (
            log,
            "UPDATE log SET seq = 4 WHERE seq = 3",
            &[
                "log.db, room 1, seq 3: missing from the log",
                "log.db, room 1, seq 4: the record is damaged",
                "log.db, room 1, seq 4: the event is there twice, or out of order",
            ],
        ),
        (
            log,
            "UPDATE log SET room = 7 WHERE seq = 3",
            &[
                "log.db, room 7, seq 3: the event's room is unknown",
                "log.db, room 1, seq 3: missing from the log",
            ],
        ),
        (
            log,
            "DELETE FROM identities WHERE seq = 3",
            &["log.db, room 1, seq 3: the event's identity is missing"],
        ),
        (
            log,
            "UPDATE identities SET seq = 4 WHERE seq = 3",
            &["log.db, room 1, seq 3: the event's identity stands for seq 4"],
        ),
        (
            log,
            "INSERT INTO identities VALUES (x'77', 1, 1, 3, 0, x'00')",
            &["log.db, room 1: 11 identities for 10 events"],
        ),
        (
            log,
            "INSERT INTO identities VALUES (x'77', 1, 1, 30, 0, x'00')",
            &["log.db, room 1, seq 30: an identity stands for an event behind the room's head"],
        ),
        (
            log,
            "DELETE FROM members WHERE account = 3",
            &[
                "log.db, room 1: account 3 joined and is not among the members",
                "log.db, room 1: the number of members is wrong",
            ],
        ),
        (
            log,
            "UPDATE members SET role = 3 WHERE account = 3",
            &["log.db, room 1: member 3 is not what the control events say"],
        ),
        (
            log,
            "INSERT INTO members VALUES (1, 4, 1, 8); UPDATE rooms SET members = 4",
            &["log.db, room 1: member 4 is not what the control events say"],
        ),
        (
            log,
            "INSERT INTO members VALUES (1, 9, 1, 8); UPDATE rooms SET members = 4",
            &[
                "log.db, room 1: member 9 has no account",
                "log.db, room 1: member 9 is not what the control events say",
            ],
        ),
        (
            "directory.db",
            "PRAGMA foreign_keys = OFF; INSERT INTO cursors VALUES (99, 1, 1, 1)",
            &["directory.db: a row of cursors belongs to none of devices"],
        ),
        (
            "index.db",
            "UPDATE entries SET position = 9 WHERE seq = 2",
            &[
                "index.db, room 1, seq 2: the index leads elsewhere: remove index.db while the server is stopped",
            ],
        ),
    ];
    for (file, damage, expected) in cases {
        let bench = bench();
        let folder = bench.folder;
        drop(bench.stores);
        sql(folder.path(), file, damage);
        assert_eq!(verify(folder.path()).0, *expected, "{damage}");
    }
}

#[test]
fn a_damaged_page_is_found_and_what_stands_around_it_is_read() {
    let mut bench = bench();
    bench.append((300..2_000).map(|one| message(RoomId(1), 1, one, "cup")).collect());
    let Bench { stores, folder } = bench;
    drop(stores);
    let path = folder.path().join("log.db");
    let (bytes, mut damaged) = (fs::read(&path).unwrap(), 0);
    let pages = bytes.len() / 4_096;
    // Every fifth page behind the schema, one at a time.
    for page in (20..pages).step_by(5) {
        let mut bytes = bytes.clone();
        bytes[page * 4_096..(page + 1) * 4_096].fill(0xff);
        fs::write(&path, bytes).unwrap();
        let (found, verified) = verify(folder.path());
        assert!(!found.is_empty(), "page {page}");
        damaged += u64::from(verified.events < 1_710);
        assert!(
            verified.events > 1_000 || found.iter().any(|one| one.contains("can not be read")),
            "page {page}"
        );
    }
    assert!(damaged > 3, "{damaged}");
}

#[test]
fn a_file_that_is_no_database_is_a_finding_and_a_missing_one_an_error() {
    for file in ["log.db", "directory.db", "index.db"] {
        let bench = bench();
        let folder = bench.folder;
        drop(bench.stores);
        fs::write(folder.path().join(file), "nonsense ".repeat(1_000)).unwrap();
        let found = verify(folder.path()).0;
        assert!(found[0].starts_with(&format!("{file}: it can not be read")), "{found:?}");
        if file == "index.db" {
            continue;
        }
        fs::remove_file(folder.path().join(file)).unwrap();
        let error = Verify { folder: folder.path(), is_backup: false }.run(&mut |_| {}).unwrap_err();
        assert!(
            matches!(error, CopyError::NothingThere { .. }) && error.to_string().contains(file),
            "{error}"
        );
    }
}

#[test]
fn databases_of_other_versions_are_not_judged() {
    let bench = bench();
    let folder = bench.folder;
    drop(bench.stores);
    let run = |version: &str| {
        sql(folder.path(), "log.db", &format!("PRAGMA user_version = {version}"));
        Verify { folder: folder.path(), is_backup: false }.run(&mut |_| {}).unwrap_err()
    };
    assert!(matches!(run("1"), CopyError::Older { found: 1, .. }));
    assert!(matches!(run("99"), CopyError::Open(OpenError::Newer { found: 99, .. })));
}

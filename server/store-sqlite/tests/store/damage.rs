//! What damage does: one event is lost to its readers, and everything else goes on.

use hark_core::ports::{Budget, Change, LogReader, LogStore, Outcome, Proposal, Span, StoreError, Stored};
use hark_core::testkit::drafts::{control, draft, message};
use hark_protocol::{RoomId, RoomRole, Seq, UnixMillis};

use crate::bench::{Bench, appended, sql};

fn damaged(stored: &[Stored]) -> Vec<u64> {
    let damaged = stored.iter().filter(|stored| matches!(stored, Stored::Damaged { .. }));
    damaged.map(|stored| stored.seq().0).collect()
}

#[test]
fn a_damaged_record_is_lost_alone() {
    let cases = [
        // One byte of the body.
        "UPDATE log SET frame = CAST(substr(frame, 1, length(frame) - 1) || x'00' AS BLOB) WHERE room = 1 AND seq = 4",
        "UPDATE log SET frame = substr(frame, 1, length(frame) - 1) WHERE room = 1 AND seq = 4",
        "UPDATE log SET frame = x'' WHERE room = 1 AND seq = 4",
        "DELETE FROM log WHERE room = 1 AND seq = 4",
        // Whole frames, in the wrong place.
        "UPDATE log SET frame = (SELECT frame FROM log WHERE room = 1 AND seq = 5) WHERE room = 1 AND seq = 4",
        "UPDATE log SET frame = (SELECT frame FROM log WHERE room = 2 AND seq = 4) WHERE room = 1 AND seq = 4",
    ];
    for case in cases {
        let mut bench = Bench::new();
        let (tea, coffee) = (bench.room("tea", 9), bench.room("coffee", 9));
        let (before, other) = (bench.read(tea), bench.read(coffee));
        let mut bench = bench.reopen(|folder| sql(folder, "log.db", case));
        let after = bench.read(tea);
        assert_eq!(damaged(&after), [4], "{case}");
        for (before, after) in before.iter().zip(&after).filter(|(before, _)| before.seq() != Seq(4)) {
            assert_eq!(before, after);
        }
        assert_eq!(bench.read(coffee), other);
        // Spans that begin or end with it, and its room's future.
        for span in [Span::From(Seq(4)), Span::Before(Seq(5))] {
            let found = bench.stores.reader.read(tea, span, Budget { events: 1, bytes: 0 }).unwrap();
            assert_eq!(found, [Stored::Damaged { seq: Seq(4) }]);
        }
        let outcomes = bench.append(vec![message(tea, 1, 4, "tea 4"), message(tea, 1, 10, "tea 10")]);
        assert!(matches!(outcomes[0], Outcome::Duplicate(position) if position.seq == Seq(4)));
        assert_eq!(appended(&outcomes[1])[0].position().seq, Seq(10));
    }
}

#[test]
fn a_damaged_page_costs_the_event_that_lies_on_it() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 1);
    let body = |number: u8| char::from(b'a' + number).to_string().repeat(30_000);
    bench.append((2..9).map(|number| message(tea, 1, u64::from(number), &body(number))).collect());
    let bench = bench.reopen(|folder| {
        let path = folder.join("log.db");
        let mut bytes = std::fs::read(&path).unwrap();
        // A page in the middle of the fourth event's chain; its first bytes say where the chain goes on.
        let is_fourth = |page: &&mut [u8]| page[4..].iter().all(|byte| *byte == b'a' + 4);
        let page = bytes.chunks_exact_mut(4_096).find(is_fourth).unwrap();
        page[..4].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
    });
    let found = bench.read(tea);
    assert_eq!((found.len(), damaged(&found)), (8, vec![4]));
    // Nor does it keep a group from being committed that asks for it.
    let mut bench = bench;
    let outcomes = bench.append(vec![draft(tea, 1, 90, Proposal::Holds(Seq(4))), message(tea, 1, 9, "more")]);
    assert!(matches!(outcomes[0], Outcome::Duplicate(position) if position.seq == Seq(4)));
    assert_eq!(appended(&outcomes[1])[0].position().seq, Seq(9));
}

#[test]
fn the_newest_event_is_missed_by_the_rooms_row() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 5);
    let mut bench = bench.reopen(|folder| {
        // The highest position too: it is not used again.
        sql(folder, "log.db", "DELETE FROM log WHERE seq >= 4");
    });
    assert_eq!((damaged(&bench.read(tea)), bench.reason()), (vec![4, 5], Some("end-damaged")));
    assert_eq!(appended(&bench.append(vec![message(tea, 1, 6, "more")])[0])[0].position().seq, Seq(6));
    assert_eq!(damaged(&bench.read(tea)), [4, 5]);
}

#[test]
fn an_index_that_points_elsewhere_misleads_nobody() {
    let mut bench = Bench::new();
    let (tea, coffee) = (bench.room("tea", 5), bench.room("coffee", 5));
    let bench = bench.reopen(|folder| {
        sql(folder, "index.db", "UPDATE entries SET position = position + 1 WHERE room = 1 AND seq = 3");
    });
    assert_eq!(damaged(&bench.read(tea)), [3]);
    assert_eq!(damaged(&bench.read(coffee)), []);
}

#[test]
fn what_holds_since_a_damaged_event_holds() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 3);
    bench.append(vec![control(tea, 2, 4, Change::Join { role: RoomRole::MEMBER })]);
    let mut bench = bench.reopen(|folder| sql(folder, "log.db", "DELETE FROM log WHERE seq = 4"));
    let outcome = bench.append(vec![draft(tea, 2, 5, Proposal::Holds(Seq(4)))]).remove(0);
    assert!(matches!(outcome, Outcome::Duplicate(position) if position.seq == Seq(4)));
}

#[test]
fn an_index_damaged_while_running_is_built_at_the_next_start() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 3_000);
    // Reopened, so that every position comes from the file.
    let bench = bench.reopen(|_| {});
    let path = bench.folder.path().join("index.db");
    let bench = bench.reopen(|_| {
        let mut bytes = std::fs::read(&path).unwrap();
        // Behind the two tables' first pages: opening finds nothing wrong.
        bytes[3 * 4_096..].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
    });
    let budget = Budget { events: 10, bytes: usize::MAX };
    let error = bench.stores.reader.read(tea, Span::From(Seq(1)), budget).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    // The log goes on without it.
    let mut bench = bench;
    assert_eq!(
        appended(&bench.append(vec![message(tea, 1, 3_001, "more")])[0])[0].position().seq,
        Seq(3_001)
    );
    let bench = bench.reopen(|_| {});
    assert_eq!((bench.read(tea).len(), damaged(&bench.read(tea))), (3_001, vec![]));
}

#[test]
fn an_index_that_can_not_be_caught_up_is_built_again_at_once() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 3_000);
    let bench = bench.reopen(|folder| {
        sql(folder, "index.db", "UPDATE progress SET position = 100");
        let mut bytes = std::fs::read(folder.join("index.db")).unwrap();
        bytes[3 * 4_096..].fill(0xff);
        std::fs::write(folder.join("index.db"), bytes).unwrap();
    });
    assert_eq!((bench.read(tea).len(), damaged(&bench.read(tea))), (3_000, vec![]));
}

#[test]
fn nonsense_in_a_rooms_row_is_an_error_and_not_a_panic() {
    let mut bench = Bench::new();
    let tea = bench.room("tea", 3);
    for (break_it, mend_it) in [
        ("UPDATE rooms SET name = 'NOT A NAME'", "UPDATE rooms SET name = 'tea'"),
        ("UPDATE rooms SET visibility = 999", "UPDATE rooms SET visibility = 1"),
    ] {
        bench = bench.reopen(|folder| sql(folder, "log.db", break_it));
        assert!(matches!(bench.stores.reader.room(tea), Err(StoreError::Damaged(_))), "{break_it}");
        bench = bench.reopen(|folder| sql(folder, "log.db", mend_it));
        assert!(bench.stores.reader.room(tea).unwrap().is_some());
    }
    let mut bench = bench.reopen(|folder| sql(folder, "log.db", "UPDATE rooms SET head = -1, first = -9"));
    let budget = Budget { events: 3, bytes: usize::MAX };
    for span in [Span::From(Seq(1)), Span::Before(Seq(u64::MAX))] {
        let read = bench.stores.reader.read(RoomId(1), span, budget).unwrap();
        assert_eq!(damaged(&read).len(), read.len());
    }
    let _ = bench.stores.log.append(UnixMillis(1), vec![message(tea, 1, 9, "cup")]);
}

//! Retention on a disk: what a crash leaves between the steps, what the files grow to, and what damage does to it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use hark_core::ports::{Budget, Change, IDENTITY_MS_MIN, LogReader, LogStore, Outcome, Span, Stored};
use hark_core::testkit::drafts::{control, message};
use hark_protocol::{Retention, RoomId, Seq, UnixMillis};

use crate::bench::{Bench, SECOND_SCHEMA, appended, number, sql, verify};

const TEA: RoomId = RoomId(1);
const NOW: UnixMillis = UnixMillis(1_000);
const EVERYTHING: Budget = Budget { events: usize::MAX, bytes: usize::MAX };

fn by_count(max_events: u64) -> Retention {
    Retention { max_age_s: 0, max_events, max_bytes: 0 }
}

fn bench(head: u64) -> Bench {
    let mut bench = Bench::new();
    bench.accounts(1);
    bench.room("tea", head);
    bench
}

impl Bench {
    fn expire(&mut self, server: Retention) {
        self.stores.log.expire(NOW, server, RoomId(0)).unwrap();
    }

    fn remove_all(&mut self) -> u64 {
        let mut removed = 0;
        loop {
            let removal = self.stores.log.remove_expired(NOW, 100).unwrap();
            removed += removal.events;
            if !removal.more {
                return removed;
            }
        }
    }

    fn rows(&self, file: &str, table: &str) -> i64 {
        number(self.folder.path(), file, &format!("SELECT count(*) FROM {table}"))
    }
}

/// Everything from `first` on is there and sound, and nothing before it.
#[track_caller]
fn assert_begins_at(bench: &Bench, first: u64, head: u64) {
    let read = bench.stores.reader.read(TEA, Span::From(Seq(1)), EVERYTHING).unwrap();
    assert!(read.iter().map(|stored| stored.seq().0).eq(first..=head), "{:?}", read.first());
    assert!(read.iter().all(|stored| matches!(stored, Stored::Event { .. })));
    assert_eq!(verify(bench.folder.path()).0, Vec::<String>::new());
}

#[test]
fn a_crash_between_the_steps_loses_and_brings_back_nothing() {
    let mut bench = bench(500);
    bench.expire(by_count(50));
    // The first has moved, and nothing has been removed.
    let mut killed = bench.killed();
    assert_eq!((killed.reason(), killed.rows("log.db", "log")), (None, 500));
    assert_begins_at(&killed, 451, 500);
    // A slice has been removed.
    killed.stores.log.remove_expired(NOW, 100).unwrap();
    let mut killed = killed.killed();
    assert_eq!((killed.reason(), killed.rows("log.db", "log")), (None, 400));
    assert_begins_at(&killed, 451, 500);
    assert_eq!(killed.remove_all(), 350);
    let mut killed = killed.killed();
    assert_eq!(killed.rows("log.db", "log"), 50);
    assert_begins_at(&killed, 451, 500);
    // Identities are younger than thirty days.
    let outcome = killed.append(vec![message(TEA, 1, 7, "tea 7")]).remove(0);
    assert!(matches!(outcome, Outcome::Duplicate(position) if position.seq == Seq(7)));
    let again = appended(&killed.append(vec![message(TEA, 1, 501, "more")])[0])[0].position();
    assert_eq!(again.seq, Seq(501));
}

#[test]
fn the_index_forgets_what_has_been_removed() {
    let mut bench = bench(500).reopen(|_| {});
    assert_eq!(bench.rows("index.db", "entries"), 500);
    bench.expire(by_count(50));
    bench.remove_all();
    let mut bench = bench.reopen(|folder| {
        assert_eq!(number(folder, "index.db", "SELECT count(*) FROM entries"), 50);
    });
    assert_begins_at(&bench, 451, 500);
    // An index that is built anew has never heard of the others, and one that was not told loses them later.
    bench.append((501..=520).map(|one| message(TEA, 1, one, "more")).collect());
    let mut bench = bench.reopen(|folder| {
        sql(folder, "index.db", "INSERT INTO entries VALUES (1, 3, 3), (1, 4, 4)");
    });
    assert_begins_at(&bench, 451, 520);
    bench.expire(by_count(50));
    bench.remove_all();
    let bench = bench.reopen(|_| {});
    assert_eq!(bench.rows("index.db", "entries"), 50);
    let bench = bench.reopen(|folder| fs::remove_file(folder.join("index.db")).unwrap());
    assert_begins_at(&bench, 471, 520);
}

#[test]
fn the_newest_record_stays_so_that_the_end_can_be_judged() {
    let mut bench = bench(20);
    let age = Retention { max_age_s: 1, max_events: 0, max_bytes: 0 };
    bench.stores.log.expire(UnixMillis(1_000_000), age, RoomId(0)).unwrap();
    assert_eq!(bench.remove_all(), 19);
    assert_eq!(bench.rows("log.db", "log"), 1);
    for _ in 0..2 {
        bench = bench.reopen(|_| {});
        assert_eq!((bench.reason(), bench.read(TEA).len()), (None, 0));
        assert_eq!(verify(bench.folder.path()).0, Vec::<String>::new());
    }
    bench.append(vec![message(TEA, 1, 21, "more")]);
    assert_eq!((bench.remove_all(), bench.rows("log.db", "log")), (1, 1));
    assert_begins_at(&bench, 21, 21);
}

#[test]
fn the_files_stop_growing_when_as_much_goes_as_comes() {
    let mut bench = Bench::new();
    bench.room("tea", 2);
    let keep = Retention { max_age_s: 0, max_events: 0, max_bytes: 400_000 };
    bench.append(vec![control(TEA, 1, 3, Change::Retention { retention: keep })]);
    let body = "x".repeat(2_000);
    let (mut next, mut sizes) = (4, Vec::new());
    for _ in 0..40 {
        for _ in 0..10 {
            bench.append((next..next + 20).map(|one| message(TEA, 1, one, &body)).collect());
            next += 20;
            // Bytes are judged when what has gone is removed, so some steps lag behind.
            bench.expire(Retention::default());
            bench.remove_all();
        }
        let pages = number(bench.folder.path(), "log.db", "SELECT page_count FROM pragma_page_count()");
        sizes.push(pages * 4_096);
    }
    // 8,000 events of 2 KB are 16 MB; identities and their farewells stay for thirty days.
    let last = *sizes.last().unwrap();
    assert!(last < 4_000_000, "{sizes:?}");
    let kept = bench.read(TEA);
    assert!((150..=200).contains(&kept.len()), "{}", kept.len());
}

#[test]
fn identities_leave_the_file_thirty_days_after_their_events_were_stored() {
    let mut bench = bench(500);
    bench.expire(by_count(50));
    bench.remove_all();
    assert_eq!((bench.rows("log.db", "identities"), bench.rows("log.db", "farewells")), (500, 450));
    let later = UnixMillis(1_000 + IDENTITY_MS_MIN);
    while bench.stores.log.remove_expired(later, 100).unwrap().more {}
    assert_eq!((bench.rows("log.db", "identities"), bench.rows("log.db", "farewells")), (50, 0));
    assert_begins_at(&bench, 451, 500);
}

#[test]
fn readers_beside_it_see_no_damage() {
    let mut bench = Bench::new();
    bench.room("tea", 2_000);
    let bench = &mut bench.reopen(|_| {});
    let (reader, done) = (bench.stores.reader.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let read = reader.read(TEA, Span::From(Seq(1)), EVERYTHING).unwrap();
                    let damaged = read.iter().find(|stored| matches!(stored, Stored::Damaged { .. }));
                    assert_eq!(damaged, None);
                    let (first, last) = (read[0].seq().0, read.last().unwrap().seq().0);
                    assert_eq!((last, read.len() as u64), (2_000, 2_001 - first));
                }
            });
        }
        for left in (1..100).rev() {
            bench.expire(by_count(left * 20));
            bench.remove_all();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(bench.stores.reader.condition().damaged_records, 0);
}

#[test]
fn damage_in_what_goes_stops_nothing() {
    let damages = [
        "UPDATE log SET frame = x'00' WHERE seq IN (3, 30, 300)",
        "DELETE FROM log WHERE seq BETWEEN 1 AND 40",
    ];
    for damage in damages {
        let bench = bench(500);
        let mut bench = bench.reopen(|folder| sql(folder, "log.db", damage));
        bench.expire(by_count(50));
        bench.remove_all();
        assert_begins_at(&bench, 451, 500);
        assert_eq!(bench.rows("log.db", "log"), 50, "{damage}");
        // By age, too, where the oldest can not be read.
        let age = Retention { max_age_s: 10, max_events: 0, max_bytes: 0 };
        let expiry = bench.stores.log.expire(UnixMillis(1_000_000), age, RoomId(0)).unwrap();
        assert_eq!((expiry.moved.len(), bench.read(TEA).len()), (1, 0), "{damage}");
    }
}

#[test]
fn a_damaged_page_in_what_goes_is_passed_over() {
    let bench = bench(2_000);
    let Bench { stores, folder } = bench;
    drop(stores);
    let path = folder.path().join("log.db");
    // A leaf of the log's table that holds some of the oldest events.
    let mut bytes = fs::read(&path).unwrap();
    let has = |page: &[u8]| page[0] == 0x0d && page.windows(7).any(|window| window == b"tea 400");
    let page = bytes.chunks(4_096).position(has).unwrap() * 4_096;
    bytes[page..page + 4_096].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let stores = hark_store_sqlite::SqliteStores::open(folder.path()).unwrap();
    let mut bench = Bench { stores, folder };
    bench.expire(by_count(50));
    bench.remove_all();
    let row = bench.stores.reader.room(TEA).unwrap().unwrap().row;
    assert_eq!((row.first, row.head), (Seq(1_951), Seq(2_000)));
    assert_eq!(bench.read(TEA).len(), 50);
    let position = appended(&bench.append(vec![message(TEA, 1, 2_001, "more")])[0])[0].position();
    assert_eq!(position.seq, Seq(2_001));
    assert!(bench.remove_all() == 0, "what was passed over is not tried again");
}

#[test]
fn rooms_of_an_older_schema_are_kept_to_their_bounds() {
    let bench = bench(100);
    let mut bench = bench.reopen(|folder| sql(folder, "log.db", SECOND_SCHEMA));
    bench.append((101..=110).map(|one| message(TEA, 1, one, "more")).collect());
    let age = Retention { max_age_s: 10, max_events: 0, max_bytes: 0 };
    bench.stores.log.expire(UnixMillis(10_999), age, RoomId(0)).unwrap();
    assert_begins_at(&bench, 1, 110);
    // Bytes are counted from the new schema on: the old ones weigh nothing, and go first.
    let bytes = bench.stores.reader.read(TEA, Span::From(Seq(106)), EVERYTHING).unwrap();
    let bytes: usize = bytes
        .iter()
        .map(|one| match one {
            Stored::Event { frame, .. } => frame.as_slice().len(),
            Stored::Damaged { .. } => 0,
        })
        .sum();
    bench.expire(Retention { max_age_s: 0, max_events: 0, max_bytes: bytes as u64 });
    bench.remove_all();
    assert_begins_at(&bench, 106, 110);
}

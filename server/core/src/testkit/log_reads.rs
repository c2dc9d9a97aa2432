//! What a log's readers promise: dense spans within a budget, and only what has been committed.

use std::sync::atomic::{AtomicBool, Ordering};

use hark_protocol::{RoomId, Seq, Visibility};

use super::drafts::{create, message, new_room};
use super::log::{Bench, appended, event};
use crate::ports::{Budget, LogReader, LogStore, Span, Stored};

pub(super) fn cases<L: LogStore, R: LogReader>() -> &'static [fn(&mut Bench<L, R>)] {
    &[
        a_span_is_held_to_the_log_and_the_budget,
        a_budget_of_bytes_holds_but_for_the_first,
        what_is_read_is_what_was_sealed,
        rooms_that_grow_together_are_read_apart,
        a_reader_beside_the_writer_sees_no_holes,
    ]
}

fn seqs(stored: &[Stored]) -> Vec<u64> {
    stored.iter().map(|stored| event(stored).seq.0).collect()
}

fn a_span_is_held_to_the_log_and_the_budget<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    bench.group(2_000, (2..=9).map(|number| message(room, 1, number, "cup")).collect());
    let cases: [(Span, usize, &[u64]); 15] = [
        (Span::From(Seq(0)), 3, &[1, 2, 3]),
        (Span::From(Seq(1)), 3, &[1, 2, 3]),
        (Span::From(Seq(8)), 3, &[8, 9]),
        (Span::From(Seq(9)), usize::MAX, &[9]),
        (Span::From(Seq(10)), 3, &[]),
        (Span::From(Seq(u64::MAX)), 3, &[]),
        (Span::From(Seq(4)), 0, &[4]),
        (Span::Before(Seq(0)), 3, &[]),
        (Span::Before(Seq(1)), 3, &[]),
        (Span::Before(Seq(3)), 3, &[1, 2]),
        (Span::Before(Seq(5)), 2, &[3, 4]),
        (Span::Before(Seq(10)), 2, &[8, 9]),
        (Span::Before(Seq(u64::MAX)), 2, &[8, 9]),
        (Span::Before(Seq(4)), usize::MAX, &[1, 2, 3]),
        (Span::Before(Seq(4)), 0, &[3]),
    ];
    for (span, events, expected) in cases {
        let found = bench.reader.read(room, span, Budget { events, bytes: usize::MAX }).unwrap();
        assert_eq!(seqs(&found), expected, "{span:?}, {events} events");
    }
    let budget = Budget { events: 9, bytes: usize::MAX };
    for nowhere in [RoomId(0), RoomId(room.0 + 1), RoomId(u64::MAX)] {
        assert_eq!(bench.reader.read(nowhere, Span::From(Seq(1)), budget).unwrap(), []);
    }
}

fn a_budget_of_bytes_holds_but_for_the_first<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let outcomes = bench.group(2_000, (2..=9).map(|number| message(room, 1, number, "cup")).collect());
    let each = appended(&outcomes[0])[0].frame().as_slice().len();
    let read = |span, bytes| seqs(&bench.reader.read(room, span, Budget { events: 9, bytes }).unwrap());
    assert_eq!(read(Span::From(Seq(3)), 2 * each), [3, 4]);
    assert_eq!(read(Span::From(Seq(3)), 3 * each - 1), [3, 4]);
    assert_eq!(read(Span::Before(Seq(7)), 2 * each), [5, 6]);
    assert_eq!(read(Span::Before(Seq(7)), 3 * each - 1), [5, 6]);
    assert_eq!(read(Span::From(Seq(3)), 0), [3]);
    assert_eq!(read(Span::Before(Seq(7)), 0), [6]);
}

fn what_is_read_is_what_was_sealed<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let texts = ["", "cup", &"long".repeat(20_000)];
    let drafts = (2..).zip(texts).map(|(number, text)| message(room, 1, number, text)).collect();
    let sealed: Vec<_> = bench.group(2_000, drafts).iter().flat_map(appended).collect();
    let budget = Budget { events: 9, bytes: usize::MAX };
    let read = bench.reader.read(room, Span::From(Seq(2)), budget).unwrap();
    let expected = sealed.iter().map(|one| (one.position().seq, one.frame().clone()));
    assert_eq!(read, expected.map(|(seq, frame)| Stored::Event { seq, frame }).collect::<Vec<_>>());
}

fn rooms_that_grow_together_are_read_apart<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let names = ["a", "b", "c"];
    let rooms = names.map(|name| bench.event(1, create(new_room(name, Visibility::PUBLIC, &[1]), 1)).room);
    for number in 2..40 {
        bench.group(2, rooms.iter().map(|room| message(*room, 1, number, &format!("{room}"))).collect());
    }
    for room in rooms {
        let events = bench.all(room);
        assert!(events.iter().map(|event| event.seq.0).eq(1..40));
        assert!(events[1..].iter().all(|event| event.body.as_ref() == format!("{room}").as_bytes()));
    }
}

fn a_reader_beside_the_writer_sees_no_holes<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let (reader, done) = (bench.reader.clone(), AtomicBool::new(false));
    let budget = Budget { events: 50, bytes: usize::MAX };
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut next = 1;
            loop {
                let last = done.load(Ordering::Acquire);
                let found = reader.read(room, Span::From(Seq(next)), budget).unwrap();
                assert!(seqs(&found).into_iter().eq(next..next + found.len() as u64));
                next += found.len() as u64;
                if last && found.is_empty() {
                    return next;
                }
            }
        });
        for number in 2..=200 {
            bench.event(2_000, message(room, 1, number, "cup"));
        }
        done.store(true, Ordering::Release);
        assert_eq!(follower.join().unwrap(), 201);
    });
}

//! What a log store promises about events that are more than their room keeps: they go in order, and nothing else does.

use hark_protocol::{AccountId, Retention, RoomId, RoomRole, Seq, UnixMillis, Visibility};

use super::drafts::{control, create, draft, message, new_room};
use super::log::{Bench, appended};
use crate::ports::{
    Budget, Change, IDENTITY_MS_MIN, LogReader, LogStore, Moved, Outcome, Proposal, Span, Stored,
};

pub(super) fn cases<L: LogStore, R: LogReader>() -> &'static [fn(&mut Bench<L, R>)] {
    &[
        without_bounds_everything_stays,
        the_oldest_go_by_count,
        the_oldest_go_by_bytes,
        the_oldest_go_by_age,
        the_stricter_of_room_and_server_holds,
        a_room_keeps_what_its_retention_event_says,
        a_room_of_which_nothing_is_left_goes_on,
        what_is_gone_is_not_read,
        members_outlive_their_joins,
        an_identity_outlives_its_event_for_thirty_days,
        every_room_is_looked_at,
        removing_is_done_in_bounded_steps,
    ]
}

const NONE: Retention = Retention { max_age_s: 0, max_events: 0, max_bytes: 0 };
const EVERYTHING: Budget = Budget { events: usize::MAX, bytes: usize::MAX };

fn by_count(max_events: u64) -> Retention {
    Retention { max_events, ..NONE }
}

fn by_age(max_age_s: u32) -> Retention {
    Retention { max_age_s, ..NONE }
}

impl<L: LogStore, R: LogReader> Bench<L, R> {
    /// Looks at all rooms until nothing more goes, and says which rooms have moved.
    fn expire(&mut self, now: u64, server: Retention) -> Vec<Moved> {
        let mut all = Vec::new();
        loop {
            let (mut after, before) = (RoomId(0), all.len());
            loop {
                let expiry = self.log.expire(UnixMillis(now), server, after).unwrap();
                all.extend(expiry.moved);
                match expiry.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            if all.len() == before {
                return all;
            }
            // Some stores judge bytes only when what has gone is removed.
            self.remove_all(now);
        }
    }

    /// Removes everything that can be removed, and says how many events it were.
    fn remove_all(&mut self, now: u64) -> u64 {
        let mut removed = 0;
        loop {
            let removal = self.log.remove_expired(UnixMillis(now), 3).unwrap();
            assert!(removal.events <= 3);
            removed += removal.events;
            if !removal.more {
                return removed;
            }
        }
    }

    fn first(&self, room: RoomId) -> u64 {
        self.record(room).row.first.0
    }

    /// A room with its join at 1,000 and messages up to `head`, each at 1,000 times its seq.
    fn clock(&mut self, head: u64) -> RoomId {
        let room = self.tea();
        for number in 2..=head {
            self.event(number * 1_000, message(room, 1, number, "cup"));
        }
        room
    }
}

fn without_bounds_everything_stays<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(9);
    assert_eq!(bench.expire(u64::MAX, NONE), []);
    assert_eq!((bench.first(room), bench.remove_all(u64::MAX), bench.all(room).len()), (1, 0, 9));
}

fn the_oldest_go_by_count<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(9);
    assert_eq!(bench.expire(9_000, by_count(9)), []);
    assert_eq!(bench.expire(9_000, by_count(4)), [Moved { room, first: Seq(6), events: 5 }]);
    assert_eq!(bench.expire(9_000, by_count(4)), []);
    bench.event(9_000, message(room, 1, 10, "cup"));
    assert_eq!(bench.expire(9_000, by_count(4)), [Moved { room, first: Seq(7), events: 1 }]);
    // A bound that is lifted brings nothing back.
    assert_eq!((bench.expire(9_000, by_count(9)), bench.first(room)), (vec![], 7));
}

fn the_oldest_go_by_bytes<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let outcomes = bench.group(2_000, (2..=9).map(|number| message(room, 1, number, "cup")).collect());
    let each = appended(&outcomes[0])[0].frame().as_slice().len() as u64;
    let keep = |max_bytes| Retention { max_bytes, ..NONE };
    bench.expire(9_000, keep(3 * each));
    assert_eq!(bench.first(room), 7);
    bench.expire(9_000, keep(3 * each - 1));
    assert_eq!(bench.first(room), 8);
    // One that is larger than everything a room keeps goes too.
    bench.event(9_000, message(room, 1, 10, &"long".repeat(1_000)));
    bench.expire(9_000, keep(2 * each));
    assert_eq!((bench.first(room), bench.head(room)), (11, 10));
    bench.event(9_000, message(room, 1, 11, "cup"));
    bench.event(9_000, message(room, 1, 12, "cup"));
    bench.expire(9_000, keep(2 * each));
    assert_eq!(bench.first(room), 11, "what is gone does not count");
}

fn the_oldest_go_by_age<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(9);
    assert_eq!(bench.expire(10_999, by_age(10)), []);
    assert_eq!(bench.expire(11_000, by_age(10)), [Moved { room, first: Seq(2), events: 1 }]);
    assert_eq!(bench.expire(15_500, by_age(10)), [Moved { room, first: Seq(6), events: 4 }]);
    // A clock that goes back brings nothing back, and takes nothing.
    assert_eq!((bench.expire(1, by_age(10)), bench.first(room)), (vec![], 6));
}

fn the_stricter_of_room_and_server_holds<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(8);
    bench.event(8_000, control(room, 1, 9, Change::Retention { retention: by_count(6) }));
    bench.expire(9_000, by_count(100));
    assert_eq!(bench.first(room), 4, "the room's");
    bench.expire(9_000, by_count(5));
    assert_eq!(bench.first(room), 5, "the server's");
    bench.expire(16_500, by_age(10));
    assert_eq!(bench.first(room), 7, "the server's other one");
}

fn a_room_keeps_what_its_retention_event_says<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let (room, other) = (bench.clock(8), RoomId(2));
    assert_eq!(bench.event(1, create(new_room("milk", Visibility::PUBLIC, &[1]), 1)).room, other);
    bench.group(8_000, (2..=8).map(|number| message(other, 1, number, "cup")).collect());
    assert_eq!(bench.record(room).row.retention, NONE);
    let retention = Retention { max_age_s: 70, max_events: 3, max_bytes: 1 << 40 };
    bench.event(8_000, control(room, 1, 9, Change::Retention { retention }));
    let row = bench.record(room).row;
    assert_eq!((row.retention, row.control), (retention, Seq(9)));
    // The event itself counts like every other.
    assert_eq!(bench.expire(9_000, NONE), [Moved { room, first: Seq(7), events: 6 }]);
    assert_eq!((bench.first(room), bench.first(other)), (7, 1));
    bench.event(9_000, control(room, 1, 10, Change::Retention { retention: NONE }));
    assert_eq!((bench.record(room).row.retention, bench.expire(u64::MAX, NONE)), (NONE, vec![]));
}

fn a_room_of_which_nothing_is_left_goes_on<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(9);
    bench.expire(1_000_000, by_age(10));
    let row = bench.record(room).row;
    assert_eq!((row.first, row.head, row.time), (Seq(10), Seq(9), UnixMillis(9_000)));
    assert_eq!(bench.remove_all(1_000_000), 0, "it has been removed on the way");
    assert_eq!(bench.reader.read(room, Span::From(Seq(1)), EVERYTHING).unwrap(), []);
    // The head comes from the room and not from what is left.
    let position = bench.event(1_000_000, message(room, 1, 10, "cup"));
    assert_eq!((position.seq, bench.first(room)), (Seq(10), 10));
    assert_eq!(bench.expire(1_009_999, by_age(10)), []);
    assert_eq!(bench.all(room).len(), 1);
    assert_eq!(bench.expire(1_010_000, by_age(10)), [Moved { room, first: Seq(11), events: 1 }]);
}

fn what_is_gone_is_not_read<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(9);
    let expected = bench.reader.read(room, Span::From(Seq(6)), EVERYTHING).unwrap();
    let check = |bench: &Bench<L, R>| {
        let read = |span| bench.reader.read(room, span, EVERYTHING).unwrap();
        for from in [0, 1, 5, 6] {
            assert_eq!(read(Span::From(Seq(from))), expected);
        }
        assert_eq!(read(Span::Before(Seq(u64::MAX))), expected);
        assert_eq!(read(Span::Before(Seq(6))), []);
        assert!(expected.iter().all(|stored| matches!(stored, Stored::Event { .. })));
    };
    bench.log.expire(UnixMillis(9_000), by_count(4), RoomId(0)).unwrap();
    check(bench);
    assert_eq!(bench.remove_all(9_000), 5);
    check(bench);
    assert_eq!(bench.remove_all(9_000), 0);
}

fn members_outlive_their_joins<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(3);
    bench.event(4_000, control(room, 2, 4, Change::Join { role: RoomRole::MEMBER }));
    bench.event(5_000, control(room, 1, 5, Change::Invite { account: AccountId(3) }));
    let before = bench.record(room);
    bench.expire(1_000_000, by_age(10));
    bench.remove_all(1_000_000);
    let after = bench.record(room);
    assert_eq!((after.members, after.invited), (before.members, before.invited));
    assert_eq!((after.row.control, after.row.time), (before.row.control, before.row.time));
    // What holds since an event that is gone, holds.
    let outcome = bench.one(1_000_000, draft(room, 2, 6, Proposal::Holds(Seq(4))));
    assert!(matches!(outcome, Outcome::Duplicate(position) if position.seq == Seq(4)), "{outcome:?}");
}

fn an_identity_outlives_its_event_for_thirty_days<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(9);
    bench.expire(20_000, by_count(2));
    bench.remove_all(20_000);
    let duplicate = |outcome: Outcome| match outcome {
        Outcome::Duplicate(position) => (position.seq.0, position.time.0),
        other => panic!("not a duplicate: {other:?}"),
    };
    assert_eq!(duplicate(bench.one(20_000, message(room, 1, 3, "cup"))), (3, 3_000));
    // The last moment of the identity of seq 3, and the one after it.
    bench.remove_all(IDENTITY_MS_MIN + 2_999);
    assert_eq!(duplicate(bench.one(20_000, message(room, 1, 3, "cup"))), (3, 3_000));
    bench.remove_all(IDENTITY_MS_MIN + 3_000);
    let again = bench.event(20_000, message(room, 1, 3, "cup"));
    assert_eq!(again.seq, Seq(10));
    // Its neighbour's lives on; and that of an event that is kept does, however old it is.
    assert_eq!(duplicate(bench.one(20_000, message(room, 1, 4, "cup"))), (4, 4_000));
    bench.remove_all(u64::MAX);
    assert_eq!(duplicate(bench.one(20_000, message(room, 1, 9, "cup"))), (9, 9_000));
    assert_eq!(duplicate(bench.one(20_000, message(room, 1, 3, "cup"))), (10, 20_000));
    // An event that was older than that when it went takes its identity along.
    bench.expire(2 * IDENTITY_MS_MIN, by_age(1));
    bench.remove_all(2 * IDENTITY_MS_MIN);
    bench.event(20_001, message(room, 1, 11, "cup"));
    bench.remove_all(2 * IDENTITY_MS_MIN);
    assert_eq!(bench.event(20_001, message(room, 1, 9, "cup")).seq, Seq(12));
}

fn every_room_is_looked_at<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let mut rooms = Vec::new();
    for number in 0..40 {
        let name = format!("room-{number}");
        rooms.push(bench.event(1_000, create(new_room(&name, Visibility::PUBLIC, &[1]), 1)).room);
    }
    for number in 2..=5 {
        bench.group(number * 1_000, rooms.iter().map(|room| message(*room, 1, number, "cup")).collect());
    }
    let moved = bench.expire(9_000, by_count(2));
    assert_eq!(
        moved,
        rooms.iter().map(|room| Moved { room: *room, first: Seq(4), events: 3 }).collect::<Vec<_>>()
    );
    bench.remove_all(9_000);
    for room in rooms {
        assert_eq!(bench.all(room).len(), 2);
    }
}

fn removing_is_done_in_bounded_steps<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.clock(30);
    bench.log.expire(UnixMillis(30_000), by_count(5), RoomId(0)).unwrap();
    let mut removed = 0;
    loop {
        let removal = bench.log.remove_expired(UnixMillis(30_000), 4).unwrap();
        assert!(removal.events <= 4);
        removed += removal.events;
        // Between two steps everything goes on.
        let head = bench.head(room);
        assert_eq!(bench.event(30_000, message(room, 1, head + 1, "cup")).seq, Seq(head + 1));
        assert!(bench.all(room).iter().map(|event| event.seq.0).eq(26..=head + 1));
        if !removal.more {
            break;
        }
    }
    assert_eq!(removed, 25);
}

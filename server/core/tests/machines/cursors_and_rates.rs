//! The cursor book against a store that fails, and rates against counting.

use std::collections::BTreeMap;

use hark_core::cursor_book::CursorBook;
use hark_core::ports::Cursor;
use hark_core::rate::{Bucket, Rate};
use hark_protocol::{DeviceId, Epoch, RoomId, Seq};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Ack(u64, u64, u64),
    NextEpoch,
    Take,
    /// What was taken is saved, or is not.
    Saved(bool),
    Forget(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..3_u64, 1..3_u64, 1..20_u64).prop_map(|(device, room, seq)| Op::Ack(device, room, seq)),
        1 => Just(Op::NextEpoch),
        5 => Just(Op::Take),
        5 => any::<bool>().prop_map(Op::Saved),
        1 => (1..3_u64).prop_map(Op::Forget),
    ]
}

type Cursors = BTreeMap<(DeviceId, RoomId), Cursor>;

/// Within an epoch never back, as every store promises.
fn raise(cursors: &mut Cursors, device: DeviceId, room: RoomId, cursor: Cursor) {
    let held = cursors.entry((device, room)).or_insert(cursor);
    if held.epoch != cursor.epoch || held.seq < cursor.seq {
        *held = cursor;
    }
}

proptest! {
    #![proptest_config(crate::schedules(10_000))]

    /// LG-R43, LG-R44: book and store together always know the highest cursor; the store alone a lower bound.
    #[test]
    fn book_and_store_together_forget_nothing(ops in prop::collection::vec(op(), 0..80)) {
        let (mut book, mut store, mut model) = (CursorBook::default(), Cursors::new(), Cursors::new());
        let (mut epoch, mut taken) = (1, Vec::new());
        let finish = [Op::Saved(true), Op::Take, Op::Saved(true)];
        for op in ops.into_iter().chain(finish) {
            match op {
                Op::Ack(device, room, seq) => {
                    let (device, room) = (DeviceId(device), RoomId(room));
                    let cursor = Cursor { epoch: Epoch(epoch), seq: Seq(seq) };
                    raise(&mut model, device, room, cursor);
                    book.move_to(device, room, cursor);
                }
                Op::NextEpoch => epoch += 1,
                Op::Take => {
                    let now = book.take();
                    prop_assert!(taken.is_empty() || now.is_empty(), "two saves at once");
                    taken.extend(now);
                }
                Op::Saved(is_saved) => {
                    for (device, room, cursor) in taken.drain(..).filter(|_| is_saved) {
                        raise(&mut store, device, room, cursor);
                    }
                    book.saved(is_saved);
                }
                Op::Forget(device) => {
                    let device = DeviceId(device);
                    book.forget(device);
                    [&mut store, &mut model].into_iter().for_each(|all| all.retain(|(of, _), _| *of != device));
                    taken.retain(|(of, _, _)| *of != device); // a store passes over a device that is forgotten
                }
            }
            for device in 1..3 {
                for room in 1..3 {
                    let key = (DeviceId(device), RoomId(room));
                    let mut known = store.clone();
                    if let Some(cursor) = book.get(key.0, key.1) {
                        raise(&mut known, key.0, key.1, cursor);
                    }
                    prop_assert_eq!(known.get(&key), model.get(&key));
                }
            }
        }
        prop_assert!(book.is_empty());
        prop_assert_eq!(store, model);
    }

    /// In every stretch of time at most burst + 1 and what the rate gives in it; and a refusal names the very
    /// moment at which it would have been taken.
    #[test]
    fn a_rate_is_kept_and_no_more_than_that(
        per_second in 1..2_000_u32,
        burst in 0..50_u32,
        gaps in prop::collection::vec(prop_oneof![Just(0), 0..3_000_000_u64, 0..2_000_000_000_u64], 1..300),
    ) {
        let (rate, interval) = (Rate { per_second, burst }, 1_000_000_000 / u64::from(per_second));
        let (mut bucket, mut now, mut taken) = (Bucket::default(), 1_u64, Vec::new());
        for gap in gaps {
            now += gap;
            match bucket.take(rate, now) {
                Ok(()) => taken.push(now),
                Err(wait) => {
                    prop_assert!(wait > 0 && !bucket.is_idle(now));
                    let mut early = bucket;
                    prop_assert_eq!(early.take(rate, now + wait - 1), Err(1));
                    let mut then = bucket;
                    prop_assert_eq!(then.take(rate, now + wait), Ok(()));
                }
            }
            if bucket.is_idle(now) {
                let (mut fresh, mut used) = (Bucket::default(), bucket);
                let take = |bucket: &mut Bucket| (0..60).map(|_| bucket.take(rate, now)).collect::<Vec<_>>();
                prop_assert_eq!(take(&mut fresh), take(&mut used));
            }
        }
        for (first, from) in taken.iter().enumerate() {
            for (last, to) in taken.iter().enumerate().skip(first) {
                let allowed = u64::from(burst) + 1 + (to - from) / interval;
                prop_assert!((last - first + 1) as u64 <= allowed, "{first} to {last}");
            }
        }
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused(per_second in 1..2_000_u32, count in 1..500_u64) {
        let (rate, mut bucket) = (Rate { per_second, burst: 0 }, Bucket::default());
        let interval = 1_000_000_000 / u64::from(per_second);
        prop_assert!((1..=count).all(|nth| bucket.take(rate, nth * interval) == Ok(())));
    }
}

//! The schedules themselves, and the few that are worth a name.

use proptest::prelude::*;

use hark_protocol::Seq;

use super::world::{Fate, Fetching, Op, ROOMS, Sizes, Start, What, World, op};

/// A connection's rounds are never cut short in the schedules below.
const MUCH: usize = 100_000;

/// A world in which accounts 1 and 2 are members of every room, by its third event.
fn joined(sizes: Sizes) -> World {
    let mut world = World::new(sizes);
    for room in 1..=ROOMS {
        [1, 2].into_iter().for_each(|account| world.step(Op::Append(room, What::Join(account))));
        world.step(Op::Apply(room, [Fate::IsLost; 3]));
    }
    world
}

fn say(world: &mut World, room: u64) {
    world.step(Op::Append(room, What::Message(2, 10)));
    world.step(Op::Apply(room, [Fate::Comes; 3]));
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let tail = prop_oneof![Just(1_usize), 200..2_000_usize, Just(1_000_000)];
    let window = prop_oneof![1..8_u32, 1..300_u32];
    (tail, window).prop_map(|(tail_bytes_max, connection_window)| Sizes { tail_bytes_max, connection_window })
}

proptest! {
    #![proptest_config(crate::schedules(10_000))]

    #[test]
    fn every_client_sees_every_event_in_order_and_none_it_may_not(
        sizes in sizes(),
        ops in prop::collection::vec(op(), 0..400),
    ) {
        let mut world = World::new(sizes);
        ops.into_iter().for_each(|op| world.step(op));
        world.settle();
    }
}

#[test]
fn a_window_that_is_given_back_wakes_the_rooms_that_it_held_back() {
    let back: [fn(&mut World); 4] = [
        |world| world.step(Op::Ack(0, 1, 0)),
        |world| world.step(Op::Unsubscribe(0, 1)),
        |world| world.step(Op::Subscribe(0, 1, Start::Now, 9)),
        |world| {
            world.step(Op::Append(1, What::Leave(1)));
            world.step(Op::Apply(1, [Fate::Comes; 3]));
            world.step(Op::Hints(0, 0));
            world.step(Op::Ack(0, 1, 0));
            world.step(Op::Round(0, 1));
            assert_eq!(world.next(0, 1), None, "it has left room 1");
        },
    ];
    for give_back in back {
        let mut world = joined(Sizes { tail_bytes_max: MUCH, connection_window: 1 });
        [1, 2].into_iter().for_each(|room| world.step(Op::Subscribe(0, room, Start::Now, 9)));
        world.step(Op::Round(0, MUCH));
        [1, 2].into_iter().for_each(|room| say(&mut world, room));
        world.step(Op::Hints(0, 0));
        world.step(Op::Round(0, MUCH));
        assert_eq!((world.next(0, 1), world.next(0, 2)), (Some(Seq(5)), Some(Seq(4))), "room 2 is held back");
        give_back(&mut world); // no hint and no recheck for room 2
        world.step(Op::Round(0, MUCH));
        assert_eq!(world.next(0, 2), Some(Seq(5)));
    }
}

#[test]
fn a_removal_that_can_not_be_read_ends_the_subscription_all_the_same() {
    let unreadable: [fn(&mut World); 2] = [
        |world| world.step(Op::Damage(1, 1)),
        |world| {
            world.step(Op::Retain(1, 1));
            world.step(Op::Reload(1));
        },
    ];
    for make_unreadable in unreadable {
        let mut world = joined(Sizes { tail_bytes_max: 1, connection_window: 99 });
        world.step(Op::Subscribe(0, 1, Start::Now, 9));
        world.step(Op::Round(0, MUCH));
        world.step(Op::Append(1, What::Kick(1)));
        world.step(Op::Append(1, What::Message(2, 10)));
        world.step(Op::Apply(1, [Fate::Comes; 3]));
        make_unreadable(&mut world);
        world.step(Op::Hints(0, 0));
        world.step(Op::Round(0, MUCH));
        world.step(Op::Fetched(0, 0, Fetching::Whole));
        world.step(Op::Round(0, MUCH));
        assert_eq!(world.next(0, 1), None, "what was said behind the kick is not for account 1");
    }
}

#[test]
fn what_is_gone_from_the_store_is_a_gap_before_the_room_knows() {
    let mut world = joined(Sizes { tail_bytes_max: 1, connection_window: 99 });
    (0..6).for_each(|_| say(&mut world, 1));
    world.step(Op::Retain(1, 3));
    world.step(Op::Subscribe(0, 1, Start::Oldest, 99));
    for _ in 0..4 {
        world.step(Op::Round(0, MUCH));
        world.step(Op::Fetched(0, 0, Fetching::Whole));
    }
    assert_eq!(world.next(0, 1), Some(Seq(10)));
}

//! What a store promises about the sessions of devices.

use std::sync::Arc;

use hark_protocol::{AccountId, DeviceId, UnixMillis};

use super::directory::{new_account, new_device};
use crate::ports::{
    Directory, FoundSession, Hold, PasswordHash, SessionChange, SessionOutcome, Sessions, TokenHash,
};

/// Runs the whole contract of [`Sessions`].
pub fn suite<D: Directory + Sessions, G>(make: impl Fn() -> (Arc<D>, G)) {
    let cases: &[fn(&D)] = &[
        a_session_is_found_by_its_token,
        every_taking_up_brings_a_new_token_and_the_one_shown_stays_good,
        a_lost_answer_locks_nobody_out,
        of_two_that_take_one_up_the_later_holds_it,
        a_session_without_a_connection_lapses_in_its_time,
        a_restart_parts_every_session_from_its_connection,
        lapsed_sessions_are_forgotten_in_slices,
        an_ended_session_is_gone_and_its_id_with_it,
        an_outdated_hold_changes_nothing,
        the_session_longest_without_a_connection_makes_way,
        none_makes_way_that_has_a_connection,
        sessions_go_with_their_devices,
        who_is_shut_out_neither_begins_nor_takes_up,
        changes_of_one_call_see_each_other,
    ];
    for case in cases {
        let (store, _keep) = make();
        case(&store);
    }
}

const LIFETIME: u64 = 1_000;

fn token(number: u8) -> TokenHash {
    TokenHash([number; 32])
}

fn one<D: Sessions>(store: &D, now: u64, change: SessionChange) -> SessionOutcome {
    let outcomes = store.change_sessions(UnixMillis(now), &[change]).unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

fn beginning(device: DeviceId, number: u8, sessions_max: u32) -> SessionChange {
    SessionChange::Begin { device, token: token(number), sessions_max, lifetime_ms: LIFETIME }
}

fn taking_up(shown: u8, new: u8) -> SessionChange {
    SessionChange::TakeUp { token: token(shown), new: token(new), lifetime_ms: LIFETIME }
}

#[track_caller]
fn held(outcome: SessionOutcome) -> Hold {
    match outcome {
        SessionOutcome::Held(hold) => hold,
        other => panic!("not held: {other:?}"),
    }
}

fn begin<D: Sessions>(store: &D, device: DeviceId, number: u8) -> Hold {
    held(one(store, 0, beginning(device, number, 9)))
}

fn leave<D: Sessions>(store: &D, now: u64, hold: Hold) {
    assert_eq!(one(store, now, SessionChange::Leave(hold)), SessionOutcome::Done);
}

fn found<D: Sessions>(store: &D, now: u64, number: u8) -> Option<FoundSession> {
    store.session(&token(number), UnixMillis(now)).unwrap()
}

/// Whether each of these tokens finds a session.
fn good<D: Sessions, const N: usize>(store: &D, now: u64, numbers: [u8; N]) -> [bool; N] {
    numbers.map(|number| found(store, now, number).is_some())
}

/// An account with one device.
fn owner<D: Directory>(store: &D, name: &str, number: u8) -> (AccountId, DeviceId) {
    let account = store.add_account(new_account(name)).unwrap();
    (account, store.add_device(new_device(account, number, 0), 9).unwrap())
}

fn a_session_is_found_by_its_token<D: Directory + Sessions>(store: &D) {
    let (account, device) = owner(store, "ann", 1);
    assert_eq!(found(store, 0, 1), None, "a device's token is not a session's");
    let first = begin(store, device, 7);
    let second = begin(store, device, 8);
    assert_eq!(found(store, 0, 7), Some(FoundSession { id: first.session, account, device }));
    assert_eq!(found(store, u64::MAX, 8).unwrap().id, second.session, "it does not lapse while connected");
    assert_ne!(first.session, second.session);
    assert_eq!(one(store, 0, beginning(DeviceId(99), 9, 9)), SessionOutcome::Gone);
    assert_eq!(good(store, 0, [7, 8, 9]), [true, true, false]);
}

fn every_taking_up_brings_a_new_token_and_the_one_shown_stays_good<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    let first = begin(store, device, 10);
    let mut generations = vec![first.generation];
    for number in 10..14 {
        let hold = held(one(store, 0, taking_up(number, number + 1)));
        assert_eq!(hold.session, first.session);
        generations.push(hold.generation);
    }
    assert!(generations.is_sorted_by(|one, next| one < next), "{generations:?}");
    assert_eq!(good(store, 0, [10, 11, 12, 13, 14]), [false, false, false, true, true]);
    assert_eq!(one(store, 0, taking_up(12, 20)), SessionOutcome::Gone);
    assert_eq!(good(store, 0, [13, 14, 20]), [true, true, false], "a wrong token changes nothing");
}

fn a_lost_answer_locks_nobody_out<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    begin(store, device, 10);
    for lost in 20..25 {
        held(one(store, 0, taking_up(10, lost)));
    }
    assert_eq!(good(store, 0, [10, 20, 23, 24]), [true, false, false, true]);
    held(one(store, 0, taking_up(24, 30)));
    assert_eq!(
        good(store, 0, [10, 24, 30]),
        [false, true, true],
        "the newest was used: the oldest is not good"
    );
}

fn of_two_that_take_one_up_the_later_holds_it<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    begin(store, device, 10);
    let changes = [taking_up(10, 11), taking_up(10, 12)];
    let outcomes = store.change_sessions(UnixMillis(0), &changes).unwrap();
    let [earlier, later] = [held(outcomes[0]), held(outcomes[1])];
    assert!(earlier.generation < later.generation && earlier.session == later.session);
    assert_eq!(good(store, 0, [10, 11, 12]), [true, false, true]);
    leave(store, 0, earlier);
    assert!(found(store, u64::MAX, 12).is_some(), "the later one still has its connection");
}

fn a_session_without_a_connection_lapses_in_its_time<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    let hold = begin(store, device, 10);
    leave(store, 500, hold);
    leave(store, 900, hold); // a second time changes nothing
    assert!(found(store, 500 + LIFETIME - 1, 10).is_some());
    assert_eq!(found(store, 500 + LIFETIME, 10), None);
    assert_eq!(one(store, 500 + LIFETIME, taking_up(10, 11)), SessionOutcome::Gone);
    let change = SessionChange::TakeUp { token: token(10), new: token(11), lifetime_ms: 3 };
    let hold = held(one(store, 500 + LIFETIME - 1, change));
    leave(store, 10_000, hold);
    assert!(found(store, 10_002, 11).is_some());
    assert_eq!(found(store, 10_003, 11), None, "the lifetime is the one that was told last");
}

fn a_restart_parts_every_session_from_its_connection<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    let before = begin(store, device, 10);
    begin(store, device, 11);
    leave(store, 100, before);
    store.part_sessions(UnixMillis(600)).unwrap();
    assert_eq!(good(store, 100 + LIFETIME, [10, 11]), [false, true]);
    assert_eq!(good(store, 600 + LIFETIME, [10, 11]), [false, false]);
    assert!(found(store, 600 + LIFETIME - 1, 11).is_some());
}

fn lapsed_sessions_are_forgotten_in_slices<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    for number in 10..15 {
        let hold = begin(store, device, number);
        if number < 13 {
            leave(store, 0, hold);
        }
    }
    let forget = |now, at_most| store.forget_lapsed_sessions(UnixMillis(now), at_most).unwrap();
    assert_eq!(forget(LIFETIME - 1, 9), 0);
    assert_eq!([forget(LIFETIME, 2), forget(LIFETIME, 2), forget(LIFETIME, 2)], [2, 1, 0]);
    assert_eq!(good(store, 0, [10, 11, 12, 13, 14]), [false, false, false, true, true]);
}

fn an_ended_session_is_gone_and_its_id_with_it<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    let kept = begin(store, device, 9);
    begin(store, device, 10);
    let hold = held(one(store, 0, taking_up(10, 11)));
    assert_eq!(one(store, 0, SessionChange::End(hold)), SessionOutcome::Done);
    assert_eq!(one(store, 0, SessionChange::End(hold)), SessionOutcome::Done);
    assert_eq!(good(store, 0, [9, 10, 11]), [true, false, false]);
    let next = begin(store, device, 10);
    assert!(next.session > hold.session && kept.session < hold.session, "an id is never used again");
}

fn an_outdated_hold_changes_nothing<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    let outdated = begin(store, device, 10);
    held(one(store, 0, taking_up(10, 11)));
    leave(store, 0, outdated);
    assert_eq!(one(store, 0, SessionChange::End(outdated)), SessionOutcome::Replaced, "it lives on");
    assert!(found(store, u64::MAX, 11).is_some());
}

fn the_session_longest_without_a_connection_makes_way<D: Directory + Sessions>(store: &D) {
    let (account, device) = owner(store, "ann", 1);
    let other = store.add_device(new_device(account, 2, 0), 9).unwrap();
    leave(store, 0, begin(store, other, 50));
    let holds = [10, 11, 12].map(|number| begin(store, device, number));
    leave(store, 300, holds[0]);
    leave(store, 200, holds[2]);
    held(one(store, 400, beginning(device, 13, 3)));
    assert_eq!(good(store, 400, [10, 11, 12, 13, 50]), [true, true, false, true, true]);
    held(one(store, 400, beginning(device, 14, 3)));
    assert_eq!(good(store, 400, [10, 11, 13, 14, 50]), [false, true, true, true, true]);
    // A limit that was lowered since takes effect too.
    leave(store, 500, holds[1]);
    let changes = [14, 15, 16].map(|number| beginning(device, number + 10, 9));
    store.change_sessions(UnixMillis(500), &changes).unwrap();
    store.part_sessions(UnixMillis(600)).unwrap();
    held(one(store, 600, beginning(device, 30, 2)));
    let alive = [11, 13, 14, 24, 25, 26, 30].map(|number| u8::from(found(store, 600, number).is_some()));
    assert_eq!(alive.iter().sum::<u8>(), 2, "{alive:?}");
    assert_eq!(alive[6], 1);
}

fn none_makes_way_that_has_a_connection<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    let first = held(one(store, 0, beginning(device, 10, 2)));
    held(one(store, 0, beginning(device, 11, 2)));
    assert_eq!(one(store, 0, beginning(device, 12, 2)), SessionOutcome::Full);
    assert_eq!(one(store, 0, beginning(device, 12, 1)), SessionOutcome::Full);
    assert_eq!(good(store, 0, [10, 11, 12]), [true, true, false]);
    leave(store, 0, first);
    assert_eq!(one(store, 0, beginning(device, 12, 1)), SessionOutcome::Full);
    assert!(found(store, 0, 10).is_some(), "nobody makes way for what is not begun");
    held(one(store, 0, beginning(device, 12, 2)));
    assert_eq!(good(store, 0, [10, 11, 12]), [false, true, true]);
}

fn sessions_go_with_their_devices<D: Directory + Sessions>(store: &D) {
    let (account, device) = owner(store, "ann", 1);
    let other = store.add_device(new_device(account, 2, 0), 9).unwrap();
    let (_, stranger) = owner(store, "bob", 3);
    for (device, number) in [(device, 10), (other, 11), (stranger, 12)] {
        begin(store, device, number);
    }
    store.forget_device(device).unwrap();
    assert_eq!(good(store, 0, [10, 11, 12]), [false, true, true]);
    assert_eq!(one(store, 0, taking_up(10, 20)), SessionOutcome::Gone);
    assert_eq!(one(store, 0, beginning(device, 20, 9)), SessionOutcome::Gone);
    store.set_password(account, PasswordHash("new".into())).unwrap();
    assert_eq!(good(store, 0, [10, 11, 12]), [false, false, true]);
    // A device that makes way takes its sessions with it.
    let next = store.add_device(
        crate::ports::NewDevice { password: PasswordHash("new".into()), ..new_device(account, 4, 0) },
        9,
    );
    begin(store, next.unwrap(), 13);
    store
        .add_device(
            crate::ports::NewDevice { password: PasswordHash("new".into()), ..new_device(account, 5, 0) },
            1,
        )
        .unwrap();
    assert_eq!(good(store, 0, [12, 13]), [true, false]);
}

fn who_is_shut_out_neither_begins_nor_takes_up<D: Directory + Sessions>(store: &D) {
    let (account, device) = owner(store, "ann", 1);
    begin(store, device, 10);
    store.set_disabled(account, true).unwrap();
    assert_eq!(found(store, 0, 10), None);
    assert_eq!(one(store, 0, taking_up(10, 11)), SessionOutcome::Gone);
    assert_eq!(one(store, 0, beginning(device, 12, 9)), SessionOutcome::Gone);
    store.set_disabled(account, false).unwrap();
    held(one(store, 0, taking_up(10, 11)));
    assert_eq!(good(store, 0, [11, 12]), [true, false]);
}

fn changes_of_one_call_see_each_other<D: Directory + Sessions>(store: &D) {
    let (_, device) = owner(store, "ann", 1);
    let first = begin(store, device, 10);
    let changes = [
        SessionChange::Leave(first),
        beginning(device, 11, 1),
        taking_up(10, 12),
        taking_up(11, 13),
        taking_up(13, 14),
    ];
    let outcomes = store.change_sessions(UnixMillis(5), &changes).unwrap();
    assert_eq!((outcomes[0], outcomes[2]), (SessionOutcome::Done, SessionOutcome::Gone));
    let [begun, .., last] = [1, 3, 4].map(|at: usize| held(outcomes[at]));
    assert_eq!((begun.session, begun.generation + 2), (last.session, last.generation));
    assert_eq!(good(store, 5, [10, 11, 12, 13, 14]), [false, false, false, true, true]);
    assert_eq!(store.change_sessions(UnixMillis(5), &[]).unwrap(), []);
}

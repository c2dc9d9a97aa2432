//! What a cursor store promises: a lower bound that does not move back, for as long as the device is known.

use std::sync::Arc;

use hark_protocol::{DeviceId, Epoch, RoomId, Seq};

use super::directory::{new_account, new_device};
use crate::ports::{Cursor, CursorStore, Directory, PasswordHash};

/// Runs the whole contract of [`CursorStore`], over a store that holds the devices too.
pub fn suite<S: Directory + CursorStore, G>(make: impl Fn() -> (Arc<S>, G)) {
    let cases: &[fn(&S)] = &[
        a_cursor_is_found_by_device_and_room,
        a_cursor_does_not_move_back_within_an_epoch,
        another_epoch_takes_a_cursors_place,
        cursors_go_with_their_device,
        a_device_that_is_gone_is_passed_over,
    ];
    for case in cases {
        let (store, _keep) = make();
        case(&store);
    }
}

fn at(epoch: u64, seq: u64) -> Cursor {
    Cursor { epoch: Epoch(epoch), seq: Seq(seq) }
}

fn save<S: CursorStore>(store: &S, device: DeviceId, cursors: &[(u64, Cursor)]) {
    let cursors: Vec<_> = cursors.iter().map(|(room, cursor)| (device, RoomId(*room), *cursor)).collect();
    store.save_cursors(&cursors).unwrap();
}

fn cursor<S: CursorStore>(store: &S, device: DeviceId, room: u64) -> Option<Cursor> {
    store.cursor(device, RoomId(room)).unwrap()
}

fn two_devices<S: Directory>(store: &S) -> [DeviceId; 2] {
    let account = store.add_account(new_account("ann")).unwrap();
    [1, 2].map(|token| store.add_device(new_device(account, token, 0), 9).unwrap())
}

fn a_cursor_is_found_by_device_and_room<S: Directory + CursorStore>(store: &S) {
    let [one, other] = two_devices(store);
    store.save_cursors(&[]).unwrap();
    assert_eq!(cursor(store, one, 1), None);
    save(store, one, &[(1, at(u64::MAX, 7)), (2, at(5, 9))]);
    save(store, other, &[(1, at(5, 3))]);
    assert_eq!((cursor(store, one, 1), cursor(store, one, 2)), (Some(at(u64::MAX, 7)), Some(at(5, 9))));
    assert_eq!((cursor(store, other, 1), cursor(store, other, 2)), (Some(at(5, 3)), None));
}

fn a_cursor_does_not_move_back_within_an_epoch<S: Directory + CursorStore>(store: &S) {
    let [one, _] = two_devices(store);
    save(store, one, &[(1, at(5, 7))]);
    save(store, one, &[(1, at(5, 6))]);
    assert_eq!(cursor(store, one, 1), Some(at(5, 7)));
    save(store, one, &[(1, at(5, 9)), (1, at(5, 8))]);
    assert_eq!(cursor(store, one, 1), Some(at(5, 9)));
}

fn another_epoch_takes_a_cursors_place<S: Directory + CursorStore>(store: &S) {
    let [one, _] = two_devices(store);
    for cursor_to_save in [at(5, 7), at(6, 1), at(4, 2)] {
        save(store, one, &[(1, cursor_to_save)]);
        assert_eq!(cursor(store, one, 1), Some(cursor_to_save));
    }
}

fn cursors_go_with_their_device<S: Directory + CursorStore>(store: &S) {
    let [one, other] = two_devices(store);
    for device in [one, other] {
        save(store, device, &[(1, at(5, 7)), (2, at(5, 7))]);
    }
    store.forget_device(one).unwrap();
    assert_eq!((cursor(store, one, 1), cursor(store, one, 2)), (None, None));
    assert_eq!(cursor(store, other, 1), Some(at(5, 7)));
    let account = store.device(&crate::ports::TokenHash([2; 32]), hark_protocol::UnixMillis(0)).unwrap();
    store.set_password(account.unwrap().account, PasswordHash("new".into())).unwrap();
    assert_eq!(cursor(store, other, 1), None);
}

fn a_device_that_is_gone_is_passed_over<S: Directory + CursorStore>(store: &S) {
    let [one, other] = two_devices(store);
    store.forget_device(one).unwrap();
    let cursors = [one, other, DeviceId(u64::MAX)].map(|device| (device, RoomId(1), at(5, 7)));
    store.save_cursors(&cursors).unwrap();
    assert_eq!((cursor(store, one, 1), cursor(store, other, 1)), (None, Some(at(5, 7))));
}

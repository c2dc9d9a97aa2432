//! What a directory promises about accounts, devices and settings.

use std::sync::Arc;

use hark_protocol::{AccountId, AccountName, AccountRole, DeviceId, Line, UnixMillis};

use crate::ports::{AccountRow, Directory, DirectoryError, NewAccount, NewDevice, PasswordHash, TokenHash};

const HOUR: u64 = 3_600_000;

/// Runs the whole contract of [`Directory`].
pub fn suite<D: Directory, G>(make: impl Fn() -> (Arc<D>, G)) {
    let cases: &[fn(&D)] = &[
        an_account_is_what_it_was_made,
        a_name_is_taken_once,
        accounts_are_found_by_id_in_the_order_asked,
        accounts_are_paged_by_id,
        an_account_can_be_changed,
        an_account_that_is_not_there_can_not_be_changed,
        a_device_is_found_by_its_token,
        a_device_is_noted_by_the_hour,
        the_device_unused_the_longest_makes_way,
        a_new_password_forgets_the_accounts_devices,
        a_device_is_not_made_with_an_earlier_password,
        a_device_is_not_made_for_who_is_shut_out,
        a_forgotten_device_is_gone_and_its_id_with_it,
        settings_are_kept_by_key,
    ];
    for case in cases {
        let (directory, _keep) = make();
        case(&directory);
    }
}

/// The password of every new account.
fn password() -> PasswordHash {
    PasswordHash("$argon2id$first".into())
}

/// An account that is to be made.
pub(super) fn new_account(name: &str) -> NewAccount {
    NewAccount {
        name: AccountName::parse(name).unwrap(),
        display_name: Line::parse(&format!("{name} 🫖")).unwrap(),
        role: AccountRole::USER,
        password: password(),
        created: UnixMillis(1_234),
    }
}

/// A device that is to be made with a new account's password, and with a token of this byte.
pub(super) fn new_device(account: AccountId, token: u8, now: u64) -> NewDevice {
    NewDevice {
        account,
        label: Line::parse(&format!("phone {token}")).unwrap(),
        token: TokenHash([token; 32]),
        password: password(),
        now: UnixMillis(now),
    }
}

fn find(directory: &impl Directory, name: &str) -> Option<AccountRow> {
    directory.account(&AccountName::parse(name).unwrap()).unwrap()
}

fn device(directory: &impl Directory, token: u8, now: u64) -> Option<DeviceId> {
    directory.device(&TokenHash([token; 32]), UnixMillis(now)).unwrap().map(|device| device.id)
}

fn an_account_is_what_it_was_made<D: Directory>(directory: &D) {
    let admin = NewAccount { role: AccountRole::ADMIN, ..new_account("ann") };
    let id = directory.add_account(admin.clone()).unwrap();
    let row = AccountRow {
        id,
        name: admin.name,
        display_name: admin.display_name,
        role: AccountRole::ADMIN,
        disabled: false,
        created: admin.created,
        password: admin.password,
    };
    assert_eq!(find(directory, "ann"), Some(row));
    assert_eq!(find(directory, "an"), None);
}

fn a_name_is_taken_once<D: Directory>(directory: &D) {
    directory.add_account(new_account("ann")).unwrap();
    let second = NewAccount { role: AccountRole::ADMIN, ..new_account("ann") };
    assert_eq!(directory.add_account(second), Err(DirectoryError::NameTaken));
    assert_eq!(find(directory, "ann").unwrap().role, AccountRole::USER);
    assert_eq!(directory.accounts(AccountId(0), 9).unwrap().len(), 1);
}

fn accounts_are_found_by_id_in_the_order_asked<D: Directory>(directory: &D) {
    let [a, b, c] = ["ann", "bob", "cat"].map(|name| directory.add_account(new_account(name)).unwrap());
    let found = directory.accounts_by_id(&[c, AccountId(u64::MAX), a, AccountId(0), b]).unwrap();
    assert!(found.iter().map(|account| account.id).eq([c, a, b]));
    assert_eq!(found[1], find(directory, "ann").unwrap());
    assert_eq!(directory.accounts_by_id(&[]).unwrap(), []);
}

fn accounts_are_paged_by_id<D: Directory>(directory: &D) {
    let ids = ["cat", "bob", "ann"].map(|name| directory.add_account(new_account(name)).unwrap());
    assert!(ids.is_sorted());
    let page = |after, limit| -> Vec<AccountId> {
        directory.accounts(AccountId(after), limit).unwrap().into_iter().map(|account| account.id).collect()
    };
    assert_eq!(page(0, 2), ids[..2]);
    assert_eq!(page(ids[1].0, 2), ids[2..]);
    assert_eq!(page(0, usize::MAX), ids);
    assert_eq!((page(0, 0), page(u64::MAX, 2)), (vec![], vec![]));
}

fn an_account_can_be_changed<D: Directory>(directory: &D) {
    let id = directory.add_account(new_account("ann")).unwrap();
    let other = directory.add_account(new_account("bob")).unwrap();
    let before = find(directory, "bob");
    directory.set_disabled(id, true).unwrap();
    directory.set_display_name(id, Line::parse("Änn").unwrap()).unwrap();
    directory.set_password(id, PasswordHash("new".into())).unwrap();
    let row = find(directory, "ann").unwrap();
    assert_eq!((row.disabled, row.display_name.as_str(), row.password.0.as_str()), (true, "Änn", "new"));
    directory.set_disabled(id, false).unwrap();
    assert!(!find(directory, "ann").unwrap().disabled);
    assert_eq!(find(directory, "bob"), before, "account {other} was not asked for");
}

fn an_account_that_is_not_there_can_not_be_changed<D: Directory>(directory: &D) {
    for nobody in [AccountId(0), AccountId(9), AccountId(u64::MAX)] {
        let gone = Err(DirectoryError::NoAccount);
        assert_eq!(directory.set_password(nobody, PasswordHash("x".into())), gone);
        assert_eq!(directory.set_disabled(nobody, true), gone);
        assert_eq!(directory.set_display_name(nobody, Line::parse("x").unwrap()), gone);
        assert_eq!(directory.add_device(new_device(nobody, 1, 0), 9), Err(DirectoryError::NoAccount));
    }
    assert_eq!(device(directory, 1, 0), None);
}

fn a_device_is_found_by_its_token<D: Directory>(directory: &D) {
    let account = directory.add_account(new_account("ann")).unwrap();
    let id = directory.add_device(new_device(account, 7, HOUR + 5), 9).unwrap();
    let other = directory.add_device(new_device(account, 8, HOUR + 5), 9).unwrap();
    let row = directory.device(&TokenHash([7; 32]), UnixMillis(HOUR + 6)).unwrap().unwrap();
    assert_eq!((row.id, row.account, row.label.as_str()), (id, account, "phone 7"));
    assert_eq!((row.created, row.last_used), (UnixMillis(HOUR + 5), UnixMillis(HOUR)));
    assert_eq!(device(directory, 8, 0), Some(other));
    assert_eq!(device(directory, 9, 0), None);
}

fn a_device_is_noted_by_the_hour<D: Directory>(directory: &D) {
    let account = directory.add_account(new_account("ann")).unwrap();
    directory.add_device(new_device(account, 7, 0), 9).unwrap();
    for (now, noted) in [(HOUR - 1, 0), (HOUR, HOUR), (3 * HOUR + 9, 3 * HOUR), (2 * HOUR, 3 * HOUR)] {
        let row = directory.device(&TokenHash([7; 32]), UnixMillis(now)).unwrap().unwrap();
        assert_eq!(row.last_used, UnixMillis(noted), "used at {now}");
    }
}

fn the_device_unused_the_longest_makes_way<D: Directory>(directory: &D) {
    let account = directory.add_account(new_account("ann")).unwrap();
    let other = directory.add_account(new_account("bob")).unwrap();
    directory.add_device(new_device(other, 9, 0), 1).unwrap();
    let ids = [1, 2, 3].map(|token| directory.add_device(new_device(account, token, 0), 3).unwrap());
    assert_eq!(device(directory, 1, 2 * HOUR), Some(ids[0]));
    directory.add_device(new_device(account, 4, 3 * HOUR), 3).unwrap();
    let there = |tokens: [u8; 5]| tokens.map(|token| device(directory, token, 0).is_some());
    assert_eq!(there([1, 2, 3, 4, 9]), [true, false, true, true, true]);
    // A limit that was lowered since takes effect too; the new device is always there.
    directory.add_device(new_device(account, 5, 4 * HOUR), 2).unwrap();
    assert_eq!(there([1, 3, 4, 5, 9]), [false, false, true, true, true]);
    directory.add_device(new_device(account, 6, 5 * HOUR), 0).unwrap();
    assert_eq!(there([4, 5, 5, 6, 9]), [false, false, false, true, true]);
}

fn a_new_password_forgets_the_accounts_devices<D: Directory>(directory: &D) {
    let account = directory.add_account(new_account("ann")).unwrap();
    let other = directory.add_account(new_account("bob")).unwrap();
    for (owner, token) in [(account, 1), (account, 2), (other, 3)] {
        directory.add_device(new_device(owner, token, 0), 9).unwrap();
    }
    directory.set_password(account, PasswordHash("new".into())).unwrap();
    assert_eq!([1, 2, 3].map(|token| device(directory, token, 0).is_some()), [false, false, true]);
}

fn a_device_is_not_made_with_an_earlier_password<D: Directory>(directory: &D) {
    let account = directory.add_account(new_account("ann")).unwrap();
    directory.add_device(new_device(account, 1, 0), 1).unwrap();
    directory.set_password(account, PasswordHash("new".into())).unwrap();
    let with = |password: &str, token| {
        let password = PasswordHash(password.into());
        directory.add_device(NewDevice { password, ..new_device(account, token, 0) }, 1)
    };
    with("new", 2).unwrap();
    for outdated in [&*password().0, "", "ne", "NEW"] {
        assert_eq!(with(outdated, 3), Err(DirectoryError::Outdated), "{outdated}");
    }
    // Nor has another device made way for it.
    assert_eq!([1, 2, 3].map(|token| device(directory, token, 0).is_some()), [false, true, false]);
}

fn a_device_is_not_made_for_who_is_shut_out<D: Directory>(directory: &D) {
    let account = directory.add_account(new_account("ann")).unwrap();
    directory.set_disabled(account, true).unwrap();
    assert_eq!(directory.add_device(new_device(account, 1, 0), 9), Err(DirectoryError::Outdated));
    assert_eq!(device(directory, 1, 0), None);
    directory.set_disabled(account, false).unwrap();
    directory.add_device(new_device(account, 1, 0), 9).unwrap();
}

fn a_forgotten_device_is_gone_and_its_id_with_it<D: Directory>(directory: &D) {
    let account = directory.add_account(new_account("ann")).unwrap();
    let id = directory.add_device(new_device(account, 1, 0), 9).unwrap();
    directory.forget_device(id).unwrap();
    directory.forget_device(id).unwrap();
    directory.forget_device(DeviceId(u64::MAX)).unwrap();
    assert_eq!(device(directory, 1, 0), None);
    let next = directory.add_device(new_device(account, 1, 0), 9).unwrap();
    assert!(next > id, "an id is never used again");
    assert!(id > DeviceId(0), "0 is a login without a device");
}

fn settings_are_kept_by_key<D: Directory>(directory: &D) {
    assert_eq!(directory.setting("key").unwrap(), None);
    directory.set_setting("key", b"\0one").unwrap();
    directory.set_setting("other", b"").unwrap();
    assert_eq!(directory.setting("key").unwrap().unwrap(), b"\0one");
    directory.set_setting("key", b"two").unwrap();
    assert_eq!(directory.setting("key").unwrap().unwrap(), b"two");
    assert_eq!(directory.setting("other").unwrap().unwrap(), b"");
}

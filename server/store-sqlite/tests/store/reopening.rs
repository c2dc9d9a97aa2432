//! What outlives a process: everything that was answered.

use hark_core::ports::{
    Change, Cursor, CursorStore, Directory, LogReader, NewAccount, NewDevice, Outcome, PasswordHash,
    RoomQuery, TokenHash,
};
use hark_core::testkit::drafts::{asking, control, create, message, new_room};
use hark_protocol::{AccountId, AccountRole, DeviceId, Epoch, RoomId, RoomRole, Seq, UnixMillis, Visibility};

use crate::bench::{Bench, SECOND_SCHEMA, appended, number};

/// Fills a folder, and says what must be found in it for ever.
fn filled(bench: &mut Bench) -> impl Fn(&Bench) + use<> {
    let (tea, coffee) = (bench.room("tea", 40), bench.room("coffee", 7));
    bench.append(vec![
        control(tea, 2, 90, Change::Join { role: RoomRole::MEMBER }),
        control(tea, 1, 91, Change::Invite { account: AccountId(3) }),
        control(tea, 1, 92, Change::Topic { topic: "Darjeeling".parse().unwrap() }),
    ]);
    let directory = &bench.stores.directory;
    let account = NewAccount {
        name: "ann".parse().unwrap(),
        display_name: "Ann".parse().unwrap(),
        role: AccountRole::ADMIN,
        password: PasswordHash("$phc".into()),
        created: UnixMillis(1),
    };
    let password = account.password.clone();
    let account = directory.add_account(account).unwrap();
    let (token, now) = (TokenHash([7; 32]), UnixMillis(1));
    let new = NewDevice { account, label: "phone".parse().unwrap(), token, password, now };
    let device = directory.add_device(new, 9).unwrap();
    let cursor = Cursor { epoch: Epoch(u64::MAX), seq: Seq(5) };
    directory.save_cursors(&[(device, tea, cursor)]).unwrap();
    directory.set_setting("key", b"value").unwrap();

    let find = move |bench: &Bench| {
        let rooms = [tea, coffee].map(|room| (bench.stores.reader.room(room).unwrap(), bench.read(room)));
        let directory = &bench.stores.directory;
        let account = directory.account(&"ann".parse().unwrap()).unwrap();
        let device = directory.device(&token, now).unwrap();
        let cursor = directory.cursor(DeviceId(1), tea).unwrap();
        (rooms, account, device, cursor, directory.setting("key").unwrap())
    };
    let expected = find(bench);
    assert_eq!((expected.0[0].1.len(), expected.0[1].1.len()), (43, 7));
    assert!(expected.1.is_some() && expected.2.is_some() && expected.3.is_some() && expected.4.is_some());
    move |bench| assert_eq!(find(bench), expected)
}

/// Seqs, ids and identities go on where they were.
fn goes_on(bench: &mut Bench) {
    let tea = bench.stores.reader.room_id(&"tea".parse().unwrap()).unwrap().unwrap();
    let outcomes = bench.append(vec![
        message(tea, 1, 2, "tea 2"),
        asking(message(tea, 1, 3, "tea 3"), 1),
        message(tea, 1, 1_000, "more"),
        create(new_room("tea", Visibility::PUBLIC, &[1]), 1),
        create(new_room("milk", Visibility::PUBLIC, &[1]), 1),
    ]);
    assert!(matches!(outcomes[0], Outcome::Duplicate(position) if position.seq == Seq(2)));
    assert!(matches!(outcomes[1], Outcome::Conflict));
    assert_eq!(appended(&outcomes[2])[0].position().seq, Seq(44));
    assert!(matches!(outcomes[3], Outcome::Duplicate(position) if position.seq == Seq(1)));
    assert_eq!(appended(&outcomes[4])[0].position().room, RoomId(3));
    assert_eq!(bench.read(tea).len(), 44);
}

#[test]
fn closing_and_opening_changes_nothing() {
    let mut bench = Bench::new();
    let all_there = filled(&mut bench);
    let mut bench = bench.reopen(|folder| {
        assert_eq!(
            number(folder, "index.db", "SELECT count(*) FROM entries"),
            50,
            "closing indexes the rest"
        );
    });
    all_there(&bench);
    goes_on(&mut bench);
}

#[test]
fn rooms_of_the_first_schema_have_their_members_counted() {
    let mut bench = Bench::new();
    let all_there = filled(&mut bench);
    let first = format!("{SECOND_SCHEMA} ALTER TABLE rooms DROP COLUMN members; PRAGMA user_version = 1");
    let mut bench = bench.reopen(|folder| crate::bench::sql(folder, "log.db", &first));
    all_there(&bench);
    goes_on(&mut bench);
    let tea = bench.stores.reader.room_id(&"tea".parse().unwrap()).unwrap().unwrap();
    bench.append(vec![control(tea, 4, 93, Change::Join { role: RoomRole::MEMBER })]);
    let listed = bench.stores.reader.rooms(RoomQuery::Public(AccountId(1)), RoomId(0), 9).unwrap();
    // Tea, coffee, and the milk that came after.
    assert!(listed.iter().map(|room| room.members).eq([3, 1, 1]));
}

#[test]
fn a_kill_loses_nothing_that_was_answered() {
    let mut bench = Bench::new();
    let all_there = filled(&mut bench);
    let mut killed = bench.killed();
    all_there(&killed);
    goes_on(&mut killed);
}

#[test]
fn an_index_that_is_gone_or_useless_is_built_again() {
    type Meddle = fn(&std::path::Path);
    let meddlings: [(&str, Meddle); 5] = [
        ("gone", |folder| std::fs::remove_file(folder.join("index.db")).unwrap()),
        ("not a database", |folder| {
            std::fs::write(folder.join("index.db"), "nonsense ".repeat(999)).unwrap()
        }),
        ("newer", |folder| crate::bench::sql(folder, "index.db", "PRAGMA user_version = 99")),
        ("of another log", |folder| crate::bench::sql(folder, "index.db", "UPDATE progress SET log = x'00'")),
        ("without its table", |folder| crate::bench::sql(folder, "index.db", "DROP TABLE progress")),
    ];
    for (what, meddle) in meddlings {
        let mut bench = Bench::new();
        let all_there = filled(&mut bench);
        let mut bench = bench.reopen(meddle);
        all_there(&bench);
        goes_on(&mut bench);
        println!("{what}: built again");
    }
}

#[test]
fn an_index_that_is_behind_is_caught_up() {
    let mut bench = Bench::new();
    let all_there = filled(&mut bench);
    let bench = bench.reopen(|folder| {
        let sql = "UPDATE progress SET position = 20; DELETE FROM entries WHERE position > 20";
        crate::bench::sql(folder, "index.db", sql);
    });
    all_there(&bench);
}

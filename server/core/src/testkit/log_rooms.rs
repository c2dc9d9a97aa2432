//! What a log store promises about rooms' rows: who is in them, who is invited, and how they are listed.

use hark_protocol::{AccountId, RoomId, RoomName, RoomRole, Seq, Visibility};

use super::drafts::{control, create, draft, message, new_room, topic};
use super::log::Bench;
use crate::ports::{Change, LogReader, LogStore, MemberRow, Proposal, RoomListing, RoomQuery};

pub(super) fn cases<L: LogStore, R: LogReader>() -> &'static [fn(&mut Bench<L, R>)] {
    &[
        a_join_takes_its_invitation_along,
        a_kick_removes_member_and_invitation,
        leaving_and_roles_change_one_member,
        a_topic_is_the_rooms_own,
        rooms_are_found_by_name,
        rooms_are_listed_by_query,
        lists_are_paged_by_id,
        a_list_counts_the_members_there_are,
        the_rooms_of_an_account_are_paged_by_id,
    ]
}

const MEMBER: RoomRole = RoomRole::MEMBER;

fn member(account: u64, role: RoomRole, joined: u64) -> MemberRow {
    MemberRow { account: AccountId(account), role, joined: Seq(joined) }
}

fn a_join_takes_its_invitation_along<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    bench.event(2_000, control(room, 1, 2, Change::Invite { account: AccountId(3) }));
    bench.event(2_000, control(room, 1, 3, Change::Invite { account: AccountId(2) }));
    let record = bench.record(room);
    assert_eq!(record.invited, [(AccountId(2), Seq(3)), (AccountId(3), Seq(2))]);
    assert_eq!((record.members, record.row.control), (vec![member(1, RoomRole::OWNER, 1)], Seq(3)));
    bench.event(2_000, control(room, 3, 4, Change::Join { role: MEMBER }));
    let record = bench.record(room);
    assert_eq!(record.invited, [(AccountId(2), Seq(3))]);
    assert_eq!(record.members, [member(1, RoomRole::OWNER, 1), member(3, MEMBER, 4)]);
    assert_eq!((record.row.control, record.row.head), (Seq(4), Seq(4)));
}

fn a_kick_removes_member_and_invitation<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    bench.event(2_000, control(room, 2, 2, Change::Join { role: MEMBER }));
    bench.event(2_000, control(room, 1, 3, Change::Invite { account: AccountId(3) }));
    bench.event(2_000, control(room, 1, 4, Change::Kick { account: AccountId(2) }));
    bench.event(2_000, control(room, 1, 5, Change::Kick { account: AccountId(3) }));
    let record = bench.record(room);
    assert_eq!(record.members, [member(1, RoomRole::OWNER, 1)]);
    assert_eq!((record.invited, record.row.control), (vec![], Seq(5)));
}

fn leaving_and_roles_change_one_member<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    bench.event(2_000, control(room, 2, 2, Change::Join { role: MEMBER }));
    bench.event(2_000, control(room, 3, 3, Change::Join { role: MEMBER }));
    bench
        .event(2_000, control(room, 1, 4, Change::Role { account: AccountId(2), role: RoomRole::MODERATOR }));
    bench.event(2_000, control(room, 3, 5, Change::Leave));
    bench.event(2_000, message(room, 1, 6, "bye"));
    let record = bench.record(room);
    assert_eq!(record.members, [member(1, RoomRole::OWNER, 1), member(2, RoomRole::MODERATOR, 2)]);
    assert_eq!((record.row.control, record.row.head), (Seq(5), Seq(6)));
    bench.event(2_000, control(room, 3, 7, Change::Join { role: MEMBER }));
    assert_eq!(bench.record(room).members[2], member(3, MEMBER, 7));
}

fn a_topic_is_the_rooms_own<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let tea = bench.tea();
    let coffee = bench.event(1_000, create(new_room("coffee", Visibility::PUBLIC, &[1]), 9)).room;
    bench.event(2_000, control(tea, 1, 2, Change::Topic { topic: topic("Earl Grey 🫖") }));
    assert_eq!(bench.record(tea).row.topic, topic("Earl Grey 🫖"));
    assert_eq!(bench.record(coffee).row.topic, topic("tea & biscuits"));
}

fn rooms_are_found_by_name<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let tea = bench.tea();
    let find = |name: &str| bench.reader.room_id(&RoomName::parse(name).unwrap()).unwrap();
    assert_eq!((find("tea"), find("te"), find("coffee")), (Some(tea), None, None));
}

/// Three rooms: 1 owns all of them, 2 is in the second, and invited to the second and the third.
fn three_rooms<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) -> [RoomId; 3] {
    let kinds = [("a", Visibility::PUBLIC), ("b", Visibility::PRIVATE), ("c", Visibility::PUBLIC)];
    let rooms =
        kinds.map(|(name, visibility)| bench.event(1, create(new_room(name, visibility, &[1]), 1)).room);
    bench.event(1, control(rooms[1], 2, 2, Change::Join { role: RoomRole::MODERATOR }));
    for room in &rooms[1..] {
        bench.event(1, control(*room, 1, 3, Change::Invite { account: AccountId(2) }));
    }
    rooms
}

fn rooms_are_listed_by_query<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let [a, b, c] = three_rooms(bench);
    let list = |query| -> Vec<(RoomId, u32, RoomRole)> {
        let rooms = bench.reader.rooms(query, RoomId(0), 10).unwrap();
        for RoomListing { row, .. } in &rooms {
            assert_eq!(*row, bench.record(row.id).row);
        }
        rooms.into_iter().map(|room| (room.row.id, room.members, room.role)).collect()
    };
    let (none, moderator, owner) = (RoomRole::NONE, RoomRole::MODERATOR, RoomRole::OWNER);
    assert_eq!(list(RoomQuery::Joined(AccountId(1))), [(a, 1, owner), (b, 2, owner), (c, 1, owner)]);
    assert_eq!(list(RoomQuery::Joined(AccountId(2))), [(b, 2, moderator)]);
    assert_eq!(list(RoomQuery::Public(AccountId(1))), [(a, 1, owner), (c, 1, owner)]);
    assert_eq!(list(RoomQuery::Public(AccountId(2))), [(a, 1, none), (c, 1, none)]);
    assert_eq!(list(RoomQuery::Invited(AccountId(2))), [(b, 2, moderator), (c, 1, none)]);
    assert_eq!(list(RoomQuery::Invited(AccountId(1))), []);
    let joined = |account| bench.reader.rooms_joined(AccountId(account)).unwrap();
    assert_eq!((joined(1), joined(2), joined(3), joined(u64::MAX)), (3, 1, 0, 0));
}

fn lists_are_paged_by_id<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let [a, b, c] = three_rooms(bench);
    let one = RoomQuery::Joined(AccountId(1));
    let reader = bench.reader.clone();
    let page = |query, after, limit| -> Vec<RoomId> {
        let rooms = reader.rooms(query, after, limit).unwrap();
        rooms.into_iter().map(|room| room.row.id).collect()
    };
    assert_eq!(page(one, RoomId(0), 2), [a, b]);
    assert_eq!(page(one, b, 2), [c]);
    assert_eq!(page(one, b, usize::MAX), [c]);
    let public = RoomQuery::Public(AccountId(2));
    assert_eq!(page(public, a, 2), [c]);
    assert_eq!(page(RoomQuery::Invited(AccountId(2)), b, 2), [c]);
    for query in [one, public, RoomQuery::Invited(AccountId(2))] {
        assert_eq!(page(query, RoomId(u64::MAX), 2), []);
        assert_eq!(page(query, RoomId(0), 0), []);
    }
    // A draft that adds nothing leaves the lists as they are.
    bench.one(1, draft(a, 2, 9, Proposal::Holds(Seq(1))));
    assert_eq!(page(RoomQuery::Joined(AccountId(2)), RoomId(0), 9), [b]);
}

fn a_list_counts_the_members_there_are<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let (two, three) = (AccountId(2), AccountId(3));
    let join = || Change::Join { role: MEMBER };
    // Who changes what, and how many members there are then. What is asked for may be so already.
    let changes = [
        (2, join(), 2),
        (2, join(), 2),
        (1, Change::Invite { account: three }, 2),
        (1, Change::Kick { account: three }, 2),
        (3, join(), 3),
        (1, Change::Role { account: three, role: RoomRole::MODERATOR }, 3),
        (1, Change::Kick { account: two }, 2),
        (2, Change::Leave, 2),
        (3, Change::Leave, 1),
        (1, Change::Topic { topic: topic("coffee") }, 1),
        (1, Change::Leave, 0),
        (3, join(), 1),
    ];
    let count = |bench: &Bench<L, R>| {
        let listed = bench.reader.rooms(RoomQuery::Public(two), RoomId(0), 9).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].members as usize, bench.record(room).members.len());
        listed[0].members
    };
    assert_eq!(count(bench), 1);
    for (number, (account, change, members)) in (2..).zip(changes) {
        let ask = || control(room, account, number, change.clone());
        // A retry in the same group changes nothing, nor does a message behind it.
        bench.group(1, vec![ask(), ask(), message(room, account, 100 + number, "cup")]);
        assert_eq!(count(bench), members, "{change:?} of {account}");
    }
    bench.group(1, (4..9).map(|account| control(room, account, 1, join())).collect());
    assert_eq!(count(bench), 6);
    bench.one(1, create(new_room("@user-1+user-2", Visibility::DIRECT, &[1, 2]), 1));
    let direct = bench.reader.rooms(RoomQuery::Joined(two), RoomId(0), 9).unwrap();
    assert!(direct.iter().map(|room| room.members).eq([2]));
}

fn the_rooms_of_an_account_are_paged_by_id<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let [a, b, c] = three_rooms(bench);
    let reader = bench.reader.clone();
    let of = |account, after, limit| reader.rooms_of(AccountId(account), after, limit).unwrap();
    assert_eq!((of(1, RoomId(0), 2), of(1, b, 2)), (vec![a, b], vec![c]));
    assert_eq!((of(1, RoomId(0), usize::MAX), of(2, RoomId(0), 9)), (vec![a, b, c], vec![b]));
    for nothing in [of(1, RoomId(0), 0), of(1, RoomId(u64::MAX), 9), of(3, RoomId(0), 9), of(u64::MAX, a, 9)]
    {
        assert_eq!(nothing, []);
    }
    bench.event(1, control(b, 2, 9, Change::Leave));
    assert_eq!(of(2, RoomId(0), 9), []);
}

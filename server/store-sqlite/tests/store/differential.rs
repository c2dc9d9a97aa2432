//! The SQLite stores beside those in memory, under random drafts: every answer and every read must be the same.

use std::cell::{Cell, RefCell};

use hark_core::memory::MemoryStores;
use hark_core::ports::{
    Budget, Change, Draft, LogReader, LogStore, Outcome, Proposal, RoomQuery, Span, StoreError,
};
use hark_core::testkit::drafts::{
    asking, control, create, draft, judged_at, message, new_room, refuse, topic,
};
use hark_protocol::{AccountId, RoomId, RoomName, RoomRole, Seq, UnixMillis, Visibility};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use crate::bench::Bench;

/// Sequences in one run of the tests.
const SEQUENCES: u32 = 400;

const ROOMS: u8 = 3;

#[derive(Clone, Debug)]
enum What {
    Create { visibility: Visibility, refused: bool },
    Direct { other: u64 },
    Message,
    Control(Change),
    Holds(u64),
    Refuse,
}

/// A draft, before it is known which rooms there are.
#[derive(Clone, Debug)]
struct Op {
    what: What,
    room: u8,
    account: u64,
    number: u64,
    request: u64,
    /// How many seqs before the room's last control event it was judged.
    judged_before: u64,
}

#[derive(Clone, Debug)]
struct Group {
    now: u64,
    ops: Vec<Op>,
    reopen: bool,
}

fn change() -> impl Strategy<Value = Change> {
    let account = || (1..4_u64).prop_map(AccountId);
    let role = || (1..4_u8).prop_map(RoomRole);
    prop_oneof![
        role().prop_map(|role| Change::Join { role }),
        Just(Change::Leave),
        account().prop_map(|account| Change::Kick { account }),
        (0..9_u8).prop_map(|number| Change::Topic { topic: topic(&format!("topic {number}")) }),
        (account(), role()).prop_map(|(account, role)| Change::Role { account, role }),
        account().prop_map(|account| Change::Invite { account }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let visibility = prop_oneof![Just(Visibility::PUBLIC), Just(Visibility::PRIVATE)];
    let what = prop_oneof![
        3 => (visibility, prop::bool::weighted(0.2))
            .prop_map(|(visibility, refused)| What::Create { visibility, refused }),
        1 => (1..4_u64).prop_map(|other| What::Direct { other }),
        6 => Just(What::Message),
        4 => change().prop_map(What::Control),
        1 => (0..9_u64).prop_map(What::Holds),
        1 => Just(What::Refuse),
    ];
    let judged_before = prop_oneof![5 => Just(0_u64), 1 => 1..3_u64];
    (what, 0..ROOMS, 1..4_u64, 1..12_u64, prop::bool::weighted(0.1), judged_before).prop_map(
        |(what, room, account, number, other, judged_before)| Op {
            what,
            room,
            account,
            number,
            request: u64::from(other),
            judged_before,
        },
    )
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let group = (0..50_u64, prop::collection::vec(op(), 0..12), prop::bool::weighted(0.02))
        .prop_map(|(now, ops, reopen)| Group { now, ops, reopen });
    prop::collection::vec(group, 1..8)
}

/// Both stores, and the rooms of one sequence.
struct Pair {
    memory: MemoryStores,
    sqlite: Option<Bench>,
}

impl Pair {
    fn sqlite(&mut self) -> &mut Bench {
        self.sqlite.as_mut().expect("invariant: only missing while it is reopened")
    }

    fn reader(&self) -> &impl LogReader {
        &*self.sqlite.as_ref().expect("invariant: only missing while it is reopened").stores.reader
    }

    /// Whether both readers answer alike; the answer.
    fn same<T: PartialEq + std::fmt::Debug>(
        &self,
        read: impl Fn(&dyn LogReader) -> Result<T, StoreError>,
    ) -> Result<T, TestCaseError> {
        let (memory, sqlite) = (read(&*self.memory.reader), read(self.reader()));
        prop_assert_eq!(&memory, &sqlite);
        memory.map_err(|error| TestCaseError::fail(error.to_string()))
    }

    fn draft(&self, op: &Op, case: u64) -> Draft {
        let name = format!("room-{case}-{}", op.room);
        let room = self.memory.reader.room_id(&RoomName::parse(&name).unwrap()).unwrap();
        let room = room.unwrap_or(RoomId(u64::MAX));
        let draft = match &op.what {
            What::Create { visibility, refused } => {
                let mut draft = create(new_room(&name, *visibility, &[op.account]), op.number);
                if *refused {
                    draft.proposal = refuse();
                }
                draft
            }
            // Accounts of a sequence's own, so that its direct rooms are new ones.
            What::Direct { other } => {
                let (one, other) = (case * 10 + op.account, case * 10 + other % 3 + 4);
                let name = RoomName::direct(
                    &hark_core::testkit::drafts::author(one).name,
                    &hark_core::testkit::drafts::author(other).name,
                );
                create(new_room(name.unwrap().as_str(), Visibility::DIRECT, &[one, other]), op.number)
            }
            What::Message => message(room, op.account, op.number, &name),
            What::Control(change) => control(room, op.account, op.number, change.clone()),
            What::Holds(seq) => draft(room, op.account, op.number, Proposal::Holds(Seq(*seq))),
            What::Refuse => draft(room, op.account, op.number, refuse()),
        };
        let control = self.memory.reader.room(room).unwrap().map_or(0, |room| room.row.control.0);
        asking(judged_at(draft, control.saturating_sub(op.judged_before)), op.request)
    }

    fn run(&mut self, groups: &[Group], case: u64) -> Result<(), TestCaseError> {
        for group in groups {
            let drafts: Vec<Draft> = group.ops.iter().map(|op| self.draft(op, case)).collect();
            let now = UnixMillis(case * 100 + group.now);
            let memory = self.memory.log.append(now, drafts.clone()).unwrap();
            let sqlite = self.sqlite().stores.log.append(now, drafts).unwrap();
            prop_assert_eq!(plain(&memory), plain(&sqlite));
            if group.reopen {
                self.sqlite = self.sqlite.take().map(|bench| bench.reopen(|_| {}));
            }
            self.compare(case)?;
        }
        Ok(())
    }

    fn compare(&self, case: u64) -> Result<(), TestCaseError> {
        for room in 0..ROOMS {
            let name = RoomName::parse(&format!("room-{case}-{room}")).unwrap();
            let Some(room) = self.same(|reader| reader.room_id(&name))? else { continue };
            self.same(|reader| reader.room(room))?;
            for span in [Span::From(Seq(2)), Span::Before(Seq(6)), Span::Before(Seq(u64::MAX))] {
                for budget in [Budget { events: 4, bytes: usize::MAX }, Budget { events: 100, bytes: 500 }] {
                    self.same(|reader| reader.read(room, span, budget))?;
                }
            }
            for account in (1..4).map(AccountId) {
                let after = RoomId(room.0 - 1);
                for query in [RoomQuery::Joined, RoomQuery::Invited, RoomQuery::Public] {
                    self.same(|reader| reader.rooms(query(account), after, 3))?;
                }
                self.same(|reader| reader.rooms_of(account, after, 3))?;
                self.same(|reader| reader.rooms_joined(account))?;
            }
        }
        Ok(())
    }
}

/// Everything that an outcome says.
fn plain(outcomes: &[Outcome]) -> Vec<String> {
    let one = |outcome: &Outcome| match outcome {
        Outcome::Appended(appended) => appended
            .iter()
            .map(|event| {
                let frame = event.frame().as_slice();
                format!("{:?} {:?} {:?} {frame:?}", event.position(), event.change(), event.author())
            })
            .collect(),
        other => format!("{other:?}"),
    };
    outcomes.iter().map(one).collect()
}

#[test]
fn sqlite_and_memory_answer_alike() {
    let pair = RefCell::new(Pair { memory: MemoryStores::new(), sqlite: Some(Bench::new()) });
    let case = Cell::new(0);
    let config = Config {
        cases: SEQUENCES,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        ..Config::default()
    };
    let done = TestRunner::new(config).run(&groups(), |groups| {
        case.set(case.get() + 1);
        pair.borrow_mut().run(&groups, case.get())
    });
    if let Err(error) = done {
        panic!("{error}");
    }
}

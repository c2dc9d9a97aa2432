//! A room under random schedules of requests in batches, against the specification written down naively and
//! against what the store makes of the same events.

use std::collections::BTreeMap;

use hark_core::memory::MemoryStores;
use hark_core::ports::{
    Change, Draft, LogReader, LogStore, NewRoom, Outcome, Proposal, RequestHash, RoomRecord, Target,
};
use hark_core::room::{Ask, Room};
use hark_core::{Limits, Refusal};
use hark_protocol::*;
use proptest::prelude::*;

use crate::room_matrix::author;
use crate::samples;

const ACCOUNTS: u64 = 5;
const MEMBERS_MAX: u32 = 4;
const INVITES_MAX: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum Wish {
    Publish(u16),
    Join,
    Leave,
    Invite(u64),
    Kick(u64),
    Topic(u8),
    Role(u64, u8),
    Refused,
}

fn wish() -> impl Strategy<Value = Wish> {
    let whom = || 1..=ACCOUNTS;
    prop_oneof![
        4 => prop_oneof![Just(1_u16), Just(0x4000), Just(0x0101), Just(0x0002)].prop_map(Wish::Publish),
        5 => Just(Wish::Join),
        1 => Just(Wish::Leave),
        4 => whom().prop_map(Wish::Invite),
        2 => whom().prop_map(Wish::Kick),
        2 => (0..2_u8).prop_map(Wish::Topic),
        4 => (whom(), prop_oneof![1..4_u8, Just(0), Just(9)]).prop_map(|(whom, role)| Wish::Role(whom, role)),
        1 => Just(Wish::Refused),
    ]
}

fn ask(wish: Wish) -> Ask {
    match wish {
        Wish::Publish(kind) => Ask::Publish { kind: Kind(kind), body: "hi".into() },
        Wish::Join => Ask::Join { rooms_joined: 0 },
        Wish::Leave => Ask::Leave,
        Wish::Invite(whom) => Ask::Invite { guest: author(whom) },
        Wish::Kick(whom) => Ask::Kick { member: author(whom), reason: Line::default() },
        Wish::Topic(topic) => Ask::SetTopic { topic: topic.to_string().parse().unwrap() },
        Wish::Role(whom, role) => Ask::SetRole { member: author(whom), role: RoomRole(role) },
        Wish::Refused => Ask::Refused(Refusal::Unavailable),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Event,
    /// It holds, at or behind an event that is not newer than this.
    Holds,
    HoldsSince(u64),
    Refused(ErrorCode),
}

/// The room as rooms.md has it.
#[derive(Debug)]
struct Model {
    visibility: Visibility,
    /// Role and join event.
    members: BTreeMap<u64, (u8, u64)>,
    invited: BTreeMap<u64, u64>,
    topic: String,
    head: u64,
}

impl Model {
    fn judge(&self, by: u64, wish: Wish) -> Verdict {
        let role = self.members.get(&by).map(|(role, _)| *role);
        let is_seen = role.is_some()
            || self.visibility == Visibility::PUBLIC
            || (self.visibility == Visibility::PRIVATE && self.invited.contains_key(&by));
        if let Wish::Refused = wish {
            return Verdict::Refused(ErrorCode::UNAVAILABLE);
        }
        if !is_seen {
            return Verdict::Refused(ErrorCode::NOT_FOUND);
        }
        let Some(role) = role else {
            return match wish {
                Wish::Join if self.members.len() < MEMBERS_MAX as usize => Verdict::Event,
                Wish::Join => Verdict::Refused(ErrorCode::LIMIT),
                _ => Verdict::Refused(ErrorCode::NOT_MEMBER),
            };
        };
        let least = match wish {
            Wish::Publish(_) | Wish::Leave | Wish::Join | Wish::Refused => 1,
            Wish::Invite(_) | Wish::Kick(_) | Wish::Topic(_) => 2,
            Wish::Role(..) => 3,
        };
        let is_for_direct = matches!(wish, Wish::Publish(_) | Wish::Join);
        if role < least || (self.visibility == Visibility::DIRECT && !is_for_direct) {
            return Verdict::Refused(ErrorCode::FORBIDDEN);
        }
        self.judge_permitted(by, role, wish)
    }

    fn judge_permitted(&self, by: u64, role: u8, wish: Wish) -> Verdict {
        match wish {
            Wish::Publish(0x0101) => Verdict::Refused(ErrorCode::FORBIDDEN),
            Wish::Publish(0x0002) => Verdict::Refused(ErrorCode::UNSUPPORTED),
            Wish::Publish(_) | Wish::Leave => Verdict::Event,
            Wish::Join => Verdict::HoldsSince(self.members[&by].1),
            Wish::Invite(whom) => match (self.members.get(&whom), self.invited.get(&whom)) {
                (Some((_, since)), _) | (None, Some(since)) => Verdict::HoldsSince(*since),
                _ if self.invited.len() >= INVITES_MAX as usize => Verdict::Refused(ErrorCode::LIMIT),
                _ => Verdict::Event,
            },
            Wish::Kick(whom) => match (self.members.get(&whom), self.invited.get(&whom)) {
                (None, None) => Verdict::Refused(ErrorCode::NOT_FOUND),
                (Some((other, _)), _) if *other >= role => Verdict::Refused(ErrorCode::FORBIDDEN),
                _ => Verdict::Event,
            },
            Wish::Topic(topic) if self.topic == topic.to_string() => Verdict::Holds,
            Wish::Topic(_) => Verdict::Event,
            Wish::Role(_, 0) => Verdict::Refused(ErrorCode::MALFORMED),
            Wish::Role(_, 9) => Verdict::Refused(ErrorCode::UNSUPPORTED),
            Wish::Role(whom, new) => match self.members.get(&whom) {
                None => Verdict::Refused(ErrorCode::NOT_FOUND),
                Some((now, _)) if *now == new => Verdict::Holds,
                Some(_) => Verdict::Event,
            },
            Wish::Refused => Verdict::Refused(ErrorCode::UNAVAILABLE),
        }
    }

    fn carry_out(&mut self, by: u64, wish: Wish) {
        self.head += 1;
        match wish {
            Wish::Publish(_) | Wish::Refused => {}
            Wish::Join => {
                self.invited.remove(&by);
                self.members.insert(by, (1, self.head));
            }
            Wish::Leave => drop(self.members.remove(&by)),
            Wish::Invite(whom) => drop(self.invited.insert(whom, self.head)),
            Wish::Kick(whom) => {
                self.members.remove(&whom);
                self.invited.remove(&whom);
            }
            Wish::Topic(topic) => self.topic = topic.to_string(),
            Wish::Role(whom, role) => self.members.get_mut(&whom).unwrap().0 = role,
        }
    }
}

struct Run {
    stores: MemoryStores,
    room: Room,
    model: Model,
    limits: Limits,
    asked: u64,
}

impl Run {
    fn new(visibility: Visibility, history: HistoryPolicy) -> Run {
        let mut stores = MemoryStores::new();
        let is_direct = visibility == Visibility::DIRECT;
        let roles = if is_direct { vec![1, 1] } else { vec![3] };
        let members = (1..).zip(&roles).map(|(account, role)| (author(account), RoomRole(*role))).collect();
        let name = RoomName::parse("garden").unwrap();
        let topic = Line::default();
        let new = NewRoom { name, visibility, history, topic, epoch: Epoch(7), members };
        let draft = Draft {
            target: Target::Create(new),
            author: author(1),
            client_id: samples::client_id(0),
            request: RequestHash([0; 16]),
            proposal: Proposal::Append { kind: Kind::JOIN, body: "".into(), change: Change::None },
            judged_at: Seq::ZERO,
        };
        stores.log.append(UnixMillis(1), vec![draft]).unwrap();
        let room = Room::load(stores.reader.room(RoomId(1)).unwrap().unwrap());
        let members =
            (1..).zip(roles).map(|(account, role)| (account, (role, account))).collect::<BTreeMap<_, _>>();
        let head = members.len() as u64;
        let model = Model { visibility, members, invited: BTreeMap::new(), topic: String::new(), head };
        let limits =
            Limits { members_per_room_max: MEMBERS_MAX, invites_per_room_max: INVITES_MAX, ..Limits::open() };
        Run { stores, room, model, limits, asked: 0 }
    }

    /// One group as the writer makes it: all judged against the room as it is, stored together, applied, and
    /// what was stale judged again.
    fn group(&mut self, mut wishes: Vec<(u64, Wish)>, tail_bytes_max: usize) {
        while !wishes.is_empty() {
            let drafts = wishes.iter().map(|(by, wish)| self.draft(*by, *wish)).collect();
            let outcomes = self.stores.log.append(UnixMillis(self.asked), drafts).unwrap();
            let mut again = Vec::new();
            for ((by, wish), outcome) in wishes.into_iter().zip(outcomes) {
                self.compare(by, wish, &outcome, &mut again);
                if let Outcome::Appended(events) = &outcome {
                    for event in events {
                        self.room.apply(event, tail_bytes_max);
                        let tail_bytes = self.room.tail().bytes();
                        self.room.apply(event, tail_bytes_max); // what is known already changes nothing
                        assert_eq!(self.room.tail().bytes(), tail_bytes);
                    }
                }
            }
            self.check();
            wishes = again;
        }
    }

    fn draft(&mut self, by: u64, wish: Wish) -> Draft {
        self.asked += 1;
        Draft {
            target: Target::Room(RoomId(1)),
            author: author(by),
            client_id: samples::client_id(self.asked),
            request: RequestHash([1; 16]),
            proposal: self.room.judge(&author(by), &ask(wish), &self.limits),
            judged_at: self.room.judged_at(),
        }
    }

    /// RM-R05: the outcome is what the model says at this place in the log.
    fn compare(&mut self, by: u64, wish: Wish, outcome: &Outcome, again: &mut Vec<(u64, Wish)>) {
        let verdict = self.model.judge(by, wish);
        match outcome {
            Outcome::Stale => again.push((by, wish)),
            Outcome::Appended(events) => {
                assert_eq!(verdict, Verdict::Event, "{by} {wish:?}");
                self.model.carry_out(by, wish);
                let [event] = &events[..] else { panic!("one request, {} events", events.len()) };
                assert_eq!(event.position().seq, Seq(self.model.head), "dense");
            }
            Outcome::Duplicate(position) => match verdict {
                Verdict::Holds => assert!(position.seq >= Seq(1) && position.seq <= Seq(self.model.head)),
                Verdict::HoldsSince(seq) => assert_eq!(position.seq, Seq(seq)),
                other => panic!("{by} {wish:?} holds, and should be {other:?}"),
            },
            Outcome::Refused(refusal) => {
                assert_eq!(verdict, Verdict::Refused(refusal.code()), "{by} {wish:?}");
            }
            Outcome::Conflict => panic!("every client id is new"),
        }
    }

    /// The room is what the model says, and what the store would load.
    fn check(&self) {
        let RoomRecord { row, members, invited } = self.stores.reader.room(RoomId(1)).unwrap().unwrap();
        assert_eq!(*self.room.row(), row);
        assert!(self.room.members_after(AccountId(0)).copied().eq(members.iter().copied()));
        assert_eq!(row.head, Seq(self.model.head));
        assert_eq!(row.topic.as_str(), self.model.topic);
        let roles = members.iter().map(|row| (row.account.0, (row.role.0, row.joined.0)));
        assert!(roles.eq(self.model.members.iter().map(|(account, member)| (*account, *member))));
        let invitations = invited.iter().map(|(account, since)| (account.0, since.0));
        assert!(invitations.eq(self.model.invited.iter().map(|(account, since)| (*account, *since))));
        assert_eq!(self.room.member_count(), members.len());
        for account in 1..=ACCOUNTS {
            self.check_view(account);
        }
        self.check_tail();
    }

    fn check_view(&self, account: u64) {
        let is_visible = self.room.is_visible_to(AccountId(account));
        let code = match self.room.view(AccountId(account)) {
            Ok(view) => {
                let joined = self.model.members[&account].1;
                let is_cut = self.room.row().history == HistoryPolicy::SINCE_JOIN && joined > 1;
                assert!(is_visible);
                assert_eq!(
                    (view.epoch, view.head, view.joined),
                    (Epoch(7), Seq(self.model.head), Seq(joined))
                );
                assert_eq!((view.since_join, view.first), (is_cut, Seq(if is_cut { joined } else { 1 })));
                return;
            }
            Err(refusal) => refusal.code(),
        };
        assert!(!self.model.members.contains_key(&account));
        assert_eq!(code, if is_visible { ErrorCode::NOT_MEMBER } else { ErrorCode::NOT_FOUND });
        let may_know = match self.model.visibility {
            Visibility::PUBLIC => true,
            Visibility::PRIVATE => self.model.invited.contains_key(&account),
            _ => false,
        };
        assert_eq!(is_visible, may_know);
    }

    /// The tail is the end of the log, without holes, whatever it holds.
    fn check_tail(&self) {
        let (head, tail) = (self.room.head(), self.room.tail());
        let oldest = (1..=head.0).map(Seq).find(|seq| tail.from(*seq).is_some());
        let Some(events) = oldest.and_then(|seq| tail.from(seq)) else { return };
        let mut next = oldest.unwrap();
        for (seq, event) in events {
            let raw = RawFrame::from_stored(event.frame.to_bytes()).unwrap();
            let Frame::Event(stored) = Frame::decode(&raw).unwrap() else { panic!("not an EVENT") };
            assert_eq!((seq, stored.seq), (next, next));
            next = next.next();
        }
        assert_eq!(next, head.next());
    }
}

proptest! {
    #![proptest_config(crate::schedules(10_000))]

    #[test]
    fn a_room_does_what_the_specification_says(
        kind in 0..3_usize,
        since_join in any::<bool>(),
        groups in prop::collection::vec(prop::collection::vec((1..=ACCOUNTS, wish()), 1..5), 0..30),
        tail_bytes_max in prop_oneof![Just(0_usize), 100..1_000_usize],
    ) {
        let visibility = [Visibility::PUBLIC, Visibility::PRIVATE, Visibility::DIRECT][kind];
        let history = if since_join { HistoryPolicy::SINCE_JOIN } else { HistoryPolicy::ALL };
        let mut run = Run::new(visibility, history);
        groups.into_iter().for_each(|group| run.group(group, tail_bytes_max));
    }
}

//! What a log store and its readers promise: identity before judgement, dense seqs, and all of it at once.

use std::sync::Arc;

use hark_protocol::limits::BODY_BYTES_MAX;
use hark_protocol::{
    Epoch, Event, JoinBody, Kind, Payload, RawFrame, RoomId, RoomRole, Seq, UnixMillis, Visibility, Wire,
};

use super::drafts::{
    asking, author, client, control, create, draft, judged_at, message, new_room, refuse, topic,
};
use super::{log_reads, log_retention, log_rooms};
use crate::Refusal;
use crate::ports::{
    Appended, Budget, Change, Draft, LogReader, LogStore, Outcome, Position, Proposal, RoomRecord, Span,
    Stored,
};

/// A store under test.
pub(super) struct Bench<L, R> {
    pub(super) log: L,
    pub(super) reader: Arc<R>,
}

type Case<L, R> = fn(&mut Bench<L, R>);

/// Runs the whole contract of [`LogStore`] and [`LogReader`].
pub fn suite<L: LogStore, R: LogReader, G>(make: impl Fn() -> (L, Arc<R>, G)) {
    let cases: &[Case<L, R>] = &[
        an_empty_group_changes_nothing,
        a_room_begins_with_its_joins,
        seqs_are_dense_and_time_never_runs_back,
        a_retry_is_a_duplicate_whatever_has_changed_since,
        the_same_identity_with_another_request_is_a_conflict,
        an_identity_belongs_to_a_room_and_an_author,
        a_newer_control_event_makes_a_draft_stale,
        what_holds_is_a_duplicate_of_that_event,
        a_refused_draft_uses_no_seq,
        a_body_that_the_wire_can_not_carry_is_refused,
        a_room_that_is_not_there_is_not_found,
        earlier_drafts_of_the_group_count,
        a_taken_name_is_looked_up_in_its_room,
        a_refused_room_is_not_made,
        a_direct_room_is_opened_once,
    ];
    let all = cases.iter().chain(log_rooms::cases()).chain(log_reads::cases()).chain(log_retention::cases());
    for case in all {
        let (log, reader, _keep) = make();
        case(&mut Bench { log, reader });
    }
}

impl<L: LogStore, R: LogReader> Bench<L, R> {
    /// Appends a group at this time.
    pub(super) fn group(&mut self, now: u64, drafts: Vec<Draft>) -> Vec<Outcome> {
        let count = drafts.len();
        let outcomes = self.log.append(UnixMillis(now), drafts).unwrap();
        assert_eq!(outcomes.len(), count, "one outcome for each draft");
        outcomes
    }

    /// Appends one draft.
    pub(super) fn one(&mut self, now: u64, draft: Draft) -> Outcome {
        self.group(now, vec![draft]).remove(0)
    }

    /// Appends one draft that becomes one event.
    pub(super) fn event(&mut self, now: u64, draft: Draft) -> Position {
        let appended = appended(&self.one(now, draft));
        assert_eq!(appended.len(), 1);
        appended[0].position()
    }

    /// Makes a public room that belongs to account 1. Its join is at 1,000.
    pub(super) fn tea(&mut self) -> RoomId {
        self.event(1_000, create(new_room("tea", Visibility::PUBLIC, &[1]), 1)).room
    }

    pub(super) fn record(&self, room: RoomId) -> RoomRecord {
        self.reader.room(room).unwrap().unwrap()
    }

    pub(super) fn head(&self, room: RoomId) -> u64 {
        self.record(room).row.head.0
    }

    /// Every event of a room.
    pub(super) fn all(&self, room: RoomId) -> Vec<Event> {
        let budget = Budget { events: usize::MAX, bytes: usize::MAX };
        let stored = self.reader.read(room, Span::From(Seq::ZERO), budget).unwrap();
        stored.iter().map(event).collect()
    }
}

/// The events that a draft became.
pub(super) fn appended(outcome: &Outcome) -> Vec<Appended> {
    match outcome {
        Outcome::Appended(appended) => appended.clone(),
        other => panic!("not appended: {other:?}"),
    }
}

/// The event in a stored record.
pub(super) fn event(stored: &Stored) -> Event {
    let Stored::Event { seq, frame } = stored else { panic!("damaged: {stored:?}") };
    let event = Event::decode(RawFrame::from_stored(frame.to_bytes()).unwrap().payload()).unwrap();
    assert_eq!(event.seq, *seq);
    event
}

fn duplicate(outcome: &Outcome) -> Position {
    match outcome {
        Outcome::Duplicate(position) => *position,
        other => panic!("not a duplicate: {other:?}"),
    }
}

fn refusal(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn an_empty_group_changes_nothing<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    assert!(bench.group(1, vec![]).is_empty());
    assert!(bench.reader.room(RoomId(1)).unwrap().is_none());
}

fn a_room_begins_with_its_joins<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let mut new = new_room("tea", Visibility::PRIVATE, &[7, 8]);
    new.members[1].1 = RoomRole::MEMBER;
    let joins = appended(&bench.one(5_000, create(new.clone(), 3)));
    let room = joins[0].position().room;
    for (join, (seq, (who, role))) in joins.iter().zip((1..).zip(&new.members)) {
        let position = Position { room, epoch: new.epoch, seq: Seq(seq), time: UnixMillis(5_000) };
        assert_eq!(join.position(), position);
        assert_eq!((join.author(), join.change()), (who, &Change::Join { role: *role }));
    }
    let events = bench.all(room);
    assert_eq!(events.len(), 2);
    for (event, (who, role)) in events.into_iter().zip(&new.members) {
        let body = JoinBody::take(&mut hark_protocol::Reader::new(event.body.clone().into_bytes())).unwrap();
        assert_eq!((event.kind, event.client_id, body.role), (Kind::JOIN, client(3), *role));
        assert_eq!((event.author, event.author_name), (who.account, who.name.clone()));
    }
    let row = bench.record(room).row;
    assert_eq!((row.name, row.visibility, row.history), (new.name, new.visibility, new.history));
    assert_eq!((row.topic, row.epoch), (new.topic, new.epoch));
    assert_eq!((row.first, row.head, row.control, row.time), (Seq(1), Seq(2), Seq(2), UnixMillis(5_000)));
}

fn seqs_are_dense_and_time_never_runs_back<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let clock = [(1_001, 1_001), (900, 1_001), (1_000, 1_001), (1_002, 1_002), (3, 1_002)];
    for (number, (now, time)) in (2..).zip(clock) {
        let position = bench.event(now, message(room, 1, number, "cup"));
        assert_eq!((position.seq, position.time), (Seq(number), UnixMillis(time)));
    }
    let row = bench.record(room).row;
    assert_eq!((row.head, row.time, row.control), (Seq(6), UnixMillis(1_002), Seq(1)));
    let events = bench.all(room);
    assert!(events.iter().map(|event| event.seq).eq((1..=6).map(Seq)));
    assert!(events.is_sorted_by_key(|event| event.time));
}

fn a_retry_is_a_duplicate_whatever_has_changed_since<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let first = bench.event(2_000, message(room, 1, 2, "cup"));
    bench.event(3_000, control(room, 1, 3, Change::Topic { topic: topic("coffee") }));
    bench.event(4_000, control(room, 1, 4, Change::Leave));
    let retries = [
        message(room, 1, 2, "cup"),
        judged_at(message(room, 1, 2, "cup"), 0),
        draft(room, 1, 2, refuse()),
        judged_at(draft(room, 1, 2, refuse()), 0),
        draft(room, 1, 2, Proposal::Holds(Seq(1))),
        message(room, 1, 2, "what it says now is not compared, its request is"),
    ];
    for outcome in bench.group(5_000, retries.into()) {
        assert_eq!(duplicate(&outcome), first);
    }
    assert_eq!(bench.head(room), 4);
}

fn the_same_identity_with_another_request_is_a_conflict<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    bench.event(2_000, message(room, 1, 2, "cup"));
    let before = bench.record(room);
    for conflict in [
        asking(message(room, 1, 2, "pot"), 1),
        asking(judged_at(message(room, 1, 2, "pot"), 0), 1),
        asking(draft(room, 1, 2, refuse()), 1),
        asking(draft(room, 1, 2, Proposal::Holds(Seq(1))), 1),
        asking(control(room, 1, 1, Change::Leave), 1),
    ] {
        assert!(matches!(bench.one(3_000, conflict), Outcome::Conflict));
    }
    assert_eq!(bench.record(room), before);
}

fn an_identity_belongs_to_a_room_and_an_author<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let tea = bench.tea();
    let coffee = bench.event(1_000, create(new_room("coffee", Visibility::PUBLIC, &[1]), 9)).room;
    bench.event(2_000, message(tea, 1, 2, "cup"));
    assert_eq!(bench.event(2_000, message(coffee, 1, 2, "cup")).seq, Seq(2));
    assert_eq!(bench.event(2_000, asking(message(tea, 2, 2, "cup"), 5)).seq, Seq(3));
}

fn a_newer_control_event_makes_a_draft_stale<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    bench.event(2_000, message(room, 1, 2, "a message is not a control event"));
    assert_eq!(bench.event(2_000, judged_at(message(room, 1, 3, "cup"), 1)).seq, Seq(3));
    bench.event(2_000, judged_at(control(room, 1, 4, Change::Topic { topic: topic("x") }), 1));
    let before = bench.record(room);
    for stale in [
        message(room, 1, 5, "cup"),
        control(room, 1, 5, Change::Leave),
        draft(room, 1, 5, refuse()),
        draft(room, 1, 5, Proposal::Holds(Seq(1))),
    ] {
        assert!(matches!(bench.one(3_000, judged_at(stale, 3)), Outcome::Stale));
    }
    assert_eq!(bench.record(room), before);
    assert_eq!(bench.event(3_000, judged_at(message(room, 1, 5, "cup"), 4)).seq, Seq(5));
}

fn what_holds_is_a_duplicate_of_that_event<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    bench.event(2_000, message(room, 1, 2, "cup"));
    let held = bench.event(3_000, control(room, 2, 3, Change::Join { role: RoomRole::MEMBER }));
    bench.event(4_000, message(room, 2, 4, "hello"));
    assert_eq!(duplicate(&bench.one(5_000, draft(room, 2, 5, Proposal::Holds(held.seq)))), held);
    assert_eq!(bench.head(room), 4);
    // The identity of what held was not stored: it may still become an event.
    assert_eq!(bench.event(5_000, message(room, 2, 5, "hello")).seq, Seq(5));
}

fn a_refused_draft_uses_no_seq<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    assert_eq!(refusal(bench.one(2_000, draft(room, 2, 2, refuse()))), Refusal::NotMember);
    assert_eq!(bench.event(2_000, message(room, 2, 2, "the identity is free")).seq, Seq(2));
}

fn a_body_that_the_wire_can_not_carry_is_refused<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let (largest, too_large) = ("x".repeat(BODY_BYTES_MAX), "x".repeat(BODY_BYTES_MAX + 1));
    let outcomes = bench.group(2_000, vec![message(room, 1, 2, &too_large), message(room, 1, 3, &largest)]);
    assert!(matches!(&outcomes[0], Outcome::Refused(Refusal::TooLarge { .. })));
    assert_eq!(appended(&outcomes[1])[0].position().seq, Seq(2));
    assert_eq!(bench.event(2_000, message(room, 1, 2, "shorter")).seq, Seq(3));
}

fn a_room_that_is_not_there_is_not_found<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    for room in [RoomId(0), RoomId(77), RoomId(u64::MAX)] {
        for proposal in [refuse(), Proposal::Holds(Seq(1))] {
            assert_eq!(
                refusal(bench.one(1, draft(room, 1, 1, proposal))).code(),
                hark_protocol::ErrorCode::NOT_FOUND
            );
        }
        let outcome = bench.one(1, judged_at(message(room, 1, 1, "cup"), 0));
        assert_eq!(refusal(outcome).code(), hark_protocol::ErrorCode::NOT_FOUND);
        assert!(bench.reader.room(room).unwrap().is_none());
    }
}

fn earlier_drafts_of_the_group_count<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let room = bench.tea();
    let outcomes = bench.group(
        2_000,
        vec![
            judged_at(message(room, 1, 2, "cup"), 1),
            judged_at(message(room, 1, 2, "cup"), 1),
            judged_at(asking(message(room, 1, 2, "pot"), 1), 1),
            judged_at(control(room, 2, 3, Change::Join { role: RoomRole::MEMBER }), 1),
            judged_at(message(room, 2, 4, "hello"), 1),
            judged_at(message(room, 2, 4, "hello"), 3),
            draft(room, 2, 5, Proposal::Holds(Seq(3))),
            judged_at(message(room, 1, 2, "cup"), 1),
        ],
    );
    let at = |seq, time| Position { room, epoch: Epoch(u64::MAX - 7), seq: Seq(seq), time: UnixMillis(time) };
    assert_eq!(appended(&outcomes[0])[0].position(), at(2, 2_000));
    assert_eq!(duplicate(&outcomes[1]), at(2, 2_000));
    assert!(matches!(outcomes[2], Outcome::Conflict));
    assert_eq!(appended(&outcomes[3])[0].position(), at(3, 2_000));
    assert!(matches!(outcomes[4], Outcome::Stale));
    assert_eq!(appended(&outcomes[5])[0].position(), at(4, 2_000));
    assert_eq!(duplicate(&outcomes[6]), at(3, 2_000));
    assert_eq!(duplicate(&outcomes[7]), at(2, 2_000));
    assert_eq!(bench.all(room).len(), 4);
}

fn a_taken_name_is_looked_up_in_its_room<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let made = || create(new_room("tea", Visibility::PUBLIC, &[1]), 1);
    let outcomes = bench.group(1_000, vec![made(), made()]);
    let first = appended(&outcomes[0])[0].position();
    assert_eq!(duplicate(&outcomes[1]), first);
    let message = bench.event(2_000, message(first.room, 1, 2, "cup"));
    let again = |account, number| create(new_room("tea", Visibility::PRIVATE, &[account]), number);
    assert_eq!(duplicate(&bench.one(3_000, again(1, 1))), first);
    assert_eq!(duplicate(&bench.one(3_000, again(1, 2))), message);
    assert!(matches!(bench.one(3_000, asking(again(1, 1), 1)), Outcome::Conflict));
    assert_eq!(refusal(bench.one(3_000, again(1, 3))), Refusal::NameTaken);
    assert_eq!(refusal(bench.one(3_000, again(2, 1))), Refusal::NameTaken);
    assert_eq!(bench.record(first.room).row.visibility, Visibility::PUBLIC);
    assert_eq!(bench.head(first.room), 2);
}

fn a_refused_room_is_not_made<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let mut refused = create(new_room("tea", Visibility::PUBLIC, &[1]), 1);
    refused.proposal = refuse();
    assert_eq!(refusal(bench.one(1_000, refused.clone())), Refusal::NotMember);
    let tea = new_room("tea", Visibility::PUBLIC, &[1]);
    assert_eq!(bench.reader.room_id(&tea.name).unwrap(), None);
    let made = bench.event(1_000, create(tea.clone(), 1));
    // What is stored wins over the judgement here too.
    assert_eq!(duplicate(&bench.one(1_000, refused)), made);
    assert_eq!(bench.reader.room_id(&tea.name).unwrap(), Some(made.room));
}

fn a_direct_room_is_opened_once<L: LogStore, R: LogReader>(bench: &mut Bench<L, R>) {
    let open =
        |members: &[u64], number| create(new_room("@user-1+user-2", Visibility::DIRECT, members), number);
    let outcomes = bench.group(1_000, vec![open(&[2, 1], 1), open(&[1, 2], 1)]);
    let joins = appended(&outcomes[0]);
    assert_eq!((joins.len(), joins[0].author(), joins[1].author()), (2, &author(2), &author(1)));
    assert_eq!(duplicate(&outcomes[1]), joins[1].position());
    for number in [1, 2] {
        assert_eq!(duplicate(&bench.one(2_000, open(&[2, 1], number))), joins[0].position());
        assert_eq!(duplicate(&bench.one(2_000, asking(open(&[1, 2], number), 9))), joins[1].position());
    }
    // An identity stands for one event only, whoever asked for it.
    let room = joins[0].position().room;
    assert_eq!(duplicate(&bench.one(2_000, message(room, 1, 1, "cup"))), joins[1].position());
    assert_eq!(bench.head(room), 2);
}

//! The scribe under pipelines that are refused in every way there is.

use hark_core::memory::{MemoryFaults, MemoryStores};
use hark_core::pipeline::Place;
use hark_core::ports::{Author, NewRoom, RequestHash};
use hark_protocol::{
    AccountId, AccountName, ClientId, Correlation, Epoch, ErrorCode, Event, HistoryPolicy, Kind, LimitId,
    Line, Payload, RawFrame, Retention, RoomName, RoomRole, Seq, UnixMillis, Visibility,
};

use super::*;
use crate::clock::SystemClock;
use crate::link::{Answer, Link};
use crate::writer::InOrder;

struct Bench {
    scribe: Scribe,
    faults: MemoryFaults,
    entry: Arc<RoomEntry>,
    link: Arc<Link>,
    correlation: u32,
}

fn author() -> Author {
    Author { account: AccountId(1), name: AccountName::parse("ann").unwrap() }
}

fn id(number: usize) -> ClientId {
    let mut bytes = [0xc1; 16];
    bytes[8..].copy_from_slice(&(number as u64).to_be_bytes());
    ClientId::new(bytes).unwrap()
}

fn rate() -> Refusal {
    Refusal::Rate { limit: LimitId::PUBLISH_RATE, value: 1, retry_after_ms: 1 }
}

fn full() -> StoreError {
    StoreError::Unavailable("full".into())
}

impl Bench {
    /// A room of one member, and the connection of that member.
    fn new() -> Bench {
        let mut stores = MemoryStores::new();
        let room = NewRoom {
            name: RoomName::parse("tea").unwrap(),
            visibility: Visibility::PUBLIC,
            history: HistoryPolicy::ALL,
            topic: Line::default(),
            epoch: Epoch(1),
            members: vec![(author(), RoomRole::OWNER)],
        };
        let draft = Draft {
            target: Target::Create(room),
            author: author(),
            client_id: id(9_999),
            request: RequestHash([0; 16]),
            proposal: joins(),
            judged_at: Seq::ZERO,
        };
        let Outcome::Appended(made) = stores.log.append(UnixMillis(1), vec![draft]).unwrap().remove(0) else {
            panic!("no room")
        };
        let record = stores.reader.room(made[0].position().room).unwrap().unwrap();
        let scribe = Scribe {
            log: Box::new(stores.log),
            reader: stores.reader,
            limits: Arc::new(Limits::open()),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::new()),
            tails: Arc::new(TailBudget::new(1 << 20)),
            tending: Tending::new(Retention::default(), Box::new(|_| None)),
            backlog: VecDeque::new(),
        };
        let entry = Arc::new(RoomEntry::new(Room::load(record)));
        Bench { scribe, faults: stores.faults, entry, link: Arc::default(), correlation: 0 }
    }

    fn publish(&mut self, number: usize, abandons: bool, refusal: Option<Refusal>) -> Job {
        self.correlation += 1;
        let ask = Ask::Publish { kind: Kind::MESSAGE, body: Bytes::from(number.to_string()) };
        let room = self.entry.id();
        Job {
            link: Arc::clone(&self.link),
            correlation: Correlation(self.correlation),
            author: author(),
            client_id: id(number),
            request: RequestHash([u8::try_from(number % 256).unwrap(); 16]),
            goal: Goal::Room(Arc::clone(&self.entry), refusal.map_or(ask, Ask::Refused)),
            publish: Some(InOrder { room, abandons, place: None }),
        }
    }

    /// Writes until nothing is left over.
    fn write(&mut self, jobs: Vec<Job>) {
        let written = self.scribe.write(jobs);
        self.scribe.announce(written).unwrap();
        while self.scribe.has_backlog() {
            let written = self.scribe.write(Vec::new());
            self.scribe.announce(written).unwrap();
        }
    }

    /// What was answered, in order: seqs, or codes.
    fn answers(&self) -> Vec<Result<(u64, bool), ErrorCode>> {
        let answers = self.link.take().answers.into_iter();
        answers
            .map(|answer| match answer {
                Answer::Decided(_, Decision::Stored(position)) => Ok((position.seq.0, false)),
                Answer::Decided(_, Decision::Duplicate(position)) => Ok((position.seq.0, true)),
                Answer::Decided(_, Decision::Refused(refusal)) => Err(refusal.code()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// The client ids of the room's messages.
    fn log(&self) -> Vec<ClientId> {
        let budget = hark_core::ports::Budget { events: 10_000, bytes: usize::MAX };
        let span = hark_core::ports::Span::From(Seq(2));
        let stored = self.scribe.reader.read(self.entry.id(), span, budget).unwrap();
        stored
            .into_iter()
            .map(|one| match one {
                hark_core::ports::Stored::Event { frame, .. } => {
                    let raw = RawFrame::from_stored(frame.to_bytes()).unwrap();
                    Event::decode(raw.payload()).unwrap().client_id
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn those_behind_a_refused_publish_in_one_batch_are_refused_too() {
    let mut bench = Bench::new();
    let jobs = vec![
        bench.publish(1, false, None),
        bench.publish(2, false, Some(rate())),
        bench.publish(3, false, None),
        bench.publish(4, false, Some(rate())),
        bench.publish(2, false, None),
        bench.publish(3, false, None),
    ];
    bench.write(jobs);
    let [behind, too_fast] = [ErrorCode::PREDECESSOR_REFUSED, ErrorCode::RATE];
    let expected = [Ok((2, false)), Err(too_fast), Err(behind), Err(behind), Ok((3, false)), Ok((4, false))];
    assert_eq!(bench.answers(), expected);
}

#[test]
fn a_retry_of_what_is_stored_is_answered_while_another_is_waited_for_and_ends_no_waiting() {
    let mut bench = Bench::new();
    let jobs = vec![bench.publish(1, false, None), bench.publish(2, false, Some(rate()))];
    bench.write(jobs);
    let jobs = vec![
        bench.publish(1, false, None),
        bench.publish(1, false, Some(rate())),
        bench.publish(3, false, None),
        bench.publish(3, true, None),
        bench.publish(4, false, None),
    ];
    bench.write(jobs);
    let behind = Err(ErrorCode::PREDECESSOR_REFUSED);
    let stored = |seq| Ok((seq, false));
    let twice = Ok((2, true));
    let expected = [stored(2), Err(ErrorCode::RATE), twice, twice, behind, stored(3), stored(4)];
    assert_eq!(bench.answers(), expected);
}

#[test]
fn a_retry_that_comes_too_fast_and_is_stored_holds_nobody_up() {
    let mut bench = Bench::new();
    let jobs = vec![
        bench.publish(1, false, None),
        bench.publish(1, false, Some(rate())),
        bench.publish(2, false, None),
    ];
    bench.write(jobs);
    assert_eq!(bench.answers(), [Ok((2, false)), Ok((2, true)), Ok((3, false))]);
}

#[test]
fn of_a_batch_that_fails_the_first_is_waited_for() {
    let mut bench = Bench::new();
    bench.faults.fail_next_append(full());
    let jobs: Vec<Job> = (1..=3).map(|number| bench.publish(number, false, None)).collect();
    bench.write(jobs);
    let behind = Err(ErrorCode::PREDECESSOR_REFUSED);
    assert_eq!(bench.answers(), [Err(ErrorCode::UNAVAILABLE), behind, behind]);
    let again = [3, 1, 2, 3].map(|number| bench.publish(number, false, None));
    bench.write(again.into());
    assert_eq!(bench.answers(), [behind, Ok((2, false)), Ok((3, false)), Ok((4, false))]);
}

#[test]
fn after_damage_each_of_a_batch_is_written_by_itself_and_order_is_kept() {
    let mut bench = Bench::new();
    bench.faults.fail_next_append(StoreError::Damaged("a page".into()));
    let jobs: Vec<Job> = (1..=4).map(|number| bench.publish(number, false, None)).collect();
    bench.write(jobs);
    let stored: Vec<_> = (2..=5).map(|seq| Ok((seq, false))).collect();
    assert_eq!(bench.answers(), stored, "what has nothing to do with the damage is stored");
    assert_eq!(bench.log(), [1, 2, 3, 4].map(id));

    let one = bench.publish(5, false, None);
    bench.faults.fail_next_append(StoreError::Damaged("its page".into()));
    bench.write(vec![one]);
    assert_eq!(bench.answers(), [Err(ErrorCode::INTERNAL)]);
}

#[test]
fn a_stranger_who_is_too_fast_is_not_told_to_come_again() {
    let mut bench = Bench::new();
    let stranger = Author { account: AccountId(7), name: AccountName::parse("eve").unwrap() };
    let job = Job { author: stranger, ..bench.publish(1, false, Some(rate())) };
    bench.write(vec![job]);
    assert_eq!(bench.answers(), [Err(ErrorCode::NOT_MEMBER)]);
}

/// A small generator, so that a failing seed can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn whatever_is_refused_and_sent_again_is_stored_once_and_in_order() {
    const MESSAGES: usize = 40;
    let (mut refused, mut behind, mut duplicates) = (0, 0, 0);
    for seed in 1..=400_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bench = Bench::new();
        let mut is_acked = [false; MESSAGES];
        for _round in 0..10_000 {
            // All that has no acknowledgement, in order, in batches; now and then also what has one.
            let due: Vec<usize> =
                (0..MESSAGES).filter(|at| !is_acked[*at] || dice.roll(12) == 0).take(12).collect();
            if is_acked.iter().all(|acked| *acked) {
                break;
            }
            let mut jobs = VecDeque::new();
            for at in &due {
                let refusal = (dice.roll(10) == 0).then(rate);
                jobs.push_back(bench.publish(*at, false, refusal));
            }
            while !jobs.is_empty() {
                match dice.roll(8) {
                    0 => bench.faults.fail_next_append(full()),
                    1 => bench.faults.fail_next_append(StoreError::Damaged("a page".into())),
                    _ => {}
                }
                let count = (dice.roll(6) as usize + 1).min(jobs.len());
                bench.write(jobs.drain(..count).collect());
            }
            for (at, answer) in due.iter().zip(bench.answers()) {
                match answer {
                    Ok((_, is_duplicate)) => {
                        duplicates += usize::from(is_duplicate);
                        is_acked[*at] = true;
                    }
                    Err(code) => {
                        assert!(code.is_retryable(), "seed {seed}: {code}");
                        refused += 1;
                        behind += usize::from(code == ErrorCode::PREDECESSOR_REFUSED);
                    }
                }
            }
        }
        let expected: Vec<ClientId> = (0..MESSAGES).map(id).collect();
        assert_eq!(bench.log(), expected, "seed {seed}");
    }
    assert!(refused > 1_000 && behind > 1_000 && duplicates > 100, "{refused} {behind} {duplicates}");
}

#[test]
fn a_job_enters_its_pipeline_once() {
    let mut bench = Bench::new();
    let mut waiting = bench.publish(1, false, None);
    assert_eq!(waiting.refused(rate()), rate());
    let (mut second, mut again) = (bench.publish(2, false, None), bench.publish(1, false, None));
    assert_eq!((second.place(), again.place(), second.place()), (Place::Behind, Place::Free, Place::Behind));
}

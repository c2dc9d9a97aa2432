//! Pipelined publishes under random refusals: whatever is refused, and however the client goes on, what is stored
//! is in the order in which it was first sent.

use std::collections::VecDeque;

use hark_core::Refusal;
use hark_core::pipeline::{Pipeline, Place};
use hark_protocol::{ClientId, RoomId};
use proptest::prelude::*;

const ROOM: RoomId = RoomId(7);
const MESSAGES: usize = 12;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The client sends the next message, if it waits for nothing.
    Send,
    /// The writer takes so many of those that wait as one batch, with one fate for each, and for the batch.
    Write { count: usize, refused: u16, is_lost: bool },
    /// The client reads so many answers.
    Read(usize),
    /// The client gives up what was refused first.
    GiveUp,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        3 => (1..6_usize, any::<u16>(), prop::bool::weighted(0.2))
            .prop_map(|(count, refused, is_lost)| Step::Write { count, refused, is_lost }),
        3 => (1..5_usize).prop_map(Step::Read),
        1 => Just(Step::GiveUp),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unsent,
    OnTheWay,
    Refused,
    Stored,
    GivenUp,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    message: usize,
    abandons: bool,
}

/// A client by the rules of log.md: when something is refused it waits for the answers to what it has sent, and
/// then sends again, in their order, what it has not given up.
#[derive(Debug)]
struct Client {
    fates: Vec<Fate>,
    answers_due: usize,
    gives_up: bool,
}

impl Client {
    fn has_refused(&self) -> bool {
        self.fates.contains(&Fate::Refused)
    }

    fn next(&mut self) -> Option<Sent> {
        if self.has_refused() && self.answers_due > 0 {
            return None;
        }
        let wanted = if self.has_refused() { Fate::Refused } else { Fate::Unsent };
        let message = self.fates.iter().position(|fate| *fate == wanted)?;
        self.fates[message] = Fate::OnTheWay;
        Some(Sent { message, abandons: std::mem::take(&mut self.gives_up) })
    }
}

/// What was run, for the claim that it was not for nothing.
#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    behind: usize,
}

#[derive(Debug)]
struct World {
    client: Client,
    pipeline: Pipeline,
    queue: VecDeque<Sent>,
    answers: VecDeque<(usize, Result<(), Refusal>)>,
    log: Vec<usize>,
    seen: Seen,
}

impl World {
    fn new() -> World {
        World {
            client: Client { fates: vec![Fate::Unsent; MESSAGES], answers_due: 0, gives_up: false },
            pipeline: Pipeline::default(),
            queue: VecDeque::new(),
            answers: VecDeque::new(),
            log: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Send => {
                // What is sent again is sent all at once; new messages come one by one.
                let again = self.client.has_refused();
                while let Some(sent) = self.client.next() {
                    self.queue.push_back(sent);
                    if !again || !self.client.has_refused() {
                        break;
                    }
                }
                self.client.answers_due = self.queue.len() + self.answers.len();
            }
            Step::Write { count, refused, is_lost } => self.write(count, refused, is_lost),
            Step::Read(count) => {
                for _ in 0..count {
                    let Some((message, answer)) = self.answers.pop_front() else { break };
                    self.client.answers_due -= 1;
                    self.client.fates[message] = match answer {
                        Ok(()) => Fate::Stored,
                        Err(_) => Fate::Refused,
                    };
                }
            }
            Step::GiveUp if self.client.answers_due == 0 => {
                let first = self.client.fates.iter().position(|fate| *fate == Fate::Refused);
                if let Some(message) = first {
                    self.client.fates[message] = Fate::GivenUp;
                    self.client.gives_up = true;
                }
            }
            Step::GiveUp => {}
        }
    }

    /// What the writer does with a batch: all enter, then the store answers for all of them or for none.
    fn write(&mut self, count: usize, refused: u16, is_lost: bool) {
        let mut batch = Vec::new();
        for number in 0..count.min(self.queue.len()) {
            let sent = self.queue.pop_front().unwrap();
            let place = self.pipeline.enter(ROOM, id(sent.message), sent.abandons);
            let is_refused = refused & 1 << number != 0;
            batch.push((sent.message, place, is_refused));
            // Whether it is refused, or was stored before, only the store knows: those behind it wait for that.
            if place == Place::Free && is_refused {
                break;
            }
        }
        for (message, place, is_refused) in batch {
            let is_stored = self.log.contains(&message);
            let answer = match place {
                _ if is_stored && !is_lost => Ok(()),
                Place::Behind => Err(Refusal::PredecessorRefused),
                Place::Free if is_refused || is_lost => {
                    Err(self.pipeline.refused(ROOM, id(message), Refusal::Unavailable))
                }
                Place::Free => {
                    self.log.push(message);
                    Ok(())
                }
            };
            self.seen.refused += usize::from(answer.is_err());
            self.seen.behind += usize::from(answer == Err(Refusal::PredecessorRefused));
            self.answers.push_back((message, answer));
        }
    }

    /// Everything goes well from here on.
    fn finish(&mut self) {
        for _ in 0..8 * MESSAGES {
            self.run(Step::Send);
            self.run(Step::Write { count: MESSAGES, refused: 0, is_lost: false });
            self.run(Step::Read(MESSAGES));
        }
    }
}

fn id(message: usize) -> ClientId {
    ClientId::new([u8::try_from(message).unwrap() + 1; 16]).unwrap()
}

proptest! {
    #![proptest_config(crate::schedules(4_000))]

    #[test]
    fn what_is_stored_is_in_the_order_in_which_it_was_sent(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            prop_assert!(world.log.is_sorted(), "{:?}", world.log);
        }
        world.finish();
        prop_assert!(world.log.is_sorted(), "{:?}", world.log);
        let wanted: Vec<usize> = (0..MESSAGES)
            .filter(|message| world.client.fates[*message] != Fate::GivenUp || world.log.contains(message))
            .collect();
        prop_assert_eq!(&world.log, &wanted, "{:?}", world);
    }
}

#[test]
fn schedules_meet_refusals_and_those_behind_them() {
    let mut world = World::new();
    for _ in 0..4 {
        world.run(Step::Send);
    }
    world.run(Step::Write { count: 4, refused: 0b10, is_lost: false });
    world.run(Step::Write { count: 4, refused: 0, is_lost: false });
    world.run(Step::Read(4));
    assert_eq!((world.seen.refused, world.seen.behind, world.log.len()), (3, 2, 1));
    world.finish();
    assert_eq!(world.log.len(), MESSAGES);
}

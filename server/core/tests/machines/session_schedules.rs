//! A session under random schedules of frames, answers, refusals, cancels and rooms that move: every request
//! has exactly one final answer, and every PONG stands behind what was asked for before its PING.

use std::collections::BTreeMap;

use hark_core::outstanding::Progress;
use hark_core::session::{Session, Step};
use hark_core::{Limits, Refusal};
use hark_protocol::*;
use proptest::prelude::*;

use crate::samples;
use crate::session_matrix::active;
use crate::wire::{raw, raw_payload, written};

#[derive(Clone, Debug)]
enum Op {
    Ask(u32, What),
    Cancel(u32),
    /// Answers one of the requests that wait, chosen by number.
    Answer(usize),
    Refuse(usize),
    /// Answers what has an answer already, or what nobody asked.
    AnswerAgain(u32),
    Room(usize, RoomOp),
    Pongs,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Publish,
    History,
    Ping,
    Unreadable,
    UnreadablePing,
    UnknownType,
}

#[derive(Clone, Copy, Debug)]
enum RoomOp {
    Append(u64),
    Send(u64),
    Credit(u64),
    /// Is followed anew, and replays for a while.
    Replay,
    Live,
}

fn op() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        4 => Just(What::Publish),
        4 => Just(What::History),
        6 => Just(What::Ping),
        1 => Just(What::Unreadable),
        1 => Just(What::UnreadablePing),
        1 => Just(What::UnknownType),
    ];
    let room = prop_oneof![
        (1..5_u64).prop_map(RoomOp::Append),
        (1..8_u64).prop_map(RoomOp::Send),
        (0..3_u64).prop_map(RoomOp::Credit),
        Just(RoomOp::Replay),
        Just(RoomOp::Live),
    ];
    prop_oneof![
        6 => (0..9_u32, what).prop_map(|(correlation, what)| Op::Ask(correlation, what)),
        1 => (0..9_u32).prop_map(Op::Cancel),
        4 => (0..9_usize).prop_map(Op::Answer),
        1 => (0..9_usize).prop_map(Op::Refuse),
        1 => (0..12_u32).prop_map(Op::AnswerAgain),
        5 => (0..2_usize, room).prop_map(|(at, room)| Op::Room(at, room)),
        4 => Just(Op::Pongs),
    ]
}

/// A subscription as a barrier sees it.
#[derive(Clone, Copy, Debug)]
struct Followed {
    is_live: bool,
    sent: u64,
    head: u64,
    credit: u64,
}

impl Followed {
    fn apply(&mut self, op: RoomOp) {
        match op {
            RoomOp::Append(count) => self.head += count,
            RoomOp::Send(count) => {
                let count = count.min(self.credit).min(self.head - self.sent);
                self.sent += count;
                self.credit -= count;
            }
            RoomOp::Credit(count) => self.credit = self.credit.max(count),
            RoomOp::Replay => *self = Followed { is_live: false, sent: 0, ..*self },
            RoomOp::Live => *self = Followed { is_live: true, sent: self.head, ..*self },
        }
    }

    fn is_behind(&self) -> bool {
        self.is_live && self.sent < self.head && self.credit > 0
    }
}

struct Rooms([Followed; 2]);

impl Progress for Rooms {
    fn targets(&self) -> Vec<(RoomId, Seq)> {
        let rooms = (0..).zip(&self.0).filter(|(_, room)| room.is_behind());
        rooms.map(|(id, room)| (RoomId(id), Seq(room.head))).collect()
    }
    fn has_reached(&self, room: RoomId, seq: Seq) -> bool {
        let room = &self.0[usize::try_from(room.0).unwrap()];
        !room.is_live || room.sent >= seq.0 || room.credit == 0
    }
}

/// What waits for its final answer.
#[derive(Debug)]
enum Waits {
    Request {
        ordinal: u64,
        what: What,
        is_cancelled: bool,
    },
    /// With the heads of the live rooms when it was read; `None` once reached, out of credit or replaced.
    Ping {
        ordinal: u64,
        targets: [Option<u64>; 2],
    },
}

struct Run {
    session: Session,
    rooms: Rooms,
    waits: BTreeMap<u32, Waits>,
    ordinals: u64,
}

const IN_FLIGHT_MAX: usize = 6;

impl Run {
    fn new() -> Run {
        let max = u32::try_from(IN_FLIGHT_MAX).unwrap();
        let room = Followed { is_live: true, sent: 0, head: 0, credit: 4 };
        Run {
            session: active(Limits { requests_in_flight_max: max, ..Limits::open() }),
            rooms: Rooms([room; 2]),
            waits: BTreeMap::new(),
            ordinals: 0,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Ask(correlation, what) => self.ask(correlation, what),
            Op::Cancel(request) => {
                let cancel = raw(0, &Cancel { request: Correlation(request) }.into());
                self.session.on_frame(&cancel, 0, &mut Vec::new()).unwrap();
                if let Some(Waits::Request { is_cancelled, .. }) = self.waits.get_mut(&request) {
                    *is_cancelled = true;
                }
            }
            Op::Answer(nth) => self.answer(nth, false),
            Op::Refuse(nth) => self.answer(nth, true),
            Op::AnswerAgain(correlation) => {
                if !matches!(self.waits.get(&correlation), Some(Waits::Request { .. })) {
                    let mut out = Vec::new();
                    self.session.answer(Correlation(correlation), &samples::published().into(), &mut out);
                    self.session.refuse(Correlation(correlation), &Refusal::Internal, &mut out).unwrap();
                    assert_eq!(written(&out), [], "{correlation} was answered twice");
                }
            }
            Op::Room(at, op) => self.rooms.0[at].apply(op),
            Op::Pongs => self.pongs(),
        }
        self.note_progress();
        assert_eq!(self.session.wants_frames(), self.waits.len() < IN_FLIGHT_MAX);
        assert_eq!(self.session.is_settled(), self.waits.is_empty());
    }

    fn ask(&mut self, correlation: u32, what: What) {
        if !self.session.wants_frames() {
            return;
        }
        let frame = match what {
            What::Publish => raw(correlation, &samples::publish().into()),
            What::History => raw(correlation, &samples::history().into()),
            What::Ping => raw(correlation, &Ping { data: data(correlation) }.into()),
            What::Unreadable => raw_payload(correlation, FrameType::PUBLISH, b"no"),
            What::UnreadablePing => raw_payload(correlation, FrameType::PING, b"no"),
            What::UnknownType => raw_payload(correlation, FrameType(0x4001), b"no"),
        };
        let mut out = Vec::new();
        let step = self.session.on_frame(&frame, 0, &mut out).expect("nothing of this ends a connection");
        let is_free = correlation != 0 && !self.waits.contains_key(&correlation);
        let said = written(&out);
        match what {
            What::Publish | What::History if is_free => {
                assert!(matches!(step, Step::Request(asked, _) if asked.0 == correlation));
                assert_eq!(said, []);
                self.ordinals += 1;
                let waits = Waits::Request { ordinal: self.ordinals, what, is_cancelled: false };
                self.waits.insert(correlation, waits);
            }
            What::Ping if is_free => {
                assert_eq!((step, said), (Step::Done, vec![]));
                self.ordinals += 1;
                let target = |room: &Followed| room.is_live.then_some(room.head);
                let targets = [target(&self.rooms.0[0]), target(&self.rooms.0[1])];
                self.waits.insert(correlation, Waits::Ping { ordinal: self.ordinals, targets });
            }
            _ => {
                // Refused at once, and never with the correlation of something that still waits.
                let told = if is_free { correlation } else { 0 };
                assert_eq!(step, Step::Done);
                assert!(matches!(&said[..], [(asked, Frame::Error(_))] if *asked == told), "{said:?}");
            }
        }
    }

    fn answer(&mut self, nth: usize, refuse: bool) {
        let requests = self.waits.iter().filter(|(_, waits)| matches!(waits, Waits::Request { .. }));
        let Some(correlation) = requests.map(|(correlation, _)| *correlation).nth(nth) else { return };
        let Some(Waits::Request { what, is_cancelled, .. }) = self.waits.remove(&correlation) else { return };
        let mut out = Vec::new();
        let usual: Frame = match what {
            What::History => samples::page().into(),
            _ => samples::published().into(),
        };
        match refuse {
            true => self.session.refuse(Correlation(correlation), &Refusal::Conflict, &mut out).unwrap(),
            false => self.session.answer(Correlation(correlation), &usual, &mut out),
        }
        let said = written(&out);
        let code = match (refuse, is_cancelled, what) {
            (true, _, _) => Some(ErrorCode::CONFLICT),
            (false, true, What::History) => Some(ErrorCode::CANCELLED),
            _ => None,
        };
        match (&said[..], code) {
            ([(told, Frame::Error(error))], Some(code)) => {
                assert_eq!((*told, error.code), (correlation, code));
            }
            ([told], None) => assert_eq!(*told, (correlation, usual)),
            _ => panic!("{correlation} was answered by {said:?}"),
        }
    }

    /// Strikes off every target that is reached, or that credit or a new subscription has made void.
    fn note_progress(&mut self) {
        for waits in self.waits.values_mut() {
            let Waits::Ping { targets, .. } = waits else { continue };
            for (target, room) in targets.iter_mut().zip(&self.rooms.0) {
                *target = target.filter(|head| room.is_live && room.sent < *head && room.credit > 0);
            }
        }
    }

    fn pongs(&mut self) {
        let mut out = Vec::new();
        self.session.pongs(&self.rooms, &mut out);
        for (correlation, frame) in written(&out) {
            let Some(Waits::Ping { ordinal, targets }) = self.waits.remove(&correlation) else {
                panic!("{correlation} is no PING that waits");
            };
            assert_eq!(frame, Pong { data: data(correlation) }.into());
            assert_eq!(targets, [None, None], "CO-R30: the PONG came before events it has to follow");
            for (other, waits) in &self.waits {
                let (Waits::Request { ordinal: read, .. } | Waits::Ping { ordinal: read, .. }) = waits;
                assert!(*read > ordinal, "CO-R29: {other} was read before the PING {correlation}");
            }
        }
        // CO-R31: what is the oldest of all that wait, and has nothing to wait for, has been written.
        let oldest = self.waits.values().min_by_key(|waits| {
            let (Waits::Request { ordinal, .. } | Waits::Ping { ordinal, .. }) = waits;
            *ordinal
        });
        if let Some(Waits::Ping { .. }) = oldest {
            assert!(self.rooms.0.iter().any(Followed::is_behind), "a PONG is held back for nothing");
        }
    }

    /// Everything is answered and every room catches up: then nothing waits any more.
    fn settle(&mut self) {
        while self.waits.values().any(|waits| matches!(waits, Waits::Request { .. })) {
            self.step(Op::Answer(0));
        }
        for at in 0..2 {
            self.step(Op::Room(at, RoomOp::Credit(u64::MAX)));
            self.step(Op::Room(at, RoomOp::Send(u64::MAX)));
        }
        self.step(Op::Pongs);
        assert!(self.waits.is_empty(), "{:?} wait for ever", self.waits);
    }

    /// After the end nothing is said, whatever is done.
    fn close(&mut self) {
        let mut out = Vec::new();
        self.session.close(None, &mut out);
        assert!(matches!(&written(&out)[..], [(0, Frame::Close(_))]));
        out.clear();
        for correlation in 0..12 {
            let asked = Correlation(correlation);
            for frame in samples::every_frame() {
                assert_eq!(self.session.on_frame(&raw(correlation, &frame), 0, &mut out), Ok(Step::Done));
            }
            self.session.answer(asked, &samples::published().into(), &mut out);
            self.session.authenticated(asked, &samples::authenticated(), &mut out);
            self.session.refuse(asked, &Refusal::AuthFailed, &mut out).unwrap();
        }
        self.session.pongs(&self.rooms, &mut out);
        self.session.close(None, &mut out);
        assert!(out.is_empty() && !self.session.wants_frames());
    }
}

fn data(correlation: u32) -> Blob<64> {
    correlation.to_string().parse().unwrap()
}

proptest! {
    #![proptest_config(crate::schedules(10_000))]

    #[test]
    fn every_request_has_one_answer_and_every_pong_its_place(
        ops in prop::collection::vec(op(), 0..120),
        settles in any::<bool>(),
    ) {
        let mut run = Run::new();
        ops.into_iter().for_each(|op| run.step(op));
        if settles {
            run.settle();
        }
        run.close();
    }
}

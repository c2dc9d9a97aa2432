//! What a session makes of HELLO, failed logins, CANCEL and floods.

use hark_core::session::Step;
use hark_core::{CloseReason, Limits, Refusal};
use hark_protocol::*;
use proptest::prelude::*;

use crate::samples;
use crate::session_matrix::{active, feed, greeted, session_with};
use crate::wire::{raw, raw_payload, written};

const SECOND_NS: u64 = 1_000_000_000;

/// The one frame that has been written.
fn the_one(out: &[u8]) -> (u32, Frame) {
    let mut frames = written(out);
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames.remove(0)
}

proptest! {
    #![proptest_config(crate::schedules(2_000))]

    /// VE-R01, VE-R02, VE-R03, CO-R58, CO-R59, CO-R66.
    #[test]
    fn hello_is_answered_by_what_both_sides_can(
        version_min in 0..4_u8,
        version_max in 0..4_u8,
        capabilities in prop::collection::vec(prop_oneof![1..4_u16, any::<u16>()], 0..64),
        connection_window in prop_oneof![Just(0), 1..5_000_u32, any::<u32>()],
        window_max in 1..5_000_u32,
    ) {
        let mut session = session_with(Limits { connection_window_events_max: window_max, ..Limits::open() });
        let hello = Hello {
            version_min,
            version_max,
            capabilities: List::new(capabilities.iter().copied().map(Capability).collect()).unwrap(),
            connection_window,
            agent: Line::default(),
        };
        let mut out = Vec::new();
        let step = session.on_frame(&raw(3, &hello.into()), 0, &mut out);
        if version_min > 1 || version_max < 1 {
            prop_assert_eq!(step, Err(CloseReason::VersionUnsupported { min: 1, max: 1 }));
            session.close(None, &mut out);
            let frames = written(&out);
            prop_assert!(matches!(&frames[0], (3, Frame::Error(error))
                if error.code == ErrorCode::VERSION_UNSUPPORTED && error.text.as_str().contains("1 to 1")));
            return Ok(());
        }
        prop_assert_eq!(step, Ok(Step::Done));
        let (3, Frame::Welcome(welcome)) = the_one(&out) else { panic!("not a WELCOME") };
        prop_assert_eq!(welcome.version, 1);
        let mut common: Vec<Capability> = Capability::KNOWN.to_vec();
        common.retain(|known| capabilities.contains(&known.0));
        prop_assert_eq!(&welcome.capabilities[..], &common[..]);
        for known in Capability::KNOWN {
            prop_assert_eq!(session.has(*known), common.contains(known));
        }
        let window = session.greeting().unwrap().window;
        let asked = if connection_window == 0 { u32::MAX } else { connection_window };
        prop_assert_eq!(window, asked.min(window_max));
    }

    /// AU-R10, ER-R02: each failed try is answered once, and the last one by the ERROR that ends it all.
    #[test]
    fn so_many_tries_and_no_more(max in 1..6_u32, others in prop::collection::vec(0..4_usize, 0..30)) {
        let mut session = greeted(Limits { auth_tries_max: max, ..Limits::open() });
        let (mut failed, mut correlation) = (0, 0);
        for other in others.into_iter().chain(std::iter::repeat(0)) {
            correlation += 1;
            let asked = Correlation(correlation);
            let mut out = Vec::new();
            prop_assert!(matches!(feed(&mut session, correlation, samples::auth()), Step::Request(..)));
            prop_assert!(!session.wants_frames(), "a login is decided before anything behind it is read");
            let refusal = match other {
                0 => Refusal::AuthFailed,
                1 => Refusal::Unavailable,
                2 => Refusal::NameTaken,
                _ => {
                    session.answer(asked, &Ok {}.into(), &mut out); // of a REGISTER
                    prop_assert_eq!(the_one(&out), (correlation, Ok {}.into()));
                    continue;
                }
            };
            failed += u32::from(refusal == Refusal::AuthFailed);
            let done = session.refuse(asked, &refusal, &mut out);
            if failed < max {
                prop_assert_eq!(done, Ok(()));
                prop_assert!(matches!(the_one(&out), (told, Frame::Error(error))
                    if told == correlation && error.code == refusal.code()));
                prop_assert!(session.wants_frames());
                continue;
            }
            let reason = done.expect_err("one too many");
            prop_assert_eq!(&reason, &CloseReason::TooManyAuthTries);
            prop_assert!(out.is_empty(), "TOO_MANY_AUTH_TRIES comes in place of AUTH_FAILED");
            session.close(Some(&reason), &mut out);
            let frames = written(&out);
            prop_assert!(matches!(&frames[..], [(told, Frame::Error(error)), (0, Frame::Close(_))]
                if *told == correlation && error.code == ErrorCode::TOO_MANY_AUTH_TRIES));
            break;
        }
    }

    /// A peer that keeps to the rate is never ended for it; one that sends `rate` a second too many is, at once.
    #[test]
    fn frames_that_carry_nothing_have_a_rate(rate in 1..200_u32, kinds in prop::collection::vec(0..5_u8, 400)) {
        let mut session = active(Limits { idle_frames_per_second: rate, ..Limits::open() });
        let gap_ns = SECOND_NS / u64::from(rate) + 1;
        let mut now_ns = 0;
        for kind in &kinds {
            now_ns += gap_ns;
            prop_assert!(idle(&mut session, *kind, now_ns).is_ok());
        }
        let all_at_once = (0..=rate + 1).map(|_| idle(&mut session, kinds[0], now_ns));
        let results: Vec<_> = all_at_once.collect();
        let taken = results.iter().take_while(|result| result.is_ok()).count();
        prop_assert!(taken <= rate as usize, "{taken} at once, and {rate} a second are allowed");
        prop_assert!(taken + 1 >= rate as usize, "only {taken} at once, and {rate} a second are allowed");
        prop_assert_eq!(&results[taken], &Err(CloseReason::Flood));
    }
}

fn idle(session: &mut hark_core::session::Session, kind: u8, now_ns: u64) -> Result<Step, CloseReason> {
    let frame = match kind {
        0 => raw(0, &Pong { data: Blob::default() }.into()),
        1 => raw(0, &Cancel { request: Correlation(5) }.into()),
        2 => raw(0, &Signal { room: RoomId(1), kind: SignalKind::TYPING }.into()),
        3 => raw_payload(0, FrameType(0xc001), b"grease"),
        _ => raw_payload(0, FrameType::PRESENCE, b""),
    };
    session.on_frame(&frame, now_ns, &mut Vec::new())
}

#[test]
fn frames_that_carry_something_have_no_idle_rate() {
    let limits = Limits { idle_frames_per_second: 1, requests_in_flight_max: 10_000, ..Limits::open() };
    let mut session = active(limits);
    for correlation in 1..1_000 {
        assert!(matches!(feed(&mut session, correlation, samples::publish()), Step::Request(..)));
        feed(&mut session, 0, Ack { room: RoomId(1), epoch: Epoch(1), seq: Seq(1) });
    }
}

#[test]
fn cancel_stops_reads_of_lists_and_nothing_else() {
    // CO-R23, CO-R24: by the answers there are.
    let stopped = [FrameType::PAGE, FrameType::ROOMS, FrameType::MEMBERS, FrameType::ACCOUNTS];
    for answer in samples::every_frame() {
        let mut session = active(Limits::open());
        feed(&mut session, 5, samples::history());
        feed(&mut session, 0, Cancel { request: Correlation(5) });
        feed(&mut session, 0, Cancel { request: Correlation(5) });
        assert!(!session.is_settled(), "a cancelled request is in flight until its answer");
        let mut out = Vec::new();
        session.answer(Correlation(5), &answer, &mut out);
        match the_one(&out) {
            (5, Frame::Error(error)) if error.code == ErrorCode::CANCELLED => {
                assert!(stopped.contains(&answer.frame_type()), "{} was stopped", answer.frame_type());
            }
            told => {
                assert_eq!(told, (5, answer.clone()));
                assert!(!stopped.contains(&answer.frame_type()), "{} went on", answer.frame_type());
            }
        }
        assert!(session.is_settled());
    }
}

#[test]
fn a_stranger_may_send_small_frames_only() {
    let limits = Limits { frame_bytes_max: 50_000, ..Limits::open() };
    let small = limits::PRE_AUTH_FRAME_BYTES_MAX;
    assert_eq!(session_with(limits.clone()).frame_bytes_max(), small);
    assert_eq!(greeted(limits.clone()).frame_bytes_max(), small);
    let mut session = active(limits);
    assert_eq!(session.frame_bytes_max(), 50_000);
    session.close(None, &mut Vec::new());
    assert!(!session.wants_frames());
}

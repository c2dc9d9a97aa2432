//! Garbage, mutated frames and floods: the node goes on, and so do the others.

use hark_protocol::{
    AuthMethod, Cancel, Correlation, ErrorCode, Frame, FrameType, From as Start, HEADER_BYTES, Ping, RoomId,
};

use crate::rig::{Rig, auth, frames, hello, in_room, join, publish, raw_frame, reseal, the};

/// A small generator of numbers that are the same in every run (Steele, Lea and Flood's SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_end_their_own_connection_only() {
    let rig = Rig::start().await;
    let mut numbers = Numbers(1);
    for round in 0..200 {
        let mut peer = if round % 2 == 0 { rig.stranger().await } else { rig.login("ann").await };
        let count = 1 + numbers.below(4_000);
        let mut bytes = numbers.bytes(count);
        if round % 4 < 2 {
            bytes.splice(0..0, *b"HARK\x01");
        }
        bytes.extend_from_slice(&[0; 64 * 1024 + HEADER_BYTES]); // ends whatever frame it may have begun
        peer.try_send_bytes(&bytes).await;
        let said = frames(&peer.drain().await);
        assert!(matches!(said.last(), Some(Frame::Close(_)) | None), "{said:?}");
    }
    rig.assert_healthy().await;
}

/// Frames that a client may send, of many kinds.
fn corpus(room: RoomId) -> Vec<Vec<u8>> {
    let frames: Vec<Frame> = vec![
        hello(&[], 0).into(),
        auth(AuthMethod::PASSWORD, "ann", "x").into(),
        publish(room, 1, "tea").into(),
        join("tea", 2).into(),
        crate::rig::kick(room, "bob", 3).into(),
        hark_protocol::Subscribe {
            rooms: hark_protocol::List::new(vec![in_room(room, Start::START, 0)]).unwrap(),
        }
        .into(),
        hark_protocol::Unsubscribe { rooms: hark_protocol::List::new(vec![room]).unwrap() }.into(),
        hark_protocol::History {
            room,
            direction: hark_protocol::Direction::BEFORE,
            epoch: hark_protocol::Epoch(0),
            seq: hark_protocol::Seq(0),
            limit: 3,
        }
        .into(),
        hark_protocol::Ack { room, epoch: hark_protocol::Epoch(1), seq: hark_protocol::Seq(1) }.into(),
        hark_protocol::RoomGet { name: "tea".parse().unwrap() }.into(),
        hark_protocol::RoomMembers { room, after: hark_protocol::AccountId(0), limit: 0 }.into(),
        hark_protocol::Signal { room, kind: hark_protocol::SignalKind::TYPING }.into(),
        hark_protocol::PresenceSet { state: hark_protocol::PresenceState::AWAY }.into(),
        hark_protocol::AccountList { after: hark_protocol::AccountId(0), limit: 0 }.into(),
        Ping { data: "x".parse().unwrap() }.into(),
        Cancel { request: Correlation(1) }.into(),
    ];
    frames.iter().map(|frame| frame.encode(Correlation(7)).as_slice().to_vec()).collect()
}

/// Changes a frame somewhere behind its magic, and repairs what would end the connection at once.
fn mutate(frame: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(4) {
        let at = 6 + numbers.below(frame.len() - 6);
        match numbers.below(4) {
            0 => frame[at] ^= 1 << numbers.below(8),
            1 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)],
            2 => frame.truncate(at.max(HEADER_BYTES)),
            _ => {
                let count = numbers.below(12);
                let more = numbers.bytes(count);
                let at = at.max(HEADER_BYTES).min(frame.len());
                frame.splice(at..at, more);
            }
        }
    }
    let length = u32::try_from(frame.len() - HEADER_BYTES).unwrap();
    frame[12..16].copy_from_slice(&length.to_be_bytes());
    reseal(frame);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_frames_are_answered_within_the_grammar() {
    let rig = Rig::with(|limits| limits.auth_tries_max = 1_000).await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    rig.account("bob");
    let corpus = corpus(room);
    let mut numbers = Numbers(2);
    for round in 0..150 {
        let mut peer = if round % 5 == 0 { rig.greeted().await } else { rig.login("ann").await };
        let mut bytes = Vec::new();
        for _ in 0..20 {
            let mut frame = corpus[numbers.below(corpus.len())].clone();
            mutate(&mut frame, &mut numbers);
            bytes.extend_from_slice(&frame);
        }
        bytes.extend_from_slice(b"GET /"); // the end
        peer.try_send_bytes(&bytes).await;
        let said = frames(&peer.drain().await); // each of them can be decoded, or this panics
        assert!(matches!(said.last(), Some(Frame::Close(_))), "round {round}: {said:?}");
    }
    ann.publish(room, 1 << 40, "still here").await;
    let log = ann.log(room).await;
    let head = log.last().unwrap().seq.0;
    assert_eq!(log.len() as u64, head, "the log is whole");
    rig.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_frames_that_carry_nothing_ends_the_connection() {
    let rig = Rig::with(|limits| limits.idle_frames_per_second = 100).await;
    let mut neighbour = rig.login("bob").await;
    let ping: Frame = Ping { data: "x".parse().unwrap() }.into();
    let cancel: Frame = Cancel { request: Correlation(1) }.into();
    let floods = [
        ping.encode(Correlation(1)).as_slice().to_vec(),
        cancel.encode(Correlation::NONE).as_slice().to_vec(),
        raw_frame(0xbeef, 0, b""),
        raw_frame(FrameType::SIGNALLED.0, 0, b""),
    ];
    for flood in floods {
        let mut peer = rig.login("ann").await;
        peer.try_send_bytes(&flood.repeat(5_000)).await;
        let said = frames(&peer.drain().await);
        let code = said.iter().rev().find_map(|frame| match frame {
            Frame::Error(error) => Some(error.code),
            _ => None,
        });
        assert_eq!(code, Some(ErrorCode::FLOOD));
        neighbour.barrier().await;
    }
    rig.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_cancelled_by_the_thousand_cost_no_more_than_their_bound() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish_all(room, 1..=200).await;
    let mut bytes = Vec::new();
    for correlation in 1..=5_000 {
        let read: Frame = hark_protocol::History {
            room,
            direction: hark_protocol::Direction::AFTER,
            epoch: hark_protocol::Epoch(0),
            seq: hark_protocol::Seq(0),
            limit: 1,
        }
        .into();
        let cancel: Frame = Cancel { request: Correlation(correlation) }.into();
        bytes.extend_from_slice(read.encode(Correlation(correlation)).as_slice());
        bytes.extend_from_slice(cancel.encode(Correlation::NONE).as_slice());
    }
    let mut peer = rig.login("ann").await;
    peer.send_bytes(&bytes).await;
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 5_000 {
        let (of, frame) = peer.next().await;
        match frame {
            Frame::Page(_) => {}
            Frame::Error(error) if error.code == ErrorCode::CANCELLED => {}
            other => panic!("{other:?}"),
        }
        assert!(answered.insert(of), "{of} was answered twice");
    }
    the!(peer.ask(Ping { data: "x".parse().unwrap() }).await, Pong);
    rig.assert_healthy().await;
}

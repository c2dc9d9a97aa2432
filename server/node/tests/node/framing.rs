//! Frames, whole and broken, and however they are cut up on their way.

use bytes::BytesMut;
use hark_protocol::{
    Blob, Correlation, EncodedFrame, ErrorCode, Frame, FrameType, HEADER_BYTES, Header, Ping, RoomId,
};

use crate::rig::{Peer, Rig, frames, hello, publish, raw_frame, reseal, the};

fn ping(correlation: u32, data: &str) -> EncodedFrame {
    EncodedFrame::new(Correlation(correlation), &Ping { data: data.parse().unwrap() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_byte_by_byte_is_the_same_conversation() {
    let rig = Rig::start().await;
    let mut peer = rig.stranger().await;
    let hello = Frame::from(hello(&[], 0)).encode(Correlation(900));
    for bytes in [hello, ping(901, "tea"), ping(902, "")] {
        for byte in bytes.as_slice() {
            peer.send_bytes(&[*byte]).await; // each in a TLS record of its own
        }
    }
    the!(peer.answer(Correlation(900)).await, Welcome);
    assert_eq!(&the!(peer.answer(Correlation(901)).await, Pong).data[..], b"tea");
    assert_eq!(&the!(peer.answer(Correlation(902)).await, Pong).data[..], b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_may_be_cut_anywhere() {
    let rig = Rig::start().await;
    let mut peer = rig.login("ann").await;
    let bytes = ping(900, "a tea in two halves");
    for cut in 1..bytes.as_slice().len() {
        let (one, other) = bytes.as_slice().split_at(cut);
        peer.send_bytes(one).await;
        peer.send_bytes(other).await;
        assert_eq!(
            &the!(peer.answer(Correlation(900)).await, Pong).data[..],
            b"a tea in two halves",
            "{cut}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_in_one_record_are_answered_one_by_one() {
    let rig = Rig::start().await;
    let mut peer = rig.login("ann").await;
    let pings: Vec<u8> = (1000..1064).flat_map(|n| ping(n, "").as_slice().to_vec()).collect();
    peer.send_bytes(&pings).await;
    for correlation in 1000..1064 {
        let (of, frame) = peer.next().await;
        assert_eq!(of, Correlation(correlation));
        the!(frame, Pong);
    }
}

/// Sends bytes that end the connection, and a PING that must not be answered.
async fn broken(mut peer: Peer, bytes: &[u8]) -> ErrorCode {
    peer.send_bytes(&[bytes, ping(999, "").as_slice()].concat()).await;
    peer.end_by_error().await.code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_header_ends_the_connection_and_nothing_behind_it_is_read() {
    let rig = Rig::start().await;
    let good = ping(1, "tea").as_slice().to_vec();
    for at in 0..4 {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        assert_eq!(broken(rig.login("ann").await, &bytes).await, ErrorCode::BAD_MAGIC, "byte {at}");
    }
    let mut bytes = good.clone();
    bytes[4] = 2;
    reseal(&mut bytes);
    assert_eq!(broken(rig.login("ann").await, &bytes).await, ErrorCode::BAD_VERSION);

    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(broken(rig.stranger().await, get).await, ErrorCode::BAD_MAGIC);
    rig.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_is_one_too_short_breaks_the_next_frame() {
    let rig = Rig::start().await;
    let mut bytes = raw_frame(FrameType::PING.0, 1, &[0, 0, 0, 2, b'h', b'i', 0x80, 1, 0, 0]);
    bytes[12..16].copy_from_slice(&6_u32.to_be_bytes());
    let end = bytes.len() - 4;
    reseal(&mut bytes[..end]);
    assert_eq!(broken(rig.login("ann").await, &bytes).await, ErrorCode::BAD_MAGIC);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_never_reaches_the_log() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let good = Frame::from(publish(room, 1, "two sugars?")).encode(Correlation(7));
    let payload_bits = (good.as_slice().len() - HEADER_BYTES) * 8;
    for sample in 0..64 {
        let bit = HEADER_BYTES * 8 + sample * payload_bits / 64;
        let mut bytes = good.as_slice().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(broken(rig.login("ann").await, &bytes).await, ErrorCode::BAD_CHECKSUM, "bit {bit}");
    }
    assert_eq!(ann.log(room).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversize_length_is_refused_from_its_header() {
    let rig = Rig::start().await;
    for (frame_type, length) in
        [(FrameType::PUBLISH, 65_537), (FrameType(0xbeef), u32::MAX), (FrameType::EVENT, 1024 * 1024 + 1)]
    {
        let mut header = raw_frame(frame_type.0, 1, &[]);
        header[12..16].copy_from_slice(&length.to_be_bytes());
        let mut peer = rig.login("ann").await;
        peer.send_bytes(&header).await;
        assert_eq!(peer.end_by_error().await.code, ErrorCode::FRAME_TOO_LARGE, "{frame_type} {length}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_exactly_the_limit_is_taken() {
    let rig = Rig::start().await;
    let mut peer = rig.login("ann").await;
    peer.send_bytes(&raw_frame(0xbeef, 0, &vec![0; 65_536])).await;
    assert!(peer.barrier().await.is_empty());
    let room = peer.create_room("tea").await;
    let fits = 65_536 - 256;
    assert_eq!(peer.publish(room, 1, vec![7; fits]).await.seq.0, 2);
    let error = peer.refusal(publish(room, 2, vec![7; fits + 1])).await;
    assert_eq!((error.code, error.limit_value), (ErrorCode::TOO_LARGE, fits as u64));
    assert_eq!(peer.publish(room, 3, "next").await.seq.0, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_are_ignored() {
    let rig = Rig::start().await;
    let mut peer = rig.login("ann").await;
    let mut bytes = ping(900, "tea").as_slice().to_vec();
    bytes[5] = 0xff;
    reseal(&mut bytes);
    peer.send_bytes(&bytes).await;
    the!(peer.answer(Correlation(900)).await, Pong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_read_is_refused_and_the_connection_lives() {
    let rig = Rig::start().await;
    let mut peer = rig.login("ann").await;
    let room = peer.create_room("tea").await;
    let mut good = Vec::new();
    hark_protocol::Wire::put(&publish(room, 1, "tea"), &mut good);
    let cut = &good[..good.len() - 1];
    let trailing = [&good[..], &[1]].concat();
    let mut zero_id = good.clone();
    zero_id[8..24].fill(0);
    let mut greedy = good.clone();
    greedy[26..30].copy_from_slice(&(1_u32 << 31).to_be_bytes());
    let cases: [(FrameType, &[u8]); 9] = [
        (FrameType::PUBLISH, &[]),
        (FrameType::PUBLISH, cut),
        (FrameType::PUBLISH, &trailing),
        (FrameType::PUBLISH, &zero_id),
        (FrameType::PUBLISH, &greedy),
        (FrameType::ROOM_GET, b"\x02\xc3\x28"),     // ill-formed UTF-8
        (FrameType::ROOM_GET, b"\x02a\0"),          // a control character
        (FrameType::ROOM_GET, b"\x03\xed\xa0\x80"), // a surrogate
        (FrameType::PING, &[0, 0, 0, 65, 1, 2, 3]), // longer than a PING may be
    ];
    for (frame_type, payload) in cases {
        let correlation = peer.next_correlation();
        peer.send_bytes(&raw_frame(frame_type.0, correlation.0, payload)).await;
        let error = the!(peer.answer(correlation).await, Error);
        assert_eq!(error.code, ErrorCode::MALFORMED, "{frame_type} {payload:02x?}");
    }
    assert!(peer.barrier().await.is_empty());
    assert_eq!(peer.log(room).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn correlations_are_not_zero_and_not_in_use() {
    let rig = Rig::start().await;
    let mut peer = rig.login("ann").await;
    let room = peer.create_room("tea").await;
    peer.tell(publish(room, 1, "nobody asks")).await;
    assert_eq!(the!(peer.news().await, Error).code, ErrorCode::MALFORMED);

    let twice: Vec<u8> = [2, 3]
        .into_iter()
        .flat_map(|id| Frame::from(publish(room, id, "twice")).encode(Correlation(500)).as_slice().to_vec())
        .collect();
    peer.send_bytes(&twice).await;
    let said = peer.barrier().await;
    let errors = crate::rig::every!(said, Error);
    let published = crate::rig::every!(said, Published);
    assert_eq!(published.len() + errors.len(), 2, "{said:?}");
    assert_eq!(peer.log(room).await.len(), 1 + published.len(), "{said:?}");
    assert!(errors.iter().all(|error| error.code == ErrorCode::MALFORMED), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_may_not_send_ends_the_connection() {
    let rig = Rig::start().await;
    let ok: Frame = hark_protocol::Ok {}.into();
    let replayed: Frame = hark_protocol::Replayed {
        room: RoomId(1),
        epoch: hark_protocol::Epoch(1),
        seq: hark_protocol::Seq(1),
    }
    .into();
    for frame in [ok, replayed] {
        let bytes = frame.encode(Correlation(1));
        assert_eq!(broken(rig.login("ann").await, bytes.as_slice()).await, ErrorCode::BAD_STATE);
        assert_eq!(broken(rig.greeted().await, bytes.as_slice()).await, ErrorCode::BAD_STATE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_cut_short_by_the_end_is_dropped() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let mut other = rig.login("ann").await;
    let bytes = Frame::from(publish(room, 1, "half")).encode(Correlation(1));
    other.send_bytes(&bytes.as_slice()[..bytes.as_slice().len() - 1]).await;
    other.vanish();
    rig.until("the connection is gone", |rig| rig.number("hark_connections") == 1).await;
    assert_eq!(ann.log(room).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_that_is_sent_is_sealed_as_the_specification_says() {
    let rig = Rig::start().await;
    let mut peer = rig.stranger().await;
    let bye = hark_protocol::Close {
        code: ErrorCode(0),
        disposition: hark_protocol::Disposition::KEEP,
        text: Default::default(),
    };
    let mut bytes = Frame::from(hello(&[], 0)).encode(Correlation(1)).as_slice().to_vec();
    bytes.extend_from_slice(Frame::from(bye).encode(Correlation::NONE).as_slice());
    peer.send_bytes(&bytes).await;
    let mut rest = BytesMut::from(&peer.drain().await[..]);
    assert_eq!(frames(&rest).len(), 2, "WELCOME and CLOSE");
    while let Some(header) = Header::read(&rest) {
        let mut frame = rest.split_to(HEADER_BYTES + header.length as usize).to_vec();
        reseal(&mut frame);
        assert_eq!(Header::read(&frame).unwrap(), header);
    }
    assert!(rest.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_never_answered_by_an_error() {
    let rig = Rig::start().await;
    let mut peer = rig.login("ann").await;
    peer.send_bytes(&raw_frame(FrameType::ERROR.0, 0, b"nonsense")).await;
    let error = hark_protocol::Error {
        code: ErrorCode::MALFORMED,
        scope: hark_protocol::Scope::REQUEST,
        retryable: false,
        resume_allowed: true,
        retry_after_ms: 0,
        limit: hark_protocol::LimitId(0),
        limit_value: 0,
        text: Default::default(),
    };
    peer.tell(error).await;
    let unsolicited = hark_protocol::Pong { data: Blob::default() };
    peer.tell(unsolicited).await;
    assert!(peer.barrier().await.is_empty());
}

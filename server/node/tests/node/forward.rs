//! What later versions may send: unknown types, extensions and values.

use hark_protocol::{Correlation, ErrorCode, FrameType, Wire};

use crate::rig::{Rig, publish, raw_frame, the};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_types_are_skipped_or_refused_by_their_bit() {
    let rig = Rig::start().await;
    for mut peer in [rig.login("ann").await, rig.greeted().await] {
        for ignorable in [0x8001, 0x8fff, 0xc000, 0xffff] {
            peer.send_bytes(&raw_frame(ignorable, 77, b"from the future")).await;
        }
        assert!(peer.barrier().await.is_empty());
        for critical in [0x000e, 0x01ff, 0x020c, 0x0501, 0x4000, 0x7fff] {
            let correlation = peer.next_correlation();
            peer.send_bytes(&raw_frame(critical, correlation.0, b"from the future")).await;
            let error = the!(peer.answer(correlation).await, Error);
            assert_eq!(error.code, ErrorCode::UNKNOWN_TYPE, "{critical:#06x}");
        }
        assert!(peer.barrier().await.is_empty());
    }
    let mut peer = rig.stranger().await;
    peer.send_bytes(&raw_frame(0x7fff, 1, b"from the future")).await;
    assert_eq!(peer.end_by_error().await.code, ErrorCode::BAD_STATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_are_skipped_or_refused_by_their_bit() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let mut fields = Vec::new();
    publish(room, 1, "tea").put(&mut fields);
    let cases: [(&[u8], Option<ErrorCode>); 6] = [
        (&[0x00, 0x07, 0, 0], Some(ErrorCode::UNSUPPORTED)),
        (&[0x80, 0x07, 0, 1, 9, 0x40, 0x01, 0, 0], Some(ErrorCode::UNSUPPORTED)),
        (&[0x80, 0x07, 0, 9, 1], Some(ErrorCode::MALFORMED)),
        (&[0x00, 0x07, 0, 9, 1], Some(ErrorCode::MALFORMED)),
        (&[0x80, 0x07, 0, 1, 9], None),
        (&[0x80, 0x07, 0, 0, 0xff, 0xff, 0, 2, 1, 2], None),
    ];
    for (extensions, refused) in cases {
        let correlation = ann.next_correlation();
        let payload = [&fields[..], extensions].concat();
        ann.send_bytes(&raw_frame(FrameType::PUBLISH.0, correlation.0, &payload)).await;
        match (ann.answer(correlation).await, refused) {
            (hark_protocol::Frame::Error(error), Some(code)) => assert_eq!(error.code, code),
            (hark_protocol::Frame::Published(_), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    let log = ann.log(room).await;
    assert_eq!(log.len(), 2, "the same request with other extensions is the same request");
    ann.tell(hark_protocol::Pong { data: hark_protocol::Blob::default() }).await;
    ann.send_bytes(&raw_frame(FrameType::PING.0, 999, &[0, 0, 0, 0, 0x80, 1, 0, 0])).await;
    the!(ann.answer(Correlation(999)).await, Pong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_only_servers_send_are_dropped_where_they_may_be_skipped() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    for ignorable in [FrameType::SIGNALLED, FrameType::PRESENCE, FrameType::PROFILE] {
        ann.send_bytes(&raw_frame(ignorable.0, 0, b"whatever")).await;
    }
    assert!(ann.barrier().await.is_empty());
}

//! HELLO and WELCOME: who speaks first, in which version, with which capabilities and limits.

use hark_protocol::limits::PRE_AUTH_FRAME_BYTES_MAX;
use hark_protocol::{
    AuthMethod, Capability, Correlation, ErrorCode, Frame, FrameType, Hello, LimitId, RoomId,
};

use crate::rig::{Peer, Rig, Setup, auth, client_id, every, hello, publish, raw_frame, the};

fn versions(version_min: u8, version_max: u8) -> Hello {
    Hello { version_min, version_max, ..hello(&[], 0) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn welcome_tells_version_limits_and_ways_to_log_in() {
    let setup = Setup { registration: false, ..Setup::default() };
    let expected = setup.limits.advertised::<128>().into_vec();
    let rig = Rig::build(setup).await;
    let mut peer = rig.stranger().await;
    let welcome = the!(peer.ask(hello(&[], 0)).await, Welcome);
    assert_eq!(welcome.version, 1);
    assert_eq!(*welcome.limits, expected);
    assert_eq!(*welcome.auth_methods, [AuthMethod::PASSWORD, AuthMethod::DEVICE_TOKEN]);
    assert!(!welcome.registration);
    assert!(welcome.agent.as_str().starts_with("harkd/"), "{}", welcome.agent);
    assert_eq!(welcome.limit(LimitId::BODY_BYTES), Some(65_536 - 256));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_highest_common_version_is_chosen() {
    let rig = Rig::start().await;
    for (min, max) in [(1, 1), (1, 9), (0, 1), (0, 255)] {
        let mut peer = rig.stranger().await;
        assert_eq!(the!(peer.ask(versions(min, max)).await, Welcome).version, 1, "{min}..{max}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_common_version_names_the_range_and_ends_the_connection() {
    let rig = Rig::start().await;
    for (min, max) in [(2, 9), (7, 9), (0, 0), (2, 1)] {
        let mut peer = rig.stranger().await;
        peer.send(versions(min, max)).await;
        let error = peer.end_by_error().await;
        assert_eq!(error.code, ErrorCode::VERSION_UNSUPPORTED);
        assert!(error.text.as_str().contains("1 to 1"), "{}", error.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_can_not_be_read_is_malformed_and_may_be_said_again() {
    let rig = Rig::start().await;
    let mut peer = rig.stranger().await;
    peer.send_bytes(&raw_frame(FrameType::HELLO.0, 77, &[1])).await;
    assert_eq!(the!(peer.answer(Correlation(77)).await, Error).code, ErrorCode::MALFORMED);
    peer.tell(hello(&[], 0)).await;
    assert_eq!(the!(peer.news().await, Error).code, ErrorCode::MALFORMED);
    the!(peer.ask(hello(&[], 0)).await, Welcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_comes_first_and_once() {
    let rig = Rig::start().await;
    let mut member = rig.login("ann").await;
    let room = member.create_room("tea").await;
    member.follow(room).await;

    let strangers: [Frame; 3] = [
        publish(room, 1, "hello").into(),
        auth(AuthMethod::PASSWORD, "ann", "correct horse").into(),
        hark_protocol::Ping { data: "x".parse().unwrap() }.into(),
    ];
    for first in strangers {
        let mut peer = rig.stranger().await;
        peer.send(first).await;
        assert_eq!(peer.end_by_error().await.code, ErrorCode::BAD_STATE);
    }
    let mut peer = rig.greeted().await;
    peer.send(hello(&[], 0)).await;
    assert_eq!(peer.end_by_error().await.code, ErrorCode::BAD_STATE);
    member.send(hello(&[], 0)).await;
    assert_eq!(member.end_by_error().await.code, ErrorCode::BAD_STATE);
    assert_eq!(rig.login("ann").await.log(room).await.len(), 1, "nothing but the room's first join");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ignorable_frame_before_hello_is_dropped() {
    let rig = Rig::start().await;
    let mut peer = rig.stranger().await;
    peer.send_bytes(&raw_frame(0xbeef, 0, b"whatever")).await;
    the!(peer.ask(hello(&[], 0)).await, Welcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn welcome_lists_what_both_sides_can_do() {
    let rig = Rig::start().await;
    let offers: [(&[Capability], &[Capability]); 4] = [
        (&[], &[]),
        (&[Capability::SIGNALS], &[Capability::SIGNALS]),
        (&[Capability(0x7777), Capability::PRESENCE, Capability(0xffff)], &[Capability::PRESENCE]),
        (&[Capability::PRESENCE, Capability::SIGNALS], &[Capability::PRESENCE, Capability::SIGNALS]),
    ];
    for (offered, expected) in offers {
        let welcome = the!(rig.stranger().await.ask(hello(offered, 0)).await, Welcome);
        assert_eq!(*welcome.capabilities, *expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_of_hello_are_skipped_or_refused_by_their_bit() {
    let rig = Rig::start().await;
    let mut payload = Vec::new();
    hark_protocol::Wire::put(&hello(&[], 0), &mut payload);
    let ignorable = [&payload[..], &[0x80, 0x07, 0, 2, 1, 2]].concat();
    let mut peer = rig.stranger().await;
    peer.send_bytes(&raw_frame(FrameType::HELLO.0, 5, &ignorable)).await;
    the!(peer.answer(Correlation(5)).await, Welcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_may_send_4096_bytes_and_no_more() {
    let rig = Rig::start().await;
    for frame_type in [FrameType::HELLO, FrameType::EVENT, FrameType::PAGE] {
        let mut peer = rig.stranger().await;
        let mut header = raw_frame(frame_type.0, 1, &[]);
        header[12..16].copy_from_slice(&(PRE_AUTH_FRAME_BYTES_MAX + 1).to_be_bytes());
        peer.send_bytes(&header).await; // the header alone, its checksum wrong
        assert_eq!(peer.end_by_error().await.code, ErrorCode::FRAME_TOO_LARGE, "{frame_type}");
    }
    let mut peer = rig.greeted().await;
    let ignorable = raw_frame(0xbeef, 0, &vec![0; PRE_AUTH_FRAME_BYTES_MAX as usize]);
    peer.send_bytes(&ignorable).await;
    assert!(peer.barrier().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_conversation_may_come_in_one_write() {
    let rig = Rig::start().await;
    let token = rig.device_token("ann");
    let mut peer = rig.stranger().await;
    let correlations = peer
        .send_all([
            hello(&[], 0).into(),
            auth(AuthMethod::DEVICE_TOKEN, "ann", &token).into(),
            hark_protocol::RoomCreate {
                client_id: client_id(1),
                name: "tea".parse().unwrap(),
                visibility: hark_protocol::Visibility::PUBLIC,
                history: hark_protocol::HistoryPolicy::ALL,
                topic: Default::default(),
            }
            .into(),
            crate::rig::join("tea", 2).into(),
        ])
        .await;
    let frames = collect(&mut peer, &correlations).await;
    the!(frames[0].clone(), Welcome);
    the!(frames[1].clone(), Authenticated);
    let made = the!(frames[2].clone(), Published);
    let joined = the!(frames[3].clone(), Published);
    assert_eq!((joined.room, joined.seq, joined.duplicate), (made.room, made.seq, true));
}

async fn collect(peer: &mut Peer, correlations: &[Correlation]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for correlation in correlations {
        frames.push(peer.answer(*correlation).await);
    }
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_hello_register_and_auth_is_done_before_a_login() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let mut peer = rig.greeted().await;
    let requests: [Frame; 6] = [
        publish(room, 1, "hello").into(),
        crate::rig::join("tea", 2).into(),
        hark_protocol::PresenceSet { state: hark_protocol::PresenceState::ONLINE }.into(),
        hark_protocol::Unsubscribe { rooms: hark_protocol::List::new(vec![RoomId(1)]).unwrap() }.into(),
        hark_protocol::AccountList { after: hark_protocol::AccountId(0), limit: 0 }.into(),
        hark_protocol::RoomGet { name: "tea".parse().unwrap() }.into(),
    ];
    for request in requests {
        assert_eq!(peer.refusal(request).await.code, ErrorCode::UNAUTHENTICATED);
    }
    let ack = hark_protocol::Ack { room, epoch: hark_protocol::Epoch(1), seq: hark_protocol::Seq(1) };
    peer.tell(ack).await;
    assert_eq!(the!(peer.news().await, Error).code, ErrorCode::UNAUTHENTICATED);
    assert_eq!(every!(peer.barrier().await, Error), []);
    assert_eq!(ann.log(room).await.len(), 1);
}

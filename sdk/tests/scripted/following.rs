//! Following rooms: everything once, in order, and every hole named.

use std::time::Duration;

use hark_protocol::*;
use hark_sdk::{
    EndReason as Ended, Events, Gap as Missing, HistoryItem, Origin, RoomEvent, Start, SubscribeErrorKind,
};

use crate::server::*;

/// A followed room: the stream, and the peer behind its SUBSCRIBED.
async fn follow(
    room: &hark_sdk::Room,
    peer: &mut Peer,
    start: Start,
    answer: Subscribed,
) -> (Events, SubscribeItem) {
    let asking = async {
        let (correlation, item) = peer.subscribe().await;
        peer.send(correlation, answer).await;
        item
    };
    let (events, item) = tokio::join!(room.events(start), asking);
    (events.expect("the subscription is granted"), item)
}

async fn next(events: &mut Events) -> RoomEvent {
    within(60, events.next()).await.expect("an item")
}

async fn next_seq(events: &mut Events) -> u64 {
    match next(events).await {
        RoomEvent::Event(event) => event.seq.0,
        other => panic!("an event, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn replay_becomes_live_and_own_events_are_marked() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, item) = follow(&room, &mut peer, Start::Latest(2), exact(4, 5)).await;
    assert_eq!((item.from, item.seq, item.mode), (From::LATEST, Seq(2), SubscriptionMode::TRANSIENT));
    assert_eq!((events.begun().next, events.begun().head), (Seq(4), Seq(5)));
    for seq in [4, 5] {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    peer.send(Correlation::NONE, Replayed { room: ROOM, epoch: EPOCH, seq: Seq(5) }).await;
    peer.send(Correlation::NONE, Event { author: ME, ..event(6) }).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        match next(&mut events).await {
            RoomEvent::Event(event) => seen.push((event.seq.0, event.origin, event.own)),
            RoomEvent::Replayed { head } => assert_eq!(head, Seq(5)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [(4, Origin::Replay, false), (5, Origin::Replay, false), (6, Origin::Live, true)]);
}

#[tokio::test(start_paused = true)]
async fn every_start_asks_for_what_it_says() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let cases = [
        (Start::Now, From::NOW, 0, 0, SubscriptionMode::TRANSIENT),
        (Start::Beginning, From::START, 0, 0, SubscriptionMode::TRANSIENT),
        (Start::After { epoch: None, seq: Seq(9) }, From::POSITION, 0, 9, SubscriptionMode::TRANSIENT),
        (Start::After { epoch: Some(EPOCH), seq: Seq(9) }, From::POSITION, 5, 9, SubscriptionMode::TRANSIENT),
        (Start::Cursor, From::CURSOR, 0, 0, SubscriptionMode::DURABLE),
    ];
    let mut streams = Vec::new();
    for (start, from, epoch, seq, mode) in cases {
        let (events, item) = follow(&room, &mut peer, start, exact(10, 9)).await;
        assert_eq!((item.from, item.epoch, item.seq, item.mode), (from, Epoch(epoch), Seq(seq), mode));
        assert_eq!((item.room, item.level, item.window), (ROOM, Level::FULL, 256));
        streams.push(events);
    }
    let newest = streams.pop();
    for mut replaced in streams {
        assert_eq!(next(&mut replaced).await, RoomEvent::Ended { reason: Ended::Replaced });
        assert_eq!(replaced.next().await, None);
    }
    drop(newest);
    assert!(
        matches!(peer.recv().await.1, Frame::Unsubscribe(unsubscribe) if unsubscribe.rooms[..] == [ROOM])
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_goes_on_where_it_was_without_duplicates() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(11, 10)).await;
    peer.send(Correlation::NONE, event(11)).await;
    peer.send(Correlation::NONE, event(12)).await;
    assert_eq!(next_seq(&mut events).await, 11);
    drop(peer);
    let mut peer = server.login().await;
    let (correlation, item) = peer.subscribe().await;
    assert_eq!((item.from, item.epoch, item.seq), (From::POSITION, EPOCH, Seq(12)));
    peer.send(correlation, exact(13, 14)).await;
    for seq in [12, 13, 13, 14, 15] {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    for seq in 12..=15 {
        match next(&mut events).await {
            RoomEvent::Event(event) => {
                assert_eq!(event.seq, Seq(seq));
                assert_eq!(event.origin == Origin::Replay, seq == 13 || seq == 14, "{seq}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn gaps_are_items_wherever_they_come_from() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let item = VerdictItem {
        verdict: Verdict::GAP,
        gap_from: Seq(3),
        gap_to: Seq(7),
        gap_reason: GapReason::RETENTION,
        ..exact(8, 20).rooms[0].clone()
    };
    let start = Start::After { epoch: Some(EPOCH), seq: Seq(2) };
    let (mut events, _) = follow(&room, &mut peer, start, verdict(item)).await;
    peer.send(Correlation::NONE, event(8)).await;
    let damaged = Gap { room: ROOM, epoch: EPOCH, from: Seq(9), to: Seq(9), reason: GapReason::DAMAGED };
    peer.send(Correlation::NONE, damaged).await;
    peer.send(Correlation::NONE, event(10)).await;
    let gap =
        |from, to, reason| RoomEvent::Gap(Missing { from: Seq(from), to: Seq(to), reason: Some(reason) });
    assert_eq!(next(&mut events).await, gap(3, 7, GapReason::RETENTION));
    assert_eq!(next_seq(&mut events).await, 8);
    assert_eq!(next(&mut events).await, gap(9, 9, GapReason::DAMAGED));
    assert_eq!(next_seq(&mut events).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_never_shown_but_read_again() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(7, 6)).await;
    // 8 before 7: the first is a hole, the second comes too late to mend it.
    for seq in [8, 7] {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    let said = peer.rest().await;
    assert!(matches!(&said[..], [Frame::Close(close)] if close.code == ErrorCode::FLOW), "{said:?}");
    let mut peer = server.login().await;
    let (correlation, item) = peer.subscribe().await;
    assert_eq!((item.from, item.seq), (From::POSITION, Seq(6)));
    peer.send(correlation, exact(7, 8)).await;
    for seq in [7, 8] {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    assert_eq!((next_seq(&mut events).await, next_seq(&mut events).await), (7, 8));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_would_leave_a_silent_gap_is_not_believed() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(7, 6)).await;
    drop(peer);
    let mut peer = server.login().await;
    let (correlation, _) = peer.subscribe().await;
    peer.send(correlation, exact(9, 8)).await;
    peer.rest().await;
    let mut peer = server.login().await;
    let (correlation, item) = peer.subscribe().await;
    assert_eq!(item.seq, Seq(6));
    peer.send(correlation, exact(7, 8)).await;
    peer.send(Correlation::NONE, event(7)).await;
    assert_eq!(next_seq(&mut events).await, 7);
}

#[tokio::test(start_paused = true)]
async fn another_epoch_is_a_reset_and_the_end() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(7, 6)).await;
    drop(peer);
    let mut peer = server.login().await;
    let (correlation, _) = peer.subscribe().await;
    let item = VerdictItem { verdict: Verdict::RESET, epoch: Epoch(6), ..exact(0, 3).rooms[0].clone() };
    peer.send(correlation, verdict(item)).await;
    let reset = RoomEvent::Reset { epoch: Epoch(6), first: Seq(1), head: Seq(3) };
    assert_eq!(next(&mut events).await, reset);
    assert_eq!(next(&mut events).await, RoomEvent::Ended { reason: Ended::Reset });
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_refused_room_is_an_error_at_first_and_an_end_later() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let refused =
        |code| verdict(VerdictItem { verdict: Verdict::REFUSED, code, ..exact(0, 0).rooms[0].clone() });
    let asking = async {
        let (correlation, _) = peer.subscribe().await;
        peer.send(correlation, refused(ErrorCode::NOT_MEMBER)).await;
    };
    let (events, ()) = tokio::join!(room.events(Start::Now), asking);
    assert_eq!(events.unwrap_err().kind(), &SubscribeErrorKind::NotMember);
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(1, 0)).await;
    drop(peer);
    let mut peer = server.login().await;
    // What will pass is asked again; what will not is the end.
    let (correlation, _) = peer.subscribe().await;
    peer.send(correlation, refused(ErrorCode::UNAVAILABLE)).await;
    let (correlation, _) = peer.subscribe().await;
    peer.send(correlation, refused(ErrorCode::NOT_FOUND)).await;
    assert_eq!(next(&mut events).await, RoomEvent::Ended { reason: Ended::Refused(ErrorCode::NOT_FOUND) });
}

#[tokio::test(start_paused = true)]
async fn the_server_ends_a_subscription_with_its_reason() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(1, 0)).await;
    let kick = SubscriptionEnded { room: ROOM, epoch: EPOCH, seq: Seq(0), reason: EndReason::KICKED };
    peer.send(Correlation::NONE, kick).await;
    assert_eq!(next(&mut events).await, RoomEvent::Ended { reason: Ended::Kicked });
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn unknown_ignorable_frames_are_passed_over_and_unknown_critical_ones_end_the_connection() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(1, 0)).await;
    let mut watching = client.events();
    let strange = |frame_type: u16, correlation: u32| {
        let mut bytes =
            EncodedFrame::new(Correlation(correlation), &Ping { data: Blob::default() }).as_slice().to_vec();
        bytes[6..8].copy_from_slice(&frame_type.to_be_bytes());
        let head: [u8; 16] = bytes[..16].try_into().unwrap();
        let sum = header::checksum(&head, &bytes[20..]);
        bytes[16..20].copy_from_slice(&sum.to_be_bytes());
        bytes
    };
    peer.send_raw(&strange(0xc123, 0)).await;
    let name = AccountName::parse("bob").unwrap();
    peer.send(Correlation::NONE, Presence { account: AccountId(2), name, state: PresenceState(77) }).await;
    let presence = within(60, futures_util::StreamExt::next(&mut watching)).await.unwrap();
    assert!(
        matches!(presence, hark_sdk::ClientEvent::Presence { state: PresenceState(77), .. }),
        "{presence:?}"
    );
    peer.send(Correlation::NONE, event(1)).await;
    assert_eq!(next_seq(&mut events).await, 1);
    peer.send_raw(&strange(0x0177, 99)).await;
    let said = peer.rest().await;
    assert!(matches!(&said[..], [Frame::Close(close)] if close.code == ErrorCode::UNKNOWN_TYPE), "{said:?}");
    server.login().await;
}

#[tokio::test(start_paused = true)]
async fn frames_cut_anywhere_are_the_same_frames() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(1, 0)).await;
    let bytes: Vec<u8> = (1..=4)
        .flat_map(|seq| Frame::from(event(seq)).encode(Correlation::NONE).as_slice().to_vec())
        .collect();
    let (trickle, lump) = bytes.split_at(bytes.len() / 2 + 3);
    for byte in trickle {
        peer.send_raw(&[*byte]).await;
    }
    peer.send_raw(lump).await;
    for seq in 1..=4 {
        assert_eq!(next_seq(&mut events).await, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn signals_reach_the_room_they_are_of() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Now, exact(1, 0)).await;
    room.typing(SignalKind::TYPING);
    let (correlation, frame) = peer.recv().await;
    assert_eq!(correlation, Correlation::NONE);
    assert_eq!(frame, Frame::Signal(Signal { room: ROOM, kind: SignalKind::TYPING }));
    let name = AccountName::parse("bob").unwrap();
    let signal = Signalled { room: ROOM, account: AccountId(2), name, kind: SignalKind::TYPING };
    peer.send(Correlation::NONE, signal).await;
    assert!(matches!(next(&mut events).await, RoomEvent::Signal { kind: SignalKind::TYPING, .. }));
}

#[tokio::test(start_paused = true)]
async fn history_is_read_page_after_page_and_passes_over_nothing_in_silence() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let page = |from: u64, to: u64, more| {
        let frames: Vec<EncodedFrame> = (from..=to)
            .filter(|seq| *seq != 45)
            .map(|seq| EncodedFrame::new(Correlation::NONE, &event(seq)))
            .collect();
        Page { room: ROOM, epoch: EPOCH, first: Seq(1), head: Seq(90), more, events: Frames::new(&frames) }
    };
    let reading = tokio::spawn(room.history().before(Seq(51)).limit(10).collect());
    let mut asked = Vec::new();
    for answer in [page(90, 90, true), page(41, 46, true), page(47, 60, true)] {
        let (correlation, frame) = peer.recv().await;
        let Frame::History(history) = frame else { panic!("{frame:?}") };
        asked.push((history.direction, history.epoch, history.seq.0, history.limit));
        peer.send(correlation, answer).await;
    }
    let items = reading.await.unwrap().unwrap();
    let seqs: Vec<u64> = items
        .iter()
        .map(|item| match item {
            HistoryItem::Event(event) => event.seq.0,
            HistoryItem::Gap(gap) => {
                assert_eq!(gap, &Missing { from: Seq(45), to: Seq(45), reason: None });
                45
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seqs, (41..=50).collect::<Vec<_>>());
    assert_eq!(
        asked,
        [
            (Direction::BEFORE, Epoch(0), 0, 1),
            (Direction::AFTER, EPOCH, 40, 10),
            (Direction::AFTER, EPOCH, 46, 4)
        ]
    );
    assert!(tokio::time::timeout(Duration::from_secs(5), peer.publish()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_can_not_be_read_fails_its_request_and_ends_the_connection() {
    let (mut server, builder) = Server::new();
    let (client, room, mut peer) = in_room(&mut server, builder).await;
    let reading = tokio::spawn(room.history().collect());
    let (correlation, _) = peer.recv().await;
    let mut bytes = EncodedFrame::new(correlation, &Pong { data: "xx".parse().unwrap() }).as_slice().to_vec();
    bytes[6..8].copy_from_slice(&FrameType::PAGE.0.to_be_bytes());
    let head: [u8; 16] = bytes[..16].try_into().unwrap();
    let sum = header::checksum(&head, &bytes[20..]);
    bytes[16..20].copy_from_slice(&sum.to_be_bytes());
    peer.send_raw(&bytes).await;
    assert_eq!(reading.await.unwrap().unwrap_err().kind(), &hark_sdk::HistoryErrorKind::Protocol);
    // [FR-R46]: what stands behind bytes that make no sense can not be trusted either.
    let state = client.state();
    assert!(matches!(state, hark_sdk::ClientState::Reconnecting { attempt: 1, .. }), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_nobody_waits_for_any_more_is_ended() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let asking = tokio::spawn({
        let room = room.clone();
        async move { room.events(Start::Now).await }
    });
    let (correlation, _) = peer.subscribe().await;
    asking.abort();
    let (other, frame) = peer.recv().await;
    assert!(matches!(frame, Frame::Unsubscribe(unsubscribe) if unsubscribe.rooms[..] == [ROOM]));
    // The answer that comes too late is the answer to nobody, and so are the events behind it.
    peer.send(correlation, exact(1, 1)).await;
    peer.send(Correlation::NONE, event(1)).await;
    peer.send(other, Ok {}).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Beginning, exact(1, 1)).await;
    peer.send(Correlation::NONE, event(1)).await;
    assert_eq!(next_seq(&mut events).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_durable_cursor_moves_over_what_was_taken_before_the_connection_was_lost() {
    let (mut server, builder) = Server::new();
    let (_client, room, mut peer) = in_room(&mut server, builder).await;
    let (mut events, _) = follow(&room, &mut peer, Start::Cursor, exact(1, 2)).await;
    for seq in [1, 2] {
        peer.send(Correlation::NONE, event(seq)).await;
    }
    assert_eq!((next_seq(&mut events).await, next_seq(&mut events).await), (1, 2));
    drop(peer);
    let mut peer = server.login().await;
    let (correlation, item) = peer.subscribe().await;
    assert_eq!((item.from, item.seq, item.mode), (From::POSITION, Seq(2), SubscriptionMode::DURABLE));
    peer.send(correlation, exact(3, 2)).await;
    events.done();
    let (_, frame) = peer.recv().await;
    assert_eq!(frame, Frame::Ack(Ack { room: ROOM, epoch: EPOCH, seq: Seq(2) }));
}

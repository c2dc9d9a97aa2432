//! PUBLISH: identity, order, and what an acknowledgement is worth.

use hark_protocol::{
    Blob, Close, Direction, Disposition, Durability, ErrorCode, Frame, From as Start, Kind, LimitId, Ping,
    Publish, Seq,
};

use crate::rig::{Rig, client_id, events, every, in_room, join, publish, the};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_says_where_the_event_stands_and_everybody_can_read_it() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    ann.follow(room).await;
    let acked = ann.publish(room, 1, "two sugars?").await;
    assert_eq!((acked.room, acked.seq, acked.durability), (room, Seq(3), Durability::DISK));
    assert!(!acked.duplicate);
    let page = bob.page(room, Direction::BEFORE, 0, 1).await;
    let event = events(&page).remove(0);
    assert_eq!((event.seq, event.time, event.room), (acked.seq, acked.time, room));
    assert_eq!((event.author_name.as_str(), event.client_id), ("ann", client_id(1)));
    assert_eq!((event.kind, &event.body[..]), (Kind::MESSAGE, &b"two sugars?"[..]));
    assert_eq!(every!(ann.barrier().await, Event), [event], "its author sees it too, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_answered_with_the_first_seq_wherever_it_comes_from() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    bob.follow(room).await;
    let first = ann.publish(room, 7, "once").await;
    for _ in 0..3 {
        let again = ann.publish(room, 7, "once").await;
        assert_eq!((again.seq, again.time, again.epoch), (first.seq, first.time, first.epoch));
        assert!(again.duplicate);
    }
    let mut other = rig.login("ann").await;
    let again = other.publish(room, 7, "once").await;
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    for id in 100..400 {
        other.publish(room, id, "more").await;
    }
    assert_eq!(other.publish(room, 7, "once").await.seq, first.seq);
    let heard = every!(bob.barrier().await, Event);
    assert_eq!(heard.iter().filter(|event| event.client_id == client_id(7)).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_belongs_to_room_and_author_and_stands_for_one_content() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let (tea, coffee) = (ann.create_room("tea").await, ann.create_room("coffee").await);
    bob.join("tea", 1).await;
    let first = ann.publish(tea, 7, "mine").await;
    assert!(!bob.publish(tea, 7, "mine").await.duplicate, "another author");
    assert!(!ann.publish(coffee, 7, "mine").await.duplicate, "another room");
    assert_eq!(ann.refusal(publish(tea, 7, "yours")).await.code, ErrorCode::CONFLICT);
    let kind = Publish { kind: Kind(0x4001), ..publish(tea, 7, "mine") };
    assert_eq!(ann.refusal(kind).await.code, ErrorCode::CONFLICT);
    assert_eq!(ann.publish(tea, 7, "mine").await.seq, first.seq);
    assert_eq!(ann.log(tea).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_publish_uses_no_seq_and_no_identity() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    let refusals = [
        (publish(room, 2, vec![0; 65_281]), ErrorCode::TOO_LARGE),
        (Publish { kind: Kind::JOIN, ..publish(room, 2, "x") }, ErrorCode::FORBIDDEN),
        (Publish { kind: Kind(0x3999), ..publish(room, 2, "x") }, ErrorCode::UNSUPPORTED),
        (Publish { kind: Kind(0x8000), ..publish(room, 2, "x") }, ErrorCode::UNSUPPORTED),
    ];
    for (request, code) in refusals {
        assert_eq!(ann.refusal(request).await.code, code);
    }
    assert_eq!(bob.refusal(publish(room, 2, "x")).await.code, ErrorCode::NOT_MEMBER);
    let acked = ann.publish(room, 2, "now right").await;
    assert_eq!((acked.seq, acked.duplicate), (Seq(2), false));
    assert_eq!(ann.log(room).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identity_comes_before_judgement() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    bob.join("tea", 1).await;
    let first = bob.publish(room, 7, "last words").await;
    ann.kick(room, "bob", 2).await;
    let again = bob.publish(room, 7, "last words").await;
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    assert_eq!(bob.refusal(publish(room, 7, "other words")).await.code, ErrorCode::CONFLICT);
    assert_eq!(bob.refusal(publish(room, 8, "more words")).await.code, ErrorCode::NOT_MEMBER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_out_as_they_went_in() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.follow(room).await;
    let bodies: [&[u8]; 8] = [
        b"",
        b"x",
        b"\0\0",
        "👍🏽".as_bytes(),
        "שלום".as_bytes(),
        b"\xff\xfe\xc3\x28",
        b"HARK\x01\0\x02\x07",
        &[0xa5; 65_280],
    ];
    for (id, body) in (1..).zip(bodies) {
        ann.publish(room, id, body).await;
        let event = ann.event().await;
        assert_eq!(event.body[..], *body);
        ann.ack(room, hark_protocol::Epoch(0), Seq(0)).await; // of another epoch: passed over
    }
    for (event, body) in ann.log(room).await[1..].iter().zip(bodies) {
        assert_eq!(event.body[..], *body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_of_applications_are_carried() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    for (id, kind) in [(1, Kind(0x4000)), (2, Kind(0x7fff))] {
        the!(ann.ask(Publish { kind, ..publish(room, id, "x") }).await, Published);
        assert_eq!(ann.log(room).await.last().unwrap().kind, kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pipelined_publishes_keep_their_order() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let acked = ann.publish_all(room, 1..=1_000).await;
    let seqs: Vec<u64> = acked.iter().map(|published| published.seq.0).collect();
    assert_eq!(seqs, (2..=1_001).collect::<Vec<_>>());
    let log = ann.log(room).await;
    let ids: Vec<_> = log[1..].iter().map(|event| event.client_id).collect();
    assert_eq!(ids, (1..=1_000).map(client_id).collect::<Vec<_>>());
    assert!(log.windows(2).all(|pair| pair[0].time <= pair[1].time));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_authors_and_three_observers_agree() {
    let rig = Rig::start().await;
    let mut owner = rig.login("owner").await;
    let room = owner.create_room("tea").await;
    let mut observers = Vec::new();
    for name in ["one", "two", "three"] {
        let mut observer = rig.login(name).await;
        observer.join("tea", 1).await;
        observers.push(observer);
    }
    let epoch = observers[0].subscribe(in_room(room, Start::LATEST, 0)).await.epoch;
    for observer in &mut observers[1..] {
        observer.subscribe(in_room(room, Start::LATEST, 0)).await;
    }
    let mut authors = tokio::task::JoinSet::new();
    for number in 0..8 {
        let name = format!("author-{number}");
        let mut author = rig.login(&name).await;
        author.join("tea", 1).await;
        authors.spawn(async move { author.publish_all(room, 1_000..1_250).await });
    }
    let mut readers = tokio::task::JoinSet::new();
    for mut observer in observers {
        readers.spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 2_000 {
                let Frame::Event(event) = observer.news().await else { continue };
                if event.seq.0 % 64 == 0 {
                    observer.ack(room, epoch, event.seq).await;
                }
                if event.kind == Kind::MESSAGE {
                    seen.push(event);
                }
            }
            seen
        });
    }
    let acked: Vec<Vec<_>> = authors.join_all().await;
    let seen = readers.join_all().await;
    assert!(seen.iter().all(|one| *one == seen[0]), "all observers saw the same");
    for published in &acked {
        assert!(published.windows(2).all(|pair| pair[0].seq < pair[1].seq), "each author's order holds");
    }
    let mut seqs: Vec<Seq> = acked.iter().flatten().map(|published| published.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, seen[0].iter().map(|event| event.seq).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn join_publish_and_ping_in_one_write_are_taken_in_order() {
    let rig = Rig::start().await;
    let (mut ann, mut bob) = (rig.login("ann").await, rig.login("bob").await);
    let room = ann.create_room("tea").await;
    let correlations = bob
        .send_all([
            join("tea", 1).into(),
            publish(room, 2, "just in").into(),
            hark_protocol::RoomLeave { client_id: client_id(3), room }.into(),
            publish(room, 4, "too late").into(),
            Ping { data: Blob::default() }.into(),
        ])
        .await;
    let mut answers = Vec::new();
    for _ in &correlations {
        answers.push(bob.next().await);
    }
    let order: Vec<_> = answers.iter().map(|(of, _)| *of).collect();
    assert_eq!(order, correlations);
    assert_eq!(the!(answers[0].1.clone(), Published).seq, Seq(2));
    assert_eq!(the!(answers[1].1.clone(), Published).seq, Seq(3));
    assert_eq!(the!(answers[2].1.clone(), Published).seq, Seq(4));
    assert_eq!(the!(answers[3].1.clone(), Error).code, ErrorCode::NOT_MEMBER);
    the!(answers[4].1.clone(), Pong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_close_is_answered_before_close() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let close = Close { code: ErrorCode(0), disposition: Disposition::KEEP, text: Default::default() };
    let mut requests: Vec<Frame> = (1..=10).map(|id| publish(room, id, "bye").into()).collect();
    requests.push(close.into());
    ann.send_all(requests).await;
    let said = ann.end().await;
    assert_eq!(every!(said, Published).len(), 10);
    assert!(matches!(said.last(), Some(Frame::Close(_))), "{said:?}");
    assert_eq!(said.len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_resolves_to_one_event() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    for id in 1..=20 {
        let mut lost = rig.login("ann").await;
        lost.send(publish(room, id, "did it arrive?")).await;
        lost.vanish();
        ann.publish(room, id, "did it arrive?").await;
    }
    let log = ann.log(room).await;
    let mut ids: Vec<_> = log[1..].iter().map(|event| event.client_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=20).map(client_id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_publisher_is_slowed_down_to_its_rate() {
    let rig = Rig::with(|limits| {
        limits.publish_rate_per_second = 20;
        limits.publish_burst_max = 5;
    })
    .await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    let began = std::time::Instant::now();
    let acked = ann.publish_all(room, 1..=26).await;
    let took = began.elapsed();
    assert_eq!(acked.len(), 26, "slowed down and not refused");
    // Six at once, and then one every 50 ms.
    assert!(took.as_millis() >= 950, "26 publishes took {took:?}");
    assert!(took.as_millis() < 5_000, "26 publishes took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_have_to_wait_too_long_is_refused_and_a_retry_of_the_stored_is_not() {
    let rig = Rig::with(|limits| {
        limits.publish_rate_per_second = 1;
        limits.publish_burst_max = 0;
    })
    .await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish(room, 1, "first").await;
    let mut crowd = Vec::new();
    for id in 0..12 {
        let mut peer = rig.login("ann").await;
        peer.send(publish(room, 100 + id, "all at once")).await;
        crowd.push(peer);
    }
    let mut refused = Vec::new();
    let mut waiting = 0;
    for peer in &mut crowd {
        let answer = tokio::time::timeout(std::time::Duration::from_millis(300), peer.next()).await;
        match answer {
            Ok((_, Frame::Error(error))) => refused.push(error),
            Ok((_, Frame::Published(_))) | Err(_) => waiting += 1,
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert!((4..=8).contains(&waiting), "{waiting} wait, {} are refused", refused.len());
    for error in &refused {
        assert_eq!((error.code, error.limit, error.limit_value), (ErrorCode::RATE, LimitId::PUBLISH_RATE, 1));
        assert!(error.retryable && error.retry_after_ms >= 5_000, "{error:?}");
    }
    assert!(rig.login("ann").await.publish(room, 1, "first").await.duplicate, "identity before rate");
}

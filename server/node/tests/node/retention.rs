//! Retention and epochs as a peer meets them: gaps that are told, and a reset after a restore.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hark_core::Limits;
use hark_core::ports::{Directory, NewAccount, NewDevice, PasswordHash};
use hark_protocol::{
    AccountRole, AuthMethod, Direction, Epoch, ErrorCode, Frame, From as Start, GapReason, Kind, Retention,
    RoomGet, RoomId, RoomName, RoomRetention, Seq, SubscribeItem, SubscriptionMode, UnixMillis, Verdict,
};
use hark_server::Node;
use hark_server::assemble::{Backup, Damage, Present, Restore, open_stores};
use hark_server::entropy::OsEntropy;
use hark_server::token::{TokenKind, new_token, token_hash};
use tokio::net::TcpListener;

use crate::rig::{self, PATIENCE, Peer, Rig, Setup, client_id, events, every, in_room, server_config, the};

const KEEP_FOUR: Retention = Retention { max_age_s: 0, max_events: 4, max_bytes: 0 };

fn seqs(frames: &[Frame]) -> Vec<u64> {
    every!(frames, Event).iter().map(|event| event.seq.0).collect()
}

fn keep(room: RoomId, id: u64, retention: Retention) -> RoomRetention {
    RoomRetention { client_id: client_id(id), room, retention }
}

async fn room_of(rig: &Rig, events: u64) -> (Peer, RoomId) {
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish_all(room, 2..=events).await;
    (ann, room)
}

/// Waits until the room begins there.
async fn begins_at(rig: &Rig, room: RoomId, first: u64) {
    use hark_core::ports::LogReader;
    rig.until("the room's first moves", |rig| rig.reader.room(room).unwrap().unwrap().row.first.0 == first)
        .await;
    rig.until("all has been told", |rig| rig.number("hark_events_expired_total") == first - 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_says_what_the_room_keeps() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 9).await;
    let mut bob = rig.login("bob").await;
    assert_eq!(bob.refusal(keep(room, 1, KEEP_FOUR)).await.code, ErrorCode::NOT_MEMBER);
    bob.join("tea", 1).await;
    assert_eq!(bob.refusal(keep(room, 2, KEEP_FOUR)).await.code, ErrorCode::FORBIDDEN);
    ann.follow(room).await;
    let published = the!(ann.ask(keep(room, 50, KEEP_FOUR)).await, Published);
    assert_eq!((published.seq.0, published.duplicate), (11, false));
    let event = ann.event().await;
    assert_eq!((event.seq.0, event.kind), (11, Kind::RETENTION));
    // What holds already is no event, and a retry is one and the same.
    for id in [50, 51] {
        let again = the!(ann.ask(keep(room, id, KEEP_FOUR)).await, Published);
        assert_eq!((again.seq.0, again.duplicate), (11, true));
    }
    begins_at(&rig, room, 8).await;
    let name = RoomName::parse("tea").unwrap();
    let shown = the!(bob.ask(RoomGet { name }).await, Room).room;
    assert_eq!((shown.retention, shown.first.0, shown.head.0), (KEEP_FOUR, 8, 11));
    assert_eq!(rig.number("hark_events_removed_total"), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_room_does_not_keep_is_a_gap_at_subscribe_and_missing_from_pages() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 9).await;
    the!(ann.ask(keep(room, 50, KEEP_FOUR)).await, Published);
    begins_at(&rig, room, 7).await;
    let verdict = ann.subscribe(in_room(room, Start::POSITION, 2)).await;
    assert_eq!((verdict.verdict, verdict.first.0, verdict.head.0), (Verdict::GAP, 7, 10));
    assert_eq!((verdict.gap_from.0, verdict.gap_to.0, verdict.next.0), (3, 6, 7));
    assert_eq!(verdict.gap_reason, GapReason::RETENTION);
    assert_eq!(seqs(&ann.replay().await), [7, 8, 9, 10]);
    for (from, seq, next) in [(Start::START, 0, 7), (Start::LATEST, 99, 7), (Start::POSITION, 6, 7)] {
        let verdict = ann.subscribe(in_room(room, from, seq)).await;
        assert_eq!((verdict.verdict, verdict.next.0), (Verdict::EXACT, next), "{from}");
        assert_eq!(seqs(&ann.replay().await), [7, 8, 9, 10]);
    }
    for (direction, seq) in [(Direction::AFTER, 0), (Direction::AFTER, 3), (Direction::BEFORE, 0)] {
        let page = ann.page(room, direction, seq, 0).await;
        assert_eq!((page.first.0, page.head.0, page.more), (7, 10, false));
        assert!(events(&page).iter().map(|event| event.seq.0).eq(7..=10));
    }
    let page = ann.page(room, Direction::BEFORE, 7, 0).await;
    assert_eq!((page.events.iter().count(), page.more), (0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_reader_that_lags_is_told_of_what_went_meanwhile() {
    let rig = Rig::start().await;
    let (mut ann, room) = room_of(&rig, 2).await;
    let mut bob = rig.login("bob").await;
    assert_eq!(bob.join("tea", 1).await.seq.0, 3);
    let item = SubscribeItem { window: 2, ..in_room(room, Start::NOW, 0) };
    let epoch = bob.subscribe(item).await.epoch;
    the!(bob.news().await, Replayed);
    ann.publish_all(room, 4..=20).await;
    assert_eq!(seqs(&bob.barrier().await), [4, 5]);
    the!(ann.ask(keep(room, 50, KEEP_FOUR)).await, Published);
    begins_at(&rig, room, 18).await;
    // It is told at once: a gap takes up no window.
    let told = bob.news().await;
    let gap = the!(told, Gap);
    assert_eq!((gap.room, gap.epoch, gap.from.0, gap.to.0), (room, epoch, 6, 17));
    assert_eq!(gap.reason, GapReason::RETENTION);
    bob.ack(room, epoch, Seq(17)).await;
    assert_eq!(seqs(&bob.barrier().await), [18, 19]);
    bob.ack(room, epoch, Seq(19)).await;
    assert_eq!(seqs(&bob.barrier().await), [20, 21]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_own_bounds_hold_in_every_room_and_an_empty_room_goes_on() {
    let retention = Retention { max_age_s: 0, max_events: 0, max_bytes: 1 };
    let rig = Rig::build(Setup { retention, ..Setup::default() }).await;
    let (mut ann, room) = room_of(&rig, 9).await;
    begins_at(&rig, room, 10).await;
    let verdict = ann.subscribe(in_room(room, Start::POSITION, 4)).await;
    assert_eq!((verdict.verdict, verdict.next.0, verdict.head.0), (Verdict::GAP, 10, 9));
    the!(ann.news().await, Replayed);
    // Who is there gets an event before it goes, or is told that it went.
    assert_eq!(ann.publish(room, 10, "more").await.seq.0, 10);
    match ann.news().await {
        Frame::Event(event) => assert_eq!(event.seq.0, 10),
        Frame::Gap(gap) => assert_eq!((gap.from.0, gap.to.0), (10, 10)),
        other => panic!("{other:?}"),
    }
    begins_at(&rig, room, 11).await;
    assert!(ann.log(room).await.is_empty());
}

/// A node over a data folder, and a device of its one account.
async fn over(folder: &Path, token: Option<&str>) -> (Node, String) {
    let stores = open_stores(folder).unwrap();
    let token = token.map_or_else(|| with_device(&*stores.directory), str::to_owned);
    let node = Node::builder()
        .limits(Limits::open())
        .tls(Arc::new(ArcSwap::new(server_config())))
        .stores(stores)
        .start(TcpListener::bind("127.0.0.1:0").await.unwrap())
        .await
        .unwrap();
    (node, token)
}

fn with_device(directory: &dyn Directory) -> String {
    let password = PasswordHash("$none".into());
    let account = NewAccount {
        name: "ann".parse().unwrap(),
        display_name: "Ann".parse().unwrap(),
        role: AccountRole::USER,
        password: password.clone(),
        created: UnixMillis(1),
    };
    let account = directory.add_account(account).unwrap();
    let token = new_token(TokenKind::Device, &OsEntropy);
    let hash = token_hash(token.expose());
    let device =
        NewDevice { account, label: "phone".parse().unwrap(), token: hash, password, now: UnixMillis(1) };
    directory.add_device(device, 9).unwrap();
    token.expose().to_owned()
}

async fn ann(node: &Node, token: &str) -> Peer {
    let mut ann = Peer::connect(node.local_addr()).await;
    the!(ann.ask(rig::hello(&[], 0)).await, Welcome);
    the!(ann.ask(rig::auth(AuthMethod::DEVICE_TOKEN, "ann", token)).await, Authenticated);
    ann
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_every_position_is_reset_and_no_seq_is_taken_for_another() {
    let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = place.path().join("backup");
    let (node, token) = over(folder.path(), None).await;
    let mut peer = ann(&node, &token).await;
    let room = peer.create_room("tea").await;
    peer.publish_all(room, 2..=5).await;
    Backup { folder: folder.path(), target: &backup, files: &[] }.make().unwrap();
    let durable = |from, seq| SubscribeItem { mode: SubscriptionMode::DURABLE, ..in_room(room, from, seq) };
    let epoch = peer.subscribe(durable(Start::START, 0)).await.epoch;
    assert_eq!(seqs(&peer.replay().await), [1, 2, 3, 4, 5]);
    peer.publish_all(room, 6..=9).await;
    assert_eq!(seqs(&peer.barrier().await), [6, 7, 8, 9]);
    peer.ack(room, epoch, Seq(9)).await;
    peer.barrier().await;
    node.shutdown(PATIENCE).await;

    let (mut before, mut token_is_good) = (epoch, 0);
    for _ in 0..2 {
        let (present, damage) = (Present::MoveAside, Damage::Refuse);
        let restore = Restore { backup: &backup, folder: folder.path(), files: &[], present, damage };
        restore.run(&mut |finding| panic!("{finding}")).unwrap();
        let (node, _) = over(folder.path(), Some(&token)).await;
        let mut peer = ann(&node, &token).await;
        token_is_good += 1;
        // Where the client stood, in the epoch that it knows; the same seqs mean other events from now on.
        for seq in [3, 5, 9] {
            let item = SubscribeItem { epoch: before, ..in_room(room, Start::POSITION, seq) };
            let verdict = peer.subscribe(item).await;
            assert_eq!((verdict.verdict, verdict.head.0), (Verdict::RESET, 5), "{seq}");
            assert!(verdict.epoch > before, "{} {before}", verdict.epoch);
        }
        let verdict = peer.subscribe(in_room(room, Start::START, 0)).await;
        assert_eq!(seqs(&peer.replay().await), [1, 2, 3, 4, 5]);
        // What was acknowledged and lost is stored again, and what the backup has is known.
        let again = peer.publish_all(room, [5, 6]).await;
        assert_eq!((again[0].duplicate, again[0].seq.0), (true, 5));
        assert_eq!((again[1].duplicate, again[1].seq.0, again[1].epoch), (false, 6, verdict.epoch));
        assert_eq!(
            the!(
                peer.ask(hark_protocol::History {
                    room,
                    direction: Direction::AFTER,
                    epoch: before,
                    seq: Seq(0),
                    limit: 0,
                })
                .await,
                Error
            )
            .code,
            ErrorCode::EPOCH_CHANGED
        );
        before = verdict.epoch;
        node.shutdown(PATIENCE).await;
    }
    assert_eq!(token_is_good, 2);
    assert!(before > Epoch(0));
}

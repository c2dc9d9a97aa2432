//! Signals, presence and profiles: who is told, and who is not.

use hark_protocol::{
    AccountId, Capability, ErrorCode, Frame, Line, List, PresenceSet, PresenceState, ProfileSet, RoomId,
    RoomMembers, Signal, SignalKind, Unsubscribe,
};

use crate::rig::{Login, Peer, Rig, every, the};

const ALL: &[Capability] = &[Capability::PRESENCE, Capability::SIGNALS];

const QUIET: Login<'static> = Login { capabilities: ALL, connection_window: 0, is_visible: false };

const VISIBLE: Login<'static> = Login { capabilities: ALL, connection_window: 0, is_visible: true };

fn typing(room: RoomId) -> Signal {
    Signal { room, kind: SignalKind::TYPING }
}

fn display_name(name: &str) -> ProfileSet {
    ProfileSet { display_name: Line::parse(name).unwrap() }
}

/// A member of the room who follows it.
async fn follower(rig: &Rig, name: &str, login: Login<'_>, room: RoomId) -> Peer {
    let mut peer = rig.login_with(name, login).await;
    peer.join("tea", 1).await;
    peer.follow(room).await;
    peer
}

/// The next presence of somebody, whatever else is told meanwhile.
async fn presence_of(peer: &mut Peer, name: &str) -> PresenceState {
    loop {
        if let Frame::Presence(presence) = peer.news().await
            && presence.name.as_str() == name
        {
            return presence.state;
        }
    }
}

async fn member_presence(peer: &mut Peer, room: RoomId, name: &str) -> (PresenceState, String) {
    let ask = RoomMembers { room, after: AccountId(0), limit: 0 };
    let members = the!(peer.ask(ask).await, Members).members;
    let member = members.iter().find(|member| member.name.as_str() == name).unwrap();
    (member.presence, member.display_name.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_reaches_followers_that_can_take_it_and_nobody_else() {
    let rig = Rig::start().await;
    let mut ann = rig.login_with("ann", QUIET).await;
    let room = ann.create_room("tea").await;
    ann.follow(room).await;
    let mut bob = follower(&rig, "bob", QUIET, room).await;
    let mut unable = follower(&rig, "unable", Login::default(), room).await;
    let mut stranger = rig.login_with("stranger", QUIET).await;
    let mut not_following = follower(&rig, "deaf", QUIET, room).await;
    the!(not_following.ask(Unsubscribe { rooms: List::new(vec![room]).unwrap() }).await, Ok);
    ann.barrier().await;
    bob.barrier().await;

    ann.tell(typing(room)).await;
    ann.tell(Signal { room, kind: SignalKind(99) }).await;
    stranger.tell(typing(room)).await;
    stranger.tell(typing(RoomId(999))).await;
    assert!(every!(ann.barrier().await, Signalled).is_empty(), "not to who sent it");
    assert!(stranger.barrier().await.is_empty());
    let heard = every!(bob.barrier().await, Signalled);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((heard[0].room, heard[0].name.as_str(), heard[0].kind), (room, "ann", SignalKind::TYPING));
    for other in [&mut unable, &mut not_following] {
        assert!(every!(other.barrier().await, Signalled).is_empty());
    }
    assert_eq!(bob.log(room).await.len(), 4, "nothing of it is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_told_to_followers_of_a_shared_room() {
    let rig = Rig::start().await;
    let mut owner = rig.login_with("owner", QUIET).await;
    let room = owner.create_room("tea").await;
    owner.follow(room).await;
    let mut unable = follower(&rig, "unable", Login::default(), room).await;
    let mut stranger = rig.login_with("stranger", QUIET).await;
    let elsewhere = stranger.create_room("elsewhere").await;
    stranger.follow(elsewhere).await;

    let mut ann = rig.login_with("ann", VISIBLE).await;
    ann.join("tea", 1).await;
    the!(ann.ask(PresenceSet { state: PresenceState::AWAY }).await, Ok);
    assert_eq!(presence_of(&mut owner, "ann").await, PresenceState::AWAY);
    assert_eq!(member_presence(&mut owner, room, "ann").await.0, PresenceState::AWAY);
    the!(ann.ask(PresenceSet { state: PresenceState::ONLINE }).await, Ok);
    assert_eq!(presence_of(&mut owner, "ann").await, PresenceState::ONLINE);

    // The most present connection counts: one that comes and goes beside it changes nothing.
    let second = rig.login_with("ann", VISIBLE).await;
    the!(ann.ask(PresenceSet { state: PresenceState::AWAY }).await, Ok);
    second.vanish();
    assert_eq!(presence_of(&mut owner, "ann").await, PresenceState::AWAY);
    ann.vanish();
    assert_eq!(presence_of(&mut owner, "ann").await, PresenceState::OFFLINE);
    for other in [&mut unable, &mut stranger] {
        assert!(every!(other.barrier().await, Presence).is_empty());
    }
    assert_eq!(owner.log(room).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_connection_shows_nothing() {
    let rig = Rig::start().await;
    let mut owner = rig.login_with("owner", QUIET).await;
    let room = owner.create_room("tea").await;
    owner.follow(room).await;
    let mut hidden = rig.login_with("ann", QUIET).await;
    hidden.join("tea", 1).await;
    the!(hidden.ask(PresenceSet { state: PresenceState::ONLINE }).await, Ok);
    let mut visible = rig.login_with("bob", VISIBLE).await;
    visible.join("tea", 1).await;
    the!(visible.ask(PresenceSet { state: PresenceState::AWAY }).await, Ok);
    assert_eq!(presence_of(&mut owner, "bob").await, PresenceState::AWAY);
    let told = every!(owner.barrier().await, Presence);
    assert!(told.iter().all(|presence| presence.name.as_str() != "ann"), "{told:?}");
    assert_eq!(member_presence(&mut owner, room, "ann").await.0, PresenceState::OFFLINE);
    let offline = PresenceSet { state: PresenceState::OFFLINE };
    assert_eq!(hidden.refusal(offline).await.code, ErrorCode::MALFORMED);
    let unknown = PresenceSet { state: PresenceState(9) };
    assert_eq!(hidden.refusal(unknown).await.code, ErrorCode::UNSUPPORTED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_that_changes_all_the_time_is_told_now_and_then() {
    let rig = Rig::start().await;
    let mut owner = rig.login_with("owner", QUIET).await;
    let room = owner.create_room("tea").await;
    owner.follow(room).await;
    let mut ann = rig.login_with("ann", VISIBLE).await;
    ann.join("tea", 1).await;
    for round in 0..100 {
        let state = if round % 2 == 0 { PresenceState::ONLINE } else { PresenceState::AWAY };
        the!(ann.ask(PresenceSet { state }).await, Ok);
    }
    let mut told = 0;
    loop {
        told += 1;
        if presence_of(&mut owner, "ann").await == PresenceState::AWAY
            && rig.number("hark_frames_received_total{type=\"PRESENCE_SET\"}") == 100
        {
            break;
        }
    }
    assert!(told <= 20, "told {told} times");
    assert_eq!(member_presence(&mut owner, room, "ann").await.0, PresenceState::AWAY, "the last one wins");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_display_name_is_shown_and_told() {
    let rig = Rig::start().await;
    let mut owner = rig.login_with("owner", QUIET).await;
    let room = owner.create_room("tea").await;
    owner.follow(room).await;
    let mut ann = rig.login("ann").await;
    ann.join("tea", 1).await;
    let mut unable = follower(&rig, "unable", Login::default(), room).await;
    for (given, shown) in [("Ann 👑", "Ann 👑"), ("", "ann")] {
        the!(ann.ask(display_name(given)).await, Ok);
        let profile = every!(owner.barrier().await, Profile).pop().expect("told before the OK");
        assert_eq!((profile.name.as_str(), profile.display_name.as_str()), ("ann", shown));
        assert_eq!(member_presence(&mut owner, room, "ann").await.1, shown);
    }
    assert!(every!(unable.barrier().await, Profile).is_empty());
    assert!(owner.log(room).await.iter().all(|event| event.author_name.as_str() != "Ann 👑"));
}

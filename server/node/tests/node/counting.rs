//! Metrics say what happened.

use hark_protocol::{AuthMethod, From as Start};

use crate::rig::{Rig, auth, in_room, publish};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_counted_once() {
    let rig = Rig::start().await;
    let mut ann = rig.login("ann").await;
    let room = ann.create_room("tea").await;
    ann.publish_all(room, 2..=10).await;
    ann.publish(room, 2, "message 2").await;
    ann.refusal(publish(room, 2, "another")).await;
    ann.subscribe(in_room(room, Start::START, 0)).await;
    ann.replay().await;
    ann.barrier().await;
    let mut stranger = rig.greeted().await;
    stranger.refusal(auth(AuthMethod::PASSWORD, "ann", "wrong")).await;

    let mut broken = rig.greeted().await;
    let nonsense = crate::rig::raw_frame(hark_protocol::FrameType::PUBLISH.0, 9, b"");
    broken.send_bytes(&[&nonsense[..], b"GET /"].concat()).await;
    assert_eq!(broken.end().await.len(), 3, "an answer, ERROR and CLOSE");
    rig.until("it is gone", |rig| rig.number("hark_connections") == 2).await;

    let expected = [
        ("hark_connections", 2),
        ("hark_connections_accepted_total", 3),
        ("hark_connections_panicked_total", 0),
        ("hark_subscriptions", 1),
        ("hark_rooms_loaded", 1),
        ("hark_logins_total{outcome=\"done\"}", 1),
        ("hark_logins_total{outcome=\"failed\"}", 1),
        ("hark_frames_received_total{type=\"HELLO\"}", 3),
        ("hark_frames_received_total{type=\"PUBLISH\"}", 12),
        ("hark_frames_received_total{type=\"PING\"}", 1),
        ("hark_frames_sent_total{type=\"WELCOME\"}", 3),
        ("hark_frames_sent_total{type=\"PUBLISHED\"}", 11), // the room's own among them
        ("hark_frames_sent_total{type=\"EVENT\"}", 10),
        ("hark_frames_sent_total{type=\"REPLAYED\"}", 1),
        ("hark_frames_sent_total{type=\"PONG\"}", 1),
        ("hark_frames_sent_total{type=\"ERROR\"}", 4),
        ("hark_frames_sent_total{type=\"CLOSE\"}", 1),
        ("hark_errors_sent_total{code=\"CONFLICT\"}", 1),
        ("hark_errors_sent_total{code=\"UNAUTHENTICATED\"}", 1),
        ("hark_errors_sent_total{code=\"BAD_MAGIC\"}", 1),
        ("hark_errors_sent_total{code=\"AUTH_FAILED\"}", 1),
        ("hark_deliveries_total", 10),
        ("hark_publishes_total{outcome=\"duplicate\"}", 1),
        ("hark_commits_failed_total", 0),
        ("hark_limit{limit=\"window_events_max\"}", 256),
    ];
    let text = rig.metrics.render();
    for (name, value) in expected {
        assert_eq!(rig.number(name), value, "{name} in\n{text}");
    }
    assert!(rig.number("hark_received_bytes_total") > 11 * 70, "{text}");
    assert!(rig.number("hark_sent_bytes_total") > 10 * 70, "{text}");
    assert!(rig.number("hark_commit_events_count") >= 2, "{text}");
    assert!(text.contains("hark_commit_events_sum 10.0\n"), "{text}");
    drop((ann, stranger));
    rig.until("they are gone", |rig| rig.number("hark_connections") == 0).await;
    assert_eq!(rig.number("hark_subscriptions"), 0);
}

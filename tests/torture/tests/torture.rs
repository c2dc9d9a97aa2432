//! The rig as a test: so many kills with every fault between them; and bugs that it must see.

use std::path::PathBuf;

use hark_checker::Kind;
use hark_torture::bug::Bug;
use hark_torture::fault::Fault;
use hark_torture::recorder::save;
use hark_torture::torture::{Outcome, Plan, torture};
use hark_torture::world::no_disk;

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}"))
}

fn folder() -> PathBuf {
    tempfile::Builder::new().prefix("hark-torture-").tempdir().expect("a temporary folder").keep()
}

/// Kills, `HARK_TEST_KILLS` of them, in rounds of at most fifty.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9_and_all_that_comes_with_it() {
    let (mut left, mut seed) = (number("HARK_TEST_KILLS", 25) as usize, number("HARK_TEST_SEED", 1));
    if let Some(reason) = no_disk() {
        println!("skipped: {reason}");
    }
    while left > 0 {
        let kills = left.min(50);
        let plan = Plan::new(kills, seed, folder());
        let folder = plan.folder.clone();
        let outcome = torture(plan).await;
        let outcome =
            outcome.unwrap_or_else(|trouble| panic!("seed {seed}, {}: {trouble}", folder.display()));
        let (full, before_ack) = (outcome.full_kills, outcome.kills_before_ack);
        println!("seed {seed}: {kills} kills, {full} full, {before_ack} before ack; {}", outcome.report);
        if !outcome.is_good() {
            save(&outcome.records, &folder.join("history.jsonl")).expect("the folder can be written to");
            panic!("HARK_TEST_SEED={seed}: {} of {kills} kills full; see {}", full, folder.display());
        }
        std::fs::remove_dir_all(folder).expect("the folder is there");
        (left, seed) = (left - kills, seed + 1);
    }
}

/// Runs the rig with a bug in it.
async fn planted(bug: Bug) -> Outcome {
    // What is acknowledged early is lost where it was not brought; the others need what was stored unanswered.
    let before_ack_every = if bug == Bug::AckEarly { usize::MAX } else { 1 };
    let plan = Plan {
        faults: vec![Fault::Cut],
        of_each: 2,
        acks: 100,
        before_ack_every,
        bug: Some(bug),
        ..Plan::new(4, 1, folder())
    };
    let folder = plan.folder.clone();
    let outcome = torture(plan).await.expect("the rig comes to its end");
    std::fs::remove_dir_all(folder).expect("the folder is there");
    outcome
}

#[track_caller]
fn assert_named(outcome: &Outcome, kind: Kind) {
    assert!(outcome.report.counts.contains_key(&kind), "{kind} is not named:\n{}", outcome.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_before_the_message_is_brought_is_a_lost_write() {
    assert_named(&planted(Bug::AckEarly).await, Kind::LostWrite);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_under_a_fresh_identity_is_a_duplicate() {
    assert_named(&planted(Bug::FreshIdentity).await, Kind::Duplicate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_outbox_leaves_publishes_stuck() {
    assert_named(&planted(Bug::OutboxDropped).await, Kind::Stuck);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_past_a_hole_is_a_skip() {
    assert_named(&planted(Bug::CursorPastHole).await, Kind::Skip);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seam_one_too_late_is_a_skip() {
    assert_named(&planted(Bug::SeamOneTooLate).await, Kind::Skip);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seam_one_too_early_goes_back() {
    assert_named(&planted(Bug::SeamOneTooEarly).await, Kind::Nonmonotonic);
}

/// The server itself may see that its log ends too early; then it begins an epoch that nobody here declared.
#[tokio::test(flavor = "multi_thread")]
async fn forgotten_commits_are_lost_writes_or_an_epoch_that_nobody_declared() {
    let outcome = planted(Bug::CommitsForgotten).await;
    let named =
        [Kind::LostWrite, Kind::UndeclaredEpoch].map(|kind| outcome.report.counts.contains_key(&kind));
    assert!(named.contains(&true), "neither is named:\n{}", outcome.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_damage() {
    assert_named(&planted(Bug::BitFlipped).await, Kind::Damaged);
}

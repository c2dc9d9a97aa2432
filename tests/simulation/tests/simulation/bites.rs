//! The rig bites: errors planted into the ports are found and named.

use hark_simulation::bug::Bug;
use hark_simulation::{Variation, run};

/// Seeds within which an error has to be found.
const WITHIN: u64 = 40;

/// Fails unless the first seed that shows the error calls it by one of these names.
fn is_named(bug: Bug, names: &[&str]) {
    let variation = Variation { bug: Some(bug), ..Variation::default() };
    for seed in 1..=WITHIN {
        let outcome = run(seed, variation);
        if outcome.names().iter().any(|name| names.contains(&name.as_str())) {
            println!("{bug:?}: seed {seed} shows {:?}", outcome.names());
            return;
        }
    }
    panic!("{bug:?} was not named in {WITHIN} seeds");
}

#[test]
fn an_acknowledgement_before_the_commit_is_named() {
    is_named(Bug::AckBeforeCommit, &["lost-write"]);
}

#[test]
fn identities_that_die_with_the_server_are_named() {
    is_named(Bug::DedupeInMemory, &["duplicate"]);
}

#[test]
fn a_message_that_is_stored_twice_is_named() {
    is_named(Bug::Doubled, &["duplicate"]);
}

#[test]
fn a_seam_that_is_off_by_one_is_named() {
    is_named(Bug::SeamOffByOne, &["skip", "needless-gap"]);
}

#[test]
fn a_hole_that_nobody_is_told_of_is_named() {
    is_named(Bug::SwallowedHole, &["skip", "needless-gap"]);
}

#[test]
fn a_cursor_past_a_hole_is_named() {
    is_named(Bug::CursorPastHole, &["cursor-skip"]);
}

#[test]
fn a_head_from_what_is_left_is_named() {
    is_named(Bug::HeadFromWhatIsLeft, &["stale-read", "reset", "stuck"]);
}

#[test]
fn a_hint_that_is_lost_for_good_is_named() {
    is_named(Bug::LostHint, &["stuck"]);
}

#[test]
fn an_answer_with_anothers_place_is_named() {
    is_named(Bug::SwappedAnswers, &["seq-reuse", "inconsistent-offsets", "another-seq"]);
}

#[test]
fn what_is_refused_and_stored_is_named() {
    is_named(Bug::StoredThoughRefused, &["refused-shown"]);
}

#[test]
fn a_body_that_nobody_sent_is_named() {
    is_named(Bug::ForgedBody, &["corrupt"]);
}

#[test]
fn an_outbox_that_forgets_is_named() {
    is_named(Bug::OutboxForgets, &["outbox-lost"]);
}

#[test]
fn a_gap_where_nothing_is_missing_is_named() {
    is_named(Bug::NeedlessGap, &["needless-gap"]);
}

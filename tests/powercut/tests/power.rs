//! What power cuts leave of the store, and that the rig would notice if it were less.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use hark_powercut::anomaly::Kind;
use hark_powercut::archive::Archive;
use hark_powercut::disk::{Mood, Syncs};
use hark_powercut::planted::Planted;
use hark_powercut::rig::{self, Config, Summary, run};
use hark_powercut::rng::Rng;
use hark_powercut::take::{all_written, history, record};

/// Images of the honest disk.
fn images() -> u64 {
    let Ok(text) = std::env::var("HARK_TEST_POWERCUTS") else { return 5_000 };
    text.parse().unwrap_or_else(|_| panic!("HARK_TEST_POWERCUTS must be a number, not {text:?}"))
}

fn control(syncs: Syncs) -> Summary {
    run(&Config { syncs, ..Config::new(7, 300) }).unwrap()
}

/// Nothing acknowledged or shown is lost, doubled, reordered or changed, and nothing is there that nobody sent.
#[test]
fn a_power_cut_at_any_point_loses_nothing_that_was_answered() {
    let seed = 20_261_120;
    let summary = run(&Config::new(seed, images())).unwrap();
    println!("seed {seed}: {summary}");
    if let Some(failure) = &summary.failure {
        let mut again = format!("cargo run -p hark-powercut -- --seed {seed} --images {}", images());
        if let (Some(take), Some(cut)) = (&failure.take, failure.cut) {
            let path = std::env::temp_dir().join(format!("hark-powercut-{}.tape", take.seed));
            Archive { take: take.clone(), cut, planted: None }.save(&path).unwrap();
            again = format!("cargo run -p hark-powercut -- --replay {}", path.display());
        }
        panic!("{}\nagain: {again}", failure.anomaly);
    }
    assert_eq!(summary.images, images());
    assert_eq!(summary.vacuous(), None, "{summary}");
}

#[test]
fn without_a_sync_for_each_commit_the_rig_finds_losses() {
    let summary = control(Syncs::Normal);
    println!("{summary}");
    assert!(summary.count(Kind::LostAck) > summary.images / 10, "{summary}");
    // SQLite promises that NORMAL loses what is new and damages nothing: so much for the rig's own honesty.
    for kind in [Kind::Corrupt, Kind::Damaged, Kind::WillNotOpen, Kind::StoreFailed] {
        assert_eq!(summary.count(kind), 0, "{kind:?}: {summary}");
    }
}

#[test]
fn without_any_sync_the_rig_finds_losses_and_damage() {
    let summary = control(Syncs::Off);
    println!("{summary}");
    assert!(summary.count(Kind::LostAck) > 0, "{summary}");
    let damage = [Kind::WillNotOpen, Kind::Corrupt, Kind::Damaged, Kind::StoreFailed];
    assert!(damage.iter().any(|kind| summary.count(*kind) > 0), "{summary}");
}

/// Runs until the bug is found, and says what it looked like.
fn found(planted: Planted) -> Kind {
    let config = Config { planted: Some(planted), images_per_take: 20, ..Config::new(7, 6_000) };
    let summary = run(&config).unwrap();
    println!("{planted:?}: {summary}");
    summary.failure.unwrap_or_else(|| panic!("{planted:?} was not found: {:?}", summary.elapsed)).anomaly.kind
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    // It is planted for all changes, those of the directory too; either may be the first that is lost.
    assert!([Kind::LostAck, Kind::DirectoryDisagrees].contains(&found(Planted::AckBeforeCommit)));
}

#[test]
fn an_event_shown_before_the_commit_is_found() {
    assert!([Kind::LostShown, Kind::DirectoryDisagrees].contains(&found(Planted::ShowBeforeCommit)));
}

#[test]
fn a_failed_sync_that_is_acknowledged_is_found() {
    assert_eq!(found(Planted::FailedSyncAcknowledged), Kind::LostAck);
}

#[test]
fn identities_that_only_memory_knows_are_found() {
    assert_eq!(found(Planted::DedupeInMemory), Kind::RetryForgotten);
}

#[test]
fn a_head_taken_from_what_is_left_is_found() {
    assert_eq!(found(Planted::HeadFromWhatIsLeft), Kind::SeqReused);
}

#[test]
fn a_start_without_a_checkpoint_is_found() {
    assert_eq!(found(Planted::NoBootCheckpoint), Kind::LostShown);
}

#[test]
fn leftovers_of_a_failed_sync_that_are_trusted_are_found() {
    // The database and what is left of its write-ahead log do not belong together: anything can come of that.
    let kind = found(Planted::LeftoversTrusted);
    assert!(![Kind::Rig, Kind::Disagrees].contains(&kind), "{kind:?}");
}

#[test]
fn a_room_written_apart_from_its_events_is_found() {
    let kinds = [Kind::LostAck, Kind::LostShown, Kind::TornGroup, Kind::RoomDisagrees];
    let kind = found(Planted::RoomsWrittenApart);
    assert!(kinds.contains(&kind), "{kind:?}");
}

#[test]
fn a_saved_failure_is_found_again_and_alike() {
    let summary = control(Syncs::Normal);
    let failure = summary.failure.unwrap();
    let (take, cut) = (failure.take.unwrap(), failure.cut.unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    Archive { take: take.clone(), cut, planted: None }.save(file.path()).unwrap();
    let loaded = Archive::load(file.path()).unwrap();
    assert_eq!((&loaded.take.tape, loaded.cut, loaded.planted), (&take.tape, cut, None));
    assert_eq!(rig::replay(&loaded.take, loaded.cut, None).unwrap_err(), failure.anomaly);
    std::fs::write(file.path(), "HARKPC-1 and then nonsense").unwrap();
    assert!(Archive::load(file.path()).is_err());
}

#[test]
fn a_history_is_told_again_from_its_seed() {
    let root = tempfile::tempdir_in(rig::root()).unwrap();
    for seed in 0..6 {
        let take = record(seed, root.path(), None).unwrap();
        let again = history(seed, &take.resolutions, take.history.last());
        assert_eq!(format!("{:?}", again.events), format!("{:?}", take.history.events), "{seed}");
        assert_eq!(format!("{:?}", again.states), format!("{:?}", take.history.states), "{seed}");
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_seed_and_a_tape_determine_an_image() {
    let root = tempfile::tempdir_in(rig::root()).unwrap();
    let tape = record(3, root.path(), None).unwrap().tape;
    let image = |seed| {
        let folder = tempfile::tempdir_in(root.path()).unwrap();
        all_written(&tape).image(&tape, Mood::Torn, &mut Rng::new(seed), folder.path()).unwrap();
        files(folder.path())
    };
    assert_eq!(image(1), image(1));
    assert!((2..20).any(|seed| image(seed) != image(1)));
}

//! Backups as their operator meets them: made beside a running server, checked, and put back.

use std::fs;

use rustix::process::Signal;

use crate::assert_refused;
use crate::bench::{Bench, Ended};

fn run(bench: &Bench, args: &[&str]) -> Ended {
    let mut harkd = bench.command();
    harkd.args(args);
    bench.run(harkd)
}

/// The seconds-and-more number that the restore prints.
fn epoch(report: &str) -> u64 {
    let (_, rest) = report.split_once("epoch ").unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn a_backup_of_a_running_server_is_verified_and_restored_elsewhere() {
    let bench = Bench::new();
    let running = bench.start();
    let made = run(&bench, &["backup", "saved"]).done();
    assert!(made.contains("saved holds the backup: 0 rooms"), "{made}");
    for folder in [&["verify"][..], &["verify", "saved"]] {
        let verified = run(&bench, folder).done();
        assert_eq!(verified, "all is well: 0 good events in 0 rooms, 1 accounts\n", "{folder:?}");
    }
    let fingerprint = |text: &str| text.lines().find(|line| line.contains("sha256:")).map(str::to_owned);
    let greeting = running.end(Signal::TERM).done();
    let restored = run(&bench, &["restore", "saved", "--data", "elsewhere"]).done();
    assert!(
        restored.contains("elsewhere holds the backup again") && !restored.contains("before"),
        "{restored}"
    );
    // The same server to its clients: its certificate, its accounts.
    let mut harkd = bench.command();
    harkd.args(["--data", "elsewhere"]);
    let again = bench.start_with(harkd).end(Signal::TERM).done();
    assert!(again.contains("found elsewhere"), "{again}");
    assert_eq!(fingerprint(&again), fingerprint(&greeting));
    assert_eq!(bench.read("elsewhere/admin-password"), bench.read("hark-data/admin-password"));
}

#[test]
fn every_restore_begins_a_greater_epoch_and_keeps_what_was_there() {
    let bench = Bench::new();
    bench.start().end(Signal::TERM).done();
    run(&bench, &["backup", "saved"]).done();
    assert_refused(&run(&bench, &["restore", "saved"]), &["hark-data holds data", "--force"]);
    let first = run(&bench, &["restore", "saved", "--force"]).done();
    assert!(first.contains("hark-data/before-restore-1"), "{first}");
    let second = run(&bench, &["restore", "saved", "--force"]).done();
    assert!(second.contains("hark-data/before-restore-2"), "{second}");
    assert!(epoch(&second) > epoch(&first), "{first} {second}");
    bench.start().end(Signal::TERM).done();
    assert!(fs::exists(bench.path("hark-data/before-restore-1/log.db")).unwrap());
}

#[test]
fn what_is_running_missing_or_in_the_way_is_refused() {
    let bench = Bench::new();
    for args in [&["backup", "saved"][..], &["verify"], &["verify", "saved"], &["restore", "saved"]] {
        assert_refused(&run(&bench, args), &["holds no Hark data"]);
    }
    assert_eq!(bench.entries(), Vec::<String>::new());
    let running = bench.start();
    run(&bench, &["backup", "saved"]).done();
    assert_refused(&run(&bench, &["backup", "saved"]), &["saved is there already"]);
    assert_refused(&run(&bench, &["backup", "no/such/place"]), &["no/such"]);
    for args in [&["restore", "saved"][..], &["restore", "saved", "--force"]] {
        assert_refused(&run(&bench, args), &["in use by another server"]);
    }
    running.end(Signal::TERM).done();
    bench.write("thesis.txt", "years of work");
    assert_refused(&run(&bench, &["restore", "saved", "--data", "."]), &["holds"]);
    assert_eq!(bench.entries(), ["hark-data", "saved", "thesis.txt"]);
    for wrong in [&["backup"][..], &["restore"], &["restore", "saved", "--forse"], &["verify", "--jason"]] {
        assert_eq!(run(&bench, wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn damage_has_an_exit_code_of_its_own_and_is_not_restored_unasked() {
    let bench = Bench::new();
    bench.start().end(Signal::TERM).done();
    run(&bench, &["backup", "saved"]).done();
    let path = bench.path("saved/directory.db");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len() - 4_096;
    bytes[end..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let human = run(&bench, &["verify", "saved"]);
    assert_eq!(human.code, Some(3), "{human:?}");
    assert!(human.out.contains("directory.db: ") && human.out.contains("wrong"), "{human:?}");
    let json = run(&bench, &["verify", "saved", "--json"]);
    assert_eq!(json.code, Some(3), "{json:?}");
    assert!(json.out.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{json:?}");
    assert!(json.out.lines().last().unwrap().contains("\"findings\":"), "{json:?}");
    let refused = run(&bench, &["restore", "saved", "--force"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("the backup is damaged") && refused.err.contains("--accept-damage"));
    assert!(run(&bench, &["verify"]).done().contains("all is well"), "the data folder was touched");
    assert!(!bench.entries().iter().any(|entry| entry.contains("partial")));
}

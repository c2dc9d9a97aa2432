//! A server that is killed in the middle has everything that it has acknowledged, and the command says what it
//! knows. Many kills, and what else can break, are the torture's (`tests/torture`).

use std::collections::BTreeMap;

use hark_tests::client::{Person, Told};
use hark_tests::scale;
use hark_tests::server::{Place, Server};

/// Acknowledged lines after which the server is killed, while the rest is on its way.
const ACKNOWLEDGED_BEFORE_KILL: usize = 300;

/// Lines that are fed to it for each kill: far more than are acknowledged by then.
const LINES_PER_KILL: usize = 20_000;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let mut server = Server::start();
    let alice = server.person("alice");
    alice.run("create tea").done();
    let mut acknowledged = BTreeMap::new();
    for round in 0..2 {
        let place = kill_while_sending(server, &alice, round, &mut acknowledged);
        server = place.start();
        let log = alice.messages("tea");
        assert_all_there(&log, &acknowledged);
        assert_none_twice(&log);
    }
    assert_eq!(alice.send("tea", "alive"), alice.messages("tea").last().expect("just sent").seq);
}

/// Pipelines lines, kills the server when some are acknowledged, and notes which seq each of those has got.
fn kill_while_sending(
    server: Server,
    alice: &Person,
    round: usize,
    acknowledged: &mut BTreeMap<u64, String>,
) -> Place {
    let mut send = alice.start("send tea --stdin --patience 1");
    let line = |n: usize| format!("round {round} line {n}");
    let (mut fed, batch) = (0, 500);
    while fed < LINES_PER_KILL && send.out_so_far().len() < ACKNOWLEDGED_BEFORE_KILL {
        let text: String = (fed..fed + batch).map(|n| line(n) + "\n").collect();
        send.write(&text);
        fed += batch;
    }
    send.lines(ACKNOWLEDGED_BEFORE_KILL, scale::PATIENCE);
    let place = server.kill();
    let ended = send.end();
    let seqs: Vec<u64> = ended.out.lines().map(|seq| seq.parse().expect("a seq on each line")).collect();
    assert!(seqs.len() < fed, "all {fed} lines were acknowledged: nothing was in flight");
    assert_eq!(ended.code, Some(4), "the outcome of what was in flight is unknown:\n{}", ended.err);
    acknowledged.extend(seqs.into_iter().enumerate().map(|(n, seq)| (seq, line(n))));
    place
}

#[track_caller]
fn assert_all_there(log: &[Told], acknowledged: &BTreeMap<u64, String>) {
    let stored: BTreeMap<u64, &str> = log.iter().map(|it| (it.seq, it.text.as_str())).collect();
    for (seq, text) in acknowledged {
        assert_eq!(stored.get(seq), Some(&text.as_str()), "seq {seq} was acknowledged");
    }
}

#[track_caller]
fn assert_none_twice(log: &[Told]) {
    let mut texts: Vec<&str> = log.iter().map(|it| it.text.as_str()).collect();
    texts.sort_unstable();
    for pair in texts.windows(2) {
        assert_ne!(pair[0], pair[1], "stored twice");
    }
}

#[test]
fn a_pipeline_that_outlives_a_kill_is_stored_once_and_in_order() {
    let server = Server::start();
    let alice = server.person("alice");
    alice.run("create tea").done();
    let mut send = alice.start("send tea --stdin");
    let text: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
    send.write(&text);
    send.lines(ACKNOWLEDGED_BEFORE_KILL, scale::PATIENCE);
    let _server = server.kill().start();

    let seqs = send.end().done();
    let log = alice.messages("tea");
    let expected: Vec<String> = (0..5_000).map(|n| format!("line {n}")).collect();
    assert_eq!(log.iter().map(|it| it.text.clone()).collect::<Vec<_>>(), expected);
    let told: Vec<String> = log.iter().map(|it| it.seq.to_string()).collect();
    assert_eq!(
        seqs.lines().collect::<Vec<_>>(),
        told,
        "the seqs that the sender was told, and those of the log"
    );
}

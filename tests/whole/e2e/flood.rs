//! Many messages from one, read by three, all equal and in order.

use std::time::{Duration, Instant};

use hark_tests::client::{Person, Told, messages};
use hark_tests::process::Process;
use hark_tests::scale;
use hark_tests::server::Server;

/// What a default server must carry, from the first line read to the last line printed by every reader.
const MESSAGES_PER_SECOND_MIN: usize = 1_000;

#[test]
fn ten_thousand_lines_reach_three_readers_in_ten_seconds() {
    let server = Server::start();
    let people = ["alice", "bob", "bot"].map(|name| server.person(name));
    people[0].run("create flood").done();
    for person in &people[1..] {
        person.run("join flood").done();
    }
    let sent = lines(scale::messages());
    let patience = Duration::from_secs((scale::messages() / MESSAGES_PER_SECOND_MIN) as u64);

    let begun = Instant::now();
    let tails = people.each_ref().map(|person| tail(person, sent.len()));
    let seqs = people[0].feed("send flood --stdin", &(sent.join("\n") + "\n"), patience).done();
    let read = tails.map(|tail| messages(tail.end_within(patience).done().lines().collect::<Vec<_>>()));
    let took = begun.elapsed();

    assert_eq!(texts(&read[0]), sent, "what was read, and what was sent");
    assert!(read[0] == read[1] && read[0] == read[2], "three readers differ");
    assert_dense(&read[0]);
    let acknowledged: Vec<u64> = seqs.lines().map(|seq| seq.parse().expect("a seq on each line")).collect();
    assert_eq!(
        acknowledged,
        read[0].iter().map(|it| it.seq).collect::<Vec<_>>(),
        "seqs acknowledged and read"
    );
    assert!(took <= patience, "{} messages took {took:?}", sent.len());
    eprintln!("{} messages to three readers in {took:?}", sent.len());
}

/// Follows the room from its start, until everybody has joined and everything has been said.
fn tail(person: &Person, messages: usize) -> Process {
    person.start(&format!("tail flood --json --from start --count {}", messages + JOINS))
}

/// Events before the first message: three people have joined.
const JOINS: usize = 3;

/// Lines that differ, of different lengths, some of them with signs that are easily damaged.
fn lines(count: usize) -> Vec<String> {
    let text = |n: usize| match n % 5 {
        0 => format!("{n} \"quoted\" \\ and {{braced}}"),
        1 => format!("{n} ünïcödé 🦉 {}", "ß".repeat(n % 40)),
        2 => format!("{n} {}", "x".repeat(n % 700)),
        3 => format!("{n} \u{1b}[31mred\u{1b}[0m\ttab"),
        _ => format!("{n}"),
    };
    (0..count).map(text).collect()
}

fn texts(told: &[Told]) -> Vec<&str> {
    told.iter().map(|it| it.text.as_str()).collect()
}

#[track_caller]
fn assert_dense(told: &[Told]) {
    for pair in told.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1, "a hole in the log");
    }
}

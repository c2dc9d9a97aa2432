//! The SDK's examples, run against a real server as their comments say.

use hark_tests::client::{PASSWORD, Person};
use hark_tests::process::{Process, command, programs_folder};
use hark_tests::server::Server;

/// Starts one of the SDK's examples, with the environment that they all read.
fn start(name: &str, person: &Person, arguments: &[&str]) -> Process {
    let path = programs_folder().join("examples").join(name);
    let advice = "build it with `cargo build -p hark-sdk --examples`, or run tests/run";
    assert!(path.is_file(), "{} is missing: {advice}", path.display());
    let mut example = command(path);
    example.args(arguments).envs(person.environment());
    example.env("HARK_USER", person.name()).env("HARK_PASSWORD", PASSWORD);
    Process::start(name, example)
}

#[test]
fn hello_makes_a_room_and_says_where_its_message_stands() {
    let server = Server::start();
    let alice = server.person("alice");
    let said = start("hello", &alice, &["lobby", "good morning"]).end().done();
    assert_eq!(said.trim(), "2 of room lobby");
    let log = alice.messages("lobby");
    assert_eq!(log.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(), ["good morning"]);
}

#[test]
fn history_prints_what_was_said() {
    let server = Server::start();
    let alice = server.person("alice");
    alice.run("create lobby").done();
    for text in ["one", "two", "three"] {
        alice.send("lobby", text);
    }
    let printed = start("history", &alice, &["lobby", "2"]).end().done();
    assert_eq!(printed.lines().collect::<Vec<_>>(), ["3 alice: two", "4 alice: three"]);
}

#[test]
fn follow_sees_what_is_old_and_what_is_new_across_a_restart() {
    let server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.person(name));
    alice.run("create lobby").done();
    bob.run("join lobby").done();
    alice.send("lobby", "old");
    let follow = start("follow", &bob, &["lobby", "2"]);
    follow.said("what is old", |line| line.contains("old alice: old").then_some(()));
    let _server = server.restart();
    alice.send("lobby", "young");
    let printed = follow.end().done();
    assert!(printed.lines().any(|line| line.ends_with("alice: young")), "{printed}");
}

#[test]
fn echo_bot_answers_others_and_not_itself() {
    let server = Server::start();
    let [alice, bot] = ["alice", "bot"].map(|name| server.person(name));
    alice.run("create lobby").done();
    alice.send("lobby", "said before the bot came");
    let echo = start("echo_bot", &bot, &["lobby", "2"]);
    echo.said("that it is ready", |line| (line == "ready").then_some(()));
    alice.send("lobby", "hello");
    alice.send("lobby", "again");
    echo.end().done();
    let log = alice.messages("lobby");
    let answers: Vec<&str> = log.iter().filter(|it| it.sender == "bot").map(|it| it.text.as_str()).collect();
    assert_eq!(answers, ["alice: hello", "alice: again"]);
}

#[test]
fn outbox_sends_a_message_and_leaves_nothing_behind() {
    let server = Server::start();
    let alice = server.person("alice");
    let folder = tempfile::tempdir().expect("a folder for the outbox");
    let arguments = ["lobby", folder.path().to_str().expect("a path in UTF-8"), "good morning"];
    let said = start("outbox", &alice, &arguments).end().done();
    assert!(said.contains("is on the disk") && said.contains("stored as 2 of room lobby"), "{said}");
    let again = start("outbox", &alice, &arguments).end().done();
    assert!(again.contains("stored as 3 of room lobby") && again.contains("0 were left, 0 are"), "{again}");
}

//! What does not work, said in one plain sentence and an exit code.

use std::net::TcpListener;
use std::time::Duration;

use hark_tests::client::{PASSWORD, Person};
use hark_tests::process::{Ended, Process};
use hark_tests::server::{Place, Server};

/// One sentence on standard error, with these words in it, and nothing on standard output.
#[track_caller]
fn assert_says(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.out, "", "what fails prints no result; it said: {}", ended.err);
    assert_eq!(ended.err.trim().lines().count(), 1, "one plain sentence, not:\n{}", ended.err);
    for word in words {
        assert!(ended.err.contains(word), "no {word:?} in: {}", ended.err);
    }
    assert!(!ended.err.contains("panicked") && !ended.err.contains(PASSWORD), "{}", ended.err);
}

#[test]
fn a_wrong_password_and_an_unknown_account_are_refused_alike() {
    let server = Server::start();
    server.person("alice");
    let try_as = |name: &str| {
        let stranger = server.stranger(name);
        let mut hark = stranger.command(["login", name]);
        hark.env("HARK_PASSWORD", "not the password");
        Process::start("hark login", hark).end()
    };
    let (wrong, unknown) = (try_as("alice").with_code(1), try_as("nobody").with_code(1));
    assert_says(&wrong, &["password"]);
    assert_eq!(wrong.err.replace("alice", "NAME"), unknown.err.replace("nobody", "NAME"));
}

#[test]
fn a_wrong_registration_token_is_refused() {
    let server = Server::start();
    let eve = server.stranger("eve");
    let mut hark = eve.command(["register", "eve", "--token", "hrt_wrong"]);
    hark.env("HARK_PASSWORD", PASSWORD);
    assert_says(&Process::start("hark register", hark).end().with_code(1), &["token"]);
}

#[test]
fn rooms_refuse_who_is_not_a_member() {
    let server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.person(name));
    alice.run("create secret --private").done();
    let hidden = bob.run("join secret").with_code(1);
    let missing = bob.run("join nothing").with_code(1);
    assert_eq!(hidden.err.replace("secret", "ROOM"), missing.err.replace("nothing", "ROOM"));
    alice.run("invite secret bob").done();
    bob.run("join secret").done();
    bob.run("kick secret alice").with_code(1);
    alice.run("kick secret bob").done();
    bob.run("send secret hello").with_code(1);
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new();
    let _taken = TcpListener::bind(place.listen()).expect("free until now");
    let ended = place.start_in_vain();
    assert_ne!(ended.code, Some(0));
    assert!(ended.err.contains(&place.listen().to_string()), "{}", ended.err);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
}

#[test]
fn a_second_server_on_the_folder_is_refused_and_the_first_goes_on() {
    let first = Server::start();
    let alice = first.person("alice");
    alice.run("create tea").done();
    let second = Place::new();
    let mut harkd = second.command();
    harkd.env("HARKD_DATA", first.place().data());
    let ended = Process::start("second harkd", harkd).end();
    assert_ne!(ended.code, Some(0));
    assert!(ended.err.contains("hark-data") && !ended.err.contains("panicked"), "{}", ended.err);
    assert_eq!(alice.send("tea", "still here"), 2);
}

#[test]
fn a_broken_configuration_is_named_and_nothing_is_made() {
    let place = Place::new();
    std::fs::write(place.folder().join("harkd.toml"), "lisen = \"127.0.0.1:1\"\n")
        .expect("a temporary folder");
    let ended = place.start_in_vain();
    assert_ne!(ended.code, Some(0));
    assert!(ended.err.contains("harkd.toml") && ended.err.contains("lisen"), "{}", ended.err);
    assert!(!place.data().exists(), "a data folder was made for a configuration that does not hold");
}

#[test]
fn a_server_that_is_not_there_was_sent_nothing() {
    let (ended, place) = Server::start().terminate();
    ended.done();
    let alone = Person::new("alice", &place.listen().to_string(), place.data().join("tls/ca.pem"));
    let mut hark = alone.command(["--user", "alice", "--patience", "1", "send", "tea", "hello"]);
    hark.env("HARK_PASSWORD", PASSWORD);
    assert_says(&Process::start("hark send", hark).end().with_code(3), &[&place.listen().to_string()]);
}

#[test]
fn a_server_with_another_authority_is_not_trusted() {
    let (server, other) = (Server::start(), Server::start());
    let stranger =
        Person::new("alice", &server.place().listen().to_string(), other.place().data().join("tls/ca.pem"));
    let mut hark = stranger.command(["login", "alice"]);
    hark.env("HARK_PASSWORD", PASSWORD);
    let ended = Process::start("hark login", hark).end().with_code(3);
    assert_says(&ended, &["certificate"]);
}

#[test]
fn usage_is_an_error_of_its_own() {
    let server = Server::start();
    let alice = server.person("alice");
    alice.run("send").with_code(2);
    alice.run("brew tea").with_code(2);
}

#[test]
fn sigterm_says_goodbye_and_exits_with_0() {
    let server = Server::start();
    let alice = server.person("alice");
    alice.run("create tea").done();
    let tail = alice.start("tail tea --json --from start --patience 1");
    tail.lines(1, Duration::from_secs(30));
    let (ended, place) = server.terminate();
    ended.done();
    assert_eq!(
        tail.end().code,
        Some(3),
        "a reader that runs out of patience was not refused: it was not reached"
    );
    place.start().restart().terminate().0.done();
}

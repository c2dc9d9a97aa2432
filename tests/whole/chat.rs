//! `hark chat` in real terminals: two panes of tmux side by side.

use hark_tests::client::Person;
use hark_tests::server::Server;
use hark_tests::terminal::{Pane, Tmux};

fn chat<'a>(tmux: &'a Tmux, person: &Person, room: &str) -> Pane<'a> {
    let mut hark = person.command(["chat", room]);
    hark.env("TERM", "tmux-256color").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8");
    tmux.open(person.name(), &hark)
}

/// Two people in one room, who have said one thing before the test begins.
fn two_people(server: &Server) -> [Person; 2] {
    let people = ["alice", "bob"].map(|name| server.person(name));
    people[0].run("create tea").done();
    people[1].run("join tea").done();
    people[0].send("tea", "said before anybody sat down");
    people
}

#[test]
fn two_people_talk_in_tmux() {
    let server = Server::start();
    let [alice, bob] = two_people(&server);
    let tmux = Tmux::start(160, 24);
    let (left, right) = (chat(&tmux, &alice, "tea"), chat(&tmux, &bob, "tea"));
    left.shows("said before anybody sat down");
    right.shows("said before anybody sat down");

    left.enter("Is there any Assam left?");
    right.shows("Is there any Assam left?");
    right.enter("A whole tin of it.");
    let screen = left.shows("A whole tin of it.");
    assert!(screen.find("Assam left?") < screen.find("A whole tin"), "out of order:\n{screen}");

    left.enter("/quit");
    assert_eq!(left.exit_code(), 0);
    right.press("C-c");
    assert_eq!(right.exit_code(), 0);
}

#[test]
fn a_closed_terminal_in_tmux_ends_the_conversation() {
    let server = Server::start();
    let [alice, bob] = two_people(&server);
    let tmux = Tmux::start(160, 24);
    let (left, right) = (chat(&tmux, &alice, "tea"), chat(&tmux, &bob, "tea"));
    left.shows("said before anybody sat down");
    right.shows("said before anybody sat down");
    left.close();
    right.enter("is anybody still here?");
    right.shows("is anybody still here?");
}

#[test]
fn a_line_being_typed_in_tmux_is_not_disturbed() {
    let server = Server::start();
    let [alice, bob] = two_people(&server);
    let tmux = Tmux::start(160, 24);
    let (left, right) = (chat(&tmux, &alice, "tea"), chat(&tmux, &bob, "tea"));
    right.shows("said before anybody sat down");
    left.shows("said before anybody sat down");

    right.type_text("half a senten");
    right.shows("half a senten");
    left.enter("an interruption");
    let screen =
        right.until("both", |screen| screen.contains("an interruption") && screen.contains("half a senten"));
    assert!(screen.find("an interruption") < screen.find("half a senten"), "not above the input:\n{screen}");
    right.enter("ce");
    left.shows("half a sentence");
}

#[test]
fn colours_in_tmux_are_names_and_never_a_strangers_escapes() {
    let server = Server::start();
    let [alice, bob] = two_people(&server);
    let tmux = Tmux::start(160, 24);
    let left = chat(&tmux, &alice, "tea");
    left.shows("said before anybody sat down");
    bob.send("tea", "\u{1b}[41mred\u{1b}[2J \u{1b}]0;title\u{7} end of it");
    let screen = left.shows("end of it");
    assert!(
        screen.contains("said before anybody sat down"),
        "the screen was cleared by a message:\n{screen}"
    );
    let coloured = left.screen_with_colours();
    assert!(coloured.contains("\u{1b}["), "no colours at all:\n{coloured}");
    assert!(!coloured.contains("\u{1b}[41m"), "a message has set a colour:\n{coloured}");
}

#[test]
fn a_restart_is_one_line_in_tmux_and_nothing_is_lost() {
    let server = Server::start();
    let [alice, bob] = two_people(&server);
    let tmux = Tmux::start(160, 24);
    let (left, right) = (chat(&tmux, &alice, "tea"), chat(&tmux, &bob, "tea"));
    left.shows("said before anybody sat down");
    right.shows("said before anybody sat down");

    let (ended, place) = server.terminate();
    ended.done();
    left.shows("no connection");
    left.enter("typed while the server was away");
    let _server = place.start();
    right.shows("typed while the server was away");
    right.enter("and answered");
    let screen = left.shows("and answered");
    assert_eq!(screen.matches("typed while the server was away").count(), 1, "shown twice:\n{screen}");
    assert!(!screen.contains("no connection"), "the line about the connection stays:\n{screen}");
}

#[test]
fn commands_in_tmux_show_who_is_there_and_what_there_is() {
    let server = Server::start();
    let [alice, bob] = two_people(&server);
    let tmux = Tmux::start(160, 40);
    let (left, right) = (chat(&tmux, &alice, "tea"), chat(&tmux, &bob, "tea"));
    left.shows("said before anybody sat down");
    right.shows("said before anybody sat down");

    left.enter("/who");
    left.until("both members", |screen| screen.contains("alice") && screen.contains("bob"));
    left.enter("/topic second flush");
    right.shows("second flush");
    left.enter("/help");
    for command in ["/join", "/leave", "/rooms", "/who", "/nick", "/topic", "/history", "/help", "/quit"] {
        left.shows(command);
    }
    right.type_text("some");
    left.until("that bob is typing", |screen| screen.to_lowercase().contains("typing"));
}

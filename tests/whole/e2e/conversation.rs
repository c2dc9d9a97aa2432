//! Two users and a bot in one room, across restarts of the server.

use hark_tests::client::{Person, messages};
use hark_tests::process::Process;
use hark_tests::scale;
use hark_tests::server::Server;

#[test]
fn two_users_and_a_bot_see_the_same_room() {
    let server = Server::start();
    let [alice, bob, bot] = ["alice", "bob", "bot"].map(|name| server.person(name));
    alice.run("create tea").done();
    bob.run("join tea").done();
    bot.run("join tea").done();

    let mut parrot = Parrot::listen(&bot);
    assert_eq!(alice.send("tea", "polly, say hello"), 4, "three joins, then the message");
    parrot.answer_next(&bot);
    bob.send("tea", "thank you");

    let seen = alice.messages("tea");
    let said: Vec<(&str, &str)> = seen.iter().map(|it| (it.sender.as_str(), it.text.as_str())).collect();
    assert_eq!(said, [("alice", "polly, say hello"), ("bot", "hello"), ("bob", "thank you")]);
    assert_eq!(bob.messages("tea"), seen);
    assert_eq!(bot.messages("tea"), seen);
}

/// A bot as a script would write it: `hark tail --json` in, `hark send` out.
struct Parrot {
    tail: Process,
    heard: usize,
}

impl Parrot {
    fn listen(bot: &Person) -> Parrot {
        Parrot { tail: bot.start("tail tea --json --from start"), heard: 0 }
    }

    fn answer_next(&mut self, bot: &Person) {
        let find = |line: &str| {
            messages([line]).into_iter().find_map(|it| it.text.strip_prefix("polly, say ").map(str::to_owned))
        };
        let word = self.tail.said("a word for the parrot", find);
        bot.send("tea", &word);
        self.heard += 1;
    }
}

#[test]
fn a_reader_and_a_pipeline_live_through_restarts() {
    let mut server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.person(name));
    alice.run("create tea").done();
    bob.run("join tea").done();
    let tail = bob.start("tail tea --json --from start");
    let mut send = alice.start("send tea --stdin");
    send.write("line 0\n");
    send.lines(1, scale::PATIENCE);
    tail.lines(1, scale::PATIENCE);

    let mut sent = 1;
    for _ in 0..=scale::restarts() {
        for _ in 0..100 {
            send.write(&format!("line {sent}\n"));
            sent += 1;
        }
        // Nothing waits for the answers: some of these are in flight when the server goes.
        server = server.restart();
    }
    let seqs = send.end().done();
    assert_eq!(seqs.lines().count(), sent, "one seq for each line");

    let joins = 2;
    let read = messages(tail.lines(sent + joins, scale::PATIENCE).iter().map(String::as_str));
    let expected: Vec<String> = (0..sent).map(|n| format!("line {n}")).collect();
    assert_eq!(read.iter().map(|it| it.text.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(alice.messages("tea"), read, "the log, and what was followed across restarts");
}

#[test]
fn everything_is_there_after_a_restart() {
    let server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.person(name));
    alice.run("create tea --topic leaves").done();
    bob.run("join tea").done();
    alice.send("tea", "before");
    alice.run("retention tea --max-events 100").done();
    let before = bob.run("history tea --json").done();
    let members = bob.run("members tea --json").done();

    let server = server.restart();
    assert_eq!(bob.run("history tea --json").done(), before);
    assert_eq!(names(&bob.run("members tea --json").done()), names(&members));
    assert_eq!(bob.run("topic tea").done().trim(), "leaves");
    assert_eq!(bob.run("retention tea").done().trim(), "at most 100 events");
    assert_eq!(bob.send("tea", "after"), 5);
    let (ended, _) = server.terminate();
    ended.done();
}

/// Who is listed; whether they are there right now may differ.
fn names(members: &str) -> Vec<String> {
    let name = |line: &str| {
        let object: serde_json::Value = serde_json::from_str(line).expect("an object a line");
        object["account"].as_str().expect("a member has a name").to_owned()
    };
    members.lines().map(name).collect()
}

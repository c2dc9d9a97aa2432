//! The walk-through of README.md, run word for word against the server that was just built.

use std::path::Path;

use hark_tests::client::PASSWORD;
use hark_tests::process::{Process, command, search_path};
use hark_tests::repository;
use hark_tests::server::Server;

/// Shell blocks of the walk-through, from the first that begins with the command `hark` on, one script each.
fn blocks() -> Vec<String> {
    let text = repository::text("README.md");
    let (_, section) =
        text.split_once("\n## A walk-through\n").expect("README.md has a section `## A walk-through`");
    let mut blocks = Vec::new();
    let mut rest = section.split("\n## ").next().unwrap_or(section);
    while let Some((_, begun)) = rest.split_once("\n```sh\n") {
        let (block, after) = begun.split_once("\n```").expect("a block that begins also ends");
        blocks.push(block.to_owned());
        rest = after;
    }
    let first =
        blocks.iter().position(|block| block.starts_with("hark ")).expect("a block with `hark` first");
    blocks.split_off(first)
}

/// Runs lines of shell in the folder of the server, as somebody does who has followed README.md up to there.
fn run(server: &Server, home: &Path, lines: &str) -> String {
    let mut shell = command("bash");
    shell.args(["-e", "-u", "-o", "pipefail", "-c", &format!("{TYPIST}\n{lines}")]);
    shell.current_dir(server.place().folder()).env("PATH", search_path());
    shell.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
    shell.env("PASSWORD_THAT_IS_TYPED", PASSWORD);
    Process::start("the shell", shell).end().done()
}

/// Nobody sits at the terminal of a test, so the password that `register` asks for comes from the environment.
const TYPIST: &str = r#"
hark() {
    case " $* " in
        *" register "*) HARK_PASSWORD=$PASSWORD_THAT_IS_TYPED command hark "$@" ;;
        *) command hark "$@" ;;
    esac
}
"#;

/// What README.md has people set before the first command, for the port of this test.
fn settings(server: &Server) -> String {
    format!("export HARK_SERVER={} HARK_CA=\"$PWD/hark-data/tls/ca.pem\"\n", server.place().listen())
}

#[test]
fn the_walk_through_of_the_readme_works_word_for_word() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let blocks = blocks();
    assert!(blocks.len() >= 2, "a walk-through before a restart, and one after it");
    let mut server = Server::start();
    let before = run(&server, home.path(), &(settings(&server) + &blocks[0]));
    for said in ["Is anybody here?", "I am."] {
        assert!(before.contains(said), "{said:?} is missing in:\n{before}");
    }
    for block in &blocks[1..] {
        server = server.restart();
        let after = run(&server, home.path(), &(settings(&server) + block));
        assert!(after.contains("Is anybody here?") && after.contains("I am."), "lost by a restart:\n{after}");
    }
}

#[test]
fn what_harkd_prints_to_be_pasted_works() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start();
    let last = |line: &str| line.trim_end().ends_with(" chat lobby").then_some(());
    server.process().said("the commands to paste", last);
    let printed = server.process().out_so_far();
    let is_command = |line: &&String| {
        [" register alice ", " create lobby", " chat lobby"].iter().any(|it| line.contains(it))
    };
    let commands: Vec<&str> = printed.iter().filter(is_command).map(|line| line.trim()).collect();
    assert_eq!(commands.len(), 3, "{printed:#?}");
    run(&server, home.path(), &commands.join("\n"));
}

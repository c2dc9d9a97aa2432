//! The walk-through of README.md, run word for word against the server that was just built.

use hark_tests::client::PASSWORD;
use hark_tests::process::{Process, command, programs_folder};
use hark_tests::repository;
use hark_tests::server::Server;

/// Shell blocks of README.md, from the first that begins with the command `hark` on, one script each.
fn blocks() -> Vec<String> {
    let text = repository::text("README.md");
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, begun)) = rest.split_once("\n```sh\n") {
        let (block, after) = begun.split_once("\n```").expect("a block that begins also ends");
        blocks.push(block.to_owned());
        rest = after;
    }
    let first =
        blocks.iter().position(|block| block.starts_with("hark ")).expect("a block with `hark` first");
    blocks.split_off(first)
}

/// Runs one block in the folder of the server, as somebody does who has followed README.md up to there.
fn run(server: &Server, home: &std::path::Path, block: &str) -> String {
    let mut shell = command("bash");
    shell.args(["-e", "-u", "-o", "pipefail", "-c", block]);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs_folder()].into_iter().chain(std::env::split_paths(&folders));
    shell.current_dir(server.place().folder());
    shell.env("PATH", std::env::join_paths(folders).expect("a list of folders"));
    // What README.md has people set before the first command, for the ports of this test.
    shell.env("HARK_SERVER", server.place().listen().to_string());
    shell.env("HARK_CA", server.place().data().join("tls/ca.pem"));
    shell.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
    // What people type when they are asked.
    shell.env("HARK_NEW_PASSWORD", PASSWORD);
    Process::start("the walk-through", shell).end().done()
}

#[test]
fn the_walk_through_of_the_readme_works_word_for_word() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let blocks = blocks();
    assert!(blocks.len() >= 2, "a walk-through before a restart, and one after it");
    let mut server = Server::start();
    let before = run(&server, home.path(), &blocks[0]);
    for said in ["Is anybody here?", "I am."] {
        assert!(before.contains(said), "{said:?} is missing in:\n{before}");
    }
    for block in &blocks[1..] {
        server = server.restart();
        let after = run(&server, home.path(), block);
        assert!(after.contains("Is anybody here?") && after.contains("I am."), "lost by a restart:\n{after}");
    }
}

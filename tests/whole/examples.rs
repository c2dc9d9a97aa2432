//! The SDK's examples, run against a real server as their comments say.

use std::process::Command;

use hark_tests::client::{PASSWORD, Person};
use hark_tests::process::{Process, command, programs_folder};
use hark_tests::server::Server;

/// One of the SDK's examples, with the environment that they all read.
fn example(name: &str, person: &Person, arguments: &[&str]) -> Command {
    let path = programs_folder().join("examples").join(name);
    let advice = "build it with `cargo build -p hark-sdk --examples`, or run tests/run";
    assert!(path.is_file(), "{} is missing: {advice}", path.display());
    let mut example = command(path);
    example.args(arguments).envs(person.environment());
    example.env("HARK_USER", person.name()).env("HARK_PASSWORD", PASSWORD);
    example
}

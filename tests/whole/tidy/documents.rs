//! Documents that fit the repository: sizes, links and the files they speak of.

use std::collections::HashSet;

use hark_tests::repository;

use super::assert_none;

/// Lines of ARCHITECTURE.md: what is longer is not read.
const ARCHITECTURE_LINES_MAX: usize = 250;

/// The documents that a newcomer reads first.
const DOCUMENTS: &[&str] =
    &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

#[test]
fn architecture_md_can_be_read_at_a_sitting() {
    let lines = repository::text("ARCHITECTURE.md").lines().count();
    assert!(
        lines <= ARCHITECTURE_LINES_MAX,
        "ARCHITECTURE.md has {lines} lines, {ARCHITECTURE_LINES_MAX} is the wall"
    );
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for document in repository::files("md") {
        let folder = repository::root().join(&document);
        let folder = folder.parent().expect("invariant: a file has a folder").to_path_buf();
        for target in links(&repository::text(&document)) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !folder.join(path).exists() {
                complaints.push(format!("{document}: {target}"));
            }
        }
    }
    assert_none("links to nowhere", complaints);
}

/// Targets of the inline links in a Markdown text, code blocks left out.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in outside_blocks(text) {
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            found.extend(rest.find(')').map(|end| rest[..end].to_owned()));
        }
    }
    found
}

fn outside_blocks(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn files_that_documents_name_are_there() {
    let top = ["protocol/", "server/", "sdk/", "cli/", "spec/", "tests/", ".ci/"];
    let mut complaints = Vec::new();
    for document in DOCUMENTS {
        for line in outside_blocks(&repository::text(document)) {
            for name in line.split('`').skip(1).step_by(2) {
                let is_path =
                    top.iter().any(|folder| name.starts_with(folder)) && !name.contains([' ', '*', '{']);
                if is_path && !repository::root().join(name).exists() {
                    complaints.push(format!("{document}: {name}"));
                }
            }
        }
    }
    assert_none("files that documents name but nobody has", complaints);
}

/// The document that names, for every promise, the tests that show it.
const RELIABILITY: &str = "tests/RELIABILITY.md";

#[test]
fn tests_that_reliability_md_names_exist() {
    let mut tests = HashSet::new();
    for path in repository::files("rs") {
        let text = repository::text(&path);
        for (at, _) in text.match_indices("fn ") {
            let name = text[at + 3..].split('(').next().unwrap_or_default();
            tests.insert(format!("{}::{name}", module(&path)));
        }
    }
    let text = repository::text(RELIABILITY);
    let named = outside_blocks(&text).into_iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    let missing = named.filter(|name| is_test(name)).filter(|name| {
        let (_, test) = name.split_once("::").expect("invariant: a test's name has parts");
        !tests.contains(test)
    });
    assert_none("tests that RELIABILITY.md names but nobody has", missing.map(str::to_owned).collect());
}

/// Whether a name in a document is that of a test: `crate::module::what_it_claims`.
fn is_test(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.split("::").count() == 3
        && name.split("::").all(|part| !part.is_empty() && part.bytes().all(is_word))
}

/// The module that a file is, which is its folder where it is the folder's first.
fn module(path: &str) -> &str {
    let path = path.trim_end_matches(".rs");
    let path = ["/mod", "/main", "/lib"].iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

//! The requirements: one sentence, one key word and one id each, and a list of all of them that only grows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;

use crate::pages;
use crate::registry::{hold, read};

const AREAS: [&str; 10] = ["FR", "CO", "AU", "RM", "LG", "EP", "ER", "LM", "VE", "SE"];

/// Longest first, so that a shorter one is not found inside a longer one.
const KEYWORDS: [&str; 5] = ["MUST NOT", "SHOULD NOT", "MUST", "SHOULD", "MAY"];

/// Key words of RFC 2119 that this specification does without.
const UNUSED: [&str; 6] = ["SHALL", "REQUIRED", "RECOMMENDED", "OPTIONAL", "CAN NOT", "WILL"];

struct Requirement {
    page: String,
    level: &'static str,
    text: String,
}

/// The key words in a text, in order.
fn keywords(text: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((at, keyword)) = KEYWORDS
        .iter()
        .filter_map(|keyword| find_word(rest, keyword).map(|at| (at, *keyword)))
        .min_by_key(|(at, keyword)| (*at, std::cmp::Reverse(keyword.len())))
    {
        found.push(keyword);
        rest = &rest[at + keyword.len()..];
    }
    found
}

fn find_word(text: &str, word: &str) -> Option<usize> {
    text.match_indices(word).map(|(at, _)| at).find(|at| {
        let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        is_edge(text[..*at].chars().next_back()) && is_edge(text[at + word.len()..].chars().next())
    })
}

/// Id and sentence of a line that states a requirement.
fn parsed(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("- **[")?.split_once("]** ")
}

fn gather() -> BTreeMap<String, Requirement> {
    let mut all = BTreeMap::new();
    for (page, text) in pages::texts() {
        let mut is_definition = false;
        for (index, line) in text.lines().enumerate() {
            let place = format!("spec/{page}, line {}", index + 1);
            is_definition =
                (is_definition || line == "<!-- keywords:begin -->") && line != "<!-- keywords:end -->";
            let Some((id, sentence)) = parsed(line) else {
                let found = keywords(line);
                assert!(is_definition || found.is_empty(), "{place}: {found:?} outside a requirement");
                continue;
            };
            check_id(id, &place);
            let level = check_sentence(sentence, &place);
            let requirement = Requirement { page: page.clone(), level, text: sentence.to_owned() };
            assert!(all.insert(id.to_owned(), requirement).is_none(), "{place}: {id} is there twice");
        }
    }
    all
}

fn check_id(id: &str, place: &str) {
    let (area, number) = id.split_once("-R").unwrap_or_else(|| panic!("{place}: {id}"));
    assert!(AREAS.contains(&area), "{place}: {id}: no such area");
    assert!(number.len() >= 2 && number.bytes().all(|b| b.is_ascii_digit()), "{place}: {id}");
}

fn check_sentence(sentence: &str, place: &str) -> &'static str {
    let found = keywords(sentence);
    let [level] = found.as_slice() else { panic!("{place}: {found:?}, not one key word") };
    for unused in UNUSED {
        assert!(find_word(sentence, unused).is_none(), "{place}: {unused}");
    }
    assert!(sentence.ends_with('.'), "{place}: the sentence has no end");
    assert!(!sentence.contains(". "), "{place}: more than one sentence");
    level
}

/// Ids of requirements that the pages state.
pub(crate) fn ids() -> BTreeSet<String> {
    gather().into_keys().collect()
}

#[derive(Debug, Default, Deserialize)]
struct Listed {
    #[serde(default)]
    requirement: Vec<Row>,
    #[serde(default)]
    retired: Vec<Retired>,
}

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Retired {
    id: String,
}

/// Ids that were given once and are stated no more: they stay in the list for ever.
fn retired(current: &BTreeMap<String, Requirement>) -> BTreeSet<String> {
    let listed: Listed = match std::fs::exists(crate::registry::spec_dir().join("requirements.toml")) {
        Ok(true) => toml::from_str(&read("requirements.toml")).unwrap(),
        _ => Listed::default(),
    };
    for retired in &listed.retired {
        assert!(!current.contains_key(&retired.id), "{} was retired and is stated again", retired.id);
    }
    let ever =
        listed.requirement.into_iter().map(|row| row.id).chain(listed.retired.into_iter().map(|row| row.id));
    ever.filter(|id| !current.contains_key(id)).collect()
}

#[test]
fn requirements_are_single_sentences_with_ids_that_are_never_reused() {
    let current = gather();
    let mut out = String::from(
        "# Every requirement of the specification, made from the pages by the tests of hark-protocol.\n\
         # An id that is stated no more is kept under [[retired]], so that it is never given again.\n",
    );
    for (id, requirement) in &current {
        let Requirement { page, level, text } = requirement;
        write!(
            out,
            "\n[[requirement]]\nid = {id:?}\nlevel = {level:?}\npage = {page:?}\ntext = {}\n",
            quoted(text)
        )
        .unwrap();
    }
    for id in retired(&current) {
        write!(out, "\n[[retired]]\nid = {id:?}\n").unwrap();
    }
    hold("requirements.toml", &out);
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[test]
fn key_words_are_found_as_words_and_not_inside_others() {
    let cases: [(&str, &[&str]); 5] = [
        ("It MUST NOT and MAY.", &["MUST NOT", "MAY"]),
        ("A MAYBE is none, must is none.", &[]),
        ("MUST", &["MUST"]),
        ("`MUST_X` SHOULD", &["SHOULD"]),
        ("MUST and MUST NOT", &["MUST", "MUST NOT"]),
    ];
    for (text, expected) in cases {
        assert_eq!(keywords(text), expected, "{text}");
    }
}

//! The tables in the specification's pages: each is made from the registry and held to what stands there.
//!
//! A table stands between `<!-- registry:WHAT -->` and `<!-- /registry -->`.

use std::collections::BTreeSet;

use crate::registry::{hold, read, spec_dir};
use crate::schema::Schema;
use crate::tables;

const START: &str = "<!-- registry:";
const END: &str = "<!-- /registry -->";

fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for folder in ["", "frames/", "vectors/"] {
        for entry in std::fs::read_dir(spec_dir().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}{name}"));
            }
        }
    }
    pages.sort();
    pages
}

/// The text of every page by its path.
pub(crate) fn texts() -> Vec<(String, String)> {
    pages().into_iter().map(|page| (page.clone(), read(&page))).collect()
}

fn rewritten(schema: &Schema, page: &str, text: &str, used: &mut BTreeSet<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(START) {
        let (before, marked) = rest.split_at(start);
        let (marker, body) =
            marked.split_once(" -->\n").unwrap_or_else(|| panic!("{page}: a marker is open"));
        let what = marker.trim_start_matches(START);
        let (_, after) = body.split_once(END).unwrap_or_else(|| panic!("{page}: {what} has no end"));
        let table = tables::render(schema, what).unwrap_or_else(|| panic!("{page}: no table {what}"));
        assert!(used.insert(format!("{what} in {page}")), "{page}: {what} stands there twice");
        out.push_str(&format!("{before}{marker} -->\n{table}{END}"));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[test]
fn tables_in_the_pages_are_the_registry_s() {
    let schema = Schema::load();
    let mut used = BTreeSet::new();
    for (page, text) in texts().into_iter().filter(|(_, text)| text.contains(START)) {
        hold(&page, &rewritten(&schema, &page, &text, &mut used));
    }
    let stands = |what: &str| used.iter().any(|place| place.starts_with(&format!("{what} in ")));
    for what in tables::all(&schema) {
        assert!(stands(&what), "no page has the table {what}");
    }
}

#[test]
fn every_frame_has_a_page_and_every_page_a_frame() {
    let schema = Schema::load();
    let frames: BTreeSet<_> =
        schema.registry.frame.iter().map(|row| format!("frames/{}.md", row.name)).collect();
    let found: BTreeSet<_> = pages().into_iter().filter(|page| page.starts_with("frames/")).collect();
    assert_eq!(found, frames);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let texts = texts();
    for (page, text) in &texts {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = match path {
                "" => page.clone(),
                path => normal(&format!("{folder}/{path}")),
            };
            assert!(spec_dir().join(&target).exists(), "{page}: {link}");
            if let Some((_, text)) = texts.iter().find(|(page, _)| *page == target)
                && !anchor.is_empty()
            {
                let is_there =
                    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(is_there, "{page}: {link}: no such heading");
            }
        }
    }
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

pub(crate) fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .collect::<String>()
        .replace(' ', "-")
}

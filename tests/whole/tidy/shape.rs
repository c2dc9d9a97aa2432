//! The shape of the source: every file says what it is, and files and functions stay small.

use hark_tests::repository::Source;
use hark_tests::rust_text;

use super::assert_none;

/// Lines of a file, its tests not counted. A file is about one noun; past this it is about several.
const FILE_LINES_MAX: usize = 800;

/// Lines of a function: past this nobody sees it whole.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn every_file_opens_with_what_it_is() {
    let silent = |source: &Source| {
        let first = source.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_none_or(|sentence| sentence.trim().is_empty())
    };
    let complaints = Source::all().into_iter().filter(silent).map(|source| source.path).collect();
    assert_none("files that do not open with `//! …`", complaints);
}

#[test]
fn files_stay_under_the_wall() {
    let mut complaints = Vec::new();
    for source in Source::all().iter().filter(|it| !it.is_test()) {
        let lines = lines_without_tests(source);
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert_none(&format!("files of more than {FILE_LINES_MAX} lines"), complaints);
}

/// Physical lines of the file, less those of its inline tests.
fn lines_without_tests(source: &Source) -> usize {
    let is_blank = |line: &str| line.trim().is_empty();
    let product = source.product_code();
    let cut = source
        .code
        .lines()
        .zip(product.lines())
        .filter(|(before, after)| !is_blank(before) && is_blank(after))
        .count();
    source.text.lines().count() - cut
}

#[test]
fn functions_stay_under_the_wall() {
    let mut complaints = Vec::new();
    // Tables of samples in a crate's own tests may be long: they are read by row.
    let counted = |it: &Source| !it.is_test() || it.path.starts_with("tests/");
    for source in Source::all().into_iter().filter(counted) {
        for function in rust_text::functions(&source.product_code()) {
            if function.lines > FUNCTION_LINES_MAX {
                let (name, line, lines) = (function.name, function.line, function.lines);
                complaints.push(format!("{}:{line} {name}: {lines} lines", source.path));
            }
        }
    }
    assert_none(&format!("functions of more than {FUNCTION_LINES_MAX} lines"), complaints);
}

#[test]
fn most_functions_fit_half_a_screen() {
    let mut lengths: Vec<usize> = Source::all()
        .iter()
        .filter(|it| it.is_product())
        .flat_map(|source| rust_text::functions(&source.product_code()))
        .map(|function| function.lines)
        .collect();
    lengths.sort_unstable();
    let ninth_decile = lengths[lengths.len() * 9 / 10];
    assert!(ninth_decile <= 30, "nine in ten functions have at most {ninth_decile} lines; 30 is the bar");
}

//! The repository as text: where it is, and which files it holds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::rust_text;

/// Folders that hold nothing of ours, wherever they stand.
const SKIPPED_FOLDERS: &[&str] = &["target", "hark-data", "corpus", "artifacts"];

/// The repository's root folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("invariant: this crate's folder is one below the root").to_path_buf()
}

/// The text of a file, by its path from the root.
///
/// # Panics
/// When it cannot be read: the tests that ask are about that file.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths, from the root, of all files with this extension, in order.
pub fn files(extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root(), extension, &mut found);
    let root = root();
    let mut paths: Vec<String> = found
        .iter()
        .map(|path| path.strip_prefix(&root).expect("invariant: found below the root").display().to_string())
        .collect();
    paths.sort();
    paths
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || SKIPPED_FOLDERS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Its path from the root.
    pub path: String,
    /// Its text as it stands.
    pub text: String,
    /// Its text with comments and the contents of literals blanked; the same lines.
    pub code: String,
}

impl Source {
    /// All Rust files of the repository.
    pub fn all() -> Vec<Source> {
        let read = |path: String| {
            let text = text(&path);
            let code = rust_text::code_only(&text);
            Source { path, text, code }
        };
        files("rs").into_iter().map(read).collect()
    }

    /// Whether the whole file is test code: by where it stands, or by its name.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches")
    }

    /// Whether the file is part of what a user gets.
    pub fn is_product(&self) -> bool {
        !self.is_test() && !self.path.contains("/examples/")
    }

    /// The code without its inline test modules; the same lines.
    pub fn product_code(&self) -> String {
        rust_text::without_test_items(&self.code)
    }

    /// Numbers of the lines, from 1, of `code` that contain `needle` as a whole word or path.
    pub fn lines_naming(code: &str, needle: &str) -> Vec<usize> {
        let names = |line: &&str| rust_text::names(line, needle);
        code.lines().enumerate().filter(|(_, line)| names(line)).map(|(index, _)| index + 1).collect()
    }
}

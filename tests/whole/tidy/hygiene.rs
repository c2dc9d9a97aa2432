//! What must not be in the source at all.

use hark_tests::repository::{self, Source};

use super::assert_none;

/// Rigs that need `unsafe`: their manifests, and the one file of each that may hold it. No rig is part of a product.
const UNSAFE_RIGS: &[(&str, &str)] = &[("tests/powercut/Cargo.toml", "tests/powercut/src/vfs.rs")];

#[test]
fn every_crate_inherits_the_lints_and_forbids_unsafe() {
    let root: toml::Table = repository::text("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let lints = &root["workspace"]["lints"];
    assert_eq!(
        lints["rust"]["unsafe_code"].as_str(),
        Some("forbid"),
        "unsafe_code in [workspace.lints.rust]"
    );
    let mut complaints = Vec::new();
    for path in repository::files("toml").iter().filter(|path| path.ends_with("/Cargo.toml")) {
        let manifest: toml::Table =
            repository::text(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let inherits =
            manifest.get("lints").and_then(|it| it.get("workspace")).and_then(toml::Value::as_bool);
        let may_hold_unsafe = UNSAFE_RIGS.iter().any(|(rig, _)| rig == path);
        if may_hold_unsafe && manifest.get("lints") == Some(&with_unsafe_denied(lints)) {
            continue;
        }
        // A manifest with a workspace of its own has nothing to inherit from.
        if inherits != Some(true) && !manifest.contains_key("workspace") {
            complaints.push(path.clone());
        }
    }
    assert_none("crates that do not inherit the workspace's lints", complaints);
}

/// The workspace's lints as a rig states them that allows `unsafe` in one file: what is forbidden can not be.
fn with_unsafe_denied(lints: &toml::Value) -> toml::Value {
    let mut lints = lints.clone();
    lints["rust"]["unsafe_code"] = "deny".into();
    lints
}

#[test]
fn unsafe_stands_in_the_files_that_are_named_here() {
    let mut complaints = Vec::new();
    for source in Source::all() {
        let is_named = UNSAFE_RIGS.iter().any(|(_, file)| *file == source.path);
        let in_own_workspace = source.path.starts_with("tests/fuzz/");
        if !is_named && !in_own_workspace {
            let lines = Source::lines_naming(&source.code, "unsafe");
            complaints.extend(lines.iter().map(|line| format!("{}:{line}", source.path)));
        }
    }
    assert_none("unsafe outside the files of `UNSAFE_RIGS`", complaints);
    for (_, file) in UNSAFE_RIGS {
        assert!(repository::text(file).contains("unsafe"), "{file} needs no exception any more");
    }
}

#[test]
fn product_code_holds_no_unsafe() {
    let mut complaints = Vec::new();
    for source in Source::all().iter().filter(|it| it.is_product()) {
        for line in Source::lines_naming(&source.code, "unsafe") {
            complaints.push(format!("{}:{line}", source.path));
        }
    }
    assert_none("unsafe in a product crate", complaints);
}

#[test]
fn nothing_is_left_to_be_done() {
    let mut complaints = Vec::new();
    for source in Source::all() {
        for (index, line) in source.code.lines().enumerate() {
            for left in ["todo!", "unimplemented!", "dbg!"] {
                if line.contains(left) {
                    complaints.push(format!("{}:{} {left}", source.path, index + 1));
                }
            }
        }
        for (index, line) in source.text.lines().enumerate() {
            // Put together here, or this line would find itself.
            for left in [concat!("FIX", "ME"), concat!("X", "XX")] {
                if line.contains(left) {
                    complaints.push(format!("{}:{} {left}", source.path, index + 1));
                }
            }
        }
    }
    assert_none("left to be done", complaints);
}

#[test]
fn an_ignored_test_says_why() {
    let mut complaints = Vec::new();
    for source in Source::all() {
        for (index, line) in source.code.lines().enumerate() {
            if line.trim_start().starts_with("#[ignore]") {
                complaints.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert_none("tests ignored without a reason", complaints);
}

#[test]
fn dependencies_come_from_the_public_registry() {
    let lock = repository::text("Cargo.lock");
    let strange = |line: &&str| {
        line.starts_with("source = ")
            && *line != "source = \"registry+https://github.com/rust-lang/crates.io-index\""
    };
    let complaints = lock.lines().filter(strange).map(str::to_owned).collect();
    assert_none("sources in Cargo.lock", complaints);
    for config in [".cargo/config.toml", ".cargo/config"] {
        let text = std::fs::read_to_string(repository::root().join(config)).unwrap_or_default();
        for word in ["registry", "source", "proxy"] {
            assert!(!text.contains(word), "{config} speaks of a {word}: a clone must build anywhere");
        }
    }
}

#[test]
fn scripts_are_ready_to_run() {
    use std::os::unix::fs::PermissionsExt;
    for script in ["tests/run", "tests/long", "tests/torture/run", ".ci/run"] {
        let path = repository::root().join(script);
        let mode =
            std::fs::metadata(&path).unwrap_or_else(|error| panic!("{script}: {error}")).permissions().mode();
        assert!(mode & 0o100 != 0, "{script} has no run bit");
        let checked = std::process::Command::new("bash").arg("-n").arg(&path).status().expect("bash starts");
        assert!(checked.success(), "{script} is not a shell script that bash can read");
    }
}

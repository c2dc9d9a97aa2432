//! The walls between the crates: which may know of which, in the manifests and in the code.

use hark_tests::repository::{self, Source};

use super::assert_none;

/// What a crate may depend on.
struct Wall {
    name: &'static str,
    folder: &'static str,
    /// Crates of ours that it may use, in tests and examples too.
    ours: &'static [&'static str],
    /// Crates of others that it may use; tests and examples are free to use more.
    others: Others,
}

enum Others {
    /// These and no more.
    Only(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

/// The table of the walls. The one in ARCHITECTURE.md is held equal to it.
const WALLS: &[Wall] = &[
    Wall {
        name: "hark-protocol",
        folder: "protocol",
        ours: &[],
        others: Others::Only(&["binrw", "bytes", "crc32fast", "thiserror", "tokio-util"]),
    },
    Wall {
        name: "hark-core",
        folder: "server/core",
        ours: &["hark-protocol"],
        others: Others::Only(&["bytes", "thiserror"]),
    },
    Wall {
        name: "hark-store-sqlite",
        folder: "server/store-sqlite",
        ours: &["hark-core", "hark-protocol"],
        others: Others::AllBut(&["tokio", "rustls"]),
    },
    Wall {
        name: "hark-server",
        folder: "server/node",
        ours: &["hark-core", "hark-protocol", "hark-store-sqlite"],
        others: Others::AllBut(&["rusqlite"]),
    },
    Wall {
        name: "hark-sdk",
        folder: "sdk",
        ours: &["hark-protocol"],
        others: Others::AllBut(&["rusqlite", "axum"]),
    },
    Wall {
        name: "hark-cli",
        folder: "cli",
        ours: &["hark-sdk"],
        others: Others::AllBut(&["rustls", "tokio-rustls", "rusqlite"]),
    },
    Wall {
        name: "hark-checker",
        folder: "tests/checker",
        ours: &[],
        others: Others::Only(&["serde", "serde_json"]),
    },
    Wall {
        name: "hark-powercut",
        folder: "tests/powercut",
        ours: &["hark-core", "hark-protocol", "hark-store-sqlite"],
        others: Others::Only(&["rusqlite", "tempfile"]),
    },
    Wall {
        name: "hark-simulation",
        folder: "tests/simulation",
        ours: &["hark-checker", "hark-core", "hark-protocol", "hark-sdk", "hark-server", "hark-store-sqlite"],
        others: Others::AllBut(&["rusqlite"]),
    },
    Wall {
        name: "hark-torture",
        folder: "tests/torture",
        ours: &["hark-checker", "hark-protocol", "hark-sdk", "hark-tests"],
        others: Others::AllBut(&["rustls", "tokio-rustls"]),
    },
];

/// What the crates that think must not name: they have no files, no network, no clock, no chance, no threads.
const NOT_PURE: &[&str] = &[
    "std::fs",
    "std::net",
    "stdin",
    "stdout",
    "stderr",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "RandomState",
    "tokio",
    "rustls",
    "tracing",
    "rusqlite",
    "println",
    "eprintln",
];

const PURE: &[&str] = &["protocol/src/", "server/core/src/"];

/// One dependency in a manifest.
struct Dependency {
    section: &'static str,
    name: String,
    optional: bool,
}

fn dependencies(folder: &str) -> Vec<Dependency> {
    let path = format!("{folder}/Cargo.toml");
    let manifest: toml::Table =
        repository::text(&path).parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut found = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (name, value) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
            let optional = value.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
            found.push(Dependency { section, name: name.clone(), optional });
        }
    }
    assert!(!manifest.contains_key("target"), "{path}: dependencies by target escape the walls");
    found
}

fn is_ours(name: &str) -> bool {
    name == "hark" || name.starts_with("hark-")
}

#[test]
fn every_crate_of_the_workspace_has_a_wall() {
    let manifest: toml::Table = repository::text("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members is a list");
    let mut folders: Vec<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    folders.retain(|folder| *folder != "tests");
    let mut walled: Vec<&str> = WALLS.iter().map(|wall| wall.folder).collect();
    folders.sort_unstable();
    walled.sort_unstable();
    assert_eq!(folders, walled, "the table of walls and the workspace's members (all but `tests`)");
}

#[test]
fn manifests_respect_the_walls() {
    let mut complaints = Vec::new();
    for wall in WALLS {
        for dependency in dependencies(wall.folder) {
            let allowed = match (&wall.others, is_ours(&dependency.name)) {
                (_, true) => wall.ours.contains(&dependency.name.as_str()),
                _ if dependency.section == "dev-dependencies" => true,
                (Others::Only(these), _) => these.contains(&dependency.name.as_str()),
                (Others::AllBut(these), _) => !these.contains(&dependency.name.as_str()),
            };
            if !allowed {
                complaints.push(format!("{}: {} in [{}]", wall.folder, dependency.name, dependency.section));
            }
        }
    }
    assert_none("dependencies through a wall", complaints);
}

#[test]
fn the_codec_is_the_protocol_crates_only_tie_to_a_runtime() {
    let found = dependencies("protocol");
    let tie = found.iter().find(|it| it.name == "tokio-util" && it.section == "dependencies");
    assert!(tie.is_none_or(|it| it.optional), "tokio-util must stay optional in protocol/Cargo.toml");
    let mut complaints = Vec::new();
    for source in Source::all().iter().filter(|it| it.path.starts_with("protocol/src/")) {
        if source.path != "protocol/src/codec.rs"
            && !Source::lines_naming(&source.code, "tokio_util").is_empty()
        {
            complaints.push(source.path.clone());
        }
    }
    assert_none("tokio_util is named outside protocol/src/codec.rs", complaints);
}

#[test]
fn code_names_no_crate_behind_a_wall() {
    let mut complaints = Vec::new();
    for source in Source::all() {
        let Some(wall) = WALLS.iter().find(|wall| source.path.starts_with(&format!("{}/", wall.folder)))
        else {
            continue;
        };
        for other in WALLS.iter().map(|it| it.name).chain(["hark-tests"]) {
            let word = other.replace('-', "_");
            if other == wall.name || wall.ours.contains(&other) {
                continue;
            }
            for line in Source::lines_naming(&source.code, &word) {
                complaints.push(format!("{}:{line} names {word}", source.path));
            }
        }
    }
    assert_none("paths through a wall", complaints);
}

#[test]
fn crates_that_think_touch_no_world() {
    let mut complaints = Vec::new();
    for source in Source::all().iter().filter(|it| PURE.iter().any(|folder| it.path.starts_with(folder))) {
        // The suites for implementations of the ports are no part of what thinks.
        if source.is_test() || source.path.starts_with("server/core/src/testkit/") {
            continue;
        }
        let code = source.product_code();
        for needle in NOT_PURE {
            for line in Source::lines_naming(&code, needle) {
                complaints.push(format!("{}:{line} names {needle}", source.path));
            }
        }
    }
    assert_none("time, ids, chance and the world are arguments here", complaints);
}

#[test]
fn only_one_file_of_the_server_knows_the_concrete_store() {
    let mut complaints = Vec::new();
    for source in Source::all().iter().filter(|it| it.path.starts_with("server/node/src/")) {
        if source.path == "server/node/src/assemble.rs" {
            continue;
        }
        for line in Source::lines_naming(&source.product_code(), "hark_store_sqlite") {
            complaints.push(format!("{}:{line}", source.path));
        }
    }
    assert_none("hark_store_sqlite is named outside server/node/src/assemble.rs", complaints);
}

#[test]
fn only_a_store_says_that_an_event_is_on_the_disk() {
    let mut complaints = Vec::new();
    for source in Source::all().iter().filter(|it| it.is_product()) {
        if source.path.starts_with("server/store-") || source.path.starts_with("server/core/src/memory") {
            continue;
        }
        for (index, line) in source.product_code().lines().enumerate() {
            if line.contains(".committed()") || line.contains("::committed") {
                complaints.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert_none("the proof of a commit is made outside a store", complaints);
}

#[test]
fn the_walls_in_architecture_md_are_these() {
    let text = repository::text("ARCHITECTURE.md");
    let (_, walls) = text.split_once("\n## Walls\n").expect("ARCHITECTURE.md has a section `## Walls`");
    let section = walls.split("\n## ").next().unwrap_or(walls);
    let documented: Vec<&str> = section.lines().filter(|line| line.starts_with("| hark-")).collect();
    let table: Vec<String> = WALLS.iter().map(row).collect();
    assert_eq!(documented, table, "the rows of the table in ARCHITECTURE.md, and those of this test");
}

fn row(wall: &Wall) -> String {
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let others = match wall.others {
        Others::Only(these) => format!("only {}", list(these)),
        Others::AllBut(these) => format!("all but {}", list(these)),
    };
    format!("| {} | {} | {} | {} |", wall.name, wall.folder, list(wall.ours), others)
}

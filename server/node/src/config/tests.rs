//! The table is held to the struct, and every way to give a value to what it means.

use std::collections::BTreeSet;

use super::*;

fn file(text: &str) -> Sources {
    let file = ConfigFile { path: "harkd.toml".into(), text: text.to_owned() };
    Sources { file: Some(file), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Sources { environment, ..Sources::default() }
}

#[track_caller]
fn check_problem(sources: &Sources, expected: &str) {
    let problems = Config::load(sources).expect_err("the configuration is accepted");
    let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(told.iter().any(|problem| problem.contains(expected)), "{expected:?} is not in {told:#?}");
}

#[test]
fn nothing_given_is_the_default() {
    let loaded = Config::load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.given.is_empty() && loaded.warnings.is_empty());
}

#[test]
fn every_limit_has_a_key_and_every_key_of_that_section_a_limit() {
    let debug = format!("{:?}", Limits::open());
    let fields: BTreeSet<&str> = debug
        .trim_start_matches("Limits {")
        .trim_end_matches('}')
        .split(',')
        .filter_map(|field| field.split(':').next().map(str::trim))
        .collect();
    let keys: BTreeSet<&str> = KEYS
        .iter()
        .filter(|key| key.path.starts_with("limits.") && key.path != "limits.profile")
        .map(|key| key.section_and_name().1)
        .collect();
    assert_eq!(keys, fields);
}

#[test]
fn keys_are_unique_sorted_by_section_and_explained_by_one_sentence() {
    let mut seen = BTreeSet::new();
    let mut sections = Vec::new();
    for key in KEYS {
        assert!(seen.insert(key.path), "{} stands twice", key.path);
        assert!(
            key.sentence.ends_with('.') && !key.sentence.contains(". "),
            "{}: {}",
            key.path,
            key.sentence
        );
        if sections.last() != Some(&key.section_and_name().0) {
            sections.push(key.section_and_name().0);
        }
    }
    let unique: BTreeSet<_> = sections.iter().collect();
    assert_eq!(unique.len(), sections.len(), "a section is split: {sections:?}");
    assert_eq!(sections.first(), Some(&""), "keys without a section must come first in TOML");
}

#[test]
fn what_a_key_shows_it_also_reads() {
    let other = Config {
        listen: "[::1]:99".parse().unwrap(),
        metrics_listen: None,
        data: "/var/lib/\"hark\"".into(),
        names: vec!["chat.example.org".into(), "192.0.2.7".into()],
        tail_bytes_max: 2_000_000,
        retention: hark_protocol::Retention { max_age_s: 1, max_events: 2, max_bytes: 3 },
        shutdown_grace_ms: 7,
        shutdown_spread_ms: 8,
        session_lifetime_s: 61,
        tls: Some(TlsFiles { cert: "a.pem".into(), key: "b.pem".into() }),
        registration: false,
        profile: Profile::Public,
        limits: Limits { connections_max: 12_345, ..Limits::public() },
        log_level: "warn,hark=trace".into(),
        log_format: LogFormat::Json,
    };
    for config in [Config::default(), other] {
        let mut text = String::new();
        for key in KEYS {
            let value = key.value_in(&config);
            text.extend(value.map(|value| format!("{} = {value}\n", key.path)));
        }
        assert_eq!(Config::load(&file(&text)).unwrap().config, config, "{text}");
    }
}

#[test]
fn each_limit_key_sets_its_own_field_and_no_other() {
    let before = Config::load(&file("limits.profile = \"public\"")).unwrap().config;
    for key in KEYS.iter().filter(|key| key.stage == key::Stage::Limits) {
        let value: u64 = key.value_in(&before).unwrap().parse().unwrap();
        let text = format!("limits.profile = \"public\"\n{} = {}", key.path, value + 1);
        let after = Config::load(&file(&text)).unwrap().config;
        let differing = KEYS.iter().filter(|other| other.value_in(&after) != other.value_in(&before));
        assert_eq!(differing.map(|other| other.path).collect::<Vec<_>>(), [key.path]);
    }
}

#[test]
fn the_environment_is_over_the_file_and_the_command_line_over_both() {
    let mut sources = file("data = \"a\"\nlisten = \"127.0.0.1:1\"\nshutdown_grace_ms = 5");
    sources.environment = vec![
        ("HARKD_DATA".into(), "b".into()),
        ("HARKD_LISTEN".into(), "127.0.0.1:2".into()),
        ("PATH".into(), "x".into()),
    ];
    sources.flags = vec![("--data", "data", "c".into())];
    let loaded = Config::load(&sources).unwrap();
    assert_eq!(loaded.config.data, PathBuf::from("c"));
    assert_eq!(loaded.config.listen, "127.0.0.1:2".parse().unwrap());
    assert_eq!(loaded.config.shutdown_grace_ms, 5);
}

#[test]
fn every_key_has_a_variable_derived_from_its_name() {
    let loaded = Config::load(&environment(&[
        ("HARKD_LIMITS_PUBLISH_RATE_PER_SECOND", "1_000"),
        ("HARKD_LIMITS_PUBLISH_BURST_MAX", "50"),
        ("HARKD_REGISTRATION_ENABLED", "false"),
        ("HARKD_NAMES", "chat.example.org, 192.0.2.1"),
        ("HARKD_METRICS_LISTEN", "none"),
    ]))
    .unwrap();
    assert_eq!(loaded.config.limits.publish_rate_per_second, 1_000);
    assert!(!loaded.config.registration);
    assert_eq!(loaded.config.names, ["chat.example.org", "192.0.2.1"]);
    assert_eq!(loaded.config.metrics_listen, None);
}

#[test]
fn an_unknown_variable_is_told_and_passed_over() {
    let loaded =
        Config::load(&environment(&[("HARKD_LISTN", "x"), ("HARKD_PORT_4275_TCP_ADDR", "y")])).unwrap();
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings[0].contains("did you mean HARKD_LISTEN?"), "{:?}", loaded.warnings);
}

#[test]
fn the_profile_follows_listen_unless_it_is_named() {
    for (text, expected) in [
        ("listen = \"127.0.0.2:1\"", Profile::Open),
        ("listen = \"[::1]:1\"", Profile::Open),
        ("listen = \"0.0.0.0:1\"", Profile::Public),
        ("listen = \"0.0.0.0:1\"\nlimits.profile = \"open\"", Profile::Open),
        ("limits.profile = \"public\"", Profile::Public),
    ] {
        let config = Config::load(&file(text)).unwrap().config;
        assert_eq!((config.profile, config.limits), (expected, expected.limits()), "{text}");
    }
}

#[test]
fn a_limit_is_set_on_top_of_its_profile_wherever_it_stands() {
    let config = Config::load(&file("[limits]\nconnections_max = 7\nprofile = \"public\"")).unwrap().config;
    assert_eq!(config.limits, Limits { connections_max: 7, ..Limits::public() });
}

#[test]
fn problems_name_the_line_and_what_to_do() {
    for (text, expected) in [
        ("\n\nlisen = \"x\"", "harkd.toml:3: there is no key lisen; did you mean listen?"),
        ("[limits]\npublish_rate = 3", "harkd.toml:2: there is no key limits.publish_rate; did you mean"),
        ("colour = 1", "harkd.toml:1: there is no key colour; `harkd config --explain`"),
        ("[storage]", "harkd.toml:1: there is no key storage"),
        ("limits = 3", "harkd.toml:1: limits is a section: write [limits]"),
        ("listen = \"localhost\"", "an IP address and a port are needed"),
        ("listen = 4275", "a text in quotes is needed, not a number"),
        ("data = \"\"", "a path is needed"),
        ("a = = b", "harkd.toml:1: this is not TOML"),
        ("data = \"a\"\ndata = \"b\"", "harkd.toml:2: this is not TOML: duplicate key"),
        ("[limits]\nframe_bytes_max = 1000", "it must be between 32768 and 1048576"),
        ("[limits]\nframe_bytes_max = 2_000_000", "it must be between 32768 and 1048576"),
        ("[limits]\nheartbeat_interval_ms = 199", "it must be between 200 and 45000"),
        ("[limits]\nconnections_max = -1", "a whole number is needed"),
        ("[limits]\nconnections_max = \"9\"", "a whole number is needed"),
        ("[limits]\npage_events_max = 70_000", "it must be between 1 and 10000"),
        ("[limits]\nprofile = \"closed\"", "it must be one of open, public"),
        ("[limits]\nhello_timeout_ms = 20_000", "is longer than limits.auth_timeout_ms"),
        ("[tls]\ncert = \"a\"", "harkd.toml:2: tls.cert needs tls.key beside it"),
        ("[tls]\nkey = \"a\"", "tls.key needs tls.cert beside it"),
        ("[registration]\nenabled = \"yes\"", "true or false is needed"),
        ("[log]\nlevel = \"loud\"", "\"loud\" is not a level"),
        ("names = [\"a b\"]", "is neither a DNS name nor an IP address"),
        ("names = \"a\"", "a list of texts is needed"),
        ("metrics_listen = \"127.0.0.1:4275\"", "the same address"),
    ] {
        check_problem(&file(text), expected);
    }
}

#[test]
fn problems_in_the_environment_name_the_variable() {
    check_problem(
        &environment(&[("HARKD_LIMITS_CONNECTIONS_MAX", "many")]),
        "HARKD_LIMITS_CONNECTIONS_MAX: limits.connections_max = many: a whole number is needed",
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let problems = Config::load(&file("lisen = 1\ndata = 2\n[log]\nlevel = \"x\"")).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn what_explain_prints_is_a_file_that_means_the_same() {
    let text = "listen = \"0.0.0.0:1\"\nnames = [\"a.example\"]\n[limits]\nconnections_max = \
         7\n[log]\nlevel = \"warn\"";
    for sources in [Sources::default(), file(text)] {
        let loaded = Config::load(&sources).unwrap();
        let explained = explain(&loaded);
        assert_eq!(Config::load(&file(&explained)).unwrap().config, loaded.config, "{explained}");
        for key in KEYS {
            assert!(explained.contains(key.sentence) && explained.contains(&key.variable()), "{}", key.path);
        }
    }
}

#[test]
fn explain_tells_default_value_and_source() {
    let loaded = Config::load(&file("\n[limits]\nconnections_max = 7")).unwrap();
    let explained = explain(&loaded);
    assert!(
        explained.contains("# Default: 100000. Environment: HARKD_LIMITS_CONNECTIONS_MAX."),
        "{explained}"
    );
    assert!(explained.contains("\nconnections_max = 7  # from harkd.toml:3\n"), "{explained}");
    assert!(explained.contains("\n# listen = \"127.0.0.1:4275\"\n"), "{explained}");
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let missing = std::path::PathBuf::from("/nonexistent/harkd.toml");
    let problem = find_file(Some(missing), &[]).unwrap_err();
    assert!(problem.to_string().contains("/nonexistent/harkd.toml"), "{problem}");
    let variables = [("HARKD_CONFIG".to_owned(), "/nonexistent/other.toml".to_owned())];
    assert!(find_file(None, &variables).unwrap_err().to_string().contains("other.toml"));
}

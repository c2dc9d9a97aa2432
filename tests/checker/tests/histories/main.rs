//! The checker against histories of which the truth is known: valid ones pass, and what is put into them is named.

mod chance;
mod generate;
mod inject;
mod size;

use std::collections::BTreeMap;

use hark_checker::{Kind, Least, Record, Terms, Verdict, check};

use chance::Chance;

/// Thresholds that a history of a few hundred lines can meet.
pub(crate) const SMALL: Least = Least { acks: 5, faults: 0, unknown: 0, drains: 3 };

/// Histories in a run: `HARK_TEST_HISTORIES`.
fn histories() -> u64 {
    let text = std::env::var("HARK_TEST_HISTORIES");
    text.map_or(1_000, |it| it.parse().expect("HARK_TEST_HISTORIES is a number"))
}

/// The first seed: `HARK_TEST_SEED`, to see a failure again.
fn first_seed() -> u64 {
    let text = std::env::var("HARK_TEST_SEED");
    text.map_or(0, |it| it.parse().expect("HARK_TEST_SEED is a number"))
}

/// Raises a threshold above what a small history holds.
type Raise = fn(&mut Least);

fn terms() -> Terms {
    Terms { least: SMALL, ..Terms::default() }
}

fn history(seed: u64) -> Vec<Record> {
    generate::valid(seed, 60 + (seed % 7) as usize * 60)
}

#[test]
fn generated_histories_pass() {
    for seed in first_seed()..first_seed() + histories() {
        let report = check(&history(seed), &terms());
        assert_eq!(report.verdict, Verdict::Valid, "HARK_TEST_SEED={seed}\n{report}");
    }
}

#[test]
fn every_anomaly_is_named_and_nothing_else() {
    let mut injected: BTreeMap<Kind, u64> = BTreeMap::new();
    for seed in first_seed()..first_seed() + histories() {
        let kind = Kind::ALL[(seed % Kind::ALL.len() as u64) as usize];
        let mut records = history(seed);
        if !inject::inject(kind, &mut records, &mut Chance::new(seed ^ 0x5eed)) {
            continue;
        }
        *injected.entry(kind).or_default() += 1;
        let report = check(&records, &terms());
        let named: Vec<Kind> = report.counts.keys().copied().collect();
        assert_eq!(named, [kind], "HARK_TEST_SEED={seed}\n{report}");
        assert_eq!(report.verdict, Verdict::Invalid);
    }
    for kind in Kind::ALL {
        let (found, due) = (injected.get(&kind).copied().unwrap_or(0), histories() / Kind::ALL.len() as u64);
        assert!(found * 2 >= due, "{kind} was injected {found} times of {due}");
    }
}

#[test]
fn an_anomaly_is_told_with_at_most_twenty_lines_that_show_it() {
    let mut records = history(3);
    assert!(inject::inject(Kind::Nonmonotonic, &mut records, &mut Chance::new(3)));
    let report = check(&records, &terms());
    let [anomaly] = &report.anomalies[..] else { panic!("one anomaly:\n{report}") };
    assert!(anomaly.context.len() > 2 && anomaly.context.len() <= hark_checker::CONTEXT_LINES_MAX);
    assert!(anomaly.context.iter().any(|line| line.starts_with("> ")), "{report}");
    assert!(report.to_string().contains("nonmonotonic (I8): "), "{report}");
    assert!(report.to_json().contains(r#""anomalies":{"nonmonotonic":1}"#), "{}", report.to_json());
}

#[test]
fn a_history_that_shows_too_little_is_unknown() {
    let records = history(1);
    let least = |change: Raise| {
        let mut least = SMALL;
        change(&mut least);
        check(&records, &Terms { least, ..Terms::default() })
    };
    let cases: [(&str, Raise); 4] = [
        ("acknowledged publishes", |it| it.acks = 100_000),
        ("effective faults of the kind kill", |it| it.faults = 1_000),
        ("unknown outcome", |it| it.unknown = 1_000),
        ("fresh readers of tea", |it| it.drains = 4),
    ];
    for (what, change) in cases {
        let report = least(change);
        assert_eq!(report.verdict, Verdict::Unknown, "{what}");
        assert!(report.vacuous.iter().any(|it| it.contains(what)), "{what}: {:?}", report.vacuous);
    }
    for missing in ["\"op\":\"end\"", "\"op\":\"history\"", "\"op\":\"head\""] {
        let is = |it: &Record| serde_json::to_string(it).expect("a record is JSON").contains(missing);
        let cut: Vec<Record> = records.iter().filter(|it| !is(it)).cloned().collect();
        assert_ne!(check(&cut, &terms()).verdict, Verdict::Valid, "without {missing}");
    }
}

#[test]
fn faults_without_an_effect_do_not_count() {
    let mut records = history(2);
    for record in &mut records {
        if let hark_checker::What::Fault { effective, .. } = &mut record.what {
            *effective = false;
        }
    }
    let terms = Terms { least: Least { faults: 1, ..SMALL }, ..Terms::default() };
    assert_eq!(check(&records, &terms).verdict, Verdict::Unknown);
}

#[test]
fn whoever_has_come_back_may_be_shown_its_own_removal() {
    let lines = |next: u64, head: u64| {
        format!(
            r#"{{"t":1,"client":"rig","op":"history","version":1,"origin":"by hand"}}
{{"t":2,"client":"rig","op":"room","room":"tea","epoch":1}}
{{"t":3,"client":"rig","op":"member","room":"tea","epoch":1,"seq":1,"account":"ann","change":"in"}}
{{"t":4,"client":"rig","op":"member","room":"tea","epoch":1,"seq":2,"account":"ann","change":"out"}}
{{"t":5,"client":"rig","op":"member","room":"tea","epoch":1,"seq":3,"account":"ann","change":"in"}}
{{"t":6,"client":"ann","op":"subscribe","phase":"invoke","reader":"a","room":"tea","account":"ann"}}
{{"t":7,"client":"ann","op":"subscribe","phase":"ok","reader":"a","room":"tea","epoch":1,"next":{next},"head":{head}}}
{{"t":8,"client":"ann","op":"deliver","reader":"a","room":"tea","epoch":1,"seq":2,"author":"ann","cid":"2","hash":"h","control":true}}
{{"t":9,"client":"ann","op":"deliver","reader":"a","room":"tea","epoch":1,"seq":3,"author":"ann","cid":"3","hash":"h","control":true}}"#
        )
    };
    let is_named = |head| {
        let records = hark_checker::read(lines(2, head).as_bytes()).expect("it is a history");
        check(&records, &terms()).counts.contains_key(&Kind::AfterRemoval)
    };
    assert!(!is_named(3), "it was a member again when it asked");
    assert!(is_named(1), "it was removed on the stream, which ends there");
}

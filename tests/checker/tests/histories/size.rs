//! What the checker costs: nearly in proportion to the history.

use hark_checker::{Least, Terms, Verdict, check};

use crate::{SMALL, generate};

fn steps(seed: u64, count: usize) -> (usize, u64) {
    let records = generate::valid(seed, count);
    let report = check(&records, &Terms { least: Least { acks: 100, ..SMALL }, ..Terms::default() });
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    (records.len(), report.steps)
}

#[test]
fn two_hundred_thousand_lines_cost_little_more_for_each_than_a_few_thousand() {
    let (small, small_steps) = steps(11, 600);
    let (large, large_steps) = steps(11, 8_000);
    assert!(large >= 200_000, "{large} lines");
    println!("{small} lines: {small_steps} steps; {large} lines: {large_steps} steps");
    let (each, each_of_large) = (small_steps as f64 / small as f64, large_steps as f64 / large as f64);
    assert!(each_of_large < each * 3.0, "{each:.1} steps for each of {small}, {each_of_large:.1} of {large}");
}

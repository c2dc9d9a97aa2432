//! The checker as a program: reads histories, tells what is wrong with them.

use std::fs::File;
use std::io::{self, BufReader};
use std::process::ExitCode;
use std::time::Duration;

use hark_checker::{Record, Terms, Verdict, check, merge, read};

const HELP: &str = "\
Usage: hark-checker [--acks N] [--faults N] [--unknown N] [--drains N] [--settle SECONDS] [--json] FILE…

Judges the history in FILE… (JSON lines, merged by time; - is standard input).
  --acks, --faults, --unknown, --drains
            what it must hold at least before \"valid\" is said (1000, 10, 1, 3)
  --settle  how long after the last fault everything must be resolved (10)
  --json    the verdict as one JSON object on the last line

Exit code: 0 valid, 1 invalid, 3 shows too little, 2 cannot be read.";

fn main() -> ExitCode {
    let order = match Order::parse(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    let records = match order.records() {
        Ok(records) => records,
        Err(words) => {
            eprintln!("hark-checker: {words}");
            return ExitCode::from(2);
        }
    };
    let report = check(&records, &order.terms);
    println!("{report}");
    if order.json {
        println!("{}", report.to_json());
    }
    ExitCode::from(match report.verdict {
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 3,
    })
}

struct Order {
    terms: Terms,
    json: bool,
    files: Vec<String>,
}

impl Order {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Order, String> {
        let mut order = Order { terms: Terms::default(), json: false, files: Vec::new() };
        while let Some(word) = words.next() {
            let mut number = || -> Result<usize, String> {
                let value = words.next().unwrap_or_default();
                value.parse().map_err(|_| format!("{word} takes a number, not {value:?}\n\n{HELP}"))
            };
            let least = &mut order.terms.least;
            match word.as_str() {
                "--acks" => least.acks = number()?,
                "--faults" => least.faults = number()?,
                "--unknown" => least.unknown = number()?,
                "--drains" => least.drains = number()?,
                "--settle" => order.terms.settlement = Duration::from_secs(number()? as u64),
                "--json" => order.json = true,
                file if file == "-" || !file.starts_with('-') => order.files.push(word),
                _ => return Err(HELP.to_owned()),
            }
        }
        if order.files.is_empty() { Err(HELP.to_owned()) } else { Ok(order) }
    }

    fn records(&self) -> Result<Vec<Record>, String> {
        let mut records = Vec::new();
        for file in &self.files {
            let fail = |error: &dyn std::fmt::Display| format!("{file}: {error}");
            let found = match file.as_str() {
                "-" => read(io::stdin().lock()),
                _ => read(BufReader::new(File::open(file).map_err(|error| fail(&error))?)),
            };
            records.extend(found.map_err(|error| fail(&error))?);
        }
        Ok(merge(records))
    }
}

//! The program `harkd` as its operator meets it: what it prints, what it makes, how it ends.

#[cfg(test)]
mod backup;
#[cfg(test)]
mod bench;

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;

use bench::{Bench, Ended};

/// One plain sentence for the operator, exit code 1, and nothing on standard output.
#[track_caller]
fn assert_refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.out, "", "{ended:?}");
    let told: Vec<&str> = ended.err.lines().filter(|line| line.starts_with("harkd: ")).collect();
    assert_eq!(told.len(), 1, "{ended:?}");
    for word in words {
        assert!(told[0].contains(word), "no {word:?} in {told:?}");
    }
}

#[test]
fn the_first_start_makes_everything_and_the_next_finds_it() {
    let bench = Bench::new();
    let first = bench.start();
    let greeting = first.end(Signal::TERM).done();
    let token = bench.read("hark-data/registration-token");
    assert!(greeting.contains(&format!("register alice --token {token}")), "{greeting}");
    assert!(greeting.contains(&bench.read("hark-data/admin-password")), "{greeting}");
    let fingerprint = |text: &str| text.lines().find(|line| line.contains("sha256:")).map(str::to_owned);
    let again = bench.start().end(Signal::INT).done();
    assert!(again.contains("found hark-data") && !again.contains("hrt_"), "{again}");
    assert_eq!(fingerprint(&again), fingerprint(&greeting));
}

#[test]
fn no_secret_is_ever_logged() {
    let bench = Bench::new();
    for _ in 0..2 {
        let mut harkd = bench.command();
        harkd.env("HARKD_LOG_LEVEL", "trace");
        let ended = bench.start_with(harkd).end(Signal::TERM);
        assert!(ended.err.contains("\"level\":\"DEBUG\""), "the level is not taken: {}", ended.err);
        for secret in ["registration-token", "admin-password"] {
            let secret = bench.read(&format!("hark-data/{secret}"));
            assert!(secret.len() > 16 && !ended.err.contains(&secret), "{}", ended.err);
        }
    }
}

#[test]
fn the_pages_of_the_operator_follow_the_server() {
    let bench = Bench::new();
    let mut running = bench.start();
    assert_eq!(running.page("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(running.page("/healthz").0, 200);
    let (status, metrics) = running.page("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("hark_limit{limit=\"connections_max\"} 100000\n"), "{metrics}");
    assert!(metrics.contains("hark_certificate_expires_timestamp_seconds 1"), "{metrics}");
    running.end(Signal::TERM).done();
}

#[test]
fn explain_prints_a_file_that_the_server_takes() {
    let bench = Bench::new();
    let mut harkd = bench.command();
    harkd.args(["config", "--explain", "--data", "elsewhere"]);
    let explained = bench.run(harkd).done();
    assert!(explained.contains("data = \"elsewhere\"  # from --data\n"), "{explained}");
    bench.write("explained.toml", &explained);
    let mut harkd = bench.command();
    harkd.args(["--check", "--config", "explained.toml"]);
    let report = bench.run(harkd).done();
    assert!(report.contains("data folder: elsewhere will be made"), "{report}");
}

#[test]
fn a_check_judges_everything_and_makes_nothing() {
    let bench = Bench::new();
    let check = || {
        let mut harkd = bench.command();
        harkd.arg("--check");
        bench.run(harkd)
    };
    assert!(check().done().contains("the server will make its own"));
    assert_eq!(bench.entries(), Vec::<String>::new());
    bench.write("harkd.toml", "lisen = 1\n\n[tls]\ncert = \"missing.pem\"\nkey = \"missing.pem\"\n");
    assert_refused(&check(), &["harkd.toml:1: there is no key lisen; did you mean listen?"]);
    bench.write("harkd.toml", "[tls]\ncert = \"missing.pem\"\nkey = \"missing.pem\"\n");
    assert_refused(&check(), &["missing.pem can not be read", "check that it is there"]);
    assert_eq!(bench.entries(), ["harkd.toml"]);
}

#[test]
fn a_bad_certificate_stops_the_start_before_anything_is_made() {
    let (bench, other) = (Bench::new(), Bench::new());
    other.start().end(Signal::TERM).done();
    for (file, content) in
        [("cert.pem", other.read("hark-data/tls/cert.pem")), ("key.pem", other.read("hark-data/tls/ca.key"))]
    {
        bench.write(file, &content);
    }
    let mut harkd = bench.command();
    harkd.env("HARKD_TLS_CERT", "cert.pem").env("HARKD_TLS_KEY", "key.pem");
    assert_refused(&bench.run(harkd), &["key.pem does not belong to the certificate in cert.pem"]);
    assert_eq!(bench.entries(), ["cert.pem", "key.pem"]);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let bench = Bench::new();
    bench.write("thesis.txt", "years of work");
    let mut harkd = bench.command();
    harkd.args(["--data", "."]);
    assert_refused(&bench.run(harkd), &["holds thesis.txt", "--data"]);
    assert_eq!(bench.entries(), ["thesis.txt"]);
}

#[test]
fn a_port_in_use_is_told_with_its_key_before_anything_is_made() {
    let bench = Bench::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "metrics_listen"] {
        let mut harkd = bench.command();
        harkd.env(format!("HARKD_{}", key.to_uppercase()), &address);
        assert_refused(&bench.run(harkd), &[&format!("{key} = {address}"), "another program listens there"]);
    }
    assert_eq!(bench.entries(), Vec::<String>::new());
}

#[test]
fn a_new_certificate_is_taken_up_by_sighup_and_a_bad_one_is_not() {
    let (bench, new) = (Bench::new(), Bench::new());
    let names = ["cert.pem", "key.pem"];
    for place in [&bench, &new] {
        place.start().end(Signal::TERM).done();
    }
    let copy = |from: &Bench| {
        for name in names {
            bench.write(name, &from.read(&format!("hark-data/tls/{name}")));
        }
    };
    copy(&bench);
    let mut harkd = bench.command();
    harkd.env("HARKD_TLS_CERT", "cert.pem").env("HARKD_TLS_KEY", "key.pem");
    let mut running = bench.start_with(harkd);
    running.signal(Signal::HUP);
    running.logs("the TLS certificate is unchanged");
    bench.write("key.pem", "nonsense");
    running.signal(Signal::HUP);
    running.logs("the one before stays in use");
    copy(&new);
    running.signal(Signal::HUP);
    running.logs("a new TLS certificate is in use");
    assert!(running.page("/metrics").1.contains("hark_certificate_reloads_total 1\n"));
    running.end(Signal::TERM).done();
}

#[test]
fn the_admins_password_can_be_reset_while_the_server_does_not_run() {
    let bench = Bench::new();
    let reset = || {
        let mut harkd = bench.command();
        harkd.arg("reset-admin-password");
        bench.run(harkd)
    };
    assert_refused(&reset(), &["hark-data holds no Hark data"]);
    let running = bench.start();
    let first = bench.read("hark-data/admin-password");
    assert_refused(&reset(), &["in use by another server"]);
    assert_eq!(bench.read("hark-data/admin-password"), first);
    running.end(Signal::TERM).done();
    assert!(reset().done().contains("hark-data/admin-password"));
    assert_ne!(bench.read("hark-data/admin-password"), first);
}

#[test]
fn without_registration_no_token_is_made() {
    let bench = Bench::new();
    let mut harkd = bench.command();
    harkd.env("HARKD_REGISTRATION_ENABLED", "false");
    let greeting = bench.start_with(harkd).end(Signal::TERM).done();
    assert!(greeting.contains("login admin") && !greeting.contains("--token"), "{greeting}");
    assert!(!fs::exists(bench.path("hark-data/registration-token")).unwrap());
}

//! `hark` as a process, as far as it needs no server: usage, help, exit codes, secrets and broken pipes.
#![allow(clippy::unwrap_used, reason = "what can not be unwrapped here is a test that fails")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A PING with correlation 7 and no data up to its checksum, the checksum, and the payload.
const PING: [&str; 3] = ["4841524b 01000007 00000007 00000004", "06d0eb8c", "00000000"];

/// The hexadecimal digits of a PING with this checksum.
fn ping(checksum: &str) -> String {
    format!("{} {checksum} {} ", PING[0], PING[2])
}

/// `hark` with a folder of its own for profiles and none of the caller's settings.
fn hark(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hark"));
    command.env_clear().env("HARK_CONFIG_HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn new(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A failure with this code: nothing on stdout, one sentence on stderr that holds `words`.
    #[track_caller]
    fn failed(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(words), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert_eq!(self.stdout, "");
    }
}

fn run(line: &str, variables: &[(&str, &str)]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut command = hark(home.path());
    command.args(line.split(' ').filter(|word| !word.is_empty())).envs(variables.iter().copied());
    Ran::new(command.output().unwrap())
}

#[test]
fn what_was_mistyped_is_a_usage_error() {
    for line in ["", "brew tea", "send tea", "tail tea --from yesterday", "--profile ../x whoami"] {
        let ran = run(line, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{line}: {}", ran.stderr);
    }
}

#[test]
fn help_version_and_manual_are_results() {
    assert!(run("--version", &[]).stdout.starts_with("hark 0."));
    let help = run("help", &[]);
    assert_eq!(help.code, Some(0));
    for command in
        ["register", "login", "logout", "whoami", "rooms", "create", "join", "leave", "members", "invite"]
    {
        assert!(help.stdout.contains(&format!("\n  {command}")), "{command}");
    }
    assert!(run("help json", &[]).stdout.contains("client_id"));
    assert!(run("json", &[]).stdout.contains("client_id"));
    assert!(run("man", &[]).stdout.contains(".TH hark 1"));
    assert!(run("man admin user add", &[]).stdout.contains(".TH hark-admin-user-add 1"));
    assert!(run("completions bash", &[]).stdout.contains("complete -F _hark"));
    run("man brew", &[]).failed(2, "no command `hark brew`");
}

#[test]
fn without_a_server_or_an_account_the_way_on_is_told() {
    run("whoami", &[]).failed(2, "--server");
    run("whoami", &[("HARK_SERVER", "127.0.0.1:1")]).failed(2, "hark login");
    run("whoami --server 127.0.0.1:port --user al", &[]).failed(2, "HOST:PORT");
    run("register al --server 127.0.0.1:1", &[]).failed(2, "--token");
    run("logout --server 127.0.0.1:1 --user al", &[]).failed(2, "not logged in");
}

#[test]
fn a_script_is_never_asked_for_a_password() {
    run("whoami --server 127.0.0.1:1 --user al", &[]).failed(2, "HARK_PASSWORD");
    run("login al --server 127.0.0.1:1", &[]).failed(2, "HARK_PASSWORD");
    run("register al --token t --server 127.0.0.1:1", &[]).failed(2, "HARK_PASSWORD");
    let missing = [("HARK_PASSWORD_FILE", "/nonexistent/password")];
    run("whoami --server 127.0.0.1:1 --user al", &missing).failed(2, "/nonexistent/password");
    run("register al --token t --server 127.0.0.1:1", &[("HARK_PASSWORD", "short")]).failed(2, "8 to 1024");
}

#[test]
fn a_trust_that_can_not_be_used_is_a_usage_error() {
    let login = [("HARK_USER", "al"), ("HARK_PASSWORD", "correct horse"), ("HARK_SERVER", "127.0.0.1:1")];
    run("whoami --ca /nonexistent/ca.pem", &login).failed(2, "/nonexistent/ca.pem");
    run("whoami --pin sha256:12", &login).failed(2, "sha256:");
    run("whoami --ca /dev/null", &login).failed(2, "no certificate");
}

#[test]
fn a_port_on_which_nobody_listens_is_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let login = [("HARK_USER", "al"), ("HARK_PASSWORD", "correct horse"), ("HARK_SERVER", address.as_str())];
    for line in
        ["whoami", "rooms", "send tea hi", "send tea --stdin", "tail tea", "history tea", "chat tea", "ping"]
    {
        run(line, &login).failed(3, "can not be reached");
    }
    run("register al --token t", &login).failed(3, "can not be reached");
    run("login al", &login).failed(3, "can not be reached");
}

#[test]
fn a_peer_that_is_no_hark_server_is_told_apart_and_gets_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    let login = [("HARK_USER", "al"), ("HARK_PASSWORD", "correct horse"), ("HARK_SERVER", address.as_str())];
    run("whoami", &login).failed(3, "does not speak TLS");
    let heard = peer.join().unwrap();
    assert!(!heard.windows(13).any(|window| window == b"correct horse"));
}

#[test]
fn a_broken_profile_is_named_and_its_token_is_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("hark/profiles");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("default.toml"), "server = 'h'\ntoken = 'hush-hush\n").unwrap();
    let ran = Ran::new(hark(home.path()).arg("whoami").output().unwrap());
    ran.failed(2, "default.toml");
    assert!(!ran.stderr.contains("hush-hush"));
}

#[test]
fn bytes_are_explained_from_an_argument_a_file_and_a_pipe() {
    let home = tempfile::tempdir().unwrap();
    let whole = ping(PING[1]);
    let by_argument = Ran::new(hark(home.path()).args(["decode", &whole]).output().unwrap());
    assert_eq!(by_argument.code, Some(0), "{}", by_argument.stderr);
    assert!(by_argument.stdout.contains("PING") && by_argument.stdout.contains("correlation"));

    let file = home.path().join("frame.hex");
    std::fs::write(&file, format!("# a ping\n{whole}\n")).unwrap();
    let by_file = Ran::new(hark(home.path()).arg("decode").arg(&file).output().unwrap());
    assert_eq!(by_file.stdout, by_argument.stdout);

    let mut child =
        hark(home.path()).args(["decode", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
    assert_eq!(Ran::new(child.wait_with_output().unwrap()).stdout, by_argument.stdout);
}

#[test]
fn decoded_frames_are_lines_of_json_and_a_flaw_is_a_failure() {
    let home = tempfile::tempdir().unwrap();
    let decode = |hex: &str| Ran::new(hark(home.path()).args(["--json", "decode", hex]).output().unwrap());
    let whole = decode(&ping(PING[1]));
    assert_eq!(
        whole.stdout,
        "{\"offset\":0,\"type\":\"PING\",\"correlation\":7,\"length\":4,\"fields\":\"Ping(Ping { data: b\\\"\\\" })\"}\n"
    );
    let broken = decode(&ping("00000000"));
    assert_eq!(broken.code, Some(2));
    assert!(
        broken.stdout.contains("\"error\":\"") && broken.stderr.contains("checksum"),
        "{}",
        broken.stdout
    );
    let stranger = decode("474554202f20485454502f312e310d0a");
    assert!(
        stranger.code == Some(2) && stranger.stderr.contains("does not speak Hark"),
        "{}",
        stranger.stderr
    );
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let home = tempfile::tempdir().unwrap();
    let frames = ping(PING[1]).repeat(20_000);
    let file = home.path().join("frames.hex");
    std::fs::write(&file, frames).unwrap();
    let mut child = hark(home.path())
        .arg("decode")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::new(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_output_of_a_pipe_has_no_colours() {
    for line in ["help", "help json", "man"] {
        assert!(!run(line, &[]).stdout.contains('\x1b'), "{line}");
    }
}

//! One child process: its output as it comes, its end, and no way to outlive the test that started it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::scale::PATIENCE;

/// The path of a program of ours, built in the same profile as the test that asks.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let path = programs_folder().join(name);
    let advice = "build it with `cargo build --workspace --all-features`, or run tests/run";
    assert!(path.is_file(), "{} is missing: {advice}", path.display());
    path
}

/// Where the programs are: `HARK_TEST_BIN_DIR`, or where cargo put what runs now, which is one below for tests.
pub fn programs_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("HARK_TEST_BIN_DIR") {
        return folder.into();
    }
    let running = std::env::current_exe().expect("what runs has a path");
    let folder = running.parent().expect("a file has a folder");
    let above = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "deps"));
    above.unwrap_or(folder).to_path_buf()
}

/// A `PATH` on which our programs come first.
///
/// # Panics
/// When the folder's name can not stand in a `PATH`.
pub fn search_path() -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs_folder()].into_iter().chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).expect("folders whose names can stand in a PATH")
}

/// A command that inherits nothing which a developer has exported for their own Hark.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HARK_") || text.starts_with("HARKD_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running process. Dropping it kills it; if the test is failing, its output is shown first.
pub struct Process {
    name: String,
    pid: Pid,
    handle: OwnedFd,
    stdin: Option<ChildStdin>,
    shared: Arc<Shared>,
}

/// What the threads that watch a process have seen.
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    out: Vec<String>,
    err: Vec<String>,
    /// Of the two streams, how many have not ended.
    open: usize,
    status: Option<ExitStatus>,
}

/// How a process ended, and all that it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// The output, after making sure that all went well.
    ///
    /// # Panics
    /// When the exit code is not 0.
    #[track_caller]
    pub fn done(self) -> String {
        self.with_code(0).out
    }

    /// The same, after making sure of the exit code.
    ///
    /// # Panics
    /// When the code is another.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "exit code; stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

impl Process {
    /// Starts a command with all three streams piped.
    ///
    /// # Panics
    /// When it can not be started.
    pub fn start(name: &str, mut command: Command) -> Process {
        command.stdin(Stdio::piped());
        Process::start_with_stdin(name, command)
    }

    /// Starts a command whose standard input is already set.
    ///
    /// # Panics
    /// When it can not be started.
    pub fn start_with_stdin(name: &str, mut command: Command) -> Process {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let pid = Pid::from_child(&child);
        let handle =
            pidfd_open(pid, PidfdFlags::empty()).expect("a child that nobody has waited for has a handle");
        let seen = Mutex::new(Seen { open: 2, ..Seen::default() });
        let shared = Arc::new(Shared { seen, changed: Condvar::new() });
        let stdin = child.stdin.take();
        watch(child.stdout.take().expect("piped above"), &shared, |seen| &mut seen.out);
        watch(child.stderr.take().expect("piped above"), &shared, |seen| &mut seen.err);
        watch_end(child, &shared);
        Process { name: name.to_owned(), pid, handle, stdin, shared }
    }

    /// Waits for a line, on either stream, of which `find` makes something.
    ///
    /// # Panics
    /// When no such line comes before the process ends or patience runs out.
    #[track_caller]
    pub fn said<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.until(PATIENCE, what, |seen| seen.out.iter().chain(&seen.err).find_map(|line| find(line)))
    }

    /// Waits until standard output has this many lines, and returns them.
    ///
    /// # Panics
    /// When it does not in this time.
    #[track_caller]
    pub fn lines(&self, count: usize, patience: Duration) -> Vec<String> {
        let enough = |seen: &Seen| (seen.out.len() >= count).then(|| seen.out.clone());
        self.until(patience, &format!("{count} lines"), enough)
    }

    /// What it has said so far on standard output.
    pub fn out_so_far(&self) -> Vec<String> {
        self.shared.lock().out.clone()
    }

    #[track_caller]
    fn until<T>(&self, patience: Duration, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + patience;
        let mut seen = self.shared.lock();
        loop {
            if let Some(found) = find(&seen) {
                return found;
            }
            let ended = seen.status.is_some() && seen.open == 0;
            let left = deadline.saturating_duration_since(Instant::now());
            if ended || left.is_zero() {
                let lines = (seen.out.len(), seen.err.len());
                drop(seen);
                let why = if ended { "ended" } else { "was given up on" };
                panic!(
                    "{} {why} before: {what} ({} lines on stdout, {} on stderr)",
                    self.name, lines.0, lines.1
                );
            }
            seen = self.shared.wait(seen, left);
        }
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    /// When the input is closed.
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is piped and open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the process reads its input");
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its number, for as long as this value lives: nobody else has waited for it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.shared.lock().status.is_some()
    }

    /// The last lines of standard error.
    pub fn err_so_far(&self, lines: usize) -> Vec<String> {
        let seen = self.shared.lock();
        seen.err[seen.err.len().saturating_sub(lines)..].to_vec()
    }

    /// Sends a signal; one that has ended does not mind.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// SIGKILL, and waits for the end.
    #[track_caller]
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.end()
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits for the end, with no more input.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// Waits this long for the end, with no more input.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn end_within(mut self, patience: Duration) -> Ended {
        self.close_stdin();
        self.until(patience, "its end", |seen| {
            let status = seen.status.filter(|_| seen.open == 0)?;
            Some(Ended { code: status.code(), out: text_of(&seen.out), err: text_of(&seen.err) })
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.lock().show(&self.name);
        }
        self.signal(Signal::KILL);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, seen: MutexGuard<'a, Seen>, left: Duration) -> MutexGuard<'a, Seen> {
        self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0
    }

    fn update(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Seen {
    /// The last of what was said: enough to see why a test fails, not ten thousand messages.
    fn show(&self, name: &str) {
        const TAIL: usize = 100;
        for (stream, lines) in [("stdout", &self.out), ("stderr", &self.err)] {
            let skipped = lines.len().saturating_sub(TAIL);
            eprintln!("--- {stream} of {name} ({} lines, the first {skipped} not shown)", lines.len());
            for line in &lines[skipped..] {
                eprintln!("{line}");
            }
        }
        eprintln!("--- {name}: {}", self.status.map_or("running".to_owned(), |status| status.to_string()));
    }
}

fn text_of(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn watch(stream: impl Read + Send + 'static, shared: &Arc<Shared>, of: fn(&mut Seen) -> &mut Vec<String>) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            shared.update(|seen| of(seen).push(text));
            line.clear();
        }
        shared.update(|seen| seen.open -= 1);
    });
}

fn watch_end(mut child: Child, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let status = child.wait().expect("a child can be waited for");
        shared.update(|seen| seen.status = Some(status));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = command("sh");
        command.args(["-c", script]);
        Process::start("sh", command)
    }

    #[test]
    fn output_comes_while_the_process_runs() {
        let mut process = shell("echo one; read x; echo \"got $x\" >&2; exit 3");
        process.said("one", |line| (line == "one").then_some(()));
        process.write("two\n");
        let ended = process.end();
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(3), "one\n", "got two\n"));
    }

    #[test]
    #[should_panic(expected = "sh ended before: a word")]
    fn waiting_for_what_is_never_said_fails() {
        shell("echo nothing").said("a word", |line| line.strip_prefix("word").map(str::to_owned));
    }

    #[test]
    fn a_dropped_process_is_killed() {
        let process = shell("echo ready; exec cat /dev/zero");
        process.said("ready", |line| (line == "ready").then_some(()));
        let shared = Arc::clone(&process.shared);
        drop(process);
        let mut seen = shared.lock();
        while seen.status.is_none() {
            seen = shared.wait(seen, PATIENCE);
        }
        assert_eq!(seen.status.and_then(|status| status.code()), None);
    }
}

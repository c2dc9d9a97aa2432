//! A folder of its own in which `harkd` runs, on ports that the system chooses.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Where one server lives.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What lies in the folder.
    pub(crate) fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `harkd` in this folder, with nothing of the developer's own configuration.
    pub(crate) fn command(&self) -> Command {
        let mut harkd = Command::new(env!("CARGO_BIN_EXE_harkd"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HARKD_") {
                harkd.env_remove(name);
            }
        }
        harkd.current_dir(self.folder.path());
        harkd.env("HARKD_LISTEN", "127.0.0.1:0").env("HARKD_METRICS_LISTEN", "127.0.0.1:0");
        harkd
    }

    /// Runs a command that ends by itself.
    pub(crate) fn run(&self, mut harkd: Command) -> Ended {
        let output = harkd.stdin(Stdio::null()).output().unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts the server and waits until it is ready.
    pub(crate) fn start(&self) -> Running {
        self.start_with(self.command())
    }

    pub(crate) fn start_with(&self, mut harkd: Command) -> Running {
        let harkd = harkd.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = harkd.spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        let mut running = Running { child, out, err, said: String::new(), logged: String::new() };
        running.logs("\"message\":\"ready\"");
        running
    }
}

/// A server that runs; dropping it kills it.
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    said: String,
    logged: String,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// What it printed, after making sure that it ended well.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }
}

impl Running {
    /// Waits for a line of the log.
    #[track_caller]
    pub(crate) fn logs(&mut self, words: &str) {
        loop {
            let line = self.err.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {words:?} in the log:\n{}", self.logged));
            self.logged.push_str(&line);
            self.logged.push('\n');
            if line.contains(words) {
                return;
            }
        }
    }

    /// What a page of the operator's listener says.
    pub(crate) fn page(&mut self, path: &str) -> (u16, String) {
        let is_about_pages = |line: &str| line.contains("http://");
        while !self.said.lines().any(is_about_pages) {
            self.said.push_str(&self.out.recv_timeout(PATIENCE).unwrap());
            self.said.push('\n');
        }
        let (_, address) = self.said.split_once("http://").unwrap();
        let address: SocketAddr = address.split('/').next().unwrap().parse().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it by `signal` and returns everything that it said.
    pub(crate) fn end(mut self, signal: Signal) -> Ended {
        self.signal(signal);
        // Both streams end with the process.
        let rest = |stream: &Receiver<String>| stream.iter().map(|line| line + "\n").collect::<String>();
        let (out, err) = (self.said.clone() + &rest(&self.out), self.logged.clone() + &rest(&self.err));
        Ended { code: self.child.wait().unwrap().code(), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

const PATIENCE: Duration = Duration::from_secs(60);

//! Real terminals for real people: panes of a tmux server of the test's own.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::command;
use crate::scale::PATIENCE;

/// A tmux server with one window of two panes side by side. Dropping it ends everything that runs in it.
pub struct Tmux {
    folder: TempDir,
    /// Panes in which nothing runs yet but a program that waits.
    free: RefCell<Vec<String>>,
}

/// One pane, in which one program runs.
pub struct Pane<'a> {
    tmux: &'a Tmux,
    id: String,
    name: String,
    /// Something was written to the pane.
    written: Receiver<()>,
    /// Hangs up when the program has ended.
    running: Receiver<()>,
}

impl Tmux {
    /// Starts a server with a window of this size.
    ///
    /// # Panics
    /// When tmux is not installed.
    pub fn start(columns: u16, rows: u16) -> Tmux {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tmux = Tmux { folder, free: RefCell::default() };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let show_id = ["-P", "-F", "#{pane_id}", "cat"];
        let left = tmux.run(&[&["new-session", "-d", "-x", &columns, "-y", &rows], &show_id[..]].concat());
        tmux.run(&["set-option", "-g", "remain-on-exit", "on"]);
        let right = tmux.run(&[&["split-window", "-h"], &show_id[..]].concat());
        tmux.free.replace([right, left].map(|id| id.trim().to_owned()).into());
        tmux
    }

    /// Runs a program in the next free pane, from the left.
    ///
    /// # Panics
    /// When there is none.
    pub fn open(&self, name: &str, program: &Command) -> Pane<'_> {
        let line = shell_line(program);
        let id = self.free.borrow_mut().pop().expect("a free pane");
        let [output, life] = ["output", "life"].map(|what| self.fifo(what, &id));
        // The program starts when its output is already watched.
        self.run(&["pipe-pane", "-O", "-t", &id, &format!("cat > {}", output.display())]);
        let written = watch(output);
        // It holds the other end for as long as it lives.
        let running = watch(life.clone());
        let status = self.status_file(&id);
        let line = format!("{line} 9>{}; echo $? >{}", life.display(), status.display());
        self.run(&["respawn-pane", "-k", "-t", &id, &line]);
        assert_eq!(running.recv_timeout(PATIENCE), Ok(()), "{name} does not begin");
        Pane { tmux: self, id, name: name.to_owned(), written, running }
    }

    /// Where the shell writes how a pane's program ended. Not tmux: one that pipes a pane does not always notice
    /// that its program is gone.
    fn status_file(&self, id: &str) -> PathBuf {
        self.folder.path().join(format!("status-{}", id.trim_start_matches('%')))
    }

    fn fifo(&self, what: &str, id: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{what}-{}", id.trim_start_matches('%')));
        let made = command("mkfifo").arg(&path).status().expect("mkfifo starts");
        assert!(made.success(), "mkfifo {}", path.display());
        path
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn call(&self, arguments: &[&str]) -> Output {
        let mut tmux = command("tmux");
        tmux.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("TMUX").env_remove("NO_COLOR");
        tmux.arg("-u").arg("-S").arg(self.folder.path().join("socket")).args(["-f", "/dev/null"]);
        tmux.args(arguments)
            .output()
            .expect("tmux is installed: `apt-get install tmux`, or run tests/run as root")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.call(&["kill-server"]);
    }
}

impl Pane<'_> {
    /// Types text, as a person would, without a key behind it.
    pub fn type_text(&self, text: &str) {
        self.tmux.run(&["send-keys", "-t", &self.id, "-l", "--", text]);
    }

    /// Presses a key by its tmux name, such as `Enter`, `C-c` or `Up`.
    pub fn press(&self, key: &str) {
        self.tmux.run(&["send-keys", "-t", &self.id, key]);
    }

    /// Types a line and presses Enter.
    pub fn enter(&self, line: &str) {
        self.type_text(line);
        self.press("Enter");
    }

    /// What the pane shows, and what has scrolled off its top.
    pub fn screen(&self) -> String {
        self.tmux.run(&["capture-pane", "-p", "-J", "-S", "-", "-t", &self.id])
    }

    /// The same with its colours, as escape sequences.
    pub fn screen_with_colours(&self) -> String {
        self.tmux.run(&["capture-pane", "-p", "-e", "-J", "-S", "-", "-t", &self.id])
    }

    /// Waits until the pane shows this text, and returns all that it shows.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Waits until `holds` is true of what the pane shows, and returns that.
    ///
    /// # Panics
    /// When it never is.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{} never shows {what:?}; it shows:\n{screen}", self.name);
            // Looks again when something was written, and now and then in case that was missed.
            let _ = self.written.recv_timeout(Duration::from_millis(200));
        }
    }

    /// Closes the terminal under the program, as the cross of its window does, and waits for it to end.
    ///
    /// # Panics
    /// When it lives on without a terminal.
    #[track_caller]
    pub fn close(self) {
        self.tmux.run(&["kill-pane", "-t", &self.id]);
        let gone = self.running.recv_timeout(PATIENCE);
        assert_eq!(gone, Err(RecvTimeoutError::Disconnected), "{} lives on without a terminal", self.name);
    }

    /// Waits for the program to end, and returns its exit code.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn exit_code(&self) -> i32 {
        let gone = self.running.recv_timeout(PATIENCE);
        let shown = || format!("{} does not end; it shows:\n{}", self.name, self.screen());
        assert_eq!(gone, Err(RecvTimeoutError::Disconnected), "{}", shown());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = fs::read_to_string(self.tmux.status_file(&self.id)).unwrap_or_default();
            if let Ok(code) = status.trim().parse() {
                return code;
            }
            assert!(Instant::now() < deadline, "{} ended, and its shell does not say how", self.name);
            thread::yield_now();
        }
    }
}

/// Says when somebody can write to a fifo, and whenever something is written, and hangs up when nobody can any
/// more.
fn watch(fifo: PathBuf) -> Receiver<()> {
    let (say, written) = mpsc::channel();
    thread::spawn(move || {
        // Waits for somebody who writes.
        let Ok(mut fifo) = File::open(fifo) else { return };
        let mut buffer = [0; 4096];
        let _ = say.send(());
        while fifo.read(&mut buffer).is_ok_and(|count| count > 0) && say.send(()).is_ok() {}
    });
    written
}

/// The command as a line for a shell, with its changes of the environment.
fn shell_line(command: &Command) -> String {
    let mut words = vec!["env".to_owned()];
    // `env` takes options before assignments.
    let (set, unset): (Vec<_>, Vec<_>) = command.get_envs().partition(|(_, value)| value.is_some());
    words.extend(unset.iter().map(|(name, _)| format!("-u {}", quoted(&name.display().to_string()))));
    for (name, value) in set {
        let value = value.unwrap_or_default();
        words.push(quoted(&format!("{}={}", name.display(), value.display())));
    }
    words.push(quoted(&command.get_program().display().to_string()));
    words.extend(command.get_args().map(|word| quoted(&word.display().to_string())));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pane_in_tmux_shows_what_its_program_says() {
        let tmux = Tmux::start(80, 10);
        let mut program = command("sh");
        program.args(["-c", "echo \"it's $WORD\"; read x; echo \"got $x\"; exit 7"]).env("WORD", "a 'test'");
        let pane = tmux.open("sh", &program);
        pane.shows("it's a 'test'");
        pane.enter("hello");
        pane.shows("got hello");
        assert_eq!(pane.exit_code(), 7);
    }

    #[test]
    fn a_program_in_tmux_ends_with_its_terminal() {
        let tmux = Tmux::start(80, 10);
        tmux.open("cat", &command("cat")).close();
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}

//! The mark: a small file beside the log that says how far the log had come, so that an older one put in its place is noticed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hark_protocol::Epoch;

use crate::database::sync_folder;
use crate::lineage::Doubt;

/// Its name in the data folder.
pub(crate) const FILE: &str = "log.mark";

/// What the mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which log, in hexadecimal digits.
    pub(crate) log: String,
    /// The log had come this far, or farther.
    pub(crate) position: i64,
    /// The greatest epoch that its rooms had.
    pub(crate) epoch: Epoch,
    /// Whether a server was at work, or had ended well.
    pub(crate) state: State,
    /// What was found to speak against the log, until its rooms have a new epoch because of it: opening the log may
    /// undo what it was found by.
    pub(crate) doubt: Option<Doubt>,
}

/// What the server did when it wrote the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It was at work: the write-ahead log is part of the truth.
    Running,
    /// It had ended: the position is exact.
    Stopped,
}

impl Mark {
    /// The folder's mark. A folder without one proves nothing, and neither does one that can not be understood,
    /// which is reported.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Mark>> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mark = Mark::parse(&text);
        if mark.is_none() {
            tracing::warn!(file = %path.display(), "the log's mark can not be understood and is not used");
        }
        Ok(mark)
    }

    /// Puts the mark in the place of the one before; it is on the disk when this returns.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let (path, beside) = (folder.join(FILE), beside(folder));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        drop::<File>(file);
        fs::rename(&beside, &path)?;
        sync_folder(&path)
    }

    fn text(&self) -> String {
        let state = match self.state {
            State::Running => "running",
            State::Stopped => "stopped",
        };
        let doubt = self.doubt.map_or(String::new(), |doubt| format!("doubt {}\n", doubt.word()));
        let (position, epoch) = (self.position, self.epoch.0);
        format!("log {}\nposition {position}\nepoch {epoch}\nstate {state}\n{doubt}", self.log)
    }

    fn parse(text: &str) -> Option<Mark> {
        let mut lines = text.lines();
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ').map(str::to_owned);
        let log = value("log")?;
        let position = value("position")?.parse().ok()?;
        let epoch = Epoch(value("epoch")?.parse().ok()?);
        let state = match value("state")?.as_str() {
            "running" => State::Running,
            "stopped" => State::Stopped,
            _ => return None,
        };
        let doubt = value("doubt").map(|word| Doubt::called(&word));
        Some(Mark { log, position, epoch, state, doubt })
    }
}

fn beside(folder: &Path) -> PathBuf {
    folder.join(format!("{FILE}.new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(folder.path()).unwrap(), None);
        let doubts = [None, Some(Doubt::WalRemoved), Some(Doubt::EndDamaged)];
        for (state, doubt) in
            [State::Running, State::Stopped].into_iter().flat_map(|state| doubts.map(|one| (state, one)))
        {
            let mark = Mark { log: "c0ffee".into(), position: 7, epoch: Epoch(u64::MAX), state, doubt };
            mark.write(folder.path()).unwrap();
            assert_eq!(Mark::read(folder.path()).unwrap(), Some(mark));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_mark_that_is_nonsense_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let whole = "log c0ffee\nposition 7\nepoch 9\nstate running\n";
        for text in ["", "log", "\u{fffd}", &whole[..20], &whole.replace("running", "resting")] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(Mark::read(folder.path()).unwrap(), None, "{text}");
        }
    }
}

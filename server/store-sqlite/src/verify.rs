//! Verification: every record's checksum, every room's seqs, and what has to agree with what.

mod log;
mod members;

use std::fmt;
use std::path::Path;

use hark_protocol::{RoomId, Seq};
use rusqlite::Connection;

use crate::copy::CopyError;
use crate::error::is_damage;
use crate::lineage::{Doubt, Signs};
use crate::look::{Look, schema_of};
use crate::{OpenError, rows};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In which file.
    pub file: &'static str,
    /// In which room, as far as that is known.
    pub room: Option<RoomId>,
    /// The first and the last seq that it is about.
    pub seqs: Option<(Seq, Seq)>,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)?;
        if let Some(room) = self.room {
            write!(f, ", room {room}")?;
        }
        match self.seqs {
            Some((first, last)) if first == last => write!(f, ", seq {first}")?,
            Some((first, last)) => write!(f, ", seq {first} to {last}")?,
            None => {}
        }
        write!(f, ": {}", self.what)
    }
}

/// What a verification came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rooms that were looked at.
    pub rooms: u64,
    /// Events whose records are good.
    pub events: u64,
    /// Accounts that were looked at.
    pub accounts: u64,
    /// Things that are wrong; 0 is what one wants.
    pub findings: u64,
}

/// A folder that is to be verified.
#[derive(Clone, Copy, Debug)]
pub struct Verify<'a> {
    /// A data folder, with or without a server at work in it, or a backup.
    pub folder: &'a Path,
    /// Whether it is known to be a backup or a part of one, so that nothing is asked of its past.
    pub is_backup: bool,
}

impl Verify<'_> {
    /// Verifies everything as of one moment, tells `tell` what is wrong, and changes nothing. Takes as long as
    /// reading all of it takes, and a few hundred bytes of memory for each room and member.
    ///
    /// # Errors
    /// [`CopyError`]: it could not be found out whether anything is wrong.
    pub fn run(&self, tell: &mut dyn FnMut(Finding)) -> Result<Verified, CopyError> {
        let look = Look::at(self.folder)?;
        for file in ["log.db", "directory.db"] {
            if !look.has(file) {
                return Err(CopyError::NothingThere { folder: self.folder.into(), file });
            }
        }
        let mut report = Report { tell, verified: Verified::default() };
        // Before the log: what the index has of it, the log has too, but not the other way round.
        let index = self.open(&look, "index.db", &mut report)?;
        let log = self.open(&look, "log.db", &mut report)?;
        // After the log: every account that it names is in the directory.
        let directory = self.open(&look, "directory.db", &mut report)?;
        if let Some(log) = &log {
            self.past(&look, log, &mut report)?;
            let read = log::Scan::run(log, index.as_ref(), directory.as_ref(), &mut report);
            unless_damaged(read, look.path("log.db"), "log.db", &mut report)?;
        }
        if let Some(directory) = &directory {
            let read = accounts(directory, &mut report);
            unless_damaged(read, look.path("directory.db"), "directory.db", &mut report)?;
        }
        Ok(report.verified)
    }

    /// Opens a database and checks its structure; `None` where that is not worth going on with.
    fn open(
        &self,
        look: &Look,
        file: &'static str,
        report: &mut Report<'_>,
    ) -> Result<Option<Connection>, CopyError> {
        if !look.has(file) {
            return Ok(None); // the index: it is built again
        }
        let connection = match look.open(file) {
            Ok(connection) => connection,
            Err(OpenError::Database { source, .. }) if is_damage(&source) => {
                report.find(file, None, None, format!("it can not be read: {source}"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let path = look.path(file);
        let fail = |source| CopyError::Database { path: path.clone(), source };
        let found = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
        if found < schema_of(file).newest() {
            return Err(CopyError::Older { path, found });
        }
        // One moment for all that follows; it ends with the connection.
        connection.execute_batch("BEGIN").map_err(fail)?;
        unless_damaged(structure(&connection, file, report), path, file, report)?;
        Ok(Some(connection))
    }

    /// Whether the log is the continuation of what clients have seen.
    fn past(&self, look: &Look, log: &Connection, report: &mut Report<'_>) -> Result<(), CopyError> {
        if self.is_backup {
            return Ok(());
        }
        let path = look.path("log.db");
        let file = |source| CopyError::File { path: self.folder.into(), source };
        let signs = Signs::read(self.folder, &path).map_err(file)?;
        let doubt = signs.doubt(log).map_err(|source| CopyError::Database { path, source })?;
        let what = match doubt {
            None | Some(Doubt::Backup | Doubt::Restored) => return Ok(()),
            Some(Doubt::OtherLog) => "it is not the log that was here before",
            Some(Doubt::Behind) => "it ends before what was acknowledged from it",
            Some(Doubt::WalRemoved) => "the write-ahead log that the server left is gone",
            Some(Doubt::EndDamaged) => "its newest record is damaged or missing",
        };
        report.find("log.db", None, None, format!("{what}; the next start gives every room a new epoch"));
        Ok(())
    }
}

/// Where findings go and are counted.
pub(crate) struct Report<'a> {
    tell: &'a mut dyn FnMut(Finding),
    verified: Verified,
}

impl Report<'_> {
    fn find(
        &mut self,
        file: &'static str,
        room: Option<RoomId>,
        seqs: Option<(u64, u64)>,
        what: impl Into<String>,
    ) {
        self.verified.findings += 1;
        let seqs = seqs.map(|(first, last)| (Seq(first), Seq(last)));
        (self.tell)(Finding { file, room, seqs, what: what.into() });
    }
}

/// Damage is a finding; every other error says that nothing could be found out.
fn unless_damaged(
    read: rusqlite::Result<()>,
    path: std::path::PathBuf,
    file: &'static str,
    report: &mut Report<'_>,
) -> Result<(), CopyError> {
    match read {
        Err(error) if is_damage(&error) => {
            report.find(file, None, None, format!("it can not be read to its end: {error}"));
            Ok(())
        }
        Err(source) => Err(CopyError::Database { path, source }),
        Ok(()) => Ok(()),
    }
}

/// SQLite's own check of a file.
fn structure(database: &Connection, file: &'static str, report: &mut Report<'_>) -> rusqlite::Result<()> {
    let mut check = database.prepare(&format!("PRAGMA integrity_check({MESSAGES_MAX})"))?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        for line in text.lines().filter(|line| *line != "ok" && !line.starts_with("***")) {
            report.find(file, None, None, line);
        }
    }
    Ok(())
}

/// Whether what belongs to accounts and devices has them.
fn accounts(directory: &Connection, report: &mut Report<'_>) -> rusqlite::Result<()> {
    let accounts = directory.query_row("SELECT count(*) FROM accounts", [], |row| rows::uint(row, 0))?;
    report.verified.accounts = accounts;
    let mut check = directory.prepare("PRAGMA foreign_key_check")?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        report.find("directory.db", None, None, format!("a row of {table} belongs to none of {parent}"));
    }
    Ok(())
}

/// Messages that are taken from SQLite for one file.
const MESSAGES_MAX: u32 = 100;

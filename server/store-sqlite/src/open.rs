//! Opening a data folder: the lock first, then the truth, then what can be built again from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hark_protocol::Epoch;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::database::{Database, Durability, WalAtClose, checkpoint};
use crate::error::Fault;
use crate::index::{self, Indexer, Shared};
use crate::keeper::{House, Housekeeping, Keeper, Marker};
use crate::lineage::{self, Doubt, Signs};
use crate::lock::FolderLock;
use crate::log::Parts;
use crate::mark::State;
use crate::migrations::{DIRECTORY, INDEX, LOG, Schema};
use crate::options::Options;
use crate::places::Places;
use crate::reader::Lane;
use crate::rebuild;
use crate::restore::PARTIAL;
use crate::{OpenError, SqliteDirectory, SqliteLog, SqliteReader};

/// Everything that a data folder holds. The folder is locked until the last part is dropped; dropping `log` ends
/// its thread, if it has one, after what is left to be indexed has been indexed.
#[derive(Debug)]
pub struct SqliteStores {
    /// The one writer of the log.
    pub log: SqliteLog,
    /// The log's readers.
    pub reader: Arc<SqliteReader>,
    /// Accounts, devices, settings and cursors.
    pub directory: Arc<SqliteDirectory>,
}

impl SqliteStores {
    /// Opens the stores in `folder`, which must exist, and makes what is not there yet. Blocks; after a crash, or
    /// without an index, for as long as it takes to index what is not indexed.
    ///
    /// # Errors
    /// [`OpenError`]: nothing is running, and what was on the disk is still there.
    pub fn open(folder: &Path) -> Result<SqliteStores, OpenError> {
        Options::new().open(folder)
    }

    pub(crate) fn open_with(folder: &Path, options: &Options) -> Result<SqliteStores, OpenError> {
        let lock = Arc::new(FolderLock::take(folder)?);
        let [log, index, directory] = databases(folder, options);

        let had_directory = directory.path.exists();
        if had_directory && !log.path.exists() {
            return Err(lost(folder, log.path));
        }
        let file = |source| OpenError::File { path: folder.into(), source };
        let signs = Signs::read(folder, &log.path).map_err(file)?;
        signs.keep(folder).map_err(file)?;
        let mut writer = log.open()?;
        if rebuild::is_needed(&writer).map_err(|source| log.error(source))? {
            // The damaged file is put away without its write-ahead log, so nothing may be left in that.
            if !checkpoint(&writer, "TRUNCATE").map_err(|source| log.error(source))? {
                return Err(OpenError::Busy { path: log.path });
            }
            writer = rebuild::rebuild(&log, writer)?;
        }
        if !had_directory && has_rooms(&writer).map_err(|source| log.error(source))? {
            return Err(lost(folder, directory.path));
        }
        let shared = Arc::new(Shared::new(folder.join("index.distrusted")));
        // Before anything that may fail or take long, and before an index that is ahead is built again.
        let doubt = doubt(&signs, &log, &index, &writer, &shared)?;
        let mut marker = settle_lineage(&mut writer, doubt, &signs, &shared, (folder, options.housekeeping))
            .map_err(|source| log.error(source))?;
        let mark = |fault: Fault| OpenError::Mark { folder: folder.into(), fault: fault.to_string() };
        if doubt.is_some() {
            marker.note(&writer).map_err(mark)?;
        }
        let marker = Arc::new(Mutex::new(marker));
        let directory_writer = directory.open()?;
        let indexer = indexer(&log, &index, &writer, &shared)?;
        let lane = || Ok(Lane { log: log.read()?, index: index.read()? });
        let lanes = std::iter::repeat_with(lane).take(options.readers).collect::<Result<_, OpenError>>()?;

        let checkpointer = Arc::new(Mutex::new(log.join()?));
        let house = House {
            shared: shared.clone(),
            indexer: indexer.clone(),
            checkpointer: checkpointer.clone(),
            marker: marker.clone(),
        };
        let parts = Parts {
            log: writer,
            past: lane()?,
            indexer,
            checkpointer: checkpointer.clone(),
            shared: shared.clone(),
            places: Places::default(),
        };
        let keeper = match options.housekeeping {
            Housekeeping::Thread => Keeper::start(house).map_err(OpenError::Thread)?,
            Housekeeping::Inline => Keeper::inline(house),
        };
        let reader = Arc::new(SqliteReader::new(lanes, shared.clone(), lock.clone()));
        let directory = SqliteDirectory::new(directory_writer, directory.read()?, shared, lock.clone())
            .map_err(|source| directory.error(source))?;
        let log = SqliteLog::new(parts, keeper, options.bounds, lock).map_err(|source| log.error(source))?;
        // The last step: from here on the write-ahead log is part of the truth, and must be there at the next start.
        let marked = marker.lock().note(&checkpointer.lock());
        marked.map_err(mark)?;
        Ok(SqliteStores { log, reader, directory: Arc::new(directory) })
    }
}

/// Log, index and directory of a folder.
fn databases(folder: &Path, options: &Options) -> [Database; 3] {
    let database = |name: &str, durability, wal_at_close, schema: Schema| Database {
        path: folder.join(name),
        vfs: options.vfs.clone(),
        durability,
        wal_at_close,
        schema,
    };
    [
        database("log.db", Durability::Full, WalAtClose::Kept, LOG),
        database("index.db", Durability::Normal, WalAtClose::Removed, INDEX),
        database("directory.db", Durability::Full, WalAtClose::Removed, DIRECTORY),
    ]
}

fn lost(folder: &Path, path: PathBuf) -> OpenError {
    let partial = folder.join(PARTIAL);
    OpenError::Lost { path, interrupted: partial.exists().then_some(partial) }
}

fn has_rooms(log: &Connection) -> rusqlite::Result<bool> {
    log.query_row("SELECT EXISTS (SELECT 1 FROM rooms)", [], |row| row.get(0))
}

/// An indexer that has caught up with the log, so that the tail in memory can begin empty.
fn indexer(
    log: &Database,
    index: &Database,
    writer: &Connection,
    shared: &Shared,
) -> Result<Arc<Mutex<Indexer>>, OpenError> {
    let (id, last) = identity(writer).map_err(|source| log.error(source))?;
    let caught_up = || {
        let mut indexer = Indexer::new(log.read()?, index::open(index, shared, &id, last)?);
        Ok(match indexer.catch_up(shared) {
            Ok(()) => Ok(Arc::new(Mutex::new(indexer))),
            Err(fault) => Err(fault),
        })
    };
    let result = match caught_up()? {
        // The damage has been noted, so a second try builds the index anew.
        Err(fault) if fault.is_damage() => caught_up()?,
        result => result,
    };
    result.map_err(|fault| OpenError::Index { path: index.path.clone(), fault: fault.to_string() })
}

/// Which log this is, and the last position that it has used.
fn identity(log: &Connection) -> rusqlite::Result<(Vec<u8>, i64)> {
    Ok((lineage::log_id(log)?, lineage::last_position(log)?))
}

/// What speaks against the log being the continuation of what clients have seen.
fn doubt(
    signs: &Signs,
    log: &Database,
    index: &Database,
    writer: &Connection,
    shared: &Shared,
) -> Result<Option<Doubt>, OpenError> {
    let (id, last) = identity(writer).map_err(|source| log.error(source))?;
    let is_ahead = index::reaches(index, shared, &id)?.is_some_and(|position| position > last);
    let doubt = signs.doubt(writer).map_err(|source| log.error(source))?;
    Ok(doubt.or(is_ahead.then_some(Doubt::Behind)))
}

/// Gives the rooms a new epoch if the log may not be the continuation of what clients have seen. Nothing of it has
/// been read by anybody yet.
fn settle_lineage(
    log: &mut Connection,
    doubt: Option<Doubt>,
    signs: &Signs,
    shared: &Shared,
    (folder, housekeeping): (&Path, Housekeeping),
) -> rusqlite::Result<Marker> {
    if let Some(doubt) = doubt {
        let above = signs.mark.as_ref().map_or(Epoch(0), |mark| mark.epoch);
        let change = lineage::begin_epochs(log, doubt, above)?;
        tracing::error!(
            reason = change.reason,
            epoch = change.epoch.0,
            rooms = change.rooms,
            "log.db may not be the continuation of what clients have seen: every room has a new epoch, and \
             clients are told to begin anew"
        );
        // Set once: this store is being opened.
        let _ = shared.epoch_change.set(change);
    }
    let (log_id, epoch) = (lineage::hex(&lineage::log_id(log)?), lineage::greatest_epoch(log)?);
    // Who keeps house in place does not say when it ends.
    let at_work = match housekeeping {
        Housekeeping::Thread => State::Running,
        Housekeeping::Inline => State::Stopped,
    };
    Ok(Marker::new(folder, log_id, epoch, at_work))
}

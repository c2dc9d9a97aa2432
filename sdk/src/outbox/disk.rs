//! The outbox's folder: a log file that is appended to and synced, and a lock that keeps a second process out.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hark_protocol::Publish;

use crate::outbox::log::{self, Item, Scan};
use crate::outbox::options::{Damaged, OutboxProblem};

/// One account's outbox on one server, open for writing. Every call blocks until the disk has done it.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    identity: String,
    file: File,
    salt: u64,
    /// Bytes of the file that are whole and synced.
    length: usize,
    live: BTreeMap<u64, Publish>,
    live_bytes: usize,
    last: u64,
    /// Set when nobody knows what the file holds: a sync failed, or a broken write could not be undone. Then the next
    /// write begins a new file.
    is_broken: bool,
    /// A file shorter than this is not worth writing anew.
    compact_from: usize,
    /// Makes what was written durable.
    sync: Sync,
    /// Held as long as this lives.
    _lock: File,
}

type Sync = fn(&File) -> io::Result<()>;

/// Why a write failed, and what that says about the file.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing of the write is in the file, or will be.
    Undone(io::Error),
    /// Whether it is in the file will be seen when that is opened again.
    InDoubt(io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Undone(error) => error.fmt(f),
            WriteError::InDoubt(error) => write!(f, "the outbox may or may not be written: {error}"),
        }
    }
}

impl Disk {
    /// Opens, or makes, the outbox of `account` on `server` in the folder `dir`. `salt` is any random number.
    ///
    /// # Errors
    /// [`OutboxProblem`]: the folder can not be used, another process has it, or what is there is damaged and is not
    /// to be salvaged.
    pub(crate) fn open(
        dir: &Path,
        server: &str,
        account: &str,
        damaged: Damaged,
        salt: u64,
    ) -> Result<Disk, OutboxProblem> {
        let identity = format!("{account}@{server}");
        let folder = dir.join(folder_name(&identity));
        make_folder(&folder).map_err(|error| unusable(&folder, &error))?;
        let lock = lock(&folder.join("lock"))?;
        let path = folder.join("outbox.log");
        let scan = read(&path, &identity, damaged)?;
        let (file, salt, length) =
            begin(&path, &identity, salt, &scan).map_err(|error| unusable(&path, &error))?;
        let (live, last) = (scan.live, scan.last);
        let live_bytes = live.values().map(log::size).sum();
        Ok(Disk {
            path,
            identity,
            file,
            salt,
            length,
            live,
            live_bytes,
            last,
            is_broken: false,
            compact_from: COMPACT_FROM,
            sync: File::sync_data,
            _lock: lock,
        })
    }

    /// What has no verdict, in the order in which it was put in.
    pub(crate) fn live(&self) -> &BTreeMap<u64, Publish> {
        &self.live
    }

    /// Puts entries in and settles others, in one write that is synced when this returns. The entries get the
    /// numbers behind the last one, in order.
    ///
    /// # Errors
    /// The disk's. Nothing of the write counts then in this process; what the next one will find, the error says.
    pub(crate) fn write(&mut self, settled: &[u64], puts: &[Publish]) -> Result<Vec<u64>, WriteError> {
        let numbers: Vec<u64> = (self.last + 1..).take(puts.len()).collect();
        let mut items: Vec<Item> = settled.iter().map(|entry| Item::Settled(*entry)).collect();
        items.extend(numbers.iter().zip(puts).map(|(entry, publish)| Item::Put(*entry, publish.clone())));
        if items.is_empty() {
            return Ok(numbers);
        }
        if self.is_broken {
            self.renew().map_err(WriteError::Undone)?;
        }
        let bytes = log::frame(self.salt, self.length, &items);
        if let Err(error) = self.file.write_all(&bytes) {
            // The next write must not stand behind half of this one.
            self.is_broken = self.file.set_len(self.length as u64).is_err();
            return Err(WriteError::Undone(error));
        }
        (self.sync)(&self.file).map_err(|error| self.undo_unsynced(error))?;
        self.length += bytes.len();
        self.last += puts.len() as u64;
        for item in items {
            self.apply(item);
        }
        if self.length > self.compact_from && self.length > self.live_bytes.saturating_mul(4) {
            self.compact();
        }
        Ok(numbers)
    }

    /// Whole frames were written and could not be synced: what the disk holds now nobody knows, and a second sync of
    /// the same file would not tell. A new file in its place settles it; otherwise it is cut, for as long as there is
    /// no power cut.
    fn undo_unsynced(&mut self, error: io::Error) -> WriteError {
        self.is_broken = true;
        if self.renew().is_ok() {
            return WriteError::Undone(error);
        }
        let _ = self.file.set_len(self.length as u64);
        WriteError::InDoubt(error)
    }

    fn apply(&mut self, item: Item) {
        match item {
            Item::Put(entry, publish) => {
                self.live_bytes += log::size(&publish);
                self.live.insert(entry, publish);
            }
            Item::Settled(entry) => {
                let settled = self.live.remove(&entry).as_ref().map_or(0, log::size);
                self.live_bytes -= settled;
            }
        }
    }

    /// Begins the file anew where that saves space. Where it fails, on a full disk for instance, it is not tried again
    /// before the file is twice as long.
    fn compact(&mut self) {
        self.compact_from = match self.renew() {
            Ok(()) => COMPACT_FROM,
            Err(_) => self.length.saturating_mul(2),
        };
    }

    /// Puts a new file with what is live in the place of the old one. If that fails the old one goes on; unless it
    /// may or may not be the old one that is there after a power cut.
    fn renew(&mut self) -> io::Result<()> {
        let salt = self.salt.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let (file, length) = prepare(&self.path, &self.identity, salt, &self.live, self.sync)?;
        fs::rename(self.path.with_extension(FRESH), &self.path)?;
        (self.file, self.length, self.salt) = (file, length, salt);
        let synced = sync_folder_of(&self.path);
        self.is_broken = synced.is_err();
        synced
    }
}

/// Opens the log for appending: a new one with what is live in the place of the old one, which it leaves behind with
/// its torn tail and its settled entries. Where there is no room for a new one, the old one goes on if it is whole:
/// what it holds is to be sent, whatever becomes of the disk. Gives the file's own number and its length, too.
fn begin(path: &Path, identity: &str, salt: u64, scan: &Scan) -> io::Result<(File, u64, usize)> {
    match prepare(path, identity, salt, &scan.live, File::sync_data) {
        Ok((file, length)) => {
            fs::rename(path.with_extension(FRESH), path)?;
            sync_folder_of(path)?;
            Ok((file, salt, length))
        }
        Err(_) if scan.whole > 0 && scan.damage.is_empty() => {
            let file = options().append(true).open(path)?;
            file.set_len(scan.whole as u64)?;
            file.sync_data()?;
            Ok((file, scan.salt, scan.whole))
        }
        Err(error) => Err(error),
    }
}

/// Makes a folder and those that it is in, for nobody else to look into, and makes their names durable.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    #[allow(unused_mut, reason = "only some systems know permissions")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        result => result?,
    }
    sync_folder_of(folder)
}

/// Keeps other processes out for as long as the file is open.
fn lock(path: &Path) -> Result<File, OutboxProblem> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxProblem::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
    }
}

/// What the file at `path` holds. A damaged one is set aside before it is salvaged.
fn read(path: &Path, identity: &str, damaged: Damaged) -> Result<Scan, OutboxProblem> {
    let bytes = match fs::read(path) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Scan::default()),
        Err(error) => return Err(unusable(path, &error)),
    };
    let (scan, damage) = match log::scan(&bytes) {
        Ok(scan) if scan.identity != identity => {
            return Err(OutboxProblem::Foreign { path: path.to_owned() });
        }
        Ok(scan) => match scan.damage.first().map(|first| first.start) {
            None => return Ok(scan),
            Some(offset) => {
                let lost = scan.damage.iter().map(ExactSizeIterator::len).sum();
                (scan, (offset, lost))
            }
        },
        Err(log::NotAnOutbox) => (Scan::default(), (0, bytes.len())),
    };
    let (offset, lost) = damage;
    if damaged == Damaged::Refuse {
        let path = path.to_owned();
        return Err(OutboxProblem::Damaged { path, offset: offset as u64, bytes: lost as u64 });
    }
    set_aside(path).map_err(|error| unusable(path, &error))?;
    Ok(scan)
}

/// Keeps a copy of a damaged file beside it, under the first name that is free: durable before the damaged one goes.
fn set_aside(path: &Path) -> io::Result<()> {
    for number in 1.. {
        let aside = path.with_extension(format!("damaged-{number}"));
        match options().write(true).create_new(true).open(&aside) {
            Ok(mut copy) => {
                io::copy(&mut File::open(path)?, &mut copy)?;
                copy.sync_all()?;
                return sync_folder_of(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a new file beside the one at `path`, synced and open for appending.
fn prepare(
    path: &Path,
    identity: &str,
    salt: u64,
    live: &BTreeMap<u64, Publish>,
    sync: Sync,
) -> io::Result<(File, usize)> {
    let mut bytes = log::header(salt, identity);
    for (entry, publish) in live {
        let frame = log::frame(salt, bytes.len(), &[Item::Put(*entry, publish.clone())]);
        bytes.extend_from_slice(&frame);
    }
    let fresh = path.with_extension(FRESH);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options().create_new(true).append(true).open(&fresh)?;
    let written = file.write_all(&bytes).and_then(|()| sync(&file));
    if written.is_err() {
        // Half a file would only take the room that is missing.
        let _ = fs::remove_file(&fresh);
    }
    written.map(|()| (file, bytes.len()))
}

/// Messages that were not sent yet are nobody else's to read.
fn options() -> OpenOptions {
    #[allow(unused_mut, reason = "only some systems know permissions")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A new name is durable when its folder is. Only Unix opens folders.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => {
            let here = folder.as_os_str().is_empty();
            File::open(if here { Path::new(".") } else { folder })?.sync_all()
        }
        _ => Ok(()),
    }
}

/// A name for the folder that every file system takes; long ones end in their checksum.
fn folder_name(identity: &str) -> String {
    let mut name = String::new();
    for byte in identity.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'@' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    if name.len() > NAME_BYTES_MAX {
        name.truncate(NAME_BYTES_MAX);
        name.push_str(&format!("~{:08x}", crc32fast::hash(identity.as_bytes())));
    }
    name
}

fn unusable(path: &Path, error: &io::Error) -> OutboxProblem {
    OutboxProblem::Unusable { why: format!("{}: {error}", path.display()) }
}

/// What a file is called until it takes the old one's place.
const FRESH: &str = "new";

/// A file shorter than this is not worth writing anew.
const COMPACT_FROM: usize = 1 << 20;

/// Bytes of a folder's name before it is cut short.
const NAME_BYTES_MAX: usize = 200;

#[cfg(test)]
std::thread_local! {
    /// How many syncs of this thread are still to fail.
    static FAILING: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
impl Disk {
    /// From now on no sync succeeds.
    pub(crate) fn scratch(&mut self) {
        self.sync = |_| Err(io::Error::other("the platter is scratched"));
    }

    /// From now on syncs fail as often as [`Disk::fail_syncs`] says, and otherwise do nothing: whoever kills only
    /// processes needs none.
    pub(crate) fn count_failing_syncs(&mut self) {
        self.sync = |_| match FAILING.replace(FAILING.get().saturating_sub(1)) {
            0 => Ok(()),
            _ => Err(io::Error::other("the platter is scratched")),
        };
    }

    /// Lets the next syncs of this thread fail.
    pub(crate) fn fail_syncs(count: u32) {
        FAILING.set(count);
    }
}

#[cfg(test)]
mod tests {
    use hark_protocol::{Blob, ClientId, Kind, RoomId};

    use super::*;

    const SERVER: &str = "chat.example.org:4275";

    fn open(dir: &Path) -> Result<Disk, OutboxProblem> {
        Disk::open(dir, SERVER, "ann", Damaged::Refuse, 7)
    }

    fn publish(n: u8) -> Publish {
        Publish {
            room: RoomId(1 + u64::from(n % 3)),
            client_id: ClientId::new([n; 16]).unwrap(),
            kind: Kind::MESSAGE,
            abandon: false,
            body: Blob::new(vec![n; usize::from(n)]).unwrap(),
        }
    }

    fn log_of(dir: &Path) -> PathBuf {
        dir.join(folder_name(&format!("ann@{SERVER}"))).join("outbox.log")
    }

    fn live(disk: &Disk) -> Vec<Publish> {
        disk.live().values().cloned().collect()
    }

    /// Writes some of everything and notes, after each write that was reported as done, the file's length and what
    /// was to be sent then.
    fn history(dir: &Path) -> (Vec<u8>, Vec<(usize, Vec<Publish>)>) {
        let mut disk = open(dir).unwrap();
        let mut states = vec![(disk.length, live(&disk))];
        let writes: [(&[u64], &[u8]); 6] =
            [(&[], &[1]), (&[], &[2, 3]), (&[1], &[]), (&[3], &[4]), (&[2, 4], &[]), (&[], &[5, 6, 7])];
        for (settled, puts) in writes {
            let puts: Vec<Publish> = puts.iter().copied().map(publish).collect();
            disk.write(settled, &puts).unwrap();
            states.push((disk.length, live(&disk)));
        }
        (fs::read(log_of(dir)).unwrap(), states)
    }

    #[test]
    fn death_at_any_byte_of_any_write_keeps_what_was_reported_and_invents_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, states) = history(dir.path());
        for end in states[0].0..=bytes.len() {
            let (_, expected) = states.iter().rev().find(|(length, _)| *length <= end).unwrap();
            fs::write(log_of(dir.path()), &bytes[..end]).unwrap();
            let mut disk = open(dir.path()).unwrap();
            assert_eq!(live(&disk), *expected, "{end}");
            // And it can be written on, also when the next process dies in turn.
            disk.write(&[], &[publish(9)]).unwrap();
            drop(disk);
            let reopened = live(&open(dir.path()).unwrap());
            assert_eq!(reopened[..expected.len()], *expected);
            assert_eq!(reopened.last(), Some(&publish(9)), "{end}");
        }
    }

    #[test]
    fn a_damaged_middle_is_refused_and_left_alone_or_salvaged_and_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, states) = history(dir.path());
        let mut broken = bytes.clone();
        broken[states[1].0 + 20] ^= 1;
        fs::write(log_of(dir.path()), &broken).unwrap();
        let problem = open(dir.path()).unwrap_err();
        let lost = states[2].0 - states[1].0;
        let (path, offset) = (log_of(dir.path()), states[1].0 as u64);
        assert_eq!(problem, OutboxProblem::Damaged { path, offset, bytes: lost as u64 });
        assert_eq!(fs::read(log_of(dir.path())).unwrap(), broken);
        let salvaged = Disk::open(dir.path(), SERVER, "ann", Damaged::Salvage, 8).unwrap();
        assert_eq!(live(&salvaged), [5, 6, 7].map(publish));
        assert_eq!(fs::read(log_of(dir.path()).with_extension("damaged-1")).unwrap(), broken);
    }

    #[test]
    fn a_folder_is_one_processs_at_a_time_and_an_accounts_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        disk.write(&[], &[publish(1)]).unwrap();
        let path = log_of(dir.path()).with_file_name("lock");
        assert_eq!(open(dir.path()).unwrap_err(), OutboxProblem::Locked { path });
        let other = Disk::open(dir.path(), SERVER, "bob", Damaged::Refuse, 7).unwrap();
        assert!(other.live().is_empty());
        let elsewhere = Disk::open(dir.path(), "other:4275", "ann", Damaged::Refuse, 7).unwrap();
        assert!(elsewhere.live().is_empty());
        drop(disk);
        assert_eq!(live(&open(dir.path()).unwrap()), [publish(1)]);
    }

    #[test]
    fn a_folder_that_can_not_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let OutboxProblem::Unusable { why } = open(&file).unwrap_err() else { panic!("unusable") };
        assert!(why.contains("file"), "{why}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_of_the_write_and_nothing_counts_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        disk.write(&[], &[publish(1)]).unwrap();
        disk.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = disk.write(&[1], &[publish(2)]).unwrap_err();
        let WriteError::Undone(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(live(&disk), [publish(1)]);
        drop(disk);
        assert_eq!(live(&open(dir.path()).unwrap()), [publish(1)]);
    }

    #[test]
    fn behind_a_failed_sync_a_new_file_says_that_nothing_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        disk.write(&[], &[publish(1)]).unwrap();
        disk.count_failing_syncs();
        Disk::fail_syncs(1);
        let error = disk.write(&[1], &[publish(2)]).unwrap_err();
        assert!(matches!(error, WriteError::Undone(_)), "{error}");
        assert_eq!(live(&disk), [publish(1)]);
        assert_eq!(log::scan(&fs::read(log_of(dir.path())).unwrap().into()).unwrap().live.len(), 1);
        disk.write(&[1], &[publish(3)]).unwrap();
        drop(disk);
        assert_eq!(live(&open(dir.path()).unwrap()), [publish(3)]);
    }

    #[test]
    fn what_could_neither_be_synced_nor_replaced_is_in_doubt_and_gone_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        disk.write(&[], &[publish(1)]).unwrap();
        disk.count_failing_syncs();
        Disk::fail_syncs(2);
        let error = disk.write(&[1], &[publish(2)]).unwrap_err();
        assert!(matches!(error, WriteError::InDoubt(_)), "{error}");
        assert_eq!(live(&disk), [publish(1)]);
        let scan = log::scan(&fs::read(log_of(dir.path())).unwrap().into()).unwrap();
        assert_eq!(scan.live.into_values().collect::<Vec<_>>(), [publish(1)]);
        // And the next write finds the disk as good as new, or says so.
        Disk::fail_syncs(1);
        let error = disk.write(&[1], &[publish(3)]).unwrap_err();
        assert!(matches!(error, WriteError::Undone(_)), "{error}");
        disk.write(&[], &[publish(4)]).unwrap();
        drop(disk);
        assert_eq!(live(&open(dir.path()).unwrap()), [publish(1), publish(4)]);
    }

    /// Keeps files from being written anew, as a full disk does.
    fn obstruct(dir: &Path) -> PathBuf {
        let fresh = log_of(dir).with_extension(FRESH);
        fs::create_dir(&fresh).unwrap();
        fs::write(fresh.join("in the way"), "").unwrap();
        fresh
    }

    #[test]
    fn a_file_that_can_not_be_written_anew_goes_on_from_any_byte_at_which_it_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, states) = history(dir.path());
        obstruct(dir.path());
        for end in states[0].0..=bytes.len() {
            let (_, expected) = states.iter().rev().find(|(length, _)| *length <= end).unwrap();
            fs::write(log_of(dir.path()), &bytes[..end]).unwrap();
            let mut disk = open(dir.path()).unwrap();
            assert_eq!(live(&disk), *expected, "{end}");
            disk.write(&[], &[publish(9)]).unwrap();
            drop(disk);
            let reopened = live(&open(dir.path()).unwrap());
            assert_eq!(reopened[..expected.len()], *expected);
            assert_eq!(reopened.last(), Some(&publish(9)), "{end}");
        }
    }

    #[test]
    fn where_the_file_can_not_be_written_anew_it_is_not_tried_at_every_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        let fresh = obstruct(dir.path());
        let big = Publish { body: Blob::new(vec![1; 300_000]).unwrap(), ..publish(1) };
        let mut tries = Vec::new();
        while disk.length < 5 * COMPACT_FROM {
            let entries = disk.write(&[], std::slice::from_ref(&big)).unwrap();
            disk.write(&entries, &[]).unwrap();
            tries.push(disk.compact_from);
        }
        tries.dedup();
        assert!(tries.len() <= 4 && tries.last() > Some(&(4 * COMPACT_FROM)), "{tries:?}");
        fs::remove_dir_all(fresh).unwrap();
        while disk.length > COMPACT_FROM {
            let entries = disk.write(&[], std::slice::from_ref(&big)).unwrap();
            disk.write(&entries, &[]).unwrap();
            assert!(disk.length <= 2 * tries[tries.len() - 1], "it is tried again");
        }
        assert_eq!(disk.compact_from, COMPACT_FROM);
    }

    #[test]
    fn a_file_without_a_byte_is_damage_that_names_the_file_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        fs::write(log_of(dir.path()), "").unwrap();
        let words = open(dir.path()).unwrap_err().to_string();
        assert!(words.contains(log_of(dir.path()).to_str().unwrap()), "{words}");
        assert!(words.contains("empty") && words.contains("Damaged::Salvage"), "{words}");
        let salvaged = Disk::open(dir.path(), SERVER, "ann", Damaged::Salvage, 8).unwrap();
        assert!(live(&salvaged).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn folders_and_files_are_for_nobody_else_to_read() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        drop(open(&deep).unwrap());
        let file = log_of(&deep);
        for folder in [&dir.path().join("a"), &deep, &file.parent().unwrap().to_owned()] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
        }
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_long_life_does_not_grow_the_file_beyond_what_is_live() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap();
        let big = Publish { body: Blob::new(vec![1; 60_000]).unwrap(), ..publish(1) };
        let kept = disk.write(&[], &[publish(2)]).unwrap();
        for _ in 0..60 {
            let entries = disk.write(&[], std::slice::from_ref(&big)).unwrap();
            disk.write(&entries, &[]).unwrap();
        }
        assert!(disk.length <= COMPACT_FROM + 2 * 60_100, "{}", disk.length);
        assert_eq!(fs::metadata(log_of(dir.path())).unwrap().len(), disk.length as u64);
        drop(disk);
        let disk = open(dir.path()).unwrap();
        assert_eq!(disk.live().iter().collect::<Vec<_>>(), [(&kept[0], &publish(2))]);
    }

    #[test]
    fn every_address_and_account_has_a_name_that_a_file_system_takes() {
        assert_eq!(folder_name("ann@[::1]:4275"), "ann@%5b%3a%3a1%5d%3a4275");
        let (one, other) = ("x".repeat(300), "x".repeat(301));
        assert_ne!(folder_name(&one), folder_name(&other));
        assert!(folder_name(&one).len() < 255);
    }
}

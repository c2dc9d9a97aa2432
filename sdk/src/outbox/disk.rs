//! The outbox's folder: a log file that is appended to and synced, and a lock that keeps a second process out.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
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
    /// Set when nobody knows what the file holds: a sync failed, or a broken write could not be undone.
    is_broken: bool,
    /// Held as long as this lives.
    _lock: File,
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
        fs::create_dir_all(&folder).map_err(|error| unusable(&folder, &error))?;
        let lock = lock(&folder.join("lock"))?;
        let path = folder.join("outbox.log");
        let scan = read(&path, &identity, damaged)?;
        let (live, last) = (scan.live, scan.last);
        // Whatever was there, the file begins anew: torn tails and settled entries are gone with the old one.
        let (file, length) =
            write_anew(&path, &identity, salt, &live).map_err(|error| unusable(&path, &error))?;
        let live_bytes = live.values().map(log::size).sum();
        Ok(Disk { path, identity, file, salt, length, live, live_bytes, last, is_broken: false, _lock: lock })
    }

    /// What has no verdict, in the order in which it was put in.
    pub(crate) fn live(&self) -> &BTreeMap<u64, Publish> {
        &self.live
    }

    /// Puts entries in and settles others, in one write that is synced when this returns. The entries get the
    /// numbers behind the last one, in order.
    ///
    /// # Errors
    /// The disk's. Nothing of the write counts then, and unless even that can not be made sure, the next one may
    /// succeed.
    pub(crate) fn write(&mut self, settled: &[u64], puts: &[Publish]) -> io::Result<Vec<u64>> {
        if self.is_broken {
            return Err(io::Error::other("an earlier write to the outbox failed; open it anew"));
        }
        let numbers: Vec<u64> = (self.last + 1..).take(puts.len()).collect();
        let mut items: Vec<Item> = settled.iter().map(|entry| Item::Settled(*entry)).collect();
        items.extend(numbers.iter().zip(puts).map(|(entry, publish)| Item::Put(*entry, publish.clone())));
        if items.is_empty() {
            return Ok(numbers);
        }
        let bytes = log::frame(self.salt, self.length, &items);
        if let Err(error) = self.file.write_all(&bytes) {
            // The next write must not stand behind half of this one.
            self.is_broken = self.file.set_len(self.length as u64).is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            // What the disk holds now nobody knows, and a second sync would not tell.
            self.is_broken = true;
            return Err(error);
        }
        self.length += bytes.len();
        self.last += puts.len() as u64;
        for item in items {
            self.apply(item);
        }
        if self.length > COMPACT_FROM && self.length > self.live_bytes.saturating_mul(4) {
            self.compact();
        }
        Ok(numbers)
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

    /// Begins the file anew with what is live. If that fails the old one is still there, and goes on; unless it may
    /// or may not be the old one that is there after a power cut.
    fn compact(&mut self) {
        let salt = self.salt.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        match prepare(&self.path, &self.identity, salt, &self.live) {
            Ok((file, length)) if fs::rename(self.path.with_extension(FRESH), &self.path).is_ok() => {
                (self.file, self.length, self.salt) = (file, length, salt);
                self.is_broken = sync_folder_of(&self.path).is_err();
            }
            _ => {}
        }
    }
}

/// Keeps other processes out for as long as the file is open.
fn lock(path: &Path) -> Result<File, OutboxProblem> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|error| unusable(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxProblem::Locked),
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
        Ok(scan) if scan.identity != identity => return Err(OutboxProblem::Foreign),
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
        return Err(OutboxProblem::Damaged { offset: offset as u64, bytes: lost as u64 });
    }
    set_aside(path).map_err(|error| unusable(path, &error))?;
    Ok(scan)
}

/// Keeps a copy of a damaged file beside it, under the first name that is free.
fn set_aside(path: &Path) -> io::Result<()> {
    for number in 1.. {
        let aside = path.with_extension(format!("damaged-{number}"));
        match OpenOptions::new().write(true).create_new(true).open(&aside) {
            Ok(_) => return fs::copy(path, aside).map(drop),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts a new file with `live` in the place of whatever is at `path`, in one step, and opens it for appending.
fn write_anew(
    path: &Path,
    identity: &str,
    salt: u64,
    live: &BTreeMap<u64, Publish>,
) -> io::Result<(File, usize)> {
    let prepared = prepare(path, identity, salt, live)?;
    fs::rename(path.with_extension(FRESH), path)?;
    sync_folder_of(path)?;
    Ok(prepared)
}

/// Makes a new file beside the one at `path`, synced and open for appending.
fn prepare(
    path: &Path,
    identity: &str,
    salt: u64,
    live: &BTreeMap<u64, Publish>,
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
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok((file, bytes.len()))
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
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
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
        assert_eq!(problem, OutboxProblem::Damaged { offset: states[1].0 as u64, bytes: lost as u64 });
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
        assert_eq!(open(dir.path()).unwrap_err(), OutboxProblem::Locked);
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
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(live(&disk), [publish(1)]);
        drop(disk);
        assert_eq!(live(&open(dir.path()).unwrap()), [publish(1)]);
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

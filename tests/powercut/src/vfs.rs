//! A SQLite VFS over the system's own that tells a recorder of every write, and fails where the recorder says so.
//!
//! It is registered once and serves every folder that has a recorder; files elsewhere pass through it untouched.
//! The one file of the rigs with `unsafe` in it: SQLite knows a VFS only as tables of C functions.

#![allow(unsafe_code, reason = "SQLite calls a VFS through C function pointers")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use crate::recorder::{Inode, Recorder};

/// The name by which SQLite knows the VFS.
pub const NAME: &str = "hark-recording";

const C_NAME: &CStr = c"hark-recording";

/// Folders with a recorder.
static FOLDERS: Mutex<BTreeMap<PathBuf, Arc<Recorder>>> = Mutex::new(BTreeMap::new());

/// The recording of one folder; it ends when this is dropped. Files that are open by then stay with the recorder.
#[derive(Debug)]
pub struct Attached(PathBuf);

/// Has everything that SQLite does through the VFS in this folder, which must exist, told to `recorder`.
///
/// # Errors
/// When the folder is not there, or SQLite does not take the VFS.
pub fn attach(folder: &Path, recorder: Arc<Recorder>) -> std::io::Result<Attached> {
    real().ok_or_else(|| std::io::Error::other("SQLite does not take the VFS"))?;
    let folder = folder.canonicalize()?;
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.clone(), recorder);
    Ok(Attached(folder))
}

impl Drop for Attached {
    fn drop(&mut self) {
        FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// The VFS below. It and ours live as long as the process.
struct Real(*mut sqlite3_vfs);

// SAFETY: SQLite's VFS may be used by every thread, and the pointer never changes.
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

/// The VFS below, once ours stands over it.
fn real() -> Option<&'static Real> {
    static REAL: OnceLock<Option<Real>> = OnceLock::new();
    REAL.get_or_init(register).as_ref()
}

fn register() -> Option<Real> {
    // SAFETY: initialising twice is harmless, configuring after it is refused, and a null name asks for the default
    // VFS, which is never unregistered.
    let real = unsafe {
        // Every allocation would be counted under one lock, for which the rig's threads would queue.
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0 as c_int);
        ffi::sqlite3_initialize();
        ffi::sqlite3_vfs_find(null())
    };
    if real.is_null() {
        return None;
    }
    let below_bytes = unsafe {
        // SAFETY: not null, and made by SQLite.
        (*real).szOsFile
    };
    let ours = sqlite3_vfs {
        szOsFile: below_bytes + size_of::<Handle>() as c_int,
        pNext: null_mut(),
        zName: C_NAME.as_ptr(),
        xOpen: Some(open),
        xDelete: Some(delete),
        // The other methods do not ask which VFS they are called for.
        // SAFETY: as above; the structure is plain data.
        ..unsafe { *real }
    };
    // SAFETY: the structure is leaked, so SQLite may keep it.
    let registered = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 0) };
    (registered == ffi::SQLITE_OK).then_some(Real(real))
}

/// A file as SQLite holds it; the file of the VFS below stands right behind.
#[repr(C)]
struct Handle {
    base: sqlite3_file,
    /// From `Box::into_raw`; null for a file that is not recorded.
    tap: *mut Tap,
}

/// Who is told about a file.
struct Tap {
    recorder: Arc<Recorder>,
    inode: Inode,
    /// Whether the first sync makes the folder's names durable too, as the system's VFS does for journals.
    syncs_folder: bool,
    /// How many failed syncs of the file it has been told of.
    failures: u32,
}

/// The file below.
///
/// # Safety
/// `file` must be one that [`open`] was given: `szOsFile` bytes.
unsafe fn below(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `szOsFile` has room for both; a handle's size is a multiple of a pointer's alignment.
    unsafe { file.cast::<Handle>().add(1).cast() }
}

/// Whom to tell.
///
/// # Safety
/// `file` must be open, and nobody else may be using its tap: SQLite uses a file on one thread at a time.
unsafe fn tap<'a>(file: *mut sqlite3_file) -> Option<&'a mut Tap> {
    // SAFETY: `open` wrote the handle, and its tap is null or from `Box::into_raw`.
    unsafe { (*file.cast::<Handle>()).tap.as_mut() }
}

/// The recorder and the file's name, if it lies in a folder that is recorded.
///
/// # Safety
/// `name` must be null or a C string.
unsafe fn recorded(name: *const c_char) -> Option<(Arc<Recorder>, PathBuf, String)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite's names end with a zero.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().ok()?);
    let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let recorder = folders.get(path.parent()?)?.clone();
    let file = path.file_name()?.to_str()?.to_owned();
    Some((recorder, path, file))
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(Real(real)) = real() else { return ffi::SQLITE_CANTOPEN };
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite gives `szOsFile` bytes for the file and a name that is null or a C string; the VFS below gets
    // what it would get without us.
    unsafe {
        handle.write(Handle { base: sqlite3_file { pMethods: null() }, tap: null_mut() });
        let Some(open) = (**real).xOpen else { return ffi::SQLITE_CANTOPEN };
        let code = open(*real, name, below(file), flags, out_flags);
        if code != ffi::SQLITE_OK {
            return code;
        }
        if let Some((recorder, path, name)) = recorded(name) {
            let is_main = flags & ffi::SQLITE_OPEN_MAIN_DB != 0;
            let syncs_folder = flags & ffi::SQLITE_OPEN_CREATE != 0 && !is_main;
            let inode = recorder.opened(&name, &path, is_main);
            let failures = recorder.failures(inode);
            (*handle).tap = Box::into_raw(Box::new(Tap { recorder, inode, syncs_folder, failures }));
        }
        (*handle).base.pMethods = &METHODS;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let Some(Real(real)) = real() else { return ffi::SQLITE_IOERR_DELETE };
    // SAFETY: the VFS below gets what SQLite gave.
    let delete = || unsafe {
        match (**real).xDelete {
            Some(delete) => delete(*real, name, sync_folder),
            None => ffi::SQLITE_IOERR_DELETE,
        }
    };
    // SAFETY: SQLite gives a C string.
    match unsafe { recorded(name) } {
        Some((recorder, _, name)) => recorder.delete(&name, sync_folder != 0, delete),
        None => delete(),
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and does not use it afterwards.
    unsafe {
        let tap = (*file.cast::<Handle>()).tap;
        if !tap.is_null() {
            drop(Box::from_raw(tap));
        }
        pass_close(file)
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, data: *const c_void, bytes: c_int, offset: i64) -> c_int {
    let Ok(length) = usize::try_from(bytes) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite gives `bytes` bytes to be written.
    let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) };
    let forward = |part: &[u8]| {
        let Ok(bytes) = c_int::try_from(part.len()) else { return ffi::SQLITE_IOERR_WRITE };
        // SAFETY: a part of what SQLite gave.
        unsafe { pass_write(file, part.as_ptr().cast(), bytes, offset) }
    };
    // SAFETY: the file is open.
    match unsafe { tap(file) } {
        Some(tap) => tap.recorder.write(tap.inode, offset.cast_unsigned(), data, forward),
        None => forward(data),
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is open.
    let forward = || unsafe { pass_truncate(file, size) };
    // SAFETY: as above.
    match unsafe { tap(file) } {
        Some(tap) => tap.recorder.truncate(tap.inode, size.cast_unsigned(), forward),
        None => forward(),
    }
}

/// A recorded file is not synced: its recorder decides what a power cut leaves.
unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    match unsafe { tap(file) } {
        Some(tap) => {
            let folder = std::mem::take(&mut tap.syncs_folder);
            tap.recorder.sync(tap.inode, folder, &mut tap.failures)
        }
        // SAFETY: as above.
        None => unsafe { pass_sync(file, flags) },
    }
}

/// Passes a method on to the file below.
macro_rules! pass_on {
    ($($name:ident is $method:ident($($arg:ident: $type:ty),*) -> $result:ty, or $otherwise:expr;)*) => {
        $(unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $arg: $type)*) -> $result {
            // SAFETY: the file below is open as long as ours is, and gets what SQLite gave.
            unsafe {
                let below = below(file);
                match (*(*below).pMethods).$method {
                    Some(method) => method(below $(, $arg)*),
                    None => $otherwise,
                }
            }
        })*
    };
}

pass_on! {
    pass_close is xClose() -> c_int, or ffi::SQLITE_OK;
    pass_read is xRead(data: *mut c_void, bytes: c_int, offset: i64) -> c_int, or ffi::SQLITE_IOERR_READ;
    pass_write is xWrite(data: *const c_void, bytes: c_int, offset: i64) -> c_int, or ffi::SQLITE_IOERR_WRITE;
    pass_truncate is xTruncate(size: i64) -> c_int, or ffi::SQLITE_IOERR_TRUNCATE;
    pass_sync is xSync(flags: c_int) -> c_int, or ffi::SQLITE_IOERR_FSYNC;
    pass_file_size is xFileSize(size: *mut i64) -> c_int, or ffi::SQLITE_IOERR_FSTAT;
    pass_lock is xLock(level: c_int) -> c_int, or ffi::SQLITE_IOERR_LOCK;
    pass_unlock is xUnlock(level: c_int) -> c_int, or ffi::SQLITE_IOERR_UNLOCK;
    pass_check_reserved is xCheckReservedLock(held: *mut c_int) -> c_int, or ffi::SQLITE_IOERR_CHECKRESERVEDLOCK;
    pass_control is xFileControl(code: c_int, argument: *mut c_void) -> c_int, or ffi::SQLITE_NOTFOUND;
    pass_sector_size is xSectorSize() -> c_int, or 0;
    pass_characteristics is xDeviceCharacteristics() -> c_int, or 0;
    pass_shm_map is xShmMap(page: c_int, bytes: c_int, extend: c_int, to: *mut *mut c_void) -> c_int, or ffi::SQLITE_IOERR_SHMMAP;
    pass_shm_lock is xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int, or ffi::SQLITE_IOERR_SHMLOCK;
    pass_shm_barrier is xShmBarrier() -> (), or ();
    pass_shm_unmap is xShmUnmap(delete: c_int) -> c_int, or ffi::SQLITE_OK;
}

/// Version 2: with shared memory for write-ahead logs, without mapped files, whose writes nobody would see.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(pass_read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(pass_file_size),
    xLock: Some(pass_lock),
    xUnlock: Some(pass_unlock),
    xCheckReservedLock: Some(pass_check_reserved),
    xFileControl: Some(pass_control),
    xSectorSize: Some(pass_sector_size),
    xDeviceCharacteristics: Some(pass_characteristics),
    xShmMap: Some(pass_shm_map),
    xShmLock: Some(pass_shm_lock),
    xShmBarrier: Some(pass_shm_barrier),
    xShmUnmap: Some(pass_shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

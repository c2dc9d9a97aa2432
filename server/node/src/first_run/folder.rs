//! The data folder: made when it is missing, recognised when it is there, left alone when it is something else's.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{FirstRunError, Origin, file_error};
use crate::private_file::write_private;

/// A folder that is Hark's.
#[derive(Clone, Debug)]
pub struct DataFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was made just now.
    pub origin: Origin,
    /// What the operator should know about it.
    pub warning: Option<String>,
}

/// What lies where the data folder should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing at all.
    Nothing,
    /// An empty folder.
    Empty,
    /// A folder with Hark's data.
    Hark,
}

impl DataFolder {
    /// Looks at `path` and changes nothing.
    ///
    /// # Errors
    /// When the folder holds something else, or can not be read.
    pub fn look(path: &Path) -> Result<Found, FirstRunError> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(file_error(path)(error)),
        };
        let marker = path.join(MARKER);
        match fs::read_to_string(&marker) {
            Ok(text) if text.trim_end() == FORMAT => return Ok(Found::Hark),
            Ok(text) => {
                let found = text.lines().next().unwrap_or_default().to_owned();
                return Err(FirstRunError::OtherFormat { folder: path.into(), found });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(&marker)(error)),
        }
        for entry in entries {
            let name = entry.map_err(file_error(path))?.file_name();
            // What a file system, or an attempt that was cut short, leaves in a folder that is empty otherwise.
            if name != "lost+found" && name != format!("{MARKER}.new").as_str() {
                let found = name.to_string_lossy().escape_debug().to_string();
                return Err(FirstRunError::Foreign { folder: path.into(), found });
            }
        }
        Ok(Found::Empty)
    }

    /// Makes the folder, or finds it.
    ///
    /// # Errors
    /// When the folder holds something else, or can not be used.
    pub fn prepare(path: &Path) -> Result<DataFolder, FirstRunError> {
        let found = DataFolder::look(path)?;
        if found == Found::Nothing {
            let made = DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path);
            made.map_err(file_error(path))?;
        }
        let warning = keep_others_out(path)?;
        if found != Found::Hark {
            let marker = path.join(MARKER);
            write_private(&marker, format!("{FORMAT}\n").as_bytes()).map_err(file_error(&marker))?;
        }
        let origin = if found == Found::Hark { Origin::Found } else { Origin::Made };
        Ok(DataFolder { path: path.into(), origin, warning })
    }
}

/// Takes other users' rights to the folder away. Where that can not be done, as on a mounted volume of somebody
/// else's, the operator is told: the files in it are the owner's only in any case.
fn keep_others_out(path: &Path) -> Result<Option<String>, FirstRunError> {
    let mode = fs::metadata(path).map_err(file_error(path))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(None);
    }
    let changed = fs::set_permissions(path, fs::Permissions::from_mode(mode & OWNER_ONLY));
    Ok(Some(match changed {
        Ok(()) => format!("other users could look into {}; that is over", path.display()),
        Err(error) => {
            format!("other users can look into {} and that can not be changed: {error}", path.display())
        }
    }))
}

/// The file that makes a folder Hark's.
pub(super) const MARKER: &str = "HARK-DATA";
const FORMAT: &str = "Hark data folder, format 1";
const OWNER_ONLY: u32 = 0o700;

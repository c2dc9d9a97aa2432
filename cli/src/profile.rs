//! Profiles: who somebody is on which server and why that server is trusted, one small file each.
//!
//! `hark/profiles/NAME.toml` in the folder for configuration, mode 0600 in a folder of mode 0700, because the
//! file holds the device's token.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a profile could not be read or written.
#[derive(Debug, Error)]
pub(crate) enum ProfileError {
    /// A name that could leave the folder of profiles, or that nobody could type.
    #[error("{0:?} can not be a profile's name: use up to 64 letters, digits, dots, dashes and underscores")]
    Name(String),
    /// No folder to keep profiles in.
    #[error("there is no home directory for profiles; set HARK_CONFIG_HOME")]
    NoHome,
    /// The file or its folder can not be used.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a profile.
    #[error("{path} is not a profile: {words}; repair it or remove it", path = .path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, without its contents.
        words: String,
    },
}

/// A profile's name, fit to be a file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProfileName(String);

impl Default for ProfileName {
    fn default() -> Self {
        ProfileName("default".to_owned())
    }
}

impl FromStr for ProfileName {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_name = (1..=64).contains(&text.len()) && text.chars().all(is_plain) && !text.starts_with('.');
        match is_name {
            true => Ok(ProfileName(text.to_owned())),
            false => Err(ProfileError::Name(text.to_owned())),
        }
    }
}

impl std::fmt::Display for ProfileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a profile remembers. Everything in it belongs to `server` and is never used with another.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// `HOST:PORT`.
    pub(crate) server: String,
    /// A file with the certificate authority to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The fingerprint of the one certificate to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<String>,
    /// The account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The device token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

/// Never prints the token.
impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("server", &self.server)
            .field("ca", &self.ca)
            .field("pin", &self.pin)
            .field("user", &self.user)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish()
    }
}

/// The folder in which profiles are kept.
#[derive(Clone, Debug)]
pub(crate) struct Profiles {
    folder: PathBuf,
}

impl Profiles {
    /// The folder below `config_home`, or below the user's folder for configuration.
    pub(crate) fn locate(config_home: Option<&Path>) -> Result<Profiles, ProfileError> {
        let home = match config_home {
            Some(home) => home.to_owned(),
            None => etcetera::choose_base_strategy().map_err(|_| ProfileError::NoHome)?.config_dir(),
        };
        Ok(Profiles { folder: home.join("hark").join("profiles") })
    }

    /// Reads a profile; `None` if there is none of that name.
    pub(crate) fn load(&self, name: &ProfileName) -> Result<Option<Profile>, ProfileError> {
        let path = self.path(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ProfileError::Io { path, source }),
        };
        // Only the parser's message: a snippet of the file could show the token.
        let broken =
            |error: toml::de::Error| ProfileError::Broken { path, words: error.message().to_owned() };
        toml::from_str(&text).map(Some).map_err(broken)
    }

    /// Writes a profile in place of what was there: wholly, or not at all.
    pub(crate) fn save(&self, name: &ProfileName, profile: &Profile) -> Result<(), ProfileError> {
        let path = self.path(name);
        let text = toml::to_string(profile)
            .map_err(|error| ProfileError::Broken { path: path.clone(), words: error.to_string() })?;
        self.make_folder()?;
        // The process id keeps two writers out of each other's unfinished file.
        let unfinished = self.folder.join(format!(".{name}.{}.new", std::process::id()));
        let written = write_private(&unfinished, &text).and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|source| {
            let _ = fs::remove_file(&unfinished);
            ProfileError::Io { path, source }
        })
    }

    /// Where a profile is kept.
    pub(crate) fn path(&self, name: &ProfileName) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    fn make_folder(&self) -> Result<(), ProfileError> {
        let failed = |source| ProfileError::Io { path: self.folder.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        // A folder made by somebody else, or by hand, may be open to others.
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700)).map_err(failed)
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Profile {
        Profile {
            server: "127.0.0.1:4275".into(),
            ca: Some("/srv/ca.pem".into()),
            user: Some("alice".into()),
            token: Some("secret-token".into()),
            ..Profile::default()
        }
    }

    fn folder() -> (tempfile::TempDir, Profiles) {
        let home = tempfile::tempdir().unwrap();
        let profiles = Profiles::locate(Some(home.path())).unwrap();
        (home, profiles)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_saved_profile_comes_back_and_nobody_else_can_read_it() {
        let (_home, profiles) = folder();
        let name = ProfileName::default();
        assert_eq!(profiles.load(&name).unwrap(), None);
        profiles.save(&name, &alice()).unwrap();
        assert_eq!(profiles.load(&name).unwrap(), Some(alice()));
        assert_eq!(mode(&profiles.path(&name)), 0o600);
        assert_eq!(mode(&profiles.folder), 0o700);
    }

    #[test]
    fn saving_closes_what_was_open_to_others_and_leaves_no_second_file() {
        let (_home, profiles) = folder();
        let name = ProfileName::default();
        profiles.save(&name, &Profile::default()).unwrap();
        fs::set_permissions(profiles.path(&name), fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&profiles.folder, fs::Permissions::from_mode(0o755)).unwrap();
        profiles.save(&name, &alice()).unwrap();
        assert_eq!((mode(&profiles.path(&name)), mode(&profiles.folder)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&profiles.folder).unwrap().count(), 1);
    }

    #[test]
    fn names_stay_in_their_folder() {
        for good in ["default", "bob", "work.example-1_2"] {
            assert!(good.parse::<ProfileName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "ä", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_broken_profile_is_named_and_its_contents_are_not_shown() {
        let (_home, profiles) = folder();
        let name = ProfileName::default();
        profiles.save(&name, &alice()).unwrap();
        fs::write(profiles.path(&name), "token = \"hush\nserver = 3").unwrap();
        let words = profiles.load(&name).unwrap_err().to_string();
        assert!(words.contains("default.toml") && !words.contains("hush"), "{words}");
    }

    #[test]
    fn debug_does_not_show_the_token() {
        assert!(!format!("{:?}", alice()).contains("secret-token"));
    }
}

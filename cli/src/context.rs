//! What a command works with: arguments over environment over profile, resolved once.

use std::fmt;
use std::path::{Path, PathBuf};

use hark_sdk::{Address, Fingerprint, Trust};

use crate::args::Global;
use crate::exit::{Done, Failure};
use crate::profile::{Profile, ProfileName, Profiles};

/// The variables that a command listens to. Empty ones count as not set.
#[derive(Clone, Default)]
pub(crate) struct Env {
    server: Option<String>,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    new_password: Option<String>,
    new_password_file: Option<PathBuf>,
    token: Option<String>,
    ca: Option<PathBuf>,
    pin: Option<String>,
    config_home: Option<PathBuf>,
    profile: Option<String>,
}

impl Env {
    /// The environment of this process.
    pub(crate) fn of_process() -> Env {
        Env::from_lookup(|name| std::env::var(name).ok())
    }

    /// The environment that `lookup` describes.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Env {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        Env {
            server: text("HARK_SERVER"),
            user: text("HARK_USER"),
            password: text("HARK_PASSWORD"),
            password_file: path("HARK_PASSWORD_FILE"),
            new_password: text("HARK_NEW_PASSWORD"),
            new_password_file: path("HARK_NEW_PASSWORD_FILE"),
            token: text("HARK_TOKEN"),
            ca: path("HARK_CA"),
            pin: text("HARK_PIN"),
            config_home: path("HARK_CONFIG_HOME"),
            profile: text("HARK_PROFILE"),
        }
    }
}

/// Where a secret can be had without asking anybody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// It is in the environment.
    Given(String),
    /// It is the first line of a file.
    File(PathBuf),
}

/// Never prints the secret.
impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Given(_) => f.write_str("Given(…)"),
            SecretSource::File(path) => write!(f, "File({path:?})"),
        }
    }
}

/// How the server is to be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrustChoice {
    /// By an authority in a file.
    Ca(PathBuf),
    /// By its certificate's fingerprint.
    Pin(Fingerprint),
    /// By the system's roots, which is what the profile says.
    System,
    /// Nobody has said.
    Unsaid,
}

impl TrustChoice {
    /// The SDK's word for it.
    pub(crate) fn to_sdk(&self) -> Trust {
        match self {
            TrustChoice::Ca(path) => Trust::CaFile(path.clone()),
            TrustChoice::Pin(fingerprint) => Trust::Pin(*fingerprint),
            TrustChoice::System | TrustChoice::Unsaid => Trust::System,
        }
    }
}

/// Arguments, environment and profile in one.
#[derive(Clone)]
pub(crate) struct Context {
    /// Where profiles are kept.
    pub(crate) profiles: Profiles,
    /// The profile in use, whether it exists or not.
    pub(crate) profile_name: ProfileName,
    /// What the profile holds, if it exists.
    pub(crate) stored: Option<Profile>,
    /// How the server is to be recognised.
    pub(crate) trust: TrustChoice,
    /// The account that was named, here or in the profile.
    pub(crate) user: Option<String>,
    /// A device token: the environment's, or the profile's where that is for this server and account.
    pub(crate) token: Option<String>,
    /// Where the account's password is, if somewhere.
    pub(crate) password: Option<SecretSource>,
    /// Where a password to be set is, if somewhere.
    pub(crate) new_password: Option<SecretSource>,
    /// HARK_TOKEN as it is, which `register` takes for a registration token.
    pub(crate) token_variable: Option<String>,
    /// How long to wait for a lost connection; `None` = the command's own default.
    pub(crate) patience_s: Option<u64>,
    server: Option<Address>,
}

/// Never prints a secret.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("profile_name", &self.profile_name)
            .field("server", &self.server)
            .field("trust", &self.trust)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Reads the profile and settles what applies.
    pub(crate) fn resolve(global: &Global, env: Env) -> Done<Context> {
        let profiles = Profiles::locate(env.config_home.as_deref())?;
        let profile_name = match (&global.profile, &env.profile) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name.parse()?,
            (None, None) => ProfileName::default(),
        };
        let stored = profiles.load(&profile_name)?;
        let server = global.server.clone().or(env.server.clone());
        let server = server.or_else(|| stored.as_ref().map(|profile| profile.server.clone()));
        let server = server.map(|text| parse_server(&text)).transpose()?;
        let applying = stored.as_ref().filter(|profile| is_for(profile, server.as_ref()));
        let user = global.user.clone().or(env.user.clone());
        let user = user.or_else(|| applying.and_then(|profile| profile.user.clone()));
        let password = source(env.password, env.password_file);
        Ok(Context {
            trust: trust(global, env.ca, env.pin, applying)?,
            token: token(env.token.clone(), password.is_some(), user.as_deref(), applying),
            password,
            new_password: source(env.new_password, env.new_password_file),
            token_variable: env.token,
            patience_s: global.patience,
            user,
            server,
            stored,
            profile_name,
            profiles,
        })
    }

    /// The server, or how to name one.
    pub(crate) fn server(&self) -> Done<&Address> {
        let advice =
            "say which server: pass --server HOST, set HARK_SERVER, or make a profile with `hark login`";
        self.server.as_ref().ok_or_else(|| Failure::usage(advice))
    }

    /// The profile as it is when this server, this trust and this account are kept.
    pub(crate) fn profile_of(&self, server: &Address, user: &str, token: Option<String>) -> Profile {
        let (ca, pin) = match &self.trust {
            // A profile works from every folder, so the file is named from the root.
            TrustChoice::Ca(path) => (Some(absolute(path)), None),
            TrustChoice::Pin(fingerprint) => (None, Some(fingerprint.to_string())),
            TrustChoice::System | TrustChoice::Unsaid => (None, None),
        };
        Profile { server: server.to_string(), ca, pin, user: Some(user.to_owned()), token }
    }

    /// Refuses to overwrite somebody else's login.
    pub(crate) fn check_profile_is_free_for(&self, server: &Address, user: &str) -> Done {
        let Some(stored) = self.stored.as_ref().filter(|profile| profile.token.is_some()) else {
            return Ok(());
        };
        let is_same = is_for(stored, Some(server)) && stored.user.as_deref() == Some(user);
        match is_same {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "the profile {} is logged in as {} on {}; use another with --profile {user}, or run `hark logout` first",
                self.profile_name,
                stored.user.as_deref().unwrap_or("somebody else"),
                stored.server,
            ))),
        }
    }
}

fn parse_server(text: &str) -> Done<Address> {
    text.parse().map_err(|error| Failure::usage(format!("{error}; give the server as HOST or HOST:PORT")))
}

/// Whether what a profile holds may be used with a server: a token is shown to nobody but its own server.
fn is_for(profile: &Profile, server: Option<&Address>) -> bool {
    profile.server.parse::<Address>().ok().as_ref() == server
}

fn source(given: Option<String>, file: Option<PathBuf>) -> Option<SecretSource> {
    given.map(SecretSource::Given).or_else(|| file.map(SecretSource::File))
}

/// Arguments over environment over profile; in the environment a pin, being narrower, over an authority.
fn trust(
    global: &Global,
    env_ca: Option<PathBuf>,
    env_pin: Option<String>,
    applying: Option<&Profile>,
) -> Done<TrustChoice> {
    let (ca, pin) = if global.ca.is_some() || global.pin.is_some() {
        (global.ca.clone(), global.pin.clone())
    } else if env_ca.is_some() || env_pin.is_some() {
        (env_ca, env_pin)
    } else {
        match applying {
            Some(profile) if profile.ca.is_none() && profile.pin.is_none() => return Ok(TrustChoice::System),
            Some(profile) => (profile.ca.clone(), profile.pin.clone()),
            None => return Ok(TrustChoice::Unsaid),
        }
    };
    match (pin, ca) {
        (Some(pin), _) => pin.parse().map(TrustChoice::Pin).map_err(|error| {
            Failure::usage(format!("{error}, which the server prints when it starts; this is not one: {pin}"))
        }),
        (None, Some(path)) => Ok(TrustChoice::Ca(path)),
        (None, None) => Ok(TrustChoice::Unsaid),
    }
}

/// A device token: the environment's; then the profile's, if the environment has no password either and the
/// profile is that account's.
fn token(
    env_token: Option<String>,
    has_password: bool,
    user: Option<&str>,
    applying: Option<&Profile>,
) -> Option<String> {
    let stored = applying.filter(|profile| !has_password && profile.user.as_deref() == user);
    env_token.or_else(|| stored.and_then(|profile| profile.token.clone()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn with(profile: Option<Profile>) -> Home {
            let home = tempfile::tempdir().unwrap();
            if let Some(profile) = profile {
                let profiles = Profiles::locate(Some(home.path())).unwrap();
                profiles.save(&ProfileName::default(), &profile).unwrap();
            }
            Home(home)
        }

        fn resolve(&self, global: Global, variables: &[(&str, &str)]) -> Done<Context> {
            let home = self.0.path().to_str().unwrap().to_owned();
            let env = Env::from_lookup(|name| match name {
                "HARK_CONFIG_HOME" => Some(home.clone()),
                _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
            });
            Context::resolve(&global, env)
        }
    }

    fn alice() -> Profile {
        Profile {
            server: "chat.example.org:4275".into(),
            ca: Some("/srv/ca.pem".into()),
            pin: None,
            user: Some("alice".into()),
            token: Some("device".into()),
        }
    }

    fn server(name: &str) -> Global {
        Global { server: Some(name.into()), ..Global::default() }
    }

    #[test]
    fn a_profile_alone_is_enough() {
        let context = Home::with(Some(alice())).resolve(Global::default(), &[]).unwrap();
        assert_eq!(context.server().unwrap().to_string(), "chat.example.org:4275");
        assert_eq!(context.trust, TrustChoice::Ca("/srv/ca.pem".into()));
        assert_eq!((context.user.as_deref(), context.token.as_deref()), (Some("alice"), Some("device")));
    }

    #[test]
    fn arguments_win_over_environment_and_environment_over_profile() {
        let home = Home::with(Some(alice()));
        let variables = [("HARK_USER", "bob"), ("HARK_SERVER", "env.example.org")];
        let context = home.resolve(Global::default(), &variables).unwrap();
        assert_eq!(
            (context.server().unwrap().host.as_str(), context.user.as_deref()),
            ("env.example.org", Some("bob"))
        );
        let global = Global { user: Some("carol".into()), ..server("arg.example.org") };
        let context = home.resolve(global, &variables).unwrap();
        assert_eq!(
            (context.server().unwrap().host.as_str(), context.user.as_deref()),
            ("arg.example.org", Some("carol"))
        );
    }

    #[test]
    fn a_token_and_a_trust_are_for_their_own_server_and_account_only() {
        let home = Home::with(Some(alice()));
        let elsewhere = home.resolve(server("other.example.org"), &[]).unwrap();
        assert_eq!((elsewhere.token, elsewhere.user, elsewhere.trust), (None, None, TrustChoice::Unsaid));
        let other = home.resolve(Global { user: Some("bob".into()), ..Global::default() }, &[]).unwrap();
        assert_eq!(other.token, None);
        // The default port is the same server.
        let same = home.resolve(server("chat.example.org"), &[]).unwrap();
        assert_eq!(same.token.as_deref(), Some("device"));
    }

    #[test]
    fn a_password_in_the_environment_is_used_in_place_of_the_profile() {
        let home = Home::with(Some(alice()));
        let context = home.resolve(Global::default(), &[("HARK_PASSWORD", "hush")]).unwrap();
        assert_eq!((context.token, context.password), (None, Some(SecretSource::Given("hush".into()))));
        let context = home.resolve(Global::default(), &[("HARK_PASSWORD", "")]).unwrap();
        assert_eq!((context.token.as_deref(), context.password), (Some("device"), None));
    }

    #[test]
    fn trust_is_taken_from_one_place_only() {
        let pin = format!("sha256:{}", "ab".repeat(32));
        let home = Home::with(Some(alice()));
        let context = home.resolve(Global::default(), &[("HARK_PIN", &pin), ("HARK_CA", "/x")]).unwrap();
        assert_eq!(context.trust, TrustChoice::Pin(pin.parse().unwrap()));
        let global = Global { ca: Some("/arg.pem".into()), ..Global::default() };
        let context = home.resolve(global, &[("HARK_PIN", &pin)]).unwrap();
        assert_eq!(context.trust, TrustChoice::Ca("/arg.pem".into()));
        let failure = home.resolve(Global::default(), &[("HARK_PIN", "sha256:zz")]).unwrap_err();
        assert_eq!(failure.code(), 2);
    }

    #[test]
    fn a_profile_without_ca_or_pin_trusts_the_system() {
        let home = Home::with(Some(Profile { ca: None, ..alice() }));
        assert_eq!(home.resolve(Global::default(), &[]).unwrap().trust, TrustChoice::System);
        assert_eq!(Home::with(None).resolve(server("h"), &[]).unwrap().trust, TrustChoice::Unsaid);
    }

    #[test]
    fn nobody_overwrites_somebody_elses_login() {
        let context = Home::with(Some(alice())).resolve(Global::default(), &[]).unwrap();
        let own = context.server().unwrap().clone();
        assert!(context.check_profile_is_free_for(&own, "alice").is_ok());
        let failure = context.check_profile_is_free_for(&own, "bob").unwrap_err();
        assert!(failure.sentence().unwrap().contains("--profile bob"), "{failure:?}");
        let elsewhere = "other.example.org".parse().unwrap();
        assert!(context.check_profile_is_free_for(&elsewhere, "alice").is_err());
    }

    #[test]
    fn without_a_server_the_ways_to_name_one_are_told() {
        let context = Home::with(None).resolve(Global::default(), &[]).unwrap();
        let failure = context.server().unwrap_err();
        assert!(failure.code() == 2 && failure.sentence().unwrap().contains("--server"));
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        let home = Home::with(Some(alice()));
        let context = home.resolve(Global::default(), &[("HARK_PASSWORD", "hush-hush")]).unwrap();
        assert!(!format!("{:?} {context:?}", context.password).contains("hush-hush"));
    }
}

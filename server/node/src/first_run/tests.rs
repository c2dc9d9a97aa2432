//! A first start makes everything, a later one finds it, and what is somebody else's stays as it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use hark_core::memory::{MemoryDirectory, MemoryStores};
use hark_protocol::{AccountName, AccountRole};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::*;
use crate::entropy::OsEntropy;
use crate::password::{PasswordPool, Verdict};
use crate::tls::Fingerprint;
use crate::token::{same_token, token_hash};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct Bench {
    folder: TempDir,
    directory: std::sync::Arc<MemoryDirectory>,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap(), directory: MemoryStores::new().directory }
    }

    fn start(&self) -> Result<Access, FirstRunError> {
        Access::ensure(&*self.directory, self.folder.path(), true, &OsEntropy, NOW)
    }

    fn text(&self, file: &str) -> String {
        let path = self.folder.path().join(file);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    fn kept_token_is(&self, token: &str) -> bool {
        let kept = Settings::load_or_create(&*self.directory, &OsEntropy).unwrap().registration_token;
        same_token(&kept.unwrap(), &token_hash(token))
    }

    async fn admin_password_is(&self, password: &str) -> bool {
        let admin = self.directory.account(&AccountName::parse("admin").unwrap()).unwrap().unwrap();
        assert_eq!((admin.role, admin.disabled), (AccountRole::ADMIN, false));
        let pool = PasswordPool::new(1, std::sync::Arc::new(OsEntropy), Default::default()).unwrap();
        let verdict = pool.verify(Some(admin.password), password.parse().unwrap()).await;
        verdict.unwrap() == Verdict::Right
    }
}

#[tokio::test]
async fn the_first_start_makes_an_admin_and_a_token_that_work() {
    let bench = Bench::new();
    let access = bench.start().unwrap();
    assert_eq!(access.admin.origin, Origin::Made);
    assert_eq!(access.admin.password.unwrap().expose(), bench.text("admin-password"));
    assert!(bench.admin_password_is(&bench.text("admin-password")).await);
    let registration = access.registration.unwrap();
    assert_eq!(registration.token.expose(), bench.text("registration-token"));
    assert!(
        registration.token.expose().starts_with("hrt_") && bench.kept_token_is(registration.token.expose())
    );
}

#[tokio::test]
async fn a_later_start_finds_the_same() {
    let bench = Bench::new();
    bench.start().unwrap();
    let (password, token) = (bench.text("admin-password"), bench.text("registration-token"));
    let settings = || Settings::load_or_create(&*bench.directory, &OsEntropy).unwrap();
    let before = settings();
    let access = bench.start().unwrap();
    assert!(access.admin.origin == Origin::Found && access.admin.password.is_none());
    assert_eq!(access.registration.unwrap().origin, Origin::Found);
    assert_eq!((bench.text("admin-password"), bench.text("registration-token")), (password.clone(), token));
    assert!(bench.admin_password_is(&password).await);
    assert_eq!((settings().server_id, settings().identity_key), (before.server_id, before.identity_key));
}

#[tokio::test]
async fn a_start_that_was_cut_short_before_the_account_is_made_up_for() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("admin-password"), "of a start that got no further\n").unwrap();
    bench.start().unwrap();
    assert!(bench.admin_password_is(&bench.text("admin-password")).await);
}

#[tokio::test]
async fn a_removed_password_file_stays_removed_and_a_lost_password_can_be_reset() {
    let bench = Bench::new();
    let file = bench.start().unwrap().admin.password_file.unwrap();
    let first = bench.text("admin-password");
    fs::remove_file(&file).unwrap();
    assert_eq!(bench.start().unwrap().admin.password_file, None);
    let admin = bench.directory.account(&AccountName::parse("admin").unwrap()).unwrap().unwrap();
    bench.directory.set_disabled(admin.id, true).unwrap();
    assert_eq!(reset_admin_password(&*bench.directory, bench.folder.path(), &OsEntropy).unwrap(), file);
    assert!(!bench.admin_password_is(&first).await);
    assert!(bench.admin_password_is(&bench.text("admin-password")).await);
}

#[test]
fn there_is_no_password_to_reset_before_the_first_start() {
    let bench = Bench::new();
    let reset = reset_admin_password(&*bench.directory, bench.folder.path(), &OsEntropy);
    assert!(matches!(reset, Err(FirstRunError::NoAdmin)), "{reset:?}");
    assert!(!bench.folder.path().join("admin-password").exists());
}

#[test]
fn the_tokens_file_is_the_token() {
    let bench = Bench::new();
    let first = bench.start().unwrap().registration.unwrap();
    fs::remove_file(&first.file).unwrap();
    let second = bench.start().unwrap().registration.unwrap();
    assert!(second.origin == Origin::Made && second.token != first.token);
    assert!(bench.kept_token_is(second.token.expose()) && !bench.kept_token_is(first.token.expose()));
    fs::write(&first.file, "a-word-of-the-operators-own\n").unwrap();
    bench.start().unwrap();
    assert!(bench.kept_token_is("a-word-of-the-operators-own"));
    for bad in ["", "tiny-word", "two words are not one token", &"x".repeat(300)] {
        fs::write(&first.file, bad).unwrap();
        let error = bench.start().unwrap_err();
        assert!(matches!(error, FirstRunError::Token { .. }), "{bad:?}: {error}");
        assert!(bad.is_empty() || !error.to_string().contains(bad), "the secret is in the message: {error}");
    }
}

#[test]
fn without_registration_there_is_no_token() {
    let bench = Bench::new();
    let access = Access::ensure(&*bench.directory, bench.folder.path(), false, &OsEntropy, NOW).unwrap();
    assert!(access.registration.is_none());
    assert!(!bench.folder.path().join("registration-token").exists());
}

#[test]
fn a_data_folder_is_made_for_its_owner_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/hark-data");
    assert_eq!(DataFolder::look(&path).unwrap(), Found::Nothing);
    assert!(!path.exists(), "looking must change nothing");
    assert_eq!(DataFolder::prepare(&path).unwrap().origin, Origin::Made);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(DataFolder::look(&path).unwrap(), Found::Hark);
    assert_eq!(DataFolder::prepare(&path).unwrap().origin, Origin::Found);
}

#[test]
fn an_empty_folder_is_taken_and_closed_to_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    let data = DataFolder::prepare(folder.path()).unwrap();
    assert!(data.warning.unwrap().contains("that is over"));
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_folder_of_something_else_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let error = DataFolder::prepare(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains("it holds thesis.txt") && error.to_string().contains("--data"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_folder_of_another_format_and_a_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    DataFolder::prepare(folder.path()).unwrap();
    fs::write(folder.path().join("HARK-DATA"), "Hark data folder, format 9\n").unwrap();
    let error = DataFolder::prepare(folder.path()).unwrap_err();
    assert!(matches!(&error, FirstRunError::OtherFormat { found, .. } if found.ends_with('9')), "{error}");
    let file = folder.path().join("HARK-DATA");
    assert!(matches!(DataFolder::prepare(&file), Err(FirstRunError::File { .. })));
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    assert!(DataFolder::prepare(&dangling).is_err());
}

fn greeting(origin: Origin, authority: Option<&str>, listen: &str) -> String {
    let data = DataFolder { path: "hark-data".into(), origin, warning: None };
    let access = Access {
        admin: Admin {
            origin,
            password: (origin == Origin::Made).then(|| "k7f2m-ppppp".parse().unwrap()),
            password_file: Some("hark-data/admin-password".into()),
        },
        registration: Some(Registration {
            origin,
            token: "hrt_0123456789abcdef".parse().unwrap(),
            file: "hark-data/registration-token".into(),
        }),
    };
    let greeting = Greeting {
        folder: &data,
        access: &access,
        listen: listen.parse().unwrap(),
        metrics: Some("127.0.0.1:4276".parse().unwrap()),
        fingerprint: Fingerprint::of(&CertificateDer::from(b"abc".to_vec())),
        authority: authority.map(Into::into),
        hark: HarkCommand::beside(Path::new("/nowhere/harkd"), &[], Path::new("/")),
    };
    greeting.to_string()
}

#[test]
fn the_first_greeting_says_what_to_paste() {
    let text = greeting(Origin::Made, Some("my data/tls/ca.pem"), "0.0.0.0:4275");
    let expected = "\n  hark --server 127.0.0.1:4275 --ca 'my data/tls/ca.pem' register alice --token \
         hrt_0123456789abcdef\n";
    assert!(text.contains(expected), "{text}");
    for line in ["  hark create lobby\n", "  hark chat lobby\n"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("0.0.0.0:4275, TLS 1.3") && text.contains("sha256:ba7816bf"), "{text}");
    assert!(text.contains("account admin, password k7f2m-ppppp, also in hark-data/admin-password"), "{text}");
    let pinned = greeting(Origin::Made, None, "[::]:4275");
    assert!(pinned.contains("hark --server [::1]:4275 --pin sha256:ba7816bf"), "{pinned}");
}

#[test]
fn a_later_greeting_says_where_things_are_and_tells_no_secret() {
    let text = greeting(Origin::Found, Some("hark-data/tls/ca.pem"), "127.0.0.1:4275");
    assert!(text.lines().count() <= 8, "{text}");
    assert!(text.contains("found hark-data") && text.contains("hark-data/registration-token"), "{text}");
    assert!(!text.contains("hrt_"), "{text}");
}

#[test]
fn hark_is_called_as_it_can_be_from_here() {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("target/release");
    fs::create_dir_all(&release).unwrap();
    let harkd = release.join("harkd");
    let call =
        |search: &[PathBuf], working: &Path| format!("{:?}", HarkCommand::beside(&harkd, search, working));
    assert!(call(&[], folder.path()).contains("\"hark\""));
    fs::write(folder.path().join("target/CACHEDIR.TAG"), "").unwrap();
    assert!(call(&[], folder.path()).contains("\"cargo run --release --bin hark --\""));
    fs::write(release.join("hark"), "").unwrap();
    assert!(call(&[], folder.path()).contains("\"target/release/hark\""));
    assert!(call(&[], Path::new("/elsewhere")).contains("/target/release/hark\""));
    assert!(call(std::slice::from_ref(&release), folder.path()).contains("\"hark\""));
}

//! Own certificates, brought ones, wrong ones, and both replaced while running.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hark_protocol::UnixMillis;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::metrics::Metrics;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY_MS: u64 = 86_400_000;

fn later(days: u64) -> UnixMillis {
    UnixMillis(NOW.0 + days * DAY_MS)
}

fn own(folder: &TempDir, names: &[&str]) -> OwnCertificates {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    OwnCertificates::new(folder.path().join("tls"), &names)
}

fn own_identity(folder: &TempDir, names: &[&str], now: UnixMillis) -> Result<Identity, TlsError> {
    CertificateSource::Own(own(folder, names)).identity(now)
}

/// A certificate and key of another authority, as an operator would bring them.
fn brought(folder: &TempDir, sub: &str, now: UnixMillis) -> TlsFiles {
    let other = OwnCertificates::new(folder.path().join(sub), &[]);
    CertificateSource::Own(other).identity(now).unwrap();
    TlsFiles { cert: folder.path().join(sub).join("cert.pem"), key: folder.path().join(sub).join("key.pem") }
}

fn client_config(authority: &Path, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(server_config::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Lets a client and a server shake hands in memory.
fn shake_hands(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<ServerConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(server)
}

#[test]
fn own_certificates_are_made_once_and_belong_to_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let made = own_identity(&folder, &[], NOW).unwrap();
    for name in ["ca.pem", "ca.key", "cert.pem", "key.pem"] {
        let mode = fs::metadata(folder.path().join("tls").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(folder.path().join("tls")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(own_identity(&folder, &[], later(1)).unwrap().fingerprint, made.fingerprint);
}

#[test]
fn a_client_that_trusts_the_authority_reaches_every_name() {
    let folder = tempfile::tempdir().unwrap();
    let identity =
        own_identity(&folder, &["chat.example.org", "192.0.2.7"], UnixMillis(system_now())).unwrap();
    let server = server_config(&identity).unwrap();
    let client = client_config(&own(&folder, &[]).authority_path(), &[ALPN]);
    for name in ["localhost", "127.0.0.1", "::1", "chat.example.org", "192.0.2.7"] {
        let connection = shake_hands(Arc::clone(&client), Arc::clone(&server), name).unwrap();
        assert_eq!(connection.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3), "{name}");
        assert!(asked_for_hark(&connection), "{name}");
    }
    assert!(shake_hands(client, server, "elsewhere.example.org").is_err());
}

fn system_now() -> u64 {
    use crate::clock::{Clock, SystemClock};
    SystemClock.now().0
}

#[test]
fn another_protocol_is_refused_and_none_at_all_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let identity = own_identity(&folder, &[], UnixMillis(system_now())).unwrap();
    let server = server_config(&identity).unwrap();
    let authority = own(&folder, &[]).authority_path();
    assert!(shake_hands(client_config(&authority, &[b"h2"]), Arc::clone(&server), "localhost").is_err());
    let none = shake_hands(client_config(&authority, &[]), server, "localhost").unwrap();
    assert!(!asked_for_hark(&none));
}

#[test]
fn a_certificate_is_renewed_for_new_names_and_before_it_expires_by_the_same_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority = || fs::read(own(&folder, &[]).authority_path()).unwrap();
    let first = own_identity(&folder, &[], NOW).unwrap();
    let authority_before = authority();
    let named = own_identity(&folder, &["chat.example.org"], NOW).unwrap();
    assert_ne!(named.fingerprint, first.fingerprint);
    let fewer_names = own_identity(&folder, &[], NOW).unwrap();
    assert_eq!(
        fewer_names.fingerprint, named.fingerprint,
        "a name too many is no reason for a new certificate"
    );
    assert_eq!(own_identity(&folder, &[], later(769)).unwrap().fingerprint, named.fingerprint);
    for days in [771, 2_000, 5_000] {
        let renewed = own_identity(&folder, &["chat.example.org"], later(days)).unwrap();
        assert_ne!(renewed.fingerprint, named.fingerprint);
        assert!(renewed.validity.until > later(days + 700));
    }
    assert_eq!(authority(), authority_before);
}

#[test]
fn a_damaged_or_missing_own_certificate_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let first = own_identity(&folder, &[], NOW).unwrap();
    let cert = folder.path().join("tls/cert.pem");
    for damage in [None, Some("nonsense"), Some("")] {
        match damage {
            Some(text) => fs::write(&cert, text).unwrap(),
            None => fs::remove_file(&cert).unwrap(),
        }
        assert_ne!(own_identity(&folder, &[], NOW).unwrap().fingerprint, first.fingerprint, "{damage:?}");
    }
}

#[test]
fn looking_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = CertificateSource::Own(own(&folder, &[]));
    assert!(source.look(NOW).unwrap().is_none());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let made = source.identity(NOW).unwrap();
    assert_eq!(source.look(NOW).unwrap().unwrap().fingerprint, made.fingerprint);
    assert!(source.look(later(790)).unwrap().is_none(), "it will be renewed");
    assert!(source.look(UnixMillis(0)).is_err());
}

#[test]
fn without_the_authoritys_key_a_good_certificate_serves_and_a_new_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = own_identity(&folder, &[], NOW).unwrap();
    let key = folder.path().join("tls/ca.key");
    fs::remove_file(&key).unwrap();
    assert_eq!(own_identity(&folder, &[], NOW).unwrap().fingerprint, first.fingerprint);
    let stranger = brought(&folder, "other", NOW);
    for foreign_key in [false, true] {
        if foreign_key {
            fs::copy(stranger.cert.with_file_name("ca.key"), &key).unwrap();
        }
        let error = own_identity(&folder, &["new.example.org"], NOW).unwrap_err();
        assert!(matches!(error, TlsError::AuthorityLost { .. }), "{error}");
        assert!(error.to_string().contains("does not name new.example.org"), "{error}");
    }
}

#[test]
fn a_clock_far_behind_is_told_and_makes_no_new_certificate() {
    let folder = tempfile::tempdir().unwrap();
    own_identity(&folder, &[], NOW).unwrap();
    let before = fs::read(folder.path().join("tls/cert.pem")).unwrap();
    let error = own_identity(&folder, &[], UnixMillis(NOW.0 - 400 * DAY_MS)).unwrap_err();
    assert!(matches!(error, TlsError::NotYetValid { .. }), "{error}");
    assert!(error.to_string().contains("valid from 2027-01-14 only"), "{error}");
    assert!(error.to_string().contains("clock shows 2025-12-11"), "{error}");
    assert_eq!(fs::read(folder.path().join("tls/cert.pem")).unwrap(), before);
}

#[test]
fn wrong_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (brought(&folder, "one", NOW), brought(&folder, "other", NOW));
    let file = |name: &str, content: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let der = CertificateDer::from_pem_file(&one.cert).unwrap();
    let text = |why: &[u8]| [b"-----BEGIN ", why, b"-----\nAAAA\n-----END ", why, b"-----\n"].concat();
    let missing = folder.path().join("missing.pem");
    for (cert, key, expected) in [
        (&missing, &one.key, "missing.pem can not be read: No such file"),
        (&one.cert, &missing, "missing.pem can not be read: No such file"),
        (&file("empty", b""), &one.key, "holds no certificate in PEM form"),
        (&file("der", &der), &one.key, "it looks like DER"),
        (&one.key, &one.key, "it holds a private key: are the two files swapped?"),
        (&one.cert, &one.cert, "it holds a certificate: are the two files swapped?"),
        (&file("csr", &text(b"CERTIFICATE REQUEST")), &one.key, "a request for a certificate"),
        (&one.cert, &file("locked", &text(b"ENCRYPTED PRIVATE KEY")), "has a passphrase"),
        (
            &one.cert,
            &file("noise", b"hello"),
            "holds no private key in PEM form, which has a line -----BEGIN PRIVATE KEY-----",
        ),
        (&file("bad", &text(b"CERTIFICATE")), &one.key, "bad can not be used"),
        (&one.cert, &file("badkey", &text(b"PRIVATE KEY")), "badkey can not be used"),
        (&one.cert, &other.key, "does not belong to the certificate in"),
    ] {
        let error = Identity::load(cert, key).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

#[test]
fn an_expired_certificate_from_elsewhere_is_refused_with_its_date() {
    let folder = tempfile::tempdir().unwrap();
    let source = CertificateSource::Files(brought(&folder, "one", NOW));
    assert!(source.identity(later(799)).is_ok());
    let error = source.identity(later(801)).unwrap_err();
    assert!(matches!(error, TlsError::Expired { .. }));
    assert!(error.to_string().contains("expired on 2029-03-25"), "{error}");
}

fn reloader(source: CertificateSource) -> (Reloader, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (Reloader::start(source, Arc::clone(&metrics), NOW).unwrap(), metrics)
}

/// Replaces `to` and makes sure that its stamp differs, as it would seconds later.
fn replace(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::options().write(true).open(to).unwrap().set_modified(later).unwrap();
}

#[test]
fn a_new_certificate_is_taken_up_when_its_files_change() {
    let folder = tempfile::tempdir().unwrap();
    let (files, new) = (brought(&folder, "one", NOW), brought(&folder, "new", NOW));
    let (mut reloader, metrics) = reloader(CertificateSource::Files(files.clone()));
    let (current, before) = (reloader.current(), reloader.fingerprint());
    let config_before = current.load_full();
    assert!(matches!(reloader.look(NOW), Looked::Unchanged));
    replace(&new.key, &files.key);
    let half = reloader.look(NOW);
    assert!(matches!(half, Looked::Kept(TlsError::KeyDoesNotFit { .. })), "{half:?}");
    assert!(Arc::ptr_eq(&current.load_full(), &config_before), "the old one must stay in use");
    assert!(matches!(reloader.look(NOW), Looked::Unchanged), "a bad file is told once");
    replace(&new.cert, &files.cert);
    let whole = reloader.look(NOW);
    assert!(matches!(whole, Looked::Replaced(fingerprint) if fingerprint != before), "{whole:?}");
    assert!(!Arc::ptr_eq(&current.load_full(), &config_before));
    let text = metrics.render();
    assert!(text.contains("hark_certificate_reloads_total 1\n"), "{text}");
    assert!(text.contains("hark_certificate_reloads_failed_total 1\n"), "{text}");
}

#[test]
fn an_expired_new_certificate_does_not_replace_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let files = brought(&folder, "one", NOW);
    let old = brought(&folder, "old", UnixMillis(NOW.0 - 900 * DAY_MS));
    let (mut reloader, _) = reloader(CertificateSource::Files(files.clone()));
    replace(&old.key, &files.key);
    replace(&old.cert, &files.cert);
    let looked = reloader.reload(NOW);
    assert!(matches!(looked, Looked::Kept(TlsError::Expired { .. })), "{looked:?}");
}

#[test]
fn the_own_certificate_is_renewed_while_running() {
    let folder = tempfile::tempdir().unwrap();
    let (mut reloader, _) = reloader(CertificateSource::Own(own(&folder, &[])));
    assert!(matches!(reloader.look(later(700)), Looked::Unchanged));
    assert!(matches!(reloader.look(later(780)), Looked::Replaced(_)));
    assert!(matches!(reloader.look(later(781)), Looked::Unchanged));
    assert!(reloader.validity().until > later(1_500));
}

#[test]
fn a_fingerprint_is_the_sha256_of_the_der() {
    let fingerprint = Fingerprint::of(&CertificateDer::from(b"abc".to_vec()));
    let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(fingerprint.to_string(), expected);
}

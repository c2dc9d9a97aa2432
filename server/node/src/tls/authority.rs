//! The server's own certificate authority: a key that vouches for the server's certificates.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use hark_protocol::UnixMillis;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use zeroize::Zeroizing;

use super::error::TlsError;
use crate::private_file::write_private;
use crate::token::hex;

/// The authority, able to sign.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority and writes its key and certificate. The certificate comes last: it is what tells that
    /// there is one.
    pub(super) fn create(key_path: &Path, cert_path: &Path, now: UnixMillis) -> Result<Authority, TlsError> {
        let key = new_key()?;
        let params = authority_params(&key, now);
        let certificate = params.self_signed(&key).map_err(not_made)?;
        write(key_path, &Zeroizing::new(key.serialize_pem()))?;
        write(cert_path, &certificate.pem())?;
        Ok(Authority { issuer: Issuer::new(params, key) })
    }

    /// The authority whose key lies at `key_path`. Whether that is the key of the certificate beside it shows
    /// when what it signed is verified.
    pub(super) fn load(key_path: &Path, now: UnixMillis) -> Result<Authority, TlsError> {
        let unreadable = |error| TlsError::Unreadable { path: key_path.into(), error };
        let pem = Zeroizing::new(fs::read_to_string(key_path).map_err(unreadable)?);
        let unusable =
            |error: rcgen::Error| TlsError::Unusable { path: key_path.into(), why: error.to_string() };
        let key = KeyPair::from_pem(&pem).map_err(unusable)?;
        Ok(Authority { issuer: Issuer::new(authority_params(&key, now), key) })
    }

    /// Makes a server certificate for `names` and writes it and its key.
    pub(super) fn issue(
        &self,
        names: &[String],
        key_path: &Path,
        cert_path: &Path,
        now: UnixMillis,
    ) -> Result<(), TlsError> {
        let key = new_key()?;
        let certificate = server_params(names, now)?.signed_by(&key, &self.issuer).map_err(not_made)?;
        write(key_path, &Zeroizing::new(key.serialize_pem()))?;
        write(cert_path, &certificate.pem())
    }
}

/// The authority's certificate. Its name follows from its key, so that a certificate can be signed with nothing
/// but the key, and two servers' authorities are never taken for one another.
fn authority_params(key: &KeyPair, now: UnixMillis) -> CertificateParams {
    let digest = digest::digest(&digest::SHA256, key.public_key_raw());
    let name = format!("Hark authority {}", hex(digest.as_ref().get(..4).unwrap_or_default()));
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, AUTHORITY_DAYS);
    params
}

fn server_params(names: &[String], now: UnixMillis) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| subject(name)).collect::<Result<_, _>>()?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Hark server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, SERVER_DAYS);
    Ok(params)
}

fn subject(name: &str) -> Result<SanType, TlsError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => name.try_into().map(SanType::DnsName).map_err(not_made),
    }
}

fn set_validity(params: &mut CertificateParams, now: UnixMillis, days: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // The clock is plausible, so this is far from the end of what a date can hold.
    let now = Duration::from_millis(now.0.min(LAST_PLAUSIBLE_MILLIS));
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + Duration::from_secs(days * 86_400);
}

fn new_key() -> Result<KeyPair, TlsError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(not_made)
}

fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    write_private(path, text.as_bytes()).map_err(|error| TlsError::Unwritable { path: path.into(), error })
}

fn not_made(error: rcgen::Error) -> TlsError {
    TlsError::NotMade(error.to_string())
}

/// Twenty years: replacing it means a new file for every client.
const AUTHORITY_DAYS: u64 = 20 * 365;
/// The longest that the strictest platform takes is 825 days.
const SERVER_DAYS: u64 = 800;
/// A client whose clock is a little behind must not refuse a server made just now.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3_600);
/// 2200-01-01T00:00:00Z.
const LAST_PLAUSIBLE_MILLIS: u64 = 7_258_118_400_000;

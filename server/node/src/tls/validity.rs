//! From when until when a certificate is valid.

use std::time::Duration;

use hark_protocol::UnixMillis;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

/// The first and the last moment of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first.
    pub from: UnixMillis,
    /// The last.
    pub until: UnixMillis,
}

impl Validity {
    /// The validity of `certificate`.
    ///
    /// # Errors
    /// A sentence, where the certificate can not be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
        let certificate = EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
        let (from, until) = (verdict_at(&certificate, 0), verdict_at(&certificate, AFTER_EVERYTHING_SECONDS));
        match (from, until) {
            (Error::CertNotValidYet { not_before, .. }, Error::CertExpired { not_after, .. }) => {
                Ok(Validity { from: millis(not_before), until: millis(not_after) })
            }
            // The first moment of all is 1970: such a certificate has always been valid.
            (_, Error::CertExpired { not_after, .. }) => {
                Ok(Validity { from: UnixMillis(0), until: millis(not_after) })
            }
            (_, other) => Err(other.to_string()),
        }
    }
}

/// What the verifier says about `certificate` at a time. It looks at the validity first, and with no authority to
/// trust it never gets further, so long before and long after everything its objection tells the two moments.
fn verdict_at(certificate: &EndEntityCert<'_>, unix_seconds: u64) -> Error {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds));
    let usage = KeyUsage::server_auth();
    match certificate.verify_for_usage(&[], &[], &[], time, usage, None, None) {
        Err(error) => error,
        Ok(_) => Error::UnknownIssuer,
    }
}

fn millis(time: UnixTime) -> UnixMillis {
    UnixMillis(time.as_secs().saturating_mul(1_000))
}

/// The day of `time` in UTC, like `2026-11-20`.
pub fn day(time: UnixMillis) -> String {
    let seconds = (time.0 / 1_000).min(AFTER_EVERYTHING_SECONDS - 1);
    (rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)).date().to_string()
}

/// 10000-01-01T00:00:00Z: certificates can not name a later moment than the one before.
const AFTER_EVERYTHING_SECONDS: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_in_utc() {
        for (millis, expected) in [
            (0, "1970-01-01"),
            (951_827_696_000, "2000-02-29"),
            (1_795_133_223_000, "2026-11-20"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(day(UnixMillis(millis)), expected);
        }
    }
}

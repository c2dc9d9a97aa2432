//! Taking up a new certificate while running: on a signal, when the files change, or before the own one expires.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hark_protocol::UnixMillis;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::CertificateSource;
use super::error::TlsError;
use super::fingerprint::Fingerprint;
use super::identity::Identity;
use super::own::is_near_expiry;
use super::server_config::server_config;
use super::validity::{Validity, day};
use crate::clock::Clock;
use crate::metrics::{Metrics, Reload};

/// Holds the configuration that new connections get, and replaces it.
pub struct Reloader {
    source: CertificateSource,
    current: Arc<ArcSwap<ServerConfig>>,
    fingerprint: Fingerprint,
    validity: Validity,
    stamps: Vec<Stamp>,
    metrics: Arc<Metrics>,
}

/// What a look at the certificates came to.
#[derive(Debug)]
pub enum Looked {
    /// They are what they were.
    Unchanged,
    /// Another one is in use from now on.
    Replaced(Fingerprint),
    /// They changed, but can not be used: the one before stays in use.
    Kept(TlsError),
}

/// What tells cheaply that a file was changed: its time and size. A link that now leads elsewhere shows as well.
type Stamp = Option<(SystemTime, u64)>;

impl Reloader {
    /// Begins with what `source` gives at `now`.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub fn start(
        source: CertificateSource,
        metrics: Arc<Metrics>,
        now: UnixMillis,
    ) -> Result<Reloader, TlsError> {
        let identity = source.identity(now)?;
        let current = Arc::new(ArcSwap::new(server_config(&identity)?));
        metrics.certificate_taken_up(identity.validity.until);
        let mut reloader = Reloader {
            source,
            current,
            fingerprint: identity.fingerprint,
            validity: identity.validity,
            stamps: Vec::new(),
            metrics,
        };
        reloader.stamps = reloader.read_stamps();
        Ok(reloader)
    }

    /// What new connections get, now and later.
    pub fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.current)
    }

    /// The fingerprint of the certificate in use.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When the certificate in use is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Looks whether a file changed or the own certificate is about to expire, and only then reads them.
    pub fn look(&mut self, now: UnixMillis) -> Looked {
        let stamps = self.read_stamps();
        let is_due = matches!(self.source, CertificateSource::Own(_)) && is_near_expiry(self.validity, now);
        if stamps == self.stamps && !is_due {
            return Looked::Unchanged;
        }
        self.reload(now)
    }

    /// Reads the certificates and takes them up if they are good and new.
    pub fn reload(&mut self, now: UnixMillis) -> Looked {
        let read = self.source.identity(now).and_then(|identity| Ok((server_config(&identity)?, identity)));
        // After the look, which may itself have made new files.
        self.stamps = self.read_stamps();
        match read {
            Ok((_, identity)) if identity.fingerprint == self.fingerprint => Looked::Unchanged,
            Ok((config, identity)) => self.take_up(config, &identity),
            Err(error) => {
                self.metrics.certificate_reloaded(Reload::Failed);
                Looked::Kept(error)
            }
        }
    }

    fn take_up(&mut self, config: Arc<ServerConfig>, identity: &Identity) -> Looked {
        self.current.store(config);
        self.fingerprint = identity.fingerprint;
        self.validity = identity.validity;
        self.metrics.certificate_reloaded(Reload::Done);
        self.metrics.certificate_taken_up(identity.validity.until);
        Looked::Replaced(identity.fingerprint)
    }

    /// Looks every two seconds, and reads at once whenever `asked` changes. Ends when its sender is gone.
    pub async fn run(mut self, clock: Arc<dyn Clock>, mut asked: watch::Receiver<u64>) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut has_warned = false;
        loop {
            // Both are cancel-safe: a tick or a change that is not taken is seen in the next round.
            let is_asked = tokio::select! {
                _ = ticks.tick() => false,
                changed = asked.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
            };
            let now = clock.now();
            // Reading a few small files blocks for microseconds, and a file system that hangs must not hold up
            // the connections.
            let looking = tokio::task::spawn_blocking(move || {
                let looked = if is_asked { self.reload(now) } else { self.look(now) };
                (self, looked)
            });
            let Ok((back, looked)) = looking.await else { return };
            self = back;
            tell(&looked, is_asked);
            has_warned = self.warn_before_expiry(now, has_warned);
        }
    }

    /// Warns once when a certificate from elsewhere is about to expire: nobody but its operator can renew it.
    fn warn_before_expiry(&self, now: UnixMillis, has_warned: bool) -> bool {
        let is_near = is_near_expiry(self.validity, now);
        if is_near && !has_warned {
            warn!(expires = %day(self.validity.until), "the TLS certificate expires soon; renew it");
        }
        is_near
    }

    fn read_stamps(&self) -> Vec<Stamp> {
        let files: [PathBuf; 2] = match &self.source {
            CertificateSource::Own(own) => own.files(),
            CertificateSource::Files(files) => [files.cert.clone(), files.key.clone()],
        };
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        files.iter().map(stamp).collect()
    }
}

fn tell(looked: &Looked, is_asked: bool) {
    match looked {
        Looked::Unchanged if is_asked => info!("the TLS certificate is unchanged"),
        Looked::Unchanged => {}
        Looked::Replaced(fingerprint) => {
            info!(%fingerprint, "a new TLS certificate is in use for new connections")
        }
        Looked::Kept(error) => {
            error!(%error, "the new TLS certificate can not be used; the one before stays in use")
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(2);

//! Starting the server: everything is judged before anything is made, so that a failure leaves nothing half-written.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hark_server::assemble::open_stores;
use hark_server::clock::{Clock, SystemClock, is_plausible};
use hark_server::config::{Config, Loaded, Profile};
use hark_server::entropy::OsEntropy;
use hark_server::first_run::{self, Access, DataFolder, Found};
use hark_server::http::Readiness;
use hark_server::metrics::Metrics;
use hark_server::tls::{CertificateSource, OwnCertificates, Reloader};
use hark_server::{Node, Stores, descriptors, telemetry};
use tracing::{debug, warn};

use crate::check::clock_problem;
use crate::failure::Failure;
use crate::listener;
use crate::running::{OperatorPages, Running};
use crate::signals::Signals;

/// Serves until a signal ends it.
pub(crate) fn serve(loaded: &Loaded) -> Result<ExitCode, Failure> {
    let config = &loaded.config;
    telemetry::start(&config.log_level, config.log_format).map_err(Failure::new)?;
    telemetry::log_panics();
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    for given in &loaded.given {
        debug!(key = given.key.path, source = %given.source, "configured");
    }
    if config.metrics_listen.is_some_and(|address| !address.ip().is_loopback()) {
        warn!("metrics_listen is not a local address: everybody who reaches it can read the metrics");
    }
    let descriptors = descriptors::raise_limit();
    // The open profile's number of connections is as good as none: nobody counts on having that many.
    let is_meant = config.profile != Profile::Open || loaded.is_given("limits.connections_max");
    if let Some(objection) = descriptors::objection(descriptors, config.limits.connections_max)
        && is_meant
    {
        warn!("{objection}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("threads can not be started: {error}")))?;
    let result = runtime.block_on(run(config));
    // What is still reading the disk has nobody left to answer to.
    runtime.shutdown_timeout(LAST_THREADS);
    result
}

/// Gives `admin` a new password and says where it is.
pub(crate) fn reset_admin_password(config: &Config) -> Result<String, Failure> {
    let folder = &config.data;
    if DataFolder::look(folder)? != Found::Hark {
        let sentence = format!("{} holds no Hark data; name the right folder with --data", folder.display());
        return Err(Failure::new(sentence));
    }
    let stores = open_stores(folder)?;
    let file = first_run::reset_admin_password(&*stores.directory, folder, &OsEntropy)?;
    Ok(format!("admin has a new password, in {}\n", file.display()))
}

/// Where the certificate comes from, by the configuration.
pub(crate) fn certificate_source(config: &Config) -> CertificateSource {
    match &config.tls {
        Some(files) => CertificateSource::Files(files.clone()),
        None => CertificateSource::Own(OwnCertificates::new(config.data.join("tls"), &config.names)),
    }
}

async fn run(config: &Config) -> Result<ExitCode, Failure> {
    let signals = Signals::listen();
    let mut signals = signals.map_err(|error| Failure::new(format!("signals can not be heard: {error}")))?;
    let running = tokio::select! {
        started = start(config) => started?,
        // Nobody was served yet, so there is nobody to say goodbye to.
        _ = signals.next_end() => return Ok(ExitCode::SUCCESS),
    };
    running.until_end(&mut signals, Duration::from_millis(config.shutdown_grace_ms.into())).await
}

async fn start(config: &Config) -> Result<Running, Failure> {
    let now = SystemClock.now();
    if !is_plausible(now) {
        return Err(Failure::new(clock_problem(now)));
    }
    let listener = listener::bind("listen", config.listen)?;
    let pages = match config.metrics_listen {
        Some(address) => Some(listener::bind("metrics_listen", address)?),
        None => None,
    };
    certificate_source(config).look(now)?;
    DataFolder::look(&config.data)?;

    let (metrics, readiness) = (Arc::new(Metrics::new()), Arc::<Readiness>::default());
    metrics.limits_set(&config.limits);
    let pages = pages.map(|pages| OperatorPages::serve(pages, &readiness, &metrics)).transpose()?;
    let made = tokio::task::spawn_blocking({
        let (config, metrics) = (config.clone(), Arc::clone(&metrics));
        move || make(&config, metrics)
    });
    let made = made.await.map_err(|error| Failure::new(format!("the start was cut short: {error}")))??;
    let node = Node::builder()
        .limits(config.limits.clone())
        .registration(config.registration)
        .tail_bytes_max(config.tail_bytes_max)
        .retention(config.retention)
        .farewell_spread(Duration::from_millis(config.shutdown_spread_ms.into()))
        .session_lifetime(Duration::from_secs(config.session_lifetime_s.into()))
        .agent(AGENT)
        .tls(made.reloader.current())
        .stores(made.stores)
        .metrics(metrics)
        .clock(Arc::new(SystemClock))
        .entropy(Arc::new(OsEntropy))
        .start(listener)
        .await
        .map_err(Failure::new)?;
    let greeter = Greeter { folder: made.folder, access: made.access, authority: made.authority };
    Ok(Running::new(node, readiness, pages, made.reloader, greeter))
}

/// What is made, or found, on the disk.
struct Made {
    folder: DataFolder,
    stores: Stores,
    access: Access,
    reloader: Reloader,
    authority: Option<PathBuf>,
}

/// The part of a start that blocks. The stores come before anything else that is written: they lock the folder.
fn make(config: &Config, metrics: Arc<Metrics>) -> Result<Made, Failure> {
    let folder = DataFolder::prepare(&config.data)?;
    if let Some(warning) = &folder.warning {
        warn!("{warning}");
    }
    let stores = open_stores(&folder.path)?;
    let now = SystemClock.now();
    let source = certificate_source(config);
    let authority = match &source {
        CertificateSource::Own(own) => Some(own.authority_path()),
        CertificateSource::Files(_) => None,
    };
    let reloader = Reloader::start(source, metrics, now)?;
    let access = Access::ensure(&*stores.directory, &folder.path, config.registration, &OsEntropy, now)?;
    Ok(Made { folder, stores, access, reloader, authority })
}

/// What the greeting needs once the server is ready.
pub(crate) struct Greeter {
    pub(crate) folder: DataFolder,
    pub(crate) access: Access,
    pub(crate) authority: Option<PathBuf>,
}

/// How the server introduces itself to clients.
const AGENT: &str = concat!("harkd/", env!("CARGO_PKG_VERSION"));
/// Long enough for a read that is under way, short enough for an operator who waits.
const LAST_THREADS: Duration = Duration::from_secs(2);

//! The running server: signals, and an end in good order.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hark_server::Node;
use hark_server::clock::SystemClock;
use hark_server::first_run::{Greeting, HarkCommand};
use hark_server::http::{self, Phase, Readiness};
use hark_server::metrics::Metrics;
use hark_server::tls::{Fingerprint, Reloader};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::failure::Failure;
use crate::serve::Greeter;
use crate::signals::{Asked, Signals};

/// A server that takes connections.
pub(crate) struct Running {
    node: Node,
    readiness: Arc<Readiness>,
    pages: Option<OperatorPages>,
    /// Counts the requests to read the certificates again; dropping it ends the task that does.
    reload: watch::Sender<u64>,
}

impl Running {
    /// Opens the doors and says so.
    pub(crate) fn new(
        node: Node,
        readiness: Arc<Readiness>,
        pages: Option<OperatorPages>,
        reloader: Reloader,
        greeter: Greeter,
    ) -> Running {
        let fingerprint = reloader.fingerprint();
        let (reload, asked) = watch::channel(0);
        // Owned by its channel: it ends with `reload`, and the runtime ends what is left.
        tokio::spawn(reloader.run(Arc::new(SystemClock), asked));
        let running = Running { node, readiness, pages, reload };
        running.readiness.enter(Phase::Ready);
        running.greet(&greeter, fingerprint);
        info!(listen = %running.node.local_addr(), %fingerprint, "ready");
        running
    }

    /// Serves until a signal asks for the end, or until the store can not be trusted any more.
    pub(crate) async fn until_end(self, signals: &mut Signals, grace: Duration) -> Result<ExitCode, Failure> {
        loop {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                reason = self.node.failed() => return Err(store_failed(&reason)),
            };
            match asked {
                Asked::Reload => self.reload.send_modify(|asked| *asked += 1),
                Asked::Interrupt | Asked::Terminate => break,
            }
        }
        self.end(signals, grace).await
    }

    async fn end(self, signals: &mut Signals, grace: Duration) -> Result<ExitCode, Failure> {
        info!(grace_ms = grace.as_millis() as u64, "closing: clients are told; a second signal ends at once");
        self.readiness.enter(Phase::Draining);
        let report = tokio::select! {
            report = self.node.shutdown(grace) => report,
            again = signals.next_end() => {
                warn!("ended at once by a second signal");
                std::process::exit(again.impatient_exit_code());
            }
        };
        info!(?report, "closed");
        if let Some(pages) = self.pages {
            pages.stop().await;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn greet(&self, greeter: &Greeter, fingerprint: Fingerprint) {
        let greeting = Greeting {
            folder: &greeter.folder,
            access: &greeter.access,
            listen: self.node.local_addr(),
            metrics: self.pages.as_ref().map(|pages| pages.address),
            fingerprint,
            authority: greeter.authority.clone(),
            hark: hark_command(),
        };
        // A reader that has gone away is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "{greeting}").and_then(|()| out.flush());
    }
}

/// `/metrics` and its neighbours.
pub(crate) struct OperatorPages {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl OperatorPages {
    /// Serves them on `listener`.
    pub(crate) fn serve(
        listener: TcpListener,
        readiness: &Arc<Readiness>,
        metrics: &Arc<Metrics>,
    ) -> Result<OperatorPages, Failure> {
        let address = listener.local_addr();
        let address =
            address.map_err(|error| Failure::new(format!("metrics_listen has no address: {error}")))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async { drop(stopped.await) };
        let serving = tokio::spawn(http::serve(listener, Arc::clone(readiness), Arc::clone(metrics), until));
        Ok(OperatorPages { address, stop, serving })
    }

    async fn stop(self) {
        drop(self.stop);
        match timeout(PAGES_GRACE, self.serving).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => error!(%error, "the metrics listener failed"),
            Ok(Err(error)) => error!(%error, "the metrics listener did not end well"),
            // Somebody keeps a request open; the process's end closes it.
            Err(_) => {}
        }
    }
}

fn hark_command() -> HarkCommand {
    let harkd = std::env::current_exe().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let search_path: Vec<_> = std::env::split_paths(&path).collect();
    HarkCommand::beside(&harkd, &search_path, &std::env::current_dir().unwrap_or_default())
}

fn store_failed(reason: &impl std::fmt::Display) -> Failure {
    Failure::new(format!(
        "{reason}; what was acknowledged is on the disk, so check the disk and start again: the store \
             recovers by itself"
    ))
}

/// Requests for metrics take milliseconds.
const PAGES_GRACE: Duration = Duration::from_secs(1);

//! The operator's listener: `/healthz`, `/readyz` and `/metrics` over plain HTTP, without a login.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Whether the server takes connections, as `/readyz` tells it to a load balancer.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It is not there yet.
    Starting = 0,
    /// It takes connections.
    Ready = 1,
    /// It is going away.
    Draining = 2,
}

impl Readiness {
    /// The server is in `phase` from now on.
    pub fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    /// What the server is doing.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }
}

/// Serves on `listener` until `stop` resolves and the requests begun until then are answered.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(readiness, metrics)).with_graceful_shutdown(stop).await
}

fn router(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> (StatusCode, &'static str) {
    match readiness.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn render(State(metrics): State<Arc<Metrics>>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.render()).into_response()
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    async fn answer(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_three_pages_say_how_the_server_is_and_the_listener_stops() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, metrics) = (Arc::<Readiness>::default(), Arc::new(Metrics::new()));
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async { drop(stopped.await) };
        let serving = tokio::spawn(serve(listener, Arc::clone(&readiness), Arc::clone(&metrics), until));

        assert!(answer(address, "/readyz").await.starts_with("HTTP/1.1 503 "));
        readiness.enter(Phase::Ready);
        assert!(answer(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
        readiness.enter(Phase::Draining);
        let draining = answer(address, "/readyz").await;
        assert!(draining.starts_with("HTTP/1.1 503 ") && draining.ends_with("draining\n"), "{draining}");
        assert!(answer(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        assert!(answer(address, "/secrets").await.starts_with("HTTP/1.1 404 "));
        metrics.connection_accepted();
        let page = answer(address, "/metrics").await;
        assert!(
            page.contains("application/openmetrics-text") && page.contains("\nhark_connections 1\n"),
            "{page}"
        );

        stop.send(()).unwrap();
        serving.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}

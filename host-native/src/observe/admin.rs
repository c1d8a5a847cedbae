//! What administrators and their machines ask: metrics, whether the process lives, whether it is ready.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use orlop_core::Registry;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::observe::Observer;
use crate::storage::{Host, RequestBody, ambient};

/// How often everything is counted.
const CENSUS: Duration = Duration::from_secs(300);

/// How many connections there may be at once. For one more, the oldest is closed: whoever asks whether the process lives
/// does not wait for those who ask nothing.
const CONNECTIONS: usize = 64;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `/metrics`, `/livez` and `/readyz` for ever. A connection on which nothing is asked for `rest` is closed.
pub async fn serve(listener: TcpListener, host: Arc<Host>, observer: Arc<Observer>, rest: Duration) {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || ready(&host).await))
        .route("/metrics", get(async move || counted(&observer)));
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(rest);
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let served = http.serve_connection(TokioIo::new(stream), service.clone());
                let serving = tokio::spawn(async move {
                    if let Err(error) = served.await {
                        tracing::debug!("admin connection of {address}: {error}");
                    }
                });
                open.push_back(serving.abort_handle());
            }
            Err(error) => {
                tracing::warn!("a connection to the admin address cannot be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ready is who can read its records and has room to write.
async fn ready(host: &Host) -> Response {
    match host.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")).into_response(),
    }
}

fn counted(observer: &Observer) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], observer.metrics.text()).into_response()
}

/// Counts what is stored, now and then, for ever. `in_force` is asked for the registry each time.
pub async fn count_regularly(
    in_force: impl Fn() -> Registry + Send + 'static,
    host: Arc<Host>,
    observer: Arc<Observer>,
) {
    loop {
        let step = in_force().census(ambient());
        match host.run(step, &mut RequestBody::empty()).await {
            Ok(census) => observer.metrics.counted(&census),
            Err(fault) => tracing::warn!("what is stored cannot be counted: {fault}"),
        }
        tokio::time::sleep(CENSUS).await;
    }
}

//! What administrators and their machines ask: metrics, whether the process lives, whether it is ready.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::observe::metrics::metrics;
use crate::request::answer::ambient;
use crate::request::live::Current;
use crate::storage::body::RequestBody;
use crate::storage::run::Host;

/// How often everything is counted.
const CENSUS: Duration = Duration::from_secs(300);

/// Serves `/metrics`, `/livez` and `/readyz` for ever.
pub async fn serve(listener: TcpListener, host: Arc<Host>) {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || ready(&host).await))
        .route("/metrics", get(async || counted()));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("the admin address is served no more: {error}");
    }
}

/// Ready is who can read its records and has room to write.
async fn ready(host: &Host) -> Response {
    match host.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")).into_response(),
    }
}

fn counted() -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics().text()).into_response()
}

/// Counts what is stored, now and then, for ever.
pub async fn count_regularly(current: Current, host: Arc<Host>) {
    loop {
        let step = current.get().registry.census(ambient());
        match host.run(step, &mut RequestBody::empty()).await {
            Ok(census) => metrics().counted(&census),
            Err(fault) => tracing::warn!("what is stored cannot be counted: {fault}"),
        }
        tokio::time::sleep(CENSUS).await;
    }
}

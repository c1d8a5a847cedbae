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
use orlop_core::{Census, Claim, Fault, Job, Registry};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::observe::Observer;
use crate::storage::{Host, Leased, RequestBody, ambient};

/// How often everything is counted: by one of all hosts of a storage.
pub(crate) const CENSUS: Duration = Duration::from_secs(300);

/// How often it is looked whether that was done, or is to be done: to look costs one record.
const LOOK: Duration = Duration::from_secs(30);

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

/// Shows what is stored, as it is counted now and then, for ever. `in_force` is asked for the registry each time.
pub async fn count_regularly(
    in_force: impl Fn() -> Registry + Send + 'static,
    host: Arc<Host>,
    observer: Arc<Observer>,
) {
    loop {
        match census(&in_force(), &host, CENSUS).await {
            Ok(census) => census.iter().for_each(|census| observer.metrics.counted(census)),
            Err(fault) => tracing::warn!("what is stored cannot be counted: {fault}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How much there is, as a host of this storage has counted it within that time, be it this one now. `None` while another
/// one counts.
pub(crate) async fn census(registry: &Registry, host: &Host, within: Duration) -> Result<Option<Census>, Fault> {
    let known = host.run(registry.counted(within, ambient()), &mut RequestBody::empty()).await?;
    if let Some(known) = known {
        return Ok(Some(known.census));
    }
    let work = async {
        let census = host.run(registry.census(ambient()), &mut RequestBody::empty()).await?;
        host.run(registry.keep_census(census, ambient()), &mut RequestBody::empty()).await?;
        Ok(census)
    };
    match host.under_lease(registry, Job::Census, Claim::Free, work).await? {
        Leased::Done(counted) => counted.map(Some),
        Leased::Held | Leased::Lost => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;
    use orlop_core::http::{Headers, Method, Request};
    use orlop_core::{Acquired, Config};
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::settings::Options;

    async fn push(registry: &Registry, host: &Host, bytes: &'static str) {
        let target = format!("/v2/a/blobs/uploads/?digest={}", Algorithm::Sha256.digest(bytes.as_bytes()));
        let length = Some(bytes.len() as u64);
        let request = Request { method: Method::Post, target, headers: Headers::default(), length, base: None };
        let mut body = RequestBody::new(bytes, Duration::from_secs(10));
        assert_eq!(host.run(registry.call(request, ambient()), &mut body).await.status, 201);
    }

    #[tokio::test]
    async fn one_host_counts_and_the_others_take_what_it_has_counted() {
        let directory = TempDir::new().unwrap();
        let host = Host::open(directory.path(), &Options::default()).unwrap();
        let registry = Registry::new(Config::default());
        let within = Duration::from_secs(60);
        let blobs = async |within| census(&registry, &host, within).await.unwrap().map(|census| census.blobs);
        push(&registry, &host, "one").await;
        let claim = registry.acquire(Job::Census, Uuid::from_u128(1), Claim::Now, ambient());
        let acquired = host.run(claim, &mut RequestBody::empty()).await.unwrap();
        assert_eq!(blobs(within).await, None, "another host counts");
        let Acquired::Ours(lease) = acquired else { panic!("it was to be had") };
        host.run(registry.release(lease, ambient()), &mut RequestBody::empty()).await.unwrap();
        assert_eq!(blobs(within).await, Some(1));
        push(&registry, &host, "two").await;
        assert_eq!(blobs(within).await, Some(1), "that was counted a moment ago");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(blobs(Duration::from_millis(10)).await, Some(2));
    }
}

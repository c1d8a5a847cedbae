//! Traces: one span for each request, sent to an OpenTelemetry collector by OTLP over HTTP. Off unless asked for.
//!
//! Spans are named and described by OpenTelemetry's conventions for HTTP servers. They wait in memory for a few seconds
//! and go out together; what no collector takes is lost, and a registry without a collector works all the same.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::http::HeaderMap;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::observe::outgoing::{self, Http};

/// How long a collector may take, and how long spans are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of a collector's answer is read.
const ANSWER: usize = 64 << 10;

/// Spans that go out.
pub struct Traces(SdkTracerProvider);

/// Whether spans can be sent to that address.
///
/// # Errors
///
/// When it is no URL of HTTP.
pub fn check(endpoint: &str) -> Result<(), String> {
    let url = endpoint.parse::<hyper::Uri>().ok();
    let sound = url.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    sound.then_some(()).ok_or_else(|| {
        format!("otlp-endpoint = {endpoint} is not a URL: write it like http://127.0.0.1:4318/v1/traces")
    })
}

/// Begins to send spans to `endpoint`, such as `http://127.0.0.1:4318/v1/traces`; within a runtime. Header
/// fields that a collector wants stand in `OTEL_EXPORTER_OTLP_HEADERS`, as for other programs.
///
/// # Errors
///
/// When that is no URL.
pub fn start(endpoint: &str) -> Result<Traces, String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender { http: outgoing::client(), runtime: Handle::current() })
        .with_endpoint(endpoint)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| {
            format!("otlp-endpoint {endpoint:?}: {error}; write it like http://127.0.0.1:4318/v1/traces")
        })?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("orlop").with_attribute(version).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    Ok(Traces(provider))
}

impl Traces {
    /// What makes spans that go out here.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer("orlop")
    }

    /// Sends what still waits, for some seconds at most.
    pub async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(PATIENCE)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!("the last spans did not reach the collector: {error}");
        }
    }
}

/// A request that is traced.
pub(crate) struct Trace {
    tracer: SdkTracer,
    began: SystemTime,
    /// The span at the proxy that it belongs to.
    parent: Context,
}

/// What is known of a request at its end.
pub(crate) struct Told<'a> {
    pub(crate) operation: &'static str,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) id: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) agent: &'a str,
    pub(crate) repository: &'a str,
    pub(crate) status: u16,
    pub(crate) sent: u64,
    pub(crate) whole: bool,
}

impl Trace {
    /// Nothing unless spans are sent. `from_proxy` says that `traceparent` is to be believed.
    pub(crate) fn begin(tracer: Option<&SdkTracer>, headers: &HeaderMap, from_proxy: bool) -> Option<Self> {
        let tracer = tracer?.clone();
        let parent = match from_proxy {
            true => TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers)),
            false => Context::new(),
        };
        Some(Self { tracer, began: SystemTime::now(), parent })
    }

    /// The request has ended.
    pub(crate) fn end(self, told: &Told<'_>) {
        let (path, query) = told.target.split_once('?').unwrap_or((told.target, ""));
        let mut attributes = vec![
            KeyValue::new("http.request.method", told.method.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(told.status)),
            KeyValue::new("http.response.body.size", i64::try_from(told.sent).unwrap_or(i64::MAX)),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("client.address", told.client.to_string()),
            KeyValue::new("user_agent.original", told.agent.to_owned()),
            KeyValue::new("orlop.operation", told.operation),
            KeyValue::new("orlop.request_id", told.id.to_owned()),
        ];
        if !query.is_empty() {
            attributes.push(KeyValue::new("url.query", query.to_owned()));
        }
        if !told.repository.is_empty() {
            attributes.push(KeyValue::new("orlop.repository", told.repository.to_owned()));
        }
        if !told.whole {
            attributes.push(KeyValue::new("error.type", "aborted"));
        }
        let builder = self.tracer.span_builder(format!("{} {}", told.method, told.operation));
        let builder = builder.with_kind(SpanKind::Server).with_start_time(self.began).with_attributes(attributes);
        let mut span = self.tracer.build_with_context(builder, &self.parent);
        if told.status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// Sends spans from the exporter's thread by a client of the server's runtime.
#[derive(Debug)]
struct Sender {
    http: Http,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let asked = self.http.request(request.map(Full::new));
        let sending = async {
            let (head, body) = asked.await?.into_parts();
            Ok::<_, HttpError>(Response::from_parts(head, Limited::new(body, ANSWER).collect().await?.to_bytes()))
        };
        self.runtime.spawn(async { tokio::time::timeout(PATIENCE, sending).await? }).await?
    }
}

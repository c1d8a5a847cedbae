//! Connections to other registries, and to whatever else Orlop asks by HTTP: encrypted, with bounds on time.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::body::Body;
use super::failure::{Failure, repeated};
use super::reach::{Connector, Forbidden, Reach};

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// How long an answer may take to begin, with the connection and what is sent before it. A registry that has
/// received the last byte of a large blob may still have to hash it.
const ANSWERING: Duration = Duration::from_secs(120);

/// How long a connection is kept that is not used.
const IDLE: Duration = Duration::from_secs(60);

/// Which program asks.
pub(super) const USER_AGENT: &str = concat!("orlop/", env!("CARGO_PKG_VERSION"));

/// Whom connections of Orlop to others trust: the authorities that the system trusts, and those of a file.
///
/// # Errors
///
/// When the file cannot be read or has something else than certificates; the text does not name the file.
pub(crate) fn authorities(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
    }
    Ok(roots)
}

/// What connections of Orlop to others are encrypted with, when they trust those.
pub(crate) fn trusting(authorities: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.expect("ring has versions").with_root_certificates(authorities).with_no_client_auth()
}

/// Sends requests of one registry, and keeps its connections.
pub(super) struct Transport {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
}

impl Transport {
    pub(super) fn new(tls: ClientConfig, reach: Reach) -> Self {
        let connector = Connector::new(reach, CONNECTING);
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(https);
        Self { client }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// [`Failure::Unreachable`], or [`Failure::Unusable`] when the host has an address that is not connected to.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, Failure> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        match timeout(ANSWERING, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response.map(|body| Body::new(host, body))),
            Ok(Err(error)) => Err(failure(&host, &error)),
            Err(_) => Err(Failure::Unreachable(format!("{host} does not answer within {} s", ANSWERING.as_secs()))),
        }
    }
}

/// Why there was no answer.
fn failure(host: &str, error: &hyper_util::client::legacy::Error) -> Failure {
    let mut deepest: &(dyn Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
        if let Some(forbidden) = deepest.downcast_ref::<Forbidden>() {
            return Failure::Unusable(forbidden.to_string());
        }
    }
    let what = if error.is_connect() { "cannot be reached" } else { "broke off before it answered" };
    Failure::Unreachable(format!("{host} {what}: {}", repeated(&deepest.to_string())))
}

//! Requests of our own, to those who want to be told something.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Asks by http and https, and keeps connections.
pub(crate) type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that believes the authorities that the system believes.
pub(crate) fn client() -> Http {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider.clone());
    let builder = builder.unwrap_or_else(|error| {
        tracing::warn!(
            "the system has no certificates of authorities, so nobody can be told anything by https: {error}"
        );
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map(|builder| builder.with_root_certificates(rustls::RootCertStore::empty()));
        HttpsConnectorBuilder::new()
            .with_tls_config(config.map(|b| b.with_no_client_auth()).expect("ring has versions"))
    });
    Client::builder(TokioExecutor::new()).build(builder.https_or_http().enable_http1().build())
}

//! Requests of our own, to those who want to be told something.

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::remote::{authorities, trusting};

/// Asks by http and https, and keeps connections.
pub(crate) type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts the authorities that the system trusts.
pub(crate) fn client() -> Http {
    let authorities = authorities(None).unwrap_or_else(|_| rustls::RootCertStore::empty());
    if authorities.is_empty() {
        tracing::warn!("the system has no certificates of authorities, so nobody can be told anything by https");
    }
    let builder = HttpsConnectorBuilder::new().with_tls_config(trusting(authorities));
    Client::builder(TokioExecutor::new()).build(builder.https_or_http().enable_http1().build())
}

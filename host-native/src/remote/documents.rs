//! Small documents of hosts that are no registries: what identity providers say of themselves.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::time::timeout;
use url::{Url, form_urlencoded};

use super::failure::{Failure, repeated};
use super::login::{Login, bearer};
use super::reach::{Reach, plain};
use super::token::host_of;
use super::transport::{self, Transport, authorities, trusting};

/// How long a document may take to be there.
const WITHIN: Duration = Duration::from_secs(10);

/// How much of an answer that is an error is read.
const ERROR: usize = 16 << 10;

/// Documents of a host, and of others that it names.
pub(crate) struct Documents {
    transport: Transport,
    encrypted: bool,
}

impl Documents {
    /// Those of a host, and of others that it names: of `hosts` with any address, of others with public ones.
    ///
    /// # Errors
    ///
    /// When the certificates in `ca` cannot be read, which are trusted beside those of the system.
    pub(crate) fn open(of: &Url, hosts: &[String], ca: Option<&Path>) -> Result<Self, String> {
        let authorities = authorities(ca).map_err(|error| {
            format!("the certificates in {} cannot be used: {error}", ca.unwrap_or("".as_ref()).display())
        })?;
        let own = (of.host_str().unwrap_or_default(), of.port_or_known_default());
        let named = hosts.iter().map(|host| host_of(host)).chain([own]);
        let reach = Reach::new(named, false).called("hosts");
        Ok(Self { transport: Transport::new(trusting(authorities), reach), encrypted: of.scheme() == "https" })
    }

    /// Whether a host is that of `of`, or one of these.
    pub(crate) fn is_of(url: &Url, of: &Url, hosts: &[String]) -> bool {
        let is = |(host, port): (&str, Option<u16>)| {
            url.host_str().is_some_and(|found| plain(found) == plain(host))
                && (port.is_none() || port == url.port_or_known_default())
        };
        url.origin() == of.origin() || hosts.iter().any(|host| is(host_of(host)))
    }

    /// The document at an address, of `most` bytes at most. `token` is sent along, so it is to be kept from others.
    ///
    /// # Errors
    ///
    /// What keeps it from coming, or that the answer is another than 200. Redirects are not followed.
    pub(crate) async fn get(&self, url: &Url, token: Option<&str>, most: usize) -> Result<Bytes, Failure> {
        let mut headers = HeaderMap::new();
        headers.extend(token.and_then(bearer).map(|value| (AUTHORIZATION, value)));
        self.ask(Method::GET, url, headers, Bytes::new(), most).await
    }

    /// What the host answers to a form, of `most` bytes at most. `login` is a user and a password that are sent along.
    ///
    /// # Errors
    ///
    /// As for a document. What the answer says of an error may repeat what was sent.
    pub(crate) async fn post(
        &self,
        url: &Url,
        login: Option<(String, String)>,
        form: &[(&str, &str)],
        most: usize,
    ) -> Result<Bytes, Failure> {
        let mut headers = HeaderMap::new();
        let login = login.map(|(username, password)| Login::Basic { username, password });
        headers.extend(login.and_then(|login| login.basic()).map(|value| (AUTHORIZATION, value)));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.ask(Method::POST, url, headers, body.into(), most).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
        most: usize,
    ) -> Result<Bytes, Failure> {
        let host = url.host_str().unwrap_or_default();
        if self.encrypted && url.scheme() != "https" {
            return Err(Failure::Unusable(format!(
                "{host} would be asked without encryption: {}",
                repeated(url.path())
            )));
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(transport::USER_AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(fields) = request.headers_mut() {
            *fields = headers;
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Failure::Unusable(format!("{host} cannot be asked: {error}")))?;
        let answered = async {
            let response = self.transport.send(request).await?;
            let status = response.status().as_u16();
            if status == 200 {
                return response.into_body().collect_within(most).await;
            }
            let told = response.into_body().collect_within(ERROR).await.unwrap_or_default();
            let told = repeated(&String::from_utf8_lossy(&told));
            let colon = if told.is_empty() { "" } else { ": " };
            let told = format!("{host} answers {status} to {}{colon}{told}", repeated(url.path()));
            Err(if status >= 500 || status == 429 { Failure::Unreachable(told) } else { Failure::Unusable(told) })
        };
        let late = |_| Failure::Unreachable(format!("{host} does not answer within {} s", WITHIN.as_secs()));
        timeout(WITHIN, answered).await.map_err(late)?
    }
}

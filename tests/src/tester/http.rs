//! A registry at an address: HTTP/1.1, plain or over TLS.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody};
use hyper::body::Frame;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::exchange::{Answer, Exchange, Payload, Target, Unreachable};
use super::login::{Credentials, Login};

/// How long to wait for an answer: longer than any registry needs for the few megabytes that checks push.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an unused connection is kept: shorter than any registry keeps it.
const IDLE: Duration = Duration::from_secs(2);

/// How much of a body is sent before waiting for an answer that may come early, and how long.
const HESITATE_AFTER: usize = 64 << 10;
const HESITATION: Duration = Duration::from_secs(2);

/// How often a request is sent again that came at a bad time (429), and how long to wait if the answer does not say.
const TURNS_AWAY: usize = 5;
const TURN_AWAY: u64 = 1;

/// The largest answer that is read.
const LARGEST: usize = 64 << 20;

type Error = Box<dyn std::error::Error + Send + Sync>;
type RequestBody = UnsyncBoxBody<Bytes, Error>;

/// A registry at an address.
pub struct Http {
    base: String,
    client: Client<HttpsConnector<HttpConnector>, RequestBody>,
    login: RefCell<Login>,
    once: bool,
}

/// How to reach it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who is asking.
    pub credentials: Option<Credentials>,
    /// A file of certificates (PEM) to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// Trusts every certificate.
    pub insecure: bool,
    /// Sends nothing a second time when a connection breaks: whether the first was done matters.
    pub once: bool,
}

impl Http {
    /// A registry at that address, such as `http://127.0.0.1:5000`.
    ///
    /// # Errors
    ///
    /// When the address is none, or the certificates cannot be read: a sentence that says so.
    pub fn new(address: &str, options: &Options) -> Result<Self, String> {
        let base = base(address)?;
        let tls = tls(options)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
        Ok(Self { base, client, login: RefCell::new(Login::new(options.credentials.clone())), once: options.once })
    }

    /// Scheme, host and port, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request with no login but the header fields it has.
    async fn plain(&self, exchange: &Exchange, authorization: Option<&str>) -> Result<Answer, Unreachable> {
        self.with_body(exchange, authorization, body(&exchange.body)).await
    }

    async fn with_body(
        &self,
        exchange: &Exchange,
        authorization: Option<&str>,
        body: RequestBody,
    ) -> Result<Answer, Unreachable> {
        let url = match is_url(&exchange.target) {
            true => exchange.target.clone(),
            false => format!("{}{}", self.base, exchange.target),
        };
        let mut request = hyper::Request::builder().method(exchange.method.as_str()).uri(&url);
        request = request.header("User-Agent", concat!("orlop-conformance/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &exchange.headers {
            request = request.header(name, value);
        }
        if let (Some(authorization), true) = (authorization, is_below(&self.base, &url)) {
            request = request.header("Authorization", authorization);
        }
        match &exchange.body {
            Payload::Cut(_, promised) => request = request.header("Content-Length", *promised),
            // hyper says nothing of a body without bytes; RFC 9110, 8.6, wants it said, and some registries need it.
            Payload::Whole(bytes) if bytes.is_empty() => request = request.header("Content-Length", 0),
            _ => {}
        }
        let request = request.body(body).map_err(|error| Unreachable::Dropped(error.to_string()))?;
        let cut = matches!(exchange.body, Payload::Cut(..));
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| match error.is_connect() {
                true if reason(&error).contains("certificate") => Unreachable::Untrusted(reason(&error)),
                true => Unreachable::Gone(reason(&error)),
                false => Unreachable::Dropped(reason(&error)),
            })?;
            let (head, body) = response.into_parts();
            let status = head.status.as_u16();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|_| {
                let promised = head.headers.get("content-length").and_then(|length| length.to_str().ok());
                let promised = promised.map(|length| format!(" with Content-Length: {length}")).unwrap_or_default();
                Unreachable::Dropped(format!("in the middle of an answer {status}{promised}"))
            })?;
            let field = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let headers = head.headers.iter().map(field).collect();
            Ok(Answer { status, headers, body: body.to_bytes() })
        };
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Err(Unreachable::Dropped(_))) if cut => {
                Ok(Answer { status: 0, headers: Vec::new(), body: Bytes::new() })
            }
            Ok(answered) => answered,
            Err(_) => Err(Unreachable::Dropped(format!("no answer within {} seconds", PATIENCE.as_secs()))),
        }
    }

    /// Sends a request; once more if the connection broke and doing it twice is the same as once.
    async fn attempt(&self, exchange: &Exchange, authorization: Option<&str>) -> Result<Answer, Unreachable> {
        let answered = self.plain(exchange, authorization).await;
        if self.once {
            return answered;
        }
        let repeatable = matches!(exchange.method.as_str(), "GET" | "HEAD") || exchange.target.contains("/manifests/");
        if let Ok(answer) = &answered
            && answer.status == 429
        {
            return self.come_again(exchange, authorization, answer.clone()).await;
        }
        match (answered, &exchange.body) {
            (Err(Unreachable::Dropped(_)), Payload::Whole(bytes)) if repeatable && bytes.len() > HESITATE_AFTER => {
                // It may have answered before it had read everything, and closed: then the answer is lost while the
                // rest is still being sent.
                let exchange = exchange.clone().header("Content-Length", bytes.len().to_string());
                self.with_body(&exchange, authorization, hesitant(bytes.clone())).await
            }
            (Err(Unreachable::Dropped(_)), _) if repeatable => self.plain(exchange, authorization).await,
            (answered, _) => answered,
        }
    }
}

impl Http {
    /// Waits as long as a registry that has too much to do says, and asks again.
    async fn come_again(
        &self,
        exchange: &Exchange,
        authorization: Option<&str>,
        mut answer: Answer,
    ) -> Result<Answer, Unreachable> {
        for _ in 0..TURNS_AWAY {
            let wait = answer.header("Retry-After").and_then(|seconds| seconds.parse().ok()).unwrap_or(TURN_AWAY);
            tokio::time::sleep(Duration::from_secs(wait.min(30))).await;
            answer = self.plain(exchange, authorization).await?;
            if answer.status != 429 {
                break;
            }
        }
        Ok(answer)
    }
}

/// Several addresses of one registry: each request goes to the next.
pub struct Spread {
    targets: Vec<Http>,
    next: Cell<usize>,
}

impl Spread {
    /// One registry at all of these, of which there is at least one.
    pub fn new(targets: Vec<Http>) -> Self {
        Self { targets, next: Cell::new(0) }
    }

    fn next(&self) -> &Http {
        let next = self.next.get();
        self.next.set((next + 1) % self.targets.len());
        &self.targets[next]
    }
}

impl Target for Spread {
    async fn send(&self, exchange: Exchange) -> Result<Answer, Unreachable> {
        self.next().send(exchange).await
    }

    async fn send_unknown(&self, exchange: Exchange) -> Result<Answer, Unreachable> {
        self.next().send_unknown(exchange).await
    }
}

impl Target for Http {
    async fn send(&self, exchange: Exchange) -> Result<Answer, Unreachable> {
        if is_url(&exchange.target) && !is_below(&self.base, &exchange.target) {
            // Where the registry has sent us, nobody is told who we are, whatever is asked there.
            return self.attempt(&exchange, None).await;
        }
        let known = self.login.borrow().known(&exchange);
        let answer = self.attempt(&exchange, known.as_deref()).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let next = self.login.borrow().challenged(&exchange, &answer)?;
        let authorization = match next {
            super::login::Next::Basic(authorization) => authorization,
            super::login::Next::Token(request, basic) => {
                let request = match basic {
                    Some(basic) => request.header("Authorization", basic),
                    None => request,
                };
                let granted = self.plain(&request, None).await?;
                self.login.borrow().token(&granted)?
            }
        };
        let answer = self.attempt(&exchange, Some(&authorization)).await?;
        if answer.status == 401 {
            return Err(self.login.borrow().refused(&answer));
        }
        self.login.borrow_mut().learn(&exchange, authorization);
        Ok(answer)
    }

    async fn send_unknown(&self, exchange: Exchange) -> Result<Answer, Unreachable> {
        self.attempt(&exchange, None).await
    }
}

fn body(payload: &Payload) -> RequestBody {
    let never = |error: Infallible| match error {};
    match payload {
        Payload::None => Empty::new().map_err(never).boxed_unsync(),
        Payload::Whole(bytes) => Full::new(bytes.clone()).map_err(never).boxed_unsync(),
        Payload::Chunked(bytes) => {
            // Two chunks, so that it is more than one.
            let half = bytes.len() / 2;
            let pieces = [bytes.slice(..half), bytes.slice(half..)].into_iter().filter(|piece| !piece.is_empty());
            let frames: Vec<Result<_, Error>> = pieces.map(|piece| Ok(Frame::data(piece))).collect();
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        }
        Payload::Cut(bytes, _) => {
            let frames: [Result<_, Error>; 2] = [Ok(Frame::data(bytes.clone())), Err("cut off on purpose".into())];
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        }
    }
}

/// The bytes, but for a pause after the first of them.
fn hesitant(bytes: Bytes) -> RequestBody {
    let frames = stream::unfold(0, move |step| {
        let bytes = bytes.clone();
        async move {
            let frame: Result<_, Error> = match step {
                0 => Ok(Frame::data(bytes.slice(..HESITATE_AFTER))),
                1 => {
                    tokio::time::sleep(HESITATION).await;
                    Ok(Frame::data(bytes.slice(HESITATE_AFTER..)))
                }
                _ => return None,
            };
            Some((frame, step + 1))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The innermost reason of an error: that says most.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn is_url(target: &str) -> bool {
    target.starts_with("http://") || target.starts_with("https://")
}

/// Whether a URL is of the registry at `base`: of the same scheme, host and port.
fn is_below(base: &str, url: &str) -> bool {
    url.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

fn base(address: &str) -> Result<String, String> {
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let uri: hyper::Uri =
        with_scheme.parse().map_err(|_| format!("{address} is no address; write it like http://127.0.0.1:5000"))?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{address} is no address of HTTP; write it like http://127.0.0.1:5000"));
    };
    if !matches!(uri.path(), "/" | "" | "/v2" | "/v2/") {
        return Err(format!(
            "{address} has a path; a registry is at the root of its host: give {scheme}://{authority}"
        ));
    }
    Ok(format!("{scheme}://{authority}"))
}

fn tls(options: &Options) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    if options.insecure {
        let verifier = Arc::new(Trusting(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &options.ca {
        let told = |error: &dyn std::fmt::Display| format!("the certificates in {}: {error}", path.display());
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| told(&error))?;
        for certificate in certificates {
            roots.add(certificate.map_err(|error| told(&error))?).map_err(|error| told(&error))?;
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes any certificate: the user said so.
#[derive(Debug)]
struct Trusting(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_host_is_told_no_credentials() {
        let base = base("http://registry.example:50").unwrap();
        for own in ["http://registry.example:50", "http://registry.example:50/v2/", "http://registry.example:50?a"] {
            assert!(is_below(&base, own), "{own}");
        }
        for other in [
            "http://registry.example:5000/v2/",
            "https://registry.example:50/v2/",
            "http://registry.example:50.example/",
            "http://registry.example:50@store.example/",
            "http://store.example/v2/",
        ] {
            assert!(!is_below(&base, other), "{other}");
        }
    }
}

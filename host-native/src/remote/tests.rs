//! A registry of another, and whoever it leads to, as servers that answer by a script and keep what they were asked.

mod pushes;
mod tokens;
mod transfers;
mod trust;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{Answer, Failure, Get, Remote};
use crate::settings::{LoginSetting, RemoteSetting};

/// This machine under another address.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A request as it came.
#[derive(Clone, Debug)]
struct Asked {
    /// Method and target.
    line: String,
    /// `Authorization`, empty without.
    authorization: String,
    headers: hyper::HeaderMap,
    body: Bytes,
}

/// A server that answers by a script.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Script = dyn Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync;

impl Scripted {
    async fn start(script: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        Self::at(IpAddr::V4(Ipv4Addr::LOCALHOST), None, script).await
    }

    async fn at(
        address: IpAddr,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (keep, script): (_, Arc<Script>) = (asked.clone(), Arc::new(script));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (keep, script, tls) = (keep.clone(), script.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, keep.clone(), script.clone()));
                    match tls {
                        None => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok(),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => {
                                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
                            }
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { url, asked, serving }
    }

    /// The requests so far.
    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Their methods and targets.
    fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    fn port(&self) -> &str {
        self.url.rsplit_once(':').unwrap().1
    }

    /// With all that it leads to on this machine allowed, as if that had public addresses.
    fn setting(&self) -> RemoteSetting {
        RemoteSetting { allow_private: true, ..RemoteSetting::new(&self.url).unwrap() }
    }

    fn remote(&self) -> Remote {
        Remote::open(&self.setting()).unwrap()
    }

    /// The registry with a login of `ci`.
    fn with_login(&self) -> RemoteSetting {
        let login = LoginSetting::Password { username: "ci".into(), password: "secret".into() };
        RemoteSetting { login, ..self.setting() }
    }
}

async fn answer(
    request: Request<Incoming>,
    keep: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Script>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked {
        line: format!("{} {}", head.method, head.uri),
        authorization: authorization.unwrap_or_default(),
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    };
    keep.lock().unwrap().push(asked.clone());
    Ok(script(&asked))
}

/// An answer with these header fields.
fn says(status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

fn redirect(to: &str) -> Response<Full<Bytes>> {
    says(307, &[("location", to)], "")
}

fn challenged(challenge: &str) -> Response<Full<Bytes>> {
    says(401, &[("www-authenticate", challenge)], "")
}

/// A blob of the repository `a`.
async fn blob(remote: &Remote) -> Result<Answer, Failure> {
    remote.get(Get { repository: "a", resource: "blobs/x", ..Get::default() }).await
}

/// The same, read to its end as text.
async fn text(remote: &Remote) -> Result<String, Failure> {
    let body = blob(remote).await?.body.collect_within(1 << 20).await?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// The same, which fails, in words.
async fn fails(remote: &Remote) -> String {
    match blob(remote).await {
        Ok(answer) => panic!("it answers {}", answer.status),
        Err(Failure::Unusable(reason)) => reason,
        Err(other) => format!("{other:?}"),
    }
}

/// A certificate for this machine, and what trusts it.
fn certificate(directory: &std::path::Path) -> (TlsAcceptor, std::path::PathBuf) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".into(), "127.0.0.2".into()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let ca = directory.join("ca.pem");
    std::fs::write(&ca, cert.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca)
}

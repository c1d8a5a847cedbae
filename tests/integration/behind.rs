//! The upstreams of the contract suite, as servers: each answers as a registry in memory does, and breaks off or refuses
//! as that is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use orlop::settings::{LoginSetting, RemoteSetting};
use orlop_core::memory::{RequestBody, Upstream};
use orlop_core::mirror::{Unmet, UpstreamName};
use orlop_core::{Body as Bytes, Headers, Method};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long a connection stays open after its last bytes before it is cut, so that they arrive.
const LAST_BYTES: Duration = Duration::from_millis(30);

/// Registries that are served until this is dropped.
pub(crate) struct Behind {
    /// How a native host reaches them.
    pub(crate) upstreams: Arc<orlop::Upstreams>,
    servers: Vec<JoinHandle<()>>,
}

impl Behind {
    /// Serves these registries.
    pub(crate) async fn serve(registries: Vec<(UpstreamName, Upstream)>) -> Self {
        let (mut settings, mut servers) = (BTreeMap::new(), Vec::new());
        for (name, registry) in registries {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("an address"));
            let setting = RemoteSetting {
                url: url.parse().expect("a URL"),
                login: LoginSetting::Anonymous,
                realms: Vec::new(),
                redirects: Vec::new(),
                allow_private: true,
                ca: None,
            };
            settings.insert(name, setting);
            let router = Router::new().fallback(answer).with_state(Arc::new(Mutex::new(registry)));
            servers.push(tokio::spawn(async move {
                let _ = axum::serve(listener, router).await;
            }));
        }
        let upstreams = orlop::Upstreams::open(settings, &orlop::Upstreams::default()).expect("no file is named");
        Self { upstreams: Arc::new(upstreams), servers }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

async fn answer(State(registry): State<Arc<Mutex<Upstream>>>, request: Request) -> Result<Response, Infallible> {
    let mut registry = registry.lock().expect("no test panicked in it");
    let refusal = registry.unmet.as_ref().map(|unmet| match unmet {
        Unmet::Absent => (404, None),
        Unmet::Denied => (403, None),
        Unmet::Paused(time) => (429, Some(time.as_secs().to_string())),
        Unmet::Failed(_) => (500, None),
    });
    if let Some((status, retry_after)) = refusal {
        let response = Response::builder().status(status);
        let response = retry_after.into_iter().fold(response, |response, time| response.header("Retry-After", time));
        return Ok(response.body(Body::empty()).expect("a response"));
    }
    let headers: Headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let asked = orlop_core::Request {
        method: Method::named(request.method().as_str()),
        target: request.uri().to_string(),
        headers,
        length: None,
        base: None,
    };
    let Upstream { registry: core, memory, breaks, .. } = &mut *registry;
    let answered = memory.call(core, &asked, RequestBody::default());
    let mut response = Response::builder().status(answered.status);
    for (name, value) in &answered.headers {
        response = response.header(*name, value.as_ref());
    }
    let bytes = match answered.body {
        Bytes::Bytes(bytes) => bytes,
        _ => Default::default(),
    };
    let is_blob = asked.method == Method::Get && asked.target.contains("/blobs/");
    let breaks = if is_blob { breaks.pop() } else { None };
    let body = match breaks {
        Some(after) if after < bytes.len() => {
            let begin = stream::iter([Ok(bytes.slice(..after))]);
            let end = stream::once(async {
                tokio::time::sleep(LAST_BYTES).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            Body::from_stream(begin.chain(end))
        }
        _ => Body::from(bytes),
    };
    Ok(response.body(body).expect("a response"))
}

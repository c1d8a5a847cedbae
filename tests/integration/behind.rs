//! The upstreams of the contract suite, as servers: each answers as a registry in memory does, and breaks off or refuses
//! as that is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use orlop::settings::{LoginSetting, RemoteSetting};
use orlop_conformance::contract::{Served, served};
use orlop_core::memory::Upstream;
use orlop_core::mirror::UpstreamName;
use orlop_core::{Body as Bytes, Headers, Method};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long a connection stays open after its last bytes before it is cut, so that they arrive.
const LAST_BYTES: Duration = Duration::from_millis(30);

/// Registries that are served until this is dropped.
pub(crate) struct Behind {
    /// How a native host reaches them.
    pub(crate) upstreams: Arc<orlop::Upstreams>,
    /// The registries, in the order in which they were given.
    pub(crate) registries: Vec<Arc<Mutex<Upstream>>>,
    settings: BTreeMap<UpstreamName, RemoteSetting>,
    servers: Vec<JoinHandle<()>>,
}

impl Behind {
    /// Serves these registries.
    pub(crate) async fn serve(registries: Vec<(UpstreamName, Upstream)>) -> Self {
        let (mut settings, mut shared, mut servers) = (BTreeMap::new(), Vec::new(), Vec::new());
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
            let registry = Arc::new(Mutex::new(registry));
            shared.push(registry.clone());
            let router = Router::new().fallback(answer).with_state(registry);
            servers.push(tokio::spawn(async move {
                let _ = axum::serve(listener, router).await;
            }));
        }
        let mut behind = Self { upstreams: Arc::default(), registries: shared, settings, servers };
        behind.forget();
        behind
    }

    /// Has the host know nothing of the upstreams any more: neither what they did not have, nor for how long they are to be
    /// left alone.
    pub(crate) fn forget(&mut self) {
        let upstreams = orlop::Upstreams::open(self.settings.clone(), &orlop::Upstreams::default());
        self.upstreams = Arc::new(upstreams.expect("no file is named"));
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

async fn answer(State(registry): State<Arc<Mutex<Upstream>>>, request: Request) -> Result<Response, Infallible> {
    let headers: Headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let asked = orlop_core::Request {
        method: Method::named(request.method().as_str()),
        target: request.uri().to_string(),
        headers,
        length: None,
        base: None,
    };
    let Served { response: answered, breaks } = {
        let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
        served(&mut registry, &asked)
    };
    let mut response = Response::builder().status(answered.status);
    for (name, value) in &answered.headers {
        response = response.header(*name, value.as_ref());
    }
    let bytes = match answered.body {
        Bytes::Bytes(bytes) => bytes,
        _ => Default::default(),
    };
    let body = match breaks {
        Some(after) => {
            let begin = stream::iter([Ok(bytes.slice(..after))]);
            let end = stream::once(async {
                tokio::time::sleep(LAST_BYTES).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            Body::from_stream(begin.chain(end))
        }
        None => Body::from(bytes),
    };
    Ok(response.body(body).expect("a response"))
}

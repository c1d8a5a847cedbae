//! Other registries, spoken to as a client: logging in, redirects, pauses, bounds on time and memory.
//!
//! A [`Remote`] is one registry as it is configured. What it is trusted with is decided here and nowhere else:
//! passwords and tokens go to the registry and to token servers that it may name, redirects lead to public addresses and
//! never out of encryption.

mod body;
mod catalog;
mod challenge;
mod documents;
mod exchange;
mod failure;
mod list;
mod login;
mod pace;
mod pause;
mod push;
mod reach;
mod retry;
#[cfg(test)]
mod tests;
mod token;
mod transport;

use std::fmt;
use std::sync::{Arc, Mutex};

use hyper::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE, VIA,
};
use hyper::{Method, StatusCode};
use orlop_core::digest::Digest;
use url::Url;

pub use self::body::{Body, LEAST_RATE};
use self::challenge::Challenge;
pub(crate) use self::documents::Documents;
use self::exchange::{Arrived, Outgoing};
pub use self::failure::Failure;
pub use self::list::{Descriptor, Platform, referrers_tag};
pub use self::login::Login;
use self::login::{Fingerprints, Source};
pub use self::pace::Pace;
use self::pause::Pause;
pub use self::push::{Opened, Upload};
use self::reach::Reach;
pub use self::retry::retried;
use self::token::Tokens;
use self::transport::Transport;
pub(crate) use self::transport::{authorities, trusting};
use crate::settings::RemoteSetting;

/// Another registry, as it is configured. Clones share its connections, its tokens and its pause.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    /// Scheme, host and port.
    url: Url,
    /// Hosts that may be asked for tokens.
    realms: Vec<String>,
    login: Source,
    fingerprints: Fingerprints,
    /// Leads to the registry, and to wherever it redirects.
    transport: Transport,
    /// Leads to token servers.
    to_realms: Transport,
    tokens: Tokens,
    /// What the registry has asked for last: it is answered before it is asked for again.
    challenge: Mutex<Option<Challenge>>,
    pause: Pause,
    /// How fast it is asked.
    pace: Arc<Pace>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.0.url)
    }
}

/// Whoever is told the status of each answer that comes on the way to the last one, redirects and challenges among them; no
/// status where no answer comes.
pub type Seen = Arc<dyn Fn(Option<StatusCode>) + Send + Sync>;

/// What is read of a repository.
#[derive(Clone, Default)]
pub struct Get<'a> {
    /// The repository, as the registry calls it.
    pub repository: &'a str,
    /// What stands behind its name: `manifests/TAG`, `manifests/DIGEST`, `blobs/DIGEST`, `referrers/DIGEST`, with a query
    /// where there is one.
    pub resource: &'a str,
    /// Whether the head of the answer is enough: HEAD.
    pub head: bool,
    /// Media types for `Accept`.
    pub accept: &'a [&'a str],
    /// Which bytes; all without.
    pub range: Option<Slice>,
    /// The `Via` of the request: through which registries it has come.
    pub via: Option<&'a str>,
    /// The login of whoever asks, in the place of the configured one.
    pub login: Option<Login>,
    /// Whoever is told of the answers of the registry.
    pub seen: Option<Seen>,
}

/// A run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The offset of the first byte.
    pub first: u64,
    /// The offset of the last byte; without it, all to the end.
    pub last: Option<u64>,
}

/// An answer with what was asked for.
pub struct Answer {
    /// 200, or 206 for a slice. A registry may answer a slice with 200 and everything.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Docker-Content-Digest`, if it is a digest.
    pub digest: Option<Digest>,
    /// `Content-Length` in bytes: of what was asked for after a HEAD, otherwise of the body.
    pub length: Option<u64>,
    /// Of a 206: which bytes are coming, both offsets inclusive, and how many there are in all, if that is told.
    pub content_range: Option<(u64, u64, Option<u64>)>,
    /// All header fields.
    pub headers: HeaderMap,
    /// The bytes as they come. Nothing has been verified of them but the length.
    pub body: Body,
}

impl Remote {
    /// A registry as it is configured.
    ///
    /// # Errors
    ///
    /// When the password file or the certificates cannot be read: with which, and why.
    pub fn open(setting: &RemoteSetting) -> Result<Self, String> {
        Self::open_paced(setting, Arc::default())
    }

    /// The same, which is asked no faster than that. Several may share a pace.
    ///
    /// # Errors
    ///
    /// As without.
    pub fn open_paced(setting: &RemoteSetting, pace: Arc<Pace>) -> Result<Self, String> {
        let authorities = trusted(setting)?;
        let realms = token::realms(&setting.url, &setting.realms);
        let host = setting.url.host_str().unwrap_or_default();
        let storage = setting.redirects.iter().map(|host| token::host_of(host));
        let own = (host, setting.url.port_or_known_default());
        let reach = Reach::new(storage.chain([own]), setting.allow_private);
        // Which port of a realm is asked is decided before.
        let to_realms = Reach::new(realms.iter().map(|realm| token::host_of(realm)).chain([(host, None)]), false);
        let tls = trusting(authorities);
        Ok(Self(Arc::new(Inner {
            url: setting.url.clone(),
            realms,
            login: Source::open(&setting.login)?,
            fingerprints: Fingerprints::new()?,
            transport: Transport::new(tls.clone(), reach),
            to_realms: Transport::new(tls, to_realms),
            tokens: Tokens::default(),
            challenge: Mutex::default(),
            pause: Pause::default(),
            pace,
        })))
    }

    /// Goes on looking at the password file, which may change. Within a runtime.
    pub fn watch(&self) {
        self.0.login.watch();
    }

    /// The registry's host, with its port if it is not the usual one.
    pub fn host(&self) -> String {
        self.0.host()
    }

    /// Reads something of a repository.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for every answer but 200 and 206.
    pub async fn get(&self, get: Get<'_>) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        for media_type in get.accept {
            headers.append(ACCEPT, self.0.field(media_type)?);
        }
        if let Some(Slice { first, last }) = get.range {
            let last = last.map(|last| last.to_string()).unwrap_or_default();
            headers.insert(RANGE, self.0.field(&format!("bytes={first}-{last}"))?);
        }
        if let Some(via) = get.via {
            headers.insert(VIA, self.0.field(via)?);
        }
        let method = if get.head { Method::HEAD } else { Method::GET };
        let mut request = self.0.request(method, get.repository, get.resource, "pull")?;
        (request.headers, request.login, request.seen) = (headers, get.login, get.seen);
        let arrived = self.0.exchange(&request).await?;
        match arrived.response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => self.0.answer(arrived, get.range),
            _ => Err(self.0.failed(arrived).await),
        }
    }
}

impl Inner {
    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// A request for something of a repository, which needs to be allowed these actions there.
    fn request(&self, method: Method, repository: &str, resource: &str, actions: &str) -> Result<Outgoing, Failure> {
        let path = format!("/v2/{repository}/{resource}");
        let url = self.url.join(&path).ok();
        // What a URL makes another path of, such as `..`, is not what the request was allowed for.
        let same = |url: &Url| path.split('?').next() == Some(url.path()) && url.fragment().is_none();
        let wrong = || Failure::Unusable(format!("{} is no path of a registry", failure::repeated(&path)));
        let url = url.filter(same).ok_or_else(wrong)?;
        let scopes = vec![format!("repository:{repository}:{actions}")];
        Ok(Outgoing {
            method,
            url,
            headers: HeaderMap::new(),
            body: Default::default(),
            scopes,
            login: None,
            seen: None,
        })
    }

    fn field(&self, text: &str) -> Result<HeaderValue, Failure> {
        let wrong = |_| Failure::Unusable(format!("`{}` cannot be sent in a header field", failure::repeated(text)));
        HeaderValue::from_str(text).map_err(wrong)
    }

    fn answer(&self, arrived: Arrived, asked: Option<Slice>) -> Result<Answer, Failure> {
        let wrong =
            |reason: &str| Failure::Unusable(format!("{} answers {} {reason}", self.host(), path_of(&arrived.url)));
        let text = |name: HeaderName| arrived.response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = arrived.response.status();
        let mut content_range = None;
        if status == StatusCode::PARTIAL_CONTENT {
            let found = text(CONTENT_RANGE).and_then(self::content_range);
            let fits = |(first, last, _): &(u64, u64, _)| {
                asked.is_some_and(|asked| *first == asked.first && asked.last.is_none_or(|asked| *last <= asked))
            };
            content_range = Some(found.filter(fits).ok_or_else(|| wrong("with other bytes than were asked for"))?);
        }
        Ok(Answer {
            status: status.as_u16(),
            content_type: text(CONTENT_TYPE).map(str::to_owned),
            digest: text(HeaderName::from_static("docker-content-digest")).and_then(|text| text.parse().ok()),
            length: text(CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            content_range,
            headers: arrived.response.headers().clone(),
            body: arrived.response.into_body(),
        })
    }
}

/// The authorities that a setting trusts.
fn trusted(setting: &RemoteSetting) -> Result<rustls::RootCertStore, String> {
    authorities(setting.ca.as_deref()).map_err(|error| {
        let path = setting.ca.as_deref().unwrap_or("".as_ref());
        format!("the certificates in {} cannot be used: {error}", path.display())
    })
}

/// Reads `Content-Range` (RFC 9110, 14.4): the first and the last offset, and the length of the whole.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let whole = if whole == "*" { None } else { Some(whole.parse().ok()?) };
    (first <= last && whole.is_none_or(|whole| last < whole)).then_some((first, last, whole))
}

/// The path of a URL, without its query.
fn path_of(url: &Url) -> String {
    failure::repeated(url.path())
}

//! Mirrors: repositories that stand in front of those of another registry, the upstream.
//!
//! What a client asks of such a repository and is not here is fetched, kept, and answered from here from then on. This
//! file says what an operator decides and in which words a call speaks with an upstream; `flows/mirror/` is what becomes
//! of it. How HTTP is spoken, with logins, redirects and timeouts, is the host's.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::ambient::Ambient;
use crate::config::Config;
use crate::digest::Digest;
use crate::effect::Step;
use crate::flows::Call;
use crate::flows::mirror::Route;
use crate::http::Method;
use crate::name::{Repository, Tag};
use crate::pattern::Pattern;
use crate::platform::PlatformPattern;
use crate::step::start;
use crate::{Caller, Error};

/// Repositories of another registry, under a prefix of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// What the names of the repositories begin with here, such as `hub/`; nothing is all names. Of several mirrors, the
    /// one with the longest prefix of a name has it.
    pub prefix: String,
    /// Where the repositories are, in the order in which they are asked.
    pub upstreams: Vec<Upstream>,
    /// The names by which a client of containerd may mean this mirror: what `?ns=` says, such as `docker.io`.
    pub namespaces: Vec<String>,
    /// For how long a tag is answered from here without asking whether it has moved.
    pub fresh: Freshness,
    /// Tags that never move: once they are here, the upstream is not asked.
    pub fixed: Vec<Pattern>,
    /// For how long a tag is answered from here when the upstream cannot be asked, counted from when it last could.
    pub stale: Duration,
    /// For how long a tag is answered from here that the upstream says it does not have any more.
    pub gone: Duration,
    /// Repositories, by their name at the upstream, that are mirrored; none is all of them.
    pub only: Vec<Pattern>,
    /// Repositories, by their name at the upstream, that are not.
    pub deny: Vec<Pattern>,
    /// The largest blob that is fetched, in bytes.
    pub blob_limit: u64,
    /// Whether upstreams are asked with the login of the caller, and what they do not give to it is not answered. What they
    /// have said of a login a moment ago counts, as [`Inquire`](crate::effect::Inquire) says.
    pub verify: bool,
    /// The platforms for which images of an index are fetched; none is all.
    pub platforms: Vec<PlatformPattern>,
    /// Whether its repositories are ordinary ones for now. Clients still reach them as those of this mirror.
    pub offline: bool,
    /// How many bytes its repositories may have before the blobs go that were not pulled for longest; `None` is any.
    pub max: Option<u64>,
}

impl Default for Mirror {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            prefix: String::new(),
            upstreams: Vec::new(),
            namespaces: Vec::new(),
            fresh: Freshness::For(Duration::from_secs(60)),
            fixed: Vec::new(),
            stale: 30 * DAY,
            gone: DAY / 24,
            only: Vec::new(),
            deny: Vec::new(),
            blob_limit: u64::MAX,
            verify: false,
            platforms: Vec::new(),
            offline: false,
            max: None,
        }
    }
}

/// Another registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What the host knows it by, such as its URL.
    pub name: UpstreamName,
    /// What a name of one component gets in front of it, as Docker Hub's `library/`. Nothing, elsewhere.
    pub official: String,
}

/// What a host knows an upstream by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamName(Arc<str>);

impl UpstreamName {
    /// That name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When the upstream is asked where a tag is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// When it was last asked longer ago than this.
    For(Duration),
    /// Never, once the tag is here.
    Never,
}

impl Mirror {
    /// The name at an upstream of a repository that is called so here; `None` when it is not of this mirror.
    fn remote(&self, upstream: &Upstream, name: &Repository) -> Option<Repository> {
        let rest = name.as_str().strip_prefix(self.prefix.as_str())?;
        let plain = !rest.contains('/') && !upstream.official.is_empty();
        let official = plain.then(|| format!("{}{rest}", upstream.official));
        official.as_deref().unwrap_or(rest).parse().ok()
    }

    /// The upstreams that may be asked for a repository that is called so here, and what it is called there.
    pub(crate) fn upstreams_of(&self, name: &Repository) -> impl Iterator<Item = (&Upstream, Repository)> {
        let named = |upstream| Some((upstream, self.remote(upstream, name)?));
        self.upstreams.iter().filter_map(named).filter(|(_, remote)| self.takes(remote))
    }

    /// Whether a repository of that name at the upstream may be mirrored.
    fn takes(&self, remote: &Repository) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(remote));
        (self.only.is_empty() || any(&self.only)) && !any(&self.deny)
    }

    /// Whether the upstream need not be asked where a tag is that was last looked at that long ago.
    pub(crate) fn is_fresh(&self, tag: &Tag, checked: Duration) -> bool {
        let for_now = match self.fresh {
            Freshness::For(time) => checked < time,
            Freshness::Never => true,
        };
        for_now || self.fixed.iter().any(|pattern| pattern.matches_tag(tag))
    }
}

impl Config {
    /// The mirror that a repository belongs to, if it does and is not an ordinary one for now.
    pub(crate) fn mirror_of(&self, name: &Repository) -> Option<&Mirror> {
        let mirrors = self.mirrors.iter().filter(|mirror| name.as_str().starts_with(mirror.prefix.as_str()));
        mirrors.max_by_key(|mirror| mirror.prefix.len()).filter(|mirror| !mirror.offline)
    }
}

/// The login of a caller, for an upstream that is asked with it: the value of `Authorization`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Login(Arc<str>);

impl Login {
    /// The value of the header field as it was sent.
    pub fn new(authorization: &str) -> Self {
        Self(authorization.into())
    }

    /// The value of the header field.
    pub fn authorization(&self) -> &str {
        &self.0
    }
}

/// It stays out of logs.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// As whom an upstream is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum As {
    /// With the login that the mirror is configured with, if it is with one.
    Mirror,
    /// With the login of the caller, and without one when the caller has none.
    Caller(Option<Login>),
}

/// What is asked of an upstream: with `method`, for `/v2/<repository>/<resource>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Which upstream.
    pub upstream: UpstreamName,
    /// [`Method::Get`] or [`Method::Head`].
    pub method: Method,
    /// The repository, by its name there.
    pub repository: Repository,
    /// What of it, such as `manifests/latest`.
    pub resource: String,
    /// The media types to be accepted; with none, anything.
    pub accept: Vec<&'static str>,
    /// As whom.
    pub login: As,
    /// The registries that the request of the client has gone through, this one included: the value of `Via`
    /// (RFC 9110, section 7.6.3).
    pub via: String,
}

/// A blob at an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which upstream.
    pub upstream: UpstreamName,
    /// The repository, by its name there.
    pub repository: Repository,
    /// The blob.
    pub digest: Digest,
    /// As whom.
    pub login: As,
    /// As in [`Wanted`].
    pub via: String,
}

/// What an upstream has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `Content-Type`.
    pub media_type: Option<String>,
    /// `Docker-Content-Digest`, if it is one.
    pub digest: Option<Digest>,
    /// `Content-Length`, in bytes.
    pub length: Option<u64>,
    /// The resource with the next page of a list, by `Link`, if it is one of the same repository.
    pub next: Option<String>,
    /// The body; empty for `HEAD`.
    pub body: Bytes,
}

/// Why an upstream has not answered what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// It does not have it (404).
    Absent,
    /// It has refused it (401 or 403), though it took the login of the mirror, if there is one.
    Denied,
    /// It has been asked too often (429), and is to be left alone for so long.
    Paused(Duration),
    /// It cannot be reached, has refused the login, or has answered with what is no answer: with the reason, for whoever
    /// runs the registry.
    Failed(String),
}

impl Unmet {
    /// Whether the upstream has said that it has no such thing, at least for the mirror.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Absent | Self::Denied)
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the upstream does not have it"),
            Self::Denied => f.write_str("the upstream denies it"),
            Self::Paused(time) => write!(f, "the upstream is not to be asked for {} seconds", time.as_secs()),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// The fetch of one blob, a call of its own that every call waits for that wants the blob: whoever leaves does not end
/// it.
#[derive(Clone)]
pub struct Fetching {
    config: Arc<Config>,
    /// The repository, by its name here.
    pub repository: Repository,
    /// The blob.
    pub digest: Digest,
    login: As,
    via: String,
}

impl Fetching {
    pub(crate) fn new(config: Arc<Config>, route: &Route<'_>, digest: Digest) -> Self {
        Self { config, repository: route.name.clone(), digest, login: route.login.clone(), via: route.via.clone() }
    }

    pub(crate) fn unasked(config: Arc<Config>, repository: Repository, digest: Digest) -> Self {
        let via = format!("1.1 {}", config.via);
        Self { config, repository, digest, login: As::Mirror, via }
    }

    /// As whom it asks upstreams.
    pub fn login(&self) -> &As {
        &self.login
    }

    /// The registries that the request it was begun for has come through: as in [`Wanted`].
    pub fn via(&self) -> &str {
        &self.via
    }

    /// Begins it. It is over when the repository has the blob, or when it is known why not.
    pub fn begin(self, ambient: Ambient) -> Step<Result<(), Error>> {
        let Self { config, repository, digest, login, via } = self;
        start(|io| async move {
            let call = Call { io, config, ambient, caller: Arc::new(Caller::anybody()) };
            call.fetch_blob(&repository, &digest, login, via).await
        })
    }
}

impl PartialEq for Fetching {
    /// Whether it is the same blob of the same repository: one fetch serves all who want that.
    fn eq(&self, other: &Self) -> bool {
        self.repository == other.repository && self.digest == other.digest
    }
}

impl Eq for Fetching {}

impl fmt::Debug for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// How the fetch of a blob stands for a call that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Its bytes come, so many in all: they can be sent on as they do ([`Body::Coming`](crate::Body::Coming)).
    Coming(u64),
    /// It is over, with this result.
    Over(Result<(), Error>),
}

/// What an upstream gives of a blob that was asked for in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// The size of the blob in bytes, as the upstream says.
    pub size: u64,
}

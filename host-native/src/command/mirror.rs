//! `orlop mirror`: what an administrator does with mirrors beside serving them.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use futures_util::StreamExt;
use orlop_core::config::Pattern;
use orlop_core::name::Repository;
use orlop_core::registry::LetGo;
use orlop_core::target::Reference;
use orlop_core::{Error, Fault, Mirrored, Registry, Response};
use serde::Serialize;

use crate::request::live::Current;
use crate::settings::mirror::Prefetch;
use crate::settings::{Images, Which};
use crate::storage::{Host, Upstreams, ambient};

/// How many blobs are fetched at once.
const AT_ONCE: usize = 4;

/// How many failures are printed one by one.
const PRINTED: usize = 20;

/// How often it is looked whether it is time to fetch something.
const LOOK: Duration = Duration::from_secs(1);

/// How soon it is tried again when not all could be fetched.
const AGAIN: Duration = Duration::from_secs(300);

/// Fetches for ever what the settings say is to be fetched regularly, for the first time when the server starts. Of several
/// servers each does; what one has fetched the others find there.
pub async fn fetch_regularly(current: Current, host: Arc<Host>) {
    let mut due: HashMap<Prefetch, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let wanted = current.prefetches();
        due.retain(|prefetch, _| wanted.contains(prefetch));
        for prefetch in wanted {
            if due.get(&prefetch).is_some_and(|due| Instant::now() < *due) {
                continue;
            }
            let pause = match Mirrors::from(current.mirrors()).fetch(&host, &prefetch.images).await {
                Ok(told) => {
                    tracing::info!("fetched regularly: {told}");
                    prefetch.every
                }
                Err(reason) => {
                    tracing::warn!("not all is fetched that is to be: {reason}");
                    prefetch.every.min(AGAIN)
                }
            };
            due.insert(prefetch, Instant::now() + pause);
        }
    }
}

/// What is asked of the mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What they have.
    List {
        /// As JSON.
        json: bool,
    },
    /// To fetch these images.
    Fetch(Images),
    /// To let go of these.
    Evict(Images),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { json } => write!(f, "mirror list{}", if *json { " json" } else { "" }),
            Self::Fetch(images) => write!(f, "mirror fetch {images}"),
            Self::Evict(images) => write!(f, "mirror evict {images}"),
        }
    }
}

/// What does it: the mirrors of a server, or of the settings that a command was given.
pub struct Mirrors {
    registry: Registry,
    upstreams: Arc<Upstreams>,
}

/// What was fetched.
#[derive(Debug, Serialize)]
pub(super) struct Fetched {
    /// How many images were seen to.
    images: usize,
    /// How many blobs came.
    blobs: usize,
    /// What failed, a line each.
    failures: Vec<String>,
}

impl Fetched {
    /// What failed, if something did.
    pub(super) fn failed(&self) -> Option<String> {
        let first = self.failures.first()?;
        Some(format!("{} failures, the first is: {first}", self.failures.len()))
    }
}

impl From<(Registry, Arc<Upstreams>)> for Mirrors {
    fn from((registry, upstreams): (Registry, Arc<Upstreams>)) -> Self {
        Self { registry, upstreams }
    }
}

impl Mirrors {
    /// Does what is asked, and says what came of it.
    ///
    /// # Errors
    ///
    /// With what could not be done.
    pub async fn perform(&self, host: &Host, asked: &Asked) -> Result<String, String> {
        match asked {
            Asked::List { json } => self.list(host, *json).await,
            Asked::Fetch(images) => self.fetch(host, images).await,
            Asked::Evict(images) => self.evict(host, images).await,
        }
    }

    /// What they have.
    ///
    /// # Errors
    ///
    /// When the records cannot be read.
    pub(super) async fn mirrored(&self, host: &Host) -> Result<Vec<Mirrored>, Fault> {
        host.run_asking(self.registry.mirrored(ambient()), &self.upstreams).await
    }

    async fn list(&self, host: &Host, json: bool) -> Result<String, String> {
        let mirrored = self.mirrored(host).await.map_err(|fault| fault.to_string())?;
        if json {
            return serde_json::to_string(&mirrored).map_err(|error| error.to_string());
        }
        let mut text = String::new();
        let mut line = |repository: &str, tags: u64, bytes: u64| {
            // A string takes everything.
            let _ = writeln!(text, "{repository}: {tags} tags, {}", ByteSize(bytes).display().iec());
        };
        let (mut tags, mut bytes) = (0, 0);
        for Mirrored { repository, tags: its, bytes: has, .. } in &mirrored {
            line(repository, *its, *has);
            (tags, bytes) = (tags + its, bytes + has);
        }
        line(&format!("{} repositories", mirrored.len()), tags, bytes);
        Ok(text.trim_end().into())
    }

    async fn fetch(&self, host: &Host, images: &Images) -> Result<String, String> {
        let Fetched { images: all, blobs, mut failures } = self.bring(host, images, |_, _| ()).await?;
        if failures.is_empty() {
            return Ok(format!("{images}: {all} images are here, {blobs} blobs were fetched"));
        }
        let rest = failures.len().saturating_sub(PRINTED);
        failures.truncate(PRINTED);
        let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
        Err(format!("{images}: {blobs} blobs were fetched, but not all: {}{rest}", failures.join("; ")))
    }

    /// Fetches them. `tell` is told after each how many of how many images were seen to.
    ///
    /// # Errors
    ///
    /// When it is not known what there is to fetch.
    pub(super) async fn bring(
        &self,
        host: &Host,
        images: &Images,
        tell: impl Fn(usize, usize),
    ) -> Result<Fetched, String> {
        let Images { repository, which } = images;
        let references = match which {
            Which::Digest(digest) => vec![Reference::Digest(*digest)],
            Which::Tags(tags) if !tags.contains('*') => {
                vec![Reference::Tag(tags.parse().map_err(|_| format!("`{tags}` is not a tag name"))?)]
            }
            Which::Tags(tags) => self.tags(host, repository, tags).await?,
            Which::All => self.tags(host, repository, "*").await?,
        };
        let (mut fetched, mut failures) = (0, Vec::new());
        for (place, reference) in references.iter().enumerate() {
            tell(place, references.len());
            let step = self.registry.bring(repository.clone(), reference.clone(), ambient());
            let missing = match host.run_asking(step, &self.upstreams).await {
                Ok(missing) => missing,
                Err(error) => {
                    failures.push(format!("{repository} {reference}: {}", reason(error)));
                    continue;
                }
            };
            let mut fetches = futures_util::stream::iter(missing)
                .map(|blob| async move {
                    let fetching = self.registry.fetching(repository.clone(), blob);
                    (blob, host.bring(fetching, &self.upstreams).await)
                })
                .buffer_unordered(AT_ONCE);
            while let Some((blob, done)) = fetches.next().await {
                match done {
                    Ok(()) => fetched += 1,
                    Err(error) => failures.push(format!("{repository}@{blob}: {}", reason(error))),
                }
            }
        }
        Ok(Fetched { images: references.len(), blobs: fetched, failures })
    }

    /// The tags of the upstream that match a pattern.
    async fn tags(&self, host: &Host, repository: &Repository, pattern: &str) -> Result<Vec<Reference>, String> {
        let step = self.registry.upstream_tags(repository.clone(), ambient());
        let tags = host.run_asking(step, &self.upstreams).await.map_err(reason)?;
        let pattern = Pattern::new(pattern);
        let tags: Vec<_> = tags.into_iter().filter(|tag| pattern.matches_tag(tag)).map(Reference::Tag).collect();
        match tags.is_empty() {
            true => Err(format!("the upstream has no such tag of {repository}")),
            false => Ok(tags),
        }
    }

    async fn evict(&self, host: &Host, images: &Images) -> Result<String, String> {
        let LetGo { gone, pushed } = self.let_go(host, images).await?;
        let stay = match pushed {
            0 => String::new(),
            _ => {
                format!("; {pushed} stay that were pushed here: the upstream may not have them, a DELETE removes them")
            }
        };
        Ok(format!("{images}: {gone} tags, manifests and blobs were removed{stay}"))
    }

    /// Lets go of them.
    ///
    /// # Errors
    ///
    /// With what could not be done.
    pub(super) async fn let_go(&self, host: &Host, images: &Images) -> Result<LetGo, String> {
        let Images { repository, which } = images;
        let reference = match which {
            Which::All => None,
            Which::Digest(digest) => Some(Reference::Digest(*digest)),
            Which::Tags(tags) => match tags.parse() {
                Ok(tag) => Some(Reference::Tag(tag)),
                Err(_) => return Err(format!("`{tags}` is a pattern: name one tag, a digest, or the repository")),
            },
        };
        let step = self.registry.let_go_of(repository.clone(), reference, ambient());
        host.run_asking(step, &self.upstreams).await.map_err(reason)
    }
}

/// What an administrator reads of an error.
fn reason(error: Error) -> String {
    match error {
        Error::UpstreamFailed(reason) => reason,
        Error::RepositoryUnknown(name) => format!("{name} is not mirrored, or the upstream does not have it"),
        Error::OtherPlatform(digest, platform) => {
            format!("{digest} is for {platform}, which is none of the `platforms` of the mirror")
        }
        Error::ManifestUnknown(_) | Error::BlobUnknown(_) => "the upstream does not have it".into(),
        other => {
            let response = Response::from(other);
            response.fault.map_or_else(|| format!("the answer would be {}", response.status), |fault| fault.to_string())
        }
    }
}

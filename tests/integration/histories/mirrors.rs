//! Random histories of a mirror, in memory and on disk: clients pull and take out, time passes, and at the upstream tags
//! move, go and come back, while it answers or does not. A model of what a mirror has says what each pull is answered, and
//! how often the upstream is asked for that (SPEC V2 to V6, V12, V16).

mod fronts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256};
use orlop_core::memory::{RequestBody, Upstream as Other, request};
use orlop_core::mirror::{Freshness, Mirror, Unmet, Upstream, UpstreamName};
use orlop_core::{Config, Registry, Request};
use proptest::prelude::*;

use self::fronts::{Front, InMemory, Native, UPSTREAM};

/// The repositories at the upstream, which all have the same blobs.
const REPOSITORIES: [&str; 2] = ["a", "b"];
const TAGS: [&str; 2] = ["v1", "v2"];
const MANIFESTS: usize = 3;
const GONE: Duration = Duration::from_secs(3600);
const STALE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How much time passes: less and more than a tag is fresh, than one stays that is gone, and, three times the last, than
/// one stays whose upstream fails.
const PASSES: [u64; 5] = [10, 50, 31 * 60, 61 * 60, 11 * 24 * 3600];

/// A step of a history. Numbers are those of repositories, tags and manifests.
#[derive(Clone, Debug)]
enum Event {
    /// At the upstream a tag is pushed, and what it names.
    Push { repository: usize, tag: usize, manifest: usize },
    /// At the upstream a tag goes.
    Untag { repository: usize, tag: usize },
    /// At the upstream a manifest goes, and each tag that names it.
    Remove { repository: usize, manifest: usize },
    /// From now on the upstream answers so, or as it should.
    Answers(Option<Unmet>),
    /// So many seconds pass.
    Pass(u64),
    /// A tag is pulled.
    PullTag { repository: usize, tag: usize },
    /// A manifest is pulled by its digest.
    Pull { repository: usize, manifest: usize },
    /// The layer of an image is pulled.
    PullLayer { repository: usize, manifest: usize },
    /// A tag is taken out of the mirror.
    EvictTag { repository: usize, tag: usize },
    /// A manifest is taken out of the mirror.
    Evict { repository: usize, manifest: usize },
    /// A layer is taken out of the mirror.
    EvictLayer { repository: usize, manifest: usize },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (repository, tag, manifest) = (0..REPOSITORIES.len(), 0..TAGS.len(), 0..MANIFESTS);
    let tagged = (repository.clone(), tag.clone());
    let named = (repository.clone(), manifest.clone());
    let unmet = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Unmet::Absent)),
        1 => Just(Some(Unmet::Denied)),
        1 => Just(Some(Unmet::Paused(Duration::from_secs(7)))),
        1 => Just(Some(Unmet::Failed("it is down".into()))),
    ];
    let event = prop_oneof![
        4 => (repository, tag, manifest).prop_map(|(repository, tag, manifest)| Event::Push { repository, tag, manifest }),
        1 => tagged.clone().prop_map(|(repository, tag)| Event::Untag { repository, tag }),
        1 => named.clone().prop_map(|(repository, manifest)| Event::Remove { repository, manifest }),
        3 => unmet.prop_map(Event::Answers),
        5 => (0..PASSES.len()).prop_map(|pass| Event::Pass(PASSES[pass])),
        8 => tagged.clone().prop_map(|(repository, tag)| Event::PullTag { repository, tag }),
        3 => named.clone().prop_map(|(repository, manifest)| Event::Pull { repository, manifest }),
        3 => named.clone().prop_map(|(repository, manifest)| Event::PullLayer { repository, manifest }),
        1 => tagged.prop_map(|(repository, tag)| Event::EvictTag { repository, tag }),
        1 => named.clone().prop_map(|(repository, manifest)| Event::Evict { repository, manifest }),
        1 => named.prop_map(|(repository, manifest)| Event::EvictLayer { repository, manifest }),
    ];
    prop::collection::vec(event, 1..60)
}

/// What is answered, and how often the upstream is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Says {
    status: u16,
    /// `X-Cache`, for what is served.
    cached: Option<&'static str>,
    /// The manifest or layer that is served, by number of manifest.
    manifest: Option<usize>,
    asks: usize,
}

impl Says {
    fn serves(cached: &'static str, manifest: usize, asks: usize) -> Self {
        Self { status: 200, cached: Some(cached), manifest: Some(manifest), asks }
    }

    fn refuses(status: u16, asks: usize) -> Self {
        Self { status, cached: None, manifest: None, asks }
    }
}

/// A tag as the mirror has it.
#[derive(Clone, Copy, Debug)]
struct Tagged {
    manifest: usize,
    /// When the upstream last said so.
    checked: Duration,
    /// Since when it says that there is none.
    gone: Option<Duration>,
}

/// The mirror and its upstream as values.
#[derive(Debug, Default)]
struct Model {
    now: Duration,
    fresh: Option<Duration>,
    unmet: Option<Unmet>,
    tags_there: BTreeMap<(usize, usize), usize>,
    manifests_there: BTreeSet<(usize, usize)>,
    tags: BTreeMap<(usize, usize), Tagged>,
    manifests: BTreeSet<(usize, usize)>,
    layers: BTreeSet<(usize, usize)>,
    /// Layers whose bytes are here, whether a repository holds them or not: nothing collects them.
    bytes: BTreeSet<usize>,
}

impl Model {
    /// What the upstream says of something that it has or has not: the status of an answer that depends on that.
    fn refused(&self, there: bool) -> Option<u16> {
        match &self.unmet {
            None if there => None,
            None | Some(Unmet::Absent | Unmet::Denied) => Some(404),
            Some(Unmet::Paused(_)) => Some(429),
            Some(Unmet::Failed(_)) => Some(502),
        }
    }

    fn pull_tag(&mut self, at: (usize, usize)) -> Says {
        let there = self.tags_there.get(&at).copied();
        let refused = self.refused(there.is_some());
        let Some(known) = self.tags.get(&at).copied() else {
            return match (refused, there) {
                (None, Some(manifest)) => self.bring(at, manifest, 1),
                (status, _) => Says::refuses(status.unwrap_or(404), 1),
            };
        };
        let age = self.now - known.checked;
        if known.gone.is_none() && self.fresh.is_none_or(|fresh| age < fresh) {
            return Says::serves("HIT", known.manifest, 0);
        }
        match (refused, there) {
            (None, Some(manifest)) if manifest == known.manifest => {
                self.tags.insert(at, Tagged { checked: self.now, gone: None, ..known });
                Says::serves("HIT", manifest, 1)
            }
            (None, Some(manifest)) => {
                let asks = if self.manifests.contains(&(at.0, manifest)) { 1 } else { 2 };
                self.bring(at, manifest, asks)
            }
            (Some(404) | None, _) => {
                let first = known.gone.unwrap_or(self.now);
                if self.now - first < GONE {
                    self.tags.insert(at, Tagged { gone: Some(first), ..known });
                    return Says::serves("STALE", known.manifest, 1);
                }
                self.tags.remove(&at);
                Says::refuses(404, 1)
            }
            (Some(_), _) if age < STALE => Says::serves("STALE", known.manifest, 1),
            (Some(status), _) => Says::refuses(status, 1),
        }
    }

    fn bring(&mut self, at: (usize, usize), manifest: usize, asks: usize) -> Says {
        self.manifests.insert((at.0, manifest));
        self.tags.insert(at, Tagged { manifest, checked: self.now, gone: None });
        Says::serves("MISS", manifest, asks)
    }

    fn pull(&mut self, at: (usize, usize)) -> Says {
        if self.manifests.contains(&at) {
            return Says::serves("HIT", at.1, 0);
        }
        match self.refused(self.manifests_there.contains(&at)) {
            Some(status) => Says::refuses(status, 1),
            None => {
                self.manifests.insert(at);
                Says::serves("MISS", at.1, 1)
            }
        }
    }

    fn pull_layer(&mut self, at: (usize, usize)) -> Says {
        if self.layers.contains(&at) {
            return Says::serves("HIT", at.1, 0);
        }
        if let Some(status) = self.refused(true) {
            return Says::refuses(status, 1);
        }
        // Bytes that are here are asked for by HEAD, and fetched when no repository holds them.
        let held = self.layers.iter().any(|(_, layer)| *layer == at.1);
        let asks = 1 + usize::from(self.bytes.contains(&at.1) && !held);
        self.layers.insert(at);
        self.bytes.insert(at.1);
        Says::serves("MISS", at.1, asks)
    }

    /// What a step changes and, if it is a request, what it is answered.
    fn play(&mut self, event: &Event) -> Option<Says> {
        let taken = |was_there: bool| Some(Says::refuses(if was_there { 202 } else { 404 }, 0));
        match *event {
            Event::Push { repository, tag, manifest } => {
                self.manifests_there.insert((repository, manifest));
                self.tags_there.insert((repository, tag), manifest);
            }
            Event::Untag { repository, tag } => drop(self.tags_there.remove(&(repository, tag))),
            Event::Remove { repository, manifest } => {
                self.manifests_there.remove(&(repository, manifest));
                self.tags_there.retain(|(at, _), named| (*at, *named) != (repository, manifest));
            }
            Event::Answers(ref unmet) => self.unmet.clone_from(unmet),
            Event::Pass(seconds) => self.now += Duration::from_secs(seconds),
            Event::PullTag { repository, tag } => return Some(self.pull_tag((repository, tag))),
            Event::Pull { repository, manifest } => return Some(self.pull((repository, manifest))),
            Event::PullLayer { repository, manifest } => return Some(self.pull_layer((repository, manifest))),
            Event::EvictTag { repository, tag } => return taken(self.tags.remove(&(repository, tag)).is_some()),
            Event::Evict { repository, manifest } => {
                self.tags.retain(|(at, _), known| (*at, known.manifest) != (repository, manifest));
                return taken(self.manifests.remove(&(repository, manifest)));
            }
            Event::EvictLayer { repository, manifest } => return taken(self.layers.remove(&(repository, manifest))),
        }
        None
    }
}

/// The mirror itself.
struct Trial {
    registry: Registry,
    front: Box<dyn Front>,
    manifests: [Manifest; MANIFESTS],
}

impl Trial {
    /// On the host that `open` makes in front of an upstream.
    fn new(fresh: Option<Duration>, open: fn(Other) -> Box<dyn Front>) -> Self {
        let mirror = Mirror {
            prefix: "hub/".into(),
            upstreams: vec![Upstream { name: UpstreamName::new(UPSTREAM), official: String::new() }],
            fresh: fresh.map_or(Freshness::Never, Freshness::For),
            stale: STALE,
            gone: GONE,
            ..Mirror::default()
        };
        let registry = Registry::new(Config { mirrors: vec![mirror], small_object: 0, ..Config::default() });
        let manifests = [
            Manifest::image(AMD64, "a layer"),
            Manifest::image(ARM64, "another layer"),
            Manifest::docker_image(AMD64, "the last layer"),
        ];
        let front = open(Other::new(Registry::new(Config { via: "upstream".into(), ..Config::default() })));
        let mut trial = Self { registry, front, manifests };
        for repository in REPOSITORIES {
            for blob in trial.manifests.iter().flat_map(|manifest| manifest.blobs().to_vec()).collect::<Vec<_>>() {
                let target = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(&blob));
                trial.there(request("POST", target), RequestBody::from(blob));
            }
        }
        trial
    }

    fn there(&mut self, request: Request, body: RequestBody) {
        let request = Request { length: Some(body.bytes.len() as u64), ..request };
        self.front.upstream(&mut |Other { registry, memory, .. }| drop(memory.call(registry, &request, body.clone())));
    }

    /// Does what a step says and, if it is a request, says what it was answered.
    fn play(&mut self, event: &Event) -> Option<Says> {
        let name = |repository: usize| REPOSITORIES[repository];
        let manifest_there = |repository, reference: &str| format!("/v2/{}/manifests/{reference}", name(repository));
        let here = |repository, rest: String| format!("/v2/hub/{}/{rest}", name(repository));
        match *event {
            Event::Push { repository, tag, manifest } => {
                let mut request = request("PUT", manifest_there(repository, TAGS[tag]));
                request.headers.push("Content-Type", self.manifests[manifest].media_type());
                let bytes = self.manifests[manifest].bytes();
                self.there(request, RequestBody::from(bytes));
            }
            Event::Untag { repository, tag } => {
                self.there(request("DELETE", manifest_there(repository, TAGS[tag])), RequestBody::default());
            }
            Event::Remove { repository, manifest } => {
                let target = manifest_there(repository, &self.manifests[manifest].digest());
                self.there(request("DELETE", target), RequestBody::default());
            }
            Event::Answers(ref unmet) => self.front.upstream(&mut |upstream| upstream.unmet.clone_from(unmet)),
            Event::Pass(seconds) => self.front.advance(Duration::from_secs(seconds)),
            Event::PullTag { repository, tag } => {
                return Some(self.send("GET", here(repository, format!("manifests/{}", TAGS[tag]))));
            }
            Event::Pull { repository, manifest } => {
                let target = here(repository, format!("manifests/{}", self.manifests[manifest].digest()));
                return Some(self.send("GET", target));
            }
            Event::PullLayer { repository, manifest } => {
                return Some(self.send("GET", here(repository, format!("blobs/{}", sha256(self.layer(manifest))))));
            }
            Event::EvictTag { repository, tag } => {
                return Some(self.send("DELETE", here(repository, format!("manifests/{}", TAGS[tag]))));
            }
            Event::Evict { repository, manifest } => {
                let target = here(repository, format!("manifests/{}", self.manifests[manifest].digest()));
                return Some(self.send("DELETE", target));
            }
            Event::EvictLayer { repository, manifest } => {
                return Some(self.send("DELETE", here(repository, format!("blobs/{}", sha256(self.layer(manifest))))));
            }
        }
        None
    }

    /// The layer of an image, which has its config first.
    fn layer(&self, manifest: usize) -> &[u8] {
        &self.manifests[manifest].blobs()[1]
    }

    fn send(&mut self, method: &str, target: String) -> Says {
        self.front.upstream(&mut |upstream| upstream.asked.clear());
        let (response, body) = self.front.call(&self.registry, &request(method, target));
        let cached = ["HIT", "MISS", "STALE"].into_iter().find(|cached| response.header("X-Cache") == Some(cached));
        let body = body.filter(|_| response.status == 200);
        let is = |manifest: &usize| {
            body.as_ref().is_some_and(|body| {
                *body == self.manifests[*manifest].bytes() || body.as_ref() == self.layer(*manifest)
            })
        };
        let manifest = (0..MANIFESTS).find(is);
        let mut asks = 0;
        self.front.upstream(&mut |upstream| asks = upstream.asked.len());
        Says { status: response.status, cached, manifest, asks }
    }
}

/// Plays a history on a host, each step of which must be answered as the model says.
fn history(fresh: usize, events: &[Event], open: fn(Other) -> Box<dyn Front>) -> Result<(), TestCaseError> {
    let fresh = [Some(Duration::from_secs(60)), Some(Duration::ZERO), None][fresh];
    let mut trial = Trial::new(fresh, open);
    let mut model = Model { fresh, ..Model::default() };
    for (number, event) in events.iter().enumerate() {
        let answered = trial.play(event);
        prop_assert_eq!(answered, model.play(event), "step {}: {:?}", number, event);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mirror_answers_as_the_model_says(fresh in 0..3usize, events in events()) {
        history(fresh, &events, InMemory::open)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: on_disk(), ..ProptestConfig::default() })]

    #[test]
    fn a_mirror_on_disk_answers_as_the_model_says(fresh in 0..3usize, events in events()) {
        history(fresh, &events, Native::open)?;
    }
}

/// How many histories are played on disk, unless the environment says otherwise.
fn on_disk() -> u32 {
    if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 16 }
}

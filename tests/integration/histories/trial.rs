//! One history, played on the hosts and on the model at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orlop_conformance::image::{Manifest, sha256, sha512};
use orlop_conformance::model::{Model, Says, Told};
use orlop_conformance::system::{self, Call, delete, get, head, patch, post, put, uploads};
use orlop_core::config::Pattern;
use orlop_core::memory::Memory;
use orlop_core::{Config, Response, Timestamp};

use super::hosts::{Administering, Host};
use super::operation::{Condition, Event, Failure, Flaw, Operation, Place, PutFlaw, Reference, Setting};
use super::world::{
    ARTIFACT_TYPES, ASSEMBLED, BLOB_LIMIT, BLOBS, CHUNKS, MANIFEST_LIMIT, MANIFESTS, REPOSITORIES, TAGS,
};

type Done = Result<(), String>;

/// How long objects stay in histories in which they do: longer than most things rest in one.
const KEPT: Duration = Duration::from_secs(10 * 24 * 3600);

/// For how long what is deleted can be undeleted: for some of the times that pass, and not for others.
const UNDELETE_WITHIN: Duration = Duration::from_secs(2 * 24 * 3600);

/// The core on its hosts, and what the model says.
pub(crate) struct Trial {
    hosts: Vec<Box<dyn Host>>,
    /// What may be the state: one, but for what a failure has left open and nobody can see yet, such as when a blob
    /// was pushed last. Whatever is seen later rules some out, and never all.
    models: Vec<Model>,
    /// Lends clock and numbers to all.
    surroundings: Memory,
    /// The sessions that were opened: repository and id.
    sessions: Vec<(usize, String)>,
    /// How long objects stay after their record is gone.
    keep: Duration,
    /// Whether what is deleted can be undeleted for a while.
    undeletes: bool,
    /// The objects that some record named when garbage was about to be collected, and when that was last so.
    named: BTreeMap<String, Timestamp>,
}

impl Trial {
    /// A history of empty registries on these hosts.
    pub(crate) fn new(setting: Setting, hosts: impl FnOnce(&Config) -> Vec<Box<dyn Host>>) -> Self {
        let config = Config {
            assemble: vec![Pattern::new(ASSEMBLED)],
            untagged_lifetime: setting.untagged_go.then_some(Duration::from_secs(3600)),
            undelete_within: setting.undeletes.then_some(UNDELETE_WITHIN),
            keep_erased: if setting.keeps { KEPT } else { Duration::ZERO },
            // The hosts count ages on clocks of their own: what nobody names goes at once.
            call_lifetime: Duration::ZERO,
            allow_sparse: setting.sparse,
            allow_delete: setting.delete,
            mount_from_anywhere: setting.mount_from_anywhere,
            blob_limit: BLOB_LIMIT,
            manifest_limit: MANIFEST_LIMIT,
            // Some bodies are kept among the records, and some objects are joined.
            small_object: 5,
            blob_objects: 2,
            ..Config::default()
        };
        let (hosts, keep) = (hosts(&config), config.keep_erased);
        let (models, sessions) = (vec![Model::new(config)], Vec::new());
        let (undeletes, named) = (setting.undeletes, BTreeMap::new());
        Self { hosts, models, surroundings: Memory::new(), sessions, keep, undeletes, named }
    }

    /// Plays one step.
    pub(crate) fn play(&mut self, Event(operation, failure): &Event) -> Done {
        self.advance(Duration::from_millis(1));
        match (operation, self.translate(operation)) {
            (Operation::Pass { seconds, collects }, _) => {
                self.advance(Duration::from_secs(*seconds));
                if *collects { self.gc(*failure) } else { Ok(()) }
            }
            (Operation::Stock { repository }, _) => MANIFESTS.iter().flat_map(Manifest::blobs).try_for_each(|blob| {
                let path = format!("{}?digest={}", uploads(REPOSITORIES[*repository]), sha256(blob));
                self.ask(&post(path).body(blob.clone()), *failure)
            }),
            (Operation::Undelete { .. } | Operation::Purge { .. } | Operation::Protect { .. }, _) => {
                match self.administering(operation) {
                    Some(what) => self.administer(&what, *failure),
                    None => Ok(()),
                }
            }
            (_, None) => Ok(()),
            (_, Some(call)) => self.ask(&call, *failure),
        }
    }

    /// A long time later everything is collected: all serve the same still, and no bytes are left that nobody holds.
    pub(crate) fn end(mut self) -> Done {
        self.narrow()?;
        self.advance(Duration::from_secs(30 * 24 * 3600));
        self.gc(None)?;
        self.gc(None)?;
        // What an index that goes has freed comes next, and each time its objects stay first, or it can be undeleted.
        let more = if self.undeletes { 12 } else { 5 };
        for _ in 0..if self.keep.is_zero() && !self.undeletes { 0 } else { more } {
            self.advance(self.keep.max(KEPT));
            self.gc(None)?;
        }
        self.narrow()?;
        let held: BTreeSet<String> = self.models[0].held().map(String::from).collect();
        let mut first = None;
        for host in &mut self.hosts {
            let everything = host.everything()?;
            let family = |family: &str| -> BTreeSet<String> {
                everything.records.keys().filter_map(|key| key.strip_prefix(family)).map(String::from).collect()
            };
            let (blobs, named) = (family("blob/"), family("object/"));
            if blobs != held {
                return Err(format!("there are the blobs {blobs:?}, but held are {held:?}"));
            }
            let objects: BTreeSet<String> = everything.objects.keys().cloned().collect();
            if objects != named {
                return Err(format!("there are the objects {objects:?}, but named are {named:?}"));
            }
            let released = family("released/");
            if !released.is_empty() {
                return Err(format!("{released:?} are said to stay, and are gone"));
            }
            if first.get_or_insert_with(|| everything.clone()) != &everything {
                return Err("the hosts hold different things".into());
            }
        }
        Ok(())
    }

    fn advance(&mut self, time: Duration) {
        self.surroundings.advance(time);
        self.models.iter_mut().for_each(|model| model.advance(time));
        self.hosts.iter_mut().for_each(|host| host.advance(time));
    }

    /// Makes a call on every host: their responses must be one. With its body in memory.
    fn call(&mut self, call: &Call, failure: Option<Failure>) -> Result<Response, String> {
        let ambient = self.surroundings.ambient();
        let mut first = None;
        for host in &mut self.hosts {
            // What is pulled is for the host, and not among what a browser's is told.
            let response = Response { pulled: None, ..host.call(call, ambient, failure)? };
            let first = first.get_or_insert_with(|| response.clone());
            if *first != response {
                return Err(format!("{call}: one host gives {first:?}, another {response:?}"));
            }
        }
        Ok(first.expect("there is a host"))
    }

    /// Makes a call and holds the answer against what the model says.
    fn ask(&mut self, call: &Call, failure: Option<Failure>) -> Done {
        let response = self.call(call, failure)?;
        let id = response.header("Docker-Upload-UUID").unwrap_or_default().to_owned();
        if failure.is_some() && response.status >= 500 {
            return self.troubled(call, &response);
        }
        let mut wrong = Vec::new();
        self.models.retain_mut(|model| {
            let says = model.answer(call, &id);
            right(call, &says, &response).map_err(|why| wrong.push(why)).is_ok()
        });
        if self.models.is_empty() {
            return Err(wrong.join("; or "));
        }
        if response.status == 202
            && response.header("Range") == Some("0-0")
            && call.request.method.to_string() == "POST"
        {
            let repository = REPOSITORIES.iter().position(|name| {
                *call.request.target == uploads(name) || call.request.target.starts_with(&format!("{}?", uploads(name)))
            });
            if self.sessions.iter().any(|(_, known)| *known == id) {
                return Err(format!("the id {id} was given before"));
            }
            self.sessions.push((repository.ok_or("a session in no repository")?, id));
        }
        Ok(())
    }

    /// Does what an administrator asks for on every host, which must be told one thing.
    fn told(&mut self, what: &Administering, failure: Option<Failure>) -> Result<Option<Told>, String> {
        let ambient = self.surroundings.ambient();
        let mut first = None;
        for host in &mut self.hosts {
            let told = host.administer(what, ambient, failure)?;
            let first = first.get_or_insert_with(|| told.clone());
            if *first != told {
                return Err(format!("{what:?}: one host tells {first:?}, another {told:?}"));
            }
        }
        Ok(first.expect("there is a host"))
    }

    /// Does what an administrator asks for, and holds what is told against what the model says.
    fn administer(&mut self, what: &Administering, failure: Option<Failure>) -> Done {
        let told = self.told(what, failure)?;
        if let Some(told) = &told {
            let mut wrong = Vec::new();
            self.models.retain_mut(|model| {
                let says = administered(model, what);
                wrong.push(format!("{what:?}: expected {says:?}, but came {told:?}"));
                says == *told
            });
            return if self.models.is_empty() { Err(wrong.join("; or ")) } else { Ok(()) };
        }
        if failure.is_none() {
            return Err(format!("{what:?} failed although the storage did not"));
        }
        for mut after in self.models.clone() {
            administered(&mut after, what);
            if !self.models.contains(&after) {
                self.models.push(after);
            }
        }
        self.narrow()
            .map_err(|why| format!("after {what:?} had failed the state is neither that before nor after: {why}"))
    }

    /// What an operation of an administrator asks for; none for a list that is not there.
    fn administering(&self, operation: &Operation) -> Option<Administering> {
        let name = |repository: usize| REPOSITORIES[repository].to_owned();
        Some(match operation {
            Operation::Undelete { repository, reference, force, named } => {
                let reference = self.reference(*repository, reference)?;
                // Manifests have no other names.
                let named = named.filter(|_| !reference.contains(':')).map(|tag| TAGS[tag].to_owned());
                Administering::Undelete(name(*repository), reference, *force, named)
            }
            Operation::Purge { repository, reference, force } => {
                let reference = match reference {
                    Some(reference) => Some(self.reference(*repository, reference)?),
                    None => None,
                };
                Administering::Purge(name(*repository), reference, *force)
            }
            Operation::Protect { repository, reference, remove } => {
                let reference = self.reference(*repository, reference)?;
                let sign = if reference.contains(':') { '@' } else { ':' };
                Administering::Protect(format!("{}{sign}{reference}", name(*repository)), *remove)
            }
            _ => return None,
        })
    }

    /// The tag or digest that this is; none for a list that is not there.
    fn reference(&self, repository: usize, reference: &Reference) -> Option<String> {
        Some(match reference {
            Reference::Tag(tag) => TAGS[*tag].into(),
            Reference::Digest(manifest, true) => sha512(MANIFESTS[*manifest].bytes()),
            Reference::Digest(manifest, false) => MANIFESTS[*manifest].digest(),
            Reference::ListOf(tag) => self.models[0].list_of(REPOSITORIES[repository], TAGS[*tag])?.into(),
        })
    }

    /// A call failed with the storage: either nothing has happened, or all of it.
    fn troubled(&mut self, call: &Call, response: &Response) -> Done {
        if !matches!(response.status, 500 | 503 | 507) {
            return Err(format!("{call} gives {} for a failure of the storage", response.status));
        }
        for mut after in self.models.clone() {
            after.answer(call, "");
            if !self.models.contains(&after) {
                self.models.push(after);
            }
        }
        self.narrow()
            .map_err(|why| format!("after {call} had failed the state is neither that before nor that after: {why}"))
    }

    /// Looks at everything that can be looked at, and keeps the states that serve just that.
    fn narrow(&mut self) -> Done {
        let mut wrong = Vec::new();
        for model in std::mem::take(&mut self.models) {
            match self.served(&model) {
                Ok(()) => self.models.push(model),
                Err(why) => wrong.push(why),
            }
        }
        if self.models.is_empty() { Err(wrong.join("; or ")) } else { Ok(()) }
    }

    fn gc(&mut self, failure: Option<Failure>) -> Done {
        let ambient = self.surroundings.ambient();
        if !self.keep.is_zero() {
            // All hosts have the same.
            let records = self.hosts[0].everything()?.records;
            let objects = records.keys().filter_map(|key| key.strip_prefix("object/"));
            self.named.extend(objects.map(|object| (object.to_owned(), ambient.now)));
        }
        self.models.iter_mut().for_each(Model::gc);
        // What a failure keeps it from doing, the next one does.
        let attempts = failure.into_iter().map(Some).chain([None]);
        for failure in attempts {
            let mut first = None;
            for host in &mut self.hosts {
                let report = host.gc(ambient, failure)?;
                if !report["fault"].is_null() && failure.is_none() {
                    return Err(format!("garbage collection failed: {report}"));
                }
                let first = first.get_or_insert_with(|| report.clone());
                if *first != report {
                    return Err(format!("one host's garbage collection says {first}, another's {report}"));
                }
            }
        }
        self.restorable(ambient.now)
    }

    /// Records of any moment for which objects are kept find them.
    fn restorable(&mut self, now: Timestamp) -> Done {
        self.named.retain(|_, named| now.since(*named) < self.keep);
        for host in self.hosts.iter_mut().filter(|_| !self.named.is_empty()) {
            let objects = host.everything()?.objects;
            if let Some((lost, named)) = self.named.iter().find(|(object, _)| !objects.contains_key(*object)) {
                return Err(format!("{lost} is gone, which records named {:?} ago", now.since(*named)));
            }
        }
        Ok(())
    }

    /// Whether everything that can be looked at is as this model says.
    fn served(&mut self, model: &Model) -> Done {
        let mut model = model.clone();
        for look in self.looks(&model) {
            let response = self.call(&look, None)?;
            right(&look, &model.answer(&look, ""), &response)?;
        }
        if self.undeletes {
            let (deleted, told) = (model.deleted(), self.told(&Administering::Deleted, None)?);
            let listed = told.map(|told| told.tags).unwrap_or_default();
            if listed != deleted {
                return Err(format!("deleted are {deleted:?}, but listed {listed:?}"));
            }
        }
        Ok(())
    }

    /// Looks at everything.
    fn looks(&self, model: &Model) -> Vec<Call> {
        let mut looks = vec![get("/v2/_catalog")];
        for repository in REPOSITORIES {
            looks.push(get(format!("/v2/{repository}/tags/list")));
            for tag in TAGS {
                looks.push(get(system::manifest(repository, tag)));
                for accept in ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"]
                {
                    looks.push(head(system::manifest(repository, tag)).header("Accept", accept));
                }
                looks.extend(model.list_of(repository, tag).map(|list| get(system::manifest(repository, list))));
            }
            for manifest in MANIFESTS.iter() {
                looks.push(get(system::manifest(repository, manifest.digest())));
                looks.push(head(system::manifest(repository, sha512(manifest.bytes()))));
                looks.push(get(system::referrers(repository, manifest.digest())));
            }
            for blob in BLOBS.iter() {
                looks.push(get(system::blob(repository, sha256(blob))));
                looks.push(head(system::blob(repository, sha512(blob))));
            }
        }
        looks.extend(self.sessions.iter().map(|(repository, id)| get(path(*repository, id))));
        looks
    }

    /// The request that an operation is; none for a session that was never opened, or a list that is not there.
    fn translate(&self, operation: &Operation) -> Option<Call> {
        use Operation::*;
        let digest = |bytes: &[u8], long: bool| if long { sha512(bytes) } else { sha256(bytes) };
        let session = |session: &usize| self.sessions.get(session % self.sessions.len().max(1));
        let reference = |repository: usize, reference: &Reference| {
            Some(system::manifest(REPOSITORIES[repository], self.reference(repository, reference)?))
        };
        Some(match operation {
            PostBlob { repository, blob, long, flaw } => {
                let bytes = &BLOBS[*blob];
                let digest = match flaw {
                    Some(Flaw::OtherDigest) => sha256("something else"),
                    Some(Flaw::NoDigest) => "sha256:none".into(),
                    _ => digest(bytes, *long),
                };
                let call = post(format!("{}?digest={digest}", uploads(REPOSITORIES[*repository]))).body(bytes.clone());
                if let Some(Flaw::Cut) = flaw { half(call) } else { call }
            }
            Open { repository, algorithm } => {
                let hint = algorithm.map_or_else(String::new, |algorithm| format!("?digest-algorithm={algorithm}"));
                post(format!("{}{hint}", uploads(REPOSITORIES[*repository])))
            }
            Mount { repository, blob, from } => {
                let from = from.map_or_else(String::new, |from| format!("&from={}", REPOSITORIES[from]));
                post(format!("{}?mount={}{from}", uploads(REPOSITORIES[*repository]), sha256(&BLOBS[*blob])))
            }
            Chunk { session: number, bytes, place, cut } => {
                let (repository, id) = session(number)?;
                let call = self.placed(patch(path(*repository, id)), CHUNKS[*bytes], *place, id);
                if *cut { half(call) } else { call }
            }
            Finish { session: number, bytes, place, long, flaw } => {
                let (repository, id) = session(number)?;
                let whole = [self.models[0].taken(id).unwrap_or_default(), CHUNKS[*bytes].as_bytes()].concat();
                let query = match flaw {
                    Some(Flaw::OtherDigest) => format!("?digest={}", digest(b"something else", *long)),
                    Some(Flaw::NoDigest) => String::new(),
                    _ => format!("?digest={}", digest(&whole, *long)),
                };
                let call = put(format!("{}{query}", path(*repository, id)));
                let call = self.placed(call, CHUNKS[*bytes], *place, id);
                if let Some(Flaw::Cut) = flaw { half(call) } else { call }
            }
            Cancel { session: number } => session(number).map(|(repository, id)| delete(path(*repository, id)))?,
            Status { session: number, elsewhere } => {
                let (repository, id) = session(number)?;
                get(path((repository + usize::from(*elsewhere)) % REPOSITORIES.len(), id))
            }
            PutManifest { repository, manifest, reference: by, tags, flaw, condition } => {
                let pushed = &MANIFESTS[*manifest];
                let tags: Vec<_> = tags.iter().map(|tag| format!("tag={}", TAGS[*tag])).collect();
                let query = if tags.is_empty() { String::new() } else { format!("?{}", tags.join("&")) };
                let call = put(reference(*repository, by)? + &query);
                let media_type = match flaw {
                    Some(PutFlaw::OtherType) => "application/vnd.docker.distribution.manifest.list.v2+json",
                    Some(PutFlaw::ForeignType) => "application/json",
                    _ => pushed.media_type(),
                };
                let untyped = matches!(flaw, Some(PutFlaw::NoType));
                let call = if untyped { call } else { call.header("Content-Type", media_type) };
                let call = match flaw {
                    Some(PutFlaw::NoManifest) => call.body("{}"),
                    Some(PutFlaw::Cut) => half(call.body(pushed.bytes())),
                    _ => call.body(pushed.bytes()),
                };
                conditional(call, condition.as_ref())
            }
            GetManifest { repository, reference: by, accept, head: only_head, condition } => {
                let path = reference(*repository, by)?;
                let call = if *only_head { head(path) } else { get(path) };
                let call = accept.iter().fold(call, |call, accept| call.header("Accept", accept));
                conditional(call, condition.as_ref())
            }
            DeleteManifest { repository, reference: by } => delete(reference(*repository, by)?),
            GetBlob { repository, blob, long, range, head: only_head } => {
                let path = system::blob(REPOSITORIES[*repository], digest(&BLOBS[*blob], *long));
                let call = if *only_head { head(path) } else { get(path) };
                range.iter().fold(call, |call, range| call.header("Range", range))
            }
            DeleteBlob { repository, blob, long } => {
                delete(system::blob(REPOSITORIES[*repository], digest(&BLOBS[*blob], *long)))
            }
            Tags { repository, n, last } => {
                paged(format!("/v2/{}/tags/list", REPOSITORIES[*repository]), *n, last.map(|last| TAGS[last]))
            }
            Catalog { n, last } => paged("/v2/_catalog".into(), *n, last.map(|last| REPOSITORIES[last])),
            Referrers { repository, manifest, filter } => {
                let filter =
                    filter.map_or_else(String::new, |filter| format!("?artifactType={}", ARTIFACT_TYPES[filter]));
                let subject = MANIFESTS[*manifest].digest();
                get(system::referrers(REPOSITORIES[*repository], subject) + &filter.replace('+', "%2B"))
            }
            Stock { .. } | Pass { .. } | Undelete { .. } | Purge { .. } | Protect { .. } => return None,
        })
    }

    /// The call with these bytes as the next of a session, or as others.
    fn placed(&self, call: Call, bytes: &'static str, place: Place, id: &str) -> Call {
        let call = call.body(bytes);
        let start = match place {
            Place::Streamed => return call.chunked(),
            _ if bytes.is_empty() => return call,
            Place::Next => self.models[0].taken(id).map_or(0, <[u8]>::len),
            Place::At(start) => start,
        };
        call.header("Content-Range", format!("{start}-{}", start + bytes.len() - 1))
    }
}

/// What the model says to an administrator, who changes it.
fn administered(model: &mut Model, what: &Administering) -> Told {
    match what {
        Administering::Undelete(name, what, force, named) => model.undelete(name, what, *force, named.as_deref()),
        Administering::Purge(name, what, force) => model.purge(name, what.as_deref(), *force),
        Administering::Protect(mark, remove) => match model.protect(mark, *remove) {
            true => Told::default(),
            false => Told::refusal("unchanged"),
        },
        Administering::Deleted => Told { tags: model.deleted(), ..Told::default() },
    }
}

/// The same call on a connection that breaks in the middle of the body.
fn half(mut call: Call) -> Call {
    let length = call.body.bytes.len();
    call.body.bytes.truncate(length / 2);
    // Nothing cannot break off, unless nobody said that it is nothing.
    if length == 0 { call.chunked().cut() } else { call.cut() }
}

fn path(repository: usize, id: &str) -> String {
    format!("{}{id}", uploads(REPOSITORIES[repository]))
}

fn paged(path: String, n: Option<usize>, last: Option<&str>) -> Call {
    let n = n.map(|n| format!("n={n}"));
    let parameters: Vec<_> = n.into_iter().chain(last.map(|last| format!("last={last}"))).collect();
    get(if parameters.is_empty() { path } else { format!("{path}?{}", parameters.join("&")) })
}

fn conditional(call: Call, condition: Option<&Condition>) -> Call {
    let tag = |manifest: &Option<usize>| {
        manifest.map_or_else(|| "*".into(), |manifest| format!("\"{}\"", MANIFESTS[manifest].digest()))
    };
    match condition {
        Some(Condition::IfMatch(manifest)) => call.header("If-Match", tag(manifest)),
        Some(Condition::IfNoneMatch(manifest)) => call.header("If-None-Match", tag(manifest)),
        None => call,
    }
}

/// Whether a response is one of these.
fn right(call: &Call, says: &[Says], response: &Response) -> Done {
    let wrong: Vec<String> = says.iter().filter_map(|says| says.check(call.request.method, response).err()).collect();
    let any = wrong.len() < says.len();
    if any { Ok(()) } else { Err(format!("{call}: {}", wrong.join("; or "))) }
}

//! The invariants of the records and bytes, checked on every store that a schedule, a fault or a crash leaves.
//!
//! They are read off the keys as text and the values as JSON: what a mistake in the core's own reading of records
//! would hide is seen here. What the calls were promised is not here but in [`order`](super::order).

use std::collections::{BTreeMap, BTreeSet};

use orlop_core::digest::Digest;
use orlop_core::memory::Memory;
use orlop_core::record::{BlobRecord, Extent, ReleasedRecord, UploadRecord};
use orlop_core::secret::UserKey;
use serde_json::Value as Json;

use super::scenario::{Call, Scenario};

/// The records by family: what stands behind the first slash, and the value.
struct Records<'a> {
    memory: &'a Memory,
    families: BTreeMap<&'a str, BTreeMap<&'a str, &'a [u8]>>,
}

type Check = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($otherwise:tt)*) => {
        if !$holds {
            return Err(format!($($otherwise)*));
        }
    };
}

/// What holds at every moment.
pub(super) fn hold(memory: &Memory, scenario: &Scenario) -> Check {
    let records = Records::read(memory);
    records.contents(scenario)?;
    records.holders()?;
    records.manifests(scenario)?;
    records.quarantine()?;
    records.deleted()?;
    records.needs(scenario)?;
    records.mirrored(scenario)?;
    records.tags()?;
    records.referrers()?;
    records.uploads()?;
    records.objects()?;
    records.released()?;
    records.repositories()?;
    records.told_of_quotas(scenario)?;
    records.signed(scenario)?;
    super::activity::hold(memory, scenario)?;
    if scenario.miscounted { Ok(()) } else { records.counters() }
}

/// What holds besides when all calls are over, every grace has passed and a garbage collection has been made.
pub(super) fn hold_after_gc(memory: &Memory) -> Check {
    let records = Records::read(memory);
    records.reachable()
}

/// What holds besides when all calls are over and neither a crash nor a failure has disturbed them: there are no
/// bytes that no record names. (A disturbed call leaves them to garbage collection.)
///
/// Each counter is right, whatever it was before.
pub(super) fn hold_undisturbed(memory: &Memory) -> Check {
    let records = Records::read(memory);
    records.strays()?;
    records.counters()
}

/// What holds besides when something was purged and nobody has pushed it again: its bytes are nowhere.
pub(super) fn hold_purged(memory: &Memory, secret: &[u8]) -> Check {
    let among = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    ensure!(!memory.objects.values().any(|(bytes, _)| among(bytes)), "an object has what was purged");
    ensure!(!memory.records.values().any(|value| among(value)), "a record has what was purged");
    Ok(())
}

/// What holds besides when nothing is removed but what was deleted before: the manifests that were there are, and what was
/// pushed or undeleted since.
pub(super) fn hold_there(memory: &Memory, before: &Memory, brought: &[String]) -> Check {
    let there = before.records.keys().map(|key| key.as_str()).filter(|key| key.starts_with("manifest/"));
    for key in there.chain(brought.iter().map(String::as_str)) {
        ensure!(memory.records.keys().any(|known| known.as_str() == key), "{key} was there, and is purged");
    }
    Ok(())
}

impl<'a> Records<'a> {
    fn read(memory: &'a Memory) -> Self {
        let mut families: BTreeMap<&str, BTreeMap<&str, &[u8]>> = BTreeMap::new();
        for (key, value) in &memory.records {
            let (family, rest) = key.as_str().split_once('/').unwrap_or((key.as_str(), ""));
            families.entry(family).or_default().insert(rest, value);
        }
        Self { memory, families }
    }

    fn family(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.families.get(name).cloned().unwrap_or_default().into_iter()
    }

    fn has(&self, family: &str, rest: &str) -> bool {
        self.families.get(family).is_some_and(|records| records.contains_key(rest))
    }

    /// Invariant 1. The bytes behind a blob are there, have the recorded size and hash to its digest; but for those that were
    /// damaged beforehand. In quarantine is only what is damaged.
    fn contents(&self, scenario: &Scenario) -> Check {
        for (name, value) in self.family("blob") {
            let was_damaged = scenario.damaged.contains(name);
            let digest: Digest = parse(name)?;
            let BlobRecord { size, extents, quarantined, unverified, .. } = json(name, value)?;
            let unhashed = |extent: &Extent| scenario.unhashed.contains(&extent.object);
            ensure!(
                unverified || scenario.is_read() || !extents.iter().any(unhashed),
                "blob/{name} was imported without being hashed, and does not say so"
            );
            let sound = || -> Check {
                let bytes = self.bytes(&format!("blob/{name}"), &extents)?;
                ensure!(bytes.len() as u64 == size, "blob/{name} has {} bytes and says {size}", bytes.len());
                ensure!(digest.algorithm().digest(&bytes) == digest, "the bytes of blob/{name} are others");
                Ok(())
            };
            match sound() {
                Ok(()) => ensure!(quarantined.is_none(), "blob/{name} is sound and in quarantine"),
                Err(_) if was_damaged => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// What is in quarantine says so in both places.
    fn quarantine(&self) -> Check {
        for (name, _) in self.family("quarantine") {
            let family = if name.contains('@') { "manifest" } else { "blob" };
            let record = self.families.get(family).and_then(|family| family.get(name));
            let Some(record) = record else { return Err(format!("quarantine/{name} is of nothing")) };
            let record: Json = json(name, record)?;
            ensure!(!record["quarantined"].is_null(), "{family}/{name} is not in quarantine");
        }
        for family in ["blob", "manifest"] {
            for (name, value) in self.family(family) {
                let record: Json = json(name, value).unwrap_or_default();
                ensure!(
                    record["quarantined"].is_null() || self.has("quarantine", name),
                    "nothing says what is wrong with {family}/{name}"
                );
            }
        }
        Ok(())
    }

    /// The bytes of these extents, in order: each is there and has the size that it says.
    fn bytes(&self, of: &str, extents: &[Extent]) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for (number, Extent { object, size, small }) in extents.iter().enumerate() {
            ensure!(!small || number == 0, "{of} has a record for bytes that are not its first");
            let found: Option<&[u8]> = match small {
                true => self.families.get("bytes").and_then(|bytes| bytes.get(object.to_string().as_str())).copied(),
                false => self.memory.objects.get(object).map(|(bytes, _)| bytes.as_ref()),
            };
            let Some(found) = found else { return Err(format!("the object {object} of {of} is not there")) };
            ensure!(found.len() as u64 == *size && *size > 0, "{object} of {of} has {} bytes, not {size}", found.len());
            bytes.extend_from_slice(found);
        }
        Ok(bytes)
    }

    /// Invariant 2, for blobs. That a repository holds a blob is said both ways round, and the blob is there.
    fn holders(&self) -> Check {
        for (name, _) in self.family("link") {
            let (repository, digest) = split(name, '@')?;
            ensure!(self.has("holder", &format!("{digest}/{repository}")), "link/{name} has no holder");
            ensure!(self.has("blob", digest), "link/{name} has no blob");
        }
        for (name, _) in self.family("holder") {
            let (digest, repository) = split(name, '/')?;
            ensure!(self.has("link", &format!("{repository}@{digest}")), "holder/{name} has no link");
        }
        Ok(())
    }

    /// Invariant 1, for manifests: a manifest and its payload are there together, and agree.
    fn manifests(&self, scenario: &Scenario) -> Check {
        for (name, value) in self.family("manifest") {
            let was_damaged = scenario.damaged.contains(name);
            let digest: Digest = parse(split(name, '@')?.1)?;
            let record: Json = json(name, value)?;
            let Some(payload) = self.payload(name) else { return Err(format!("manifest/{name} has no payload")) };
            if digest.algorithm().digest(payload) == digest {
                ensure!(record["quarantined"].is_null(), "manifest/{name} is sound and in quarantine");
                ensure!(record["size"] == payload.len(), "manifest/{name} says another size than {}", payload.len());
            } else {
                ensure!(was_damaged, "the bytes of payload/{name} are others");
            }
        }
        for (name, _) in self.family("payload") {
            ensure!(self.has("manifest", name), "payload/{name} has no manifest");
        }
        Ok(())
    }

    /// Invariant 1, for deleted manifests: each has its payload and is not there besides; `deletedtagged/` says exactly what
    /// deleted tags name, and that is there, deleted or not.
    fn deleted(&self) -> Check {
        for (name, value) in self.family("deleted") {
            let digest: Digest = parse(split(name, '@')?.1)?;
            let record: Json = json(name, value)?;
            let payload = self.families.get("deletedpayload").and_then(|payloads| payloads.get(name)).copied();
            let Some(payload) = payload else { return Err(format!("deleted/{name} has no payload")) };
            ensure!(digest.algorithm().digest(payload) == digest, "the bytes of deletedpayload/{name} are others");
            ensure!(record["manifest"]["size"] == payload.len(), "deleted/{name} says another size");
            ensure!(!self.has("manifest", name), "manifest/{name} is deleted and there");
        }
        self.family_is("deletedpayload", &self.family("deleted").map(|(name, _)| name.to_string()).collect())?;
        let mut tagged = BTreeSet::new();
        for (name, value) in self.family("deletedtag") {
            let (repository, tag) = split(name, ':')?;
            let record: Json = json(name, value)?;
            let platforms = &record["platforms"];
            let images = platforms["images"].as_array().into_iter().flatten().map(|image| &image["digest"]);
            let named = images.chain([&record["tag"]["digest"], &platforms["list"]]).filter_map(Json::as_str);
            for digest in named {
                let manifest = format!("{repository}@{digest}");
                let kept = self.has("manifest", &manifest) || self.has("deleted", &manifest);
                ensure!(kept, "the deleted tag {name} names {digest}, which is gone");
                tagged.insert(format!("{manifest}/{tag}"));
            }
        }
        self.family_is("deletedtagged", &tagged)
    }

    /// Invariant 2, for what manifests need: `use/` says exactly that, and what is needed is there unless it was
    /// deleted explicitly, or is to be fetched from an upstream when it is asked for.
    fn needs(&self, scenario: &Scenario) -> Check {
        let Scenario { deleted, mirrored, .. } = scenario;
        let mut needed = BTreeSet::new();
        for (name, value) in self.family("manifest").chain(self.family("deleted")) {
            let (repository, digest) = split(name, '@')?;
            let is_pushed = scenario.takes_pushes() && self.is_pushed("manifest", name, value)?;
            for need in needs(&self.document(name)?) {
                let target = format!("{repository}@{need}");
                let there = self.has("link", &target) || self.has("manifest", &target);
                let there = there || self.has("deleted", name) && self.has("deleted", &target);
                let to_be_fetched = mirrored.is_of(repository) && !is_pushed;
                ensure!(there || to_be_fetched || deleted.contains(&need), "manifest/{name} lacks {need}");
                needed.insert(format!("{target}/{digest}"));
            }
        }
        self.family_is("use", &needed)
    }

    /// A repository of a mirror has only what its upstream has had and what was pushed where the mirror is offline, and
    /// says of nothing else when it was looked at or pulled.
    fn mirrored(&self, scenario: &Scenario) -> Check {
        let mirrored = &scenario.mirrored;
        for family in ["link", "manifest", "tag"] {
            for (name, value) in self.family(family).filter(|(name, _)| mirrored.is_of(name)) {
                if scenario.takes_pushes() && self.is_pushed(family, name, value)? {
                    continue;
                }
                ensure!(mirrored.has_had(family, name, value), "{family}/{name} is not from the upstream");
            }
        }
        for (name, _) in self.family("mirrored") {
            ensure!(self.has("tag", name), "mirrored/{name} has no tag");
        }
        for (name, _) in self.family("pulled") {
            ensure!(self.has("link", name), "pulled/{name} has no blob");
        }
        for (name, _) in self.family("pulledmanifest") {
            ensure!(self.has("manifest", name), "pulledmanifest/{name} has no manifest");
        }
        for (name, _) in self.family("pulledtag") {
            ensure!(self.has("tag", name), "pulledtag/{name} has no tag");
        }
        Ok(())
    }

    /// Whether a record of a mirror says that what it is about was pushed: that no upstream gives it again.
    fn is_pushed(&self, family: &str, name: &str, value: &[u8]) -> Result<bool, String> {
        let record: Json = json(name, value)?;
        if family != "tag" {
            return Ok(record["fetched"] != true);
        }
        let looked_up = self.families.get("mirrored").and_then(|mirrored| mirrored.get(name));
        let looked_up = looked_up.map(|value| json::<Json>(name, value)).transpose()?;
        Ok(looked_up.is_none_or(|mirrored| mirrored["by"] != record["by"]))
    }

    /// Invariant 2, for tags: what a tag and its maintained list name is there, and `tagged/` says exactly that.
    fn tags(&self) -> Check {
        let mut tagged = BTreeSet::new();
        let mut names = |name: &str, digest: &str| {
            let (repository, tag) = split(name, ':')?;
            tagged.insert(format!("{repository}@{digest}/{tag}"));
            let there = self.has("manifest", &format!("{repository}@{digest}"));
            ensure!(there, "the tag {name} names {digest}, which is not there");
            Ok(())
        };
        for (name, value) in self.family("tag") {
            names(name, text(&json::<Json>(name, value)?["digest"]))?;
        }
        for (name, value) in self.family("platforms") {
            ensure!(self.has("tag", name), "platforms/{name} has no tag");
            let record: Json = json(name, value)?;
            let listed = record["images"].as_array().into_iter().flatten().map(|image| text(&image["digest"]));
            let listed: Vec<&str> = listed.collect();
            ensure!(!listed.is_empty(), "platforms/{name} lists nothing");
            listed.iter().try_for_each(|digest| names(name, digest))?;
            if let Some(list) = record["list"].as_str() {
                names(name, list)?;
                let (repository, _) = split(name, ':')?;
                let document = self.document(&format!("{repository}@{list}"))?;
                let children: Vec<_> = document["manifests"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|child| text(&child["digest"]))
                    .collect();
                ensure!(children == listed, "the list of {name} is not one of its images");
            }
        }
        self.family_is("tagged", &tagged)
    }

    /// Invariant 2, for referrers: the subject lists exactly the manifests that have it as theirs.
    fn referrers(&self) -> Check {
        let mut referrers = BTreeSet::new();
        for (name, _) in self.family("manifest") {
            let (repository, digest) = split(name, '@')?;
            if let Some(subject) = self.document(name)?["subject"]["digest"].as_str() {
                referrers.insert(format!("{repository}@{subject}/{digest}"));
            }
        }
        self.family_is("referrer", &referrers)
    }

    /// Invariant 5. The chunks of a session stand one behind the other without gap or overlap, and are what its
    /// meter has seen.
    fn uploads(&self) -> Check {
        let mut sessions = self.chunks()?;
        for (name, value) in self.family("upload") {
            let record: UploadRecord = json(name, value)?;
            let chunks = sessions.remove(name).unwrap_or_default();
            ensure!(record.chunks as usize == chunks.len(), "{name} has {} chunks", chunks.len());
            let mut offset = 0;
            for (at, extent) in &chunks {
                ensure!(*at == offset, "{name} has a chunk at {at} and {offset} bytes before");
                offset += extent.size;
            }
            ensure!(record.offset() == offset, "{name} has {offset} bytes and says {}", record.offset());
            let extents: Vec<Extent> = chunks.into_values().collect();
            let bytes = self.bytes(&format!("upload/{name}"), &extents)?;
            let Some(meter) = record.meter.resume() else { return Err(format!("the meter of {name} is damaged")) };
            ensure!(meter.algorithm().digest(&bytes) == meter.digest(), "the meter of {name} saw other bytes");
        }
        match sessions.keys().next() {
            Some(upload) => Err(format!("chunk/{upload} has no session")),
            None => Ok(()),
        }
    }

    /// The chunks of each session by their offsets.
    fn chunks(&self) -> Result<BTreeMap<&'a str, BTreeMap<u64, Extent>>, String> {
        let mut sessions: BTreeMap<&str, BTreeMap<u64, Extent>> = BTreeMap::new();
        for (name, value) in self.family("chunk") {
            let (upload, offset) = split(name, '/')?;
            sessions.entry(upload).or_default().insert(parse(offset)?, json(name, value)?);
        }
        Ok(sessions)
    }

    /// What each object belongs to, and each that is a record: said of exactly those that a session or a blob has.
    fn objects(&self) -> Check {
        let (mut owners, mut small) = (BTreeMap::new(), BTreeSet::new());
        let mut own = |extent: &Extent, owner: String| match extent.small {
            true => drop(small.insert(extent.object.to_string())),
            false => drop(owners.insert(extent.object.to_string(), owner)),
        };
        for (upload, chunks) in self.chunks()? {
            chunks.values().for_each(|extent| own(extent, format!("{{\"upload\":\"{upload}\"}}")));
        }
        for (digest, value) in self.family("blob") {
            let record: BlobRecord = json(digest, value)?;
            record.extents.iter().for_each(|extent| own(extent, format!("{{\"blob\":\"{digest}\"}}")));
        }
        self.family_is("object", &owners.keys().cloned().collect())?;
        for (object, value) in self.family("object") {
            ensure!(owners[object].as_bytes() == value, "object/{object} belongs to {}", owners[object]);
        }
        self.family_is("bytes", &small)
    }

    /// What is released belongs to nothing, and says how many bytes will go. (Whether they are still there is not said: a
    /// crash may bring back the record of an object that is gone.)
    fn released(&self) -> Check {
        for (object, value) in self.family("released") {
            let ReleasedRecord { size, .. } = json(object, value)?;
            ensure!(!self.has("object", object), "released/{object} belongs to something");
            let there = self.memory.objects.get(&parse(object)?);
            ensure!(there.is_none_or(|(bytes, _)| bytes.len() as u64 == size), "released/{object} says {size} bytes");
        }
        Ok(())
    }

    /// Each counter stands at what it counts.
    fn counters(&self) -> Check {
        let mut counters: BTreeMap<String, u64> = BTreeMap::new();
        let mut count = |counter: String, more: u64| *counters.entry(counter).or_default() += more;
        for (name, _) in self.family("link") {
            let (repository, digest) = split(name, '@')?;
            let blob = self.families.get("blob").and_then(|blobs| blobs.get(digest)).copied().unwrap_or_default();
            count(format!("usage/{repository}"), json::<BlobRecord>(digest, blob)?.size);
        }
        for (name, value) in self.family("manifest") {
            let size = json::<Json>(name, value)?["size"].as_u64().unwrap_or_default();
            count(format!("usage/{}", split(name, '@')?.0), size);
        }
        for (name, value) in self.family("deleted") {
            let size = json::<Json>(name, value)?["manifest"]["size"].as_u64().unwrap_or_default();
            count(format!("usage/{}", split(name, '@')?.0), size);
        }
        for (name, value) in self.family("upload") {
            let record: UploadRecord = json(name, value)?;
            count(format!("usage/{}", record.repository), record.offset());
        }
        for (name, _) in self.family("event") {
            count(format!("queue/{}", split(name, '/')?.0), 1);
        }
        counters.retain(|_, number| *number > 0);
        let stand = |family: &'static str| {
            self.family(family).map(move |(name, value)| (format!("{family}/{name}"), String::from_utf8_lossy(value)))
        };
        let standing: BTreeMap<String, _> = stand("usage").chain(stand("queue")).collect();
        for (counter, number) in &counters {
            let stands = standing.get(counter).map_or("nothing", |number| number.as_ref());
            ensure!(stands == number.to_string(), "the counter {counter} stands at {stands}, not at {number}");
        }
        match standing.keys().find(|counter| !counters.contains_key(*counter)) {
            Some(counter) => Err(format!("the counter {counter} counts nothing")),
            None => Ok(()),
        }
    }

    /// As long as nothing is deleted, that a soft limit is exceeded is told to each listener once.
    fn told_of_quotas(&self, scenario: &Scenario) -> Check {
        if !scenario.deleted.is_empty() || scenario.calls.iter().any(|call| matches!(call, Call::Gc)) {
            return Ok(());
        }
        let quotas = self.family("event").filter_map(|(name, _)| name.split_once('/'));
        let quotas = quotas.filter_map(|(listener, event)| Some((listener, event.rsplit_once("-quota-")?.1)));
        let mut told = BTreeSet::new();
        for (listener, quota) in quotas {
            ensure!(told.insert((listener, quota)), "{listener} is told twice that quota {quota} is exceeded");
        }
        Ok(())
    }

    /// A session or token is at a place of its user, who has so many and no more, and nobody else has its secret.
    fn signed(&self, scenario: &Scenario) -> Check {
        let places = [("signin", scenario.config.sign_ins), ("token", scenario.config.api_tokens)];
        for (family, most) in places {
            let mut secrets = BTreeSet::new();
            for (name, value) in self.family(family) {
                let (user, place) = split(name, '/')?;
                let record: Json = json(name, value)?;
                ensure!(UserKey::of(text(&record["user"])).as_str() == user, "{family}/{name} is of another user");
                let number = u8::from_str_radix(place, 16).map_err(|error| format!("{family}/{name}: {error}"))?;
                ensure!(number < most, "{family}/{name} is one more than a user may have");
                let secret = text(&record["secret"]).to_owned();
                ensure!(secret.len() == 64 && secrets.insert(secret), "{family}/{name} has the secret of another");
            }
        }
        Ok(())
    }

    /// What is in a repository is in one that exists.
    fn repositories(&self) -> Check {
        for (name, _) in self.family("manifest").chain(self.family("link")).chain(self.family("deleted")) {
            ensure!(self.has("repo", split(name, '@')?.0), "{name} is in a repository that does not exist");
        }
        Ok(())
    }

    /// Invariant 6. Nothing is left that nothing leads to: no sessions, no objects but those of blobs, no
    /// blobs that no manifest needs, no lists that no tag names, no traces of what is gone, no empty repositories.
    fn reachable(&self) -> Check {
        let passing = ["upload", "chunk", "finished", "event", "lease", "released", "recount", "group", "signin"];
        for family in passing.into_iter().chain(["deleted", "deletedpayload", "deletedtag", "deletedtagged"]) {
            if let Some((name, _)) = self.family(family).next() {
                return Err(format!("{family}/{name} has outlived its time"));
            }
        }
        if self.family("link").next().is_none() {
            let over = self.family("over").next();
            ensure!(over.is_none(), "{over:?} says that nothing is too much");
        }
        for (name, _) in self.family("blob") {
            let held = self.family("holder").any(|(holder, _)| holder.starts_with(&format!("{name}/")));
            ensure!(held, "blob/{name} is nobody's");
        }
        self.strays()?;
        let needed = |name: &str| self.family("use").any(|(used, _)| used.starts_with(&format!("{name}/")));
        for (name, _) in self.family("link") {
            ensure!(needed(name), "link/{name} serves nothing");
        }
        for (name, value) in self.family("manifest") {
            let record: Json = json(name, value)?;
            let tagged = self.family("tagged").any(|(tagged, _)| tagged.starts_with(&format!("{name}/")));
            ensure!(record["maintained"] != true || tagged || needed(name), "the list manifest/{name} is nobody's");
        }
        for (name, _) in self.family("left") {
            ensure!(self.has("manifest", name) || self.has("link", name), "left/{name} is of nothing");
        }
        for (name, _) in self.family("repo") {
            let inside = |(entry, _): (&str, &[u8])| entry.starts_with(&format!("{name}@"));
            let filled = self.family("manifest").any(inside) || self.family("link").any(inside);
            ensure!(filled, "repo/{name} is empty");
        }
        Ok(())
    }

    fn strays(&self) -> Check {
        let known = |object: &str| self.has("object", object) || self.has("released", object);
        match self.memory.objects.keys().find(|object| !known(&object.to_string())) {
            Some(stray) => Err(format!("the object {stray} belongs to nothing")),
            None => Ok(()),
        }
    }

    fn payload(&self, name: &str) -> Option<&'a [u8]> {
        self.families.get("payload").and_then(|payloads| payloads.get(name)).copied()
    }

    fn document(&self, name: &str) -> Result<Json, String> {
        let deleted = || self.families.get("deletedpayload").and_then(|payloads| payloads.get(name)).copied();
        json(name, self.payload(name).or_else(deleted).unwrap_or(b"null"))
    }

    fn family_is(&self, family: &str, expected: &BTreeSet<String>) -> Check {
        let found: BTreeSet<String> = self.family(family).map(|(name, _)| name.to_string()).collect();
        if let Some(missing) = expected.difference(&found).next() {
            return Err(format!("{family}/{missing} is missing"));
        }
        if let Some(surplus) = found.difference(expected).next() {
            return Err(format!("{family}/{surplus} has no reason"));
        }
        Ok(())
    }
}

/// The digests that a manifest or index is made of.
fn needs(document: &Json) -> BTreeSet<String> {
    let lists = [&document["layers"], &document["manifests"]].into_iter().filter_map(Json::as_array).flatten();
    let all = lists.chain(std::iter::once(&document["config"]));
    all.filter_map(|descriptor| descriptor["digest"].as_str()).map(String::from).collect()
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn split(name: &str, at: char) -> Result<(&str, &str), String> {
    name.split_once(at).ok_or_else(|| format!("the key …/{name} has no `{at}`"))
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` does not read"))
}

fn json<T: serde::de::DeserializeOwned>(name: &str, value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("{name} does not read: {error}"))
}

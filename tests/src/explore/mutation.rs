//! Deliberately broken cores: wrappers between the core and its host that alter effects. If the explorer did not
//! find each of them, it would not find the same mistake made by a person.

mod imports;
mod upstreams;

pub use imports::Importing;

use bytes::Bytes;
use orlop_core::Timestamp;
use orlop_core::effect::{Commit, Committed, Durability, Erase, Expect, Fault, Join, Receive, Received, Scan, Value};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::object::ObjectId;
use orlop_core::record::ReleasedRecord;

use super::mirrored::altered;
use super::store::{Altered, Store};

/// What is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing.
    #[default]
    None,
    /// Commits of one sort do not expect this: the kind of expectation, and what its key begins with.
    NotExpecting(Sort, Kind, &'static str),
    /// Commits do not put the keys that begin so.
    NotPutting(&'static str),
    /// Commits do not delete the keys that begin so.
    NotDeleting(&'static str),
    /// Commits do not add to the counters that begin so.
    NotAdding(&'static str),
    /// Commits add to counters, and take nothing from them.
    NotTaking,
    /// Commits that take from what is counted of a repository leave the mark of whoever counts it.
    MarkStays,
    /// An object comes to be only after the commit of the record that names it.
    CommitBeforeObject,
    /// Objects are erased before the commit that takes their record.
    EraseBeforeCommit,
    /// A conflict is taken for success.
    ConflictAsDone,
    /// Commits that put such a key promise less than they should.
    Eventual(&'static str),
    /// Commits that only remove promise less than they should.
    EventualRemovals,
    /// Objects are never erased.
    ObjectsStay,
    /// Objects that are released are erased at once.
    ReleasedErased,
    /// Objects are said to have been released long ago.
    ReleasedLongAgo,
    /// What is found to be damaged is written down, and stays in use.
    DamageInUse,
    /// Hosts commit for calls however long they were held up.
    StallRuleForgotten,
    /// The other host keeps the stall rule for calls that live longer than garbage collection lets them.
    LifetimeNotShared,
    /// A body that comes slowly is said to have ended where it pauses.
    PauseAsEnd,
    /// What an upstream sends as a blob is kept, whatever it is.
    FetchedUnverified,
    /// What an upstream sends as a manifest is kept, whatever it is.
    ManifestUnverified,
    /// Behind a break, a fetch asks for the blob from its first byte, and takes that for the next.
    ResumedFromTheStart,
    /// A tag of a mirror is put by a commit of its own, before its manifest.
    TagBeforeManifest,
    /// That another repository has a blob is enough for a mirror.
    UpstreamNotAsked,
    /// What is erased at once is left to garbage collection.
    PurgedReleased,
    /// A manifest that is deleted, and can be undeleted, gives up what it needs.
    NeedsForgotten,
    /// What comes back or goes by several commits is told of with one of them.
    PiecesUntold,
    /// Whoever forgets what happened long ago goes on from the last that happened.
    ForgetsAll,
    /// An import makes a mistake.
    Import(Importing),
}

/// A sort of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It takes something out of the registry, and puts at most when something was left.
    Removal,
    /// Any other.
    Push,
}

/// Every mutation, and the name of the scenario that finds it.
///
/// Five expectations are not in the list, because nothing can go wrong without them; the core keeps them so that
/// each commit says by itself why it is right:
///
/// * a host that puts a session key expects `meta/storage` unchanged: no host changes it;
/// * a mount expects `blob/`: the link or holder that it expects implies the blob;
/// * garbage collection of a manifest expects nothing under `tagged/`: whoever points a tag at a manifest writes its
///   record anew, and garbage collection expects that unchanged;
/// * whatever is released or erased by garbage collection expects that nothing is under `object/`: by the stall rule no
///   call names an object that is older than any call, and none that belonged to something before;
/// * garbage collection of a repository expects its record unchanged: it expects it to be empty, and whoever fills it
///   expects the record.
pub const ALL: &[(Mutation, &str)] = &[
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "tag/"), "one tag × two pushers"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "manifest/"), "second platform × push the list as one's own"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "blob/"), "push blob × push the same blob"),
    (Mutation::NotExpecting(Sort::Push, Kind::Present, "repo/"), "push blob again × gc"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "link/"), "push blob × mount it"),
    (Mutation::NotExpecting(Sort::Push, Kind::Present, "link/"), "push manifest × gc"),
    (Mutation::NotExpecting(Sort::Push, Kind::Present, "manifest/"), "push an index of an untagged manifest × gc"),
    (Mutation::NotExpecting(Sort::Push, Kind::Present, "holder/"), "mount from anywhere × delete × GET"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "tag/"), "move tag × delete by tag"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "manifest/"), "platform again × push the list as one's own"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "blob/"), "push blob again × gc"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "upload/"), "PATCH × PATCH"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Present, "link/"), "delete blob × delete blob"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "tag/"), "move tag × delete by tag"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "manifest/"), "push under another tag × delete by digest"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "blob/"), "gc × gc × push blob × delete it"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "upload/"), "PATCH × PUT without a chunk"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "link/"), "push blob again × gc"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Absent, "manifest/"), "push a subject × GET its referrers × gc"),
    (Mutation::NotExpecting(Sort::Removal, Kind::NoneUnder, "use/"), "push manifest × gc"),
    (Mutation::NotExpecting(Sort::Removal, Kind::NoneUnder, "manifest/"), "push an empty index × gc of its repository"),
    (Mutation::NotExpecting(Sort::Removal, Kind::NoneUnder, "link/"), "push blob again × gc"),
    (Mutation::NotExpecting(Sort::Removal, Kind::NoneUnder, "holder/"), "push blob again × gc"),
    (Mutation::NotPutting("blob/"), "push blob × push the same blob"),
    (Mutation::NotPutting("holder/"), "push blob × push the same blob"),
    (Mutation::NotPutting("left/"), "move tag × gc"),
    (Mutation::NotPutting("link/"), "push blob × push the same blob"),
    (Mutation::NotPutting("manifest/"), "push manifest × push the same"),
    (Mutation::NotPutting("bytes/"), "PATCH × PATCH"),
    (Mutation::NotPutting("chunk/"), "PATCH × PATCH"),
    (Mutation::NotPutting("event/"), "push manifest × pull, with a listener"),
    (Mutation::NotPutting("finished/"), "PUT × PUT"),
    (Mutation::NotPutting("object/"), "PATCH × PATCH"),
    (Mutation::NotPutting("payload/"), "push manifest × push the same"),
    (Mutation::NotPutting("platforms/"), "push manifest × push the same"),
    (Mutation::NotPutting("referrer/"), "push referrer × delete its subject"),
    (Mutation::NotPutting("repo/"), "push blob × push the same blob"),
    (Mutation::NotPutting("tag/"), "push manifest × push the same"),
    (Mutation::NotPutting("tagged/"), "push manifest × push the same"),
    (Mutation::NotPutting("upload/"), "mount × delete"),
    (Mutation::NotPutting("use/"), "push manifest × push the same"),
    (Mutation::NotDeleting("blob/"), "push blob × push the same blob"),
    (Mutation::NotDeleting("holder/"), "push blob × push the same blob"),
    (Mutation::NotDeleting("left/"), "one tag × two pushers"),
    (Mutation::NotDeleting("link/"), "push blob × push the same blob"),
    (Mutation::NotDeleting("manifest/"), "push manifest × push the same"),
    (Mutation::NotDeleting("bytes/"), "PATCH × PATCH"),
    (Mutation::NotDeleting("chunk/"), "PATCH × PATCH"),
    (Mutation::NotDeleting("event/"), "push manifest × pull, with a listener"),
    (Mutation::NotDeleting("finished/"), "PUT × PUT"),
    (Mutation::NotDeleting("object/"), "PATCH × PATCH"),
    (Mutation::NotAdding("queue/"), "push manifest × pull, with a listener"),
    (Mutation::NotAdding("usage/"), "push blob × push the same blob"),
    (Mutation::NotTaking, "push blob × push the same blob"),
    (Mutation::MarkStays, "recount of a wrong counter × push blob × delete another"),
    (
        Mutation::NotExpecting(Sort::Push, Kind::Exactly, "recount/"),
        "recount of a wrong counter × push blob × delete another",
    ),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "usage/"), "recount of a wrong counter × push blob"),
    (Mutation::NotPutting("recount/"), "recount of a wrong counter × push blob"),
    (Mutation::NotDeleting("recount/"), "recount of a wrong counter × push blob"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "over/"), "push over the soft limit × push elsewhere"),
    (Mutation::NotPutting("over/"), "push over the soft limit × push elsewhere"),
    (Mutation::NotDeleting("over/"), "push over the soft limit × push elsewhere"),
    (Mutation::NotDeleting("payload/"), "push manifest × push the same"),
    (Mutation::NotDeleting("platforms/"), "move tag × delete by tag"),
    (Mutation::NotDeleting("referrer/"), "delete referrer × push it again"),
    (Mutation::NotDeleting("repo/"), "push blob × push the same blob"),
    (Mutation::NotDeleting("tag/"), "move tag × delete by tag"),
    (Mutation::NotDeleting("tagged/"), "one tag × two pushers"),
    (Mutation::NotDeleting("upload/"), "mount × delete"),
    (Mutation::NotPutting("released/"), "gc × gc, objects are kept"),
    (Mutation::NotDeleting("released/"), "gc × gc, objects are kept"),
    (Mutation::ReleasedErased, "PUT × cancel, objects are kept"),
    (Mutation::ReleasedLongAgo, "gc × gc, objects are kept"),
    (Mutation::NotDeleting("use/"), "push manifest × push the same"),
    (Mutation::Eventual("blob/"), "push blob × push the same blob"),
    (Mutation::Eventual("link/"), "push blob × push the same blob"),
    (Mutation::Eventual("manifest/"), "push manifest × push the same"),
    (Mutation::Eventual("chunk/"), "PATCH × PATCH"),
    (Mutation::EventualRemovals, "push blob again × delete it"),
    (Mutation::CommitBeforeObject, "push blob × push the same blob"),
    (Mutation::EraseBeforeCommit, "push blob again × gc"),
    (Mutation::ConflictAsDone, "push blob × push the same blob"),
    (Mutation::ObjectsStay, "push blob × push the same blob"),
    (Mutation::PauseAsEnd, "slow PATCH × GET status"),
    (Mutation::StallRuleForgotten, "a day × push blob × gc"),
    (Mutation::LifetimeNotShared, "a day × push blob × gc"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "meta/"), "first start × first start"),
    (Mutation::NotPutting("meta/"), "first start × first start"),
    (Mutation::Eventual("meta/"), "first start × first start"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "lease/"), "acquire × acquire"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "lease/"), "renew × acquire a lease that has ended"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "lease/"), "acquire × gc of a lease that has ended"),
    (Mutation::NotPutting("lease/"), "acquire × acquire"),
    (Mutation::NotDeleting("lease/"), "acquire × acquire"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "signin/"), "sign in × sign in"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "signin/"), "renew × sign out"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "signin/"), "sign in × sign in, no place is left"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "signin/"), "sign in × sign out, no place is left"),
    (Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "signin/"), "sign in × gc of sessions that have ended"),
    (Mutation::NotPutting("signin/"), "sign in × sign in"),
    (Mutation::NotDeleting("signin/"), "sign out × sign out"),
    (Mutation::Eventual("signin/"), "sign in × sign in"),
    (Mutation::EventualRemovals, "sign out × sign out"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "token/"), "make a token × make one"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "token/"), "use a token × revoke it"),
    (
        Mutation::NotExpecting(Sort::Removal, Kind::Exactly, "token/"),
        "make a token in the place of an ended one × revoke that",
    ),
    (Mutation::NotPutting("token/"), "make a token × make one"),
    (Mutation::NotDeleting("token/"), "revoke a token × revoke it"),
    (Mutation::Eventual("token/"), "make a token × make one"),
    (Mutation::EventualRemovals, "revoke a token × revoke it"),
    (Mutation::FetchedUnverified, "fetch blob × fetch it"),
    (Mutation::ManifestUnverified, "pull × pull"),
    (Mutation::ResumedFromTheStart, "fetch a blob that breaks off × fetch it"),
    (Mutation::TagBeforeManifest, "pull × pull"),
    (Mutation::UpstreamNotAsked, "fetch a blob that is elsewhere, and not at the upstream"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "mirrored/"), "pull of an old tag × evict tag"),
    (Mutation::NotDeleting("mirrored/"), "pull × evict tag"),
    (Mutation::NotPutting("use/hub/"), "pull an image for another platform × evict its index"),
    (Mutation::NotExpecting(Sort::Push, Kind::Present, "link/hub/"), "fetch blob again × gc"),
    (Mutation::NotDeleting("pulled/"), "fetch blob again × make room"),
    (Mutation::NotPutting("quarantine/"), "scrub of a damaged blob × GET"),
    (Mutation::NotDeleting("quarantine/"), "push a blob in quarantine × push it"),
    (Mutation::NotDeleting("quarantine/"), "import a blob in quarantine × GET"),
    (Mutation::Eventual("quarantine/"), "scrub of a damaged blob × GET"),
    (Mutation::DamageInUse, "scrub of a damaged blob × GET"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "deleted/"), "push × push × delete by digest, to be undeleted"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "deleted/"), "undelete × gc"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "deletedtag/"), "undelete tag × undelete it under another name"),
    (Mutation::NotExpecting(Sort::Removal, Kind::NoneUnder, "deletedtagged/"), "purge × delete by tag"),
    (Mutation::NotPutting("deleted/"), "delete by digest × undelete it"),
    (Mutation::NotPutting("deletedpayload/"), "delete by digest × undelete it"),
    (Mutation::NotPutting("deletedtag/"), "delete by tag × undelete it"),
    (Mutation::NotPutting("deletedtagged/"), "delete by tag × undelete it"),
    (Mutation::NotDeleting("deleted/"), "undelete × undelete"),
    (Mutation::NotDeleting("deletedpayload/"), "undelete × undelete"),
    (Mutation::NotDeleting("deletedtag/"), "undelete × undelete by tag"),
    (Mutation::NotDeleting("deletedtagged/"), "undelete × undelete by tag"),
    (Mutation::NotPutting("meta/protected"), "protect × delete by tag"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "meta/protected"), "protect × protect"),
    (Mutation::PurgedReleased, "purge × gc, where objects are kept"),
    (Mutation::NeedsForgotten, "delete by digest × undelete it"),
    (Mutation::NotExpecting(Sort::Push, Kind::Present, "tag/"), "note a pull × delete by tag"),
    (Mutation::NotExpecting(Sort::Push, Kind::Absent, "pulled"), "note a pull × note it"),
    (Mutation::NotExpecting(Sort::Push, Kind::Exactly, "pulled"), "note a pull again × note it"),
    (Mutation::NotDeleting("pulledtag/"), "note a pull × delete by tag"),
    (Mutation::NotDeleting("pulledmanifest/"), "note a pull × delete by digest"),
    (Mutation::NotPutting("activity/"), "push manifest × pull, with activity"),
    (Mutation::NotDeleting("activity/"), "push manifest × forget what happened"),
    (Mutation::PiecesUntold, "undelete by several commits × GET"),
    (Mutation::ForgetsAll, "push manifest × forget what happened lately"),
    (Mutation::Import(Importing::BlobAnew), "import blob × import it elsewhere"),
    (Mutation::Import(Importing::AsHashed), "import blob × push it"),
    (Mutation::Import(Importing::ErasingWhatIsNamed), "import blob × push it"),
    (Mutation::Import(Importing::ManifestAnew), "import manifest × push the same"),
    (Mutation::Import(Importing::UsesForgotten), "import manifest × push the same"),
    (Mutation::Import(Importing::CountingNothing), "import manifest × push the same"),
    (Mutation::Import(Importing::OverPushed), "import tag that moved × push it"),
    (Mutation::Import(Importing::PushedAsImported), "import tag that moved × push it"),
    (Mutation::Import(Importing::ImportedAsPushed), "import tag × import it elsewhere"),
    (Mutation::Import(Importing::TagAlone), "import tag × delete its manifest"),
    (Mutation::Import(Importing::QuarantineStays), "import a hashed blob in quarantine × push it"),
];

/// A kind of expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Kind {
    Absent,
    Present,
    Exactly,
    NoneUnder,
}

fn kind(expectation: &Expect) -> (Kind, &str) {
    match expectation {
        Expect::Absent(key) => (Kind::Absent, key.as_str()),
        Expect::Present(key) => (Kind::Present, key.as_str()),
        Expect::Exactly(key, _) => (Kind::Exactly, key.as_str()),
        Expect::NoneUnder(prefix) => (Kind::NoneUnder, prefix.as_str()),
    }
}

fn sort(commit: &Commit) -> Sort {
    let with_removals = ["left/", "event/", "activity/", "released/", "deleted"];
    let puts = commit.put.iter().any(|(key, _)| !with_removals.iter().any(|family| key.as_str().starts_with(family)));
    if puts { Sort::Push } else { Sort::Removal }
}

impl Altered for Commit {
    const CHANGES: bool = true;

    fn perform(mut self, store: &mut Store, body: &RequestBody) -> Result<Committed, Fault> {
        let begins = |key: &Key, with: &str| key.as_str().starts_with(with);
        match store.mutation {
            Mutation::NotExpecting(of, missing, with) if of == sort(&self) => self.expect.retain(|expectation| {
                let (kind, key) = kind(expectation);
                kind != missing || !key.starts_with(with)
            }),
            Mutation::NotPutting(with) => self.put.retain(|(key, _)| !begins(key, with)),
            Mutation::PiecesUntold => {
                // Each commit of an undelete but the first has another beginning of its nonce.
                let told_once = |name: &str| name.get(14..23) == Some("-00000000") && !name.contains("-from-");
                self.put.retain(|(key, _)| key.as_str().strip_prefix("activity/").is_none_or(told_once));
            }
            Mutation::NotDeleting(with) => self.delete.retain(|key| !begins(key, with)),
            Mutation::NotAdding(with) => self.add.retain(|(key, _)| !begins(key, with)),
            Mutation::NotTaking => self.add.retain(|(_, more)| *more > 0),
            Mutation::MarkStays => {
                let counts = |expected: &Expect| kind(expected).1.starts_with("recount/");
                if !self.expect.iter().any(counts) {
                    self.delete.retain(|key| !begins(key, "recount/"));
                }
            }
            Mutation::Eventual(with) if self.put.iter().any(|(key, _)| begins(key, with)) => {
                self.durability = Durability::Eventual;
            }
            Mutation::EventualRemovals if sort(&self) == Sort::Removal => self.durability = Durability::Eventual,
            Mutation::ReleasedLongAgo => {
                for (_, value) in self.put.iter_mut().filter(|(key, _)| begins(key, "released/")) {
                    let Ok(record) = serde_json::from_slice::<ReleasedRecord>(value) else { continue };
                    let long_ago = ReleasedRecord { released: Timestamp(0), ..record };
                    *value = serde_json::to_vec(&long_ago).unwrap_or_default().into();
                }
            }
            Mutation::DamageInUse if self.put.iter().any(|(key, _)| begins(key, "quarantine/")) => {
                self.put.retain(|(key, _)| begins(key, "quarantine/"));
            }
            Mutation::ManifestUnverified => {
                for (_, value) in self.put.iter_mut().filter(|(key, _)| begins(key, "payload/hub/")) {
                    *value = altered(value);
                }
            }
            Mutation::TagBeforeManifest if self.put.iter().any(|(key, _)| begins(key, "mirrored/")) => {
                let puts = std::mem::take(&mut self.put).into_iter();
                let (tags, others) = puts.partition(|(key, _)| begins(key, "tag"));
                let first = Commit { put: tags, add: Vec::new(), delete: Vec::new(), ..self.clone() };
                if store.commit(first)? == Committed::Conflict {
                    return Ok(Committed::Conflict);
                }
                self.expect.clear();
                self.durability = Durability::Eventual;
                self.put = others;
            }
            Mutation::NeedsForgotten => {
                let deleted = self.put.iter().find_map(|(key, _)| key.as_str().strip_prefix("deleted/"));
                if let Some((repository, digest)) = deleted.and_then(|deleted| deleted.split_once('@')) {
                    let prefix = format!("use/{repository}@");
                    let of_it = |key: &&Key| begins(key, &prefix) && key.as_str().ends_with(digest);
                    let uses: Vec<Key> = store.memory.records.keys().filter(of_it).cloned().collect();
                    self.delete.extend(uses);
                }
            }
            Mutation::Import(mistake) => mistake.alter(&mut self),
            Mutation::EraseBeforeCommit => {
                let named = self.delete.iter().filter_map(|key| key.as_str().strip_prefix("object/")?.parse().ok());
                store.execute(Erase { objects: named.collect() }, body)?;
            }
            _ => {}
        }
        let released = self.put.iter().filter_map(|(key, _)| key.as_str().strip_prefix("released/")?.parse().ok());
        let released: Vec<ObjectId> = released.collect();
        let superfluous = match store.mutation {
            Mutation::Import(mistake) => mistake.superfluous(&self),
            _ => Vec::new(),
        };
        let mut committed = store.commit(self)?;
        if committed == Committed::Done && !superfluous.is_empty() {
            store.execute(Erase { objects: superfluous }, body)?;
        }
        if store.mutation == Mutation::ReleasedErased && !released.is_empty() {
            Erase { objects: released }.perform(store, body)?;
        }
        if store.mutation == Mutation::ConflictAsDone {
            committed = Committed::Done;
        }
        Ok(committed)
    }
}

impl Altered for Receive {
    const CHANGES: bool = true;

    fn perform(self, store: &mut Store, body: &RequestBody) -> Result<Received, Fault> {
        let object = self.object;
        let mut received = store.execute(self, body)?;
        if store.mutation == Mutation::PauseAsEnd && received.end == orlop_core::effect::BodyEnd::Later {
            received.end = orlop_core::effect::BodyEnd::Whole;
        }
        store.delay(object);
        Ok(received)
    }
}

impl Altered for Scan {
    const CHANGES: bool = false;

    fn perform(mut self, store: &mut Store, body: &RequestBody) -> Result<Vec<(Key, Value)>, Fault> {
        if store.mutation == Mutation::ForgetsAll && self.prefix.as_str() == "activity/" {
            // A place by its time is where the old ones begin.
            self.after = self.after.filter(|after| after.as_str().contains('-'));
        }
        store.execute(self, body)
    }
}

impl Altered for Join {
    const CHANGES: bool = true;

    fn perform(self, store: &mut Store, body: &RequestBody) -> Result<bool, Fault> {
        let into = self.into;
        let joined = store.execute(self, body)?;
        store.delay(into);
        Ok(joined)
    }
}

impl Altered for Erase {
    const CHANGES: bool = true;

    fn perform(self, store: &mut Store, body: &RequestBody) -> Result<(), Fault> {
        if matches!(store.mutation, Mutation::ObjectsStay | Mutation::PurgedReleased) {
            return Ok(());
        }
        store.erased(&self.objects);
        store.execute(self, body)
    }
}

/// An object that the mutation [`CommitBeforeObject`](Mutation::CommitBeforeObject) holds back.
pub(super) type Delayed = (ObjectId, (Bytes, Timestamp));

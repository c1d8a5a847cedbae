//! The steps of a history, and how they are drawn. Numbers choose among what is in [`world`](super::world).

use std::ops::Range;

use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;

use super::world::{ARTIFACT_TYPES, BLOBS, CHUNKS, MANIFESTS, REPOSITORIES, TAGS};

/// What an operator has decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) sparse: bool,
    pub(crate) delete: bool,
    pub(crate) mount_from_anywhere: bool,
    /// Manifests that nothing names go.
    pub(crate) untagged_go: bool,
    /// Objects stay when their record is gone.
    pub(crate) keeps: bool,
    /// What is deleted can be undeleted for a while.
    pub(crate) undeletes: bool,
}

/// A step: what is done, and how the storage fails meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Event(pub(crate) Operation, pub(crate) Option<Failure>);

/// The storage fails once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// At this effect of the call, counted from 0; a call of fewer effects is not troubled.
    pub(crate) effect: usize,
    /// Whether the effect happens all the same.
    pub(crate) done: bool,
    /// Whether there is no space left, or something worse.
    pub(crate) full: bool,
}

/// Something that is done.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Every blob that a manifest needs is pushed.
    Stock {
        repository: usize,
    },
    PostBlob {
        repository: usize,
        blob: usize,
        long: bool,
        flaw: Option<Flaw>,
    },
    Open {
        repository: usize,
        algorithm: Option<&'static str>,
    },
    Mount {
        repository: usize,
        blob: usize,
        from: Option<usize>,
    },
    Chunk {
        session: usize,
        bytes: usize,
        place: Place,
        cut: bool,
    },
    Finish {
        session: usize,
        bytes: usize,
        place: Place,
        long: bool,
        flaw: Option<Flaw>,
    },
    Cancel {
        session: usize,
    },
    Status {
        session: usize,
        elsewhere: bool,
    },
    PutManifest {
        repository: usize,
        manifest: usize,
        reference: Reference,
        tags: Vec<usize>,
        flaw: Option<PutFlaw>,
        condition: Option<Condition>,
    },
    GetManifest {
        repository: usize,
        reference: Reference,
        accept: Option<&'static str>,
        head: bool,
        condition: Option<Condition>,
    },
    DeleteManifest {
        repository: usize,
        reference: Reference,
    },
    GetBlob {
        repository: usize,
        blob: usize,
        long: bool,
        range: Option<&'static str>,
        head: bool,
    },
    DeleteBlob {
        repository: usize,
        blob: usize,
        long: bool,
    },
    Tags {
        repository: usize,
        n: Option<usize>,
        last: Option<usize>,
    },
    Catalog {
        n: Option<usize>,
        last: Option<usize>,
    },
    Referrers {
        repository: usize,
        manifest: usize,
        filter: Option<usize>,
    },
    /// What was deleted comes back: by its own name, or under another tag.
    Undelete {
        repository: usize,
        reference: Reference,
        force: bool,
        named: Option<usize>,
    },
    /// Something is removed at once, or all that was deleted in the repository.
    Purge {
        repository: usize,
        reference: Option<Reference>,
        force: bool,
    },
    /// A protect mark is set or removed.
    Protect {
        repository: usize,
        reference: Reference,
        remove: bool,
    },
    /// Time passes, in seconds, and it may be that garbage collection comes.
    Pass {
        seconds: u64,
        collects: bool,
    },
}

/// How a manifest is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reference {
    Tag(usize),
    /// By SHA-256, or by SHA-512.
    Digest(usize, bool),
    /// The list that is kept for a tag.
    ListOf(usize),
}

/// Where a chunk says that it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Streamed,
    Next,
    At(usize),
}

/// What is wrong with bytes that are pushed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flaw {
    OtherDigest,
    NoDigest,
    Cut,
}

/// What is wrong with a manifest that is pushed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PutFlaw {
    OtherType,
    NoType,
    ForeignType,
    NoManifest,
    Cut,
}

/// What a client knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Condition {
    IfMatch(Option<usize>),
    IfNoneMatch(Option<usize>),
}

/// Draws an operation by drawing its fields.
macro_rules! draw {
    ($name:ident { $($field:ident: $from:expr),* $(,)? }) => {
        ($($from,)*).prop_map(|($($field,)*)| Operation::$name { $($field),* }).boxed()
    };
}

pub(crate) fn setting() -> impl Strategy<Value = Setting> {
    let delete = prop::bool::weighted(0.9);
    (prop::bool::weighted(0.2), delete, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(sparse, delete, mount_from_anywhere, untagged_go, keeps)| Setting {
            sparse,
            delete,
            mount_from_anywhere,
            untagged_go,
            keeps,
            undeletes: false,
        },
    )
}

/// Where what is deleted can be undeleted. (A purge does not heed that objects stay.)
pub(crate) fn undeleting() -> impl Strategy<Value = Setting> {
    setting().prop_map(|setting| Setting { undeletes: true, keeps: false, ..setting })
}

/// Histories in which nothing fails.
pub(crate) fn untroubled(length: Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    vec(operation().prop_map(|operation| Event(operation, None)), length).prop_map(stocked)
}

/// Histories in which the storage fails now and then.
pub(crate) fn failing(length: Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    let failure =
        (0..8usize, any::<bool>(), any::<bool>()).prop_map(|(effect, done, full)| Failure { effect, done, full });
    vec((operation(), weighted(0.3, failure)).prop_map(|(operation, failure)| Event(operation, failure)), length)
        .prop_map(stocked)
}

/// Histories in which much is deleted and undeleted, purged and protected.
pub(crate) fn administered(length: Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    vec(administering().prop_map(|operation| Event(operation, None)), length).prop_map(stocked)
}

/// The same with a storage that fails now and then. (A purge is many commits, and is not troubled.)
pub(crate) fn administered_failing(length: Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    let failure =
        (0..12usize, any::<bool>(), any::<bool>()).prop_map(|(effect, done, full)| Failure { effect, done, full });
    let event = (administering(), weighted(0.3, failure)).prop_map(|(operation, failure)| {
        let whole = matches!(operation, Operation::Purge { .. });
        Event(operation, failure.filter(|_| !whole))
    });
    vec(event, length).prop_map(stocked)
}

fn administering() -> impl Strategy<Value = Operation> {
    let delete = draw!(DeleteManifest { repository: repository(), reference: reference() });
    prop_oneof![
        30 => operation(),
        8 => delete,
        10 => draw!(Undelete {
            repository: repository(), reference: reference(), force: seldom(), named: weighted(0.2, 0..TAGS.len()),
        }),
        3 => draw!(Purge { repository: repository(), reference: weighted(0.8, reference()), force: seldom() }),
        3 => draw!(Protect { repository: repository(), reference: reference(), remove: any::<bool>() }),
    ]
}

/// Mostly blobs are there from the beginning, so that manifests can be pushed at once. What is not needed goes when
/// the history is shrunk.
fn stocked(mut events: Vec<Event>) -> Vec<Event> {
    for repository in (0..REPOSITORIES.len()).filter(|repository| events.len() > 10 + repository).collect::<Vec<_>>() {
        events.insert(0, Event(Operation::Stock { repository }, None));
    }
    events
}

fn operation() -> impl Strategy<Value = Operation> {
    // Half of what untagged manifests and blobs have, and more than these and sessions have.
    let seconds = prop::sample::select(vec![0, 40 * 60, 61 * 60, 13 * 3600, 25 * 3600, 8 * 24 * 3600]);
    let pass = draw!(Pass { seconds: seconds, collects: any::<bool>() });
    prop_oneof![16 => blobs(), 16 => uploads(), 27 => manifests(), 5 => lists(), 5 => pass]
}

fn repository() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => Just(1), 3 => Just(REPOSITORIES.len() - 1)]
}

fn seldom() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.15)
}

fn flaw() -> impl Strategy<Value = Option<Flaw>> {
    weighted(0.15, prop_oneof![Just(Flaw::OtherDigest), Just(Flaw::NoDigest), Just(Flaw::Cut)])
}

fn blobs() -> impl Strategy<Value = Operation> {
    let blob = || 0..BLOBS.len();
    let ranges = vec!["bytes=1-2", "bytes=0-0,2-", "bytes=999-", "bytes=-4", "bytes=3-1", "bytes=0-,0-", "lines=1"];
    let range = of(prop::sample::select(ranges));
    prop_oneof![
        6 => draw!(PostBlob { repository: repository(), blob: blob(), long: seldom(), flaw: flaw() }),
        3 => draw!(Mount { repository: repository(), blob: blob(), from: of(repository()) }),
        3 => draw!(GetBlob { repository: repository(), blob: blob(), long: seldom(), range: range, head: seldom() }),
        1 => draw!(DeleteBlob { repository: repository(), blob: blob(), long: seldom() }),
    ]
}

fn uploads() -> impl Strategy<Value = Operation> {
    let session = || 0..4usize;
    let place =
        || prop_oneof![3 => Just(Place::Streamed), 3 => Just(Place::Next), 2 => (0..20usize).prop_map(Place::At)];
    let bytes = || prop_oneof![1 => Just(0), 4 => 1..CHUNKS.len() - 1, 1 => Just(CHUNKS.len() - 1)];
    let algorithm = weighted(0.3, prop_oneof![Just("sha512"), Just("sha256"), Just("md5")]);
    let long = any::<bool>();
    prop_oneof![
        3 => draw!(Open { repository: repository(), algorithm: algorithm }),
        5 => draw!(Chunk { session: session(), bytes: bytes(), place: place(), cut: seldom() }),
        4 => draw!(Finish { session: session(), bytes: bytes(), place: place(), long: long, flaw: flaw() }),
        1 => draw!(Cancel { session: session() }),
        2 => draw!(Status { session: session(), elsewhere: seldom() }),
    ]
}

fn reference() -> impl Strategy<Value = Reference> {
    let tag = || 0..TAGS.len();
    let digest = (0..MANIFESTS.len(), seldom()).prop_map(|(manifest, long)| Reference::Digest(manifest, long));
    prop_oneof![6 => tag().prop_map(Reference::Tag), 3 => digest, 1 => tag().prop_map(Reference::ListOf)]
}

fn manifests() -> impl Strategy<Value = Operation> {
    let tag = || 0..TAGS.len();
    let condition = || {
        let which = || of(0..MANIFESTS.len());
        weighted(0.15, prop_oneof![which().prop_map(Condition::IfMatch), which().prop_map(Condition::IfNoneMatch)])
    };
    use PutFlaw::{Cut, ForeignType, NoManifest, NoType, OtherType};
    let flaws = vec![OtherType, NoType, ForeignType, NoManifest, Cut];
    let flaw = weighted(0.1, prop::sample::select(flaws));
    let put = draw!(PutManifest {
        repository: repository(),
        manifest: 0..MANIFESTS.len(),
        reference: reference(),
        tags: vec(tag(), 0..3),
        flaw: flaw,
        condition: condition(),
    });
    let accept = of(prop::sample::select(&ACCEPTED[..]));
    let (repository, head) = (repository, any::<bool>());
    prop_oneof![
        16 => put.prop_map(mostly_right),
        5 => draw!(GetManifest {
            repository: repository(), reference: reference(), accept: accept, head: head, condition: condition(),
        }),
        3 => draw!(DeleteManifest { repository: repository(), reference: reference() }),
    ]
}

/// What clients accept.
const ACCEPTED: [&str; 5] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json;q=0.1",
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json;q=0",
    "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
    "*/*",
];

/// A push by digest is mostly by the right one, and one by tag has no further tags.
fn mostly_right(mut operation: Operation) -> Operation {
    if let Operation::PutManifest { manifest, reference, tags, .. } = &mut operation {
        match reference {
            Reference::Digest(other, _) if *other % 4 > 0 => *other = *manifest,
            Reference::Tag(_) => tags.clear(),
            _ => {}
        }
    }
    operation
}

fn lists() -> impl Strategy<Value = Operation> {
    let few = of(prop_oneof![0..3usize, Just(1001)]);
    let filter = of(0..ARTIFACT_TYPES.len());
    prop_oneof![
        2 => draw!(Tags { repository: repository(), n: of(0..4usize), last: of(0..TAGS.len()) }),
        1 => draw!(Catalog { n: few, last: of(repository()) }),
        2 => draw!(Referrers { repository: repository(), manifest: 0..MANIFESTS.len(), filter: filter }),
    ]
}

//! The operations that histories are made of, over a small world: two repositories, a few blobs, images and tags.

use std::fmt;

use super::super::capabilities::Capabilities;
use super::super::chance::Chance;

/// How many repositories, blobs, images and tags there are.
pub(super) const REPOSITORIES: usize = 2;
pub(super) const BLOBS: usize = 4;
pub(super) const IMAGES: usize = 6;
pub(super) const TAGS: [&str; 3] = ["a", "b", "v1"];

/// One thing that a client does. Numbers name repositories, blobs, images, tags and sessions; an operation on a
/// session that was never opened does nothing, so that any part of a history is a history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Operation {
    Open { repo: usize, session: usize },
    Patch { session: usize, place: Place, size: usize },
    Status { session: usize },
    Finish { session: usize, right: bool, size: usize },
    Cancel { session: usize },
    PushBlob { repo: usize, blob: usize },
    PostBlob { repo: usize, blob: usize },
    Mount { repo: usize, blob: usize },
    GetBlob { repo: usize, blob: usize, part: bool },
    HeadBlob { repo: usize, blob: usize },
    DeleteBlob { repo: usize, blob: usize },
    PutManifest { repo: usize, image: usize, tag: Option<usize> },
    GetManifest { repo: usize, reference: Reference, head: bool },
    DeleteManifest { repo: usize, reference: Reference },
    Tags { repo: usize, n: Option<usize>, last: Option<usize> },
    Referrers { repo: usize, image: usize },
}

/// How a manifest is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Reference {
    Tag(usize),
    Digest(usize),
}

/// Where a chunk says it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It says nothing.
    Streamed,
    /// Where the session ends.
    Next,
    /// Some bytes further on.
    Beyond,
    /// At the beginning.
    Again,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "tag {}", TAGS[*tag]),
            Self::Digest(image) => write!(f, "the digest of image {image}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |place: &Place| match place {
            Place::Streamed => "without Content-Range",
            Place::Next => "where the session ends",
            Place::Beyond => "beyond the end of the session",
            Place::Again => "at 0 again",
        };
        match self {
            Self::Open { repo, session } => write!(f, "open session {session} in repository {repo}"),
            Self::Patch { session, place: at, size } => {
                write!(f, "send {size} bytes to session {session}, {}", place(at))
            }
            Self::Status { session } => write!(f, "ask session {session} where it stands"),
            Self::Finish { session, right: true, size } => write!(f, "finish session {session} with {size} bytes more"),
            Self::Finish { session, right: false, .. } => write!(f, "finish session {session} under a wrong digest"),
            Self::Cancel { session } => write!(f, "cancel session {session}"),
            Self::PushBlob { repo, blob } => write!(f, "push blob {blob} to repository {repo}"),
            Self::PostBlob { repo, blob } => write!(f, "push blob {blob} to repository {repo} by one POST"),
            Self::Mount { repo, blob } => write!(f, "mount blob {blob} into repository {repo} from the other"),
            Self::GetBlob { repo, blob, part: false } => write!(f, "get blob {blob} of repository {repo}"),
            Self::GetBlob { repo, blob, part: true } => write!(f, "get a part of blob {blob} of repository {repo}"),
            Self::HeadBlob { repo, blob } => write!(f, "head of blob {blob} of repository {repo}"),
            Self::DeleteBlob { repo, blob } => write!(f, "delete blob {blob} of repository {repo}"),
            Self::PutManifest { repo, image, tag: Some(tag) } => {
                write!(f, "put image {image} to repository {repo} as tag {}", TAGS[*tag])
            }
            Self::PutManifest { repo, image, tag: None } => {
                write!(f, "put image {image} to repository {repo} by digest")
            }
            Self::GetManifest { repo, reference, head } => {
                write!(f, "{} {reference} of repository {repo}", if *head { "head of" } else { "get" })
            }
            Self::DeleteManifest { repo, reference } => write!(f, "delete {reference} of repository {repo}"),
            Self::Tags { repo, n, last } => {
                write!(f, "list tags of repository {repo}")?;
                n.iter().try_for_each(|n| write!(f, ", n={n}"))?;
                last.iter().try_for_each(|last| write!(f, ", last={}", TAGS[*last]))
            }
            Self::Referrers { repo, image } => write!(f, "list referrers of image {image} in repository {repo}"),
        }
    }
}

/// Makes a history of that many operations, none that the registry does not offer.
pub fn generate(chance: &mut Chance, can: &Capabilities, length: usize) -> Vec<Operation> {
    let mut operations = Vec::with_capacity(length);
    let mut sessions = 0;
    // Mostly a repository has its blobs from the beginning: images can be pushed at once, and what is not needed
    // goes when the history is shrunk.
    for repo in 0..REPOSITORIES {
        if length > 2 * REPOSITORIES * BLOBS && !chance.once_in(4) {
            operations.extend((0..BLOBS).map(|blob| Operation::PushBlob { repo, blob }));
        }
    }
    while operations.len() < length {
        let operation = one(chance, sessions);
        let offered = match &operation {
            Operation::PostBlob { .. } => can.single_post,
            Operation::Cancel { .. } => can.cancel,
            Operation::Mount { .. } => can.mount,
            Operation::GetBlob { part: true, .. } => can.ranges,
            Operation::DeleteBlob { .. } => can.delete_blob,
            Operation::DeleteManifest { reference: Reference::Tag(_), .. } => can.delete_tag,
            Operation::DeleteManifest { reference: Reference::Digest(_), .. } => can.delete_manifest,
            Operation::Referrers { .. } => can.referrers,
            Operation::PutManifest { image: 2, .. } => can.docker_types,
            Operation::Patch { .. } | Operation::Status { .. } | Operation::Finish { .. } => sessions > 0,
            _ => true,
        };
        if offered {
            sessions += usize::from(matches!(operation, Operation::Open { .. }));
            let changed = match operation {
                Operation::PutManifest { repo, .. } | Operation::DeleteManifest { repo, .. } => Some(repo),
                _ => None,
            };
            operations.push(operation);
            // What was changed is looked at soon.
            if let Some(repo) = changed.filter(|_| chance.once_in(2)) {
                let reference = Reference::Tag(chance.below(TAGS.len()));
                operations.push(Operation::GetManifest { repo, reference, head: chance.once_in(4) });
            }
        }
    }
    operations.truncate(length);
    operations
}

fn one(chance: &mut Chance, sessions: usize) -> Operation {
    let repo = chance.below(REPOSITORIES);
    let blob = chance.below(BLOBS);
    let image = chance.below(IMAGES);
    let tag = chance.below(TAGS.len());
    let size = 1 + chance.below(40);
    // Mostly the newest sessions: older ones have ended.
    let session = sessions.saturating_sub(1 + chance.below(2));
    let reference = if chance.once_in(2) { Reference::Tag(tag) } else { Reference::Digest(image) };
    let place = match chance.below(6) {
        0 => Place::Streamed,
        1 => Place::Beyond,
        2 => Place::Again,
        _ => Place::Next,
    };
    match chance.below(40) {
        0..3 => Operation::Open { repo, session: sessions },
        3..7 => Operation::Patch { session, place, size },
        7 => Operation::Status { session },
        8 | 9 => {
            Operation::Finish { session, right: !chance.once_in(4), size: if chance.once_in(2) { 0 } else { size } }
        }
        10 => Operation::Cancel { session },
        11..15 => Operation::PushBlob { repo, blob },
        15 | 16 => Operation::PostBlob { repo, blob },
        17 | 18 => Operation::Mount { repo, blob },
        19 => Operation::GetBlob { repo, blob, part: chance.once_in(3) },
        20 => Operation::HeadBlob { repo, blob },
        21 => Operation::DeleteBlob { repo, blob },
        22..30 => Operation::PutManifest { repo, image, tag: if chance.once_in(3) { None } else { Some(tag) } },
        30..33 => Operation::GetManifest { repo, reference, head: chance.once_in(2) },
        33..35 => Operation::DeleteManifest { repo, reference },
        35..38 => Operation::Tags {
            repo,
            n: if chance.once_in(2) { Some(chance.below(4)) } else { None },
            last: if chance.once_in(3) { Some(tag) } else { None },
        },
        _ => Operation::Referrers { repo, image: if chance.once_in(3) { image } else { 0 } },
    }
}

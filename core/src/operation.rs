//! What a request is about, in a word: for logs and counts.

use alloc::borrow::Cow;
use alloc::string::ToString;

use crate::asked::Asked;
use crate::http::Method;
use crate::name::Repository;
use crate::target::{Reference, Target};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// What is done, such as `pull-manifest`: one of a few words.
    pub name: &'static str,
    /// Where.
    pub repository: Option<&'a Repository>,
    /// With what: a tag, a digest, or the id of an upload.
    pub reference: Option<Cow<'a, str>>,
}

impl<'a> Operation<'a> {
    /// Of a request that may be of any kind.
    pub fn of(asked: &'a Asked) -> Self {
        use Method::{Delete, Get, Head, Patch, Post, Put};
        let done = |name, repository, reference| Self { name, repository, reference };
        let parameter = |name: &str| asked.query.get(name).map(Cow::from);
        let Ok(target) = &asked.target else { return done("other", None, None) };
        match (target, asked.request.method) {
            (Target::Base, Get | Head) => done("base", None, None),
            (Target::Catalog, Get | Head) => done("list-repositories", None, None),
            (Target::Tags(name), Get | Head) => done("list-tags", Some(name), None),
            (Target::Referrers(name, of), Get | Head) => {
                done("list-referrers", Some(name), Some(of.to_string().into()))
            }
            (Target::Blob(name, digest), Get | Head) => done("pull-blob", Some(name), Some(digest.to_string().into())),
            (Target::Blob(name, digest), Delete) => done("delete-blob", Some(name), Some(digest.to_string().into())),
            (Target::Uploads(name), Post) => match (parameter("digest"), parameter("mount")) {
                (Some(digest), _) => done("push-blob", Some(name), Some(digest)),
                (None, Some(digest)) => done("mount-blob", Some(name), Some(digest)),
                (None, None) => done("start-upload", Some(name), None),
            },
            (Target::Upload(name, id), method) => {
                let word = match method {
                    Get | Head => "upload-status",
                    Patch => "upload-chunk",
                    Put => return done("push-blob", Some(name), parameter("digest")),
                    Delete => "cancel-upload",
                    _ => return done("other", Some(name), None),
                };
                done(word, Some(name), Some(id.to_string().into()))
            }
            (Target::Manifest(name, reference), method) => {
                let word = match (method, reference) {
                    (Get | Head, _) => "pull-manifest",
                    (Put, _) => "push-manifest",
                    (Delete, Reference::Tag(_)) => "delete-tag",
                    (Delete, Reference::Digest(_)) => "delete-manifest",
                    _ => "other",
                };
                let reference = match reference {
                    Reference::Tag(tag) => tag.as_str().into(),
                    Reference::Digest(digest) => digest.to_string().into(),
                };
                done(word, Some(name), Some(reference))
            }
            _ => done("other", None, None),
        }
    }

    /// Whether it changes what the registry holds, once it is done: what an auditor wants to know.
    pub fn changes(&self) -> bool {
        ["push-", "mount-", "delete-"].iter().any(|word| self.name.starts_with(word))
    }
}

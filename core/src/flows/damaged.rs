//! What is damaged, and who needs it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Call;
use super::quarantine::unreadable;
use crate::ambient::Timestamp;
use crate::digest::Digest;
use crate::effect::Scan;
use crate::error::Error;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::{self, QuarantineRecord};

/// How much that is damaged a page has.
const PAGE: usize = 100;

/// How many images are named that need something.
const NAMED: usize = 100;

/// After how many names of images, tags and repositories a page ends: it bounds one to some megabytes.
const NAMES: usize = 20_000;

/// Some of what is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DamagedPage {
    /// It, in the order of the keys.
    pub damaged: Vec<Damage>,
    /// Behind which key the next page begins; none when this is the last.
    pub next: Option<Key>,
}

/// Something that is damaged, and out of use until it is pushed or fetched again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// What it is: `blob <digest>` or `manifest <repository>@<digest>`.
    pub what: String,
    /// When that was found.
    pub since: Timestamp,
    /// What is wrong with it.
    pub problem: String,
    /// The images that need it, or that it is, some hundred at most.
    pub needed_by: Vec<NeededBy>,
    /// Which repositories have it, some thousand at most.
    pub repositories: Vec<String>,
}

/// An image that needs something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededBy {
    /// Where it is.
    pub repository: String,
    /// The manifest.
    pub digest: String,
    /// The tags that name it, by itself or by an index.
    pub tags: Vec<String>,
}

impl Call {
    /// A page of what is damaged.
    pub(crate) async fn damaged(&self, after: Option<Key>) -> Result<DamagedPage, Error> {
        let prefix = keys::quarantine();
        let page =
            self.ask(Scan { prefix: prefix.clone(), after, limit: PAGE, bytes: crate::config::SCAN_BYTES }).await?;
        let last = page.last().map(|(key, _)| key.clone());
        let full = page.len() == PAGE;
        let (mut damaged, mut names) = (Vec::new(), 0);
        for (key, value) in page {
            let note = record::decode::<QuarantineRecord>(&key, &value);
            let note =
                note.unwrap_or_else(|damaged| QuarantineRecord { since: Timestamp(0), problem: unreadable(&damaged) });
            let rest = prefix.rest(&key);
            let one = match rest.rsplit_once('@') {
                Some((name, digest)) => {
                    let mut needed_by = Vec::new();
                    if let (Ok(name), Ok(digest)) = (name.parse(), digest.parse()) {
                        self.name_images(&name, BTreeSet::from([digest]), &mut needed_by).await?;
                    }
                    self.damage(format!("manifest {rest}"), note, needed_by, Vec::from([name.into()]))
                }
                None => {
                    let mut needed_by = Vec::new();
                    let mut repositories = Vec::new();
                    if let Ok(digest) = rest.parse() {
                        repositories = self.holders(&digest).await?;
                        for name in repositories.iter().filter_map(|name| name.parse().ok()) {
                            let users = self.users(&name, &digest).await?;
                            self.name_images(&name, users, &mut needed_by).await?;
                        }
                    }
                    self.damage(format!("blob {rest}"), note, needed_by, repositories)
                }
            };
            names += one.needed_by.iter().map(|image| 1 + image.tags.len()).sum::<usize>() + one.repositories.len();
            damaged.push(one);
            let is_last = last.as_ref() == Some(&key);
            if names >= NAMES && !is_last {
                return Ok(DamagedPage { damaged, next: Some(key) });
            }
        }
        Ok(DamagedPage { damaged, next: last.filter(|_| full) })
    }

    fn damage(
        &self,
        what: String,
        QuarantineRecord { since, problem }: QuarantineRecord,
        needed_by: Vec<NeededBy>,
        repositories: Vec<String>,
    ) -> Damage {
        Damage { what, since, problem, needed_by, repositories }
    }

    /// The first manifests of a repository that need something.
    async fn users(&self, name: &Repository, needed: &Digest) -> Result<BTreeSet<Digest>, Error> {
        let prefix = keys::users(name, needed);
        let page = self.scan(&prefix, None).await?;
        Ok(page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok()).collect())
    }

    /// Names these manifests, each with the tags of it and of the indexes that list it, as long as there are few.
    async fn name_images(
        &self,
        name: &Repository,
        manifests: BTreeSet<Digest>,
        named: &mut Vec<NeededBy>,
    ) -> Result<(), Error> {
        for digest in manifests {
            if named.len() == NAMED {
                return Ok(());
            }
            let mut by = self.users(name, &digest).await?;
            by.insert(digest);
            let mut tags = BTreeSet::new();
            for manifest in by {
                let prefix = keys::tagged_with(name, &manifest);
                let page = self.scan(&prefix, None).await?;
                tags.extend(page.iter().map(|(key, _)| prefix.rest(key).to_string()));
            }
            let tags = tags.into_iter().take(NAMED).collect();
            named.push(NeededBy { repository: name.to_string(), digest: digest.to_string(), tags });
        }
        Ok(())
    }
}

//! A layout that many images go into. Its index is written once for many of them, and is this process's meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use orlop_core::digest::Digest;
use serde_json::{Value, json};

use super::layout::{Layout, REF_NAME};
use super::manifest::Parts;
use super::{Destination, Found, Role, Source, Writing};
use crate::remote::Failure;

/// A layout whose index is in memory until it is [written](Collected::write_index).
#[derive(Debug)]
pub struct Collected<'l> {
    layout: &'l Layout,
    entries: Mutex<Entries>,
    /// Locked as long as this lives, if anything is to be written.
    _locked: Option<std::fs::File>,
}

#[derive(Debug, Default)]
struct Entries {
    all: Vec<Value>,
    tags: HashMap<String, usize>,
    /// How many entries each manifest has.
    digests: HashMap<String, usize>,
    changed: bool,
}

impl Entries {
    fn of(listed: &[Value]) -> Self {
        let mut entries = Self::default();
        for entry in listed {
            entries.add(entry.clone());
        }
        Self { changed: false, ..entries }
    }

    fn add(&mut self, entry: Value) {
        let tag = entry["annotations"][REF_NAME].as_str().map(str::to_owned);
        let digest = entry["digest"].as_str().unwrap_or_default().to_owned();
        self.changed = true;
        let place = match tag.as_ref().and_then(|tag| self.tags.get(tag)) {
            Some(&place) => {
                let before = std::mem::replace(&mut self.all[place], entry);
                let before = before["digest"].as_str().unwrap_or_default();
                if let Some(count) = self.digests.get_mut(before) {
                    *count -= 1;
                    if *count == 0 {
                        self.digests.remove(before);
                    }
                }
                place
            }
            None => {
                self.all.push(entry);
                self.all.len() - 1
            }
        };
        *self.digests.entry(digest).or_default() += 1;
        if let Some(tag) = tag {
            self.tags.insert(tag, place);
        }
    }
}

impl<'l> Collected<'l> {
    /// Over a layout, which is locked against others that write it unless it is a dry run.
    ///
    /// # Errors
    ///
    /// When it cannot be locked or read.
    pub async fn over(layout: &'l Layout, dry_run: bool) -> Result<Self, Failure> {
        let locked = if dry_run { None } else { Some(layout.locked().await?) };
        let index = layout.index().await?;
        let entries = Entries::of(index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default());
        Ok(Self { layout, entries: Mutex::new(entries), _locked: locked })
    }

    /// Writes the index, if something was added to it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub async fn write_index(&self) -> Result<(), Failure> {
        let manifests = {
            let mut entries = self.entries();
            if !std::mem::take(&mut entries.changed) {
                return Ok(());
            }
            entries.all.clone()
        };
        let mut index = self.layout.index().await?;
        index["manifests"] = manifests.into();
        self.layout.write_index(&index).await
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Destination for Collected<'_> {
    async fn has_manifest(&self, reference: &str) -> Result<Option<Digest>, Failure> {
        let digest = match reference.parse() {
            Ok(digest) => Some(digest),
            Err(_) => {
                let entries = self.entries();
                let entry = entries.tags.get(reference).map(|place| &entries.all[*place]);
                entry.and_then(|entry| entry["digest"].as_str()?.parse().ok())
            }
        };
        Ok(match digest {
            Some(digest) if self.layout.has_blob(&digest).await? => Some(digest),
            _ => None,
        })
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Failure> {
        self.layout.has_blob(digest).await
    }

    async fn write(&self, digest: &Digest, source: &dyn Source) -> Result<Writing, Failure> {
        self.layout.write(digest, source).await
    }

    async fn put_manifest(&self, found: &Found, role: Role<'_>) -> Result<(), Failure> {
        self.layout.keep(found).await?;
        let mut entry =
            json!({ "mediaType": found.media_type, "digest": found.digest.to_string(), "size": found.bytes.len() });
        match role {
            Role::Tagged(tag) => entry["annotations"] = json!({ REF_NAME: tag }),
            Role::Whole => {}
            // What refers to another manifest is found nowhere but there.
            Role::Part if Parts::of(&found.bytes, &found.digest)?.subject.is_some() => {}
            Role::Part => return Ok(()),
        }
        let mut entries = self.entries();
        if matches!(role, Role::Tagged(_)) || !entries.digests.contains_key(&found.digest.to_string()) {
            entries.add(entry);
        }
        Ok(())
    }

    async fn lists_referrer(&self, _: &Digest, referrer: &Digest) -> Result<bool, Failure> {
        Ok(self.entries().digests.contains_key(&referrer.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_whose_tag_moved_is_listed_no_more() {
        let entry = |digest: &str, tag: &str| json!({ "digest": digest, "annotations": { REF_NAME: tag } });
        let mut entries = Entries::of(&[entry("a", "v1"), entry("a", "v2"), entry("b", "v3")]);
        entries.add(entry("b", "v1"));
        assert!(entries.digests.contains_key("a"), "by the other tag");
        entries.add(entry("b", "v2"));
        assert!(!entries.digests.contains_key("a"));
        assert_eq!((entries.all.len(), entries.digests["b"]), (3, 3));
    }
}

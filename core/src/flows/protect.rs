//! Protect marks: what they keep from being deleted, and how they are set (SPEC X20).
//!
//! All marks are one record. Whoever deletes reads it and expects it unchanged, so no delete is made past a mark that
//! was set before.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Call;
use super::batch::{Batch, Found};
use super::delete::StoredManifest;
use super::pages::Pages;
use super::undelete::Refused;
use crate::config::{ATTEMPTS, PROTECT_MARKS};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Value};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::name::{Repository, Tag};
use crate::protect::Mark;
use crate::record::{ProtectMark, ProtectedRecord};

/// All marks as they were read.
pub(super) struct Marks(Option<Found<ProtectedRecord>>);

impl Marks {
    pub(super) fn key() -> Key {
        keys::protected()
    }

    /// Reads the value of [`Marks::key`].
    pub(super) fn read(value: Option<Value>) -> Result<Self, Error> {
        Ok(Self(Found::read(Self::key(), value)?))
    }

    /// That no mark was set or removed since.
    pub(super) fn unchanged(&self) -> Expect {
        self.0.as_ref().map_or(Expect::Absent(Self::key()), Found::unchanged)
    }

    /// Whether something may be protected in the repository.
    pub(super) fn speak_of(&self, name: &Repository) -> bool {
        self.all().any(|mark| mark.speaks_of(name))
    }

    /// Refuses when the tag is protected.
    pub(super) fn tag(&self, name: &Repository, tag: &Tag) -> Result<(), Error> {
        let mark = self.all().find(|mark| mark.protects_tag(name, tag));
        mark.map_or(Ok(()), |mark| Err(refused(&format!("the tag {tag} of {name} is"), mark)))
    }

    /// Refuses when the manifest is protected by its digest.
    pub(super) fn manifest(&self, name: &Repository, digest: &Digest) -> Result<(), Error> {
        let mark = self.all().find(|mark| mark.protects_manifest(name, digest));
        mark.map_or(Ok(()), |mark| Err(refused(&format!("{digest} of {name} is"), mark)))
    }

    fn all(&self) -> impl Iterator<Item = &Mark> {
        self.0.iter().flat_map(|found| found.record.marks.iter().map(|mark| &mark.what))
    }
}

fn refused(what: &str, mark: &Mark) -> Error {
    Error::Denied(format!(
        "{what} protected from being deleted by the mark `{mark}`; an administrator can remove it: orlop unprotect '{mark}'"
    ))
}

impl Call {
    pub(super) async fn marks(&self) -> Result<Marks, Error> {
        let [value] = self.get([Marks::key()]).await?;
        Marks::read(value)
    }

    /// Sees that no mark protects the manifest: by its digest, by a tag that names it, or by an index that has it and is
    /// protected itself. What must hold for that to stay so is expected by `batch`. (An index that comes at the same
    /// moment, beside others that have the manifest, is not seen.)
    pub(super) async fn unmarked(
        &self,
        batch: &mut Batch,
        name: &Repository,
        digest: &Digest,
        marks: &Marks,
    ) -> Result<(), Error> {
        batch.expect(marks.unchanged());
        if !marks.speak_of(name) {
            return Ok(());
        }
        let (mut seen, mut next) = (BTreeSet::from([*digest]), Vec::from([*digest]));
        while let Some(one) = next.pop() {
            marks.manifest(name, &one)?;
            let tagged = keys::tagged_with(name, &one);
            let mut pages = Pages::new(&tagged);
            while let Some(page) = pages.next(self).await? {
                for tag in page.iter().filter_map(|(key, _)| tagged.rest(key).parse().ok()) {
                    marks.tag(name, &tag)?;
                }
            }
            let users = keys::users(name, &one);
            let (mut pages, mut any) = (Pages::new(&users), false);
            while let Some(page) = pages.next(self).await? {
                any = true;
                for user in page.iter().filter_map(|(key, _)| users.rest(key).parse::<Digest>().ok()) {
                    let found: Option<StoredManifest> = self.find(keys::manifest(name, &user)).await?;
                    // One that was deleted protects nothing. Whoever points a tag at one writes its record anew.
                    let Some(found) = found.filter(|_| seen.insert(user)) else { continue };
                    batch.expect(found.unchanged());
                    next.push(user);
                }
            }
            if !any && one == *digest {
                batch.expect(Expect::NoneUnder(users));
            }
        }
        Ok(())
    }

    /// All marks, in the order of their texts.
    pub(crate) async fn protections(&self) -> Result<Vec<ProtectMark>, Error> {
        Ok(self.marks().await?.0.map(|found| found.record.marks).unwrap_or_default())
    }

    /// Sets a mark. `false` when it was set before.
    pub(crate) async fn protect(&self, mark: &Mark) -> Result<bool, Refused> {
        let since = self.ambient.now;
        self.change_marks(|marks| match place(marks, mark) {
            Ok(_) => Ok(false),
            Err(_) if marks.len() >= PROTECT_MARKS => Err(Refused::TooManyMarks),
            Err(at) => {
                marks.insert(at, ProtectMark { what: mark.clone(), since });
                Ok(true)
            }
        })
        .await
    }

    /// Whether there is a tag or manifest now that a mark protects by its name.
    pub(crate) async fn protects_any(&self, mark: &Mark) -> Result<bool, Error> {
        if let Some(name) = mark.repository() {
            return self.protects_any_of(mark, &name).await;
        }
        let prefix = keys::repositories();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            let names = page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Repository>().ok());
            for name in names.filter(|name| mark.speaks_of(name)) {
                if self.protects_any_of(mark, &name).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn protects_any_of(&self, mark: &Mark, name: &Repository) -> Result<bool, Error> {
        if let Some(digest) = mark.digest() {
            return Ok(self.get([keys::manifest(name, digest)]).await? != [None]);
        }
        let prefix = keys::tags(name);
        let protected = |key: &Key| prefix.rest(key).parse().is_ok_and(|tag| mark.protects_tag(name, &tag));
        Ok(!self.has_only(&prefix, |key| !protected(key)).await?)
    }

    /// Removes a mark. `false` when there is no such mark.
    pub(crate) async fn unprotect(&self, mark: &Mark) -> Result<bool, Refused> {
        self.change_marks(|marks| {
            let found = place(marks, mark).ok();
            found.map(|at| marks.remove(at));
            Ok(found.is_some())
        })
        .await
    }

    async fn change_marks(
        &self,
        change: impl Fn(&mut Vec<ProtectMark>) -> Result<bool, Refused>,
    ) -> Result<bool, Refused> {
        for _ in 0..ATTEMPTS {
            let before = self.marks().await?;
            let mut batch = Batch::reclaiming();
            batch.expect(before.unchanged());
            let mut record = before.0.map(|found| found.record).unwrap_or_default();
            if !change(&mut record.marks)? {
                return Ok(false);
            }
            match record.marks.is_empty() {
                true => batch.delete(Marks::key()),
                false => batch.put(Marks::key(), &record),
            }
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(true);
            }
        }
        Err(Refused::Contention)
    }
}

/// Where a mark is, or where it belongs.
fn place(marks: &[ProtectMark], mark: &Mark) -> Result<usize, usize> {
    let text = mark.to_string();
    marks.binary_search_by_key(&text, |mark| String::from(mark.what.clone()))
}

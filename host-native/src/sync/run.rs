//! One run of a sync: each repository, each tag.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use orlop_core::name::{Repository, Tag};
use tokio::sync::Semaphore;

use super::Ready;
use super::course::{ALL, Course, Stopped};
use super::date::made;
use super::journal::Journal;
use super::place::{Reading, Side};
use super::select::Chosen;
use super::tagging::Tagging;
use crate::copy::{Copying, How, Told};
use crate::remote::{Descriptor, Failure};

/// How many tags are compared at once.
const COMPARED: usize = 8;

/// How many tags are copied at once.
const COPIED: usize = 2;

/// How often a tag is copied that changes at the source meanwhile.
const ATTEMPTS: usize = 3;

/// Why something is left out that a registry lists.
const NO_NAME: &str = "this can be no name: it is left out";

/// How far a run is: its journal, as it grows.
pub(super) struct Progress(Mutex<Journal>);

impl Progress {
    pub(super) fn new(journal: Journal) -> Self {
        Self(Mutex::new(journal))
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told for Progress {
    fn planned(&self, _: usize, _: u64) {}

    fn moved(&self, _: u64) {}

    fn done(&self, blob: &Descriptor, how: How) {
        let counts = &mut self.journal().counts;
        match how {
            How::There | How::Failed => {}
            How::Mounted => counts.mounted += 1,
            How::Copied | How::Missing => {
                counts.blobs += 1;
                counts.bytes += blob.size;
            }
        }
    }
}

/// What became of a tag that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Copied,
    There,
}

impl Ready<'_> {
    /// Copies all that is to be copied. What fails is in the journal, and keeps nothing else from being copied as long as a
    /// login works and registries answer.
    pub(super) async fn run(&self, progress: &Progress, dry_run: bool) {
        progress.journal().doing = "listing the repositories".into();
        let repositories = match self.repositories().await {
            Ok((repositories, wrong)) => {
                wrong.iter().for_each(|name| progress.journal().fail(name, None, NO_NAME.into()));
                repositories
            }
            Err(failure) => {
                let mut journal = progress.journal();
                journal.unfinished = true;
                return journal.fail(ALL, None, format!("they cannot be listed: {failure}"));
            }
        };
        progress.journal().forgive(ALL, None);
        let mut course = Course::new(progress, dry_run);
        for repository in &repositories {
            course.enters();
            let namesake = self.sync.setting.namesake(repository);
            if let Some(other) = namesake.filter(|other| repositories.binary_search(other).is_ok()) {
                progress.journal().fail(repository, None, one_name(&other));
                continue;
            }
            if let Err(Stopped::Run) = self.repository(repository, &mut course).await {
                return;
            }
        }
    }

    /// The names of the repositories at the source, in order, and those that it lists and that can be none, as they may be
    /// printed.
    async fn repositories(&self) -> Result<(Vec<String>, Vec<String>), Failure> {
        let setting = &self.sync.setting;
        let mut names: Vec<_> = setting.repositories.iter().filter(|name| !name.contains('*')).cloned().collect();
        let mut wrong = Vec::new();
        if names.len() < setting.repositories.len() {
            for name in self.from.repositories().await? {
                if name.parse::<Repository>().is_err() {
                    wrong.push(name.escape_debug().to_string());
                } else if setting.takes(&name) {
                    names.push(name);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok((names, wrong))
    }

    async fn repository(&self, repository: &str, course: &mut Course<'_>) -> Result<(), Stopped> {
        let (progress, dry_run) = (course.progress, course.dry_run);
        let Some((from, to)) = self.sides(repository) else {
            progress.journal().fail(repository, None, "it has no name at the destination".into());
            return Ok(());
        };
        progress.journal().doing = format!("listing the tags of {repository}");
        let listed = match from.tags().await {
            Ok(listed) => listed,
            Err(failure) => return course.fails(repository, None, "its tags cannot be listed: ", &failure),
        };
        if self.sync.setting.tags.is_empty() {
            for tag in listed.iter().filter(|tag| tag.parse::<Tag>().is_err()) {
                progress.journal().fail(repository, Some(&tag.escape_debug().to_string()), NO_NAME.into());
            }
        }
        let chosen = match self.chosen(&from, &to, &listed).await {
            Ok(chosen) => chosen,
            Err(failure) => {
                return course.fails(repository, None, "the newest tags cannot be found out: ", &failure);
            }
        };
        let left: Vec<String> = {
            let mut journal = progress.journal();
            journal.doing = format!("copying {} tags of {repository}", chosen.len());
            let mut left: Vec<_> = chosen.into_iter().filter(|tag| !journal.is_past(repository, tag)).collect();
            journal.forgive(repository, None);
            // What failed before comes last: it may fail again, until the repository is passed over.
            left.sort_by_key(|tag| journal.has_failed(repository, Some(tag)));
            left
        };
        let room = Semaphore::new(COPIED);
        // In order, so that all tags up to one are done.
        let mut done = stream::iter(left)
            .map(|tag| async {
                let became = self.tag(&from, &to, &tag, progress, Some(&room), dry_run).await;
                (tag, became)
            })
            .buffered(COMPARED);
        while let Some((tag, became)) = done.next().await {
            match became {
                Ok(became) => {
                    course.works();
                    progress.journal().done(repository, &tag, became);
                }
                Err(failure) => {
                    course.fails(repository, Some(&tag), "", &failure)?;
                    progress.journal().reach(repository, tag);
                }
            }
        }
        drop(done);
        if self.sync.setting.mirror_deletes {
            self.delete(repository, (&from, &to), &listed, course).await?;
        }
        Ok(())
    }

    /// A repository at the source and at the destination, if it is one of those that are copied.
    pub(super) fn sides(&self, repository: &str) -> Option<(Side, Side)> {
        let renamed = self.sync.setting.takes(repository).then(|| self.sync.setting.renamed(repository))??;
        Some((self.from.repository(repository), self.to.repository(&renamed)))
    }

    /// Whether the source has tags in another repository that would have the same name at the destination.
    ///
    /// # Errors
    ///
    /// That it has, or that it cannot be found out.
    pub(super) async fn is_alone(&self, repository: &str) -> Result<(), Failure> {
        let namesake = self.sync.setting.namesake(repository).filter(|other| self.sync.setting.takes(other));
        let Some(other) = namesake else { return Ok(()) };
        match self.from.repository(&other).tags().await {
            Err(Failure::Absent) => Ok(()),
            Ok(tags) if tags.is_empty() => Ok(()),
            Ok(_) => Err(Failure::Unusable(one_name(&other))),
            Err(failure) => Err(failure),
        }
    }

    /// The tags that are to be copied, of those that there are.
    pub(super) async fn chosen(&self, from: &Side, to: &Side, listed: &[String]) -> Result<Vec<String>, Failure> {
        let (tags, newest) = match self.sync.selection.of(listed) {
            Chosen::Tags(tags) => return Ok(tags),
            Chosen::ByDate(tags, newest) => (tags, newest),
        };
        let reading = Reading { from, to, pace: &self.sync.pace };
        let mut dated = Vec::with_capacity(tags.len());
        for tag in tags {
            // By its digest, what this registry has need not be asked of another one.
            let digest = match from.destination().has_manifest(&tag).await {
                Err(Failure::Unusable(_)) => None,
                digest => digest?.map(|digest| digest.to_string()),
            };
            dated.push((made(&reading, digest.as_ref().unwrap_or(&tag)).await?, tag));
        }
        dated.sort();
        let mut tags: Vec<String> = dated.into_iter().rev().take(newest).map(|(_, tag)| tag).collect();
        tags.sort_unstable();
        Ok(tags)
    }

    /// Copies a tag, unless it is there. `room` bounds how many are copied at once.
    pub(super) async fn tag(
        &self,
        from: &Side,
        to: &Side,
        tag: &str,
        progress: &Progress,
        room: Option<&Semaphore>,
        dry_run: bool,
    ) -> Result<Became, Failure> {
        let there = || to.destination().has_manifest(tag);
        let whole = self.is_whole_where_its_digest_is(&progress.journal().complete);
        if whole && self.sync.selection.is_fixed(tag) && there().await?.is_some() {
            return Ok(Became::There);
        }
        let mut digest = from.digest_of(tag).await?;
        if whole && there().await? == Some(digest) {
            return Ok(Became::There);
        }
        let _permit = match room {
            Some(room) => room.acquire().await.ok(),
            None => None,
        };
        for _ in 0..ATTEMPTS {
            let became = self.image(from, to, &digest.to_string(), Some(tag), progress, dry_run).await?;
            if let Some(became) = became {
                return Ok(became);
            }
            digest = from.digest_of(tag).await?;
        }
        Err(Failure::Unusable(format!("it has changed at the source {ATTEMPTS} times while it was copied")))
    }

    /// Whether a manifest at the destination has all that belongs to it. Its referrers may have changed since it was
    /// copied; of the images in an index, those may be there that an earlier setting chose.
    fn is_whole_where_its_digest_is(&self, complete: &str) -> bool {
        let first = complete.is_empty() && self.sync.platforms.is_empty();
        !self.sync.setting.referrers && (first || complete == self.sync.completeness())
    }

    /// Copies an image, with what refers to it if that is wanted. Nothing when the tag that it was to have does not name
    /// it at the source any more, and so is left as it is.
    pub(super) async fn image(
        &self,
        from: &Side,
        to: &Side,
        reference: &str,
        tag: Option<&str>,
        progress: &Progress,
        dry_run: bool,
    ) -> Result<Option<Became>, Failure> {
        let tagging = Tagging::new(from, to);
        let copying = Copying {
            source: &Reading { from, to, pace: &self.sync.pace },
            destination: &tagging,
            platform: None,
            platforms: &self.sync.platforms,
            referrers: self.sync.setting.referrers,
            mends: false,
            dry_run,
            told: progress,
        };
        let copied = copying.copy(reference, tag).await.map_err(|failed| failed.failure)?;
        if tagging.has_moved() {
            return Ok(None);
        }
        if let Some(worst) = copied.worst {
            return Err(worst.saying(copied.failures.join("; ")));
        }
        let nothing = copied.manifests == 0 && copied.blobs == 0 && copied.mounted == 0;
        Ok(Some(if nothing { Became::There } else { Became::Copied }))
    }

    /// Deletes the tags at the destination that the source no longer has, of those that would be copied. An empty list
    /// deletes nothing: it is more likely to be a mistake than to be meant.
    async fn delete(
        &self,
        repository: &str,
        (from, to): (&Side, &Side),
        listed: &[String],
        course: &mut Course<'_>,
    ) -> Result<(), Stopped> {
        let there = match to.tags().await {
            Ok(there) => there,
            Err(Failure::Absent) => return Ok(()),
            Err(failure) => {
                return course.fails(repository, None, "the tags at the destination cannot be listed: ", &failure);
            }
        };
        let listed: HashSet<&String> = listed.iter().collect();
        let goes = |tag: &&String| !listed.contains(tag) && self.sync.selection.takes(tag);
        let gone: Vec<&String> = there.iter().filter(goes).collect();
        if listed.is_empty() && !gone.is_empty() {
            let name = self.sync.name();
            tracing::warn!(
                "sync {name}: {repository} has no tags at the source: nothing is deleted at the destination"
            );
            return Ok(());
        }
        for tag in gone {
            match delete_if_gone(from, to, tag, course.dry_run).await {
                Ok(deleted) => {
                    course.works();
                    let mut journal = course.progress.journal();
                    journal.forgive(repository, Some(tag));
                    journal.counts.deleted += u64::from(deleted);
                }
                Err(failure) => course.fails(repository, Some(tag), "it is not deleted: ", &failure)?,
            }
        }
        Ok(())
    }
}

/// Deletes a tag at the destination if the source says that it does not have it; whether it did. The list of the source is
/// as old as the run, so the tag may have been pushed since, and it may have been shorter than it should.
async fn delete_if_gone(from: &Side, to: &Side, tag: &str, dry_run: bool) -> Result<bool, Failure> {
    match from.digest_of(tag).await {
        Ok(_) => return Ok(false),
        Err(Failure::Absent) => {}
        Err(failure) => return Err(failure),
    }
    if !dry_run {
        to.delete_tag(tag).await?;
    }
    Ok(true)
}

/// Says of a repository that the other one has its name at the destination.
fn one_name(other: &str) -> String {
    format!(
        "it would have the same name at the destination as {other}, so neither is copied: change `strip` or `repositories`"
    )
}

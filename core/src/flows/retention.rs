//! Retention: what the rules let go is deleted (SPEC X40 to X59). What goes is judged by [`crate::retention`], from what
//! is read here.
//!
//! A plan reads, and commits nothing. A run plans anew and does nothing when that is not the plan it was told; then it
//! deletes tag by tag, each by a commit that expects the tag as it was read, and its pulls where a rule asks for them. So
//! what is pushed, moved, pulled or protected meanwhile stays, and a crash leaves a part of the plan done. Manifests that
//! no tag needs go after that: an index before its children, a subject before its referrers, each by a commit that
//! expects that nothing has come to need it. Where what goes can be undeleted, these stay until it is purged.

mod inventory;

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use self::inventory::{Inventory, ReadManifest, ReadTag};
use super::Call;
use super::batch::{Batch, Found};
use super::delete::{End, Removal, Removed};
use super::maintained::TagState;
use super::protect::Marks;
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get, Value};
use crate::error::Error;
use crate::event::{self, Happening};
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::LeftRecord;
use crate::retention::{Judgement, Plan, Rule, SeenTag, judge};

/// Who deletes, for whoever looks at what was deleted.
pub(crate) const BY: &str = "retention";

/// How many things that have changed meanwhile a report names one by one.
const NAMED: usize = 1000;

/// What became of a run in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Retained {
    /// Nothing: it was told another plan, and this is what it would do now.
    Changed(Plan),
    /// Nothing: a person has to agree to this plan.
    Waits(Plan),
    /// It was done.
    Done(RetentionReport),
}

/// What a run did in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RetentionReport {
    /// Tags that were deleted.
    pub tags_deleted: u64,
    /// Manifests that no tag needed, which were deleted.
    pub manifests_deleted: u64,
    /// What was to go and stays, because it was pushed, pulled, protected or deleted meanwhile; some thousand at most.
    pub changed: Vec<String>,
    /// How many manifests stay until garbage collection has ended what needs them.
    pub manifests_left: u64,
}

/// What became of one thing that was to go.
enum Outcome {
    Deleted,
    Changed,
    /// Something still needs it.
    Needed,
}

impl Call {
    /// Finds out what a run would do in a repository. It commits nothing.
    pub(crate) async fn plan_retention(&self, name: &Repository) -> Result<Plan, Error> {
        let inventory = self.inventory(name).await?;
        let judgement = self.judged(name, &inventory);
        Ok(self.planned(name, &inventory, &judgement))
    }

    /// Does what the rules say in a repository: if it is still what was planned, where that is said, and if somebody has
    /// approved it, where that is needed.
    pub(crate) async fn apply_retention(
        &self,
        name: &Repository,
        plan: Option<&str>,
        approved: bool,
    ) -> Result<Retained, Error> {
        let inventory = self.inventory(name).await?;
        let judgement = self.judged(name, &inventory);
        let now = self.planned(name, &inventory, &judgement);
        if plan.is_some_and(|plan| plan != now.plan) {
            return Ok(Retained::Changed(now));
        }
        if now.needs_approval && !approved {
            return Ok(Retained::Waits(now));
        }
        let mut report = RetentionReport::default();
        let going = inventory.seen.tags.iter().zip(&inventory.tags).zip(&judgement.tags);
        for ((seen, read), _) in going.filter(|(_, verdict)| verdict.deleted) {
            let newest = self.newest_beside(name, &inventory, &judgement, seen);
            match self.let_tag_go(name, seen, read, &newest).await? {
                Outcome::Deleted => report.tags_deleted += 1,
                Outcome::Changed | Outcome::Needed => report.stays(seen.tag.to_string()),
            }
        }
        let mut left: Vec<(&Digest, &ReadManifest)> = inventory.going(&judgement).collect();
        loop {
            let before = left.len();
            let mut needed = Vec::new();
            for (digest, read) in left {
                match self.let_manifest_go(name, digest, read).await? {
                    Outcome::Deleted => report.manifests_deleted += 1,
                    Outcome::Changed => report.stays(digest.to_string()),
                    Outcome::Needed => needed.push((digest, read)),
                }
            }
            left = needed;
            // An index that goes frees its children, a subject its referrers.
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        report.manifests_left = (left.len() + judgement.manifests_waiting) as u64;
        Ok(Retained::Done(report))
    }

    /// The repositories behind `after`, as many as a page has; none is the end.
    pub(crate) async fn repositories(&self, after: Option<&Repository>) -> Result<Vec<Repository>, Error> {
        let prefix = keys::repositories();
        let page = self.scan(&prefix, after.map(keys::repository)).await?;
        Ok(page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok()).collect())
    }

    /// Whether there is a repository.
    pub(crate) async fn has_repository(&self, name: &Repository) -> Result<bool, Error> {
        let [found] = self.get([keys::repository(name)]).await?;
        Ok(found.is_some())
    }

    /// The rules that are about a repository. A mirror's has none: what is deleted there comes again.
    fn rules_of(&self, name: &Repository) -> &[Rule] {
        let mirrored = self.config.mirrors.iter().any(|mirror| name.as_str().starts_with(mirror.prefix.as_str()));
        if mirrored { &[] } else { &self.config.retention }
    }

    fn judged(&self, name: &Repository, inventory: &Inventory) -> Judgement {
        judge(self.rules_of(name), name, &inventory.seen, self.ambient.now)
    }

    fn planned(&self, name: &Repository, inventory: &Inventory, judgement: &Judgement) -> Plan {
        let tags = inventory.seen.tags.iter().zip(&inventory.tags).zip(&judgement.tags);
        let tags = tags.filter(|(_, verdict)| verdict.deleted);
        let tags = tags.flat_map(|((seen, read), _)| [seen.tag.as_str().as_bytes(), &read.value[..]]);
        let manifests = inventory.going(judgement).map(|(_, read)| &read.found);
        let manifests = manifests.flat_map(|found| [found.key.as_str().as_bytes(), &found.value[..]]);
        let (read, unreadable) = (tags.chain(manifests), inventory.unreadable_tags.clone());
        Plan::new(self.rules_of(name), name, &inventory.seen, judgement, read, unreadable)
    }

    /// The tags that have to be there still, because they are the last of rules by which another tag is none of these.
    fn newest_beside(
        &self,
        name: &Repository,
        inventory: &Inventory,
        judgement: &Judgement,
        tag: &SeenTag,
    ) -> Vec<Key> {
        let about = self.rules_of(name).iter().filter(|rule| rule.is_about(name) && rule.covers(&tag.tag));
        let last: BTreeSet<usize> =
            about.filter_map(|rule| judgement.last.get(&rule.name)).flatten().copied().collect();
        last.into_iter().filter_map(|at| Some(keys::tag(name, &inventory.seen.tags.get(at)?.tag))).collect()
    }

    /// Deletes a tag, if it is as it was inventory at, and if the `newest` are there: without these it might have to stay.
    async fn let_tag_go(
        &self,
        name: &Repository,
        seen: &SeenTag,
        read: &ReadTag,
        newest: &[Key],
    ) -> Result<Outcome, Error> {
        let tag = &seen.tag;
        let by_pulls = |rule: &Rule| rule.keep_pulled_within.is_some() && rule.is_about(name);
        let by_pulls = self.rules_of(name).iter().any(by_pulls);
        let pulls = [keys::pulled_tag(name, tag), keys::pulled_manifest(name, &seen.digest)];
        for attempt in 0..ATTEMPTS {
            // The commit expects them. Which of its expectations did not hold is not told.
            if attempt > 0 && self.ask(Get { keys: newest.into() }).await?.iter().any(Option::is_none) {
                return Ok(Outcome::Changed);
            }
            let [tag_key, platforms_key] = TagState::keys(name, tag);
            let [by_tag, by_digest] = pulls.clone();
            let [record, platforms, by_tag, by_digest, marks] =
                self.get([tag_key, platforms_key, by_tag, by_digest, Marks::key()]).await?;
            let marks = Marks::read(marks)?;
            let state = TagState::read(name, tag, [record, platforms]);
            let same = state.record.as_ref().is_some_and(|found| found.value == read.value);
            if !same || by_pulls && read.pulls != [by_tag, by_digest] || marks.tag(name, tag).is_err() {
                return Ok(Outcome::Changed);
            }
            let mut batch = Batch::reclaiming();
            if by_pulls {
                let as_they_were = pulls.iter().cloned().zip(read.pulls.iter().cloned());
                as_they_were.for_each(|(key, value)| batch.expect(as_read(key, value)));
            }
            batch.expect(marks.unchanged());
            batch.expect.extend(newest.iter().cloned().map(Expect::Present));
            self.end_tag(&mut batch, name, &state, self.end(BY)).await?;
            self.tell(&mut batch, Happening::Delete, name, None, event::names([tag])).await?;
            if self.commit(batch, Durability::Durable).await? == Committed::Done {
                return Ok(Outcome::Deleted);
            }
        }
        Err(Error::Contention)
    }

    /// Deletes a manifest that no tag needs, if it is as it was inventory at.
    async fn let_manifest_go(&self, name: &Repository, digest: &Digest, read: &ReadManifest) -> Result<Outcome, Error> {
        let found = &read.found;
        let (tagged, users) = (keys::tagged_with(name, digest), keys::users(name, digest));
        let others = [keys::left(name, digest), keys::pulled_manifest(name, digest)];
        let about = self.rules_of(name).iter().filter(|rule| rule.is_about(name));
        let after = about.filter_map(|rule| rule.untagged_after).max().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let [left_key, pulled_key] = others.clone();
            let [now, left, pulled, marks] =
                self.get([found.key.clone(), left_key.clone(), pulled_key, Marks::key()]).await?;
            let noted = [left.clone(), pulled];
            if now.as_ref() != Some(&found.value) || noted[1] != read.pulled || !self.is_empty(&tagged).await? {
                return Ok(Outcome::Changed);
            }
            if !self.is_empty(&users).await? {
                return Ok(Outcome::Needed);
            }
            // What needed it may just have gone by this run, which says when nothing needed that any more. A tag or index
            // that went otherwise has left it only now.
            let left = Found::<LeftRecord>::read(left_key, left)?;
            let lately = |left: &Found<LeftRecord>| self.ambient.now.since(left.record.left) < after;
            if left.as_ref().is_some_and(lately) {
                return Ok(Outcome::Changed);
            }
            let mut also = Batch::reclaiming();
            also.expect = Vec::from([Expect::NoneUnder(tagged.clone()), Expect::NoneUnder(users.clone())]);
            others.iter().cloned().zip(noted).for_each(|(key, value)| also.expect(as_read(key, value)));
            also.expect(Expect::NoneUnder(keys::deleted_tagged_with(name, digest)));
            if let Some(subject) = &found.record.subject {
                let keys = [keys::manifest(name, subject), keys::deleted(name, subject)];
                // One that may come back finds its referrers.
                if self.get(keys.clone()).await? != [None, None] {
                    return Ok(Outcome::Needed);
                }
                also.expect.extend(keys.map(Expect::Absent));
            }
            match self.unmarked(&mut also, name, digest, &Marks::read(marks)?).await {
                Err(Error::Denied(_)) => return Ok(Outcome::Changed),
                marked => marked?,
            }
            let unnamed = left.map_or(found.record.came(), |left| left.record.left.max(found.record.came()));
            // A list that the registry has made, it makes again.
            let end = if found.record.maintained { End::Collected } else { self.end(BY) };
            let removal = Removal { also, unnamed, end, told: true };
            if self.remove_manifest(name, digest, found, removal, &mut Removed::default()).await? == Committed::Done {
                return Ok(Outcome::Deleted);
            }
        }
        Err(Error::Contention)
    }
}

/// That a record is as it was read, or still is not there.
fn as_read(key: Key, value: Option<Value>) -> Expect {
    match value {
        Some(value) => Expect::Exactly(key, value),
        None => Expect::Absent(key),
    }
}

impl Inventory {
    /// The manifests that go.
    fn going(&self, judgement: &Judgement) -> impl Iterator<Item = (&Digest, &ReadManifest)> {
        let both = |at: usize| Some((&self.seen.manifests.get(at)?.digest, self.manifests.get(at)?));
        judgement.manifests.iter().filter_map(move |(at, _)| both(*at))
    }
}

impl RetentionReport {
    fn stays(&mut self, what: String) {
        if self.changed.len() < NAMED {
            self.changed.push(what);
        }
    }
}

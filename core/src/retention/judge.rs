//! What becomes of a repository by the rules.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use semver::Version;

use super::{Judgement, Rule, Seen, SeenManifest, SeenTag, Verdict, version};
use crate::ambient::Timestamp;
use crate::config::PULLED_COARSELY;
use crate::digest::Digest;
use crate::name::Repository;

/// What becomes of a repository by these rules, at that time. It asks nothing and changes nothing.
pub fn judge(rules: &[Rule], name: &Repository, seen: &Seen, now: Timestamp) -> Judgement {
    let rules: Vec<&Rule> = rules.iter().filter(|rule| rule.is_about(name)).collect();
    let judging: Vec<Judging<'_>> =
        rules.iter().filter(|rule| rule.judges()).map(|rule| Judging::new(rule, seen, now)).collect();
    let tags = seen.tags.iter().map(|tag| of_tag(&rules, &judging, seen, tag, now)).collect();
    let mut judgement = Judgement { tags, manifests_seen: seen.manifests.len(), ..Judgement::default() };
    for judging in judging.iter().filter(|judging| judging.last.is_some()) {
        let its = seen.tags.iter().enumerate().filter(|(_, tag)| judging.rule.covers(&tag.tag) && judging.is_last(tag));
        judgement.last.insert(judging.rule.name.clone(), its.map(|(at, _)| at).collect());
    }
    for judging in judging.iter().filter(|judging| judging.covered == 0) {
        judgement.warnings.push(format!("the rule `{}` matches no tag of {name}", judging.rule.name));
    }
    if judgement.tags_deleted() == seen.tags.len() && !seen.tags.is_empty() {
        judgement.warnings.push(format!("every tag of {name} would be deleted"));
    }
    untagged(&rules, name, seen, now, &mut judgement);
    judgement
}

/// A rule by which tags of a repository go, and how new those are that stay.
struct Judging<'r> {
    rule: &'r Rule,
    now: Timestamp,
    pulls_since: Option<Timestamp>,
    /// What is as new as this, or newer, is one of the last.
    last: Option<Newness>,
    /// How many tags it is about.
    covered: usize,
}

/// How new a tag is among those of its rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Newness {
    /// By its version.
    Version(Version),
    /// By when it was pushed.
    Pushed(Timestamp),
}

impl Newness {
    fn of(rule: &Rule, tag: &SeenTag) -> Self {
        match rule.semver.as_ref().and_then(|_| version(tag.tag.as_str())) {
            // What was built from it does not make a version newer (SemVer 2.0.0, section 10).
            Some(version) => Self::Version(Version { build: semver::BuildMetadata::EMPTY, ..version }),
            // One that is brought back takes no other's place.
            None => Self::Pushed(tag.pushed),
        }
    }
}

/// When a tag came to be what it is.
fn pushed(tag: &SeenTag) -> Timestamp {
    tag.undeleted.map_or(tag.pushed, |undeleted| undeleted.max(tag.pushed))
}

impl<'r> Judging<'r> {
    fn new(rule: &'r Rule, seen: &Seen, now: Timestamp) -> Self {
        let mut covered: Vec<Newness> =
            seen.tags.iter().filter(|tag| rule.covers(&tag.tag)).map(|tag| Newness::of(rule, tag)).collect();
        covered.sort_unstable_by(|one, other| other.cmp(one));
        let last = rule.keep_last.and_then(|last| usize::try_from(last).ok()?.checked_sub(1));
        let count = covered.len();
        // Fewer than are to be kept: all of them are.
        let last = last.and_then(|last| covered.get(last).or(covered.last()).cloned());
        Self { rule, now, pulls_since: seen.pulls_since, last, covered: count }
    }

    /// Whether a tag is one of the last.
    fn is_last(&self, tag: &SeenTag) -> bool {
        self.last.as_ref().is_some_and(|last| Newness::of(self.rule, tag) >= *last)
    }

    /// Why a tag stays by the rule, or why not.
    fn of(&self, tag: &SeenTag) -> Result<String, String> {
        let Rule { keep_last, keep_pushed_within, keep_pulled_within, .. } = self.rule;
        let mut against: Vec<String> = Vec::new();
        if let (Some(_), Some(number)) = (&self.last, keep_last) {
            if self.is_last(tag) {
                return Ok(format!("one of the last {number}"));
            }
            against.push(format!("not one of the last {number}"));
        }
        let age = self.now.since(pushed(tag));
        if let Some(within) = keep_pushed_within {
            if age < *within {
                return Ok(format!("pushed {} ago", days(age)));
            }
            against.push(format!("pushed {} ago", days(age)));
        }
        if let Some(within) = keep_pulled_within {
            let Some(since) = self.pulls_since else {
                return Ok("it is not known when it was last pulled: no server has noted pulls yet".to_owned());
            };
            let noted = tag.pulled.unwrap_or(since);
            // What was pulled where it was imported from is not known.
            let last = noted.max(tag.imported.unwrap_or_default());
            let used = self.now.since(last.max(pushed(tag)));
            // An hour more: so coarsely it is known.
            if used < within.saturating_add(PULLED_COARSELY) {
                let how = match tag.pulled {
                    _ if pushed(tag) >= last => "pushed",
                    _ if last > noted => "perhaps pulled, before it was imported,",
                    Some(_) => "pulled",
                    None => "perhaps pulled, before pulls were noted,",
                };
                return Ok(format!("{how} {} ago", days(used)));
            }
            against.push(match tag.pulled {
                Some(pulled) => format!("last pulled {} ago", days(self.now.since(pulled))),
                None => format!("not pulled for {}", days(used)),
            });
        }
        Err(against.join(", "))
    }
}

/// What becomes of a tag.
fn of_tag(rules: &[&Rule], judging: &[Judging<'_>], seen: &Seen, tag: &SeenTag, now: Timestamp) -> Verdict {
    if let Some(protected) = &tag.protected {
        return stays(None, protected.clone());
    }
    if tag.undeleted.is_some_and(|undeleted| now.since(undeleted) < seen.undelete_within) {
        return stays(None, "it was brought back lately".to_owned());
    }
    for rule in rules {
        if let Some(pattern) = rule.keeps(&tag.tag) {
            return stays(Some(rule), format!("keep = `{}`", pattern.as_str()));
        }
    }
    let mut against = Vec::new();
    for judging in judging.iter().filter(|judging| judging.rule.covers(&tag.tag)) {
        match judging.of(tag) {
            Ok(reason) => return stays(Some(judging.rule), reason),
            Err(reason) => against.push((judging.rule, reason)),
        }
    }
    match against.as_slice() {
        [] => stays(None, "no rule is about it".to_owned()),
        [(rule, reason)] => Verdict { deleted: true, rule: Some(rule.name.clone()), reason: reason.clone() },
        [(first, _), ..] => {
            let reasons: Vec<String> =
                against.iter().map(|(rule, reason)| format!("by `{}` {reason}", rule.name)).collect();
            Verdict { deleted: true, rule: Some(first.name.clone()), reason: reasons.join("; ") }
        }
    }
}

fn stays(rule: Option<&Rule>, reason: String) -> Verdict {
    Verdict { deleted: false, rule: rule.map(|rule| rule.name.clone()), reason }
}

/// Judges the manifests that no tag needs: not by itself, nor as a child of an index, nor as a referrer of what stays.
fn untagged(rules: &[&Rule], name: &Repository, seen: &Seen, now: Timestamp, judgement: &mut Judgement) {
    let rule = rules.iter().filter(|rule| rule.untagged_after.is_some()).max_by_key(|rule| rule.untagged_after);
    let Some((rule, after)) = rule.and_then(|rule| Some((rule, rule.untagged_after?))) else { return };
    if seen.unreadable > 0 {
        let unreadable =
            format!("{} records of {name} do not read: what no tag needs stays; run orlop check", seen.unreadable);
        return judgement.warnings.push(unreadable);
    }
    let Some(pulls_since) = seen.pulls_since else {
        let unknown = "no server has noted pulls yet: what no tag needs stays for now".to_owned();
        return judgement.warnings.push(unknown);
    };
    let age = |manifest: &SeenManifest| now.since(manifest.since.max(manifest.pulled.unwrap_or(pulls_since)));
    let place = |digest: &Digest| seen.manifests.binary_search_by(|manifest| manifest.digest.cmp(digest)).ok();
    // What is named by a tag that goes is untagged only then, and its time begins.
    let is_root = |manifest: &SeenManifest| {
        let needed_elsewhere = manifest.needed_by.iter().any(|by| place(by).is_none());
        manifest.tagged
            || manifest.protected.is_some()
            || needed_elsewhere
            || age(manifest) < after.saturating_add(PULLED_COARSELY)
    };
    // From what stays by itself to what stays with it.
    let mut next: Vec<Vec<usize>> = seen.manifests.iter().map(|_| Vec::new()).collect();
    for (at, manifest) in seen.manifests.iter().enumerate() {
        for holder in manifest.needed_by.iter().chain(&manifest.subject).filter_map(place) {
            next[holder].push(at);
        }
    }
    let mut reached: Vec<usize> = (0..seen.manifests.len()).filter(|at| is_root(&seen.manifests[*at])).collect();
    let mut alive: BTreeSet<usize> = reached.iter().copied().collect();
    while let Some(at) = reached.pop() {
        reached.extend(next[at].iter().copied().filter(|at| alive.insert(*at)));
    }
    // What can be brought back still needs what it needs, and keeps its referrers.
    let mut waiting: BTreeSet<usize> = BTreeSet::new();
    if !seen.undelete_within.is_zero() {
        let kept = |(at, manifest): &(usize, &SeenManifest)| !alive.contains(at) && !manifest.maintained;
        let mut reached: Vec<usize> = seen.manifests.iter().enumerate().filter(kept).map(|(at, _)| at).collect();
        while let Some(at) = reached.pop() {
            reached.extend(next[at].iter().copied().filter(|at| waiting.insert(*at)));
        }
    }
    judgement.manifests_waiting = waiting.len();
    for (at, manifest) in seen.manifests.iter().enumerate() {
        if alive.contains(&at) || waiting.contains(&at) {
            continue;
        }
        let reason = format!("no tag has needed it for {}", days(age(manifest)));
        judgement.manifests.push((at, Verdict { deleted: true, rule: Some(rule.name.clone()), reason }));
    }
}

/// A time in words that is long enough to be told in days or hours.
fn days(time: Duration) -> String {
    let hours = time.as_secs() / 3600;
    match hours {
        0 => "less than an hour".to_owned(),
        1 => "1 hour".to_owned(),
        2..48 => format!("{hours} hours"),
        _ => (hours / 24).to_string() + " days",
    }
}

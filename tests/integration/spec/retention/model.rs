//! The judgement held against a plain one, on random repositories and rules.

use std::collections::BTreeSet;
use std::time::Duration;

use orlop_core::Timestamp;
use orlop_core::config::Pattern;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::name::Repository;
use orlop_core::retention::{Rule, Seen, SeenManifest, SeenTag, judge};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const NOW: u64 = 100 * DAY;

/// Random choices that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn of<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn some<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.once_in(2)).cloned().collect()
    }

    /// A time that others are likely to have too, and that is now and then in the future.
    fn time(&mut self) -> Timestamp {
        Timestamp(NOW + 2 * DAY - self.below(50) * DAY / 2 + self.of(&[0, 0, HOUR, 1]))
    }

    fn maybe<T>(&mut self, times: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.once_in(times) { Some(make(self)) } else { None }
    }
}

const TAGS: [&str; 10] = ["v1.0", "1.1", "1.1.0", "v1.2", "2.0", "v10.0", "latest", "pr-1", "pr-2", "stable"];
const PATTERNS: [&str; 7] = ["v*", "pr-*", "latest", "*1*", "1.1", "*.0", "nothing-*"];
const NAMES: [&str; 4] = ["team/app", "team/*", "**", "other/**"];
const RANGES: [&str; 3] = [">=1.1", "<2", ">=1, <1.2"];

fn digests() -> Vec<Digest> {
    let mut digests: Vec<Digest> = (0..8_u8).map(|n| Algorithm::Sha256.digest(&[n])).collect();
    digests.sort();
    digests
}

fn rule(random: &mut Random, number: usize) -> Rule {
    let patterns = |texts: Vec<&str>| texts.into_iter().map(Pattern::new).collect::<Vec<_>>();
    let days = |random: &mut Random| Duration::from_millis(random.of(&[DAY, 5 * DAY, 10 * DAY, 40 * DAY]));
    Rule {
        name: number.to_string(),
        repositories: vec![Pattern::new(random.of(&NAMES))],
        tags: if random.once_in(2) { patterns(random.some(&PATTERNS)) } else { Vec::new() },
        semver: random.maybe(4, |random| random.of(&RANGES).parse().expect("a range")),
        keep_last: random.maybe(2, |random| 1 + random.below(5) as u32),
        keep_pushed_within: random.maybe(3, days),
        keep_pulled_within: random.maybe(3, days),
        keep: if random.once_in(4) { patterns(vec![random.of(&PATTERNS)]) } else { Vec::new() },
        untagged_after: random.maybe(3, days),
    }
}

fn repository(random: &mut Random) -> Seen {
    let digests = digests();
    let tags = random.some(&TAGS).into_iter().map(|tag| SeenTag {
        tag: tag.parse().expect("a tag"),
        digest: random.of(&digests),
        pushed: random.time(),
        imported: random.maybe(4, Random::time),
        pulled: random.maybe(2, Random::time),
        undeleted: random.maybe(8, Random::time),
        protected: random.maybe(8, |_| "it is protected".into()),
    });
    let tags: Vec<SeenTag> = tags.collect();
    let manifests = random.some(&digests).into_iter().map(|digest| SeenManifest {
        digest,
        subject: random.maybe(3, |random| random.of(&digests)).filter(|subject| *subject != digest),
        since: random.time(),
        pulled: random.maybe(3, Random::time),
        tagged: tags.iter().any(|tag| tag.digest == digest) || random.once_in(10),
        needed_by: (0..random.of(&[0, 0, 1, 2])).map(|_| random.of(&digests)).filter(|by| *by != digest).collect(),
        maintained: random.once_in(4),
        protected: random.maybe(12, |_| "it is protected".into()),
    });
    let manifests = manifests.collect();
    Seen {
        tags,
        manifests,
        pulls_since: if random.once_in(12) { None } else { Some(random.time()) },
        unreadable: u64::from(random.once_in(12)),
        undelete_within: Duration::from_millis(random.of(&[0, 7 * DAY])),
    }
}

/// Whether a text is what a pattern with stars says.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begin, rest)) => text.strip_prefix(begin).is_some_and(|text| {
            let rest = rest.trim_start_matches('*');
            (0..=text.len()).any(|skipped| fits(rest, &text[skipped..]))
        }),
    }
}

/// A tag as the numbers of its version.
fn numbers(tag: &str) -> Option<(u64, u64)> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let mut numbers = text.split('.').map(str::parse::<u64>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn in_range(range: &str, (major, minor): (u64, u64)) -> bool {
    match range {
        ">=1.1" => (major, minor) >= (1, 1),
        "<2" => major < 2,
        _ => major == 1 && minor < 2,
    }
}

struct Model<'m> {
    rules: Vec<&'m Rule>,
    seen: &'m Seen,
}

impl Model<'_> {
    fn came(tag: &SeenTag) -> u64 {
        tag.pushed.0.max(tag.undeleted.unwrap_or_default().0)
    }

    fn covers(rule: &Rule, tag: &str) -> bool {
        let criteria = [rule.keep_last.is_some(), rule.keep_pushed_within.is_some(), rule.keep_pulled_within.is_some()];
        let range = rule.semver.as_ref().map(ToString::to_string);
        let range = range.map(|range| {
            RANGES.into_iter().find(|known| known.parse::<semver_text::Range>().is_ok_and(|known| known.0 == range))
        });
        let named = rule.tags.is_empty() || rule.tags.iter().any(|pattern| fits(pattern.as_str(), tag));
        let within = range.is_none_or(|range| {
            let range = range.expect("one of the ranges above");
            numbers(tag).is_some_and(|numbers| in_range(range, numbers))
        });
        criteria.contains(&true) && named && within
    }

    fn keeps(&self, rule: &Rule, tag: &SeenTag) -> bool {
        let is_newer = |other: &SeenTag| match rule.semver {
            Some(_) => numbers(other.tag.as_str()) > numbers(tag.tag.as_str()),
            None => other.pushed > tag.pushed,
        };
        let others = self.seen.tags.iter().filter(|other| Self::covers(rule, other.tag.as_str()));
        let newer = others.filter(|other| is_newer(other)).count() as u64;
        let last = rule.keep_last.is_some_and(|last| newer < u64::from(last));
        let ends = |since: u64, time: Duration| since + time.as_millis() as u64 > NOW;
        let pushed = rule.keep_pushed_within.is_some_and(|time| ends(Self::came(tag), time));
        let pulled = rule.keep_pulled_within.is_some_and(|time| match self.seen.pulls_since {
            None => true,
            Some(since) => {
                let pulled = tag.pulled.unwrap_or(since).max(tag.imported.unwrap_or_default());
                ends(Self::came(tag).max(pulled.0) + HOUR, time)
            }
        });
        last || pushed || pulled
    }

    fn goes(&self, tag: &SeenTag) -> bool {
        let name = tag.tag.as_str();
        let back =
            tag.undeleted.is_some_and(|back| NOW.saturating_sub(back.0) < self.seen.undelete_within.as_millis() as u64);
        let kept = self.rules.iter().any(|rule| rule.keep.iter().any(|pattern| fits(pattern.as_str(), name)));
        let about: Vec<&&Rule> = self.rules.iter().filter(|rule| Self::covers(rule, name)).collect();
        let nobody_keeps = !about.is_empty() && about.iter().all(|rule| !self.keeps(rule, tag));
        tag.protected.is_none() && !back && !kept && nobody_keeps
    }

    fn garbage(&self) -> BTreeSet<Digest> {
        let after = self.rules.iter().filter_map(|rule| rule.untagged_after).max();
        let (Some(after), Some(since), 0) = (after, self.seen.pulls_since, self.seen.unreadable) else {
            return BTreeSet::new();
        };
        let mut alive: BTreeSet<Digest> = BTreeSet::new();
        let all: BTreeSet<Digest> = self.seen.manifests.iter().map(|manifest| manifest.digest).collect();
        loop {
            let before = alive.len();
            for manifest in &self.seen.manifests {
                let used = manifest.since.0.max(manifest.pulled.unwrap_or(since).0);
                let young = used + after.as_millis() as u64 + HOUR > NOW;
                let needed = manifest.needed_by.iter().any(|by| alive.contains(by) || !all.contains(by));
                let refers = manifest.subject.is_some_and(|subject| alive.contains(&subject));
                if manifest.tagged || manifest.protected.is_some() || young || needed || refers {
                    alive.insert(manifest.digest);
                }
            }
            if alive.len() == before {
                break;
            }
        }
        let dead: BTreeSet<Digest> = all.difference(&alive).copied().collect();
        let waiting = self.waiting(&dead);
        dead.difference(&waiting).copied().collect()
    }

    /// What has to wait, because what holds it can be brought back.
    fn waiting(&self, dead: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let mut waiting = BTreeSet::new();
        let dead_ones = || self.seen.manifests.iter().filter(|manifest| dead.contains(&manifest.digest));
        loop {
            let before = waiting.len();
            for manifest in dead_ones().filter(|_| !self.seen.undelete_within.is_zero()) {
                let holds = |other: &&SeenManifest| {
                    manifest.needed_by.contains(&other.digest) || manifest.subject == Some(other.digest)
                };
                let stays = |other: &SeenManifest| !other.maintained || waiting.contains(&other.digest);
                if dead_ones().filter(holds).any(stays) {
                    waiting.insert(manifest.digest);
                }
            }
            if waiting.len() == before {
                return waiting;
            }
        }
    }
}

/// A range as it is written out.
mod semver_text {
    pub(super) struct Range(pub(super) String);

    impl std::str::FromStr for Range {
        type Err = ();

        fn from_str(text: &str) -> Result<Self, ()> {
            let rule = orlop_core::retention::Rule { semver: text.parse().ok(), ..Default::default() };
            rule.semver.map(|range| Self(range.to_string())).ok_or(())
        }
    }
}

/// SPEC X40 to X49: `ORLOP_SEED` repeats a run.
#[test]
fn what_goes_is_what_a_plain_reading_of_the_rules_says() {
    let given = std::env::var("ORLOP_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seed = given.unwrap_or(now.as_nanos() as u64);
    println!("ORLOP_SEED={seed}");
    let name: Repository = "team/app".parse().expect("a name");
    let (mut gone, mut kept, mut garbage) = (0, 0, 0);
    for number in 0..5000_u64 {
        let mut random = Random(seed.wrapping_add(number.wrapping_mul(0x1234_5678_9abc_def1)));
        let rules: Vec<Rule> = (0..random.below(4) as usize).map(|number| rule(&mut random, number)).collect();
        let seen = repository(&mut random);
        let judged = judge(&rules, &name, &seen, Timestamp(NOW));
        let about = rules.iter().filter(|rule| rule.repositories.iter().any(|name| fits(name.as_str(), "team/app")));
        let model = Model { rules: about.collect(), seen: &seen };
        assert_eq!(judged.tags.len(), seen.tags.len());
        for (tag, verdict) in seen.tags.iter().zip(&judged.tags) {
            let case = || format!("case {number} of ORLOP_SEED={seed}: {tag:?}: {verdict:?}\n{rules:#?}\n{seen:#?}");
            assert_eq!(verdict.deleted, model.goes(tag), "{}", case());
            assert!(!verdict.reason.is_empty() && (!verdict.deleted || verdict.rule.is_some()), "{}", case());
            if verdict.deleted { gone += 1 } else { kept += 1 }
        }
        let manifests = judged.manifests.iter().map(|(at, _)| seen.manifests[*at].digest);
        let manifests: BTreeSet<Digest> = manifests.collect();
        garbage += manifests.len();
        assert_eq!(manifests, model.garbage(), "case {number} of ORLOP_SEED={seed}\n{rules:#?}\n{seen:#?}");
        let much = |deleted: usize, all: usize| deleted > 0 && (deleted == all || deleted as f64 > all as f64 * 0.2);
        let much = much(judged.tags_deleted(), seen.tags.len()) || much(judged.manifests.len(), seen.manifests.len());
        assert_eq!(judged.needs_approval(), much, "case {number} of ORLOP_SEED={seed}");
    }
    println!("{gone} tags go, {kept} stay; {garbage} manifests go");
    assert!(gone > 500 && kept > 500 && garbage > 100);
}

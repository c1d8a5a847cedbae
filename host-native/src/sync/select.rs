//! Which tags of a repository are copied.

use orlop_core::name::Tag;
use orlop_core::pattern::Pattern;
use orlop_core::retention::version;
use semver::{Version, VersionReq};

use crate::settings::SyncSetting;

/// Which tags of a repository are copied.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    patterns: Vec<Pattern>,
    fixed: Vec<Pattern>,
    range: Option<VersionReq>,
    newest: Option<usize>,
}

/// What is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// These, in the order of their names.
    Tags(Vec<String>),
    /// So many of these, the newest: they are no versions, so their images must say when they were made.
    ByDate(Vec<String>, usize),
}

impl Selection {
    pub(super) fn new(setting: &SyncSetting) -> Self {
        let patterns = setting.tags.iter().map(Pattern::new).collect();
        let fixed = setting.fixed.iter().map(Pattern::new).collect();
        Self { patterns, fixed, range: setting.semver.clone(), newest: setting.newest.map(Into::into) }
    }

    /// Whether a tag is one of those that are copied, however many there are.
    pub(super) fn takes(&self, tag: &str) -> bool {
        let named = |tag: &Tag| self.patterns.is_empty() || self.patterns.iter().any(|one| one.matches_tag(tag));
        let within = |range: &VersionReq| version(tag).is_some_and(|version| range.matches(&version));
        !lists_referrers(tag) && tag.parse().is_ok_and(|tag| named(&tag)) && self.range.as_ref().is_none_or(within)
    }

    /// Whether a tag never moves.
    pub(super) fn is_fixed(&self, tag: &str) -> bool {
        tag.parse::<Tag>().is_ok_and(|tag| self.fixed.iter().any(|pattern| pattern.matches_tag(&tag)))
    }

    /// Chooses of all tags of a repository.
    pub(super) fn of(&self, tags: &[String]) -> Chosen {
        let mut taken: Vec<String> = tags.iter().filter(|tag| self.takes(tag)).cloned().collect();
        taken.sort_unstable();
        taken.dedup();
        let Some(newest) = self.newest.filter(|newest| *newest < taken.len()) else { return Chosen::Tags(taken) };
        let versions: Option<Vec<(Version, String)>> =
            taken.iter().map(|tag| Some((version(tag)?, tag.clone()))).collect();
        let Some(mut versions) = versions else { return Chosen::ByDate(taken, newest) };
        versions.sort();
        let mut tags: Vec<String> = versions.into_iter().rev().take(newest).map(|(_, tag)| tag).collect();
        tags.sort_unstable();
        Chosen::Tags(tags)
    }
}

/// Whether a tag lists referrers in a registry without their API (OCI distribution-spec, "Referrers Tag Schema"). Such a
/// list is the registry's own: that of the destination has other referrers, and grows with what is copied there.
fn lists_referrers(tag: &str) -> bool {
    tag.split_once('-').is_some_and(|(algorithm, hash)| {
        matches!(algorithm, "sha256" | "sha512") && hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(keys: &str) -> Selection {
        let text = format!(
            r#"{{ name = "a", from = "https://registry.example.com", repositories = ["a"], tags = [], {keys} }}"#
        );
        // One key twice is an error, so the empty list goes where another one stands.
        let text = if keys.contains("tags") { text.replacen("tags = [], ", "", 1) } else { text };
        Selection::new(&text.replace(",  }", " }").parse().unwrap())
    }

    #[track_caller]
    fn check(keys: &str, tags: &[&str], expected: &[&str]) {
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let expected = expected.iter().map(ToString::to_string).collect();
        assert_eq!(selection(keys).of(&tags), Chosen::Tags(expected), "{keys}");
    }

    #[test]
    fn tags_are_chosen_by_patterns() {
        check("referrers = true", &["b", "a", "not a tag"], &["a", "b"]);
        check(r#"tags = ["1.*", "latest"]"#, &["1.2", "2.1", "latest", "late", "1"], &["1.2", "latest"]);
    }

    #[test]
    fn lists_of_referrers_are_no_tags_to_copy() {
        let hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb";
        let (list, longer) = (format!("sha256-{hash}"), format!("sha512-{hash}"));
        let (signature, other) = (format!("sha256-{hash}.sig"), format!("sha1-{hash}"));
        let tags: [&str; 5] = [&list, &longer, &signature, &other, "sha256-1"];
        check("tags = []", &tags, &[&other, "sha256-1", &signature]);
        check(&format!(r#"tags = ["{list}"]"#), &tags, &[]);
    }

    #[test]
    fn tags_are_chosen_by_their_version() {
        let tags = ["1", "1.2", "v1.9.9", "2.0.0", "1.10", "1.5.0-rc1", "1.4-alpine", "1.2.3.4", "latest", "01.3"];
        check(r#"semver = ">=1.2, <2""#, &tags, &["1.10", "1.2", "v1.9.9"]);
        check(r#"semver = ">=1.5.0-rc0, <1.6""#, &tags, &["1.5.0-rc1"]);
        check(r#"semver = "^1", tags = ["v*"]"#, &tags, &["v1.9.9"]);
    }

    #[test]
    fn the_newest_are_those_of_the_highest_versions() {
        check("newest = 2", &["1.9", "1.10", "1.2"], &["1.10", "1.9"]);
        check("newest = 1", &["1.0.0", "1.0.0-rc2"], &["1.0.0"]);
        check("newest = 3", &["b", "a"], &["a", "b"]);
        check(r#"newest = 1, semver = "1""#, &["1.2", "1.3", "latest"], &["1.3"]);
    }

    #[test]
    fn the_newest_of_others_are_for_their_images_to_say() {
        let tags = ["stable", "1.2", "edge"].map(String::from);
        let expected = ["1.2", "edge", "stable"].map(String::from).to_vec();
        assert_eq!(selection("newest = 2").of(&tags), Chosen::ByDate(expected, 2));
    }
}

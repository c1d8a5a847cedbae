//! The caller of a request and what it may do, as data: a host knows who is asking, the flows decide what only the
//! records can tell, such as whether a push makes a tag or changes one.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::event::Source;
use crate::mirror::Login;
use crate::name::{Repository, Tag};
use crate::pattern::{Pattern, Reach};

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name by which a host knows it; empty for nobody in particular.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// The largest blob that it may push, in bytes.
    pub blob_limit: u64,
    /// What events say of its request; nothing where nobody is told of events.
    pub request: Option<Source>,
    /// The login with which upstreams are asked that are to say who may see what they have.
    pub login: Option<Login>,
}

impl Caller {
    /// A caller who may do everything: what a registry without users has.
    pub fn anybody() -> Self {
        Self { name: String::new(), rights: Rights::all(), blob_limit: u64::MAX, request: None, login: None }
    }
}

/// What can be allowed in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// To see it in the catalog.
    List,
    /// To read its tags, manifests, blobs and referrers, and to mount blobs from it.
    Pull,
    /// To bring blobs and manifests into it.
    Upload,
    /// To make a tag that is not there.
    CreateTag,
    /// To change what a tag names.
    OverwriteTag,
    /// To delete manifests and blobs; with a tag, to delete that.
    Delete,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 6] =
        [Self::List, Self::Pull, Self::Upload, Self::CreateTag, Self::OverwriteTag, Self::Delete];

    /// The right as rules write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Pull => "pull",
            Self::Upload => "upload",
            Self::CreateTag => "create-tag",
            Self::OverwriteTag => "overwrite-tag",
            Self::Delete => "delete",
        }
    }
}

/// Allows or denies rights in some repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows; else it denies.
    pub allow: bool,
    /// The rights it speaks of.
    pub rights: Vec<Right>,
    /// The repositories it speaks of.
    pub repositories: Vec<Pattern>,
    /// If given, it speaks of these tags and of nothing that has no tag.
    pub tags: Option<Vec<Pattern>>,
}

impl Rule {
    fn speaks_of(&self, right: Right, repository: &Repository, tag: Option<&Tag>) -> bool {
        let of_tag = |tags: &Vec<Pattern>| tag.is_some_and(|tag| tags.iter().any(|pattern| pattern.matches_tag(tag)));
        self.rights.contains(&right)
            && self.repositories.iter().any(|pattern| pattern.matches(repository))
            && self.tags.as_ref().is_none_or(of_tag)
    }
}

/// What somebody may do: the first rule that speaks of it decides; what no rule speaks of is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    rules: Arc<[Arc<Rule>]>,
    granted: Option<Arc<[Arc<Rule>]>>,
}

/// What the rules say, and which of them says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The place of the rule that decides, among those of these rights; `None` when none speaks of it.
    pub rule: Option<usize>,
}

impl Rights {
    /// Everything.
    pub fn all() -> Self {
        let repositories = [Pattern::new("**")].into();
        Self::of([Arc::new(Rule { allow: true, rights: Right::ALL.into(), repositories, tags: None })])
    }

    /// Nothing.
    pub fn none() -> Self {
        Self::of([])
    }

    /// What these rules say.
    pub fn of(rules: impl IntoIterator<Item = Arc<Rule>>) -> Self {
        Self { rules: rules.into_iter().collect(), granted: None }
    }

    /// What `granted` says, but for what these rules deny: somebody else, who signed a token, has decided what may be
    /// done, and it holds as far as the rules of the registry let it.
    pub fn granted(self, granted: impl IntoIterator<Item = Arc<Rule>>) -> Self {
        Self { granted: Some(granted.into_iter().collect()), ..self }
    }

    /// What is decided, in the order of the rules.
    pub fn decide(&self, right: Right, repository: &Repository, tag: Option<&Tag>) -> Decision {
        let first = |rules: &[Arc<Rule>]| {
            let rule = rules.iter().position(|rule| rule.speaks_of(right, repository, tag));
            Decision { allowed: rule.is_some_and(|place| rules[place].allow), rule }
        };
        let decision = first(&self.rules);
        match &self.granted {
            Some(granted) if decision.allowed || decision.rule.is_none() => first(granted),
            _ => decision,
        }
    }

    /// Whether this is allowed.
    pub fn may(&self, right: Right, repository: &Repository) -> bool {
        self.decide(right, repository, None).allowed
    }

    /// Whether this is allowed with that tag.
    pub fn may_tag(&self, right: Right, repository: &Repository, tag: &Tag) -> bool {
        self.decide(right, repository, Some(tag)).allowed
    }

    /// Whether there may be a repository in which this is allowed.
    pub fn may_somewhere(&self, right: Right) -> bool {
        let rules = self.granted.as_ref().unwrap_or(&self.rules);
        rules.iter().any(|rule| rule.allow && rule.rights.contains(&right))
    }

    /// The first place in the order of names, from `from` on, behind which there may be a repository in which this is
    /// allowed: what a list can leave out is not even read. Where rules say so in few words, that is nearly all of it.
    pub(crate) fn next_place(&self, right: Right, from: Place) -> Option<Place> {
        // What is granted is necessary; what the rules deny of it is seen when a name is judged.
        next_place(self.granted.as_ref().unwrap_or(&self.rules), right, from)
    }

    /// Whether some tags of the repository are denied what others are not: then nothing that such a tag may need can
    /// be deleted either.
    pub(crate) fn protect_tags(&self, repository: &Repository) -> bool {
        let narrow = |rule: &Arc<Rule>| {
            let named = rule.repositories.iter().any(|pattern| pattern.matches(repository));
            rule.tags.is_some() && named && rule.rights.contains(&Right::Delete) && !rule.allow
        };
        self.rules.iter().any(narrow)
    }
}

/// A place in the order of names: it stands before the names that begin with a text, or after a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) text: String,
    /// Whether a name that is this text is left out.
    pub(crate) after: bool,
}

impl Place {
    /// Before every name.
    pub(crate) fn start() -> Self {
        Self::before("")
    }

    fn before(text: &str) -> Self {
        Self { text: text.into(), after: false }
    }

    /// After this name, which need not exist.
    pub(crate) fn after(name: &str) -> Self {
        Self { text: name.into(), after: true }
    }

    /// After every name that begins with this; nothing comes after those that begin with nothing.
    pub(crate) fn past(beginning: &str) -> Option<Self> {
        // Names have no sign as great as this one.
        if beginning.is_empty() { None } else { Some(Self::after(&alloc::format!("{beginning}\u{7f}"))) }
    }

    /// Whether this place is among the names that begin with this, and not past all of them.
    fn is_within(&self, beginning: &str) -> bool {
        self.text.starts_with(beginning) && Self::past(beginning).is_none_or(|past| *self < past)
    }

    /// The first place from here on behind which there may be a name that the pattern matches.
    fn towards(&self, pattern: &Pattern) -> Option<Self> {
        let first = Self::before(pattern.beginning());
        if first >= *self {
            return Some(first);
        }
        let more = pattern.reach() != Reach::One && self.is_within(pattern.beginning());
        more.then(|| self.clone())
    }

    /// Whether the pattern matches every name that comes next, and until when.
    fn past_all(&self, pattern: &Pattern) -> Option<Option<Self>> {
        let all = pattern.reach() == Reach::All && self.is_within(pattern.beginning());
        all.then(|| Self::past(pattern.beginning()))
    }
}

/// See [`Rights::next_place`]. The first rule that speaks of a name decides upon it.
fn next_place(rules: &[Arc<Rule>], right: Right, mut from: Place) -> Option<Place> {
    let mut first: Option<Place> = None;
    for (at, rule) in rules.iter().enumerate() {
        // A rule for tags says nothing of a repository as a whole.
        if !rule.rights.contains(&right) || rule.tags.is_some() {
            continue;
        }
        if rule.allow {
            first = rule.repositories.iter().filter_map(|pattern| from.towards(pattern)).chain(first).min();
            continue;
        }
        // What it denies altogether is passed over by all that the rules after it may allow.
        let later = loop {
            let Some(place) = next_place(&rules[at + 1..], right, from) else { break None };
            match rule.repositories.iter().find_map(|pattern| place.past_all(pattern)) {
                Some(Some(past)) => from = past,
                Some(None) => break None,
                None => break Some(place),
            }
        };
        return first.into_iter().chain(later).min();
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, rights: &[Right], repositories: &str, tags: Option<&str>) -> Arc<Rule> {
        let tags = tags.map(|tags| [Pattern::new(tags)].into());
        Arc::new(Rule { allow, rights: rights.into(), repositories: [Pattern::new(repositories)].into(), tags })
    }

    fn name(text: &str) -> Repository {
        text.parse().expect("a name")
    }

    fn tag(text: &str) -> Tag {
        text.parse().expect("a tag")
    }

    #[test]
    fn the_first_rule_that_speaks_of_it_decides() {
        use Right::{Delete, OverwriteTag, Pull, Upload};
        let rights = Rights::of([
            rule(false, &[OverwriteTag, Delete], "**", Some("v*")),
            rule(true, &[Pull, Upload, OverwriteTag, Delete], "team/**", None),
            rule(true, &[Pull], "**", None),
        ]);
        let check = |right, repository, of: Option<&str>, allowed, rule| {
            let decision = rights.decide(right, &name(repository), of.map(tag).as_ref());
            assert_eq!(decision, Decision { allowed, rule }, "{right:?} {repository} {of:?}");
        };
        check(Pull, "team/app", None, true, Some(1));
        check(Pull, "other", None, true, Some(2));
        check(Upload, "other", None, false, None);
        check(OverwriteTag, "team/app", Some("v1"), false, Some(0));
        check(OverwriteTag, "team/app", Some("latest"), true, Some(1));
        check(Delete, "team/app", None, true, Some(1));
        check(Delete, "team/app", Some("v1"), false, Some(0));
        assert!(rights.protect_tags(&name("team/app")));
        assert!(!Rights::all().protect_tags(&name("a")) && Rights::all().may(Delete, &name("a/b")));
        assert!(!Rights::none().may_somewhere(Pull) && rights.may_somewhere(Upload));
    }

    /// No name between two places may be one that is allowed.
    #[test]
    fn the_next_place_passes_over_nothing_that_is_allowed() {
        use Right::{List, Pull};
        let rules = [
            rule(true, &[List], "secret/open/**", None),
            rule(false, &[List], "secret/**", None),
            rule(false, &[Pull], "**", None),
            rule(true, &[List], "one", None),
            rule(true, &[List], "team-*/x", None),
            rule(false, &[List], "**", Some("v*")),
            rule(true, &[List], "secret/**", None),
        ];
        let check = |rights: &Rights, from: Place, text: &str, after: bool| {
            let next = rights.next_place(List, from.clone());
            assert_eq!(next, Some(Place { text: text.into(), after }), "from {from:?}");
        };
        let rights = Rights::of(rules.clone());
        check(&rights, Place::start(), "one", false);
        check(&rights, Place::after("one"), "secret/open/", false);
        check(&rights, Place::after("secret/a"), "secret/open/", false);
        check(&rights, Place::after("secret/open/a"), "secret/open/a", true);
        check(&rights, Place::after("secret/z"), "team-", false);
        check(&rights, Place::after("team-a/x"), "team-a/x", true);
        assert_eq!(rights.next_place(List, Place::after("u")), None);
        assert_eq!(Rights::none().next_place(List, Place::start()), None);
        check(&Rights::all(), Place::start(), "", false);
        let granted = Rights::all().granted([rule(true, &[List], "b/**", None)]);
        check(&granted, Place::start(), "b/", false);

        let names = ["a", "one", "one/a", "secret/a", "secret/open/a", "secret/p", "team", "team-a/x", "team-a/y", "z"];
        let rules_of = &rules;
        for rules in (0..rules_of.len()).flat_map(|from| (from..=rules_of.len()).map(move |to| (from, to))) {
            let rights = Rights::of(rules_of[rules.0..rules.1].iter().cloned());
            for from in [Place::start()].into_iter().chain(names.map(Place::after)) {
                let next = rights.next_place(List, from.clone());
                for text in names.iter().filter(|text| Place::before(text) > from && rights.may(List, &name(text))) {
                    let reached = next.as_ref().is_some_and(|next| *next <= Place::before(text));
                    assert!(reached, "{rules:?} from {from:?}: {text} is passed over by {next:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_granted_holds_unless_a_rule_denies_it() {
        use Right::{Delete, Pull, Upload};
        let rules = [rule(false, &[Delete], "a", None), rule(true, &[Pull], "**", None)];
        let rights = Rights::of(rules).granted([rule(true, &[Upload, Delete], "a", None)]);
        assert!(rights.may(Upload, &name("a")));
        assert!(!rights.may(Delete, &name("a")), "a rule denies it");
        assert!(!rights.may(Pull, &name("a")), "nobody granted it");
    }
}

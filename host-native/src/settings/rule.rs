//! A rule as it is written.

use std::str::FromStr;

use clap::ValueEnum;
use orlop_core::caller::{Right, Rule};
use orlop_core::config::Pattern;
use serde::Deserialize;

use super::Who;

/// A rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleSetting {
    pub(crate) who: Vec<Who>,
    #[serde(default)]
    allow: Vec<Action>,
    #[serde(default)]
    deny: Vec<Action>,
    repositories: Vec<String>,
    tags: Option<Vec<String>>,
}

/// What a rule allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Action {
    Pull,
    List,
    /// Upload, and both ways to set a tag.
    Push,
    Upload,
    CreateTag,
    OverwriteTag,
    Delete,
    /// Every other.
    All,
}

/// A group of users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSetting {
    pub(crate) name: String,
    pub(crate) members: Vec<String>,
}

impl Action {
    /// The rights that it is made of.
    pub fn rights(self) -> &'static [Right] {
        match self {
            Self::Pull => &[Right::Pull],
            Self::List => &[Right::List],
            Self::Push => &[Right::Upload, Right::CreateTag, Right::OverwriteTag],
            Self::Upload => &[Right::Upload],
            Self::CreateTag => &[Right::CreateTag],
            Self::OverwriteTag => &[Right::OverwriteTag],
            Self::Delete => &[Right::Delete],
            Self::All => &Right::ALL,
        }
    }

    /// As it is written.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether there is a part of it that has a tag.
    fn has_tags(self) -> bool {
        !matches!(self, Self::Pull | Self::List | Self::Upload)
    }
}

impl RuleSetting {
    /// Allows everything to anybody.
    pub(crate) fn everything() -> Self {
        let repositories = vec!["**".into()];
        Self { who: vec![Who::Anybody], allow: vec![Action::All], deny: vec![], repositories, tags: None }
    }

    /// Whether it denies what it names; else it allows it.
    pub(crate) fn denies(&self) -> bool {
        !self.deny.is_empty()
    }

    /// What it allows or denies.
    pub(crate) fn actions(&self) -> &[Action] {
        if self.denies() { &self.deny } else { &self.allow }
    }

    /// The patterns of repositories that it speaks of.
    pub(crate) fn repositories(&self) -> &[String] {
        &self.repositories
    }

    /// The patterns of tags that it speaks of, if it speaks of tags alone.
    pub(crate) fn tags(&self) -> Option<&[String]> {
        self.tags.as_deref()
    }

    /// The rule as the core takes it.
    pub(crate) fn rule(&self) -> Rule {
        let actions = self.allow.iter().chain(&self.deny);
        let patterns = |texts: &Vec<String>| texts.iter().map(Pattern::new).collect();
        Rule {
            allow: self.deny.is_empty(),
            rights: actions.flat_map(|action| action.rights()).copied().collect(),
            repositories: patterns(&self.repositories),
            tags: self.tags.as_ref().map(patterns),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.allow.is_empty() == self.deny.is_empty() {
            return Err("a rule either allows or denies: give it one of `allow` and `deny`".into());
        }
        if self.who.is_empty() || self.repositories.is_empty() || self.tags.as_ref().is_some_and(Vec::is_empty) {
            return Err("a rule with an empty list matches nothing: fill `who`, `repositories` and `tags`".into());
        }
        let actions = self.allow.iter().chain(&self.deny);
        if let (Some(_), Some(action)) = (&self.tags, actions.into_iter().find(|action| !action.has_tags())) {
            let name = action.name();
            return Err(format!("a rule with `tags` cannot have {name}, which has no tag: write two rules"));
        }
        let odd = |allowed: fn(char) -> bool| move |text: &&String| text.is_empty() || !text.chars().all(allowed);
        let repository = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/*".contains(c);
        if let Some(text) = self.repositories.iter().find(odd(repository)) {
            return Err(format!(
                "`{text}` matches no repository: names have lower-case letters, digits and . _ - /, and * and ** stand \
                 for any text"
            ));
        }
        let tag = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
        if let Some(text) = self.tags.iter().flatten().find(odd(tag)) {
            return Err(format!(
                "`{text}` matches no tag: tags have letters, digits and . _ -, and * stands for any text"
            ));
        }
        Ok(())
    }
}

/// One table of TOML, as a flag takes it.
impl FromStr for RuleSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule: Self = table(text)?;
        rule.check()?;
        Ok(rule)
    }
}

/// Whoever writes a member as `who` of a rule has it would be in no group.
impl FromStr for GroupSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let group: Self = table(text)?;
        let written = |member: &String| Some((member.clone(), Who::try_from(member.clone()).ok()?));
        match group.members.iter().find_map(written) {
            Some((_, Who::User(name))) => {
                Err(format!("`members` has names of users alone: write \"{name}\" for \"user:{name}\""))
            }
            Some((member, Who::Group(_) | Who::Certificate(_))) => Err(format!(
                "`members` has names of users alone, and {member} is none: name it in `who` of the rules, beside \
                 group:{}",
                group.name
            )),
            _ => Ok(group),
        }
    }
}

/// Reads a table written on one line.
pub(crate) fn table<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    const KEY: &str = "table = ";
    #[derive(Deserialize)]
    struct Wrapped<T> {
        table: T,
    }
    if !text.trim_start().starts_with('{') {
        return Err("it is a table: write { key = value, … } or, in the file, [[…]] and a key in each line".into());
    }
    let whole = format!("{KEY}{text}");
    let wrapped: Result<Wrapped<T>, _> = toml::from_str(&whole);
    wrapped.map(|wrapped| wrapped.table).map_err(|error| {
        let of_table = error.span().filter(|span| span.start >= KEY.len());
        let at = of_table.and_then(|span| Some((whole.get(KEY.len()..span.start)?, whole.get(span)?)));
        match at {
            Some((before, value)) => about(before, value, error.message()),
            None => error.message().to_owned(),
        }
    })
}

/// What is wrong with a value of a table, with its key and what to write.
fn about(before: &str, value: &str, reason: &str) -> String {
    // What is said of a key stands at the key.
    let of_key = reason.contains(" field `") || reason.contains("duplicate key");
    let key = before.rsplit_once('=').filter(|_| !of_key).map(|(key, _)| key.trim_end());
    let key = key.map(|key| key.rsplit(|c: char| !(c.is_alphanumeric() || c == '-')).next().unwrap_or(key));
    let Some(key) = key.filter(|key| !key.is_empty()) else { return reason.to_owned() };
    if !reason.contains("expected a sequence") {
        return format!("`{key}`: {reason}");
    }
    let name = value.trim_matches(['"', '\'']);
    let meant = match Who::try_from(name.to_owned()) {
        Err(_) if key == "who" => format!("\"user:{name}\""),
        _ => format!("\"{name}\""),
    };
    format!("`{key}` is a list: write {key} = [{meant}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let told = text.parse::<RuleSetting>().unwrap_err();
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused() {
        refused("{ who = ['anybody'], repositories = ['a'] }", "allow");
        refused("{ who = ['anybody'], allow = ['pull'], deny = ['push'], repositories = ['a'] }", "either");
        refused("{ who = [], allow = ['pull'], repositories = ['a'] }", "empty list");
        refused("{ who = ['anybody'], allow = ['pull'], repositories = ['A'] }", "`A`");
        refused("{ who = ['anybody'], allow = ['pull'], repositories = ['a'], tags = ['v*'] }", "two rules");
        refused("{ who = ['nobody'], allow = ['pull'], repositories = ['a'] }", "anonymous");
        refused("{ who = ['user:'], allow = ['pull'], repositories = ['a'] }", "user:NAME");
        refused("{ who = ['anybody'], allow = ['read'], repositories = ['a'] }", "unknown variant `read`");
    }

    #[test]
    fn a_value_that_is_no_list_is_refused_with_the_list() {
        refused("{ who = 'alice', allow = ['pull'], repositories = ['a'] }", "write who = [\"user:alice\"]");
        refused("{ who = 'group:dev', allow = ['pull'], repositories = ['a'] }", "write who = [\"group:dev\"]");
        refused(
            "{ who = ['anybody'], allow = 'pull', repositories = ['a'] }",
            "`allow` is a list: write allow = [\"pull\"]",
        );
        refused("{ who = ['alice'], allow = ['pull'], repositories = ['a'] }", "write user:alice");
        refused("alice", "it is a table");
        let told = "{ name = 'dev', members = \"bob\" }".parse::<GroupSetting>().unwrap_err();
        assert_eq!(told, "`members` is a list: write members = [\"bob\"]");
    }

    #[test]
    fn a_member_of_a_group_is_the_name_of_a_user_and_nothing_else() {
        let read =
            |member: &str| format!("{{ name = 'dev', members = ['alice', '{member}'] }}").parse::<GroupSetting>();
        assert_eq!(read("user:bob").unwrap_err(), "`members` has names of users alone: write \"bob\" for \"user:bob\"");
        for other in ["group:ops", "certificate:ci"] {
            let told = read(other).unwrap_err();
            assert!(told.contains(other) && told.contains("group:dev"), "{told}");
        }
        // A provider may give names such as these.
        for name in ["bob", "authenticated", "corp:bob", "user:"] {
            assert_eq!(read(name).unwrap().members[1], name);
        }
    }

    #[test]
    fn push_is_an_upload_and_both_ways_to_set_a_tag() {
        let rule: RuleSetting = "{ who = ['anybody'], allow = ['push'], repositories = ['**'] }".parse().unwrap();
        assert_eq!(rule.rule().rights, [Right::Upload, Right::CreateTag, Right::OverwriteTag]);
    }
}

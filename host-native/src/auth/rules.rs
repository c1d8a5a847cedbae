//! Rules: who may do what, as an administrator writes it, and as the core takes it.

mod explain;

use std::sync::Arc;

use orlop_core::Rights;
use orlop_core::caller::Rule;

pub use self::explain::{Explained, Telling, explain, named};
use crate::auth::identity::Identity;
use crate::settings::{Auth, GroupSetting, RuleSetting, Who};

/// The rules of a registry, in their order.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<(Vec<Who>, Arc<Rule>)>,
    /// As they are written; none where nobody wrote any.
    settings: Vec<RuleSetting>,
    groups: Vec<GroupSetting>,
    /// Whether nobody wrote any: then those who are known may do everything.
    usual: bool,
}

impl Rules {
    /// The rules as they were set. Without any, whoever is known may do everything; anybody, when nobody `can_be_known`.
    ///
    /// # Errors
    ///
    /// When a rule names a group that there is not.
    pub fn new(settings: &Auth, can_be_known: bool) -> Result<Self, String> {
        let Auth { rules, groups, .. } = settings;
        let named = rules.iter().enumerate().flat_map(|(place, rule)| rule.who.iter().map(move |who| (place, who)));
        for (place, who) in named {
            if let Who::Group(name) = who
                && !settings.may_be_group(name)
            {
                return Err(format!(
                    "rule {} names the group `{name}`, which does not exist: add a [[group]]",
                    place + 1
                ));
            }
        }
        let made = if rules.is_empty() {
            let who = if can_be_known { Who::Authenticated } else { Who::Anybody };
            vec![(vec![who], Arc::new(RuleSetting::everything().rule()))]
        } else {
            rules.iter().map(|rule| (rule.who.clone(), Arc::new(rule.rule()))).collect()
        };
        Ok(Self { rules: made, settings: rules.clone(), groups: groups.clone(), usual: rules.is_empty() })
    }

    /// Without any settings.
    pub(crate) fn open() -> Self {
        let everything = Arc::new(RuleSetting::everything().rule());
        let rules = vec![(vec![Who::Anybody], everything)];
        Self { rules, settings: Vec::new(), groups: Vec::new(), usual: true }
    }

    /// The rules as they are written, in their order; none where nobody wrote any.
    pub(crate) fn settings(&self) -> &[RuleSetting] {
        &self.settings
    }

    /// The groups of the settings.
    pub(crate) fn groups(&self) -> &[GroupSetting] {
        &self.groups
    }

    /// What holds where no rule says anything, in words.
    pub(crate) fn without_rules(&self) -> &'static str {
        let anybody = self.rules.iter().any(|(who, _)| who.contains(&Who::Anybody));
        match (self.usual, anybody) {
            (true, true) => "there are no rules and no users: every client may do everything",
            (true, false) => "there are no rules: authenticated clients may do everything, others nothing",
            (false, _) => "what no rule allows is denied",
        }
    }

    /// The rights of somebody.
    pub fn rights(&self, identity: &Identity) -> Rights {
        let rules = self.of(identity).map(|(_, rule)| rule.clone());
        let Some(granted) = identity.granted() else { return Rights::of(rules) };
        let granted = granted.iter().cloned().map(Arc::new);
        if identity.is_in_session() || identity.api_token().is_some() {
            // What no rule speaks of, none of them allows, and a token of ours does not either.
            let nothing = Rule { allow: false, ..RuleSetting::everything().rule() };
            return Rights::of(rules.chain([Arc::new(nothing)])).granted(granted);
        }
        Rights::of(rules).granted(granted)
    }

    /// The rules that speak of somebody, and their places.
    fn of<'s>(&'s self, identity: &Identity) -> impl Iterator<Item = (usize, &'s Arc<Rule>)> {
        let rules = self.rules.iter().enumerate();
        rules.filter(move |(_, (who, _))| self.is_one_of(who, identity)).map(|(place, (_, rule))| (place, rule))
    }

    /// Whether somebody is among these.
    pub(crate) fn is_one_of(&self, who: &[Who], identity: &Identity) -> bool {
        let of_group = |name: &str, user: &str| {
            self.groups.iter().any(|group| group.name == name && group.members.iter().any(|member| member == user))
        };
        who.iter().any(|who| is(who, identity, &of_group))
    }

    /// The groups that somebody is in, those of the settings first.
    pub(crate) fn groups_of(&self, identity: &Identity) -> Vec<String> {
        let user = identity.user_name();
        let has = |group: &&GroupSetting| group.members.iter().any(|member| Some(member.as_str()) == user);
        let mut all: Vec<String> = self.groups.iter().filter(has).map(|group| group.name.clone()).collect();
        for group in identity.groups() {
            if !all.contains(group) {
                all.push(group.clone());
            }
        }
        all
    }

    /// The users that rules and groups name: for whoever wants to know whether they are there.
    pub fn named_users(&self) -> impl Iterator<Item = &str> {
        let in_rules = self.rules.iter().flat_map(|(who, _)| who).filter_map(|who| match who {
            Who::User(name) => Some(name.as_str()),
            _ => None,
        });
        in_rules.chain(self.groups.iter().flat_map(|group| group.members.iter().map(String::as_str)))
    }
}

/// Whether somebody is one of those. `of_group` says whether a user is in a group.
fn is(who: &Who, identity: &Identity, of_group: &dyn Fn(&str, &str) -> bool) -> bool {
    match who {
        Who::Anybody => true,
        Who::Anonymous => identity.is_anonymous(),
        Who::Authenticated => !identity.is_anonymous(),
        Who::User(name) => identity.user_name() == Some(name.as_str()),
        Who::Group(name) => {
            let own = identity.groups().iter().any(|group| group == name);
            identity.user_name().is_some_and(|user| own || of_group(name, user))
        }
        Who::Certificate(name) => identity.certificate().iter().any(|given| given == name),
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::caller::Right;

    use super::*;

    fn rules(rules: &[&str], groups: &[&str]) -> Rules {
        Rules::new(&settings(rules, groups), true).unwrap()
    }

    fn settings(rules: &[&str], groups: &[&str]) -> Auth {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            auth: Auth,
        }
        let words =
            rules.iter().map(|rule| format!("--rule={rule}")).chain(groups.iter().map(|g| format!("--group={g}")));
        let Line { auth } = clap::Parser::parse_from(std::iter::once("orlop".to_owned()).chain(words));
        auth
    }

    #[test]
    fn rules_speak_of_those_they_name() {
        let rules = rules(
            &[
                "{ who = ['user:mallory'], deny = ['all'], repositories = ['**'] }",
                "{ who = ['group:dev', 'certificate:ci'], allow = ['pull', 'push'], repositories = ['team/**'] }",
                "{ who = ['authenticated'], allow = ['pull'], repositories = ['**'] }",
                "{ who = ['anybody'], allow = ['pull'], repositories = ['public/*'] }",
            ],
            &["{ name = 'dev', members = ['alice', 'mallory'] }"],
        );
        let check = |identity: &Identity, right, name: &str, expected| {
            let may = rules.rights(identity).may(right, &name.parse().unwrap());
            assert_eq!(may, expected, "{identity:?} {right:?} {name}");
        };
        let (alice, bob, mallory) = (Identity::user("alice"), Identity::user("bob"), Identity::user("mallory"));
        let nobody = Identity::anonymous();
        let ci = Identity::anonymous().with_certificate(vec!["ci".into()]);
        let carol = Identity::user("corp:carol").with_groups(["dev".to_owned()]);
        check(&alice, Right::Upload, "team/app", true);
        check(&bob, Right::Upload, "team/app", false);
        check(&bob, Right::Pull, "team/app", true);
        check(&mallory, Right::Pull, "public/a", false);
        check(&nobody, Right::Pull, "public/a", true);
        check(&nobody, Right::Pull, "team/app", false);
        check(&ci, Right::Upload, "team/app", true);
        check(&carol, Right::Upload, "team/app", true);
        check(&carol, Right::Upload, "other", false);
        check(&ci, Right::Pull, "other", true);
    }

    #[test]
    fn a_group_that_is_not_there_is_refused() {
        let rule = "{ who = ['group:dev'], allow = ['pull'], repositories = ['**'] }";
        assert!(Rules::new(&settings(&[rule], &[]), true).unwrap_err().contains("`dev`"));
    }

    #[test]
    fn without_rules_those_who_are_known_may_do_everything() {
        let none = settings(&[], &[]);
        let (known, open) = (Rules::new(&none, true).unwrap(), Rules::new(&none, false).unwrap());
        let name = "a".parse().unwrap();
        assert!(known.rights(&Identity::user("alice")).may(Right::Delete, &name));
        assert!(!known.rights(&Identity::anonymous()).may(Right::Pull, &name));
        assert!(open.rights(&Identity::anonymous()).may(Right::Delete, &name));
    }
}

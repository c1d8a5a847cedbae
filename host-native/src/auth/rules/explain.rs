//! Which rule decides: for administrators who wonder, and for users about themselves.

use orlop_core::Rights;
use orlop_core::caller::Right;
use orlop_core::name::{Repository, Tag};

use super::Rules;
use crate::auth::identity::Identity;
use crate::settings::{Action, RuleSetting};

/// What is told of a rule that decides.
#[derive(Clone, Copy)]
pub enum Telling<'w> {
    /// Its number, where it stands and how it is written, which this says by its place from 0.
    Places(&'w dyn Fn(usize) -> Option<String>),
    /// What it says of whoever asks, and neither where it stands nor of whom else it speaks.
    Own,
}

/// What somebody may do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Whether all of it is allowed.
    pub allowed: bool,
    /// A line for each right that the action is made of, and one for the rule that decides.
    pub lines: Vec<String>,
}

/// Whom a name stands for, of those of whom somebody may ask: a user, `anonymous`, or `certificate:NAME`; in these groups
/// beside those of the settings.
pub fn named(name: &str, groups: Vec<String>) -> Identity {
    let identity = match (name, name.strip_prefix("certificate:")) {
        ("anonymous", _) => Identity::anonymous(),
        (_, Some(name)) => Identity::anonymous().with_certificate(vec![name.to_owned()]),
        (name, None) => Identity::user(name),
    };
    identity.with_groups(groups)
}

/// Says for each right that an action is made of whether it is granted, and by which rule.
pub fn explain(
    rules: &Rules,
    identity: &Identity,
    action: Action,
    name: &Repository,
    tag: Option<&Tag>,
    telling: Telling<'_>,
) -> Explained {
    let mut told = Explained { allowed: true, lines: Vec::new() };
    for right in action.rights() {
        let tag = tag.filter(|_| matches!(right, Right::CreateTag | Right::OverwriteTag | Right::Delete));
        let of: Vec<_> = rules.of(identity).collect();
        let decision = Rights::of(of.iter().map(|(_, rule)| (*rule).clone())).decide(*right, name, tag);
        let with_tag = tag.map(|tag| format!(" with the tag {tag}")).unwrap_or_default();
        let allowed = if decision.allowed { "allowed" } else { "denied" };
        let place = decision.rule.map(|place| of[place].0);
        let reason = match place {
            Some(_) if rules.usual => {
                "there are no rules: without rules, authenticated clients may do everything".into()
            }
            Some(place) => match telling {
                Telling::Places(_) => format!("rule {} decides", place + 1),
                Telling::Own => "a rule decides".into(),
            },
            None => "no rule matches".into(),
        };
        told.allowed &= decision.allowed;
        told.lines.push(format!("{identity}: {} in {name}{with_tag} is {allowed}: {reason}", right.as_str()));
        let written = place.filter(|_| !rules.usual).and_then(|place| match telling {
            Telling::Places(written) => written(place),
            Telling::Own => rules.settings.get(place).map(says),
        });
        told.lines.extend(written.map(|rule| format!("  {rule}")));
    }
    told
}

/// What a rule says to those that it names.
fn says(rule: &RuleSetting) -> String {
    let verb = if rule.denies() { "deny" } else { "allow" };
    let actions: Vec<String> = rule.actions().iter().map(|action| action.name()).collect();
    let tags = rule.tags().map(|tags| format!(", for the tags {}", tags.join(", "))).unwrap_or_default();
    format!("{verb} {} in {}{tags}", actions.join(", "), rule.repositories().join(", "))
}

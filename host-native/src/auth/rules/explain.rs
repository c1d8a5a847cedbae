//! Which rule decides: for administrators who wonder.

use std::fmt::Write as _;

use orlop_core::Rights;
use orlop_core::caller::Right;
use orlop_core::name::{Repository, Tag};

use super::Rules;
use crate::auth::identity::Identity;
use crate::settings::Action;

/// Says for each right that an action is made of whether it is granted, and by which rule. `written` says where a rule
/// stands, by its place from 0, and how it is written.
pub fn explain(
    rules: &Rules,
    identity: &Identity,
    action: Action,
    name: &Repository,
    tag: Option<&Tag>,
    written: &dyn Fn(usize) -> Option<String>,
) -> String {
    let mut told = String::new();
    for right in action.rights() {
        let tag = tag.filter(|_| matches!(right, Right::CreateTag | Right::OverwriteTag | Right::Delete));
        let of: Vec<_> = rules.of(identity).collect();
        let decision = Rights::of(of.iter().map(|(_, rule)| (*rule).clone())).decide(*right, name, tag);
        let with_tag = tag.map(|tag| format!(" with the tag {tag}")).unwrap_or_default();
        let allowed = if decision.allowed { "allowed" } else { "denied" };
        let reason = match decision.rule {
            Some(_) if rules.usual => {
                "there are no rules: without rules, authenticated clients may do everything".into()
            }
            Some(place) => format!("rule {} decides", of[place].0 + 1),
            None => "no rule matches".into(),
        };
        let _ = writeln!(told, "{identity}: {} in {name}{with_tag} is {allowed}: {reason}", right.as_str());
        let deciding = decision.rule.filter(|_| !rules.usual).and_then(|place| written(of[place].0));
        deciding.iter().for_each(|rule| told.push_str(&format!("  {rule}\n")));
    }
    told
}

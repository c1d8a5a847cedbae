//! Rules: which there are, and which of them decides.

use orlop_core::error::Error;
use orlop_core::name::{Repository, Tag};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Answered, Asking};
use crate::auth::identity::Identity;
use crate::auth::rules::{Telling, explain as explain_rules, named};
use crate::request::sign_in::{private, read};
use crate::settings::Action;
use crate::storage::RequestBody;

/// What is to be explained.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToExplain {
    /// Whose rights; those of whoever asks if not given.
    #[serde(default)]
    user: Option<String>,
    /// In which groups an identity provider says that the user is.
    #[serde(default)]
    groups: Vec<String>,
    repository: String,
    action: Action,
    #[serde(default)]
    tag: Option<String>,
}

/// `GET /api/v1/rules` (SPEC AE15)
pub(super) fn list(asking: Asking<'_>) -> Answered {
    asking.administrator()?;
    let (live, rules) = (asking.live, &asking.live.rules);
    let place = |at: usize| live.rules_at.get(at).map(|(place, _)| place.as_str());
    let rule = |(at, rule): (usize, &crate::settings::RuleSetting)| {
        let mut told = json!({
            "who": rule.who.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "repositories": rule.repositories(),
            "actions": rule.actions().iter().map(|action| action.name()).collect::<Vec<_>>(),
            "deny": rule.denies(),
            "place": place(at),
        });
        if let Some(tags) = rule.tags() {
            told["tags"] = tags.into();
        }
        told
    };
    let all: Vec<Json> = rules.settings().iter().enumerate().map(rule).collect();
    let group = |group: &crate::settings::GroupSetting| json!({ "name": group.name, "members": group.members });
    let groups: Vec<Json> = rules.groups().iter().map(group).collect();
    let administrators: Vec<String> = live.administrators().iter().map(ToString::to_string).collect();
    let body = json!({
        "administrators": administrators,
        "rules": all,
        "groups": groups,
        "without_rules": rules.without_rules(),
    });
    Ok(private(200, &body))
}

/// `POST /api/v1/rules/explain` (SPEC AE16, AE17)
pub(super) async fn explain(asking: Asking<'_>, body: &mut RequestBody) -> Answered {
    asking.no_token()?;
    let asked: ToExplain = read(&asking.from.head.headers, body).await?;
    let (live, own) = (asking.live, asking.identity);
    let is_own = asked.groups.is_empty() && asked.user.as_deref().is_none_or(|user| own.name() == user);
    let administrator = asking.administrator();
    if !is_own {
        administrator.clone()?;
    }
    let name: Repository = asked.repository.parse().map_err(Error::Repository)?;
    let tag = asked.tag.as_ref().map(|tag| tag.parse::<Tag>().map_err(Error::Tag)).transpose()?;
    let mut lines = Vec::new();
    let identity: Identity = match asked.user.as_deref() {
        _ if is_own => own.clone(),
        Some(user) => named(user, asked.groups.clone()),
        None => own.clone().with_groups(asked.groups.clone()),
    };
    if identity.user_name().is_some_and(|user| !live.identities.may_be(user)) {
        lines.push(format!("there is no user {identity}; if there were:"));
    }
    let written = |at: usize| live.rules_at.get(at).map(|(place, text)| format!("{place}: {text}"));
    let telling = match administrator {
        Ok(()) => Telling::Places(&written),
        Err(_) => Telling::Own,
    };
    let explained = explain_rules(&live.rules, &identity, asked.action, &name, tag.as_ref(), telling);
    lines.extend(explained.lines);
    let body = json!({ "allowed": explained.allowed, "user": identity.to_string(), "explanation": lines });
    Ok(private(200, &body))
}

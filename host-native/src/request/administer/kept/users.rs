//! Users, as far as the registry knows them before they come.

use serde_json::json;

use super::{Answered, Asking};
use crate::auth::identity::Identity;
use crate::request::sign_in::private;

/// `GET /api/v1/users` (SPEC AE14)
pub(super) async fn list(asking: Asking<'_>) -> Answered {
    asking.administrator()?;
    let (live, page) = (asking.live, asking.page()?);
    let identities = &live.identities;
    let mut names = identities.users();
    names.extend(live.rules.named_users().filter(|user| identities.may_be(user)).map(String::from));
    names.sort_unstable();
    names.dedup();
    names.retain(|name| page.after.is_none_or(|after| name.as_str() > after));
    let more = names.len() > page.n;
    names.truncate(page.n);
    let mut users = Vec::new();
    for name in &names {
        let identity = Identity::user(name.clone());
        let tokens = identities.api_tokens(name).await?.len();
        let (groups, administrator) = (live.rules.groups_of(&identity), live.is_administrator(&identity));
        users.push(json!({ "name": name, "groups": groups, "administrator": administrator, "tokens": tokens }));
    }
    let mut body = json!({
        "users": users,
        "passwords": identities.has_password_file(),
        "ldap": identities.has_directory(),
        "oidc": identities.providers(),
    });
    if let Some(last) = names.last().filter(|_| more) {
        body["next"] = page.next(last).into();
    }
    Ok(private(200, &body))
}

//! What a client is told when it must say who it is (RFC 9110, 11.6.1; Docker token authentication; SPEC Q1).

use orlop_core::asked::{Access, Action};

use super::{Identities, Problem};

impl Identities {
    /// How to say who one is, for a request that needs `access`. One way only: clients that know two try both.
    pub(crate) fn challenges(&self, access: &[Access], problem: Option<&Problem>) -> Vec<String> {
        let bearer = match (&self.tokens, &self.sessions) {
            (Some(tokens), _) => (tokens.realm(), tokens.service()),
            (None, Some(sessions)) => (sessions.url(), self.realm.as_str()),
            (None, None) if self.checks_passwords() => return vec![self.basic()],
            (None, None) => return Vec::new(),
        };
        let mut text = format!("Bearer realm=\"{}\",service=\"{}\"", bearer.0, bearer.1);
        let scopes: Vec<String> = access.iter().filter_map(scope).collect();
        if !scopes.is_empty() {
            text += &format!(",scope=\"{}\"", scopes.join(" "));
        }
        if let Some(problem) = problem {
            text += &format!(",error=\"{}\"", problem.error());
        }
        vec![text]
    }

    /// What a page of ours is told in the place of these: a browser asks for no password in a window of its own.
    pub(crate) fn in_a_page(&self) -> String {
        format!("Session realm=\"{}\"", self.realm)
    }

    /// How to say it with a password.
    pub(crate) fn basic(&self) -> String {
        format!("Basic realm=\"{}\",charset=\"UTF-8\"", self.realm)
    }
}

/// What a token must allow, as a token server is asked for it.
fn scope(access: &Access) -> Option<String> {
    let (name, actions) = match access {
        Access::Catalog => return Some("registry:catalog:*".into()),
        Access::Source(None) | Access::Open => return None,
        Access::Repository(name, Action::Pull) | Access::Source(Some(name)) => (name, "pull"),
        Access::Repository(name, Action::Push) => (name, "pull,push"),
        Access::Repository(name, Action::Delete) | Access::DeleteTag(name, _) => (name, "delete"),
    };
    Some(format!("repository:{name}:{actions}"))
}

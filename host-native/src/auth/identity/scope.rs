//! What tokens are asked for and what they grant, as the Docker token specification writes it:
//! `repository:NAME:pull,push`, `registry:catalog:*`.

use axum::http::Uri;
use orlop_core::caller::{Right, Rule};
use orlop_core::config::Pattern;
use orlop_core::name::Repository;

/// How many places one token is for at most: it must fit into the head of a request. Granting fewer than were asked for
/// is no error (SPEC Q2).
const MOST: usize = 64;

/// What is granted in one place; nothing for a kind of place that is not known.
pub(super) fn rule<'a>(kind: &str, name: &str, actions: impl Iterator<Item = &'a str>) -> Option<Rule> {
    let name = match kind {
        "registry" if name == "catalog" => {
            let repositories = [Pattern::new("**")].into();
            return Some(Rule { allow: true, rights: [Right::List].into(), repositories, tags: None });
        }
        // A name is a name here, and never a pattern.
        "repository" => name.parse::<Repository>().ok()?,
        _ => return None,
    };
    let rights = actions.flat_map(|action| match action {
        "pull" => &[Right::Pull] as &[Right],
        "push" => &[Right::Upload, Right::CreateTag, Right::OverwriteTag],
        "delete" => &[Right::Delete],
        "*" => &Right::ALL,
        _ => &[],
    });
    let repositories = [Pattern::new(name.as_str())].into();
    Some(Rule { allow: true, rights: rights.copied().collect(), repositories, tags: None })
}

/// What is granted by a list of places, with spaces between them.
pub(super) fn rules(scope: &str) -> Vec<Rule> {
    scope.split(' ').filter_map(one).collect()
}

fn one(scope: &str) -> Option<Rule> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    rule(kind, name, actions.split(','))
}

/// What a request for a token asks for: its fields `scope`, each of which may be a list.
pub(super) fn asked(target: &Uri) -> String {
    let fields = target.query().unwrap_or_default().split('&').filter_map(|field| field.split_once('='));
    let lists: Vec<String> =
        fields.filter(|(name, _)| *name == "scope").filter_map(|(_, text)| decoded(text)).collect();
    let places = lists.iter().flat_map(|list| list.split(' ')).filter(|place| is_plain(place) && one(place).is_some());
    places.take(MOST).collect::<Vec<_>>().join(" ")
}

/// Whether it has no spaces and no control characters, also among the actions that are not known.
fn is_plain(place: &str) -> bool {
    place.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A field of a form (`application/x-www-form-urlencoded`) as text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [char::from(rest.next()?), char::from(rest.next()?)];
                let [high, low] = digits.map(|digit| digit.to_digit(16));
                u8::try_from(high? << 4 | low?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        let check = |query: &str, expected: &str| {
            let target = format!("/token?{query}").parse().unwrap();
            assert_eq!(asked(&target), expected, "{query}");
        };
        check("", "");
        check("service=orlop", "");
        check("scope=", "");
        check("scope=repository:a/b:pull,push&service=x", "repository:a/b:pull,push");
        check("scope=repository%3Aa%2Fb%3Apull%2cpush", "repository:a/b:pull,push");
        check("scope=repository:a:pull&scope=repository:b:pull", "repository:a:pull repository:b:pull");
        check("scope=repository:a:pull+repository:b:pull", "repository:a:pull repository:b:pull");
        check("scope=repository:a:pull%20registry:catalog:*", "repository:a:pull registry:catalog:*");
        check("scope=repository:**:pull&scope=x&scope=a:b:c&scope=%&scope=%ff&scope=repository:a:pull,%0Ax", "");
        let many = (0..100).map(|number| format!("scope=repository:a{number}:pull&")).collect::<String>();
        let target = format!("/token?{many}").parse().unwrap();
        assert_eq!(asked(&target).split(' ').count(), MOST);
    }

    #[test]
    fn a_scope_grants_what_it_names_and_nothing_else() {
        let rights = |scope: &str| rules(scope).into_iter().flat_map(|rule| rule.rights).collect::<Vec<_>>();
        assert_eq!(rights("repository:a:pull"), [Right::Pull]);
        assert_eq!(rights("repository:a:pull,delete"), [Right::Pull, Right::Delete]);
        assert_eq!(rights("repository:a:*"), Right::ALL);
        assert_eq!(rights("registry:catalog:*"), [Right::List]);
        assert_eq!(rights("repository:a:own"), []);
        assert_eq!(rights(""), []);
    }
}

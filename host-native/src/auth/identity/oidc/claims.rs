//! What becomes of the claims of a token: whether they are as they have to be, and whose names are made of them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::settings::claims::{Conditions, Part, Template};

/// The claims of a token whose signature is right.
pub(super) struct Claims(pub(super) Map<String, Value>);

/// The longest name that is made of claims, in bytes.
const LONGEST: usize = 255;

impl Claims {
    /// The claim of that name. Behind a slash stands the name of a member: `kubernetes.io/namespace`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        find(&self.0, name)
    }

    /// A claim that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A claim that is a time, in seconds since 1970. Text is none.
    pub(super) fn time(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    /// The claims that a token has to have and has not, or in which something else is. Nothing is wrong without any.
    pub(super) fn unmet<'c>(&self, conditions: &'c Conditions) -> Option<&'c str> {
        let met = |(claim, patterns): &(&String, &Vec<orlop_core::config::Pattern>)| {
            let texts = self.get(claim).map(texts).unwrap_or_default();
            texts.iter().any(|text| patterns.iter().any(|pattern| pattern.matches_text(text)))
        };
        conditions.0.iter().find(|condition| !met(condition)).map(|(claim, _)| claim.as_str())
    }

    /// A name that is made of claims.
    ///
    /// # Errors
    ///
    /// With what keeps it from being made.
    pub(super) fn name(&self, template: &Template) -> Result<String, String> {
        let mut name = String::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Claim(claim) => {
                    let text = self.get(claim).and_then(text);
                    let text = text.ok_or_else(|| format!("it has no text in the claim `{claim}`"))?;
                    if text.is_empty() {
                        return Err(format!("its claim `{claim}` is empty"));
                    }
                    name.push_str(&text);
                }
            }
        }
        match is_name(&name) {
            true => Ok(name),
            false => Err(format!("{:?} is no name: it is too long or has control characters", cut(&name))),
        }
    }

    /// The names that are made of claims: several where a claim is a list. What is not there makes none.
    pub(super) fn names(&self, template: &Template) -> Vec<String> {
        let mut names = vec![String::new()];
        for part in template.parts() {
            let texts = match part {
                Part::Text(text) => vec![Cow::Borrowed(text.as_str())],
                Part::Claim(claim) => self.get(claim).map(texts).unwrap_or_default(),
            };
            // A token is small, and so is a list in it; the lists of two claims are not multiplied without end.
            let made = names.iter().flat_map(|name| texts.iter().map(move |text| format!("{name}{text}")));
            names = made.take(MOST).collect();
        }
        names.retain(|name| is_name(name));
        names
    }
}

/// How many names are made of one template at most.
const MOST: usize = 4096;

fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let members = name.match_indices('/').map(|(at, _)| name.split_at(at));
    members
        .filter_map(|(first, rest)| Some((claims.get(first)?.as_object()?, &rest[1..])))
        .find_map(|(c, r)| find(c, r))
}

/// A value as text, if it is one: objects and lists are none.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value as texts: those of a list, or one.
fn texts(value: &Value) -> Vec<Cow<'_, str>> {
    match value {
        Value::Array(values) => values.iter().filter_map(text).collect(),
        value => text(value).into_iter().collect(),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST && !name.chars().any(char::is_control)
}

/// The beginning of a text that others have written.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        Claims(value.as_object().unwrap().clone())
    }

    fn template(text: &str) -> Template {
        Template::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn names_are_made_of_claims() {
        let claims = claims(json!({
            "sub": "repo:acme/app", "run": 7, "protected": true, "empty": "", "list": ["a", "b", 1, null], "odd": "a\nb",
            "https://id.example/roles": ["admin"], "none": null,
            "kubernetes.io": { "namespace": "ci", "serviceaccount": { "name": "builder" } },
            "long": "x".repeat(300),
        }));
        let name = |text: &str| claims.name(&template(text));
        assert_eq!(name("{sub}").unwrap(), "repo:acme/app");
        assert_eq!(name("x:{run}-{protected}").unwrap(), "x:7-true");
        assert_eq!(name("{kubernetes.io/namespace}/{kubernetes.io/serviceaccount/name}").unwrap(), "ci/builder");
        for (wrong, expected) in [
            ("{nothing}", "no text in the claim `nothing`"),
            ("{list}", "no text in the claim `list`"),
            ("{none}", "no text in the claim `none`"),
            ("{kubernetes.io}", "no text in the claim"),
            ("x{empty}", "`empty` is empty"),
            ("{odd}", "is no name"),
            ("{long}", "is no name"),
        ] {
            assert!(name(wrong).unwrap_err().contains(expected), "{wrong}: {:?}", name(wrong));
        }
        let names = |text: &str| claims.names(&template(text));
        assert_eq!(names("x:{list}"), ["x:a", "x:b", "x:1"]);
        assert_eq!(names("{https://id.example/roles}"), ["admin"]);
        assert_eq!(names("ci"), ["ci"]);
        assert_eq!(names("{list}{list}").len(), 9);
        for nothing in ["{nothing}", "x{none}", "{odd}", "{long}", "{kubernetes.io}"] {
            assert_eq!(names(nothing), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn all_conditions_have_to_be_met() {
        let claims = claims(json!({
            "repository": "acme/app", "ref": "refs/heads/main", "groups": ["dev", "ops"], "protected": true, "id": 7
        }));
        let check = |written: &str, expected: Option<&str>| {
            let conditions: Conditions = toml::from_str(written).unwrap();
            assert_eq!(claims.unmet(&conditions), expected, "{written}");
        };
        check("", None);
        check("repository = 'acme/*'\nref = 'refs/heads/main'", None);
        check("repository = 'acme/*'\nref = 'refs/heads/other'", Some("ref"));
        check("repository = 'acme'", Some("repository"));
        check("repository = '*'", Some("repository"));
        check("repository = '**'", None);
        check("repository = ['x/*', 'acme/**']", None);
        check("groups = 'ops'", None);
        check("groups = 'op'", Some("groups"));
        check("protected = true\nid = 7", None);
        check("protected = 'true'", None);
        check("protected = false", Some("protected"));
        check("nothing = '**'", Some("nothing"));
    }
}

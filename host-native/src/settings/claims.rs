//! What is made of the claims of an identity token, and what they have to be.

use std::collections::BTreeMap;

use orlop_core::config::Pattern;
use serde::{Deserialize, Deserializer, de};

/// A text with claims in it: `{repository_owner}/ci`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Template(Vec<Part>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// As it is.
    Text(String),
    /// What the claim of that name says.
    Claim(String),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |reason: &str| format!("`{text}` {reason}: write a claim like {{sub}}");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            let (before, braced) = rest.split_at(at);
            let inner = braced.strip_prefix('{').ok_or_else(|| wrong("has a brace that closes nothing"))?;
            let (claim, after) = inner.split_once('}').ok_or_else(|| wrong("has a brace that is not closed"))?;
            if claim.is_empty() || claim.contains('{') {
                return Err(wrong("has braces without the name of a claim"));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Claim(claim.into()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if parts.is_empty() || text.chars().any(char::is_control) {
            return Err("a name is a text without control characters, and not empty".into());
        }
        Ok(Self(parts))
    }
}

impl Template {
    /// What a claim alone says.
    pub(crate) fn claim(name: &str) -> Self {
        Self(vec![Part::Claim(name.into())])
    }

    /// Its parts in their order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether no claim is in it.
    pub(crate) fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// What stands before the first claim.
    pub(crate) fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// What stands before the first colon of its beginning, if there is one.
    pub(crate) fn before_colon(&self) -> Option<&str> {
        self.beginning().split_once(':').map(|(before, _)| before)
    }

    /// Whether a colon is in its text.
    pub(crate) fn has_colon(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Text(text) if text.contains(':')))
    }

    /// The same behind a text.
    pub(crate) fn behind(mut self, text: String) -> Self {
        match self.0.first_mut() {
            Some(Part::Text(first)) => first.insert_str(0, &text),
            _ => self.0.insert(0, Part::Text(text)),
        }
        self
    }
}

/// What claims have to be: each of them one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions(pub(crate) BTreeMap<String, Vec<Pattern>>);

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum One {
            Text(String),
            Number(i64),
            Truth(bool),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(One),
            Several(Vec<One>),
        }
        let pattern = |one: One| match one {
            One::Text(text) => Pattern::new(text),
            One::Number(number) => Pattern::new(number.to_string()),
            One::Truth(truth) => Pattern::new(truth.to_string()),
        };
        let told = |_| {
            de::Error::custom(
                "a claim has to be a text, a number, true or false, or one of a list of them: ref = \"main\"",
            )
        };
        let written = BTreeMap::<String, toml::Value>::deserialize(deserializer)?;
        let mut conditions = BTreeMap::new();
        for (claim, value) in written {
            let patterns = match Written::deserialize(value).map_err(told)? {
                Written::One(one) => vec![pattern(one)],
                Written::Several(several) => several.into_iter().map(pattern).collect(),
            };
            if patterns.is_empty() {
                return Err(de::Error::custom(format!("nothing is in the empty list of the claim `{claim}`: fill it")));
            }
            conditions.insert(claim, patterns);
        }
        Ok(Self(conditions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_claims() {
        let (text, claim) = (|text: &str| Part::Text(text.into()), |name: &str| Part::Claim(name.into()));
        for (written, parts) in [
            ("{sub}", vec![claim("sub")]),
            ("ci", vec![text("ci")]),
            ("gh:{owner}/{name}!", vec![text("gh:"), claim("owner"), text("/"), claim("name"), text("!")]),
            ("{kubernetes.io/namespace}", vec![claim("kubernetes.io/namespace")]),
        ] {
            assert_eq!(Template::try_from(written.to_owned()).unwrap().0, parts);
        }
        for wrong in ["", "{", "}", "{}", "{a", "a}", "{{a}}", "a\nb"] {
            assert!(Template::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}

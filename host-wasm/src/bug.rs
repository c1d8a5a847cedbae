//! Bugs to plant: what the conformance tester is shown to catch, and what a person can look at effect by effect.
//!
//! Each alters an effect on its way to the host, or an outcome on its way back. The core itself is never changed.

use orlop_core::effect::{Committed, Expect, Step, Value};
use orlop_core::keys::Key;
use orlop_core::{Body, Response};
use serde_json::{Value as Json, json};

/// What is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bug {
    #[default]
    None,
    GapsTaken,
    SessionsRace,
    ConflictsIgnored,
    TagsStay,
    BlobsEverywhere,
    ManifestsShort,
    TagsBackwards,
    ReferrersForgotten,
    RangeHasUnit,
}

/// Each bug, its name, and what it is in words.
const BUGS: [(Bug, &str, &str); 10] = [
    (Bug::None, "", "No bug"),
    (Bug::GapsTaken, "gaps-taken", "Chunks out of order are taken"),
    (Bug::SessionsRace, "sessions-race", "Two chunks for one place are both taken"),
    (Bug::ConflictsIgnored, "conflicts-ignored", "A conflict is taken for success"),
    (Bug::TagsStay, "tags-stay", "Tags of a deleted manifest stay"),
    (Bug::BlobsEverywhere, "blobs-everywhere", "Blobs are to be had in every repository"),
    (Bug::ManifestsShort, "manifests-short", "Manifests lose their last byte"),
    (Bug::TagsBackwards, "tags-backwards", "Tags are listed backwards"),
    (Bug::ReferrersForgotten, "referrers-forgotten", "Referrers are not remembered"),
    (Bug::RangeHasUnit, "range-has-unit", "The status of a session has a unit: bytes=0-9"),
];

impl Bug {
    /// The bug of that name; the empty name is that of no bug.
    pub(crate) fn named(name: &str) -> Option<Self> {
        BUGS.into_iter().find(|(_, known, _)| *known == name).map(|(bug, ..)| bug)
    }

    /// Every bug as JSON.
    pub(crate) fn list() -> String {
        json!(BUGS.map(|(_, name, text)| json!({ "name": name, "text": text }))).to_string()
    }

    /// Whether a header of a request reaches the core.
    pub(crate) fn takes_header(self, method: &str, name: &str) -> bool {
        self != Self::GapsTaken || method != "PATCH" || !name.eq_ignore_ascii_case("content-range")
    }

    /// Alters the effect that is asked for. Whether it did.
    pub(crate) fn alter<R>(self, step: &mut Step<R>) -> bool {
        let Step::Commit(ask) = step else { return false };
        let effect = &mut ask.effect;
        let before = (effect.expect.len(), effect.put.len(), effect.delete.len());
        let begins = |key: &Key, with: &str| key.as_str().starts_with(with);
        match self {
            Self::SessionsRace => {
                effect.expect.retain(|expect| !matches!(expect, Expect::Exactly(key, _) if begins(key, "upload/")));
            }
            Self::ConflictsIgnored => {}
            Self::TagsStay if effect.delete.iter().any(|key| begins(key, "manifest/")) => {
                effect.delete.retain(|key| !begins(key, "tag/"));
            }
            Self::ReferrersForgotten => effect.put.retain(|(key, _)| !begins(key, "referrer/")),
            _ => {}
        }
        before != (effect.expect.len(), effect.put.len(), effect.delete.len())
    }

    /// Alters what a commit came to.
    pub(crate) fn committed(self, outcome: Committed) -> Committed {
        if self == Self::ConflictsIgnored { Committed::Done } else { outcome }
    }

    /// Alters what was found under keys.
    pub(crate) fn got(self, keys: &[Key], values: &mut [Option<Value>]) {
        // Who asks for the link first wants to pull; whoever pushes asks for the blob before.
        let pulls = keys.first().is_some_and(|key| key.as_str().starts_with("link/"));
        for (key, value) in keys.iter().zip(values) {
            match (self, value.as_ref()) {
                (Self::BlobsEverywhere, None) if pulls && key.as_str().starts_with("link/") => {
                    let link = json!({ "linked": 0, "by": "00000000-0000-4000-8000-000000000000" });
                    *value = Some(link.to_string().into());
                }
                (Self::ManifestsShort, Some(payload)) if key.as_str().starts_with("payload/") => {
                    *value = Some(payload.slice(..payload.len().saturating_sub(1)));
                }
                _ => {}
            }
        }
    }

    /// Alters the response.
    pub(crate) fn answered(self, response: &mut Response) {
        if self == Self::RangeHasUnit && response.status == 204 {
            let ranges = response.headers.iter_mut().filter(|(name, _)| *name == "Range");
            ranges.for_each(|(_, value)| *value = format!("bytes={value}").into());
        }
        if let (Self::TagsBackwards, Body::Bytes(bytes)) = (self, &response.body) {
            let mut document: Json = serde_json::from_slice(bytes).unwrap_or_default();
            if let Some(tags) = document["tags"].as_array_mut() {
                tags.reverse();
                response.body = Body::Bytes(document.to_string().into());
            }
        }
    }
}

//! What is kept: when something was last pulled.

use orlop_core::{Config, Pull};

use super::{HOUR, amd64, arm64, new, stocked};
use crate::explore::sample::{delete, digest, get, push};
use crate::explore::scenario::{Call, Scenario};

/// A host notes that the first image was pulled by the tag `v1`.
fn note() -> Call {
    let digest = digest(&amd64());
    let repository = "a".parse().expect("a name");
    Call::NotePulls(vec![Pull { repository, digest, tag: "v1".parse().ok() }])
}

/// Last pulls: noted beside what ends what they are of.
pub fn pulls() -> Vec<Scenario> {
    let (amd64, arm64) = (amd64(), arm64());
    let first = digest(&amd64);
    let pushed = |name: &str| stocked(new(name)).given(&push("a", "v1", &amd64));
    let noted = |name: &str| pushed(name).given(&note()).later(HOUR * 2);
    let tidy = Config { untagged_lifetime: Some(HOUR), ..Config::default() };
    let collected = stocked(Scenario::new("note a pull of what is garbage × gc", tidy))
        .given(&push("a", "v1", &amd64))
        .given(&note())
        .given(&delete("a", "v1"))
        .later(HOUR * 25);
    vec![
        pushed("note a pull × note it").at_once([note(), note()]),
        pushed("note a pull × pull").at_once([note(), get("a", "v1")]),
        pushed("note a pull × delete by tag").at_once([note(), delete("a", "v1")]),
        noted("note a pull again × delete by tag").at_once([note(), delete("a", "v1")]),
        pushed("note a pull × delete by digest").at_once([note(), delete("a", first)]),
        noted("note a pull again × delete by digest").at_once([note(), delete("a", first)]),
        noted("note a pull again × move tag").at_once([note(), push("a", "v1", &arm64)]),
        noted("delete by tag × push it again").at_once([delete("a", "v1"), push("a", "v1", &amd64)]),
        collected.at_once([note(), Call::Gc]),
    ]
}

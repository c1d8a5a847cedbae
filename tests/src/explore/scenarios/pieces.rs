//! What is so much that it takes several commits: undeletes, and deletes by digest with many tags. One tag or manifest is
//! much here. What was done is told by the commit that did it, so also where a crash or a failure ends a call early.

use std::time::Duration;

use orlop_core::config::Pattern;
use orlop_core::digest::Digest;
use orlop_core::event::{Happening, Listener};
use orlop_core::{Config, Undeleting};

use super::{LAYER, list_of_both};
use crate::explore::sample::{
    artifact, ask, config as image_config, delete, digest, empty, get, image, index, mount, push, push_blob,
};
use crate::explore::scenario::{Call, HOUR, Scenario};

const WEEK: Duration = HOUR.saturating_mul(24 * 7);

fn config() -> Config {
    let listener = Listener {
        name: "ci".into(),
        happenings: vec![Happening::Push, Happening::Delete],
        repositories: vec![Pattern::new("**")],
    };
    let listeners = vec![listener];
    Config {
        undelete_within: Some(WEEK),
        activity_lifetime: WEEK * 4,
        tags_a_commit: 1,
        listeners,
        ..Config::default()
    }
}

fn undelete(reference: impl std::fmt::Display) -> Call {
    let reference = reference.to_string().parse().expect("a reference");
    Call::Undelete("a".parse().expect("a name"), reference, Undeleting::default())
}

/// Undeletes and deletes that take several commits.
pub fn pieces() -> Vec<Scenario> {
    let lone = artifact(LAYER, b"");
    let one: Digest = digest(&lone);
    let all = index(&[&lone]);
    let untagged =
        |name: &str| Scenario::new(name, config()).given(&push_blob("a", LAYER)).given(&push("a", one, &lone));
    let kept = |name: &str| untagged(name).given(&push("a", "v1", &lone)).given(&push("a", "v2", &lone));
    let gone = |name: &str| kept(name).given(&delete("a", one));
    let index_gone = |name: &str| {
        let scenario = untagged(name).given(&push("a", "all", &all));
        scenario.given(&delete("a", digest(&all))).given(&delete("a", one))
    };
    // A tag with a list of three images, of which two are deleted with an index of them: it is mended by two commits.
    let [amd64, arm64, s390x] = ["amd64", "arm64", "s390x"].map(|architecture| image(architecture, LAYER));
    let both = index(&[&amd64, &arm64]);
    let three = |name: &str, config: Config, tags: &[&str]| {
        let scenario = Scenario::new(name, config).given(&push_blob("a", LAYER));
        let configs = ["amd64", "arm64", "s390x"].map(|architecture| push_blob("a", &image_config(architecture)));
        let pushes = tags.iter().flat_map(|tag| [&amd64, &arm64, &s390x].map(|image| push("a", tag, image)));
        configs.into_iter().chain(pushes).fold(scenario, |scenario, call| scenario.given(&call))
    };
    let listed = |name: &str| {
        let deletes = [&both, &amd64, &arm64].map(|manifest| delete("a", digest(manifest)));
        let given = three(name, config(), &["v1"]).given(&push("a", "all", &both));
        deletes.iter().fold(given, Scenario::given)
    };
    // All manifests by one call, which is behind the tags already.
    let emptied = |name: &str| {
        let mut scenario = three(name, config(), &["v1"]);
        scenario.deleted.extend([&amd64, &arm64, &s390x].map(|image| digest(image).to_string()));
        scenario
    };
    let rest = || ask("DELETE", "/api/v1/repositories/a/contents?after=~");
    // Of lists that the registry itself makes nothing is told.
    let untold = Config { assemble: vec![Pattern::new("**")], activity_lifetime: Duration::ZERO, ..config() };
    let assembled = |name: &str| three(name, untold.clone(), &["v1", "v2"]);
    vec![
        listed("undelete two images of a list × delete its tag").at_once([undelete("all"), delete("a", "v1")]),
        listed("undelete two images of a list × move its tag").at_once([undelete("all"), push("a", "v1", &lone)]),
        emptied("delete the images of a list by one call × delete its tag").at_once([rest(), delete("a", "v1")]),
        emptied("delete the images of a list by one call × push to it").at_once([rest(), push("a", "v1", &amd64)]),
        assembled("delete an image of two lists, by several commits × delete the list that is left")
            .at_once([delete("a", digest(&s390x)), delete("a", digest(&list_of_both()))]),
        gone("undelete by several commits × undelete").at_once([undelete(one), undelete(one)]),
        gone("undelete by several commits × delete by digest").at_once([undelete(one), delete("a", one)]),
        gone("undelete by several commits × push it again").at_once([undelete(one), push("a", "v1", &lone)]),
        gone("undelete by several commits × GET").at_once([undelete(one), get("a", "v2")]),
        gone("undelete by several commits × mount its layer").at_once([undelete(one), mount("b", LAYER, "a")]),
        gone("undelete by several commits × gc").later(WEEK + HOUR).at_once([undelete(one), Call::Gc]),
        index_gone("undelete an index by several commits × push its child")
            .at_once([undelete(digest(&all)), push("a", one, &lone)]),
        index_gone("undelete an index by its tag, by several commits × delete its child")
            .at_once([undelete("all"), delete("a", one)]),
        kept("delete by digest, by several commits × delete by digest").at_once([delete("a", one), delete("a", one)]),
        kept("delete by digest, by several commits × delete by tag").at_once([delete("a", one), delete("a", "v1")]),
        kept("delete by digest, by several commits × push its tag again")
            .at_once([delete("a", one), push("a", "v1", &lone)]),
        kept("delete by digest, by several commits × GET").at_once([delete("a", one), get("a", "v2")]),
        kept("delete by digest, by several commits × mount its layer")
            .at_once([delete("a", one), mount("b", LAYER, "a")]),
        kept("delete by digest, by several commits × undelete").at_once([delete("a", one), undelete(one)]),
        kept("delete by digest, by several commits × gc").later(HOUR * 25).at_once([delete("a", one), Call::Gc]),
        kept("delete all of a repository × push to it, with activity").at_once([empty("a"), push("a", "v1", &lone)]),
    ]
}

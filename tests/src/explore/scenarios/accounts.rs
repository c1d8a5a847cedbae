//! Scenarios of what is counted of repositories: quotas, and recounts.

use orlop_core::Config;
use orlop_core::config::{Pattern, Quota};
use orlop_core::event::{Happening, Listener};

use super::{LAYER, amd64, new, stocked};
use crate::explore::sample::{cancel, delete, delete_blob, digest, finish, mount, patch, push, push_blob};
use crate::explore::scenario::{Call, HOUR, Scenario};

/// Repositories that may not hold much.
pub fn quotas() -> Vec<Scenario> {
    let within = |name: &str, bytes: u64| {
        let quota = Quota { repositories: vec![Pattern::new("**")], bytes, ..Quota::default() };
        Scenario::new(name, Config { quotas: vec![quota], ..Config::default() })
    };
    let together = |name: &str, bytes: u64| {
        let quota = Quota { repositories: vec![Pattern::new("**")], together: true, bytes, ..Quota::default() };
        Scenario::new(name, Config { quotas: vec![quota], ..Config::default() })
    };
    let over = |name: &str| {
        let repositories = vec![Pattern::new("**")];
        let quota = Quota { repositories: repositories.clone(), together: true, soft: 4, ..Quota::default() };
        let listener = Listener { name: "ops".into(), happenings: vec![Happening::Quota], repositories };
        Scenario::new(name, Config { quotas: vec![quota], listeners: vec![listener], ..Config::default() })
    };
    let open = |name: &str, bytes: u64, calls: &dyn Fn(&str) -> [Call; 2]| {
        let scenario = within(name, bytes).given_session("a", &[b"12"]);
        let session = scenario.session();
        scenario.at_once(calls(&session))
    };
    let whole = digest(b"12345");
    let (amd64, first) = (amd64(), digest(&amd64()));
    vec![
        within("a blob over the quota × gc", 4).at_once([push_blob("a", LAYER), Call::Gc]),
        within("the last blob under the quota × delete it", 5)
            .given(&push_blob("a", LAYER))
            .at_once([push_blob("a", LAYER), delete_blob("a", LAYER)]),
        open("PUT under the quota × cancel", 5, &|s| [finish(s, &whole, b"345"), cancel(s)]),
        open("PATCH over the quota × PUT", 4, &|s| [patch(s, None, b"345"), finish(s, &digest(b"12"), b"")]),
        open("PUT over the quota × PATCH", 3, &|s| [finish(s, &whole, b"345"), patch(s, None, b"3")]),
        stocked(within("manifest under the quota × delete it", 1000))
            .given(&push("a", "v1", &amd64))
            .at_once([push("a", "v1", &amd64), delete("a", first)]),
        together("a blob over the quota of all × gc", 4).at_once([push_blob("a", LAYER), Call::Gc]),
        together("push blob under the quota of all × delete it elsewhere", 10)
            .given(&push_blob("a", LAYER))
            .at_once([push_blob("b", LAYER), delete_blob("a", LAYER)]),
        together("mount over the quota of all × delete it elsewhere", 5)
            .given(&push_blob("a", LAYER))
            .at_once([mount("b", LAYER, "a"), delete_blob("a", LAYER)]),
        over("push over the soft limit × push elsewhere").at_once([push_blob("a", LAYER), push_blob("b", b"other")]),
        over("push over the soft limit × delete it elsewhere")
            .given(&push_blob("a", LAYER))
            .at_once([push_blob("b", LAYER), delete_blob("a", LAYER)]),
        over("push under the soft limit again × gc")
            .given(&push_blob("a", LAYER))
            .given(&delete_blob("a", LAYER))
            .at_once([push_blob("b", b"tiny"), Call::Gc]),
    ]
}

/// What is counted of repositories is counted anew, and repaired where it is wrong.
pub fn recounts() -> Vec<Scenario> {
    let held = |name: &str| new(name).given(&push_blob("a", LAYER));
    let wrong = |name: &str| held(name).with_counter("a", 1000);
    let open = |name: &str| new(name).given_session("a", &[b"12"]).with_counter("a", 1000);
    let finished = |name: &str| {
        let scenario = open(name);
        let session = scenario.session();
        scenario.at_once([Call::Recount, finish(&session, &digest(b"12"), b"")])
    };
    vec![
        held("recount × push another blob").at_once([Call::Recount, push_blob("a", b"other")]),
        held("recount × delete blob").at_once([Call::Recount, delete_blob("a", LAYER)]),
        held("recount × push blob × delete another").at_once([
            Call::Recount,
            push_blob("a", b"other"),
            delete_blob("a", LAYER),
        ]),
        wrong("recount of a wrong counter × push blob").at_once([Call::Recount, push_blob("a", b"other")]),
        wrong("recount of a wrong counter × delete blob").at_once([Call::Recount, delete_blob("a", LAYER)]),
        // The counter is as it was before both.
        wrong("recount of a wrong counter × push blob × delete another").at_once([
            Call::Recount,
            push_blob("a", b"other"),
            delete_blob("a", LAYER),
        ]),
        wrong("recount of a wrong counter × recount").at_once([Call::Recount, Call::Recount]),
        // Bytes move from an upload into a blob, and the counter stays.
        finished("recount of a wrong counter × PUT"),
        open("recount of a wrong counter × gc of an upload").later(HOUR * 24 * 8).at_once([Call::Recount, Call::Gc]),
    ]
}

//! In which words upstreams are asked, and what is told of them (SPEC V4, V6, V7, V15).

use orlop_core::effect::{Inquire, Step};
use orlop_core::mirror::As;

use super::*;

/// The first thing that an upstream is asked for a call.
fn first_inquiry(registry: &mut InMemory, call: &Call) -> Inquire {
    let mut step = registry.registry.call(call.request.clone(), registry.memory.ambient());
    loop {
        step = match step {
            Step::Inquire(ask) => return ask.effect,
            Step::Respond(answer) | Step::Answered(answer, _) => panic!("it was answered {answer:?}"),
            asking => registry.memory.perform(asking, &RequestBody::default()),
        };
    }
}

/// SPEC V3: an upstream would else give what old clients understand, which may be another manifest.
#[test]
fn an_upstream_is_asked_for_every_type_of_manifest() {
    let mut registry = mirroring(vec![hub()]);
    let wanted = first_inquiry(&mut registry, &get(manifest("hub/app", "v1"))).wanted;
    let mut accepted = wanted.accept.clone();
    accepted.sort_unstable();
    let expected = [
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
    ];
    assert_eq!(accepted, expected);
    assert_eq!((wanted.upstream.as_str(), wanted.login), ("hub", As::Mirror));
}

/// SPEC V15: sixteen others, and a KiB of their names.
#[test]
fn a_request_may_have_come_through_so_many_and_no_more() {
    let through = |registry: &mut InMemory, via: &str, status| {
        registry.call(get(manifest("hub/app", "v1")).header("Via", via)).expect(status);
        asked(registry).len()
    };
    let hops = |count: usize| (0..count).map(|number| format!("1.1 r{number}")).collect::<Vec<_>>().join(", ");
    // Each hop but the last has two bytes behind it.
    let long = |bytes: usize| format!("1.1 a, 1.1 {}", "b".repeat(bytes - "1.1 a, 1.1 ".len()));
    for (via, status, asks) in [(hops(16), 200, 1), (hops(17), 404, 0), (long(1 << 10), 200, 1), (long(1025), 404, 0)] {
        let mut registry = mirroring(vec![hub()]);
        push_image(&mut registry, "app", "v1", "layer");
        assert_eq!(through(&mut registry, &via, status), asks, "{via}");
    }
    // Each is passed on.
    let call = get(manifest("hub/app", "v1")).header("Via", "1.0 a").header("Via", " , 1.1 b (c) ,");
    let inquiry = first_inquiry(&mut mirroring(vec![hub()]), &call);
    assert_eq!(inquiry.wanted.via, "1.0 a, 1.1 b (c), 1.1 orlop");
}

/// SPEC V7: the log tells of the one that was asked first.
#[test]
fn of_upstreams_that_fail_alike_the_first_is_told_of() {
    let failed = |reason: &str| Some(Unmet::Failed(reason.into()));
    let paused = |seconds: u64| Some(Unmet::Paused(SECOND * seconds as u32));
    let both = vec![
        Upstream { name: upstream("hub"), official: String::new() },
        Upstream { name: upstream("other"), official: String::new() },
    ];
    for (unmets, status, told) in [
        ([failed("the first is broken"), failed("the second is broken")], 502, "the first is broken"),
        ([None, failed("the second is broken")], 502, "the second is broken"),
        ([failed("the first is broken"), None], 502, "the first is broken"),
        ([paused(5), paused(9)], 429, "5"),
        ([failed("the first is broken"), paused(9)], 429, "9"),
    ] {
        let mut registry = mirroring(vec![Mirror { upstreams: both.clone(), ..hub() }]);
        for (name, unmet) in ["hub", "other"].into_iter().zip(unmets) {
            answers(&mut registry, name, unmet);
        }
        let answer = registry.get(manifest("hub/app", "v1")).expect(status);
        let fault = answer.response.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        let retry_after = answer.header("Retry-After").unwrap_or_default();
        assert!(fault.contains(told) || retry_after == told, "{told}: {fault}, {retry_after}");
    }
}

/// SPEC V6: an operator reads it in the log.
#[test]
fn why_an_upstream_has_not_answered_is_told_in_words() {
    for (unmet, told) in [
        (Unmet::Absent, "the upstream does not have it"),
        (Unmet::Denied, "the upstream denies it"),
        (Unmet::Paused(MINUTE), "the upstream is not to be asked for 60 seconds"),
        (Unmet::Failed("connection refused".into()), "connection refused"),
    ] {
        assert_eq!(unmet.to_string(), told);
    }
    let nowhere = Upstream { name: upstream("nowhere"), official: String::new() };
    let mut registry = mirroring(vec![Mirror { upstreams: vec![nowhere], ..hub() }]);
    let fault = registry.get(manifest("hub/app", "v1")).expect(502).response.fault;
    assert!(fault.is_some_and(|fault| fault.to_string().contains("nowhere")));
}

/// SPEC V20.
#[test]
fn a_login_is_sent_as_it_came_and_stays_out_of_logs() {
    let login = Login::new("Basic YW5uYTpzZWNyZXQ=");
    assert_eq!(login.authorization(), "Basic YW5uYTpzZWNyZXQ=");
    assert_eq!(format!("{:?}", As::Caller(Some(login))), "Caller(Some(Login(…)))");
    assert_eq!(format!("{:?}", upstream("hub")), "hub");
}

/// SPEC V9: one fetch serves all who want a blob of a repository, and no other ones.
#[test]
fn a_fetch_is_that_of_one_blob_of_one_repository() {
    let registry = mirroring(vec![hub()]).registry;
    let name = |name: &str| name.parse::<Repository>().expect("a name");
    let fetching =
        |repository, bytes: &str| registry.fetching(name(repository), sha256(bytes).parse().expect("a digest"));
    let one = fetching("hub/app", "layer");
    assert_eq!(one, fetching("hub/app", "layer"));
    assert_ne!(one, fetching("hub/app", "another"));
    assert_ne!(one, fetching("hub/other", "layer"));
    assert_ne!(one, fetching("hub/other", "another"));
    assert_eq!(format!("{one:?}"), format!("hub/app@{}", sha256("layer")));
}

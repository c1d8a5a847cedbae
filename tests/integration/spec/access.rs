//! Section Q, as far as the core decides: what a caller must be allowed to do. Who the caller is, hosts know.

use orlop_conformance::image::sha256;
use orlop_conformance::system::request;
use orlop_core::asked::{Access, Action, Asked};

use crate::{ENDPOINTS, NOWHERE};

fn needed(method: &str, target: &str) -> Vec<String> {
    let access = Asked::from(request(method, target).request).access();
    let named = access.iter().map(|access| match access {
        Access::Catalog => "catalog".into(),
        Access::Repository(name, Action::Pull) => format!("pull {name}"),
        Access::Repository(name, Action::Push) => format!("push {name}"),
        Access::Repository(name, Action::Delete) => format!("delete {name}"),
        Access::DeleteTag(name, tag) => format!("delete {tag} of {name}"),
        Access::Source(Some(name)) => format!("pull {name}"),
        Access::Source(None) => "pull anything".into(),
        Access::Open => "nothing".into(),
    });
    named.collect()
}

/// SPEC Q1, A2, O3, U31.
#[test]
fn reading_needs_pull_writing_needs_push_and_removing_needs_delete() {
    for endpoint in ENDPOINTS {
        let path = endpoint.at("a/b");
        let session = path.contains("/uploads/6f");
        for method in endpoint.takes {
            let path = if *method == "PUT" && session { format!("{path}?digest={NOWHERE}") } else { path.clone() };
            let expected: &[&str] = match *method {
                _ if path == "/v2/" => &[],
                _ if path == "/v2/_catalog" => &["catalog"],
                // SPEC I3: whoever may push may look after, and give up, what it pushes.
                _ if session => &["push a/b"],
                "GET" | "HEAD" => &["pull a/b"],
                "DELETE" if path.ends_with("/v1") => &["delete v1 of a/b"],
                "DELETE" => &["delete a/b"],
                _ => &["push a/b"],
            };
            assert_eq!(needed(method, &path), expected, "{method} {path}");
        }
    }
}

/// SPEC E14, E12, U5, U31.
#[test]
fn a_mount_needs_pull_on_its_source_too() {
    let digest = sha256("content");
    let check = |query: &str, expected: &[&str]| {
        let query = query.replace("{digest}", &digest);
        assert_eq!(needed("POST", &format!("/v2/a/blobs/uploads/?{query}")), expected, "{query}");
    };
    check("mount={digest}&from=b/c", &["push a", "pull b/c"]);
    check("from=b&mount={digest}", &["push a", "pull b"]);
    check("mount={digest}&from=%62", &["push a", "pull b"]);
    check("%6dount={digest}&from=b", &["push a", "pull b"]);
    check("mount={digest}&from=b&from=c", &["push a", "pull b"]);
    check("mount={digest}", &["push a", "pull anything"]);
    check("from=b", &["push a"]);
    check("mount={digest}&from=NO", &["push a"]);
    check("digest={digest}", &["push a"]);
}

/// SPEC Q1: what leads nowhere needs no more than to be somebody.
#[test]
fn paths_that_lead_nowhere_need_nothing() {
    for path in ["/", "/v2/A/tags/list", "/v2/a", "/v2/a%2F../tags/list", "/v2/a/blobs/x"] {
        assert!(needed("GET", path).is_empty(), "{path}");
    }
}

/// SPEC B4, B10, U31: rules are held against the name as it is, however it is written.
#[test]
fn access_is_judged_on_the_decoded_name() {
    assert_eq!(needed("GET", "/v2/team%2Fsecret/manifests/v1"), ["pull team/secret"]);
    assert_eq!(needed("PUT", "/v2/%74eam%2fsecret/manifests/v1"), ["push team/secret"]);
    assert_eq!(needed("POST", "/v2/team%2Fsecret/blobs/uploads/"), ["push team/secret"]);
    // A tag that cannot be is still asked for in a repository.
    assert_eq!(needed("GET", "/v2/a/manifests/.v1"), ["pull a"]);
    assert_eq!(needed("PUT", "/v2/a/manifests/.v1"), ["push a"]);
    assert_eq!(needed("DELETE", "/v2/a/manifests/.v1"), ["delete a"]);
}

/// SPEC Q1, A13: a method that no endpoint takes is refused, but not before it is known who asks.
#[test]
fn an_unknown_method_needs_nothing_but_a_login() {
    assert!(needed("BREW", "/v2/a/manifests/v1").is_empty());
}

/// Every operation has a word of its own in logs, and an audit sees those that change what the registry holds.
#[test]
fn logs_call_each_operation_by_its_name() {
    let digest = sha256("content");
    let check = |method: &str, target: &str, name: &str, reference: &str, changes: bool| {
        let asked = Asked::from(request(method, target.replace("{digest}", &digest)).request);
        let summary = asked.summary();
        assert_eq!(summary.name, name, "{method} {target}");
        assert_eq!(
            summary.reference.map(ToString::to_string).unwrap_or_default(),
            reference.replace("{digest}", &digest)
        );
        assert_eq!(summary.changes, changes, "{method} {target}");
        let repository = summary.repository.map_or("", |repository| repository.as_str());
        assert_eq!(repository, if target.starts_with("/v2/a/b/") && name != "other" { "a/b" } else { "" });
    };
    let session = format!("/v2/a/b/blobs/uploads/{}", crate::NO_SESSION);
    check("GET", "/v2/", "base", "", false);
    check("HEAD", "/v2/_catalog", "list-repositories", "", false);
    check("GET", "/v2/a/b/tags/list", "list-tags", "", false);
    check("GET", "/v2/a/b/referrers/{digest}", "list-referrers", "{digest}", false);
    check("HEAD", "/v2/a/b/blobs/{digest}", "pull-blob", "{digest}", false);
    check("DELETE", "/v2/a/b/blobs/{digest}", "delete-blob", "{digest}", true);
    check("POST", "/v2/a/b/blobs/uploads/", "start-upload", "", false);
    check("POST", "/v2/a/b/blobs/uploads/?mount=x&from=c", "start-upload", "", false);
    check("POST", "/v2/a/b/blobs/uploads/?mount={digest}&from=c", "mount-blob", "{digest}", true);
    check("POST", "/v2/a/b/blobs/uploads/?digest={digest}", "push-blob", "{digest}", true);
    check("GET", &session, "upload-status", crate::NO_SESSION, false);
    check("PATCH", &session, "upload-chunk", crate::NO_SESSION, false);
    check("PUT", &format!("{session}?digest={{digest}}"), "push-blob", "{digest}", true);
    check("DELETE", &session, "cancel-upload", crate::NO_SESSION, false);
    check("HEAD", "/v2/a/b/manifests/v1", "pull-manifest", "v1", false);
    check("PUT", "/v2/a/b/manifests/v1", "push-manifest", "v1", true);
    check("DELETE", "/v2/a/b/manifests/v1", "delete-tag", "v1", true);
    check("DELETE", "/v2/a/b/manifests/{digest}", "delete-manifest", "{digest}", true);
    check("GET", "/api/v1/repositories", "browse-repositories", "", false);
    check("GET", "/api/v1/folders", "browse-folder", "", false);
    check("GET", "/api/v1/search?q=a", "search", "", false);
    check("PUT", "/api/v1/search", "other", "", false);
    // A host makes few such answers at once for one client.
    for target in ["/v2/_catalog", "/v2/a/tags/list", "/api/v1/repositories", "/api/v1/search?q=a", "/api/v1/folders"] {
        assert!(Asked::from(request("GET", target).request).summary().is_list(), "{target}");
    }
    for target in ["/v2/a/manifests/v1", "/v2/"] {
        assert!(!Asked::from(request("GET", target).request).summary().is_list(), "{target}");
    }
    check("PUT", &session, "other", "", false);
    check("BREW", "/v2/a/b/manifests/v1", "other", "", false);
    check("GET", "/v2/a/b", "other", "", false);
}

//! Sections N and O: the tags of a repository and the repositories of the registry.

use orlop_conformance::image::AMD64;
use orlop_conformance::system::{InMemory, System, blob, manifest, strings};
use serde_json::json;

use crate::registry;

/// A registry with an image under each of these tags in `a`.
fn with_tags(tags: &[&str]) -> InMemory {
    let mut registry = registry();
    for tag in tags {
        registry.push_image("a", tag, AMD64, "layer");
    }
    registry
}

/// What a list names, and the next page.
#[track_caller]
fn page(registry: &mut InMemory, target: &str) -> (Vec<String>, Option<String>) {
    let answer = registry.get(target).expect(200).with("Content-Type", "application/json");
    let body = answer.json();
    let field = if target.starts_with("/v2/_catalog") { "repositories" } else { "tags" };
    (strings(&body[field]), answer.next_page())
}

/// Follows the links from page to page.
#[track_caller]
fn pages(registry: &mut InMemory, first: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(target) = next {
        let (names, link) = page(registry, &target);
        pages.push(names);
        next = link;
        assert!(pages.len() < 100, "the links lead in a circle");
    }
    pages
}

/// SPEC N1, N8, U15.
#[test]
fn without_a_number_every_tag_is_listed() {
    let mut registry = with_tags(&["b", "a"]);
    let answer = registry.get("/v2/a/tags/list").expect(200).with("Content-Type", "application/json");
    assert_eq!(answer.json(), json!({ "name": "a", "tags": ["a", "b"] }));
    answer.without("Link");
}

/// SPEC N1, U15: an empty list is a list.
#[test]
fn a_repository_without_tags_has_an_empty_list() {
    let mut registry = registry();
    registry.push_blob("a", "content");
    let expected = json!({ "name": "a", "tags": [] });
    assert_eq!(registry.get("/v2/a/tags/list").expect(200).json(), expected);
    registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(manifest("a", "v1")).expect(202);
    assert_eq!(registry.get("/v2/a/tags/list").expect(200).json(), expected);
}

/// SPEC N1.
#[test]
fn the_tags_of_an_unknown_repository_are_not_found() {
    let mut registry = with_tags(&["v1"]);
    for repository in ["b", "a/b", "aa"] {
        registry.get(format!("/v2/{repository}/tags/list")).refused(404, "NAME_UNKNOWN");
        registry.get(format!("/v2/{repository}/tags/list?n=0")).refused(404, "NAME_UNKNOWN");
        registry.head(format!("/v2/{repository}/tags/list")).expect(404);
    }
}

/// SPEC N2, U15.
#[test]
fn tags_are_in_byte_order() {
    let mut registry = with_tags(&["a", "_", "Z", "A", "z", "10", "9", "a.b", "a-b", "a_b", "aa"]);
    assert_eq!(registry.tags("a"), ["10", "9", "A", "Z", "_", "a", "a-b", "a.b", "a_b", "aa", "z"]);
}

/// SPEC N3, N6, N9, U15: no link on the last page, however full it is.
#[test]
fn a_page_has_as_many_tags_as_asked_and_a_link_exactly_if_there_are_more() {
    let mut registry = with_tags(&["a", "b", "c", "d"]);
    let mut check = |query: &str, expected: &[&str], more: bool| {
        let (tags, link) = page(&mut registry, &format!("/v2/a/tags/list?{query}"));
        assert_eq!(tags, expected, "{query}");
        assert_eq!(link.is_some(), more, "{query}: {link:?}");
    };
    check("n=1", &["a"], true);
    check("n=3", &["a", "b", "c"], true);
    check("n=4", &["a", "b", "c", "d"], false);
    check("n=5", &["a", "b", "c", "d"], false);
    check("n=1000000", &["a", "b", "c", "d"], false);
    check("n=99999999999999999999999999", &["a", "b", "c", "d"], false);
    check("n=007", &["a", "b", "c", "d"], false);
    check("n=2&last=b", &["c", "d"], false);
    check("n=1&last=b", &["c"], true);
}

/// SPEC N4.
#[test]
fn a_page_of_none_is_empty_and_the_last() {
    let mut registry = with_tags(&["a", "b"]);
    for query in ["n=0", "n=0&last=a", "n=00"] {
        assert_eq!(page(&mut registry, &format!("/v2/a/tags/list?{query}")), (Vec::new(), None));
    }
}

/// SPEC N5, O2, P3.
#[test]
fn a_number_that_is_none_is_refused() {
    let mut registry = with_tags(&["a"]);
    for n in ["-1", "x", "1.5", "+1", "1e3", "0x1", "%20", "%D9%A1"] {
        for path in ["/v2/a/tags/list", "/v2/_catalog"] {
            registry.get(format!("{path}?n={n}")).refused(400, "PAGINATION_NUMBER_INVALID");
        }
    }
}

/// SPEC N5, O2: an empty number is none, and a slash at the end of the path changes nothing.
#[test]
fn lists_are_found_however_they_are_asked_for() {
    let mut registry = with_tags(&["a", "b"]);
    for path in ["/v2/a/tags/list?n=", "/v2/a/tags/list?n", "/v2/a/tags/list/", "/v2/a/tags/list/?n="] {
        assert_eq!(page(&mut registry, path), (vec!["a".into(), "b".into()], None), "{path}");
    }
    assert_eq!(page(&mut registry, "/v2/a/tags/list/?n=1").1.as_deref(), Some("/v2/a/tags/list?n=1&last=a"));
    for path in ["/v2/_catalog?n=", "/v2/_catalog/", "/v2/_catalog/?n=&x"] {
        assert_eq!(page(&mut registry, path), (vec!["a".into()], None), "{path}");
    }
}

/// SPEC N7, U15: `last` is a place in the order; it need not exist, nor could it.
#[test]
fn tags_after_the_last_are_listed_whether_or_not_it_exists() {
    let mut registry = with_tags(&["b", "d", "f"]);
    let mut check = |last: &str, expected: &[&str]| {
        assert_eq!(page(&mut registry, &format!("/v2/a/tags/list?last={last}")).0, expected, "{last}");
    };
    check("", &["b", "d", "f"]);
    check("a", &["b", "d", "f"]);
    check("b", &["d", "f"]);
    check("c", &["d", "f"]);
    check("ba", &["d", "f"]);
    check("f", &[]);
    check("z", &[]);
    check("%00", &["b", "d", "f"]);
    check("c%2Fx:y", &["d", "f"]);
    check("%FF", &[]);
    check("%F4%8F%BF%BF", &[]);
}

/// SPEC N9, N3, U15, U28: complete, in order, each once, whatever the size of a page.
#[test]
fn the_links_lead_through_every_tag_exactly_once() {
    let names: Vec<String> = (0..23).map(|i| format!("t{i:02}")).collect();
    let mut registry = with_tags(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for n in [1, 2, 3, 7, 11, 22, 23, 24] {
        let pages = pages(&mut registry, &format!("/v2/a/tags/list?n={n}"));
        assert_eq!(pages.concat(), names);
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == n), "every page but the last is full");
        assert!(pages.iter().all(|page| !page.is_empty()));
    }
}

/// SPEC N9: the link keeps what else was asked, percent-encoded.
#[test]
fn the_link_keeps_every_other_parameter() {
    let mut registry = with_tags(&["a", "b", "c"]);
    let (_, link) = page(&mut registry, "/v2/a/tags/list?x=%26%3D&n=1&last=0");
    assert_eq!(link.as_deref(), Some("/v2/a/tags/list?x=%26%3D&n=1&last=a"));
}

/// SPEC N7, U15: the tag that a page ended with may be gone before the next.
#[test]
fn tags_deleted_between_two_pages_hide_no_others() {
    let mut registry = with_tags(&["a", "b", "c", "d"]);
    let (_, next) = page(&mut registry, "/v2/a/tags/list?n=2");
    registry.delete(manifest("a", "b")).expect(202);
    assert_eq!(page(&mut registry, &next.expect("there are more")).0, ["c", "d"]);
}

/// SPEC O1, O2, U16: whatever holds a blob or manifest is a repository.
#[test]
fn the_catalog_names_every_repository_in_order() {
    let mut registry = registry();
    assert_eq!(registry.get("/v2/_catalog").expect(200).json(), json!({ "repositories": [] }));
    for name in ["b", "a/b", "a", "a-b", "a.b", "0"] {
        registry.push_blob(name, "content");
    }
    let answer = registry.get("/v2/_catalog").expect(200).with("Content-Type", "application/json").without("Link");
    let names = ["0", "a", "a-b", "a.b", "a/b", "b"];
    assert_eq!(answer.json(), json!({ "repositories": names }));
    for n in 1..8 {
        assert_eq!(pages(&mut registry, &format!("/v2/_catalog?n={n}")).concat(), names);
    }
    assert_eq!(page(&mut registry, "/v2/_catalog?n=0"), (Vec::new(), None));
    assert_eq!(page(&mut registry, "/v2/_catalog?last=a-a").0, ["a-b", "a.b", "a/b", "b"]);
}

/// SPEC O2, N6: 100 without a number, 1000 at most, and a link to the rest.
#[test]
fn the_catalog_comes_a_hundred_at_a_time() {
    let mut registry = registry();
    let names: Vec<String> = (0..1050).map(|i| format!("r{i:04}")).collect();
    for name in &names {
        registry.push_blob(name, "content");
    }
    let pages = pages(&mut registry, "/v2/_catalog");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [vec![100; 10], vec![50]].concat());
    assert_eq!(pages.concat(), names);
    for n in ["1000", "1001", "99999999999999999999"] {
        let (listed, next) = page(&mut registry, &format!("/v2/_catalog?n={n}"));
        assert_eq!(listed, names[..1000], "{n}");
        assert_eq!(page(&mut registry, &next.expect("there are more")), (names[1000..].to_vec(), None), "{n}");
    }
}

/// SPEC N1, O1, U28: what is acknowledged is listed, what is deleted is not.
#[test]
fn the_lists_follow_every_push_and_delete() {
    let mut registry = with_tags(&["a"]);
    let image = registry.push_image("a", "b", AMD64, "layer");
    assert_eq!(registry.tags("a"), ["a", "b"]);
    registry.delete(manifest("a", image.digest())).expect(202);
    assert!(registry.tags("a").is_empty());
    for bytes in image.blobs() {
        registry.delete(blob("a", orlop_conformance::image::sha256(bytes))).expect(202);
    }
    assert_eq!(page(&mut registry, "/v2/_catalog").0, ["a"], "empty, until garbage collection");
    registry.advance(std::time::Duration::from_secs(30 * 24 * 3600));
    registry.gc();
    assert!(page(&mut registry, "/v2/_catalog").0.is_empty());
    registry.get("/v2/a/tags/list").refused(404, "NAME_UNKNOWN");
}

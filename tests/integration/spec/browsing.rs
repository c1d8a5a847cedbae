//! Section AA: the API for people, under `/api/v1`.

use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, descriptor, sha256};
use orlop_conformance::system::{Answer, Call, InMemory, System, blob, delete, get, manifest, patch, strings};
use orlop_core::caller::{Right, Rule};
use orlop_core::config::Pattern;
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::{Caller, Rights};
use serde_json::{Value as Json, json};

use crate::registry;

const REPOSITORIES: &str = "/api/v1/repositories";

/// The answer of the API.
#[track_caller]
pub(crate) fn browse(registry: &mut InMemory, target: &str) -> Json {
    registry.get(target).expect(200).with("Content-Type", "application/json").json()
}

/// One field of all entries of a list, page by page.
#[track_caller]
fn pages(registry: &mut InMemory, first: &str, list: &str, field: &str) -> Vec<Vec<Json>> {
    let (mut pages, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(target) = next {
        let page = browse(registry, &target);
        pages.push(page[list].as_array().expect(list).iter().map(|entry| entry[field].clone()).collect());
        next = page["next"].as_str().map(str::to_owned);
        assert!(pages.len() < 100, "the pages lead in a circle");
    }
    pages
}

#[track_caller]
fn names(registry: &mut InMemory, first: &str, list: &str) -> Vec<String> {
    strings(&pages(registry, first, list, "name").concat().into())
}

/// Somebody who may do these things there, and nothing else.
pub(crate) fn caller(rights: &[Right], repositories: &[&str]) -> Arc<Caller> {
    let repositories = repositories.iter().map(|pattern| Pattern::new(*pattern)).collect();
    let rule = Rule { allow: true, rights: rights.into(), repositories, tags: None };
    Arc::new(Caller { name: "somebody".into(), rights: Rights::of([Arc::new(rule)]), ..Caller::anybody() })
}

pub(crate) fn as_caller(registry: &mut InMemory, caller: &Arc<Caller>, target: &str) -> Answer {
    as_caller_of(registry, caller, get(target))
}

/// The answer to a request of somebody.
pub(crate) fn as_caller_of(registry: &mut InMemory, caller: &Arc<Caller>, call: Call) -> Answer {
    let ambient = registry.memory.ambient();
    let step = registry.registry.call_of(caller.clone(), Arc::new(call.request.clone().into()), ambient);
    Answer { to: call.to_string(), response: registry.memory.run(step, &call.body) }
}

/// SPEC AA1, AA3.
#[test]
fn repositories_are_listed_with_what_they_take() {
    let mut registry = registry();
    let image = registry.push_image("team/app", "v1", AMD64, "layer");
    registry.advance(Duration::from_secs(3600));
    registry.push("team/app", "v2", &image);
    registry.push_blob("empty", "12345");
    let page = browse(&mut registry, REPOSITORIES);
    assert_eq!(page["next"], Json::Null);
    let [empty, app] = page["repositories"].as_array().expect("a list").as_slice() else { panic!("{page}") };
    assert_eq!((&empty["name"], &empty["bytes"], &empty["tags"]), (&json!("empty"), &json!(5), &json!(0)));
    assert_eq!(empty["pushed"], Json::Null);
    let counted = orlop_core::record::count(registry.memory.records.get(&Key::stored("usage/team/app")));
    assert!(counted > image.bytes().len() as u64);
    assert_eq!((&app["name"], &app["bytes"], &app["tags"]), (&json!("team/app"), &json!(counted), &json!(2)));
    let time = |field: &str| app[field].as_str().expect(field).to_owned();
    assert!(time("created") < time("pushed"), "{app}");
    registry.head(REPOSITORIES).expect(200).without("Link");
}

/// SPEC AA4.
#[test]
fn tags_are_counted_until_that_takes_too_long() {
    let mut registry = registry();
    for name in ["a", "b", "c"] {
        registry.push_image(name, "v1", AMD64, "layer");
    }
    let tag = registry.memory.records.get(&Key::stored("tag/b:v1")).expect("a tag").clone();
    for more in 0..100_000 {
        registry.memory.records.insert(Key::stored(format!("tag/b:v2.{more}")), tag.clone());
    }
    let page = browse(&mut registry, REPOSITORIES);
    let told = |at: usize| (page["repositories"][at]["tags"].clone(), page["repositories"][at]["pushed"].is_string());
    assert_eq!((told(0), told(1), told(2)), ((json!(1), true), (Json::Null, true), (Json::Null, true)));
    assert!(page["repositories"][2]["bytes"].is_u64());
    registry.memory.records.retain(|key, _| !key.as_str().starts_with("pushed/"));
    let page = browse(&mut registry, REPOSITORIES);
    let told = |at: usize| (page["repositories"][at]["tags"].clone(), page["repositories"][at]["pushed"].is_string());
    assert_eq!((told(0), told(1), told(2)), ((json!(1), true), (Json::Null, false), (Json::Null, false)));
}

/// SPEC AA12.
#[test]
fn a_search_goes_on_with_the_next_page() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    let tag = registry.memory.records.get(&Key::stored("tag/a:v1")).expect("a tag").clone();
    for more in 0..100_000 {
        registry.memory.records.insert(Key::stored(format!("tag/a:v2.{more}")), tag.clone());
    }
    registry.push_image("b", "wanted", AMD64, "layer");
    let first = browse(&mut registry, "/api/v1/search?q=wanted");
    assert_eq!(first["results"], json!([]));
    let second = browse(&mut registry, first["next"].as_str().expect("a next page"));
    assert_eq!((&second["results"], &second["next"]), (&json!([{ "repository": "b", "tag": "wanted" }]), &Json::Null));
}

/// SPEC AA2, AA12: a page that ends early names no repository that the caller may not see.
#[test]
fn a_search_passes_by_what_one_may_not_see() {
    let mut registry = registry();
    for name in ["secret/app", "zoo"] {
        registry.push_image(name, "wanted", AMD64, "layer");
    }
    let tag = registry.memory.records.get(&Key::stored("tag/zoo:wanted")).expect("a tag").clone();
    for more in 0..100_000 {
        registry.memory.records.insert(Key::stored(format!("tag/secret/app:v2.{more}")), tag.clone());
    }
    let somebody = caller(&Right::ALL, &["zoo"]);
    let page = as_caller(&mut registry, &somebody, "/api/v1/search?q=wanted").expect(200).json();
    assert_eq!(page, json!({ "results": [{ "repository": "zoo", "tag": "wanted" }] }));
}

/// SPEC AA7, AA8: what a manifest may have in the place of what it could say takes nothing from the rest.
#[test]
fn a_manifest_with_nulls_is_told_all_the_same() {
    let mut registry = registry();
    let config = orlop_conformance::image::config(AMD64, "layer");
    let mut layer = descriptor(OCI_LAYER, "layer");
    layer["annotations"] = Json::Null;
    layer["platform"] = json!({ "os": 5 });
    let pushed = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &config), "layers": [layer],
        "annotations": null, "artifactType": null,
    });
    registry.push_blob("a", config.clone());
    registry.push_blob("a", "layer");
    let pushed = orlop_conformance::system::put(manifest("a", "v1"))
        .header("Content-Type", OCI_MANIFEST)
        .body(pushed.to_string());
    registry.call(pushed).expect(201);
    let image = browse(&mut registry, "/api/v1/repositories/a/images/v1");
    assert_eq!((&image["kind"], &image["bytes"]), (&json!("image"), &json!(config.len() + 5)));
    assert_eq!((&image["annotations"], &image["layers"][0]["size"]), (&json!({}), &json!(5)));
    let tag = browse(&mut registry, "/api/v1/repositories/a/tags")["tags"][0].clone();
    assert_eq!((&tag["kind"], &tag["bytes"]), (&json!("image"), &json!(config.len() + 5)));
}

/// SPEC AA7: of an index that lists very many, some are told.
#[test]
fn of_a_large_index_some_platforms_are_told() {
    let mut registry = registry();
    let images: Vec<_> =
        (0..60).map(|at| registry.push_image("a", format!("v{at}"), AMD64, &format!("{at}"))).collect();
    let children = images.iter().enumerate().map(|(at, image)| {
        let mut child = image.descriptor();
        child["platform"] = json!({ "os": "linux", "architecture": format!("a{at}") });
        child
    });
    let index = Manifest::index(&[]).field("manifests", children.collect::<Vec<_>>());
    registry.push("a", "many", &index);
    let tag = browse(&mut registry, "/api/v1/repositories/a/tags?q=many")["tags"][0].clone();
    assert_eq!((&tag["kind"], tag["platforms"].as_array().map(Vec::len)), (&json!("index"), Some(50)));
    let whole = browse(&mut registry, "/api/v1/repositories/a/images/many");
    assert_eq!(whole["manifests"].as_array().map(Vec::len), Some(60));
}

/// SPEC AA1, AA3: pages have each repository once, in every order, of all of them or of some.
#[test]
fn repositories_are_sorted_and_searched() {
    let mut registry = registry();
    for (name, bytes) in [("b", 4), ("a", 3), ("team/x", 1), ("team", 2), ("team-2/y", 5)] {
        registry.push_blob(name, "x".repeat(bytes));
    }
    let mut all = |query: &str| names(&mut registry, &format!("{REPOSITORIES}?n=2&{query}"), "repositories");
    assert_eq!(all(""), ["a", "b", "team", "team-2/y", "team/x"]);
    assert_eq!(all("order=desc"), ["team/x", "team-2/y", "team", "b", "a"]);
    assert_eq!(all("sort=bytes"), ["team/x", "team", "a", "b", "team-2/y"]);
    assert_eq!(all("sort=bytes&order=desc"), ["team-2/y", "b", "a", "team", "team/x"]);
    assert_eq!(all("q=EA"), ["team", "team-2/y", "team/x"]);
    assert_eq!(all("under=team"), ["team/x"]);
    assert_eq!(all("under=team/&q=y"), Vec::<String>::new());
    assert_eq!(all("under=te"), Vec::<String>::new());
}

/// SPEC AA1.
#[test]
fn parameters_that_cannot_be_are_refused() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    for path in [REPOSITORIES, "/api/v1/repositories/a/tags", "/api/v1/folders", "/api/v1/search?q=a"] {
        let mark = if path.contains('?') { '&' } else { '?' };
        registry.get(format!("{path}{mark}n=x")).refused(400, "PAGINATION_NUMBER_INVALID");
        registry.get(format!("{path}{mark}sort=color")).refused(400, "UNSUPPORTED");
        registry.get(format!("{path}{mark}order=up")).refused(400, "UNSUPPORTED");
        registry.get(format!("{path}{mark}n=")).refused(400, "PAGINATION_NUMBER_INVALID");
        registry.get(format!("{path}{mark}sort=")).refused(400, "UNSUPPORTED");
        registry.get(format!("{path}{mark}n=0&order=desc&after=&other=x")).expect(200);
        registry.call(patch(path)).refused(405, "UNSUPPORTED").with("Allow", "GET, HEAD");
    }
    // Where a page begins need not exist.
    for after in ["x", "1:", ":", "99999999999999999999:a", "%00"] {
        registry.get(format!("/api/v1/repositories/a/tags?after={after}")).expect(200);
        registry.get(format!("/api/v1/repositories?sort=bytes&after={after}")).expect(200);
        registry.get(format!("/api/v1/repositories?after={after}")).expect(200);
        registry.get(format!("/api/v1/folders?after={after}")).expect(200);
        registry.get(format!("/api/v1/search?q=a&after={after}")).expect(200);
    }
    registry.get("/api/v1/search").refused(400, "UNSUPPORTED");
    registry.get("/api/v1/repositories/A/tags").refused(400, "NAME_INVALID");
    registry.get("/api/v1/repositories/a/images/sha256:x").refused(400, "DIGEST_INVALID");
    registry.get("/api/v1/repositories/a/images/.v1").refused(404, "MANIFEST_UNKNOWN");
    for reference in ["v1", ".v1"] {
        let target = format!("/api/v1/repositories/a/images/{reference}");
        let refused = registry.call(orlop_conformance::system::put(target));
        assert!([404, 405].contains(&refused.status()), "{reference}");
    }
    registry.get("/api/v1/other").refused(404, "UNSUPPORTED");
    registry.get("/api/").refused(404, "UNSUPPORTED");
}

/// SPEC AA2: header for header, and byte for byte.
#[test]
fn what_one_may_not_see_looks_like_what_does_not_exist() {
    let (mut there, mut nowhere) = (registry(), registry());
    let image = there.push_image("secret/app", "v1", AMD64, "layer");
    for registry in [&mut there, &mut nowhere] {
        registry.push_image("open/app", "v1", AMD64, "layer");
    }
    let somebody = caller(&Right::ALL, &["open/**"]);
    for target in [
        REPOSITORIES.to_owned(),
        format!("{REPOSITORIES}?sort=bytes"),
        format!("{REPOSITORIES}?sort=pushed"),
        format!("{REPOSITORIES}?under=secret"),
        "/api/v1/folders".into(),
        "/api/v1/folders?under=secret".into(),
        "/api/v1/search?q=app".into(),
        "/api/v1/search?q=secret:v1".into(),
        "/api/v1/repositories/secret/app/tags".into(),
        "/api/v1/repositories/secret/app/tags?after=x:y&n=x".into(),
        "/api/v1/repositories/secret/app/images/v1".into(),
        format!("/api/v1/repositories/secret/app/images/{}", image.digest()),
    ] {
        let (one, other) = (as_caller(&mut there, &somebody, &target), as_caller(&mut nowhere, &somebody, &target));
        // The two registries are as old as each other, but for the push.
        assert_eq!(one.status(), other.status(), "{target}");
        let plain = |answer: &Answer| String::from_utf8_lossy(answer.body()).replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(plain(&one), plain(&other), "{target}");
        assert!(!plain(&one).contains("secret") || one.status() >= 400, "{target}");
    }
    as_caller(&mut there, &somebody, "/api/v1/repositories/secret/app/tags").refused(404, "NAME_UNKNOWN");
    as_caller(&mut there, &somebody, "/api/v1/repositories/secret/app/images/v1").refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC AA3: of a repository that may be listed but not pulled from, only the name is told, also by an order.
#[test]
fn of_a_repository_that_may_only_be_listed_the_name_is_told() {
    let mut registry = registry();
    for (name, bytes) in [("a", 3), ("b", 9), ("c", 1)] {
        registry.push_blob(name, "x".repeat(bytes));
    }
    let mut rights = vec![];
    for (right, names) in [(Right::List, vec!["*"]), (Right::Pull, vec!["a", "c"])] {
        let repositories = names.into_iter().map(Pattern::new).collect();
        rights.push(Arc::new(Rule { allow: true, rights: [right].into(), repositories, tags: None }));
    }
    let somebody = Arc::new(Caller { rights: Rights::of(rights), ..Caller::anybody() });
    let page = as_caller(&mut registry, &somebody, "/api/v1/repositories?sort=bytes").expect(200).json();
    let list = page["repositories"].as_array().expect("a list");
    assert_eq!(list[0], json!({ "name": "b" }));
    assert_eq!(list.iter().map(|entry| entry["name"].as_str().expect("a name")).collect::<Vec<_>>(), ["b", "c", "a"]);
    let found = as_caller(&mut registry, &somebody, "/api/v1/search?q=b").expect(200).json();
    assert_eq!(found["results"], json!([{ "repository": "b" }]));
}

/// SPEC AA5.
#[test]
fn folders_are_what_stands_before_a_slash() {
    let mut registry = registry();
    for name in ["a", "a-b", "a/x", "a/y/1", "a/y/2", "b/z"] {
        registry.push_blob(name, "x");
    }
    let whole = browse(&mut registry, "/api/v1/folders");
    let shape = |folder: &Json| {
        let entries = folder["entries"].as_array().expect("entries").iter();
        let shape = |entry: &Json| (entry["name"].as_str().expect("a name").to_owned(), entry["repositories"].as_u64());
        entries.map(shape).collect::<Vec<_>>()
    };
    let expected = [("a", None), ("a-b", None), ("a", Some(3)), ("b", Some(1))];
    assert_eq!(shape(&whole), expected.map(|(name, repositories)| (name.to_owned(), repositories)));
    let inside = browse(&mut registry, "/api/v1/folders?under=a/");
    assert_eq!(shape(&inside), [("a/x".to_owned(), None), ("a/y".to_owned(), Some(2))]);
    let by_one = pages(&mut registry, "/api/v1/folders?n=1", "entries", "name");
    assert_eq!(by_one, [["a"], ["a-b"], ["a"], ["b"]]);
    let somebody = caller(&Right::ALL, &["a/y/1"]);
    let seen = as_caller(&mut registry, &somebody, "/api/v1/folders").expect(200).json();
    assert_eq!(shape(&seen), [("a".to_owned(), Some(1))]);
}

/// SPEC AA6.
#[test]
fn tags_are_sorted_as_people_read_them_and_by_their_times() {
    let mut registry = registry();
    for tag in ["v1.10", "v1.9", "latest", "v1.9.1", "v1.9-rc1"] {
        registry.push_image("a", tag, AMD64, tag);
        registry.advance(Duration::from_secs(60));
    }
    for tag in ["v1.9", "v1.9", "latest"] {
        let pulled = registry.get(manifest("a", tag)).expect(200).response.pulled.expect("a pull");
        let step = registry.registry.note_pulls([pulled.into()].into(), registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default()).expect("no fault");
        registry.advance(Duration::from_secs(60));
    }
    let mut all = |query: &str| names(&mut registry, &format!("/api/v1/repositories/a/tags?n=2&{query}"), "tags");
    assert_eq!(all(""), ["latest", "v1.9", "v1.9-rc1", "v1.9.1", "v1.10"]);
    assert_eq!(all("order=desc"), ["v1.10", "v1.9.1", "v1.9-rc1", "v1.9", "latest"]);
    assert_eq!(all("sort=pushed"), ["v1.10", "v1.9", "latest", "v1.9.1", "v1.9-rc1"]);
    assert_eq!(all("sort=pulled&order=desc")[..2], ["latest", "v1.9"]);
    assert_eq!(all("sort=pulls&order=desc")[..2], ["v1.9", "latest"]);
    assert_eq!(all("q=V1.9"), ["v1.9", "v1.9-rc1", "v1.9.1"]);
    let some = browse(&mut registry, "/api/v1/repositories/a/tags?q=rc&n=1");
    assert_eq!((&some["total"], &some["repository"]), (&json!(1), &json!("a")));
    let latest = browse(&mut registry, "/api/v1/repositories/a/tags?q=latest")["tags"][0].clone();
    assert!(latest["pulled"].is_string() && latest["pushed"].is_string(), "{latest}");
    assert_eq!((&latest["pulls"], &some["tags"][0]["pulls"]), (&json!(1), &json!(null)));
}

/// SPEC AA6, AA7: by size as the pushes have written it down, and where they have not, as the manifests say.
#[test]
fn tags_are_sorted_by_size() {
    let mut registry = registry();
    let images: Vec<_> = [("small", 10), ("large", 500), ("middle", 90)]
        .map(|(tag, bytes)| registry.push_image("a", tag, AMD64, &tag[..1].repeat(bytes)))
        .into();
    registry.push("a", "all", &Manifest::index(&images.iter().collect::<Vec<_>>()));
    registry.push("a", "none", &Manifest::index(&[]));
    let all = |registry: &mut InMemory, query: &str| {
        names(registry, &format!("/api/v1/repositories/a/tags?n=2&sort=size{query}"), "tags")
    };
    let sorted = ["none", "small", "middle", "large", "all"];
    assert_eq!(all(&mut registry, ""), sorted);
    let mut backwards = sorted;
    backwards.reverse();
    assert_eq!(all(&mut registry, "&order=desc"), backwards);
    let mut written_down = 0;
    for (key, value) in &mut registry.memory.records {
        if key.as_str().starts_with("manifest/") {
            let mut record: Json = serde_json::from_slice(value).expect("a record");
            written_down += usize::from(record.as_object_mut().expect("an object").remove("content").is_some());
            *value = record.to_string().into();
        }
    }
    assert_eq!(written_down, sorted.len());
    assert_eq!(all(&mut registry, ""), sorted);
}

/// SPEC AA6: sizes that nothing has do no harm.
#[test]
fn images_that_say_to_be_larger_than_anything_are_the_largest() {
    let mut registry = registry();
    let huge = |word: &str| {
        let mut layer = descriptor(OCI_LAYER, word);
        layer["size"] = json!(u64::MAX - 1);
        Manifest::image(AMD64, word).field("layers", json!([layer]))
    };
    let (one, two) = (huge("one"), huge("two"));
    registry.push("a", "one", &one);
    registry.push("a", "two", &two);
    registry.push("a", "both", &Manifest::index(&[&one, &two]));
    registry.push_image("a", "small", AMD64, "small");
    let sorted = names(&mut registry, "/api/v1/repositories/a/tags?sort=size", "tags");
    assert_eq!(sorted[0], "small");
}

/// SPEC AA3, AA4: by the last push, also where only tags tell it.
#[test]
fn repositories_are_sorted_by_their_last_push() {
    let mut registry = registry();
    for name in ["c", "a", "b"] {
        registry.push_image(name, "v1", AMD64, name);
        registry.advance(Duration::from_secs(60));
    }
    registry.push_image("c", "v1", AMD64, "c");
    registry.advance(Duration::from_secs(60));
    registry.push_blob("empty", "x");
    let sorted = ["empty", "a", "b", "c"];
    let all = |registry: &mut InMemory, query: &str| {
        names(registry, &format!("{REPOSITORIES}?n=2&sort=pushed{query}"), "repositories")
    };
    assert_eq!(all(&mut registry, ""), sorted);
    assert_eq!(all(&mut registry, "&order=desc"), ["c", "b", "a", "empty"]);
    registry.memory.records.retain(|key, _| !key.as_str().starts_with("pushed/"));
    assert_eq!(all(&mut registry, ""), sorted);
    // A push by digest alone counts too, which no tag tells.
    registry.advance(Duration::from_secs(60));
    let again = Manifest::image(AMD64, "a");
    registry.push("a", again.digest(), &again);
    assert_eq!(all(&mut registry, ""), ["empty", "b", "c", "a"]);
}

/// SPEC AA6, AA7.
#[test]
fn a_tag_is_told_with_what_it_names() {
    let mut registry = registry();
    let (amd64, arm64) = (Manifest::image(AMD64, "intel"), Manifest::image(ARM64, "arm"));
    registry.push("a", "plain", &amd64);
    registry.push("a", arm64.digest(), &arm64);
    let child = |image: &Manifest, (os, architecture): (&str, &str)| {
        let mut child = image.descriptor();
        child["platform"] = json!({ "os": os, "architecture": architecture });
        child
    };
    let children = json!([child(&amd64, AMD64), child(&arm64, ARM64)]);
    let index = Manifest::index(&[&amd64, &arm64]).field("manifests", children);
    registry.push("a", "many", &index);
    registry.push("a", "chart", &Manifest::artifact("application/vnd.cncf.helm.config.v1+json", "chart"));
    let page = browse(&mut registry, "/api/v1/repositories/a/tags");
    let tag = |name: &str| page["tags"].as_array().expect("tags").iter().find(|tag| tag["name"] == name).expect(name);
    let bytes = |image: &Manifest| image.blobs().iter().map(|blob| blob.len()).sum::<usize>();
    let plain = tag("plain");
    assert_eq!((&plain["kind"], &plain["bytes"]), (&json!("image"), &json!(bytes(&amd64))));
    assert_eq!(
        plain["platforms"],
        json!([{ "platform": "linux/amd64", "digest": amd64.digest(), "bytes": bytes(&amd64) }])
    );
    let many = tag("many");
    assert_eq!((&many["kind"], &many["bytes"]), (&json!("index"), &json!(bytes(&amd64) + bytes(&arm64))));
    assert_eq!(many["platforms"][1]["platform"], "linux/arm64");
    assert_eq!(many["digest"], index.digest());
    assert_eq!(tag("chart")["kind"], "chart");
    let step = registry.registry.protect("a:pl*".parse().expect("a mark"), registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("no fault");
    registry.memory.records.remove(&Key::stored(format!("manifest/a@{}", index.digest())));
    let page = browse(&mut registry, "/api/v1/repositories/a/tags?q=a");
    let tag = |name: &str| page["tags"].as_array().expect("tags").iter().find(|tag| tag["name"] == name).expect(name);
    assert_eq!((&tag("plain")["protected"], &tag("plain")["damaged"]), (&json!(true), &Json::Null));
    assert_eq!((&tag("many")["protected"], &tag("many")["damaged"]), (&Json::Null, &json!(true)));
}

/// SPEC AA8, AA9.
#[test]
fn an_image_is_told_with_its_layers_and_what_made_them() {
    let mut registry = registry();
    let layers = ["lower", "upper"];
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": { "Env": ["A=1"] },
        "history": [
            { "created": "2026-01-01T00:00:00Z", "created_by": "ADD lower" },
            { "created_by": "ENV A=1", "empty_layer": true },
            { "created_by": "RUN upper", "comment": "buildkit" },
        ],
    })
    .to_string();
    let pushed = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &config),
        "layers": layers.map(|layer| descriptor(OCI_LAYER, layer)), "annotations": { "a": "<b>" },
    })
    .to_string();
    for bytes in [config.clone(), "lower".into(), "upper".into()] {
        registry.push_blob("a", bytes);
    }
    let put =
        orlop_conformance::system::put(manifest("a", "v1")).header("Content-Type", OCI_MANIFEST).body(pushed.clone());
    registry.call(put).expect(201);
    let digest = sha256(&pushed);
    let image = browse(&mut registry, "/api/v1/repositories/a/images/v1");
    assert_eq!(image, browse(&mut registry, &format!("/api/v1/repositories/a/images/{digest}")));
    assert_eq!(
        (&image["kind"], &image["digest"], &image["size"]),
        (&json!("image"), &json!(digest), &json!(pushed.len()))
    );
    assert_eq!(image["config"]["config"]["Env"], json!(["A=1"]));
    assert_eq!((&image["tags"], &image["annotations"]), (&json!(["v1"]), &json!({ "a": "<b>" })));
    let [lower, env, upper] = image["layers"].as_array().expect("layers").as_slice() else { panic!("{image}") };
    assert_eq!((&lower["command"], &lower["digest"]), (&json!("ADD lower"), &json!(sha256("lower"))));
    assert_eq!((&env["command"], &env["digest"]), (&json!("ENV A=1"), &Json::Null));
    assert_eq!((&upper["comment"], &upper["size"]), (&json!("buildkit"), &json!(5)));
    // Without its config the layers are told alone.
    registry.call(delete(blob("a", sha256(&config)))).expect(202);
    let image = browse(&mut registry, "/api/v1/repositories/a/images/v1");
    assert_eq!((&image["config"], image["layers"].as_array().map(Vec::len)), (&Json::Null, Some(2)));
    registry.get("/api/v1/repositories/a/images/v2").refused(404, "MANIFEST_UNKNOWN");
    registry.get("/api/v1/repositories/b/images/v1").refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC AA8, AA10.
#[test]
fn an_image_is_told_with_what_refers_to_it() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let index = Manifest::index(&[&image]);
    registry.push("a", "list", &index);
    let target = format!("/api/v1/repositories/a/images/{}", image.digest());
    assert_eq!(browse(&mut registry, &target)["signed"], json!(false));
    let bill = Manifest::artifact("application/spdx+json", "bill").about(&image);
    registry.push("a", bill.digest(), &bill);
    let signature = Manifest::artifact("application/vnd.cncf.notary.signature", "signature").about(&image);
    registry.push("a", signature.digest(), &signature);
    let told = browse(&mut registry, &target);
    let kinds: Vec<_> = told["referrers"].as_array().expect("referrers").iter().map(|it| it["kind"].clone()).collect();
    assert!(kinds.contains(&json!("sbom")) && kinds.contains(&json!("signature")), "{told}");
    // The list that the registry keeps for the tag is not told.
    assert_eq!((&told["signed"], &told["listedBy"]), (&json!(true), &json!([index.digest()])));
    let bill = browse(&mut registry, &format!("/api/v1/repositories/a/images/{}", bill.digest()));
    assert_eq!((&bill["kind"], &bill["subject"]), (&json!("sbom"), &json!(image.digest())));
    // By a tag, as cosign made them first.
    let other = registry.push_image("b", "v1", AMD64, "layer");
    let tag = format!("{}.sig", other.digest().replace(':', "-"));
    registry.push("b", tag, &Manifest::artifact("x/y", "signature"));
    assert_eq!(browse(&mut registry, "/api/v1/repositories/b/images/v1")["signed"], json!(true));
}

/// SPEC AA2: neither the records nor what is noted of pulls change.
#[test]
fn whoever_looks_changes_nothing() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    let before = registry.memory.records.clone();
    for target in [
        REPOSITORIES,
        "/api/v1/folders",
        "/api/v1/search?q=a",
        "/api/v1/repositories/a/tags",
        "/api/v1/repositories/a/images/v1",
    ] {
        assert_eq!(registry.get(target).expect(200).response.pulled, None);
    }
    assert_eq!(registry.memory.records, before);
}

/// SPEC AA11, AA12.
#[test]
fn a_search_finds_repositories_and_tags() {
    let mut registry = registry();
    for (name, tag) in [("app", "v1"), ("app", "app-2"), ("other", "v1"), ("web/app", "v2"), ("z", "MyApp")] {
        registry.push_image(name, tag, AMD64, "layer");
    }
    let mut found = |query: &str| {
        let (mut found, mut next) = (vec![], Some(format!("/api/v1/search?n=2&q={query}")));
        while let Some(target) = next {
            let page = browse(&mut registry, &target);
            let results = page["results"].as_array().expect("results");
            assert!(results.len() <= 2, "{page}");
            for result in results {
                let tag = result["tag"].as_str().map(|tag| format!(":{tag}")).unwrap_or_default();
                found.push(format!("{}{tag}", result["repository"].as_str().expect("a name")));
            }
            next = page["next"].as_str().map(str::to_owned);
        }
        found
    };
    // The repositories fill a page, and the tags begin with the next one.
    assert_eq!(found("app"), ["app", "web/app", "app:app-2", "z:MyApp"]);
    assert_eq!(found("APP:v"), ["app:v1", "web/app:v2"]);
    assert_eq!(found(":v1"), ["app:v1", "other:v1"]);
    assert_eq!(found("z:"), ["z:MyApp"]);
    assert_eq!(found("nothing"), Vec::<String>::new());
}

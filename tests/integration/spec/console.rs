//! Section AD: what the console needs beside the API for people.

use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_MANIFEST, sha256};
use orlop_conformance::system::{System, delete, manifest, put};
use orlop_core::caller::{Right, Rule};
use orlop_core::config::Pattern;
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::mirror::Mirror;
use orlop_core::protect::Mark;
use orlop_core::{Body, Caller, Rights, Step, Undeleting};
use serde_json::{Value as Json, json};

use crate::browsing::{as_caller, as_caller_of, browse, caller};
use crate::{configured, registry};

/// SPEC AD1.
#[test]
fn what_the_caller_may_do_is_told() {
    let mut registry = registry();
    registry.push_image("a/x", "v1", AMD64, "layer");
    let all = ["repositories", "repositories/a/x/tags", "repositories/a/x/images/v1", "folders?under=a"];
    for (rights, deeds) in [
        (&Right::ALL[..], &["pull", "push", "delete"][..]),
        (&[Right::List, Right::Pull], &["pull"]),
        (&[Right::List, Right::Pull, Right::Upload], &["pull", "push"]),
        (&[Right::List, Right::Pull, Right::Delete], &["pull", "delete"]),
    ] {
        let caller = caller(rights, &["a/**"]);
        for path in all {
            let told = as_caller(&mut registry, &caller, &format!("/api/v1/{path}")).expect(200).json();
            let of = [&told["may"], &told["repositories"][0]["may"], &told["entries"][0]["may"]];
            assert_eq!(of.into_iter().find(|may| may.is_array()), Some(&json!(deeds)), "{path}: {told}");
        }
    }
    let lister = caller(&[Right::List], &["a/**"]);
    let listed = as_caller(&mut registry, &lister, "/api/v1/folders?under=a").expect(200).json();
    assert_eq!(listed["entries"], json!([{ "kind": "repository", "name": "a/x" }]));
}

/// SPEC AD1, AD3.
#[test]
fn what_nobody_may_do_is_told_to_nobody() {
    let mut registry = configured(|config| {
        config.allow_delete = false;
        config.mirrors = vec![Mirror { prefix: "hub/".into(), ..Mirror::default() }];
    });
    registry.push_image("a", "v1", AMD64, "layer");
    let tags = browse(&mut registry, "/api/v1/repositories/a/tags");
    assert_eq!((&tags["may"], &tags["mirror"]), (&json!(["pull", "push"]), &Json::Null));
    assert!(tags["created"].is_string() && tags["bytes"].as_u64() > Some(0), "{tags}");
}

/// SPEC AD6.
#[test]
fn a_repository_is_deleted_as_a_whole() {
    let mut registry = configured(|config| config.undelete_within = Some(Duration::from_secs(3600)));
    let (one, two) = (registry.push_image("a", "v1", AMD64, "one"), registry.push_image("a", "v2", ARM64, "two"));
    let untagged = Manifest::artifact("x/y", "untagged");
    registry.push("a", untagged.digest(), &untagged);
    registry.push_image("a/b", "v1", AMD64, "other");
    let contents = |name: &str| delete(format!("/api/v1/repositories/{name}/contents"));
    registry.call(contents("missing")).refused(404, "NAME_UNKNOWN");
    let emptied = registry.call(contents("a")).expect(200).json();
    assert_eq!((&emptied["tagsDeleted"], &emptied["more"]), (&json!(2), &json!(false)), "{emptied}");
    for image in [&one, &two] {
        registry.get(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(browse(&mut registry, "/api/v1/repositories/a/tags")["tags"], json!([]));
    registry.get(manifest("a/b", "v1")).expect(200);
    let again = registry.call(contents("a")).expect(200).json();
    assert_eq!((&again["tagsDeleted"], &again["manifestsDeleted"]), (&json!(0), &json!(0)));
    let step = registry.registry.undelete(
        "a".parse().expect("a name"),
        "v2".parse().expect("a tag"),
        Undeleting::default(),
        registry.memory.ambient(),
    );
    registry.memory.run(step, &RequestBody::default()).expect("it comes back");
    registry.get(manifest("a", "v2")).expect(200);
}

/// SPEC AD6: what has very many tags goes with several calls.
#[test]
fn a_large_repository_is_deleted_with_several_calls() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    registry.push_image("a", "v0", AMD64, "layer");
    for tags in (1..1500).collect::<Vec<_>>().chunks(10) {
        let tags: Vec<String> = tags.iter().map(|tag| format!("tag=v{tag}")).collect();
        let put = put(format!("{}?{}", manifest("a", image.digest()), tags.join("&")));
        registry.call(put.header("Content-Type", OCI_MANIFEST).body(image.bytes().clone())).expect(201);
    }
    let (mut tags, mut calls) = (0, 0);
    loop {
        let emptied = registry.call(delete("/api/v1/repositories/a/contents")).expect(200).json();
        tags += emptied["tagsDeleted"].as_u64().expect("a number");
        calls += 1;
        if emptied["more"] == false {
            break;
        }
    }
    assert_eq!((tags, calls), (1500, 2));
    registry.get(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC AD6: whether something must stay is looked up once, however many calls it takes, and each of them goes on where the
/// one before has ended. What must not go stays all the same.
#[test]
fn a_large_repository_with_marks_is_read_once_and_not_with_each_call() {
    let mut registry = registry();
    let image = registry.push_image("a", "v0000", AMD64, "layer");
    let [tag, tagged] = ["tag/a:v0000".into(), format!("tagged/a@{}/v0000", image.digest())].map(Key::stored);
    let [tag, tagged] = [tag, tagged].map(|key| registry.memory.records[&key].clone());
    for number in 1..5000 {
        registry.memory.records.insert(Key::stored(format!("tag/a:v{number:04}")), tag.clone());
        let named = format!("tagged/a@{}/v{number:04}", image.digest());
        registry.memory.records.insert(Key::stored(named), tagged.clone());
    }
    let mark: Mark = "a:keep*".parse().expect("a mark");
    let step = registry.registry.protect(mark, registry.memory.ambient());
    assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(true));
    let (mut target, mut tags, mut scans) = ("/api/v1/repositories/a/contents".to_owned(), 0, Vec::new());
    loop {
        let mut step = registry.registry.call(delete(&target).request, registry.memory.ambient());
        scans.push(0);
        let response = loop {
            step = match step {
                Step::Respond(response) | Step::Answered(response, _) => break response,
                asks => {
                    let scan = matches!(&asks, Step::Scan(ask) if ask.effect.prefix.as_str() == "tag/a:");
                    *scans.last_mut().expect("a call") += usize::from(scan);
                    registry.memory.perform(asks, &RequestBody::default())
                }
            };
        };
        let Body::Bytes(body) = &response.body else { panic!("{response:?}") };
        let emptied: Json = serde_json::from_slice(body).expect("JSON");
        assert_eq!((response.status, emptied["more"] == true), (200, emptied["next"].is_string()), "{emptied}");
        tags += emptied["tagsDeleted"].as_u64().expect("a number");
        match emptied["next"].as_str() {
            Some(next) => next.clone_into(&mut target),
            None => break,
        }
    }
    assert_eq!(tags, 5000);
    assert!(scans.len() > 5 && scans[0] > 5 && scans[1..].iter().all(|scans| *scans <= 2), "{scans:?}");
}

/// SPEC AD6: whatever a client says of how far it is, what must stay stays.
#[test]
fn what_must_stay_stays_for_whoever_goes_on_too() {
    let mut registry = registry();
    let image = registry.push_image("a", "v2", AMD64, "one");
    let step = registry.registry.protect("a:v2".parse().expect("a mark"), registry.memory.ambient());
    assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(true));
    let path = "/api/v1/repositories/a/contents";
    for after in ["v1", "v2", "~"] {
        registry.call(delete(format!("{path}?after={after}"))).refused(403, "DENIED");
    }
    let step = registry.registry.unprotect("a:v2".parse().expect("a mark"), registry.memory.ambient());
    assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(true));
    let all = vec![Pattern::new("**")];
    let rule = |allow, tags| Arc::new(Rule { allow, rights: Right::ALL.into(), repositories: all.clone(), tags });
    let rights = Rights::of([rule(false, Some(vec![Pattern::new("v2")])), rule(true, None)]);
    let somebody = Arc::new(Caller { rights, ..Caller::anybody() });
    for after in ["v1", "v2", "~"] {
        as_caller_of(&mut registry, &somebody, delete(format!("{path}?after={after}"))).refused(403, "DENIED");
    }
    registry.get(manifest("a", "v2")).expect(200);
    registry.get(manifest("a", image.digest())).expect(200);
    // One that is pushed behind a client goes with its manifest.
    registry.call(delete(format!("{path}?after=v9"))).expect(200);
    registry.get(manifest("a", "v2")).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC AD6: whoever asks until there is no more comes to an end, whatever cannot be deleted.
#[test]
fn records_that_do_not_read_do_not_keep_a_client_asking() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    for number in 0..1200 {
        let key = format!("manifest/a@{}", sha256(number.to_string().as_bytes()));
        registry.memory.records.insert(Key::stored(key), "{}".into());
    }
    let emptied = registry.call(delete("/api/v1/repositories/a/contents")).expect(200).json();
    assert_eq!((&emptied["tagsDeleted"], &emptied["more"]), (&json!(1), &json!(false)), "{emptied}");
}

/// SPEC AD6: where some tags may not be deleted, an index goes before its images.
#[test]
fn a_repository_goes_where_a_rule_keeps_tags_that_it_does_not_have() {
    let mut registry = registry();
    let images = [Manifest::image(AMD64, "one"), Manifest::image(ARM64, "two"), Manifest::image(AMD64, "three")];
    images.iter().for_each(|image| {
        registry.push("a", image.digest(), image);
    });
    registry.push("a", "all", &Manifest::index(&[&images[0], &images[1], &images[2]]));
    let rule = |allow: bool, tags: Option<&str>| {
        let tags = tags.map(|tags| vec![Pattern::new(tags)]);
        Arc::new(Rule { allow, rights: Right::ALL.into(), repositories: vec![Pattern::new("**")], tags })
    };
    let rights = Rights::of([rule(false, Some("v*")), rule(true, None)]);
    let somebody = Arc::new(Caller { rights, ..Caller::anybody() });
    let call = delete("/api/v1/repositories/a/contents");
    let emptied = as_caller_of(&mut registry, &somebody, call).expect(200).json();
    assert_eq!(
        (&emptied["tagsDeleted"], &emptied["manifestsDeleted"], &emptied["more"]),
        (&json!(1), &json!(4), &json!(false))
    );
}

/// SPEC AD6: nothing goes where something must stay.
#[test]
fn a_repository_in_which_something_must_stay_is_not_deleted() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "one");
    registry.push_image("a", "v2", ARM64, "two");
    let path = "/api/v1/repositories/a/contents";
    for mark in ["a:v2".to_owned(), format!("a@{}", image.digest())] {
        let mark: Mark = mark.parse().expect("a mark");
        let step = registry.registry.protect(mark.clone(), registry.memory.ambient());
        assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(true));
        registry.call(delete(path)).refused(403, "DENIED");
        let step = registry.registry.unprotect(mark, registry.memory.ambient());
        assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(true));
    }
    let rule = |allow: bool, tags: Option<&str>| {
        let tags = tags.map(|tags| vec![Pattern::new(tags)]);
        Arc::new(Rule { allow, rights: Right::ALL.into(), repositories: vec![Pattern::new("**")], tags })
    };
    let rights = Rights::of([rule(false, Some("v2")), rule(true, None)]);
    let somebody = Arc::new(Caller { rights, ..Caller::anybody() });
    as_caller_of(&mut registry, &somebody, delete(path)).refused(403, "DENIED");
    for tag in ["v1", "v2"] {
        registry.get(manifest("a", tag)).expect(200);
    }
    configured(|config| config.allow_delete = false).call(delete(path)).refused(405, "UNSUPPORTED");
    registry.call(delete(path)).expect(200);
}

/// SPEC AD2.
#[test]
fn a_folder_tells_of_its_repositories() {
    let mut registry = registry();
    for name in ["a/x", "a/y/1", "a/y/2", "b"] {
        registry.push_image(name, "v1", AMD64, name);
    }
    let whole = browse(&mut registry, "/api/v1/repositories");
    let repositories = whole["repositories"].as_array().expect("repositories");
    let bytes = |name: &str| repositories.iter().find(|one| one["name"] == name).expect(name)["bytes"].as_u64();
    let top = browse(&mut registry, "/api/v1/folders");
    let sum = bytes("a/x").zip(bytes("a/y/1")).zip(bytes("a/y/2")).map(|((x, one), two)| x + one + two);
    assert_eq!(top["entries"][0]["bytes"].as_u64(), sum);
    let last = |names: &[&str]| {
        let of = repositories.iter().filter(|one| names.contains(&one["name"].as_str().unwrap_or_default()));
        of.filter_map(|one| one["pushed"].as_str()).max().map(str::to_owned)
    };
    assert_eq!(top["entries"][0]["pushed"].as_str(), last(&["a/x", "a/y/1", "a/y/2"]).as_deref());
    // A repository is told of as in the list.
    let (mut told, listed) = (top["entries"][1].clone(), &repositories[3]);
    assert_eq!(told.as_object_mut().and_then(|told| told.remove("kind")), Some(json!("repository")));
    assert_eq!((&told, &told["tags"]), (listed, &json!(1)));
    // What the caller may not pull from does not count.
    let somebody = caller(&[Right::List, Right::Pull], &["a/x"]);
    let seen = as_caller(&mut registry, &somebody, "/api/v1/folders").expect(200).json();
    assert_eq!(seen["entries"][0]["bytes"].as_u64(), bytes("a/x"));
    assert_eq!(seen["entries"][0]["pushed"].as_str(), last(&["a/x"]).as_deref());
    let lister = caller(&[Right::List], &["a/x"]);
    let seen = as_caller(&mut registry, &lister, "/api/v1/folders").expect(200).json();
    assert_eq!((&seen["entries"][0]["bytes"], &seen["entries"][0]["pushed"]), (&json!(0), &Json::Null));
}

/// SPEC AD4.
#[test]
fn an_index_tells_how_large_its_images_are() {
    let mut registry = registry();
    let images = [("one", AMD64), ("other", ARM64)].map(|(tag, platform)| registry.push_image("a", tag, platform, tag));
    registry.push("a", "v1", &Manifest::index(&[&images[0], &images[1]]));
    let index = browse(&mut registry, "/api/v1/repositories/a/images/v1");
    for (at, tag) in ["one", "other"].into_iter().enumerate() {
        let image = browse(&mut registry, &format!("/api/v1/repositories/a/images/{tag}"));
        assert_eq!(index["manifests"][at]["bytes"], image["bytes"], "{tag}");
        let config = &image["configDescriptor"];
        assert!(config["digest"].is_string() && config["size"].as_u64() > Some(0), "{config}");
    }
    assert!(index["configDescriptor"].is_null());
}

/// SPEC AD2.
#[test]
fn what_folders_hold_is_counted_until_that_takes_too_long() {
    let mut registry = registry();
    registry.push_blob("f00/a", "x");
    let made = registry.memory.records.get(&Key::stored("repo/f00/a")).expect("a repository").clone();
    for folder in 0..30 {
        for number in 0..1001 {
            registry.memory.records.insert(Key::stored(format!("repo/f{folder:02}/{number}")), made.clone());
        }
    }
    let page = browse(&mut registry, "/api/v1/folders?n=100");
    let entries = page["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 30);
    for (at, folder) in entries.iter().enumerate() {
        // Ten folders of a thousand names, each with what it takes, are the bound.
        let (counted, told) = if at < 10 { (1000, true) } else { (1, false) };
        let found = (folder["repositories"].as_u64(), &folder["more"], folder["bytes"].is_u64());
        assert_eq!(found, (Some(counted), &json!(true), told), "{folder}");
    }
    // What is behind it is counted on a page of its own.
    let behind = browse(&mut registry, "/api/v1/folders?after=f19/");
    assert_eq!(behind["entries"][0]["repositories"], 1000);
    assert!(behind["entries"][0]["bytes"].is_u64());
}

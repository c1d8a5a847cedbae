//! Section M: referrers.

use orlop_conformance::image::{
    AMD64, EMPTY, Manifest, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, descriptor, sha256, sha512,
};
use orlop_conformance::system::{InMemory, System, get, manifest, put, referrers};
use orlop_core::keys::Key;
use serde_json::{Value as Json, json};

use crate::{NOWHERE, registry};

/// The descriptors that are listed, in no order that anyone may rely on.
#[track_caller]
fn listed(registry: &mut InMemory, subject: &str, query: &str) -> Vec<Json> {
    let answer = registry.get(format!("{}{query}", referrers("a", subject))).expect(200);
    let index = answer.with("Content-Type", OCI_INDEX).json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    let mut listed = index["manifests"].as_array().expect("a list, not null").clone();
    listed.sort_by_key(|descriptor| descriptor["digest"].to_string());
    listed
}

fn digests(descriptors: &[Json]) -> Vec<&str> {
    descriptors.iter().map(|descriptor| descriptor["digest"].as_str().expect("a digest")).collect()
}

/// SPEC M1: nothing is known of the repository, of the subject, of any referrer.
#[test]
fn no_referrers_are_an_empty_index() {
    let mut registry = registry();
    assert!(listed(&mut registry, NOWHERE, "").is_empty());
    let image = registry.push_image("a", "v1", AMD64, "layer");
    assert!(listed(&mut registry, NOWHERE, "").is_empty());
    assert!(listed(&mut registry, &image.digest(), "").is_empty());
    assert!(listed(&mut registry, &sha512("x"), "").is_empty());
}

/// SPEC M3–M5, U17: what is listed of each, whether it came before or after the subject.
#[test]
fn every_referrer_is_listed_with_what_it_is() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    let annotations = json!({ "org.example.key": "value", "z": "" });
    let artifact = Manifest::artifact("x/artifact", "1").about(&image).field("annotations", annotations.clone());
    let plain = Manifest::image(AMD64, "2").about(&image);
    let typed = Manifest::index(&[]).about(&image).field("artifactType", "x/index");
    let untyped = Manifest::index(&[]).about(&image);
    registry.push("a", "before", &artifact);
    registry.push("a", "v1", &image);
    for referrer in [&plain, &typed, &untyped] {
        registry.push("a", referrer.digest(), referrer);
    }
    registry.push("a", "unrelated", &Manifest::artifact("x/y", "3"));
    let mut expected = vec![
        (&artifact, OCI_MANIFEST, Some("x/artifact"), Some(annotations)),
        // Without artifactType a manifest is of the type of its config; an index is of none.
        (&plain, OCI_MANIFEST, Some(OCI_CONFIG), None),
        (&typed, OCI_INDEX, Some("x/index"), None),
        (&untyped, OCI_INDEX, None, None),
    ];
    expected.sort_by_key(|(referrer, ..)| referrer.digest());
    let found = listed(&mut registry, &image.digest(), "");
    assert_eq!(found.len(), expected.len());
    for (found, (referrer, media_type, artifact_type, annotations)) in found.iter().zip(expected) {
        let mut descriptor = descriptor(media_type, referrer.bytes());
        artifact_type.into_iter().for_each(|artifact_type| descriptor["artifactType"] = json!(artifact_type));
        annotations.into_iter().for_each(|annotations| descriptor["annotations"] = annotations);
        assert_eq!(*found, descriptor);
    }
}

/// SPEC M4: an empty artifactType is none.
#[test]
fn an_artifact_without_a_type_is_of_the_type_of_its_config() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.push("a", "x", &Manifest::artifact("", "1").about(&image));
    assert_eq!(listed(&mut registry, &image.digest(), "")[0]["artifactType"], EMPTY);
}

/// SPEC M6, U17. Several are alternatives: a referrer has but one type.
#[test]
fn referrers_are_filtered_by_type_and_the_answer_says_so() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let [sbom, signature, index] = [
        Manifest::artifact("application/spdx+json", "1").about(&image),
        Manifest::artifact("x/signature", "2").about(&image),
        Manifest::index(&[]).about(&image),
    ];
    for referrer in [&sbom, &signature, &index] {
        registry.push("a", referrer.digest(), referrer);
    }
    let mut check = |query: &str, expected: &[&Manifest]| {
        let mut expected: Vec<_> = expected.iter().map(|referrer| referrer.digest()).collect();
        expected.sort();
        assert_eq!(digests(&listed(&mut registry, &image.digest(), query)), expected, "{query}");
        let answer = registry.get(referrers("a", image.digest()) + query);
        if query.contains("artifactType=") {
            answer.with("OCI-Filters-Applied", "artifactType");
        } else {
            answer.without("OCI-Filters-Applied");
        }
    };
    check("", &[&sbom, &signature, &index]);
    check("?x=y", &[&sbom, &signature, &index]);
    check("?artifactType=x/signature", &[&signature]);
    check("?artifactType=x%2Fsignature", &[&signature]);
    check("?artifactType=application/spdx+json", &[&sbom]);
    check("?artifactType=application%2Fspdx%2Bjson", &[&sbom]);
    check("?artifactType=x/nothing", &[]);
    check("?artifactType=x", &[]);
    check("?artifactType=x/signature&artifactType=application/spdx%2Bjson", &[&sbom, &signature]);
}

/// SPEC M7, U17: every page is an index of at most 4 MiB, and together they are everything, once.
#[test]
fn more_referrers_than_a_manifest_can_hold_come_in_pages() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let mut wanted = Vec::new();
    for i in 0..10 {
        let artifact_type = if i % 2 == 0 { "x/even" } else { "x/odd" };
        // Lengths that fill pages up to the last byte sooner or later.
        let referrer = Manifest::artifact(artifact_type, &format!("{i}"))
            .about(&image)
            .field("annotations", json!({ "a": "x".repeat((1 << 20) - 300 + i * 7) }));
        registry.push("a", referrer.digest(), &referrer);
        wanted.push((artifact_type, referrer.digest()));
    }
    for (query, filter) in [("", None), ("?artifactType=x/even", Some("x/even"))] {
        let mut expected: Vec<_> =
            wanted.iter().filter(|(t, _)| filter.is_none_or(|f| f == *t)).map(|(_, digest)| digest.clone()).collect();
        expected.sort();
        let mut next = Some(referrers("a", image.digest()) + query);
        let (mut found, mut pages) = (Vec::new(), 0);
        while let Some(page) = next {
            let answer = registry.get(page).expect(200).with("Content-Type", OCI_INDEX);
            assert!(answer.body().len() <= 4 << 20, "a page of {} bytes", answer.body().len());
            assert_eq!(answer.header("OCI-Filters-Applied").is_some(), filter.is_some());
            let manifests = answer.json()["manifests"].as_array().expect("a list").clone();
            assert!(!manifests.is_empty(), "an empty page");
            found.extend(digests(&manifests).into_iter().map(String::from));
            next = answer.next_page();
            pages += 1;
        }
        assert!(pages > 1);
        found.sort();
        assert_eq!(found, expected);
    }
}

/// SPEC M7: the limit is that of the whole document, with the brackets around the descriptors.
#[test]
fn a_page_of_referrers_is_never_larger_than_a_manifest_may_be() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let referrer = |content: &str, padding: usize| {
        let annotations = json!({ "a": "x".repeat(padding) });
        Manifest::artifact("x/y", content).about(&image).field("annotations", annotations)
    };
    registry.push("a", "probe", &referrer("0", 1 << 20));
    let probe = listed(&mut registry, &image.digest(), "")[0].to_string().len();
    registry.delete(manifest("a", "probe")).expect(202);
    // Four descriptors of about a quarter each: the commas count, and what stands around them, with 128 bytes.
    for (spare, pages) in [(0, [3, 1].as_slice()), (2, &[3, 1]), (10, &[3, 1]), (32, &[3, 1]), (33, &[4])] {
        let mut registry = crate::registry();
        for content in ["1", "2", "3", "4"] {
            registry.push("a", content, &referrer(content, (2 << 20) - probe - spare));
        }
        let mut next = Some(referrers("a", image.digest()));
        for count in pages {
            let page = registry.get(next.expect("there are more")).expect(200);
            assert!(page.body().len() <= 4 << 20, "a page of {} bytes", page.body().len());
            assert_eq!(page.json()["manifests"].as_array().map(Vec::len), Some(*count), "{spare}");
            next = page.next_page();
        }
        assert_eq!(next, None, "{spare}");
    }
}

/// SPEC M7: of very many short descriptors the commas alone are more than what stands around them.
#[test]
fn a_page_of_very_many_short_referrers_is_no_larger_either() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let referrer = Manifest::artifact("x/y", "1").about(&image);
    registry.push("a", "v2", &referrer);
    // As if as many had been pushed, which takes long.
    let digest = referrer.digest();
    let family = |key: &&Key| key.as_str().starts_with("referrer/");
    let key = registry.memory.records.keys().find(family).expect("its record").clone();
    let record = String::from_utf8(registry.memory.records[&key].to_vec()).expect("JSON");
    let count = (4 << 20) / record.len() + 100;
    for number in 1..count {
        let other = format!("sha256:{number:064x}");
        let key = Key::stored(key.as_str().replace(&digest, &other));
        registry.memory.records.insert(key, record.replace(&digest, &other).into());
    }
    let first = registry.get(referrers("a", image.digest())).expect(200);
    assert!(first.body().len() <= 4 << 20, "a page of {} bytes", first.body().len());
    let second = registry.get(first.next_page().expect("there are more")).expect(200);
    assert_eq!(second.next_page(), None);
    let listed = [first, second].map(|page| page.json()["manifests"].as_array().map_or(0, Vec::len));
    assert_eq!(listed[0] + listed[1], count);
}

/// SPEC M8: clients of the old schema push tags like any other.
#[test]
fn tags_of_the_referrers_tag_schema_are_tags_like_any_other() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let tag = image.digest().replace(':', "-");
    let index = Manifest::index(&[]);
    registry.push("a", &tag, &index);
    assert_eq!(registry.get(manifest("a", &tag)).expect(200).body(), index.bytes());
    registry.delete(manifest("a", &tag)).expect(202);
}

/// SPEC M9, U17.
#[test]
fn a_referrer_that_is_pushed_again_is_listed_once() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let referrer = Manifest::artifact("x/y", "1").about(&image);
    for reference in ["x", "y", &referrer.digest()] {
        registry.push("a", reference, &referrer);
    }
    assert_eq!(digests(&listed(&mut registry, &image.digest(), "")), [referrer.digest()]);
}

/// SPEC M3, U17: a subject is called by one digest; the same bytes under another are another subject.
#[test]
fn subjects_of_both_algorithms_have_referrers() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let long = sha512(image.bytes());
    let mut subject = image.descriptor();
    subject["digest"] = json!(long);
    let referrer = Manifest::artifact("x/y", "1").field("subject", subject);
    registry.push("a", "x", &referrer).with("OCI-Subject", &long);
    assert_eq!(digests(&listed(&mut registry, &long, "")), [referrer.digest()]);
    assert!(listed(&mut registry, &image.digest(), "").is_empty());
    // A referrer that is itself called by a sha512 digest.
    let name = sha512(referrer.bytes());
    let push = put(manifest("a", &name)).header("Content-Type", OCI_MANIFEST).body(referrer.bytes());
    registry.call(push).expect(201).with("OCI-Subject", &long);
    assert_eq!(listed(&mut registry, &long, "").len(), 2);
}

/// SPEC M7: `last` is a place in the order, whether or not something is there.
#[test]
fn a_page_may_begin_after_a_referrer_that_is_gone() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let referrer = Manifest::artifact("x/y", "1").about(&image);
    registry.push("a", "x", &referrer);
    for (last, count) in [("", 1), ("sha256:", 1), (&*sha256("layer").replace("sha256:", "sha255:"), 1), ("z", 0)] {
        let answer = registry.call(get(format!("{}?last={last}", referrers("a", image.digest())))).expect(200);
        assert_eq!(answer.json()["manifests"].as_array().map(Vec::len), Some(count), "{last}");
    }
}

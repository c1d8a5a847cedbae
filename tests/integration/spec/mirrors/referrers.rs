//! Referrers of a mirror (SPEC V11).

use super::*;

/// SPEC V11.
#[test]
fn referrers_of_the_upstream_and_those_that_are_here_are_one_list() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let signatures = ["one", "two", "three"].map(|content| Manifest::artifact("x/signature", content).about(&image));
    at(&mut registry, "hub", |hub| {
        signatures.iter().for_each(|signature| drop(hub.push("app", signature.digest(), signature)));
    });
    registry.get(manifest("hub/app", signatures[1].digest())).expect(200);
    let listed = |registry: &mut InMemory, query: &str| {
        let list = registry.get(format!("{}{query}", referrers("hub/app", image.digest()))).expect(200).json();
        let manifests = list["manifests"].as_array().expect("a list").clone();
        manifests.iter().map(|entry| entry["digest"].as_str().expect("a digest").into()).collect::<Vec<String>>()
    };
    let mut all: Vec<_> = signatures.iter().map(Manifest::digest).collect();
    all.sort();
    assert_eq!(listed(&mut registry, ""), all);
    assert_eq!(listed(&mut registry, &format!("?last={}", all[0])), all[1..]);
    assert_eq!(listed(&mut registry, "?artifactType=x/signature"), all);
    assert_eq!(listed(&mut registry, "?artifactType=y"), [""; 0]);
    // Without the upstream, those that are here.
    answers(&mut registry, "hub", unreachable());
    assert_eq!(listed(&mut registry, ""), [signatures[1].digest()]);
}

/// SPEC V11: as registries without the API keep them.
#[test]
fn referrers_come_from_the_tag_that_takes_the_place_of_the_api() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let signature = Manifest::artifact("x/signature", "one");
    let index = Manifest::index(&[&signature]);
    at(&mut registry, "hub", |hub| {
        hub.push("app", signature.digest(), &signature);
        hub.put_manifest("app", image.digest().replace(':', "-"), &index).expect(201);
    });
    // That registry has the API and answers with an empty list, which is an answer.
    let list = registry.get(referrers("hub/app", image.digest())).expect(200).json();
    assert_eq!(list["manifests"].as_array().map(Vec::len), Some(0));
    let step = registry.begin(get(referrers("hub/app", image.digest()))).until("Inquire", &mut registry);
    answers(&mut registry, "hub", Some(Unmet::Absent));
    let step = step.step(&mut registry).until("Inquire", &mut registry);
    answers(&mut registry, "hub", None);
    let list = step.end(&mut registry).expect(200).json();
    assert_eq!(list["manifests"][0]["digest"], signature.digest());
}

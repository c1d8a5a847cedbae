//! Mirrors that are there for some platforms (SPEC V23).

use serde_json::{Value, json};

use super::administering::bring;
use super::*;

/// An index of images and what their descriptors say besides.
fn index(images: &[(&Manifest, Value)]) -> Manifest {
    let entry = |(image, more): &(&Manifest, Value)| {
        let mut entry = image.descriptor();
        entry.as_object_mut().expect("a descriptor").extend(more.as_object().expect("fields").clone());
        entry
    };
    Manifest::index(&[]).field("manifests", images.iter().map(entry).collect::<Vec<_>>())
}

fn platform((os, architecture): (&str, &str)) -> Value {
    json!({ "platform": { "os": os, "architecture": architecture } })
}

/// A mirror for these platforms. Its upstream has an index, with an attestation for each of two images.
struct Built {
    registry: InMemory,
    index: Manifest,
    images: [Manifest; 2],
    attestations: [Manifest; 2],
}

fn built(platforms: &[&str]) -> Built {
    let platforms = platforms.iter().map(|text| text.parse().expect("a platform")).collect();
    let mut registry = mirroring(vec![Mirror { platforms, ..hub() }]);
    let images = [(AMD64, "one"), (ARM64, "two")].map(|(platform, layer)| Manifest::image(platform, layer));
    let attestations = ["about one", "about two"].map(|content| Manifest::artifact("x/attestation", content));
    let about = |image: &Manifest| {
        let unknown = platform(("unknown", "unknown"));
        json!({ "platform": unknown["platform"], "annotations": { "vnd.docker.reference.digest": image.digest() } })
    };
    let [one, two] = &images;
    let index = index(&[
        (one, platform(AMD64)),
        (two, platform(ARM64)),
        (&attestations[0], about(one)),
        (&attestations[1], about(two)),
    ]);
    at(&mut registry, "hub", |hub| {
        images.iter().chain(&attestations).for_each(|image| drop(hub.push("app", image.digest(), image)));
        hub.put_manifest("app", "v1", &index).expect(201);
    });
    Built { registry, index, images, attestations }
}

/// SPEC V23: the index is as it was pushed, and an attestation goes with its image.
#[test]
fn images_for_other_platforms_are_not_fetched() {
    let Built { mut registry, index, images, attestations } = built(&["linux/arm64/v8"]);
    let answer = registry.get(manifest("hub/app", "v1")).expect(200).with("Docker-Content-Digest", index.digest());
    assert_eq!(answer.body(), index.bytes());
    asked(&mut registry);
    for left_out in [&images[0], &attestations[0]] {
        let answer = registry.get(manifest("hub/app", left_out.digest())).refused(404, "MANIFEST_UNKNOWN");
        let told = answer.json()["errors"][0]["message"].to_string();
        assert!(told.contains("linux/amd64"), "{told}");
        assert_eq!(registry.head(manifest("hub/app", left_out.digest())).status(), 404);
    }
    assert_eq!(asked(&mut registry), [""; 0]);
    pull(&mut registry, "hub/app", &images[1].digest(), &images[1]);
    registry.get(manifest("hub/app", attestations[1].digest())).expect(200);
}

/// SPEC V23: nothing is known of an image that no index here lists, and a tag names what its upstream says.
#[test]
fn what_no_index_says_to_be_for_another_platform_is_fetched() {
    let Built { mut registry, images, .. } = built(&["linux/arm64"]);
    pull(&mut registry, "hub/app", &images[0].digest(), &images[0]);
    // What is here is answered, whatever it is for.
    registry.get(manifest("hub/app", "v1")).expect(200);
    pull(&mut registry, "hub/app", &images[0].digest(), &images[0]);
    let Built { mut registry, images, .. } = built(&["linux/arm64"]);
    at(&mut registry, "hub", |hub| hub.put_manifest("app", "plain", &images[0]).expect(201));
    registry.get(manifest("hub/app", "v1")).expect(200);
    pull(&mut registry, "hub/app", "plain", &images[0]);
    // Another index lists the image for a platform that is wanted.
    let Built { mut registry, images, .. } = built(&["linux/arm64"]);
    let other = index(&[(&images[0], platform(ARM64))]);
    at(&mut registry, "hub", |hub| hub.put_manifest("app", "other", &other).expect(201));
    registry.get(manifest("hub/app", "v1")).expect(200);
    registry.get(manifest("hub/app", images[0].digest())).refused(404, "MANIFEST_UNKNOWN");
    registry.get(manifest("hub/app", "other")).expect(200);
    pull(&mut registry, "hub/app", &images[0].digest(), &images[0]);
}

/// SPEC V23: of so many indexes that not all are read, one may list the image for a platform that is wanted.
#[test]
fn an_image_that_many_indexes_list_is_fetched() {
    let Built { mut registry, images, .. } = built(&["linux/arm64"]);
    for number in 1..=17 {
        let other =
            index(&[(&images[0], platform(AMD64))]).field("annotations", json!({ "number": number.to_string() }));
        at(&mut registry, "hub", |hub| hub.put_manifest("app", "other", &other).expect(201));
        registry.get(manifest("hub/app", other.digest())).expect(200);
        if number == 16 {
            registry.get(manifest("hub/app", images[0].digest())).refused(404, "MANIFEST_UNKNOWN");
        }
    }
    pull(&mut registry, "hub/app", &images[0].digest(), &images[0]);
}

/// SPEC V22, V23.
#[test]
fn an_administrator_fetches_the_images_of_the_platforms() {
    let Built { mut registry, images, attestations, .. } = built(&["linux/arm64"]);
    let mut expected: Vec<_> =
        [&images[1], &attestations[1]].into_iter().flat_map(Manifest::blobs).map(sha256).collect();
    expected.sort();
    assert_eq!(bring(&mut registry, "hub/app", "v1"), Ok(expected));
    let refused = bring(&mut registry, "hub/app", &images[0].digest());
    assert!(matches!(refused, Err(Error::OtherPlatform(_, platform)) if platform == "linux/amd64"));
    answers(&mut registry, "hub", unreachable());
    pull(&mut registry, "hub/app", &images[1].digest(), &images[1]);
}

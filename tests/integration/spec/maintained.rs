//! The maintained manifest list: for every tag, the newest image of each platform (SPEC J6, OURS).

use orlop_conformance::image::{
    AMD64, ARM64, DOCKER_LIST, DOCKER_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST, Platform, descriptor,
};
use orlop_conformance::system::{Answer, InMemory, System, get, head, manifest};
use orlop_core::config::Pattern;
use serde_json::{Value as Json, json};

use crate::{configured, registry};

const LISTS: &str =
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";

const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

fn assembling() -> InMemory {
    configured(|config| config.assemble = vec![Pattern::new("multi/**")])
}

#[track_caller]
fn ask(registry: &mut InMemory, repository: &str, accept: &str) -> Answer {
    registry.call(get(manifest(repository, "v1")).header("Accept", accept))
}

/// The list of a tag: its images by platform.
#[track_caller]
fn list(registry: &mut InMemory, repository: &str) -> Vec<(String, String)> {
    let answer = ask(registry, repository, LISTS).expect(200);
    images(&answer)
}

#[track_caller]
fn images(list: &Answer) -> Vec<(String, String)> {
    let json = list.json();
    let manifests = json["manifests"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let text = |json: &Json| json.as_str().expect("a string").to_owned();
    let platform = |json: &Json| format!("{}/{}", text(&json["os"]), text(&json["architecture"]));
    manifests.iter().map(|child| (platform(&child["platform"]), text(&child["digest"]))).collect()
}

fn named(images: &[(&str, &Manifest)]) -> Vec<(String, String)> {
    images.iter().map(|(platform, image)| ((*platform).into(), image.digest())).collect()
}

/// SPEC J6, J7, U8: who accepts nothing but lists gets one, everybody else what was pushed.
#[test]
fn a_client_that_accepts_only_lists_gets_the_list_of_what_was_pushed() {
    let mut registry = registry();
    let amd = registry.push_image("a", "v1", AMD64, "amd");
    assert_eq!(list(&mut registry, "a"), named(&[("linux/amd64", &amd)]));
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    assert_eq!(list(&mut registry, "a"), named(&[("linux/amd64", &amd), ("linux/arm64", &arm)]));
    for accept in ["*/*", OCI_MANIFEST, "", &format!("{LISTS}, {OCI_MANIFEST}"), &format!("{LISTS}, */*")] {
        let answer = ask(&mut registry, "a", accept).expect(200);
        assert_eq!(answer.body(), arm.bytes(), "{accept}: what was pushed last");
        // RFC 9110, 12.5.5: a cache must not give it to a client that accepts something else.
        answer.with("Vary", "Accept");
    }
    // A weight of 0 is a refusal (RFC 9110, 12.4.2).
    for accept in [format!("{LISTS}, {OCI_MANIFEST};q=0"), format!("{OCI_INDEX};q=0.1, */*;q=0.0")] {
        assert_eq!(images(&ask(&mut registry, "a", &accept).expect(200)).len(), 2, "{accept}");
    }
    assert_eq!(registry.tags("a"), ["v1"]);
}

/// SPEC J1, J2: the list is a manifest like any other.
#[test]
fn the_list_can_be_pulled_by_its_digest() {
    let mut registry = registry();
    let amd = registry.push_image("a", "v1", AMD64, "amd");
    let answer = ask(&mut registry, "a", OCI_INDEX).expect(200).with("Content-Type", OCI_INDEX);
    let digest = orlop_conformance::image::sha256(answer.body());
    let answer = answer.with("Docker-Content-Digest", &digest);
    let head = registry.call(head(manifest("a", "v1")).header("Accept", OCI_INDEX)).expect(200);
    assert_eq!(head.response.headers, answer.response.headers);
    let by_digest = registry.get(manifest("a", &digest)).expect(200).with("Content-Type", OCI_INDEX);
    assert_eq!(by_digest.body(), answer.body());
    let json = answer.json();
    let mut child = amd.descriptor();
    child["platform"] = json!({ "architecture": "amd64", "os": "linux" });
    assert_eq!(json, json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] }));
}

/// SPEC J6: newest wins, per platform.
#[test]
fn an_image_replaces_that_of_the_same_platform() {
    let mut registry = registry();
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    registry.push_image("a", "v1", AMD64, "old");
    let new = registry.push_image("a", "v1", AMD64, "new");
    assert_eq!(list(&mut registry, "a"), named(&[("linux/amd64", &new), ("linux/arm64", &arm)]));
}

/// SPEC J6: each tag has a list of its own.
#[test]
fn tags_do_not_share_a_list() {
    let mut registry = registry();
    let amd = registry.push_image("a", "v1", AMD64, "amd");
    registry.push_image("a", "v2", ARM64, "arm");
    registry.push_image("b", "v1", ARM64, "arm");
    assert_eq!(list(&mut registry, "a"), named(&[("linux/amd64", &amd)]));
}

/// SPEC J6, U6: a Docker list when all of its images are Docker's, else an OCI index.
#[test]
fn a_list_of_docker_images_is_dockers() {
    let mut registry = registry();
    let amd = Manifest::docker_image(AMD64, "amd");
    registry.push("a", "v1", &amd);
    let answer = ask(&mut registry, "a", DOCKER_LIST).expect(200).with("Content-Type", DOCKER_LIST);
    assert_eq!(answer.json()["manifests"][0]["mediaType"], DOCKER_MANIFEST);
    assert_eq!(answer.json()["mediaType"], DOCKER_LIST);
    registry.push_image("a", "v1", ARM64, "arm");
    ask(&mut registry, "a", LISTS).expect(200).with("Content-Type", OCI_INDEX);
}

/// SPEC J6: the platform may stand inline, with no blob to look into.
#[test]
fn the_platform_is_read_from_the_config_wherever_it_is() {
    let mut registry = configured(|config| config.allow_sparse = true);
    let config = r#"{"os":"linux","architecture":"riscv64","variant":"rva23"}"#;
    let mut inline = descriptor(orlop_conformance::image::OCI_CONFIG, config);
    inline["data"] = json!("eyJvcyI6ImxpbnV4IiwiYXJjaGl0ZWN0dXJlIjoicmlzY3Y2NCIsInZhcmlhbnQiOiJydmEyMyJ9");
    let image = Manifest::image(AMD64, "layer").field("config", inline);
    registry.put_manifest("a", "v1", &image).expect(201);
    let answer = ask(&mut registry, "a", OCI_INDEX).expect(200);
    let platform = &answer.json()["manifests"][0]["platform"];
    assert_eq!(*platform, json!({ "os": "linux", "architecture": "riscv64", "variant": "rva23" }));
}

/// SPEC J6, K15, L1: an artifact, an index, and a delete of the tag.
#[test]
fn whatever_is_no_image_of_a_platform_starts_the_list_anew() {
    let amd = Manifest::image(AMD64, "amd");
    for pushed in [
        Manifest::artifact("x/y", "artifact"),
        Manifest::image(("unknown", "unknown"), "attestation"),
        Manifest::index(&[]),
    ] {
        for mut registry in [registry(), configured(|config| config.assemble = vec![Pattern::new("**")])] {
            registry.push("a", "v1", &amd);
            registry.push_image("a", "v1", ("windows", "amd64"), "windows");
            registry.push("a", "v1", &pushed);
            for accept in [LISTS, "*/*"] {
                assert_eq!(ask(&mut registry, "a", accept).expect(200).body(), pushed.bytes());
            }
            let arm = registry.push_image("a", "v1", ARM64, "arm");
            assert_eq!(list(&mut registry, "a"), named(&[("linux/arm64", &arm)]));
        }
    }
    let mut registry = registry();
    registry.push("a", "v1", &amd);
    registry.delete(manifest("a", "v1")).expect(202);
    ask(&mut registry, "a", LISTS).refused(404, "MANIFEST_UNKNOWN");
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    assert_eq!(list(&mut registry, "a"), named(&[("linux/arm64", &arm)]));
}

/// SPEC J6, L3, L7: what the registry serves resolves.
#[test]
fn a_deleted_image_leaves_the_list() {
    let mut registry = registry();
    let amd = registry.push_image("a", "v1", AMD64, "amd");
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    registry.delete(manifest("a", amd.digest())).expect(202);
    assert_eq!(list(&mut registry, "a"), named(&[("linux/arm64", &arm)]));
    assert_eq!(ask(&mut registry, "a", "*/*").expect(200).body(), arm.bytes());
    // The one that the tag names takes the tag along (SPEC L3).
    registry.delete(manifest("a", arm.digest())).expect(202);
    ask(&mut registry, "a", LISTS).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC J6, L3: the list is the registry's, what was pushed the client's.
#[test]
fn a_deleted_list_leaves_the_tag_and_is_made_anew_by_the_next_push() {
    let mut registry = registry();
    let amd = registry.push_image("a", "v1", AMD64, "amd");
    let answer = ask(&mut registry, "a", LISTS).expect(200);
    registry.delete(manifest("a", orlop_conformance::image::sha256(answer.body()))).expect(202);
    for accept in [LISTS, "*/*"] {
        assert_eq!(ask(&mut registry, "a", accept).expect(200).body(), amd.bytes());
    }
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    assert_eq!(list(&mut registry, "a"), named(&[("linux/amd64", &amd), ("linux/arm64", &arm)]));
}

/// SPEC J6, K1: two jobs push to one tag, and everybody finds a multi-arch image there.
#[test]
fn where_tags_are_assembled_the_second_platform_makes_the_tag_the_list() {
    let mut registry = assembling();
    let amd = registry.push_image("multi/app", "v1", AMD64, "amd");
    assert_eq!(ask(&mut registry, "multi/app", "*/*").expect(200).body(), amd.bytes(), "one platform is no list");
    let arm = Manifest::image(ARM64, "arm");
    // The pusher is answered with the digest of its own manifest.
    let answer = registry.push("multi/app", "v1", &arm).with("Docker-Content-Digest", arm.digest());
    assert_eq!(answer.location(), manifest("multi/app", arm.digest()));
    let both = named(&[("linux/amd64", &amd), ("linux/arm64", &arm)]);
    for accept in ["*/*", "", LISTS, &format!("{OCI_MANIFEST}, {LISTS}")] {
        let answer = ask(&mut registry, "multi/app", accept).expect(200).with("Content-Type", OCI_INDEX);
        assert_eq!(images(&answer), both, "{accept}");
    }
    // Elsewhere the tag names what was pushed last.
    registry.push("single", "v1", &amd);
    registry.push("single", "v1", &arm);
    assert_eq!(ask(&mut registry, "single", "*/*").expect(200).body(), arm.bytes());
}

/// SPEC J6: the image for linux/amd64, or the first; of the type it accepts, if there is one.
#[test]
fn where_tags_are_assembled_a_client_that_accepts_no_list_gets_a_plain_image() {
    let mut registry = assembling();
    let arm = registry.push_image("multi/app", "v1", ARM64, "arm");
    let amd = registry.push_image("multi/app", "v1", AMD64, "amd");
    let docker = Manifest::docker_image(("windows", "amd64"), "windows");
    registry.push("multi/app", "v1", &docker);
    let mut check = |accept: &str, expected: &Manifest| {
        let answer = ask(&mut registry, "multi/app", accept).expect(200).with("Vary", "Accept");
        assert_eq!(answer.body(), expected.bytes(), "{accept}");
        answer.with("Content-Type", expected.media_type()).with("Docker-Content-Digest", expected.digest());
    };
    check(OCI_MANIFEST, &amd);
    check(DOCKER_MANIFEST, &docker);
    check(&format!("{OCI_MANIFEST}, {DOCKER_MANIFEST}"), &amd);
    registry.delete(manifest("multi/app", amd.digest())).expect(202);
    assert_eq!(ask(&mut registry, "multi/app", OCI_MANIFEST).expect(200).body(), arm.bytes());
}

/// SPEC J6, L3: the rest of an assembled tag lives on.
#[test]
fn an_assembled_tag_outlives_each_of_its_images() {
    let mut registry = assembling();
    let amd = registry.push_image("multi/app", "v1", AMD64, "amd");
    let arm = registry.push_image("multi/app", "v1", ARM64, "arm");
    registry.delete(manifest("multi/app", arm.digest())).expect(202);
    assert_eq!(list(&mut registry, "multi/app"), named(&[("linux/amd64", &amd)]));
    assert_eq!(ask(&mut registry, "multi/app", OCI_MANIFEST).expect(200).body(), amd.bytes());
    registry.delete(manifest("multi/app", amd.digest())).expect(202);
    ask(&mut registry, "multi/app", "*/*").refused(404, "MANIFEST_UNKNOWN");
    assert!(registry.tags("multi/app").is_empty());
}

/// SPEC L1: a deleted tag takes its list, and leaves the images.
#[test]
fn a_deleted_assembled_tag_leaves_its_images() {
    let mut registry = assembling();
    let amd = registry.push_image("multi/app", "v1", AMD64, "amd");
    let arm = registry.push_image("multi/app", "v1", ARM64, "arm");
    registry.delete(manifest("multi/app", "v1")).expect(202);
    ask(&mut registry, "multi/app", "*/*").refused(404, "MANIFEST_UNKNOWN");
    for image in [&amd, &arm] {
        registry.get(manifest("multi/app", image.digest())).expect(200);
    }
    registry.push("multi/app", "v1", &arm);
    assert_eq!(ask(&mut registry, "multi/app", "*/*").expect(200).body(), arm.bytes(), "the list starts anew");
}

/// SPEC J6: in whatever order the platforms come, the list is the same.
#[test]
fn the_list_does_not_depend_on_the_order_of_the_pushes() {
    let platforms: [Platform; 3] = [AMD64, ARM64, ("windows", "amd64")];
    let mut digests = [[0, 1, 2], [2, 1, 0], [1, 2, 0]].map(|order| {
        let mut registry = assembling();
        for i in order {
            registry.push_image("multi/app", "v1", platforms[i], "layer");
        }
        ask(&mut registry, "multi/app", "*/*").expect(200).header("Docker-Content-Digest").map(String::from)
    });
    digests.sort();
    assert_eq!(digests[0], digests[2]);
}

/// SPEC K16: a push that is made again changes neither tag nor list.
#[test]
fn the_same_push_again_leaves_an_assembled_tag_as_it_was() {
    let mut registry = assembling();
    registry.push_image("multi/app", "v1", AMD64, "amd");
    let arm = registry.push_image("multi/app", "v1", ARM64, "arm");
    let before = ask(&mut registry, "multi/app", "*/*").expect(200);
    registry.push("multi/app", "v1", &arm);
    assert_eq!(ask(&mut registry, "multi/app", "*/*"), before);
}

/// SPEC J6, K16: someone who pushes the very list owns it from then on.
#[test]
fn a_list_that_a_client_pushes_itself_is_no_longer_the_registrys_to_collect() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "amd");
    let answer = ask(&mut registry, "a", LISTS).expect(200);
    let digest = orlop_conformance::image::sha256(answer.body());
    let push = orlop_conformance::system::put(manifest("a", &digest)).header("Content-Type", OCI_INDEX);
    registry.call(push.body(answer.body().to_vec())).expect(201);
    registry.push_image("a", "v1", AMD64, "newer");
    registry.advance(std::time::Duration::from_secs(365 * 24 * 3600));
    assert_eq!(registry.gc().lists_removed, 0);
    assert_eq!(registry.get(manifest("a", &digest)).expect(200).body(), answer.body());
}

/// SPEC J6, L9: what a tag named can be pinned by its digest, and stays when the tag moves on.
#[test]
fn a_list_that_a_tag_named_is_not_the_registrys_to_collect() {
    let mut registry = assembling();
    for platform in [AMD64, ARM64] {
        registry.push_image("multi/app", "v1", platform, "old");
    }
    let pinned = ask(&mut registry, "multi/app", "*/*").expect(200);
    registry.push_image("multi/app", "v1", ARM64, "new");
    assert_ne!(ask(&mut registry, "multi/app", "*/*").expect(200).body(), pinned.body());
    registry.advance(YEAR);
    registry.gc();
    let digest = orlop_conformance::image::sha256(pinned.body());
    assert_eq!(registry.get(manifest("multi/app", digest)).expect(200).body(), pinned.body());
}

/// SPEC J6: whatever clients push, a list stays one that every client takes.
#[test]
fn a_list_has_a_bounded_number_of_images_and_the_newest_are_in_it() {
    let mut registry = assembling();
    let platforms: Vec<&'static str> = (0..70).map(|n| &*format!("cpu{n}").leak()).collect();
    for platform in &platforms {
        registry.push_image("multi/app", "v1", ("linux", platform), "layer");
        registry.advance(std::time::Duration::from_secs(1));
    }
    let listed: Vec<String> = list(&mut registry, "multi/app").into_iter().map(|(platform, _)| platform).collect();
    assert_eq!(listed.len(), 64);
    for (n, platform) in platforms.iter().enumerate() {
        assert_eq!(listed.contains(&format!("linux/{platform}")), n >= 6, "{platform}");
    }
    let endless = registry.push_image("multi/app", "v1", ("linux", "x".repeat(1000).leak()), "layer");
    assert_eq!(ask(&mut registry, "multi/app", "*/*").expect(200).body(), endless.bytes(), "no platform at all");
}

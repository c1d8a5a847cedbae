//! Section X: what was deleted, and how it comes back or is purged.

use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, DOCKER_LIST, Manifest, OCI_INDEX, OCI_MANIFEST, sha256};
use orlop_conformance::system::{InMemory, System, blob, get, manifest, referrers};
use orlop_core::config::{Pattern, Quota};
use orlop_core::event::{Event, Happening, Listener};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::registry::Report;
use orlop_core::{Deleted, Purged, Refused, Timestamp, Undeleted, Undeleting};

use crate::configured;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A registry in which what is deleted can be undeleted for a week.
fn keeping() -> InMemory {
    configured(|config| config.undelete_within = Some(WEEK))
}

fn undelete_as(
    registry: &mut InMemory,
    repository: &str,
    reference: &str,
    how: Undeleting,
) -> Result<Undeleted, Refused> {
    let (name, reference) = (repository.parse().expect("a name"), reference.parse().expect("a reference"));
    let step = registry.registry.undelete(name, reference, how, registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn undelete(registry: &mut InMemory, repository: &str, reference: &str) -> Result<Undeleted, Refused> {
    undelete_as(registry, repository, reference, Undeleting::default())
}

fn purge(registry: &mut InMemory, repository: &str, reference: Option<&str>) -> Result<Purged, Refused> {
    let name = repository.parse().expect("a name");
    let reference = reference.map(|reference| reference.parse().expect("a reference"));
    let step = registry.registry.purge(name, reference, false, registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn deleted(registry: &mut InMemory) -> Vec<Deleted> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let step = registry.registry.deleted(None, after, registry.memory.ambient());
        let page = registry.memory.run(step, &RequestBody::default()).expect("a page");
        all.extend(page.deleted);
        let Some(last) = page.after else { return all };
        after = Some(last);
    }
}

/// Records of all families but those that say when something happened, or which call did it.
fn shape(registry: &InMemory) -> Vec<(String, Vec<u8>)> {
    let families =
        ["payload/", "platforms/", "tagged/", "use/", "referrer/", "link/", "holder/", "blob/", "usage/", "deleted"];
    let records = registry.memory.records.iter().map(|(key, value)| (key.as_str().to_string(), value.to_vec()));
    records.filter(|(key, _)| families.iter().any(|family| key.starts_with(family))).collect()
}

fn usage(registry: &InMemory, repository: &str) -> u64 {
    let value = registry.memory.records.get(&Key::stored(format!("usage/{repository}")));
    value.map_or(0, |value| String::from_utf8_lossy(value).parse().expect("a number"))
}

/// SPEC X1.
#[test]
fn what_is_deleted_is_not_there() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.push("a", "v2", &image);
    let signature = Manifest::artifact("x/y", "signature").about(&image);
    registry.push("a", signature.digest(), &signature);
    registry.delete(manifest("a", "v1")).expect(202).with("Content-Length", 0);
    registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.tags("a"), ["v2"]);
    registry.delete(manifest("a", signature.digest())).expect(202);
    registry.delete(manifest("a", image.digest())).expect(202);
    for reference in ["v1", "v2", &image.digest(), &signature.digest()] {
        registry.get(manifest("a", reference)).refused(404, "MANIFEST_UNKNOWN");
        registry.head(manifest("a", reference)).expect(404);
        registry.delete(manifest("a", reference)).refused(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(registry.tags("a"), Vec::<String>::new());
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"].as_array().map(Vec::len), Some(0));
    let index = Manifest::index(&[&image]);
    registry.put_manifest("a", "all", &index).refused(400, "MANIFEST_BLOB_UNKNOWN");
}

/// SPEC X1: off by default in the core, and with zero.
#[test]
fn without_time_to_undelete_nothing_is_kept() {
    for within in [None, Some(Duration::ZERO)] {
        let mut registry = configured(|config| config.undelete_within = within);
        let image = registry.push_image("a", "v1", AMD64, "layer");
        registry.delete(manifest("a", "v1")).expect(202);
        registry.delete(manifest("a", image.digest())).expect(202);
        assert_eq!(deleted(&mut registry), []);
        assert!(matches!(undelete(&mut registry, "a", "v1"), Err(Refused::NotDeleted(_))));
        assert!(matches!(undelete(&mut registry, "a", &image.digest()), Err(Refused::NotDeleted(_))));
    }
}

/// SPEC X7: the manifest, its tags, its place among the referrers, the referrers that it has, the lists.
#[test]
fn an_undeleted_manifest_is_as_it_was() {
    let mut registry = keeping();
    let subject = registry.push_image("a", "subject", ARM64, "subject");
    let image = Manifest::image(AMD64, "layer").about(&subject);
    for tag in ["v1", "v2"] {
        registry.push("a", tag, &image);
    }
    let signature = Manifest::artifact("x/y", "signature").about(&image);
    registry.push("a", signature.digest(), &signature);
    let (before, answers) = (shape(&registry), answers(&mut registry, &image));
    registry.advance(HOUR);
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.advance(6 * DAY);
    registry.gc();
    let done = undelete(&mut registry, "a", &image.digest()).expect("it was deleted");
    assert_eq!(done.manifests, [image.digest().parse().expect("a digest")]);
    assert_eq!(done.tags, ["v1", "v2"]);
    assert_eq!((done.taken.len(), done.missing.len()), (0, 0));
    assert_eq!(shape(&registry), before);
    assert_eq!(self::answers(&mut registry, &image), answers);
    assert!(matches!(undelete(&mut registry, "a", &image.digest()), Err(Refused::NotDeleted(_))));
    assert_eq!(deleted(&mut registry), []);
}

/// What clients are told of an image and its referrers.
fn answers(registry: &mut InMemory, image: &Manifest) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    for target in [manifest("a", image.digest()), manifest("a", "v1"), referrers("a", image.digest())] {
        answers.push(registry.get(target).expect(200).body().to_vec());
    }
    let list =
        registry.call(get(manifest("a", "v1")).header("Accept", format!("{OCI_INDEX}, {DOCKER_LIST}"))).expect(200);
    answers.push(list.body().to_vec());
    answers.push(registry.get("/v2/a/tags/list").expect(200).body().to_vec());
    answers
}

/// SPEC X7: an image that a list of several platforms had, and the list itself, where tags become lists and elsewhere.
#[test]
fn maintained_lists_are_as_they_were() {
    for assemble in [false, true] {
        let mut registry = configured(|config| {
            config.undelete_within = Some(WEEK);
            config.assemble = if assemble { vec![Pattern::new("**")] } else { Vec::new() };
        });
        let amd = registry.push_image("a", "v1", AMD64, "amd");
        let arm = registry.push_image("a", "v1", ARM64, "arm");
        let list = |registry: &mut InMemory| {
            let accept = format!("{OCI_INDEX}, {DOCKER_LIST}");
            registry.call(get(manifest("a", "v1")).header("Accept", accept)).expect(200).body().to_vec()
        };
        let (before, listed) = (shape(&registry), list(&mut registry));
        // An image of the list.
        registry.delete(manifest("a", amd.digest())).expect(202);
        assert_ne!(list(&mut registry), listed);
        undelete(&mut registry, "a", &amd.digest()).expect("it was deleted");
        assert_eq!(list(&mut registry), listed, "assemble: {assemble}");
        // The list, and with it the tag, where it is that.
        registry.delete(manifest("a", sha256(&listed))).expect(202);
        undelete(&mut registry, "a", &sha256(&listed)).expect("it was deleted");
        assert_eq!(list(&mut registry), listed, "assemble: {assemble}");
        // All of it, one after the other, and the tag brings all of it back.
        registry.delete(manifest("a", "v1")).expect(202);
        for digest in [amd.digest(), arm.digest(), sha256(&listed)] {
            registry.delete(manifest("a", digest)).expect(202);
        }
        registry.advance(6 * DAY);
        registry.gc();
        let done = undelete(&mut registry, "a", "v1").expect("it was deleted");
        assert_eq!((done.tags, done.missing.len()), (vec!["v1".to_string()], 0));
        assert_eq!(list(&mut registry), listed, "assemble: {assemble}");
        registry.get(manifest("a", amd.digest())).expect(200);
        // What the first of these deletes has left behind, as deletes do, is not among what was.
        registry.advance(DAY + HOUR);
        registry.gc();
        let (mut now, mut then) = (shape(&registry), before);
        for shape in [&mut now, &mut then] {
            shape.retain(|(key, _)| key.starts_with("platforms/") || key.starts_with("tagged/"));
        }
        assert_eq!(now, then, "assemble: {assemble}");
    }
}

/// SPEC X7: an index brings back the images that it lists.
#[test]
fn an_undeleted_index_brings_its_images_back() {
    let mut registry = keeping();
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    registry.push("a", amd.digest(), &amd);
    registry.push("a", arm.digest(), &arm);
    let inner = Manifest::index(&[&amd, &arm]);
    registry.push("a", inner.digest(), &inner);
    let outer = Manifest::index(&[&inner]);
    registry.push("a", "v1", &outer);
    let before = shape(&registry);
    for gone in [&outer, &inner, &amd, &arm] {
        registry.delete(manifest("a", gone.digest())).expect(202);
    }
    registry.advance(6 * DAY);
    registry.gc();
    let done = undelete(&mut registry, "a", "v1").expect("it was deleted");
    assert_eq!(done.manifests.len(), 4);
    assert_eq!(shape(&registry), before);
    for there in [&outer, &inner, &amd, &arm] {
        assert_eq!(registry.get(manifest("a", there.digest())).expect(200).body(), there.bytes());
    }
}

/// SPEC X7, X9: what was deleted by itself and cannot come back is named.
#[test]
fn what_an_undeleted_manifest_lacks_is_named() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.delete(blob("a", sha256("layer"))).expect(202);
    let done = undelete(&mut registry, "a", "v1").expect("it was deleted");
    assert_eq!(done.missing, [sha256("layer").parse().expect("a digest")]);
    registry.get(manifest("a", "v1")).expect(200);
}

/// SPEC X3.
#[test]
fn a_push_makes_it_new() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let before = usage(&registry, "a");
    registry.delete(manifest("a", image.digest())).expect(202);
    assert_eq!(usage(&registry, "a"), before, "it counts until it is purged (X2)");
    registry.put_manifest("a", "v2", &image).expect(201);
    assert_eq!(usage(&registry, "a"), before);
    let left = deleted(&mut registry);
    assert_eq!(left.iter().map(|deleted| deleted.tag.as_deref()).collect::<Vec<_>>(), [Some("v1")]);
    registry.advance(8 * DAY);
    registry.gc();
    assert_eq!(registry.get(manifest("a", "v2")).expect(200).body(), image.bytes());
    assert_eq!(deleted(&mut registry), []);
}

/// SPEC X2, X6: blobs and images stay as long as an undelete may need them, and go with what needs them.
#[test]
fn garbage_collection_purges_what_was_deleted_for_too_long() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.advance(WEEK);
    assert_eq!(registry.gc(), Report::default(), "at the very limit it can be undeleted");
    registry.get(blob("a", sha256("layer"))).expect(200);
    registry.advance(Duration::from_millis(1));
    let dry = registry.gc_dry_run();
    let report = registry.gc();
    // The list of the tag goes with it.
    assert_eq!((report.manifests_purged, report.tags_purged, report.lists_removed), (1, 1, 1));
    assert!(report.bytes_freed > image.bytes().len() as u64);
    assert_eq!(Report { garbage: Vec::new(), ..dry }, report);
    assert!(matches!(undelete(&mut registry, "a", "v1"), Err(Refused::NotDeleted(_))));
    assert!(matches!(undelete(&mut registry, "a", &image.digest()), Err(Refused::NotDeleted(_))));
    // A client may have seen the blob just now.
    registry.get(blob("a", sha256("layer"))).expect(200);
    registry.advance(DAY + HOUR);
    let report = registry.gc();
    assert_eq!((report.links_removed, report.blobs_removed, report.repositories_removed), (2, 2, 1));
    assert!(registry.memory.records.is_empty() && registry.memory.objects.is_empty(), "{:?}", registry.memory.records);
}

/// SPEC X4: what a deleted tag named is kept for it.
#[test]
fn what_a_deleted_tag_names_is_not_collected() {
    let mut registry = configured(|config| {
        config.undelete_within = Some(WEEK);
        config.untagged_lifetime = Some(HOUR);
    });
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(manifest("a", "v1")).expect(202);
    registry.advance(6 * DAY);
    registry.gc();
    registry.get(manifest("a", image.digest())).expect(200);
    undelete(&mut registry, "a", "v1").expect("it was deleted");
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), image.bytes());
    registry.delete(manifest("a", "v1")).expect(202);
    registry.advance(WEEK + HOUR);
    registry.gc();
    registry.get(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC X5: garbage collection deletes as a client does.
#[test]
fn what_garbage_collection_deletes_can_be_undeleted() {
    let mut registry = configured(|config| {
        config.undelete_within = Some(WEEK);
        config.untagged_lifetime = Some(HOUR);
    });
    let image = Manifest::image(AMD64, "layer");
    registry.push("a", image.digest(), &image);
    let signature = Manifest::artifact("x/y", "signature").about(&image);
    registry.push("a", signature.digest(), &signature);
    registry.advance(DAY);
    let dry = registry.gc_dry_run();
    let report = registry.gc();
    assert_eq!((report.manifests_removed, report.bytes_freed), (1, 0));
    assert_eq!((dry.manifests_removed, dry.bytes_freed), (1, 0));
    let [entry] = &deleted(&mut registry)[..] else { panic!("one") };
    assert_eq!((entry.repository.as_str(), entry.by.as_str()), ("a", "garbage collection"));
    assert_eq!(entry.until, entry.deleted.after(WEEK));
    undelete(&mut registry, "a", &image.digest()).expect("it was deleted");
    // It is not deleted again at once, and its referrer has stayed.
    registry.gc();
    assert_eq!(registry.get(manifest("a", image.digest())).expect(200).body(), image.bytes());
    let listed = registry.get(referrers("a", image.digest())).expect(200).json();
    assert_eq!(listed["manifests"][0]["digest"], signature.digest());
}

/// SPEC X8.
#[test]
fn a_tag_that_was_pushed_again_is_not_overwritten_by_mistake() {
    let mut registry = keeping();
    let old = registry.push_image("a", "v1", AMD64, "old");
    registry.delete(manifest("a", "v1")).expect(202);
    let new = registry.push_image("a", "v1", AMD64, "new");
    let refused = undelete(&mut registry, "a", "v1").expect_err("it is taken");
    assert!(refused.to_string().contains("a:v1 was pushed again"), "{refused}");
    let named = |tag: &str| Undeleting { named: Some(tag.parse().expect("a tag")), ..Undeleting::default() };
    let mut copy = registry.clone();
    undelete_as(&mut copy, "a", "v1", named("old")).expect("it was deleted");
    assert_eq!(copy.get(manifest("a", "old")).expect(200).body(), old.bytes());
    assert_eq!(copy.get(manifest("a", "v1")).expect(200).body(), new.bytes());
    undelete_as(&mut registry, "a", "v1", Undeleting { force: true, named: None }).expect("it was deleted");
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), old.bytes());
    registry.get(manifest("a", new.digest())).expect(200);
}

/// SPEC X4: of one tag, the last deletion counts; what the one before it kept is kept no longer.
#[test]
fn of_a_tag_the_last_deletion_counts() {
    let mut registry = keeping();
    for layer in ["one", "two"] {
        registry.push_image("a", "v1", AMD64, layer);
        registry.delete(manifest("a", "v1")).expect(202);
    }
    undelete(&mut registry, "a", "v1").expect("it was deleted");
    assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), Manifest::image(AMD64, "two").bytes());
    let marks = registry.memory.records.keys().filter(|key| key.as_str().starts_with("deletedtagged/"));
    assert_eq!(marks.count(), 0);
}

/// SPEC X7: however many tags went with it. SPEC AF28, X16: each of them is told of once, as it goes and as it comes back.
#[test]
fn very_many_tags_come_back() {
    let mut registry = configured(|config| {
        config.undelete_within = Some(WEEK);
        config.activity_lifetime = WEEK;
    });
    let image = registry.push_image("a", "t000", AMD64, "layer");
    for number in 1..600 {
        registry.put_manifest("a", format!("t{number:03}"), &image).expect(201);
    }
    registry.delete(manifest("a", image.digest())).expect(202);
    assert_eq!(registry.tags("a"), Vec::<String>::new());
    registry.advance(HOUR);
    let undeleted = registry.memory.now;
    let done = undelete(&mut registry, "a", &image.digest()).expect("it was deleted");
    assert_eq!(done.tags.len(), 600);
    assert_eq!(registry.tags("a").len(), 600);
    let events = registry.memory.records.iter().filter(|(key, _)| key.as_str().starts_with("activity/"));
    let events: Vec<Event> = events.map(|(_, value)| serde_json::from_slice(value).expect("an event")).collect();
    let told = |happening, time| {
        let of = events.iter().filter(|event| event.happening == happening && event.time >= time);
        assert!(of.clone().all(|event| event.tags.len() <= 256), "an event is bounded");
        let mut tags: Vec<&String> = of.flat_map(|event| &event.tags).collect();
        tags.sort();
        tags
    };
    let all: Vec<String> = (0..600).map(|number| format!("t{number:03}")).collect();
    let all: Vec<&String> = all.iter().collect();
    assert_eq!(told(Happening::Delete, Timestamp(0)), all);
    assert_eq!(told(Happening::Push, undeleted), all);
    let manifests = events.iter().filter(|event| event.happening == Happening::Delete && event.digest.is_some());
    assert_eq!(manifests.count(), 1, "the manifest goes once");
}

/// SPEC X10: at once, with the blobs that nothing else needs; what stays is named with the reason.
#[test]
fn a_purge_removes_at_once_and_says_what_stays() {
    for first_deleted in [false, true] {
        let mut registry = keeping();
        let secret = registry.push_image("a", "v1", AMD64, "secret");
        let shared = registry.push_blob("a", "shared");
        registry.post(format!("/v2/b/blobs/uploads/?mount={}&from=a", sha256("secret"))).expect(201);
        let other = registry.push_image("a", "other", ARM64, "other");
        if first_deleted {
            registry.delete(manifest("a", secret.digest())).expect(202);
        }
        let done = purge(&mut registry, "a", Some(&secret.digest())).expect("it is there");
        assert_eq!(done.manifests, [secret.digest().parse().expect("a digest")]);
        assert_eq!(done.blobs.len(), 2, "the configuration and the layer");
        let [remaining] = &done.remaining[..] else { panic!("{done:?}") };
        assert_eq!((remaining.digest.to_string(), remaining.size), (sha256("secret"), Some(6)));
        assert_eq!(remaining.why, "the repository b has it, too");
        registry.get(manifest("a", "v1")).refused(404, "MANIFEST_UNKNOWN");
        registry.get(blob("a", sha256("secret"))).refused(404, "BLOB_UNKNOWN");
        registry.get(blob("a", &shared)).expect(200);
        registry.get(manifest("a", "other")).expect(200);
        assert!(undelete(&mut registry, "a", &secret.digest()).is_err());
        assert!(undelete(&mut registry, "a", "v1").is_err());
        assert_eq!(deleted(&mut registry), []);
        assert!(matches!(purge(&mut registry, "a", Some(&secret.digest())), Err(Refused::Unknown(_))));
        // The same by its tag; its layer is needed nowhere else.
        purge(&mut registry, "a", Some("other")).expect("it is there");
        registry.get(manifest("a", other.digest())).refused(404, "MANIFEST_UNKNOWN");
        registry.get(blob("a", sha256("other"))).refused(404, "BLOB_UNKNOWN");
        assert!(!registry.memory.records.contains_key(&Key::stored(format!("blob/{}", sha256("other")))));
    }
}

/// SPEC X10: a tag whose manifest others name goes alone; an index goes with its images.
#[test]
fn a_purge_by_tag_takes_what_nothing_else_names() {
    let mut registry = keeping();
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    registry.push("a", amd.digest(), &amd);
    registry.push("a", "arm", &arm);
    registry.push("a", "v1", &Manifest::index(&[&amd, &arm]));
    registry.push("a", "copy", &amd);
    registry.delete(manifest("a", "copy")).expect(202);
    let done = purge(&mut registry, "a", Some("v1")).expect("it is there");
    assert_eq!(done.manifests.len(), 1, "{done:?}");
    let why: Vec<&str> = done.remaining.iter().map(|remaining| remaining.why.as_str()).collect();
    assert!(why.contains(&"the tag arm names it"), "{why:?}");
    assert!(why.contains(&"the tag copy, which was deleted, names it"), "{why:?}");
    let done = purge(&mut registry, "a", Some("copy")).expect("it was deleted");
    assert!(done.manifests.contains(&amd.digest().parse().expect("a digest")), "{done:?}");
    registry.get(blob("a", sha256("amd"))).refused(404, "BLOB_UNKNOWN");
    assert_eq!(registry.get(manifest("a", "arm")).expect(200).body(), arm.bytes());
}

/// SPEC X10: what is gone does not remain, also when a list of the registry's own names it until it is collected.
#[test]
fn what_a_purge_has_removed_does_not_remain() {
    let mut registry = keeping();
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    registry.push("a", "amd", &amd);
    registry.push("a", arm.digest(), &arm);
    let index = Manifest::index(&[&amd, &arm]);
    registry.push("a", "v1", &index);
    for deleted in [&index, &amd, &arm] {
        registry.delete(manifest("a", deleted.digest())).expect(202);
    }
    let done = purge(&mut registry, "a", None).expect("all that was deleted");
    assert_eq!((done.manifests.len(), &done.remaining[..]), (3, &[][..]), "{done:?}");
}

/// SPEC X11.
#[test]
fn a_purge_keeps_no_bytes_for_a_restore() {
    let mut registry = configured(|config| {
        config.undelete_within = Some(WEEK);
        config.keep_erased = WEEK;
    });
    let image = registry.push_image("a", "v1", AMD64, "secret");
    registry.delete(manifest("a", "v1")).expect(202);
    registry.delete(manifest("a", image.digest())).expect(202);
    purge(&mut registry, "a", None).expect("all that was deleted");
    assert!(registry.memory.objects.is_empty());
    assert_eq!(deleted(&mut registry), []);
    // The list of the tag, which is the registry's own, goes with garbage collection.
    registry.advance(2 * DAY);
    registry.gc();
    assert_eq!(usage(&registry, "a"), 0);
}

/// SPEC X2: what can be undeleted counts for the quota, until it is purged.
#[test]
fn what_was_deleted_counts_until_it_is_purged() {
    let mut registry = configured(|config| {
        config.undelete_within = Some(WEEK);
        config.quotas = vec![Quota { repositories: vec![Pattern::new("**")], bytes: 2000, ..Quota::default() }];
    });
    let layer = "x".repeat(500);
    let image = registry.push_image("a", "v1", AMD64, &layer);
    registry.delete(manifest("a", image.digest())).expect(202);
    let held = usage(&registry, "a");
    assert!(held > 500);
    purge(&mut registry, "a", Some("v1")).expect("it was deleted");
    assert_eq!(usage(&registry, "a"), 0);
}

/// SPEC X16.
#[test]
fn who_listens_is_told_of_an_undelete_as_of_a_push() {
    let mut registry = configured(|config| {
        config.undelete_within = Some(WEEK);
        config.listeners = vec![Listener {
            name: "x".into(),
            happenings: vec![Happening::Push, Happening::Delete],
            repositories: vec![Pattern::new("**")],
        }];
    });
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(manifest("a", image.digest())).expect(202);
    undelete(&mut registry, "a", &image.digest()).expect("it was deleted");
    let step = registry.registry.queued("x".into(), registry.memory.ambient());
    let queued = registry.memory.run(step, &RequestBody::default()).expect("a queue");
    let told: Vec<_> =
        queued.into_iter().filter_map(|(_, event)| event).map(|event| (event.happening, event.tags)).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    // SPEC AF28: the tags that go with the manifest are named.
    assert_eq!(told[1], (Happening::Delete, vec!["v1".into()]));
    assert_eq!(
        told.last().map(|(happening, tags)| (*happening, tags.clone())),
        Some((Happening::Push, vec!["v1".into()]))
    );
}

/// SPEC X14, X15: a check reads what was deleted, and garbage collection passes by what does not read.
#[test]
fn damage_to_what_was_deleted_is_named() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let other = registry.push_image("a", "v2", AMD64, "other");
    for gone in [&image, &other] {
        registry.delete(manifest("a", gone.digest())).expect(202);
    }
    let damaged = Key::stored(format!("deletedpayload/a@{}", image.digest()));
    registry.memory.records.insert(damaged, "{}".into());
    let unreadable = Key::stored(format!("deleted/a@{}", other.digest()));
    registry.memory.records.insert(unreadable.clone(), "?".into());
    let step = registry.registry.check(registry.memory.ambient());
    let report = registry.memory.run(step, &RequestBody::default());
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert!(found.contains(&format!("deleted manifest a@{}", image.digest()).as_str()), "{found:?}");
    assert!(found.contains(&format!("record {unreadable:?}").as_str()), "{found:?}");
    registry.advance(8 * DAY);
    let report = registry.gc();
    assert_eq!((report.records_damaged, report.manifests_purged), (1, 1));
    let step = registry.registry.deleted(None, None, registry.memory.ambient());
    let page = registry.memory.run(step, &RequestBody::default()).expect("a page");
    assert_eq!(page.damaged, [unreadable]);
}

/// SPEC X17.
#[test]
fn a_deleted_blob_is_gone_at_once() {
    let mut registry = keeping();
    let digest = registry.push_blob("a", "content");
    registry.delete(blob("a", &digest)).expect(202);
    assert_eq!(deleted(&mut registry), []);
    assert!(matches!(undelete(&mut registry, "a", &digest), Err(Refused::NotDeleted(_))));
    assert_eq!(usage(&registry, "a"), 0);
}

/// SPEC X13.
#[test]
fn the_list_has_who_deleted_what_when() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.push_image("b", "v1", AMD64, "layer");
    registry.delete(manifest("b", "v1")).expect(202);
    registry.delete(manifest("a", image.digest())).expect(202);
    let all = deleted(&mut registry);
    let named: Vec<_> = all.iter().map(|one| (one.repository.as_str(), one.tag.as_deref())).collect();
    assert_eq!(named, [("a", None), ("a", Some("v1")), ("b", Some("v1"))]);
    assert_eq!(all[0].media_type.as_deref(), Some(OCI_MANIFEST));
    assert!(all.iter().all(|one| one.until == one.deleted.after(WEEK)));
    let step = registry.registry.deleted(Some("b".parse().expect("a name")), None, registry.memory.ambient());
    let page = registry.memory.run(step, &RequestBody::default()).expect("a page");
    assert_eq!(page.deleted.len(), 1);
}

/// Two tags that become the same list by one push count its bytes once.
#[test]
fn one_list_of_two_tags_is_counted_once() {
    let mut registry = keeping();
    let image = Manifest::image(AMD64, "layer");
    image.blobs().iter().for_each(|bytes| drop(registry.push_blob("a", bytes.clone())));
    registry.put_manifest("a", format!("{}?tag=v1&tag=v2", image.digest()), &image).expect(201);
    let counted: u64 = image.blobs().iter().map(|blob| blob.len() as u64).sum::<u64>() + image.bytes().len() as u64;
    let lists: u64 = registry
        .memory
        .records
        .iter()
        .filter(|(key, _)| key.as_str().starts_with("payload/") && !key.as_str().ends_with(&image.digest()))
        .map(|(_, value)| value.len() as u64)
        .sum();
    assert_eq!(usage(&registry, "a"), counted + lists);
}

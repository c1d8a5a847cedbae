//! Garbage collection: what nobody can reach goes, and nothing else (SPEC I2, L9, U19).

use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, OCI_INDEX, sha256, sha512};
use orlop_conformance::system::{InMemory, System, blob, get, manifest, patch, post, put, referrers, uploads};
use orlop_core::Config;
use orlop_core::config::{Pattern, Quota};
use orlop_core::event::{Happening, Listener};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::object::ObjectId;
use orlop_core::registry::Report;

use crate::{configured, registry};

fn everywhere() -> Vec<Pattern> {
    [Pattern::new("**")].into()
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn policy(untagged: Duration) -> InMemory {
    configured(|config| config.untagged_lifetime = Some(untagged))
}

/// Everything that was pushed and not deleted answers as before.
#[track_caller]
fn reachable(registry: &mut InMemory, repository: &str, reference: &str, image: &Manifest) {
    assert_eq!(registry.get(manifest(repository, reference)).expect(200).body(), image.bytes());
    for bytes in image.blobs() {
        assert_eq!(registry.get(blob(repository, sha256(bytes))).expect(200).body(), bytes);
    }
}

/// SPEC I2, U19: a session that rests is over; one that is touched is not.
#[test]
fn sessions_time_out_and_their_bytes_are_freed() {
    let mut registry = registry();
    let lifetime = Config::default().upload_lifetime;
    let [resting, used] = [registry.open("a"), registry.open("a")];
    for session in [&resting, &used] {
        registry.call(patch(session).body("01234")).expect(202);
    }
    registry.advance(lifetime / 2);
    registry.call(patch(&used).body("56789")).expect(202);
    registry.advance(lifetime / 2);
    assert_eq!(registry.gc(), Report::default(), "at the very limit both live");
    registry.advance(Duration::from_millis(1));
    assert_eq!(registry.gc(), Report { uploads_expired: 1, bytes_freed: 5, ..Report::default() });
    registry.get(&resting).refused(404, "BLOB_UPLOAD_UNKNOWN");
    registry.get(&used).expect(204).with("Range", "0-9");
    assert_eq!(registry.memory.objects.len(), 2, "the objects of the other session");
    registry.call(put(format!("{used}?digest={}", sha256("0123456789")))).expect(201);
}

/// SPEC I2: a long upload keeps its parts, however old the first of them.
#[test]
fn the_parts_of_a_living_session_are_never_strays() {
    let mut registry = registry();
    let session = registry.open("a");
    for i in 0..10 {
        registry.call(patch(&session).body(i.to_string())).expect(202);
        registry.advance(3 * DAY);
        registry.gc();
    }
    registry.call(put(format!("{session}?digest={}", sha256("0123456789")))).expect(201);
    assert_eq!(registry.get(blob("a", sha256("0123456789"))).expect(200).body(), b"0123456789");
}

/// SPEC L9, K9: there is time to push the manifest after its blobs, and no more.
#[test]
fn a_blob_that_no_manifest_uses_goes_after_its_grace() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    registry.advance(DAY);
    assert_eq!(registry.gc(), Report::default());
    registry.get(blob("a", &digest)).expect(200);
    // Pushed, or mounted, again, it has time again.
    registry.push_blob("a", "content");
    registry.advance(HOUR);
    assert_eq!(registry.gc(), Report::default());
    registry.advance(DAY);
    let expected =
        Report { links_removed: 1, blobs_removed: 1, repositories_removed: 1, bytes_freed: 7, ..Report::default() };
    assert_eq!(registry.gc(), expected);
    registry.get(blob("a", &digest)).refused(404, "BLOB_UNKNOWN");
    assert!(registry.memory.records.is_empty() && registry.memory.objects.is_empty());
    assert_eq!(registry.gc(), Report::default());
}

/// SPEC E15: a mount is as good as a push.
#[test]
fn a_blob_that_is_mounted_again_has_its_grace_again() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    registry.advance(DAY);
    registry.post(format!("{}?mount={digest}&from=a", uploads("a"))).expect(201);
    registry.advance(HOUR);
    registry.gc();
    registry.get(blob("a", &digest)).expect(200);
}

/// U5: a blob is there as long as one repository holds it.
#[test]
fn the_bytes_of_a_blob_go_with_its_last_holder() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "content");
    registry.post(format!("{}?mount={digest}&from=a", uploads("b"))).expect(201);
    registry.delete(blob("a", &digest)).expect(202);
    assert_eq!(registry.gc(), Report::default());
    assert_eq!(registry.get(blob("b", &digest)).expect(200).body(), b"content");
    registry.delete(blob("b", &digest)).expect(202);
    let expected = Report { blobs_removed: 1, bytes_freed: 7, ..Report::default() };
    assert_eq!(registry.gc(), expected);
    assert!(registry.memory.objects.is_empty());
}

/// SPEC L9: whatever can be reached stays for ever.
#[test]
fn nothing_that_can_be_reached_is_lost() {
    let mut registry = policy(HOUR);
    let amd = registry.push_image("a", "v1", AMD64, "amd");
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    let child = registry.push_image("a", "temporary", ARM64, "child");
    let inner = Manifest::index(&[&child]);
    registry.push("a", inner.digest(), &inner);
    let outer = Manifest::index(&[&inner, &amd]);
    registry.push("a", "all", &outer);
    registry.delete(manifest("a", "temporary")).expect(202);
    let signature = Manifest::artifact("x/y", "signature").about(&child);
    registry.push("a", signature.digest(), &signature);
    let countersignature = Manifest::artifact("x/y", "counter").about(&signature);
    registry.push("a", countersignature.digest(), &countersignature);
    let long = sha512(amd.bytes());
    let push = put(manifest("a", &long) + "?tag=long").header("Content-Type", amd.media_type()).body(amd.bytes());
    registry.call(push).expect(201);
    registry.push("b", "v1", &amd);
    for _ in 0..5 {
        registry.advance(30 * DAY);
        let Report { manifests_removed, blobs_removed, links_removed, .. } = registry.gc();
        assert_eq!((manifests_removed, blobs_removed, links_removed), (0, 0, 0));
    }
    reachable(&mut registry, "a", "v1", &arm);
    reachable(&mut registry, "a", &amd.digest(), &amd);
    reachable(&mut registry, "a", "long", &amd);
    reachable(&mut registry, "a", "all", &outer);
    reachable(&mut registry, "a", &inner.digest(), &inner);
    reachable(&mut registry, "a", &child.digest(), &child);
    reachable(&mut registry, "a", &signature.digest(), &signature);
    reachable(&mut registry, "a", &countersignature.digest(), &countersignature);
    reachable(&mut registry, "b", "v1", &amd);
    let list = registry.call(get(manifest("a", "v1")).header("Accept", OCI_INDEX)).expect(200);
    assert_eq!(list.json()["manifests"].as_array().map(Vec::len), Some(2));
}

/// SPEC L9: without a policy untagged manifests stay for ever.
#[test]
fn untagged_manifests_stay_unless_a_policy_says_otherwise() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    registry.push("a", image.digest(), &image);
    registry.advance(10_000 * DAY);
    assert_eq!(registry.gc(), Report::default());
    reachable(&mut registry, "a", &image.digest(), &image);
}

/// The policy: what neither a tag nor an index names and what refers to nothing goes, blobs and all.
#[test]
fn untagged_manifests_go_where_a_policy_says_so() {
    let mut registry = policy(DAY);
    let image = Manifest::image(AMD64, "layer");
    registry.push("a", image.digest(), &image);
    let kept = registry.push_image("a", "kept", ARM64, "kept");
    registry.advance(DAY);
    assert_eq!(registry.gc(), Report::default());
    registry.advance(HOUR);
    let manifests = Report { manifests_removed: 1, bytes_freed: image.bytes().len() as u64, ..Report::default() };
    assert_eq!(registry.gc(), manifests);
    // A client that has just seen the blobs has its grace to push a manifest with them.
    registry.advance(DAY);
    assert_eq!(registry.gc(), Report::default());
    registry.advance(HOUR);
    let size: usize = image.blobs().iter().map(|bytes| bytes.len()).sum();
    let blobs = Report { links_removed: 2, blobs_removed: 2, bytes_freed: size as u64, ..Report::default() };
    assert_eq!(registry.gc(), blobs);
    registry.get(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
    registry.get(blob("a", sha256("layer"))).refused(404, "BLOB_UNKNOWN");
    reachable(&mut registry, "a", "kept", &kept);
}

/// The policy counts from when the last tag left the manifest, not from when it was pushed: whoever has just
/// resolved the tag still finds it.
#[test]
fn an_old_manifest_has_its_time_when_its_tag_leaves_it() {
    for moved in [true, false] {
        let mut registry = policy(DAY);
        let image = registry.push_image("a", "v1", AMD64, "old");
        registry.advance(30 * DAY);
        if moved {
            registry.push_image("a", "v1", ("windows", "amd64"), "new");
            registry.push("a", "v1", &Manifest::index(&[]));
        } else {
            registry.delete(manifest("a", "v1")).expect(202);
        }
        registry.advance(DAY);
        registry.gc();
        reachable(&mut registry, "a", &image.digest(), &image);
        registry.advance(HOUR);
        registry.gc();
        registry.get(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
    }
}

/// SPEC L9: a blob that was linked long ago has its grace when the last manifest that used it is deleted, too.
#[test]
fn the_blobs_of_a_deleted_manifest_can_be_used_again_for_a_while() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.advance(30 * DAY);
    registry.delete(manifest("a", image.digest())).expect(202);
    registry.head(blob("a", sha256("layer"))).expect(200);
    registry.advance(DAY);
    assert_eq!(registry.gc(), Report::default());
    registry.push("a", "v2", &image);
    registry.advance(30 * DAY);
    assert_eq!(registry.gc(), Report::default());
    reachable(&mut registry, "a", "v2", &image);
}

/// No record of what has gone is left behind.
#[test]
fn a_repository_in_which_everything_was_deleted_leaves_no_record() {
    let mut registry = configured(|config| config.allow_sparse = true);
    let child = Manifest::image(AMD64, "child");
    let index = Manifest::index(&[&child, &Manifest::image(ARM64, "never pushed")]);
    registry.push("a", "child", &child);
    registry.push("a", "v1", &index);
    registry.delete(blob("a", sha256("child"))).expect(202);
    for image in [&child, &index] {
        registry.delete(manifest("a", image.digest())).expect(202);
    }
    for _ in 0..2 {
        registry.advance(2 * DAY);
        registry.gc();
    }
    assert!(registry.memory.records.is_empty(), "{:?}", registry.memory.records);
}

/// The policy, from the root to the leaves: one garbage collection takes an index, its children and what refers to
/// them, and one after the grace their blobs.
#[test]
fn an_untagged_index_takes_its_children_and_their_referrers_along() {
    let mut registry = policy(DAY);
    let child = Manifest::image(AMD64, "child");
    registry.push("a", child.digest(), &child);
    let index = Manifest::index(&[&child]);
    registry.push("a", "v1", &index);
    let signature = Manifest::artifact("x/y", "signature").about(&child);
    registry.push("a", signature.digest(), &signature);
    registry.delete(manifest("a", "v1")).expect(202);
    registry.advance(2 * DAY);
    let report = registry.gc();
    assert_eq!(report.manifests_removed, 3, "{report}");
    registry.advance(2 * DAY);
    registry.gc();
    assert!(registry.memory.records.is_empty(), "{:?}", registry.memory.records);
    assert!(registry.memory.objects.is_empty());
    let listed = registry.get(referrers("a", child.digest())).expect(200).json();
    assert_eq!(listed["manifests"], serde_json::json!([]));
}

/// However deep indexes are nested, one collection takes them all.
#[test]
fn nested_indexes_go_together() {
    let mut registry = policy(DAY);
    let mut outer = Manifest::index(&[]);
    for _ in 0..8 {
        registry.push("a", outer.digest(), &outer);
        outer = Manifest::index(&[&outer]);
    }
    registry.advance(2 * DAY);
    assert_eq!(registry.gc().manifests_removed, 8);
}

/// The maintained list: one that a tag has left behind goes after its grace; the tag's own stays.
#[test]
fn superseded_lists_go() {
    let mut registry = registry();
    let ask = |registry: &mut InMemory| {
        let answer = registry.call(get(manifest("a", "v1")).header("Accept", OCI_INDEX)).expect(200);
        sha256(answer.body())
    };
    registry.push_image("a", "v1", AMD64, "amd");
    let old = ask(&mut registry);
    registry.push_image("a", "v1", ARM64, "arm");
    let new = ask(&mut registry);
    assert_ne!(old, new);
    registry.advance(HOUR);
    assert_eq!(registry.gc(), Report::default());
    registry.head(manifest("a", &old)).expect(200);
    registry.advance(DAY);
    assert_eq!(registry.gc().lists_removed, 1);
    registry.head(manifest("a", &old)).expect(404);
    registry.head(manifest("a", &new)).expect(200);
    registry.delete(manifest("a", "v1")).expect(202);
    registry.advance(2 * DAY);
    assert_eq!(registry.gc().lists_removed, 1);
    registry.head(manifest("a", &new)).expect(404);
}

/// The children of a list that has been left behind live as long as the list is there, whatever the policy.
#[test]
fn a_list_that_is_still_served_keeps_its_children() {
    let mut registry = policy(HOUR);
    let old = registry.push_image("a", "v1", AMD64, "old");
    let list = registry.call(get(manifest("a", "v1")).header("Accept", OCI_INDEX)).expect(200);
    registry.push_image("a", "v1", AMD64, "new");
    registry.advance(2 * HOUR);
    registry.gc();
    registry.get(manifest("a", sha256(list.body()))).expect(200);
    reachable(&mut registry, "a", &old.digest(), &old);
    registry.advance(2 * DAY);
    registry.gc();
    registry.get(manifest("a", sha256(list.body()))).refused(404, "MANIFEST_UNKNOWN");
    registry.get(manifest("a", old.digest())).refused(404, "MANIFEST_UNKNOWN");
}

/// U29: what a crash left is erased once no call can be about to name it.
#[test]
fn strays_go_when_they_are_older_than_any_call() {
    let mut registry = registry();
    let session = registry.open("a");
    registry.begin(patch(&session).body("chunk")).until("Commit", &mut registry).crash();
    let digest = sha256("content");
    registry
        .begin(post(format!("{}?digest={digest}", uploads("a"))).body("content"))
        .until("Commit", &mut registry)
        .crash();
    registry.call(patch(&session).body("kept")).expect(202);
    let kept = registry.push_blob("a", "kept");
    let strays = registry.memory.objects.len() - 2;
    assert_eq!(strays, 2, "of a chunk and of a blob");
    registry.advance(Config::default().call_lifetime);
    assert_eq!(registry.gc(), Report::default());
    registry.advance(Duration::from_millis(1));
    let report = registry.gc();
    assert_eq!((report.orphans_removed, report.bytes_freed), (2, 5 + 7 + 4), "and a blob that nobody used");
    assert_eq!(report.blobs_removed, 1);
    registry.get(blob("a", kept)).refused(404, "BLOB_UNKNOWN");
    registry.get(&session).expect(204).with("Range", "0-3");
}

/// Bytes that no call of this registry made are strays as well, also those of a blob that has an object of its own; and
/// those that a record names are none.
#[test]
fn only_objects_that_no_record_names_are_strays() {
    for stray in ["stray", "layer"] {
        let mut registry = registry();
        let image = registry.push_image("a", "v1", AMD64, "layer");
        let foreign = ObjectId::received_by(uuid::Uuid::from_u128(7));
        let now = registry.memory.now;
        registry.memory.objects.insert(foreign, (stray.into(), now));
        registry.advance(2 * DAY);
        assert_eq!(registry.gc(), Report { orphans_removed: 1, bytes_freed: 5, ..Report::default() });
        assert!(!registry.memory.objects.contains_key(&foreign));
        reachable(&mut registry, "a", "v1", &image);
    }
}

/// A garbage collection of a store of many pages sees all of it.
#[test]
fn a_garbage_collection_goes_through_every_page() {
    let mut registry = registry();
    for i in 0..1100 {
        registry.push_blob(&format!("r{}", i % 3), format!("content {i}"));
    }
    let image = registry.push_image("r1", "v1", AMD64, "layer");
    registry.advance(2 * DAY);
    let report = registry.gc();
    assert_eq!((report.links_removed, report.blobs_removed, report.repositories_removed), (1100, 1100, 2));
    reachable(&mut registry, "r1", "v1", &image);
}

/// SPEC I2: the rest of a session counts from the end of its last request, and one that receives does not rest.
#[test]
fn a_session_that_receives_does_not_expire() {
    let lifetime = HOUR;
    let mut registry = configured(|config| config.upload_lifetime = lifetime);
    let session = registry.open("a");
    let mut slow = patch(&session).body("0123456789");
    slow.body.slow = true;
    // The first half of the body comes, a quarter of the lifetime passes, and the session is touched.
    let receiving = registry.begin(slow).until("Commit", &mut registry).step(&mut registry);
    assert_eq!(receiving.before(), "Receive", "the rest of the body is still to come");
    let until = lifetime + lifetime / 4;
    registry.advance(until);
    assert_eq!(registry.gc().uploads_expired, 0, "the session was kept when the body paused");
    receiving.end(&mut registry).expect(202).with("Range", "0-9");
    assert_eq!(registry.gc().uploads_expired, 0, "it rests from the end of the request");
    registry.advance(Duration::from_millis(1));
    assert_eq!(registry.gc().uploads_expired, 1);
}

/// What is damaged is counted, named and passed by.
#[test]
fn a_damaged_record_ends_no_collection() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.push_blob("z", "garbage");
    registry.push_blob("z", "more garbage");
    let damaged = ["blob/", "link/", "manifest/", "upload/", "repo/"].map(|family| {
        if family == "upload/" {
            registry.open("a");
        }
        let key = registry.memory.records.keys().find(|key| key.as_str().starts_with(family)).unwrap().clone();
        registry.memory.records.insert(key.clone(), "{".into());
        key.as_str().to_owned()
    });
    registry.advance(30 * DAY);
    let report = registry.gc();
    assert_eq!(report.fault, None);
    assert_eq!(report.records_damaged, damaged.len() as u64);
    let told = format!("5 damaged records passed by, the first is {}", report.damaged[0]);
    assert!(report.to_string().contains(&told), "{report}");
    for key in &damaged {
        assert!(report.damaged.contains(key), "{key} is not in {:?}", report.damaged);
    }
    assert!(report.links_removed + report.blobs_removed > 0, "{report}");
    drop(image);
}

/// A counter says what the records say, only sooner: one that is damaged begins anew.
#[test]
fn a_damaged_counter_ends_no_collection_and_no_push() {
    let mut registry = configured(|config| {
        config.quotas = [Quota { repositories: [Pattern::new("**")].into(), bytes: 1000, ..Quota::default() }].into();
    });
    registry.push_blob("z", "garbage");
    let usage = registry.memory.records.keys().find(|key| key.as_str().starts_with("usage/")).unwrap().clone();
    registry.memory.records.insert(usage.clone(), "{".into());
    registry.push_blob("z", "more");
    assert_eq!(registry.memory.records[&usage], "4");
    registry.memory.records.insert(usage, "{".into());
    registry.advance(30 * DAY);
    let report = registry.gc();
    assert_eq!((report.fault.clone(), report.blobs_removed), (None, 2), "{report}");
}

/// A report counts everything, and names ten thousand.
#[test]
fn a_report_has_an_end() {
    let mut registry = registry();
    for number in 0..10_001 {
        registry.open("a");
        registry.memory.records.insert(Key::stored(format!("repo/{number}")), "{".into());
    }
    registry.advance(30 * DAY);
    let ambient = registry.memory.ambient();
    let step = registry.registry.gc_dry_run(ambient);
    let report = registry.memory.run(step, &RequestBody::default());
    assert_eq!((report.uploads_expired, report.records_damaged), (10_001, 10_001));
    assert_eq!((report.garbage.len(), report.damaged.len()), (10_000, 10_000));
}

/// A payload that cannot be read any more, or that today's rules refuse, does not keep its manifest for ever.
#[test]
fn a_manifest_whose_payload_is_damaged_can_be_deleted() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    // That of the list which the registry maintains is damaged too.
    let payloads: Vec<_> =
        registry.memory.records.keys().filter(|key| key.as_str().starts_with("payload/")).cloned().collect();
    for payload in payloads {
        registry.memory.records.insert(payload, "not a manifest".into());
    }
    registry.delete(manifest("a", image.digest())).expect(202);
    for _ in 0..2 {
        registry.advance(2 * DAY);
        assert_eq!(registry.gc().records_damaged, 0);
    }
    assert!(registry.memory.records.is_empty(), "{:?}", registry.memory.records);
}

/// A dry run finds what a collection would remove, and asks for nothing to be changed.
#[test]
fn a_dry_run_names_the_garbage_and_changes_nothing() {
    let listener = Listener { name: "one".into(), happenings: [Happening::Push].into(), repositories: everywhere() };
    let mut registry = configured(|config| {
        config.untagged_lifetime = Some(DAY);
        config.listeners = [listener].into();
    });
    // The signatures of both are untagged, and one has a subject that stays.
    for layer in ["old layer", "new layer"] {
        let image = registry.push_image("a", "v1", AMD64, layer);
        let signature = Manifest::artifact("x/y", layer).about(&image);
        registry.push("a", signature.digest(), &signature);
    }
    // What an index names stays as long as that.
    for (reference, layer) in [(Some("all"), "kept child"), (None, "child that goes")] {
        let child = Manifest::image(AMD64, layer);
        registry.push("a", child.digest(), &child);
        let index = Manifest::index(&[&child]);
        registry.push("a", reference.map_or_else(|| index.digest(), String::from), &index);
    }
    registry.push_blob("b", "unused");
    let session = registry.open("c");
    registry.call(patch(&session).body("half")).expect(202);
    registry.begin(patch(&session).body("lost")).until("Commit", &mut registry).crash();
    let finished = registry.open("b");
    registry.call(put(format!("{finished}?digest={}", sha256("whole"))).body("whole")).expect(201);
    registry.advance(30 * DAY);
    let before = (registry.memory.records.clone(), registry.memory.objects.clone());
    let planned = registry.gc_dry_run();
    assert_eq!((&registry.memory.records, &registry.memory.objects), (&before.0, &before.1));
    assert!(!planned.garbage.is_empty() && planned.events_removed == 8, "{planned}");
    let done = registry.gc();
    let planned_and_done = Report { garbage: Vec::new(), ..planned.clone() };
    assert_eq!(planned_and_done, done, "{:#?}", planned.garbage);
}

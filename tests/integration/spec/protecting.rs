//! Section X: protect marks, which keep tags and manifests from being deleted.

use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256};
use orlop_conformance::system::{InMemory, System, blob, delete, manifest};
use orlop_core::config::PROTECT_MARKS;
use orlop_core::keys::is_copied;
use orlop_core::memory::RequestBody;
use orlop_core::{Config, Refused};

use crate::{configured, registry};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn try_protect(registry: &mut InMemory, mark: &str) -> Result<bool, Refused> {
    let step = registry.registry.protect(mark.parse().expect("a mark"), registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn protect(registry: &mut InMemory, mark: &str) {
    assert_eq!(try_protect(registry, mark), Ok(true));
}

fn unprotect(registry: &mut InMemory, mark: &str) -> bool {
    let step = registry.registry.unprotect(mark.parse().expect("a mark"), registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default()).expect("the storage works")
}

fn marks(registry: &mut InMemory) -> Vec<String> {
    let step = registry.registry.protections(registry.memory.ambient());
    let marks = registry.memory.run(step, &RequestBody::default()).expect("the storage works");
    marks.into_iter().map(|mark| mark.what.to_string()).collect()
}

/// SPEC X20.
#[test]
fn a_protected_tag_is_not_deleted() {
    let mut registry = registry();
    let image = registry.push_image("team/app", "release-1", AMD64, "layer");
    registry.push("team/app", "test", &image);
    registry.push("other", "release-1", &image);
    protect(&mut registry, "team/*:release-*");
    let refused = registry.delete(manifest("team/app", "release-1")).refused(403, "DENIED");
    let message = refused.json()["errors"][0]["message"].to_string();
    assert!(message.contains("orlop unprotect 'team/*:release-*'"), "{message}");
    registry.delete(manifest("team/app", "test")).expect(202);
    registry.delete(manifest("other", "release-1")).expect(202);
    assert_eq!(registry.get(manifest("team/app", "release-1")).expect(200).body(), image.bytes());
    assert!(unprotect(&mut registry, "team/*:release-*"));
    registry.delete(manifest("team/app", "release-1")).expect(202);
}

/// SPEC X21: by its digest neither; nor what its list has, nor what an index has that a protected tag names.
#[test]
fn what_a_protected_tag_names_is_not_deleted() {
    let mut registry = registry();
    let amd = registry.push_image("a", "v1", AMD64, "amd");
    let arm = registry.push_image("a", "v1", ARM64, "arm");
    let child = Manifest::image(AMD64, "child");
    registry.push("a", child.digest(), &child);
    let inner = Manifest::index(&[&child]);
    registry.push("a", inner.digest(), &inner);
    let outer = Manifest::index(&[&inner]);
    registry.push("a", "v2", &outer);
    let free = Manifest::image(AMD64, "free");
    registry.push("a", free.digest(), &free);
    protect(&mut registry, "a:v*");
    for digest in [&amd, &arm, &child, &inner, &outer].map(Manifest::digest) {
        registry.delete(manifest("a", digest)).refused(403, "DENIED");
    }
    registry.delete(manifest("a", free.digest())).expect(202);
    // An index that was deleted protects nothing.
    assert!(unprotect(&mut registry, "a:v*"));
    registry.delete(manifest("a", outer.digest())).expect(202);
    protect(&mut registry, "a:v*");
    registry.delete(manifest("a", inner.digest())).expect(202);
}

/// SPEC X21: a mark by digest.
#[test]
fn a_protected_manifest_is_not_deleted_or_collected() {
    let mut registry = configured(|config| config.untagged_lifetime = Some(DAY));
    let [kept, gone] = ["kept", "gone"].map(|layer| Manifest::image(AMD64, layer));
    for image in [&kept, &gone] {
        registry.push("a", image.digest(), image);
    }
    let index = Manifest::index(&[&kept]);
    protect(&mut registry, &format!("a@{}", kept.digest()));
    registry.push("a", index.digest(), &index);
    registry.delete(manifest("a", kept.digest())).refused(403, "DENIED");
    registry.advance(3 * DAY);
    registry.gc();
    registry.advance(3 * DAY);
    registry.gc();
    assert_eq!(registry.get(manifest("a", kept.digest())).expect(200).body(), kept.bytes());
    registry.get(manifest("a", gone.digest())).refused(404, "MANIFEST_UNKNOWN");
}

/// SPEC X22.
#[test]
fn blobs_in_use_are_not_deleted_where_something_is_protected() {
    let mut registry = registry();
    registry.push_image("a", "v1", AMD64, "layer");
    let free = registry.push_blob("a", "free");
    protect(&mut registry, "a:v1");
    registry.delete(blob("a", sha256("layer"))).refused(403, "DENIED");
    registry.delete(blob("a", free)).expect(202);
    registry.push_image("b", "v1", AMD64, "layer");
    registry.delete(blob("b", sha256("layer"))).expect(202);
}

/// SPEC X23: that is for rights to say.
#[test]
fn a_protected_tag_can_be_pushed_to() {
    let mut registry = registry();
    protect(&mut registry, "a:latest");
    let old = registry.push_image("a", "latest", AMD64, "old");
    let new = registry.push_image("a", "latest", AMD64, "new");
    assert_eq!(registry.get(manifest("a", "latest")).expect(200).body(), new.bytes());
    registry.delete(manifest("a", old.digest())).expect(202);
}

/// SPEC X24.
#[test]
fn marks_are_listed_and_bounded() {
    let mut registry = registry();
    assert_eq!(marks(&mut registry), Vec::<String>::new());
    protect(&mut registry, "b:v1");
    protect(&mut registry, "a");
    assert_eq!(try_protect(&mut registry, "a:*"), Ok(false), "it is the same");
    assert_eq!(marks(&mut registry), ["a:*", "b:v1"]);
    assert!(unprotect(&mut registry, "a:*"));
    assert!(!unprotect(&mut registry, "a:*"));
    for number in 1..PROTECT_MARKS {
        protect(&mut registry, &format!("a:v{number}"));
    }
    assert_eq!(try_protect(&mut registry, "one:more"), Err(Refused::TooManyMarks));
    assert_eq!(try_protect(&mut registry, "a:v1"), Ok(false));
}

/// SPEC X24: a delete that has read the marks before one was set looks again.
#[test]
fn a_mark_that_comes_in_between_counts() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    for target in [manifest("a", "v1"), manifest("a", image.digest())] {
        let deleting = registry.begin(delete(target)).until("Commit", &mut registry);
        protect(&mut registry, "a:v1");
        deleting.end(&mut registry).refused(403, "DENIED");
        assert!(unprotect(&mut registry, "a:v1"));
    }
    let deleting = registry.begin(delete(blob("a", sha256("layer")))).until("Commit", &mut registry);
    protect(&mut registry, "a:v1");
    deleting.end(&mut registry).refused(403, "DENIED");
}

/// SPEC X25: by a host with other settings and by a copy on another storage.
#[test]
fn marks_are_kept_with_the_registry() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    protect(&mut registry, "a:v1");
    let config = || Config { untagged_lifetime: Some(DAY), mount_from_anywhere: false, ..Config::default() };
    let mut other = registry.restarted(config());
    // What goes along when a registry is copied.
    let mut copy = InMemory::new(config());
    let records = registry.memory.records.iter().filter(|(key, _)| is_copied(key));
    copy.memory.records.extend(records.map(|(key, value)| (key.clone(), value.clone())));
    copy.memory.objects = registry.memory.objects.clone();
    for registry in [&mut other, &mut copy] {
        assert_eq!(marks(registry), ["a:v1"]);
        for reference in ["v1", &image.digest()] {
            registry.delete(manifest("a", reference)).refused(403, "DENIED");
        }
    }
    // What one host sets, another goes by at once.
    std::mem::swap(&mut registry.memory, &mut other.memory);
    protect(&mut registry, "b");
    std::mem::swap(&mut registry.memory, &mut other.memory);
    assert_eq!(marks(&mut other), ["a:v1", "b:*"]);
}

/// SPEC X26.
#[test]
fn what_is_protected_is_purged_by_force_alone() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    protect(&mut registry, "a:v1");
    for reference in ["v1", &image.digest()] {
        let purge = |registry: &mut InMemory, force| {
            let (name, reference) = ("a".parse().expect("a name"), reference.parse().expect("a reference"));
            let step = registry.registry.purge(name, Some(reference), force, registry.memory.ambient());
            registry.memory.run(step, &RequestBody::default())
        };
        let refused = purge(&mut registry, false).expect_err("it is protected");
        assert!(refused.to_string().contains("--force"), "{refused}");
        let mut copy = registry.clone();
        purge(&mut copy, true).expect("by force");
        copy.get(manifest("a", image.digest())).refused(404, "MANIFEST_UNKNOWN");
    }
}

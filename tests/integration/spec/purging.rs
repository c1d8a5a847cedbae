//! Section X: what a purge takes, what it leaves, and what it says of both.

use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256};
use orlop_conformance::system::{InMemory, System, blob, manifest};
use orlop_core::effect::{Committed, Fault, Step};
use orlop_core::keys::Key;
use orlop_core::memory::{RequestBody, request};
use orlop_core::{Purged, Refused, Undeleted, Undeleting};

use crate::configured;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A registry in which what is deleted can be undeleted for a week.
fn keeping() -> InMemory {
    configured(|config| config.undelete_within = Some(WEEK))
}

fn purging(
    registry: &mut InMemory,
    repository: &str,
    reference: Option<&str>,
    force: bool,
) -> Step<Result<Purged, Refused>> {
    let name = repository.parse().expect("a name");
    let reference = reference.map(|reference| reference.parse().expect("a reference"));
    registry.registry.purge(name, reference, force, registry.memory.ambient())
}

fn purge(registry: &mut InMemory, repository: &str, reference: Option<&str>) -> Result<Purged, Refused> {
    let step = purging(registry, repository, reference, false);
    registry.memory.run(step, &RequestBody::default())
}

fn undelete(registry: &mut InMemory, reference: &str) -> Result<Undeleted, Refused> {
    let (name, reference) = ("a".parse().expect("a name"), reference.parse().expect("a reference"));
    let step = registry.registry.undelete(name, reference, Undeleting::default(), registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn protect(registry: &mut InMemory, mark: &str) {
    let step = registry.registry.protect(mark.parse().expect("a mark"), registry.memory.ambient());
    assert_eq!(registry.memory.run(step, &RequestBody::default()), Ok(true));
}

fn why(done: &Purged, digest: &str) -> String {
    let its = done.remaining.iter().filter(|remaining| remaining.digest.to_string() == digest);
    its.map(|remaining| remaining.why.clone()).collect()
}

fn has_bytes(registry: &InMemory, content: &str) -> bool {
    registry.memory.objects.values().any(|(bytes, _)| bytes == content.as_bytes())
}

/// Whether a record is there.
fn record(registry: &InMemory, key: &str) -> bool {
    registry.memory.records.contains_key(&Key::stored(key))
}

fn damage(registry: &mut InMemory, key: String) {
    let key = Key::stored(key);
    assert!(registry.memory.records.insert(key.clone(), "?".into()).is_some(), "{key:?}");
}

/// Makes a purge, in the middle of which something else happens: before its commit of this number.
fn purge_while(registry: &mut InMemory, number: usize, act: impl FnOnce(&mut InMemory)) -> Purged {
    let (mut act, mut commits) = (Some(act), 0);
    let mut step = purging(registry, "a", None, false);
    loop {
        step = match step {
            Step::Respond(done) | Step::Answered(done, _) => {
                assert!(act.is_none(), "it makes {commits} commits");
                return done.expect("it is done");
            }
            asking => {
                if matches!(asking, Step::Commit(_)) {
                    if commits == number {
                        act.take().expect("once")(registry);
                    }
                    commits += 1;
                }
                registry.memory.perform(asking, &RequestBody::default())
            }
        };
    }
}

/// SPEC X18: what is pushed again or undeleted while all that was deleted is purged stays, whenever that happens.
#[test]
fn a_purge_of_all_that_was_deleted_takes_nothing_that_is_there() {
    for undeletes in [false, true] {
        for number in 0..2 {
            let mut registry = keeping();
            let image = Manifest::image(AMD64, "layer");
            registry.push("a", image.digest(), &image);
            registry.push("a", "v1", &Manifest::image(ARM64, "other"));
            registry.delete(manifest("a", "v1")).expect(202);
            registry.delete(manifest("a", image.digest())).expect(202);
            let done = purge_while(&mut registry, number, |registry| match undeletes {
                true => drop(undelete(registry, &image.digest()).expect("it was deleted")),
                false => drop(registry.push("a", "v2", &image)),
            });
            assert_eq!(done.manifests, [], "before commit {number}");
            assert_eq!(registry.get(manifest("a", image.digest())).expect(200).body(), image.bytes());
            registry.get(blob("a", sha256("layer"))).expect(200);
            assert_eq!(registry.tags("a").len(), usize::from(!undeletes));
        }
    }
}

/// SPEC X18: what a deleted index lists was not deleted with it.
#[test]
fn an_image_of_a_deleted_index_is_not_purged_with_it() {
    let mut registry = keeping();
    let (there, gone) = (Manifest::image(AMD64, "there"), Manifest::image(ARM64, "gone"));
    for image in [&there, &gone] {
        registry.push("a", image.digest(), image);
    }
    let index = Manifest::index(&[&there, &gone]);
    registry.push("a", "v1", &index);
    registry.delete(manifest("a", index.digest())).expect(202);
    registry.delete(manifest("a", gone.digest())).expect(202);
    let done = purge(&mut registry, "a", None).expect("it is done");
    assert_eq!(done.manifests.len(), 2, "{done:?}");
    assert_eq!(done.tags_there, Some(0));
    assert_eq!(registry.get(manifest("a", there.digest())).expect(200).body(), there.bytes());
    registry.get(blob("a", sha256("there"))).expect(200);
    assert!(!has_bytes(&registry, "gone"));
}

/// SPEC X18.
#[test]
fn a_purge_of_an_unknown_repository_is_refused() {
    let mut registry = keeping();
    registry.push_image("a", "v1", AMD64, "layer");
    let refused = purge(&mut registry, "never", None).expect_err("there is none");
    assert_eq!(refused.to_string(), "there is no repository never");
    let done = purge(&mut registry, "a", None).expect("it is done");
    assert_eq!(done, Purged { tags_there: Some(1), ..Purged::default() });
}

/// SPEC X26: what is protected and was not asked for stays, and is named; what is not protected goes.
#[test]
fn a_purge_leaves_what_is_protected_besides() {
    for reference in ["v1", "digest"] {
        let mut registry = keeping();
        let (kept, gone) = (Manifest::image(AMD64, "kept"), Manifest::image(ARM64, "gone"));
        for image in [&kept, &gone] {
            registry.push("a", image.digest(), image);
        }
        let index = Manifest::index(&[&kept, &gone]);
        registry.push("a", "v1", &index);
        protect(&mut registry, &format!("a@{}", kept.digest()));
        let digest = index.digest();
        let done = purge(&mut registry, "a", Some(if reference == "v1" { "v1" } else { &digest }));
        let done = done.expect("the index is not protected");
        assert_eq!((done.manifests.len(), &done.fault), (2, &None), "{done:?}");
        assert!(why(&done, &kept.digest()).contains("orlop unprotect"), "{done:?}");
        assert_eq!(registry.get(manifest("a", kept.digest())).expect(200).body(), kept.bytes());
        registry.get(blob("a", sha256("kept"))).expect(200);
        assert!(!has_bytes(&registry, "gone"));
    }
}

/// SPEC X19: a layer that was deleted before is erased with the image, wherever its record is.
#[test]
fn a_purge_erases_what_was_deleted_by_itself_before() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "secret");
    registry.post(format!("/v2/b/blobs/uploads/?mount={}&from=a", sha256("secret"))).expect(201);
    registry.delete(blob("a", sha256("secret"))).expect(202);
    let mut alone = registry.clone();
    alone.delete(blob("b", sha256("secret"))).expect(202);
    let done = purge(&mut registry, "a", Some(&image.digest())).expect("it is there");
    assert_eq!(why(&done, &sha256("secret")), "the repository b has it, too");
    assert!(has_bytes(&alone, "secret"));
    let done = purge(&mut alone, "a", Some("v1")).expect("it is there");
    assert_eq!(done.remaining, []);
    assert!(!has_bytes(&alone, "secret"));
}

/// SPEC X19: by its digest a blob is purged that a manifest did not take with it.
#[test]
fn a_blob_is_purged_by_its_digest() {
    let mut registry = keeping();
    registry.push_image("a", "v1", AMD64, "needed");
    registry.push_blob("a", "secret");
    let done = purge(&mut registry, "a", Some(&sha256("needed"))).expect("it is there");
    assert!(why(&done, &sha256("needed")).contains("of this repository needs it"), "{done:?}");
    assert_eq!(done.blobs, []);
    let done = purge(&mut registry, "a", Some(&sha256("secret"))).expect("it is there");
    assert_eq!((done.blobs.len(), done.bytes), (1, 6));
    assert!(!has_bytes(&registry, "secret"));
    // One that no repository has any more.
    registry.push_blob("a", "leaked");
    registry.delete(blob("a", sha256("leaked"))).expect(202);
    let done = purge(&mut registry, "a", Some(&sha256("leaked"))).expect("its bytes are there");
    assert_eq!(done.bytes, 6);
    assert!(!has_bytes(&registry, "leaked"));
    let refused = purge(&mut registry, "a", Some(&sha256("leaked"))).expect_err("it is gone");
    assert!(matches!(&refused, Refused::Unknown(what) if what.contains("manifest or blob")), "{refused}");
}

/// SPEC X19: what is gone is said beside what went wrong then, and the rest is purged by its digest.
#[test]
fn a_purge_that_fails_says_what_it_has_done() {
    for number in 0.. {
        let mut registry = keeping();
        let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
        for image in [&amd, &arm] {
            registry.push("a", image.digest(), image);
        }
        let index = Manifest::index(&[&amd, &arm]);
        registry.push("a", "v1", &index);
        let before = registry.memory.clone();
        let (mut step, mut commits, mut failed) = (purging(&mut registry, "a", Some("v1"), false), 0, false);
        let result = loop {
            step = match step {
                Step::Respond(done) | Step::Answered(done, _) => break done,
                Step::Commit(commit) if commits == number && !failed => {
                    failed = true;
                    commit.answer(Err(Fault::Failed("the disk is on fire".into())))
                }
                asking => {
                    commits += usize::from(matches!(asking, Step::Commit(_)));
                    registry.memory.perform(asking, &RequestBody::default())
                }
            };
        };
        if !failed {
            assert!(number > 6, "{number} commits");
            assert_eq!(registry.memory.objects.len(), 0);
            return;
        }
        let Ok(done) = result else {
            assert_eq!(registry.memory.records, before.records, "commit {number}");
            continue;
        };
        assert!(done.fault.as_ref().is_some_and(|fault| fault.contains("on fire")), "{done:?}");
        assert_eq!(done.tags, ["v1"]);
        // Whatever stays can be purged by what the report says.
        let left: Vec<String> = done.remaining.iter().map(|remaining| remaining.digest.to_string()).collect();
        for digest in &left {
            let _ = purge(&mut registry, "a", Some(digest));
        }
        for content in ["amd", "arm"] {
            assert!(!has_bytes(&registry, content), "commit {number}: {content} of {done:?}");
        }
    }
}

/// SPEC X15: a damaged record ends no purge, and is named.
#[test]
fn a_purge_goes_past_what_does_not_read() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let other = registry.push_image("a", "v2", ARM64, "other");
    let blobs = [sha256("layer"), sha256(&image.blobs()[0]), sha256(&image.blobs()[1])];
    damage(&mut registry, format!("blob/{}", blobs[0]));
    let done = purge(&mut registry, "a", Some(&image.digest())).expect("it is there");
    assert!(why(&done, &blobs[0]).contains("is damaged"), "{done:?}");
    assert_eq!(done.blobs.len(), 1, "{done:?}");
    // A deleted manifest.
    let third = registry.push_image("a", "v3", AMD64, "third");
    for gone in [&other, &third] {
        registry.delete(manifest("a", gone.digest())).expect(202);
    }
    damage(&mut registry, format!("deleted/a@{}", other.digest()));
    let done = purge(&mut registry, "a", None).expect("it is done");
    assert!(why(&done, &other.digest()).contains("is damaged"), "{done:?}");
    assert!(done.manifests.contains(&third.digest().parse().expect("a digest")), "{done:?}");
    assert!(!has_bytes(&registry, "third"));
}

/// SPEC X15: a tag whose record does not read is purged with what its marks say it named.
#[test]
fn a_damaged_tag_is_purged() {
    for deleted in [false, true] {
        let mut registry = keeping();
        let image = registry.push_image("a", "v1", AMD64, "layer");
        if deleted {
            registry.delete(manifest("a", "v1")).expect(202);
        }
        let family = if deleted { "deletedtag" } else { "tag" };
        damage(&mut registry, format!("{family}/a:v1"));
        let done = purge(&mut registry, "a", Some("v1")).expect("it is there");
        assert_eq!(done.tags, ["v1"]);
        assert!(done.manifests.contains(&image.digest().parse().expect("a digest")), "{done:?}");
        assert!(!has_bytes(&registry, "layer"));
        let marks = registry.memory.records.keys().filter(|key| key.as_str().contains("tagged/"));
        assert_eq!(marks.count(), 0);
        assert!(!record(&registry, &format!("{family}/a:v1")));
    }
}

/// SPEC X9: an image of an index that is damaged does not keep the index from coming back.
#[test]
fn what_cannot_be_undeleted_is_missing() {
    for (family, value) in [("deletedpayload", None), ("deleted", Some("?"))] {
        let mut registry = keeping();
        let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
        for image in [&amd, &arm] {
            registry.push("a", image.digest(), image);
        }
        let index = Manifest::index(&[&amd, &arm]);
        registry.push("a", "v1", &index);
        for gone in [&index, &amd, &arm] {
            registry.delete(manifest("a", gone.digest())).expect(202);
        }
        let key = Key::stored(format!("{family}/a@{}", amd.digest()));
        match value {
            Some(value) => registry.memory.records.insert(key, value.into()),
            None => registry.memory.records.remove(&key),
        };
        let mut by_itself = registry.clone();
        let refused = undelete(&mut by_itself, &amd.digest()).expect_err("it is damaged");
        assert!(matches!(refused, Refused::Damaged(_)), "{refused}");
        let done = undelete(&mut registry, "v1").expect("the index was deleted");
        assert_eq!(done.missing, [amd.digest().parse().expect("a digest")]);
        assert_eq!(registry.get(manifest("a", "v1")).expect(200).body(), index.bytes());
        assert_eq!(registry.get(manifest("a", arm.digest())).expect(200).body(), arm.bytes());
    }
}

/// An undelete is no change that frees space: it does not write on what is reserved for these on a full disk.
#[test]
fn an_undelete_does_not_take_the_reserve() {
    let mut registry = keeping();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    registry.delete(manifest("a", image.digest())).expect(202);
    let (name, reference) = ("a".parse().expect("a name"), "v1".parse().expect("a tag"));
    let mut step = registry.registry.undelete(name, reference, Undeleting::default(), registry.memory.ambient());
    let mut commits = 0;
    loop {
        step = match step {
            Step::Respond(done) | Step::Answered(done, _) => {
                done.expect("it was deleted");
                assert!(commits > 0);
                return;
            }
            asking => {
                if let Step::Commit(commit) = &asking {
                    commits += 1;
                    assert!(!commit.effect.reclaims);
                }
                registry.memory.perform(asking, &RequestBody::default())
            }
        };
    }
}

/// SPEC X7: with more tags than one commit takes, and a conflict with the last: the lists that lost the image get it back.
#[test]
fn a_list_is_mended_though_the_delete_was_tried_again() {
    let mut registry = keeping();
    let (amd, arm) = (Manifest::image(AMD64, "amd"), Manifest::image(ARM64, "arm"));
    for number in 0..300 {
        registry.push("a", format!("t{number:03}"), &amd);
        registry.push("a", format!("t{number:03}"), &arm);
    }
    let platforms = |registry: &InMemory| {
        let listed = registry.memory.records.iter().filter(|(key, _)| key.as_str().starts_with("platforms/"));
        listed.filter(|(_, value)| String::from_utf8_lossy(value).contains(&amd.digest())).count()
    };
    assert_eq!(platforms(&registry), 300);
    let mut last_commits = 0;
    let delete = request("DELETE", manifest("a", amd.digest()));
    let mut step = registry.registry.call(delete, registry.memory.ambient());
    let status = loop {
        step = match step {
            Step::Respond(response) | Step::Answered(response, _) => break response.status,
            Step::Commit(commit) if commit.effect.put.iter().any(|(key, _)| key.as_str().starts_with("deleted/")) => {
                last_commits += 1;
                match last_commits {
                    1 => commit.answer(Ok(Committed::Conflict)),
                    _ => registry.memory.perform(Step::Commit(commit), &RequestBody::default()),
                }
            }
            asking => registry.memory.perform(asking, &RequestBody::default()),
        };
    };
    assert_eq!((status, last_commits), (202, 2));
    assert_eq!(platforms(&registry), 0);
    undelete(&mut registry, &amd.digest()).expect("it was deleted");
    // So many are noted. The last commit alone has seen 44.
    assert_eq!(platforms(&registry), 256);
}

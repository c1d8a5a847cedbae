//! What a caller with few rights sees and may change: what it may not read looks like what does not exist, and whether a
//! push makes a tag or changes one is decided with the commit.

use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256};
use orlop_conformance::system::{Answer, Call, InMemory, System, blob, delete, get, head, manifest, post, put};
use orlop_conformance::system::{referrers, strings, uploads};
use orlop_core::caller::{Right, Rule};
use orlop_core::config::Pattern;
use orlop_core::memory::RequestBody;
use orlop_core::{Body, Caller, Config, Refused, Registry, Rights, Step, Undeleted, Undeleting};

use crate::{configured, registry};

fn rule(allow: bool, rights: &[Right], repositories: &str, tags: Option<&str>) -> Rule {
    let tags = tags.map(|tags| [Pattern::new(tags)].into());
    Rule { allow, rights: rights.into(), repositories: [Pattern::new(repositories)].into(), tags }
}

fn caller(rules: impl IntoIterator<Item = Rule>) -> Arc<Caller> {
    let rights = Rights::of(rules.into_iter().map(Arc::new));
    Arc::new(Caller { name: "somebody".into(), rights, ..Caller::anybody() })
}

/// May do everything in `open/…`, and nothing elsewhere.
fn outsider() -> Arc<Caller> {
    caller([rule(true, &Right::ALL, "open/**", None)])
}

/// May do everything but change or delete the tags `v*`.
fn releaser() -> Arc<Caller> {
    let protected = rule(false, &[Right::OverwriteTag, Right::Delete], "**", Some("v*"));
    caller([protected, rule(true, &Right::ALL, "**", None)])
}

fn call(registry: &mut InMemory, caller: &Arc<Caller>, call: &Call) -> Answer {
    let ambient = registry.memory.ambient();
    let step = registry.registry.call_of(caller.clone(), Arc::new(call.request.clone().into()), ambient);
    let response = registry.memory.run(step, &call.body);
    assert!(response.status == 200 || !matches!(response.body, Body::Pieces(_)));
    Answer { to: call.to_string(), response }
}

fn push(image: &Manifest, repository: &str, reference: &str) -> Call {
    put(manifest(repository, reference)).header("Content-Type", image.media_type()).body(image.bytes())
}

/// SPEC U31, Q1: header for header, and byte for byte.
#[test]
fn what_one_may_not_read_looks_like_what_does_not_exist() {
    let mut there = registry();
    let image = there.push_image("secret", "v1", AMD64, "layer");
    there.push("secret", "signature", &Manifest::artifact("x/y", "signature").about(&image));
    let mut nowhere = registry();
    let paths = [
        "/v2/secret/tags/list".into(),
        "/v2/secret/tags/list?n=0".into(),
        "/v2/secret/tags/list?n=x".into(),
        manifest("secret", "v1"),
        manifest("secret", image.digest()),
        blob("secret", sha256("layer")),
        referrers("secret", image.digest()),
        referrers("secret", image.digest()) + "?artifactType=x/y",
        "/v2/_catalog".into(),
    ];
    for path in paths {
        for asked in
            [get(&path), head(&path), get(&path).header("If-None-Match", "*"), get(&path).header("Range", "bytes=0-0")]
        {
            let (one, other) = (call(&mut there, &outsider(), &asked), call(&mut nowhere, &outsider(), &asked));
            assert_eq!(one.response, other.response, "{asked}");
        }
    }
}

/// SPEC O1.
#[test]
fn the_catalog_has_what_one_may_list_page_by_page() {
    let mut registry = registry();
    for name in ["a", "open/1", "open/2", "open/3", "z"] {
        registry.push_image(name, "v1", AMD64, "layer");
    }
    let mut seen = Vec::new();
    let mut next = Some("/v2/_catalog?n=2".to_owned());
    while let Some(page) = next {
        let answer = call(&mut registry, &outsider(), &get(page)).expect(200);
        seen.push(strings(&answer.json()["repositories"]));
        next = answer.next_page();
    }
    assert_eq!(seen, [vec!["open/1", "open/2"], vec!["open/3"]]);
}

/// How many records a caller's request for a page scans, in how many steps, and what the page has.
fn scanned(registry: &mut InMemory, caller: &Arc<Caller>, target: &str) -> (usize, usize, Vec<String>) {
    let ambient = registry.memory.ambient();
    let mut step = registry.registry.call_of(caller.clone(), Arc::new(get(target).request.into()), ambient);
    let (mut scans, mut records) = (0, 0);
    loop {
        match step {
            Step::Respond(response) => {
                let answer = Answer { to: target.into(), response }.expect(200);
                return (scans, records, strings(&answer.json()["repositories"]));
            }
            Step::Scan(ask) => {
                scans += 1;
                records += ask.effect.limit;
                step = registry.memory.perform(Step::Scan(ask), &"".into());
            }
            other => panic!("a list needs nothing but scans: {other:?}"),
        }
    }
}

/// SPEC O1: the work of one page is that of what its reader may see, where the rules say in front what that is.
#[test]
fn a_page_of_the_catalog_passes_over_what_the_rules_deny() {
    let mut registry = registry();
    for number in 0..3000 {
        registry.push_blob(&format!("hidden/{number:04}"), "content");
    }
    for name in ["a", "open/1", "open/2", "z"] {
        registry.push_blob(name, "content");
    }
    let all_but_hidden = caller([rule(false, &[Right::List], "hidden/**", None), rule(true, &Right::ALL, "**", None)]);
    let named = caller([rule(true, &[Right::List], "z", None), rule(true, &[Right::List], "open/*", None)]);
    let mut check = |caller: &Arc<Caller>, target: &str, expected: &[&str]| {
        let (scans, records, listed) = scanned(&mut registry, caller, target);
        assert_eq!(listed, expected, "{target}");
        assert!(scans <= 3 && records <= 1010, "{target}: {scans} scans of {records} records");
    };
    check(&outsider(), "/v2/_catalog?n=1", &["open/1"]);
    check(&outsider(), "/v2/_catalog", &["open/1", "open/2"]);
    check(&outsider(), "/v2/_catalog?last=hidden/1", &["open/1", "open/2"]);
    check(&all_but_hidden, "/v2/_catalog?n=1&last=a", &["open/1"]);
    check(&all_but_hidden, "/v2/_catalog?n=2&last=hidden/0500", &["open/1", "open/2"]);
    check(&named, "/v2/_catalog?n=3", &["open/1", "open/2", "z"]);
    check(&caller([]), "/v2/_catalog", &[]);
    check(&Caller::anybody().into(), "/v2/_catalog?n=1", &["a"]);
    // The second scan asks for no more than the page lacks.
    let (scans, records, _) = scanned(&mut registry, &named, "/v2/_catalog?n=3");
    assert_eq!((scans, records), (2, 4 + 2));
    // A pattern that begins with a star may match anywhere: all is read, in few steps.
    let somewhere = caller([rule(true, &[Right::List], "*/2999", None)]);
    let (scans, _, listed) = scanned(&mut registry, &somewhere, "/v2/_catalog?n=1");
    assert_eq!(listed, ["hidden/2999"]);
    assert!(scans <= 5, "{scans} scans");
}

/// SPEC E14, E12, U5: an upload begins, as for a blob that is nowhere.
#[test]
fn nothing_is_mounted_from_where_one_may_not_pull() {
    let mut registry = registry();
    let digest = registry.push_blob("secret", "content");
    for query in [format!("mount={digest}&from=secret"), format!("mount={digest}")] {
        let mount = post(format!("{}?{query}", uploads("open/a")));
        call(&mut registry, &outsider(), &mount).expect(202);
        call(&mut registry, &outsider(), &get(blob("open/a", &digest))).refused(404, "BLOB_UNKNOWN");
        call(&mut registry, &Caller::anybody().into(), &post(format!("{}?{query}", uploads("other")))).expect(201);
    }
    registry.push_blob("open/b", "content");
    call(&mut registry, &outsider(), &post(format!("{}?mount={digest}", uploads("open/a")))).expect(201);
}

#[test]
fn a_protected_tag_is_made_once() {
    let mut registry = registry();
    let (first, second) = (Manifest::image(AMD64, "one"), Manifest::image(AMD64, "two"));
    for image in [&first, &second] {
        image.blobs().iter().for_each(|blob| drop(registry.push_blob("a", blob.clone())));
    }
    call(&mut registry, &releaser(), &push(&first, "a", "v1")).expect(201);
    call(&mut registry, &releaser(), &push(&first, "a", "v1")).expect(201);
    call(&mut registry, &releaser(), &push(&second, "a", "v1")).refused(403, "DENIED");
    let by_digest = format!("{}?tag=v1&tag=latest", second.digest());
    call(&mut registry, &releaser(), &push(&second, "a", &by_digest)).refused(403, "DENIED");
    assert_eq!(registry.tags("a"), ["v1"], "all of the tags or none");
    call(&mut registry, &releaser(), &push(&first, "a", "latest")).expect(201);
    call(&mut registry, &releaser(), &push(&second, "a", "latest")).expect(201);
    registry.get(manifest("a", "v1")).expect(200).with("Docker-Content-Digest", first.digest());
}

/// What is kept for a tag makes a push of one of its images a push of the same, until the tag would change all the same:
/// where tags are not assembled any more, or where the image does not say its platform any more.
#[test]
fn an_image_of_its_list_does_not_take_a_protected_tag() {
    let joined = |config: &mut Config| {
        config.assemble = [Pattern::new("**")].into();
        config.allow_sparse = true;
    };
    let prepared = || {
        let mut registry = configured(joined);
        registry.push_image("a", "v1", AMD64, "one");
        let arm = registry.push_image("a", "v1", ARM64, "two");
        let list = registry.get(manifest("a", "v1")).expect(200).header("Docker-Content-Digest").unwrap().to_owned();
        assert_ne!(list, arm.digest());
        (registry, arm, list)
    };
    let (mut registry, arm, list) = prepared();
    call(&mut registry, &releaser(), &push(&arm, "a", "v1")).expect(201);
    registry.get(manifest("a", "v1")).expect(200).with("Docker-Content-Digest", &list);

    // The policy has changed.
    registry.registry = Registry::new(Config::default());
    call(&mut registry, &releaser(), &push(&arm, "a", "v1")).refused(403, "DENIED");
    registry.get(manifest("a", "v1")).expect(200).with("Docker-Content-Digest", &list);
    call(&mut registry, &Caller::anybody().into(), &push(&arm, "a", "v1")).expect(201);
    registry.get(manifest("a", "v1")).expect(200).with("Docker-Content-Digest", arm.digest());

    // The platform cannot be read any more.
    let (mut registry, arm, list) = prepared();
    for bytes in arm.blobs() {
        registry.delete(blob("a", sha256(bytes))).expect(202);
    }
    call(&mut registry, &releaser(), &push(&arm, "a", "v1")).refused(403, "DENIED");
    registry.get(manifest("a", "v1")).expect(200).with("Docker-Content-Digest", &list);
}

/// The list that stands beside a tag is what clients get that take nothing else: it is protected with the tag.
#[test]
fn a_push_of_the_same_does_not_take_the_list_of_a_protected_tag() {
    let mut registry = configured(|config| config.allow_sparse = true);
    registry.push_image("a", "v1", AMD64, "one");
    let arm = registry.push_image("a", "v1", ARM64, "two");
    let lists = "application/vnd.oci.image.index.v1+json";
    let ask = get(manifest("a", "v1")).header("Accept", lists);
    let list = registry.call(ask.clone()).expect(200).header("Docker-Content-Digest").unwrap().to_owned();
    call(&mut registry, &releaser(), &push(&arm, "a", "v1")).expect(201);
    for bytes in arm.blobs() {
        registry.delete(blob("a", sha256(bytes))).expect(202);
    }
    call(&mut registry, &releaser(), &push(&arm, "a", "v1")).refused(403, "DENIED");
    registry.call(ask).expect(200).with("Docker-Content-Digest", list);
}

/// Every way around: by digest, by a blob, by a child, by an image of an assembled list.
#[test]
fn what_a_protected_tag_needs_is_not_deleted() {
    let mut registry = configured(|config| config.assemble = [Pattern::new("joined")].into());
    let image = registry.push_image("a", "child", AMD64, "layer");
    let index = Manifest::index(&[&image]);
    registry.push("a", "v1", &index);
    registry.push_image("joined", "v1", AMD64, "layer");
    let arm = registry.push_image("joined", "v1", ARM64, "layer");
    let free = registry.push_image("a", "latest", ARM64, "free");
    for (repository, reference) in [("a", index.digest()), ("a", image.digest()), ("joined", arm.digest())] {
        call(&mut registry, &releaser(), &delete(manifest(repository, reference))).refused(403, "DENIED");
    }
    call(&mut registry, &releaser(), &delete(blob("a", sha256("layer")))).refused(403, "DENIED");
    registry.get(manifest("a", "v1")).expect(200);
    call(&mut registry, &releaser(), &delete(manifest("a", free.digest()))).expect(202);
    call(&mut registry, &releaser(), &delete(blob("a", sha256("free")))).expect(202);
    call(&mut registry, &releaser(), &delete(blob("a", sha256("free")))).refused(404, "BLOB_UNKNOWN");
}

/// To end a tag takes another right than to change it.
#[test]
fn what_a_tag_names_is_deleted_by_whoever_may_delete_the_tag() {
    let denied = |right| caller([rule(false, &[right], "**", Some("v*")), rule(true, &Right::ALL, "**", None)]);
    for (caller, status) in [(denied(Right::OverwriteTag), 202), (denied(Right::Delete), 403)] {
        let mut registry = registry();
        let image = registry.push_image("a", "v1", AMD64, "layer");
        call(&mut registry, &caller, &delete(manifest("a", image.digest()))).expect(status);
        assert_eq!(registry.tags("a").len(), usize::from(status == 403));
    }
}

/// An image that an assembled list has is part of the tag, down to the last; one of the list beside a tag is not.
#[test]
fn an_image_of_a_protected_list_is_not_deleted() {
    let keeper = caller([rule(false, &[Right::OverwriteTag], "**", Some("v*")), rule(true, &Right::ALL, "**", None)]);
    let mut registry = configured(|config| config.assemble = [Pattern::new("joined")].into());
    let [amd, arm] = [AMD64, ARM64].map(|platform| registry.push_image("joined", "v1", platform, "layer"));
    call(&mut registry, &keeper, &delete(manifest("joined", amd.digest()))).refused(403, "DENIED");
    registry.delete(manifest("joined", amd.digest())).expect(202);
    call(&mut registry, &keeper, &delete(manifest("joined", arm.digest()))).refused(403, "DENIED");
    for caller in [keeper, releaser()] {
        let old = registry.push_image("a", "v1", AMD64, "old");
        let new = registry.push_image("a", "v1", ARM64, "new");
        call(&mut registry, &caller, &delete(manifest("a", old.digest()))).expect(202);
        registry.get(manifest("a", "v1")).expect(200).with("Docker-Content-Digest", new.digest());
    }
}

/// Two pushes to a tag that is not there, in every order of their effects: one makes it, the other would change it.
#[test]
fn of_two_who_may_only_make_a_tag_one_does() {
    let mut orders = 0;
    for switch in 0..12 {
        let mut registry = registry();
        let images = ["one", "two"].map(|layer| Manifest::image(AMD64, layer));
        for blob in images.iter().flat_map(Manifest::blobs) {
            registry.push_blob("a", blob.clone());
        }
        let pushes = images.each_ref().map(|image| push(image, "a", "v1"));
        let [one, other] = pushes.each_ref().map(|push| {
            let ambient = registry.memory.ambient();
            registry.registry.call_of(releaser(), Arc::new(push.request.clone().into()), ambient)
        });
        let mut steps = (one, other);
        for _ in 0..switch {
            steps.0 = registry.memory.perform(steps.0, &pushes[0].body);
        }
        let Step::Respond(second) = drive(&mut registry, steps.1, &pushes[1]) else { panic!() };
        let Step::Respond(first) = drive(&mut registry, steps.0, &pushes[0]) else { panic!() };
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 403], "after {switch} effects of the first");
        let winner = images[usize::from(first.status != 201)].digest();
        registry.get(manifest("a", "v1")).expect(200).with("Docker-Content-Digest", winner);
        orders += 1;
    }
    assert_eq!(orders, 12);
}

/// A registry in which the tag `v1` of `a` was deleted, and can be undeleted.
fn deleted_tag() -> InMemory {
    let mut registry = configured(|config| config.undelete_within = Some(Duration::from_secs(3600)));
    let image = registry.push_image("a", "v1", AMD64, "one");
    registry.delete(manifest("a", "v1")).expect(202);
    registry.get(manifest("a", image.digest())).expect(200);
    registry
}

fn undelete(registry: &mut InMemory, caller: &Arc<Caller>, how: Undeleting) -> Step<Result<Undeleted, Refused>> {
    let (name, reference) = ("a".parse().expect("a name"), "v1".parse().expect("a tag"));
    registry.registry.undelete_by(caller.clone(), name, reference, how, registry.memory.ambient())
}

/// SPEC AE6: a tag that comes back counts as pushed.
#[test]
fn a_tag_comes_back_to_those_who_may_make_or_change_it() {
    let check = |caller: &Arc<Caller>, named: Option<&str>, there: bool, expected: Result<(), &str>| {
        let mut registry = deleted_tag();
        if there {
            registry.push_image("a", named.unwrap_or("v1"), AMD64, "other");
        }
        let how = Undeleting { force: true, named: named.map(|tag| tag.parse().expect("a tag")) };
        let step = undelete(&mut registry, caller, how);
        let done = registry.memory.run(step, &RequestBody::default());
        match (done, expected) {
            (Ok(done), Ok(())) => assert_eq!(done.tags, [named.unwrap_or("v1")]),
            (Err(Refused::Protected(told)), Err(expected)) => assert_eq!(told, expected),
            (done, expected) => panic!("{done:?}, and not {expected:?}"),
        }
    };
    check(&releaser(), None, false, Ok(()));
    check(&releaser(), None, true, Err("you may not overwrite the tag v1 of a"));
    check(&releaser(), Some("latest"), true, Ok(()));
    let keeper = caller([rule(false, &[Right::CreateTag], "**", Some("v*")), rule(true, &Right::ALL, "**", None)]);
    check(&keeper, None, false, Err("you may not create the tag v1 of a"));
    check(&keeper, None, true, Ok(()));
    check(&keeper, Some("old"), false, Ok(()));
}

/// SPEC AE6: the image of a list that comes back to the list changes what the tag gives.
#[test]
fn a_list_gets_its_image_back_from_those_who_may_change_its_tag() {
    for (caller, may) in [(Arc::new(Caller::anybody()), true), (releaser(), false)] {
        let mut registry = configured(|config| {
            config.undelete_within = Some(Duration::from_secs(3600));
            config.assemble = vec![Pattern::new("**")];
        });
        registry.push_image("a", "v1", AMD64, "one");
        let arm = registry.push_image("a", "v1", ARM64, "two");
        registry.delete(manifest("a", arm.digest())).expect(202);
        let named = |registry: &mut InMemory| {
            let tag = registry.get(manifest("a", "v1")).expect(200);
            tag.header("Docker-Content-Digest").expect("a digest").to_owned()
        };
        let without = named(&mut registry);
        let (name, reference) = ("a".parse().expect("a name"), arm.digest().to_string().parse().expect("a digest"));
        let ambient = registry.memory.ambient();
        let step = registry.registry.undelete_by(caller, name, reference, Undeleting::default(), ambient);
        let done = registry.memory.run(step, &RequestBody::default());
        assert_eq!(matches!(done, Err(Refused::Protected(_))), !may, "{done:?}");
        assert_eq!(named(&mut registry) == without, !may);
        registry.get(manifest("a", arm.digest())).expect(if may { 200 } else { 404 });
    }
}

/// SPEC AE6: a push to a tag and an undelete of it, in every order of their effects: one makes it, the other would change
/// it.
#[test]
fn of_a_push_and_an_undelete_by_who_may_only_make_the_tag_one_does() {
    let (mut pushed, mut undeleted) = (0, 0);
    for switch in 0..30 {
        let mut registry = deleted_tag();
        let image = Manifest::image(AMD64, "two");
        image.blobs().iter().for_each(|blob| drop(registry.push_blob("a", blob.clone())));
        let mut step = undelete(&mut registry, &releaser(), Undeleting { force: true, named: None });
        for _ in 0..switch {
            if !matches!(step, Step::Respond(_)) {
                step = registry.memory.perform(step, &RequestBody::default());
            }
        }
        let status = call(&mut registry, &releaser(), &push(&image, "a", "v1")).response.status;
        let done = registry.memory.run(step, &RequestBody::default());
        match (status, &done) {
            (201, Err(Refused::Protected(_))) => pushed += 1,
            (403, Ok(_)) => undeleted += 1,
            _ => panic!("after {switch} effects: {status} {done:?}"),
        }
    }
    assert!(pushed > 1 && undeleted > 1, "{pushed} {undeleted}");
}

fn drive(registry: &mut InMemory, mut step: Step, call: &Call) -> Step {
    while !matches!(step, Step::Respond(_)) {
        step = registry.memory.perform(step, &call.body);
    }
    step
}

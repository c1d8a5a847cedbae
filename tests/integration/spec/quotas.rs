//! How much a repository may hold, and a caller bring.

use std::sync::Arc;
use std::time::Duration;

use orlop_conformance::image::{AMD64, Manifest, sha256};
use orlop_conformance::system::{InMemory, System, blob, manifest, patch, post, put, uploads};
use orlop_core::config::{Pattern, Quota};
use orlop_core::event::{Event, Exceeded, Happening, Listener};
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;
use orlop_core::mirror::Mirror;
use orlop_core::{Body, Caller, Config};

use crate::configured;

/// SPEC E6, K17: 403 DENIED, with how much is there and how much would come.
#[test]
fn a_repository_holds_no_more_than_its_quota() {
    let quota =
        |pattern: &str, bytes| Quota { repositories: [Pattern::new(pattern)].into(), bytes, ..Quota::default() };
    let mut registry = configured(|config| config.quotas = [quota("small/*", 100), quota("**", 100_000)].into());
    registry.push_blob("small/a", "x".repeat(60));
    // What is here already brings nothing, however it comes.
    let again = post(format!("{}?digest={}", uploads("small/a"), sha256("x".repeat(60)))).body("x".repeat(60));
    registry.call(again).expect(201);
    let session = registry.open("small/a");
    registry.call(put(format!("{session}?digest={}", sha256("x".repeat(60)))).body("x".repeat(60))).expect(201);
    registry.post(format!("{}?mount={}", uploads("small/a"), sha256("x".repeat(60)))).expect(201);
    let big = "y".repeat(41);
    let pushed = registry.call(post(format!("{}?digest={}", uploads("small/a"), sha256(&big))).body(big.clone()));
    let pushed = pushed.refused(403, "DENIED");
    assert!(
        pushed.to_string().contains(
            "the quota of small/a is 100 bytes; its blobs, manifests and open uploads have 60, and this needs 41 more"
        ),
        "{pushed}"
    );
    registry.get(blob("small/a", sha256(&big))).expect(404);
    // By chunks, and by a mount.
    let session = registry.open("small/a");
    registry.call(patch(&session).body(big.clone())).refused(403, "DENIED");
    registry.call(patch(&session).body("y".repeat(40))).expect(202);
    registry.call(put(format!("{session}?digest={}", sha256(&big))).body("y")).refused(403, "DENIED");
    registry.get(&session).expect(204).with("Range", "0-39");
    // What open uploads have received counts.
    registry.post(uploads("small/a")).refused(403, "DENIED");
    registry.delete(&session).expect(204);
    // They count once, also when the upload is finished.
    let session = registry.open("small/c");
    registry.call(patch(&session).body("y".repeat(60))).expect(202);
    registry.call(put(format!("{session}?digest={}", sha256("y".repeat(100)))).body("y".repeat(40))).expect(201);
    registry.push_blob("other", big.clone());
    let mount = post(format!("{}?mount={}&from=other", uploads("small/a"), sha256(&big)));
    registry.call(mount).refused(403, "DENIED");
    registry.push_blob("small/b", big);
    registry.push_blob("small/a", "z".repeat(40));
    registry.post(uploads("small/a")).refused(403, "DENIED");
    let image = Manifest::image(AMD64, "layer");
    registry.put_manifest("small/a", "v1", &image).refused(400, "MANIFEST_BLOB_UNKNOWN");
    registry.push("large", "v1", &image);
    registry.get(manifest("large", "v1")).expect(200);
}

/// A body that does not say how long it is gets no more than one that does.
#[test]
fn a_body_of_unknown_length_ends_where_the_quota_does() {
    let quota = Quota { repositories: [Pattern::new("**")].into(), bytes: 100, ..Quota::default() };
    let mut registry = configured(|config| config.quotas = [quota].into());
    registry.push_blob("a", "x".repeat(60));
    let session = registry.open("a");
    let long = "y".repeat(41);
    let refused = registry.call(patch(&session).body(long.clone()).chunked()).refused(403, "DENIED");
    assert!(refused.to_string().contains("have 60, and this needs more than is left"), "{refused}");
    registry.get(&session).expect(204).with("Range", "0-0");
    let posted = post(format!("{}?digest={}", uploads("a"), sha256(&long))).body(long.clone()).chunked();
    registry.call(posted).refused(403, "DENIED");
    let finished = put(format!("{session}?digest={}", sha256(&long))).body(long).chunked();
    registry.call(finished).refused(403, "DENIED");
    registry.call(patch(&session).body("y".repeat(40)).chunked()).expect(202).with("Range", "0-39");
    // What the repository holds already brings nothing, however long it is.
    let again = post(format!("{}?digest={}", uploads("a"), sha256("x".repeat(60)))).body("x".repeat(60)).chunked();
    registry.call(again).expect(201);
}

/// SPEC E9: what is too large wherever it comes is 413, also where the quota ends with the limit.
#[test]
fn a_blob_over_the_limit_is_too_large_whatever_the_quota() {
    let quota = Quota { repositories: [Pattern::new("**")].into(), bytes: 10, ..Quota::default() };
    let mut registry = configured(|config| (config.quotas, config.blob_limit) = ([quota].into(), 10));
    let large = "x".repeat(11);
    let target = format!("{}?digest={}", uploads("a"), sha256(&large));
    registry.call(post(target).body(large.clone()).chunked()).refused(413, "SIZE_INVALID");
    let session = registry.open("a");
    registry.call(patch(&session).body(large).chunked()).refused(413, "SIZE_INVALID");
}

#[test]
fn a_caller_brings_no_larger_blob_than_it_may() {
    let mut registry = configured(|_| {});
    let caller = Caller { blob_limit: 10, ..Caller::anybody() };
    let target = format!("{}?digest={}", uploads("a"), sha256("x".repeat(11)));
    let posted = post(target).body("x".repeat(11)).chunked();
    let ambient = registry.memory.ambient();
    let step = registry.registry.call_of(caller.into(), Arc::new(posted.request.into()), ambient);
    let response = registry.memory.run(step, &posted.body);
    assert_eq!(response.status, 413);
    assert!(matches!(response.body, Body::Bytes(_)));
    assert!(registry.memory.objects.is_empty());
}

/// Several quotas of a configuration.
fn held_to(quotas: impl Into<Vec<Quota>>) -> InMemory {
    let quotas = quotas.into();
    configured(|config| config.quotas = quotas)
}

fn together(pattern: &str, bytes: u64) -> Quota {
    let repositories = [Pattern::new(pattern)].into();
    Quota { name: "team".into(), repositories, together: true, bytes, ..Quota::default() }
}

/// SPEC Z1: what any of them has counts, whoever pushes to which, and what goes from one is free for the others.
#[test]
fn repositories_share_a_quota_for_all_of_them_together() {
    let mut registry = held_to([together("team/**", 100)]);
    registry.push_blob("team/a", "x".repeat(60));
    registry.push_blob("team/b/c", "y".repeat(30));
    registry.push_blob("teams", "z".repeat(1000));
    let large = "w".repeat(11);
    let pushed = |repository: &str| {
        post(format!("{}?digest={}", uploads(repository), sha256("w".repeat(11)))).body("w".repeat(11))
    };
    for repository in ["team/a", "team/b/c", "team/new"] {
        let refused = registry.call(pushed(repository)).refused(403, "DENIED").to_string();
        let told = "the quota team is 100 bytes for all its repositories together; their blobs, manifests and open \
                    uploads have 90, and this needs 11 more";
        assert!(refused.contains(told), "{refused}");
    }
    // Open uploads count, and so do mounts: each repository that has a blob counts it.
    let session = registry.open("team/d");
    registry.call(patch(&session).body("w".repeat(10))).expect(202);
    registry.post(uploads("team/a")).refused(403, "DENIED");
    registry.delete(&session).expect(204);
    let mount = post(format!("{}?mount={}&from=team/b/c", uploads("team/new"), sha256("y".repeat(30))));
    registry.call(mount.clone()).refused(403, "DENIED");
    registry.delete(blob("team/a", sha256("x".repeat(60)))).expect(202);
    registry.call(mount).expect(201);
    registry.call(pushed("team/new")).expect(201);
    registry.push_blob("other", large);
}

/// SPEC Z1: patterns that overlap count a repository once, and names without a star are looked up.
#[test]
fn a_repository_counts_once_for_each_quota() {
    let patterns = ["a", "a/**", "a/b*", "lib/*-dev", "lib/x"].map(Pattern::new).into();
    let mut registry = held_to([Quota { repositories: patterns, ..together("", 50) }]);
    for (repository, bytes) in [("a", 10), ("a/b/c", 10), ("a/b", 10), ("lib/y-dev", 10), ("lib/y", 90), ("ab", 90)] {
        registry.push_blob(repository, "x".repeat(bytes));
    }
    let ten = post(format!("{}?digest={}", uploads("lib/x"), sha256("x".repeat(10)))).body("x".repeat(10));
    registry.call(ten).expect(201);
    let one = post(format!("{}?digest={}", uploads("a"), sha256("y"))).body("y");
    registry.call(one).refused(403, "DENIED");
}

/// SPEC Z2: it holds from the first push under other settings on, for what was there before too.
#[test]
fn a_quota_counts_what_was_there_before_it() {
    let mut registry = configured(|_| {});
    registry.push_blob("team/a", "x".repeat(60));
    registry.push_blob("team/b", "y".repeat(30));
    let config = |quota| Config { small_object: 0, quotas: [quota].into(), ..Config::default() };
    let mut restarted = registry.restarted(config(together("team/**", 90)));
    restarted.post(uploads("team/c")).refused(403, "DENIED");
    // The same name for other repositories is another quota.
    let mut restarted = restarted.restarted(config(together("team/a", 90)));
    restarted.push_blob("team/a", "z".repeat(30));
    restarted.post(uploads("team/a")).refused(403, "DENIED");
    restarted.post(uploads("team/b")).expect(202);
}

/// SPEC Z3: of many repositories the sum of a moment ago counts, where that is far from the quota.
#[test]
fn many_repositories_are_added_up_now_and_then() {
    let mut registry = held_to([together("team/**", 10_000)]);
    for number in 0..1100 {
        let key = Key::stored(format!("usage/team/{number}"));
        registry.memory.records.insert(key, "1".into());
    }
    let scans = |registry: &mut InMemory, bytes: usize| {
        let target = format!("{}?digest={}", uploads("team/a"), sha256("x".repeat(bytes)));
        let mut running = registry.begin(post(target).body("x".repeat(bytes)));
        let mut scans = 0;
        while !running.is_over() {
            scans += usize::from(running.before() == "Scan");
            running = running.step(registry);
        }
        scans
    };
    assert!(scans(&mut registry, 10) > 1, "nothing has added them up before");
    assert_eq!(scans(&mut registry, 11), 0);
    registry.advance(Duration::from_secs(11));
    assert!(scans(&mut registry, 12) > 1, "the sum is old");
    // Near the quota they are added up each time.
    registry.push_blob("team/b", "y".repeat(8000));
    registry.advance(Duration::from_secs(11));
    registry.push_blob("team/b", "z".repeat(100));
    registry
        .call(post(format!("{}?digest={}", uploads("team/c"), sha256("w".repeat(800)))).body("w".repeat(800)))
        .refused(403, "DENIED");
    registry.advance(30 * Duration::from_secs(24 * 3600));
    registry.gc();
    assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("group/")), "no sum outlives its use");
}

/// SPEC Z3, Z7: repositories that a quota names one by one are read at once, and their sum is kept as well.
#[test]
fn repositories_that_are_named_are_read_at_once() {
    let reads = |count: usize| {
        let repositories = (0..count).map(|number| Pattern::new(format!("team/{number}"))).collect();
        let mut registry = held_to([Quota { repositories, ..together("", 10_000) }]);
        registry.push_blob("team/1", "x".repeat(40));
        let session = format!("{}?digest={}", uploads("team/0"), sha256("y"));
        let mut running = registry.begin(post(session).body("y"));
        let mut reads = 0;
        while !running.is_over() {
            reads += usize::from(matches!(running.before(), "Get" | "Scan"));
            running = running.step(&mut registry);
        }
        let kept = registry.memory.records.keys().any(|key| key.as_str().starts_with("group/"));
        (reads, kept)
    };
    let (few, kept) = reads(2);
    assert!(!kept);
    assert_eq!(reads(500), (few, false));
    assert!(reads(1001).1, "the sum of more than a thousand is kept");
}

/// SPEC Z4: each quota is held to; the one that leaves the least says so.
#[test]
fn every_quota_of_a_repository_is_held_to() {
    let each = |bytes| Quota { repositories: [Pattern::new("team/*")].into(), bytes, ..Quota::default() };
    let mut registry = held_to([each(50), together("team/**", 80)]);
    registry.push_blob("team/a", "x".repeat(40));
    let refused =
        registry.call(post(format!("{}?digest={}", uploads("team/a"), sha256("y".repeat(11)))).body("y".repeat(11)));
    assert!(refused.refused(403, "DENIED").to_string().contains("the quota of team/a is 50 bytes"));
    registry.push_blob("team/b", "y".repeat(40));
    let refused = registry.post(uploads("team/c")).refused(403, "DENIED");
    assert!(refused.to_string().contains("the quota team is 80 bytes"), "{refused}");
}

/// SPEC A10, Z5: what is over the soft limit is taken, with a warning.
#[test]
fn a_soft_limit_warns_and_refuses_nothing() {
    let repositories = ["a", "b"].map(Pattern::new).into();
    let each = Quota { repositories, soft: 50, bytes: 100, ..Quota::default() };
    let all = Quota { soft: 70, ..together("**", u64::MAX) };
    let mut registry = held_to([each, all]);
    let mut push = |repository: &str, bytes: String| {
        let target = format!("{}?digest={}", uploads(repository), sha256(&bytes));
        registry.call(post(target).body(bytes)).expect(201)
    };
    assert!(push("a", "x".repeat(50)).headers("Warning").is_empty());
    let warning = "299 - \"a has 60 bytes, and the soft limit is 50; a push beyond 100 bytes is refused\"";
    assert_eq!(push("a", "y".repeat(10)).headers("Warning"), [warning]);
    assert!(push("b", "x".repeat(10)).headers("Warning").is_empty());
    let both = push("a", "z".repeat(20));
    let warnings = both.headers("Warning");
    assert_eq!(warnings.len(), 2, "{both}");
    assert_eq!(warnings[1], "299 - \"the repositories of the quota team have 90 bytes, and the soft limit is 70\"");
    // What is here already brings nothing.
    assert!(push("a", "z".repeat(20)).headers("Warning").is_empty());
    let mount = post(format!("{}?mount={}&from=a", uploads("b"), sha256("z".repeat(20))));
    assert_eq!(registry.call(mount).expect(201).headers("Warning").len(), 1);
    let image = Manifest::image(AMD64, "layer");
    image.blobs().iter().for_each(|blob| drop(registry.push_blob("c", blob.clone())));
    assert!(!registry.put_manifest("c", "v1", &image).expect(201).headers("Warning").is_empty());
}

/// SPEC A10: warnings have an end, and what a setting is called cannot break the header field.
#[test]
fn warnings_have_at_most_4096_bytes() {
    let quota = |number: usize| {
        let repositories = [Pattern::new("**"), Pattern::new(format!("\"\\\r\né{number}"))].into();
        Quota { repositories, together: true, soft: 1, ..Quota::default() }
    };
    let mut registry = held_to((0..100).map(quota).collect::<Vec<_>>());
    let target = format!("{}?digest={}", uploads("a"), sha256("xx"));
    let answer = registry.call(post(target).body("xx")).expect(201);
    let warnings = answer.headers("Warning");
    let length: usize = warnings.iter().map(|warning| warning.len()).sum();
    assert!((2000..=4096).contains(&length), "{length} bytes");
    assert!(warnings.iter().all(|warning| warning.bytes().all(|b| (b' '..=b'~').contains(&b))), "{answer}");
    assert!(warnings.iter().all(|warning| warning.matches('"').count() == 2), "{answer}");
}

/// SPEC Z6: who listens is told once, by the commit of the push, until there is less again.
#[test]
fn that_a_soft_limit_is_exceeded_is_told_once() {
    let quota = Quota { soft: 50, ..together("**", 100) };
    let mut registry = configured(|config| {
        config.quotas = [quota].into();
        let repositories = [Pattern::new("**")].into();
        config.listeners =
            [Listener { name: "ops".into(), happenings: [Happening::Quota].into(), repositories }].into();
    });
    let told = |registry: &mut InMemory| -> Vec<Event> {
        let ambient = registry.memory.ambient();
        let step = registry.registry.queued("ops".into(), ambient);
        let queued = registry.memory.run(step, &RequestBody::default()).expect("no fault");
        let step = registry.registry.told(queued.iter().map(|(key, _)| key.clone()).collect(), ambient);
        registry.memory.run(step, &RequestBody::default()).expect("no fault");
        queued.into_iter().filter_map(|(_, event)| event).collect()
    };
    registry.push_blob("a", "x".repeat(50));
    assert_eq!(told(&mut registry), []);
    registry.push_blob("b", "y".repeat(10));
    let events = told(&mut registry);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].happening, events[0].repository.as_str()), (Happening::Quota, "b"));
    let exceeded = Exceeded { name: "team".into(), together: true, bytes: 60, soft: 50, limit: Some(100) };
    assert_eq!(events[0].quota, Some(exceeded));
    registry.push_blob("a", "y".repeat(10));
    assert_eq!(told(&mut registry), [], "it was told");
    // A push that finds less forgets it, and so does garbage collection.
    for forgotten in [false, true] {
        registry.delete(blob("a", sha256("x".repeat(50)))).expect(202);
        match forgotten {
            true => drop(registry.gc()),
            false => drop(registry.push_blob("c", "z")),
        }
        assert!(!registry.memory.records.keys().any(|key| key.as_str().starts_with("over/")));
        registry.push_blob("a", "x".repeat(50));
        assert_eq!(told(&mut registry).len(), 1);
    }
}

/// SPEC Z7: a push costs the same number of effects and records in a repository of ten and of a hundred thousand blobs.
#[test]
fn a_push_under_a_quota_costs_the_same_however_much_is_there() {
    let each = Quota { repositories: [Pattern::new("**")].into(), soft: 1 << 39, bytes: 1 << 40, ..Quota::default() };
    let cost = |blobs: usize| {
        let mut registry = held_to([each.clone(), together("**", 1 << 40)]);
        registry.push_blob("a", "first");
        let like = ["blob/", "holder/", "link/"].map(|family| {
            let mut records = registry.memory.records.iter();
            records
                .find(|(key, _)| key.as_str().starts_with(family))
                .map(|(_, value)| value.clone())
                .unwrap_or_default()
        });
        for number in 0..blobs {
            let digest = format!("sha256:{number:064x}");
            let keys = [format!("blob/{digest}"), format!("holder/{digest}/a"), format!("link/a@{digest}")];
            registry.memory.records.extend(keys.map(Key::stored).into_iter().zip(like.clone()));
        }
        let usage = Key::stored("usage/a");
        registry.memory.records.insert(usage, (5 * (blobs + 1)).to_string().into());
        let (mut effects, mut read) = (Vec::new(), 0);
        let bytes = "a new layer";
        let target = format!("{}?digest={}", uploads("a"), sha256(bytes));
        let mut running = registry.begin(post(target).body(bytes));
        while !running.is_over() {
            effects.push(running.before());
            read += running.reads(&registry);
            running = running.step(&mut registry);
        }
        (effects, read)
    };
    let (few, many) = (cost(10), cost(100_000));
    assert_eq!(few, many);
    println!("a push under two quotas: {} effects, {} records read", few.0.len(), few.1);
}

/// SPEC Z9: what says how long it is is refused before a byte of it is read.
#[test]
fn a_body_that_is_too_long_is_not_read() {
    let mut registry = held_to([together("team/**", 100)]);
    registry.push_blob("team/a", "x".repeat(60));
    let session = registry.open("team/b");
    let (large, digest) = ("y".repeat(41), sha256("y".repeat(41)));
    let ranged = patch(&session).header("Content-Range", "0-40").body(large.clone()).chunked();
    for call in [
        post(format!("{}?digest={digest}", uploads("team/b"))).body(large.clone()),
        patch(&session).body(large.clone()),
        ranged,
        put(format!("{session}?digest={digest}")).body(large.clone()),
    ] {
        let mut running = registry.begin(call);
        while !running.is_over() {
            assert_ne!(running.before(), "Receive");
            running = running.step(&mut registry);
        }
        running.end(&mut registry).refused(403, "DENIED");
    }
    assert_eq!(registry.memory.objects.len(), 1);
}

/// SPEC Z1, V13: what a mirror has fetched leaves no less for those who push.
#[test]
fn repositories_of_mirrors_count_to_no_quota() {
    let mut registry = configured(|config| {
        config.quotas = [together("**", 100)].into();
        config.mirrors = [Mirror { prefix: "hub/".into(), ..Mirror::default() }].into();
    });
    registry.memory.records.insert(Key::stored("usage/hub/library/large"), "1000000".into());
    registry.push_blob("a", "x".repeat(100));
    registry.post(uploads("b")).refused(403, "DENIED");
}

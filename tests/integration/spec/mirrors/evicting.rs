//! What a mirror loses when it has too much (SPEC V19).

use super::administering::let_go;
use super::*;

/// Runs an eviction: how many blobs and bytes went.
fn evict(registry: &mut InMemory) -> (u64, u64) {
    let step = registry.registry.evict(registry.memory.ambient());
    let eviction = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    (eviction.blobs, eviction.bytes)
}

/// Layers of 100 bytes in a repository each of the upstream.
fn layers(registry: &mut InMemory, count: usize) -> Vec<(String, String)> {
    let push = |number: usize| {
        let name = format!("app{number}");
        let digest = at(registry, "hub", |hub| hub.push_blob(&name, format!("{number:0100}")));
        (format!("hub/{name}"), digest)
    };
    (0..count).map(push).collect()
}

fn cached(registry: &mut InMemory, (name, digest): &(String, String)) -> String {
    let answer = registry.get(blob(name, digest)).expect(200);
    answer.header("X-Cache").expect("of a mirror").to_owned()
}

/// SPEC V19.
#[test]
fn the_blobs_that_were_not_pulled_for_longest_are_evicted() {
    let mut registry = mirroring(vec![Mirror { max: Some(1000), ..hub() }]);
    let layers = layers(&mut registry, 12);
    for layer in &layers[..10] {
        assert_eq!(cached(&mut registry, layer), "MISS");
        registry.advance(2 * HOUR);
    }
    assert_eq!(evict(&mut registry), (0, 0), "it has as much as it may");
    // The oldest two are pulled again.
    for layer in &layers[..2] {
        assert_eq!(cached(&mut registry, layer), "HIT");
        registry.advance(2 * HOUR);
    }
    for layer in &layers[10..] {
        assert_eq!(cached(&mut registry, layer), "MISS");
    }
    // So much as is too much, and a little more.
    assert_eq!(evict(&mut registry), (3, 300));
    assert_eq!(evict(&mut registry), (0, 0));
    assert_eq!(registry.memory.objects.len(), 9, "the bytes are gone at once");
    for layer in layers[..2].iter().chain(&layers[5..]) {
        assert_eq!(cached(&mut registry, layer), "HIT");
    }
    for layer in &layers[2..5] {
        assert_eq!(cached(&mut registry, layer), "MISS");
    }
    let written = registry.memory.records.keys().filter(|key| key.as_str().starts_with("pulled/")).count();
    assert_eq!(written, 7, "none of blobs that were just fetched or are gone");
}

/// SPEC V19: however often it is pulled.
#[test]
fn that_a_blob_is_pulled_is_written_down_once_an_hour() {
    let mut registry = mirroring(vec![hub()]);
    let layer = layers(&mut registry, 1).remove(0);
    cached(&mut registry, &layer);
    let pulled = |registry: &mut InMemory| -> Vec<_> {
        registry
            .memory
            .records
            .iter()
            .filter(|(key, _)| key.as_str().starts_with("pulled/"))
            .map(|(_, value)| value.clone())
            .collect()
    };
    registry.advance(HOUR - SECOND);
    cached(&mut registry, &layer);
    assert_eq!(pulled(&mut registry), [""; 0]);
    registry.advance(SECOND);
    registry.head(blob(&layer.0, &layer.1)).expect(200);
    assert_eq!(pulled(&mut registry), [""; 0], "HEAD is no pull");
    cached(&mut registry, &layer);
    let first = pulled(&mut registry);
    assert_eq!(first.len(), 1);
    registry.advance(HOUR - SECOND);
    cached(&mut registry, &layer);
    assert_eq!(pulled(&mut registry), first);
    registry.advance(SECOND);
    cached(&mut registry, &layer);
    assert_ne!(pulled(&mut registry), first);
    registry.call(delete(blob(&layer.0, &layer.1))).expect(202);
    assert_eq!(pulled(&mut registry), [""; 0]);
}

/// SPEC V19: neither what others hold nor what belongs to another mirror.
#[test]
fn an_eviction_takes_nothing_but_what_the_mirror_alone_has() {
    let deeper = Mirror { prefix: "hub/deep/".into(), ..hub() };
    let mut registry = mirroring(vec![Mirror { max: Some(0), ..hub() }, deeper]);
    let all = layers(&mut registry, 3);
    let deep = ("hub/deep/app1".to_owned(), all[1].1.clone());
    let own = registry.push_image("own", "v1", AMD64, "own");
    for layer in [&all[0], &deep, &all[2]] {
        cached(&mut registry, layer);
    }
    registry.call(post(format!("{}?mount={}&from=hub/app2", uploads("own"), all[2].1))).expect(201);
    registry.advance(DAY);
    assert_eq!(evict(&mut registry), (2, 200));
    assert_eq!(registry.get(blob("own", &all[2].1)).expect(200).body().len(), 100);
    assert_eq!(cached(&mut registry, &deep), "HIT");
    pull(&mut registry, "own", "v1", &own);
    assert_eq!(cached(&mut registry, &all[0]), "MISS");
}

/// SPEC V19: one that is pulled between the two looks stays.
#[test]
fn what_is_pulled_while_others_are_evicted_stays() {
    let mut registry = mirroring(vec![Mirror { max: Some(100), ..hub() }]);
    let all = layers(&mut registry, 2);
    cached(&mut registry, &all[0]);
    registry.advance(2 * HOUR);
    cached(&mut registry, &all[1]);
    registry.advance(2 * HOUR);
    let mut step = registry.registry.evict(registry.memory.ambient());
    while step.name() != "Commit" {
        step = registry.memory.perform(step, &RequestBody::default());
    }
    assert_eq!(cached(&mut registry, &all[0]), "HIT");
    let eviction = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
    assert!(eviction.blobs <= 1, "{eviction:?}");
    assert_eq!(cached(&mut registry, &all[0]), "HIT");
}

/// A registry in which the mirror is offline or not, with room for nothing.
fn without_room(registry: &InMemory, offline: bool) -> InMemory {
    let mirrors = vec![Mirror { offline, max: Some(0), ..hub() }];
    registry.restarted(Config { small_object: 0, mirrors, ..Config::default() })
}

/// SPEC V18: a client does not push the blobs that are there already.
#[test]
fn what_a_manifest_relies_on_that_is_pushed_offline_is_not_evicted() {
    let mut fetched = without_room(&mirroring(Vec::new()), false);
    let image = push_image(&mut fetched, "app", "v1", "layer");
    let other = push_image(&mut fetched, "app", "v2", "other");
    let inner = Manifest::index(&[&image]);
    at(&mut fetched, "hub", |hub| hub.put_manifest("app", "inner", &inner).expect(201));
    pull(&mut fetched, "hub/app", "v1", &image);
    pull(&mut fetched, "hub/app", "v2", &other);
    fetched.get(manifest("hub/app", "inner")).expect(200);
    // Another manifest with the same blobs, and one that has the image by way of two indexes.
    let changed = image.clone().field("annotations", serde_json::json!({ "changed": "here" }));
    for own in [changed, Manifest::index(&[&inner])] {
        let mut plain = without_room(&fetched, true);
        plain.put_manifest("hub/app", "own", &own).expect(201);
        let mut registry = without_room(&plain, false);
        registry.advance(DAY);
        assert_eq!(evict(&mut registry).0, 2, "the blobs of the other image");
        let_go(&mut registry, "hub/app", None).expect("of a mirror");
        answers(&mut registry, "hub", unreachable());
        pull(&mut registry, "hub/app", "own", &own);
        for bytes in image.blobs() {
            registry.get(blob("hub/app", sha256(bytes))).expect(200).with("X-Cache", "HIT");
        }
        registry.get(manifest("hub/app", other.digest())).refused(502, "UNAVAILABLE");
        registry.get(blob("hub/app", sha256("other"))).refused(502, "UNAVAILABLE");
        if own.bytes() == Manifest::index(&[&inner]).bytes() {
            pull(&mut registry, "hub/app", &inner.digest(), &inner);
            pull(&mut registry, "hub/app", &image.digest(), &image);
        }
    }
}

/// SPEC V18: what another host takes, on which the mirror is offline, while this one fetches it.
#[test]
fn what_is_pushed_while_it_is_fetched_counts_as_pushed() {
    let mut registry = without_room(&mirroring(Vec::new()), false);
    let image = push_image(&mut registry, "app", "v1", "layer");
    registry.get(manifest("hub/app", image.digest())).expect(200);
    let (name, digest) = ("hub/app".parse().expect("a name"), sha256("layer").parse().expect("a digest"));
    let mut fetch = registry.registry.fetching(name, digest).begin(registry.memory.ambient());
    while fetch.name() != "Commit" {
        fetch = registry.memory.perform(fetch, &RequestBody::default());
    }
    let pulled = registry.begin(get(manifest("hub/app", "v1"))).until("Commit", &mut registry);
    let mut plain = without_room(&registry, true);
    plain.push("hub/app", "own", &image);
    registry.memory = plain.memory;
    registry.memory.run(fetch, &RequestBody::default()).expect("it is here");
    pulled.end(&mut registry).expect(200);
    registry.advance(DAY);
    assert_eq!(evict(&mut registry), (0, 0));
    assert_eq!(let_go(&mut registry, "hub/app", None).expect("of a mirror").gone, 0);
    answers(&mut registry, "hub", unreachable());
    pull(&mut registry, "hub/app", "own", &image);
}

/// SPEC V19: by a trace like those of real registries, layers are hit within 3 % as often as with an exact order.
#[test]
fn hits_are_nearly_as_frequent_as_with_the_exact_order_of_pulls() {
    const LAYERS: usize = 300;
    const ROOM: u64 = 20_000;
    let mut registry = mirroring(vec![Mirror { max: Some(ROOM), ..hub() }]);
    // Popularity by rank to the power of 0.96, sizes over three decades, gaps with bursts.
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as f64 / (1u64 << 53) as f64
    };
    let sizes: Vec<usize> = (0..LAYERS).map(|_| 10f64.powf(1.0 + 2.0 * next()) as usize).collect();
    let weights: Vec<f64> = (1..=LAYERS).map(|rank| (rank as f64).powf(-0.96)).collect();
    let total: f64 = weights.iter().sum();
    let digests: Vec<String> = (0..LAYERS)
        .map(|number| {
            at(&mut registry, "hub", |hub| hub.push_blob("app", format!("{number:0width$}", width = sizes[number])))
        })
        .collect();
    let (mut order, mut held): (Vec<usize>, u64) = (Vec::new(), 0);
    let (mut exact, mut ours) = (0, 0);
    const PULLS: usize = 6000;
    for pull in 0..PULLS {
        let mut place = next() * total;
        let layer = weights.iter().position(|weight| {
            place -= weight;
            place < 0.0
        });
        let layer = layer.unwrap_or(LAYERS - 1);
        match order.iter().position(|known| *known == layer) {
            Some(at) => {
                exact += 1;
                order.remove(at);
            }
            None => held += sizes[layer] as u64,
        }
        order.push(layer);
        while held > ROOM {
            held -= sizes[order.remove(0)] as u64;
        }
        let answer = registry.get(blob("hub/app", &digests[layer])).expect(200);
        ours += usize::from(answer.header("X-Cache") == Some("HIT"));
        registry.advance(SECOND.mul_f64(if next() < 0.9 { 60.0 * next() } else { 900.0 }));
        if pull % 4 == 0 {
            evict(&mut registry);
        }
    }
    let (exact, ours) = (exact as f64 / PULLS as f64, ours as f64 / PULLS as f64);
    assert!((0.3..0.95).contains(&exact), "the trace says something: {exact}");
    assert!(ours > exact - 0.03, "{ours} and {exact}");
}

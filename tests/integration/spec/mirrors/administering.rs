//! What an administrator does with mirrors (SPEC V22).

use orlop_core::registry::LetGo;

use super::*;

/// Brings an image as an administrator does: which blobs are fetched for it.
pub(super) fn bring(registry: &mut InMemory, repository: &str, reference: &str) -> Result<Vec<String>, Error> {
    let (name, reference): (Repository, Reference) = (repository.parse().expect("a name"), reference.parse()?);
    let step = registry.registry.bring(name.clone(), reference, registry.memory.ambient());
    let missing = registry.memory.run(step, &RequestBody::default())?;
    for blob in &missing {
        let step = registry.registry.fetching(name.clone(), *blob).begin(registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default())?;
    }
    Ok(missing.iter().map(ToString::to_string).collect())
}

/// SPEC V22.
#[test]
fn what_an_administrator_fetches_is_there_before_a_client_asks() {
    let mut registry = mirroring(vec![hub()]);
    let images = [(AMD64, "one"), (ARM64, "two")].map(|(platform, layer)| Manifest::image(platform, layer));
    let index = Manifest::index(&[&images[0], &images[1]]);
    let cache = sha256("of a build cache");
    let strange = index.clone().field("manifests", serde_json::json!([descriptor("x/layer", "of a build cache")]));
    at(&mut registry, "hub", |hub| {
        images.iter().for_each(|image| drop(hub.push("app", image.digest(), image)));
        hub.put_manifest("app", "v1", &index).expect(201);
        hub.push_blob("app", "of a build cache");
        hub.put_manifest("app", "cache", &strange).expect(201);
    });
    let mut expected: Vec<_> = images.iter().flat_map(|image| image.blobs().iter().map(sha256)).collect();
    expected.sort();
    assert_eq!(bring(&mut registry, "hub/app", "v1"), Ok(expected));
    assert_eq!(bring(&mut registry, "hub/app", "cache"), Ok(vec![cache.clone()]));
    assert_eq!(bring(&mut registry, "hub/app", "v1"), Ok(vec![]), "all of it is here");
    assert!(matches!(bring(&mut registry, "hub/app", "v2"), Err(Error::ManifestUnknown(_))));
    assert!(matches!(bring(&mut registry, "other", "v1"), Err(Error::RepositoryUnknown(_))));
    answers(&mut registry, "hub", unreachable());
    assert!(matches!(bring(&mut registry, "hub/none", "v1"), Err(Error::UpstreamFailed(_))));
    registry.get(manifest("hub/app", "v1")).expect(200).with("X-Cache", "HIT");
    images.iter().for_each(|image| pull(&mut registry, "hub/app", &image.digest(), image));
    registry.get(blob("hub/app", cache)).expect(200);
}

/// SPEC V22: page by page.
#[test]
fn the_tags_of_the_upstream_can_be_listed() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v0", "layer");
    at(&mut registry, "hub", |hub| {
        (1..2500).for_each(|number| drop(hub.put_manifest("app", format!("v{number}"), &image).expect(201)));
    });
    asked(&mut registry);
    let listed = |registry: &mut InMemory, name: &str| {
        let step = registry.registry.upstream_tags(name.parse().expect("a name"), registry.memory.ambient());
        registry.memory.run(step, &RequestBody::default())
    };
    assert_eq!(listed(&mut registry, "hub/app").expect("a list").len(), 2500);
    assert_eq!(asked(&mut registry).len(), 3);
    assert!(matches!(listed(&mut registry, "hub/none"), Err(Error::RepositoryUnknown(_))));
    assert!(matches!(listed(&mut registry, "own"), Err(Error::RepositoryUnknown(_))));
}

/// SPEC V22.
#[test]
fn an_administrator_sees_what_mirrors_have_and_lets_go_of_it() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    at(&mut registry, "hub", |hub| hub.put_manifest("app", "v2", &image).expect(201));
    pull(&mut registry, "hub/app", "v1", &image);
    pull(&mut registry, "hub/app", "v2", &image);
    let own = registry.push_image("own", "v1", AMD64, "layer");
    let listed = |registry: &mut InMemory| {
        let step = registry.registry.mirrored(registry.memory.ambient());
        let listed = registry.memory.run(step, &RequestBody::default()).expect("no fault");
        listed.into_iter().map(|it| (it.repository, it.tags, it.bytes)).collect::<Vec<_>>()
    };
    let bytes = image.bytes().len() + image.blobs().iter().map(|blob| blob.len()).sum::<usize>();
    assert_eq!(listed(&mut registry), [("hub/app".into(), 2, bytes as u64)]);
    assert_eq!(let_go(&mut registry, "hub/app", Some("v1")), gone(1));
    assert_eq!(let_go(&mut registry, "hub/app", Some("v1")), gone(0));
    let layer = sha256("layer");
    assert_eq!(let_go(&mut registry, "hub/app", Some(&layer)), gone(1));
    assert_eq!(listed(&mut registry), [("hub/app".into(), 1, (bytes - 5) as u64)]);
    assert!(matches!(let_go(&mut registry, "own", None), Err(Error::RepositoryUnknown(_))), "it is no mirror's");
    assert_eq!(let_go(&mut registry, "hub/app", None), gone(2));
    assert_eq!(listed(&mut registry), [("hub/app".into(), 0, 0)]);
    assert_eq!(registry.memory.objects.len(), 2, "those of the other repository");
    pull(&mut registry, "own", "v1", &own);
    pull(&mut registry, "hub/app", "v2", &image);
}

pub(super) fn let_go(registry: &mut InMemory, name: &str, reference: Option<&str>) -> Result<LetGo, Error> {
    let reference = reference.map(|reference| reference.parse().expect("a reference"));
    let step = registry.registry.let_go_of(name.parse().expect("a name"), reference, registry.memory.ambient());
    registry.memory.run(step, &RequestBody::default())
}

fn gone(gone: u64) -> Result<LetGo, Error> {
    Ok(LetGo { gone, pushed: 0 })
}

/// SPEC V18, V22.
#[test]
fn what_was_pushed_before_a_mirror_was_laid_over_it_is_not_let_go_of() {
    let mut registry = crate::registry();
    let pushed = registry.push_image("hub/app", "pushed", AMD64, "pushed");
    let upstreams = mirroring(vec![hub()]).memory.upstreams;
    registry = registry.restarted(Config { small_object: 0, mirrors: vec![hub()], ..Config::default() });
    registry.memory.upstreams = upstreams;
    let image = push_image(&mut registry, "app", "v1", "layer");
    // The upstream has the other one too: that does not make it any less pushed.
    push_image(&mut registry, "app", "v2", "pushed");
    pull(&mut registry, "hub/app", "v1", &image);
    pull(&mut registry, "hub/app", "v2", &pushed);
    for reference in ["pushed".to_owned(), pushed.digest(), sha256("pushed")] {
        assert_eq!(let_go(&mut registry, "hub/app", Some(&reference)), Ok(LetGo { gone: 0, pushed: 1 }));
    }
    assert_eq!(let_go(&mut registry, "hub/app", Some("v2")), gone(1));
    // A manifest and two blobs of each, and the list that the registry has made of what was pushed.
    assert_eq!(let_go(&mut registry, "hub/app", None), Ok(LetGo { gone: 3, pushed: 4 }));
    answers(&mut registry, "hub", unreachable());
    pull(&mut registry, "hub/app", "pushed", &pushed);
    registry.get(manifest("hub/app", image.digest())).refused(502, "UNAVAILABLE");
    // A push to what was a mirror's makes a manifest one that was pushed.
    answers(&mut registry, "hub", None);
    pull(&mut registry, "hub/app", "v1", &image);
    let mut plain = registry.restarted(Config { small_object: 0, ..Config::default() });
    plain.put_manifest("hub/app", "own", &image).expect(201);
    let mut registry = plain.restarted(Config { small_object: 0, mirrors: vec![hub()], ..Config::default() });
    assert_eq!(let_go(&mut registry, "hub/app", Some(&image.digest())), Ok(LetGo { gone: 0, pushed: 1 }));
}

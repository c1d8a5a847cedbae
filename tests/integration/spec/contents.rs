//! What a repository has that no tag leads to, as an export asks for it (SPEC Y40).

use orlop_conformance::image::{AMD64, ARM64, Manifest};
use orlop_conformance::system::{InMemory, System, delete, manifest};
use orlop_core::Step;
use orlop_core::memory::RequestBody;

use crate::registry;

/// All of them, by all pages.
fn loose(registry: &mut InMemory, name: &str) -> Vec<String> {
    let (mut digests, mut after) = (Vec::new(), None);
    loop {
        let name = name.parse().expect("a name");
        let step: Step<_> = registry.registry.loose(name, after, registry.memory.ambient());
        let page = registry.memory.run(step, &RequestBody::default()).expect("the storage works");
        digests.extend(page.digests.iter().map(ToString::to_string));
        match page.next {
            Some(next) => after = Some(next),
            None => return digests,
        }
    }
}

#[test]
fn what_neither_a_tag_nor_an_index_nor_a_subject_leads_to_is_listed() {
    let mut registry = registry();
    let (tagged, child, alone) =
        (Manifest::image(AMD64, "tagged"), Manifest::image(ARM64, "child"), Manifest::image(AMD64, "alone"));
    registry.push("a", "v1", &tagged);
    registry.push("a", &child.digest(), &child);
    registry.push("a", "all", &Manifest::index(&[&child]));
    registry.push("a", &alone.digest(), &alone);
    let signature = Manifest::artifact("application/vnd.example", "of the one alone").about(&alone);
    registry.push("a", &signature.digest(), &signature);
    let absent = Manifest::image(AMD64, "absent");
    let dangling = Manifest::artifact("application/vnd.example", "of one that is not here").about(&absent);
    registry.push("a", &dangling.digest(), &dangling);
    let mut expected = vec![alone.digest(), dangling.digest()];
    expected.sort();
    assert_eq!(loose(&mut registry, "a"), expected);
    assert_eq!(loose(&mut registry, "b"), Vec::<String>::new());
    registry.call(delete(manifest("a", "v1"))).expect(202);
    assert!(loose(&mut registry, "a").contains(&tagged.digest()), "no tag names it any more");
}

#[test]
fn more_than_a_page_of_them_is_listed() {
    let mut registry = registry();
    let mut expected = Vec::new();
    // A page has a thousand records.
    for number in 0..1003 {
        let image = Manifest::artifact("application/vnd.example", &format!("number {number}"));
        registry.push("a", &image.digest(), &image);
        expected.push(image.digest());
    }
    expected.sort();
    assert_eq!(loose(&mut registry, "a"), expected);
}

#[test]
fn a_record_that_does_not_read_is_passed_by() {
    let mut registry = registry();
    let (one, two) = (Manifest::image(AMD64, "one"), Manifest::image(AMD64, "two"));
    for image in [&one, &two] {
        registry.push("a", &image.digest(), image);
    }
    let wanted = format!("manifest/a@{}", one.digest());
    let key = registry.memory.records.keys().find(|key| key.as_str() == wanted).expect("it is there").clone();
    registry.memory.records.insert(key, "?".into());
    assert_eq!(loose(&mut registry, "a"), [two.digest()]);
}

//! The list of what is damaged, where that is very much (SPEC W).

use orlop_conformance::image::sha256;
use orlop_conformance::system::InMemory;
use orlop_core::DamagedPage;
use orlop_core::keys::Key;
use orlop_core::memory::RequestBody;

use crate::registry;

/// So many blobs are damaged, each of which so many repositories have.
fn with_damage(blobs: usize, repositories: usize) -> InMemory {
    let mut registry = registry();
    for blob in 0..blobs {
        let digest = sha256(blob.to_string());
        let note = r#"{"since":1,"problem":"it has other bytes"}"#;
        registry.memory.records.insert(Key::stored(format!("quarantine/{digest}")), note.into());
        for repository in 0..repositories {
            registry.memory.records.insert(Key::stored(format!("holder/{digest}/r{repository}")), "".into());
        }
    }
    registry
}

fn pages(registry: &mut InMemory) -> Vec<DamagedPage> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let step = registry.registry.damaged(after.clone(), registry.memory.ambient());
        let page = registry.memory.run(step, &RequestBody::default()).expect("the storage does not fail");
        after.clone_from(&page.next);
        pages.push(page);
        if after.is_none() {
            return pages;
        }
    }
}

/// SPEC AF12: each page has a bounded number of entries, and of names in them, and all pages have each of them once.
#[test]
fn a_page_of_damage_is_bounded_and_none_is_left_out() {
    for (blobs, repositories, sizes) in
        [(250, 1, vec![100, 100, 50]), (200, 0, vec![100, 100, 0]), (45, 1000, vec![20, 20, 5]), (20, 1000, vec![20])]
    {
        let mut registry = with_damage(blobs, repositories);
        let pages = pages(&mut registry);
        assert_eq!(pages.iter().map(|page| page.damaged.len()).collect::<Vec<_>>(), sizes);
        let mut found: Vec<&str> = pages.iter().flat_map(|page| &page.damaged).map(|one| one.what.as_str()).collect();
        assert!(pages.iter().flat_map(|page| &page.damaged).all(|one| one.repositories.len() == repositories));
        found.dedup();
        assert_eq!(found.len(), blobs);
    }
}

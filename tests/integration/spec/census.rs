//! What the registry counts of itself, for whoever watches it.

use orlop_conformance::image::AMD64;
use orlop_conformance::system::{System, patch, uploads};
use orlop_core::memory::RequestBody;
use orlop_core::registry::Census;

use crate::registry;

/// Repositories, blobs once each however many repositories hold them, and what open uploads have received.
#[test]
fn everything_is_counted_once() {
    let mut registry = registry();
    let image = registry.push_image("a", "v1", AMD64, "layer");
    let bytes = image.blobs().iter().map(|blob| blob.len() as u64).sum::<u64>() + 4;
    let digest = registry.push_blob("b", "more");
    registry.post(format!("{}?mount={digest}&from=b", uploads("c"))).expect(201);
    for chunks in [["01", "234"], ["5", "6"]] {
        let session = registry.open("d");
        for chunk in chunks {
            registry.call(patch(&session).body(chunk)).expect(202);
        }
    }
    let ambient = registry.memory.ambient();
    let step = registry.registry.census(ambient);
    let census = registry.memory.run(step, &RequestBody::default()).expect("no fault");
    assert_eq!(census, Census { repositories: 3, blobs: 3, bytes, uploads: 2, upload_bytes: 7 });
}

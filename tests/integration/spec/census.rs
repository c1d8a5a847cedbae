//! What the registry counts of itself, for whoever watches it.

use std::time::Duration;

use orlop_conformance::image::AMD64;
use orlop_conformance::system::{System, blob, patch, uploads};
use orlop_core::memory::RequestBody;
use orlop_core::registry::Census;

use crate::configured;

/// Repositories, blobs once each however many repositories hold them, what open uploads have received, and objects that
/// are kept although no blob has them.
#[test]
fn everything_is_counted_once() {
    let mut registry = configured(|config| config.keep_erased = Duration::from_secs(3600));
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
    let gone = registry.push_blob("b", "gone");
    registry.delete(blob("b", gone)).expect(202);
    registry.gc();
    let ambient = registry.memory.ambient();
    let step = registry.registry.census(ambient);
    let census = registry.memory.run(step, &RequestBody::default()).expect("no fault");
    let (released, released_bytes) = (1, 4);
    let expected =
        Census { repositories: 3, blobs: 3, bytes, uploads: 2, upload_bytes: 7, released, released_bytes, damaged: 0 };
    assert_eq!(census, expected);
}

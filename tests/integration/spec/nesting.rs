//! Indexes of indexes: how deep they lie costs nobody anything.

use orlop_conformance::image::{AMD64, Manifest};
use orlop_conformance::system::{System, manifest};

use crate::registry;

/// SPEC U12: what is nested is looked at one level at a time.
#[test]
fn an_index_may_lie_in_a_thousand_others() {
    let mut registry = registry();
    let mut outer = registry.push_image("a", "v0", AMD64, "layer");
    for depth in 1..1000 {
        // Ten times the same, so that whoever followed all of them would never end.
        outer = Manifest::index(&[&outer; 10]).field("annotations", serde_json::json!({ "depth": depth.to_string() }));
        registry.put_manifest("a", "nested", &outer).expect(201);
    }
    registry.get(manifest("a", "nested")).expect(200).with("Docker-Content-Digest", outer.digest());
    registry.delete(manifest("a", "nested")).expect(202);
    registry.delete(manifest("a", outer.digest())).expect(202);
    registry.get(manifest("a", "v0")).expect(200);
}

//! Small bodies, whose bytes are kept among the records.

use orlop_conformance::image::{AMD64, Manifest, OCI_INDEX, sha256};
use orlop_conformance::system::{InMemory, System, blob, delete, get, manifest, patch, post, put, uploads};
use orlop_core::{Body, Config};

/// As most want it: a few bytes make no object.
fn registry() -> InMemory {
    InMemory::new(Config::default())
}

fn bytes_in_records(registry: &InMemory) -> usize {
    registry.memory.records.keys().filter(|key| key.as_str().starts_with("bytes/")).count()
}

/// SPEC C1, C7: whole and in ranges, by however many requests it came.
#[test]
fn a_small_blob_is_served_like_any_other() {
    let mut registry = registry();
    let digest = sha256("0123456789");
    for way in 0..3 {
        let repository = format!("r{way}");
        let session = registry.open(&repository);
        let finish = put(format!("{session}?digest={digest}"));
        match way {
            0 => {
                registry.call(post(format!("{}?digest={digest}", uploads(&repository))).body("0123456789")).expect(201)
            }
            1 => registry.call(finish.body("0123456789")).expect(201),
            _ => {
                registry.call(patch(&session).body("0123456789")).expect(202);
                registry.call(finish).expect(201)
            }
        };
        assert!(registry.memory.objects.is_empty());
        let target = blob(&repository, &digest);
        assert_eq!(registry.get(&target).expect(200).with("Content-Length", 10).body(), b"0123456789");
        registry.head(&target).expect(200).with("Content-Length", 10);
        let part = registry.call(get(&target).header("Range", "bytes=2-4")).expect(206);
        assert_eq!(part.with("Content-Range", "bytes 2-4/10").body(), b"234");
        let parts = registry.call(get(&target).header("Range", "bytes=0-1,8-9")).expect(206);
        let text = String::from_utf8_lossy(parts.body()).into_owned();
        assert!(text.contains("\r\n\r\n01\r\n") && text.contains("\r\n\r\n89\r\n"), "{text}");
    }
    assert_eq!(bytes_in_records(&registry), 1, "the blob is stored once");
}

/// The first chunk may be a record and the others objects.
#[test]
fn a_blob_can_begin_among_the_records() {
    let mut registry = registry();
    let session = registry.open("a");
    let (small, large) = ("small ".to_owned(), "large ".repeat(10_000));
    for chunk in [&small, &large, &small] {
        registry.call(patch(&session).body(chunk.clone())).expect(202);
    }
    let whole = [small.as_str(), &large, &small].concat();
    for digest in [sha256(&whole), orlop_conformance::image::sha512(&whole)] {
        let again = registry.open("b");
        for chunk in [&small, &large, &small] {
            registry.call(patch(&again).body(chunk.clone())).expect(202);
        }
        registry.call(put(format!("{again}?digest={digest}"))).expect(201);
        assert_eq!(registry.get(blob("b", &digest)).expect(200).body(), whole.as_bytes());
        let range = registry.call(get(blob("b", &digest)).header("Range", "bytes=4-8")).expect(206);
        assert_eq!(range.body(), &whole.as_bytes()[4..9], "across the two");
    }
    registry.call(put(format!("{session}?digest={}", sha256("x")))).refused(400, "DIGEST_INVALID");
    assert_eq!(bytes_in_records(&registry), 2, "those of the upload that failed are gone");
}

/// SPEC B7, E4: another algorithm than was announced is computed from the bytes that came, before they are a record.
#[test]
fn a_small_blob_is_verified_by_any_algorithm() {
    let mut registry = registry();
    let session = registry.open("a");
    let digest = orlop_conformance::image::sha512("0123456789");
    registry.call(put(format!("{session}?digest={digest}")).body("0123456789")).expect(201);
    assert_eq!(registry.get(blob("a", &digest)).expect(200).body(), b"0123456789");
}

/// The host is handed the bytes of a small blob, and has nothing to open; of an empty one there are none.
#[test]
fn a_small_blob_is_answered_from_the_records() {
    let mut registry = registry();
    for (content, body) in [("", Body::Empty), ("0123456789", Body::Bytes("0123456789".into()))] {
        let digest = registry.push_blob("a", content);
        let ambient = registry.memory.ambient();
        let step = registry.registry.call(get(blob("a", &digest)).request, ambient);
        assert_eq!(registry.memory.run(step, &"".into()).body, body);
    }
}

/// The configuration of an image may begin there as well: the list of its tag has its platform.
#[test]
fn the_platform_of_an_image_is_read_however_its_config_came() {
    let mut registry = registry();
    let image = Manifest::image(AMD64, "layer");
    let [config, layer] = image.blobs() else { panic!("an image of a config and a layer") };
    registry.push_blob("a", layer.clone());
    let session = registry.open("a");
    for chunk in [config.slice(..10), config.slice(10..)] {
        registry.call(patch(&session).body(chunk)).expect(202);
    }
    registry.call(put(format!("{session}?digest={}", sha256(config)))).expect(201);
    assert_eq!((bytes_in_records(&registry), registry.memory.objects.len()), (2, 1));
    registry.put_manifest("a", "v1", &image).expect(201);
    let list = registry.call(get(manifest("a", "v1")).header("Accept", OCI_INDEX)).expect(200).json();
    assert_eq!(list["manifests"][0]["platform"]["architecture"], "amd64", "{list}");
}

/// SPEC F14: what came before the connection broke is kept there as well.
#[test]
fn a_small_chunk_that_is_cut_off_is_kept() {
    let mut registry = registry();
    let session = registry.open("a");
    registry.call(patch(&session).body("01234").cut()).refused(400, "SIZE_INVALID");
    registry.get(&session).expect(204).with("Range", "0-4");
    registry.call(patch(&session).body("56789")).expect(202);
    registry.call(put(format!("{session}?digest={}", sha256("0123456789")))).expect(201);
}

/// A refused or lost body leaves nothing among the records.
#[test]
fn the_bytes_of_what_is_refused_or_deleted_go() {
    let mut registry = registry();
    registry.call(post(format!("{}?digest={}", uploads("a"), sha256("x"))).body("y")).refused(400, "DIGEST_INVALID");
    let session = registry.open("a");
    registry.call(patch(&session).body("01234")).expect(202);
    registry.delete(&session).expect(204);
    assert_eq!(bytes_in_records(&registry), 0);
    let digest = registry.push_blob("a", "content");
    registry.call(delete(blob("a", &digest))).expect(202);
    registry.gc();
    assert_eq!(bytes_in_records(&registry), 0);
}

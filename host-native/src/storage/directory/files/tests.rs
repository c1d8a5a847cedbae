use std::fs;
use std::time::{Duration, SystemTime};

use orlop_core::digest::Algorithm;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

fn open(directory: &TempDir) -> Files {
    Files::open(directory.path(), 0, &Counters::default()).unwrap()
}

fn object(nonce: u128, index: u32) -> ObjectId {
    ObjectId { nonce: Uuid::from_u128(nonce), index }
}

fn write(files: &Files, object: ObjectId, bytes: &[u8]) {
    let mut file = files.object(&object);
    file.append(&[bytes]).unwrap();
    file.seal().unwrap();
}

async fn read(files: &Files, objects: &[ObjectId]) -> Option<Bytes> {
    files.load(Load { objects: objects.to_vec(), limit: 1 << 20 }).await.unwrap()
}

/// Everything, by pages of `limit`.
async fn all(files: &Files, limit: usize) -> Vec<ObjectId> {
    let mut found: Vec<ObjectId> = Vec::new();
    loop {
        let page = files.inventory(Inventory { after: found.last().copied(), limit }).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return found;
        }
        found.extend(page.iter().map(|stored| stored.object));
    }
}

#[tokio::test]
async fn a_joined_object_is_its_parts_in_order() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let parts = [object(1, 0), object(2, 0), object(3, 0)];
    write(&files, parts[0], b"a");
    write(&files, parts[1], b"bc");
    write(&files, parts[2], b"def");
    for (count, expected) in [(1, "a"), (2, "abc"), (3, "abcdef")] {
        let into = object(9, count);
        let from = parts[..count as usize].to_vec();
        assert!(files.join(Join { from, into }).await.unwrap());
        assert_eq!(read(&files, &[into]).await.unwrap(), expected);
    }
    assert_eq!(all(&files, 3).await[..3], parts, "they stay");
}

#[tokio::test]
async fn an_object_is_joined_whole_or_not_at_all() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, object(1, 0), b"a");
    assert!(!files.join(Join { from: vec![object(1, 0), object(2, 0)], into: object(9, 1) }).await.unwrap());
    assert_eq!(all(&files, 10).await, [object(1, 0)]);
}

#[tokio::test]
async fn an_erased_object_is_gone_and_may_be_erased_again() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, object(1, 0), b"x");
    for _ in 0..2 {
        files.erase(Erase { objects: vec![object(1, 0), object(2, 0)] }).await.unwrap();
        assert!(all(&files, 10).await.is_empty());
    }
}

#[tokio::test]
async fn nothing_is_erased_and_nothing_waits_while_everything_is_kept() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, object(1, 0), b"x");
    let kept = files.keep_all().await;
    files.erase(Erase { objects: vec![object(1, 0)] }).await.unwrap();
    drop(kept);
    assert_eq!(all(&files, 10).await, [object(1, 0)]);
}

#[tokio::test]
async fn the_inventory_lists_everything_once_and_in_order() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let mut expected = Vec::new();
    for number in 0..40_u32 {
        let object = object((u128::from(number) % 7) << 125, 1000 - number);
        write(&files, object, b"x");
        expected.push(object);
    }
    expected.sort();
    // What is none of ours is no object, wherever it lies.
    let nil = Uuid::nil();
    for other in [
        "objects/README".into(),
        format!("objects/{nil}"),
        format!("objects/01/{nil}"),
        format!("objects/00/{nil}.tmp"),
        format!("objects/00/{nil}.0"),
        "objects/00/note".into(),
    ] {
        fs::write(directory.path().join(other), "x").unwrap();
    }
    fs::create_dir(directory.path().join(format!("objects/00/{nil}"))).unwrap();
    for limit in [1, 2, 7, 1000] {
        assert_eq!(all(&files, limit).await, expected, "in pages of {limit}");
    }
}

#[tokio::test]
async fn an_old_object_stays_old_when_it_is_linked() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, object(1, 0), b"abc");
    let day = Duration::from_secs(24 * 3600);
    let path = files.layout.object(&object(1, 0));
    let old = fs::File::options().write(true).open(&path).unwrap();
    old.set_modified(SystemTime::now() - day).unwrap();
    // As a backup does it.
    fs::hard_link(&path, directory.path().join("link")).unwrap();
    let listed = files.inventory(Inventory { after: None, limit: 10 }).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].age > day / 2, "{listed:?}");
    assert_eq!(listed[0].size, 3);
}

#[tokio::test]
async fn an_object_that_is_not_sealed_is_removed_and_one_without_bytes_is_none() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let mut file = files.object(&object(1, 0));
    file.append(&[b"x"]).unwrap();
    drop(file);
    write(&files, object(2, 0), b"");
    assert!(all(&files, 10).await.is_empty());
}

#[tokio::test]
async fn no_object_is_written_into_the_space_that_is_kept_free() {
    let directory = TempDir::new().unwrap();
    write(&open(&directory), object(1, 0), b"x");
    let files = Files::open(directory.path(), u64::MAX, &Counters::default()).unwrap();
    assert!(matches!(files.object(&object(2, 0)).append(&[b"x"]), Err(Fault::Full(_))));
    let join = Join { from: vec![object(1, 0)], into: object(3, 1) };
    assert!(matches!(files.join(join).await, Err(Fault::Full(_))));
    assert_eq!(all(&files, 10).await, [object(1, 0)]);
}

#[tokio::test]
async fn objects_are_measured_and_loaded_within_limits() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, object(1, 0), b"abc");
    write(&files, object(2, 0), b"def");
    let both = vec![object(1, 0), object(2, 0)];
    let meter = Meter::new(Algorithm::Sha512);
    let measured = files.measure(Measure { objects: both.clone(), meter: meter.clone() }, None).await.unwrap().unwrap();
    assert_eq!(measured.digest(), Algorithm::Sha512.digest(b"abcdef"));
    assert_eq!(files.load(Load { objects: both.clone(), limit: 6 }).await.unwrap().unwrap(), "abcdef");
    assert_eq!(files.load(Load { objects: both, limit: 5 }).await.unwrap(), None);
    let gone = vec![object(1, 0), object(3, 0)];
    assert_eq!(files.measure(Measure { objects: gone.clone(), meter }, None).await.unwrap(), None);
    assert_eq!(files.load(Load { objects: gone, limit: 9 }).await.unwrap(), None);
}

use std::fs;
use std::time::{Duration, SystemTime};

use orlop_core::digest::Algorithm;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

fn open(directory: &TempDir) -> Files {
    Files::open(directory.path(), 0, &Counters::default()).expect("the files open")
}

fn part(upload: u128, nonce: u128) -> PartId {
    PartId { upload: Uuid::from_u128(upload), nonce: Uuid::from_u128(nonce) }
}

fn content(algorithm: Algorithm, bytes: &[u8], nonce: u128) -> ContentId {
    ContentId { digest: algorithm.digest(bytes), nonce: Uuid::from_u128(nonce) }
}

fn write(files: &Files, part: PartId, bytes: &[u8]) {
    let mut file = files.part(&part);
    file.append(&[bytes]).unwrap();
    file.seal().unwrap();
}

async fn read(files: &Files, content: ContentId) -> Option<Bytes> {
    files.load(Load { content, limit: 1 << 20 }).await.unwrap()
}

/// Everything, by pages of `limit`.
async fn all(files: &Files, limit: usize) -> Vec<Object> {
    let mut found: Vec<Object> = Vec::new();
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
async fn a_content_is_its_parts_in_order() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let parts = [part(1, 1), part(1, 2), part(1, 3)];
    write(&files, parts[0], b"a");
    write(&files, parts[1], b"bc");
    write(&files, parts[2], b"def");
    for (count, expected) in ["", "a", "abc", "abcdef"].into_iter().enumerate() {
        let content = content(Algorithm::Sha256, expected.as_bytes(), 7);
        let effect = Assemble { parts: parts[..count].into(), content };
        files.assemble(effect.clone()).await.unwrap();
        assert_eq!(read(&files, content).await.unwrap(), expected);
        // The same again is the same.
        files.assemble(effect).await.unwrap();
        assert_eq!(read(&files, content).await.unwrap(), expected);
    }
    assert_eq!(fs::read_dir(directory.path().join("temporary")).unwrap().count(), 0);
    // The parts stay.
    assert_eq!(all(&files, 3).await[..3], parts.map(Object::Part));
}

#[tokio::test]
async fn a_content_is_there_whole_or_not_at_all() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, part(1, 1), b"a");
    for parts in [vec![part(1, 2)], vec![part(1, 1), part(1, 2)]] {
        let content = content(Algorithm::Sha256, b"?", 1);
        assert!(matches!(files.assemble(Assemble { parts, content }).await, Err(Fault::Failed(_))));
        assert_eq!(read(&files, content).await, None);
    }
    assert_eq!(fs::read_dir(directory.path().join("temporary")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_erased_content_is_gone_with_its_directory_and_may_be_erased_again() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let content = content(Algorithm::Sha512, b"", 1);
    files.assemble(Assemble { parts: vec![], content }).await.unwrap();
    for _ in 0..2 {
        files.erase(Erase { target: Object::Content(content) }).await.unwrap();
        assert!(!files.layout.contents(&content.digest).exists());
    }
    files.erase(Erase { target: Object::Part(part(1, 1)) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_one_digest_are_made_while_others_are_erased() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, part(1, 1), b"x");
    let mut running = tokio::task::JoinSet::new();
    for task in 0..8 {
        let files = files.clone();
        running.spawn(async move {
            for turn in 0..50 {
                let content = content(Algorithm::Sha256, b"x", task * 1000 + turn);
                files.assemble(Assemble { parts: vec![part(1, 1)], content }).await.unwrap();
                assert_eq!(read(&files, content).await.unwrap(), "x");
                files.erase(Erase { target: Object::Content(content) }).await.unwrap();
            }
        });
    }
    running.join_all().await;
}

#[tokio::test]
async fn the_inventory_lists_everything_once_and_in_order() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let mut expected = Vec::new();
    for number in 0..40 {
        let part = part((number % 7) << 125, 1000 - number);
        write(&files, part, b"x");
        expected.push(Object::Part(part));
        for algorithm in Algorithm::ALL {
            let content = content(algorithm, &[(number / 2) as u8], number);
            files.assemble(Assemble { parts: vec![], content }).await.unwrap();
            expected.push(Object::Content(content));
        }
    }
    expected.sort();
    // What is none of ours is no object, wherever it lies.
    let hex = Algorithm::Sha256.digest(&[0]).encoded();
    for stray in [
        "uploads/README".into(),
        format!("uploads/{}.{}", Uuid::nil(), Uuid::nil()),
        format!("uploads/0/{}", Uuid::nil()),
        format!("uploads/1/{}.{}", Uuid::nil(), Uuid::nil()),
        format!("uploads/0/{}.{}.tmp", Uuid::nil(), Uuid::nil()),
        "blobs/note".into(),
        "blobs/sha256/note".into(),
        format!("blobs/sha256/{}/note", &hex[..2]),
        format!("blobs/sha256/{}/{hex}/note", &hex[..2]),
    ] {
        fs::write(directory.path().join(stray), "x").unwrap();
    }
    fs::create_dir_all(directory.path().join(format!("blobs/sha256/00/{}", "00".repeat(32)))).unwrap();
    for limit in [1, 2, 7, 1000] {
        assert_eq!(all(&files, limit).await, expected, "in pages of {limit}");
    }
}

#[tokio::test]
async fn a_content_linked_to_an_old_part_is_young() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let part = part(1, 1);
    write(&files, part, b"abc");
    let day = Duration::from_secs(24 * 3600);
    let old = fs::File::options().write(true).open(files.layout.part(&part)).unwrap();
    old.set_modified(SystemTime::now() - day).unwrap();
    let content = content(Algorithm::Sha256, b"abc", 1);
    files.assemble(Assemble { parts: vec![part], content }).await.unwrap();
    let listed = files.inventory(Inventory { after: None, limit: 10 }).await.unwrap();
    assert_eq!(listed.len(), 2);
    for stored in listed {
        assert!(stored.age < day / 2, "{stored:?}");
        assert_eq!(stored.size, 3);
    }
}

#[tokio::test]
async fn opening_removes_what_a_crash_left_half_copied() {
    let directory = TempDir::new().unwrap();
    drop(open(&directory));
    let left = directory.path().join("temporary").join("half");
    fs::write(&left, "x").unwrap();
    open(&directory);
    assert!(!left.exists());
}

#[tokio::test]
async fn a_part_that_is_not_sealed_is_removed_and_one_without_bytes_is_none() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    let mut file = files.part(&part(1, 1));
    file.append(&[b"x"]).unwrap();
    drop(file);
    write(&files, part(1, 2), b"");
    assert!(all(&files, 10).await.is_empty());
}

#[tokio::test]
async fn no_part_is_written_into_the_space_that_is_kept_free() {
    let directory = TempDir::new().unwrap();
    let files = Files::open(directory.path(), u64::MAX, &Counters::default()).unwrap();
    assert!(matches!(files.part(&part(1, 1)).append(&[b"x"]), Err(Fault::Full(_))));
    assert!(all(&files, 10).await.is_empty());
}

#[tokio::test]
async fn a_content_is_measured_and_loaded_within_limits() {
    let directory = TempDir::new().unwrap();
    let files = open(&directory);
    write(&files, part(1, 1), b"abc");
    let there = content(Algorithm::Sha256, b"abc", 1);
    files.assemble(Assemble { parts: vec![part(1, 1)], content: there }).await.unwrap();
    let meter = Meter::new(Algorithm::Sha512);
    let measured = files.measure(Measure { content: there, meter: meter.clone() }).await.unwrap().unwrap();
    assert_eq!(measured.digest(), Algorithm::Sha512.digest(b"abc"));
    assert_eq!(files.load(Load { content: there, limit: 3 }).await.unwrap().unwrap(), "abc");
    assert_eq!(files.load(Load { content: there, limit: 2 }).await.unwrap(), None);
    let gone = content(Algorithm::Sha256, b"abc", 2);
    assert_eq!(files.measure(Measure { content: gone, meter }).await.unwrap(), None);
    assert_eq!(files.load(Load { content: gone, limit: 3 }).await.unwrap(), None);
}

use orlop_core::effect::{Durability, Expect};
use orlop_core::keys::Prefix;
use tempfile::TempDir;

use super::*;

const CACHE: usize = 1 << 20;

fn open(directory: &TempDir) -> Arc<Records> {
    Arc::new(Records::open(directory.path(), CACHE, 0, &Counters::default()).expect("the records open"))
}

fn key(text: &str) -> Key {
    Key::stored(text)
}

/// A commit that puts `text` under each of the keys if `expect` holds.
fn put(keys: &[&str], text: &'static str, expect: Vec<Expect>, durability: Durability) -> Commit {
    let put = keys.iter().map(|name| (key(name), Bytes::from_static(text.as_bytes()))).collect();
    Commit { expect, put, add: Vec::new(), delete: Vec::new(), durability, reclaims: false }
}

fn durable(keys: &[&str], expect: Vec<Expect>) -> Commit {
    put(keys, "value", expect, Durability::Durable)
}

fn there(records: &Records, names: &[&str]) -> Vec<bool> {
    let keys = names.iter().map(|name| key(name)).collect();
    records.look_up(&Get { keys }).expect("records can be read").iter().map(Option::is_some).collect()
}

async fn listed(records: &Arc<Records>, prefix: &str, after: Option<&str>, limit: usize, bytes: usize) -> Vec<String> {
    let scan = Scan { prefix: Prefix::stored(prefix), after: after.map(key), limit, bytes };
    let page = records.scan(scan).await.expect("records can be listed");
    page.into_iter().map(|(key, _)| key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_commit_whose_expectations_fail_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    let value = || Bytes::from_static(b"value");
    let prefix = || Prefix::stored("a/");
    let check = async |expect: Expect, expected: Committed| {
        let name = format!("{expect:?}");
        assert_eq!(records.commit(durable(&["new"], vec![expect])).await, Ok(expected), "{name}");
        let new = there(&records, &["new"]) == [true];
        assert_eq!(new, expected == Committed::Done, "{name}");
        let clean = Commit { delete: vec![key("new")], ..put(&[], "", vec![], Durability::Eventual) };
        records.commit(clean).await.unwrap();
    };
    records.commit(durable(&["a/b"], vec![])).await.unwrap();
    check(Expect::Present(key("a/b")), Committed::Done).await;
    check(Expect::Present(key("a/")), Committed::Conflict).await;
    check(Expect::Absent(key("a/c")), Committed::Done).await;
    check(Expect::Absent(key("a/b")), Committed::Conflict).await;
    check(Expect::Exactly(key("a/b"), value()), Committed::Done).await;
    check(Expect::Exactly(key("a/b"), Bytes::from_static(b"other")), Committed::Conflict).await;
    check(Expect::Exactly(key("a/c"), value()), Committed::Conflict).await;
    check(Expect::NoneUnder(prefix()), Committed::Conflict).await;
    check(Expect::NoneUnder(Prefix::stored("a/b/")), Committed::Done).await;
    check(Expect::NoneUnder(Prefix::stored("b")), Committed::Done).await;
}

#[tokio::test]
async fn of_many_commits_that_want_one_key_exactly_one_is_done() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let records = records.clone();
        running.spawn(async move { records.commit(durable(&["one"], vec![Expect::Absent(key("one"))])).await });
    }
    let outcomes = running.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(Committed::Done)).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(Committed::Conflict)).count(), 299);
}

#[tokio::test]
async fn a_page_ends_at_its_limits_and_its_prefix() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    records.commit(durable(&["a", "b/", "b/1", "b/2", "b/3", "b0"], vec![])).await.unwrap();
    assert_eq!(listed(&records, "b/", None, 10, 1000).await, ["b/", "b/1", "b/2", "b/3"]);
    assert_eq!(listed(&records, "b/", Some("b/1"), 10, 1000).await, ["b/2", "b/3"]);
    assert_eq!(listed(&records, "b/", Some("b/15"), 1, 1000).await, ["b/2"]);
    // Keys that are not under the prefix may still say where to begin.
    assert_eq!(listed(&records, "b/", Some("a"), 1, 1000).await, ["b/"]);
    assert!(listed(&records, "b/", Some("c"), 10, 1000).await.is_empty());
    // Each value has five bytes; one comes even if it is too large.
    assert_eq!(listed(&records, "b/", None, 10, 10).await, ["b/", "b/1"]);
    assert_eq!(listed(&records, "b/", None, 10, 1).await, ["b/"]);
    assert_eq!(listed(&records, "", None, 10, 1000).await.len(), 6);
}

/// What a crash leaves is what a copy of the file holds.
fn crash(directory: &TempDir) -> TempDir {
    let left = TempDir::new().unwrap();
    std::fs::copy(directory.path().join(RECORDS_FILE), left.path().join(RECORDS_FILE)).unwrap();
    left
}

#[tokio::test]
async fn a_durable_commit_survives_a_crash_and_takes_every_earlier_one_with_it() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    records.commit(put(&["eventual"], "", vec![], Durability::Eventual)).await.unwrap();
    assert_eq!(there(&records, &["eventual"]), [true]);
    records.commit(durable(&["durable"], vec![])).await.unwrap();
    let left = crash(&directory);
    assert_eq!(there(&open(&left), &["eventual", "durable"]), [true, true]);
}

#[tokio::test]
async fn an_eventual_commit_becomes_durable_by_itself() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    records.commit(put(&["eventual"], "", vec![], Durability::Eventual)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(there(&open(&crash(&directory)), &["eventual"]), [true]);
}

#[tokio::test]
async fn closing_makes_everything_durable() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    records.commit(put(&["eventual"], "", vec![], Durability::Eventual)).await.unwrap();
    drop(records);
    let records = open(&directory);
    assert_eq!(there(&records, &["eventual"]), [true]);
    assert_eq!(records.count(), Ok(1));
}

#[tokio::test]
async fn the_last_of_the_space_is_for_what_takes_away() {
    let directory = TempDir::new().unwrap();
    open(&directory).commit(durable(&["a"], vec![])).await.unwrap();
    let records = Records::open(directory.path(), CACHE, u64::MAX, &Counters::default()).unwrap();
    assert!(matches!(records.commit(durable(&["b"], vec![])).await, Err(Fault::Full(_))));
    // It may put more than it deletes, such as events for all who listen.
    let delete = Commit { delete: vec![key("a")], reclaims: true, ..durable(&["told/1", "told/2"], vec![]) };
    assert_eq!(records.commit(delete).await, Ok(Committed::Done));
    assert_eq!(there(&records, &["a", "b"]), [false, false]);
}

/// The key that signs tokens is among them.
#[tokio::test]
async fn records_and_their_copies_are_read_by_no_other_user() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    let directory = TempDir::new().unwrap();
    let mode = |directory: &Path| fs::metadata(directory.join(RECORDS_FILE)).unwrap().permissions().mode() & 0o777;
    let records = open(&directory);
    assert_eq!(mode(directory.path()), 0o600);
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    records.copy_to(&copy).unwrap();
    assert_eq!(mode(&copy), 0o600);
    drop(records);
    // As an earlier version has made it, for a group that makes backups.
    fs::set_permissions(directory.path().join(RECORDS_FILE), Permissions::from_mode(0o644)).unwrap();
    open(&directory);
    assert_eq!(mode(directory.path()), 0o640);
}

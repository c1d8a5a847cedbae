use orlop_core::effect::Expect;
use orlop_core::keys::Prefix;
use tempfile::TempDir;

use super::log::LOG_FILE;
use super::*;

fn open(directory: &TempDir) -> Arc<Records> {
    Arc::new(Records::open(directory.path(), &options(), &Counters::default()).expect("the records open"))
}

fn options() -> Options {
    Options { cache: 1 << 20, log: 64 << 10, keep_free: 0, ..Options::default() }
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

/// What a crash leaves is what copies of the files hold.
fn crash(directory: &TempDir) -> TempDir {
    let left = TempDir::new().unwrap();
    for name in [RECORDS_FILE, LOG_FILE] {
        std::fs::copy(directory.path().join(name), left.path().join(name)).unwrap();
    }
    left
}

/// Fails if redb would have to read its whole file to open it.
fn opens_at_once(directory: &TempDir) {
    let mut builder = redb::Database::builder();
    builder.set_repair_callback(|_| panic!("the records are read as a whole"));
    builder.open(directory.path().join(RECORDS_FILE)).unwrap();
}

#[tokio::test]
async fn after_a_crash_between_two_checkpoints_all_is_there_and_nothing_is_read_as_a_whole() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    let value = Bytes::from(vec![b'x'; 10_000]);
    let mut longest = 0;
    for number in 0..40_u32 {
        let mut commit = durable(&[], vec![]);
        commit.put =
            vec![(key(&format!("n{number:02}")), value.clone()), (key("last"), Bytes::from(vec![number as u8]))];
        commit.delete = number.checked_sub(1).map(|before| key(&format!("n{before:02}"))).into_iter().collect();
        records.commit(commit).await.unwrap();
        longest = longest.max(directory.path().join(LOG_FILE).metadata().unwrap().len());
        let left = crash(&directory);
        opens_at_once(&left);
        let found = open(&crash(&directory));
        assert_eq!(found.count(), Ok(2), "after {number}");
        let get = Get { keys: vec![key(&format!("n{number:02}")), key("last")] };
        let values = found.look_up(&get).unwrap();
        assert_eq!(values, [Some(value.clone()), Some(Bytes::from(vec![number as u8]))]);
    }
    assert!(longest < 100_000, "the log was never moved into the records: {longest}");
}

#[tokio::test]
async fn a_log_that_does_not_belong_to_the_records_is_not_applied() {
    let (directory, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    open(&directory).commit(durable(&["a"], vec![])).await.unwrap();
    let records = open(&other);
    records.commit(durable(&["b"], vec![])).await.unwrap();
    std::fs::copy(other.path().join(LOG_FILE), directory.path().join(LOG_FILE)).unwrap();
    assert_eq!(there(&open(&directory), &["a", "b"]), [true, false]);
}

#[tokio::test]
async fn a_copy_of_the_records_takes_what_is_in_the_log_along() {
    let (directory, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let records = open(&directory);
    records.commit(durable(&["a", "b"], vec![])).await.unwrap();
    assert_eq!(records.copy_to(copy.path()), Ok(2));
    assert_eq!(there(&open(&copy), &["a", "b"]), [true, true]);
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
    let (directory, counters) = (TempDir::new().unwrap(), Counters::default());
    let records = Arc::new(Records::open(directory.path(), &options(), &counters).unwrap());
    let eventual = async |name: &str, expected: u64| {
        let before = counters.fsyncs.get();
        records.commit(put(&[name], "", vec![], Durability::Eventual)).await.unwrap();
        assert_eq!(counters.fsyncs.get(), before, "{name} did not wait for the disk");
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(counters.fsyncs.get(), before + expected, "{name}");
        assert_eq!(there(&open(&crash(&directory)), &[name]), [true]);
    };
    // While the writer sleeps, while it has just worked, and after it has been idle for long.
    eventual("first", 1).await;
    records.commit(durable(&["durable"], vec![])).await.unwrap();
    eventual("second", 1).await;
    sleep(Duration::from_millis(1500)).await;
    eventual("third", 1).await;
}

#[tokio::test]
async fn commits_that_are_made_at_once_and_by_the_writer_see_each_other() {
    let directory = TempDir::new().unwrap();
    let records = open(&directory);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..200 {
        let durability = if number % 2 == 0 { Durability::Durable } else { Durability::Eventual };
        let records = records.clone();
        running.spawn(async move {
            let mut commit = put(&[], "", vec![], durability);
            commit.add = vec![(key("sum"), 1)];
            records.commit(commit).await
        });
    }
    assert!(running.join_all().await.iter().all(|outcome| *outcome == Ok(Committed::Done)));
    let get = Get { keys: vec![key("sum")] };
    assert_eq!(records.look_up(&get).unwrap(), [Some(Bytes::from_static(b"200"))]);
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
    let records = {
        let options = Options { keep_free: u64::MAX, ..options() };
        Records::open(directory.path(), &options, &Counters::default()).unwrap()
    };
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

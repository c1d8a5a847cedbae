//! A commit is acknowledged only when a standby has it, also when the wait for that one has ended early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop::Host;
use orlop_core::effect::{Commit, Committed, Durability, Expect, Get};
use orlop_core::keys::Key;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::outcomes::{LONGEST, ask};

fn create(key: &str) -> Commit {
    Commit {
        expect: vec![Expect::Absent(Key::stored(key))],
        put: vec![(Key::stored(key), "1".into())],
        add: vec![],
        delete: vec![],
        durability: Durability::Durable,
        reclaims: false,
    }
}

/// Ends the wait of a commit for its standby, while that hangs: by what is done to the primary, where these backends wait.
async fn acknowledged_only_with_a_standby(end: impl FnOnce(&mut Postgres, &str)) {
    let (mut primary, store) = (Postgres::start(), ObjectServer::start());
    let standby = primary.standby();
    let records = primary.database();
    let name = database_of(&records).to_owned();
    let host = Arc::new(Host::connect(&store.engines(records), &orlop::Options::default()).await.expect("both answer"));
    assert_eq!(ask(&host, create("before")).await, Ok(Committed::Done));
    standby.suspend(true);
    let asked = {
        let host = host.clone();
        tokio::spawn(async move { ask(&host, create("after")).await })
    };
    let waits = format!("FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'SyncRep'");
    let began = Instant::now();
    while primary.ask(&name, &format!("SELECT count(*) {waits}")) != "1" {
        assert!(began.elapsed() < LONGEST, "it does not wait for the standby");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    end(&mut primary, &waits);
    // Longer than it takes to find out on another connection that it was made.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        primary.ask(&name, "SELECT count(*) FROM orlop.record WHERE key = 'after'"),
        "1",
        "the database has it, and its standby has not"
    );
    assert!(!asked.is_finished(), "it is acknowledged although it would be lost with the primary");
    standby.suspend(false);
    assert_eq!(asked.await.expect("it was asked"), Ok(Committed::Done));
    let found = ask(&host, Get { keys: vec![Key::stored("after")] }).await;
    assert_eq!(found, Ok(vec![Some("1".into())]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_commit_whose_wait_for_a_standby_is_cancelled_is_not_acknowledged_before() {
    acknowledged_only_with_a_standby(|primary, waits| {
        primary.ask("postgres", &format!("SELECT pg_cancel_backend(pid) {waits}"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_commit_whose_connection_is_ended_in_that_wait_is_not_acknowledged_before() {
    acknowledged_only_with_a_standby(|primary, waits| {
        primary.ask("postgres", &format!("SELECT pg_terminate_backend(pid) {waits}"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_commit_whose_primary_crashes_in_that_wait_is_not_acknowledged_before() {
    acknowledged_only_with_a_standby(|primary, _| primary.crash()).await;
}

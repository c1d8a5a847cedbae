//! The host on PostgreSQL and S3 passes the contract suite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use orlop::{CacheSettings, Engines, Host};
use orlop_conformance::contract::{Case, stalled, suite};
use orlop_core::digest::Algorithm;
use orlop_core::effect::{Erase, Inventory, Receive};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::step::start;
use uuid::Uuid;

use crate::arriving::arriving;
use crate::engines::{ObjectServer, Postgres};
use crate::outcomes::{LONGEST, ask};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn the_shared_engines_keep_the_contract() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    keep_the_contract(|| store.engines(database.database())).await;
}

/// Each case on empty engines.
pub(crate) async fn keep_the_contract(engines: impl Fn() -> Engines) {
    for Case { name, acts } in suite() {
        let host = Host::connect(&engines(), &orlop::Options::default()).await.expect("both answer");
        for act in &acts {
            let mut body = arriving(&act.body);
            host.run(act.begin(), &mut body).await.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

/// Every act of a case on another host, of which none knows the others.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn several_hosts_keep_the_contract_together() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    for Case { name, acts } in suite() {
        let engines = store.engines(database.database());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = CacheSettings { directory: directory.path().join("cache"), size: 1 << 20 };
        let with_cache = Engines { cache: Some(cache), ..engines.clone() };
        for (place, act) in acts.iter().enumerate() {
            // One of them has a cache.
            let engines = if place % 3 == 0 { &with_cache } else { &engines };
            let host = Host::connect(engines, &orlop::Options::default()).await.expect("both answer");
            let mut body = arriving(&act.body);
            host.run(act.begin(), &mut body).await.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

/// The first of them makes the tables and marks the store; the others come while it does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn hosts_that_start_at_once_on_new_engines_agree() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    for _ in 0..8 {
        let engines = store.engines(database.database());
        let starting = (0..4).map(|_| {
            let engines = engines.clone();
            tokio::spawn(async move { connect(&engines).await })
        });
        for started in futures_util::future::join_all(starting.collect::<Vec<_>>()).await {
            started.expect("no panic").expect("it starts");
        }
    }
}

/// Connects a host. This S3 server sometimes leaves names out of a list while others remove theirs beside them, which a host
/// refuses to start on: then it is started again, as a service manager does.
async fn connect(engines: &Engines) -> Result<(), String> {
    for _ in 0..10 {
        match Host::connect(engines, &orlop::Options::default()).await {
            Err(refused) if refused.to_string().contains("does not list") => {}
            connected => return connected.map(drop).map_err(|refused| refused.to_string()),
        }
    }
    Err("the store does not list what was written".into())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn the_shared_engines_commit_nothing_of_a_call_that_was_held_up() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let options = orlop::Options { call_lifetime: Duration::ZERO, ..orlop::Options::default() };
    let host = Host::connect(&store.engines(database.database()), &options).await.expect("both answer");
    let act = stalled();
    host.run(act.begin(), &mut arriving(&act.body)).await.expect("the stall rule is kept");
}

/// A store lists no uploads among its objects: one that a crash has left open is found by its record.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn an_upload_that_was_left_open_is_listed_and_can_be_erased() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    find_an_upload_that_was_left_open(&store.engines(database.database())).await;
}

/// Leaves an upload open in empty engines, finds it and erases it.
pub(crate) async fn find_an_upload_that_was_left_open(engines: &Engines) {
    let host = Arc::new(Host::connect(engines, &orlop::Options::default()).await.expect("both answer"));
    let object = ObjectId::received_by(Uuid::from_u128(1));
    // More than two parts, of which the second is sent when the third begins; and then nothing for ever.
    let came = stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![7; 1 << 20]))).chain(stream::pending());
    let receiving = tokio::spawn({
        let host = host.clone();
        async move {
            let mut body = orlop::RequestBody::new(axum::body::Body::from_stream(came), Duration::from_secs(600));
            let effect = Receive { object, meter: Meter::new(Algorithm::Sha256), keep: 0, pause: Duration::MAX };
            host.run(start(move |io| async move { io.ask(effect).await }), &mut body).await
        }
    });
    let list = async || ask(&host, Inventory { after: None, limit: 9 }).await.expect("both answer");
    let (mut listed, began) = (list().await, Instant::now());
    while listed.is_empty() {
        assert!(began.elapsed() < LONGEST, "no record says that an upload is open");
        tokio::time::sleep(Duration::from_millis(50)).await;
        listed = list().await;
    }
    assert_eq!(listed.iter().map(|stored| (stored.object, stored.size)).collect::<Vec<_>>(), [(object, 0)]);
    ask(&host, Erase { objects: vec![object] }).await.expect("both answer");
    assert_eq!(list().await, []);
    receiving.abort();
}

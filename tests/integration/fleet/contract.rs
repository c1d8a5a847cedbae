//! The host on PostgreSQL and S3 passes the contract suite.

use orlop::Host;
use orlop_conformance::contract::{Case, stalled, suite};
use std::time::Duration;

use crate::arriving::arriving;
use crate::engines::{ObjectServer, Postgres};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn the_shared_engines_keep_the_contract() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    for Case { name, acts } in suite() {
        let engines = store.engines(database.database());
        let host = Host::connect(&engines, &orlop::Options::default()).await.expect("both answer");
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
        for act in &acts {
            let host = Host::connect(&engines, &orlop::Options::default()).await.expect("both answer");
            let mut body = arriving(&act.body);
            host.run(act.begin(), &mut body).await.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
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

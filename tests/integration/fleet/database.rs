//! What a database is held to: its locks, its plans, what it remembers, and the ways to it.

use orlop::Host;
use orlop_conformance::contract::{Case, suite};
use orlop_core::effect::{Commit, Committed, Durability, Get};
use orlop_core::keys::Key;

use crate::arriving::arriving;
use crate::engines::{ObjectServer, Postgres, database_of};
use crate::outcomes::ask;
use crate::pooler::Pooler;

fn put(key: &str) -> Commit {
    Commit {
        expect: vec![],
        put: vec![(Key::stored(key), "1".into())],
        add: vec![],
        delete: vec![],
        durability: Durability::Durable,
        reclaims: false,
    }
}

/// A server that speaks the protocol and whose locks lock nothing would lose commits without a word.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_database_whose_locks_lock_nothing_is_refused() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    postgres.ask(
        database_of(&engines.records),
        "SET allow_system_table_mods = on; \
         ALTER FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) RENAME TO a_lock_that_locks; \
         CREATE FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) RETURNS void LANGUAGE sql AS ''",
    );
    let refused = Host::connect(&engines, &orlop::Options::default()).await.err().expect("it is refused");
    assert!(refused.contains("had the same advisory lock at once"), "{refused}");
    // Those of a server are found to lock through a pooler too.
    let postgres = Postgres::start();
    let pooler = Pooler::to(&postgres);
    Host::connect(&store.engines(pooler.database()), &orlop::Options::default()).await.expect("these lock");
}

/// What is remembered of batches is bounded: each batch takes that of the one before along, and what is older than any
/// process asks for goes in the background.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn outcomes_are_forgotten_when_no_one_asks_for_them_any_more() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let name = database_of(&engines.records);
    let host = Host::connect(&engines, &orlop::Options::default()).await.expect("both answer");
    let count = || postgres.ask(name, "SELECT count(*) FROM orlop.outcome");
    for number in 0..20 {
        assert_eq!(ask(&host, put(&format!("x/{number}"))).await, Ok(Committed::Done));
    }
    assert_eq!(count(), "1", "that of the last batch");
    drop(host);
    let nonce = |ago: &str, number: u32| {
        format!(
            "(lpad(to_hex((extract(epoch FROM now() - interval '{ago}') * 1000)::bigint), 12, '0') \
             || '7000800000000000' || lpad('{number}', 4, '0'))::uuid"
        )
    };
    for (ago, number) in [("3 hours", 1), ("1 year", 2), ("90 minutes", 3)] {
        postgres.ask(name, &format!("INSERT INTO orlop.outcome (nonce, late) VALUES ({}, NULL)", nonce(ago, number)));
    }
    let host = Host::connect(&engines, &orlop::Options::default()).await.expect("both answer");
    assert_eq!(ask(&host, put("y")).await, Ok(Committed::Done));
    let began = std::time::Instant::now();
    while count() != "3" {
        assert!(began.elapsed().as_secs() < 60, "{} outcomes are left", count());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // What is forgotten after two hours is refused after one: no tombstone is missed, and no outcome.
    let commit = |nonce: String| {
        format!(
            "SELECT orlop.commit({nonce}, gen_random_uuid(), true, 0, '{{0}}', '{{0}}', '{{6}}', \
             ARRAY['z'::bytea], ARRAY['1'::bytea])"
        )
    };
    assert_eq!(postgres.try_ask(name, &commit(nonce("61 minutes", 4))), None);
    assert_eq!(postgres.try_ask(name, &format!("SELECT orlop.settle({})", nonce("61 minutes", 5))), None);
    assert_eq!(ask(&host, Get { keys: vec![Key::stored("z")] }).await, Ok(vec![None]));
    assert_eq!(postgres.ask(name, &commit(nonce("59 minutes", 6))), "{}");
    let young = postgres.ask(name, &format!("SELECT {}", nonce("59 minutes", 7)));
    assert_eq!(postgres.ask(name, &format!("SELECT orlop.settle('{young}') IS NULL")), "t");
    assert_eq!(postgres.try_ask(name, &commit(format!("'{young}'"))), None, "its tombstone is there");
}

/// Each statement may be on another connection of the pooler, and each connection of this side on any of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn the_contract_is_kept_through_a_pooler_in_transaction_mode() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let pooler = Pooler::to(&postgres);
    keep_the_contract(&store, || pooler.database()).await;
}

/// The newest version that there is a promise for. Debian 12 has 15.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn the_contract_is_kept_on_postgresql_17() {
    let Some(postgres) = Postgres::of_version(17) else {
        println!("postgresql   SKIPPED  version 17 is not installed on this machine");
        return;
    };
    let store = ObjectServer::start();
    keep_the_contract(&store, || postgres.database()).await;
}

async fn keep_the_contract(store: &ObjectServer, database: impl Fn() -> String) {
    for Case { name, acts } in suite() {
        let engines = store.engines(database());
        for act in &acts {
            let host = Host::connect(&engines, &orlop::Options::default()).await.expect("both answer");
            let mut body = arriving(&act.body);
            host.run(act.begin(), &mut body).await.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

/// A plan is made once and kept, so it must be right for any number of rows, whatever is known of them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn statements_use_the_index_however_many_rows_there_are() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let name = database_of(&engines.records);
    drop(Host::connect(&engines, &orlop::Options::default()).await.expect("both answer"));
    let statements = [
        "SELECT value FROM orlop.get(ARRAY['blob/7', 'tag/a:b']::bytea[])",
        "SELECT key FROM orlop.scan('blob/', '\\x626c6f622fff', 100, 1000000)",
        // One of each kind: expectations, a removal, a change, an addition.
        "SELECT orlop.commit(('ffffffffffff7000' || left(md5(random()::text), 16))::uuid, gen_random_uuid(), true, 1, \
         '{0,1,2,3,4,5,6}', '{0,0,0,0,0,0,1}', '{1,2,3,4,5,6,7}', \
         ARRAY['a', 'b', 'c', 'd', 'e', 'f', 'g']::bytea[], ARRAY[NULL, NULL, '1', 'e', NULL, '1', '1']::bytea[])",
        "SELECT orlop.settle(('ffffffffffff7000' || left(md5(random()::text), 16))::uuid)",
    ];
    let mut rows = 0;
    for more in [0, 200, 999_800] {
        postgres.ask(
            name,
            &format!(
                "INSERT INTO orlop.record SELECT convert_to('blob/' || lpad(({rows} + n)::text, 9, '0'), 'UTF8'), '1' \
                 FROM generate_series(1, {more}) AS n"
            ),
        );
        rows += more;
        for analyzed in [false, true] {
            if analyzed {
                postgres.ask(name, "ANALYZE orlop.record, orlop.outcome");
            }
            for statement in statements {
                let plans = postgres.plans(name, statement);
                let told = format!("{rows} rows, analyzed: {analyzed}: {statement}\n{plans}");
                assert!(plans.contains("Index"), "no plan with an index: {told}");
                for table in ["record", "outcome"] {
                    assert!(!plans.contains(&format!("Seq Scan on {table}")), "{told}");
                    assert!(!plans.contains(&format!("Seq Scan on orlop.{table}")), "{told}");
                }
            }
        }
    }
}

//! What is said of a commit is true, whatever becomes of the database meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orlop::{Host, RequestBody};
use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed, Durability, Effect, Expect, Get, Scan};
use orlop_core::keys::{Key, Prefix};
use orlop_core::step::start;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::proxy::Proxy;

/// How many hosts there are, and how many calls each has at once.
const HOSTS: usize = 3;
const CALLS: usize = 8;

/// How long writes may take to go on: 5 seconds are wanted after a failover, and a machine may be ten times slower.
pub(crate) const LONGEST: Duration = Duration::from_secs(50);

/// Asks one effect of a host.
pub(crate) async fn ask<E: Effect>(host: &Host, effect: E) -> Result<E::Outcome, Fault> {
    host.run(start(move |io| async move { io.ask(effect).await }), &mut RequestBody::empty()).await
}

/// The number that all of them count up, each time on the condition that it is still the one that was read.
fn counter() -> Key {
    Key::stored("count")
}

/// What a call was told of the commits it tried.
#[derive(Default)]
struct Told {
    done: BTreeSet<String>,
    late: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

/// How many commits all of them have made.
#[derive(Clone, Default)]
struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Waits until some have been made from now on: how long that took.
    fn goes_on(&self) -> Duration {
        let (began, before) = (Instant::now(), self.0.load(Ordering::SeqCst));
        while self.0.load(Ordering::SeqCst) < before + 5 {
            assert!(began.elapsed() < LONGEST, "writes do not go on");
            std::thread::sleep(Duration::from_millis(10));
        }
        began.elapsed()
    }
}

/// Counts up until it is over; each commit leaves a record of its own.
async fn count(host: Arc<Host>, name: String, over: Arc<AtomicBool>, progress: Progress) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let Ok(found) = ask(&host, Get { keys: vec![counter()] }).await else { continue };
        let (expectation, next) = match &found[0] {
            None => (Expect::Absent(counter()), 1),
            Some(value) => {
                let count: u64 = std::str::from_utf8(value).expect("a number").parse().expect("a number");
                (Expect::Exactly(counter(), value.clone()), count + 1)
            }
        };
        let mark = format!("mark/{name}-{number}");
        let commit = Commit {
            expect: vec![expectation],
            put: vec![(counter(), next.to_string().into()), (Key::stored(mark.clone()), next.to_string().into())],
            add: vec![],
            delete: vec![],
            durability: Durability::Durable,
            reclaims: false,
        };
        let of = match ask(&host, commit).await {
            Ok(Committed::Done) => {
                progress.0.fetch_add(1, Ordering::SeqCst);
                &mut told.done
            }
            Ok(Committed::Conflict) => &mut told.late,
            Err(Fault::Unavailable(_)) => &mut told.unknown,
            Err(fault) => panic!("{fault}"),
        };
        of.insert(mark);
    }
    told
}

/// Has hosts count while something happens to the databases, and looks whether what they were told was true. The first
/// of them is the primary.
async fn true_while<const N: usize>(
    mut databases: [Postgres; N],
    happens: impl FnOnce(&mut [Postgres; N], &Progress) + Send + 'static,
) {
    let store = ObjectServer::start();
    let ports: Vec<String> = databases.iter().map(|database| format!("127.0.0.1:{}", database.port())).collect();
    let records = databases[0].database().replace(&ports[0], &ports.join(","));
    let engines = store.engines(records);
    let progress = Progress::default();
    let over = Arc::new(AtomicBool::new(false));
    let mut calls = Vec::new();
    let mut host = None;
    for number in 0..HOSTS {
        let one = Arc::new(Host::connect(&engines, &orlop::Options::default()).await.expect("both answer"));
        calls.extend(
            (0..CALLS).map(|call| {
                tokio::spawn(count(one.clone(), format!("{number}-{call}"), over.clone(), progress.clone()))
            }),
        );
        host = Some(one);
    }
    let happening = tokio::task::spawn_blocking(move || {
        happens(&mut databases, &progress);
        databases
    });
    let _databases = happening.await.expect("it happened");
    tokio::time::sleep(Duration::from_secs(2)).await;
    over.store(true, Ordering::SeqCst);
    let mut told = Told::default();
    for call in calls {
        let Told { done, late, unknown } = call.await.expect("it counted");
        told.done.extend(done);
        told.late.extend(late);
        told.unknown.extend(unknown);
    }
    let host = host.expect("a host");
    let scan = Scan { prefix: Prefix::stored("mark/"), after: None, limit: usize::MAX, bytes: usize::MAX };
    let marks = ask(&host, scan).await.expect("the database answers");
    let marks: BTreeSet<String> = marks.into_iter().map(|(key, _)| key.as_str().to_owned()).collect();
    let count = ask(&host, Get { keys: vec![counter()] }).await.expect("the database answers");
    let count: usize =
        std::str::from_utf8(count[0].as_ref().expect("a number")).expect("a number").parse().expect("one");
    println!("{} done, {} late, {} unknown", told.done.len(), told.late.len(), told.unknown.len());
    let lost: Vec<_> = told.done.difference(&marks).collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    let wrong: Vec<_> = told.late.intersection(&marks).collect();
    assert!(wrong.is_empty(), "said to be too late, and there: {wrong:?}");
    assert_eq!(marks.len(), count, "each of them has counted once");
    assert!(told.done.len() > 50, "they got on");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn it_is_true_when_connections_are_cut() {
    let cut = |[postgres]: &mut [Postgres; 1], _: &Progress| {
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(70));
            postgres.ask(
                "postgres",
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'orlop' \
                 AND random() < 0.5",
            );
        }
    };
    true_while([Postgres::start()], cut).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn it_is_true_when_the_database_is_killed() {
    let kill = |[postgres]: &mut [Postgres; 1], progress: &Progress| {
        for _ in 0..4 {
            progress.goes_on();
            std::thread::sleep(Duration::from_millis(500));
            postgres.crash();
        }
    };
    true_while([Postgres::start()], kill).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn it_is_true_when_the_primary_dies_and_the_standby_is_promoted() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let fail_over = |[primary, standby]: &mut [Postgres; 2], progress: &Progress| {
        progress.goes_on();
        primary.kill();
        standby.promote();
        println!("writes go on {:?} after the promotion", progress.goes_on());
    };
    true_while([primary, standby], fail_over).await;
}

/// A primary that hangs is the worse failure: its connections stay open, and one day it goes on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn it_is_true_when_the_primary_hangs_and_wakes_after_the_promotion() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let fail_over = |[primary, standby]: &mut [Postgres; 2], progress: &Progress| {
        progress.goes_on();
        primary.suspend(true);
        std::thread::sleep(Duration::from_millis(300));
        standby.promote();
        println!("writes go on {:?} after the promotion", progress.goes_on());
        primary.suspend(false);
        std::thread::sleep(Duration::from_secs(2));
        progress.goes_on();
    };
    true_while([primary, standby], fail_over).await;
}

/// The server goes on with a batch whose client is gone. It waits for the lock meanwhile, so that a mere look whether the
/// batch was made would find nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_batch_whose_client_is_gone_is_made_once_or_never() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let proxy = Proxy::to(postgres.port()).await;
    let records = postgres.database();
    let name = database_of(&records).to_owned();
    let engines = store.engines(records.replace(&postgres.port().to_string(), &proxy.port.to_string()));
    let host = Arc::new(Host::connect(&engines, &orlop::Options::default()).await.expect("both answer"));
    let holding = postgres.hold(&name, "SELECT pg_advisory_xact_lock(7309471087405494895)");
    let create = Commit {
        expect: vec![Expect::Absent(counter())],
        put: vec![(counter(), "1".into())],
        add: vec![],
        delete: vec![],
        durability: Durability::Durable,
        reclaims: false,
    };
    let asked = {
        let host = host.clone();
        tokio::spawn(async move { ask(&host, create).await })
    };
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    let began = Instant::now();
    while postgres.ask(&name, waits) != "t" {
        assert!(began.elapsed() < LONGEST, "it does not wait for the lock");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.cut();
    // Long enough that it is sent again by another connection.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    drop(holding);
    assert_eq!(asked.await.expect("it was asked"), Ok(Committed::Done), "once, by one of the two");
    // The other one has its turn too.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let found = ask(&host, Get { keys: vec![counter()] }).await;
    assert_eq!(found, Ok(vec![Some("1".into())]));
}

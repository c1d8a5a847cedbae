//! What is said of an object is true, whatever the object store does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use orlop::{Engines, Host, RequestBody};
use orlop_conformance::contract::{Case, suite};
use orlop_core::Fault as Failed;
use orlop_core::digest::Algorithm;
use orlop_core::effect::{Erase, Inventory, Load, Receive, Received};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::step::start;
use std::time::Duration;
use uuid::Uuid;

use crate::arriving::arriving;
use crate::engines::{ObjectServer, Postgres};
use crate::faulty::{Asked, Fault, Faulty};
use crate::outcomes::ask;
use crate::processes::{full, seed};

/// Whether a request is one of a kind.
type IsOne = fn(&Asked) -> bool;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn the_contract_is_kept_while_the_store_fails() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let seed = seed();
    let faulty = Faulty::by_chance(store.port(), seed, 5, false).await;
    for Case { name, acts } in suite() {
        let engines = store.engines_by(faulty.port, database.database());
        let host = connect(&engines).await;
        for act in &acts {
            let mut body = arriving(&act.body);
            let told = host.run(act.begin(), &mut body).await;
            told.unwrap_or_else(|wrong| panic!("{name}, with ORLOP_SEED={seed}: {wrong}"));
        }
    }
    println!("with ORLOP_SEED={seed}: {:?}", faulty.happened());
}

/// A host for which every call that has begun anything is over.
async fn later(engines: &Engines) -> Host {
    let options = orlop::Options { call_lifetime: Duration::ZERO, ..orlop::Options::default() };
    Host::connect(engines, &options).await.expect("both answer")
}

/// Uploads of which no record knows are found in a store, and those that are recorded stay; so do young ones, if the store
/// says when they were begun.
pub(crate) async fn find_uploads_that_no_record_knows(engines: &Engines, port: u16, says_when: bool) {
    let lost = AtomicUsize::new(2);
    let faulty = Faulty::to(port, move |asked| {
        let begins = asked.method == "POST" && asked.target.contains("uploads") && !asked.completes();
        let take = |left: usize| left.checked_sub(1);
        let loses = begins && lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        loses.then_some(Fault::AnswerLost)
    });
    let port = (format!(":{port}"), format!(":{}", faulty.await.port));
    let options = engines.options.iter().map(|(name, value)| (name.clone(), value.replace(&port.0, &port.1)));
    let engines = Engines { options: options.collect(), ..engines.clone() };
    let host = Arc::new(connect(&engines).await);
    let (written, open) = (ObjectId::received_by(Uuid::from_u128(3)), ObjectId::received_by(Uuid::from_u128(4)));
    receive(&host, written, &vec![1; PARTS].into()).await.expect("the store is asked again");
    // One that goes on.
    let came = stream::iter((0..10).map(|_| Ok::<_, std::io::Error>(vec![7; 1 << 20]))).chain(stream::pending());
    let mut body = RequestBody::new(axum::body::Body::from_stream(came), Duration::from_secs(600));
    let effect = Receive { object: open, meter: Meter::new(Algorithm::Sha256), keep: 0, pause: Duration::MAX };
    let receiving = host.clone();
    let receiving =
        tokio::spawn(
            async move { receiving.run(start(move |io| async move { io.ask(effect).await }), &mut body).await },
        );
    let listed = async || ask(&host, Inventory { after: None, limit: 9 }).await.expect("both answer").len();
    while listed().await < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if says_when {
        assert_eq!(host.end_unrecorded().await, Ok(0), "they are young");
    }
    let later = later(&engines).await;
    assert_eq!(later.end_unrecorded().await, Ok(2));
    assert_eq!(later.end_unrecorded().await, Ok(0));
    assert_eq!(listed().await, 2);
    receiving.abort();
    ask(&host, Erase { objects: vec![written, open] }).await.expect("both answer");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn an_upload_whose_beginning_was_answered_to_nobody_is_ended() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    find_uploads_that_no_record_knows(&store.engines(database.database()), store.port(), true).await;
}

async fn connect(engines: &Engines) -> Host {
    Host::connect(engines, &orlop::Options::default()).await.expect("both answer")
}

/// The next request that is meant goes wrong.
type Next = Arc<Mutex<Option<(fn(&Asked) -> bool, Fault)>>>;

/// A body of two parts.
const PARTS: usize = (8 << 20) + 1000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn what_is_said_of_an_object_is_true_wherever_the_connection_is_cut() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let next = Next::default();
    let choose = {
        let next = next.clone();
        move |asked: &Asked| {
            let mut next = next.lock().expect("nobody panics");
            if next.as_ref().is_some_and(|(meant, _)| meant(asked)) {
                return next.take().map(|(_, fault)| fault);
            }
            None
        }
    };
    let faulty = Faulty::to(store.port(), choose).await;
    let host_engines = store.engines_by(faulty.port, database.database());
    let host = connect(&host_engines).await;
    let kinds: [(&str, usize, IsOne); 5] = [
        ("write", 20_000, |asked| asked.method == "PUT" && !asked.target.contains("partNumber=")),
        ("read", 20_000, |asked| asked.method == "GET" && asked.target.contains("/objects/")),
        ("begin", PARTS, |asked| asked.method == "POST" && !asked.completes()),
        ("part", PARTS, |asked| asked.method == "PUT" && asked.target.contains("partNumber=")),
        ("complete", PARTS, Asked::completes),
    ];
    let mut refused: Vec<String> = Vec::new();
    for (name, size, meant) in kinds {
        let step = match (full(), size < PARTS) {
            (true, _) => 7,
            (false, true) => 59,
            (false, false) => 251,
        };
        let cuts = (0..1000).step_by(step);
        let mut faults: Vec<Fault> = cuts.flat_map(|at| [Fault::CutAnswer(at), Fault::CutRequest(at)]).collect();
        faults.extend([Fault::AnswerLost, Fault::SlowDown, Fault::Slow]);
        faults.extend((name == "complete").then_some(Fault::ErrorInside));
        for (number, fault) in faults.into_iter().enumerate() {
            *next.lock().expect("nobody panics") = Some((meant, fault));
            let case = format!("{name}, {fault:?}");
            let bytes: Bytes = (0..size).map(|place| (place * 7 + number) as u8).collect::<Vec<u8>>().into();
            let object = ObjectId::received_by(Uuid::new_v4());
            match receive(&host, object, &bytes).await {
                Ok(()) => {
                    let loaded = ask(&host, Load { objects: vec![object], limit: u64::MAX }).await;
                    assert!(matches!(&loaded, Ok(Some(loaded)) if *loaded == bytes), "{case}: {loaded:?}");
                }
                // Not acknowledged, and the client may come again.
                Err(Failed::Unavailable(reason)) => refused.push(format!("{case}: {reason}")),
                Err(fault) => panic!("{case}: {fault}"),
            }
            assert!(next.lock().expect("nobody panics").is_none(), "{case}: no request was meant");
            ask(&host, Erase { objects: vec![object] }).await.unwrap_or_else(|fault| panic!("{case}: {fault}"));
        }
    }
    assert_eq!(ask(&host, Inventory { after: None, limit: 9 }).await, Ok(vec![]), "nothing is left");
    assert_eq!(host.end_unrecorded().await, Ok(0), "an upload that is young may be of a call that lives");
    let later = later(&host_engines).await;
    let ended = later.end_unrecorded().await.expect("the store lists uploads");
    assert!(ended > 0, "uploads whose beginning was answered to nobody are open");
    assert_eq!(later.end_unrecorded().await, Ok(0));
    println!("{:?}", faulty.happened());
    assert!(refused.is_empty(), "the store was not tried again: {refused:#?}");
}

/// Some stores put the parts of an upload together when it ends, after the head of their answer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_store_that_takes_long_to_end_an_upload_is_waited_for() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    // Longer than an answer with bytes of an object may stand still.
    let pause = Fault::Pause(Duration::from_secs(25));
    let faulty = Faulty::to(store.port(), move |asked| asked.completes().then_some(pause)).await;
    let host = connect(&store.engines_by(faulty.port, database.database())).await;
    let (object, bytes) = (ObjectId::received_by(Uuid::new_v4()), Bytes::from(vec![1; PARTS]));
    receive(&host, object, &bytes).await.expect("it is in the store");
    let loaded = ask(&host, Load { objects: vec![object], limit: u64::MAX }).await;
    assert!(matches!(&loaded, Ok(Some(loaded)) if *loaded == bytes), "{loaded:?}");
    assert_eq!(faulty.happened(), [("pause", 1)].into(), "it is asked once");
}

/// Receives a body into an object.
async fn receive(host: &Host, object: ObjectId, bytes: &Bytes) -> Result<(), Failed> {
    let pieces: Vec<_> = bytes.chunks(1 << 20).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let mut body = RequestBody::new(axum::body::Body::from_stream(stream::iter(pieces)), Duration::from_secs(600));
    let effect = Receive { object, meter: Meter::new(Algorithm::Sha256), keep: 0, pause: Duration::MAX };
    let received: Received = host.run(start(move |io| async move { io.ask(effect).await }), &mut body).await?;
    assert_eq!(received.meter.count(), bytes.len() as u64);
    Ok(())
}

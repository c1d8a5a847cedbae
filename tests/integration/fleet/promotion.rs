//! How long it takes until writes go on after a failover: in each of three processes, whether the primary dies or hangs.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use orlop_conformance::tester::content::{Image, OCI_INDEX};
use orlop_conformance::tester::exchange::Target;
use orlop_conformance::tester::http::{Http, Options};
use orlop_conformance::tester::lab::put_manifest;

use crate::engines::{ObjectServer, Postgres};
use crate::outcomes::LONGEST;
use crate::processes::full;
use crate::serving::Serving;

/// How many processes there are, and how many clients of each write all the time.
const PROCESSES: usize = 3;
const CLIENTS: usize = 2;

/// How often each failure is tried when everything is.
const TIMES: usize = 5;

/// Puts a manifest under a tag, and the next one, until it is over. Counts those that are acknowledged.
fn write(address: &str, client: usize, acknowledged: &AtomicU64, over: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let http = Rc::new(Http::new(address, &Options { once: true, ..Options::default() }).expect("an address"));
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let index =
            Image::list(OCI_INDEX, &[]).field("annotations", serde_json::json!({ "number": number.to_string() }));
        let put = put_manifest(&format!("written/by-{client}"), "latest", &index);
        match runtime.block_on(http.send(put)) {
            Ok(answer) if answer.status == 201 => {
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer) => assert_eq!(answer.status, 503, "{answer}"),
            Err(lost) => panic!("{lost}"),
        }
    }
}

/// Waits until each process has acknowledged a write from now on: how long it took until the first has, and the last.
fn go_on(acknowledged: &[AtomicU64]) -> [Duration; 2] {
    let began = Instant::now();
    let counts = || acknowledged.iter().map(|count| count.load(Ordering::SeqCst));
    let before: Vec<u64> = counts().collect();
    let (mut waited, mut first) = (before.len(), None);
    while waited > 0 {
        assert!(began.elapsed() < LONGEST, "writes do not go on in {waited} of {PROCESSES} processes");
        sleep(Duration::from_millis(2));
        waited = counts().zip(&before).filter(|(now, before)| now == *before).count();
        if waited < PROCESSES {
            first.get_or_insert(began.elapsed());
        }
    }
    [first.unwrap_or_default(), began.elapsed()]
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn writes_go_on_in_each_process_after_a_promotion() {
    let (mut primary, store) = (Postgres::start(), ObjectServer::start());
    let mut standby = primary.standby();
    let hosts = [&primary, &standby].map(|database| format!("127.0.0.1:{}", database.port()));
    let engines = store.engines(primary.database().replace(&hosts[0], &hosts.join(",")));
    let processes: Vec<Serving> = (0..PROCESSES).map(|_| Serving::start(&engines, &[], false)).collect();
    let acknowledged: Arc<[AtomicU64]> = processes.iter().map(|_| AtomicU64::new(0)).collect();
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..PROCESSES * CLIENTS)
        .map(|client| {
            let (place, address) = (client % PROCESSES, processes[client % PROCESSES].address());
            let (acknowledged, over) = (acknowledged.clone(), over.clone());
            std::thread::spawn(move || write(&address, client, &acknowledged[place], &over))
        })
        .collect();
    for hangs in [false, true].repeat(if full() { TIMES } else { 1 }) {
        go_on(&acknowledged);
        match hangs {
            true => primary.suspend(true),
            false => primary.kill(),
        }
        // As long as it takes somebody to notice.
        sleep(Duration::from_secs(1));
        let asked = Instant::now();
        standby.promote();
        let promoted = asked.elapsed();
        let [first, last] = go_on(&acknowledged);
        let failure = if hangs { "hangs" } else { "dies" };
        println!(
            "the primary {failure}: promoted in {promoted:.2?}; then writes go on after {first:.2?} in one process, after \
             {last:.2?} in all"
        );
        if hangs {
            primary.suspend(false);
            primary.kill();
        }
        let next = standby.standby_at(primary.port());
        primary = std::mem::replace(&mut standby, next);
    }
    over.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("each answer is 201, or 503"));
}

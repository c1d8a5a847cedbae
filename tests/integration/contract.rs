//! Every host passes the contract suite.

mod arriving;
#[expect(dead_code, reason = "random histories use more of it")]
mod behind;

use std::time::Duration;

use orlop::Host;
use orlop_conformance::contract::{Case, Upstreams, stalled, suite, upstreams};
use orlop_core::memory::Memory;

use self::arriving::arriving;
use self::behind::Behind;

#[test]
fn the_memory_host_keeps_the_contract() {
    for Case { name, acts } in suite() {
        let mut memory = Memory::new();
        for act in &acts {
            memory.run(act.begin(), &act.body).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

#[test]
fn the_memory_host_keeps_the_contract_with_upstreams() {
    for Upstreams { case: Case { name, acts }, upstreams } in upstreams() {
        let mut memory = Memory::new();
        memory.upstreams.extend(upstreams);
        for act in &acts {
            memory.run(act.begin(), &act.body).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

#[tokio::test]
async fn the_native_host_keeps_the_contract() {
    for Case { name, acts } in suite() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let host = Host::open(directory.path(), &orlop::Options::default()).expect("an empty directory");
        for act in &acts {
            let mut body = arriving(&act.body);
            host.run(act.begin(), &mut body).await.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

/// What survives the process: every act of a case on a host of its own, opened after the last was dropped.
#[tokio::test]
async fn the_native_host_keeps_the_contract_over_restarts() {
    for Case { name, acts } in suite() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for act in &acts {
            let host = Host::open(directory.path(), &orlop::Options::default()).expect("a directory left in order");
            let mut body = arriving(&act.body);
            host.run(act.begin(), &mut body).await.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_host_keeps_the_contract_with_upstreams() {
    for Upstreams { case: Case { name, acts }, upstreams } in upstreams() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let host = Host::open(directory.path(), &orlop::Options::default()).expect("an empty directory");
        let behind = Behind::serve(upstreams).await;
        for act in &acts {
            let checked = host.run_mirroring(act.begin(), &mut arriving(&act.body), &behind.upstreams).await;
            checked.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_host_keeps_the_contract_with_upstreams_over_restarts() {
    for Upstreams { case: Case { name, acts }, upstreams } in upstreams() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let behind = Behind::serve(upstreams).await;
        for act in &acts {
            let host = Host::open(directory.path(), &orlop::Options::default()).expect("a directory left in order");
            let checked = host.run_mirroring(act.begin(), &mut arriving(&act.body), &behind.upstreams).await;
            checked.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

#[test]
fn the_memory_host_commits_nothing_of_a_call_that_was_held_up() {
    let mut memory = Memory::new();
    memory.tick = Duration::from_millis(1);
    let act = stalled();
    memory.run_within(Duration::ZERO, act.begin(), &act.body).expect("the stall rule is kept");
}

#[tokio::test]
async fn the_native_host_commits_nothing_of_a_call_that_was_held_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // No call is as fast as this asks, so every one was held up.
    let options = orlop::Options { call_lifetime: Duration::ZERO, ..orlop::Options::default() };
    let host = Host::open(directory.path(), &options).expect("an empty directory");
    let act = stalled();
    host.run(act.begin(), &mut arriving(&act.body)).await.expect("the stall rule is kept");
}

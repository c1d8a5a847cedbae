//! Every host passes the contract suite.

use std::io;
use std::time::Duration;

use futures_util::stream;
use orlop::Host;
use orlop_conformance::contract::{Case, suite};
use orlop_core::memory::{Memory, RequestBody};

#[test]
fn the_memory_host_keeps_the_contract() {
    for Case { name, acts } in suite() {
        let mut memory = Memory::new();
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

/// The body as a connection brings it: in pieces, and with an error when it breaks.
fn arriving(body: &RequestBody) -> orlop::RequestBody {
    let mut frames: Vec<io::Result<_>> = body.bytes.chunks(2).map(|piece| Ok(piece.to_vec())).collect();
    if body.cut {
        frames.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    orlop::RequestBody::new(axum::body::Body::from_stream(stream::iter(frames)), Duration::from_secs(60))
}

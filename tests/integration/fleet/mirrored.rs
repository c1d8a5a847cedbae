//! A mirror of several servers: they fetch a blob once together, and what one has fetched all have.

use std::sync::atomic::Ordering;
use std::thread::{self, sleep};
use std::time::Duration;

use orlop_core::digest::Digest;

use crate::registry::{MIB, Place, Server, bytes, get};

/// Another registry with a blob, which reads the object store once each time that it sends it.
fn upstream(place: &Place, blob: &[u8]) -> (Server, Digest) {
    let server = Server::start(place.command(), &place.flags());
    let digest = server.push(blob);
    (server, digest)
}

/// A server of the mirror. Everything has the name that it has at the upstream.
fn mirror(place: &Place, upstream: &Server) -> Server {
    let setting = format!("{{ prefix = \"\", upstream = \"http://{}\" }}", upstream.address);
    Server::start(place.command(), &[&place.flags()[..], &["--mirror", &setting]].concat())
}

fn target(digest: &Digest) -> String {
    format!("/v2/a/blobs/{digest}")
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_blob_is_fetched_once_by_all_servers_together() {
    let (there, here) = (Place::new(), Place::new());
    let blob = bytes(8 * MIB, 31);
    let (upstream, digest) = upstream(&there, &blob);
    let servers = [mirror(&here, &upstream), mirror(&here, &upstream)];
    let before = upstream.gets();
    // So slowly that all come before it is there.
    there.way.pace.store(6, Ordering::SeqCst);
    thread::scope(|scope| {
        for client in 0..16 {
            let (server, blob) = (&servers[client % 2], &blob);
            scope.spawn(move || get(&server.address, &target(&digest), "").is(blob));
        }
    });
    assert_eq!(upstream.gets() - before, 1);
    drop(upstream);
    for server in &servers {
        get(&server.address, &target(&digest), "").is(&blob);
    }
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_fetch_is_taken_over_when_its_server_is_killed() {
    let (there, here) = (Place::new(), Place::new());
    let blob = bytes(8 * MIB, 32);
    let (upstream, digest) = upstream(&there, &blob);
    let (mut killed, other) = (mirror(&here, &upstream), mirror(&here, &upstream));
    there.way.pace.store(60, Ordering::SeqCst);
    thread::scope(|scope| {
        let address = killed.address.clone();
        // It is cut off, and nobody takes what came for the whole.
        let cut = scope.spawn(move || std::panic::catch_unwind(|| get(&address, &target(&digest), "").body.len()));
        sleep(Duration::from_secs(2));
        let pulled = scope.spawn(|| get(&other.address, &target(&digest), "").is(&blob));
        sleep(Duration::from_secs(1));
        killed.child.kill().expect("it runs");
        there.way.pace.store(0, Ordering::SeqCst);
        assert!(cut.join().expect("a thread").map_or(true, |length| length < blob.len()));
        pulled.join().expect("the other server has all of it");
    });
}

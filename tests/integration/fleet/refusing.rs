//! What the built program says of engines that it cannot use, and of those that it can.

use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use orlop::Engines;
use orlop_core::digest::Algorithm;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::operator::{Server, ended, on, orlop, refusal};

/// How long something may take that is answered within half a minute, on a machine that does other things too.
const LONGEST: Duration = Duration::from_secs(90);

fn serve(engines: &Engines) -> Command {
    let mut command = orlop(&["serve", "--no-playground"]);
    on(engines, &mut command);
    command
}

fn refused(engines: &Engines) -> String {
    refusal(&mut serve(engines))
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn engines_that_cannot_be_used_are_refused_with_what_is_wrong() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let name = database_of(&engines.records);
    Server::start(&mut serve(&engines)).stop();

    let no_database = Engines { records: engines.records.replace(name, "nowhere"), ..engines.clone() };
    let told = refused(&no_database);
    assert!(told.contains("nowhere") && told.contains("does not exist"), "{told}");
    let closed = Engines { records: "postgres://orlop@127.0.0.1:1/x".into(), ..engines.clone() };
    let told = refused(&closed);
    assert!(told.contains("127.0.0.1:1") && told.contains("cannot be reached"), "{told}");

    // The records of one registry, and the objects of another.
    let other = store.engines(postgres.database());
    Server::start(&mut serve(&other)).stop();
    let mixed = Engines { objects: other.objects.clone(), ..engines.clone() };
    let told = refused(&mixed);
    assert!(told.contains("belongs to another registry than the database"), "{told}");
    let new_records = Engines { records: postgres.database(), ..engines.clone() };
    let told = refused(&new_records);
    assert!(told.contains("whose records are in another database"), "{told}");
    let new_objects = Engines { objects: store.engines(String::new()).objects, ..engines.clone() };
    let told = refused(&new_objects);
    assert!(told.contains("is not that of the database"), "{told}");

    let no_bucket = Engines { objects: "s3://nowhere/x".into(), ..engines.clone() };
    let told = refused(&no_bucket);
    assert!(told.contains("s3://nowhere/x") && told.contains("bucket exists"), "{told}");

    for (format, expected) in [(99, "run the version that made it"), (0, "run `orlop migrate`")] {
        postgres.ask(name, &format!("UPDATE orlop.meta SET format = {format}"));
        let told = refused(&engines);
        assert!(told.contains(&format!("format {format}")) && told.contains(expected), "{told}");
        let mut command = orlop(&["migrate"]);
        let told = refusal(on(&engines, &mut command));
        assert!(told.contains(&format!("format {format}")), "{told}");
        assert_eq!(postgres.ask(name, "SELECT format FROM orlop.meta"), format.to_string(), "it is left alone");
    }
    postgres.ask(name, "UPDATE orlop.meta SET format = 2");
    let mut command = orlop(&["migrate"]);
    let done = ended(on(&engines, &mut command));
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success() && told.contains("the database has format 2") && told.contains("nothing to do"),
        "{told}"
    );

    postgres.ask("postgres", "CREATE ROLE another LOGIN");
    postgres.ask("postgres", "CREATE DATABASE foreign_one");
    let foreign = Engines {
        records: postgres.url("foreign_one").replace("orlop@", "another@"),
        objects: store.engines(String::new()).objects,
        ..engines.clone()
    };
    let told = refused(&foreign);
    assert!(told.contains("own the database") || told.contains("permission denied"), "{told}");
    postgres.ask("foreign_one", "CREATE SCHEMA orlop");
    let told = refused(&Engines { records: postgres.url("foreign_one"), ..foreign });
    assert!(told.contains("give the registry a database of its own"), "{told}");
    Server::start(&mut serve(&engines)).stop();
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_wrong_password_is_refused_and_never_printed() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    postgres.want_passwords("right and long");
    let wrong = store.engines(postgres.database().replace("orlop@", "orlop:wrong-and-secret@"));
    let told = refused(&wrong);
    assert!(told.contains("password authentication failed") && !told.contains("wrong-and-secret"), "{told}");
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_store_that_does_not_let_one_write_is_refused() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let mut engines = store.engines(postgres.database());
    let secret = engines.options.iter_mut().find(|(name, _)| name == "secret_access_key").expect("an option");
    secret.1 = "wrong-and-secret".into();
    let told = refused(&engines);
    assert!(told.contains("the credentials may do this") && told.contains("403"), "{told}");
    assert!(!told.contains("wrong-and-secret"), "{told}");
}

/// What garbage collection removes stays as an old version: that costs money, and no bytes that are needed.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_bucket_that_keeps_versions_is_used_with_a_warning() {
    let (postgres, store) = (Postgres::start(), ObjectServer::with_versions());
    let engines = store.engines(postgres.database());
    let server = Server::start(&mut serve(&engines));
    assert!(server.said().contains("the bucket keeps versions"), "{}", server.said());
    let (kept, removed) = ([1; 100_000], [2; 100_000]);
    let (kept_as, removed_as) = (push(&server, &kept).1, push(&server, &removed).1);
    assert_eq!(server.ask("DELETE", &removed_as, "", b"").0, 202);
    server.stop();
    let mut command = orlop(&["gc", "--keep-erased", "0"]);
    let told = ended(on(&engines, &mut command));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("1 blobs") && told.contains("100000 bytes freed"), "{told}");
    let mut command = orlop(&["check"]);
    let told = ended(on(&engines, &mut command));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("warning: the bucket keeps versions") && told.contains("0 problems"), "{told}");
    let server = Server::start(&mut serve(&engines));
    let (status, _, bytes) = server.ask("GET", &kept_as, "", b"");
    assert!(status == 200 && bytes == kept, "{status}");
    assert_eq!(server.ask("GET", &removed_as, "", b"").0, 404);
    assert_eq!(push(&server, &removed).0, 201);
}

/// How many connections a small database takes.
const FEW: usize = 30;

/// Whoever finds no connection waits, and is told to come again; the server goes on with those it has.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_database_whose_connections_others_have_is_503() {
    let (postgres, store) = (Postgres::with_connections(FEW), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let server = Server::start(&mut serve(&engines));
    let (status, blob) = push(&server, b"acknowledged");
    assert_eq!((status, server.ask("GET", &blob, "", b"").0), (201, 200));
    let mut others = postgres.idle_all();
    assert_eq!((server.ask("GET", &blob, "", b"").0, push(&server, b"more").0), (200, 201));
    let told = refused(&engines);
    assert!(told.contains("[53300]") && told.contains("raise max_connections"), "{told}");
    // It has none any more, and gets none.
    let ends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'orlop'";
    while others.len() < FEW {
        others.pop();
        let began = Instant::now();
        while postgres.try_ask("postgres", ends).is_none() {
            assert!(began.elapsed() < LONGEST, "there is a connection to spare");
        }
        sleep(Duration::from_millis(100));
        others.extend(postgres.idle_all());
    }
    let began = Instant::now();
    thread::scope(|scope| {
        let read = scope.spawn(|| server.ask("GET", &blob, "", b""));
        let written = scope.spawn(|| server.ask("POST", "/v2/a/blobs/uploads/", "", b""));
        for asked in [read, written] {
            let (status, head, _) = asked.join().expect("an answer");
            assert!(status == 503 && head.contains("retry-after: "), "{head}");
        }
    });
    assert!(began.elapsed() < LONGEST, "it waits for {:?}", began.elapsed());
    drop(others);
    let (status, _, bytes) = server.ask("GET", &blob, "", b"");
    assert_eq!((status, bytes), (200, b"acknowledged".to_vec()));
    assert_eq!(push(&server, b"and more").0, 201);
}

/// While something else locks the table, those who wait are bounded, and so are the connections on which they do.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn reads_that_wait_for_a_lock_are_503_and_take_no_more_connections() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let server = Server::start(&mut serve(&engines));
    let (_, blob) = push(&server, b"acknowledged");
    let locked = postgres.hold(database_of(&engines.records), "LOCK TABLE orlop.record IN ACCESS EXCLUSIVE MODE");
    let began = Instant::now();
    thread::scope(|scope| {
        let reads: Vec<_> = (0..40).map(|_| scope.spawn(|| server.ask("GET", &blob, "", b""))).collect();
        let mut most = 0;
        while reads.iter().any(|read| !read.is_finished()) {
            let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orlop'";
            most = most.max(postgres.ask("postgres", count).parse().expect("a number"));
            sleep(Duration::from_millis(100));
        }
        for read in reads {
            let (status, head, _) = read.join().expect("an answer");
            assert!(status == 503 && head.contains("retry-after: "), "{head}");
        }
        // For reads, for commits, and for a moment the one that looks after the primary.
        assert!(most <= 8 + 1 + 1, "{most} connections");
    });
    assert!(began.elapsed() < LONGEST, "they wait for {:?}", began.elapsed());
    drop(locked);
    assert_eq!(server.ask("GET", &blob, "", b"").0, 200);
}

/// Pushes a blob: what came of it, and where it is.
fn push(server: &Server, bytes: &[u8]) -> (u16, String) {
    let digest = Algorithm::Sha256.digest(bytes);
    let told = server.ask("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), "", bytes);
    (told.0, format!("/v2/a/blobs/{digest}"))
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_check_says_how_the_engines_stand() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let server = Server::start(&mut serve(&engines));
    let check = || {
        let mut command = orlop(&["check"]);
        let done = ended(on(&engines, &mut command));
        let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{told}");
        told
    };
    let told = check();
    for expected in [
        "records: PostgreSQL ",
        "a round trip takes ",
        "clock: ",
        "advisory locks exclude each other",
        "warning: synchronous_standby_names is empty",
        "objects: s3://",
        "conditional create, read after write",
        "versioning: off",
        "used by process ",
        "0 problems",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    server.stop();
    let _standby = postgres.standby();
    let told = check();
    assert!(told.contains("1 stream from it, commits wait for 1") && !told.contains("warning: synchronous"), "{told}");
}

//! What the built program says of engines that it cannot use, and of those that it can.

use std::process::Command;

use orlop::Engines;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::operator::{Server, ended, on, orlop, refusal};

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

/// Whoever finds no connection waits, and is told to come again.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_database_without_a_connection_to_spare_is_503() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let name = database_of(&engines.records);
    let server = Server::start(&mut serve(&engines));
    assert_eq!(server.ask("GET", "/v2/_catalog", "", b"").0, 200);
    postgres.ask("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    let ends = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    postgres.ask("postgres", &ends);
    let (status, head, _) = server.ask("GET", "/v2/_catalog", "", b"");
    assert!(status == 503 && head.contains("retry-after: "), "{head}");
    postgres.ask("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    assert_eq!(server.ask("GET", "/v2/_catalog", "", b"").0, 200);
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

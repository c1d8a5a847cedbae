//! A database that the version before has made: it is served as it is, and `orlop migrate` makes of it what a new one is.

use orlop::Engines;
use orlop_core::digest::Algorithm;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::operator::{Server, ended, on, orlop};

/// The tables and functions that the version before makes.
const BEFORE: &str = include_str!("format1.sql");

/// All columns and functions, whenever each of them was made.
const DEFINED: &str = "SELECT string_agg(defined, E'\\n' ORDER BY defined) FROM (\
    SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) AS defined \
    FROM information_schema.columns WHERE table_schema = 'orlop' \
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'orlop'::regnamespace) AS parts";

fn serve(engines: &Engines) -> Server {
    let mut command = orlop(&["serve", "--no-playground"]);
    Server::start(on(engines, &mut command))
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_database_of_the_format_before_is_served_and_made_like_a_new_one() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let name = database_of(&engines.records);
    postgres.ask(name, BEFORE);
    let push = |server: &Server, bytes: &[u8]| {
        let target = format!("/v2/app/blobs/uploads/?digest={}", Algorithm::Sha256.digest(bytes));
        let (status, head, _) = server.ask("POST", &target, "Content-Type: application/octet-stream\r\n", bytes);
        assert_eq!(status, 201, "{head}");
    };
    let (early, late) = (vec![1; 100_000], vec![2; 100_000]);
    let server = serve(&engines);
    push(&server, &early);
    assert_eq!(postgres.ask(name, "SELECT format FROM orlop.meta"), "1", "a server changes no format");

    let mut command = orlop(&["migrate"]);
    let done = ended(on(&engines, &mut command));
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && told.contains("had format 1 and has format 2 now"), "{told}");
    push(&server, &late);
    server.stop();

    let server = serve(&engines);
    for bytes in [&early, &late] {
        let target = format!("/v2/app/blobs/{}", Algorithm::Sha256.digest(bytes));
        let (status, _, got) = server.ask("GET", &target, "", b"");
        assert!(status == 200 && got == *bytes, "{target}: {status}");
    }
    server.stop();
    let marked = postgres.ask(name, "SELECT store FROM orlop.meta");
    assert!(!marked.is_empty() && !marked.ends_with(" new"), "the store is not that of the database: {marked}");

    let new = store.engines(postgres.database());
    serve(&new).stop();
    assert_eq!(postgres.ask(name, DEFINED), postgres.ask(database_of(&new.records), DEFINED));
}

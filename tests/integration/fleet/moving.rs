//! `orlop move`: what was pulled before is pulled after, also when the copy was killed in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use orlop::Engines;
use orlop_core::digest::Algorithm;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::operator::{Server, ended, field, on, orlop, refusal, terminate};

/// A registry with this and that, and what there is to pull from it.
pub(crate) struct Pushed {
    answers: BTreeMap<String, (u16, Vec<u8>)>,
    session: String,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn bytes(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

impl Pushed {
    pub(crate) fn to(server: &Server) -> Self {
        let mut pulls = Vec::new();
        for (number, length) in [(1, 0), (2, 100), (3, 16 << 10), (4, 100_000), (5, 100_000), (6, 32 << 20)] {
            let (name, layer) = (format!("team/app{number}"), bytes(number, length));
            let digest = Algorithm::Sha256.digest(&layer);
            let (status, head, _) = server.ask("POST", &format!("/v2/{name}/blobs/uploads/"), "", b"");
            assert_eq!(status, 202);
            let session = field(&head, "location").expect("a place").to_owned();
            // In two chunks, so that some blobs are of more than one object.
            let half = layer.len() / 2;
            let chunk = format!("Content-Range: 0-{}\r\n", half.saturating_sub(1));
            if half > 0 {
                assert_eq!(server.ask("PATCH", &session, &chunk, &layer[..half]).0, 202);
            }
            let last = format!("{session}?digest={digest}");
            assert_eq!(server.ask("PUT", &last, "", &layer[half..]).0, 201);
            let manifest = format!(
                r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/x","digest":"{digest}","size":{length}}},"layers":[]}}"#
            );
            let media = format!("Content-Type: {MANIFEST}\r\n");
            let target = format!("/v2/{name}/manifests/v{number}");
            assert_eq!(server.ask("PUT", &target, &media, manifest.as_bytes()).0, 201);
            pulls.extend([format!("/v2/{name}/blobs/{digest}"), target, format!("/v2/{name}/tags/list")]);
        }
        pulls.push("/v2/_catalog".into());
        let (_, head, _) = server.ask("POST", "/v2/team/app1/blobs/uploads/", "", b"");
        let session = field(&head, "location").expect("a place").to_owned();
        let first = bytes(7, 200_000);
        assert_eq!(server.ask("PATCH", &session, "Content-Range: 0-199999\r\n", &first).0, 202);
        let answers = pulls.into_iter().map(|target| (target.clone(), pulled(server, &target))).collect();
        Self { answers, session }
    }

    pub(crate) fn is_served_by(&self, server: &Server) {
        for (target, answer) in &self.answers {
            assert!(pulled(server, target) == *answer, "{target}");
        }
        let (status, head, _) = server.ask("GET", &self.session, "", b"");
        assert_eq!((status, field(&head, "range")), (204, Some("0-199999")), "the session goes on");
    }

    /// Deletes all of it, and cancels the open session.
    pub(crate) fn is_deleted_from(&self, server: &Server) {
        for (target, (_, body)) in self.answers.iter().filter(|(target, _)| target.contains("/manifests/")) {
            let (repository, _) = target.rsplit_once('/').expect("a manifest is in a repository");
            let target = format!("{repository}/{}", Algorithm::Sha256.digest(body));
            assert_eq!(server.ask("DELETE", &target, "", b"").0, 202, "{target}");
        }
        for target in self.answers.keys().filter(|target| target.contains("/blobs/")) {
            assert_eq!(server.ask("DELETE", target, "", b"").0, 202, "{target}");
        }
        assert_eq!(server.ask("DELETE", &self.session, "", b"").0, 204);
    }

    /// Ends the open session: its hash has seen the bytes of before.
    pub(crate) fn is_finished_by(&self, server: &Server) {
        let whole = [bytes(7, 200_000), bytes(8, 1000)].concat();
        let last = format!("{}?digest={}", self.session, Algorithm::Sha256.digest(&whole));
        assert_eq!(server.ask("PUT", &last, "", &whole[200_000..]).0, 201);
    }
}

fn pulled(server: &Server, target: &str) -> (u16, Vec<u8>) {
    let (status, _, body) = server.ask("GET", target, &format!("Accept: {MANIFEST}\r\n"), b"");
    assert_eq!(status, 200, "{target}");
    (status, body)
}

fn serve(data: &Path) -> Command {
    let mut command = orlop(&["serve", "--no-playground", "--data"]);
    command.arg(data);
    command
}

fn moving(to: &str, data: &Path, engines: &Engines) -> Command {
    let mut command = orlop(&["move", "--to", to, "--data"]);
    on(engines, command.arg(data));
    command
}

/// Copies, killed again and again, until one run gets to the end. Returns how often it was killed while it copied.
fn killed_until_it_is_done(mut command: impl FnMut() -> Command, unfinished: impl Fn() -> bool) -> usize {
    let mut killed = 0;
    for round in 1..100 {
        let mut copy = command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("orlop runs");
        // A little later each time, on a machine of any speed.
        std::thread::sleep(Duration::from_millis(20).mul_f64(1.1_f64.powi(round)));
        if let Some(ended) = copy.try_wait().expect("a process") {
            let told = copy.wait_with_output().expect("its words").stderr;
            let told = String::from_utf8_lossy(&told);
            // The one before may have been killed when all was done.
            assert!(ended.success() || told.contains("has this registry already"), "{told}");
            break;
        }
        let _ = copy.kill();
        let _ = copy.wait();
        killed += usize::from(unfinished());
        if killed == 3 {
            break;
        }
    }
    killed
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn what_was_pulled_before_is_pulled_after_a_move_there_and_back() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(database.database());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    let server = Server::start(&mut serve(&before));
    let pushed = Pushed::to(&server);

    let refused = refusal(&mut moving("shared", &before, &engines));
    assert!(refused.contains("in use by another orlop"), "{refused}");
    server.stop();

    let shared = || {
        let mut command = orlop(&["serve", "--no-playground"]);
        on(&engines, &mut command);
        command
    };
    let name = database_of(&engines.records);
    let claimed = || {
        let statement = "SELECT count(*) FROM orlop.record WHERE convert_from(value, 'UTF8') LIKE '{\"format\":0,%' AND \
                         key = 'meta/storage'";
        database.try_ask(name, statement).is_some_and(|count| count == "1")
    };
    let killed = killed_until_it_is_done(|| moving("shared", &before, &engines), claimed);
    println!("killed {killed} times while it copied to the shared engines");
    if claimed() {
        let refused = refusal(&mut shared());
        assert!(refused.contains("the copy is not complete"), "{refused}");
        let done = ended(&mut moving("shared", &before, &engines));
        let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && told.contains("copied and compared: "), "{told}");
    }
    assert!(killed > 0, "it was never killed in the middle");
    let again = refusal(&mut moving("shared", &before, &engines));
    assert!(again.contains("has this registry already"), "{again}");
    let another = directory.path().join("another");
    Server::start(&mut serve(&another)).stop();
    let refused = refusal(&mut moving("shared", &another, &engines));
    assert!(refused.contains("it has a registry already"), "{refused}");

    let server = Server::start(&mut shared());
    pushed.is_served_by(&server);
    let refused = refusal(&mut moving("directory", &after, &engines));
    assert!(refused.contains("is used by process"), "{refused}");
    pushed.is_served_by(&server);
    server.stop();

    // SPEC Y47: when a signal ends it, the registry can be served at once.
    assert_eq!(database.users(&engines), "0");
    let signalled = directory.path().join("signalled");
    let mut copy = moving("directory", &signalled, &engines);
    let mut copy = copy.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("orlop runs");
    while database.users(&engines) != "1" && copy.try_wait().expect("a process").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    terminate(&copy);
    let ended_by = copy.wait_with_output().expect("its end");
    println!("the copy to the directory ended with {}", ended_by.status);
    assert!(matches!(ended_by.status.code(), Some(143 | 0)), "{}", String::from_utf8_lossy(&ended_by.stderr));
    let server = Server::start(&mut shared());
    pushed.is_served_by(&server);
    server.stop();

    // A directory that was not claimed yet would become a registry by `orlop check`, which opens it as a server does.
    let has_objects = || {
        let digits = fs::read_dir(after.join("objects")).into_iter().flatten().flatten();
        digits.into_iter().any(|digits| fs::read_dir(digits.path()).is_ok_and(|mut some| some.next().is_some()))
    };
    let claimed = || {
        let mut check = orlop(&["check", "--data"]);
        has_objects() && String::from_utf8_lossy(&ended(check.arg(&after)).stderr).contains("the copy is not complete")
    };
    let killed = killed_until_it_is_done(|| moving("directory", &after, &engines), claimed);
    println!("killed {killed} times while it copied to the directory");
    assert!(killed > 0, "it was never killed in the middle");
    let refused = refusal(&mut shared());
    assert!(refused.contains("is being copied by process"), "{refused}");
    let done = ended(&mut moving("directory", &after, &engines));
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() || told.contains("has this registry already"), "{told}");
    let server = Server::start(&mut serve(&after));
    pushed.is_served_by(&server);
    pushed.is_finished_by(&server);
    server.stop();
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_move_ends_at_bytes_that_are_not_what_they_should_be() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(database.database());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&mut serve(directory.path()));
    let pushed = Pushed::to(&server);
    server.stop();
    let objects = fs::read_dir(directory.path().join("objects")).expect("objects").flatten();
    let mut objects = objects.flat_map(|digits| fs::read_dir(digits.path()).into_iter().flatten().flatten());
    let object = objects.find(|object| object.metadata().is_ok_and(|found| found.len() == 50_000)).expect("one").path();
    let whole = fs::read(&object).expect("its bytes");
    let mut wrong = whole.clone();
    wrong[7] ^= 1;
    for (damaged, expected) in [(&wrong[..], "the digest"), (&whole[..49_999], "ended after")] {
        fs::write(&object, damaged).expect("a file");
        let refused = refusal(&mut moving("shared", directory.path(), &engines));
        assert!(refused.contains(expected) && refused.contains("orlop check"), "{refused}");
    }
    fs::remove_file(&object).expect("a file");
    let refused = refusal(&mut moving("shared", directory.path(), &engines));
    assert!(refused.contains("lacks the object"), "{refused}");
    fs::write(&object, &whole).expect("a file");
    assert!(ended(&mut moving("shared", directory.path(), &engines)).status.success());
    let mut command = orlop(&["serve", "--no-playground"]);
    let server = Server::start(on(&engines, &mut command));
    pushed.is_served_by(&server);
    server.stop();
}

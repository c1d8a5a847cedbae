//! Two machines that serve one registry, and a third on which an administrator works.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use orlop::Engines;
use orlop_conformance::image::Manifest;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::operator::{Server, ended, on, orlop};

/// How long something may take that a server does by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One of the machines that serve.
pub(crate) const ONE: usize = 0;
/// The other one.
pub(crate) const OTHER: usize = 1;

pub(crate) struct Pair {
    pub(crate) database: Postgres,
    pub(crate) store: ObjectServer,
    pub(crate) engines: Engines,
    pub(crate) machines: [Server; 2],
    settings: PathBuf,
    directory: TempDir,
}

/// What a client sees: a status and a body.
pub(crate) type Seen = (u16, Vec<u8>);

impl Pair {
    /// Two servers with a database and a store of their own. `settings` are the lines of the configuration file, which the
    /// commands of the administrator read as well.
    pub(crate) fn start(settings: &str) -> Self {
        let (database, store) = (Postgres::start(), ObjectServer::start());
        let engines = store.engines(database.database());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("orlop.toml");
        fs::write(&file, settings).expect("a file");
        let serve = || {
            let mut command = orlop(&["serve", "--no-playground"]);
            Server::start(on(&engines, command.env("ORLOP_CONFIG", &file)))
        };
        let machines = [serve(), serve()];
        Self { machines, database, store, engines, settings: file, directory }
    }

    /// A place for files of a test.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command with the settings of the servers, on their database and store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = orlop(arguments);
        on(&self.engines, command.env("ORLOP_CONFIG", &self.settings));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        ended(&mut self.command(arguments))
    }

    /// What a command prints that does what it is told.
    #[track_caller]
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        let (said, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{arguments:?}: {said}{wrong}");
        said.into_owned()
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        let said = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    }

    /// Why a command does not do what it is told.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert!(!done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stdout));
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    /// Pushes blobs and a manifest through one machine.
    #[track_caller]
    pub(crate) fn push(&self, machine: usize, repository: &str, reference: &str, manifest: &Manifest) {
        for blob in manifest.blobs() {
            assert_eq!(self.push_blob(machine, repository, blob).0, 201);
        }
        let (status, body) = self.push_manifest(machine, repository, reference, manifest);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    }

    pub(crate) fn push_manifest(&self, machine: usize, name: &str, reference: &str, manifest: &Manifest) -> Seen {
        let media = format!("Content-Type: {}\r\n", manifest.media_type());
        let target = format!("/v2/{name}/manifests/{reference}");
        let (status, _, body) = self.machines[machine].ask("PUT", &target, &media, &manifest.bytes());
        (status, body)
    }

    pub(crate) fn push_blob(&self, machine: usize, repository: &str, bytes: &[u8]) -> Seen {
        let digest = orlop_conformance::image::sha256(bytes);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let (status, _, body) = self.machines[machine].ask("POST", &target, "", bytes);
        (status, body)
    }

    /// What one machine answers.
    pub(crate) fn get(&self, machine: usize, target: &str) -> Seen {
        let (status, _, body) = self.machines[machine].ask("GET", target, "Accept: */*\r\n", b"");
        (status, body)
    }

    #[track_caller]
    pub(crate) fn delete(&self, machine: usize, target: &str) -> u16 {
        self.machines[machine].ask("DELETE", target, "", b"").0
    }

    /// That both machines answer all of these so.
    #[track_caller]
    pub(crate) fn both(&self, targets: &[String], status: u16) {
        for (machine, target) in (0..2).flat_map(|machine| targets.iter().map(move |target| (machine, target))) {
            let seen = self.get(machine, target);
            assert_eq!(seen.0, status, "machine {machine}: {target}: {}", String::from_utf8_lossy(&seen.1));
        }
    }

    /// What both machines answer, which is the same.
    #[track_caller]
    pub(crate) fn seen(&self, targets: &[String]) -> Vec<Seen> {
        let of = |machine: usize| targets.iter().map(|target| self.get(machine, target)).collect();
        let (one, other): (Vec<Seen>, Vec<Seen>) = (of(ONE), of(OTHER));
        for (target, (one, other)) in targets.iter().zip(one.iter().zip(&other)) {
            assert!(one == other, "{target}: {} and {}", one.0, other.0);
        }
        one
    }

    /// The files in which the store has the objects of this registry.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let is_object = |path: &PathBuf| path.parent().is_some_and(|parent| parent.ends_with("objects"));
        self.store.files().into_iter().filter(is_object).collect()
    }

    /// The file of the object that has these bytes.
    #[track_caller]
    pub(crate) fn object(&self, bytes: &[u8]) -> PathBuf {
        let found = self.objects().into_iter().find(|file| fs::read(file).is_ok_and(|content| content == bytes));
        found.expect("an object has these bytes")
    }

    /// That what is counted of repositories is what their records say.
    #[track_caller]
    pub(crate) fn counts_right(&self) {
        let told = self.done(&["usage", "--recount"]);
        assert!(told.contains(", 0 counters repaired"), "{told}");
    }

    /// What the database says of the records.
    pub(crate) fn records(&self, statement: &str) -> String {
        self.database.ask(database_of(&self.engines.records), statement)
    }

    /// A hash over the records, but for those by which hosts agree who is there and does what.
    pub(crate) fn all_records(&self) -> String {
        self.records(
            "SELECT md5(string_agg(md5(key) || md5(value), '' ORDER BY key)) FROM orlop.record \
             WHERE convert_from(key, 'UTF8') !~ '^(host/|lease/|meta/census)'",
        )
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: that does not come");
        sleep(Duration::from_millis(100));
    }
}

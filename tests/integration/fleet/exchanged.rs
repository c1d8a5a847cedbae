//! Registries that share a database and an object store, filled from elsewhere and written out.

use std::cell::RefCell;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use orlop::Engines;
use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256};

use crate::engines::{ObjectServer, Postgres};
use crate::faulty::{Asked, Fault, Faulty};
use crate::operator::{Server, ended, on, orlop, terminate};
use crate::pair::{ONE, OTHER, Pair, Seen, until};
use crate::registry::damage;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn layer(name: &str) -> String {
    format!("{name} ").repeat(20_000)
}

/// A registry with an index that is signed, an image that no tag leads to, and something that was deleted.
struct Pushed {
    pair: Pair,
    targets: Vec<String>,
    seen: Vec<Seen>,
}

impl Pushed {
    fn new() -> Self {
        let pair = Pair::start("scrub-rate = \"0\"\n");
        let images = [(AMD64, "one"), (ARM64, "two")].map(|(platform, name)| Manifest::image(platform, &layer(name)));
        let index = Manifest::index(&[&images[0], &images[1]]);
        let signature = Manifest::artifact("application/signature", "signed").about(&index);
        let (alone, gone) = (Manifest::image(AMD64, &layer("alone")), Manifest::image(AMD64, &layer("gone")));
        for (number, image) in images.iter().enumerate() {
            pair.push(number, "team/app", &image.digest(), image);
        }
        pair.push(ONE, "team/app", "v1", &index);
        pair.push(OTHER, "team/app", &signature.digest(), &signature);
        pair.push(OTHER, "alone", &alone.digest(), &alone);
        pair.push(ONE, "team/app", "gone", &gone);
        assert_eq!(pair.delete(OTHER, &format!("/v2/team/app/manifests/{}", gone.digest())), 202);
        let of = |name: &str, manifest: &Manifest| {
            let blobs = manifest.blobs().iter().map(|blob| format!("/v2/{name}/blobs/{}", sha256(blob)));
            blobs.chain([format!("/v2/{name}/manifests/{}", manifest.digest())]).collect::<Vec<_>>()
        };
        let mut targets: Vec<String> =
            [&images[0], &images[1], &index, &signature].into_iter().flat_map(|one| of("team/app", one)).collect();
        targets.extend(of("alone", &alone));
        targets.push("/v2/team/app/manifests/v1".into());
        targets.push(format!("/v2/team/app/referrers/{}", index.digest()));
        let seen = pair.seen(&targets);
        assert!(seen.iter().all(|(status, _)| *status == 200));
        Self { pair, targets, seen }
    }

    /// Another registry, with records and objects of its own.
    fn another(&self) -> Engines {
        self.pair.store.engines(self.pair.database.database())
    }

    fn is_served_on(&self, engines: &Engines) {
        let server = Server::start(on(engines, &mut orlop(&["serve", "--no-playground", "--scrub-rate", "0"])));
        for (target, seen) in self.targets.iter().zip(&self.seen) {
            let (status, _, body) = server.ask("GET", target, "Accept: */*\r\n", b"");
            assert!((status, &body) == (seen.0, &seen.1), "{target}: {status}: {}", String::from_utf8_lossy(&body));
        }
        assert_eq!(server.ask("GET", "/v2/team/app/manifests/gone", "", b"").0, 404);
        server.stop();
    }
}

fn on_these(engines: &Engines, arguments: &[&str]) -> Command {
    let mut command = orlop(arguments);
    on(engines, &mut command);
    command
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let done = ended(command);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_shared_registry_goes_into_a_layout_and_from_there_or_by_itself_into_another() {
    let pushed = Pushed::new();
    let layout = shown(&pushed.pair.place("layout"));
    let first = pushed.pair.json(&["export", "oci", &layout]);
    assert_eq!((&first["repositories"], &first["failures"]), (&2.into(), &serde_json::json!([])), "{first}");
    let second = pushed.pair.json(&["export", "oci", &layout]);
    assert_eq!(second["blobs"]["copied"], 0, "{second}");

    let another = pushed.another();
    done(&mut on_these(&another, &["import", "oci", &layout]));
    pushed.is_served_on(&another);
    let again: serde_json::Value =
        serde_json::from_str(&done(&mut on_these(&another, &["import", "oci", &layout, "--json"]))).expect("a report");
    assert_eq!(again["blobs"]["copied"], 0, "{again}");

    // By the server's own protocol: one machine is asked, beside all that it does.
    let third = pushed.another();
    let source = pushed.pair.machines[OTHER].address();
    let import = ["import", "registry", source, "--all", "--plain-http"];
    done(&mut on_these(&third, &import));
    let server = Server::start(on(&third, &mut orlop(&["serve", "--no-playground"])));
    let (status, _, body) = server.ask("GET", "/v2/team/app/manifests/v1", "Accept: */*\r\n", b"");
    let place = pushed.targets.iter().position(|target| target.ends_with("/v1")).expect("it is one of them");
    assert_eq!((status, &body), (200, &pushed.seen[place].1));
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_directory_of_distribution_becomes_a_shared_registry_by_a_move() {
    let pushed = Pushed::new();
    let tree = shown(&pushed.pair.place("tree"));
    let report = pushed.pair.json(&["export", "distribution", &tree]);
    assert_eq!((&report["failures"], &report["blobs"]["linked"]), (&serde_json::json!([]), &0.into()), "{report}");

    let another = pushed.another();
    let before = pushed.pair.all_records();
    for engines in [&another, &pushed.pair.engines] {
        let refused = ended(&mut on_these(engines, &["import", "distribution", &tree, "--read-only"]));
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains("orlop move --to shared"), "{told}");
    }
    assert_eq!(pushed.pair.all_records(), before, "it is refused before anything is done");

    let data = shown(&pushed.pair.place("data"));
    done(&mut orlop(&["import", "distribution", &tree, "--read-only", "--data", &data]));
    done(&mut on_these(&another, &["move", "--to", "shared", "--data", &data]));
    pushed.is_served_on(&another);
    // What was not hashed by the import was hashed by the move.
    let scrubbed = done(&mut on_these(&another, &["scrub"]));
    assert!(scrubbed.contains(" 0 damaged"), "{scrubbed}");
    let check = ended(&mut on_these(&another, &["check"]));
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

/// One image that cannot be read keeps no other from being written out.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn an_export_of_damaged_bytes_names_them_and_goes_on() {
    let pushed = Pushed::new();
    damage(&pushed.pair.object(layer("two").as_bytes()), 100);
    for (kind, name) in [("oci", "layout"), ("distribution", "tree")] {
        let target = pushed.pair.place(name);
        let refused = pushed.pair.refused(&["export", kind, &shown(&target)]);
        assert!(refused.contains("team/app"), "{refused}");
        println!("{kind}: {refused}");
        let hash = |bytes: &str| sha256(bytes).replace("sha256:", "");
        let files = files(&target);
        let has = |bytes: &str| files.iter().any(|file| fs::read(file).is_ok_and(|found| found == bytes.as_bytes()));
        assert!(has(&layer("alone")) && has(&layer("one")), "{files:?}");
        let wrong = files.iter().find(|file| shown(file).contains(&hash(&layer("two"))));
        assert!(wrong.is_none_or(|file| file.is_dir()), "{wrong:?}");
    }
}

/// SPEC Y47: a registry that a command used until a signal came can be moved at once.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn an_import_that_a_signal_ends_counts_no_more_as_using_the_registry() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(database.database());
    // A registry that never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    silent.set_nonblocking(true).expect("a socket");
    let address = silent.local_addr().expect("an address").to_string();
    let mut import = on_these(&engines, &["import", "registry", &address, "--all", "--plain-http"]);
    let import = import.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("orlop runs");
    let asked = RefCell::new(None);
    until("the import asks the other registry", || {
        *asked.borrow_mut() = silent.accept().ok();
        asked.borrow().is_some()
    });
    assert_eq!(database.users(&engines), "1");
    terminate(&import);
    let ended = import.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(143) && told.contains("interrupted"), "{told}");
    assert_eq!(database.users(&engines), "0");
}

/// SPEC Y47: the same of commands on what is stored.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_check_that_a_signal_ends_counts_no_more_as_using_the_registry() {
    let (database, store) = (Postgres::start(), ObjectServer::start());
    // Reading an object takes for ever.
    let reads = |asked: &Asked| asked.method == "GET" && asked.target.contains("/objects/");
    let slow = Faulty::to(store.port(), move |asked| reads(asked).then_some(Fault::Pause(FOR_EVER))).await;
    let engines = store.engines_by(slow.port, database.database());
    let server = Server::start(on(&engines, &mut orlop(&["serve", "--no-playground"])));
    let bytes = layer("pushed").into_bytes();
    let (status, ..) = server.ask("POST", &format!("/v2/app/blobs/uploads/?digest={}", sha256(&bytes)), "", &bytes);
    assert_eq!(status, 201);
    server.stop();
    assert_eq!(database.users(&engines), "0");
    let mut check = on_these(&engines, &["check"]);
    let check = check.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("orlop runs");
    until("the check reads an object", || !slow.happened().is_empty());
    assert_eq!(database.users(&engines), "1");
    terminate(&check);
    let ended = check.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(143) && told.contains("interrupted"), "{told}");
    assert_eq!(database.users(&engines), "0");
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            match entry.path() {
                path if path.is_dir() => directories.push(path),
                path => files.push(path),
            }
        }
    }
    files
}

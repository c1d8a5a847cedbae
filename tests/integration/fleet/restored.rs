//! A database that was restored to an earlier moment: as `orlop-cluster(7)` says it is done, with the archive of its log.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use orlop::Engines;
use orlop_core::digest::Algorithm;
use serde_json::Value as Json;

use crate::engines::{ObjectServer, Postgres};
use crate::moving::Pushed;
use crate::operator::{Server, ended, on, orlop};

/// A registry that was pushed to, emptied and collected, and whose database stands at the moment before that again.
struct Restored {
    database: Postgres,
    engines: Engines,
    keep: Option<&'static str>,
    pushed: Pushed,
    /// Where the image is that was pushed after that moment.
    later: String,
}

impl Restored {
    fn on(store: &ObjectServer, keep: Option<&'static str>) -> Self {
        let database = Postgres::archiving();
        let engines = store.engines(database.database());
        let backup = database.back_up();
        let server = Server::start(&mut command(&["serve", "--no-playground"], &engines, keep));
        let pushed = Pushed::to(&server);
        let moment = database.ask("postgres", "SELECT clock_timestamp()");
        sleep(Duration::from_millis(100));
        let bytes = vec![9; 200_000];
        let digest = Algorithm::Sha256.digest(&bytes);
        let later = format!("/v2/team/later/blobs/{digest}");
        let target = format!("/v2/team/later/blobs/uploads/?digest={digest}");
        assert_eq!(server.ask("POST", &target, "", &bytes).0, 201);
        pushed.is_deleted_from(&server);
        server.stop();
        let mut restored = Self { database, engines, keep, pushed, later };
        let first = restored.gc(&["--blob-grace", "0"]);
        let second = restored.gc(&["--blob-grace", "0"]);
        // The six that were there at that moment, and the one of later, which no manifest uses.
        assert_eq!(first["blobs_removed"], 7, "{first}");
        assert_eq!(second["objects_erased"], 0, "{second}");
        restored.database.restore(&backup, &moment);
        restored
    }

    fn orlop(&self, arguments: &[&str]) -> Command {
        command(arguments, &self.engines, self.keep)
    }

    fn serve(&self) -> Server {
        Server::start(&mut self.orlop(&["serve", "--no-playground"]))
    }

    /// The report of a collection.
    fn gc(&self, flags: &[&str]) -> Json {
        let done = ended(&mut self.orlop(&[&["gc", "--json"], flags].concat()));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).expect("a report")
    }

    /// What a check of all bytes says, and whether it finds nothing.
    fn check(&self) -> (bool, String) {
        let done = ended(&mut self.orlop(&["check"]));
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

fn command(arguments: &[&str], engines: &Engines, keep: Option<&str>) -> Command {
    let mut command = orlop(arguments);
    on(engines, &mut command);
    if let Some(keep) = keep {
        command.env("ORLOP_KEEP_ERASED", keep);
    }
    command
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_database_that_is_restored_to_a_moment_finds_its_bytes() {
    let store = ObjectServer::start();
    let restored = Restored::on(&store, None);
    let (sound, told) = restored.check();
    assert!(sound, "{told}");
    let server = restored.serve();
    restored.pushed.is_served_by(&server);
    assert_eq!(server.ask("GET", &restored.later, "", b"").0, 404, "it was pushed later");

    // What the database does not know is younger than calls can be, so it may be about to be named.
    let young = restored.gc(&[]);
    assert_eq!((&young["orphans_removed"], &young["objects_kept"]), (&0.into(), &0.into()), "{young}");
    let files = store.files();
    for file in &files {
        let long_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        std::fs::File::open(file).and_then(|file| file.set_modified(long_ago)).expect("a file");
    }
    let old = restored.gc(&[]);
    assert_eq!((&old["orphans_removed"], &old["objects_released"]), (&1.into(), &1.into()), "{old}");
    assert_eq!(store.files().len(), files.len(), "it is kept for another restore");
    restored.pushed.is_served_by(&server);

    let at_once = restored.gc(&["--keep-erased", "0"]);
    assert_eq!((&at_once["objects_erased"], &at_once["bytes_freed"]), (&1.into(), &200_000.into()), "{at_once}");
    assert_eq!(store.files().len(), files.len() - 1);
    restored.pushed.is_served_by(&server);
    restored.pushed.is_finished_by(&server);
    server.stop();
    let (sound, told) = restored.check();
    assert!(sound, "{told}");
}

/// Without it, the same is lost: the test above would notice.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_restored_database_lacks_bytes_that_are_not_kept() {
    let store = ObjectServer::start();
    let restored = Restored::on(&store, Some("0"));
    let (sound, told) = restored.check();
    // All objects that the restored records name were erased, so that a store out of order would look the same.
    assert!(!sound && told.contains("the storage of objects is empty"), "{told}");
}

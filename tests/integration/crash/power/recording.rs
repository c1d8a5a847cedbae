//! A scripted history of the real server, with everything that it did to its disk.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cut::{Cut, Found};
use super::disk::Disk;
use super::trace::{Event, TRACED, events};
use crate::journal::{Journal, Ledger, Outcome, Sent};
use crate::program::program;
use crate::server::{Server, scratch};
use crate::worker::Worker;

/// Blobs are small, so that the log is: what can be torn is torn in a few sectors as well as in a million.
const LARGEST: usize = 20_000;

/// What happened, and what clients were told while it did.
pub(crate) struct Recording {
    pub(crate) events: Vec<Event>,
    /// The directory that the events are about. Its own name is durable, and the data directory is made in it.
    pub(crate) top: PathBuf,
    pub(crate) journals: Vec<Journal>,
    pub(crate) sent: Sent,
}

/// Whether `strace` can be used; it is installed if that can be. What it cannot be used for is told.
pub(crate) fn can_trace() -> Result<(), String> {
    let works = || Command::new("strace").args(["-qqf", "-e", "trace=none", "true"]).output();
    if works().is_err() {
        let install = "apt-get install -y --no-install-recommends strace || (apt-get update && \
                       apt-get install -y --no-install-recommends strace)";
        let _ = Command::new("sh").args(["-c", install]).output();
    }
    match works() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        Err(error) => Err(format!("strace: {error}")),
    }
}

impl Recording {
    /// Lets two clients work through every kind of request, side by side, over two lives of a server.
    pub(crate) fn make(seed: u64) -> Self {
        let directory = scratch();
        let top = directory.path().join("top");
        fs::create_dir(&top).unwrap();
        let data = top.join("data");
        let mut workers = [Worker::new(0, seed, "", LARGEST), Worker::new(1, seed, "", LARGEST)];
        let mut happened = Vec::new();
        for life in 0..2 {
            let log = directory.path().join(format!("log{life}"));
            let server = traced(&log, &data);
            std::thread::scope(|scope| {
                for worker in &mut workers {
                    worker.move_to(&server.address);
                    scope.spawn(|| script(worker).expect("the server lives"));
                }
            });
            kill_traced(server, &log);
            happened.extend(events(&fs::read_to_string(&log).unwrap()));
        }
        for worker in &workers {
            assert!(worker.failures.is_empty(), "a healthy server failed: {:?}", worker.failures);
        }
        let mut sent = Sent::default();
        let journals = workers.map(|worker| worker.journal);
        journals.iter().for_each(|journal| sent.add(&journal.sent));
        let recording = Self { events: happened, top, journals: journals.into(), sent };
        recording.is_complete();
        recording
    }

    /// The events must make of an empty directory what the server has made of it: then nothing is missing.
    fn is_complete(&self) {
        let mut disk = Disk::new(&self.top);
        self.events.iter().for_each(|event| disk.happen(event, &mut |_| false));
        let (told, real) = (Cut::Everything.of(&disk), Found::read(&self.top).unwrap());
        assert_eq!(told.difference(&real), Vec::<String>::new(), "the log does not tell all that was done");
        let mut answers = HashMap::new();
        for event in &self.events {
            if let Event::Answer { port } = event {
                *answers.entry(*port).or_insert(0_usize) += 1;
            }
        }
        for entry in self.journals.iter().flat_map(|journal| &journal.entries) {
            let told = answers.get(&entry.place.0).is_some_and(|&count| count > entry.place.1);
            assert!(told || matches!(entry.outcome, Outcome::Unanswered), "no answer to {} in the log", entry.call);
        }
    }

    /// What may be found after a crash when that many answers had gone out to each port.
    pub(crate) fn ledger(&self, answers: &HashMap<u16, usize>) -> Ledger {
        let mut ledger = Ledger::default();
        for journal in &self.journals {
            ledger.add(journal, |entry| answers.get(&entry.place.0).is_some_and(|&count| count > entry.place.1));
        }
        ledger
    }
}

/// Every kind of request, the more telling ones more than once.
fn script(worker: &mut Worker) -> io::Result<()> {
    worker.push_whole()?;
    worker.push_in_chunks(true)?;
    worker.push_in_chunks(false)?;
    worker.push_image()?;
    worker.mount()?;
    worker.push_by_sha512()?;
    worker.cut_chunk()?;
    worker.push_image()?;
    worker.move_tag()?;
    worker.push_in_chunks(true)?;
    worker.delete_blob()?;
    worker.delete_tag()?;
    worker.push_wrong()?;
    worker.resume()?;
    worker.push_by_sha512()?;
    worker.delete_manifest()?;
    worker.push_in_chunks(false)?;
    worker.push_in_chunks(false)?;
    worker.cancel()?;
    worker.push_whole()
}

fn traced(log: &Path, data: &Path) -> Server {
    let mut strace = Command::new("strace");
    // All bytes in hexadecimal, descriptors with what they stand for, and no call that is not asked for.
    strace.args(["-f", "-qq", "-yy", "-xx", "-s", "10000000", "--seccomp-bpf", "-e", "signal=none"]);
    strace.args(["-e", &format!("trace={TRACED}"), "-o"]).arg(log).arg(program());
    // A log that is moved into the records many times.
    Server::start_by(strace, data, &["--keep-free", "0", "--gc-interval", "300ms", "--record-log", "16KiB"])
}

/// Kills the server that a tracer has started. The tracer ends with it.
///
/// It is stopped first, so that no call is under way of which the log would not tell how it ended.
fn kill_traced(mut server: Server, log: &Path) {
    let text = fs::read_to_string(log).unwrap();
    let id = text.split_whitespace().next().expect("a log begins with a process");
    let signal = |name| assert!(Command::new("kill").args([name, id]).status().unwrap().success());
    signal("-STOP");
    while !fs::read_dir(format!("/proc/{id}/task")).unwrap().all(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.to_ascii_lowercase().contains("\tt "))
    }) {
        std::thread::sleep(Duration::from_millis(1));
    }
    signal("-KILL");
    server.ended();
}

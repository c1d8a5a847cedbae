//! `kill -9` at random moments under load: what was acknowledged is there after the restart.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::journal::{Journal, Ledger, Outcome, Sent};
use crate::program::program;
use crate::random::{Random, seed, switch};
use crate::reachable::gc_and_look;
use crate::served::Client;
use crate::server::{Server, scratch, spawn};
use crate::verify::{needed, verify};
use crate::worker::Worker;

/// How many rounds a data directory lives. Then it is collected and looked through, and a new one begins.
const ROUNDS: usize = 6;

/// How many clients there are at once.
const CLIENTS: u64 = 4;

/// The longest a server lives, in microseconds.
const LIFE: usize = 250_000;

/// Garbage collections run beside the load, all the time.
const FLAGS: [&str; 4] = ["--gc-interval", "40ms", "--keep-free", "0"];

/// `ORLOP_CRASH_ROUNDS=300` makes it hundreds of rounds.
#[test]
fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    let rounds = switch("ORLOP_CRASH_ROUNDS", 12);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut told = Told::default();
    let mut number = 0;
    while number < rounds {
        let directory = scratch();
        let data = directory.path().join("data");
        let mut state = State::default();
        for _ in 0..ROUNDS.min(rounds - number) {
            number += 1;
            if let Err(error) = round(&data, &mut state, random.word(), &mut told) {
                panic!("round {number} with ORLOP_SEED={seed}: {error}\ndata in {}", directory.keep().display());
            }
        }
        if let Err(error) = collected(&data, &state) {
            panic!("after round {number} with ORLOP_SEED={seed}: {error}\ndata in {}", directory.keep().display());
        }
    }
    println!("{rounds} rounds of kill -9: {told:?}");
    assert!(told.acknowledged > rounds * 5, "there was no load: {told:?}");
}

/// What all clients were told so far.
#[derive(Default)]
struct State {
    ledger: Ledger,
    sent: Sent,
}

#[derive(Debug, Default)]
struct Told {
    acknowledged: usize,
    under_way: usize,
    facts_checked: usize,
    killed_while_starting: usize,
}

/// One life of the server: load, `kill -9`, and a look at what is there afterwards.
fn round(data: &Path, state: &mut State, seed: u64, told: &mut Told) -> Result<(), String> {
    let mut random = Random::new(seed);
    if random.once_in(4) {
        // It may be killed before it listens, too.
        let mut child = spawn(Command::new(program()), data, &FLAGS);
        std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
        let _ = child.kill();
        let _ = child.wait();
        told.killed_while_starting += 1;
    }
    let server = Server::start(data, &FLAGS);
    let life = Duration::from_micros(random.below(LIFE) as u64);
    let (journals, load) = under_load(server, seed, life)?;
    for journal in &journals {
        told.acknowledged += journal.entries.iter().filter(|e| !matches!(e.outcome, Outcome::Unanswered)).count();
        told.under_way += journal.entries.iter().filter(|e| matches!(e.outcome, Outcome::Unanswered)).count();
        state.ledger.add(journal, |_| true);
        state.sent.add(&journal.sent);
    }
    let server = Server::start(data, &FLAGS);
    let finish = || random.once_in(2);
    let found = verify(&mut Client::new(&server.address), &state.ledger, &state.sent, finish);
    let log = server.kill();
    state.ledger = found.map_err(|error| {
        let before: Vec<_> = load.lines().filter(|line| names_a_word_of(line, &error)).collect();
        format!("{error}\nlog of it before the kill:\n{}\nlog of the server:\n{log}", before.join("\n"))
    })?;
    // What a session was finished to be is a blob from now on.
    let finished: Vec<_> = state.sent.sessions.values().cloned().collect();
    state.sent.blobs.extend(finished.into_iter().map(|bytes| (orlop_conformance::image::sha256(&bytes), bytes)));
    told.facts_checked += state.ledger.facts.len();
    Ok(())
}

/// Whether a line of a log is about a digest or a session that an error names.
fn names_a_word_of(line: &str, error: &str) -> bool {
    let ids = error.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.len() >= 36);
    ids.into_iter().any(|id| line.contains(id))
}

/// Lets clients work until the server is killed. What they were told, and the log of the server.
fn under_load(server: Server, seed: u64, life: Duration) -> Result<(Vec<Journal>, String), String> {
    let address = server.address.clone();
    let (workers, log): (Vec<Worker>, String) = std::thread::scope(|scope| {
        let work = |number| {
            let address = address.as_str();
            move || {
                let mut worker = Worker::new(number, seed, address, 200_000);
                while let ControlFlow::Continue(()) = worker.act().map_or(ControlFlow::Break(()), ControlFlow::Continue)
                {
                }
                worker
            }
        };
        let threads: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(work(number))).collect();
        std::thread::sleep(life);
        let log = server.kill();
        (threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect(), log)
    });
    match workers.iter().flat_map(|worker| &worker.failures).next() {
        Some((call, reply)) => Err(format!("a healthy server failed: {call}: {}", reply.text())),
        None => Ok((workers.into_iter().map(|worker| worker.journal).collect(), log)),
    }
}

/// Collects garbage, first by the program and its flags, then as if a day had passed, and looks at what is left each
/// time.
fn collected(data: &Path, state: &State) -> Result<(), String> {
    let graces =
        ["--blob-grace", "0", "--upload-lifetime", "0", "--undelete-within", "0", "--keep-free", "0", "--json"];
    // What was deleted is purged first: from then on its blobs have their grace.
    for _ in 0..2 {
        let mut gc = Command::new(program());
        let done = gc.arg("gc").arg("--data").arg(data).args(graces).output().map_err(|error| error.to_string())?;
        if !done.status.success() {
            return Err(format!("gc: {}", String::from_utf8_lossy(&done.stderr)));
        }
    }
    let needed = needed(&state.ledger, &state.sent);
    let mut left = state.ledger.clone();
    left.facts.retain(|fact, values| match fact {
        crate::journal::Fact::Blob { repository, digest } => {
            let used = needed.get(digest).is_some_and(|places| places.contains(repository));
            if !used {
                *values = vec![crate::journal::Value::Absent];
            }
            true
        }
        crate::journal::Fact::Session { .. } => {
            *values = vec![crate::journal::Value::Absent];
            true
        }
        _ => true,
    });
    let server = Server::start(data, &FLAGS);
    let found = verify(&mut Client::new(&server.address), &left, &state.sent, || false);
    let log = server.kill();
    found.map_err(|error| format!("after a garbage collection: {error}\n{log}"))?;
    gc_and_look(data, &left, &state.sent)
}

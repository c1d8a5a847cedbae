//! The dialogue with the database, cut after each of its bytes: what is said of a commit is what became of it.

use std::cell::Cell;
use std::fmt::Debug;
use std::time::Duration;

use orlop::Host;
use orlop_core::effect::{Commit, Committed, Durability, Expect, Get};
use orlop_core::keys::Key;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::outcomes::ask;
use crate::processes::full;
use crate::proxy::{Direction, Proxy};

/// How many places are cut in each direction; all of them with `ORLOP_FLEET=full`.
const PLACES: usize = 16;

fn counter() -> Key {
    Key::stored("count")
}

fn mark(number: usize) -> Key {
    Key::stored(format!("mark/{number:05}"))
}

/// Makes a record that is not there, and counts it.
fn create(number: usize) -> Commit {
    Commit {
        expect: vec![Expect::Absent(mark(number))],
        put: vec![(mark(number), "1".into())],
        add: vec![(counter(), 1)],
        delete: vec![],
        durability: Durability::Durable,
        reclaims: false,
    }
}

/// The numbers of bytes after which a dialogue of that length is cut.
fn places(length: usize) -> impl Iterator<Item = usize> {
    (1..=length).step_by(if full() { 1 } else { length.div_ceil(PLACES).max(1) })
}

/// A host that speaks to its database through a proxy, and what its clients have made.
struct Cutting {
    postgres: Postgres,
    _store: ObjectServer,
    proxy: Proxy,
    /// The name of the database.
    name: String,
    host: Host,
    /// How many records were made.
    made: usize,
    /// How many dialogues ended before they were cut, since they were shorter than the one that was measured.
    uncut: Cell<usize>,
}

/// How many connections read at most.
const READERS: usize = 8;

impl Cutting {
    async fn start() -> Self {
        let (postgres, store) = (Postgres::start(), ObjectServer::start());
        let proxy = Proxy::to(postgres.port()).await;
        let records = postgres.database();
        let name = database_of(&records).to_owned();
        let through = records.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port));
        let host = Host::connect(&store.engines(through), &orlop::Options::default()).await.expect("both answer");
        let mut cutting = Self { postgres, _store: store, proxy, name, host, made: 0, uncut: Cell::new(0) };
        // All connections are there, and what a process does once is done.
        cutting.create([]).await;
        for _ in 0..2 * READERS {
            cutting.look([]).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        cutting
    }

    /// Makes a record, whose dialogue is cut after so many bytes, and then looks whether what was said of it is true. Returns
    /// how many bytes went in each direction after the last cut.
    async fn create(&mut self, cuts: impl IntoIterator<Item = (Direction, usize)> + Copy + Debug) -> [usize; 2] {
        self.proxy.cut_after(cuts);
        let told = ask(&self.host, create(self.made)).await;
        self.uncut.set(self.uncut.get() + usize::from(!self.proxy.has_cut()));
        let passed = self.proxy.cut_after([]);
        assert_eq!(told, Ok(Committed::Done), "a way to the database was there all the time: {cuts:?}");
        let key = mark(self.made);
        let there = format!("SELECT count(*) FROM orlop.record WHERE key = '{key:?}'");
        assert_eq!(self.postgres.ask(&self.name, &there), "1", "acknowledged and not there: {cuts:?}");
        self.made += 1;
        assert_eq!(self.count(), self.made.to_string(), "each was made once: {cuts:?}");
        passed
    }

    /// Looks records up, whose dialogue is cut after so many bytes.
    async fn look(&self, cuts: impl IntoIterator<Item = (Direction, usize)> + Copy + Debug) -> [usize; 2] {
        self.proxy.cut_after(cuts);
        let told = ask(&self.host, Get { keys: vec![mark(0), counter()] }).await.expect("it is asked again");
        self.uncut.set(self.uncut.get() + usize::from(!self.proxy.has_cut()));
        let passed = self.proxy.cut_after([]);
        assert_eq!(told, vec![Some("1".into()), Some(self.count().into_bytes().into())], "{cuts:?}");
        passed
    }

    /// Most dialogues were cut that were to be: how long they are depends on how far the database was.
    fn was_cut(&self) {
        let uncut = self.uncut.get();
        println!("{uncut} dialogues of {} ended before they were cut", self.made);
        assert!(uncut <= self.made / 4, "{uncut} of {}", self.made);
    }

    fn count(&self) -> String {
        self.postgres.ask(&self.name, "SELECT convert_from(value, 'UTF8') FROM orlop.record WHERE key = 'count'")
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_dialogue_that_is_cut_at_any_byte_tells_no_lie() {
    let mut cutting = Cutting::start().await;
    let (commit, look) = (cutting.create([]).await, cutting.look([]).await);
    assert!(commit[0] > 100 && commit[1] > 20 && look[0] > 50 && look[1] > 20, "{commit:?} {look:?}");
    println!("a commit has {commit:?} bytes to the database and back, a look-up {look:?}");
    for direction in [Direction::ToServer, Direction::ToClient] {
        for place in places(commit[direction as usize]) {
            cutting.create([(direction, place)]).await;
        }
        for place in places(look[direction as usize]) {
            cutting.look([(direction, place)]).await;
        }
    }
    cutting.was_cut();
}

/// A commit whose connection was cut makes another one, and finds out what became of it: that dialogue is cut too.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn what_became_of_a_commit_is_found_out_although_that_is_cut_too() {
    let mut cutting = Cutting::start().await;
    let commit = cutting.create([]).await;
    // Before the database has all of it, and when it has made it.
    for first in [(Direction::ToServer, commit[0] / 2), (Direction::ToClient, 1)] {
        let settle = cutting.create([first]).await;
        println!("to connect and to settle has {settle:?} bytes to the database and back, after {first:?}");
        for direction in [Direction::ToServer, Direction::ToClient] {
            for place in places(settle[direction as usize]) {
                cutting.create([first, (direction, place)]).await;
            }
        }
    }
    cutting.was_cut();
}

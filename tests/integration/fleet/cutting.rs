//! The dialogue with the database, cut after each of its bytes: what is said of a commit is what became of it.

use orlop::Host;
use orlop_core::Fault;
use orlop_core::effect::{Commit, Committed, Durability, Expect, Get};
use orlop_core::keys::Key;

use crate::engines::{ObjectServer, Postgres, database_of};
use crate::outcomes::ask;
use crate::proxy::{Direction, Proxy};

/// How many places are cut in each direction; all of them with `ORLOP_FLEET=full`.
const PLACES: usize = 24;

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
    let all = std::env::var("ORLOP_FLEET").is_ok_and(|wanted| wanted == "full");
    (1..=length).step_by(if all { 1 } else { length.div_ceil(PLACES).max(1) })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn a_dialogue_that_is_cut_at_any_byte_tells_no_lie() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let proxy = Proxy::to(postgres.port()).await;
    let records = postgres.database();
    let name = database_of(&records).to_owned();
    let through = records.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port));
    let host = Host::connect(&store.engines(through), &orlop::Options::default()).await.expect("both answer");
    // The length of both dialogues, once all connections are there.
    let look_up = || Get { keys: vec![mark(0), counter()] };
    assert_eq!(ask(&host, create(0)).await, Ok(Committed::Done));
    ask(&host, look_up()).await.expect("it is answered");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    proxy.cut_after(None);
    assert_eq!(ask(&host, create(1)).await, Ok(Committed::Done));
    let commit = proxy.cut_after(None);
    ask(&host, look_up()).await.expect("it is answered");
    let look = proxy.cut_after(None);
    assert!(commit[0] > 100 && commit[1] > 20 && look[0] > 50 && look[1] > 20, "{commit:?} {look:?}");

    let (mut number, mut unknown) = (2, 0);
    for direction in [Direction::ToServer, Direction::ToClient] {
        for place in places(commit[direction as usize]) {
            proxy.cut_after(Some((direction, place)));
            let told = ask(&host, create(number)).await;
            proxy.cut_after(None);
            let there =
                postgres.ask(&name, &format!("SELECT count(*) FROM orlop.record WHERE key = '{:?}'", mark(number)));
            match told {
                Ok(Committed::Done) => assert_eq!(there, "1", "acknowledged and not there: {direction:?} {place}"),
                Ok(Committed::Conflict) => panic!("it conflicts with itself: {direction:?} {place}"),
                Err(Fault::Unavailable(_)) => unknown += 1,
                Err(fault) => panic!("{direction:?} {place}: {fault}"),
            }
            number += 1;
        }
        for place in places(look[direction as usize]) {
            proxy.cut_after(Some((direction, place)));
            let told = ask(&host, Get { keys: vec![mark(0), counter()] }).await.expect("it is asked again");
            proxy.cut_after(None);
            let count = postgres.ask(&name, "SELECT convert_from(value, 'UTF8') FROM orlop.record WHERE key = 'count'");
            assert_eq!(told, vec![Some("1".into()), Some(count.into_bytes().into())], "{direction:?} {place}");
        }
    }
    assert_eq!(unknown, 0, "a way to the database was there all the time");
    let count = postgres.ask(&name, "SELECT convert_from(value, 'UTF8') FROM orlop.record WHERE key = 'count'");
    assert_eq!(count, number.to_string(), "each was made once");
}

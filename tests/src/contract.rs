//! The contract suite: what every host must do, as flows that ask effects and look at the outcomes.
//!
//! A host runs them with the loop it runs the registry with, each [`Case`] on a store of its own, one [`Act`] after
//! the other. So memory, disk and browser pass the same suite.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use orlop_core::Step;
use orlop_core::digest::Algorithm;
use orlop_core::effect::{
    BodyEnd, Collect, Collected, Commit, Committed, Durability, Erase, Expect, Get, Inventory, Join, Load, Measure,
    Receive, Scan,
};
use orlop_core::keys::{Key, Prefix};
use orlop_core::memory::RequestBody;
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::step::{Io, start};
use uuid::Uuid;

/// Something that every host must do.
pub struct Case {
    /// The fact.
    pub name: &'static str,
    /// What shows it, in order, on one store.
    pub acts: Vec<Act>,
}

/// One call.
pub struct Act {
    /// The body of its request.
    pub body: RequestBody,
    /// What it asks and expects.
    flow: fn(Io) -> Checking,
}

type Checking = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl Act {
    /// Begins the call; it ends with what was wrong, if anything was.
    pub fn begin(&self) -> Step<Result<(), String>> {
        start(self.flow)
    }
}

/// Declares a case: its name, then each call with its body.
macro_rules! case {
    ($name:literal, $( $body:expr => |$io:ident| $flow:block ),+ $(,)?) => {
        Case { name: $name, acts: vec![$( Act {
            body: $body,
            flow: |$io| Box::pin(async move { $flow; #[allow(unreachable_code)] Ok(()) }),
        } ),+] }
    };
}

macro_rules! expect_eq {
    ($got:expr, $wanted:expr) => {{
        // A `match`, so that what the operands borrow lives as long as they do.
        match (&$got, &$wanted) {
            (got, wanted) if got == wanted => {}
            (got, wanted) => {
                return Err(format!("line {}: {} gave {got:?} instead of {wanted:?}", line!(), stringify!($got)));
            }
        }
    }};
}

macro_rules! ask {
    ($io:expr, $effect:expr) => {
        $io.ask($effect).await.map_err(|fault| format!("line {}: {fault}", line!()))?
    };
}

mod served;
mod upstreams;

pub use self::served::{Served, served};
pub use self::upstreams::{Upstreams, upstreams};

fn body(bytes: &'static [u8]) -> RequestBody {
    RequestBody::from(Bytes::from_static(bytes))
}

fn cut(bytes: &'static [u8]) -> RequestBody {
    RequestBody { cut: true, ..body(bytes) }
}

fn none() -> RequestBody {
    RequestBody::default()
}

fn slow(bytes: &'static [u8]) -> RequestBody {
    RequestBody { slow: true, ..body(bytes) }
}

fn object(nonce: u128) -> ObjectId {
    ObjectId::received_by(Uuid::from_u128(nonce))
}

/// Receives the whole body into an object, however few its bytes are.
fn receive(nonce: u128) -> Receive {
    Receive { object: object(nonce), meter: sha256(), keep: 0, pause: Duration::MAX }
}

fn load(objects: &[u128], limit: u64) -> Load {
    Load { objects: objects.iter().copied().map(object).collect(), limit }
}

fn measure(objects: &[u128]) -> Measure {
    Measure { objects: objects.iter().copied().map(object).collect(), meter: sha256() }
}

fn erase(objects: &[u128]) -> Erase {
    Erase { objects: objects.iter().copied().map(object).collect() }
}

fn bytes(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

fn sha256() -> Meter {
    Meter::new(Algorithm::Sha256)
}

fn measured(bytes: &[u8]) -> Meter {
    let mut meter = sha256();
    meter.update(bytes);
    meter
}

fn key(text: &str) -> Key {
    Key::stored(text)
}

fn put(puts: &[(&str, &str)]) -> Commit {
    let put = puts.iter().map(|(k, v)| (key(k), Bytes::copy_from_slice(v.as_bytes()))).collect();
    Commit { expect: vec![], put, add: vec![], delete: vec![], durability: Durability::Durable, reclaims: false }
}

fn add(adds: &[(&str, i64)]) -> Commit {
    Commit { add: adds.iter().map(|(k, more)| (key(k), *more)).collect(), ..put(&[]) }
}

fn scan(prefix: &str, after: Option<&str>, limit: usize, bytes: usize) -> Scan {
    Scan { prefix: Prefix::stored(prefix), after: after.map(key), limit, bytes }
}

fn names(entries: &[(Key, Bytes)]) -> Vec<&str> {
    entries.iter().map(|(key, _)| key.as_str()).collect()
}

/// A call that was held up after it had received its body, for a host whose calls live no time at all and whose clock
/// goes on: it commits nothing (the [stall rule](orlop_core::stall)).
pub fn stalled() -> Act {
    let flow: fn(Io) -> Checking = |io| {
        Box::pin(async move {
            expect_eq!(ask!(io, put(&[("before", "1")])), Committed::Done);
            ask!(io, receive(1));
            if io.ask(put(&[("after", "1")])).await.is_ok() {
                return Err("a call that was held up has committed".into());
            }
            expect_eq!(ask!(io, Get { keys: vec![key("before"), key("after")] }), vec![Some(bytes(b"1")), None]);
            Ok(())
        })
    };
    Act { body: body(b"hello"), flow }
}

/// Every case.
pub fn suite() -> Vec<Case> {
    let mut cases = bodies();
    cases.extend(bytes_at_rest());
    cases.extend(records());
    cases
}

fn bodies() -> Vec<Case> {
    vec![
        case!("a body is collected whole up to its limit", body(b"hello") => |io| {
            expect_eq!(ask!(io, Collect { limit: 5 }), Collected::Whole(Bytes::from_static(b"hello")));
        }),
        case!("a body longer than its limit is not collected", body(b"hello") => |io| {
            expect_eq!(ask!(io, Collect { limit: 4 }), Collected::TooLarge);
        }),
        case!("a body that breaks off is not collected", cut(b"hell") => |io| {
            expect_eq!(ask!(io, Collect { limit: 5 }), Collected::Cut);
        }),
        case!("no body is collected as no bytes", none() => |io| {
            expect_eq!(ask!(io, Collect { limit: 0 }), Collected::Whole(Bytes::new()));
        }),
        case!("a body is received past the meter", body(b"hello") => |io| {
            let received = ask!(io, Receive { meter: measured(b"before "), ..receive(1) });
            expect_eq!((received.end, received.kept), (BodyEnd::Whole, None));
            expect_eq!(received.meter, measured(b"before hello"));
        }),
        case!("a body that ends at the limit of its meter is whole", body(b"hello") => |io| {
            let received = ask!(io, Receive { meter: sha256().with_limit(5), ..receive(1) });
            expect_eq!(received.end, BodyEnd::Whole);
            expect_eq!(received.meter.count(), 5);
        }),
        case!("nothing is kept past the limit of the meter",
            body(b"hello") => |io| {
                let received = ask!(io, Receive { meter: sha256().with_limit(4), ..receive(1) });
                expect_eq!(received.end, BodyEnd::TooLarge);
                expect_eq!(received.meter.digest(), measured(b"hell").digest());
            },
            none() => |io| {
                expect_eq!(ask!(io, load(&[1], 9)), Some(bytes(b"hell")));
            }
        ),
        case!("what came before a body broke off is kept",
            cut(b"hell") => |io| {
                let received = ask!(io, receive(1));
                expect_eq!(received.end, BodyEnd::Cut);
                expect_eq!(received.meter, measured(b"hell"));
            },
            none() => |io| {
                expect_eq!(ask!(io, load(&[1], 9)), Some(bytes(b"hell")));
            }
        ),
        case!("a body of no bytes makes no object", none() => |io| {
            let received = ask!(io, Receive { keep: 9, ..receive(1) });
            expect_eq!((received.end, received.meter.count(), received.kept), (BodyEnd::Whole, 0, None));
            expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
        }),
        case!("a body as small as is to be kept comes back and makes no object", body(b"hello") => |io| {
            let received = ask!(io, Receive { keep: 5, ..receive(1) });
            expect_eq!((received.end, received.kept), (BodyEnd::Whole, Some(bytes(b"hello"))));
            expect_eq!(received.meter, measured(b"hello"));
            expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
        }),
        case!("a body larger than what is to be kept makes an object", body(b"hello") => |io| {
            let received = ask!(io, Receive { keep: 4, ..receive(1) });
            expect_eq!((received.end, received.kept), (BodyEnd::Whole, None));
            expect_eq!(ask!(io, load(&[1], 9)), Some(bytes(b"hello")));
        }),
        case!("small bodies come back however they end",
            cut(b"hell") => |io| {
                let received = ask!(io, Receive { keep: 9, ..receive(1) });
                expect_eq!((received.end, received.kept), (BodyEnd::Cut, Some(bytes(b"hell"))));
            },
            body(b"hello") => |io| {
                let meter = sha256().with_limit(4);
                let received = ask!(io, Receive { keep: 4, meter, ..receive(1) });
                expect_eq!((received.end, received.kept), (BodyEnd::TooLarge, Some(bytes(b"hell"))));
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
            }
        ),
        case!("a body that pauses goes on into the same object",
            slow(b"hello world") => |io| {
                let pause = Duration::from_millis(20);
                let mut received = ask!(io, Receive { keep: 99, pause, ..receive(1) });
                expect_eq!((received.end, &received.kept), (BodyEnd::Later, &None));
                for _ in 0..1000 {
                    if received.end != BodyEnd::Later {
                        break;
                    }
                    received = ask!(io, Receive { meter: received.meter, pause, ..receive(1) });
                }
                expect_eq!((received.end, received.meter), (BodyEnd::Whole, measured(b"hello world")));
            },
            none() => |io| {
                expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(b"hello world")));
            }
        ),
        case!("an object that was erased while its body paused is gone",
            slow(b"hello world") => |io| {
                let received = ask!(io, Receive { pause: Duration::from_millis(20), ..receive(1) });
                expect_eq!(received.end, BodyEnd::Later);
                ask!(io, erase(&[1]));
            },
            none() => |io| {
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
            }
        ),
    ]
}

fn bytes_at_rest() -> Vec<Case> {
    vec![
        case!("objects are read one behind the other, in the order that is asked for",
            body(b"hello ") => |io| { ask!(io, receive(2)); },
            body(b"world") => |io| { ask!(io, receive(1)); },
            none() => |io| {
                expect_eq!(ask!(io, load(&[2, 1], 11)), Some(bytes(b"hello world")));
                expect_eq!(ask!(io, load(&[1, 2, 1], 99)), Some(bytes(b"worldhello world")));
                expect_eq!(ask!(io, measure(&[2, 1])), Some(measured(b"hello world")));
                expect_eq!(ask!(io, load(&[], 0)), Some(Bytes::new()));
                expect_eq!(ask!(io, measure(&[])), Some(sha256()));
            }
        ),
        case!("objects are joined in order, and stay",
            body(b"hello ") => |io| { ask!(io, receive(2)); },
            body(b"world") => |io| { ask!(io, receive(1)); },
            none() => |io| {
                let into = ObjectId { nonce: Uuid::from_u128(3), index: 1 };
                expect_eq!(ask!(io, Join { from: vec![object(2), object(1)], into }), true);
                expect_eq!(ask!(io, load(&[1], 9)), Some(bytes(b"world")));
                ask!(io, erase(&[1, 2]));
                expect_eq!(ask!(io, Load { objects: vec![into], limit: 99 }), Some(bytes(b"hello world")));
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }).len(), 1);
            }
        ),
        case!("an object that is not there is not joined, and nothing comes of it",
            body(b"hello") => |io| { ask!(io, receive(1)); },
            none() => |io| {
                expect_eq!(ask!(io, Join { from: vec![object(1), object(2)], into: object(3) }), false);
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }).len(), 1);
            }
        ),
        case!("objects larger than the limit together are not loaded, but measured",
            body(b"hello") => |io| { ask!(io, receive(1)); },
            none() => |io| {
                expect_eq!(ask!(io, load(&[1], 5)), Some(bytes(b"hello")));
                expect_eq!(ask!(io, load(&[1], 4)), None);
                expect_eq!(ask!(io, load(&[1, 1], 9)), None);
                expect_eq!(ask!(io, measure(&[1])), Some(measured(b"hello")));
            }
        ),
        case!("an object that is not there is neither loaded nor measured, and can be erased",
            body(b"hello") => |io| { ask!(io, receive(1)); },
            none() => |io| {
                expect_eq!(ask!(io, load(&[1, 2], 9)), None);
                expect_eq!(ask!(io, measure(&[1, 2])), None);
                ask!(io, erase(&[2, 1, 3]));
                expect_eq!(ask!(io, load(&[1], 9)), None);
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
                ask!(io, erase(&[]));
            }
        ),
        case!("many objects are erased at once, and no others",
            body(b"hello") => |io| { ask!(io, receive(1)); },
            none() => |io| {
                let joined = |index: u32| ObjectId { nonce: Uuid::from_u128(2), index };
                for index in 0..100 {
                    expect_eq!(ask!(io, Join { from: vec![object(1)], into: joined(index) }), true);
                }
                // Every second one of two hundred, of which half are there.
                ask!(io, Erase { objects: (0..100).map(|index| joined(2 * index)).collect() });
                let left = ask!(io, Inventory { after: None, limit: 999 });
                let left: Vec<ObjectId> = left.iter().map(|stored| stored.object).collect();
                let mut expected = vec![object(1)];
                expected.extend((0..50).map(|index| joined(2 * index + 1)));
                expect_eq!(left, expected);
            }
        ),
        case!("the inventory lists every object once, in order, a page at a time",
            body(b"one") => |io| { ask!(io, receive(1)); },
            body(b"three") => |io| { ask!(io, receive(2 << 120)); },
            none() => |io| {
                let mut expected = vec![object(1), object(2 << 120)];
                for (nonce, index) in [(1, 1), (1, 2), (1, 10), (5 << 120, 0), (255 << 120, 7), (2 << 120, 11)] {
                    let into = ObjectId { nonce: Uuid::from_u128(nonce), index };
                    expect_eq!(ask!(io, Join { from: vec![object(1)], into }), true);
                    expected.push(into);
                }
                expected.sort();
                for limit in 1..=9 {
                    let (mut listed, mut after) = (Vec::new(), None);
                    loop {
                        let page = ask!(io, Inventory { after, limit });
                        let Some(last) = page.last() else { break };
                        if page.len() > limit {
                            return Err(format!("a page of {} instead of {limit}", page.len()));
                        }
                        after = Some(last.object);
                        listed.extend(page.iter().map(|stored| stored.object));
                    }
                    expect_eq!(&listed, &expected);
                }
                let first = &ask!(io, Inventory { after: None, limit: 1 })[0];
                expect_eq!(first.size, 3);
                if first.age > Duration::from_secs(60) {
                    return Err(format!("it was just made, not {:?} ago", first.age));
                }
            }
        ),
    ]
}

fn records() -> Vec<Case> {
    vec![
        case!("what is put is got, in the order of the keys asked for", none() => |io| {
            ask!(io, put(&[("a", "1"), ("b", "")]));
            let got = ask!(io, Get { keys: vec![key("b"), key("c"), key("a")] });
            expect_eq!(got, vec![Some(Bytes::new()), None, Some(Bytes::from_static(b"1"))]);
            expect_eq!(ask!(io, Get { keys: vec![] }), vec![]);
        }),
        case!("a commit happens only when all it expects holds", none() => |io| {
            ask!(io, put(&[("a", "1"), ("dir/x", "2")]));
            let exactly = |k: &str, v: &'static str| Expect::Exactly(key(k), Bytes::from_static(v.as_bytes()));
            let none_under = |p: &str| Expect::NoneUnder(Prefix::stored(p));
            let table = [
                (Expect::Absent(key("b")), Committed::Done),
                (Expect::Absent(key("a")), Committed::Conflict),
                (Expect::Present(key("a")), Committed::Done),
                (Expect::Present(key("b")), Committed::Conflict),
                (exactly("a", "1"), Committed::Done),
                (exactly("a", "2"), Committed::Conflict),
                (exactly("a", ""), Committed::Conflict),
                (exactly("b", ""), Committed::Conflict),
                (none_under("dir/y"), Committed::Done),
                (none_under("dir0"), Committed::Done),
                (none_under("e"), Committed::Done),
                (none_under("dir/"), Committed::Conflict),
                (none_under("dir/x"), Committed::Conflict),
                (none_under(""), Committed::Conflict),
            ];
            for (expectation, outcome) in table {
                let commit = Commit { expect: vec![Expect::Present(key("a")), expectation.clone()], ..put(&[("z", "3")]) };
                let committed = ask!(io, commit);
                if committed != outcome {
                    return Err(format!("{expectation:?} gave {committed:?}"));
                }
                let [z] = ask!(io, Get { keys: vec![key("z")] }).try_into().unwrap_or([None]);
                expect_eq!(z.is_some(), outcome == Committed::Done);
                ask!(io, Commit { delete: vec![key("z")], ..put(&[]) });
            }
        }),
        case!("a commit deletes first and puts then", none() => |io| {
            ask!(io, put(&[("a", "1")]));
            ask!(io, Commit { delete: vec![key("a"), key("absent")], ..put(&[("a", "2")]) });
            expect_eq!(ask!(io, Get { keys: vec![key("a")] }), vec![Some(Bytes::from_static(b"2"))]);
            ask!(io, Commit { delete: vec![key("a")], ..put(&[]) });
            expect_eq!(ask!(io, Get { keys: vec![key("a")] }), vec![None]);
        }),
        case!("a counter is added to, from nothing, down to nothing and no further", none() => |io| {
            let stands = |value: Option<&'static str>| vec![value.map(Bytes::from)];
            let asked = || Get { keys: vec![key("count")] };
            ask!(io, add(&[("count", 5)]));
            expect_eq!(ask!(io, asked()), stands(Some("5")));
            ask!(io, add(&[("count", -2)]));
            expect_eq!(ask!(io, asked()), stands(Some("3")));
            ask!(io, add(&[("count", -3)]));
            expect_eq!(ask!(io, asked()), stands(None));
            ask!(io, add(&[("count", -1)]));
            expect_eq!(ask!(io, asked()), stands(None));
            ask!(io, add(&[("count", i64::MAX)]));
            ask!(io, add(&[("count", i64::MAX)]));
            expect_eq!(ask!(io, asked()), stands(Some("18446744073709551614")));
        }),
        case!("a commit that conflicts adds nothing", none() => |io| {
            let commit = Commit { expect: vec![Expect::Present(key("a"))], ..add(&[("count", 5)]) };
            expect_eq!(ask!(io, commit), Committed::Conflict);
            expect_eq!(ask!(io, Get { keys: vec![key("count")] }), vec![None]);
        }),
        case!("a commit that reclaims space is made like any other", none() => |io| {
            ask!(io, put(&[("a", "1")]));
            let commit = Commit { delete: vec![key("a")], reclaims: true, ..put(&[("b", "2")]) };
            expect_eq!(ask!(io, commit), Committed::Done);
            expect_eq!(ask!(io, Get { keys: vec![key("a"), key("b")] }), vec![None, Some(bytes(b"2"))]);
        }),
        case!("an eventual commit is seen at once", none() => |io| {
            let committed = ask!(io, Commit { durability: Durability::Eventual, ..put(&[("a", "1")]) });
            expect_eq!(committed, Committed::Done);
            expect_eq!(ask!(io, Get { keys: vec![key("a")] }), vec![Some(Bytes::from_static(b"1"))]);
            let commit = Commit { expect: vec![Expect::Absent(key("a"))], ..put(&[("b", "1")]) };
            expect_eq!(ask!(io, commit), Committed::Conflict);
        }),
        case!("a scan gives what is under its prefix, in byte order", none() => |io| {
            ask!(io, put(&[("p", ""), ("p/b", ""), ("p/B", ""), ("p/a-b", ""), ("p/a", ""), ("p/a/b", ""), ("p0", ""), ("q", "")]));
            let all = ask!(io, scan("p/", None, 99, 999));
            expect_eq!(names(&all), ["p/B", "p/a", "p/a-b", "p/a/b", "p/b"]);
            expect_eq!(names(&ask!(io, scan("", None, 99, 999))).len(), 8);
            expect_eq!(names(&ask!(io, scan("r", None, 99, 999))).len(), 0);
        }),
        case!("a scan goes on after any key, there or not, within its prefix or not", none() => |io| {
            ask!(io, put(&[("a", ""), ("p/b", ""), ("p/d", ""), ("q", "")]));
            let table: [(&str, &[&str]); 7] = [
                ("p/b", &["p/d"]), ("p/c", &["p/d"]), ("p/d", &[]), ("p/z", &[]),
                ("p/", &["p/b", "p/d"]), ("a", &["p/b", "p/d"]), ("z", &[]),
            ];
            for (after, expected) in table {
                expect_eq!(names(&ask!(io, scan("p/", Some(after), 99, 999))), expected);
            }
        }),
        case!("a scan ends at its limits, but gives one entry if there is one", none() => |io| {
            ask!(io, put(&[("p/a", "12345"), ("p/b", "12345"), ("p/c", "12345")]));
            expect_eq!(names(&ask!(io, scan("p/", None, 2, 999))), ["p/a", "p/b"]);
            expect_eq!(names(&ask!(io, scan("p/", None, 99, 10))), ["p/a", "p/b"]);
            expect_eq!(names(&ask!(io, scan("p/", None, 99, 9))), ["p/a"]);
            expect_eq!(names(&ask!(io, scan("p/", None, 99, 0))), ["p/a"]);
        }),
        case!("a value of megabytes is kept", none() => |io| {
            let large = Bytes::from(vec![7; 5 << 20]);
            ask!(io, Commit { put: vec![(key("large"), large.clone())], ..put(&[]) });
            expect_eq!(ask!(io, Get { keys: vec![key("large")] }) == vec![Some(large)], true);
        }),
    ]
}

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
    Assemble, BodyEnd, Collect, Collected, Commit, Committed, ContentId, Durability, Erase, Expect, Get, Inventory,
    Load, Measure, Object, PartId, Receive, Scan,
};
use orlop_core::keys::{Key, Prefix};
use orlop_core::memory::RequestBody;
use orlop_core::meter::Meter;
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

fn body(bytes: &'static [u8]) -> RequestBody {
    RequestBody::from(Bytes::from_static(bytes))
}

fn cut(bytes: &'static [u8]) -> RequestBody {
    RequestBody { cut: true, ..body(bytes) }
}

fn none() -> RequestBody {
    RequestBody::default()
}

fn part(nonce: u128) -> PartId {
    PartId { upload: Uuid::from_u128(7), nonce: Uuid::from_u128(nonce) }
}

/// A content that holds these bytes, by its name.
fn content(bytes: &[u8], nonce: u128) -> ContentId {
    ContentId { digest: Algorithm::Sha256.digest(bytes), nonce: Uuid::from_u128(nonce) }
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
    Commit { expect: vec![], put, delete: vec![], durability: Durability::Durable }
}

fn scan(prefix: &str, after: Option<&str>, limit: usize, bytes: usize) -> Scan {
    Scan { prefix: Prefix::stored(prefix), after: after.map(key), limit, bytes }
}

fn names(entries: &[(Key, Bytes)]) -> Vec<&str> {
    entries.iter().map(|(key, _)| key.as_str()).collect()
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
            let received = ask!(io, Receive { part: part(1), meter: measured(b"before ") });
            expect_eq!(received.end, BodyEnd::Whole);
            expect_eq!(received.meter, measured(b"before hello"));
        }),
        case!("a body that ends at the limit of its meter is whole", body(b"hello") => |io| {
            let received = ask!(io, Receive { part: part(1), meter: sha256().with_limit(5) });
            expect_eq!(received.end, BodyEnd::Whole);
            expect_eq!(received.meter.count(), 5);
        }),
        case!("nothing is kept past the limit of the meter",
            body(b"hello") => |io| {
                let received = ask!(io, Receive { part: part(1), meter: sha256().with_limit(4) });
                expect_eq!(received.end, BodyEnd::TooLarge);
                expect_eq!(received.meter.digest(), measured(b"hell").digest());
            },
            none() => |io| {
                ask!(io, Assemble { parts: vec![part(1)], content: content(b"hell", 1) });
                expect_eq!(ask!(io, Load { content: content(b"hell", 1), limit: 9 }), Some(Bytes::from_static(b"hell")));
            }
        ),
        case!("what came before a body broke off is kept",
            cut(b"hell") => |io| {
                let received = ask!(io, Receive { part: part(1), meter: sha256() });
                expect_eq!(received.end, BodyEnd::Cut);
                expect_eq!(received.meter, measured(b"hell"));
            },
            none() => |io| {
                ask!(io, Assemble { parts: vec![part(1)], content: content(b"hell", 1) });
                expect_eq!(ask!(io, Load { content: content(b"hell", 1), limit: 9 }), Some(Bytes::from_static(b"hell")));
            }
        ),
        case!("a body of no bytes makes no part", none() => |io| {
            let received = ask!(io, Receive { part: part(1), meter: sha256() });
            expect_eq!((received.end, received.meter.count()), (BodyEnd::Whole, 0));
            expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
        }),
    ]
}

fn bytes_at_rest() -> Vec<Case> {
    vec![
        case!("parts become a content in order, and stay",
            body(b"hello ") => |io| { ask!(io, Receive { part: part(2), meter: sha256() }); },
            body(b"world") => |io| { ask!(io, Receive { part: part(1), meter: sha256() }); },
            none() => |io| {
                let whole = content(b"hello world", 9);
                ask!(io, Assemble { parts: vec![part(2), part(1)], content: whole });
                expect_eq!(ask!(io, Load { content: whole, limit: 11 }), Some(Bytes::from_static(b"hello world")));
                let again = content(b"hello ", 10);
                ask!(io, Assemble { parts: vec![part(2)], content: again });
                expect_eq!(ask!(io, Load { content: again, limit: 11 }), Some(Bytes::from_static(b"hello ")));
            }
        ),
        case!("a content outlives the parts it was made of",
            body(b"hello") => |io| { ask!(io, Receive { part: part(1), meter: sha256() }); },
            none() => |io| {
                let whole = content(b"hello", 1);
                ask!(io, Assemble { parts: vec![part(1)], content: whole });
                ask!(io, Erase { target: Object::Part(part(1)) });
                expect_eq!(ask!(io, Load { content: whole, limit: 5 }), Some(Bytes::from_static(b"hello")));
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }).len(), 1);
            }
        ),
        case!("no parts make an empty content", none() => |io| {
            let empty = content(b"", 1);
            ask!(io, Assemble { parts: vec![], content: empty });
            expect_eq!(ask!(io, Load { content: empty, limit: 0 }), Some(Bytes::new()));
            expect_eq!(ask!(io, Measure { content: empty, meter: sha256() }), Some(sha256()));
        }),
        case!("to assemble a part that is not there is a fault", none() => |io| {
            if io.ask(Assemble { parts: vec![part(1)], content: content(b"x", 1) }).await.is_ok() {
                return Err("it was assembled".into());
            }
            expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
        }),
        case!("a content larger than the limit is not loaded, but measured",
            body(b"hello") => |io| { ask!(io, Receive { part: part(1), meter: sha256() }); },
            none() => |io| {
                let whole = content(b"hello", 1);
                ask!(io, Assemble { parts: vec![part(1)], content: whole });
                expect_eq!(ask!(io, Load { content: whole, limit: 4 }), None);
                expect_eq!(ask!(io, Measure { content: whole, meter: sha256() }), Some(measured(b"hello")));
            }
        ),
        case!("what is not there is neither loaded nor measured, and erased in peace", none() => |io| {
            expect_eq!(ask!(io, Load { content: content(b"x", 1), limit: 9 }), None);
            expect_eq!(ask!(io, Measure { content: content(b"x", 1), meter: sha256() }), None);
            ask!(io, Erase { target: Object::Content(content(b"x", 1)) });
            ask!(io, Erase { target: Object::Part(part(1)) });
        }),
        case!("two contents of one digest are two objects",
            body(b"hello") => |io| { ask!(io, Receive { part: part(1), meter: sha256() }); },
            none() => |io| {
                ask!(io, Assemble { parts: vec![part(1)], content: content(b"hello", 1) });
                ask!(io, Assemble { parts: vec![part(1)], content: content(b"hello", 2) });
                ask!(io, Erase { target: Object::Content(content(b"hello", 1)) });
                expect_eq!(ask!(io, Load { content: content(b"hello", 1), limit: 9 }), None);
                expect_eq!(ask!(io, Load { content: content(b"hello", 2), limit: 9 }), Some(Bytes::from_static(b"hello")));
            }
        ),
        case!("the inventory lists every object once, in order, a page at a time",
            body(b"one") => |io| { ask!(io, Receive { part: part(1), meter: sha256() }); },
            body(b"three") => |io| { ask!(io, Receive { part: part(2), meter: sha256() }); },
            none() => |io| {
                let mut expected = vec![Object::Part(part(1)), Object::Part(part(2))];
                for nonce in 1..=5 {
                    let made = content(&[nonce as u8 % 3], nonce);
                    ask!(io, Assemble { parts: vec![part(1)], content: made });
                    expected.push(Object::Content(made));
                }
                let sha512 = ContentId { digest: Algorithm::Sha512.digest(b""), nonce: Uuid::from_u128(1) };
                ask!(io, Assemble { parts: vec![], content: sha512 });
                expected.push(Object::Content(sha512));
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

//! What hosts promise of the effects that ask the registries behind mirrors.

use std::time::Duration;

use bytes::Bytes;
use orlop_core::digest::Algorithm;
use orlop_core::effect::{BodyEnd, Fetch, Follow, Get, Inquire, Inventory, Relay};
use orlop_core::memory::{Memory, RequestBody, Upstream as Other, request};
use orlop_core::meter::Meter;
use orlop_core::mirror::{
    Answer, As, Fetching, Followed, Mirror, Relayed, Source, Unmet, Upstream, UpstreamName, Wanted,
};
use orlop_core::{Config, Error, Method, Registry, Step};

use super::{Act, Case, bytes, erase, key, load, measured, none, object, put, sha256};

/// A case, and the registries that its host finds behind its upstreams.
pub struct Upstreams {
    /// The case.
    pub case: Case,
    /// Each upstream by its name.
    pub upstreams: Vec<(UpstreamName, Other)>,
}

const FIRST: &str = "first";
const SECOND: &str = "second";
const BLOB: &[u8] = b"hello world";
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Far more questions than it takes to learn that a fetch is over.
const PATIENCE: usize = 10_000;

/// A registry with one repository, `a`, that has a blob, an empty blob, and a manifest under the tag `v1`.
fn registry() -> Other {
    let mut other = Other::new(Registry::new(Config { via: "upstream".into(), small_object: 0, ..Config::default() }));
    let mut send = |method, target: String, body: &'static [u8], media_type: &str| {
        let mut request = request(method, target);
        request.headers.push("Content-Type", media_type);
        request.length = Some(body.len() as u64);
        let answer = other.memory.call(&other.registry, &request, RequestBody::from(body));
        assert_eq!(answer.status, 201, "the upstream of a case refuses what it is to have");
    };
    for blob in [BLOB, b""] {
        let target = format!("/v2/a/blobs/uploads/?digest={}", Algorithm::Sha256.digest(blob));
        send("POST", target, blob, "application/octet-stream");
    }
    send("PUT", "/v2/a/manifests/v1".into(), MANIFEST.as_bytes(), INDEX);
    other
}

/// A registry whose connections break after so many bytes of a blob each, in this order.
fn breaking(breaks: &[usize]) -> Other {
    Other { breaks: breaks.iter().rev().copied().collect(), ..registry() }
}

fn answering(unmet: Unmet) -> Other {
    Other { unmet: Some(unmet), ..registry() }
}

fn wanted(method: Method, resource: &str) -> Wanted {
    Wanted {
        upstream: UpstreamName::new(FIRST),
        method,
        repository: "a".parse().expect("the name of a repository"),
        resource: resource.into(),
        accept: vec![INDEX],
        login: As::Mirror,
        via: "1.1 mirror".into(),
    }
}

fn source(upstream: &str, blob: &[u8]) -> Source {
    Source {
        upstream: UpstreamName::new(upstream),
        repository: "a".parse().expect("the name of a repository"),
        digest: Algorithm::Sha256.digest(blob),
        login: As::Mirror,
        via: "1.1 mirror".into(),
    }
}

/// Fetches the blob into an object, however few its bytes are.
fn fetch(nonce: u128, meter: Meter) -> Fetch {
    Fetch { source: source(FIRST, BLOB), object: object(nonce), meter, keep: 0 }
}

/// The fetch of a blob into `hub/a`, as a call asks for it that wants the blob.
fn fetching(blob: &[u8]) -> Result<Fetching, String> {
    let upstreams = vec![Upstream { name: UpstreamName::new(FIRST), official: String::new() }];
    let mirrors = vec![Mirror { prefix: "hub/".into(), upstreams, ..Mirror::default() }];
    let registry = Registry::new(Config { mirrors, small_object: 4, ..Config::default() });
    let mut memory = Memory::new();
    let wanted = request("GET", format!("/v2/hub/a/blobs/{}", Algorithm::Sha256.digest(blob)));
    let mut step = registry.call(wanted, memory.ambient());
    for _ in 0..PATIENCE {
        step = match step {
            Step::Follow(ask) => return Ok(ask.effect.fetching),
            Step::Respond(answer) | Step::Answered(answer, _) => return Err(format!("it was answered {answer:?}")),
            asking => memory.perform(asking, &none()),
        };
    }
    Err("it asks for other things without end".into())
}

/// Every case with an upstream.
pub fn upstreams() -> Vec<Upstreams> {
    let of = |others: Vec<Other>, case: Case| {
        let names = [FIRST, SECOND].into_iter().map(UpstreamName::new);
        Upstreams { case, upstreams: names.zip(others).collect() }
    };
    let well = |case: Case| of(vec![registry()], case);
    vec![
        well(case!("an upstream is asked, and answers whole", none() => |io| {
            let limit = MANIFEST.len() as u64;
            let digest = Algorithm::Sha256.digest(MANIFEST.as_bytes());
            let answer = Answer {
                media_type: Some(INDEX.into()),
                digest: Some(digest),
                length: Some(limit),
                next: None,
                body: Bytes::from_static(MANIFEST.as_bytes()),
            };
            let resource = format!("manifests/{digest}");
            expect_eq!(ask!(io, Inquire { wanted: wanted(Method::Get, "manifests/v1"), limit }), Ok(answer.clone()));
            expect_eq!(ask!(io, Inquire { wanted: wanted(Method::Get, &resource), limit }), Ok(answer.clone()));
            let head = Answer { body: Bytes::new(), ..answer };
            expect_eq!(ask!(io, Inquire { wanted: wanted(Method::Head, "manifests/v1"), limit: 0 }), Ok(head));
            let blob = format!("blobs/{}", Algorithm::Sha256.digest(BLOB));
            let answer = ask!(io, Inquire { wanted: wanted(Method::Head, &blob), limit: 0 });
            expect_eq!(answer.map(|answer| answer.length), Ok(Some(BLOB.len() as u64)));
        })),
        well(case!("an answer longer than its limit is a failure", none() => |io| {
            let limit = MANIFEST.len() as u64 - 1;
            let answer = ask!(io, Inquire { wanted: wanted(Method::Get, "manifests/v1"), limit });
            expect_eq!(matches!(answer, Err(Unmet::Failed(_))), true);
        })),
        well(case!("what an upstream does not have is absent", none() => |io| {
            let asked = ask!(io, Inquire { wanted: wanted(Method::Get, "manifests/v2"), limit: 99 });
            expect_eq!(asked, Err(Unmet::Absent));
            let asked = ask!(io, Inquire { wanted: wanted(Method::Head, "manifests/v2"), limit: 0 });
            expect_eq!(asked, Err(Unmet::Absent));
            let fetched = ask!(io, Fetch { source: source(FIRST, b"other"), ..fetch(1, sha256()) });
            expect_eq!(fetched.map(|received| received.end), Err(Unmet::Absent));
            expect_eq!(ask!(io, Relay { source: source(FIRST, b"other"), range: None }), Err(Unmet::Absent));
            expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
        })),
        of(
            vec![answering(Unmet::Denied)],
            case!("what an upstream refuses is denied", none() => |io| {
                let asked = ask!(io, Inquire { wanted: wanted(Method::Get, "manifests/v1"), limit: 99 });
                expect_eq!(asked, Err(Unmet::Denied));
                expect_eq!(ask!(io, fetch(1, sha256())).map(|received| received.end), Err(Unmet::Denied));
            }),
        ),
        of(
            vec![answering(Unmet::Paused(Duration::from_secs(30)))],
            case!("an upstream that is asked too often says for how long", none() => |io| {
                let asked = ask!(io, Inquire { wanted: wanted(Method::Get, "manifests/v1"), limit: 99 });
                expect_eq!(matches!(asked, Err(Unmet::Paused(time)) if time <= Duration::from_secs(30) && time > Duration::from_secs(20)), true);
                let fetched = ask!(io, fetch(1, sha256())).map(|received| received.end);
                expect_eq!(matches!(fetched, Err(Unmet::Paused(_))), true);
            }),
        ),
        of(
            vec![answering(Unmet::Failed("it is broken".into()))],
            case!("an upstream that fails has failed", none() => |io| {
                let asked = ask!(io, Inquire { wanted: wanted(Method::Get, "manifests/v1"), limit: 99 });
                expect_eq!(matches!(asked, Err(Unmet::Failed(_))), true);
                expect_eq!(matches!(ask!(io, fetch(1, sha256())), Err(Unmet::Failed(_))), true);
                expect_eq!(matches!(ask!(io, Relay { source: source(FIRST, BLOB), range: None }), Err(Unmet::Failed(_))), true);
            }),
        ),
        well(case!("a blob is fetched past the meter, and its object stays",
            none() => |io| {
                let received = ask!(io, fetch(1, measured(b""))).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, received.kept), (BodyEnd::Whole, None));
                expect_eq!(received.meter, measured(BLOB));
            },
            none() => |io| {
                expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(BLOB)));
                ask!(io, erase(&[1]));
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
            }
        )),
        well(case!("a blob as small as is to be kept comes back and makes no object", none() => |io| {
            let keep = BLOB.len();
            let received = ask!(io, Fetch { keep, ..fetch(1, sha256()) }).map_err(|unmet| unmet.to_string())?;
            expect_eq!((received.end, received.kept), (BodyEnd::Whole, Some(bytes(BLOB))));
            expect_eq!(received.meter, measured(BLOB));
            let empty = Fetch { source: source(FIRST, b""), ..fetch(2, sha256()) };
            let received = ask!(io, empty).map_err(|unmet| unmet.to_string())?;
            expect_eq!((received.end, received.kept, received.meter.count()), (BodyEnd::Whole, None, 0));
            expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
            let received = ask!(io, Fetch { keep: keep - 1, ..fetch(1, sha256()) }).map_err(|unmet| unmet.to_string())?;
            expect_eq!((received.end, received.kept), (BodyEnd::Whole, None));
            expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(BLOB)));
        })),
        well(case!("nothing of a blob is kept past the limit of the meter", none() => |io| {
            let limit = BLOB.len() as u64;
            let received = ask!(io, fetch(1, sha256().with_limit(limit))).map_err(|unmet| unmet.to_string())?;
            expect_eq!((received.end, received.meter.count()), (BodyEnd::Whole, limit));
            let received = ask!(io, fetch(2, sha256().with_limit(limit - 1))).map_err(|unmet| unmet.to_string())?;
            expect_eq!(received.end, BodyEnd::TooLarge);
            expect_eq!(received.meter.count() < limit, true);
        })),
        of(
            vec![breaking(&[5, 3])],
            case!("a fetch goes on behind a break, in the same object",
                none() => |io| {
                    let received = ask!(io, fetch(1, sha256())).map_err(|unmet| unmet.to_string())?;
                    expect_eq!((received.end, received.kept), (BodyEnd::Cut, None));
                    expect_eq!(received.meter, measured(b"hello"));
                    let received = ask!(io, fetch(1, received.meter)).map_err(|unmet| unmet.to_string())?;
                    expect_eq!(received.end, BodyEnd::Cut);
                    expect_eq!(received.meter, measured(b"hello wo"));
                    let received = ask!(io, fetch(1, received.meter)).map_err(|unmet| unmet.to_string())?;
                    expect_eq!((received.end, received.kept), (BodyEnd::Whole, None));
                    expect_eq!(received.meter, measured(BLOB));
                },
                none() => |io| {
                    expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(BLOB)));
                }
            ),
        ),
        of(
            vec![breaking(&[5]), registry()],
            case!("a fetch goes on with another upstream",
                none() => |io| {
                    let received = ask!(io, fetch(1, sha256())).map_err(|unmet| unmet.to_string())?;
                    expect_eq!((received.end, &received.meter), (BodyEnd::Cut, &measured(b"hello")));
                    let other = Fetch { source: source(SECOND, BLOB), ..fetch(1, received.meter) };
                    let received = ask!(io, other).map_err(|unmet| unmet.to_string())?;
                    expect_eq!((received.end, received.meter), (BodyEnd::Whole, measured(BLOB)));
                },
                none() => |io| {
                    expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(BLOB)));
                }
            ),
        ),
        of(
            vec![breaking(&[5]), answering(Unmet::Absent)],
            case!("a fetch goes on after an upstream that does not have the blob",
                none() => |io| {
                    let received = ask!(io, fetch(1, sha256())).map_err(|unmet| unmet.to_string())?;
                    expect_eq!((received.end, &received.meter), (BodyEnd::Cut, &measured(b"hello")));
                    let meter = received.meter;
                    let other = Fetch { source: source(SECOND, BLOB), ..fetch(1, meter.clone()) };
                    expect_eq!(ask!(io, other).map(|received| received.end), Err(Unmet::Absent));
                    let received = ask!(io, fetch(1, meter)).map_err(|unmet| unmet.to_string())?;
                    expect_eq!((received.end, received.meter), (BodyEnd::Whole, measured(BLOB)));
                },
                none() => |io| {
                    expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(BLOB)));
                }
            ),
        ),
        of(
            vec![breaking(&[5])],
            case!("a fetch that is given up leaves nothing", none() => |io| {
                let received = ask!(io, fetch(1, sha256())).map_err(|unmet| unmet.to_string())?;
                expect_eq!(received.end, BodyEnd::Cut);
                ask!(io, erase(&[1]));
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
                let received = ask!(io, fetch(1, sha256())).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, received.meter), (BodyEnd::Whole, measured(BLOB)));
                expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(BLOB)));
            }),
        ),
        of(
            vec![breaking(&[5])],
            case!("a fetch does not go on with an object that is gone", none() => |io| {
                let received = ask!(io, fetch(1, sha256())).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, &received.meter), (BodyEnd::Cut, &measured(b"hello")));
                ask!(io, erase(&[1]));
                let received = ask!(io, fetch(1, received.meter)).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, received.kept, received.meter), (BodyEnd::Cut, None, sha256()));
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
                let received = ask!(io, fetch(2, measured(b"hello"))).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, received.kept, received.meter), (BodyEnd::Cut, None, sha256()));
                let received = ask!(io, fetch(2, sha256())).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, received.meter), (BodyEnd::Whole, measured(BLOB)));
                expect_eq!(ask!(io, load(&[2], 99)), Some(bytes(BLOB)));
            }),
        ),
        of(
            vec![breaking(&[4])],
            case!("few bytes before a break come back, or are in the object that the fetch goes on with", none() => |io| {
                let received = ask!(io, Fetch { keep: 4, ..fetch(1, sha256()) }).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, &received.meter), (BodyEnd::Cut, &measured(b"hell")));
                let begun = match received.kept {
                    Some(kept) => {
                        expect_eq!(kept, bytes(b"hell"));
                        expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
                        sha256()
                    }
                    None => received.meter,
                };
                let received = ask!(io, fetch(1, begun)).map_err(|unmet| unmet.to_string())?;
                expect_eq!((received.end, received.kept), (BodyEnd::Whole, None));
                expect_eq!(received.meter, measured(BLOB));
                expect_eq!(ask!(io, load(&[1], 99)), Some(bytes(BLOB)));
            }),
        ),
        well(case!("what is relayed is said to be of a blob of some size, and is not kept", none() => |io| {
            let size = BLOB.len() as u64;
            expect_eq!(ask!(io, Relay { source: source(FIRST, BLOB), range: Some(6..9) }), Ok(Relayed { size }));
            expect_eq!(ask!(io, Relay { source: source(FIRST, BLOB), range: None }), Ok(Relayed { size }));
            expect_eq!(ask!(io, Inventory { after: None, limit: 9 }), vec![]);
        })),
        well(case!("a fetch that is followed ends with the blob in the repository",
            none() => |io| {
                let fetching = fetching(BLOB)?;
                let mut over = None;
                for _ in 0..PATIENCE {
                    match ask!(io, Follow { fetching: fetching.clone() }) {
                        Followed::Coming(size) => {
                            expect_eq!(size, BLOB.len() as u64);
                            // It takes a moment until it is over.
                            ask!(io, put(&[("pause", "1")]));
                        }
                        Followed::Over(result) => {
                            over = Some(result);
                            break;
                        }
                    }
                }
                expect_eq!(over, Some(Ok(())));
            },
            none() => |io| {
                let digest = Algorithm::Sha256.digest(BLOB);
                let keys = vec![key(&format!("link/hub/a@{digest}")), key(&format!("blob/{digest}"))];
                expect_eq!(ask!(io, Get { keys }).iter().all(Option::is_some), true);
                expect_eq!(ask!(io, Inventory { after: None, limit: 9 }).len(), 1);
            }
        )),
        well(case!("who follows a fetch of what is not there is told so", none() => |io| {
            let fetching = fetching(b"other")?;
            let unknown = Error::BlobUnknown(fetching.digest);
            expect_eq!(ask!(io, Follow { fetching }), Followed::Over(Err(unknown)));
        })),
    ]
}

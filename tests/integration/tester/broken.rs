//! Registries that are broken on purpose: the core, but for one thing. Most of them are deviations that registries
//! in use have, or had.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use orlop_conformance::image::sha256;
use orlop_conformance::tester::memory::InMemory;
use orlop_conformance::tester::{Answer, Exchange, Target, Unreachable};
use serde_json::json;

/// One thing that is broken, and what must find it.
pub(crate) struct Breakage {
    pub(crate) name: &'static str,
    /// Changes a request before the core sees it.
    pub(crate) before: fn(&mut Exchange),
    /// Changes an answer, or drops it; what it remembers is by path.
    pub(crate) after: fn(&Exchange, Answer, &mut Memory) -> Changed,
    /// The check that must fail.
    pub(crate) check: Option<&'static str>,
    /// A random history must fail, and be shrunk to at most that many operations.
    pub(crate) history: Option<usize>,
    /// A concurrent history must fail.
    pub(crate) concurrent: bool,
}

type Memory = BTreeMap<String, Answer>;
type Changed = Result<Answer, Unreachable>;

const NONE: Breakage = Breakage {
    name: "",
    before: |_| {},
    after: |_, answer, _| Ok(answer),
    check: None,
    history: None,
    concurrent: false,
};

pub(crate) const BREAKAGES: &[Breakage] = &[
    Breakage {
        name: "chunks out of order are taken",
        before: |exchange| exchange.headers.retain(|(name, _)| exchange.method != "PATCH" || name != "Content-Range"),
        check: Some("F2-a-gap-between-chunks-is-refused"),
        history: Some(2),
        concurrent: true,
        ..NONE
    },
    Breakage {
        name: "a blob asked by SHA-512 is answered with its SHA-256",
        after: |exchange, answer, _| {
            let digest = sha256(&answer.body);
            let named = exchange.target.contains("/blobs/sha512:") && exchange.method == "GET";
            Ok(if named { with(answer, "Docker-Content-Digest", &digest) } else { answer })
        },
        check: Some("C3-the-digest-has-the-algorithm-asked-for"),
        ..NONE
    },
    Breakage {
        name: "n=0 drops the connection",
        after: |exchange, answer, _| match exchange.target.ends_with("n=0") {
            true => Err(Unreachable::Dropped("connection closed before message completed".into())),
            false => Ok(answer),
        },
        check: Some("N4-a-page-of-no-tags"),
        history: Some(3),
        ..NONE
    },
    Breakage {
        name: "the referrers of a malformed digest are an empty list",
        after: |exchange, answer, _| {
            let malformed = exchange.target.ends_with("/referrers/sha256:short");
            let index =
                json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] });
            Ok(if malformed { Answer { status: 200, body: index.to_string().into(), ..answer } } else { answer })
        },
        check: Some("M2-referrers-of-a-malformed-digest"),
        ..NONE
    },
    Breakage {
        name: "code and message of NAME_UNKNOWN are swapped",
        after: |_, answer, _| {
            let message = "repository name not known to registry";
            let swapped = json!({ "errors": [{ "code": message, "message": "NAME_UNKNOWN" }] }).to_string();
            let is = answer.codes() == ["NAME_UNKNOWN"];
            Ok(if is { Answer { body: swapped.into(), ..answer } } else { answer })
        },
        check: Some("P2-codes-are-of-the-specification"),
        ..NONE
    },
    Breakage {
        name: "tags of a deleted manifest stay",
        after: tags_stay,
        check: Some("L3-a-deleted-manifest-has-no-tags"),
        history: Some(6),
        ..NONE
    },
    Breakage {
        name: "blobs are to be had in every repository",
        after: blobs_everywhere,
        check: Some("C4-blobs-belong-to-their-repository"),
        history: Some(2),
        ..NONE
    },
    Breakage {
        name: "a manifest may have any digest",
        before: |exchange| {
            let path = exchange.target.clone();
            if let (Some((repo, _)), "PUT") = (path.split_once("/manifests/sha256:"), exchange.method.as_str()) {
                exchange.target = format!("{repo}/manifests/{}", sha256(exchange.body.bytes()));
            }
        },
        check: Some("K3-a-manifest-has-the-digest-it-is-put-to"),
        ..NONE
    },
    Breakage {
        name: "the status of a session has a unit",
        after: |exchange, answer, _| {
            let range = answer.header("Range").map(|range| format!("bytes={range}"));
            let status = exchange.method == "GET" && answer.status == 204;
            Ok(if let (Some(range), true) = (range, status) { with(answer, "Range", &range) } else { answer })
        },
        check: Some("G1-the-status-of-a-session"),
        history: Some(3),
        ..NONE
    },
    Breakage {
        name: "tags are listed backwards",
        after: |_, answer, _| {
            let mut json = answer.json();
            let Some(tags) = json["tags"].as_array_mut() else { return Ok(answer) };
            tags.reverse();
            Ok(Answer { body: json.to_string().into(), ..answer })
        },
        check: Some("N2-tags-are-in-order"),
        history: Some(8),
        ..NONE
    },
    Breakage {
        name: "a wrong digest is stored all the same",
        before: |exchange| {
            let upload = exchange.method == "PUT" && exchange.target.contains("/blobs/uploads/");
            if let (true, Some((url, _)), false) =
                (upload, exchange.target.clone().split_once("?digest=sha256%3A"), exchange.body.bytes().is_empty())
            {
                exchange.target = format!("{url}?digest={}", sha256(exchange.body.bytes()));
            }
        },
        check: Some("H3-a-wrong-digest-is-refused"),
        ..NONE
    },
    Breakage {
        name: "what a client sends wrong is a 500",
        after: |_, answer, _| {
            let ours = answer.codes() == ["MANIFEST_INVALID"];
            Ok(if ours { Answer { status: 500, ..answer } } else { answer })
        },
        check: Some("K8-an-empty-object-is-no-manifest"),
        ..NONE
    },
    Breakage {
        name: "a tag is read from a cache that is one read behind",
        after: |exchange, answer, memory| {
            if exchange.method != "GET" || !exchange.target.ends_with("/manifests/v1") {
                return Ok(answer);
            }
            Ok(memory.insert(exchange.target.clone(), answer.clone()).unwrap_or(answer))
        },
        check: None,
        concurrent: true,
        ..NONE
    },
    Breakage {
        name: "manifests lose their last byte",
        after: |exchange, answer, _| {
            let body = answer.body.slice(..answer.body.len().saturating_sub(1));
            let is = exchange.method == "GET" && exchange.target.contains("/manifests/") && answer.status == 200;
            Ok(if is { Answer { body, ..answer } } else { answer })
        },
        check: Some("J1-a-manifest-comes-as-pushed"),
        history: Some(4),
        ..NONE
    },
];

fn with(mut answer: Answer, name: &str, value: &str) -> Answer {
    answer.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
    answer.headers.push((name.into(), value.into()));
    answer
}

fn tags_stay(exchange: &Exchange, answer: Answer, memory: &mut Memory) -> Changed {
    let path = exchange.target.clone();
    let by_tag = path.contains("/manifests/") && !path.contains("sha256:");
    Ok(match (exchange.method.as_str(), answer.status, by_tag) {
        ("DELETE", 202, true) => {
            memory.remove(&path);
            answer
        }
        ("GET", 200, true) => {
            memory.insert(path, answer.clone());
            answer
        }
        ("PUT", 201, true) => {
            let body = Bytes::copy_from_slice(exchange.body.bytes());
            memory.insert(path, Answer { status: 200, headers: Vec::new(), body });
            answer
        }
        ("GET", 404, true) => memory.get(&path).cloned().unwrap_or(answer),
        _ => answer,
    })
}

fn blobs_everywhere(exchange: &Exchange, answer: Answer, memory: &mut Memory) -> Changed {
    let digest = exchange.target.replace("%3A", ":");
    let digest = digest.rsplit("sha256:").next().unwrap_or_default().to_owned();
    Ok(match (exchange.method.as_str(), answer.status) {
        ("PUT" | "POST", 201) if exchange.target.contains("digest=") => {
            let body = Bytes::copy_from_slice(exchange.body.bytes());
            memory.insert(digest, Answer { status: 200, headers: Vec::new(), body });
            answer
        }
        ("GET", 404) if exchange.target.contains("/blobs/") => memory.get(&digest).cloned().unwrap_or(answer),
        _ => answer,
    })
}

/// The core, broken.
pub(crate) struct Broken {
    core: InMemory,
    breakage: &'static Breakage,
    memory: RefCell<Memory>,
}

impl Broken {
    pub(crate) fn new(breakage: &'static Breakage) -> Self {
        Self { core: InMemory::default(), breakage, memory: RefCell::default() }
    }
}

impl Target for Broken {
    async fn send(&self, mut exchange: Exchange) -> Result<Answer, Unreachable> {
        (self.breakage.before)(&mut exchange);
        let answer = self.core.answer(&exchange);
        (self.breakage.after)(&exchange, answer, &mut self.memory.borrow_mut())
    }
}

//! A storage that fails: at every effect of every operation, whether or not the effect happened all the same.
//!
//! The client is told so in the form of the specification and never anything false, what was acknowledged before
//! is still there, and when the storage is well again the same client succeeds.

use orlop_conformance::image::{AMD64, ARM64, Manifest, sha256, sha512};
use orlop_conformance::system::{
    Answer, Call, InMemory, System, blob, delete, get, head, manifest, patch, perform, post, put, referrers, uploads,
};
use orlop_core::Config;
use orlop_core::config::{Pattern, Quota};
use orlop_core::effect::{Fault, Step};
use orlop_core::event::{Happening, Listener};
use orlop_core::memory::RequestBody;

use crate::configured;

/// An operation: what a client has done before, the call itself, and the status that it hopes for.
type Operation = (&'static str, fn(&mut InMemory) -> Call, u16);

fn image() -> Manifest {
    Manifest::image(AMD64, "layer")
}

/// A session that has received `content`.
fn session(registry: &mut InMemory) -> String {
    let session = registry.open("a");
    registry.call(patch(&session).body("content")).expect(202);
    session
}

const OPERATIONS: [Operation; 22] = [
    ("open a session", |_| post(uploads("a")), 202),
    ("single post", |_| post(format!("{}?digest={}", uploads("a"), sha256("single"))).body("single"), 201),
    (
        "mount",
        |registry| {
            let digest = registry.push_blob("source", "content");
            registry.call(delete(blob("a", &digest)));
            post(format!("{}?mount={digest}&from=source", uploads("a")))
        },
        201,
    ),
    ("chunk", |registry| patch(session(registry)).body("more"), 202),
    ("status", |registry| get(session(registry)), 204),
    ("finish", |registry| put(format!("{}?digest={}", session(registry), sha256("content"))), 201),
    (
        "finish with a chunk",
        |registry| put(format!("{}?digest={}", session(registry), sha256("content!"))).body("!"),
        201,
    ),
    (
        "finish under another algorithm",
        |registry| put(format!("{}?digest={}", session(registry), sha512("content"))),
        201,
    ),
    ("finish wrongly", |registry| put(format!("{}?digest={}", session(registry), sha256("x"))), 400),
    ("cancel", |registry| delete(session(registry)), 204),
    ("download a blob", |registry| get(blob("a", registry.push_blob("a", "content"))), 200),
    ("delete a blob", |registry| delete(blob("a", registry.push_blob("a", "content"))), 202),
    (
        "push an image",
        |registry| {
            image().blobs().iter().for_each(|bytes| drop(registry.push_blob("a", bytes.clone())));
            put(manifest("a", "v1")).header("Content-Type", image().media_type()).body(image().bytes())
        },
        201,
    ),
    (
        "push a second platform",
        |registry| {
            registry.push("multi", "v1", &image());
            let arm = Manifest::image(ARM64, "arm");
            arm.blobs().iter().for_each(|bytes| drop(registry.push_blob("multi", bytes.clone())));
            put(manifest("multi", "v1")).header("Content-Type", arm.media_type()).body(arm.bytes())
        },
        201,
    ),
    (
        "push a referrer",
        |registry| {
            let referrer = Manifest::artifact("x/y", "signature").about(&image());
            referrer.blobs().iter().for_each(|bytes| drop(registry.push_blob("a", bytes.clone())));
            put(manifest("a", referrer.digest())).header("Content-Type", referrer.media_type()).body(referrer.bytes())
        },
        201,
    ),
    ("pull by tag", pulled, 200),
    (
        "look at a manifest",
        |registry| {
            registry.push("a", "v1", &image());
            head(manifest("a", image().digest()))
        },
        200,
    ),
    (
        "delete a tag",
        |registry| {
            registry.push("a", "v1", &image());
            delete(manifest("a", "v1"))
        },
        202,
    ),
    (
        "delete a manifest",
        |registry| {
            registry.push("multi", "v1", &image());
            registry.push_image("multi", "v1", ARM64, "arm");
            delete(manifest("multi", image().digest()))
        },
        202,
    ),
    ("referrers", |_| get(referrers("a", image().digest())), 200),
    (
        "tags",
        |registry| {
            registry.push_blob("a", "content");
            get("/v2/a/tags/list")
        },
        200,
    ),
    ("catalog", |_| get("/v2/_catalog"), 200),
];

fn pulled(registry: &mut InMemory) -> Call {
    registry.push("a", "v1", &image());
    get(manifest("a", "v1"))
}

/// What was acknowledged before the storage failed: a blob, an image under a tag, a session.
struct Before {
    kept: Manifest,
    session: String,
}

impl Before {
    fn set_up(registry: &mut InMemory) -> Self {
        Self { kept: registry.push_image("kept", "v1", AMD64, "kept"), session: session(registry) }
    }

    #[track_caller]
    fn still_there(&self, registry: &mut InMemory) {
        assert_eq!(registry.get(manifest("kept", "v1")).expect(200).body(), self.kept.bytes());
        assert_eq!(registry.get(blob("kept", sha256("kept"))).expect(200).body(), b"kept");
        registry.get(&self.session).expect(204).with("Range", "0-6");
    }
}

fn registry() -> InMemory {
    configured(|config| {
        config.assemble = vec![Pattern::new("multi")];
        watched(config);
    })
}

/// With a quota that is never reached, and a listener that is told everything.
fn watched(config: &mut Config) {
    let everywhere = || vec![Pattern::new("**")];
    config.quotas = vec![Quota { repositories: everywhere(), bytes: 1 << 30, ..Quota::default() }];
    let happenings = vec![Happening::Push, Happening::Pull, Happening::Delete];
    config.listeners = vec![Listener { name: "ci".into(), happenings, repositories: everywhere() }];
}

/// Runs the operation with a fault at its `n`th effect; `None` when it has no so many.
fn with_fault(
    operation: &Operation,
    n: usize,
    done: bool,
    fault: &Fault,
) -> Option<(InMemory, Before, Answer, &'static str)> {
    let mut registry = registry();
    let before = Before::set_up(&mut registry);
    let call = operation.1(&mut registry);
    let mut running = registry.begin(call);
    for _ in 0..n {
        running = running.step(&mut registry);
    }
    let effect = running.before();
    if running.is_over() {
        assert_eq!(running.end(&mut registry).status(), operation.2, "{} without a fault", operation.0);
        return None;
    }
    let answer = running.fail(fault.clone(), done, &mut registry).end(&mut registry);
    Some((registry, before, answer, effect))
}

/// SPEC P1, P6, U9, U29.
#[test]
fn a_storage_that_fails_is_a_5xx_in_json_and_a_retry_succeeds() {
    let full = Fault::Full("/secret: no space".into());
    let failed = Fault::Failed("/secret: I/O error".into());
    let away = Fault::Unavailable("/secret: no connection".into());
    let mut tried = 0;
    for operation in &OPERATIONS {
        let (what, prepare, hoped) = operation;
        let faults = [(&full, 507, false), (&failed, 500, false), (&failed, 500, true), (&away, 503, false)];
        for (fault, status, done) in faults {
            for n in 0.. {
                let Some((mut registry, before, answer, effect)) = with_fault(operation, n, done, fault) else { break };
                tried += 1;
                let place = format!("{what}, {effect} (effect {n}), done: {done}: {answer}");
                if effect == "Erase" {
                    // The bytes are of no more use; that they are still there is not the client's concern.
                    assert_eq!(answer.status(), *hoped, "{place}");
                } else {
                    assert_eq!(answer.status(), status, "{place}");
                    let head = answer.body().is_empty();
                    let code = if status == 503 { "UNAVAILABLE" } else { "UNKNOWN" };
                    assert!(head || answer.codes() == [code], "{place}");
                    assert_eq!(answer.header("Retry-After").is_some(), status == 503, "{place}");
                    let text = String::from_utf8_lossy(answer.body()).into_owned();
                    assert!(!text.contains("secret"), "the reason is for the log: {place}");
                    assert!(answer.response.fault.is_some(), "{place}");
                    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{place}");
                }
                before.still_there(&mut registry);
                // The client does it all again.
                let again = prepare(&mut registry);
                registry.call(again).expect(*hoped);
                before.still_there(&mut registry);
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

/// SPEC P6, U18, U20: a fault that came before anything happened costs one retry of the same request.
#[test]
fn the_very_same_request_succeeds_when_the_storage_is_well_again() {
    for operation in &OPERATIONS {
        // A session that a wrong digest has ended cannot end again.
        for n in 0.. {
            let mut registry = registry();
            let call = operation.1(&mut registry);
            let mut running = registry.begin(call.clone());
            for _ in 0..n {
                running = running.step(&mut registry);
            }
            if running.is_over() {
                break;
            }
            if running.before() == "Erase" {
                continue;
            }
            let _ = running.fail(Fault::Failed("I/O error".into()), false, &mut registry).end(&mut registry);
            assert_eq!(registry.call(call).status(), operation.2, "{}, effect {n}", operation.0);
        }
    }
}

/// SPEC H5, P5, I1: bytes that the storage has lost are its fault; those of a session that ended meanwhile are gone.
#[test]
fn bytes_that_are_gone_are_a_fault_unless_their_session_ended() {
    let mut registry = registry();
    // Another algorithm than was announced: the bytes are read again.
    let finish = |session: &str| put(format!("{session}?digest={}", sha512("content")));
    let lost = session(&mut registry);
    let objects = std::mem::take(&mut registry.memory.objects);
    registry.call(finish(&lost)).refused(500, "UNKNOWN");
    registry.memory.objects = objects;
    registry.call(finish(&lost)).expect(201);
    let ended = session(&mut registry);
    let running = registry.begin(finish(&ended)).until("Measure", &mut registry);
    registry.delete(&ended).expect(204);
    running.end(&mut registry).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

/// SPEC F14, I2, U29: whatever faults and crashes leave behind, a garbage collection finds.
#[test]
fn after_a_fault_or_a_crash_a_garbage_collection_leaves_nothing_that_cannot_be_reached() {
    const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
    for operation in &OPERATIONS {
        for n in 0.. {
            // Assembled lists that no tag names any more go by this policy alone.
            let mut registry = configured(|config| {
                config.assemble = vec![Pattern::new("multi")];
                config.untagged_lifetime = Some(YEAR / 2);
                watched(config);
            });
            let call = operation.1(&mut registry);
            let mut running = registry.begin(call);
            for _ in 0..n {
                running = running.step(&mut registry);
            }
            let over = running.is_over();
            running.crash();
            // Nothing is asked for any more: delete what is there, and let everything time out.
            for repository in ["a", "multi", "source"] {
                for reference in [image().digest(), Manifest::image(ARM64, "arm").digest()] {
                    registry.call(delete(manifest(repository, reference)));
                }
                let referrer = Manifest::artifact("x/y", "signature").about(&image());
                registry.call(delete(manifest(repository, referrer.digest())));
            }
            registry.advance(YEAR);
            registry.gc();
            registry.advance(YEAR);
            registry.gc();
            assert!(registry.memory.records.is_empty(), "{}, effect {n}: {:?}", operation.0, registry.memory.records);
            assert!(registry.memory.objects.is_empty(), "{}, effect {n}: {:?}", operation.0, registry.memory.objects);
            if over {
                break;
            }
        }
    }
}

/// A garbage collection that meets a fault says so, has lost nothing that can be reached, and is completed by the next.
#[test]
fn a_garbage_collection_that_fails_is_completed_by_the_next() {
    const MONTH: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);
    let set_up = || {
        let mut registry = registry();
        let before = registry.push_image("kept", "v1", AMD64, "kept");
        registry.push_image("kept", "v1", ARM64, "newer");
        registry.push_blob("a", "unused");
        session(&mut registry);
        registry.advance(MONTH);
        (registry, before)
    };
    let (mut expected, _) = set_up();
    expected.gc();
    for done in [false, true] {
        for n in 0.. {
            let (mut registry, kept) = set_up();
            let ambient = registry.memory.ambient();
            let mut step = registry.registry.gc(ambient);
            for _ in 0..n {
                step = registry.memory.perform(step, &RequestBody::default());
            }
            if let Step::Respond(report) = step {
                assert_eq!(report.fault, None);
                break;
            }
            let erase = step.name() == "Erase";
            let fault = Fault::Failed("I/O error".into());
            let step = match done {
                true => perform(&mut registry.memory, step, &RequestBody::default(), |_, _| Some(fault)),
                false => step.fail(fault),
            };
            let report = registry.memory.run(step, &RequestBody::default());
            assert_eq!(report.fault.is_some(), !erase, "effect {n}: {report}");
            assert_eq!(registry.get(manifest("kept", kept.digest())).expect(200).body(), kept.bytes());
            assert_eq!(registry.gc().fault, None);
            registry.advance(MONTH);
            registry.gc();
            assert_eq!(
                registry.memory.objects.keys().collect::<Vec<_>>(),
                expected.memory.objects.keys().collect::<Vec<_>>()
            );
            assert_eq!(registry.memory.records, expected.memory.records, "effect {n}, done: {done}");
        }
    }
}

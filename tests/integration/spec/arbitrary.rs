//! Whatever a client sends, it is answered: no panic, no 5xx, nothing that could not be sent (SPEC P5, U9).

use orlop_conformance::image::{AMD64, Manifest, OCI_INDEX, OCI_MANIFEST, sha256, sha512};
use orlop_conformance::system::{Call, InMemory, System, request};
use orlop_core::error::Code;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{METHODS, NO_SESSION, NOWHERE, configured};

/// A name, tag, digest or anything else that may stand between two slashes.
fn segment() -> impl Strategy<Value = String> {
    let known = vec![
        "a".into(),
        "b".into(),
        "v1".into(),
        "tags".into(),
        "list".into(),
        "blobs".into(),
        "uploads".into(),
        "manifests".into(),
        "referrers".into(),
        "_catalog".into(),
        String::new(),
        NOWHERE.into(),
        NO_SESSION.into(),
        sha256("layer"),
        sha512("layer"),
        sha256("{}"),
        Manifest::image(AMD64, "layer").digest(),
        // The session that `set_up` opens, for the ids of the reference host are in order.
        "00000000-0000-4000-8000-000000000001".into(),
    ];
    prop_oneof![
        8 => select(known),
        1 => "[a-z0-9._-]{0,12}",
        1 => "sha(256|512):[0-9a-f]{60,130}",
        1 => "[%0-9A-Fa-f/?&=:+]{0,10}",
        1 => ".{0,10}",
    ]
}

fn target() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("/v2/{}/manifests/{}".to_owned()),
        Just("/v2/{}/blobs/{}".to_owned()),
        Just("/v2/{}/blobs/uploads/{}".to_owned()),
        Just("/v2/{}/referrers/{}".to_owned()),
        Just("/v2/{}/tags/list".to_owned()),
        Just("/v2/_catalog".to_owned()),
        Just("/v2/{}/{}/{}/{}".to_owned()),
        ".{0,30}",
    ];
    let name = select(vec!["n", "last", "digest", "mount", "from", "tag", "artifactType", "digest-algorithm", "x", ""]);
    let value = prop_oneof![segment(), "[0-9]{0,22}", Just("sha512".to_owned()), ".{0,10}"];
    let query = prop::collection::vec((name, value), 0..4);
    (path, prop::collection::vec(segment(), 4), query).prop_map(|(path, segments, query)| {
        let path = segments.iter().fold(path, |path, segment| path.replacen("{}", segment, 1));
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    })
}

fn header() -> impl Strategy<Value = (String, String)> {
    let name = select(vec![
        "Accept",
        "Content-Range",
        "Content-Type",
        "If-Match",
        "If-None-Match",
        "If-Range",
        "Range",
        "Authorization",
    ]);
    let value = prop_oneof![
        "(bytes=)?[0-9]{0,20}-[0-9]{0,20}(,[0-9]{0,3}-[0-9]{0,3}){0,3}",
        Just(OCI_MANIFEST.to_owned()),
        Just(OCI_INDEX.to_owned()),
        Just("*".to_owned()),
        segment().prop_map(|segment| format!("\"{segment}\"")),
        ".{0,20}",
    ];
    (name, value).prop_map(|(name, value)| (name.to_owned(), value))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let image = Manifest::image(AMD64, "layer");
    let documents = vec![
        image.bytes().to_vec(),
        Manifest::index(&[&image]).bytes().to_vec(),
        Manifest::artifact("x/y", "layer").about(&image).bytes().to_vec(),
        b"layer".to_vec(),
        b"{}".to_vec(),
        Vec::new(),
    ];
    let document = select(documents);
    prop_oneof![
        3 => document.clone(),
        // A document with one byte changed.
        2 => (document, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut document, at, byte)| {
            if !document.is_empty() {
                let at = at.index(document.len());
                document[at] = byte;
            }
            document
        }),
        1 => prop::collection::vec(any::<u8>(), 0..700),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let framing = 0..4u8;
    (select(METHODS.to_vec()), target(), prop::collection::vec(header(), 0..4), body(), framing).prop_map(
        |(method, target, headers, body, framing)| {
            let call = headers.iter().fold(request(method, target), |call, (name, value)| call.header(name, value));
            let call = call.body(body);
            match framing {
                0 => call.chunked(),
                1 => call.chunked().cut(),
                2 => call.length(3),
                _ => call,
            }
        },
    )
}

fn set_up(assemble: bool, sparse: bool) -> InMemory {
    let mut registry = configured(|config| {
        config.allow_sparse = sparse;
        config.blob_limit = 500;
        config.manifest_limit = 2000;
        if assemble {
            config.assemble = vec![orlop_core::config::Pattern::new("**")];
        }
    });
    registry.open("a");
    registry.push_image("a", "v1", AMD64, "layer");
    registry.push_blob("a", "{}");
    registry
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// SPEC P1, P2, P5, U9: also after many of them, and a garbage collection in between.
    #[test]
    fn whatever_a_client_sends_is_answered(
        calls in prop::collection::vec(call(), 1..24),
        assemble: bool,
        sparse: bool,
    ) {
        let mut registry = set_up(assemble, sparse);
        for (i, call) in calls.into_iter().enumerate() {
            let head = call.request.method == orlop_core::Method::Head;
            let answer = registry.call(call);
            prop_assert!((200..500).contains(&answer.status()), "{answer}");
            for (name, value) in &answer.response.headers {
                prop_assert!(value.bytes().all(|b| (0x20..0x7f).contains(&b)), "{name} of {answer}");
            }
            if answer.status() >= 400 && !head {
                prop_assert_eq!(answer.header("Content-Type"), Some("application/json"));
                let known = answer.codes().iter().all(|code| Code::ALL.iter().any(|ours| ours.as_str() == code));
                prop_assert!(known && !answer.codes().is_empty(), "{}", answer);
            }
            if head {
                prop_assert!(answer.body().is_empty());
            } else if let Some(length) = answer.header("Content-Length") {
                prop_assert_eq!(length, answer.body().len().to_string());
            }
            if i % 8 == 7 {
                registry.advance(std::time::Duration::from_secs(9 * 24 * 3600));
                prop_assert_eq!(registry.gc().fault, None);
            }
        }
    }
}

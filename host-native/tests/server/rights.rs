//! Requests that need several rights: whoever lacks one of them is refused, whichever it is, and nothing is done (SPEC Q1,
//! E14, AD6, AE4, AE5).

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::access::{Directory, basic, push};
use crate::signing_in::body;
use crate::started::Started;

/// Users who may do all in `team/**` but for one thing.
const LACKING: [(&str, &str); 5] = [
    ("no-pull", "pull"),
    ("no-upload", "upload"),
    ("no-create", "create-tag"),
    ("no-overwrite", "overwrite-tag"),
    ("no-delete", "delete"),
];

fn directory(more: &str) -> Directory {
    let mut rules = more.to_owned();
    for (user, right) in LACKING {
        write!(rules, "[[rule]]\nwho = ['user:{user}']\ndeny = ['{right}']\nrepositories = ['team/**']\n").unwrap();
        write!(rules, "[[rule]]\nwho = ['user:{user}']\nallow = ['all']\nrepositories = ['team/**']\n").unwrap();
    }
    rules += "[[rule]]\nwho = ['user:whole']\nallow = ['all']\nrepositories = ['team/**']\n";
    rules += "[[rule]]\nwho = ['user:root']\nallow = ['all']\nrepositories = ['**']\n";
    let users: Vec<&str> = LACKING.iter().map(|(user, _)| *user).chain(["whole", "root"]).collect();
    Directory::new(&rules, &users)
}

fn send(server: &Started, fields: &str, method: &str, target: &str, sent: &Json) -> u16 {
    let sent = if sent.is_null() { String::new() } else { sent.to_string() };
    let fields = format!("Content-Type: application/json\r\n{fields}");
    server.send_as(&fields, method, target, sent.as_bytes()).status
}

#[test]
fn whoever_lacks_one_of_several_rights_is_refused() {
    let directory = directory("");
    let server = directory.start();
    let root = basic("root");
    assert_eq!(push(&server, &root, "secret/app", "v1", "x").status, 201);
    let empty = orlop_core::digest::Algorithm::Sha256.digest(b"{}");
    let undelete = json!({ "repository": "team/app", "reference": "gone" });
    let mount = format!("/v2/team/new/blobs/uploads/?mount={empty}&from=secret/app");
    let contents = "/api/v1/repositories/team/app/contents";
    // What is asked, and how it is answered to those of `LACKING` and to whoever lacks nothing.
    for (method, target, sent, expected) in [
        ("GET", "/api/v1/deleted?repository=team/app", Json::Null, [404, 200, 200, 200, 403, 200]),
        ("GET", "/api/v1/repositories/team/app/tags", Json::Null, [404, 200, 200, 200, 200, 200]),
        ("GET", "/api/v1/repositories/team/app/images/v1", Json::Null, [404, 200, 200, 200, 200, 200]),
        // From where nobody of these may pull nothing is mounted: an upload begins.
        ("POST", &*mount, Json::Null, [202, 403, 202, 202, 202, 202]),
        ("DELETE", "/v2/team/app/manifests/none", Json::Null, [404, 404, 404, 404, 403, 404]),
        ("POST", "/api/v1/deleted/undelete", undelete, [404, 403, 403, 200, 403, 200]),
        ("DELETE", contents, Json::Null, [404, 200, 200, 200, 403, 200]),
    ] {
        for (user, expected) in LACKING.iter().map(|(user, _)| *user).chain(["whole"]).zip(expected) {
            // Each finds the same: `v1`, and `gone` among what was deleted.
            for tag in ["v1", "gone"] {
                assert_eq!(push(&server, &root, "team/app", tag, tag).status, 201);
            }
            assert_eq!(server.send_as(&root, "DELETE", "/v2/team/app/manifests/gone", b"").status, 202);
            let status = send(&server, &basic(user), method, target, &sent);
            assert_eq!(status, expected, "{user} {method} {target}");
            let there =
                |tag: &str| server.send_as(&root, "GET", &format!("/v2/team/app/manifests/{tag}"), b"").status == 200;
            let (empties, undeletes) = (target == contents && status == 200, sent.is_object() && status == 200);
            assert_eq!((there("v1"), there("gone")), (!empties, undeletes), "{user} {method} {target}");
        }
        assert_eq!(send(&server, "", method, target, &sent), 401, "{method} {target}");
    }
    // Pushes: a new tag, another image under one, and several tags with one request.
    let image =
        |user: &str, reference: &str, word: &str| push(&server, &basic(user), "team/app", reference, word).status;
    assert_eq!(push(&server, &root, "team/app", "v1", "v1").status, 201);
    assert_eq!([image("no-create", "new", "x"), image("no-create", "v1", "x")], [403, 201]);
    assert_eq!([image("no-overwrite", "v1", "y"), image("no-overwrite", "new", "y")], [403, 201]);
    assert_eq!(image("no-upload", "v1", "z"), 403);
}

/// A token that is for one of several things does not do; the challenge says what for it is to be.
#[test]
fn a_token_has_to_be_for_all_that_a_request_needs() {
    let directory = directory("auth-token-url = 'https://registry.example/token'\n");
    let server = directory.start();
    assert_eq!(push(&server, &basic("root"), "team/app", "v1", "x").status, 201);
    let token = |scope: &str| {
        let target = format!("/token?service=orlop&scope={scope}");
        let answer = server.send_as(&basic("whole"), "GET", &target, b"");
        format!("Authorization: Bearer {}\r\n", body(&answer)["token"].as_str().unwrap())
    };
    let contents = "/api/v1/repositories/team/app/contents";
    for scope in ["repository:team/app:delete", "repository:team/app:pull", "repository:team/app:pull,push", ""] {
        let refused = server.send_as(&token(scope), "DELETE", contents, b"");
        assert_eq!(refused.status, 401, "{scope}: {refused:?}");
        let challenge = refused.header("www-authenticate").unwrap();
        let needed = "scope=\"repository:team/app:pull repository:team/app:delete\",error=\"insufficient_scope\"";
        assert!(challenge.ends_with(needed), "{scope}: {challenge}");
    }
    let both = token("repository:team/app:pull,delete");
    assert_eq!(server.send_as(&both, "DELETE", contents, b"").status, 200);
}

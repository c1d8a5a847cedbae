//! What tokens of programs may not do in the place of a person (SPEC AE1, AE5, AE17).

use serde_json::{Value, json};

use super::provider::{Key, Provider};
use super::{field, setting, told};
use crate::access::{Directory, basic, push};
use crate::started::Started;

const JSON: &str = "Content-Type: application/json\r\n";

fn post(server: &Started, fields: &str, target: &str, sent: &Value) -> (u16, String) {
    let answer = server.send_as(&format!("{JSON}{fields}"), "POST", target, sent.to_string().as_bytes());
    (answer.status, told(&answer))
}

/// Whatever kind of token it is, and whatever it may do otherwise.
#[test]
fn tokens_of_all_kinds_undelete_nothing_and_ask_about_nobody() {
    let key = Key::new("one");
    let provider = Provider::with(&[&key]);
    let before = "administrators = ['user:root', 'user:ci:repo:acme/app:ref:refs/heads/main']\n\
                  auth-token-url = 'http://127.0.0.1:1/token'\n";
    let directory = Directory::new(&format!("{before}{}", setting(&provider, "")), &["root"]);
    let server = directory.start();
    let root = basic("root");
    assert_eq!(push(&server, &root, "acme/app", "v1", "x").status, 201);
    assert_eq!(server.send_as(&root, "DELETE", "/v2/acme/app/manifests/v1", b"").status, 202);
    let wanted = json!({ "name": "ci", "repositories": ["**"], "actions": ["pull", "push", "delete"] });
    let (status, made) = post(&server, &root, "/api/v1/tokens", &wanted);
    assert_eq!(status, 201, "{made}");
    let secret = serde_json::from_str::<Value>(&made).unwrap()["secret"].as_str().unwrap().to_owned();
    let identity = field("oidc", &key.sign(&provider.claims(&json!({}))));
    let bearer = |login: &str| {
        let scope = "/token?service=orlop&scope=repository:acme/app:pull,push,delete";
        let given: Value = serde_json::from_slice(&server.send_as(login, "GET", scope, b"").body).unwrap();
        format!("Authorization: Bearer {}\r\n", given["token"].as_str().unwrap())
    };
    let (of_root, of_ci) = (bearer(&root), bearer(&identity));
    let undelete = json!({ "repository": "acme/app", "reference": "v1" });
    let others = json!({ "user": "alice", "repository": "acme/app", "action": "pull" });
    let himself = json!({ "repository": "acme/app", "action": "pull" });
    for (kind, fields) in [
        ("an API token", &field("root", &secret)),
        ("a bearer of a user", &of_root),
        ("an identity token", &identity),
        ("a bearer of an identity token", &of_ci),
    ] {
        // It may do what it is for.
        assert_eq!(server.send_as(fields, "GET", "/v2/acme/app/tags/list", b"").status, 200, "{kind}");
        for (target, sent) in [
            ("deleted/undelete", &undelete),
            ("deleted/purge", &json!({ "repository": "acme/app" })),
            ("rules/explain", &others),
            ("rules/explain", &himself),
            ("protected", &json!({ "what": "acme/app:v1" })),
            ("tokens", &wanted),
            ("jobs", &json!({ "job": "gc" })),
        ] {
            let (status, told) = post(&server, fields, &format!("/api/v1/{target}"), sent);
            assert!(status == 403 && told.contains("DENIED"), "{kind} {target}: {status} {told}");
        }
        for target in ["users", "rules", "usage", "deleted", "storage", "jobs", "tokens"] {
            let refused = server.send_as(fields, "GET", &format!("/api/v1/{target}"), b"");
            assert_eq!(refused.status, 403, "{kind} {target}: {refused:?}");
        }
        let there = server.send_as(&root, "GET", "/v2/acme/app/manifests/v1", b"");
        assert_eq!(there.status, 404, "{kind}: nothing came back");
    }
    assert_eq!(post(&server, &root, "/api/v1/rules/explain", &others).0, 200);
    assert_eq!(post(&server, &root, "/api/v1/deleted/undelete", &undelete).0, 200);
}

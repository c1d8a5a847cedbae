//! Every endpoint of the API, walked as every user (SPEC AA2): what `/v2/` does not show is nowhere, neither in a list nor as a
//! count, a size, an order or the text of an error.
//!
//! Two servers have the same settings. One of them also has what only an administrator may see: everybody else gets the
//! same answers from both, byte for byte but for times and random texts.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::access::{Directory, RULES, basic, push};
use crate::api_tokens::shown;
use crate::signing_in::{body, sign_in};
use crate::started::Started;

const DESCRIPTION: &str = include_str!("../../api/openapi.yaml");
const JSON: &str = "Content-Type: application/json\r\n";
const SETTINGS: &str = "administrators = ['user:root']\nundelete-within = '7d'\n";

/// Repositories that somebody may see, that only an administrator may see, and one that is not there.
const REPOSITORIES: [&str; 5] = ["public/app", "team/app", "secret/app", "secret/other", "nowhere/app"];

/// What else lists may be asked for.
const QUERIES: [&str; 12] = [
    "",
    "?n=1",
    "?q=secret",
    "?q=app",
    "?q=secret:v1",
    "?under=secret",
    "?sort=bytes&order=desc",
    "?sort=pushed",
    "?sort=size",
    "?repository=secret/app",
    "?repository=team/app",
    "?user=root",
];

/// The endpoints of the description: method and path.
fn endpoints() -> Vec<(String, String)> {
    let (mut endpoints, mut path) = (Vec::new(), "");
    for line in DESCRIPTION.lines() {
        if let Some(next) = line.strip_prefix("  /").and_then(|line| line.strip_suffix(':')) {
            path = next;
        }
        let method = line.strip_prefix("    ").and_then(|line| line.strip_suffix(':'));
        if let Some(method) = method.filter(|method| ["get", "post", "put", "delete"].contains(method)) {
            endpoints.push((method.to_uppercase(), path.to_owned()));
        }
    }
    endpoints
}

/// What is sent to an endpoint that wants something: each that the description has needs one here.
fn wanted(path: &str, repository: &str) -> Option<Json> {
    Some(match path {
        "session" => json!({ "user": "root", "password": "wrong" }),
        "tokens" => json!({ "name": "x", "repositories": [repository], "actions": ["pull"] }),
        "deleted/undelete" => json!({ "repository": repository, "reference": "gone", "as": null, "force": false }),
        "deleted/purge" => json!({ "repository": repository, "reference": "gone", "force": false }),
        "protected" => json!({ "what": format!("{repository}:v1") }),
        "retention/apply" => json!({ "repository": repository, "plan": "0123456789abcdef", "yes": true }),
        "rules/explain" => {
            json!({ "user": null, "groups": [], "repository": repository, "action": "pull", "tag": null })
        }
        "jobs" => json!({ "job": "mirror-fetch", "target": format!("{repository}:v1") }),
        _ => return None,
    })
}

/// The same without what differs between two servers in any case.
fn plain(value: &mut Json) {
    match value {
        Json::Array(all) => all.iter_mut().for_each(plain),
        Json::Object(all) => {
            for (name, value) in all {
                let random = ["csrf", "id", "secret", "expires", "next", "plan", "address"].contains(&name.as_str());
                match value {
                    // A place in a list may have a time in it.
                    Json::String(text) if random => {
                        *text = text.chars().filter(|c| !c.is_ascii_alphanumeric()).collect()
                    }
                    _ => plain(value),
                }
            }
        }
        Json::String(text) => {
            let time = |text: &str| text.len() >= 20 && text.ends_with('Z') && text[..4].parse::<u16>().is_ok();
            if time(text) {
                "TIME".clone_into(text);
            }
        }
        _ => {}
    }
}

/// What a server answers, to be compared.
fn told(server: &Started, fields: &str, method: &str, path: &str, sent: Option<&Json>) -> (u16, Json) {
    let bytes = sent.map(Json::to_string).unwrap_or_default();
    let fields = if sent.is_some() { format!("{fields}{JSON}") } else { fields.to_owned() };
    let answer = server.send_as(&fields, method, path, bytes.as_bytes());
    assert!(answer.status < 500, "{method} {path}: {answer:?}");
    let mut value = match answer.body.is_empty() {
        true => Json::Null,
        false => serde_json::from_slice(&answer.body).unwrap_or_else(|_| String::from_utf8_lossy(&answer.body).into()),
    };
    plain(&mut value);
    (answer.status, value)
}

/// A server in which root has pushed, deleted and protected something for all, and, where `secret`, for nobody else.
fn filled(directory: &Directory, secret: bool) -> Started {
    let server = directory.start();
    let mut repositories = vec!["public/app", "team/app"];
    if secret {
        repositories.extend(["secret/app", "secret/other"]);
    }
    for name in repositories {
        for tag in ["v1", "gone"] {
            assert_eq!(push(&server, &basic("root"), name, tag, name).status, 201);
        }
        let gone = server.send_as(&basic("root"), "DELETE", &format!("/v2/{name}/manifests/gone"), b"");
        assert_eq!(gone.status, 202);
    }
    server
}

/// SPEC AF23: a token that anybody gets makes nobody known.
#[test]
fn a_token_of_nobody_tells_nothing_of_others() {
    let settings = format!("auth-token-url = 'https://registry.example/token'\n{SETTINGS}{RULES}");
    let directory = Directory::new(&settings, &["alice", "bob", "root"]);
    let server = filled(&directory, false);
    let answer = server.get("/token?service=orlop&scope=repository:public/app:pull");
    let token = body(&answer)["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let get = |path: &str| server.send_as(&bearer, "GET", path, b"").status;
    assert_eq!(get("/v2/public/app/tags/list"), 200);
    for path in ["activity", "deleted?repository=public/app", "usage", "users", "rules", "jobs", "storage", "tokens"] {
        assert!([401, 403].contains(&get(&format!("/api/v1/{path}"))), "{path}");
    }
}

#[test]
fn every_endpoint_tells_every_user_what_v2_shows_and_no_more() {
    let settings = format!("{SETTINGS}{RULES}");
    let users = ["alice", "bob", "root"];
    let (one, other) = (Directory::new(&settings, &users), Directory::new(&settings, &users));
    let (there, nowhere) = (filled(&one, true), filled(&other, false));
    let endpoints = endpoints();
    assert!(endpoints.len() > 8, "the description is read: {endpoints:?}");
    let mut walked = BTreeSet::new();
    for user in ["", "bob", "alice", "a session of alice", "a token of alice"] {
        let fields = [&there, &nowhere].map(|server| match user {
            "a session of alice" => sign_in(server, "alice").fields(),
            "a token of alice" => {
                let wanted = json!({ "name": "walk", "repositories": ["**"], "actions": ["pull", "push", "delete"] });
                let fields = format!("{}{JSON}", basic("alice"));
                let made = server.send_as(&fields, "POST", "/api/v1/tokens", wanted.to_string().as_bytes());
                shown("alice", body(&made)["secret"].as_str().unwrap())
            }
            user => basic(user),
        });
        let both = |method: &str, path: &str, sent: Option<&Json>| {
            let one = told(&there, &fields[0], method, path, sent);
            let other = told(&nowhere, &fields[1], method, path, sent);
            assert_eq!(one, other, "{user:?} {method} {path} {sent:?}");
            one
        };
        // The same as under `/v2/`.
        let (status, catalog) = both("GET", "/v2/_catalog", None);
        let (listed, repositories) = both("GET", "/api/v1/repositories", None);
        assert_eq!(status, listed, "{user}");
        let names = repositories["repositories"].as_array().cloned().unwrap_or_default();
        let names: Vec<Json> = names.iter().map(|one| one["name"].clone()).collect();
        assert_eq!(catalog["repositories"].as_array().cloned().unwrap_or_default(), names, "{user}");
        for repository in REPOSITORIES {
            for (v2, api) in [("tags/list", "tags"), ("manifests/v1", "images/v1"), ("manifests/gone", "images/gone")] {
                let (status, _) = both("GET", &format!("/v2/{repository}/{v2}"), None);
                let (as_api, _) = both("GET", &format!("/api/v1/repositories/{repository}/{api}"), None);
                assert_eq!(status, as_api, "{user} {repository} {api}");
            }
        }
        for (method, path) in &endpoints {
            // What deletes is tried where nothing may be deleted, and signing out would end the walk.
            if (method.as_str(), path.as_str()) == ("DELETE", "session") {
                continue;
            }
            walked.insert(format!("{method} {path}"));
            let repositories = if method == "GET" { &REPOSITORIES[..] } else { &REPOSITORIES[2..] };
            for repository in repositories {
                let filled = path.replace("{repository}", repository).replace("{reference}", "v1");
                let target = format!("/api/v1/{}", filled.replace("{id}", "0123").replace("{name}", "corp"));
                if method != "GET" {
                    let sent = (method == "POST")
                        .then(|| wanted(path, repository).unwrap_or_else(|| panic!("what is to be sent to {path}?")));
                    let target = if path == "protected" { format!("{target}?what={repository}:v1") } else { target };
                    both(method, &target, sent.as_ref());
                    continue;
                }
                for query in QUERIES {
                    let (status, value) = both(method, &format!("{target}{query}"), None);
                    let text = value.to_string();
                    // A token tells what its user has asked for.
                    let asked = format!("{target}{query}").contains("secret") || path == "tokens";
                    assert!(!text.contains("secret") || asked || status == 401, "{user} {target}{query}: {text}");
                }
                if !path.contains("{repository}") {
                    break;
                }
            }
        }
    }
    assert_eq!(walked.len(), endpoints.len() - 1, "each but the one that signs out");
    // Somebody sees it: what is compared is there.
    let root = told(&there, &basic("root"), "GET", "/api/v1/repositories", None).1.to_string();
    assert!(root.contains("secret/app") && root.contains("secret/other"), "{root}");
}

//! What administrators have a server do, and how it stands (SPEC AF1 to AF27): jobs, mirrors, syncs, damaged, storage,
//! activity.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::access::{Directory, RULES, basic, push};
use crate::signing_in::{body, sign_in};
use crate::started::{Answer, Started, eventually};
use crate::tags;

const JOBS: &str = "/api/v1/jobs";
const ACTIVITY: &str = "/api/v1/activity";
const JSON: &str = "Content-Type: application/json\r\n";

/// Of the rules, root may do all; alice administers too, by a group.
fn directory(more: &str) -> Directory {
    let administrators = format!("administrators = ['user:root', 'group:dev']\n{more}\n{RULES}");
    Directory::new(&administrators, &["alice", "bob", "root"])
}

fn begin(server: &Started, fields: &str, wanted: &Json) -> Answer {
    server.send_as(&format!("{JSON}{fields}"), "POST", JOBS, wanted.to_string().as_bytes())
}

fn get(server: &Started, user: &str, target: &str) -> Json {
    let answer = server.send_as(&basic(user), "GET", target, b"");
    assert_eq!((answer.status, answer.header("cache-control").as_deref()), (200, Some("no-store")), "{answer:?}");
    body(&answer)
}

fn job(server: &Started, name: &str) -> Json {
    let jobs = get(server, "root", JOBS);
    let jobs = jobs["jobs"].as_array().unwrap();
    jobs.iter().find(|job| job["job"] == name).cloned().unwrap_or_default()
}

fn ended(server: &Started, name: &str) -> Json {
    eventually(|| !job(server, name)["ended"].is_null());
    job(server, name)
}

/// SPEC AF1, AF3, AF4.
#[test]
fn an_administrator_begins_jobs_and_sees_their_reports() {
    let directory = directory("");
    let server = directory.start();
    assert_eq!(push(&server, &basic("root"), "team/app", "v1", "x").status, 201);
    assert_eq!(get(&server, "root", JOBS), json!({ "jobs": [] }));
    for name in ["gc-dry-run", "gc", "scrub", "check", "recount", "backup"] {
        let begun = begin(&server, &basic("root"), &json!({ "job": name }));
        assert_eq!(begun.status, 202, "{name}: {begun:?}");
        let begun = body(&begun);
        assert_eq!((&begun["job"], &begun["state"], &begun["by"]), (&json!(name), &json!("running"), &json!("root")));
        let done = ended(&server, name);
        assert_eq!((&done["state"], &done["error"], &done["target"]), (&json!("done"), &Json::Null, &Json::Null));
        assert!(done["began"].as_str().unwrap().ends_with('Z') && done["ended"].is_string(), "{done}");
        let counted = match name {
            "check" => done["report"]["blobs"] == 1 && done["report"]["problems"] == 0,
            "recount" => done["report"]["repositories"] == 1,
            "scrub" => done["report"]["blobs"] == 1 && done["progress"]["unit"] == "blobs",
            "backup" => done["report"]["records"].as_u64().is_some_and(|records| records > 0),
            _ => done["report"]["blobs_removed"] == 0,
        };
        assert!(counted, "{name}: {done}");
    }
    // With a session, by a page.
    let alice = sign_in(&server, "alice");
    assert_eq!(begin(&server, &alice.fields(), &json!({ "job": "check" })).status, 202);
    assert_eq!(ended(&server, "check")["by"], "alice");
    assert!(server.log().contains("a job is begun by the API"), "{}", server.log());
    // What was done is known after a restart too.
    drop(server);
    let server = directory.start();
    assert_eq!(job(&server, "gc")["state"], "done");
}

/// SPEC AF2, AF5.
#[test]
fn nobody_else_does_and_what_cannot_be_is_refused() {
    let directory = directory("");
    let server = directory.start();
    let gc = json!({ "job": "gc" });
    let wanted = json!({ "name": "ci", "repositories": ["**"], "actions": ["pull"] });
    let fields = format!("{JSON}{}", basic("root"));
    let made = server.send_as(&fields, "POST", "/api/v1/tokens", wanted.to_string().as_bytes());
    let token = body(&made)["secret"].as_str().unwrap().to_owned();
    let token = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("root:{token}")));
    for target in [JOBS, "/api/v1/mirrors", "/api/v1/syncs", "/api/v1/damaged", "/api/v1/storage"] {
        assert_eq!(server.send_as("", "GET", target, b"").status, 401, "{target}");
        for fields in [&basic("bob"), &token] {
            let refused = server.send_as(fields, "GET", target, b"");
            assert_eq!((refused.status, &body(&refused)["errors"][0]["code"]), (403, &json!("DENIED")), "{target}");
        }
    }
    assert_eq!(begin(&server, "", &gc).status, 401);
    assert_eq!(begin(&server, &basic("bob"), &gc).status, 403);
    assert_eq!(begin(&server, &token, &gc).status, 403);
    let alice = sign_in(&server, "alice");
    assert_eq!(begin(&server, &format!("Cookie: {}\r\n", alice.cookie), &gc).status, 401, "a cookie alone");
    for (wanted, status) in [
        (json!({ "job": "dance" }), 400),
        (json!({ "job": "gc", "target": "a" }), 400),
        (json!({ "job": "gc", "more": 1 }), 400),
        (json!([]), 400),
        (json!({ "job": "sync" }), 404),
        (json!({ "job": "sync", "target": "none" }), 404),
        (json!({ "job": "sync-dry-run", "target": "none" }), 404),
        (json!({ "job": "mirror-fetch" }), 400),
        (json!({ "job": "mirror-fetch", "target": "../a" }), 400),
        (json!({ "job": "mirror-fetch", "target": "team/app:v1" }), 404),
        (json!({ "job": "mirror-evict", "target": "team/app" }), 404),
    ] {
        let refused = begin(&server, &basic("root"), &wanted);
        assert_eq!(refused.status, status, "{wanted}: {refused:?}");
        assert!(body(&refused)["errors"][0]["message"].is_string(), "{refused:?}");
    }
    let form = server.send_as(&basic("root"), "POST", JOBS, gc.to_string().as_bytes());
    assert_eq!(form.status, 415);
    assert_eq!(server.send_as(&basic("root"), "DELETE", JOBS, b"").status, 405);
    assert_eq!(get(&server, "root", JOBS), json!({ "jobs": [] }));
}

/// SPEC AF6.
#[test]
fn a_server_that_takes_no_changes_does_what_changes_nothing() {
    let directory = directory("read-only = true");
    let server = directory.start();
    for (name, status) in
        [("gc", 405), ("scrub", 405), ("recount", 405), ("gc-dry-run", 202), ("check", 202), ("backup", 202)]
    {
        assert_eq!(begin(&server, &basic("root"), &json!({ "job": name })).status, status, "{name}");
    }
    assert_eq!(get(&server, "root", "/api/v1/storage")["read_only"], true);
}

/// SPEC AF10 to AF13.
#[test]
fn administrators_see_how_a_server_stands() {
    let sync = r#"
        [[sync]]
        name = "base"
        from = "http://127.0.0.1:9"
        repositories = ["library/debian"]
        every = "1d"
    "#;
    let directory = directory(sync);
    let server = directory.start();
    assert_eq!(push(&server, &basic("root"), "team/app", "v1", "x").status, 201);
    assert_eq!(get(&server, "root", "/api/v1/mirrors"), json!({ "mirrors": [] }));
    assert_eq!(get(&server, "root", "/api/v1/damaged"), json!({ "damaged": [] }));
    let storage = get(&server, "root", "/api/v1/storage");
    assert_eq!((&storage["engine"], &storage["read_only"]), (&json!("embedded"), &json!(false)));
    assert_eq!((&storage["repositories"], &storage["blobs"], &storage["bytes"]), (&json!(1), &json!(1), &json!(2)));
    let disk = &storage["disk"];
    assert!(disk["bytes"].as_u64() > disk["free"].as_u64() && disk["free"].as_u64() > Some(0), "{storage}");
    let syncs = || get(&server, "root", "/api/v1/syncs")["syncs"][0].clone();
    eventually(|| syncs()["state"] == "ended");
    let sync = syncs();
    assert_eq!((&sync["name"], &sync["from"]), (&json!("base"), &json!("http://127.0.0.1:9")));
    assert_eq!((&sync["schedule"], &sync["succeeded"]), (&json!("every 1day"), &Json::Null));
    assert_eq!((&sync["counts"]["failed"], &sync["failures"][0]["repository"]), (&json!(1), &json!("library/debian")));
    // The same run as a job that the server has begun by itself.
    let by_itself = job(&server, "sync");
    assert_eq!(
        (&by_itself["state"], &by_itself["by"], &by_itself["target"]),
        (&json!("failed"), &json!(""), &json!("base"))
    );
    let begun = begin(&server, &basic("root"), &json!({ "job": "sync-dry-run", "target": "base" }));
    assert_eq!(begun.status, 202, "{begun:?}");
    let failed = ended(&server, "sync-dry-run");
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["error"], "sync base: 1 failures");
    assert_eq!(failed["report"]["syncs"][0]["counts"]["failed"], 1);
}

/// SPEC AF20 to AF23, AF26.
#[test]
fn each_sees_what_happened_where_he_may_pull() {
    let directory = directory("");
    let server = directory.start();
    for repository in ["team/app", "public/app", "secret/app"] {
        assert_eq!(push(&server, &basic("root"), repository, "latest", "x").status, 201);
    }
    let deleted = server.send_as(&basic("alice"), "DELETE", "/v2/team/app/manifests/latest", b"");
    assert_eq!(deleted.status, 202);
    let names = |user: &str| -> Vec<String> {
        let told = get(&server, user, ACTIVITY);
        let all = told["activity"].as_array().unwrap().iter();
        all.map(|one| format!("{} {}", one["happening"].as_str().unwrap(), one["repository"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(names("root"), ["delete team/app", "push secret/app", "push public/app", "push team/app"]);
    // Administrators see what they may not pull, too.
    assert_eq!(server.send_as(&basic("alice"), "GET", "/v2/secret/app/manifests/latest", b"").status, 404);
    assert_eq!(names("alice"), names("root"));
    assert_eq!(names("bob"), ["push public/app"]);
    assert_eq!(server.send_as("", "GET", ACTIVITY, b"").status, 401);
    let seen = get(&server, "root", ACTIVITY)["activity"][0].clone();
    assert_eq!((&seen["by"], &seen["tags"], &seen["digest"]), (&json!("alice"), &json!(["latest"]), &Json::Null));
    assert!(seen["address"].as_str().unwrap().starts_with("127.0.0.1"), "{seen}");
    let seen = get(&server, "bob", ACTIVITY)["activity"][0].clone();
    assert!(seen.get("address").is_none() && seen.get("agent").is_none() && seen["size"].is_u64(), "{seen}");
    // Page by page.
    let first = get(&server, "alice", &format!("{ACTIVITY}?n=2"));
    assert_eq!(first["activity"].as_array().unwrap().len(), 2);
    let second = get(&server, "alice", first["next"].as_str().unwrap());
    assert_eq!(second["activity"][0]["repository"], "public/app");
    let by =
        get(&server, "root", &format!("{ACTIVITY}?user=alice&repository=team/**&happening=delete&from=2020-01-01"));
    assert_eq!(by["activity"].as_array().unwrap().len(), 1);
    for wrong in ["happening=dance", "from=yesterday", "until=x", "n=x", "format=xml", "after=%00", "after=%C3%A9"] {
        let refused = server.send_as(&basic("root"), "GET", &format!("{ACTIVITY}?{wrong}"), b"");
        assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
    }
    let table = server.send_as(&basic("bob"), "GET", &format!("{ACTIVITY}?format=csv"), b"");
    assert_eq!(table.header("content-type").as_deref(), Some("text/csv; charset=utf-8"));
    let table = String::from_utf8(table.body).unwrap();
    assert!(table.starts_with("id,time,happening,") && table.lines().count() == 2, "{table}");
    // A token sees no more than it may pull.
    for (user, repositories, expected) in [("root", "public/*", 1), ("alice", "**", 3)] {
        let wanted = json!({ "name": "ci", "repositories": [repositories], "actions": ["pull"] }).to_string();
        let made = server.send_as(&format!("{JSON}{}", basic(user)), "POST", "/api/v1/tokens", wanted.as_bytes());
        let secret = body(&made)["secret"].as_str().unwrap().to_owned();
        let login = STANDARD.encode(format!("{user}:{secret}"));
        let by_token = server.send_as(&format!("Authorization: Basic {login}\r\n"), "GET", ACTIVITY, b"");
        let seen = body(&by_token)["activity"].as_array().unwrap().clone();
        assert_eq!(seen.len(), expected, "{by_token:?}");
        assert!(seen.iter().all(|one| one["repository"] != "secret/app" && one.get("address").is_none()), "{seen:?}");
    }
}

/// SPEC AF25, AF27.
#[test]
fn what_happened_is_printed_by_the_command_line_too() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let server = Started::on(&data, &[]);
    tags::push(&server, &["v1", "v2"]);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v1", b"").status, 202);
    let (done, told) = tags::run("activity", &data, &[]);
    let lines: Vec<&str> = told.lines().collect();
    assert!(done && lines.len() == 3 && lines[0].ends_with("Z delete  a:v1"), "{told}");
    let (done, told) = tags::run("activity", &data, &["--happening", "push", "--top", "1"]);
    assert!(done && told.lines().count() == 1 && told.ends_with("push    a:v2"), "{told}");
    let (done, told) = tags::run("activity", &data, &["--happening", "dance"]);
    assert!(!done && told.contains("one of push, delete, damaged, quota"), "{told}");
    let (_, table) = tags::run("activity", &data, &["--format", "csv", "--repository", "b"]);
    assert_eq!(table.lines().count(), 1, "{table}");
    drop(server);
    // Without a server, the same.
    let found = tags::json("activity", &data, &["--user", "nobody"]);
    assert_eq!(found, json!([]));
    let found = tags::json("activity", &data, &[]);
    assert_eq!(found.as_array().unwrap().len(), 3, "{found}");
}

//! What administrators look after, by the API (SPEC AE): who gets it, and what it says.

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::access::{Directory, RULES, basic, push};
use crate::signing_in::{body, sign_in};
use crate::started::{Answer, Started, eventually, orlop};

const JSON: &str = "Content-Type: application/json\r\n";

/// Two who administer, one by a group, and rules under which alice may do all in `team/**` but for tags `v*`.
const SETTINGS: &str = "administrators = ['user:root', 'group:ops']\n[[group]]\nname = 'ops'\nmembers = ['olga']\n";

fn settings() -> String {
    format!("{SETTINGS}{RULES}")
}

const USERS: [&str; 4] = ["alice", "bob", "olga", "root"];

fn send(server: &Started, fields: &str, (method, target): (&str, &str), sent: &Json) -> Answer {
    let target = format!("/api/v1/{target}");
    match method {
        "POST" => server.send_as(&format!("{JSON}{fields}"), method, &target, sent.to_string().as_bytes()),
        _ => server.send_as(fields, method, &target, b""),
    }
}

#[track_caller]
fn get(server: &Started, user: &str, target: &str) -> Json {
    let answer = send(server, &basic(user), ("GET", target), &Json::Null);
    assert_eq!((answer.status, answer.header("cache-control").as_deref()), (200, Some("no-store")), "{answer:?}");
    body(&answer)
}

#[track_caller]
fn post(server: &Started, user: &str, target: &str, sent: &Json) -> Json {
    let answer = send(server, &basic(user), ("POST", target), sent);
    assert!(matches!(answer.status, 200 | 201), "{sent} {answer:?}");
    body(&answer)
}

/// The status, the code and the message of a refusal.
#[track_caller]
fn refused(server: &Started, user: &str, request: (&str, &str), sent: &Json, expected: (u16, &str, &str)) {
    let answer = send(server, &basic(user), request, sent);
    let told = body(&answer)["errors"][0].clone();
    let (code, message) = (told["code"].as_str().unwrap(), told["message"].as_str().unwrap());
    assert_eq!((answer.status, code), (expected.0, expected.1), "{request:?} {sent}: {message}");
    assert!(message.contains(expected.2), "{request:?} {sent}: {message}");
}

fn delete(server: &Started, user: &str, repository: &str, reference: &str) {
    let target = format!("/v2/{repository}/manifests/{reference}");
    assert_eq!(server.send_as(&basic(user), "DELETE", &target, b"").status, 202, "{target}");
}

/// The endpoints of administrators, each with a body that would do.
fn all() -> Vec<((&'static str, &'static str), Json)> {
    vec![
        (("GET", "usage"), Json::Null),
        (("GET", "deleted"), Json::Null),
        (("POST", "deleted/purge"), json!({ "repository": "team/app" })),
        (("GET", "protected"), Json::Null),
        (("POST", "protected"), json!({ "what": "team/app:keep" })),
        (("DELETE", "protected?what=team/app:keep"), Json::Null),
        (("GET", "retention"), Json::Null),
        (("GET", "retention/plan"), Json::Null),
        (("POST", "retention/apply"), json!({ "repository": "team/app", "plan": "00", "yes": true })),
        (("GET", "users"), Json::Null),
        (("GET", "rules"), Json::Null),
        (("POST", "rules/explain"), json!({ "user": "carol", "repository": "a", "action": "pull" })),
    ]
}

/// SPEC AE1.
#[test]
fn administrators_alone_get_what_they_look_after() {
    let directory = Directory::new(&settings(), &USERS);
    let server = directory.start();
    assert_eq!(push(&server, &basic("alice"), "team/app", "one", "x").status, 201);
    let (root, alice) = (sign_in(&server, "root"), sign_in(&server, "alice"));
    let token = post(
        &server,
        "root",
        "tokens",
        &json!({ "name": "ci", "repositories": ["**"], "actions": ["pull", "push", "delete"] }),
    );
    let token = token["secret"].as_str().unwrap();
    let token = format!(
        "Authorization: Basic {}\r\n",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("root:{token}"))
    );
    let without = format!("Cookie: {}\r\n", root.cookie);
    let wrong = format!("Cookie: {}\r\nX-CSRF-Token: {}\r\n", root.cookie, alice.csrf);
    for (request, sent) in all() {
        let status = |fields: &str| send(&server, fields, request, &sent).status;
        let denied = [basic("bob"), basic("alice"), alice.fields(), token.clone()].map(|fields| status(&fields));
        assert_eq!(denied, [403; 4], "{request:?}");
        let unknown = ["", &without, &wrong].map(status);
        assert_eq!(unknown, [401; 3], "{request:?}");
        let done = [basic("root"), basic("olga"), root.fields()].map(|fields| status(&fields));
        let conflict = request.1 == "retention/apply";
        assert!(
            done.iter().all(|status| conflict && *status == 409
                || (200..300).contains(status)
                || request.0 == "DELETE" && *status == 404),
            "{request:?} {done:?}"
        );
        let other = if request.0 == "GET" { "PUT" } else { "PATCH" };
        let path = request.1.split('?').next().unwrap();
        let answer = send(&server, &basic("root"), (other, path), &Json::Null);
        assert_eq!((answer.status, answer.header("allow").is_some()), (405, true), "{request:?}");
    }
    // Somebody who is asked for his login by nobody is refused as well.
    let open = Started::with(&[]);
    for (request, sent) in all().into_iter().filter(|(request, _)| request.1 != "rules/explain") {
        assert_eq!(send(&open, "", request, &sent).status, 403, "{request:?}");
    }
}

/// SPEC AE1.
#[test]
fn what_is_no_request_is_told_what_it_should_be() {
    let directory = Directory::new(&settings(), &USERS);
    let server = directory.start();
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    for (request, sent, code, told) in [
        (("GET", "usage?sort=size"), Json::Null, "UNSUPPORTED", "one of bytes, unshared, name"),
        (("GET", "usage?sort="), Json::Null, "UNSUPPORTED", "one of bytes, unshared, name"),
        (("GET", "usage?n=x"), Json::Null, "PAGINATION_NUMBER_INVALID", "`n`"),
        (("GET", "deleted?repository=Team"), Json::Null, "NAME_INVALID", ""),
        (("GET", "deleted?repository="), Json::Null, "NAME_INVALID", ""),
        (("POST", "deleted/undelete"), json!({ "repository": "a" }), "UNSUPPORTED", "JSON"),
        (("POST", "deleted/undelete"), json!({ "repository": "A", "reference": "v1" }), "NAME_INVALID", ""),
        (("POST", "deleted/undelete"), json!({ "repository": "a", "reference": "v 1" }), "TAG_INVALID", ""),
        (("POST", "deleted/undelete"), json!({ "repository": "a", "reference": "sha256:x" }), "DIGEST_INVALID", ""),
        (("POST", "deleted/undelete"), json!({ "repository": "a", "reference": "v1", "as": "" }), "TAG_INVALID", ""),
        (
            ("POST", "deleted/undelete"),
            json!({ "repository": "a", "reference": digest, "as": "v1" }),
            "UNSUPPORTED",
            "`as`",
        ),
        (("POST", "deleted/purge"), json!({ "repository": "a", "all": true }), "UNSUPPORTED", "JSON"),
        (("POST", "deleted/purge"), json!(["a"]), "UNSUPPORTED", "JSON"),
        (("POST", "protected"), json!({ "what": "A" }), "UNSUPPORTED", "write REPOSITORY:TAG"),
        (("DELETE", "protected"), Json::Null, "UNSUPPORTED", "`what`"),
        (("DELETE", "protected?what=a@b"), Json::Null, "UNSUPPORTED", "write REPOSITORY:TAG"),
        (("GET", "retention/plan?repository=.."), Json::Null, "NAME_INVALID", ""),
        (("POST", "retention/apply"), json!({ "repository": "a" }), "UNSUPPORTED", "JSON"),
        (("GET", "users?n=-1"), Json::Null, "PAGINATION_NUMBER_INVALID", "`n`"),
        (("POST", "rules/explain"), json!({ "repository": "a", "action": "read" }), "UNSUPPORTED", "JSON"),
        (("POST", "rules/explain"), json!({ "repository": "", "action": "pull" }), "NAME_INVALID", ""),
    ] {
        refused(&server, "root", request, &sent, (400, code, told));
    }
    for (request, sent) in all().into_iter().filter(|(request, _)| request.0 == "POST") {
        let target = format!("/api/v1/{}", request.1);
        let sent = sent.to_string();
        assert_eq!(server.send_as(&basic("root"), "POST", &target, sent.as_bytes()).status, 415, "{target}");
        let long = format!("{JSON}{}", basic("root"));
        assert_eq!(server.send_as(&long, "POST", &target, &[b' '; 9000]).status, 413, "{target}");
    }
}

/// SPEC AE2.
#[test]
fn usage_comes_in_pages_in_the_order_that_is_asked_for() {
    let quota = "[[quota]]\nname = 'team'\nrepositories = ['team/**']\nbytes = '1MiB'\n";
    let directory = Directory::new(&format!("{}{quota}", settings()), &USERS);
    let server = directory.start();
    for (repository, tags) in [("team/a", 1), ("team/b", 3), ("other", 2)] {
        for tag in 0..tags {
            assert_eq!(push(&server, &basic("root"), repository, &format!("t{tag}"), &format!("{tag}")).status, 201);
        }
    }
    let names = |report: &Json| {
        let rows = report["repositories"].as_array().unwrap();
        rows.iter().map(|row| row["repository"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let by_tags = get(&server, "root", "usage?sort=tags");
    assert_eq!(names(&by_tags), ["team/b", "other", "team/a"]);
    assert_eq!((&by_tags["total"]["tags"], &by_tags["total"]["repositories"]), (&json!(6), &json!(3)));
    assert_eq!(
        (&by_tags["repositories"][0]["quota"], &by_tags["repositories"][1]["quota"]),
        (&json!("team"), &Json::Null)
    );
    assert!(by_tags["repositories"][0]["last_push"].as_str().is_some_and(|time| time.ends_with('Z')), "{by_tags}");
    let quota = &by_tags["quotas"][0];
    assert_eq!(
        (&quota["quota"], &quota["limit"], &quota["used_percent"]),
        (&json!("team"), &json!(1 << 20), &json!(0))
    );
    for (sort, expected) in [("name", ["other", "team/a", "team/b"]), ("bytes", ["team/b", "other", "team/a"])] {
        let (mut target, mut seen) = (format!("usage?sort={sort}&n=1"), Vec::new());
        loop {
            let page = get(&server, "root", &target);
            seen.extend(names(&page));
            assert_eq!(page["total"]["repositories"], 3);
            let Some(next) = page["next"].as_str() else { break };
            target = next.strip_prefix("/api/v1/").unwrap().to_owned();
        }
        assert_eq!(seen, expected, "{sort}");
    }
    // All of them are pages of one report, until a fresh one is asked for.
    assert_eq!(push(&server, &basic("root"), "other", "more", "9").status, 201);
    let shown = get(&server, "root", "usage?sort=tags&fresh=false");
    assert_eq!((&shown["made"], &shown["total"]), (&by_tags["made"], &by_tags["total"]));
    assert!(shown["made"].as_str().is_some_and(|made| made.ends_with('Z')), "{shown}");
    let mut by_tags = get(&server, "root", "usage?sort=tags&fresh=true");
    assert_eq!(by_tags["total"]["tags"], 7);
    let wrong = server.send_as(&basic("root"), "GET", "/api/v1/usage?fresh=yes", b"");
    assert_eq!(wrong.status, 400, "{wrong:?}");
    // The command line says the same.
    by_tags.as_object_mut().unwrap().remove("made");
    let config = directory.path("orlop.toml");
    let printed =
        orlop("usage", server.data()).args(["--format", "json", "--sort", "tags", "--config"]).arg(&config).output();
    assert_eq!(serde_json::from_slice::<Json>(&printed.unwrap().stdout).unwrap(), by_tags);
}

/// SPEC AE3, AE4.
#[test]
fn what_was_deleted_is_listed_to_those_who_may_delete_there() {
    let directory = Directory::new(&settings(), &USERS);
    let server = directory.start();
    for (repository, tag) in [("team/app", "one"), ("team/app", "two"), ("public/app", "one")] {
        assert_eq!(push(&server, &basic("root"), repository, tag, tag).status, 201);
        delete(&server, "root", repository, tag);
    }
    let of_team = get(&server, "alice", "deleted?repository=team/app");
    let rows = of_team["deleted"].as_array().unwrap();
    let tags: Vec<&str> = rows.iter().filter_map(|row| row["tag"].as_str()).collect();
    assert_eq!(tags, ["one", "two"], "{of_team}");
    assert!(rows.iter().all(|row| row["repository"] == "team/app" && row["by"] == "root"), "{of_team}");
    assert!(rows[0]["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{of_team}");
    let everything = get(&server, "root", "deleted");
    let (mut target, mut seen) = ("deleted?n=1".to_owned(), Vec::new());
    loop {
        let page = get(&server, "olga", &target);
        seen.extend(page["deleted"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        target = next.strip_prefix("/api/v1/").unwrap().to_owned();
        assert!(seen.len() < 100, "{seen:?}");
    }
    assert_eq!(Json::from(seen), everything["deleted"]);
    // An administrator needs no rights there.
    assert_eq!(get(&server, "olga", "deleted?repository=team/app"), of_team);
    let one = |user: &str, name: &str| {
        send(&server, &basic(user), ("GET", &format!("deleted?repository={name}")), &Json::Null).status
    };
    assert_eq!(
        [one("bob", "team/app"), one("bob", "nowhere"), one("bob", "public/app"), one("", "public/app")],
        [404, 404, 403, 401]
    );
}

/// SPEC AE5, AE6: by the rules, those for tags too.
#[test]
fn what_was_deleted_comes_back_by_those_who_could_push_it() {
    let settings = format!(
        "{SETTINGS}[[rule]]\nwho = ['user:bob']\ndeny = ['create-tag']\nrepositories = ['**']\ntags = ['kept']\n{RULES}[[rule]]\nwho = ['user:bob']\nallow = ['all']\nrepositories = ['team/**']\n"
    );
    let directory = Directory::new(&settings, &USERS);
    let server = directory.start();
    for tag in ["one", "two", "kept"] {
        assert_eq!(push(&server, &basic("alice"), "team/app", tag, tag).status, 201);
        delete(&server, "alice", "team/app", tag);
    }
    let target = ("POST", "deleted/undelete");
    let wanted = |tag: &str| json!({ "repository": "team/app", "reference": tag });
    let alice = sign_in(&server, "alice");
    let answer = send(&server, &alice.fields(), target, &wanted("one"));
    let done = body(&answer);
    assert_eq!(
        (answer.status, &done["repository"], &done["tags"]),
        (200, &json!("team/app"), &json!(["one"])),
        "{done}"
    );
    let there = server.send_as(&basic("alice"), "GET", "/v2/team/app/manifests/one", b"");
    assert_eq!(there.status, 200);
    refused(&server, "alice", target, &wanted("one"), (404, "MANIFEST_UNKNOWN", "team/app:one is not among"));
    // A manifest comes back with the tags that went with it.
    let digest = there.header("docker-content-digest").unwrap();
    delete(&server, "alice", "team/app", &digest);
    let done = post(&server, "alice", target.1, &wanted(&digest));
    let came = (&done["manifests"], &done["tags"], &done["taken"], &done["missing"]);
    assert_eq!(came, (&json!([digest]), &json!(["one"]), &json!([]), &json!([])));
    // Pushed again meanwhile.
    assert_eq!(push(&server, &basic("alice"), "team/app", "two", "other").status, 201);
    refused(&server, "alice", target, &wanted("two"), (409, "UNSUPPORTED", "send `\"force\": true`"));
    let done = post(&server, "alice", target.1, &json!({ "repository": "team/app", "reference": "two", "as": "old" }));
    assert_eq!(done["tags"], json!(["old"]));
    delete(&server, "alice", "team/app", "old");
    let done = post(
        &server,
        "alice",
        target.1,
        &json!({ "repository": "team/app", "reference": "old", "as": "two", "force": true }),
    );
    assert_eq!(done["tags"], json!(["two"]));
    // Rules for tags: bob may not make `kept`, and nobody may overwrite or delete `v*`.
    refused(&server, "bob", target, &wanted("kept"), (403, "DENIED", "you may not create the tag kept"));
    let elsewhere = json!({ "repository": "team/app", "reference": "kept", "as": "v1" });
    assert_eq!(post(&server, "bob", target.1, &elsewhere)["tags"], json!(["v1"]));
    delete(&server, "alice", "team/app", "one");
    let over = json!({ "repository": "team/app", "reference": "one", "as": "v1", "force": true });
    refused(&server, "alice", target, &over, (403, "DENIED", "you may not overwrite the tag v1"));
    refused(&server, "alice", target, &wanted("v9"), (403, "DENIED", "does not have the right delete for the tag v9"));
    // Who may not pull is told that it is not there, others what they lack.
    let public = json!({ "repository": "public/app", "reference": "one" });
    refused(&server, "bob", target, &public, (403, "DENIED", "does not have the right upload"));
    let secret = json!({ "repository": "secret/app", "reference": "one" });
    refused(&server, "bob", target, &secret, (404, "NAME_UNKNOWN", ""));
    assert_eq!(send(&server, "", target, &wanted("one")).status, 401);
    assert_eq!(send(&server, &format!("Cookie: {}\r\n", alice.cookie), target, &wanted("one")).status, 401);
    let log = server.log();
    assert!(log.contains("operation=\"undelete\"") && log.contains("undeleted one"), "{log}");
    // Without users, whoever may push may undelete too.
    let open = Started::with(&[]);
    assert_eq!(push(&open, "", "a", "v1", "x").status, 201);
    delete(&open, "", "a", "v1");
    assert_eq!(send(&open, "", ("GET", "deleted?repository=a"), &Json::Null).status, 200);
    assert_eq!(post(&open, "", target.1, &json!({ "repository": "a", "reference": "v1" }))["tags"], json!(["v1"]));
}

/// SPEC AE7, AE8, AE9, AE10.
#[test]
fn what_is_purged_is_gone_unless_it_is_protected() {
    let directory = Directory::new(&settings(), &USERS);
    let server = directory.start();
    for tag in ["one", "two"] {
        assert_eq!(push(&server, &basic("alice"), "team/app", tag, tag).status, 201);
    }
    let mark = json!({ "what": "team/*:one" });
    let set = send(&server, &basic("root"), ("POST", "protected"), &mark);
    let told = body(&set);
    assert_eq!((set.status, &told["what"], &told["matches"]), (201, &json!("team/*:one"), &json!(true)), "{told}");
    let again = send(&server, &basic("root"), ("POST", "protected"), &mark);
    assert_eq!((again.status, body(&again)), (200, told.clone()));
    assert_eq!(post(&server, "olga", "protected", &json!({ "what": "nowhere:x" }))["matches"], json!(false));
    let listed = get(&server, "root", "protected");
    assert_eq!(listed["protected"][1], json!({ "what": "team/*:one", "since": told["since"] }), "{listed}");
    assert_eq!(server.send_as(&basic("alice"), "DELETE", "/v2/team/app/manifests/one", b"").status, 403);
    let purge = |tag: &str, force: bool| json!({ "repository": "team/app", "reference": tag, "force": force });
    refused(&server, "root", ("POST", "deleted/purge"), &purge("one", false), (403, "DENIED", "team/*:one"));
    let done = post(&server, "root", "deleted/purge", &purge("one", true));
    assert_eq!((&done["tags"], done["manifests"].as_array().map(Vec::len)), (&json!(["one"]), Some(1)), "{done}");
    let told = get(&server, "root", "activity?repository=team/app")["activity"][0].clone();
    assert_eq!((&told["happening"], &told["by"]), (&json!("delete"), &json!("root")), "{told}");
    assert!(told["address"].as_str().is_some_and(|address| !address.is_empty()), "{told}");
    refused(&server, "root", ("POST", "deleted/purge"), &purge("one", true), (404, "MANIFEST_UNKNOWN", "team/app:one"));
    refused(
        &server,
        "root",
        ("POST", "deleted/purge"),
        &json!({ "repository": "nowhere" }),
        (404, "NAME_UNKNOWN", "nowhere"),
    );
    delete(&server, "alice", "team/app", "two");
    let done = post(&server, "root", "deleted/purge", &json!({ "repository": "team/app", "reference": null }));
    assert_eq!((&done["tags"], &done["tags_there"]), (&json!(["two"]), &json!(0)), "{done}");
    assert_eq!(get(&server, "root", "deleted"), json!({ "deleted": [], "damaged": [] }));
    let unset =
        |what: &str| send(&server, &basic("root"), ("DELETE", &format!("protected?what={what}")), &Json::Null).status;
    assert_eq!([unset("team%2F%2A%3Aone"), unset("team/*:one"), unset("nowhere:x")], [204, 404, 204]);
    assert_eq!(get(&server, "root", "protected"), json!({ "protected": [] }));
}

/// SPEC AE11, AE12, AE13.
#[test]
fn retention_is_planned_and_applied() {
    let rules = "[[retention]]\nname = 'last'\nrepositories = ['team/**']\nkeep-last = 2\nkeep = ['kept']\n";
    let directory = Directory::new(&format!("{}{rules}", settings()), &USERS);
    let server = directory.start();
    for repository in ["team/a", "team/b", "other"] {
        for tag in ["kept", "t1", "t2", "t3"] {
            assert_eq!(push(&server, &basic("root"), repository, tag, tag).status, 201);
        }
    }
    let status = get(&server, "root", "retention");
    let rule = &status["rules"][0];
    assert_eq!((&rule["name"], &rule["repositories"]), (&json!("last"), &json!(["team/**"])));
    assert_eq!(rule["text"], "of all tags, it keeps the newest 2; the tags kept stay");
    assert_eq!((&status["interval_seconds"], &status["status"]["began"]), (&json!(86_400), &Json::Null));
    let first = get(&server, "root", "retention/plan?n=1");
    let next = first["next"].as_str().unwrap().strip_prefix("/api/v1/").unwrap();
    let second = get(&server, "root", next);
    let of = |page: &Json| {
        page["plans"].as_array().unwrap().iter().map(|plan| plan["repository"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((of(&first), of(&second)), (vec![json!("team/a")], vec![json!("team/b")]));
    let tags = |plan: &Json| plan["tags"].as_array().unwrap().iter().map(|tag| tag["tag"].clone()).collect::<Vec<_>>();
    assert_eq!(tags(&first["plans"][0]), [json!("t1")], "what goes");
    let whole = get(&server, "root", "retention/plan?repository=team/a");
    let plan = &whole["plans"][0];
    assert_eq!(tags(plan), ["kept", "t1", "t2", "t3"].map(Json::from));
    assert_eq!(
        (&plan["tags"][1]["deleted"], &plan["needs_approval"], &plan["more"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(plan["plan"], first["plans"][0]["plan"]);
    assert!(whole["warnings"][0].as_str().unwrap().contains("untagged-after"), "{whole}");
    let apply = ("POST", "retention/apply");
    let wanted = |plan: &Json, yes: bool| json!({ "repository": "team/a", "plan": plan, "yes": yes });
    refused(&server, "root", apply, &wanted(&plan["plan"], false), (409, "UNSUPPORTED", "\"yes\": true"));
    refused(&server, "root", apply, &wanted(&json!("0123456789abcdef"), true), (409, "UNSUPPORTED", "have changed"));
    let nowhere = json!({ "repository": "nowhere", "plan": "00" });
    refused(&server, "root", apply, &nowhere, (404, "UNSUPPORTED", "there is no repository nowhere"));
    refused(
        &server,
        "root",
        ("GET", "retention/plan?repository=nowhere"),
        &Json::Null,
        (404, "UNSUPPORTED", "nowhere"),
    );
    let done = post(&server, "root", apply.1, &wanted(&plan["plan"], true));
    assert_eq!(
        (&done["repository"], &done["tags_deleted"], &done["manifests_deleted"]),
        (&json!("team/a"), &json!(1), &json!(0))
    );
    assert_eq!(server.send_as(&basic("root"), "GET", "/v2/team/a/manifests/t1", b"").status, 404);
    assert_eq!(server.send_as(&basic("root"), "GET", "/v2/team/b/manifests/t1", b"").status, 200);
    // Without rules there is nothing to plan.
    directory.configure(&settings());
    server.signal(Signal::HUP);
    eventually(|| get(&server, "root", "retention")["rules"] == json!([]));
    let none = get(&server, "root", "retention/plan");
    assert!(none["plans"] == json!([]) && none["warnings"][0].as_str().unwrap().contains("no rules"), "{none}");
}

/// SPEC AE14, AE15.
#[test]
fn users_and_rules_are_told_as_they_are_written() {
    let directory = Directory::new(&settings(), &USERS);
    let server = directory.start();
    post(&server, "alice", "tokens", &json!({ "name": "ci", "repositories": ["**"], "actions": ["pull"] }));
    let users = get(&server, "root", "users");
    let expected = |name: &str, groups: &[&str], administrator: bool, tokens: u64| json!({ "name": name, "groups": groups, "administrator": administrator, "tokens": tokens });
    let all = [
        expected("alice", &["dev"], false, 1),
        expected("bob", &[], false, 0),
        expected("olga", &["ops"], true, 0),
        expected("root", &[], true, 0),
    ];
    assert_eq!(users, json!({ "users": all, "passwords": true, "ldap": false, "oidc": [] }));
    let first = get(&server, "root", "users?n=3");
    let next = first["next"].as_str().unwrap().strip_prefix("/api/v1/").unwrap();
    assert_eq!(get(&server, "root", next)["users"], json!([all[3]]));
    let rules = get(&server, "root", "rules");
    assert_eq!(rules["administrators"], json!(["user:root", "group:ops"]));
    assert_eq!(
        rules["groups"],
        json!([{ "name": "ops", "members": ["olga"] }, { "name": "dev", "members": ["alice"] }])
    );
    let deny = &rules["rules"][0];
    let place = deny["place"].as_str().unwrap();
    let (file, line) = place.rsplit_once(':').unwrap();
    assert!(file == directory.path("orlop.toml").to_str().unwrap() && line.parse::<usize>().is_ok(), "{place}");
    assert_eq!(
        (&deny["who"], &deny["actions"], &deny["deny"], &deny["repositories"], &deny["tags"]),
        (&json!(["anybody"]), &json!(["overwrite-tag", "delete"]), &json!(true), &json!(["**"]), &json!(["v*"]))
    );
    assert_eq!((&rules["rules"][1]["who"], &rules["rules"][1]["tags"]), (&json!(["group:dev"]), &Json::Null));
    assert_eq!(rules["without_rules"], "what no rule allows is denied");
    // They are those in force.
    directory.configure("administrators = ['user:root']\n");
    server.signal(Signal::HUP);
    eventually(|| get(&server, "root", "rules")["rules"] == json!([]));
    let told = get(&server, "root", "rules")["without_rules"].as_str().unwrap().to_owned();
    assert!(told.contains("authenticated clients may do everything"), "{told}");
}

/// SPEC AE16, AE17.
#[test]
fn everybody_may_ask_what_he_may_do_and_administrators_what_others_may() {
    let directory = Directory::new(&settings(), &USERS);
    let server = directory.start();
    let asked = |user: Json, action: &str, tag: Json| json!({ "user": user, "repository": "team/app", "action": action, "tag": tag });
    let own = post(&server, "alice", "rules/explain", &asked(Json::Null, "push", json!("v1")));
    assert_eq!((&own["allowed"], &own["user"]), (&json!(false), &json!("alice")), "{own}");
    let lines: Vec<&str> = own["explanation"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "alice: upload in team/app is allowed: a rule decides",
            "  allow all in team/**",
            "alice: create-tag in team/app with the tag v1 is allowed: a rule decides",
            "  allow all in team/**",
            "alice: overwrite-tag in team/app with the tag v1 is denied: a rule decides",
            "  deny overwrite-tag, delete in **, for the tags v*",
        ]
    );
    assert_eq!(post(&server, "alice", "rules/explain", &asked(json!("alice"), "push", json!("v1"))), own);
    let told = post(&server, "root", "rules/explain", &asked(json!("alice"), "delete", json!("v1")));
    // The command line says the same.
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_orlop"));
    program.args(["access", "explain", "alice", "delete", "team/app", "v1", "--config"]);
    let printed = program.arg(directory.path("orlop.toml")).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let lines: Vec<&str> = told["explanation"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines.join("\n"), printed.trim_end());
    assert!(lines[0].ends_with("is denied: rule 1 decides") && lines[1].contains("orlop.toml:"), "{lines:?}");
    let of = |user: &str, groups: &[&str]| {
        let asked = json!({ "user": user, "groups": groups, "repository": "team/app", "action": "pull" });
        let told = post(&server, "root", "rules/explain", &asked);
        (told["allowed"].as_bool().unwrap(), told["explanation"][0].as_str().unwrap().to_owned())
    };
    assert_eq!(of("anonymous", &[]), (false, "anonymous: pull in team/app is denied: no rule matches".into()));
    assert_eq!(of("mallory", &["dev"]), (true, "there is no user mallory; if there were:".into()));
    assert!(!of("certificate:ci", &[]).0);
    let more = json!({ "groups": ["ops"], "repository": "team/app", "action": "pull" });
    refused(&server, "alice", ("POST", "rules/explain"), &more, (403, "DENIED", "administrators"));
    for user in ["root", "anonymous", "nobody"] {
        refused(
            &server,
            "alice",
            ("POST", "rules/explain"),
            &asked(json!(user), "pull", Json::Null),
            (403, "DENIED", "administrators"),
        );
    }
    assert_eq!(send(&server, "", ("POST", "rules/explain"), &asked(Json::Null, "pull", Json::Null)).status, 401);
}

/// SPEC AE18.
#[test]
fn a_registry_that_takes_no_changes_only_tells() {
    let directory = Directory::new(&format!("read-only = true\n{}", settings()), &USERS);
    let server = directory.start();
    for (request, sent) in all()
        .into_iter()
        .chain([(("POST", "deleted/undelete"), json!({ "repository": "team/app", "reference": "one" }))])
    {
        let answer = send(&server, &basic("root"), request, &sent);
        let changes = !matches!(request, ("GET", _) | (_, "rules/explain"));
        let expected = if changes { (405, Some("GET, HEAD".to_owned())) } else { (200, None) };
        assert_eq!((answer.status, answer.header("allow")), expected, "{request:?}");
    }
}

/// SPEC X33, X36, X37, AD4: what a server has counted when it stops, and that its console pulls nothing.
#[test]
fn it_is_known_how_often_and_by_whom_something_was_pulled() {
    let directory = Directory::new(&settings(), &USERS);
    let mut server = directory.start();
    assert_eq!(push(&server, &basic("root"), "public/app", "v1", "x").status, 201);
    let target = "/v2/public/app/manifests/v1";
    for fields in [basic("bob"), basic("bob"), String::new(), basic("alice")] {
        assert_eq!(server.send_as(&fields, "GET", target, b"").status, 200);
    }
    assert_eq!(server.send_as(&basic("bob"), "HEAD", target, b"").status, 200);
    let olga = sign_in(&server, "olga");
    assert_eq!(server.send_as(&olga.fields(), "GET", target, b"").status, 200);
    server.signal(Signal::TERM);
    eventually(|| server.ended());
    let server = directory.start();
    let read = |target: &str| body(&send(&server, &basic("root"), ("GET", target), &Json::Null));
    let image = read("repositories/public/app/images/v1");
    let mut users: Vec<&str> =
        image["pulledBy"].as_array().unwrap().iter().map(|by| by["user"].as_str().unwrap()).collect();
    users.sort_unstable();
    assert_eq!((&image["pulls"], users), (&json!(4), vec!["alice", "bob"]), "a HEAD gets no manifest");
    // Who may pull is not told of others.
    for fields in [String::new(), basic("bob"), basic("alice")] {
        let told = body(&send(&server, &fields, ("GET", "repositories/public/app/images/v1"), &Json::Null));
        assert_eq!((&told["pulls"], &told["pulledBy"]), (&json!(4), &Json::Null));
    }
    let tags = read("repositories/public/app/tags?sort=pulls");
    assert_eq!(tags["tags"][0]["pulls"], 5);
    let usage = get(&server, "root", "usage?sort=pulls");
    assert_eq!(usage["repositories"][0]["pulls"], 4);
}

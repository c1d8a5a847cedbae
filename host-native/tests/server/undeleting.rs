//! What was deleted comes back by the command line, with a server and without one.

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::started::{Started, eventually};
use crate::tags::{digest, image, json, push, run};

#[test]
fn a_running_server_undeletes_what_clients_delete() {
    let server = Started::with(&["--gc-interval", "0"]);
    let data = server.data().to_owned();
    assert_eq!(run("deleted", &data, &[]), (true, "nothing was deleted that can be undeleted".into()));
    push(&server, &["v1", "v2"]);
    let first = digest(&server, "v1");
    let bytes = server.get("/v2/a/manifests/v1").body;
    assert_eq!(server.send("DELETE", &format!("/v2/a/manifests/{first}"), b"").status, 202);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v2", b"").status, 202);
    let (done, collected) = run("gc", &data, &[]);
    assert!(done, "{collected}");
    assert_eq!(server.get("/v2/a/manifests/v1").status, 404);
    let (_, listed) = run("deleted", &data, &[]);
    assert!(
        listed.starts_with("IMAGE") && listed.contains(&format!("a@{first}")) && listed.contains("a:v2"),
        "{listed}"
    );
    let all = json("deleted", &data, &["a"]);
    assert!(all["deleted"][0]["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{all}");
    assert_eq!(all["more"], false);
    assert_eq!(json("deleted", &data, &["a"])["deleted"].as_array().map(Vec::len), Some(3));
    assert_eq!(json("deleted", &data, &["other"])["deleted"].as_array().map(Vec::len), Some(0));

    let done = json("undelete", &data, &[&format!("a@{first}")]);
    assert_eq!((&done["manifests"][0], &done["tags"][0]), (&first.clone().into(), &"v1".into()));
    assert_eq!(server.get("/v2/a/manifests/v1").body, bytes);
    let (done, told) = run("undelete", &data, &["a:v1"]);
    assert!(!done && told.contains("a:v1 is not among what was deleted"), "{told}");

    // Pushed again meanwhile.
    push(&server, &["v1"]);
    assert_eq!(server.send("PUT", "/v2/a/manifests/v2", image("another").as_bytes()).status, 201);
    let (done, told) = run("undelete", &data, &["a:v2"]);
    assert!(!done && told.contains("a:v2 was pushed again") && told.contains("--as TAG"), "{told}");
    let (done, told) = run("undelete", &data, &["a:v2", "--as", "v2-old"]);
    assert!(done && told.contains("undeleted a:v2-old"), "{told}");
    assert_eq!(server.get("/v2/a/manifests/v2-old").body, image("v2").as_bytes());
    let (done, told) = run("undelete", &data, &["a"]);
    assert!(!done && told.contains("name a tag or a digest of a"), "{told}");
    assert!(server.log().contains("undeleted"), "{}", server.log());
}

#[test]
fn what_is_purged_is_gone_and_what_stays_is_named() {
    let server = Started::with(&["--gc-interval", "0"]);
    let data = server.data().to_owned();
    push(&server, &["v1", "v2"]);
    let first = digest(&server, "v1");
    let (done, told) = run("purge", &data, &["a:v1"]);
    assert!(done && told.starts_with("purged 1 tags, "), "{told}");
    assert!(
        told.contains("remains: sha256:44136fa355b3678a") && told.contains("of this repository needs it"),
        "{told}"
    );
    assert_eq!(server.get(&format!("/v2/a/manifests/{first}")).status, 404);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v2", b"").status, 202);
    let done = json("purge", &data, &["a"]);
    assert_eq!(done["tags"][0], "v2", "{done}");
    assert_eq!(json("deleted", &data, &[])["deleted"].as_array().map(Vec::len), Some(0));
    let (done, told) = run("purge", &data, &["a:never"]);
    assert!(!done && told.contains("there is no tag a:never"), "{told}");
    push(&server, &["v3"]);
    assert_eq!(run("purge", &data, &["a"]), (true, "nothing deleted is kept in a; its tag stays".into()));
    let (done, told) = run("purge", &data, &["never"]);
    assert!(!done && told.contains("there is no repository never"), "{told}");
    let (done, told) = run("purge", &data, &["localhost:5000/a:v3"]);
    assert!(!done && told.contains("leave out the host `localhost:5000`, and write a:v3"), "{told}");
    // A blob by its digest: the empty configuration is in use until its image is purged.
    let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let (done, told) = run("purge", &data, &[&format!("a@{config}")]);
    assert!(done && told.contains("of this repository needs it"), "{told}");
}

#[test]
fn what_is_protected_is_not_deleted() {
    let server = Started::with(&["--gc-interval", "0"]);
    let data = server.data().to_owned();
    push(&server, &["release-1", "test"]);
    assert_eq!(run("protect", &data, &["--list"]), (true, "nothing is protected".into()));
    assert_eq!(run("protect", &data, &["*:release-*"]), (true, "*:release-* is protected".into()));
    assert_eq!(run("protect", &data, &["*:release-*"]), (true, "*:release-* was protected already".into()));
    let refused = server.send("DELETE", "/v2/a/manifests/release-1", b"");
    let told = String::from_utf8_lossy(&refused.body);
    assert!(refused.status == 403 && told.contains("orlop unprotect '*:release-*'"), "{told}");
    assert_eq!(server.send("DELETE", "/v2/a/manifests/test", b"").status, 202);
    let (done, told) = run("purge", &data, &["a:release-1"]);
    assert!(!done && told.contains("--force"), "{told}");
    let marks = json("protect", &data, &["--list"]);
    assert_eq!(marks[0]["what"], "*:release-*");
    assert!(marks[0]["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{marks}");
    let (done, told) = run("protect", &data, &["a:release-1", "a:never"]);
    assert_eq!((done, told.as_str()), (true, "a:release-1 is protected\na:never is protected; it matches no tag now"));
    let (done, told) = run("unprotect", &data, &["a:never", "a:nothing", "a:release-1"]);
    assert!(!done, "{told}");
    assert!(
        told.contains("a:never is protected no more") && told.contains("a:release-1 is protected no more"),
        "{told}"
    );
    let (done, told) = run("protect", &data, &["team//app:v1"]);
    assert!(!done && told.contains("REPOSITORY:TAG"), "{told}");
    assert_eq!(run("unprotect", &data, &["*:release-*"]), (true, "*:release-* is protected no more".into()));
    let (done, told) = run("unprotect", &data, &["*:release-*"]);
    assert!(!done && told.contains("there is no mark"), "{told}");
    assert_eq!(server.send("DELETE", "/v2/a/manifests/release-1", b"").status, 202);
}

#[test]
fn without_a_server_the_command_does_it() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut server = Started::on(&data, &["--gc-interval", "0"]);
    push(&server, &["v1"]);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v1", b"").status, 202);
    server.signal(Signal::TERM);
    eventually(|| server.ended());
    drop(server);
    assert_eq!(json("deleted", &data, &[])["deleted"].as_array().map(Vec::len), Some(1));
    let (done, told) = run("undelete", &data, &["a:v1"]);
    assert!(done && told.contains("undeleted a:v1"), "{told}");
    assert_eq!(run("protect", &data, &["a:v1"]), (true, "a:v1 is protected".into()));
    let server = Started::on(&data, &["--gc-interval", "0"]);
    assert_eq!(server.get("/v2/a/manifests/v1").body, image("v1").as_bytes());
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v1", b"").status, 403);
}

/// With a server and without one, what the console shows.
#[test]
fn a_command_lists_and_shows_what_there_is() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut server = Started::on(&data, &["--gc-interval", "0"]);
    push(&server, &["v1", "v10", "v9"]);
    let check = || {
        let (done, told) = run("list", &data, &[]);
        assert!(done && told.starts_with("REPOSITORY") && told.contains("\na "), "{told}");
        let (done, told) = run("list", &data, &["a", "--reverse"]);
        let tags: Vec<&str> = told.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(done && tags == ["TAG", "v10", "v9", "v1"], "{told}");
        let found = json("list", &data, &["a", "--search", "V1", "--sort", "size"]);
        assert_eq!((found["tags"].as_array().map(Vec::len), &found["more"]), (Some(2), &false.into()), "{found}");
        let shown = json("show", &data, &["a:v1"]);
        assert!(shown["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{shown}");
        let (done, told) = run("show", &data, &["a:v1"]);
        assert!(done && told.contains(shown["digest"].as_str().unwrap()), "{told}");
        assert_eq!(run("search", &data, &["V1"]), (true, "a:v1\na:v10".into()));
        let (done, told) = run("search", &data, &["v1", "--top", "1"]);
        assert!(done && told.starts_with("a:v1\nthere are more"), "{told}");
        let found = json("search", &data, &["a:v9"]);
        assert_eq!(found, json!({ "results": [{ "repository": "a", "tag": "v9" }], "more": false }));
        let (done, told) = run("list", &data, &["--tree"]);
        assert!(done && told.starts_with("NAME") && told.contains("\na "), "{told}");
        assert_eq!(json("list", &data, &["--tree", "--depth", "1"])["entries"][0]["tags"], 3);
        // SPEC AF29.
        let (done, told) = run("status", &data, &[]);
        assert!(done && told.starts_with("storage: ") && told.contains("\nrepositories: 1\n"), "{told}");
        let status = json("status", &data, &[]);
        assert!(status["storage"]["engine"] == "embedded" && status["jobs"].is_array(), "{status}");
        let compared = json("compare", &data, &["a:v1", "a:v9"]);
        assert_eq!((&compared["same"], &compared["a"]["digest"]), (&json!(false), &shown["digest"]), "{compared}");
        let (done, told) = run("compare", &data, &["a:v1", "a:v1"]);
        assert!(done && told.ends_with("they are the same image"), "{told}");
        for (verb, words) in [
            ("search", &[""][..]),
            ("list", &["nowhere", "--tree"]),
            ("list", &["a:v1", "--tree"]),
            ("compare", &["a:v1", "a:v2"]),
            ("compare", &["a:v1", "a"]),
            ("show", &["a:v2"]),
            ("show", &["a"]),
            ("list", &["b"]),
            ("list", &["a:v1"]),
            ("list", &["a", "--sort=bytes"]),
        ] {
            let (done, told) = run(verb, &data, words);
            assert!(!done && told.starts_with("orlop: ") && told.len() > 20, "{verb} {words:?}: {told}");
        }
    };
    check();
    server.signal(Signal::TERM);
    eventually(|| server.ended());
    drop(server);
    check();
}

/// With a server and without one, as a client deletes.
#[test]
fn a_command_deletes_tags_manifests_and_repositories() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut server = Started::on(&data, &["--gc-interval", "0"]);
    push(&server, &["v1", "v2", "v3"]);
    assert_eq!(run("delete", &data, &["a:v1"]), (true, "deleted a:v1".into()));
    assert_eq!(server.get("/v2/a/manifests/v1").status, 404);
    let second = digest(&server, "v2");
    let (done, told) = run("delete", &data, &[&format!("a@{second}")]);
    assert!(done && told.starts_with(&format!("deleted a@{second}")), "{told}");
    assert_eq!(server.get("/v2/a/manifests/v2").status, 404);
    let (done, told) = run("delete", &data, &["a:v1"]);
    assert!(!done && told.contains("v1"), "{told}");
    let (done, told) = run("delete", &data, &["a"]);
    assert!(!done && told.contains("--yes"), "{told}");
    assert_eq!(run("protect", &data, &["a:v3"]), (true, "a:v3 is protected".into()));
    let (done, told) = run("delete", &data, &["a", "--yes"]);
    assert!(!done && told.contains("protected"), "{told}");
    assert_eq!(server.get("/v2/a/manifests/v3").status, 200);
    server.signal(Signal::TERM);
    eventually(|| server.ended());
    drop(server);
    let (done, told) = run("unprotect", &data, &["a:v3"]);
    assert!(done, "{told}");
    let (done, told) = run("delete", &data, &["a", "--yes"]);
    assert!(done && told.starts_with("deleted 1 tag and "), "{told}");
    let (done, told) = run("delete", &data, &["b", "--yes"]);
    assert!(!done && told.contains("b is not deleted"), "{told}");
    assert!(run("undelete", &data, &["a:v3"]).0);
}

#[test]
fn with_no_time_to_undelete_what_is_deleted_is_gone() {
    let server = Started::with(&["--gc-interval", "0", "--undelete-within", "0"]);
    push(&server, &["v1"]);
    assert_eq!(server.send("DELETE", "/v2/a/manifests/v1", b"").status, 202);
    assert_eq!(json("deleted", server.data(), &[])["deleted"].as_array().map(Vec::len), Some(0));
}

//! Syncs: what is copied from and to other registries, and how little they are asked for it.

mod upstream;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::upstream::{INDEX, Lists, MANIFEST, Upstream};
use crate::started::{Started, eventually, orlop};

/// Runs `orlop sync`: whether it succeeded, and what it printed.
fn sync(words: &[&str], data: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    let output = command.arg("sync").args(words).arg("--data").arg(data).env("NO_COLOR", "1").output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[track_caller]
fn runs(words: &[&str], server: &Started, expected: &str) {
    let (done, told) = sync(words, server.data());
    assert!(done && told.contains(expected), "{told}\n{}", server.log());
}

/// The flag for a sync of the repository `app`.
fn from(upstream: &Upstream, more: &str) -> String {
    format!(
        r#"--sync={{ name = "base", from = "http://{}", repositories = ["app"], prefix = "copied/"{more} }}"#,
        upstream.address
    )
}

fn digest_of(server: &Started, target: &str) -> Option<String> {
    server.send("HEAD", target, b"").header("docker-content-digest")
}

#[test]
fn a_second_run_moves_nothing_and_asks_once_for_a_tag() {
    let upstream = Upstream::new();
    for tag in ["1", "2", "3"] {
        upstream.tag(tag, &upstream.image("2026-01-01T00:00:00Z", tag.as_bytes()));
    }
    let server = Started::with(&[&from(&upstream, "")]);
    runs(&["status"], &server, "sync base: has not run yet");
    runs(&["run", "--dry-run"], &server, "3 tags copied, 0 unchanged, 0 deleted; 6 blobs");
    assert_eq!(server.get("/v2/copied/app/manifests/1").status, 404, "it was a dry run");
    // One config, mounted after it was moved once or moved by two at a time.
    runs(&["run", "base"], &server, "3 tags copied, 0 unchanged");
    let manifest = server.send_as(&format!("Accept: {MANIFEST}\r\n"), "GET", "/v2/copied/app/manifests/2", b"");
    let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v2/copied/app/blobs/{layer}")).body, b"2");
    upstream.asked();
    runs(&["run"], &server, "0 tags copied, 3 unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted; 0 failures");
    let mut asked = upstream.asked();
    asked.sort();
    let heads = ["1", "2", "3"].map(|tag| format!("HEAD /v2/app/manifests/{tag}"));
    assert_eq!(asked, [&["GET /v2/app/tags/list".to_owned()], &heads[..]].concat());
    runs(&["status", "base"], &server, "sync base: done, begun 20");
    let (done, told) = sync(&["run", "other"], server.data());
    assert!(!done && told.contains("there is no sync `other`"), "{told}");
}

/// Answers to clients begin with the external URL; the answers that a sync reads do not. The tags at the destination have
/// several pages.
#[test]
fn a_sync_copies_into_a_registry_with_an_external_url() {
    let upstream = Upstream::new();
    for tag in ["t1", "t2"] {
        upstream.tag(tag, &upstream.image("2026-01-01T00:00:00Z", tag.as_bytes()));
    }
    let flag = from(&upstream, r#", mirror-deletes = true, tags = ["t*"]"#);
    let more = |url| {
        let server = Started::with(&["--external-url", url, &flag]);
        runs(&["run"], &server, "2 tags copied, 0 unchanged, 0 deleted");
        server
    };
    more("https://registry.example.com");
    let server = more("https://example.com/registry");
    let accept = format!("Accept: {MANIFEST}\r\n");
    let manifest = server.send_as(&accept, "GET", "/v2/copied/app/manifests/t1", b"").body;
    for tag in 0..1000 {
        let target = format!("/v2/copied/app/manifests/a{tag:04}");
        assert_eq!(server.send_as(&format!("Content-Type: {MANIFEST}\r\n"), "PUT", &target, &manifest).status, 201);
    }
    upstream.untag("t2");
    runs(&["run"], &server, "1 unchanged, 1 deleted");
}

/// `limit` requests within `window`, counted by the source: never one more, however slow this machine is.
fn copied_within_a_limit(tags: usize, limit: usize, window: Duration, kills: usize) {
    let upstream = Upstream::new();
    for tag in 0..tags {
        upstream.tag(&format!("t{tag:05}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    upstream.limit(limit, window);
    let directory = TempDir::new().unwrap();
    let flag = from(&upstream, &format!(r#", every = "7d", requests = "{limit}/{}ms""#, window.as_millis()));
    let (began, lists) = (Instant::now(), tags.div_ceil(upstream::PAGE));
    let mut server = Started::on(directory.path(), &[&flag]);
    for kill in 1..=kills {
        let then = tags * 3 * kill / (kills + 1);
        until(|| upstream.count() > then, &server);
        server.signal(Signal::KILL);
        server.ended();
        server = Started::on(directory.path(), &[&flag]);
    }
    until(|| sync(&["status"], server.data()).1.contains("sync base: done"), &server);
    let (seconds, memory) = (began.elapsed().as_secs_f64(), server.memory("VmHWM"));
    let first = upstream.asked();
    assert_eq!(upstream.refused(), 0, "429 to one of {} requests", first.len());
    if kills == 0 {
        // A list, and of each tag a HEAD, a manifest, a config and a HEAD again; the layer is moved once, or a few times at
        // once.
        let most = lists + 4 * tags + 8;
        assert!((lists + 4 * tags + 1..=most).contains(&first.len()), "{} requests", first.len());
    }
    let again = Instant::now();
    runs(&["run"], &server, &format!("0 tags copied, {tags} unchanged, 0 deleted; 0 blobs (0 B) moved, 0 mounted"));
    let (again, second) = (again.elapsed().as_secs_f64(), upstream.asked());
    let moved = second.iter().filter(|asked| !asked.starts_with("HEAD ") && !asked.contains("/tags/list")).count();
    assert_eq!((moved, second.len(), upstream.refused()), (0, lists + tags, 0));
    println!(
        "{tags} tags, {kills} kills: {} requests in {seconds:.1} s, 0 answers with 429, {memory} KiB at most; second run: {} \
         requests in {again:.1} s, 0 blobs, 0 manifests, {} KiB at most",
        first.len(),
        second.len(),
        server.memory("VmHWM")
    );
}

/// Waits for what takes long.
#[track_caller]
fn until(mut truth: impl FnMut() -> bool, server: &Started) {
    let deadline = Instant::now() + Duration::from_secs(1800);
    while !truth() {
        assert!(Instant::now() < deadline, "it did not become true: {}", server.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_source_with_a_limit_answers_no_429_and_a_second_run_moves_nothing() {
    copied_within_a_limit(200, 100, Duration::from_millis(600), 0);
}

/// 20,000 tags from a source with a limit of 100 requests, in minutes of 0.6 s each, by `ORLOP_SYNC=full`: some 15 minutes.
/// Otherwise a few, with as many kills.
#[test]
fn tags_are_copied_within_a_limit_through_kills() {
    let full = std::env::var("ORLOP_SYNC").is_ok_and(|how| how == "full");
    copied_within_a_limit(if full { 20_000 } else { 80 }, 100, Duration::from_millis(600), 3);
}

/// Without a pace of its own a sync waits as long as the source says.
#[test]
fn a_429_is_waited_for() {
    let upstream = Upstream::new();
    for tag in 0..20 {
        upstream.tag(&format!("t{tag:02}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    upstream.limit(30, Duration::from_secs(3600));
    let server = Started::with(&[&from(&upstream, "")]);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| runs(&["run"], &server, "20 tags copied, 0 unchanged"));
        eventually(|| upstream.refused() > 0);
        upstream.limit(1000, Duration::from_secs(1));
        run.join().unwrap();
    });
}

/// Each request is the last one of a run that is killed: before it is answered, and in the middle of its answer.
#[test]
fn killed_at_any_request_a_sync_is_gone_on_with_to_its_end() {
    const REQUESTS: usize = 1 + 2 * 5;
    let upstream = Upstream::new();
    for tag in ["1", "2"] {
        upstream.tag(tag, &upstream.image(&format!("2026-01-01T00:00:0{tag}Z"), &tag.repeat(100_000).into_bytes()));
    }
    let flag = from(&upstream, "");
    for (after, half) in (0..REQUESTS).flat_map(|after| [(after, false), (after, true)]) {
        let directory = TempDir::new().unwrap();
        let caught = upstream.trap(after, half);
        let mut killed = orlop("sync run", directory.path()).arg(&flag).spawn().unwrap();
        caught.recv_timeout(Duration::from_secs(60)).unwrap();
        killed.kill().unwrap();
        killed.wait().unwrap();
        let (_, told) = sync(&["status", &flag], directory.path());
        assert!(told.contains("sync base: interrupted"), "after {after} requests, {half}: {told}");
        let (done, told) = sync(&["run", &flag], directory.path());
        assert!(done && told.contains("; 0 failures"), "after {after} requests, {half}: {told}");
        upstream.asked();
        let (_, told) = sync(&["run", &flag], directory.path());
        assert!(told.contains("0 tags copied, 2 unchanged, 0 deleted; 0 blobs"), "after {after}, {half}: {told}");
        assert_eq!(upstream.asked().len(), 3, "a list and two HEAD");
    }
}

#[test]
fn a_run_that_was_killed_is_gone_on_with_where_it_stood() {
    let upstream = Upstream::new();
    for tag in 0..60 {
        upstream.tag(&format!("t{tag:02}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    let directory = TempDir::new().unwrap();
    let flag = from(&upstream, r#", every = "1h", requests = "2400/1m""#);
    let mut server = Started::on(directory.path(), &[&flag]);
    // The journal is written every second.
    eventually(|| sync(&["status"], server.data()).1.contains("done up to app:t") && upstream.count() > 110);
    server.signal(Signal::KILL);
    server.ended();
    let (_, told) = sync(&["status", &flag], directory.path());
    assert!(told.contains("sync base: interrupted"), "{told}");
    let stood = told.split_once("done up to app:").unwrap().1.split(';').next().unwrap().to_owned();
    upstream.asked();
    let server = Started::on(directory.path(), &[&flag]);
    eventually(|| sync(&["status"], server.data()).1.contains("sync base: done"));
    let asked = upstream.asked();
    for tag in (0..60).map(|tag| format!("t{tag:02}")) {
        let looked = asked.contains(&format!("HEAD /v2/app/manifests/{tag}"));
        assert_eq!(looked, tag > stood, "{tag} of those after {stood}");
        assert!(digest_of(&server, &format!("/v2/copied/app/manifests/{tag}")).is_some(), "{tag}");
    }
    let (_, told) = sync(&["status"], server.data());
    let counted = told.lines().last().unwrap().split([' ', ';']).filter_map(|word| word.parse().ok());
    let counted: Vec<usize> = counted.take(2).collect();
    assert_eq!(counted.iter().sum::<usize>(), 60, "copied or unchanged: {told}");
}

#[test]
fn one_run_of_a_sync_is_under_way_at_a_time() {
    let upstream = Upstream::new();
    (0..20).for_each(|tag| upstream.tag(&format!("t{tag}"), &upstream.image(&format!("2026 {tag}"), b"layer")));
    let server = Started::with(&[&from(&upstream, r#", requests = "20/s""#)]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| sync(&["run"], server.data()));
        eventually(|| sync(&["status"], server.data()).1.contains("running since"));
        let (_, told) = sync(&["status"], server.data());
        assert!(told.contains("ing 20 tags of app") || told.contains("listing the tags of app"), "{told}");
        let (done, told) = sync(&["run"], server.data());
        assert!(!done && told.contains("it runs already"), "{told}");
        let (done, told) = first.join().unwrap();
        assert!(done && told.contains("20 tags copied"), "{told}");
    });
}

/// Nothing is deleted, and the operator is told in a line.
#[test]
fn a_source_that_cannot_be_asked_is_told_of_and_costs_nothing() {
    let upstream = Upstream::new();
    upstream.tag("1", &upstream.image("2026-01-01T00:00:00Z", b"layer"));
    let directory = TempDir::new().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "wrong").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let flag = |name: &str, from: String| {
        format!(
            r#"--sync={{ name = "{name}", from = {from}, repositories = ["app", "other"], prefix = "copied/", mirror-deletes = true }}"#
        )
    };
    let good = flag("good", format!(r#""http://{}""#, upstream.address));
    let login = format!(r#"username = "ci", password-file = "{}""#, password.display());
    let refused = flag("refused", format!(r#"{{ url = "http://{}", {login} }}"#, upstream.address));
    let down = flag("down", format!(r#""http://{closed}""#));
    let server = Started::with(&[&good, &refused, &down]);
    let (_, told) = sync(&["run", "good"], server.data());
    assert!(told.contains("1 tags copied") && told.contains("other: its tags cannot be listed: not found"), "{told}");
    upstream.lists(Lists::Refuse);
    upstream.asked();
    let (done, told) = sync(&["run", "refused"], server.data());
    assert!(!done && told.contains("app: its tags cannot be listed: ") && told.contains("(logged in as ci)"), "{told}");
    assert!(told.contains("since the login is refused"), "{told}");
    assert!(!upstream.asked().iter().any(|asked| asked.contains("other")), "it is not tried again and again");
    let (done, told) = sync(&["run", "down"], server.data());
    let line = format!("app: its tags cannot be listed: {closed} ");
    assert!(!done && told.contains(&line), "{line}: {told}");
    let (_, told) = sync(&["status", "down"], server.data());
    assert!(told.contains("ended with failures") && told.contains(&line), "{told}");
    assert!(digest_of(&server, "/v2/copied/app/manifests/1").is_some());
}

/// A registry may lock out a login that is tried too often.
#[test]
fn a_login_that_is_refused_for_a_blob_ends_the_run() {
    let upstream = Upstream::new();
    for tag in 0..40 {
        upstream.tag(&format!("t{tag:02}"), &upstream.image(&format!("2026 {tag}"), format!("{tag}").as_bytes()));
    }
    upstream.refuse_blobs();
    let directory = TempDir::new().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "old").unwrap();
    let login = format!(r#"username = "ci", password-file = "{}""#, password.display());
    let flag = format!(
        r#"--sync={{ name = "base", from = {{ url = "http://{}", {login} }}, repositories = ["app"] }}"#,
        upstream.address
    );
    let server = Started::with(&[&flag]);
    let (done, told) = sync(&["run"], server.data());
    assert!(!done && told.contains("the run ended early, since the login is refused"), "{told}");
    let blobs = upstream.asked().iter().filter(|asked| asked.contains("/blobs/")).count();
    assert!(blobs < 20, "{blobs} of 80 blobs were asked for");
}

#[test]
fn tags_that_never_move_are_asked_for_once() {
    let upstream = Upstream::new();
    for tag in ["v1", "v2", "latest"] {
        upstream.tag(tag, &upstream.image("2026-01-01T00:00:00Z", tag.as_bytes()));
    }
    let server = Started::with(&[&from(&upstream, r#", fixed = ["v*"]"#)]);
    runs(&["run"], &server, "3 tags copied");
    upstream.asked();
    runs(&["run"], &server, "0 tags copied, 3 unchanged");
    assert_eq!(upstream.asked(), ["GET /v2/app/tags/list", "HEAD /v2/app/manifests/latest"]);
}

#[test]
fn a_server_that_stops_ends_its_runs_and_says_so() {
    let upstream = Upstream::new();
    for tag in 0..40 {
        upstream.tag(&format!("t{tag:02}"), &upstream.image(&format!("2026-01-01T00:{tag}"), b"the same layer"));
    }
    let directory = TempDir::new().unwrap();
    let flag = from(&upstream, r#", every = "1h", requests = "10/s""#);
    let mut server = Started::on(directory.path(), &[&flag]);
    eventually(|| upstream.count() > 10);
    server.signal(Signal::TERM);
    assert!(server.ended());
    let (_, told) = sync(&["status", &flag], directory.path());
    assert!(told.contains("sync base: interrupted"), "{told}");
}

#[test]
fn tags_that_are_gone_are_deleted_unless_the_list_is_in_doubt() {
    let upstream = Upstream::new();
    let image = upstream.image("2026-01-01T00:00:00Z", b"layer");
    (0..50).for_each(|tag| upstream.tag(&format!("t{tag:02}"), &image));
    let server = Started::with(&[&from(&upstream, r#", mirror-deletes = true, tags = ["t*"]"#)]);
    runs(&["run"], &server, "50 tags copied");
    let tag = |tag: &str| digest_of(&server, &format!("/v2/copied/app/manifests/{tag}")).is_some();
    let manifest = server.send_as(&format!("Accept: {MANIFEST}\r\n"), "GET", "/v2/copied/app/manifests/t01", b"").body;
    let own = format!("Content-Type: {MANIFEST}\r\n");
    assert_eq!(server.send_as(&own, "PUT", "/v2/copied/app/manifests/own", &manifest).status, 201);
    upstream.untag("t00");
    for (lists, expected) in [
        (Lists::Fail, "its tags cannot be listed"),
        (Lists::Cut, "its tags cannot be listed"),
        (Lists::Empty, "0 deleted"),
    ] {
        upstream.lists(lists);
        let (done, told) = sync(&["run"], server.data());
        assert!(told.contains(expected) && done == (lists == Lists::Empty), "{lists:?}: {told}");
        assert!((0..50).all(|number| tag(&format!("t{number:02}"))), "{lists:?}");
    }
    assert!(server.log().contains("has no tags at the source: nothing is deleted"), "{}", server.log());
    upstream.lists(Lists::Right);
    runs(&["run"], &server, "49 unchanged, 1 deleted");
    assert!(!tag("t00") && tag("t49"));
    assert!(tag("own"), "it is none of the tags that are copied");
    // 40 of 48 tags are listed: the other ones are there, as those would be that were pushed since.
    upstream.lists(Lists::Short);
    upstream.untag("t01");
    runs(&["run"], &server, "1 deleted");
    assert!(!tag("t01") && (2..50).all(|number| tag(&format!("t{number:02}"))));
}

#[test]
fn of_two_repositories_with_one_name_at_the_destination_neither_is_copied() {
    let upstream = Upstream::new();
    for tag in ["1", "2"] {
        upstream.tag(tag, &upstream.image("2026-01-01T00:00:00Z", tag.as_bytes()));
    }
    let both = from(&upstream, r#", strip = "team/", mirror-deletes = true"#);
    let both = both.replace("base", "both").replace(r#"["app"]"#, r#"["app", "team/app"]"#);
    let server = Started::with(&[&from(&upstream, ""), &both]);
    runs(&["run", "base"], &server, "2 tags copied");
    upstream.untag("1");
    upstream.asked();
    let (done, told) = sync(&["run", "both"], server.data());
    assert!(!done && told.contains("0 tags copied, 0 unchanged, 0 deleted"), "{told}");
    for (one, other) in [("app", "team/app"), ("team/app", "app")] {
        let line = format!("{one}: it would have the same name at the destination as {other}, so neither is copied");
        assert!(told.contains(&line), "{line}: {told}");
    }
    assert_eq!(upstream.asked(), Vec::<String>::new());
    assert!(digest_of(&server, "/v2/copied/app/manifests/1").is_some());
}

#[test]
fn what_is_pushed_overwrites_no_other_repository_of_its_name() {
    let other = Started::with(&[]);
    let flag = format!(
        r#"--sync={{ name = "out", from = "local", to = "http://{}", repositories = ["**"], strip = "team/", on-push = true }}"#,
        other.address()
    );
    let server = Started::with(&[&flag]);
    let first = push_empty(&server, "team/app", "v1", "1");
    eventually(|| digest_of(&other, "/v2/app/manifests/v1").as_deref() == Some(&first));
    push_empty(&server, "app", "v1", "2");
    eventually(|| server.log().contains("a push is not copied: app:v1: it would have the same name"));
    assert_eq!(digest_of(&other, "/v2/app/manifests/v1"), Some(first));
}

/// Pushes an image without layers, which differs by its annotation: its digest.
fn push_empty(server: &Started, repository: &str, tag: &str, differs: &str) -> String {
    let config = orlop_core::digest::Algorithm::Sha256.digest(b"{}").to_string();
    let pushed = server.send("POST", &format!("/v2/{repository}/blobs/uploads/?digest={config}"), b"{}");
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 });
    let annotations = json!({ "differs": differs });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "annotations": annotations });
    let (target, fields) = (format!("/v2/{repository}/manifests/{tag}"), format!("Content-Type: {MANIFEST}\r\n"));
    let put = server.send_as(&fields, "PUT", &target, manifest.to_string().as_bytes());
    assert_eq!(put.status, 201, "{put:?}");
    put.header("docker-content-digest").unwrap()
}

/// By then another sync may have brought what the tag names now.
#[test]
fn a_tag_that_moves_while_it_is_copied_is_not_moved_back() {
    let upstream = Upstream::new();
    let images = [1, 2, 3, 4].map(|year| upstream.image(&format!("202{year}-01-01T00:00:00Z"), &[year]));
    let server = Started::with(&[&from(&upstream, "")]);
    let stands = || digest_of(&server, "/v2/copied/app/manifests/1");
    upstream.tag("1", &images[0]);
    upstream.moves("1", &images[0], &images[1]);
    runs(&["run"], &server, "1 tags copied");
    assert_eq!(stands().as_deref(), images[1]["digest"].as_str());
    upstream.tag("1", &images[2]);
    upstream.moves("1", &images[2], &images[3]);
    let others = [5, 6].map(|year| upstream.image(&format!("202{year}-01-01T00:00:00Z"), &[year]));
    upstream.moves("1", &images[3], &others[0]);
    upstream.moves("1", &others[0], &others[1]);
    let (done, told) = sync(&["run"], server.data());
    assert!(!done && told.contains("app:1: it has changed at the source 3 times while it was copied"), "{told}");
    assert_eq!(stands().as_deref(), images[1]["digest"].as_str());
    runs(&["run"], &server, "1 tags copied");
    assert_eq!(stands().as_deref(), others[1]["digest"].as_str());
}

#[test]
fn the_newest_are_found_by_when_their_images_were_made() {
    let upstream = Upstream::new();
    let image = |year: &str| upstream.image(&format!("{year}-01-01T00:00:00Z"), year.as_bytes());
    for (tag, year) in [("stable", "2024"), ("edge", "2026"), ("old", "2020")] {
        upstream.tag(tag, &image(year));
    }
    // These do not say it, and are no reason to copy nothing.
    upstream.tag("odd", &upstream.content("application/octet-stream", b"odd".to_vec()));
    upstream.tag("odder", &upstream.content(MANIFEST, b"{".to_vec()));
    upstream.tag("gone", &json!({ "digest": orlop_core::digest::Algorithm::Sha256.digest(b"gone") }));
    // The first child is no image.
    upstream.tag("list", &upstream.index(&[upstream.index(&[]), image("2025")]));
    let server = Started::with(&[&from(&upstream, ", newest = 2")]);
    runs(&["run"], &server, "2 tags copied");
    let tags: Value = serde_json::from_slice(&server.get("/v2/copied/app/tags/list").body).unwrap();
    assert_eq!(tags["tags"], json!(["edge", "list"]));
}

/// An image of the source for that architecture, as an index lists it.
fn image_for(upstream: &Upstream, architecture: &str) -> Value {
    let mut image = upstream.image("2026-01-01T00:00:00Z", architecture.as_bytes());
    image["platform"] = json!({ "os": "linux", "architecture": architecture });
    image
}

#[test]
fn of_an_index_the_images_of_some_platforms_are_copied_and_all_of_the_index() {
    let upstream = Upstream::new();
    let [amd64, arm64] = ["amd64", "arm64"].map(|architecture| image_for(&upstream, architecture));
    let index = upstream.index(&[amd64.clone(), arm64.clone()]);
    upstream.tag("1", &index);
    let server = Started::with(&[&from(&upstream, r#", platforms = ["linux/amd64"]"#)]);
    runs(&["run"], &server, "1 tags copied");
    let path = |of: &Value| format!("/v2/copied/app/manifests/{}", of["digest"].as_str().unwrap());
    let tagged = server.send_as(&format!("Accept: {INDEX}\r\n"), "HEAD", "/v2/copied/app/manifests/1", b"");
    assert_eq!(tagged.header("docker-content-digest").as_deref(), index["digest"].as_str());
    assert_eq!((server.get(&path(&amd64)).status, server.get(&path(&arm64)).status), (200, 404));
    upstream.asked();
    runs(&["run"], &server, "0 tags copied, 1 unchanged");
    assert_eq!(upstream.count(), 2, "a list and a HEAD: {:?}", upstream.asked());
}

/// However the run of before ended: an index that has the right digest may lack what that left out.
#[test]
fn after_a_run_for_some_platforms_that_failed_the_others_are_copied() {
    let upstream = Upstream::new();
    let [amd64, arm64] = ["amd64", "arm64"].map(|architecture| image_for(&upstream, architecture));
    upstream.tag("1", &upstream.index(&[amd64, arm64.clone()]));
    upstream.tag("2", &json!({ "digest": orlop_core::digest::Algorithm::Sha256.digest(b"gone") }));
    let directory = TempDir::new().unwrap();
    let sparse = from(&upstream, r#", platforms = ["linux/amd64"]"#);
    let (done, told) = sync(&["run", &sparse], directory.path());
    assert!(!done && told.contains("1 tags copied") && told.contains("app:2: "), "{told}");
    upstream.untag("2");
    let server = Started::on(directory.path(), &[&from(&upstream, "")]);
    runs(&["run"], &server, "1 tags copied, 0 unchanged");
    let copied = format!("/v2/copied/app/manifests/{}", arm64["digest"].as_str().unwrap());
    assert_eq!(server.get(&copied).status, 200);
}

#[test]
fn what_is_pushed_is_copied_at_once_with_what_refers_to_it() {
    let other = Started::with(&[]);
    let flag = format!(
        r#"--sync={{ name = "out", from = "local", to = "http://{}", repositories = ["a"], on-push = true, referrers = true }}"#,
        other.address()
    );
    let server = Started::with(&[&flag]);
    let blob = |bytes: &[u8]| {
        let (pushed, path) = server.push(bytes);
        assert_eq!(pushed.status, 201);
        json!({ "mediaType": "application/octet-stream", "digest": path.rsplit('/').next().unwrap(), "size": bytes.len() })
    };
    let put = |reference: &str, manifest: &Value| {
        let target = format!("/v2/a/manifests/{reference}");
        let fields = format!("Content-Type: {MANIFEST}\r\n");
        let put = server.send_as(&fields, "PUT", &target, manifest.to_string().as_bytes());
        assert_eq!(put.status, 201, "{put:?}");
        put.header("docker-content-digest").unwrap()
    };
    let layer = vec![7; 3 << 20];
    let mut manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": blob(b"{}"), "layers": [blob(&layer)] });
    let digest = put("v1", &manifest);
    eventually(|| digest_of(&other, "/v2/a/manifests/v1").as_deref() == Some(&digest));
    manifest["subject"] = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
    manifest["layers"] = json!([blob(b"a signature")]);
    let signature = orlop_core::digest::Algorithm::Sha256.digest(manifest.to_string().as_bytes()).to_string();
    assert_eq!(put(&signature, &manifest), signature);
    eventually(|| digest_of(&other, &format!("/v2/a/manifests/{signature}")).is_some());
    let referrers = other.get(&format!("/v2/a/referrers/{digest}"));
    assert!(String::from_utf8_lossy(&referrers.body).contains(&signature), "{referrers:?}");
    runs(&["run", "out"], &server, "0 tags copied, 1 unchanged, 0 deleted; 0 blobs");
}

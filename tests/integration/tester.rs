//! The conformance tester, tested: it finds nothing wrong with Orlop, finds what is wrong with registries that are
//! broken on purpose, and says what to do when there is nothing to test.

#[path = "tester/broken.rs"]
mod broken;
#[path = "tester/server.rs"]
mod server;
#[path = "tester/several.rs"]
mod several;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::time::Duration;

use broken::{BREAKAGES, Broken};
use orlop_conformance::tester::exchange::{AnyTarget, Exchange};
use orlop_conformance::tester::http::{Http, Options};
use orlop_conformance::tester::memory::InMemory;
use orlop_conformance::tester::report;
use orlop_conformance::tester::run::{Findings, Found, Profile, Quiet, Settings, run};
use orlop_core::Config;
use orlop_core::mirror::{Mirror, Upstream, UpstreamName};
use serde_json::Value as Json;
use server::{Door, Native, Stub};

fn settings(histories: usize, concurrent: usize) -> Settings {
    Settings {
        checks: None,
        histories,
        operations: 40,
        concurrent,
        seed: 20_261_121,
        prefix: "orlop-conformance/test".into(),
        profile: Profile::Strict,
        reuse: false,
    }
}

fn test(target: Rc<dyn AnyTarget>, base: &str, settings: Settings) -> Findings {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(target, base, settings, &Quiet))
}

#[track_caller]
fn is_well(findings: &Findings) {
    assert_eq!(findings.ended, None);
    assert!(findings.all_is_well(), "{}", report::summary(findings));
}

#[test]
fn nothing_is_wrong_with_the_core() {
    let findings = test(Rc::new(InMemory::default()), "memory", settings(200, 60));
    is_well(&findings);
    assert_eq!(findings.played, (200, 8000));
}

#[test]
fn what_a_registry_need_not_offer_is_no_failure() {
    let config = Config { allow_delete: false, allow_sparse: true, mount_from_anywhere: false, ..Config::default() };
    let findings = test(Rc::new(InMemory::new(config)), "memory", settings(20, 10));
    is_well(&findings);
    let can = findings.can.expect("it was asked");
    assert!(!can.delete_blob && !can.delete_manifest && !can.delete_tag && can.sparse && !can.mount_anywhere);
}

#[test]
fn nothing_is_wrong_with_the_native_host() {
    let native = Native::start();
    let http = Http::new(&native.address, &Options::default()).expect("an address");
    is_well(&test(Rc::new(http), &native.address, settings(30, 15)));
}

/// A mirror takes no pushes, so there is nothing to test: one sentence says so, in place of a failure for each check.
#[test]
fn a_mirror_is_told_from_a_registry_that_fails() {
    let hub = Upstream { name: UpstreamName::new("hub"), official: String::new() };
    let mirror = |prefix: &str| Mirror { prefix: prefix.into(), upstreams: vec![hub.clone()], ..Mirror::default() };
    let of = |mirrors| Rc::new(InMemory::new(Config { mirrors, ..Config::default() }));
    for prefix in ["", "orlop-conformance/"] {
        let findings = test(of(vec![mirror(prefix)]), "memory", settings(10, 5));
        let ended = findings.ended.expect("it cannot be tested");
        let told =
            "POST /v2/orlop-conformance/test/probe/blobs/uploads/ is answered with 405 (Allow: GET, HEAD, DELETE): ";
        assert!(ended.starts_with(told), "{ended}");
        assert!(ended.contains("as those of a mirror") && ended.contains("--prefix"), "{ended}");
        assert!(findings.checked.is_empty() && findings.failures.is_empty());
    }
    // Beside a mirror everything is as ever.
    is_well(&test(of(vec![mirror("hub/")]), "memory", settings(20, 10)));
}

/// Each breakage is found, and found by the check that is about it.
#[test]
fn what_is_broken_on_purpose_is_found() {
    for breakage in BREAKAGES {
        let target = Rc::new(Broken::new(breakage));
        let findings = test(target, "memory", settings(60, 30));
        assert_eq!(findings.ended, None, "{}", breakage.name);
        let failed: Vec<String> = findings.failed_checks().map(|checked| checked.check.id()).collect();
        let by_check = breakage.check.is_none_or(|check| failed.iter().any(|id| id == check));
        assert!(by_check, "{}: {:?} did not find it, but {failed:?}", breakage.name, breakage.check);
        if let Some(most) = breakage.history {
            let shortest = findings.failures.iter().map(|failure| failure.operations.len()).min();
            assert!(shortest.is_some_and(|length| length <= most), "{}: {:?}", breakage.name, findings.failures);
        }
        if breakage.concurrent {
            assert!(!findings.concurrent.1.is_empty(), "{}: no concurrent history found it", breakage.name);
        }
    }
}

#[test]
fn the_same_seed_does_the_same() {
    let once = || {
        let findings = test(Rc::new(Broken::new(&BREAKAGES[0])), "memory", settings(10, 5));
        report::json(&findings).to_string()
    };
    assert_eq!(once(), once());
}

#[test]
fn a_pattern_picks_checks() {
    let only = |pattern: &str| {
        let settings = Settings { checks: Some(pattern.into()), histories: 0, concurrent: 0, ..settings(0, 0) };
        let findings = test(Rc::new(InMemory::default()), "memory", settings);
        findings.checked.iter().map(|checked| checked.check.item).collect::<Vec<_>>()
    };
    assert_eq!(only("n4-*"), ["N4"]);
    assert!(only("referrer").contains(&"M3"));
}

/// Runs the program.
fn program(arguments: &[&str], password: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop-conformance"));
    command.args(arguments).stdin(Stdio::null()).env_remove("ORLOP_USER").env_remove("ORLOP_PASSWORD");
    if let Some(password) = password {
        command.env("ORLOP_PASSWORD", password);
    }
    command.output().expect("the program runs")
}

#[track_caller]
fn says(output: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&output.stdout));
    assert!(said.contains(words), "{said}");
}

#[test]
fn what_cannot_be_tested_is_said_and_what_to_do() {
    let nobody = server::free_address();
    says(&program(&[&nobody], None), 2, "is the address");
    let page = Stub::start(Door::NoRegistry);
    says(&program(&[&page.address], None), 2, "no container registry");
    let basic = Stub::start(Door::Basic);
    says(&program(&[&basic.address], None), 2, "give --user NAME");
    says(&program(&[&basic.address, "--user", "anna"], Some("wrong")), 2, "is the password of anna right");
    says(&program(&[&basic.address, "--user", "anna"], None), 2, "ORLOP_PASSWORD");
    let bearer = Stub::start(Door::Bearer);
    says(&program(&[&bearer.address, "--user", "anna"], Some("wrong")), 2, "is the password of anna right");
    says(&program(&["ftp://example.org"], None), 2, "write it like http://");
    says(&program(&["127.0.0.1:1", "--prefix", "Up"], None), 2, "--prefix");
    says(&program(&["127.0.0.1:1", "--checks", "nothing like that"], None), 2, "--checks");
    says(&program(&["127.0.0.1:1", "--profile", "none"], None), 2, "oci-next");
}

#[test]
fn a_login_lets_in() {
    for door in [Door::Basic, Door::Bearer] {
        let stub = Stub::start(door);
        let output =
            program(&[&stub.address, "--user", "anna", "--histories", "3", "--concurrent", "3"], Some("right"));
        says(&output, 0, "");
    }
}

#[test]
fn a_registry_that_dies_half_way_leaves_a_report() {
    let directory = tempfile::tempdir().expect("a directory");
    let stub = Stub::start(Door::DiesAfter(400));
    let report = directory.path().join("report");
    let output = program(&[&stub.address, "--report", report.to_str().expect("a path")], None);
    says(&output, 2, "is not any more");
    let json = read(&report, "report.json");
    let json: Json = serde_json::from_str(&json).expect("JSON");
    assert!(json["checks"].as_array().is_some_and(|checks| checks.len() > 10), "{json}");
    assert!(json["ended"].as_str().is_some_and(|why| why.contains("is not any more")));
    assert!(read(&report, "junit.xml").contains("<error message="));
    assert!(read(&report, "report.html").contains("ended before its end"));
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).expect("the report was written")
}

#[test]
fn a_report_tells_what_was_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let findings = test(Rc::new(Broken::new(&BREAKAGES[0])), "http://r", settings(60, 3));
    report::write(&findings, directory.path()).expect("it is written");
    let failed = findings.failed_checks().next().expect("it is broken");
    let Found::Failed { came, .. } = &failed.found else { panic!("it failed") };
    let page = read(directory.path(), "report.html");
    assert!(page.contains(failed.check.fact) && page.contains("prefers-color-scheme") && page.contains("curl -sS"));
    assert!(!page.contains("http-equiv") && !page.contains("<script") && !page.contains("<link"));
    let junit = read(directory.path(), "junit.xml");
    assert!(junit.contains("<failure message=") && junit.ends_with("</testsuite>\n"));
    let json: Json = serde_json::from_str(&read(directory.path(), "report.json")).expect("JSON");
    assert_eq!(json["passed"], false);
    let told = json["checks"].as_array().into_iter().flatten().any(|check| check["came"] == came.as_str());
    assert!(told, "{json}");
}

/// What the tester makes it deletes.
#[test]
fn nothing_is_left_where_deletes_are_allowed() {
    let native = Native::start();
    let http = Http::new(&native.address, &Options::default()).expect("an address");
    let findings = test(Rc::new(http), &native.address, Settings { checks: Some("k1-".into()), ..settings(5, 3) });
    is_well(&findings);
    std::thread::sleep(Duration::from_millis(10));
    let http = Http::new(&native.address, &Options::default()).expect("an address");
    let again = test(Rc::new(http), &native.address, Settings { checks: Some("k1-".into()), ..settings(5, 3) });
    is_well(&again);
}

/// A run that uses repositories again finds the same, and leaves few: all of them empty.
#[test]
fn repositories_are_used_again_once_they_are_empty() {
    let target = Rc::new(InMemory::default());
    let findings = test(target.clone(), "memory", Settings { reuse: true, ..settings(60, 30) });
    is_well(&findings);
    let get = |target_path: &str| target.answer(&Exchange::new("GET", target_path));
    let repositories = get("/v2/_catalog?n=1000").strings("repositories");
    assert!(repositories.len() <= 60, "{} repositories: {repositories:?}", repositories.len());
    for repository in repositories {
        let tags = get(&format!("/v2/{repository}/tags/list")).strings("tags");
        assert_eq!(tags, [""; 0], "{repository}");
    }
}

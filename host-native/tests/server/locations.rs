//! Where answers say that something is to be found.

use crate::started::{Answer, Started, orlop};

const FORWARDED: &str =
    "X-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com\r\nX-Forwarded-Prefix: /registry\r\n";

fn opened(server: &Started, fields: &str) -> String {
    let opened: Answer = server.send_as(fields, "POST", "/v2/a/blobs/uploads/", b"");
    assert_eq!(opened.status, 202, "{opened:?}");
    opened.header("location").unwrap()
}

#[test]
fn a_location_is_relative_unless_it_is_set() {
    let server = Started::with(&[]);
    assert!(opened(&server, FORWARDED).starts_with("/v2/a/blobs/uploads/"), "nobody's word is taken");
    let server = Started::with(&["--trusted-proxy", "127.0.0.1"]);
    assert!(opened(&server, FORWARDED).starts_with("/registry/v2/a/blobs/uploads/"));
}

#[test]
fn a_location_is_absolute_for_clients_that_need_it() {
    let server = Started::with(&["--location", "absolute"]);
    let session = opened(&server, FORWARDED);
    assert!(session.starts_with("http://x/v2/a/blobs/uploads/"), "{session}");
    // It leads back.
    assert_eq!(server.send("PATCH", session.strip_prefix("http://x").unwrap(), b"some").status, 202);
    let server = Started::with(&["--location", "absolute", "--trusted-proxy", "127.0.0.1"]);
    let session = opened(&server, FORWARDED);
    assert!(session.starts_with("https://example.com/registry/v2/a/blobs/uploads/"), "{session}");
}

#[test]
fn an_external_url_is_what_locations_begin_with() {
    let external = ["--external-url", "https://registry.example.com/"];
    let server = Started::with(&external);
    assert!(opened(&server, FORWARDED).starts_with("https://registry.example.com/v2/a/blobs/uploads/"));
    let server = Started::with(&[&external[..], &["--location", "relative"]].concat());
    assert!(opened(&server, FORWARDED).starts_with("/v2/a/blobs/uploads/"));
    for wrong in ["registry.example.com", "/registry", "https://a/?q"] {
        let ended = orlop("serve", "x".as_ref()).args(["--external-url", wrong]).output().unwrap();
        assert!(!ended.status.success());
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(told.contains("https://registry.example.com"), "it says how: {told}");
    }
}

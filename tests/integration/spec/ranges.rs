//! Section C: ranges of a blob (RFC 9110, section 14).

use orlop_conformance::image::sha256;
use orlop_conformance::system::{Answer, System, blob, get, head};

use crate::registry;

const CONTENT: &str = "0123456789";

fn ask(range: &str) -> Answer {
    let mut registry = registry();
    let digest = registry.push_blob("a", CONTENT);
    registry.call(get(blob("a", digest)).header("Range", range))
}

/// SPEC C7, C13, U25.
#[test]
fn one_range_is_answered_with_that_part() {
    let check = |range: &str, part: &str, content_range: &str| {
        let answer = ask(range).expect(206).with("Content-Range", content_range);
        let answer = answer.with("Content-Length", part.len()).with("Content-Type", "application/octet-stream");
        let answer = answer.with("Docker-Content-Digest", sha256(CONTENT)).with("Accept-Ranges", "bytes");
        assert_eq!(answer.body(), part.as_bytes(), "{range}");
    };
    check("bytes=0-0", "0", "bytes 0-0/10");
    check("bytes=2-4", "234", "bytes 2-4/10");
    check("bytes=7-", "789", "bytes 7-9/10");
    check("bytes=-3", "789", "bytes 7-9/10");
    check("bytes=-100", CONTENT, "bytes 0-9/10");
    check("bytes=8-100", "89", "bytes 8-9/10");
    check("bytes=8-18446744073709551615", "89", "bytes 8-9/10");
    check("bytes=8-99999999999999999999999", "89", "bytes 8-9/10");
    check("bytes=0-", CONTENT, "bytes 0-9/10");
    check("bytes=20-30,4-4", "4", "bytes 4-4/10");
}

/// SPEC C8, C9, U25.
#[test]
fn a_range_that_the_blob_has_nothing_of_is_not_satisfiable() {
    for range in
        ["bytes=10-", "bytes=10-20", "bytes=500-0", "bytes=-0", "bytes=99999999999999999999999-", "bytes=20-,30-"]
    {
        ask(range).refused(416, "RANGE_INVALID").with("Content-Range", "bytes */10");
    }
}

/// SPEC C10 (RFC 9110, 14.2).
#[test]
fn a_range_against_the_grammar_or_of_another_unit_is_ignored() {
    for range in
        ["", "bytes", "bytes=", "bytes=a-b", "bytes=1", "bytes=--1", "bytes=0-1,x", "lines=0-1", "0-1", "bytes 0-1"]
    {
        assert_eq!(ask(range).expect(200).without("Content-Range").body(), CONTENT.as_bytes(), "{range}");
    }
}

/// SPEC C10 (RFC 9110, 14.6).
#[test]
fn several_ranges_are_answered_in_parts() {
    let answer = ask("bytes=0-1, 5-5,-2").expect(206).without("Content-Range");
    let content_type = answer.header("Content-Type").expect("a type").to_owned();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let body = String::from_utf8(answer.body().to_vec()).expect("text");
    let expected: String = [("0-1", "01"), ("5-5", "5"), ("8-9", "89")]
        .iter()
        .map(|(range, part)| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/10\r\n\r\n{part}"
            )
        })
        .collect();
    assert_eq!(body, format!("{expected}\r\n--{boundary}--\r\n"));
    answer.with("Content-Length", body.len());
}

/// SPEC C10 (RFC 9110, 17.15): nobody makes the registry send more than the blob.
#[test]
fn ranges_that_repeat_bytes_or_are_too_many_are_answered_with_the_whole() {
    assert_eq!(ask("bytes=0-,0-").expect(200).body(), CONTENT.as_bytes());
    let many = vec!["0-0"; 2000].join(",");
    assert_eq!(ask(&format!("bytes={many}")).expect(200).body(), CONTENT.as_bytes());
}

/// SPEC C11 (RFC 9110, 13.1.5).
#[test]
fn a_range_counts_only_for_the_very_bytes_that_if_range_names() {
    let mut registry = registry();
    let digest = registry.push_blob("a", CONTENT);
    let mut check = |validator: String, status: u16| {
        let call = get(blob("a", &digest)).header("Range", "bytes=0-1").header("If-Range", &validator);
        registry.call(call).expect(status);
    };
    check(format!("\"{digest}\""), 206);
    // A weak validator compares strongly, so it never matches.
    check(format!("W/\"{digest}\""), 200);
    check("\"x\"".into(), 200);
    check("Sat, 21 Nov 2026 00:00:00 GMT".into(), 200);
}

/// SPEC C11: `Range` is defined for GET alone.
#[test]
fn head_ignores_a_range() {
    let mut registry = registry();
    let digest = registry.push_blob("a", CONTENT);
    for range in ["bytes=0-1", "bytes=100-"] {
        let answer = registry.call(head(blob("a", &digest)).header("Range", range)).expect(200);
        answer.with("Content-Length", CONTENT.len()).without("Content-Range");
    }
}

/// SPEC C11 (RFC 9110, 13.2.2): the condition comes first.
#[test]
fn whoever_has_the_blob_is_not_sent_a_range_of_it() {
    let mut registry = registry();
    let digest = registry.push_blob("a", CONTENT);
    let call = get(blob("a", &digest)).header("Range", "bytes=0-1").header("If-None-Match", format!("\"{digest}\""));
    registry.call(call).expect(304);
}

/// SPEC C14.
#[test]
fn a_blob_of_no_bytes_has_no_range() {
    let mut registry = registry();
    let digest = registry.push_blob("a", "");
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let answer = registry.call(get(blob("a", &digest)).header("Range", range));
        answer.refused(416, "RANGE_INVALID").with("Content-Range", "bytes */0");
    }
}

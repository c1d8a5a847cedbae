//! HTTP that is malformed, too much, or meant to be understood in two ways.

use std::io::{Read, Write};

use crate::started::{Started, answer};

#[test]
fn a_request_that_reads_in_two_ways_is_refused() {
    let server = Started::with(&[]);
    let check = |fields: &str, expected: u16| {
        let mut stream = server.connect();
        let request =
            format!("POST /v2/ HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(answer(&mut stream, false).status, expected, "{fields:?}");
    };
    check("Content-Length: 5\r\nContent-Length: 6", 400);
    check("Content-Length: +5", 400);
    check("Content-Length: -1", 400);
    check("Content-Length: 5, 6", 400);
    check("Content-Length: 99999999999999999999999", 400);
    check("Transfer-Encoding: gzip", 400);
    check("Transfer-Encoding: chunked, gzip", 400);
    check("Transfer-Encoding: gzip, chunked", 400);
    check("Transfer-Encoding: chunked, chunked", 400);
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400);
    check("Transfer-Encoding : chunked", 400);
    check("Content-Length: 5\nX: y\0", 400);
    check(&format!("X: {}", "y".repeat(40_000)), 431);
}

/// RFC 9112, 6.1: a server may refuse `Content-Length` beside `Transfer-Encoding`, or go by the latter and then close.
#[test]
fn of_two_framings_the_body_is_the_chunked_one() {
    let server = Started::with(&[]);
    let session = server.session();
    let mut stream = server.connect();
    let head =
        format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(format!("{head}5\r\nabcde\r\n0\r\n\r\n").as_bytes()).unwrap();
    match answer(&mut stream, false).status {
        400 => {}
        status => {
            assert_eq!(status, 202);
            assert_eq!(server.received(&session), 5);
        }
    }
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Started::with(&["--head-timeout", "300ms"]);
    let mut stream = server.connect();
    stream.write_all(b"GET /v2/ HT").unwrap();
    let mut end = Vec::new();
    let _ = stream.read_to_end(&mut end);
    assert!(!end.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_target_reaches_the_registry_as_it_was_sent() {
    let server = Started::with(&["--no-playground", "--no-console"]);
    for target in ["/", "/v2/%2e%2e/x", "/v2//", "/v2/a/tags/list?n=%zz", "*"] {
        let status = server.get(target).status;
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    assert_eq!(server.send("BREW", "/v2/", b"").status, 405);
}

#[test]
fn pages_are_served_beside_the_registry() {
    let server = Started::with(&[]);
    for (path, allowed) in [("/console/", "img-src 'self' data:"), ("/playground/", "'wasm-unsafe-eval'")] {
        let page = server.get(path);
        assert_eq!(page.status, 200, "{path}");
        let head = page.head.to_lowercase();
        for part in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            allowed,
            "frame-ancestors 'none'",
            "\nx-frame-options: deny\r",
            "\ncross-origin-opener-policy: same-origin\r",
            "\nx-content-type-options: nosniff\r",
            "\nreferrer-policy: no-referrer\r",
            "\ncache-control: no-cache\r",
        ] {
            assert!(head.contains(part), "{path}: {part} is not in {head}");
        }
        assert!(String::from_utf8_lossy(&page.body).contains("<html"));
        let bare = server.get(path.trim_end_matches('/'));
        let to = format!("ocation: {}\r\n", path.trim_start_matches('/'));
        assert!(bare.status == 302 && bare.head.contains(&to), "{}", bare.head);
    }
    assert_eq!(server.get("/v2/").status, 200);
    assert_eq!(server.get("/nothing-here").status, 404);
    // The console is one program for all paths below it.
    for path in ["/console/r/team/app", "/console/r/team/app/-/i/v1.0", "/console/search?q=a"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in ["/console/assets/gone.js", "/playground/gone.js"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    for path in ["/", "/console/", "/console/r/app", "/playground/"] {
        assert_eq!(server.send("DELETE", path, b"").status, 404, "{path}");
    }
}

#[test]
fn the_root_leads_to_the_first_page_there_is() {
    for (flags, to) in [
        (&[][..], Some("console/")),
        (&["--no-playground"], Some("console/")),
        (&["--no-console"], Some("playground/")),
        (&["--no-console", "--no-playground"], None),
    ] {
        let root = Started::with(flags).get("/");
        assert_eq!(root.status, if to.is_some() { 302 } else { 404 }, "{flags:?}");
        assert!(to.is_none_or(|to| root.head.contains(&format!("ocation: {to}\r\n"))), "{flags:?}: {}", root.head);
    }
}

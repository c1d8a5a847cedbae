//! Who a certificate's holder is in the logs, and files that an editor has put a mark into.

use std::io::Write;

use crate::started::{Started, answer, eventually, orlop};
use crate::tls::{Place, connect};

/// A user and a certificate may have the same name: they are two.
#[test]
fn a_certificate_is_not_the_user_of_its_name() {
    let place = Place::new();
    let ca = place.path("ca.pem");
    let server = place.start(&["--tls-client-ca", ca.to_str().unwrap()]);
    let alice = place.client(Some(place.certificate("alice")), &[]);
    let mut stream = connect(&server, &alice);
    let digest = orlop_core::digest::Algorithm::Sha256.digest(b"{}");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream, false).status, 201);
    drop(stream);
    let lines = |text: &str| server.log().lines().filter(|line| line.contains(text)).count();
    eventually(|| lines(" request id=") == 1 && lines(" audit id=") == 1);
    assert_eq!(lines("user=\"certificate:alice\""), 2, "{}", server.log());
}

/// What Notepad and PowerShell write: a mark before the first byte, or UTF-16.
#[test]
fn a_byte_order_mark_makes_no_file_useless() {
    let place = Place::new();
    let users = place.path("users");
    let line = format!("alice:{}\n", bcrypt::hash("alice-secret", 4).unwrap());
    std::fs::write(&users, &line).unwrap();
    for name in ["server.pem", "server.key", "ca.pem", "users"] {
        let path = place.path(name);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, [b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
    }
    let ca = place.path("ca.pem");
    let (ca, file) = (ca.to_str().unwrap(), users.to_str().unwrap());
    let server = place.start(&["--tls-client-ca", ca, "--auth-htpasswd", file]);
    let mut stream = connect(&server, &place.client(None, &[]));
    // alice:alice-secret
    let login = "Authorization: Basic YWxpY2U6YWxpY2Utc2VjcmV0\r\n";
    stream.write_all(format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{login}\r\n").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream, false).status, 200);
    drop(server);
    let config = place.path("orlop.toml");
    std::fs::write(&config, format!("\u{feff}auth-htpasswd = '{file}'\n")).unwrap();
    let server = Started::with(&["--config", config.to_str().unwrap()]);
    assert_eq!(server.send_as(login, "GET", "/v2/", b"").status, 200);
    drop(server);
    let wide: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&users, [b"\xff\xfe", &wide[..]].concat()).unwrap();
    let mut refused = orlop("serve", &place.path("data"));
    let told = refused.args(["--addr", "127.0.0.1:0", "--auth-htpasswd", file]).output().unwrap();
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && text.contains("is text in UTF-16: save it in UTF-8"), "{text}");
}

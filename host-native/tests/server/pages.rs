//! Pages of other origins in a browser.

use rustix::process::Signal;
use tempfile::TempDir;

use crate::started::{Answer, Started, eventually, orlop};

fn preflight(server: &Started, origin: &str) -> Answer {
    let fields = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: authorization\r\n"
    );
    server.send_as(&fields, "OPTIONS", "/v2/a/manifests/v1", b"")
}

fn from(server: &Started, origin: &str) -> Answer {
    server.send_as(&format!("Origin: {origin}\r\n"), "GET", "/v2/a/tags/list", b"")
}

#[test]
fn no_page_of_another_origin_may_use_the_registry_unless_it_is_set() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("orlop.toml");
    std::fs::write(&config, "").unwrap();
    let server = Started::on(&directory.path().join("data"), &["--config", config.to_str().unwrap()]);
    let ui = "https://ui.example.com";
    for answer in [preflight(&server, ui), from(&server, ui)] {
        assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
    }
    std::fs::write(&config, "cors = ['https://ui.example.com']\n").unwrap();
    server.signal(Signal::HUP);
    eventually(|| preflight(&server, ui).status == 204);
}

#[test]
fn a_page_that_is_named_may_use_the_registry_with_a_login_and_others_may_not() {
    let directory = TempDir::new().unwrap();
    let users = directory.path().join("users");
    std::fs::write(&users, format!("alice:{}\n", bcrypt::hash("alice-secret", 4).unwrap())).unwrap();
    let ui = "https://ui.example.com";
    let server = Started::with(&["--cors", ui, "--auth-htpasswd", users.to_str().unwrap()]);
    // A browser asks without a login.
    let told = preflight(&server, ui);
    assert_eq!(told.status, 204);
    assert!(told.header("access-control-allow-methods").unwrap().contains("DELETE"));
    assert!(told.header("access-control-allow-headers").unwrap().contains("Authorization"));
    // The page can read what it is asked for.
    let told = from(&server, ui);
    assert_eq!((told.status, told.headers("vary")), (401, vec!["Origin"]), "{}", told.head);
    assert_eq!(told.headers("access-control-allow-origin"), [ui]);
    assert_eq!(told.headers("access-control-allow-credentials"), ["true"]);
    let exposed = told.header("access-control-expose-headers").unwrap();
    for name in ["Docker-Content-Digest", "Link", "Location", "WWW-Authenticate"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    for other in ["https://evil.example.com", "http://ui.example.com", "https://ui.example.com.evil", "null"] {
        for answer in [preflight(&server, other), from(&server, other)] {
            assert!(!answer.head.to_lowercase().contains("access-control"), "{other}: {}", answer.head);
            assert_eq!(answer.headers("vary"), ["Origin"], "a cache keeps it apart");
        }
    }
}

#[test]
fn a_wildcard_never_goes_with_a_login_and_what_is_no_origin_is_refused() {
    let server = Started::with(&["--cors", "*"]);
    for answer in [preflight(&server, "https://any.example"), from(&server, "https://any.example")] {
        assert_eq!(answer.headers("access-control-allow-origin"), ["*"]);
        assert!(answer.headers("access-control-allow-credentials").is_empty());
    }
    let ended = orlop("serve", "x".as_ref()).args(["--cors", "https://ui.example.com/page"]).output().unwrap();
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("write it like https://ui.example.com"));
}

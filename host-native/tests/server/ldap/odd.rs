//! Directories of several servers, such as answer what is no answer, and clients that try passwords (SPEC AC10 to AC14).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Directory, Does, RULES, element};
use crate::access::{Directory as Files, basic};
use crate::oidc::{field, told, upstream};
use crate::signing_in::sign_in;
use crate::started::{answer, eventually};

/// The settings for these servers, in that order.
fn setting(servers: &[&Directory]) -> String {
    let urls: Vec<String> = servers.iter().map(|server| format!("'ldap://127.0.0.1:{}'", server.port)).collect();
    format!("[ldap]\nurl = [{}]\ntimeout = '1s'\nuser-dn = 'uid={{user}},dc=x'\n{RULES}", urls.join(", "))
}

/// SPEC AC14: the next server is asked where one does not answer.
#[test]
fn a_server_of_a_directory_that_hangs_or_is_gone_is_passed_by() {
    let (first, second) = (Directory::new(), Directory::new());
    let files = Files::new(&setting(&[&first, &second]), &["root"]);
    let server = files.start();
    for (number, does) in [Does::Hangs, Does::Closes, Does::Refers].into_iter().enumerate() {
        first.does(does);
        let user = format!("u{number}");
        let logged_in = server.send_as(&basic(&user), "GET", "/v2/", b"");
        assert_eq!(logged_in.status, 200, "{logged_in:?} {}", server.log());
        // What the one says that answers counts.
        let refused = server.send_as(&field(&user, "wrong"), "GET", "/v2/", b"");
        assert_eq!(refused.status, 401, "{refused:?}");
    }
    // The one that refers had said that the password is wrong.
    assert_eq!(second.connections(), 5);
    // A right answer of the first is the last word.
    first.does(Does::Right(0));
    assert_eq!(server.send_as(&field("u9", "wrong"), "GET", "/v2/", b"").status, 401);
    assert_eq!(second.connections(), 5, "a password that one server refuses is shown to no other");
}

/// SPEC AC14: a login takes three times the time of an answer, and once more for each further server, whatever they do. Each of
/// these would take three times by itself.
#[test]
fn the_time_of_a_login_is_one_for_all_servers() {
    let servers: Vec<Directory> = (0..6).map(|_| Directory::new()).collect();
    servers.iter().for_each(|server| server.does(Does::Dribbles));
    let files = Files::new(&setting(&servers.iter().collect::<Vec<_>>()), &["root"]);
    let server = files.start();
    for does in [Does::Dribbles, Does::Hangs] {
        servers.iter().for_each(|server| server.does(does));
        let began = Instant::now();
        let refused = server.send_as(&basic("alice"), "GET", "/v2/", b"");
        assert_eq!((refused.status, refused.header("retry-after").as_deref()), (503, Some("10")), "{refused:?}");
        assert!(told(&refused).contains("the directory (LDAP) cannot be reached"), "{refused:?}");
        // By itself each could take three seconds: 18, of which 8 are given.
        assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
        assert_eq!(server.send_as(&basic("root"), "GET", "/v2/", b"").status, 200);
    }
    let is_left = |server: &Directory| server.state.ended.load(super::Ordering::SeqCst) == server.connections();
    eventually(|| servers.iter().all(is_left));
}

/// SPEC AC13: wrong passwords of users of the directory count as those of the file do, for that network alone.
#[test]
fn wrong_passwords_of_a_directory_are_throttled_and_lock_nobody_else_out() {
    let directory = Directory::new();
    let files = Files::new(&directory.by_name(), &["root"]);
    let server = files.start();
    let (mut refused, mut asked) = (0, 0);
    let limited = loop {
        let answer = server.send_as(&field("alice", &format!("wrong{refused}")), "GET", "/v2/", b"");
        match answer.status {
            401 => refused += 1,
            429 => break answer,
            status => panic!("{status}: {answer:?}"),
        }
        assert!(refused < 200);
        asked = directory.connections();
    };
    assert!((60..=80).contains(&refused), "{refused}");
    assert_eq!(limited.header("retry-after").as_deref(), Some("60"), "{limited:?}");
    for (user, password) in [("alice", "wrong"), ("bob", "wrong"), ("alice", "alice-secret")] {
        let answer = server.send_as(&field(user, password), "GET", "/v2/", b"");
        assert_eq!((answer.status, directory.connections()), (429, asked), "it is not tried: {answer:?}");
    }
    // The user is locked out nowhere else, and neither is anybody else.
    for user in ["alice", "bob", "root"] {
        let mut elsewhere = server.connect_from([127, 0, 0, 2]);
        let head = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{}Connection: close\r\n\r\n", basic(user));
        elsewhere.write_all(head.as_bytes()).unwrap();
        assert_eq!(answer(&mut elsewhere, false).status, 200, "{user}");
    }
}

/// SPEC AC13, AC15: behind a mirror whose upstream decides, a password of the directory is none of the upstream's.
#[test]
fn a_password_of_the_directory_is_sent_to_no_upstream() {
    let directory = Directory::new();
    let (upstream, seen) = upstream();
    let mirror = format!("[[mirror]]\nprefix = 'up/'\nupstream = '{upstream}'\nverify = 'caller'\n");
    let rule = "[[rule]]\nwho = ['anybody']\nallow = ['pull']\nrepositories = ['up/**']\n";
    let files = Files::new(&format!("{}{mirror}{rule}", directory.by_name()), &["root"]);
    let server = files.start();
    let get =
        |user: &str, password: &str| server.send_as(&field(user, password), "GET", "/v2/up/app/manifests/v1", b"");
    let sent = |login: &str| seen.lock().unwrap().iter().any(|head| head.contains(&STANDARD.encode(login)));
    get("alice", "alice-secret");
    assert!(!sent("alice:alice-secret"), "{:?}", seen.lock().unwrap());
    // One that is wrong here may be right there: it is sent on, and is not logged. Of these a network has tries of their own.
    assert!((0..70).any(|number| get("alice", &format!("there{number}")).status == 429));
    assert!(sent("alice:there1"), "{:?}", seen.lock().unwrap());
    assert!(!server.log().contains("there1"), "{}", server.log());
    assert_eq!(server.send_as(&basic("bob"), "GET", "/v2/", b"").status, 200, "nobody is locked out");
    // While nobody knows whose it is, it goes nowhere.
    directory.does(Does::Closes);
    let refused = get("carol", "carol-secret");
    assert!([401, 429, 503].contains(&refused.status) && !sent("carol:carol-secret"), "{refused:?}");
}

/// What a server answers that is none of a directory.
const GARBAGE: [&[u8]; 12] = [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\0\0\0\0\0\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    // An element that is to have 4 GiB, and one of a length that nothing can have.
    b"\x30\x84\xff\xff\xff\xff\x02\x01\x01",
    b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff",
    // One without an end, as DER does not have it, and one that is empty.
    b"\x30\x80\x02\x01\x01\x00\x00",
    b"\x30\x00",
    // A message of an id that is no number, of none, and of another operation.
    b"\x30\x05\x04\x01\x01\x61\x00",
    b"\x30\x02\x61\x00",
    b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
    // An answer to the bind without its code, with a code of eight bytes, and with text that is none.
    b"\x30\x05\x02\x01\x01\x61\x00",
];

/// SPEC AC14: what is no answer is told of as a directory that cannot be asked, and harms nobody.
#[test]
fn an_answer_that_is_none_ends_one_login_and_nothing_else() {
    let deep: Vec<u8> = [0x30, 0x80].repeat(20_000);
    let mut wide_code = element(0x61, &[0x0a, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 4, 0, 4, 0]);
    wide_code = element(0x30, &[vec![2, 1, 1], wide_code].concat());
    let mut no_text = element(0x61, &[0x0a, 1, 0, 4, 2, 0xff, 0xfe, 4, 2, 0xff, 0xfe]);
    no_text = element(0x30, &[vec![2, 1, 1], no_text].concat());
    let many: Vec<u8> = element(0x30, &[2, 1, 9, 0x61, 7, 0x0a, 1, 0, 4, 0, 4, 0]).repeat(10_000);
    let all: Vec<Vec<u8>> =
        GARBAGE.iter().map(|bytes| bytes.to_vec()).chain([deep, wide_code, no_text, many]).collect();
    // Some are waited for until the time of an answer is over.
    for some in all.chunks(6) {
        std::thread::scope(|scope| {
            some.iter().for_each(|bytes| {
                scope.spawn(|| is_harmless(bytes));
            });
        });
    }
}

/// A directory that answers that to whatever it is sent keeps nobody out but its own users.
fn is_harmless(bytes: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = bytes.to_vec();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 512];
            while stream.read(&mut request).is_ok_and(|read| read > 0) {
                if stream.write_all(&sent).is_err() {
                    break;
                }
            }
        }
    });
    let urls = format!("url = ['ldap://127.0.0.1:{port}']\ntimeout = '1s'\nuser-dn = 'uid={{user}},dc=x'");
    let files = Files::new(&format!("[ldap]\n{urls}\n{RULES}"), &["root"]);
    let server = files.start();
    let began = Instant::now();
    let refused = server.send_as(&basic("alice"), "GET", "/v2/", b"");
    let shown = bytes.get(..bytes.len().min(20)).unwrap().escape_ascii().to_string();
    assert_eq!((refused.status, refused.header("retry-after").as_deref()), (503, Some("10")), "{shown}: {refused:?}");
    assert!(told(&refused).contains("the directory (LDAP) cannot be reached"), "{shown}: {refused:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{shown}: {:?}", began.elapsed());
    // Others log in and sign in meanwhile, and the next who asks the directory is answered too.
    assert_eq!(server.send_as(&basic("root"), "GET", "/v2/", b"").status, 200, "{shown}");
    sign_in(&server, "root");
    assert_eq!(server.send_as(&basic("bob"), "GET", "/v2/", b"").status, 503, "{shown}");
    let says = format!("ldap://127.0.0.1:{port}");
    for _ in 0..100 {
        if server.log().contains(&says) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = server.log();
    assert!(log.contains(&says) && !log.contains("panicked") && !log.contains("alice-secret"), "{shown}: {log}");
}

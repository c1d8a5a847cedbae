//! Users of an LDAP directory that does what it should not (SPEC AC10 to AC14). `tests/clients/ldap.sh` has a real one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::access::{Directory as Files, basic, push};
use crate::oidc::{field, reload, told};
use crate::started::eventually;

mod odd;

const RULES: &str = r#"
    [[rule]]
    who = ["group:dev"]
    allow = ["all"]
    repositories = ["team/**"]
"#;

/// What a directory does.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// What is right: a user is in `dev` and so many more groups.
    Right(usize),
    /// It never answers a bind.
    Hangs,
    /// It answers with one entry after the other, without an end.
    Dribbles,
    /// It names another server.
    Refers,
    /// It closes each connection.
    Closes,
}

/// A directory in which every user has the name and `-secret` as the password.
struct Directory {
    port: u16,
    state: Arc<State>,
}

struct State {
    does: Mutex<Does>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    searches: Mutex<Vec<Vec<u8>>>,
}

impl Directory {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = State { does: Mutex::new(Does::Right(0)), connections, ended, searches: Mutex::default() };
        let state = Arc::new(state);
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = served.clone();
                std::thread::spawn(move || {
                    state.connections.fetch_add(1, Ordering::SeqCst);
                    serve(stream, &state);
                    state.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, state }
    }

    fn does(&self, does: Does) {
        *self.state.does.lock().unwrap() = does;
    }

    fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The settings for it.
    fn setting(&self, more: &str) -> String {
        format!("[ldap]\nurl = ['ldap://127.0.0.1:{}']\ntimeout = '1s'\n{more}\n{RULES}", self.port)
    }

    fn by_name(&self) -> String {
        self.setting("user-dn = 'uid={user},dc=x'")
    }
}

/// The next message, if there is one.
fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let mut length = usize::from(head[1]);
    if length > 0x80 {
        let mut more = vec![0; length - 0x80];
        stream.read_exact(&mut more).ok()?;
        length = more.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// An element of BER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

fn text(text: &str) -> Vec<u8> {
    element(4, text.as_bytes())
}

/// The answer that ends an operation.
fn done(tag: u8, code: u8) -> Vec<u8> {
    let referral = if code == 10 { element(0xa3, &text("ldap://127.0.0.1:1/dc=x")) } else { Vec::new() };
    element(tag, &[vec![0x0a, 1, code], text(""), text(""), referral].concat())
}

fn entry(name: &str, groups: usize) -> Vec<u8> {
    let named = (0..groups).map(|group| format!("cn=g{group},dc=x")).chain(["cn=dev,dc=x".to_owned()]);
    let groups = named.flat_map(|group| text(&group)).collect::<Vec<_>>();
    let attribute = |name: &str, values: &[u8]| element(0x30, &[text(name), element(0x31, values)].concat());
    let attributes = [attribute("uid", &text(name)), attribute("memberOf", &groups)].concat();
    element(0x64, &[text(&format!("uid={name},dc=x")), element(0x30, &attributes)].concat())
}

fn serve(mut stream: TcpStream, state: &State) {
    let mut user = "alice".to_owned();
    while let Some(message) = read(&mut stream) {
        let does = *state.does.lock().unwrap();
        let (id, operation) = (&message[..3], message[3]);
        let (mut answers, mut endless) = (Vec::new(), false);
        match (operation, does) {
            (_, Does::Closes) => return,
            (0x60, Does::Hangs) => {}
            (0x60, _) => {
                let said = String::from_utf8_lossy(&message).into_owned();
                if let Some((name, _)) = said.split_once("uid=").and_then(|(_, rest)| rest.split_once(',')) {
                    user = name.into();
                }
                // The password is the last of it.
                let right = said.ends_with(&format!("{user}-secret"));
                answers.push(done(0x61, if right { 0 } else { 49 }));
            }
            (0x63, does) => {
                state.searches.lock().unwrap().push(message.clone());
                let groups = if let Does::Right(groups) = does { groups } else { 0 };
                endless = does == Does::Dribbles;
                match does {
                    Does::Refers => answers.push(done(0x65, 10)),
                    _ => answers.extend([entry(&user, groups), done(0x65, 0)]),
                }
            }
            _ => return,
        }
        for answer in &answers {
            let whole = element(0x30, &[id, answer].concat());
            while stream.write_all(&whole).is_ok() && endless {
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    }
}

/// SPEC AC10 to AC13.
#[test]
fn a_user_of_a_directory_is_let_in_by_its_password_alone() {
    let directory = Directory::new();
    let files = Files::new(&directory.by_name(), &["root"]);
    let server = files.start();
    let status = |user: &str, password: &str| server.send_as(&field(user, password), "GET", "/v2/", b"").status;
    assert_eq!(push(&server, &basic("alice"), "team/app", "v1", "x").status, 201);
    let before = directory.connections();
    assert_eq!(status("alice", "alice-secret"), 200);
    assert_eq!(directory.connections(), before, "a right password is remembered");
    assert_eq!(status("alice", "wrong"), 401);
    assert_eq!(status("alice", "bob-secret"), 401);
    let before = directory.connections();
    for user in ["alice", "root", "nobody"] {
        assert_eq!(status(user, ""), 401, "{user}");
    }
    assert_eq!(status("root", "alice-secret"), 401);
    assert_eq!(status("root", "root-secret"), 200);
    assert_eq!(directory.connections(), before, "an empty password and a user of the file ask no directory");
    eventually(|| server.log().contains("the password is empty"));
    assert!(!server.log().contains("-secret"), "{}", server.log());
}

/// SPEC AC10: whatever a name has in it, it is one value in the question.
#[test]
fn a_name_is_a_value_in_the_search() {
    let directory = Directory::new();
    let files = Files::new(&directory.setting("base = 'dc=x'\nfilter = '(&(a=b)(uid={user}))'"), &["root"]);
    let server = files.start();
    let short = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    for name in
        ["*", "a*", "alice)(uid=*", "*)(objectClass=*", "(|(a=b)", "a\\", "\\2a", "a&b", "é", "{dn}", "{user}", " "]
    {
        directory.state.searches.lock().unwrap().clear();
        let answer = server.send_as(&field(name, "wrong"), "GET", "/v2/", b"");
        assert_eq!(answer.status, 401, "{name:?}: {answer:?}");
        let expected = short(0xa3, &[short(4, b"uid"), short(4, name.as_bytes())].concat());
        let searches = directory.state.searches.lock().unwrap().clone();
        let whole = |search: &[u8]| search.windows(expected.len()).any(|part| part == expected);
        assert!(searches.len() == 1 && whole(&searches[0]), "{name:?}: {searches:?}");
    }
    for name in ["a\0", "a\n", "a\r\nb"] {
        assert_eq!(server.send_as(&field(name, "alice-secret"), "GET", "/v2/", b"").status, 401, "{name:?}");
    }
}

/// SPEC AC14.
#[test]
fn a_directory_that_does_not_answer_keeps_nobody_else_out() {
    let directory = Directory::new();
    directory.does(Does::Hangs);
    let files = Files::new(&directory.by_name(), &["root"]);
    let server = files.start();
    let answers = std::thread::scope(|scope| {
        let ask = |user: usize| server.send_as(&field(&format!("u{user}"), "x"), "GET", "/v2/", b"");
        let waiting: Vec<_> = (0..24).map(|user| scope.spawn(move || ask(user))).collect();
        eventually(|| directory.connections() >= 16);
        assert_eq!(server.send_as(&basic("root"), "GET", "/v2/", b"").status, 200);
        waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in &answers {
        assert!([503, 429].contains(&answer.status) && answer.header("retry-after").is_some(), "{answer:?}");
    }
    assert!(answers.iter().any(|answer| told(answer).contains("the directory (LDAP) cannot be reached")));
    eventually(|| directory.state.ended.load(Ordering::SeqCst) == directory.connections());
    for does in [Does::Dribbles, Does::Closes, Does::Refers] {
        directory.does(does);
        let answer = server.send_as(&field("alice", "alice-secret"), "GET", "/v2/", b"");
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    directory.does(Does::Right(0));
    assert_eq!(server.send_as(&basic("alice"), "GET", "/v2/", b"").status, 200);
    eventually(|| server.log().contains("the directory answers again"));
    // The log says why: a referral is not followed.
    directory.does(Does::Refers);
    assert_eq!(server.send_as(&basic("bob"), "GET", "/v2/", b"").status, 503);
    eventually(|| server.log().contains("a referral: it has other servers asked"));
    eventually(|| directory.state.ended.load(Ordering::SeqCst) == directory.connections());
}

/// SPEC AC12: no group is left out of many.
#[test]
fn a_user_is_in_all_of_its_groups_or_not_let_in() {
    let directory = Directory::new();
    let files = Files::new(&directory.by_name(), &["root"]);
    let server = files.start();
    directory.does(Does::Right(999));
    assert_eq!(push(&server, &basic("alice"), "team/app", "v1", "x").status, 201, "{}", server.log());
    directory.does(Does::Right(1000));
    let refused = server.send_as(&basic("bob"), "GET", "/v2/", b"");
    assert!(refused.status == 401 && told(&refused).contains("more than 1000 groups"), "{refused:?}");
}

/// SPEC AC13, AB6: a session and an API token of a user of the directory end when there is none in the settings.
#[test]
fn sessions_of_users_of_a_directory_end_with_it() {
    let directory = Directory::new();
    let files = Files::new(&directory.by_name(), &["root"]);
    let server = files.start();
    let json = "Content-Type: application/json\r\n";
    let login = json!({ "user": "alice", "password": "alice-secret" }).to_string();
    let signed = server.send_as(json, "POST", "/api/v1/session", login.as_bytes());
    assert!(signed.status == 200 && told(&signed).contains("\"dev\""), "{signed:?}");
    let cookie = format!("Cookie: {}\r\n", signed.header("set-cookie").unwrap().split(';').next().unwrap());
    let wanted = json!({ "name": "ci", "repositories": ["**"], "actions": ["pull"], "expires_in_days": 1 }).to_string();
    let made = server.send_as(&format!("{json}{}", basic("alice")), "POST", "/api/v1/tokens", wanted.as_bytes());
    assert_eq!(made.status, 201, "{made:?}");
    let secret =
        serde_json::from_slice::<serde_json::Value>(&made.body).unwrap()["secret"].as_str().unwrap().to_owned();
    let is_known = || told(&server.send_as(&cookie, "GET", "/api/v1/session", b"")).contains("\"user\":\"alice\"");
    let token = || server.send_as(&field("alice", &secret), "GET", "/v2/", b"").status;
    assert!(is_known() && token() == 200);
    // While it is away, who is known stays known.
    directory.does(Does::Closes);
    assert!(is_known() && token() == 200);
    files.configure("[[rule]]\nwho = ['anybody']\nallow = ['pull']\nrepositories = ['**']\n");
    reload(&files);
    eventually(|| !is_known() && token() == 401);
}

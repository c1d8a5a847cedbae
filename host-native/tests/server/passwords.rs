//! What passwords cost: whoever sends wrong ones takes neither memory nor processors from others.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::net::sockopt::set_socket_linger;
use tempfile::TempDir;

use crate::started::{Started, eventually};

/// A password file.
struct Users {
    directory: TempDir,
}

impl Users {
    /// Each has the name and `-secret` as the password.
    fn new(users: &[&str], hash: impl Fn(&str) -> String) -> Self {
        let written = Self { directory: TempDir::new().unwrap() };
        let line = |user: &&str| format!("{user}:{}\n", hash(&format!("{user}-secret")));
        std::fs::write(written.path(), users.iter().map(line).collect::<String>()).unwrap();
        written
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("users")
    }

    /// A server behind a proxy at this machine, which says where clients are.
    fn start(&self) -> Started {
        Started::with(&["--auth-htpasswd", self.path().to_str().unwrap(), "--trusted-proxy", "127.0.0.1"])
    }
}

fn argon2id(password: &str) -> String {
    argon2::Argon2::default().hash_password(password.as_bytes()).unwrap().to_string()
}

fn bcrypt_11(password: &str) -> String {
    bcrypt::hash(password, 11).unwrap()
}

pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

/// Asks with a wrong password, and breaks the connection a moment later.
fn ask_and_leave(server: &Started, method: &str, number: usize) {
    let mut stream = server.connect();
    let from = format!("X-Forwarded-For: 10.{}.{}.1\r\n", number / 256 % 256, number % 256);
    let request = format!("{method} /v2/ HTTP/1.1\r\nHost: x\r\n{from}{}\r\n", basic("alice", &number.to_string()));
    if stream.write_all(request.as_bytes()).is_ok() {
        std::thread::sleep(Duration::from_millis(4));
    }
    // The other end is told at once (RST).
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
}

fn thousands_of_logins_whose_client_leaves(users: &Users) {
    const TRIES: usize = 3000;
    let server = users.start();
    let push = |number: usize| {
        let bytes = number.to_string();
        let digest = orlop_core::digest::Algorithm::Sha256.digest(bytes.as_bytes());
        let target = format!("/v2/a/blobs/uploads/?digest={digest}");
        let began = Instant::now();
        assert_eq!(server.send_as(&basic("alice", "alice-secret"), "POST", &target, bytes.as_bytes()).status, 201);
        began.elapsed()
    };
    push(0);
    let alone = (1..5).map(push).max().unwrap();
    let before = server.memory("VmRSS");
    let next = AtomicUsize::new(0);
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    while let number @ 0..TRIES = next.fetch_add(1, Ordering::Relaxed) {
                        ask_and_leave(&server, "GET", number);
                    }
                })
            })
            .collect();
        let mut number = 5;
        while attackers.iter().any(|attacker| !attacker.is_finished()) {
            slowest = slowest.max(push(number));
            number += 1;
        }
    });
    // A second on a quiet machine, and minutes where all of these passwords are hashed.
    let allowed = Duration::from_secs(5).max(alone * 20);
    assert!(slowest <= allowed, "a push took {slowest:?}, and {alone:?} before");
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown <= 128 << 10, "{grown} KiB");
    // Nothing is left to be done for those who left: somebody whose password is not remembered has a turn.
    eventually(|| server.send_as(&basic("bob", "bob-secret"), "GET", "/v2/", b"").status == 200);
}

#[test]
fn thousands_of_logins_whose_client_leaves_take_nothing_from_others() {
    thousands_of_logins_whose_client_leaves(&Users::new(&["alice", "bob"], argon2id));
}

#[test]
fn thousands_of_logins_whose_client_leaves_take_nothing_from_others_with_bcrypt() {
    thousands_of_logins_whose_client_leaves(&Users::new(&["alice", "bob"], bcrypt_11));
}

/// Requests that would change something go on without their clients, but not before it is known whose they are.
#[test]
fn changes_whose_client_leaves_before_its_password_is_checked_keep_no_place_in_the_queue() {
    let users = Users::new(&["alice", "bob", "carol", "dave"], argon2id);
    let server = users.start();
    // One that is told to come again does so soon.
    let log_in = |user: &str| {
        let began = Instant::now();
        let secret = basic(user, &format!("{user}-secret"));
        while server.send_as(&secret, "GET", "/v2/", b"").status != 200 {
            std::thread::sleep(Duration::from_millis(50));
        }
        began.elapsed()
    };
    let alone = ["carol", "dave"].map(log_in).into_iter().max().unwrap();
    std::thread::scope(|scope| {
        for attacker in 0..8 {
            let server = &server;
            scope.spawn(move || (0..50).for_each(|number| ask_and_leave(server, "DELETE", attacker * 50 + number)));
        }
    });
    // The queue holds 128 of them.
    let behind = log_in("bob");
    assert!(behind < alone * 40 + Duration::from_millis(300), "{behind:?}, and {alone:?} alone");
}

/// Each hash with argon2 takes 19 MiB, which the next one takes again.
#[test]
fn ordinary_wrong_passwords_take_no_more_memory_than_a_few_do() {
    let users = Users::new(&["alice"], argon2id);
    let server = users.start();
    let before = server.memory("VmRSS");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let server = &server;
            scope.spawn(move || {
                let wrong = basic("alice", &number.to_string());
                assert_eq!(server.send_as(&wrong, "GET", "/v2/", b"").status, 401);
            });
        }
    });
    let grown = server.memory("VmRSS").saturating_sub(before);
    assert!(grown <= 100 << 10, "{grown} KiB");
}

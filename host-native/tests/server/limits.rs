//! Limits as the manual shows them, and ordinary clients under them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orlop_core::digest::Algorithm;

use crate::started::{Started, orlop};

/// The limit that `orlop serve --help` shows.
fn shown_by_help() -> String {
    let help = orlop("serve", "x".as_ref()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, limit) = help.split_once("--limit <TABLE>").unwrap();
    let from = limit.find('{').unwrap();
    let to = limit.find('}').unwrap();
    limit[from..=to].split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The limit in the example of orlop.toml(5).
fn shown_by_the_manual() -> String {
    let manual = include_str!("../../debian/orlop.toml.5").replace('\\', "");
    let (_, example) = manual.split_once(".SH EXAMPLE").unwrap();
    let (_, limit) = example.split_once("[[limit]]\n").unwrap();
    let lines: Vec<&str> = limit.lines().take_while(|line| line.contains('=')).collect();
    format!("{{ {} }}", lines.join(", "))
}

/// Pushes a layer as most clients do.
fn push(server: &Started, number: usize) -> [u16; 4] {
    let layer = vec![number as u8; 100_000];
    let digest = Algorithm::Sha256.digest(&layer);
    let there = server.send("HEAD", &format!("/v2/a/blobs/{digest}"), b"").status;
    let opened = server.send("POST", "/v2/a/blobs/uploads/", b"");
    let Some(session) = opened.header("location") else { return [there, opened.status, 0, 0] };
    let sent = server.send("PATCH", &session, &layer).status;
    [there, opened.status, sent, server.send("PUT", &format!("{session}?digest={digest}"), b"").status]
}

#[test]
fn a_push_of_24_layers_passes_under_the_limits_that_are_shown() {
    for limit in [shown_by_help(), shown_by_the_manual()] {
        assert!(limit.contains("requests") && limit.contains("rate"), "{limit}");
        let server = Started::with(&[&format!("--limit={limit}")]);
        std::thread::scope(|scope| {
            let pushing: Vec<_> = (0..24)
                .map(|number| {
                    scope.spawn({
                        let server = &server;
                        move || push(server, number)
                    })
                })
                .collect();
            for pushed in pushing {
                assert_eq!(pushed.join().unwrap(), [404, 202, 202, 201], "{limit}");
            }
        });
    }
}

/// SPEC A11.
#[test]
fn who_sends_too_fast_waits_a_while_and_is_told_how_long_when_it_would_be_long() {
    let server = Started::with(&["--limit={ who = ['anybody'], each = 'address', rate = 4 }"]);
    let (began, served) = (Instant::now(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| {
                let answer = server.get("/v2/");
                match answer.status {
                    200 => drop(served.fetch_add(1, Ordering::Relaxed)),
                    429 => {
                        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                        // Those that wait are served before.
                        assert!((1..=20).contains(&seconds), "{seconds}");
                    }
                    status => panic!("{status}"),
                }
            });
        }
    });
    let served = served.into_inner();
    assert!(served >= 8, "{served}");
    assert!(served < 60 && began.elapsed() < Duration::from_secs(30), "{served} in {:?}", began.elapsed());
}

//! Very many clients need very few connections to the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use orlop_core::digest::Algorithm;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use crate::engines::{ObjectServer, Postgres};
use crate::program::program;
use crate::registry::{PATIENCE, Server};

/// How many clients there are, each with a connection of its own, and how many requests each makes.
const CLIENTS: usize = 2000;
const REQUESTS: usize = 3;

/// How many processes serve them.
const PROCESSES: usize = 3;

/// How many connections to the database all of them may have: each has one for commits and eight for reads.
const MOST: usize = 30;

/// How many clients connect at once: the queue of connections that a server has not accepted yet is bounded by the system.
const AT_ONCE: usize = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
async fn two_thousand_clients_of_three_processes_need_thirty_connections_at_most() {
    let (postgres, store) = (Postgres::start(), ObjectServer::start());
    let engines = store.engines(postgres.database());
    let serve = || {
        let mut command = std::process::Command::new(program());
        command.envs(engines.options.iter().map(|(name, value)| (format!("AWS_{}", name.to_uppercase()), value)));
        command.env("ORLOP_CONFIG", "");
        let flags = [
            "--records",
            &engines.records,
            "--objects",
            &engines.objects,
            "--log",
            "info,orlop::access=off,orlop::audit=off",
        ];
        // All clients have one address. Whoever has no permit waits, but not for long.
        let limits = ["--max-requests", "4096", "--max-client-requests", "4096", "--max-client-connections", "4096"];
        Server::start(command, &[&flags[..], &limits, &["--admin-addr", "127.0.0.1:0"]].concat())
    };
    let servers: Vec<Server> = (0..PROCESSES).map(|_| serve()).collect();
    let digest = servers[0].push(b"a small blob");
    let over = AtomicBool::new(false);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::connect(&servers[number % PROCESSES].address).await);
        if number % AT_ONCE == 0 {
            // A request of each is answered before others connect.
            let last = clients.last_mut().expect("one");
            assert_eq!(last.ask("GET", "/v2/", b"").await, 200);
        }
    }
    let began = Instant::now();
    let work = async {
        let each = clients.into_iter().enumerate().map(|(number, mut client)| {
            let digest = digest.to_string();
            async move {
                for request in 0..REQUESTS {
                    let (method, target, body, expected) = if (number + request) % 10 == 0 {
                        let blob = format!("{number} {request}");
                        let digest = Algorithm::Sha256.digest(blob.as_bytes());
                        ("POST", format!("/v2/a/blobs/uploads/?digest={digest}"), blob, 201)
                    } else {
                        ("GET", format!("/v2/a/blobs/{digest}"), String::new(), 200)
                    };
                    let status = client.ask(method, &target, body.as_bytes()).await;
                    if status != expected {
                        return Err(format!("{method} {target}: {status}"));
                    }
                }
                Ok(())
            }
        });
        let done = try_join_all(each).await;
        over.store(true, Ordering::SeqCst);
        done
    };
    let look = async {
        let mut counts = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orlop'";
            let count = tokio::task::block_in_place(|| postgres.ask("postgres", count));
            counts.push(count.parse::<usize>().expect("a number"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        counts
    };
    let (done, counts) = tokio::join!(work, look);
    assert_eq!(done.map(|done| done.len()), Ok(CLIENTS));
    let most = counts.iter().max().copied().unwrap_or_default();
    println!(
        "{CLIENTS} clients, {} requests in {:.1} s: {most} connections to the database at most",
        CLIENTS * REQUESTS,
        began.elapsed().as_secs_f64()
    );
    assert!((PROCESSES..=MOST).contains(&most), "{most} connections");
    // To end processes with thousands of connections takes a moment.
    spawn_blocking(move || drop((servers, postgres, store))).await.expect("they end");
}

/// A client with one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(address: &str) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.expect("it listens")))
    }

    /// Makes a request: its status.
    async fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> u16 {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let asked = async {
            self.0.write_all(&[head.as_bytes(), body].concat()).await?;
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let from = head.len();
                if self.0.read_line(&mut head).await? == 0 {
                    return Ok(0);
                }
                if let Some(value) = head[from..].to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap_or_default();
                }
            }
            tokio::io::copy(&mut (&mut self.0).take(length), &mut tokio::io::sink()).await?;
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            Ok::<u16, std::io::Error>(status.unwrap_or_default())
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("an answer").expect("an answer")
    }
}

//! Answers that stand in memory until their clients have read them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use orlop_core::digest::Algorithm;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::started::{Started, answer, eventually};
use crate::tls::{Place, frame};
use crate::watching::receiver;

/// How much the server may grow, in KiB, whoever reads nothing.
const MOST: u64 = 128 << 10;

const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn manifest(more: &str, filler: usize) -> String {
    let empty = format!(r#"{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{EMPTY}","size":2}}"#);
    let filler = "x".repeat(filler);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{empty},"layers":[],{more}"annotations":{{"filler":"{filler}"}}}}"#
    )
}

fn with_large_and_small(server: &Started) {
    assert_eq!(server.push(b"{}").0.status, 201);
    let large = manifest("", (4 << 20) - 4096);
    assert_eq!(server.send("PUT", "/v2/a/manifests/large", large.as_bytes()).status, 201);
    assert_eq!(server.send("PUT", "/v2/a/manifests/small", manifest("", 1).as_bytes()).status, 201);
    assert_eq!(server.get("/v2/a/manifests/large").body.len(), large.len());
}

/// Asks for the same as many clients of twenty addresses, none of whom reads.
fn asked_by_many(server: &Started, clients: usize, target: &str) -> Vec<TcpStream> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let ask = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let connect = |number: usize| {
        let mut stream = server.connect_from([127, 0, 1, (number % 20) as u8 + 1]);
        stream.write_all(ask.as_bytes()).unwrap();
        stream
    };
    (0..clients).map(connect).collect()
}

#[test]
fn readers_that_take_nothing_of_a_large_manifest_share_little_memory() {
    let server = Started::with(&["--log", "info,orlop::access=off"]);
    with_large_and_small(&server);
    let before = server.memory("VmRSS");
    let mut readers = asked_by_many(&server, 500, "/v2/a/manifests/large");
    // Whoever asks for something small is served meanwhile.
    assert_eq!(server.get("/v2/a/manifests/small").status, 200);
    readers.iter_mut().for_each(|reader| assert_eq!(reader.peek(&mut [0]).unwrap(), 1));
    let used = server.memory("VmHWM").saturating_sub(before);
    assert!(used < MOST, "{used} KiB");
    // All of them share one.
    for reader in &mut readers {
        let answer = answer(reader, false);
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.body.len() > 4_000_000);
    }
    drop(readers);
    eventually(|| server.get("/v2/a/manifests/large").status == 200);
}

#[test]
fn streams_of_one_connection_that_take_nothing_share_little_memory() {
    let place = Place::new();
    let server = place.start(&[]);
    let client = place.client(None, &[b"h2"]);
    let connect = || {
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        rustls::StreamOwned::new(rustls::ClientConnection::new(client.clone(), name).unwrap(), server.connect())
    };
    let mut pushing = rustls::StreamOwned::new(
        rustls::ClientConnection::new(
            place.client(None, &[]),
            rustls::pki_types::ServerName::try_from("localhost").unwrap(),
        )
        .unwrap(),
        server.connect(),
    );
    let mut send = |method: &str, target: &str, body: &[u8]| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        pushing.write_all(&[head.as_bytes(), body].concat()).unwrap();
        assert_eq!(answer(&mut pushing, false).status, 201);
    };
    send("POST", &format!("/v2/a/blobs/uploads/?digest={EMPTY}"), b"{}");
    send("PUT", "/v2/a/manifests/large", manifest("", (4 << 20) - 4096).as_bytes());
    let before = server.memory("VmRSS");
    let path = b"/v2/a/manifests/large";
    let head = [&[0x82, 0x87, 0x41, 1, b'x', 0x04, path.len() as u8], &path[..]].concat();
    let mut stream = connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).unwrap();
    let asked: Vec<Vec<u8>> = (0..64).map(|number| frame(1, 5, 2 * number + 1, &head)).collect();
    stream.write_all(&asked.concat()).unwrap();
    stream.read_exact(&mut [0; 9]).unwrap();
    std::thread::sleep(Duration::from_secs(7));
    let used = server.memory("VmHWM").saturating_sub(before);
    assert!(used < MOST, "{used} KiB");
}

#[test]
fn pages_of_referrers_share_little_memory() {
    let server = Started::with(&["--log", "info,orlop::access=off"]);
    assert_eq!(server.push(b"{}").0.status, 201);
    let subject = Algorithm::Sha256.digest(b"a subject that is to come");
    for number in 0..40 {
        let more = format!(
            r#""artifactType":"a/b","subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{subject}","size":{}}},"#,
            number + 1
        );
        let referrer = manifest(&more, 90_000);
        let target = format!("/v2/a/manifests/{}", Algorithm::Sha256.digest(referrer.as_bytes()));
        assert_eq!(server.send("PUT", &target, referrer.as_bytes()).status, 201);
    }
    let target = format!("/v2/a/referrers/{subject}");
    let page = server.get(&target);
    assert!(page.body.len() > 1_000_000, "{}", page.body.len());
    let before = server.memory("VmRSS");
    let mut readers = asked_by_many(&server, 100, &target);
    readers.iter_mut().for_each(|reader| assert_eq!(reader.peek(&mut [0]).unwrap(), 1));
    let used = server.memory("VmHWM").saturating_sub(before);
    assert!(used < MOST, "{used} KiB for pages of {} bytes", page.body.len());
}

/// What is thrown away because there is no memory for it was not pulled.
#[test]
fn an_answer_that_is_made_again_is_told_of_once() {
    let (address, told) = receiver(&[]);
    let hook = format!("--webhook={{ name = 'ci', url = 'http://{address}/', events = ['pull'] }}");
    let server = Started::with(&[&hook]);
    assert_eq!(server.push(b"{}").0.status, 201);
    let path = |number: usize| format!("/v2/a/manifests/{number}");
    for number in 0..4 {
        let large = manifest("", (4 << 20) - 4096 - number);
        assert_eq!(server.send("PUT", &path(number), large.as_bytes()).status, 201);
    }
    let reading = |number: usize, times: usize| {
        let mut stream = server.connect();
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(number));
        stream.write_all(request.repeat(times).as_bytes()).unwrap();
        stream
    };
    // The buffers of a connection may take a whole answer: the second one stays in memory.
    let held = [0, 1].map(|number| {
        let stream = reading(number, 2);
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        stream
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(answer(&mut reading(2, 1), false).status, 503, "one client reads two of these at once");
    let mut third = reading(3, 1);
    std::thread::sleep(Duration::from_millis(500));
    drop(held);
    assert_eq!(answer(&mut third, false).status, 200);
    let mut tags: Vec<String> = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(3)).ok())
        .map(|(_, body)| {
            let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
            event["data"]["tags"][0].as_str().unwrap().to_owned()
        })
        .collect();
    tags.sort();
    assert_eq!(tags.iter().filter(|tag| *tag == "3").count(), 1, "{tags:?}");
    tags.dedup();
    assert_eq!(tags, ["0", "1", "3"]);
}

/// The memory for manifests that are pushed is for all clients.
#[test]
fn large_manifests_that_do_not_come_to_their_end_keep_no_other_from_pushing_one() {
    let server = Started::with(&["--log", "info,orlop::access=off"]);
    with_large_and_small(&server);
    let length = 4 << 20;
    let head = format!("PUT /v2/a/manifests/never HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    let slow: Vec<TcpStream> = std::thread::scope(|scope| {
        let push = || {
            let mut stream = server.connect_from([127, 0, 1, 66]);
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            // Most of them are not read to here.
            let _ = stream.write_all(&[head.as_bytes(), &vec![b' '; length - 1]].concat());
            stream
        };
        let pushing: Vec<_> = (0..40).map(|_| scope.spawn(push)).collect();
        pushing.into_iter().map(|pushing| pushing.join().unwrap()).collect()
    });
    let large = manifest("", length - 5000);
    assert_eq!(server.send("PUT", "/v2/a/manifests/other", large.as_bytes()).status, 201);
    drop(slow);
}

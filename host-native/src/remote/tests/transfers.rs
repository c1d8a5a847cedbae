//! Reading: slices, lengths, pauses, bodies that break off.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::remote::Slice;

const DIGEST: &str = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb";

#[tokio::test]
async fn a_request_says_what_is_wanted_and_an_answer_what_it_is() {
    let registry = Scripted::start(|_| {
        let fields = [("content-type", "application/json"), ("docker-content-digest", DIGEST), ("content-length", "7")];
        says(200, &fields, "")
    })
    .await;
    let accept = ["application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"];
    let get = Get {
        repository: "a/b",
        resource: "manifests/v1",
        head: true,
        accept: &accept,
        via: Some("1.1 x"),
        ..Get::default()
    };
    let answer = registry.remote().get(get).await.unwrap();
    assert_eq!((answer.status, answer.length, answer.content_range), (200, Some(7), None));
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    assert_eq!(answer.digest.map(|digest| digest.to_string()).as_deref(), Some(DIGEST));
    let asked = registry.asked().remove(0);
    assert_eq!(asked.line, "HEAD /v2/a/b/manifests/v1");
    let sent: Vec<_> = asked.headers.get_all("accept").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(sent, accept);
    let field = |name: &str| asked.headers[name].to_str().unwrap().to_owned();
    assert_eq!((field("accept-encoding"), field("via")), ("identity".into(), "1.1 x".into()));
    assert_eq!(field("user-agent"), format!("orlop/{}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_slice_is_that_slice_or_the_whole() {
    let asked_for = async |status: u16, range: &'static str, first: u64, last: Option<u64>| {
        let registry = Scripted::start(move |asked| {
            assert!(asked.headers.contains_key("range"));
            says(status, &[("content-range", range)], "bytes")
        })
        .await;
        let range = Some(Slice { first, last });
        let answer = registry.remote().get(Get { repository: "a", resource: "blobs/x", range, ..Get::default() }).await;
        answer.map(|answer| (answer.status, answer.content_range))
    };
    assert_eq!(asked_for(206, "bytes 2-6/9", 2, Some(6)).await, Ok((206, Some((2, 6, Some(9))))));
    assert_eq!(asked_for(206, "bytes 2-6/*", 2, None).await, Ok((206, Some((2, 6, None)))));
    assert_eq!(asked_for(206, "bytes 2-5/9", 2, Some(6)).await, Ok((206, Some((2, 5, Some(9))))));
    assert_eq!(asked_for(200, "", 2, None).await, Ok((200, None)));
    for wrong in ["", "bytes 1-5/9", "bytes 2-7/9", "bytes 2-6/6", "bytes 6-2/9", "bytes */9", "2-6/9"] {
        let told = asked_for(206, wrong, 2, Some(6)).await;
        assert!(matches!(told, Err(Failure::Unusable(_))), "{wrong}: {told:?}");
    }
}

#[tokio::test]
async fn each_answer_is_told_for_what_it_is() {
    let kind = async |status: u16| {
        let registry = Scripted::start(move |_| says(status, &[], "")).await;
        blob(&registry.remote()).await.err().unwrap()
    };
    assert_eq!(kind(404).await, Failure::Absent);
    for status in [500, 502, 503] {
        let expected = format!("127.0.0.1 answers {status} to /v2/a/blobs/x");
        assert_eq!(kind(status).await, Failure::Unreachable(expected));
    }
    for status in [204, 400, 405, 416] {
        assert!(matches!(kind(status).await, Failure::Unusable(_)), "{status}");
    }
    let closed = Scripted::start(|_| says(200, &[], "")).await;
    let remote = closed.remote();
    drop(closed);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let Some(Failure::Unreachable(told)) = blob(&remote).await.err() else { panic!("there is no server") };
    assert!(told.contains("cannot be reached: Connection refused"), "{told}");
}

#[tokio::test]
async fn after_a_429_nothing_is_asked_until_the_pause_is_over() {
    let registry = Scripted::start(|asked| match asked.line.as_str() {
        "GET /v2/limited/x" => says(429, &[("retry-after", "1")], ""),
        _ => says(200, &[], "bytes"),
    })
    .await;
    let remote = registry.remote();
    let limited = |login| Get { repository: "limited", resource: "x", login, ..Get::default() };
    // Another login has limits of its own.
    let theirs = Some(crate::remote::Login::Bearer("theirs".into()));
    assert_eq!(remote.get(limited(theirs.clone())).await.err(), Some(Failure::Paused(Duration::from_secs(1))));
    assert_eq!(text(&remote).await, Ok("bytes".into()));
    assert!(matches!(remote.get(limited(None)).await.err(), Some(Failure::Paused(_))));
    let before = registry.asked().len();
    let Err(Failure::Paused(left)) = text(&remote.clone()).await else { panic!("there is a pause") };
    assert!(left <= Duration::from_secs(1) && !left.is_zero());
    assert_eq!(registry.asked().len(), before);
    assert!(remote.get(limited(theirs)).await.is_err_and(|failure| matches!(failure, Failure::Paused(_))));
    assert_eq!(registry.asked().len(), before + 1);
    tokio::time::sleep(left).await;
    assert_eq!(text(&remote).await, Ok("bytes".into()));
}

/// Answers one connection with these bytes, and closes it or not.
async fn raw(bytes: &'static [u8], close: bool) -> Remote {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(bytes).await.unwrap();
        if !close {
            std::future::pending::<()>().await;
        }
    });
    Remote::open(&RemoteSetting::new(&url).unwrap()).unwrap()
}

#[tokio::test]
async fn a_body_that_ends_early_or_stands_still_is_an_error() {
    let cut = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbyt", true).await;
    let Err(Failure::Unreachable(told)) = text(&cut).await else { panic!("it is not whole") };
    assert!(told.contains("breaks off an answer"), "{told}");

    let slow = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbyt", false).await;
    let mut body = blob(&slow).await.unwrap().body;
    assert_eq!(body.chunk().await, Ok(Some(Bytes::from_static(b"byt"))));
    // From here on only time passes.
    tokio::time::pause();
    let Err(Failure::Unreachable(told)) = body.chunk().await else { panic!("nothing comes") };
    assert!(told.contains("has stopped in the middle of an answer for 30 s"), "{told}");
}

/// A registry that sends so many bytes a second, for as long as they are read.
async fn steady(bytes: usize) -> Remote {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
        while stream.write_all(&vec![b'x'; bytes]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    Remote::open(&RemoteSetting::new(&url).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_is_an_error_however_steadily_it_comes() {
    let began = tokio::time::Instant::now();
    let slow = steady(10).await;
    let Err(Failure::Unreachable(told)) = text(&slow).await else { panic!("it never ends") };
    assert!(told.contains("with less than 1024 bytes a second"), "{told}");
    assert!((30..=32).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // Whoever reads slowly is not taken for it.
    let slow = steady(100_000).await;
    let mut body = blob(&slow).await.unwrap().body;
    for _ in 0..5 {
        assert!(body.chunk().await.is_ok_and(|bytes| bytes.is_some()));
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let steady = steady(2000).await;
    let mut body = blob(&steady).await.unwrap().body;
    for _ in 0..100 {
        assert!(body.chunk().await.is_ok_and(|bytes| bytes.is_some()));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_begin_is_an_error() {
    let silent = raw(b"", false).await;
    // The connection is there and the request under way before the clock jumps.
    let asking = tokio::spawn(async move { blob(&silent).await.err() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    tokio::time::pause();
    let Some(Failure::Unreachable(told)) = asking.await.unwrap() else { panic!("nothing comes") };
    assert!(told.contains("does not answer within 120 s"), "{told}");
}

//! Lists and pushes: pages, mounts, chunks that go on where they were cut off.

use std::sync::atomic::{AtomicUsize, Ordering};

use orlop_core::digest::{Algorithm, Digest};

use super::*;
use crate::remote::Opened;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn digest() -> Digest {
    Algorithm::Sha256.digest(b"a")
}

#[tokio::test]
async fn tags_are_read_page_by_page() {
    let registry = Scripted::start(|asked| match asked.line.as_str() {
        "GET /v2/a/tags/list" => {
            says(200, &[("link", "</v2/a/tags/list?n=2&last=b>; rel=\"next\"")], r#"{"tags":["a","b"]}"#)
        }
        "GET /v2/a/tags/list?n=2&last=b" => says(200, &[], r#"{"tags":["c"]}"#),
        "GET /v2/empty/tags/list" => says(200, &[], r#"{"name":"empty","tags":null}"#),
        _ => says(404, &[], ""),
    })
    .await;
    let remote = registry.remote();
    assert_eq!(remote.tags("a").await, Ok(vec!["a".to_owned(), "b".into(), "c".into()]));
    assert_eq!(remote.tags("empty").await, Ok(Vec::new()));
    assert_eq!(remote.tags("none").await, Err(Failure::Absent));
}

#[tokio::test]
async fn a_list_goes_on_at_no_other_host_and_ends() {
    let other = Scripted::at(ELSEWHERE, None, |_| says(200, &[], r#"{"tags":["x"]}"#)).await;
    let link = format!("<{}/v2/a/tags/list?last=b>; rel=\"next\"", other.url);
    let registry = Scripted::start(move |asked| match asked.line.as_str() {
        "GET /v2/a/tags/list" => says(200, &[("link", &link)], r#"{"tags":["a"]}"#),
        line => says(200, &[("link", &format!("<{}>; rel=next", &line[4..]))], r#"{"tags":["a"]}"#),
    })
    .await;
    let remote = Remote::open(&registry.with_login()).unwrap();
    let foreign = Err(Failure::Unusable(format!("{} has a list that goes on at another host", remote.host())));
    assert_eq!(remote.tags("a").await, foreign);
    assert_eq!(other.asked().len(), 0);
    assert_eq!(remote.tags("b").await, Err(Failure::Unusable(format!("{} has a list without an end", remote.host()))));
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_not_taken_for_a_short_one() {
    let registry = Scripted::start(|asked| match asked.line.as_str() {
        "GET /v2/a/tags/list" => says(200, &[("link", "/v2/a/tags/list?last=a; rel=next")], r#"{"tags":["a"]}"#),
        "GET /v2/b/tags/list" => says(200, &[("link", "</v2/b/tags/list?last=\u{e9}>; rel=next")], r#"{"tags":["a"]}"#),
        _ => says(200, &[], r#"{"errors":[]}"#),
    })
    .await;
    let remote = registry.remote();
    for (repository, told) in [("a", "a Link that cannot be read"), ("b", "a Link that cannot"), ("c", "field `tags`")]
    {
        let failure = remote.tags(repository).await.unwrap_err();
        assert!(matches!(&failure, Failure::Unusable(reason) if reason.contains(told)), "{repository}: {failure}");
    }
}

#[tokio::test]
async fn referrers_are_found_by_the_api_or_by_their_tag() {
    let list = format!(r#"{{"manifests":[{{"mediaType":"x","digest":"{}","size":1,"artifactType":"y"}}]}}"#, digest());
    let (by_api, by_tag) = (list.clone(), list);
    let with_api = Scripted::start(move |_| says(200, &[("content-type", INDEX)], by_api.clone())).await;
    let found = with_api.remote().referrers("a", &digest()).await.unwrap();
    assert_eq!((found.len(), found[0].artifact_type.as_deref()), (1, Some("y")));
    let tag = format!("GET /v2/a/manifests/sha256-{}", digest().encoded());
    for (status, media_type) in [(404, ""), (400, ""), (200, "text/html")] {
        let (tag, list) = (tag.clone(), by_tag.clone());
        let without = Scripted::start(move |asked| match asked.line == tag {
            true => says(200, &[("content-type", INDEX)], list.clone()),
            false => says(status, &[("content-type", media_type)], ""),
        })
        .await;
        assert_eq!(without.remote().referrers("a", &digest()).await.unwrap(), found, "{status}");
    }
    let neither = Scripted::start(|_| says(404, &[], "")).await;
    assert_eq!(neither.remote().referrers("a", &digest()).await, Ok(Vec::new()));
    let broken = Scripted::start(|_| says(500, &[], "")).await;
    assert!(matches!(broken.remote().referrers("a", &digest()).await, Err(Failure::Unreachable(_))));
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted_or_pushed() {
    let registry = Scripted::start(|asked| match asked.line.as_str() {
        line if line.starts_with("POST /v2/a/blobs/uploads/?mount=sha256%3A") => says(201, &[], ""),
        line if line.starts_with("POST /v2/b/blobs/uploads/?mount=") => says(202, &[("location", "/up/1?s=x%2Fy")], ""),
        line if line.starts_with("PUT /up/1?s=x%2Fy&digest=sha256%3A") => says(201, &[], ""),
        _ => says(500, &[], ""),
    })
    .await;
    let remote = registry.remote();
    let mount = (&digest(), "from");
    assert!(matches!(remote.open_upload("a", Some(mount)).await, Ok(Opened::Mounted)));
    let Ok(Opened::Upload(mut upload)) = remote.open_upload("b", Some(mount)).await else { panic!("it is opened") };
    upload.append(b"a").await.unwrap();
    assert_eq!(upload.finish(&digest()).await, Ok(()));
    // One request: it is one chunk.
    assert_eq!((registry.asked().len(), registry.asked()[2].body.as_ref()), (3, &b"a"[..]));
}

#[tokio::test]
async fn a_blob_is_pushed_where_the_registry_refuses_to_mount_it() {
    for status in [400, 401, 403, 404, 405, 500, 503] {
        let registry = Scripted::start(move |asked| match asked.line.as_str() {
            line if line.contains("?mount=") => says(status, &[], ""),
            "POST /v2/a/blobs/uploads/" => says(202, &[("location", "/up/0")], ""),
            line if line.starts_with("PUT /up/0?digest=") => says(201, &[], ""),
            _ => says(500, &[], ""),
        })
        .await;
        let opened = registry.remote().open_upload("a", Some((&digest(), "from"))).await;
        let Ok(Opened::Upload(mut upload)) = opened else { panic!("{status}: {:?}", opened.err()) };
        upload.append(b"a").await.unwrap();
        assert_eq!(upload.finish(&digest()).await, Ok(()), "{status}");
        // The mount is asked for once.
        assert_eq!(registry.asked().len(), 3, "{status}: {:?}", registry.lines());
    }
}

#[tokio::test]
async fn a_registry_without_room_is_not_asked_again() {
    let registry = Scripted::start(|_| says(507, &[], "")).await;
    let refused = registry.remote().open_upload("a", None).await.err();
    assert!(matches!(refused, Some(Failure::Unusable(_))), "{refused:?}");
    assert_eq!(registry.asked().len(), 1);
}

#[tokio::test]
async fn a_chunk_goes_on_where_it_was_cut_off() {
    let chunk = 8 << 20;
    let tries = AtomicUsize::new(0);
    let registry = Scripted::start(move |asked| match asked.line.as_str() {
        "POST /v2/a/blobs/uploads/" => says(202, &[("location", "/up/0")], ""),
        // Half of the first chunk has come.
        "PATCH /up/0" if tries.fetch_add(1, Ordering::Relaxed) == 0 => says(503, &[], ""),
        "GET /up/0" => says(204, &[("location", "/up/0"), ("range", "0-4194303")], ""),
        "PATCH /up/0" => says(202, &[("location", "/up/1")], ""),
        "PATCH /up/1" => says(202, &[("location", "/up/2")], ""),
        line if line.starts_with("PUT /up/2?digest=") => says(201, &[], ""),
        _ => says(500, &[], ""),
    })
    .await;
    let Ok(Opened::Upload(mut upload)) = registry.remote().open_upload("a", None).await else { panic!("it is opened") };
    upload.append(&vec![1; chunk + 5]).await.unwrap();
    assert_eq!(upload.finish(&digest()).await, Ok(()));
    let patches: Vec<_> = registry.asked().into_iter().filter(|asked| asked.line.starts_with("PATCH")).collect();
    let sent: Vec<_> =
        patches.iter().map(|asked| (asked.headers["content-range"].to_str().unwrap(), asked.body.len())).collect();
    assert_eq!(sent, [("0-8388607", chunk), ("4194304-8388607", chunk / 2), ("8388608-8388612", 5)]);
}

#[tokio::test]
async fn the_end_of_an_upload_whose_answer_was_lost_is_found_out() {
    let tries = AtomicUsize::new(0);
    let registry = Scripted::start(move |asked| match asked.line.split(' ').next() {
        Some("POST") => says(202, &[("location", "/up/0")], ""),
        Some("HEAD") => says(200, &[], ""),
        _ if tries.fetch_add(1, Ordering::Relaxed) == 0 => says(502, &[], ""),
        _ => says(404, &[], ""),
    })
    .await;
    let Ok(Opened::Upload(mut upload)) = registry.remote().open_upload("a", None).await else { panic!("it is opened") };
    upload.append(b"a").await.unwrap();
    assert_eq!(upload.finish(&digest()).await, Ok(()));
}

#[tokio::test]
async fn an_upload_at_another_host_gets_no_login_and_never_goes_out_of_encryption() {
    let other = Scripted::at(ELSEWHERE, None, |_| says(201, &[], "")).await;
    let location = format!("{}/up", other.url);
    let registry = Scripted::start(move |asked| match asked.authorization.as_str() {
        "" => challenged("Basic realm=\"x\""),
        _ => says(202, &[("location", &location)], ""),
    })
    .await;
    let remote = Remote::open(&registry.with_login()).unwrap();
    let Ok(Opened::Upload(upload)) = remote.open_upload("a", None).await else { panic!("it is opened") };
    assert_eq!(upload.finish(&digest()).await, Ok(()));
    assert_eq!((other.asked().len(), other.asked()[0].authorization.as_str()), (1, ""));

    let directory = tempfile::TempDir::new().unwrap();
    let (tls, ca) = certificate(directory.path());
    let plain = format!("{}/up", other.url);
    let encrypted =
        Scripted::at(IpAddr::V4(Ipv4Addr::LOCALHOST), Some(tls), move |_| says(202, &[("location", &plain)], "")).await;
    let remote = Remote::open(&RemoteSetting { ca: Some(ca), ..encrypted.setting() }).unwrap();
    let Err(Failure::Unusable(told)) = remote.open_upload("a", None).await else { panic!("it is not encrypted") };
    assert!(told.contains("that is not encrypted"), "{told}");
}

#[tokio::test]
async fn a_manifest_is_pushed_with_its_type_and_a_registry_that_is_busy_is_asked_again() {
    let tries = AtomicUsize::new(0);
    let registry = Scripted::start(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => says(503, &[], ""),
        1 => says(429, &[("retry-after", "1")], ""),
        2 => says(201, &[("oci-subject", "x")], ""),
        _ => says(400, &[], r#"{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}"#),
    })
    .await;
    let remote = registry.remote();
    assert_eq!(remote.put_manifest("a", "v1", INDEX, Bytes::from_static(b"{}")).await, Ok(true));
    let put = &registry.asked()[2];
    assert_eq!((put.line.as_str(), put.headers["content-type"].to_str().unwrap()), ("PUT /v2/a/manifests/v1", INDEX));
    let refused = remote.put_manifest("a", "v1", INDEX, Bytes::from_static(b"{}")).await;
    let told = "127.0.0.1 answers 400 to /v2/a/manifests/v1: MANIFEST_INVALID: no";
    assert_eq!(refused, Err(Failure::Unusable(told.into())));
}

//! The client of registries beside registries of others: one at `ORLOP_PEER`, which `tests/peers/client` starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use orlop::remote::{Failure, Get, Opened, Remote, Slice};
use orlop::settings::RemoteSetting;
use orlop_core::digest::{Algorithm, Digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// More than two chunks.
const LARGE: usize = 20 << 20;

/// Where in the first large chunk the connection is cut.
const CUT: usize = 3 << 20;

async fn push(remote: &Remote, repository: &str, bytes: &[u8]) -> Digest {
    try_push(remote, repository, bytes).await.unwrap()
}

async fn try_push(remote: &Remote, repository: &str, bytes: &[u8]) -> Result<Digest, Failure> {
    let digest = Algorithm::Sha256.digest(bytes);
    let opened = remote.open_upload(repository, None).await?;
    let Opened::Upload(mut upload) = opened else { panic!("nothing was to be mounted") };
    for piece in bytes.chunks(1 << 20) {
        upload.append(piece).await?;
    }
    upload.finish(&digest).await?;
    Ok(digest)
}

async fn pull(remote: &Remote, repository: &str, resource: &str, range: Option<Slice>) -> Bytes {
    let answer = remote.get(Get { repository, resource, accept: &[IMAGE], range, ..Get::default() }).await.unwrap();
    answer.body.collect_within(LARGE + 1).await.unwrap()
}

/// Passes connections on, and cuts the first one that has sent some MiB.
async fn cutting(to: String) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cut = Arc::new(AtomicBool::new(false));
    let told = cut.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            let cut = told.clone();
            tokio::spawn(async move {
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let (mut sent, mut buffer) = (0, vec![0; 64 << 10]);
                while let Ok(read) = from_client.read(&mut buffer).await {
                    sent += read;
                    let ends = sent > CUT && !cut.swap(true, Ordering::Relaxed);
                    if read == 0 || ends || to_server.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
                back.abort();
            });
        }
    });
    (url, cut)
}

#[tokio::test]
#[ignore = "needs another registry: `tests/run peers`"]
async fn another_registry_is_pushed_to_pulled_from_and_listed() {
    let url = std::env::var("ORLOP_PEER").expect("ORLOP_PEER is the URL of a registry");
    let remote = Remote::open(&RemoteSetting::new(&url).unwrap()).unwrap();
    let large: Vec<u8> = (0..u32::try_from(LARGE / 4).unwrap()).flat_map(u32::to_le_bytes).collect();
    let digest = push(&remote, "client/a", &large).await;
    let blob = format!("blobs/{digest}");
    assert!(remote.has("client/a", &blob, &[]).await.unwrap().is_some());
    assert!(pull(&remote, "client/a", &blob, None).await == large);
    let some = pull(&remote, "client/a", &blob, Some(Slice { first: 5, last: Some(9) })).await;
    assert!(some == large[5..10] || some == large, "a slice or, where there are none, everything");

    // Mounted, or opened in the place of that, which the specification allows.
    match remote.open_upload("client/b", Some((&digest, "client/a"))).await.unwrap() {
        Opened::Mounted => assert!(remote.has("client/b", &blob, &[]).await.unwrap().is_some()),
        Opened::Upload(upload) => upload.abort().await,
    }

    let config = push(&remote, "client/a", b"{}").await;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{LARGE}}}]}}"#
    );
    let mut tags = Vec::new();
    for n in 0..30 {
        tags.push(format!("v{n:02}"));
        remote.put_manifest("client/a", &tags[n], IMAGE, Bytes::from(manifest.clone())).await.unwrap();
    }
    assert_eq!(pull(&remote, "client/a", "manifests/v00", None).await, manifest);
    let mut listed = remote.tags("client/a").await.unwrap();
    listed.sort_unstable();
    assert_eq!(listed, tags);
    let subject = Algorithm::Sha256.digest(manifest.as_bytes());
    assert_eq!(remote.referrers("client/a", &subject).await.unwrap(), []);

    // A connection that is cut in the middle of a chunk.
    let (through, cut) = cutting(url.trim_start_matches("http://").trim_end_matches('/').to_owned()).await;
    let cutting = Remote::open(&RemoteSetting::new(&through).unwrap()).unwrap();
    let other: Vec<u8> = large.iter().map(|byte| !byte).collect();
    let digest = match try_push(&cutting, "client/cut", &other).await {
        Ok(digest) => digest,
        // Docker's registry 2 and that of crane forget the session: then it is begun anew.
        Err(_) => push(&cutting, "client/cut", &other).await,
    };
    assert!(cut.load(Ordering::Relaxed));
    assert!(pull(&remote, "client/cut", &format!("blobs/{digest}"), None).await == other);
}

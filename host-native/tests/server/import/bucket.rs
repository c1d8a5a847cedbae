//! `orlop import s3`, from a bucket that a directory stands for (SPEC Y70–Y74).

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use orlop_core::digest::Digest;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::directory::{Directory, config, sha256, write};
use super::s3::S3;
use super::{Everything, everything, has_blob, imported, pulled};
use crate::started::{Started, orlop};

const URL: &str = "s3://bucket/root";

/// What a bucket answers in the place of its own answer to a request for that target, the how manieth it is.
type Instead = fn(&str, usize) -> Option<(u16, &'static str, &'static str)>;

fn import(bucket: &S3, url: &str, data: &Path, flags: &[&str]) -> Output {
    let mut program = orlop("import s3", data);
    // What the machine has is none of the test's.
    program.env("AWS_EC2_METADATA_DISABLED", "true").arg(url).args(bucket.flags()).args(flags).output().unwrap()
}

#[track_caller]
fn taken(bucket: &S3, data: &Path, flags: &[&str]) -> Json {
    let output = import(bucket, URL, data, &[&["--json"], flags].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(status: i32, bucket: &S3, url: &str, flags: &[&str]) -> String {
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    let output = import(bucket, url, &data, flags);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(!data.exists(), "something was changed");
    String::from_utf8(output.stderr).unwrap()
}

/// The files of a directory that was not written to for an hour.
fn age(directory: &Directory) {
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    for path in directory.all().keys().filter(|path| path.is_file()) {
        fs::File::options().append(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
}

fn checked(data: &Path) -> Json {
    let checked = orlop("check --json", data).output().unwrap();
    serde_json::from_slice(&checked.stdout).unwrap()
}

/// SPEC Y70, Y71: all that the directory has is there, byte for byte, with the same report; again, there is nothing to take.
#[test]
fn a_bucket_is_imported_and_served() {
    let Everything { directory, index, docker, shapeless, long, signature, untagged } = everything();
    let bucket = S3::of(directory.path());
    let place = TempDir::new().unwrap();
    let (data, other) = (place.path().join("data"), place.path().join("other"));
    let dry = taken(&bucket, &data, &["--dry-run"]);
    assert!(!data.exists());
    let report = taken(&bucket, &data, &[]);
    let from_directory = imported(&directory, &other, &["--read-only"]);
    let counts = ["repositories", "blobs", "blob_bytes", "links", "manifests", "tags", "broken"];
    for count in counts {
        assert_eq!((&report[count], &dry[count]), (&from_directory[count], &from_directory[count]), "{count}");
    }
    assert_eq!(report["kinds"], json!({ "upload": 1 }));
    assert_eq!(report["findings"], from_directory["findings"]);
    let before = bucket.requests.load(std::sync::atomic::Ordering::Relaxed);
    let again = taken(&bucket, &data, &["--read-only"]);
    assert_eq!(["blobs", "links", "manifests", "tags"].map(|count| again[count].as_u64().unwrap()), [0; 4]);
    assert_eq!(again["tags_same"], report["tags"]);
    let asked = bucket.requests.load(std::sync::atomic::Ordering::Relaxed) - before;
    let server = Started::on(&data, &[]);
    let bytes = |digest: &Digest| fs::read(directory.data(digest)).unwrap();
    for (name, reference, digest) in [
        ("team/app", "latest", &index),
        ("docker", "v1", &docker),
        ("shapeless", "v1", &shapeless),
        ("long", "v1", &long),
        ("long", &signature.to_string(), &signature),
        ("deep/er/and/deep-er", &untagged.to_string(), &untagged),
    ] {
        assert_eq!(pulled(&server, name, reference).1, bytes(digest), "{name} {reference}");
    }
    has_blob(&server, "docker", b"amd64");
    drop(server);
    assert_eq!(checked(&data)["problems"], 0);
    // Nothing is read but names and tags: some pages for each repository, twice.
    assert!(asked < 250, "{asked} requests");
}

/// SPEC Y71: bytes are hashed while they are copied; wrong ones are left out, and what needs them is named.
#[test]
fn wrong_bytes_are_found_while_they_are_copied() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    directory.image("app", "v2", "arm64", b"the layer");
    directory.image("sound", "v1", "amd64", b"another layer");
    directory.put(&sha256("the layer"), b"the lazer");
    let bucket = S3::of(directory.path());
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    let report = taken(&bucket, &data, &[]);
    assert_eq!(report["kinds"], json!({ "blob-digest": 1 }), "{report:#}");
    assert_eq!(report["findings"][0]["what"], format!("blob app@{}", sha256("the layer")));
    assert_eq!(report["findings"][0]["images"], json!(["app:v1", "app:v2"]));
    let server = Started::on(&data, &[]);
    assert_eq!(server.get(&format!("/v2/app/blobs/{}", sha256("the layer"))).status, 404);
    assert_eq!(server.get("/v2/sound/manifests/v1").status, 200);
    has_blob(&server, "sound", b"another layer");
    drop(server);
    let inventory = orlop("gc", &data).output().unwrap();
    assert!(inventory.status.success());
    // Before anything is changed, if that is asked for.
    for flags in [&["--strict"][..], &["--strict", "--verify"], &["--strict", "--dry-run"]] {
        let told = refused(3, &bucket, URL, flags);
        assert!(told.contains("1 thing is broken there"), "{told}");
    }
    // With the right bytes there, the next import mends it.
    directory.put(&sha256("the layer"), b"the layer");
    assert_eq!(taken(&bucket, &data, &[])["blobs"], 1);
    has_blob(&Started::on(&data, &[]), "app", b"the layer");
}

/// SPEC Y71: what was sound when everything was looked at, and is not when it is copied, fails a strict import too.
#[test]
fn a_strict_import_fails_for_what_breaks_meanwhile() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    directory.image("sound", "v1", "amd64", b"another layer");
    let layer = format!("{}/data", sha256("the layer").encoded());
    // Its size is asked for, it is hashed, and it is copied.
    let asked = AtomicUsize::new(0);
    let bucket = S3::that(directory.path(), move |target, _| {
        let copied = target.ends_with(&layer) && asked.fetch_add(1, Ordering::Relaxed) >= 2;
        copied.then_some((200, "Last-Modified: Fri, 27 Nov 2026 00:00:00 GMT\r\nETag: \"9\"\r\n", "others"))
    });
    let place = TempDir::new().unwrap();
    let output = import(&bucket, URL, place.path(), &["--strict"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(told.contains("1 thing is broken there") && told.contains("the rest was imported"), "{told}");
    has_blob(&Started::on(place.path(), &[]), "sound", b"another layer");
}

/// SPEC Y72: a request that fails is made again.
#[test]
fn a_bucket_that_falters_is_imported_all_the_same() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    directory.image("other", "v1", "amd64", b"another layer");
    let bucket = S3::that(directory.path(), |_, nth| (nth % 5 == 4).then_some((503, "", "SlowDown")));
    let place = TempDir::new().unwrap();
    let report = taken(&bucket, place.path(), &[]);
    assert_eq!((&report["tags"], &report["broken"]), (&json!(2), &json!(0)));
    assert_eq!(checked(place.path())["problems"], 0);
}

/// SPEC Y73: what keeps a bucket from being read is told in words, and nothing is changed.
#[test]
fn a_bucket_that_cannot_be_read_is_refused_and_says_why() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    let bucket = S3::of(directory.path());
    let that = |instead: Instead| S3::that(directory.path(), instead);
    let config = sha256(config("amd64", b"the layer")).encoded();
    let hidden = S3::that(directory.path(), move |target, _| {
        target.contains(&format!("{config}/data")).then_some((403, "", "AccessDenied"))
    });
    for (bucket, url, says) in [
        (&bucket, "s3://another/root", "there is no such bucket"),
        (&bucket, "s3://bucket", "there is nothing under s3://bucket/docker/registry/v2"),
        (&bucket, "s3://bucket/root/docker", "what `rootdirectory` names"),
        (&bucket, "s3://", "names no bucket"),
        (&bucket, "https://bucket/root", "write s3://BUCKET"),
        (&that(|_, _| Some((403, "", "AccessDenied"))), URL, "s3:ListBucket"),
        (&that(|_, _| Some((403, "", "InvalidAccessKeyId"))), URL, "the credentials are not accepted"),
        (&that(|_, _| Some((301, "", "PermanentRedirect"))), URL, "--source-option region=NAME"),
        (&that(|_, _| Some((400, "", "AuthorizationHeaderMalformed"))), URL, "--source-option region=eu-north-7"),
        (&S3 { port: 1, requests: std::sync::Arc::default() }, URL, "cannot be listed"),
        (&hidden, URL, "s3:GetObject"),
    ] {
        let told = refused(1, bucket, url, &[]);
        assert!(told.contains(says), "{url}: {told}");
    }
    let place = TempDir::new().unwrap();
    let unknown = import(&bucket, URL, &place.path().join("data"), &["--source-option", "colour=blue"]);
    let told = String::from_utf8(unknown.stderr).unwrap();
    assert!(told.contains("--source-option: there is no option `colour`"), "{told}");
}

/// SPEC Y74: a bucket into which an upload went a moment ago is refused, unless that is known.
#[test]
fn a_bucket_that_is_written_to_is_refused() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    age(&directory);
    write(&directory.repository("app").join("_uploads/6f5902ac-237c-4f0a-9fd8-5b3b1f9f5d2e/startedat"), b"now");
    let bucket = S3::of(directory.path());
    let told = refused(1, &bucket, URL, &[]);
    assert!(told.contains("is being written to") && told.contains("--live"), "{told}");
    for flag in ["--live", "--read-only"] {
        let place = TempDir::new().unwrap();
        assert_eq!(taken(&bucket, place.path(), &[flag])["tags"], 1, "{flag}");
    }
}

//! `orlop import distribution`, from directories that are made by hand.

mod broken;
mod bucket;
pub(crate) mod directory;
mod s3;
mod unverified;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Output;

use orlop_core::digest::{Algorithm, Digest};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use self::directory::{
    CONFIG, DOCKER, DOCKER_LIST, Directory, LAYER, OCI, OCI_INDEX, ZSTD, config, descriptor, manifest, sha256,
};
use crate::started::{Started, orlop};

/// Imports into a data directory, which may be there already.
pub(crate) fn import(source: &Directory, data: &Path, flags: &[&str]) -> Output {
    orlop("import distribution", data).arg(source.path()).args(flags).output().unwrap()
}

/// The report of an import that ends well.
#[track_caller]
pub(crate) fn imported(source: &Directory, data: &Path, flags: &[&str]) -> Json {
    let output = import(source, data, &[&["--json"], flags].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What an import says that is refused, with this exit status.
#[track_caller]
fn refused(status: i32, source: &Directory, data: &Path, flags: &[&str]) -> String {
    let output = import(source, data, flags);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn pulled(server: &Started, name: &str, reference: &str) -> (String, Vec<u8>) {
    let accept = format!("Accept: {OCI}, {OCI_INDEX}, {DOCKER}, {DOCKER_LIST}\r\n");
    let answer = server.send_as(&accept, "GET", &format!("/v2/{name}/manifests/{reference}"), b"");
    assert_eq!(answer.status, 200, "{name} {reference}: {answer:?}");
    (answer.header("content-type").unwrap(), answer.body)
}

#[track_caller]
fn has_blob(server: &Started, name: &str, bytes: &[u8]) {
    let answer = server.get(&format!("/v2/{name}/blobs/{}", sha256(bytes)));
    assert_eq!((answer.status, answer.body.as_slice()), (200, bytes));
}

/// A registry with most of what there is.
struct Everything {
    directory: Directory,
    index: Digest,
    docker: Digest,
    shapeless: Digest,
    long: Digest,
    signature: Digest,
    untagged: Digest,
}

fn everything() -> Everything {
    let directory = Directory::new();
    let images: Vec<Digest> =
        ["amd64", "arm64"].iter().map(|a| directory.untagged_image("team/app", a, a.as_bytes())).collect();
    let sizes: Vec<u64> = images.iter().map(|image| fs::metadata(directory.data(image)).unwrap().len()).collect();
    let children: Vec<Json> = images
        .iter()
        .zip(sizes)
        .zip(["amd64", "arm64"])
        .map(|((digest, size), architecture)| {
            let platform = json!({ "architecture": architecture, "os": "linux" });
            json!({ "mediaType": OCI, "digest": digest.to_string(), "size": size, "platform": platform })
        })
        .collect();
    let document = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
    let index = directory.revision("team/app", document.to_string().as_bytes());
    directory.tag("team/app", "v1", &index);
    directory.tag("team/app", "latest", &index);
    // Docker's types, and a layer of zstd that another repository has too.
    let (bytes, zstd) = (config("amd64", b"docker"), b"amd64");
    let config_type = "application/vnd.docker.container.image.v1+json";
    directory.blob("docker", &bytes);
    directory.blob("docker", zstd);
    let document = manifest(Some(DOCKER), &descriptor(config_type, &bytes), &[descriptor(ZSTD, zstd)]);
    let docker = directory.revision("docker", document.to_string().as_bytes());
    directory.tag("docker", "v1", &docker);
    // A manifest that does not say what it is.
    let bytes = config("riscv64", b"shapeless");
    directory.blob("shapeless", &bytes);
    directory.blob("shapeless", b"shapeless");
    let document = manifest(None, &descriptor(CONFIG, &bytes), &[descriptor(LAYER, b"shapeless")]);
    let shapeless = directory.revision("shapeless", document.to_string().as_bytes());
    directory.tag("shapeless", "v1", &shapeless);
    // SHA-512, an empty blob, and a referrer.
    let bytes = b"{}";
    directory.blob("long", bytes);
    let empty = directory.blob_by(Algorithm::Sha512, "long", b"");
    let layer = json!({ "mediaType": "text/plain", "digest": empty.to_string(), "size": 0 });
    let mut document = manifest(Some(OCI), &descriptor("application/vnd.oci.empty.v1+json", bytes), &[layer]);
    let long = directory.revision_by(Algorithm::Sha512, "long", document.to_string().as_bytes());
    directory.tag("long", "v1", &long);
    let size = fs::metadata(directory.data(&long)).unwrap().len();
    document["subject"] = json!({ "mediaType": OCI, "digest": long.to_string(), "size": size });
    document["artifactType"] = json!("signature");
    let signature = directory.revision("long", document.to_string().as_bytes());
    let untagged = directory.untagged_image("deep/er/and/deep-er", "amd64", b"untagged");
    directory.upload("docker");
    Everything { directory, index, docker, shapeless, long, signature, untagged }
}

/// SPEC Y1–Y7, Y20, Y21: what was there is there, byte for byte, and the source is as it was.
#[test]
fn a_directory_is_imported_and_served() {
    let Everything { directory, index, docker, shapeless, long, signature, untagged } = everything();
    let before = directory.all();
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    let report = imported(&directory, &data, &["--read-only"]);
    assert_eq!(report["broken"], 0, "{report}");
    let counts = ["repositories", "blobs", "manifests", "tags", "copied"].map(|count| report[count].as_u64().unwrap());
    assert_eq!(counts, [5, 11, 8, 5, 0], "{report}");
    assert_eq!(report["kinds"], json!({ "upload": 1 }));
    assert!(directory.all() == before, "the source has changed");
    let server = Started::on(&data, &[]);
    let bytes = |digest: &Digest| fs::read(directory.data(digest)).unwrap();
    for (name, reference, media_type, digest) in [
        ("team/app", "v1", OCI_INDEX, &index),
        ("team/app", "latest", OCI_INDEX, &index),
        ("docker", "v1", DOCKER, &docker),
        ("shapeless", "v1", OCI, &shapeless),
        ("long", "v1", OCI, &long),
        ("long", &signature.to_string(), OCI, &signature),
        ("deep/er/and/deep-er", &untagged.to_string(), OCI, &untagged),
    ] {
        assert_eq!(pulled(&server, name, reference), (media_type.to_owned(), bytes(digest)), "{name} {reference}");
    }
    for (name, blob) in [("team/app", b"amd64".as_slice()), ("docker", b"amd64"), ("shapeless", b"shapeless")] {
        has_blob(&server, name, blob);
    }
    assert_eq!(server.get(&format!("/v2/shapeless/blobs/{}", sha256("amd64"))).status, 404, "another repository's");
    let empty = Algorithm::Sha512.digest(b"");
    assert_eq!(server.get(&format!("/v2/long/blobs/{empty}")).status, 200);
    let referrers: Json = serde_json::from_slice(&server.get(&format!("/v2/long/referrers/{long}")).body).unwrap();
    assert_eq!(referrers["manifests"][0]["digest"], signature.to_string());
    // An image that was pushed without a list has one for whoever takes nothing else, as if it had been pushed here.
    let list = server.send_as(&format!("Accept: {DOCKER_LIST}\r\n"), "GET", "/v2/docker/manifests/v1", b"");
    let list: Json = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["manifests"][0]["digest"], docker.to_string(), "{list}");
    drop(server);
    let checked = orlop("check --json", &data).output().unwrap();
    let checked: Json = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["problems"], 0, "{checked}");
}

/// SPEC Y21: blobs are linked, so that they take no space twice, and the inode stays as it is.
#[test]
fn blobs_are_linked_and_collecting_them_leaves_the_source() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    let layer = directory.data(&sha256("the layer"));
    let before = fs::metadata(&layer).unwrap();
    assert_eq!(before.nlink(), 1);
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    imported(&directory, &data, &["--read-only"]);
    assert_eq!(fs::metadata(&layer).unwrap().nlink(), 2);
    let server = Started::on(&data, &[]);
    let deleted = server.send("DELETE", &format!("/v2/app/blobs/{}", sha256("the layer")), b"");
    assert_eq!(deleted.status, 202);
    drop(server);
    assert!(orlop("gc", &data).output().unwrap().status.success());
    let after = fs::metadata(&layer).unwrap();
    assert_eq!((after.nlink(), after.uid(), after.mode()), (1, before.uid(), before.mode()));
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    assert_eq!(fs::read(&layer).unwrap(), b"the layer");
}

/// SPEC Y8–Y11, Y23: run again, it takes what is new.
#[test]
fn an_import_is_run_again_for_what_is_new() {
    let directory = Directory::new();
    let first = directory.image("app", "v1", "amd64", b"first");
    directory.image("app", "fixed", "amd64", b"first");
    directory.image("app", "pushed", "amd64", b"pushed there");
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    imported(&directory, &data, &["--live"]);
    let again = imported(&directory, &data, &["--read-only"]);
    let counts = |report: &Json| {
        ["blobs", "links", "manifests", "tags", "tags_moved", "tags_same"].map(|count| report[count].as_u64().unwrap())
    };
    assert_eq!(counts(&again), [0, 0, 0, 0, 0, 3], "{again}");
    // Here, a tag is pushed to another manifest; there, that tag and another one move, and one is new.
    let server = Started::on(&data, &[]);
    let own = fs::read(directory.data(&first)).unwrap();
    let pushed = server.send_as(&format!("Content-Type: {OCI}\r\n"), "PUT", "/v2/app/manifests/pushed", &own);
    assert_eq!(pushed.status, 201, "{pushed:?}");
    drop(server);
    let second = directory.image("app", "v1", "amd64", b"second");
    directory.image("app", "pushed", "amd64", b"second");
    directory.image("new", "v2", "arm64", b"first");
    let dry = imported(&directory, &data, &["--read-only", "--dry-run"]);
    let report = imported(&directory, &data, &["--read-only"]);
    assert_eq!(counts(&report), [3, 4, 2, 1, 1, 1], "{report}");
    assert_eq!(counts(&dry), counts(&report), "{dry}");
    assert_eq!(report["kinds"], json!({ "here": 1 }), "{report}");
    let server = Started::on(&data, &[]);
    assert_eq!(sha256(pulled(&server, "app", "v1").1), second);
    assert_eq!(sha256(pulled(&server, "app", "pushed").1), first);
    assert_eq!(sha256(pulled(&server, "app", "fixed").1), first);
    pulled(&server, "new", "v2");
}

/// SPEC Y22: a dry run says the same and leaves no trace.
#[test]
fn a_dry_run_changes_nothing_and_reports_the_same() {
    let Everything { directory, .. } = everything();
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    let before = directory.all();
    let mut dry = imported(&directory, &data, &["--read-only", "--dry-run"]);
    assert!(!data.exists());
    assert!(directory.all() == before, "the source has changed");
    let wet = imported(&directory, &data, &["--read-only"]);
    assert_eq!(dry["dry_run"], true);
    dry["dry_run"] = json!(false);
    assert_eq!(dry, wet);
}

/// SPEC Y24: what is not such a directory, and what is written to, is refused before anything is changed.
#[test]
fn what_is_no_directory_of_a_registry_is_refused() {
    let place = TempDir::new().unwrap();
    let (data, other) = (place.path().join("data"), place.path().join("other"));
    let run = |source: &Path| {
        let output = orlop("import distribution", &data).arg(source).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!data.exists());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&other).contains("there is no directory"), "{}", run(&other));
    fs::write(&other, "a file").unwrap();
    assert!(run(&other).contains("not a directory"));
    fs::remove_file(&other).unwrap();
    fs::create_dir(&other).unwrap();
    assert!(run(&other).contains("is empty"));
    fs::write(other.join("photo.jpg"), "").unwrap();
    assert!(run(&other).contains("is not the data directory of distribution"));
    fs::create_dir_all(other.join("docker/registry/v2/blobs/sha256")).unwrap();
    assert!(run(&other).contains("copy the directory as a whole"), "{}", run(&other));
    fs::create_dir_all(other.join("docker/registry/v2/repositories")).unwrap();
    assert!(
        orlop("import distribution", &data).arg(&other).output().unwrap().status.success(),
        "a registry without images"
    );
    let inside = orlop("import distribution", &other.join("docker/registry/v2/data")).arg(&other).output().unwrap();
    assert!(String::from_utf8_lossy(&inside.stderr).contains("one in the other"), "{inside:?}");
    let own = orlop("import distribution", &other.join("../more")).arg(&data).output().unwrap();
    assert!(String::from_utf8_lossy(&own.stderr).contains("is a data directory of Orlop"), "{own:?}");
}

/// SPEC Y24.
#[test]
fn a_directory_that_is_written_to_is_refused_unless_told() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"layer");
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    directory.upload("app");
    let file = directory.repository("app").join("_uploads/6f5902ac-237c-4f0a-9fd8-5b3b1f9f5d2e/data");
    {
        let _open = fs::File::open(directory.data(&sha256("layer"))).unwrap();
        let told = refused(1, &directory, &data, &[]);
        assert!(told.contains("has files open in it") && told.contains("--read-only"), "{told}");
    }
    imported(&directory, &place.path().join("first"), &[]);
    fs::write(&file, "more of it").unwrap();
    let told = refused(1, &directory, &data, &[]);
    assert!(told.contains("seconds ago"), "{told}");
    assert!(!data.exists());
    imported(&directory, &data, &["--live"]);
}

/// SPEC Y24: of a copy that ended early most is missing.
#[test]
fn a_directory_that_was_half_copied_is_refused() {
    let directory = Directory::new();
    for n in 0..4 {
        directory.image("app", &format!("v{n}"), "amd64", format!("layer {n}").as_bytes());
    }
    let fine = directory.image("app", "fine", "amd64", b"fine");
    fs::remove_dir_all(directory.root().join("blobs/sha256")).unwrap();
    directory.put(&sha256("fine"), b"fine");
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    let told = refused(1, &directory, &data, &["--read-only"]);
    assert!(told.contains("are missing") && told.contains("--incomplete"), "{told}");
    assert!(!data.exists());
    let report = imported(&directory, &data, &["--read-only", "--incomplete"]);
    assert_eq!(report["blobs"], 1, "{report}");
    assert!(!report.to_string().contains(&format!("tag app:fine: {fine}")));
}

/// SPEC Y25: a server keeps its data directory.
#[test]
fn a_server_keeps_its_directory() {
    let directory = Directory::new();
    let server = Started::with(&[]);
    let told = refused(1, &directory, server.data(), &["--read-only"]);
    assert!(told.contains("a server has"), "{told}");
}

/// SPEC Y12, Y13: what is imported beside what was pushed here leaves that as it is.
#[test]
fn what_was_pushed_here_stays() {
    let data = TempDir::new().unwrap();
    let server = Started::on(data.path(), &[]);
    let (answer, _) = server.push(b"shared");
    assert_eq!(answer.status, 201);
    drop(server);
    let directory = Directory::new();
    directory.image("a", "v1", "amd64", b"shared");
    let report = imported(&directory, data.path(), &["--read-only"]);
    assert_eq!((&report["blobs"], &report["manifests"]), (&json!(1), &json!(1)), "{report}");
    let server = Started::on(data.path(), &[]);
    has_blob(&server, "a", b"shared");
    pulled(&server, "a", "v1");
    drop(server);
    let checked = orlop("check", data.path()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// SPEC Y75: what is damaged here is brought anew by the next import, whose bytes are hashed, and by no wrong ones.
#[test]
fn an_import_brings_anew_what_is_damaged() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    imported(&directory, &data, &["--read-only"]);
    // The file here has another name there: it gets bytes of its own.
    let objects =
        fs::read_dir(data.join("objects")).unwrap().flat_map(|two| fs::read_dir(two.unwrap().path()).unwrap());
    let mut objects = objects.map(|object| object.unwrap().path());
    let object = objects.find(|object| fs::read(object).unwrap() == b"the layer").unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, b"the lazer").unwrap();
    let damaged = || String::from_utf8(orlop("damaged", &data).output().unwrap().stdout).unwrap();
    let scrubbed = orlop("scrub", &data).output().unwrap();
    assert!(damaged().contains(&sha256("the layer").to_string()), "{scrubbed:?} {}", damaged());
    directory.put(&sha256("the layer"), b"the lacer");
    let report = imported(&directory, &data, &["--read-only"]);
    assert_eq!((&report["blobs"], &report["kinds"]), (&json!(0), &json!({ "blob-digest": 1 })), "{report:#}");
    assert!(damaged().contains(&sha256("the layer").to_string()));
    directory.put(&sha256("the layer"), b"the layer");
    let report = imported(&directory, &data, &["--read-only"]);
    assert_eq!((&report["blobs"], &report["broken"]), (&json!(1), &json!(0)), "{report:#}");
    assert!(!damaged().contains(&sha256("the layer").to_string()), "{}", damaged());
    has_blob(&Started::on(&data, &[]), "app", b"the layer");
}

/// SPEC Y23: killed at any moment and run again, it ends as if it had not been killed.
#[test]
fn an_import_that_is_killed_is_gone_on_with() {
    let directory = Directory::new();
    let images: Vec<Digest> = (0..150)
        .map(|n| {
            directory.image(&format!("team/app{}", n % 7), &format!("v{n}"), "amd64", format!("layer {n}").as_bytes())
        })
        .collect();
    // An orphan is as old as its file.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 3600);
    for path in directory.all().into_keys().filter(|path| path.ends_with("data")) {
        fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let before = directory.all();
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    // Each later than the one before it, until one ends by itself.
    let mut kills = 0;
    for wait in (0..).map(|n| std::time::Duration::from_millis(3 * n)) {
        let mut importing =
            orlop("import distribution", &data).arg(directory.path()).arg("--read-only").spawn().unwrap();
        std::thread::sleep(wait);
        if importing.try_wait().unwrap().is_some() {
            break;
        }
        importing.kill().unwrap();
        importing.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0);
    let report = imported(&directory, &data, &["--read-only"]);
    assert_eq!((&report["tags"], &report["tags_same"]), (&json!(0), &json!(150)), "{report}");
    assert!(directory.all() == before, "the source has changed");
    let server = Started::on(&data, &[]);
    for (n, image) in images.iter().enumerate() {
        let name = format!("team/app{}", n % 7);
        assert_eq!(sha256(pulled(&server, &name, &format!("v{n}")).1), *image);
        has_blob(&server, &name, format!("layer {n}").as_bytes());
    }
    drop(server);
    // What the killed ones have left of their last pages is garbage, and nothing else is.
    assert!(orlop("gc", &data).output().unwrap().status.success());
    let checked = orlop("check", &data).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let objects = walk(&data.join("objects"));
    assert_eq!(objects, 300, "a layer and a configuration of each image");
}

/// How many files are below a directory.
fn walk(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}

/// SPEC Y21: root imports, another user serves; nothing of what is linked is changed, and what that user could not read is
/// copied.
#[test]
fn what_root_imports_belongs_to_the_owner_of_the_data_directory() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    let (layer, private) =
        (directory.data(&sha256("the layer")), directory.data(&sha256(config("amd64", b"the layer"))));
    fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let before = directory.all();
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(65_534), Some(65_534)).unwrap();
    let report = imported(&directory, &data, &["--read-only"]);
    assert_eq!(report["copied"], 1, "{report}");
    assert!(directory.all() == before, "the source has changed");
    assert_eq!((fs::metadata(&layer).unwrap().nlink(), fs::metadata(&private).unwrap().nlink()), (2, 1));
    let mut waiting = vec![data];
    let mut linked = 0;
    while let Some(path) = waiting.pop() {
        let metadata = fs::metadata(&path).unwrap();
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if metadata.is_file() && metadata.nlink() > 1 {
            assert_eq!(metadata.uid(), 0);
            linked += 1;
        } else {
            assert_eq!((metadata.uid(), metadata.gid()), (65_534, 65_534), "{}", path.display());
        }
    }
    assert_eq!(linked, 1);
}

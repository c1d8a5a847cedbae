//! Directories with something broken in them: what is broken is left out and listed, and the rest is there (SPEC Y26–Y28).

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use orlop_core::digest::{Algorithm, Digest};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::directory::{CONFIG, Directory, LAYER, OCI, OCI_INDEX, config, descriptor, manifest, sha256, write};
use super::{import, imported};
use crate::started::Started;

/// Something that is broken in a directory that has the image `app:broken`: what it is, the kind of the finding, something
/// that it says, whether the tag and the layer of the image are there all the same, and how it is broken. That gives what
/// the finding is about.
struct Case(&'static str, &'static str, &'static str, bool, bool, fn(&Directory) -> String);

const SHA384: &str = "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b";

fn image() -> (Vec<u8>, Digest) {
    let document =
        manifest(Some(OCI), &descriptor(CONFIG, &config("amd64", b"the layer")), &[descriptor(LAYER, b"the layer")]);
    let bytes = document.to_string().into_bytes();
    let digest = sha256(&bytes);
    (bytes, digest)
}

fn blob(digest: &Digest) -> String {
    format!("blob app@{digest}")
}

/// Puts this document in the place of the image of `app:broken`.
fn documented(directory: &Directory, document: impl AsRef<[u8]>) -> String {
    let digest = directory.revision("app", document.as_ref());
    directory.tag("app", "broken", &digest);
    format!("manifest app@{digest}")
}

fn layer_file(directory: &Directory) -> std::path::PathBuf {
    directory.data(&sha256("the layer"))
}

/// The image with another descriptor of its layer.
fn with_layer(directory: &Directory, layer: Json) -> String {
    let document = manifest(Some(OCI), &descriptor(CONFIG, &config("amd64", b"the layer")), &[layer]);
    documented(directory, document.to_string())
}

const CASES: &[Case] = &[
    Case("a layer link is empty", "empty-link", "its link is empty", true, false, |d| {
        fs::write(d.layer_link("app", &sha256("the layer")), "").unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer link has zeros", "empty-link", "its link is empty", true, false, |d| {
        fs::write(d.layer_link("app", &sha256("the layer")), [0; 71]).unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer link names another blob", "wrong-link", "its link names sha256:", true, false, |d| {
        fs::write(d.layer_link("app", &sha256("the layer")), sha256("x").to_string()).unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer link has other text", "wrong-link", "`not a digest`", true, false, |d| {
        fs::write(d.layer_link("app", &sha256("the layer")), "not a digest").unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer link is a directory", "wrong-link", "a directory", true, false, |d| {
        let link = d.layer_link("app", &sha256("the layer"));
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer link is gone", "incomplete", "does not hold it", true, false, |d| {
        fs::remove_file(d.layer_link("app", &sha256("the layer"))).unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer was never linked", "incomplete", "does not hold it", true, true, |d| {
        with_layer(d, descriptor(LAYER, b"never"));
        blob(&sha256("never"))
    }),
    Case("the bytes of a layer are missing", "blob-missing", "bytes are missing", true, false, |d| {
        fs::remove_file(layer_file(d)).unwrap();
        blob(&sha256("the layer"))
    }),
    Case("the directory of a layer is missing", "blob-missing", "bytes are missing", true, false, |d| {
        fs::remove_dir_all(layer_file(d).parent().unwrap()).unwrap();
        blob(&sha256("the layer"))
    }),
    Case("the bytes of a layer are a directory", "blob-missing", "bytes are missing", true, false, |d| {
        fs::remove_file(layer_file(d)).unwrap();
        fs::create_dir(layer_file(d)).unwrap();
        blob(&sha256("the layer"))
    }),
    Case(
        "the bytes of a layer are a symbolic link",
        "blob-missing",
        "behind a symbolic link, which is not followed",
        true,
        false,
        |d| {
            fs::remove_file(layer_file(d)).unwrap();
            symlink("/etc/hostname", layer_file(d)).unwrap();
            blob(&sha256("the layer"))
        },
    ),
    Case("a layer is empty", "blob-digest", "not those of its digest", true, false, |d| {
        fs::write(layer_file(d), "").unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer is cut short", "blob-size", "not the size", true, false, |d| {
        fs::write(layer_file(d), "the la").unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a layer is too long", "blob-size", "not the size", true, false, |d| {
        fs::write(layer_file(d), "the layer and more").unwrap();
        blob(&sha256("the layer"))
    }),
    Case("a manifest says a wrong size", "descriptor", "says that sha256:", true, true, |d| {
        let mut layer = descriptor(LAYER, b"the layer");
        layer["size"] = json!(1000);
        with_layer(d, layer)
    }),
    Case("a configuration has a wrong byte", "blob-digest", "not those of its digest", true, true, |d| {
        let bytes = config("amd64", b"the layer");
        let digest = sha256(&bytes);
        let mut wrong = bytes;
        wrong[3] ^= 1;
        d.put(&digest, &wrong);
        blob(&digest)
    }),
    Case("a configuration is missing", "blob-missing", "bytes are missing", true, true, |d| {
        let digest = sha256(config("amd64", b"the layer"));
        fs::remove_file(d.data(&digest)).unwrap();
        blob(&digest)
    }),
    Case("a manifest is missing", "blob-missing", "bytes are missing", false, true, |d| {
        fs::remove_file(d.data(&image().1)).unwrap();
        format!("manifest app@{}", image().1)
    }),
    Case("a manifest is empty", "blob-digest", "have another digest", false, true, |d| {
        d.put(&image().1, b"");
        format!("manifest app@{}", image().1)
    }),
    Case("a manifest has a wrong byte", "blob-digest", "have another digest", false, true, |d| {
        let (mut bytes, digest) = image();
        bytes[5] ^= 1;
        d.put(&digest, &bytes);
        format!("manifest app@{digest}")
    }),
    Case("a manifest is cut short", "blob-digest", "have another digest", false, true, |d| {
        let (bytes, digest) = image();
        d.put(&digest, &bytes[..40]);
        format!("manifest app@{digest}")
    }),
    Case("a manifest is no JSON", "manifest", "cannot be read", false, true, |d| {
        documented(d, "<html>not found</html>")
    }),
    Case("a manifest is no object", "manifest", "cannot be read", false, true, |d| documented(d, "[1, 2]")),
    Case("a manifest is no UTF-8", "manifest", "left out", false, true, |d| {
        documented(d, b"{\"schemaVersion\":2,\"mediaType\":\"\xff\"}")
    }),
    Case("a manifest is empty JSON", "manifest", "schemaVersion", false, true, |d| documented(d, "{}")),
    Case("a manifest of schema 1", "schema-one", "schema 1", false, true, |d| {
        documented(d, r#"{"schemaVersion":1,"name":"app","tag":"broken","fsLayers":[],"history":[],"signatures":[]}"#)
    }),
    Case("a manifest of schema 1 by its type", "schema-one", "schema 1", false, true, |d| {
        documented(d, r#"{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+prettyjws"}"#)
    }),
    Case("a manifest of an unknown type", "manifest", "no type of manifest", false, true, |d| {
        documented(d, r#"{"schemaVersion":2,"mediaType":"application/vnd.example+json","config":{},"layers":[]}"#)
    }),
    Case("a manifest that is an index too", "manifest", "two things at once", false, true, |d| {
        documented(d, r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#)
    }),
    Case("a manifest that names no digest", "manifest", "cannot be read", false, true, |d| {
        documented(d, r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"none","size":1},"layers":[]}"#)
    }),
    Case("a manifest that is too large", "manifest", "at most", false, true, |d| {
        documented(d, vec![b' '; (4 << 20) + 1])
    }),
    Case("a manifest link is empty", "empty-link", "its link is empty", false, true, |d| {
        fs::write(d.revision_link("app", &image().1), "").unwrap();
        format!("manifest app@{}", image().1)
    }),
    Case("a manifest link names another", "wrong-link", "its link names", false, true, |d| {
        fs::write(d.revision_link("app", &image().1), sha256("x").to_string()).unwrap();
        format!("manifest app@{}", image().1)
    }),
    Case("the manifest of a tag was deleted", "tag", "does not hold", false, true, |d| {
        fs::remove_file(d.revision_link("app", &image().1)).unwrap();
        "tag app:broken".into()
    }),
    Case("the manifest of a tag was never there", "tag", "does not hold", false, true, |d| {
        d.tag("app", "broken", &sha256("nothing"));
        "tag app:broken".into()
    }),
    Case("a tag names a blob", "tag", "does not hold", false, true, |d| {
        d.tag("app", "broken", &sha256("the layer"));
        "tag app:broken".into()
    }),
    Case("a tag link is empty", "empty-link", "its link is empty", false, true, |d| {
        fs::write(d.tag_link("app", "broken"), "").unwrap();
        "tag app:broken".into()
    }),
    Case("a tag link has other text", "wrong-link", "no digest in it", false, true, |d| {
        fs::write(d.tag_link("app", "broken"), "latest\n\u{1b}[31m").unwrap();
        "tag app:broken".into()
    }),
    Case("a tag has no current link", "tag", "no current link", false, true, |d| {
        fs::remove_file(d.tag_link("app", "broken")).unwrap();
        "tag app:broken".into()
    }),
    Case("a tag link names an unknown algorithm", "digest", "not known here", false, true, |d| {
        fs::write(d.tag_link("app", "broken"), format!("sha384:{SHA384}")).unwrap();
        "tag app:broken".into()
    }),
    Case("a tag can be no tag", "name", "no name of a tag", true, true, |d| {
        d.tag("app", "-broken", &image().1);
        "tag app:-broken".into()
    }),
    Case("a tag is too long", "name", "no name of a tag", true, true, |d| {
        let long = "t".repeat(129);
        d.tag("app", &long, &image().1);
        format!("tag app:{long}")
    }),
    Case("a tag is a file", "unexpected", "does not belong there", true, true, |d| {
        let file = d.repository("app").join("_manifests/tags/file");
        fs::write(&file, "").unwrap();
        file.canonicalize().unwrap().display().to_string()
    }),
    Case("a blob of an unknown algorithm", "digest", "algorithms known here", true, true, |d| {
        write(&d.repository("app").join(format!("_layers/sha384/{SHA384}/link")), SHA384.as_bytes());
        format!("blob app@sha384:{SHA384}")
    }),
    Case("a blob whose digest is cut short", "digest", "this is none", true, true, |d| {
        write(&d.repository("app").join("_layers/sha256/abcd/link"), b"sha256:abcd");
        "blob app@sha256:abcd".into()
    }),
    Case("a manifest whose digest is in capitals", "digest", "this is none", true, true, |d| {
        let hex = "AB".repeat(32);
        write(&d.repository("app").join(format!("_manifests/revisions/sha256/{hex}/link")), b"");
        format!("manifest app@sha256:{hex}")
    }),
    Case("a blob link that is no directory", "unexpected", "does not belong there", true, true, |d| {
        let file = d.repository("app").join(format!("_layers/sha256/{}", sha256("file").encoded()));
        fs::write(&file, "").unwrap();
        file.canonicalize().unwrap().display().to_string()
    }),
    Case("a repository with capitals", "name", "lower-case", true, true, |d| {
        d.image("Team/App", "v1", "amd64", b"other");
        "repository Team/App".into()
    }),
    Case("a repository with a space", "name", "lower-case", true, true, |d| {
        d.image("my app", "v1", "amd64", b"other");
        "repository my app".into()
    }),
    Case("a repository whose name is too long", "name", "255 at most", true, true, |d| {
        let name = vec!["a".repeat(100); 3].join("/");
        d.image(&name, "v1", "amd64", b"other");
        format!("repository {name}")
    }),
    Case("a file among the repositories", "unexpected", "does not belong there", true, true, |d| {
        let file = d.root().join("repositories/README");
        fs::write(&file, "").unwrap();
        file.canonicalize().unwrap().display().to_string()
    }),
    Case("a repository that is a symbolic link", "unexpected", "symbolic link", true, true, |d| {
        let link = d.root().join("repositories/link");
        symlink(d.repository("app"), &link).unwrap();
        d.root().canonicalize().unwrap().join("repositories/link").display().to_string()
    }),
    Case("an index lists a manifest that is gone", "incomplete", "does not hold", true, true, |d| {
        let gone = descriptor(OCI, b"gone");
        documented(d, json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [gone] }).to_string());
        blob(&sha256("gone"))
    }),
    Case(
        "an index lists a manifest that was deleted",
        "incomplete",
        "which the repository does not hold",
        true,
        true,
        |d| {
            let (bytes, digest) = image();
            fs::remove_file(d.revision_link("app", &digest)).unwrap();
            documented(
                d,
                json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI, &bytes)] })
                    .to_string(),
            )
        },
    ),
    Case("an index lists a manifest that is broken", "incomplete", "which is broken", true, true, |d| {
        let (bytes, digest) = image();
        d.put(&digest, b"{}");
        documented(
            d,
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI, &bytes)] }).to_string(),
        )
    }),
    Case("the bytes of a blob of SHA-512 are others", "blob-size", "not the size", true, true, |d| {
        let digest = d.blob_by(Algorithm::Sha512, "app", b"long");
        d.put(&digest, b"lon");
        with_layer(d, json!({ "mediaType": LAYER, "digest": digest.to_string(), "size": 4 }));
        blob(&digest)
    }),
];

/// SPEC Y26, Y27: each is listed with what it is about, and what is sound in the same repository and elsewhere is there.
#[test]
fn what_is_broken_is_left_out_and_listed() {
    assert!(CASES.len() >= 40);
    // Each waits for the disk more than for a processor.
    std::thread::scope(|scope| {
        for cases in CASES.chunks(CASES.len().div_ceil(4)) {
            scope.spawn(move || left_out(cases));
        }
    });
}

#[track_caller]
fn left_out(cases: &[Case]) {
    for Case(what, kind, says, tag, layer, breaks) in cases {
        let directory = Directory::new();
        directory.image("app", "broken", "amd64", b"the layer");
        directory.image("app", "fine", "arm64", b"another layer");
        directory.image("sound", "v1", "amd64", b"another layer");
        let about = breaks(&directory);
        let place = TempDir::new().unwrap();
        let data = place.path().join("data");
        let dry = imported(&directory, &data, &["--read-only", "--dry-run"]);
        let report = imported(&directory, &data, &["--read-only"]);
        assert_eq!(dry["findings"], report["findings"], "{what}");
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["kind"] == *kind && finding["what"] == about.as_str());
        let Some(finding) = finding else { panic!("{what}: {about} is not found: {report:#}") };
        assert!(finding["problem"].as_str().unwrap().contains(says), "{what}: {finding}");
        let server = Started::on(&data, &[]);
        let status = |target: String| server.send("HEAD", &target, b"").status;
        let there = |there: bool| if there { 200 } else { 404 };
        assert_eq!(status("/v2/app/manifests/broken".into()), there(*tag), "{what}: {report:#}");
        assert_eq!(status(format!("/v2/app/blobs/{}", sha256("the layer"))), there(*layer), "{what}");
        for sound in ["/v2/app/manifests/fine", "/v2/sound/manifests/v1"] {
            assert_eq!(status(sound.into()), 200, "{what}: {sound}");
        }
        for name in ["app", "sound"] {
            assert_eq!(status(format!("/v2/{name}/blobs/{}", sha256("another layer"))), 200, "{what}: {name}");
        }
        // The images that need a blob are named.
        if about.starts_with("blob app@") && *kind != "digest" {
            assert!(finding["images"].to_string().contains("app:broken"), "{what}: {finding}");
        }
        // With --strict it is refused before anything is changed, unless nothing is broken.
        let fresh = place.path().join("strict");
        let strict = import(&directory, &fresh, &["--read-only", "--strict"]);
        let broken = report["broken"].as_u64().unwrap() > 0;
        assert_eq!(strict.status.code(), Some(if broken { 3 } else { 0 }), "{what}: {strict:?}");
        assert_eq!(fresh.exists(), !broken, "{what}");
    }
}

/// SPEC Y28: a flipped bit in a layer is found by --verify, and the images that need it are named.
#[test]
fn a_flipped_bit_is_found_by_verifying() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    directory.image("app", "v2", "arm64", b"the layer");
    directory.image("sound", "v1", "amd64", b"another layer");
    directory.put(&sha256("the layer"), b"the lazer");
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    let unverified = imported(&directory, &place.path().join("unverified"), &["--read-only"]);
    assert_eq!(unverified["broken"], 0);
    let report = imported(&directory, &data, &["--read-only", "--verify"]);
    assert_eq!(report["kinds"], json!({ "blob-digest": 1 }));
    assert_eq!(report["findings"][0]["what"], blob(&sha256("the layer")));
    assert_eq!(report["findings"][0]["images"], json!(["app:v1", "app:v2"]));
    let server = Started::on(&data, &[]);
    assert_eq!(server.get(&format!("/v2/app/blobs/{}", sha256("the layer"))).status, 404);
    assert_eq!(server.get("/v2/sound/manifests/v1").status, 200);
}

/// SPEC Y26: a manifest that lacks something is mended by a push of that.
#[test]
fn a_push_mends_what_was_missing() {
    let directory = Directory::new();
    directory.image("a", "v1", "amd64", b"the layer");
    directory.image("a", "v2", "amd64", b"another layer");
    fs::remove_file(directory.data(&sha256("the layer"))).unwrap();
    let data = TempDir::new().unwrap();
    imported(&directory, data.path(), &["--read-only"]);
    let server = Started::on(data.path(), &[]);
    let (answer, path) = server.push(b"the layer");
    assert_eq!(answer.status, 201);
    assert_eq!(server.get(&path).body, b"the layer");
}

/// SPEC Y22: the report goes to a file too, and as text.
#[test]
fn a_report_is_written_to_a_file() {
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"the layer");
    directory.tag("app", "lost", &sha256("nothing"));
    let place = TempDir::new().unwrap();
    let file = place.path().join("report.json");
    let output = import(&directory, &place.path().join("data"), &["--read-only", "--report", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("tag app:lost: it names sha256:") && text.contains("1 thing is broken there"), "{text}");
    let report: Json = serde_json::from_reader(File::open(file).unwrap()).unwrap();
    assert_eq!(report["findings"][0]["what"], "tag app:lost");
}

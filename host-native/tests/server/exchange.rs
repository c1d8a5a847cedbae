//! `orlop export`, and the imports that are copies: from layouts, archives and registries.

mod foreign;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use orlop_core::digest::{Algorithm, Digest};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::import::directory::{CONFIG, LAYER, OCI, OCI_INDEX, config, descriptor, manifest, sha256};
use crate::started::Started;

/// `orlop WORDS --data DATA`, without any login that this machine may have.
fn orlop(words: &[&str], data: Option<&Path>) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
    program.args(words).stdin(Stdio::null()).env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
    program.env_remove("XDG_CONFIG_HOME").env("HOME", "/nonexistent").env("DOCKER_CONFIG", "/nonexistent");
    program.args(data.map(|data| format!("--data={}", data.display())));
    program.output().unwrap()
}

/// The report of a command that ends well.
#[track_caller]
fn done(words: &[&str], data: Option<&Path>) -> Json {
    let output = orlop(&[words, &["--json"]].concat(), data);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command says that does not, with this exit status.
#[track_caller]
fn failed(status: i32, words: &[&str], data: Option<&Path>) -> String {
    let output = orlop(words, data);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// What was pushed to a registry.
struct Pushed {
    image: Digest,
    index: Digest,
    loose: Digest,
    signature: Digest,
}

fn layer(seed: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
}

fn push_blob(server: &Started, name: &str, bytes: &[u8]) {
    let target = format!("/v2/{name}/blobs/uploads/?digest={}", sha256(bytes));
    assert_eq!(server.send("POST", &target, bytes).status, 201);
}

fn push_manifest(server: &Started, name: &str, reference: Option<&str>, media_type: &str, document: &Json) -> Digest {
    let bytes = document.to_string().into_bytes();
    let digest = sha256(&bytes);
    let reference = reference.map_or_else(|| digest.to_string(), str::to_owned);
    let fields = format!("Content-Type: {media_type}\r\n");
    let answer = server.send_as(&fields, "PUT", &format!("/v2/{name}/manifests/{reference}"), &bytes);
    assert_eq!(answer.status, 201, "{answer:?}");
    digest
}

fn image(server: &Started, name: &str, reference: Option<&str>, seed: u8, size: usize) -> (Digest, Json) {
    let layer = layer(seed, size);
    let config = config("amd64", &layer);
    push_blob(server, name, &layer);
    push_blob(server, name, &config);
    let document = manifest(Some(OCI), &descriptor(CONFIG, &config), &[descriptor(LAYER, &layer)]);
    (push_manifest(server, name, reference, OCI, &document), document)
}

/// Two repositories with all that one has: tags, an index, what no tag leads to, a signature of it.
fn filled(server: &Started) -> Pushed {
    let (image_digest, document) = image(server, "team/app", Some("v1"), 1, 300_000);
    let child = descriptor(OCI, document.to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] });
    let index = push_manifest(server, "team/app", Some("all"), OCI_INDEX, &index);
    let (loose, document) = image(server, "team/app", None, 2, 100);
    push_blob(server, "team/app", b"{}");
    let mut signature = manifest(Some(OCI), &descriptor(CONFIG, b"{}"), &[]);
    signature["subject"] = descriptor(OCI, document.to_string().as_bytes());
    signature["artifactType"] = "application/vnd.example.signature".into();
    let signature = push_manifest(server, "team/app", None, OCI, &signature);
    image(server, "other", Some("v1"), 1, 300_000);
    image(server, "other", Some("v2"), 3, 20);
    Pushed { image: image_digest, index, loose, signature }
}

/// Everything that can be pulled, by what it was asked for.
fn pulled(server: &Started, pushed: &Pushed) -> BTreeMap<String, Vec<u8>> {
    let accept = format!("Accept: {OCI}, {OCI_INDEX}\r\n");
    let mut all = BTreeMap::new();
    let mut get = |target: String| {
        let answer = server.send_as(&accept, "GET", &target, b"");
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        all.insert(target, answer.body);
    };
    for (name, references) in [
        (
            "team/app",
            vec![
                "v1".to_owned(),
                "all".into(),
                pushed.loose.to_string(),
                pushed.image.to_string(),
                pushed.signature.to_string(),
            ],
        ),
        ("other", vec!["v1".into(), "v2".into()]),
    ] {
        references.iter().for_each(|reference| get(format!("/v2/{name}/manifests/{reference}")));
    }
    for (name, seed, size) in [("team/app", 1, 300_000), ("team/app", 2, 100), ("other", 1, 300_000), ("other", 3, 20)]
    {
        get(format!("/v2/{name}/blobs/{}", sha256(layer(seed, size))));
    }
    all
}

fn referrers(server: &Started, subject: &Digest) -> Vec<String> {
    let answer = server.get(&format!("/v2/team/app/referrers/{subject}"));
    let index: Json = serde_json::from_slice(&answer.body).unwrap();
    index["manifests"].as_array().unwrap().iter().map(|one| one["digest"].as_str().unwrap().to_owned()).collect()
}

/// A data directory with that, whose server has stopped.
fn directory() -> (TempDir, PathBuf, Pushed, BTreeMap<String, Vec<u8>>) {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let server = Started::on(&data, &[]);
    let pushed = filled(&server);
    let all = pulled(&server, &pushed);
    drop(server);
    (directory, data, pushed, all)
}

/// A server on that directory has all of it.
#[track_caller]
fn check_same(data: &Path, pushed: &Pushed, all: &BTreeMap<String, Vec<u8>>) {
    let server = Started::on(data, &[]);
    assert_eq!(pulled(&server, pushed), *all);
    assert_eq!(referrers(&server, &pushed.loose), [pushed.signature.to_string()]);
    let tags = |name: &str| server.get(&format!("/v2/{name}/tags/list")).body;
    assert_eq!(tags("other"), br#"{"name":"other","tags":["v1","v2"]}"#);
}

#[test]
fn a_registry_goes_into_a_layout_and_comes_back_as_it_was() {
    let (home, data, pushed, all) = directory();
    let (out, tar) = (home.path().join("out"), home.path().join("out.tar"));
    let (out, tar) = (out.to_str().unwrap(), tar.to_str().unwrap());
    let dry = done(&["export", "oci", out, "--dry-run"], Some(&data));
    assert_eq!((&dry["images"], &dry["repositories"]), (&json!(5), &json!(2)));
    assert!(!Path::new(out).exists());
    let report = done(&["export", "oci", out], Some(&data));
    assert_eq!((&report["images"], &report["manifests"]), (&json!(5), &json!(6)), "{report}");
    let again = done(&["export", "oci", out], Some(&data));
    assert_eq!((&again["manifests"], &again["blobs"]["copied"]), (&json!(0), &json!(0)), "{again}");
    done(&["export", "oci", tar], Some(&data));
    for (number, layout) in [out, tar].into_iter().enumerate() {
        let back = home.path().join(format!("back-{number}"));
        let dry = done(&["import", "oci", layout, "--dry-run"], Some(&back));
        assert_eq!(dry["images"], 5, "{dry}");
        assert!(!back.exists());
        let report = done(&["import", "oci", layout], Some(&back));
        assert_eq!((&report["images"], &report["failures"]), (&json!(5), &json!([])), "{report}");
        let again = done(&["import", "oci", layout], Some(&back));
        assert_eq!((&again["manifests"], &again["blobs"]["copied"]), (&json!(0), &json!(0)), "{again}");
        check_same(&back, &pushed, &all);
    }
    // Of what is exported, each image has its whole name.
    let index = fs::read_to_string(Path::new(out).join("index.json")).unwrap();
    assert!(index.contains("\"team/app:all\"") && index.contains(&format!("\"team/app@{}\"", pushed.loose)), "{index}");
    assert!(index.contains(&pushed.index.to_string()), "{index}");
}

/// Everything in a directory that does not belong to the user and group 65534.
fn of_others(directory: &Path) -> Vec<PathBuf> {
    let (mut waiting, mut found) = (vec![directory.to_owned()], Vec::new());
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if (metadata.uid(), metadata.gid()) != (65_534, 65_534) {
            found.push(path);
        }
    }
    found
}

/// Root imports into an empty directory of another user, who serves it then.
#[test]
fn what_root_imports_belongs_to_who_serves() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (home, data, _, _) = directory();
    let out = home.path().join("out");
    let out = out.to_str().unwrap();
    done(&["export", "oci", out], Some(&data));
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    std::os::unix::fs::chown(&back, Some(65_534), Some(65_534)).unwrap();
    for _ in 0..2 {
        done(&["import", "oci", out], Some(&back));
        assert_eq!(of_others(&back), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_registry_goes_into_a_directory_of_distribution_and_comes_back_as_it_was() {
    let (home, data, pushed, all) = directory();
    for (number, flags) in [&[][..], &["--copy"]].into_iter().enumerate() {
        let out = home.path().join(format!("out-{number}"));
        let words = [&["export", "distribution", out.to_str().unwrap()][..], flags].concat();
        let dry = done(&[&words[..], &["--dry-run"]].concat(), Some(&data));
        assert_eq!(dry["images"], 5, "{dry}");
        assert!(!out.exists());
        let report = done(&words, Some(&data));
        assert_eq!((&report["images"], &report["failures"]), (&json!(5), &json!([])), "{report}");
        // One layer is a file; the small ones are records.
        assert_eq!(report["blobs"]["linked"], u64::from(flags.is_empty()), "{report}");
        let again = done(&words, Some(&data));
        assert_eq!((&again["manifests"], &again["blobs"]["copied"]), (&json!(0), &json!(0)), "{again}");
        let blob = sha256(layer(1, 300_000)).encoded();
        let stored = out.join("docker/registry/v2/blobs/sha256").join(&blob[..2]).join(&blob).join("data");
        assert_eq!(fs::read(stored).unwrap(), layer(1, 300_000));
        let back = home.path().join(format!("back-{number}"));
        let words = ["import", "distribution", out.to_str().unwrap(), "--read-only", "--copy"];
        done(&words, Some(&back));
        check_same(&back, &pushed, &all);
        check_same(&data, &pushed, &all);
    }
}

#[test]
fn repositories_are_chosen_and_a_running_server_is_spoken_to() {
    let home = TempDir::new().unwrap();
    let (one, two) = (Started::with(&[]), Started::with(&[]));
    let pushed = filled(&one);
    let out = home.path().join("out");
    let out = out.to_str().unwrap();
    let told = failed(1, &["export", "oci", out], Some(one.data()));
    assert!(told.contains("a server has") && told.contains("--registry"), "{told}");
    let report = done(&["export", "oci", out, "--registry", one.address(), "team/**"], None);
    assert_eq!((&report["repositories"], &report["images"]), (&json!(1), &json!(2)), "{report}");
    let report = done(&["import", "oci", out, "--registry", two.address(), "--repository", "all/of-it"], None);
    assert_eq!(report["images"], 2, "{report}");
    let listed = two.get("/v2/all/of-it/tags/list").body;
    assert_eq!(listed, br#"{"name":"all/of-it","tags":["all","v1"]}"#);
    let told = failed(3, &["export", "oci", out, "--registry", one.address(), "missing"], None);
    assert!(told.contains("missing: "), "{told}");
    let told = failed(2, &["export", "oci", out, "--registry", one.address(), "../x"], None);
    assert!(told.contains("`../x`"), "{told}");
    let _ = pushed;
}

#[test]
fn another_registry_is_brought_in_as_a_whole() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let server = Started::with(&[]);
    let pushed = filled(&server);
    let from = server.address();
    let dry = done(&["import", "registry", from, "--all", "--dry-run"], Some(&data));
    assert!(!data.exists());
    assert_eq!((&dry["counts"]["copied"], &dry["dryRun"]), (&json!(4), &json!(true)), "{dry}");
    let report = done(&["import", "registry", from, "--all"], Some(&data));
    assert_eq!((&report["counts"]["copied"], &report["failures"]), (&json!(4), &json!([])), "{report}");
    let again = done(&["import", "registry", from, "--all"], Some(&data));
    assert_eq!((&again["counts"]["copied"], &again["counts"]["there"]), (&json!(0), &json!(4)), "{again}");
    let report = done(&["import", "registry", from, "--repositories", "other", "--prefix", "old/"], Some(&data));
    assert_eq!(report["counts"]["copied"], 2, "{report}");
    let told = failed(1, &["import", "registry", from, "--repositories", "missing"], Some(&data));
    assert!(told.contains("missing: its tags cannot be listed"), "{told}");
    let told = failed(2, &["import", "registry", from], Some(&data));
    assert!(told.contains("--repositories"), "{told}");
    drop(server);
    let server = Started::on(&data, &[]);
    for (target, digest) in [("team/app/manifests/all", pushed.index), ("team/app/manifests/v1", pushed.image)] {
        let accept = format!("Accept: {OCI}, {OCI_INDEX}\r\n");
        let answer = server.send_as(&accept, "GET", &format!("/v2/{target}"), b"");
        assert_eq!((answer.status, sha256(&answer.body)), (200, digest));
    }
    assert_eq!(server.get("/v2/old/other/tags/list").status, 200);
}

/// A tar with these files.
fn tar(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    fs::write(path, archive).unwrap();
}

#[test]
fn an_archive_of_docker_save_is_brought_in() {
    let home = TempDir::new().unwrap();
    let (data, archive) = (home.path().join("data"), home.path().join("saved.tar"));
    let list =
        br#"[{"Config":"c.json","RepoTags":["team/app:v1","registry.example.com/x:v2"],"Layers":["l/layer.tar"]},
        {"Config":"c.json","RepoTags":null,"Layers":["l/layer.tar"]}]"#;
    let layer = layer(7, 1000);
    tar(&archive, &[("manifest.json", list), ("c.json", br#"{"os":"linux"}"#), ("l/layer.tar", &layer)]);
    let words = ["import", "docker-archive", archive.to_str().unwrap()];
    let told = failed(1, &words, Some(&data));
    assert!(told.contains("it says no repository: name one with --repository"), "{told}");
    let server = Started::on(&data, &[]);
    assert_eq!(server.get("/v2/team/app/manifests/v1").status, 200);
    assert_eq!(server.get("/v2/x/manifests/v2").status, 200);
    assert_eq!(server.get(&format!("/v2/x/blobs/{}", sha256(&layer))).body, layer);
}

#[test]
fn what_cannot_be_read_or_written_is_told_and_changes_nothing_else() {
    let (home, data, _, _) = directory();
    let path = |name: &str| home.path().join(name).display().to_string();
    let back = home.path().join("back");
    done(&["export", "oci", &path("out.tar")], Some(&data));
    let whole = fs::read(path("out.tar")).unwrap();
    fs::write(path("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    fs::write(path("other.tar"), b"no archive at all").unwrap();
    for (file, status, expected) in
        [("cut.tar", 1, "it is cut off"), ("other.tar", 1, "other.tar cannot be read"), ("missing", 1, "there is no ")]
    {
        let told = failed(status, &["import", "oci", &path(file)], Some(&back));
        assert!(told.contains(expected), "{told}");
    }
    assert!(!back.exists());
    // A blob that is another one: what needs it is left out, all else comes.
    done(&["export", "oci", &path("out")], Some(&data));
    let bad = Path::new(&path("out")).join("blobs/sha256").join(sha256(layer(3, 20)).encoded());
    fs::write(bad, layer(4, 20)).unwrap();
    let told = failed(6, &["import", "oci", &path("out")], Some(&back));
    assert!(told.contains("other:v2: blob") && told.contains("other bytes"), "{told}");
    let server = Started::on(&back, &[]);
    let tags = server.get("/v2/other/tags/list").body;
    assert_eq!(tags, br#"{"name":"other","tags":["v1"]}"#);
    drop(server);
    // A directory with something else in it is not written to.
    fs::create_dir(path("full")).unwrap();
    fs::write(Path::new(&path("full")).join("x"), "x").unwrap();
    for verb in ["oci", "distribution"] {
        let told = failed(7, &["export", verb, &path("full")], Some(&data));
        assert!(told.contains("has other files"), "{told}");
    }
    assert_eq!(fs::read_dir(path("full")).unwrap().count(), 1);
    let told = failed(1, &["export", "oci", &path("none")], Some(&home.path().join("no-data")));
    assert!(told.contains("there is no directory"), "{told}");
    // A target that cannot be written to.
    fs::write(path("file"), "x").unwrap();
    let told = failed(7, &["export", "distribution", &path("file")], Some(&data));
    assert!(told.contains("cannot be"), "{told}");
    assert_eq!(Algorithm::Sha256.digest(&fs::read(path("file")).unwrap()), Algorithm::Sha256.digest(b"x"));
}

#[test]
fn a_configuration_is_translated_and_checked() {
    let home = TempDir::new().unwrap();
    let (yaml, out) = (home.path().join("config.yml"), home.path().join("orlop.toml"));
    fs::write(
        &yaml,
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /x/registry}}\nhttp: {addr: ':5000'}\nodd: 1\n",
    )
    .unwrap();
    let run = |words: &[&str], environment: &[(&str, &str)]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
        program.args(["import", "config"]).arg(&yaml).args(words).envs(environment.iter().copied()).output().unwrap()
    };
    let printed = run(&["--env"], &[("REGISTRY_HTTP_ADDR", "127.0.0.1:5002"), ("REGISTRY_AUTH_FILE", "/x")]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.status.success() && text.contains("\naddr = \"127.0.0.1:5002\"\n"), "{text}");
    assert!(text.contains("\n# http.addr (REGISTRY_HTTP_ADDR)\n"), "{text}");
    assert!(String::from_utf8(printed.stderr).unwrap().contains("unknown: odd (line 4)"));
    let written = run(&["--out", out.to_str().unwrap()], &[]);
    assert!(written.status.success(), "{written:?}");
    assert!(fs::read_to_string(&out).unwrap().contains("data = \"/x/orlop\""));
    let twice = run(&["--out", out.to_str().unwrap()], &[]);
    assert!(!twice.status.success() && String::from_utf8(twice.stderr).unwrap().contains("exists: name another file"));
    assert!(!run(&["--strict"], &[]).status.success());
    let checked = Command::new(env!("CARGO_BIN_EXE_orlop")).args(["config", "check", "--config"]).arg(&out).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

//! `orlop copy`, between servers and layouts.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use argon2::password_hash::PasswordHasher;
use orlop_core::digest::Algorithm;
use tempfile::TempDir;

use crate::passwords::basic;
use crate::started::Started;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Runs `orlop copy` without any login that this machine may have.
fn copy(words: &[&str], home: &Path) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
    program.arg("copy").args(words).stdin(Stdio::null()).env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
    program.env_remove("XDG_CONFIG_HOME").env("HOME", home).env("DOCKER_CONFIG", home).output().unwrap()
}

/// What it says when it ends well.
#[track_caller]
fn copied(words: &[&str], home: &Path) -> String {
    let output = copy(words, home);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says when it does not.
#[track_caller]
fn failed(words: &[&str], home: &Path) -> String {
    let output = copy(words, home);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn stow(layout: &Path, bytes: &[u8], media_type: &str, more: &str) -> String {
    let digest = Algorithm::Sha256.digest(bytes);
    std::fs::write(layout.join("blobs/sha256").join(digest.encoded()), bytes).unwrap();
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{more}}}"#, bytes.len())
}

/// A layout with an index of two images, of which one has a layer of several chunks; and the index.
fn layout(directory: &Path) -> Vec<u8> {
    std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let mut images = Vec::new();
    for (architecture, size) in [("amd64", 20 << 20), ("arm64", 100)] {
        let config = format!(r#"{{"architecture":"{architecture}","os":"linux"}}"#);
        let config = stow(directory, config.as_bytes(), "application/vnd.oci.image.config.v1+json", "");
        let layer: Vec<u8> = (0u32..size / 4).flat_map(u32::to_le_bytes).collect();
        let layer = stow(directory, &layer, "application/vnd.oci.image.layer.v1.tar", "");
        let image = format!(r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{config},"layers":[{layer}]}}"#);
        let platform = format!(r#","platform":{{"os":"linux","architecture":"{architecture}"}}"#);
        images.push(stow(directory, image.as_bytes(), IMAGE, &platform));
    }
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, images.join(","));
    let tag = r#","annotations":{"org.opencontainers.image.ref.name":"v1"}"#;
    let root = stow(directory, index.as_bytes(), INDEX, tag);
    std::fs::write(directory.join("index.json"), format!(r#"{{"schemaVersion":2,"manifests":[{root}]}}"#)).unwrap();
    index.into_bytes()
}

#[test]
fn an_image_goes_from_a_layout_through_two_registries_and_back() {
    let directory = TempDir::new().unwrap();
    let home = directory.path();
    let (from, back) = (home.join("from"), home.join("back"));
    let index = layout(&from);
    let (one, two) = (Started::with(&[]), Started::with(&[]));
    let from = format!("oci:{}:v1", from.display());
    let place = |server: &Started, name: &str| format!("{}/{name}", server.address());
    let dry = copied(&["--dry-run", &from, &place(&one, "team/app")], home);
    assert!(dry.starts_with("4 blobs would be copied (20.0 MiB); 3 manifests would be written\n"), "{dry}");
    assert_eq!(one.get("/v2/team/app/tags/list").status, 404);
    let first = copied(&[&from, &place(&one, "team/app")], home);
    assert!(first.starts_with("4 blobs copied (20.0 MiB); 3 manifests written\n"), "{first}");
    assert!(first.contains(&Algorithm::Sha256.digest(&index).to_string()), "{first}");
    assert_eq!(one.get("/v2/team/app/manifests/v1").body, index);
    let second = copied(&[&from, &place(&one, "team/app")], home);
    assert!(second.starts_with("0 blobs copied (0 B); 0 manifests written\n"), "{second}");
    let mounted = copied(&[&place(&one, "team/app:v1"), &place(&one, "team/other")], home);
    assert!(mounted.starts_with("0 blobs copied (0 B), 4 mounted; 3 manifests written\n"), "{mounted}");
    let across = copied(&["--platform", "linux/arm64", &place(&one, "team/app:v1"), &place(&two, "a:arm")], home);
    assert!(across.starts_with("2 blobs copied ("), "{across}");
    assert_eq!(two.get("/v2/a/manifests/v1").status, 404);
    let all = copied(&["--all", &place(&one, "team/app:v1"), &place(&two, "a")], home);
    assert!(all.starts_with("2 blobs copied (20.0 MiB); 2 manifests written\n"), "{all}");
    assert_eq!(copied(&["--quiet", &place(&two, "a:v1"), &format!("oci:{}", back.display())], home), "");
    let index_json = std::fs::read_to_string(back.join("index.json")).unwrap();
    assert!(index_json.contains(&Algorithm::Sha256.digest(&index).to_string()), "{index_json}");
    for blob in std::fs::read_dir(back.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let digest = Algorithm::Sha256.digest(&std::fs::read(blob.path()).unwrap());
        assert_eq!(digest.encoded(), blob.file_name().to_str().unwrap());
    }
}

#[test]
fn logins_come_from_dockers_file_or_from_options() {
    let directory = TempDir::new().unwrap();
    let home = directory.path();
    let index = layout(&home.join("from"));
    let hash = argon2::Argon2::default().hash_password(b"secret").unwrap();
    let (users, password) = (home.join("users"), home.join("password"));
    std::fs::write(&users, format!("ci:{hash}\n")).unwrap();
    std::fs::write(&password, "secret\n").unwrap();
    let server = Started::with(&["--auth-htpasswd", users.to_str().unwrap()]);
    let (from, to) = (format!("oci:{}:v1", home.join("from").display()), format!("{}/app", server.address()));
    let told = failed(&[&from, &to], home);
    assert!(told.contains("answers 401") && told.contains("no login is configured"), "{told}");
    copied(&["--dest-username", "ci", "--dest-password-file", password.to_str().unwrap(), &from, &to], home);
    let login = basic("ci", "secret");
    assert_eq!(server.send_as(&login, "GET", "/v2/app/manifests/v1", b"").body, index);
    let auth = login.trim().rsplit_once(' ').unwrap().1;
    std::fs::write(home.join("config.json"), format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.address()))
        .unwrap();
    copied(&[&format!("{to}:v1"), &format!("{to}:v2")], home);
    std::fs::write(&password, "wrong\n").unwrap();
    let told = failed(&["--src-username", "ci", "--src-password-file", password.to_str().unwrap(), &to, "oci:x"], home);
    assert!(told.contains("answers 401") && told.contains("logged in as ci"), "{told}");
}

#[test]
fn what_is_missing_or_wrong_is_told_and_all_else_is_copied() {
    let directory = TempDir::new().unwrap();
    let home = directory.path();
    let from = home.join("from");
    layout(&from);
    // The small layer, with another byte.
    let small = std::fs::read_dir(from.join("blobs/sha256")).unwrap().map(|blob| blob.unwrap().path());
    let small = small.into_iter().find(|path| std::fs::read(path).unwrap().len() == 100).unwrap();
    let mut bytes = std::fs::read(&small).unwrap();
    bytes[99] ^= 1;
    std::fs::write(&small, bytes).unwrap();
    let server = Started::with(&[]);
    let (from, to) = (format!("oci:{}:v1", from.display()), format!("{}/app", server.address()));
    let told = failed(&[&from, &to], home);
    let digest = small.file_name().unwrap().to_str().unwrap();
    assert!(told.contains(&format!("blob sha256:{digest}: the source has other bytes")), "{told}");
    assert!(told.trim_end().ends_with("the same command goes on with the rest"), "{told}");
    // The other image is there, the index is not.
    assert_eq!(server.get("/v2/app/manifests/v1").status, 404);
    copied(&["--platform", "linux/amd64", &from, &format!("{to}:amd64")], home);
    for (words, expected) in [
        ([from.as_str(), "app:v1"], "names no registry"),
        ([&from, "127.0.0.1:1/app:v1"], "cannot be reached: Connection refused"),
        ([&format!("{to}:none"), &format!("{to}:v1")], "not found"),
        (["oci:/none:v1", &to], "is no OCI image layout"),
    ] {
        let told = failed(&words, home);
        assert!(told.contains(expected), "{words:?}: {told}");
    }
}

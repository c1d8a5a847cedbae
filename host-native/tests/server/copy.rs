//! `orlop copy`, between servers and layouts.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher;
use orlop_core::digest::Algorithm;
use tempfile::TempDir;

use crate::passwords::basic;
use crate::started::Started;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// `orlop copy` without any login that this machine may have.
fn command(words: &[&str], home: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
    program.arg("copy").args(words).stdin(Stdio::null()).env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
    program.env_remove("XDG_CONFIG_HOME").env("HOME", home).env("DOCKER_CONFIG", home);
    program
}

/// Runs it.
fn copy(words: &[&str], home: &Path) -> Output {
    command(words, home).output().unwrap()
}

/// What it says when it ends well.
#[track_caller]
fn copied(words: &[&str], home: &Path) -> String {
    let output = copy(words, home);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says when it does not, and has this exit status.
#[track_caller]
fn failed(status: i32, words: &[&str], home: &Path) -> String {
    let output = copy(words, home);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
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
    let told = failed(4, &[&from, &to], home);
    assert!(told.contains("answers 401") && told.contains("no login is configured"), "{told}");
    copied(&["--dest-username", "ci", "--dest-password-file", password.to_str().unwrap(), &from, &to], home);
    let login = basic("ci", "secret");
    assert_eq!(server.send_as(&login, "GET", "/v2/app/manifests/v1", b"").body, index);
    let auth = login.trim().rsplit_once(' ').unwrap().1;
    std::fs::write(home.join("config.json"), format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.address()))
        .unwrap();
    copied(&[&format!("{to}:v1"), &format!("{to}:v2")], home);
    std::fs::write(&password, "wrong\n").unwrap();
    let (password, into) = (password.to_str().unwrap(), format!("oci:{}", home.join("into").display()));
    let told = failed(4, &["--src-username", "ci", "--src-password-file", password, &to, &into], home);
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
    let told = failed(6, &[&from, &to], home);
    let digest = small.file_name().unwrap().to_str().unwrap();
    assert!(told.contains(&format!("blob sha256:{digest}: the source has other bytes")), "{told}");
    assert!(told.trim_end().ends_with("the same command goes on with the rest"), "{told}");
    // The other image is there, the index is not.
    assert_eq!(server.get("/v2/app/manifests/v1").status, 404);
    copied(&["--platform", "linux/amd64", &from, &format!("{to}:amd64")], home);
    for (status, words, expected) in [
        (2, [from.as_str(), "app:v1"], "names no registry"),
        (2, [&from, "docker-archive:a.tar:App"], "no name of an image"),
        (5, [&from, "127.0.0.1:1/app:v1"], "cannot be reached: Connection refused"),
        (3, [&format!("{to}:none"), &format!("{to}:v1")], "not found"),
        (3, ["oci:/none:v1", &to], "there is no /none"),
        (3, ["oci-archive:/none.tar", &to], "there is no /none.tar"),
        (1, ["docker-archive:/dev/null", &to], "it is no file but a pipe or a device"),
        (7, [&format!("{to}:amd64"), "oci:/proc/none"], "cannot be made a layout"),
        (7, [&from, "docker-archive:/none/saved.tar"], "cannot be written"),
        (7, [&from, &format!("docker-archive:{}", home.join("saved.tar").display())], "choose one of its images"),
    ] {
        let told = failed(status, &words, home);
        assert!(told.contains(expected), "{words:?}: {told}");
    }
    let none = failed(3, &["--platform", "linux/s390x", &from, &to], home);
    assert!(none.contains("has no such platform"), "{none}");
    assert!(!home.join("saved.tar").exists());
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_would_be_copied() {
    let directory = TempDir::new().unwrap();
    let home = directory.path();
    layout(&home.join("from"));
    std::fs::create_dir(home.join("empty")).unwrap();
    let before = names(home).len();
    let from = format!("oci:{}:v1", home.join("from").display());
    for to in ["oci:absent:v1", "oci:empty", "oci-archive:a.tar:v1"] {
        let to = to.replacen(':', &format!(":{}/", home.display()), 1);
        let told = copied(&["--dry-run", &from, &to], home);
        assert!(told.starts_with("4 blobs would be copied (20.0 MiB); 3 manifests would be written"), "{to}: {told}");
    }
    let to = format!("docker-archive:{}/a.tar:app:v1", home.display());
    failed(7, &["--dry-run", &from, &to], home);
    let told = copied(&["--dry-run", "--platform", "linux/arm64", "--json", &from, &to], home);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["dryRun"], &told["blobs"]["copied"], &told["manifests"]), (&true.into(), &2.into(), &1.into()));
    assert_eq!((names(home).len(), names(&home.join("empty")).len()), (before, 0));
}

#[test]
fn archives_go_both_ways() {
    let directory = TempDir::new().unwrap();
    let home = directory.path();
    let index = layout(&home.join("from"));
    let from = format!("oci:{}:v1", home.join("from").display());
    let (packed, saved) = (format!("{}/packed.tar", home.display()), format!("{}/saved.tar", home.display()));
    copied(&["--quiet", &from, &format!("oci-archive:{packed}")], home);
    let server = Started::with(&[]);
    let to = format!("{}/team/app", server.address());
    copied(&[&format!("oci-archive:{packed}:v1"), &to], home);
    assert_eq!(server.get("/v2/team/app/manifests/v1").body, index);
    // It is called as in the registry.
    let one = copied(&["--platform", "linux/amd64", &format!("{to}:v1"), &format!("docker-archive:{saved}")], home);
    let name = format!("{}/team/app:v1", server.address());
    let again = copied(&[&format!("docker-archive:{saved}:{name}"), &format!("{to}:again")], home);
    assert_eq!(one.lines().last(), again.lines().last());
    assert!(
        failed(2, &["--referrers", &from, &format!("docker-archive:{saved}")], home).contains("leave --referrers out")
    );
    assert!(names(home).iter().all(|name| !name.starts_with(".copying")), "{:?}", names(home));
}

#[test]
fn a_copy_that_is_ended_leaves_no_unfinished_file() {
    for (signal, status) in [("TERM", 143), ("INT", 130), ("KILL", 137)] {
        for kind in ["oci", "oci-archive"] {
            let directory = TempDir::new().unwrap();
            let home = directory.path();
            layout(&home.join("from"));
            let server = Started::with(&[]);
            let from = format!("{}/app:v1", server.address());
            copied(&[&format!("oci:{}:v1", home.join("from").display()), &from], home);
            // What is read comes through a proxy that stops in the middle of the large layer.
            let through = stopping_at(server.address(), 4 << 20);
            let (inside, to) = match kind {
                "oci" => (home.join("into"), format!("oci:{}", home.join("into").display())),
                _ => (home.to_owned(), format!("oci-archive:{}", home.join("into.tar").display())),
            };
            let mut copying =
                command(&[&format!("{through}/app:v1"), &to], home).stderr(Stdio::null()).spawn().unwrap();
            wait_until(|| unfinished(&inside) > 1 << 20);
            let kill = Command::new("kill").args([&format!("-{signal}"), &copying.id().to_string()]).status().unwrap();
            assert!(kill.success());
            let ended = copying.wait().unwrap();
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(ended.code().or(ended.signal().map(|signal| signal + 128)), Some(status), "{signal} {kind}");
            assert_eq!(unfinished(&inside) > 0, signal == "KILL", "{signal} {kind}");
            assert!(!home.join("into.tar").exists());
            // What a killed process has left is removed by the next.
            copied(&[&from, &to], home);
            assert_eq!(unfinished(&inside), 0, "{signal} {kind}");
        }
    }
}

/// How many bytes the unfinished files in a directory have, with those in unfinished directories.
fn unfinished(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".copying-"));
    let sizes = named.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => unfinished(&entry.path()),
        Ok(found) => found.len(),
        // It has its name by now.
        Err(_) => 0,
    });
    sizes.sum()
}

/// A proxy of a registry that sends no more than so many bytes of an answer, and then nothing.
fn stopping_at(server: &str, bytes: usize) -> String {
    let (listener, server) = (TcpListener::bind("127.0.0.1:0").unwrap(), server.to_owned());
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let upstream = TcpStream::connect(&server).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut upstream.take(bytes as u64), &mut &client);
                // The connection stays open for as long as the client keeps it.
                let _ = std::io::copy(&mut &client, &mut std::io::sink());
            });
        }
    });
    address
}

/// Waits for something that is bound to happen.
fn wait_until(happened: impl Fn() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < Duration::from_secs(30), "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

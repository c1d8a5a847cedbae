//! Imports of what anybody may have written, exports over what is there already, and readers that go away (SPEC Y43–Y47).

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{directory, done, failed, orlop};
use crate::import::directory::{Directory, sha256};
use crate::started::Started;

/// A pipe that nobody writes.
fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// What a command says that is ended if it takes too long.
#[track_caller]
fn within_minutes(words: &[&str]) -> String {
    let mut program = Command::new("timeout");
    let output = program.arg("300").arg(env!("CARGO_BIN_EXE_orlop")).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn index_of(layout: &Path) -> Json {
    serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap()
}

#[test]
fn an_export_takes_the_place_of_no_other_file() {
    let (home, data, _, _) = directory();
    let path = |name: &str| home.path().join(name).display().to_string();
    fs::write(path("notes.txt"), "not to be lost").unwrap();
    for flags in [&[][..], &["--dry-run"]] {
        let notes = path("notes.txt");
        let told = failed(7, &[&["export", "oci", &notes], flags].concat(), Some(&data));
        assert!(
            told.contains("no archive with an image layout: name a directory, or a file that ends with .tar"),
            "{told}"
        );
        assert_eq!(fs::read_to_string(&notes).unwrap(), "not to be lost");
    }
    // One that is empty, and then is an archive.
    fs::write(path("images"), "").unwrap();
    for _ in 0..2 {
        assert_eq!(done(&["export", "oci", &path("images"), "other"], Some(&data))["images"], 2);
    }
}

#[test]
fn an_archive_is_written_as_a_whole_or_not_at_all_and_it_is_told_which() {
    let (home, data, _, _) = directory();
    let path = |name: &str| home.path().join(name).display().to_string();
    let tar = path("a.tar");
    let told = failed(3, &["export", "oci", &tar, "other", "missing"], Some(&data));
    assert!(told.contains("missing: there is no such repository"), "{told}");
    assert!(told.contains("1 failure, as the lines above say") && told.contains("a.tar was not written"), "{told}");
    assert!(!Path::new(&tar).exists());
    let told = failed(3, &["export", "oci", &tar, "other", "missing", "--dry-run"], Some(&data));
    assert!(told.contains("all else would be copied"), "{told}");
    let told = failed(3, &["export", "oci", &path("out"), "missing"], Some(&data));
    assert!(told.contains("nothing was copied"), "{told}");
    let told = failed(3, &["export", "oci", &path("out"), "other", "missing"], Some(&data));
    assert!(told.contains("all else was copied, and the same command goes on with the rest"), "{told}");
    let told = failed(3, &["export", "oci", &path("none"), "nope/**"], Some(&data));
    assert!(told.contains("`nope/**` matches no repository") && !Path::new(&path("none")).exists(), "{told}");
}

/// SPEC Y42: whoever may write to the directory has no other file written by that.
#[test]
fn an_export_goes_on_through_no_symbolic_link() {
    let (home, data, _, _) = directory();
    let path = |name: &str| home.path().join(name);
    fs::write(path("precious"), "kept").unwrap();
    fs::create_dir(path("marked")).unwrap();
    symlink(path("precious"), path("marked/ORLOP-EXPORT")).unwrap();
    let told = failed(7, &["export", "distribution", path("marked").to_str().unwrap()], Some(&data));
    assert!(told.contains("ORLOP-EXPORT in it is no file"), "{told}");
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "kept");
    let out = path("out");
    done(&["export", "distribution", out.to_str().unwrap(), "team/**"], Some(&data));
    fs::create_dir(path("elsewhere")).unwrap();
    symlink(path("elsewhere"), out.join("docker/registry/v2/repositories/other")).unwrap();
    let told = failed(7, &["export", "distribution", out.to_str().unwrap(), "other"], Some(&data));
    assert!(told.contains("is a symbolic link, which an export does not follow"), "{told}");
    assert_eq!(fs::read_dir(path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn a_pipe_in_what_is_imported_is_not_waited_for() {
    let home = TempDir::new().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    let data = format!("--data={}", path("data"));
    pipe(Path::new(&path("pipe")));
    for verb in ["oci", "docker-archive"] {
        let told = within_minutes(&["import", verb, &path("pipe"), &data]);
        assert!(told.contains("pipe cannot be read: it is no file but a pipe"), "{told}");
    }
    fs::create_dir(path("layout")).unwrap();
    fs::write(path("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    pipe(Path::new(&path("layout/index.json")));
    let told = within_minutes(&["import", "oci", &path("layout"), &data]);
    assert!(told.contains("index.json cannot be read: it is no file but a pipe"), "{told}");
    let directory = Directory::new();
    directory.image("app", "v1", "amd64", b"layer");
    fs::remove_file(directory.tag_link("app", "v1")).unwrap();
    pipe(&directory.tag_link("app", "v1"));
    let layer = directory.data(&sha256(b"layer"));
    fs::remove_file(&layer).unwrap();
    pipe(&layer);
    let source = directory.path().to_str().unwrap();
    let words = ["import", "distribution", source, &data, "--read-only", "--incomplete", "--verify"];
    let output = Command::new("timeout").arg("300").arg(env!("CARGO_BIN_EXE_orlop")).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("tag app:v1: its link has no digest in it but `a directory, or no file`"), "{told}");
}

/// SPEC Y47: also one that waits for a registry that does not answer.
#[test]
fn a_signal_ends_an_import_that_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, home) = (listener.local_addr().unwrap().to_string(), TempDir::new().unwrap());
    let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
    program.args(["import", "registry", &address, "--all", "--data"]).arg(home.path().join("data"));
    let import = program.stderr(Stdio::piped()).spawn().unwrap();
    let connection = listener.accept().unwrap();
    let id = import.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = import.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("interrupted; what has been copied stays"), "{told}");
    drop(connection);
}

/// SPEC Y47: any process may be called `registry`, and name any file.
#[test]
fn what_a_process_names_as_its_configuration_is_not_read_without_an_end() {
    let (directory, home) = (Directory::new(), TempDir::new().unwrap());
    directory.image("app", "v1", "amd64", b"layer");
    let (script, endless) = (home.path().join("registry"), home.path().join("x.yml"));
    fs::write(&script, "#!/bin/sh\nread line\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/dev/zero", &endless).unwrap();
    let mut other = Command::new(&script).arg(&endless).stdin(Stdio::piped()).spawn().unwrap();
    let data = home.path().join("data");
    let import = "ulimit -v 8000000; exec \"$0\" import distribution \"$1\" --data \"$2\"";
    let mut shell = Command::new("timeout");
    shell.args(["300", "sh", "-c", import, env!("CARGO_BIN_EXE_orlop")]).args([directory.path(), &data]);
    let output = shell.output().unwrap();
    drop(other.stdin.take());
    other.wait().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn whoever_reads_what_an_import_says_may_go_away() {
    let (home, data, pushed, all) = directory();
    let (out, back, status) = (home.path().join("out"), home.path().join("back"), home.path().join("status"));
    done(&["export", "oci", out.to_str().unwrap()], Some(&data));
    let script = "(\"$0\" import oci \"$1\" --data \"$2\"; echo $? > \"$3\") 2>&1 | true";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_orlop")]).args([&out, &back, &status]);
    assert!(shell.status().unwrap().success());
    assert_eq!(fs::read_to_string(&status).unwrap(), "0\n");
    super::check_same(&back, &pushed, &all);
    // A file that is full is another matter: what is in it would look whole.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let shown = Command::new(env!("CARGO_BIN_EXE_orlop")).args(["config", "show"]).stdout(full).output().unwrap();
    assert_eq!(shown.status.code(), Some(1), "{shown:?}");
}

#[test]
fn names_and_configurations_without_an_end_are_not_read() {
    let home = TempDir::new().unwrap();
    let told = failed(1, &["import", "config", "/dev/zero"], None);
    assert!(told.contains("has more than 1024 KiB"), "{told}");
    // An entry with a name of 3 GiB, in a file with a hole.
    let archive = home.path().join("long.tar");
    let mut header = tar_header(b'L', (3 << 30) - 1024);
    header[..13].copy_from_slice(b"././@LongLink");
    let file = fs::File::create(&archive).unwrap();
    file.set_len(3 << 30).unwrap();
    file.write_all_at(&summed(header), 0).unwrap();
    let archive = archive.to_str().unwrap();
    let told = failed(1, &["import", "oci", archive], Some(&home.path().join("data")));
    assert!(told.contains("a name in it has") && told.contains("1048576 at most"), "{told}");
}

fn tar_header(kind: u8, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    header
}

fn summed(mut header: [u8; 512]) -> [u8; 512] {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn an_entry_that_does_not_read_is_named_and_left_out() {
    let (home, data, _, _) = directory();
    let out = home.path().join("out");
    done(&["export", "oci", out.to_str().unwrap(), "other"], Some(&data));
    let mut index = index_of(&out);
    let entry = index["manifests"][0].clone();
    for digest in ["sha256:nothex", "md5:abc"] {
        let mut entry = entry.clone();
        entry["digest"] = digest.into();
        index["manifests"].as_array_mut().unwrap().push(entry);
    }
    fs::write(out.join("index.json"), index.to_string()).unwrap();
    let output = orlop(&["import", "oci", out.to_str().unwrap()], Some(&home.path().join("back")));
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("entry 3, sha256:nothex: ") && told.contains("entry 4, md5:abc: "), "{told}");
    let server = Started::on(&home.path().join("back"), &[]);
    assert_eq!(server.get("/v2/other/tags/list").body, br#"{"name":"other","tags":["v1","v2"]}"#);
}

/// A registry that lists what can be no name. It answers as long as the test runs.
fn odd_registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let body = match head.split(' ').nth(1).unwrap_or_default() {
                path if path.starts_with("/v2/_catalog") => json!({ "repositories": ["A/B", "../../x", "fine"] }),
                path if path.contains("/tags/list") => json!({ "name": "fine", "tags": ["../x", "-y", "a\nb"] }),
                _ => json!({}),
            };
            let body = body.to_string();
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ";
            let _ = write!(stream, "{head}{length}\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn what_another_registry_lists_and_can_be_no_name_is_named() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let told = failed(1, &["import", "registry", &odd_registry(), "--all"], Some(&data));
    for expected in
        ["A/B: this can be no name", "../../x: ", "fine:../x: ", "fine:-y: ", "fine:a\\nb: ", "nothing was imported"]
    {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
}

#[test]
fn what_is_wrong_with_a_command_line_is_told_with_what_to_do() {
    let (home, data, _, _) = directory();
    let path = |name: &str| home.path().join(name).display().to_string();
    let back = home.path().join("back");
    fs::create_dir(path("old")).unwrap();
    fs::write(path("old/oci-layout"), "{}").unwrap();
    fs::write(path("zstd.tar"), [0x28, 0xb5, 0x2f, 0xfd, 0]).unwrap();
    let saved = json!([{ "Config": "c", "RepoTags": [""], "Layers": [] }]).to_string();
    super::tar(Path::new(&path("saved.tar")), &[("manifest.json", saved.as_bytes()), ("c", b"{}")]);
    let twice = json!([
        { "Config": "c", "RepoTags": ["a:v1"], "Layers": [] }, { "Config": "d", "RepoTags": ["a:v1"], "Layers": [] }
    ]);
    let files = [("manifest.json", twice.to_string()), ("c", "{}".into()), ("d", "{ }".into())];
    super::tar(Path::new(&path("twice.tar")), &files.each_ref().map(|(name, text)| (*name, text.as_bytes())));
    for (status, words, expected) in [
        (1, vec!["import", "oci", "/nonexistent"], "orlop: there is no /nonexistent\n"),
        (1, vec!["import", "oci", &path("old")], "says no version"),
        (1, vec!["import", "docker-archive", &path("zstd.tar")], "compressed by zstd: decompress it first"),
        (1, vec!["import", "docker-archive", &path("saved.tar")], "image 1: it has an empty name"),
        (1, vec!["import", "docker-archive", &path("twice.tar")], "one name is of one image"),
        (2, vec!["import", "registry", "127.0.0.1:9"], "--repositories, or say --all"),
        (2, vec!["import", "registry", "127.0.0.1:9", "--all", "--prefix", "Bad_/"], "--prefix Bad_/: "),
        (2, vec!["import", "registry", "127.0.0.1:9/path", "--all"], "has a path, and a registry has none"),
        (2, vec!["import", "registry", "https://u:hush@127.0.0.1:9", "--all"], "has a login in it"),
        (2, vec!["export", "oci", "x", "--registry", "u:hush@127.0.0.1:9"], "`…@127.0.0.1:9` has a login in it"),
    ] {
        let told = failed(status, &words, Some(&back));
        assert!(told.contains(expected) && !told.contains("hush"), "{told}");
    }
    let file = path("no-such-file");
    let words = ["import", "registry", "127.0.0.1:9", "--all", "--username", "a", "--password-file", &file];
    let told = failed(1, &words, Some(&back));
    assert!(told.contains("no-such-file cannot be read") && !told.contains("sync `import`"), "{told}");
    let server = Started::on(&data, &[]);
    let told = failed(1, &["import", "registry", server.address(), "--all"], Some(&data));
    assert!(told.contains("add a `[[sync]]`") && !told.contains("--registry"), "{told}");
}

fn distribution(directory: &Directory, data: &Path, flags: &[&str]) -> Output {
    let source = directory.path().to_str().unwrap();
    orlop(&[&["import", "distribution", source, "--read-only"], flags].concat(), Some(data))
}

/// SPEC Y22.
#[test]
fn a_report_that_cannot_be_written_and_a_data_directory_in_the_other_are_told_first() {
    let (directory, home) = (Directory::new(), TempDir::new().unwrap());
    directory.image("app", "v1", "amd64", b"layer");
    let data = home.path().join("data");
    let output = distribution(&directory, &data, &["--report", "/nonexistent/report.json"]);
    assert!(!output.status.success() && !data.exists(), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("the report cannot be written"));
    let before = directory.all();
    let output = distribution(&directory, &directory.path().join("docker/orlop"), &[]);
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("are one in the other"));
    assert_eq!(directory.all(), before);
}

/// SPEC Y26: whoever writes the directory does not have root print another file.
#[test]
fn a_symbolic_link_in_the_place_of_a_file_is_not_followed() {
    let (directory, home) = (Directory::new(), TempDir::new().unwrap());
    let secret = home.path().join("secret");
    fs::write(&secret, "HUSH").unwrap();
    let image = directory.image("app", "v1", "amd64", b"layer");
    directory.image("app", "v2", "amd64", b"other layer");
    directory.image("app", "v3", "amd64", b"third layer");
    let links = [
        directory.tag_link("app", "v1"),
        directory.revision_link("app", &image),
        directory.layer_link("app", &sha256(b"layer")),
        directory.data(&sha256(b"other layer")),
    ];
    for link in links {
        fs::remove_file(&link).unwrap();
        symlink(&secret, &link).unwrap();
    }
    let output = distribution(&directory, &home.path().join("data"), &["--incomplete"]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(!told.contains("HUSH"), "{told}");
    for what in ["tag app:v1: ", "manifest app@", "blob app@"] {
        let line = told.lines().find(|line| line.starts_with(what)).unwrap_or_default();
        assert!(line.contains("a symbolic link, which is not followed"), "{what} {told}");
    }
}

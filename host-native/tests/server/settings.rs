//! Settings that are wrong, and what an administrator is told.

use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::started::{Started, orlop};

/// What `orlop` says when it is called with these words and this file.
fn said(words: &[&str], file: &str) -> (bool, String) {
    said_in(&TempDir::new().unwrap(), words, file)
}

/// The same in a directory with other files.
fn said_in(directory: &TempDir, words: &[&str], file: &str) -> (bool, String) {
    let path = directory.path().join("orlop.toml");
    std::fs::write(&path, file).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
    program.args(words).arg("--config").arg(&path).current_dir(directory.path());
    let ended = program.output().unwrap();
    let told = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    (ended.status.success(), told.replace(path.to_str().unwrap(), "FILE"))
}

#[test]
fn a_check_says_what_is_wrong_and_where() {
    assert_eq!(said(&["config", "check"], ""), (true, "FILE is in order\n".into()));
    let (sound, told) = said(&["config", "check"], "addr = '127.0.0.1:0'\n[tls]\ncertificat = 'x'\n");
    assert!(!sound);
    assert_eq!(
        told,
        "orlop: FILE, line 3: there is no setting `tls-certificat`; did you mean `tls-certificate`?\n     3 | \
         certificat = 'x'\n"
    );
    let (sound, told) = said(&["config", "check"], "auth-htpasswd = '/nowhere/users'");
    assert!(!sound && told.contains("/nowhere/users cannot be read"), "{told}");
    assert!(told.contains("\n  FILE:1: auth-htpasswd = \"/nowhere/users\""), "{told}");
}

#[test]
fn the_origin_of_each_value_is_shown() {
    let (_, told) = said(&["config", "show", "--max-requests=3"], "[tls]\nkey = 'k'\n");
    for line in ["max-requests = \"3\"  # flag", "tls-key = \"k\"  # FILE:2", "blob-grace = \"1d\"  # default"] {
        assert!(told.lines().any(|told| told == line), "{line} in {told}");
    }
}

/// Never anything weaker than what was asked for.
#[test]
fn encryption_that_cannot_be_is_not_left_out() {
    for (settings, expected) in [
        ("certificate = '/nowhere/a.pem'\nkey = '/nowhere/a.key'", "/nowhere/a.pem cannot be read"),
        ("certificate = 'orlop.toml'\nkey = 'orlop.toml'", "there is no certificate in orlop.toml"),
        ("certificate = 'orlop.toml'", "tls-certificate needs tls-key"),
        ("key = 'orlop.toml'", "tls-key needs tls-certificate"),
        ("client-ca = 'orlop.toml'", "tls-client-ca needs"),
    ] {
        for command in [&["config", "check"] as &[&str], &["serve", "--addr=127.0.0.1:0"]] {
            let (started, told) = said(command, &format!("[tls]\n{settings}\n"));
            assert!(!started && told.contains(expected), "{told}");
        }
    }
}

#[test]
fn nobody_listens_beyond_this_machine_by_accident() {
    let (started, told) = said(&["serve", "--addr=0.0.0.0:0"], "");
    assert!(!started && told.contains("every client may push and delete") && told.contains("--open"), "{told}");
    let pull_only = "{ who = ['anybody'], allow = ['pull'], repositories = ['**'] }";
    for flags in [&["--open"] as &[&str], &["--rule", pull_only]] {
        let data = TempDir::new().unwrap();
        let server = Started::by(orlop("serve", data.path()).arg("--addr=0.0.0.0:0").args(flags), data.path());
        assert_eq!(server.get("/v2/").status, 200);
    }
}

/// Each is refused by the check and by the server, with the same words.
#[track_caller]
fn refused_by_both(directory: &TempDir, file: &str, expected: &str) {
    for command in ["config check", "serve"] {
        let words: Vec<&str> = command.split(' ').collect();
        let (sound, told) = said_in(directory, &words, file);
        assert!(!sound && told.contains(expected), "{command}: {told}");
    }
}

#[test]
fn a_check_finds_what_a_server_would_refuse() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let bob = "who = ['user:bob']\nallow = ['all']\nrepositories = ['**']";
    for (file, expected) in [
        ("addr = '0.0.0.0:0'".to_owned(), "every client may push and delete"),
        ("addr = 'localhost'".to_owned(), "addr = localhost is not an address"),
        ("addr = '127.0.0.1:5009'\nadmin-addr = '127.0.0.1:5009'".to_owned(), "are the same address"),
        ("addr = '127.0.0.1:5009'\n[plain]\naddr = '0.0.0.0:5009'".to_owned(), "are the same address"),
        (format!("[[rule]]\n{bob}"), "rule 1 names the user `bob`, but no client can log in"),
        (format!("[[rule]]\n{}", bob.replace("user:bob", "authenticated")), "names authenticated clients"),
        (format!("[[rule]]\n{}", bob.replace("user:bob", "certificate:ci")), "set tls-client-ca"),
        (format!("[[rule]]\n{}", bob.replace("user:bob", "group:dev")), "the group `dev`, which does not exist"),
        ("[[limit]]\nwho = ['user:bob']\nrate = 1".to_owned(), "limit 1 names the user `bob`"),
        ("log = 'verbose'".to_owned(), "`verbose` is not a level; write error, warn, info"),
        ("data = 'file'".to_owned(), "data = file is not a directory"),
        ("otlp-endpoint = 'collector'".to_owned(), "write it like http://127.0.0.1:4318/v1/traces"),
        ("[token]\nkeys = 'none.pem'".to_owned(), "token-keys"),
        ("[[webhook]]\nname = 'ci'\nurl = 'http://x/'\nsecret-file = '/nowhere/secret'".to_owned(), "/nowhere/secret"),
    ] {
        refused_by_both(&directory, &file, expected);
    }
    refused_by_both(&directory, "\naddr = '0.0.0.0:0'\n", "\n  FILE:2: addr = \"0.0.0.0:0\"");
    refused_by_both(&directory, &format!("\n[[rule]]\n{bob}"), "\n  FILE:2: rule = { ");
}

#[test]
fn an_expired_certificate_is_refused_and_one_that_expires_soon_is_warned_of() {
    let directory = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let write = |end: rcgen::CertificateParams| {
        std::fs::write(directory.path().join("a.pem"), end.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(directory.path().join("a.key"), key.serialize_pem()).unwrap();
    };
    let file = "addr = '127.0.0.1:0'\n[tls]\ncertificate = 'a.pem'\nkey = 'a.key'\n";
    params.not_after = date_time_ymd(2001, 1, 1);
    write(params.clone());
    refused_by_both(&directory, file, "the certificate in a.pem expired on Jan  1");
    params.not_after = std::time::SystemTime::now().checked_add(std::time::Duration::from_secs(86_400)).unwrap().into();
    write(params);
    let (sound, told) = said_in(&directory, &["config", "check"], file);
    assert!(sound && told.contains("warning: the certificate in a.pem expires on"), "{told}");
}

#[test]
fn mistakes_in_a_file_are_told_with_what_to_write_instead() {
    for (file, line, expected) in [
        ("\naddr = 127.0.0.1:5000", 2, "write addr = \"127.0.0.1:5000\""),
        ("assemble = [team/*]", 1, "write \"team/*\" instead of team/*"),
        ("addr =", 1, "`addr` has no value"),
        ("record-cache = '64 megabytes'", 1, "`64 megabytes` is not valid: write a number with a unit, such as 64MiB"),
        ("max-requests = 'many'", 1, "write a whole number, such as 512"),
        ("[[rule]]\nwho = \"alice\"\nallow = ['pull']\nrepositories = ['**']", 2, "write who = [\"user:alice\"]"),
        ("[[rule]]\nwho = ['alice']\nallow = ['pull']\nrepositories = ['**']", 2, "for a user write user:alice"),
        ("[[group]]\nname = 'dev'\nmembers = 'bob'", 3, "write members = [\"bob\"]"),
        ("[tls]\naddr = 'x'", 2, "`addr` stands below [tls], which makes it `tls-addr`; move it above the first table"),
        ("[tls]\nhtpasswd = 'x'", 2, "did you mean `auth-htpasswd`?"),
        ("[[group]]\nname = 'd'\nmembers = []\naddr = 'x'", 4, "`addr` is a setting of its own: move it above"),
        ("[[quota]]\nrepositories = ['a']\nbytes = '50 gigs'", 3, "`50 gigs` is not a size"),
        ("rule = 'alice'", 1, "it is a table"),
        ("blob-limit = 1.5", 1, "text in quotes or a whole number"),
    ] {
        let (sound, told) = said(&["config", "check"], file);
        assert!(!sound && told.contains(expected), "{file}\n{told}");
        assert!(told.starts_with(&format!("orlop: FILE, line {line}: ")), "{file}\n{told}");
    }
}

#[test]
fn a_variable_that_is_no_setting_is_warned_of() {
    let directory = TempDir::new().unwrap();
    let told = |words: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
        program.args(words).env("ORLOP_ADR", "1").env("ORLOP_ANYTHING_ELSE", "1").current_dir(directory.path());
        let ended = program.output().unwrap();
        String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned()
    };
    for words in [["config", "check"], ["config", "show"]] {
        let told = told(&words);
        assert!(told.contains("sets ORLOP_ADR, which is not a setting; did you mean ORLOP_ADDR?"), "{told}");
        assert!(told.contains("sets ORLOP_ANYTHING_ELSE, which is not a setting; `orlop config show`"), "{told}");
    }
    let data = directory.path().join("data");
    let mut program = orlop("serve", &data);
    let mut child = program.args(["--addr=127.0.0.1:0"]).env("ORLOP_ADR", "1").spawn().unwrap();
    let log = std::io::BufReader::new(child.stderr.take().unwrap());
    let lines: Vec<String> =
        std::io::BufRead::lines(log).map_while(Result::ok).take_while(|l| !l.contains("listening")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lines.iter().any(|line| line.contains("did you mean ORLOP_ADDR?")), "{lines:?}");
}

/// Its value may have spaces, commas and further equals signs.
#[test]
fn an_option_of_the_object_store_is_one_flag_or_one_line_of_the_environment() {
    let options = ["copy_if_not_exists=header: if-none-match: *, =", "region=eu-west-1"];
    let shows = |program: &mut Command, origin: &str| {
        let told = String::from_utf8(program.env("ORLOP_CONFIG", "").output().unwrap().stdout).unwrap();
        let expected = format!("objects-option = [\"{}\"]  # {origin}\n", options.join("\", \""));
        assert!(told.contains(&expected), "{told}");
    };
    let show = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_orlop"));
        program.args(["config", "show"]);
        program
    };
    shows(show().args(options.map(|option| format!("--objects-option={option}"))), "flag");
    shows(show().env("ORLOP_OBJECTS_OPTION", options.join("\n")), "ORLOP_OBJECTS_OPTION");
}

#[test]
fn what_moved_tags_leave_is_kept_unless_it_is_said_for_how_long() {
    let (_, told) = said(&["config", "show"], "");
    assert!(told.contains("untagged-lifetime = \"never\"  # default"), "{told}");
    let (sound, told) = said(&["config", "check"], "untagged-lifetime = 'never'");
    assert!(sound, "{told}");
    let (sound, told) = said(&["config", "check"], "untagged-lifetime = 'forever'");
    assert!(!sound && told.contains("or never"), "{told}");
}

#[test]
fn users_are_listed() {
    let directory = TempDir::new().unwrap();
    let hash = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
    std::fs::write(directory.path().join("users"), format!("# users\nbob:{hash}\n\nalice:{hash}\n")).unwrap();
    let (done, told) = said_in(&directory, &["user", "list"], "auth-htpasswd = 'users'");
    assert_eq!((done, told.as_str()), (true, "alice\nbob\n"));
    let (done, told) = said(&["user", "list"], "");
    assert!(!done && told.contains("set auth-htpasswd"), "{told}");
}

//! Settings that are wrong, and what an administrator is told.

use std::process::Command;

use tempfile::TempDir;

use crate::started::{Started, orlop};

/// What `orlop` says when it is called with these words and this file.
fn said(words: &[&str], file: &str) -> (bool, String) {
    let directory = TempDir::new().unwrap();
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
    let (sound, told) =
        said(&["config", "check"], "[[rule]]\nwho = ['user:bob']\nallow = ['all']\nrepositories = ['**']");
    assert!(sound && !told.contains("warning"), "without a password file nobody knows: {told}");
    let (sound, told) = said(&["config", "check"], "auth-htpasswd = '/nowhere/users'");
    assert!(!sound && told.contains("/nowhere/users cannot be read"), "{told}");
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
    assert!(!started && told.contains("anybody may push and delete") && told.contains("--open"), "{told}");
    let pull_only = "{ who = ['anybody'], allow = ['pull'], repositories = ['**'] }";
    for flags in [&["--open"] as &[&str], &["--rule", pull_only]] {
        let data = TempDir::new().unwrap();
        let server = Started::by(orlop("serve", data.path()).arg("--addr=0.0.0.0:0").args(flags), data.path());
        assert_eq!(server.get("/v2/").status, 200);
    }
}

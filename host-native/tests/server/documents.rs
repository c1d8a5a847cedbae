//! The examples of the documents, pasted as they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

/// Made by crypt(3) of Debian, as Apache's htpasswd does.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

fn document(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Stands for `/etc/orlop`, with every file that an example may name.
fn etc() -> TempDir {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["registry.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    write("registry.pem", &certificate.pem());
    write("registry.key", &key.serialize_pem());
    write("token-keys.pem", &key.public_key_pem());
    write("cluster.jwks", &key.public_key_pem());
    write("ldap.password", "a password");
    write("corp.secret", "a secret");
    write("users", &format!("alice:{HASH}\nbob:{HASH}\n"));
    write("webhook.secret", "0123456789abcdef");
    write("database", "a password");
    write("hub.password", "a password");
    write("other.password", "a password");
    directory
}

/// Checks an example as the whole of a configuration file.
#[track_caller]
fn loads(example: &str) {
    let etc = etc();
    let file = etc.path().join("orlop.toml");
    let own = |text: &str, place: &str| text.replace(place, etc.path().to_str().unwrap());
    std::fs::write(&file, own(&own(example, "/etc/orlop"), "/var/cache")).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_orlop")).args(["config", "check", "--config"]).arg(&file).output();
    let checked = checked.unwrap();
    let told = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success() && !told.contains("warning"), "{example}\n{told}");
}

fn blocks<'t>(text: &'t str, begin: &str, end: &str) -> Vec<&'t str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn examples_of_the_readme_load() {
    let readme = document("../README.md");
    let examples = blocks(&readme, "```toml\n", "```");
    assert_eq!(examples.len(), 2);
    examples.into_iter().for_each(loads);
}

/// In the manuals an example of a configuration is marked, so that a shell's is not taken for one.
#[test]
fn examples_of_the_manuals_load() {
    for (manual, expected) in [("debian/orlop.7", 8), ("debian/orlop-cluster.7", 1), ("debian/orlop.toml.5", 11)] {
        let text = document(manual);
        let examples = blocks(&text, ".\\\" TOML\n.nf\n", ".fi");
        assert_eq!(examples.len(), expected, "{manual}");
        for example in examples {
            assert!(!example.lines().any(|line| line.starts_with('.')), "{example}");
            loads(&example.replace("\\-", "-").replace("\\(dq", "\"").replace("\\e", "\\"));
        }
    }
}

/// The file of the package, as it comes and with everything in it that is commented out.
#[test]
fn the_configuration_of_the_package_loads() {
    let text = document("debian/orlop.toml");
    loads(&text);
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    let whole = text.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    assert!(whole.contains("\n[[rule]]") && whole.contains("\n[tls]"), "{whole}");
    loads(&whole);
}

/// What `--help` lists behind these words.
fn commands(words: &[&str]) -> Vec<String> {
    let told = Command::new(env!("CARGO_BIN_EXE_orlop")).args(words).arg("--help").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let lines = told.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let first = lines.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let names = first.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// A page that names a command that does not exist helps nobody, and nor does a command that no page names.
#[test]
fn the_commands_that_documents_name_exist() {
    let verbs = commands(&[]);
    for newer in ["scrub", "damaged", "import", "export", "undelete", "retention", "usage"] {
        assert!(verbs.iter().any(|verb| verb == newer), "{newer} is not in {verbs:?}");
    }
    let below: BTreeMap<&String, Vec<String>> = verbs.iter().map(|verb| (verb, commands(&[verb.as_str()]))).collect();
    let (mut named, mut met) = (0, BTreeSet::new());
    for path in ["../README.md", "debian/orlop.7", "debian/orlop-cluster.7", "debian/orlop.toml.5", "debian/orlop.toml"]
    {
        let text = document(path).replace("\\-", "-").replace("\\ ", " ");
        for rest in text.split("orlop ").skip(1) {
            let words: Vec<&str> =
                rest.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-').take(2).collect();
            let Some((verb, subcommands)) = words.first().and_then(|word| below.get_key_value(&(*word).to_owned()))
            else {
                continue;
            };
            named += 1;
            met.insert(*verb);
            // An option, or the end of the name, may stand there as well.
            let word = words.get(1).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            if let Some(word) = word.filter(|_| !subcommands.is_empty()) {
                assert!(subcommands.iter().any(|name| name == word), "{path}: orlop {verb} {word}");
            }
        }
    }
    assert!(named > 50, "{named}");
    let unnamed: Vec<&String> = verbs.iter().filter(|verb| !met.contains(verb)).collect();
    assert!(unnamed.is_empty(), "no page names {unnamed:?}");
}

#[test]
fn no_help_speaks_against_another() {
    let help = |words: &[&str]| {
        let told = Command::new(env!("CARGO_BIN_EXE_orlop")).args(words).arg("--help").output().unwrap();
        String::from_utf8(told.stdout).unwrap()
    };
    for words in [
        &["serve"] as &[&str],
        &["gc"],
        &["backup"],
        &["check"],
        &["blob"],
        &["move"],
        &["migrate"],
        &["config", "check"],
        &["sync", "run"],
        &["sync", "status"],
        &["config", "show"],
        &["reload"],
        &["scrub"],
        &["damaged"],
        &["usage"],
        &["import", "distribution"],
        &["import", "s3"],
    ] {
        let told = help(words);
        assert!(told.contains("--data <DIRECTORY>") && !told.contains("snapshot"), "{words:?}: {told}");
    }
    assert!(!help(&["backup"]).contains("--record-cache"), "a backup is made by the server");
}

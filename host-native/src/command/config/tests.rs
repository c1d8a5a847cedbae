use std::io::Write;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::*;
use crate::command::cli;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(text: &str, flags: &[&str]) -> Result<Loaded, ConfigError> {
    let file = file(text);
    let config = format!("--config={}", file.path().display());
    CommandLine::of(["orlop", "serve", &config].iter().chain(flags)).load()
}

fn settings(loaded: &Loaded) -> &Settings {
    let cli::Command::Serve(settings) = &loaded.cli.command else { panic!("not serve") };
    settings
}

#[track_caller]
fn refused(text: &str, line: usize, expected: &str) {
    match load(text, &[]) {
        Err(ConfigError::InFile { line: told, reason, .. }) => {
            assert_eq!(told, line, "{reason}");
            assert!(reason.contains(expected), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let loaded =
        load("addr = '127.0.0.1:1'\nmax-requests = 7\n[tls]\nkey = 'k'\n", &["--addr", "127.0.0.1:2"]).unwrap();
    let settings = settings(&loaded);
    assert_eq!(settings.addr, "127.0.0.1:2");
    assert_eq!(settings.limits().requests, 7);
    let origin = |key: &str| loaded.effective.iter().find(|setting| setting.key == key).map(|s| s.origin.clone());
    assert_eq!(origin("addr"), Some(Origin::Flag));
    assert!(matches!(origin("max-requests"), Some(Origin::File(_, 2))));
    assert!(matches!(origin("tls-key"), Some(Origin::File(_, 4))));
    assert_eq!(origin("blob-grace"), Some(Origin::Default));
}

/// A data directory is restored with its bytes, and a database without.
#[test]
fn objects_are_kept_for_a_database_unless_it_is_said_otherwise() {
    let engines = "records = 'postgres://orlop@db/orlop'\nobjects = 's3://bucket/prefix'\n";
    let day = Duration::from_secs(24 * 3600);
    let kept = |text: &str, flags: &[&str]| {
        let loaded = load(text, flags).unwrap();
        let shown = loaded.effective.iter().find(|setting| setting.key == "keep-erased").unwrap().to_string();
        (settings(&loaded).config().keep_erased, shown)
    };
    assert_eq!(kept("", &[]), (Duration::ZERO, "keep-erased = \"0\"  # default".into()));
    assert_eq!(kept(engines, &[]), (day, "keep-erased = \"1d\"  # default".into()));
    assert_eq!(kept("", &["--records", "postgres://orlop@db/orlop"]).0, day);
    assert_eq!(kept("keep-erased = '7d'", &[]).0, 7 * day);
    assert_eq!(kept(engines, &["--keep-erased", "0"]), (Duration::ZERO, "keep-erased = \"0\"  # flag".into()));
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_is_allowed() {
    refused("\naddress = 'x'", 2, "there is no setting `address`");
    refused("[tls]\ncertifcate = 'x'", 2, "did you mean `tls-certificate`?");
    refused("max-requests = 'many'", 1, "a whole number");
    refused("a = 1\nupload-lifetime = 3 days", 2, "write upload-lifetime = \"3 days\"");
    refused("\nupload-lifetime = 'long'", 2, "write it like 90s, 6h or 7d");
    refused("no-delete = 'perhaps'", 1, "true, false");
    refused("[tls]\nkey = 'a'\n[tls.more]\nkey = 'b'", 4, "there is no setting `tls-more-key`");
    refused("tls-key = 'a'\n[tls]\nkey = 'b'", 3, "is set in line 1 already");
    refused("\n[[rule]]\nwho = ['anonymous']\nmay = ['pull']", 4, "unknown field `may`");
    refused("[[rule]]\nwho=['anonymous']\nallow=['pul']\nrepositories=['**']", 3, "unknown variant `pul`");
    refused("config = 'other'", 1, "there is no setting `config`");
}

#[test]
fn lists_and_switches_are_taken_from_the_file() {
    let text = "assemble = ['a/*', 'b']\nno-delete = true\nallow-sparse = false\n";
    let loaded = load(text, &[]).unwrap();
    let config = settings(&loaded).config();
    assert_eq!(config.assemble.len(), 2);
    assert!(!config.allow_delete && !config.allow_sparse);
    let loaded = load(text, &["--no-delete=false", "--assemble", "c"]).unwrap();
    let config = settings(&loaded).config();
    assert_eq!(config.assemble.len(), 1);
    assert!(config.allow_delete);
}

#[test]
fn the_help_of_a_verb_shows_what_it_uses() {
    for (words, used, not) in [
        (&["deleted"][..], "--data", "--tls-key"),
        (&["purge"], "--undelete-within", "--mirror"),
        (&["retention", "plan"], "--retention", "--max-requests"),
        (&["retention", "apply"], "--retention", "--scrub-rate"),
        (&["protect"], "--data", "--undelete-within"),
        (&["usage"], "--quota", "--webhook"),
        (&["usage"], "--top", "--limit"),
        (&["serve"], "--tls-key", "--no-such"),
    ] {
        let line = CommandLine::of([&["orlop"][..], words, &["--help"]].concat());
        let Err(ConfigError::CommandLine(help)) = line.load() else { panic!("{words:?}") };
        let help = help.to_string();
        assert!(help.contains(used) && !help.contains(not), "{words:?}: {help}");
    }
}

/// Also one that is off by default and was turned on elsewhere.
#[test]
fn every_setting_of_a_server_can_stand_in_a_file() {
    for argument in Settings::command().get_arguments().filter(|argument| argument.get_id() != "config") {
        let Some(key) = argument.get_long().filter(|key| !matches!(*key, "help" | "version")) else { continue };
        let switch = argument.get_num_args().is_some_and(|number| number.min_values() == 0);
        assert_eq!(switch, argument.get_default_values().iter().any(|value| value == "false"), "{key}");
        if switch {
            let loaded = load(&format!("{key} = true\n"), &[]).unwrap();
            let shown = loaded.effective.iter().find(|setting| setting.key == key);
            assert_eq!(shown.map(|setting| setting.values.clone()), Some(vec!["true".to_owned()]), "{key}");
        }
        assert!(argument.get_env().is_some(), "{key}");
    }
}

/// What is shown can be put into a file and gives the same.
#[test]
fn what_is_shown_can_be_read() {
    let text =
        "assemble = ['a/*', 'b']\nno-delete = true\n[[rule]]\nwho=['anonymous']\nallow=['pull']\nrepositories=['**']\n";
    let shown: Vec<String> = load(text, &[]).unwrap().effective.iter().map(ToString::to_string).collect();
    let shown = shown.join("\n");
    let shown = shown.lines().filter(|line| !line.starts_with("config =")).collect::<Vec<_>>().join("\n");
    let again: Vec<String> = load(&shown, &[]).unwrap().effective.iter().map(ToString::to_string).collect();
    let without_origin = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split("  # ").next().unwrap_or_default().to_owned())
            .filter(|line| !line.starts_with("config ="))
            .collect()
    };
    assert_eq!(without_origin(&again.join("\n")), without_origin(&shown));
}

#[test]
fn a_file_that_is_not_there_is_no_reason_to_go_on_without() {
    let loaded = CommandLine::of(["orlop", "serve", "--config", "/nowhere/orlop.toml"]).load();
    assert!(matches!(loaded, Err(ConfigError::Unreadable(..))), "{loaded:?}");
}

//! What reviewers should not have to look for: the rules of the house, checked on the sources as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project and its text.
struct Source {
    /// From the root of the workspace.
    path: String,
    text: String,
}

impl Source {
    /// The lines of code, without comments, and their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines.map(|(i, line)| (i + 1, line.split(" // ").next().unwrap_or(line)))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of the workspace").into()
}

/// Every text file that people write, but for what the tests hold as data.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A directory, or in a worktree a file.
            if name == ".git" {
                continue;
            }
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | "node_modules" | "pkg" | "pkg-suite" | "dist" | "page-dist") {
                    directories.push(path);
                }
                continue;
            }
            let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            let written = matches!(extension.as_str(), "rs" | "md" | "toml" | "sh" | "js" | "html" | "css" | "yml");
            if let (true, Ok(text)) = (written || extension.is_empty(), fs::read_to_string(&path)) {
                let path = path.strip_prefix(root()).expect("it is below").to_string_lossy().into_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 30, "this is not the workspace");
    sources
}

fn rust() -> Vec<Source> {
    sources().into_iter().filter(|source| source.path.ends_with(".rs")).collect()
}

fn core() -> Vec<Source> {
    rust().into_iter().filter(|source| source.path.starts_with("core/src/")).collect()
}

/// Fails with everything that was found.
#[track_caller]
fn none(what: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<_> = found.into_iter().collect();
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn one_file_of_the_core_names_std() {
    let names_std =
        |source: &Source| source.code().any(|(_, line)| line.contains("std::") || line.contains("crate std"));
    let files: Vec<_> = core().into_iter().filter(names_std).map(|source| source.path).collect();
    assert_eq!(files, ["core/src/step.rs"]);
}

/// Two places that make keys would have to agree.
#[test]
fn keys_of_records_are_made_in_one_file() {
    let core = core();
    let keys = core.iter().find(|source| source.path == "core/src/keys.rs").expect("the map of the registry");
    let mut families = BTreeSet::new();
    for (_, line) in keys.code() {
        let literal = line.split('"').nth(1).filter(|_| line.contains("Key(") || line.contains("Prefix("));
        families.extend(literal.and_then(|literal| literal.split_once('/')).map(|(family, _)| family));
    }
    let expected =
        ["repo", "tag", "tagged", "platforms", "manifest", "payload", "referrer", "link", "holder", "use", "blob"];
    none("these families are not found", expected.iter().filter(|f| !families.contains(*f)).map(ToString::to_string));
    let others = core.iter().filter(|source| source.path != keys.path);
    let made = others.flat_map(|source| {
        source.code().filter_map(|(number, line)| {
            let family = families.iter().find(|family| line.contains(&format!("\"{family}/")))?;
            Some(format!("{}:{number} spells `{family}/`", source.path))
        })
    });
    none("keys are made in keys.rs alone", made);
}

#[test]
fn no_file_is_too_long_to_read() {
    const LINES: usize = 600;
    let long = rust().into_iter().filter(|source| source.text.lines().count() > LINES);
    none("these files have more than one subject", long.map(|source| source.path));
}

#[test]
fn every_file_is_named_after_its_subject() {
    let nameless = ["utils", "util", "common", "helpers", "helper", "types", "misc"];
    let nameless = sources().into_iter().filter(|source| {
        let mut parts = source.path.split(['/', '.']);
        parts.any(|part| nameless.contains(&part))
    });
    none("these names say nothing", nameless.map(|source| source.path));
}

#[test]
fn nothing_is_left_for_later() {
    // In two halves, so that this file does not speak of itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["to", "do!"], ["un", "implemented!"], ["#[", "ignore"]];
    let marks = marks.map(|halves| halves.concat());
    let left = sources().into_iter().filter(|source| source.path != "tests/SPEC.md").flat_map(|source| {
        let lines = source.text.lines().enumerate();
        // What needs more than Rust says what of `tests/run` runs it.
        let elsewhere = |line: &str| line.contains("`tests/run ");
        let marked = lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)) && !elsewhere(line));
        marked.map(|(i, line)| format!("{}:{}: {}", source.path, i + 1, line.trim())).collect::<Vec<_>>()
    });
    none("this is left to be done", left);
}

#[test]
fn no_file_speaks_of_places_outside_the_project() {
    let outside = [["../sha", "red"], [".lib", "rary"], ["/wo", "rk/"]].map(|halves| halves.concat());
    let told = sources().into_iter().flat_map(|source| {
        let lines = source.text.lines().enumerate();
        let named = lines.filter(|(_, line)| outside.iter().any(|word| line.contains(word.as_str())));
        named.map(|(i, line)| format!("{}:{}: {}", source.path, i + 1, line.trim())).collect::<Vec<_>>()
    });
    none("no reader has these", told);
}

/// The items of the specification: their numbers and levels.
fn items() -> BTreeMap<String, String> {
    let spec = fs::read_to_string(root().join("tests/SPEC.md")).expect("tests/SPEC.md");
    let mut items = BTreeMap::new();
    for line in spec.lines() {
        // Sections T and U have several items on a line.
        let starts = line.split(". ").flat_map(|sentence| sentence.split_once(' ').map(|_| sentence));
        for sentence in std::iter::once(line).chain(starts.filter(|_| line.starts_with(['T', 'U']))) {
            let mut words = sentence.split_whitespace();
            if let (Some(number), Some(level)) = (words.next(), words.next())
                && is_item(number)
            {
                items.entry(number.into()).or_insert_with(|| level.into());
            }
        }
    }
    items
}

/// A section and a number.
fn is_item(word: &str) -> bool {
    let (section, number) = of_item(word);
    (1..=2).contains(&section.len()) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// The capital letters of a section, and what is behind them.
fn of_item(word: &str) -> (&str, &str) {
    word.split_at(word.bytes().take_while(u8::is_ascii_uppercase).count())
}

/// What a source cites as `SPEC A1, B2–B4` in its comments.
fn cited(source: &Source) -> BTreeSet<String> {
    let mut cited = BTreeSet::new();
    // A citation may go on in the next line of the comment.
    let comments = source.text.lines().map(str::trim).filter_map(|line| line.split_once("//").map(|(_, rest)| rest));
    let text = comments.map(|line| line.trim_start_matches(['/', '!', ' '])).collect::<Vec<_>>().join(" ");
    for citation in text.split("SPEC ").skip(1) {
        let mut last: Option<(&str, u32)> = None;
        for (i, word) in citation.split(' ').enumerate() {
            for (j, part) in word.split('–').enumerate() {
                let item = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                if !is_item(item) {
                    break;
                }
                let (section, number) = of_item(item);
                let number: u32 = number.parse().expect("a number");
                let first = match last {
                    Some((from, first)) if j == 1 && from == section => first,
                    _ => number,
                };
                cited.extend((first..=number).map(|number| format!("{section}{number}")));
                last = Some((section, number));
            }
            let goes_on = word.ends_with(',') && last.is_some() && i < 40;
            if !goes_on {
                break;
            }
        }
    }
    cited
}

#[test]
fn every_item_of_the_specification_that_is_cited_exists() {
    let items = items();
    assert!(items.len() > 200, "{}", items.len());
    let wrong = rust().into_iter().flat_map(|source| {
        let wrong = cited(&source).into_iter().filter(|item| !items.contains_key(item)).collect::<Vec<_>>();
        wrong.into_iter().map(move |item| format!("{} cites {item}", source.path))
    });
    none("there are no such items", wrong);
}

/// The items that the core cannot show, and who does.
const ELSEWHERE: [(&str, &str); 9] = [
    ("A2", "who is asking, hosts know: see section Q"),
    ("A6", "the registry redirects nobody"),
    ("A10", "the registry warns of nothing"),
    ("A11", "hosts limit rates; the core has the code"),
    ("A15", "the official conformance program is run against the server"),
    ("C12", "the registry redirects nobody"),
    ("K17", "no repository is read-only"),
    ("K18", "codes of schema 1, which is not taken"),
    ("P4", "who is asking, and how often, hosts know"),
];

/// Whether an item is one of the sections A to P: what other specifications ask for.
fn is_demand(item: &str) -> bool {
    let (section, _) = of_item(item);
    section.len() == 1 && ("A"..="P").contains(&section)
}

#[test]
fn every_demand_of_the_specification_has_a_test() {
    let tests = rust().into_iter().filter(|source| source.path.starts_with("tests/integration/spec/"));
    let tested: BTreeSet<String> = tests.flat_map(|source| cited(&source)).collect();
    let demands = items().into_iter().filter(|(item, _)| is_demand(item));
    let untested = demands.filter(|(item, _)| !tested.contains(item) && !ELSEWHERE.iter().any(|(e, _)| e == item));
    none("no test cites these", untested.map(|(item, level)| format!("{item} {level}")));
}

/// An item that the tester neither checks nor excuses is one that nobody has thought of.
#[test]
fn every_item_of_the_specification_is_checked_by_the_tester_or_it_says_why_not() {
    use orlop_conformance::tester::checks;
    let checked: BTreeSet<&str> = checks::all().iter().map(|check| check.item).collect();
    let excused: BTreeSet<&str> = checks::ELSEWHERE.iter().map(|(item, _)| *item).collect();
    none("these are both", checked.intersection(&excused).map(ToString::to_string));
    let items = items();
    let known = |item: &&&str| items.contains_key(**item);
    none("there are no such items", checked.union(&excused).filter(|item| !known(item)).map(ToString::to_string));
    let demands = items.keys().filter(|item| is_demand(item));
    let forgotten = demands.filter(|item| !checked.contains(item.as_str()) && !excused.contains(item.as_str()));
    none("the tester says nothing of these", forgotten.cloned());
}

/// The rooms of the native host, the lowest first: each may import from those before it.
const ROOMS: [&str; 17] = [
    "settings",
    "crowd",
    "distribution",
    "remote",
    "copy",
    "storage/counters",
    "storage/disk",
    "storage/directory",
    "storage/shared",
    "storage",
    "auth",
    "observe",
    "sync",
    "exchange",
    "request",
    "server",
    "command",
];

const HOST: &str = "host-native/src/";

/// The room of a file of the native host; those in none tie the rooms together.
fn room(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix(HOST)?;
    // A room within a room comes before it in the list.
    ROOMS.into_iter().find(|room| path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/')))
}

/// What a file imports from other rooms although it may not, and what hides where it imports from.
fn wrong_imports(source: &Source) -> Vec<String> {
    let place = |of: &str| ROOMS.iter().position(|room| *room == of);
    let Some(own) = room(&source.path).and_then(place) else { return Vec::new() };
    let mut wrong = Vec::new();
    for (number, line) in source.code() {
        let mut told = |what: &str| wrong.push(format!("{}:{number} {what}: {}", source.path, line.trim()));
        for (at, root) in line.match_indices("crate::") {
            // `pub(in crate::…)` says who may import this.
            if line[..at].ends_with("in ") || line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let path: String = line[at + root.len()..].replace("::", "/");
            let is_of = |room: &&&str| {
                let rest = path.strip_prefix(**room);
                rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            match ROOMS.iter().find(is_of).and_then(|room| place(room)) {
                Some(other) if other <= own => {}
                Some(other) => told(&format!("imports {} into {}", ROOMS[other], ROOMS[own])),
                None => told("imports by the root of the crate"),
            }
        }
        let from_above = line.contains("super::super::") || source.path.ends_with(&format!("{}/mod.rs", ROOMS[own]));
        if from_above && line.contains("super::") {
            told("leaves its room by `super`");
        }
    }
    wrong
}

#[test]
fn no_room_of_the_native_host_imports_one_above_it() {
    let host: Vec<_> = rust().into_iter().filter(|source| source.path.starts_with(HOST)).collect();
    let roomless = host.iter().filter(|source| room(&source.path).is_none()).map(|source| source.path.clone());
    assert_eq!(roomless.collect::<Vec<_>>(), [format!("{HOST}lib.rs"), format!("{HOST}main.rs")]);
    for room in ROOMS {
        assert!(host.iter().any(|source| source.path == format!("{HOST}{room}/mod.rs")), "there is no {room}");
    }
    none("these rooms are no order", host.iter().flat_map(wrong_imports));
}

#[test]
fn an_import_from_a_room_above_is_found_however_it_is_written() {
    let check = |path: &str, line: &str, expected: usize| {
        let source = Source { path: format!("{HOST}{path}"), text: line.into() };
        assert_eq!(wrong_imports(&source).len(), expected, "{path}: {line}");
    };
    check("settings/policy.rs", "use crate::command::cli::Cli;", 1);
    check("storage/directory/files/part.rs", "    crate::storage::run::Host::open();", 1);
    check("storage/run.rs", "use crate::storage::directory::{Directory, Sink};", 0);
    check("storage/directory/sink.rs", "pub(in crate::storage) struct Sink;", 0);
    check("observe/webhooks.rs", "use crate::request::live::Current; use crate::server::http;", 2);
    check("server/http.rs", "use crate::{Limits, request};", 1);
    check("server/http.rs", "use crate::Limits;", 1);
    check("storage/directory/mod.rs", "use super::engine::Storage;", 1);
    check("auth/identity.rs", "use super::super::request::live::Live;", 1);
    check("auth/identity.rs", "// as crate::request::admit decides", 0);
    check("lib.rs", "pub use crate::server::serve;", 0);
}

/// What all hosts in one process may share: tables that never change, and the allocator.
const SHARED_BY_ALL: [(&str, &str); 5] = [
    ("host-native/src/main.rs", "ALLOCATOR"),
    ("host-native/src/request/response.rs", "USUAL"),
    ("host-native/src/server/page.rs", "CONSOLE"),
    ("host-native/src/server/page.rs", "PLAYGROUND"),
    ("host-native/src/storage/disk/sendfile.rs", "STAND_IN"),
];

/// The names of statics, and of what holds one for each thread.
fn statics(source: &Source) -> Vec<String> {
    let of = |line: &str| {
        if line.contains("thread_local!") {
            return Some("thread_local!".to_owned());
        }
        let line = line.trim_start();
        // Behind `pub`, `pub(crate)`, `pub(in …)`, or nothing.
        let line = line.strip_prefix("pub").map_or(line, |rest| match rest.strip_prefix('(') {
            Some(rest) => rest.split_once(')').map_or(rest, |(_, rest)| rest),
            None => rest,
        });
        let name = line.trim_start().strip_prefix("static ")?;
        Some(name.split(':').next().unwrap_or(name).trim().to_owned())
    };
    source.code().filter_map(|(_, line)| of(line)).collect()
}

/// Two hosts in one process share nothing that changes.
#[test]
fn nothing_of_the_process_holds_the_state_of_a_host() {
    let code = rust().into_iter().filter(|s| s.path.starts_with(HOST) || s.path.starts_with("core/src/"));
    let mut found = BTreeSet::new();
    for source in code {
        found.extend(statics(&source).into_iter().map(|name| (source.path.clone(), name)));
    }
    let expected = SHARED_BY_ALL.map(|(path, name)| (path.to_owned(), name.to_owned()));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    let named = |line: &str| statics(&Source { path: String::new(), text: line.into() });
    assert_eq!(named("    pub(crate) static mut COUNT: u8 = 0;"), ["mut COUNT"]);
    assert_eq!(named("thread_local! {"), ["thread_local!"]);
    assert!(named("fn name(&self) -> &'static str {").is_empty());
}

/// A dependency that nobody uses is one to review for nothing.
#[test]
fn every_dependency_is_used() {
    let sources = sources();
    let manifest = |path: &str| sources.iter().find(|source| source.path == path).map(|source| source.text.as_str());
    let names = |text: &str, table: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| line.trim() != format!("[{table}]")).skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        let named = lines.filter_map(|line| line.split(['=', '.', ' ']).next());
        named.filter(|name| !name.is_empty() && !name.starts_with('#')).map(String::from).collect()
    };
    let workspace = manifest("Cargo.toml").expect("the workspace");
    let members = [
        "core",
        "host-native",
        "host-wasm",
        "host-wasm/bindgen",
        "host-wasm/command",
        "host-wasm/tester",
        "tests",
        "tests/bench",
    ];
    let mut unused = Vec::new();
    let mut wanted = BTreeSet::new();
    for member in members {
        let Some(text) = manifest(&format!("{member}/Cargo.toml")) else { continue };
        let code: Vec<_> = rust().into_iter().filter(|source| source.path.starts_with(&format!("{member}/"))).collect();
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in names(text, table) {
                let path = name.replace('-', "_");
                let used = code.iter().any(|source| source.code().any(|(_, line)| line.contains(&path)));
                if !used {
                    unused.push(format!("{member} does not use {name}"));
                }
                wanted.insert(name);
            }
        }
    }
    unused.extend(names(workspace, "workspace.dependencies").into_iter().filter(|name| !wanted.contains(name)));
    none("these dependencies are not used", unused);
}

/// Documents that name files lose them when the files move.
#[test]
fn the_files_that_documents_name_exist() {
    let tops = ["core/", "host-native/", "host-wasm/", "tests/", ".ci/"];
    let documents =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md"];
    let mut missing = Vec::new();
    for document in documents {
        let Ok(text) = fs::read_to_string(root().join(document)) else { continue };
        for span in text.split('`').skip(1).step_by(2).filter(|span| tops.iter().any(|top| span.starts_with(top))) {
            if span.contains([' ', '*', '<', '…', '\n']) {
                continue;
            }
            let names = match (span.find('{'), span.find('}')) {
                (Some(open), Some(close)) if open < close => {
                    let names = span[open + 1..close].split(',');
                    names.map(|name| format!("{}{name}{}", &span[..open], &span[close + 1..])).collect()
                }
                _ => vec![span.to_owned()],
            };
            let gone = names.into_iter().filter(|name| !root().join(name).exists());
            missing.extend(gone.map(|name| format!("{document} names {name}")));
        }
    }
    none("these files are not there", missing);
}

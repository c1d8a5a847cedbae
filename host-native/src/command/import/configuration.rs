//! `orlop import config`: a configuration of distribution becomes one of Orlop.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;

use crate::command::cli::Configuration;
use crate::command::translate::{self, Answer, Kind, Translation};
use crate::settings::watched::read_text_within;

/// A variable that begins like those of distribution and is the one of `orlop copy`, podman and skopeo.
const FOREIGN: &str = "REGISTRY_AUTH_FILE";

/// How large a configuration may be.
const LARGEST: usize = 1 << 20;

/// Translates a configuration, as the command line has it.
///
/// # Errors
///
/// When a file cannot be read or written, or is no configuration; with `--strict` when a key is not supported or unknown.
pub(super) fn import(asked: &Configuration) -> Result<(), Box<dyn Error>> {
    let source = asked.source.display();
    let text = read(&asked.source)?;
    let mut environment = Vec::new();
    if asked.env {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        for (name, value) in variables.filter(|(name, _)| name.starts_with("REGISTRY_") && name != FOREIGN) {
            let value = value.into_string().map_err(|_| format!("{name} is no text in UTF-8"))?;
            environment.push((name, value));
        }
    }
    if let Some(file) = &asked.env_file {
        environment.extend(translate::variables(&read(file)?));
    }
    let translation = translate::translate(&text, &environment).map_err(|reason| format!("{source}: {reason}"))?;
    if let Some(out) = &asked.out {
        write(out, &translation.toml)?;
    }
    let json = asked.json.then(|| as_json(&translation));
    match (&json, &asked.out) {
        (Some(json), _) => out!("{json}"),
        // The report is beside the configuration, not in it.
        (None, None) => {
            out!("{}", translation.toml.trim_end_matches('\n'));
            note!("{}", report(&translation));
        }
        (None, Some(out)) => {
            out!("{}", report(&translation));
            let shown = out.display();
            out!("written to {shown}, for its owner alone; `orlop config check --config {shown}` checks it");
        }
    }
    let lost = translation.answers.iter().filter(|answer| answer.kind >= Kind::Unsupported).count();
    if asked.strict && lost > 0 {
        return Err(format!("{lost} keys of {source} are not supported or unknown").into());
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = read_text_within(path, LARGEST as u64 + 1)?;
    if bytes.len() > LARGEST {
        return Err(format!("{} has more than {} KiB: it is no configuration", path.display(), LARGEST >> 10));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is no text in UTF-8", path.display()))
}

/// Writes a file that is not there yet, for its owner alone until somebody has looked at it.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let shown = path.display();
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{shown} exists: name another file with --out, or remove it"),
        _ => format!("{shown} cannot be written: {error}"),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| format!("{shown} cannot be written: {error}"))
}

/// What was not taken, what is to be done, and how many there are of each kind.
fn report(translation: &Translation) -> String {
    let count = |kind: Kind| translation.answers.iter().filter(|answer| answer.kind == kind).count();
    let mut lines = Vec::new();
    for (kind, what) in [(Kind::Unknown, "unknown"), (Kind::Unsupported, "not supported")] {
        for answer in translation.answers.iter().filter(|answer| answer.kind == kind) {
            lines.push(format!("{what}: {answer}"));
        }
    }
    lines.extend(translation.to_do.iter().map(|what| format!("to do: {what}")));
    lines.push(format!(
        "{} keys taken, {} not needed, {} not supported, {} unknown",
        count(Kind::Taken),
        count(Kind::NotNeeded),
        count(Kind::Unsupported),
        count(Kind::Unknown)
    ));
    lines.join("\n")
}

fn as_json(translation: &Translation) -> serde_json::Value {
    let answers = translation.answers.iter().map(|Answer { key, place, kind, told }| {
        let kind = match kind {
            Kind::Taken => "taken",
            Kind::NotNeeded => "notNeeded",
            Kind::Unsupported => "unsupported",
            Kind::Unknown => "unknown",
        };
        json!({ "key": key, "place": place, "answer": kind, "told": told })
    });
    json!({ "keys": answers.collect::<Vec<_>>(), "toDo": translation.to_do })
}

//! `orlop list --tree`: repositories as a tree by the slashes in their names.

use std::collections::VecDeque;
use std::error::Error;

use orlop_core::Registry;
use orlop_core::name::Repository;
use serde_json::{Value as Json, json};

use super::{API, Asked, LISTED, ask, entries, get, size, text};
use crate::command::cli;
use crate::command::config::Effective;
use crate::command::deleted::columns;
use crate::storage::Host;

/// Where a tree is, for [`Asked`]: the API has the folders of it.
pub(super) const PATH: &str = "tree";

/// A folder that is being read.
struct Level {
    /// What is left of the page that was read.
    entries: VecDeque<Json>,
    /// The URL of the page behind it.
    next: Option<String>,
}

impl Level {
    async fn read(registry: &Registry, host: &Host, target: String) -> Result<Self, String> {
        let mut page = get(registry, host, target).await?;
        let next = page["next"].as_str().map(str::to_owned);
        let entries = page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(Self { entries: entries.into(), next })
    }

    async fn of(registry: &Registry, host: &Host, folder: &str) -> Result<Self, String> {
        let Asked(folder) = Asked::list("folders", &[("n", "100"), ("under", folder)]);
        Self::read(registry, host, format!("{API}{folder}")).await
    }
}

/// Reads a folder and what is in it, down to a depth: each folder before what is in it, up to a number, and whether there is
/// more.
///
/// # Errors
///
/// With what a client would be told.
pub(super) async fn read(
    registry: &Registry,
    host: &Host,
    given: impl Fn(&str) -> Option<String>,
) -> Result<Json, String> {
    let depth = given("depth").and_then(|depth| depth.parse().ok()).unwrap_or(usize::MAX);
    let mut levels = vec![Level::of(registry, host, &given("under").unwrap_or_default()).await?];
    let (mut all, mut more) = (Vec::new(), false);
    while let Some(level) = levels.last_mut() {
        if let Some(entry) = level.entries.pop_front() {
            more = all.len() >= LISTED;
            if more {
                break;
            }
            let folder = entry["name"].as_str().filter(|_| entry["kind"] == "folder").map(str::to_owned);
            all.push(entry);
            if let Some(folder) = folder.filter(|_| levels.len() < depth) {
                levels.push(Level::of(registry, host, &folder).await?);
            }
        } else if let Some(next) = level.next.take() {
            *level = Level::read(registry, host, next).await?;
        } else {
            levels.pop();
        }
    }
    Ok(json!({ "entries": all, "more": more }))
}

/// `orlop list --tree`
///
/// # Errors
///
/// With what cannot be looked up, and why.
pub(super) fn tree(command: &cli::List, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let under = command.repository.as_deref().unwrap_or_default().trim_end_matches('/');
    if !under.is_empty() {
        under.parse::<Repository>().map_err(|_| format!("`{under}` is no folder: write it like team/apps"))?;
    }
    let depth = command.depth.map_or_else(String::new, |depth| depth.to_string());
    let answer = ask(&Asked::list(PATH, &[("under", under), ("depth", &depth)]), &command.settings, effective)?;
    let whole: Json = serde_json::from_str(&answer)?;
    if !under.is_empty() && entries(&whole, "entries").next().is_none() {
        Err(format!("there is no repository below {under}/"))?;
    }
    if command.json {
        out!("{answer}");
        return Ok(());
    }
    out!("{}", printed(&whole, under));
    if whole["more"] == true {
        note!("there are more: name a folder, or say with --depth how many levels you look for");
    }
    Ok(())
}

/// A line for each entry, under its folder.
fn printed(whole: &Json, under: &str) -> String {
    let above = if under.is_empty() { 0 } else { under.split('/').count() };
    let row = |entry: &Json| {
        let name = entry["name"].as_str().unwrap_or_default();
        let (depth, last) =
            (name.split('/').count().saturating_sub(above + 1), name.rsplit('/').next().unwrap_or(name));
        let is_folder = entry["kind"] == "folder";
        let name = format!("{}{last}{}", "  ".repeat(depth), if is_folder { "/" } else { "" });
        let plus = if entry["more"] == true { "+" } else { "" };
        let repositories = if is_folder { format!("{}{plus}", text(&entry["repositories"])) } else { "-".into() };
        [name, repositories, text(&entry["tags"]), size(&entry["bytes"]), text(&entry["pushed"])]
    };
    columns(["NAME", "REPOSITORIES", "TAGS", "BYTES", "LAST PUSH"], entries(whole, "entries").map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_folder_stands_below_it() {
        let whole = json!({ "entries": [
            { "kind": "folder", "name": "team/x", "repositories": 1000, "more": true, "bytes": 1024 },
            { "kind": "repository", "name": "team/x/app", "tags": 7, "bytes": 3, "pushed": "2027-01-15T08:00:00Z" },
            { "kind": "repository", "name": "team/x" },
        ] });
        let expected = "NAME   REPOSITORIES  TAGS  BYTES    LAST PUSH\n\
                        x/     1000+         -     1.0 KiB  -\n\
                        \u{20} app  -             7     3 B      2027-01-15T08:00:00Z\n\
                        x      -             -     -        -";
        assert_eq!(printed(&whole, "team"), expected);
    }
}

//! What was deleted: listed, undeleted, purged; and what is protected from that.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use orlop_core::name::{Repository, Tag};
use orlop_core::protect::Mark;
use orlop_core::record::ProtectMark;
use orlop_core::target::Reference;
use orlop_core::{Deleted, Fault, Purged, Registry, Step, Undeleted, Undeleting};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::command::cli;
use crate::command::config::Effective;
use crate::command::control::{Request, read_asked, write_asked};
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::date::rfc3339;
use crate::observe::log;
use crate::request::administer::kept::{deleted, protected};
use crate::request::live::Live;
use crate::settings::{LogFormat, Settings};
use crate::storage::{self, Host, RequestBody, ambient};

/// How many entries one list has: it is in memory as a whole.
const LISTED: usize = 10_000;

/// What the line of a request begins with.
const LINE: &str = "deleted ";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// To list what was deleted, in one repository or in all.
    List {
        /// Which.
        repository: Option<Repository>,
        /// As JSON.
        json: bool,
    },
    /// To bring something back.
    Undelete {
        /// What.
        image: Image,
        /// Overwrites a tag.
        force: bool,
        /// Under which name a tag.
        named: Option<Tag>,
        /// As JSON.
        json: bool,
    },
    /// To remove something at once; the answer is JSON.
    Purge {
        /// What.
        image: Image,
        /// Even if it is protected.
        force: bool,
    },
    /// To set marks, or without any to list them.
    Protect {
        /// Which.
        marks: Vec<Mark>,
        /// As JSON.
        json: bool,
    },
    /// To remove marks.
    Unprotect {
        /// Which.
        marks: Vec<Mark>,
    },
}

/// `REPOSITORY`, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Image {
    repository: Repository,
    reference: Option<Reference>,
}

impl Image {
    /// What is named by both; without a reference the repository as a whole.
    pub(super) fn new(repository: Repository, reference: Option<Reference>) -> Self {
        Self { repository, reference }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            None => self.repository.fmt(f),
            Some(Reference::Tag(tag)) => write!(f, "{}:{tag}", self.repository),
            Some(Reference::Digest(digest)) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || match text.split_once('/') {
            Some((host, rest)) if host.contains(':') && !rest.is_empty() => {
                format!("`{text}` is not an image: leave out the host `{host}`, and write {rest}")
            }
            _ => format!("`{text}` is not an image: write REPOSITORY:TAG or REPOSITORY@DIGEST"),
        };
        let (repository, reference) = match text.split_once('@').or_else(|| text.split_once(':')) {
            Some((repository, reference)) => (repository, Some(reference.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        Ok(Self { repository: repository.parse().map_err(|_| wrong())?, reference })
    }
}

impl TryFrom<String> for Image {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Image> for String {
    fn from(image: Image) -> Self {
        image.to_string()
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_asked(f, LINE, self)
    }
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        read_asked(LINE, line)
    }
}

fn marks(texts: &[String]) -> Result<Vec<Mark>, String> {
    texts.iter().map(|text| text.parse().map_err(|error| format!("{error}"))).collect()
}

/// `orlop deleted`.
///
/// # Errors
///
/// With what could not be done, and why; so of all verbs here.
pub fn deleted(command: &cli::Deleted, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let repository =
        command.repository.as_ref().map(|name| name.parse().map_err(|_| format!("`{name}` is not a repository name")));
    perform(Asked::List { repository: repository.transpose()?, json: command.json }, &command.settings, effective)
}

/// `orlop undelete`.
pub fn undelete(command: &cli::Undelete, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let image: Image = command.image.parse()?;
    let named = command.named.as_ref().map(|tag| tag.parse().map_err(|_| format!("`{tag}` is not a tag")));
    let named: Option<Tag> = named.transpose()?;
    match &image.reference {
        None => Err(format!("name a tag or a digest of {image}; `orlop deleted {image}` lists what there is"))?,
        Some(Reference::Digest(_)) if named.is_some() => Err("--as is for tags: name one instead of a digest")?,
        Some(_) => {}
    }
    let (force, json) = (command.force, command.json);
    perform(Asked::Undelete { image, force, named, json }, &command.settings, effective)
}

/// `orlop purge`.
pub fn purge(command: &cli::Purge, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let image: Image = command.image.parse()?;
    let asked = Asked::Purge { image: image.clone(), force: command.force };
    let answer = ask(asked, &command.settings, effective)?;
    let done: Purged = serde_json::from_str(&answer)?;
    out!("{}", if command.json { answer } else { purged(&image.repository, &done) });
    match done.fault {
        Some(fault) => Err(format!("the purge ended early: {fault}; run it again").into()),
        None => Ok(()),
    }
}

/// `orlop protect`.
pub fn protect(command: &cli::Protect, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    perform(Asked::Protect { marks: marks(&command.marks)?, json: command.json }, &command.settings, effective)
}

/// `orlop unprotect`.
pub fn unprotect(command: &cli::Unprotect, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    perform(Asked::Unprotect { marks: marks(&command.marks)? }, &command.settings, effective)
}

/// The same, and prints the answer.
fn perform(asked: Asked, settings: &Settings, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    out!("{}", ask(asked, settings, effective)?);
    Ok(())
}

/// Has it done by the server that has the data directory open, or else by this process.
fn ask(asked: Asked, settings: &Settings, effective: &[Effective]) -> Result<String, Box<dyn Error>> {
    let data = &settings.storage.data;
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "does this")?;
    }
    let here = async |host: &Arc<Host>| {
        log::start(settings.storage.log.clone(), LogFormat::Text);
        let (live, _) = Live::new(settings)?;
        answer(&live.registry, host, &asked).await
    };
    by_server_or_here(data, &settings.options(), Request::Deleted(asked.clone()), here)
}

/// Does what is asked, and says what is to be printed.
///
/// # Errors
///
/// With the reason why it is not done.
pub async fn answer(registry: &Registry, host: &Host, asked: &Asked) -> Result<String, String> {
    match asked {
        Asked::List { repository, json } => list(registry, host, repository.as_ref(), *json).await,
        Asked::Undelete { image: Image { repository, reference: Some(reference) }, force, named, json } => {
            let how = Undeleting { force: *force, named: named.clone() };
            let step = registry.undelete(repository.clone(), reference.clone(), how, ambient());
            let done = run(host, step).await.map_err(|refused| refused.to_string())?;
            tracing::info!(
                repository = repository.as_str(),
                manifests = done.manifests.len(),
                tags = done.tags.len(),
                "undeleted {reference}"
            );
            told(*json, &done, || undeleted(repository, &done))
        }
        Asked::Undelete { image, .. } => Err(format!("name a tag or a digest of {image}")),
        Asked::Purge { image: Image { repository, reference }, force } => {
            let step = registry.purge(repository.clone(), reference.clone(), *force, ambient());
            let done = run(host, step).await.map_err(|refused| refused.to_string())?;
            tracing::info!(
                repository = repository.as_str(),
                manifests = done.manifests.len(),
                blobs = done.blobs.len(),
                bytes = done.bytes,
                fault = done.fault,
                "purged"
            );
            told(true, &done, String::new)
        }
        Asked::Protect { marks, json } if marks.is_empty() => {
            let marks = run(host, registry.protections(ambient())).await.map_err(|fault| fault.to_string())?;
            let all: Vec<Json> = marks.iter().map(protected::told).collect();
            told(*json, &all, || protections(&marks))
        }
        Asked::Protect { marks, .. } => {
            let mut said = Vec::new();
            for mark in marks {
                let new = match run(host, registry.protect(mark.clone(), ambient())).await {
                    Ok(new) => new,
                    Err(refused) => {
                        said.push(format!("{mark} and what follows it is not protected: {refused}"));
                        return Err(said.join("\n"));
                    }
                };
                let idle = match run(host, registry.protects_any(mark.clone(), ambient())).await {
                    Ok(true) => String::new(),
                    Ok(false) if mark.digest().is_some() => "; there is no such manifest now".into(),
                    Ok(false) => "; it matches no tag now".into(),
                    Err(fault) => format!("; what it matches cannot be looked up: {fault}"),
                };
                let done = if new { "is protected" } else { "was protected already" };
                said.push(format!("{mark} {done}{idle}"));
            }
            Ok(said.join("\n"))
        }
        Asked::Unprotect { marks } => {
            let (mut said, mut failed) = (Vec::new(), false);
            for mark in marks {
                match run(host, registry.unprotect(mark.clone(), ambient())).await {
                    Ok(true) => said.push(format!("{mark} is protected no more")),
                    Ok(false) => {
                        said.push(format!("there is no mark {mark}; `orlop protect --list` prints them"));
                        failed = true;
                    }
                    Err(refused) => {
                        said.push(format!("{mark} and what follows it stays: {refused}"));
                        return Err(said.join("\n"));
                    }
                }
            }
            if failed { Err(said.join("\n")) } else { Ok(said.join("\n")) }
        }
    }
}

async fn run<T: Send + 'static>(host: &Host, step: Step<T>) -> T {
    host.run(step, &mut RequestBody::empty()).await
}

fn told<T: Serialize>(json: bool, done: &T, text: impl FnOnce() -> String) -> Result<String, String> {
    if json { serde_json::to_string(done).map_err(|error| error.to_string()) } else { Ok(text()) }
}

async fn list(registry: &Registry, host: &Host, name: Option<&Repository>, json: bool) -> Result<String, String> {
    let (mut all, mut damaged, mut after) = (Vec::new(), Vec::new(), None);
    let page = async |after| {
        let page: Result<_, Fault> = run(host, registry.deleted(name.cloned(), after, ambient())).await;
        page.map_err(|fault| fault.to_string())
    };
    while all.len() + damaged.len() < LISTED {
        let page = page(after).await?;
        all.extend(page.deleted);
        damaged.extend(page.damaged);
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    for key in &damaged {
        tracing::warn!("the record {key:?} of something that was deleted does not read");
    }
    let more = match after {
        Some(after) => page(Some(after)).await?.after.is_some(),
        None => false,
    };
    if !json {
        return Ok(table(&all, more));
    }
    let damaged: Vec<&str> = damaged.iter().map(|key| key.as_str()).collect();
    let all = all.iter().map(deleted::told).collect::<Result<Vec<Json>, _>>().map_err(|error| error.to_string())?;
    Ok(json!({ "deleted": all, "damaged": damaged, "more": more }).to_string())
}

/// The list as columns.
fn table(all: &[Deleted], more: bool) -> String {
    if all.is_empty() {
        return "nothing was deleted that can be undeleted".into();
    }
    let image = |one: &Deleted| match &one.tag {
        Some(tag) => format!("{}:{tag}", one.repository),
        None => format!("{}@{}", one.repository, one.digest),
    };
    let rows = all.iter().map(|one| {
        let named = if one.tag.is_some() { one.digest.to_string() } else { "-".into() };
        let by = if one.by.is_empty() { "-".into() } else { one.by.clone() };
        [image(one), named, rfc3339(one.deleted), rfc3339(one.until), by]
    });
    let mut text = columns(["IMAGE", "NAMED", "DELETED", "UNTIL", "BY"], rows);
    if more {
        let _ = write!(text, "\nthere is more; name a repository to list what was deleted in it");
    }
    text
}

pub(super) fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(String::from)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn undeleted(repository: &Repository, done: &Undeleted) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(done.manifests.iter().map(|digest| format!("undeleted {repository}@{digest}")));
    lines.extend(done.tags.iter().map(|tag| format!("undeleted {repository}:{tag}")));
    let taken = |tag: &String| {
        format!(
            "{repository}:{tag} was pushed again and stays as it is; `orlop undelete {repository}:{tag} --as TAG` \
                 brings the deleted one back under another name"
        )
    };
    lines.extend(done.taken.iter().map(taken));
    lines.extend(done.missing.iter().map(|digest| format!("missing: {digest} was deleted by itself; push it again")));
    lines.join("\n")
}

fn purged(repository: &Repository, done: &Purged) -> String {
    let mut lines = Vec::new();
    let Purged { tags, manifests, blobs, bytes, remaining, tags_there, fault: _ } = done;
    let there = match tags_there {
        None | Some(0) => String::new(),
        Some(1) => "; its tag stays".into(),
        Some(tags) => format!("; its {tags} tags stay"),
    };
    if tags_there.is_some() && tags.is_empty() && manifests.is_empty() && remaining.is_empty() {
        return format!("nothing deleted is kept in {repository}{there}");
    }
    let of = if tags_there.is_some() { format!(" of {repository}") } else { String::new() };
    lines.push(format!(
        "purged {} tags, {} manifests and {} blobs{of}; {bytes} bytes erased{there}",
        tags.len(),
        manifests.len(),
        blobs.len()
    ));
    lines.extend(remaining.iter().map(|one| {
        let size = one.size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
        format!("remains: {}{size}: {}", one.digest, one.why)
    }));
    lines.join("\n")
}

fn protections(marks: &[ProtectMark]) -> String {
    if marks.is_empty() {
        return "nothing is protected".into();
    }
    columns(["MARK", "SINCE"], marks.iter().map(|mark| [mark.what.to_string(), rfc3339(mark.since)]))
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;

    use super::*;

    #[test]
    fn images_are_read_as_they_are_written() {
        let digest = Algorithm::Sha256.digest(b"");
        for text in ["team/app".to_owned(), "team/app:v1".into(), format!("team/app@{digest}")] {
            assert_eq!(text.parse::<Image>().unwrap().to_string(), text);
        }
        for text in ["", "Team:v1", "team:", "team@v1:", "team:v 1"] {
            assert!(text.parse::<Image>().unwrap_err().contains("REPOSITORY:TAG"), "{text}");
        }
        let told = "localhost:5000/lib/base:v1".parse::<Image>().unwrap_err();
        assert!(told.ends_with("leave out the host `localhost:5000`, and write lib/base:v1"), "{told}");
    }

    #[test]
    fn a_purge_of_a_repository_says_what_stays() {
        let name: Repository = "team/app".parse().unwrap();
        let told = |done: &Purged| purged(&name, done);
        let nothing = Purged { tags_there: Some(12), ..Purged::default() };
        assert_eq!(told(&nothing), "nothing deleted is kept in team/app; its 12 tags stay");
        let some = Purged { tags: vec!["v1".into()], ..nothing };
        assert_eq!(told(&some), "purged 1 tags, 0 manifests and 0 blobs of team/app; 0 bytes erased; its 12 tags stay");
    }

    #[test]
    fn columns_are_as_wide_as_what_they_have() {
        let rows = [["a".to_owned(), "bb".into()], ["cccccc".into(), String::new()]];
        assert_eq!(columns(["X", "YYY"], rows.into_iter()), "X       YYY\na       bb\ncccccc");
    }
}

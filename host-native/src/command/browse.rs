//! `orlop list`, `search`, `show` and `compare`: what the console shows of repositories, tags and images, as the API tells
//! it.

mod compare;
mod tree;

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use bytesize::ByteSize;
use orlop_core::http::{Body, Headers, Method, Request as Asking};
use orlop_core::{Asked as Call, Caller, Registry};
use serde_json::Value as Json;

use crate::command::cli;
use crate::command::config::Effective;
use crate::command::control::Request;
use crate::command::deleted::{Image, columns};
use crate::command::printed::refused;
use crate::command::start::by_the_servers_settings;
use crate::command::storage::by_server_or_here;
use crate::observe::log;
use crate::request::live::Live;
use crate::settings::{LogFormat, Settings};
use crate::storage::{self, Host, RequestBody, ambient};

pub use self::compare::compare;

/// What the line of a request begins with.
const LINE: &str = "browse ";

/// The API for people.
const API: &str = "/api/v1/";

/// How many entries one list has: it is in memory as a whole.
const LISTED: usize = 10_000;

/// The parameter that says how many entries are wanted at most. The API knows it not.
const TOP: &str = "top";

/// What of the API is asked for, with its query: a list, of which all pages are read, or an image; or, made of several
/// answers, a tree of folders or two images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked(String);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LINE}{}", self.0)
    }
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let asked = line.strip_prefix(LINE).filter(|asked| asked.is_ascii() && !asked.contains(char::is_whitespace));
        asked.map(|asked| Self(asked.into())).ok_or_else(|| format!("`{line}` is nothing that can be looked up"))
    }
}

impl Asked {
    /// A list with these parameters.
    fn list(path: &str, parameters: &[(&str, &str)]) -> Self {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        // A space is not a plus for the registry.
        Self(format!("{path}?{}", query.finish().replace('+', "%20")))
    }

    /// Looks it up, and returns JSON: of a list all entries, up to a number, and whether there are more.
    ///
    /// # Errors
    ///
    /// With what a client would be told.
    pub async fn perform(&self, registry: &Registry, host: &Host) -> Result<String, String> {
        let (path, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let given = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        let whole = match path {
            tree::PATH => tree::read(registry, host, given).await?,
            compare::PATH => compare::read(registry, host, given).await?,
            _ => self.listed(registry, host, given(TOP)).await?,
        };
        Ok(whole.to_string())
    }

    async fn listed(&self, registry: &Registry, host: &Host, top: Option<String>) -> Result<Json, String> {
        let most = top.and_then(|top| top.parse().ok()).unwrap_or(LISTED).min(LISTED);
        let mut whole = get(registry, host, format!("{API}{}", self.0)).await?;
        for list in ["repositories", "tags", "results"] {
            let Some(mut all) = whole[list].as_array().cloned() else { continue };
            let mut next = whole["next"].as_str().map(str::to_owned);
            while let Some(target) = next.filter(|_| all.len() < most) {
                let mut page = get(registry, host, target).await?;
                all.extend(page[list].as_array_mut().map(std::mem::take).unwrap_or_default());
                next = page["next"].as_str().map(str::to_owned);
                whole["next"] = page["next"].take();
            }
            whole["more"] = (whole["next"].is_string() || all.len() > most).into();
            all.truncate(most);
            whole[list] = all.into();
            whole.as_object_mut().and_then(|whole| whole.remove("next"));
        }
        Ok(whole)
    }
}

async fn get(registry: &Registry, host: &Host, target: String) -> Result<Json, String> {
    let answer = ask_as_anybody(registry, host, Method::Get, target).await?;
    serde_json::from_slice(&answer).map_err(|error| error.to_string())
}

/// The body of the answer to a request of somebody who may do everything.
///
/// # Errors
///
/// With the reason why it is refused.
pub(super) async fn ask_as_anybody(
    registry: &Registry,
    host: &Host,
    method: Method,
    target: String,
) -> Result<Bytes, String> {
    let request = Asking { method, target, headers: Headers::new(), length: None, base: None };
    let step = registry.call_of(Arc::new(Caller::anybody()), Arc::new(Call::from(request)), ambient());
    let response = host.run(step, &mut RequestBody::empty()).await;
    match response.body {
        _ if response.status >= 300 => Err(refused(&response)),
        Body::Bytes(bytes) => Ok(bytes),
        _ => Ok(Bytes::new()),
    }
}

/// `orlop list`: repositories, or the tags of one.
///
/// # Errors
///
/// With what cannot be looked up, and why; so of `show`.
pub fn list(command: &cli::List, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    if command.tree {
        return tree::tree(command, effective);
    }
    let sort = command.sort.to_string();
    let order = if command.reverse { "desc" } else { "asc" };
    let text = command.search.as_deref().unwrap_or_default();
    let parameters = [("n", "100"), ("q", text), ("sort", sort.as_str()), ("order", order)];
    let asked = match &command.repository {
        Some(name) => {
            let image: Image = name.parse()?;
            if image.reference().is_some() {
                Err(format!("{image} is an image: `orlop show {image}` shows it"))?;
            }
            Asked::list(&format!("repositories/{name}/tags"), &parameters)
        }
        None => Asked::list("repositories", &parameters),
    };
    let answer = ask(&asked, &command.settings, effective)?;
    if command.json {
        out!("{answer}");
        return Ok(());
    }
    let whole: Json = serde_json::from_str(&answer)?;
    out!("{}", if command.repository.is_some() { tags(&whole) } else { repositories(&whole) });
    if whole["more"] == true {
        note!("there are more: name a part of what you look for with --search");
    }
    Ok(())
}

/// `orlop search`: repositories and tags by a part of their names.
///
/// # Errors
///
/// With what cannot be looked up, and why.
pub fn search(command: &cli::Search, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let top = if command.top == 0 { LISTED } else { command.top };
    let (page, top) = (top.min(100).to_string(), top.to_string());
    let asked = Asked::list("search", &[("q", command.text.as_str()), ("n", &page), (TOP, &top)]);
    let answer = ask(&asked, &command.settings, effective)?;
    if command.json {
        out!("{answer}");
        return Ok(());
    }
    let whole: Json = serde_json::from_str(&answer)?;
    for found in entries(&whole, "results") {
        match found["tag"].as_str() {
            Some(tag) => out!("{}:{tag}", text(&found["repository"])),
            None => out!("{}", text(&found["repository"])),
        }
    }
    if whole["more"] == true {
        note!("there are more: name more of what you look for, or how many with --top");
    }
    Ok(())
}

/// `orlop show`: all that is known of an image.
pub fn show(command: &cli::Show, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    let image: Image = command.image.parse()?;
    let reference = image.reference().ok_or_else(|| format!("`orlop list {image}` lists the tags of {image}"))?;
    let asked = Asked(format!("repositories/{}/images/{reference}", image.repository()));
    let answer = ask(&asked, &command.settings, effective)?;
    match command.json {
        true => out!("{answer}"),
        false => out!("{}", shown(&serde_json::from_str(&answer)?)),
    }
    Ok(())
}

/// Has it looked up by the server that has the data directory open, or else by this process.
fn ask(asked: &Asked, settings: &Settings, effective: &[Effective]) -> Result<String, Box<dyn Error>> {
    let data = &settings.storage.data;
    if data.engines.engines()?.is_none() && storage::holder(&data.directory).is_some() {
        by_the_servers_settings(effective, "looks it up")?;
    }
    let here = async |host: &Arc<Host>| {
        log::start(settings.storage.log.clone(), LogFormat::Text);
        let (live, _) = Live::new(settings)?;
        asked.perform(&live.registry, host).await
    };
    by_server_or_here(data, &settings.options(), Request::Browse(asked.clone()), here)
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "-".into() } else { value.to_string() }, str::to_owned)
}

/// On one line, without what a terminal would take for an order of its own.
pub(super) fn plain(text: &str) -> String {
    let printable = |c: char| if c.is_control() || is_unseen(c) { c.escape_default().to_string() } else { c.into() };
    text.chars().map(printable).collect()
}

/// Whether it turns the direction of text, has no width, or ends a line.
fn is_unseen(c: char) -> bool {
    let directions =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}');
    directions || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{feff}')
}

fn size(value: &Json) -> String {
    value.as_u64().map_or_else(|| "-".into(), |bytes| ByteSize(bytes).display().iec().to_string())
}

fn entries<'w>(whole: &'w Json, list: &str) -> impl Iterator<Item = &'w Json> {
    whole[list].as_array().into_iter().flatten()
}

fn repositories(whole: &Json) -> String {
    let row = |one: &Json| [text(&one["name"]), text(&one["tags"]), size(&one["bytes"]), text(&one["pushed"])];
    columns(["REPOSITORY", "TAGS", "BYTES", "LAST PUSH"], entries(whole, "repositories").map(row))
}

fn tags(whole: &Json) -> String {
    let row = |one: &Json| {
        let platforms: Vec<String> = entries(one, "platforms").map(|of| plain(&text(&of["platform"]))).collect();
        let platforms = if platforms.is_empty() { "-".into() } else { platforms.join(",") };
        let [name, kind, digest] = ["name", "kind", "digest"].map(|field| text(&one[field]));
        let [pushed, pulled, pulls] = ["pushed", "pulled", "pulls"].map(|field| text(&one[field]));
        [name, kind, size(&one["bytes"]), pushed, pulled, pulls, platforms, digest]
    };
    let head = ["TAG", "KIND", "BYTES", "PUSHED", "LAST PULL", "PULLS", "PLATFORMS", "DIGEST"];
    columns(head, entries(whole, "tags").map(row))
}

/// The most important of an image, a line each.
fn shown(image: &Json) -> String {
    let mut lines = Vec::new();
    for (name, field) in [
        ("digest", "digest"),
        ("kind", "kind"),
        ("media type", "mediaType"),
        ("artifact type", "artifactType"),
        ("pushed", "pushed"),
        ("last pull", "pulled"),
        ("pulls", "pulls"),
        ("subject", "subject"),
    ] {
        if !image[field].is_null() {
            lines.push(format!("{name}: {}", plain(&text(&image[field]))));
        }
    }
    if image["bytes"].is_u64() {
        lines.push(format!("bytes: {}", size(&image["bytes"])));
    }
    let pulled_by: Vec<String> = entries(image, "pulledBy").map(|by| plain(&text(&by["user"]))).collect();
    if !pulled_by.is_empty() {
        lines.push(format!("lately pulled by: {}", pulled_by.join(", ")));
    }
    let tags: Vec<String> = entries(image, "tags").map(text).collect();
    if !tags.is_empty() {
        lines.push(format!("tags: {}", tags.join(", ")));
    }
    let part = |one: &Json| [text(&one["digest"]), size(&one["size"]), plain(&text(&one["mediaType"]))];
    for (list, head) in [("manifests", "MANIFEST"), ("layers", "LAYER"), ("referrers", "REFERRER")] {
        let mut rows = entries(image, list).filter(|one| one["digest"].is_string()).map(part).peekable();
        if rows.peek().is_some() {
            lines.push(String::new());
            lines.push(columns([head, "BYTES", "MEDIA TYPE"], rows));
        }
    }
    lines.push(String::new());
    lines.push("--json prints all, with config, history and annotations".into());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_others_have_written_is_printed_on_one_line_and_as_it_reads() {
        assert_eq!(plain("linux/é 你"), "linux/é 你");
        assert_eq!(plain("a\u{1b}[2J\nb\u{9b}"), "a\\u{1b}[2J\\nb\\u{9b}");
        for unseen in ['\u{202e}', '\u{200b}', '\u{200f}', '\u{2028}', '\u{2066}', '\u{feff}', '\u{61c}'] {
            assert!(!plain(&format!("a{unseen}b")).contains(unseen), "{unseen:?}");
        }
    }
}

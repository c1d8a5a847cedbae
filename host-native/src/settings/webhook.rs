//! A webhook as it is written.

use std::path::PathBuf;
use std::str::FromStr;

use orlop_core::config::Pattern;
use orlop_core::event::{Happening, Listener};
use serde::Deserialize;

use super::redacted::redacted;
use super::table;

/// A webhook.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebhookSetting {
    pub(crate) name: String,
    pub(crate) url: String,
    #[serde(default = "usual_events")]
    events: Vec<Happening>,
    #[serde(default = "everywhere")]
    repositories: Vec<String>,
    #[serde(default)]
    pub(crate) format: Format,
    pub(crate) secret_file: Option<PathBuf>,
}

fn usual_events() -> Vec<Happening> {
    vec![Happening::Push, Happening::Delete]
}

fn everywhere() -> Vec<String> {
    vec!["**".into()]
}

impl FromStr for WebhookSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let webhook: Self = table(text)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&webhook.name.len()) || !webhook.name.bytes().all(plain) {
            return Err("`name` has 1 to 32 lower-case letters, digits and dashes".into());
        }
        let shown = redacted(&webhook.url);
        let url: hyper::Uri = webhook.url.parse().map_err(|error| format!("`{shown}`: {error}"))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(format!("`{shown}` is not a URL: write it like https://ci.example.com/hook"));
        }
        Ok(webhook)
    }
}

impl WebhookSetting {
    /// Who listens, as the core takes it.
    pub(crate) fn listener(&self) -> Listener {
        let repositories = self.repositories.iter().map(Pattern::new).collect();
        Listener { name: self.name.clone(), happenings: self.events.clone(), repositories }
    }
}

/// The shape of what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// CloudEvents 1.0, one event a request, structured.
    #[default]
    CloudEvents,
    /// What distribution (Docker's registry) sends.
    Distribution,
}

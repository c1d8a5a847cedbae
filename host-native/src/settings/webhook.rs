//! A webhook as it is written.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use orlop_core::config::Pattern;
use orlop_core::event::{Happening, Listener};
use ring::hmac;
use serde::Deserialize;

use super::table;
use crate::observe::webhooks::{Format, Webhook};

/// A webhook.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebhookSetting {
    name: String,
    url: String,
    #[serde(default = "usual_events")]
    events: Vec<Happening>,
    #[serde(default = "everywhere")]
    repositories: Vec<String>,
    #[serde(default)]
    format: Format,
    secret_file: Option<PathBuf>,
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
            return Err("the name of a webhook has up to 32 lower-case letters, digits and dashes".into());
        }
        let url: hyper::Uri = webhook.url.parse().map_err(|error| format!("`{}`: {error}", webhook.url))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(format!("`{}` is no address of http or https", webhook.url));
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

    /// The webhooks of these settings, with their secrets.
    pub(crate) fn webhooks(settings: &[Self]) -> Result<Vec<Arc<Webhook>>, String> {
        if let Some((place, one)) =
            settings.iter().enumerate().find(|(i, one)| settings[..*i].iter().any(|o| o.name == one.name))
        {
            return Err(format!("webhook {}: there is one called `{}` already", place + 1, one.name));
        }
        settings.iter().map(|setting| setting.webhook().map(Arc::new)).collect()
    }

    fn webhook(&self) -> Result<Webhook, String> {
        let key = self.secret_file.as_ref().map(|path| {
            let secret = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let secret = secret.trim_ascii();
            if secret.len() < 16 {
                return Err(format!("the secret in {} is too short: it needs 16 characters", path.display()));
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
        });
        let url = self.url.parse().map_err(|error| format!("`{}`: {error}", self.url))?;
        Ok(Webhook { name: self.name.clone(), url, format: self.format, key: key.transpose()? })
    }
}

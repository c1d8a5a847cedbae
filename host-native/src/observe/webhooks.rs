//! Webhooks: what happened is told to those who want to know, from a queue in the records, until they have taken it.
//!
//! An event is put into the queue by the commit that makes it true, and taken out once it was told; a crash in between
//! tells it twice. Each webhook has a queue of its own, told in order: one that does not answer holds up no other.
//! Where several hosts have one storage, one of them tells a queue at a time, by a lease that it lets end by itself. Two
//! that do all the same, because a clock is wrong, tell an event twice.

mod envelope;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use orlop_core::event::Event;
use orlop_core::{Job, Lease, Registry};
use ring::hmac;
use tokio::task::JoinHandle;

use self::envelope::{content_type, envelope};
use crate::observe::Observer;
use crate::observe::metrics::Metrics;
use crate::observe::outgoing::{self, Http};
use crate::settings::redacted::redacted;
use crate::settings::watched::read_text;
use crate::settings::{Format, WebhookSetting};
use crate::storage::{Host, RequestBody, ambient};

/// How often queues are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long one telling may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait at most before a webhook that failed is tried again; it doubles from a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long an event is kept for a webhook that does not take it.
const KEPT: Duration = Duration::from_secs(3 * 24 * 3600);

/// How much of an answer is read.
const ANSWER: usize = 64 << 10;

/// Somebody who is told.
pub(crate) struct Webhook {
    name: String,
    url: hyper::Uri,
    format: Format,
    key: Option<hmac::Key>,
}

/// How a webhook has fared.
#[derive(Default)]
struct Fate {
    telling: Option<JoinHandle<Result<(), String>>>,
    failures: u32,
    not_before: Option<Instant>,
}

/// What is in force while webhooks are told: the registry that keeps their queues, and the webhooks.
pub struct Subscriptions {
    pub(crate) registry: Registry,
    pub(crate) webhooks: Vec<Arc<Webhook>>,
}

/// Says what is in force now.
pub type InForce = Arc<dyn Fn() -> Subscriptions + Send + Sync>;

/// Tells what there is to tell, for ever.
pub async fn tell_for_ever(in_force: InForce, host: Arc<Host>, observer: Arc<Observer>) {
    let mut fates: HashMap<String, Fate> = HashMap::new();
    let mut http: Option<Http> = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Subscriptions { webhooks, .. } = in_force();
        if webhooks.is_empty() {
            continue;
        }
        let http = http.get_or_insert_with(outgoing::client);
        for webhook in webhooks {
            let fate = fates.entry(webhook.name.clone()).or_default();
            if !fate.is_ready(&webhook.name).await {
                continue;
            }
            let (in_force, host, observer, http) = (in_force.clone(), host.clone(), observer.clone(), http.clone());
            let telling = async move { webhook.tell_all(&in_force, &host, &observer.metrics, &http).await };
            fate.telling = Some(tokio::spawn(telling));
        }
    }
}

impl Fate {
    /// Whether it is time to tell again. What came of the last time is seen to first.
    async fn is_ready(&mut self, name: &str) -> bool {
        if let Some(telling) = &mut self.telling {
            if !telling.is_finished() {
                return false;
            }
            match telling.await {
                Ok(Ok(())) => self.failures = 0,
                failed => {
                    let reason = failed.map_or_else(|error| error.to_string(), |told| told.err().unwrap_or_default());
                    let pause = Duration::from_secs(1 << self.failures.min(12)).min(LONGEST_PAUSE);
                    self.failures += 1;
                    self.not_before = Some(Instant::now() + pause);
                    tracing::warn!("the webhook {name} is tried again in {pause:?}: {reason}");
                }
            }
            self.telling = None;
        }
        self.not_before.is_none_or(|then| Instant::now() >= then)
    }
}

impl Webhook {
    /// The webhooks of these settings, with their secrets.
    ///
    /// # Errors
    ///
    /// When two have one name, or a secret cannot be read.
    pub(crate) fn all(settings: &[WebhookSetting]) -> Result<Vec<Arc<Self>>, String> {
        if let Some((place, one)) =
            settings.iter().enumerate().find(|(i, one)| settings[..*i].iter().any(|o| o.name == one.name))
        {
            return Err(format!("webhook {}: there is one called `{}` already", place + 1, one.name));
        }
        settings.iter().map(|setting| Self::new(setting).map(Arc::new)).collect()
    }

    fn new(setting: &WebhookSetting) -> Result<Self, String> {
        let key = setting.secret_file.as_ref().map(|path| {
            let secret = read_text(path)?;
            let secret = secret.trim_ascii();
            if secret.len() < 16 {
                return Err(format!("the secret in {} is too short: it needs 16 characters", path.display()));
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
        });
        let url = setting.url.parse().map_err(|error| format!("`{}`: {error}", redacted(&setting.url)))?;
        Ok(Self { name: setting.name.clone(), url, format: setting.format, key: key.transpose()? })
    }

    /// Its URL without a login.
    fn shown(&self) -> String {
        redacted(&self.url.to_string())
    }

    /// Tells everything in the queue, in order, unless another host of the same storage does.
    async fn tell_all(&self, in_force: &InForce, host: &Host, metrics: &Metrics, http: &Http) -> Result<(), String> {
        let mut lease: Option<Lease> = None;
        loop {
            let registry = in_force().registry;
            let step = registry.queued(self.name.clone(), ambient());
            let queued = host.run(step, &mut RequestBody::empty()).await.map_err(|fault| fault.to_string())?;
            // What has no event costs no lease.
            if queued.is_empty() {
                return Ok(());
            }
            for (key, event) in queued {
                let job = || Job::Queue(self.name.clone());
                if !host.holds(&registry, job, &mut lease).await.map_err(|fault| fault.to_string())? {
                    return Ok(());
                }
                let (told, result) = match &event {
                    Some(event) => self.tell_once(http, event).await,
                    None => {
                        tracing::error!(
                            "the record {} is damaged: the webhook {} misses an event",
                            key.as_str(),
                            self.name
                        );
                        (Ok(()), "dropped")
                    }
                };
                metrics.told(&self.name, result, 1);
                if result == "failed" {
                    return told;
                }
                let step = in_force().registry.told(vec![key], ambient());
                host.run(step, &mut RequestBody::empty()).await.map_err(|fault| fault.to_string())?;
            }
        }
    }

    /// Tells an event, and says what became of it.
    async fn tell_once(&self, http: &Http, event: &Event) -> (Result<(), String>, &'static str) {
        let told = self.tell(http, event).await;
        let result = match &told {
            Ok(()) => "told",
            Err(reason) if ambient().now.since(event.time) > KEPT => {
                tracing::error!("the webhook {} never took event {}: {reason}", self.name, event.id);
                "dropped"
            }
            Err(_) => "failed",
        };
        (told, result)
    }

    async fn tell(&self, http: &Http, event: &Event) -> Result<(), String> {
        let body = envelope(self.format, event);
        let mut request = hyper::Request::post(self.url.clone())
            .header("content-type", content_type(self.format))
            .header("user-agent", concat!("orlop/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = &self.key {
            request = request.header("x-orlop-signature", signature(key, body.as_bytes()));
        }
        let request = request.body(Full::from(body)).map_err(|error| error.to_string())?;
        let sent = async {
            let sent = http.request(request).await;
            let answer = sent.map_err(|error| format!("{}: {}", self.shown(), with_causes(&error)))?;
            let status = answer.status();
            // Read to its end, so that the connection can be used again.
            let _ = Limited::new(answer.into_body(), ANSWER).collect().await;
            if status.is_success() { Ok(()) } else { Err(format!("{} answers {status}", self.shown())) }
        };
        tokio::time::timeout(PATIENCE, sent).await.unwrap_or_else(|_| Err(format!("{} does not answer", self.shown())))
    }
}

/// An error with all that led to it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The signature of a body: what its receiver holds against its own.
fn signature(key: &hmac::Key, body: &[u8]) -> String {
    let mut text = "sha256=".to_owned();
    for byte in hmac::sign(key, body).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        assert_eq!(
            signature(&key, b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}

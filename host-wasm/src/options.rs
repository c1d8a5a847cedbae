//! What a registry is opened with.

use std::time::Duration;

use orlop_core::Config;
use orlop_core::config::Pattern;
use orlop_core::mirror::{Freshness, Mirror, Upstream, UpstreamName};
use orlop_core::platform::{InvalidPlatform, PlatformPattern};
use serde::Deserialize;

/// What can be decided, as JavaScript spells it. What is left out is as the core has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Options {
    manifest_limit: Option<u64>,
    blob_limit: Option<u64>,
    allow_sparse: bool,
    allow_delete: bool,
    mount_from_anywhere: bool,
    assemble: Vec<String>,
    upload_lifetime_ms: Option<u64>,
    blob_grace_ms: Option<u64>,
    untagged_lifetime_ms: Option<u64>,
    keep_erased_ms: Option<u64>,
    call_lifetime_ms: Option<u64>,
    small_object: Option<usize>,
    blob_objects: Option<usize>,
    mirrors: Vec<MirrorOptions>,
    via: Option<String>,
    bug: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            manifest_limit: None,
            blob_limit: None,
            allow_sparse: false,
            allow_delete: true,
            mount_from_anywhere: true,
            assemble: Vec::new(),
            upload_lifetime_ms: None,
            blob_grace_ms: None,
            untagged_lifetime_ms: None,
            keep_erased_ms: None,
            call_lifetime_ms: None,
            small_object: None,
            blob_objects: None,
            mirrors: Vec::new(),
            via: None,
            bug: String::new(),
        }
    }
}

impl Options {
    /// The bug to plant, by its name; an empty one is none.
    pub(crate) fn bug(&self) -> &str {
        &self.bug
    }

    /// What the core is to be told.
    ///
    /// # Errors
    ///
    /// When options contradict each other, with a sentence that says so.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let standard = Config::default();
        let mirrors = self.mirrors.iter().map(MirrorOptions::mirror).collect::<Result<_, _>>()?;
        Ok(Config {
            manifest_limit: self.manifest_limit.unwrap_or(standard.manifest_limit),
            blob_limit: self.blob_limit.unwrap_or(standard.blob_limit),
            allow_sparse: self.allow_sparse,
            allow_delete: self.allow_delete,
            mount_from_anywhere: self.mount_from_anywhere,
            assemble: patterns(&self.assemble),
            upload_lifetime: time(self.upload_lifetime_ms, standard.upload_lifetime),
            blob_grace: time(self.blob_grace_ms, standard.blob_grace),
            untagged_lifetime: self.untagged_lifetime_ms.map(Duration::from_millis),
            keep_erased: time(self.keep_erased_ms, standard.keep_erased),
            call_lifetime: time(self.call_lifetime_ms, standard.call_lifetime),
            small_object: self.small_object.unwrap_or(standard.small_object),
            blob_objects: self.blob_objects.unwrap_or(standard.blob_objects),
            mirrors,
            via: self.via.clone().unwrap_or(standard.via),
            ..standard
        })
    }
}

/// A mirror, as JavaScript spells it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct MirrorOptions {
    prefix: String,
    /// By the names that JavaScript knows them by.
    upstreams: Vec<String>,
    official: String,
    namespaces: Vec<String>,
    fresh_ms: Option<u64>,
    fixed: Vec<String>,
    stale_ms: Option<u64>,
    gone_ms: Option<u64>,
    only: Vec<String>,
    deny: Vec<String>,
    platforms: Vec<PlatformOption>,
    blob_limit: Option<u64>,
    offline: bool,
    max: Option<u64>,
    verify: Option<Verify>,
}

/// Who says what a client may see of a mirror.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Verify {
    /// The upstream, which is asked with the login of the caller.
    Caller,
}

impl MirrorOptions {
    fn mirror(&self) -> Result<Mirror, String> {
        if self.offline && self.verify.is_some() {
            return Err(format!(
                "mirror {:?}: with `offline` the upstream does not say who may see what was fetched: set rules for it and \
                 take `verify` away",
                self.prefix
            ));
        }
        let standard = Mirror::default();
        let upstream = |name: &String| Upstream { name: UpstreamName::new(name), official: self.official.clone() };
        Ok(Mirror {
            prefix: self.prefix.clone(),
            upstreams: self.upstreams.iter().map(upstream).collect(),
            namespaces: self.namespaces.clone(),
            fresh: self.fresh_ms.map_or(standard.fresh, |ms| Freshness::For(Duration::from_millis(ms))),
            fixed: patterns(&self.fixed),
            stale: time(self.stale_ms, standard.stale),
            gone: time(self.gone_ms, standard.gone),
            only: patterns(&self.only),
            deny: patterns(&self.deny),
            platforms: self.platforms.iter().map(|platform| platform.0.clone()).collect(),
            blob_limit: self.blob_limit.unwrap_or(standard.blob_limit),
            offline: self.offline,
            verify: matches!(self.verify, Some(Verify::Caller)),
            max: self.max,
        })
    }
}

/// A platform, such as `linux/arm64`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct PlatformOption(PlatformPattern);

impl TryFrom<String> for PlatformOption {
    type Error = InvalidPlatform;

    fn try_from(text: String) -> Result<Self, InvalidPlatform> {
        text.parse().map(Self)
    }
}

fn time(given: Option<u64>, standard: Duration) -> Duration {
    given.map_or(standard, Duration::from_millis)
}

fn patterns(given: &[String]) -> Vec<Pattern> {
    given.iter().map(Pattern::new).collect()
}

//! A mirror as it is written: repositories that stand in front of those of another registry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use orlop_core::config::Pattern;
use orlop_core::mirror::{Freshness, Mirror, Upstream, UpstreamName};
use orlop_core::name::Repository;
use orlop_core::platform::{InvalidPlatform, PlatformPattern};
use serde::{Deserialize, Deserializer, de};

use super::images::Images;
use super::number::{optional_size_in_table, time};
use super::remote::{LoginSetting, RemoteSetting};
use super::table;

/// The names of Docker Hub, and the one by which it is asked.
const DOCKER_HUB: ([&str; 3], &str) =
    (["docker.io", "index.docker.io", "registry-1.docker.io"], "registry-1.docker.io");

/// What repositories of Docker Hub are called by that have a name of one component.
const OFFICIAL: &str = "library/";

/// How often images are fetched that are to be, and how often at most.
const EVERY: Duration = Duration::from_secs(24 * 3600);
const LEAST_EVERY: Duration = Duration::from_secs(60);

/// A mirror.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MirrorSetting {
    #[serde(default)]
    pub(crate) prefix: String,
    #[serde(deserialize_with = "one_or_several")]
    upstream: Vec<String>,
    #[serde(default, deserialize_with = "one_or_several")]
    host: Vec<String>,
    pub(crate) addr: Option<String>,
    #[serde(default, deserialize_with = "one_or_several")]
    namespace: Vec<String>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    fresh: Fresh,
    #[serde(default, deserialize_with = "one_or_several")]
    fixed: Vec<String>,
    #[serde(default, deserialize_with = "optional_time")]
    stale: Option<Duration>,
    #[serde(default, deserialize_with = "one_or_several")]
    only: Vec<String>,
    #[serde(default, deserialize_with = "one_or_several")]
    deny: Vec<String>,
    #[serde(default, deserialize_with = "one_or_several")]
    platforms: Vec<String>,
    #[serde(default, deserialize_with = "optional_size_in_table")]
    blob_limit: Option<ByteSize>,
    #[serde(default, deserialize_with = "one_or_several")]
    realms: Vec<String>,
    #[serde(default, deserialize_with = "one_or_several")]
    redirects: Vec<String>,
    #[serde(default)]
    allow_private: bool,
    ca: Option<PathBuf>,
    #[serde(default)]
    offline: bool,
    verify: Option<Verify>,
    #[serde(default, deserialize_with = "optional_size_in_table")]
    max: Option<ByteSize>,
    #[serde(default, deserialize_with = "one_or_several")]
    fetch: Vec<String>,
    #[serde(default, deserialize_with = "optional_time")]
    fetch_every: Option<Duration>,
}

/// Images that are fetched regularly, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prefetch {
    pub(crate) images: Images,
    pub(crate) every: Duration,
}

/// Who says who may see what the upstream has, besides the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verify {
    /// The upstream, which is asked with the login of the caller.
    Caller,
}

/// When the upstream is asked where a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fresh(Freshness);

impl Default for Fresh {
    fn default() -> Self {
        Self(Mirror::default().fresh)
    }
}

impl<'de> Deserialize<'de> for Fresh {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let freshness = match text.as_str() {
            "always" => Ok(Freshness::Never),
            "never" => Ok(Freshness::For(Duration::ZERO)),
            text => time(text).map(Freshness::For),
        };
        freshness.map(Self).map_err(|reason| de::Error::custom(format!("`{text}`: {reason}, or always, or never")))
    }
}

pub(super) fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    time(&text).map(Some).map_err(|reason| de::Error::custom(format!("`{text}`: {reason}")))
}

/// A text, or a list of them.
pub(super) fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        Several(Vec<String>),
    }
    match Written::deserialize(deserializer) {
        Ok(Written::One(text)) => Ok(vec![text]),
        Ok(Written::Several(texts)) => Ok(texts),
        Err(_) => Err(de::Error::custom("write a text in quotes, or a list of them")),
    }
}

/// One table of TOML, as a flag takes it.
impl FromStr for MirrorSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mirror: Self = table(text)?;
        for upstream in &mut mirror.upstream {
            *upstream = remote_url(upstream)?;
        }
        mirror.check()?;
        Ok(mirror)
    }
}

/// The URL of an upstream in one form, with the host by which Docker Hub is asked.
fn remote_url(text: &str) -> Result<String, String> {
    let mut url = RemoteSetting::new(text).map_err(|reason| format!("`upstream`: {reason}"))?.url;
    if is_docker_hub(&url) {
        // A host that is written so can stand in each URL.
        let _ = url.set_host(Some(DOCKER_HUB.1));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn is_docker_hub(url: &url::Url) -> bool {
    url.host_str().is_some_and(|host| DOCKER_HUB.0.contains(&host))
}

impl MirrorSetting {
    fn check(&self) -> Result<(), String> {
        let prefix = &self.prefix;
        let named =
            prefix.is_empty() || prefix.ends_with('/') && prefix.trim_end_matches('/').parse::<Repository>().is_ok();
        if !named || prefix.ends_with("//") {
            return Err(format!(
                "`prefix` is what names of repositories begin with, up to a slash: write it like \"hub/\", not `{prefix}`"
            ));
        }
        if self.upstream.is_empty() {
            return Err("`upstream` names no registry: write it like \"https://registry.example.com\"".into());
        }
        self.images()?;
        self.platforms()?;
        if self.fetch_every.is_some_and(|every| every < LEAST_EVERY) {
            return Err("`fetch-every` is a minute at least".into());
        }
        if self.username.is_some() != self.password_file.is_some() {
            return Err("`username` and `password-file` need each other".into());
        }
        if self.verify.is_some() && self.username.is_some() {
            return Err("with `verify` the upstream is asked with the logins of callers: leave `username` out".into());
        }
        if self.verify.is_some() && self.offline {
            return Err(
                "with `offline` the upstream does not say who may see what was fetched: set rules for it and take `verify` \
                 away"
                    .into(),
            );
        }
        if self.verify.is_some() && self.upstream.len() > 1 {
            return Err(
                "with `verify` there is one `upstream`: the logins that callers have there go to no other".into()
            );
        }
        for remote in self.remotes()? {
            if (self.username.is_some() || self.verify.is_some())
                && remote.url.scheme() == "http"
                && !is_loopback(&remote.url)
            {
                return Err(format!(
                    "passwords would be sent to {} unencrypted: use https, or leave `username` and `verify` out",
                    remote.url
                ));
            }
        }
        let odd = |allowed: fn(char) -> bool| move |text: &&String| text.is_empty() || !text.chars().all(allowed);
        let repository = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/*".contains(c);
        if let Some(text) = self.only.iter().chain(&self.deny).find(odd(repository)) {
            return Err(format!(
                "`{text}` matches no repository: write it like library/*, or library/** for all below"
            ));
        }
        let tag = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
        if let Some(text) = self.fixed.iter().find(odd(tag)) {
            return Err(format!("`fixed`: `{text}` matches no tag: write it like v*"));
        }
        let host = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
        if let Some(text) = self.host.iter().chain(&self.realms).chain(&self.redirects).find(odd(host)) {
            return Err(format!(
                "`{text}` is not a host: write it like mirror.example.com, or mirror.example.com:5443"
            ));
        }
        Ok(())
    }

    /// The images that are fetched regularly, by their names here.
    fn images(&self) -> Result<Vec<Images>, String> {
        let image = |text: &String| {
            format!("{}{text}", self.prefix).parse().map_err(|reason: String| format!("`fetch`: {reason}"))
        };
        self.fetch.iter().map(image).collect()
    }

    /// The platforms for which images are fetched.
    fn platforms(&self) -> Result<Vec<PlatformPattern>, String> {
        let platform = |text: &String| {
            text.parse().map_err(|reason: InvalidPlatform| format!("`platforms`: `{text}` is not one: {reason}"))
        };
        self.platforms.iter().map(platform).collect()
    }

    /// What is fetched regularly.
    pub(crate) fn prefetches(&self) -> Vec<Prefetch> {
        let every = self.fetch_every.unwrap_or(EVERY);
        let images = if self.offline { Vec::new() } else { self.images().unwrap_or_default() };
        images.into_iter().map(|images| Prefetch { images, every }).collect()
    }

    /// Each upstream, and how it is reached.
    pub(crate) fn remotes(&self) -> Result<Vec<RemoteSetting>, String> {
        let remote = |url: &String| {
            let login = match (&self.username, &self.password_file) {
                (Some(username), Some(file)) => {
                    LoginSetting::PasswordFile { username: username.clone(), file: file.clone() }
                }
                _ => LoginSetting::Anonymous,
            };
            Ok(RemoteSetting {
                login,
                realms: self.realms.clone(),
                redirects: self.redirects.clone(),
                allow_private: self.allow_private,
                ca: self.ca.clone(),
                ..RemoteSetting::new(url)?
            })
        };
        self.upstream.iter().map(remote).collect()
    }

    /// What an upstream is called, in logs and counts too: its URL, with the user.
    fn name(&self, url: &str) -> UpstreamName {
        match (&self.username, url.split_once("://")) {
            (Some(username), Some((scheme, host))) => UpstreamName::new(&format!("{scheme}://{username}@{host}")),
            _ => UpstreamName::new(url),
        }
    }

    /// The mirror as the core takes it.
    pub(crate) fn mirror(&self) -> Mirror {
        let usual = Mirror::default();
        let patterns = |texts: &Vec<String>| texts.iter().map(Pattern::new).collect();
        let upstream = |url: &String| {
            let hub = url::Url::parse(url).is_ok_and(|url| is_docker_hub(&url));
            Upstream { name: self.name(url), official: if hub { OFFICIAL.into() } else { String::new() } }
        };
        Mirror {
            prefix: self.prefix.clone(),
            upstreams: self.upstream.iter().map(upstream).collect(),
            namespaces: self.namespaces(),
            fresh: self.fresh.0,
            fixed: patterns(&self.fixed),
            stale: self.stale.unwrap_or(usual.stale),
            gone: usual.gone,
            only: patterns(&self.only),
            deny: patterns(&self.deny),
            blob_limit: self.blob_limit.map_or(usual.blob_limit, |limit| limit.as_u64()),
            verify: self.verify.is_some(),
            platforms: self.platforms().unwrap_or_default(),
            offline: self.offline,
            max: self.max.map(|max| max.as_u64()),
        }
    }

    /// What containerd may call it: as it is written, or else the hosts of the upstreams.
    fn namespaces(&self) -> Vec<String> {
        if !self.namespace.is_empty() {
            return self.namespace.clone();
        }
        let host = |url: &String| url.split_once("://").map_or(url.as_str(), |(_, host)| host).to_owned();
        let mut hosts: Vec<String> = self.upstream.iter().map(host).collect();
        if hosts.iter().any(|host| host == DOCKER_HUB.1) {
            hosts.push(DOCKER_HUB.0[0].into());
        }
        hosts
    }

    /// Whether the name of a repository begins with its prefix.
    fn has(&self, repository: &Repository) -> bool {
        repository.as_str().starts_with(&self.prefix)
    }

    /// Whether a request whose client knows the registry by that host, and by this port where it names none, sees the
    /// repositories of the mirror at the root.
    pub(crate) fn is_at(&self, host: &str, usual_port: u16) -> bool {
        self.host.iter().any(|own| {
            let at = match own.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
                None => own.eq_ignore_ascii_case(without_port(host)),
                Some((name, port)) => name.eq_ignore_ascii_case(host) && port == usual_port.to_string(),
            };
            at || own.eq_ignore_ascii_case(host)
        })
    }
}

/// Whether the upstream is asked with the login of the caller who may see a repository.
pub(crate) fn verifies(mirrors: &[MirrorSetting], repository: &Repository) -> bool {
    let mirror = mirrors.iter().filter(|mirror| mirror.has(repository)).max_by_key(|mirror| mirror.prefix.len());
    mirror.is_some_and(|mirror| mirror.verify.is_some())
}

/// A host without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

pub(super) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The upstreams of all mirrors, each once.
///
/// # Errors
///
/// When mirrors contradict each other: with their numbers, in the order in which they are written.
pub(crate) fn upstreams(mirrors: &[MirrorSetting]) -> Result<BTreeMap<UpstreamName, RemoteSetting>, String> {
    for (place, mirror) in mirrors.iter().enumerate() {
        let (number, before) = (place + 1, &mirrors[..place]);
        if let Some(first) = before.iter().position(|other| other.prefix == mirror.prefix) {
            let (first, prefix) = (first + 1, &mirror.prefix);
            return Err(format!(
                "mirror {number} has the prefix \"{prefix}\" of mirror {first}: write one [[mirror]] with both upstreams"
            ));
        }
        for (what, own) in [("host", mirror.host.clone()), ("namespace", mirror.namespaces())] {
            let theirs = |other: &MirrorSetting| if what == "host" { other.host.clone() } else { other.namespaces() };
            for name in own {
                if let Some(first) = before.iter().position(|other| theirs(other).contains(&name)) {
                    let first = first + 1;
                    return Err(format!(
                        "mirror {number} has the {what} `{name}` of mirror {first}: clients that use it can mean one of them"
                    ));
                }
            }
        }
    }
    let mut found: BTreeMap<UpstreamName, RemoteSetting> = BTreeMap::new();
    for (place, mirror) in mirrors.iter().enumerate() {
        for (url, remote) in mirror.upstream.iter().zip(mirror.remotes()?) {
            let known = found.entry(mirror.name(url)).or_insert_with(|| remote.clone());
            if *known != remote {
                return Err(format!(
                    "mirror {} has the upstream {url} of another one, with other settings: give both the same \
                     password-file, realms, redirects, allow-private and ca",
                    place + 1
                ));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(text: &str) -> MirrorSetting {
        text.parse().unwrap()
    }

    #[test]
    fn docker_hub_has_one_name_and_official_images() {
        for url in ["https://docker.io", "https://index.docker.io/", "https://registry-1.docker.io"] {
            let mirror = mirror(&format!("{{ prefix = 'hub/', upstream = '{url}' }}")).mirror();
            let upstream = &mirror.upstreams[0];
            assert_eq!(
                (upstream.name.as_str(), upstream.official.as_str()),
                ("https://registry-1.docker.io", "library/")
            );
            assert_eq!(mirror.namespaces, ["registry-1.docker.io", "docker.io"]);
        }
        let other = mirror("{ upstream = ['https://registry.example.com:5443', 'http://127.0.0.1:5000'] }");
        let other = other.mirror();
        assert_eq!(other.namespaces, ["registry.example.com:5443", "127.0.0.1:5000"]);
        assert_eq!((other.upstreams[0].official.as_str(), other.prefix.as_str()), ("", ""));
        assert!(mirror("{ upstream = 'https://docker.io', offline = true }").mirror().offline);
    }

    #[test]
    fn a_tag_is_fresh_for_a_time_always_or_never() {
        for (text, expected) in [
            ("", Freshness::For(Duration::from_secs(60))),
            (", fresh = '5m'", Freshness::For(Duration::from_secs(300))),
            (", fresh = 'never'", Freshness::For(Duration::ZERO)),
            (", fresh = 'always'", Freshness::Never),
        ] {
            let mirror = mirror(&format!("{{ upstream = 'https://registry.example.com'{text} }}")).mirror();
            assert_eq!(mirror.fresh, expected, "{text}");
        }
    }

    #[test]
    fn a_mirror_that_cannot_be_meant_is_refused() {
        let check = |keys: &str, expected: &str| {
            let told = format!("{{ {keys} }}").parse::<MirrorSetting>().unwrap_err();
            assert!(told.contains(expected), "{keys}: {told}");
        };
        let url = "upstream = 'https://registry.example.com'";
        check("prefix = 'hub/'", "missing field `upstream`");
        check("upstream = []", "names no registry");
        check("upstream = 'registry.example.com'", "write it like https://registry.example.com");
        check("upstream = 'https://registry.example.com/v2/'", "not the URL of a registry");
        check(&format!("{url}, prefix = 'hub'"), "up to a slash");
        check(&format!("{url}, prefix = '/'"), "up to a slash");
        check(&format!("{url}, prefix = 'Hub/'"), "up to a slash");
        check(&format!("{url}, username = 'ci'"), "need each other");
        check("upstream = 'http://registry.example.com', username = 'ci', password-file = 'p'", "unencrypted");
        check(&format!("{url}, verify = 'caller', username = 'ci', password-file = 'p'"), "leave `username` out");
        check(&format!("{url}, verify = 'caller', offline = true"), "set rules for it and take `verify` away");
        check(&format!("{url}, fresh = 'often'"), "or always, or never");
        check(&format!("{url}, stale = '3'"), "90s, 6h or 7d");
        check(&format!("{url}, platforms = ['linux/amd64', 'arm64']"), "`arm64` is not one");
        check(&format!("{url}, only = 'A'"), "matches no repository");
        check(&format!("{url}, fixed = 'v/1'"), "matches no tag");
        check(&format!("{url}, host = 'https://mirror.example.com'"), "is not a host");
        check(&format!("{url}, colour = 'red'"), "unknown field `colour`");
    }

    #[test]
    fn mirrors_that_contradict_each_other_are_refused() {
        let one = "{ prefix = 'a/', upstream = 'https://a.example.com', host = 'm.example.com' }";
        let check = |other: &str, expected: &str| {
            let told = upstreams(&[mirror(one), mirror(other)]).unwrap_err();
            assert!(told.contains(expected), "{told}");
        };
        check("{ prefix = 'a/', upstream = 'https://b.example.com' }", "mirror 2 has the prefix \"a/\" of mirror 1");
        check("{ prefix = 'b/', upstream = 'https://b.example.com', host = 'm.example.com' }", "the host");
        check("{ prefix = 'b/', upstream = 'https://b.example.com', namespace = 'a.example.com' }", "the namespace");
        check(
            "{ prefix = 'b/', upstream = 'https://a.example.com', namespace = 'b', allow-private = true }",
            "with other settings",
        );
        let same = mirror("{ prefix = 'b/', upstream = 'https://a.example.com', namespace = 'b' }");
        assert_eq!(upstreams(&[mirror(one), same]).unwrap().len(), 1);
    }

    #[test]
    fn a_client_is_at_a_host_whatever_its_port_unless_that_is_named() {
        let at = |host: &str, asked: &str| {
            mirror(&format!("{{ upstream = 'https://a.example.com', host = '{host}' }}")).is_at(asked, 443)
        };
        for (host, asked, expected) in [
            ("m.example.com", "M.example.com", true),
            ("m.example.com", "m.example.com:5000", true),
            ("m.example.com:5000", "m.example.com:5000", true),
            ("m.example.com:5000", "m.example.com", false),
            ("m.example.com:443", "m.example.com", true),
            ("m.example.com", "x.m.example.com", false),
            ("[::1]", "[::1]:5000", true),
        ] {
            assert_eq!(at(host, asked), expected, "{host} {asked}");
        }
    }
}

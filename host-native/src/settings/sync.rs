//! A sync as it is written: what is copied from one registry to another, and when.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use orlop_core::config::Pattern;
use orlop_core::event::{Happening, Listener};
use orlop_core::name::Repository;
use semver::VersionReq;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::number::{optional_size_in_table, time};
use super::{LoginSetting, RemoteSetting, table};

/// The shortest time between two runs.
const SHORTEST: Duration = Duration::from_secs(10);

/// The highest number of requests in a [`Rate`].
const MOST_REQUESTS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

/// The longest time of a [`Rate`].
const LONGEST_RATE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The syncs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Other registries")]
pub struct Syncs {
    /// A sync, as a table of TOML: repositories copied from one registry to another (repeatable)
    ///
    /// `{ name = "base", from = "https://registry.example.com", repositories = ["library/debian"], every = "1h" }`. Without
    /// `to` they are copied to this registry. `tags`, `semver`, `newest` and `platforms` choose what is copied;
    /// orlop.toml(5) has all keys. `orlop sync run` starts a run at once, `orlop sync status` says how they stand.
    #[arg(long = "sync", env = "ORLOP_SYNC", value_name = "TABLE", value_delimiter = '\n')]
    pub sync: Vec<SyncSetting>,
}

/// A sync.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SyncSetting {
    /// Its name: lower-case letters, digits and dashes.
    pub(crate) name: String,
    /// Where repositories are read.
    pub(crate) from: SyncPlace,
    /// Where they are written.
    #[serde(default)]
    pub(crate) to: SyncPlace,
    /// Names or patterns of names at the source.
    pub(crate) repositories: Vec<String>,
    /// What names at the destination begin with.
    #[serde(default)]
    pub(crate) prefix: String,
    /// What is taken off the beginning of names first.
    #[serde(default)]
    pub(crate) strip: String,
    /// Patterns of tags; none is all.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Patterns of tags that never move: what is at the destination is not asked for again.
    #[serde(default)]
    pub(crate) fixed: Vec<String>,
    /// Only tags that are versions in this range.
    #[serde(default, deserialize_with = "range")]
    pub(crate) semver: Option<VersionReq>,
    /// How many tags of each repository, the newest.
    pub(crate) newest: Option<NonZeroUsize>,
    /// Of indexes only the images for these; none is all.
    #[serde(default)]
    pub(crate) platforms: Vec<String>,
    /// Whether what refers to an image goes along.
    #[serde(default)]
    pub(crate) referrers: bool,
    /// How long after the beginning of a run the next one begins.
    #[serde(default, deserialize_with = "pause")]
    pub(crate) every: Option<Duration>,
    /// Whether what is pushed to this registry is copied at once.
    #[serde(default)]
    pub(crate) on_push: bool,
    /// How many requests other registries are sent in a time.
    pub(crate) requests: Option<Rate>,
    /// How many bytes of blobs move in a second.
    #[serde(default, deserialize_with = "optional_size_in_table")]
    pub(crate) bytes_per_second: Option<ByteSize>,
    /// Whether tags that the source no longer has are deleted at the destination.
    #[serde(default)]
    pub(crate) mirror_deletes: bool,
}

/// How many requests are sent in which time, such as `100/1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    /// How many: at most a hundred thousand, for each is remembered as long as it counts.
    pub(crate) requests: NonZeroU32,
    /// In which time: from a millisecond to a week.
    pub(crate) per: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (requests, per) = text.split_once('/')?;
            let requests = requests.trim().parse::<NonZeroU32>().ok().filter(|number| *number <= MOST_REQUESTS)?;
            // `m` is `1m`.
            let per = per.trim();
            let one = if per.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1" };
            let per = time(&format!("{one}{per}")).ok()?;
            (Duration::from_millis(1)..=LONGEST_RATE).contains(&per).then_some(Self { requests, per })
        };
        read().ok_or_else(|| {
            format!(
                "`{text}` is no number of requests in a time: write it like 100/1m or 200/6h, at most {MOST_REQUESTS}"
            )
        })
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A registry that a sync reads or writes.
#[derive(Clone, Debug, Default)]
pub(crate) enum SyncPlace {
    /// This one.
    #[default]
    Local,
    /// Another one.
    Remote(Box<RemoteSetting>),
}

impl fmt::Display for SyncPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("this registry"),
            Self::Remote(remote) => f.write_str(remote.url.as_str().trim_end_matches('/')),
        }
    }
}

/// Another registry as a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    url: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    realms: Vec<String>,
    #[serde(default)]
    redirects: Vec<String>,
    #[serde(default)]
    allow_private: bool,
    ca: Option<PathBuf>,
}

impl Written {
    fn setting(mut self) -> Result<RemoteSetting, String> {
        let login = match (self.username.take(), self.password_file.take()) {
            (None, None) => LoginSetting::Anonymous,
            (Some(username), Some(file)) => LoginSetting::PasswordFile { username, file },
            _ => return Err("`username` and `password-file` are set together".into()),
        };
        let Self { realms, redirects, allow_private, ca, .. } = self;
        Ok(RemoteSetting { login, realms, redirects, allow_private, ca, ..RemoteSetting::new(&self.url)? })
    }
}

/// `"local"`, a URL, or a table with a URL.
impl<'de> Deserialize<'de> for SyncPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = SyncPlace;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"local\", the URL of a registry, or a table { url = \"…\", username = \"…\", … }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SyncPlace, E> {
                match text {
                    "local" => Ok(SyncPlace::Local),
                    url => RemoteSetting::new(url).map(Box::new).map(SyncPlace::Remote).map_err(E::custom),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SyncPlace, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                written.setting().map(Box::new).map(SyncPlace::Remote).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

pub(super) fn range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<VersionReq>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |error| D::Error::custom(format!("`{text}` is no range of versions: {error}; write it like >=1.2, <2"));
    text.parse().map(Some).map_err(wrong)
}

fn pause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    time(&text).map(Some).map_err(|reason| D::Error::custom(format!("`{text}` is no time: {reason}")))
}

impl FromStr for SyncSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sync: Self = table(text)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&sync.name.len()) || !sync.name.bytes().all(plain) {
            return Err("`name` has 1 to 32 lower-case letters, digits and dashes".into());
        }
        if sync.repositories.is_empty() {
            return Err("`repositories` is empty: name some, or write [\"**\"] for all".into());
        }
        let named = sync.repositories.iter().filter(|name| !name.contains('*'));
        if let Some(wrong) = named.clone().find(|name| name.parse::<Repository>().is_err()) {
            return Err(format!("`repositories` names `{wrong}`, which is no name of a repository"));
        }
        if let Some(wrong) = named.clone().find(|name| sync.renamed(name).is_none()) {
            return Err(format!(
                "`repositories` names `{wrong}`, which has no name at the destination: `strip` and `prefix` leave none"
            ));
        }
        match (&sync.from, &sync.to) {
            (SyncPlace::Local, SyncPlace::Local) => {
                return Err("`from` and `to` are both this registry: one of them is the URL of another one".into());
            }
            (SyncPlace::Remote(from), SyncPlace::Remote(to)) if from.url == to.url && sync.prefix == sync.strip => {
                return Err("`from` and `to` are the same registry with the same names: set `prefix` or `strip`".into());
            }
            (SyncPlace::Remote(from), SyncPlace::Remote(to)) if from.url == to.url && sync.may_match_copies() => {
                return Err(
                    "`from` and `to` are the same registry, and `repositories` matches the copies too: let no pattern \
                     match names that begin with `prefix`"
                        .into(),
                );
            }
            (SyncPlace::Remote(_), _) if sync.on_push => {
                return Err("`on-push` is for from = \"local\": another registry is asked regularly, by `every`".into());
            }
            _ => {}
        }
        if sync.every.is_some_and(|every| every < SHORTEST) {
            return Err(format!("`every` is at least {} s", SHORTEST.as_secs()));
        }
        if sync.bytes_per_second.is_some_and(|bytes| bytes.as_u64() == 0 || u32::try_from(bytes.as_u64()).is_err()) {
            return Err("`bytes-per-second` is from 1 to 4GB; leave it out for no limit".into());
        }
        Ok(sync)
    }
}

impl SyncSetting {
    /// One that brings in repositories of another registry once, with what refers to their images.
    ///
    /// # Errors
    ///
    /// When a name is none.
    pub(crate) fn once(from: RemoteSetting, repositories: Vec<String>, prefix: &str) -> Result<Self, String> {
        let url = toml::Value::from(from.url.as_str());
        let (repositories, prefix) = (toml::Value::from(repositories), toml::Value::from(prefix));
        let text = format!(
            "{{ name = \"import\", from = {url}, repositories = {repositories}, prefix = {prefix}, referrers = true }}"
        );
        Ok(Self { from: SyncPlace::Remote(Box::new(from)), ..text.parse::<Self>()? })
    }

    /// What a repository of the source is called at the destination; nothing when it can have no such name there.
    pub(crate) fn renamed(&self, source: &str) -> Option<String> {
        let rest = source.strip_prefix(&self.strip).unwrap_or(source);
        let name = format!("{}{rest}", self.prefix);
        name.parse::<Repository>().is_ok().then_some(name)
    }

    /// The other repository of the source, if it has one, that would have the same name at the destination: `strip` takes
    /// its value off the names that begin with it, and leaves the others as they are.
    pub(crate) fn namesake(&self, source: &str) -> Option<String> {
        let other = match source.strip_prefix(&self.strip) {
            Some(rest) => rest.to_owned(),
            None => format!("{}{source}", self.strip),
        };
        (other != source && self.renamed(&other) == self.renamed(source)).then_some(other)
    }

    /// Whether a repository of the source is one of those that are copied. A pattern leaves out the names that have the
    /// prefix already, so that two registries that copy from each other do not make copies of copies without an end.
    pub(crate) fn takes(&self, source: &str) -> bool {
        let copied = match self.prefix.as_str() {
            "" => false,
            prefix if prefix.ends_with('/') => format!("/{source}").contains(&format!("/{prefix}")),
            prefix => source.contains(prefix),
        };
        let found = |name: Repository| self.repositories.iter().any(|pattern| Pattern::new(pattern).matches(&name));
        self.repositories.iter().any(|name| name == source) || !copied && source.parse().is_ok_and(found)
    }

    /// Whether one of the patterns may match a name with the prefix.
    fn may_match_copies(&self) -> bool {
        let mut beginnings = self.repositories.iter().filter_map(|pattern| pattern.split_once('*'));
        !self.prefix.is_empty()
            && beginnings.any(|(one, _)| one.starts_with(&self.prefix) || self.prefix.starts_with(one))
    }

    /// The queue of events that it listens to. No webhook can have this name.
    pub(crate) fn queue(&self) -> String {
        format!("sync:{}", self.name)
    }

    /// Who listens, as the core takes it: a sync that copies what is pushed.
    pub(crate) fn listener(&self) -> Option<Listener> {
        let repositories = self.repositories.iter().map(Pattern::new).collect();
        let listener = || Listener { name: self.queue(), happenings: vec![Happening::Push], repositories };
        self.on_push.then(listener)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(more: &str) -> Result<SyncSetting, String> {
        format!(r#"{{ name = "base", repositories = ["team/**"], {more} }}"#).parse()
    }

    #[test]
    fn a_sync_is_between_this_registry_and_another_or_between_two_others() {
        let remote = r#"from = "https://registry.example.com""#;
        assert!(read(remote).is_ok_and(|sync| matches!(sync.to, SyncPlace::Local)));
        let table =
            r#"from = "local", to = { url = "https://registry.example.com", username = "ci", password-file = "/p" }"#;
        let SyncPlace::Remote(to) = read(table).unwrap().to else { panic!("it is another registry") };
        assert!(matches!(to.login, LoginSetting::PasswordFile { .. }));
        for (wrong, told) in [
            (r#"from = "local""#, "both this registry"),
            (&format!(r#"{remote}, to = "https://registry.example.com""#), "the same registry"),
            (
                &format!(r#"{remote}, to = "https://registry.example.com", prefix = "team/old/""#),
                "matches the copies too",
            ),
            (&format!("{remote}, on-push = true"), "from = \"local\""),
            (&format!(r#"{remote}, every = "1s""#), "at least 10 s"),
            (&format!(r#"{remote}, every = "often""#), "is no time"),
            (&format!(r#"{remote}, semver = "new""#), "no range of versions"),
            (&format!(r#"{remote}, bytes-per-second = "5GB""#), "from 1 to 4GB"),
            (&format!(r#"{remote}, requests = "0/1m""#), "no number of requests"),
            (&format!(r#"{remote}, requests = "100/0""#), "no number of requests"),
            (&format!(r#"{remote}, requests = "100001/1m""#), "at most 100000"),
            (&format!(r#"{remote}, requests = "fast""#), "write it like 100/1m"),
            (&format!(r#"{remote}, tag = []"#), "unknown field `tag`"),
            (r#"from = "registry""#, "not the URL of a registry"),
            (r#"from = { url = "https://registry.example.com", username = "ci" }"#, "set together"),
            (r#"from = 5"#, "the URL of a registry"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }

    #[test]
    fn one_registry_may_have_copies_of_its_own_where_no_pattern_finds_them() {
        let keys = r#"from = "https://registry.example.com", to = "https://registry.example.com", prefix = "copies/""#;
        assert!(read(keys).is_ok());
        assert!(read(&keys.replace("prefix", "strip").replace("copies/", "team/")).is_ok());
    }

    /// Two registries that copy all from each other, round by round.
    #[test]
    fn registries_that_copy_from_each_other_come_to_an_end() {
        let sync = |prefix: &str| {
            let keys = format!(r#"from = "https://registry.example.com", prefix = "{prefix}""#);
            read(&keys).unwrap()
        };
        for (to_a, to_b) in [("a/", "b/"), ("copies/", "copies/"), ("from-b-", "from-a-"), ("b/", "a-")] {
            let all = |prefix| SyncSetting { repositories: vec!["**".into()], ..sync(prefix) };
            let (to_a, to_b) = (all(to_a), all(to_b));
            let (mut a, mut b) = (BTreeSet::from(["x".to_owned()]), BTreeSet::from(["y".to_owned()]));
            let copy = |sync: &SyncSetting, from: &BTreeSet<String>, to: &mut BTreeSet<String>| {
                let before = to.len();
                to.extend(from.iter().filter(|name| sync.takes(name)).filter_map(|name| sync.renamed(name)));
                to.len() > before
            };
            let rounds = (0..10).take_while(|_| copy(&to_a, &b, &mut a) | copy(&to_b, &a, &mut b)).count();
            assert!((1..=3).contains(&rounds), "{rounds} rounds: {a:?} {b:?}");
            assert!(a.contains(&format!("{}y", to_a.prefix)) && b.contains(&format!("{}x", to_b.prefix)));
        }
        let named = SyncSetting { repositories: vec!["team/a/x".into()], ..sync("a/") };
        assert!(named.takes("team/a/x") && !sync("a/").takes("team/a/x"), "a name that is written out is copied");
        assert!(sync("a/").takes("team/beta/x"));
    }

    #[test]
    fn a_rate_is_a_number_of_requests_in_a_time() {
        let read = |text: &str| text.parse::<Rate>().map(|rate| (rate.requests.get(), rate.per.as_millis())).unwrap();
        assert_eq!(read("100/1m"), (100, 60_000));
        assert_eq!(read("100 / min"), (100, 60_000));
        assert_eq!(read("200/6h"), (200, 6 * 3_600_000));
        assert_eq!(read("5/s"), (5, 1000));
    }

    #[test]
    fn names_at_the_destination_lose_one_beginning_and_get_another() {
        let sync = |keys: &str| read(&format!(r#"from = "https://registry.example.com", {keys}"#)).unwrap();
        for (keys, name, expected) in [
            ("", "team/app", Some("team/app")),
            (r#"prefix = "mirrored/""#, "team/app", Some("mirrored/team/app")),
            (r#"strip = "team/", prefix = "a/""#, "team/app", Some("a/app")),
            (r#"strip = "team/""#, "other/app", Some("other/app")),
            (r#"strip = "team/""#, "team/", None),
        ] {
            let keys = if keys.is_empty() { "tags = []" } else { keys };
            assert_eq!(sync(keys).renamed(name).as_deref(), expected, "{keys} {name}");
        }
    }

    #[test]
    fn two_names_may_be_one_at_the_destination() {
        let read = |keys: &str| read(&format!(r#"from = "https://registry.example.com", {keys}"#)).unwrap();
        let sync = read(r#"strip = "team/", prefix = "a/""#);
        for (name, expected) in [("team/app", Some("app")), ("app", Some("team/app")), ("team/team/app", None)] {
            assert_eq!(sync.namesake(name).as_deref(), expected, "{name}");
        }
        assert_eq!(read(r#"prefix = "a/""#).namesake("app"), None);
        assert!(sync.takes("team/app/web") && !sync.takes("app"));
    }
}

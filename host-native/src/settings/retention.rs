//! Retention as it is written: which tags stay, and how long what no tag needs.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use orlop_core::config::Pattern;
use orlop_core::retention::Rule;
use semver::VersionReq;
use serde::{Deserialize, Deserializer, de};

use super::sync::range;
use super::{number, table};

/// Which tags stay.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Content")]
pub struct Retention {
    /// A rule that says which tags stay, as a table of TOML (repeatable)
    ///
    /// `{ name = "builds", repositories = ["team/**"], tags = ["pr-*"], keep-last = 10, keep-pulled-within = "30d" }`:
    /// tags that a rule is about are deleted unless a rule keeps them. orlop.toml(5) has all keys. `orlop retention plan`
    /// says what would be deleted and why.
    #[arg(long = "retention", env = "ORLOP_RETENTION", value_name = "TABLE", value_delimiter = '\n')]
    pub retention: Vec<RetentionSetting>,

    /// How often to delete what the rules of retention let go, at least 1m; 0 is never
    ///
    /// Without rules, nothing is deleted. Where more than 20 % of the tags or manifests of a repository would go, nothing is
    /// deleted until somebody agrees: `orlop retention status` lists these repositories.
    #[arg(
        long,
        env = "ORLOP_RETENTION_INTERVAL",
        default_value = "24h",
        value_name = "TIME",
        value_parser = interval
    )]
    pub retention_interval: Duration,
}

impl Retention {
    /// The rules as the core takes them. One without a name is called by its number.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let named = |(number, setting): (usize, &RetentionSetting)| {
            let name = setting.name.clone().unwrap_or_else(|| (number + 1).to_string());
            Rule { name, ..setting.rule() }
        };
        self.retention.iter().enumerate().map(named).collect()
    }
}

/// A rule of retention.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RetentionSetting {
    name: Option<String>,
    repositories: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "range")]
    semver: Option<VersionReq>,
    keep_last: Option<u32>,
    #[serde(default, deserialize_with = "time")]
    keep_pushed_within: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    keep_pulled_within: Option<Duration>,
    #[serde(default)]
    keep: Vec<String>,
    #[serde(default, deserialize_with = "time")]
    untagged_after: Option<Duration>,
}

impl RetentionSetting {
    fn rule(&self) -> Rule {
        let patterns = |patterns: &[String]| patterns.iter().map(Pattern::new).collect();
        Rule {
            name: self.name.clone().unwrap_or_default(),
            repositories: patterns(&self.repositories),
            tags: patterns(&self.tags),
            semver: self.semver.clone(),
            keep_last: self.keep_last,
            keep_pushed_within: self.keep_pushed_within,
            keep_pulled_within: self.keep_pulled_within,
            keep: patterns(&self.keep),
            untagged_after: self.untagged_after,
        }
    }
}

impl FromStr for RetentionSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let setting: Self = table(text)?;
        setting.rule().check()?;
        Ok(setting)
    }
}

/// How often, or 0 for never. A run reads all repositories that a rule is about.
fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(60);
    match number::time(text)? {
        often if !often.is_zero() && often < SHORTEST => Err("write 1m or more, or 0 for never".into()),
        interval => Ok(interval),
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    number::time(&text).map(Some).map_err(|reason| de::Error::custom(format!("`{text}` is no time: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &str) -> Result<RetentionSetting, String> {
        format!(r#"{{ repositories = ["team/**"], {keys} }}"#).parse()
    }

    #[test]
    fn an_interval_is_a_minute_or_more_or_never() {
        for (text, seconds) in [("0", Some(0)), ("0s", Some(0)), ("1ms", None), ("59s", None), ("1m", Some(60))] {
            assert_eq!(interval(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_rule_says_what_stays() {
        let rule = read(
            r#"name = "old", tags = ["v*"], semver = ">=1", keep-last = 3, keep-pushed-within = "30d",
               keep-pulled-within = "90d", keep = ["v1"], untagged-after = "7d""#,
        );
        let rule = rule.unwrap().rule();
        assert_eq!((rule.name.as_str(), rule.keep_last), ("old", Some(3)));
        assert_eq!(rule.untagged_after, Some(Duration::from_secs(7 * 86_400)));
        assert!(read(r#"untagged-after = "0""#).is_ok());
        assert!(read(r#"keep = ["latest"]"#).is_ok(), "it protects");
        for (wrong, told) in [
            (r#"keep-last = 0"#, "keeps nothing"),
            (r#"keep-pushed-within = "0""#, "keeps nothing"),
            (r#"keep-pulled-within = "1h""#, "at least 2h"),
            (r#"keep-pushed-within = "soon""#, "`soon` is no time"),
            (r#"tags = ["v*"]"#, "nothing says which stay"),
            (r#"semver = ">=1""#, "nothing says which stay"),
            (r#"name = "empty""#, "says nothing of what is kept"),
            (r#"keep-last = 1, keep = ["*"]"#, "keeps every tag"),
            (r#"keep-last = 1, tags = ["a*"], keep = ["b", "a*"]"#, "keeps all of its `tags`"),
            (r#"keep-last = 1, tags = [""]"#, "an empty pattern"),
            (r#"keep_last = 1"#, "unknown field `keep_last`"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
        let nowhere = r#"{ repositories = [], keep-last = 1 }"#.parse::<RetentionSetting>();
        assert!(nowhere.unwrap_err().contains("`repositories` is empty"));
    }
}

//! Where clients find the registry, and which pages of others may use it.

use std::str::FromStr;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use orlop_core::BaseUrl;
use orlop_core::config::{Gathered, Pattern};
use orlop_core::name::Repository;

use super::number::size;

/// Where clients find the registry. All of it can be changed while the server runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "How clients reach the registry")]
pub struct Reach {
    /// Where clients find the registry, https://NAME, if `Location` is to say so
    #[arg(long, env = "ORLOP_EXTERNAL_URL", value_name = "URL", value_parser = external_url)]
    pub(crate) external_url: Option<BaseUrl>,

    /// How `Location` is written; absolute if external-url is set, else relative
    ///
    /// Ollama and Charliecloud need it absolute. Without external-url it is made of Host and, of trusted proxies alone,
    /// X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Prefix.
    #[arg(long, env = "ORLOP_LOCATION", value_name = "FORM")]
    location: Option<Location>,

    /// Web pages that may use the registry, https://NAME; * is all, without logins (repeatable)
    ///
    /// Browsers let a page of another origin read answers only where the registry says so (CORS). None may if not given.
    #[arg(long, env = "ORLOP_CORS", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors: Vec<Origin>,

    /// Repositories whose blobs clients read from the object store itself (repeatable)
    ///
    /// A GET is answered with 307 and a signed URL that is good for 20 minutes. Clients must reach the store under the
    /// name that the servers use for it. Of a blob that was pushed in several chunks this is done once garbage collection
    /// has made it one object. `*` and `**` are as for assemble; `**` is every repository.
    #[arg(long, env = "ORLOP_REDIRECT", value_name = "PATTERN", value_delimiter = ',')]
    redirect: Vec<String>,

    /// The smallest blob for which that is done: a smaller one costs more to be sent for than to be sent
    #[arg(long, env = "ORLOP_REDIRECT_FROM", default_value = "1MiB", value_name = "SIZE", value_parser = size)]
    redirect_from: ByteSize,
}

/// Which blobs clients read from the object store itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redirects {
    repositories: Vec<Pattern>,
    smallest: u64,
}

impl Redirects {
    /// Whether clients are sent to the store for a blob of `size` bytes in that repository.
    pub(crate) fn cover(&self, repository: &Repository, size: u64) -> bool {
        size >= self.smallest && self.repositories.iter().any(|pattern| pattern.matches(repository))
    }
}

/// How `Location` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Location {
    /// As a path, which works behind every proxy.
    #[default]
    Relative,
    /// As a URL with the host.
    Absolute,
}

impl Reach {
    /// How `Location` is written.
    pub(crate) fn location(&self) -> Location {
        let usual = if self.external_url.is_some() { Location::Absolute } else { Location::Relative };
        self.location.unwrap_or(usual)
    }

    /// Which blobs clients read from the object store itself.
    pub(crate) fn redirects(&self) -> Redirects {
        let repositories = self.redirect.iter().map(Pattern::new).collect();
        Redirects { repositories, smallest: self.redirect_from.as_u64() }
    }

    /// Which blobs are therefore to be one object each.
    pub(crate) fn gathered(&self) -> Option<Gathered> {
        let Redirects { repositories, smallest } = self.redirects();
        (!repositories.is_empty()).then_some(Gathered { repositories, from: smallest })
    }

    /// What every `Location` begins with, if that is the same for all.
    pub(crate) fn base(&self) -> Option<BaseUrl> {
        self.external_url.clone().filter(|_| self.location() == Location::Absolute)
    }
}

fn external_url(text: &str) -> Result<BaseUrl, String> {
    let url = text.parse().ok().filter(|_| text.starts_with("http://") || text.starts_with("https://"));
    url.ok_or_else(|| "write it like https://registry.example.com or https://example.com/registry".into())
}

/// Where a web page comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Anywhere.
    Any,
    /// `scheme://host[:port]`, as browsers write it.
    One(String),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let wrong = || format!("`{text}` is no origin; write it like https://ui.example.com, without a path, or *");
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let host: hyper::http::uri::Authority = host.parse().map_err(|_| wrong())?;
        if scheme.is_empty()
            || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            || host.host().is_empty()
        {
            return Err(wrong());
        }
        if host.as_str().contains('@') {
            return Err(wrong());
        }
        Ok(Self::One(text.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_no_user() {
        for (text, origin) in [
            ("*", Origin::Any),
            ("https://ui.example.com", Origin::One("https://ui.example.com".into())),
            ("HTTP://LocalHost:8080", Origin::One("http://localhost:8080".into())),
        ] {
            assert_eq!(text.parse(), Ok(origin));
        }
        for text in
            ["", "ui.example.com", "https://", "https://a/", "https://a/b", "https://u@a", "null", "https://a b"]
        {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}

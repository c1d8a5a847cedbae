//! Where clients find the registry, and which pages of others may use it.

use std::str::FromStr;

use clap::Args;

/// Where clients find the registry. All of it can be changed while the server runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "How clients reach the registry")]
pub struct Reach {
    /// Web pages that may use the registry, such as https://ui.example.com; * is all, without logins (repeatable)
    ///
    /// Browsers let a page of another origin read answers only where the registry says so (CORS). None may if not given.
    #[arg(long, env = "ORLOP_CORS", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors: Vec<Origin>,
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

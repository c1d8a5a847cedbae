//! Where clients find the registry: what stands in front of `/v2/` in the URLs that answers carry.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::http::Response;

/// An URL such as `https://registry.example.com`, with or without a path as in `https://example.com/registry`, or the
/// path alone: `/registry`. It has no slash at its end, no query and no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    /// Where the path begins in it.
    path: usize,
}

/// The text is no base of URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBaseUrl;

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    /// `[("http" / "https") "://" host [":" port]] ["/" path]`. A slash at the end is dropped.
    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        // A proxy may pass on what a client wrote: nothing in it may end a header field or a reference.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]@!$&'()*+,;=%".contains(&b);
        if !text.bytes().all(plain) {
            return Err(InvalidBaseUrl);
        }
        let text = text.trim_end_matches('/');
        let path = match ["https://", "http://"].into_iter().find_map(|scheme| text.strip_prefix(scheme)) {
            Some(rest) => {
                let host = rest.find('/').unwrap_or(rest.len());
                if host == 0 || rest[..host].contains('@') {
                    return Err(InvalidBaseUrl);
                }
                text.len() - rest.len() + host
            }
            None if text.is_empty() || text.starts_with('/') => 0,
            None => return Err(InvalidBaseUrl),
        };
        // `//host` would lead to another host.
        if text[path..].contains("//") {
            return Err(InvalidBaseUrl);
        }
        Ok(Self { text: text.into(), path })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for InvalidBaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a base URL is like `https://registry.example.com` or `https://example.com/registry`, or a path")
    }
}

impl core::error::Error for InvalidBaseUrl {}

impl BaseUrl {
    /// The path of it, such as `/registry`; empty when it has none.
    pub fn path(&self) -> &str {
        &self.text[self.path..]
    }

    /// The response with URLs below this one. `Location` becomes absolute, for clients that cannot read a relative one;
    /// the target of `Link`, which every client resolves, gets the path alone (SPEC E1, N3).
    pub(crate) fn apply(&self, mut response: Response) -> Response {
        for (name, value) in &mut response.headers {
            match *name {
                "Location" if value.starts_with('/') => *value = format!("{self}{value}").into(),
                "Link" if value.starts_with("</") => *value = format!("<{}{}", self.path(), &value[1..]).into(),
                _ => {}
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_an_url_or_a_path() {
        let check = |text: &str, expected: &str, path: &str| {
            let base: BaseUrl = text.parse().expect(text);
            assert_eq!((format!("{base}").as_str(), base.path()), (expected, path), "{text}");
        };
        check("https://registry.example.com", "https://registry.example.com", "");
        check("https://registry.example.com/", "https://registry.example.com", "");
        check("http://localhost:5000", "http://localhost:5000", "");
        check("http://[::1]:5000/a/b/", "http://[::1]:5000/a/b", "/a/b");
        check("/registry", "/registry", "/registry");
        check("/", "", "");
        check("", "", "");
    }

    #[test]
    fn what_would_lead_elsewhere_is_no_base() {
        for text in [
            "registry.example.com",
            "ftp://a",
            "https://",
            "https:///a",
            "//evil",
            "/a//b",
            "https://a//b",
            "https://u@a",
            "https://a/?q",
            "https://a/#f",
            "https://a b",
            "https://a\r\nX: y",
            "https://a>",
            "https://ä",
            "javascript:x",
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(InvalidBaseUrl), "{text}");
        }
    }
}

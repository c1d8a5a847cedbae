//! Where the client of a request finds the registry: what `Location` begins with.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri};
use orlop_core::BaseUrl;

use crate::settings::Location;

/// How URLs are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locations {
    pub(crate) form: Location,
    /// What the URLs of the registry begin with, where the settings say so.
    pub(crate) external: Option<BaseUrl>,
}

/// Where a client finds the registry.
pub(crate) struct Found {
    /// An URL with scheme and host.
    pub(crate) base: BaseUrl,
}

impl Found {
    /// The path of it, such as `/registry`; empty when it has none.
    pub(crate) fn path(&self) -> &str {
        self.base.path()
    }
}

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const AT: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

impl Locations {
    /// What the URLs of an answer begin with; nothing when they are paths as the registry has them. `by_proxy` says that
    /// the request came by a proxy whose word is taken, `encrypted` that it came by TLS.
    pub(crate) fn base(&self, request: &Request, by_proxy: bool, encrypted: bool) -> Option<BaseUrl> {
        if self.form == Location::Absolute && self.external.is_some() {
            // The core has it.
            return None;
        }
        let headers = request.headers();
        let told = |name| by_proxy.then(|| last(headers, &name)).flatten();
        let prefix = told(PREFIX).map(|prefix| prefix.trim_end_matches('/')).filter(|prefix| prefix.starts_with('/'));
        let below = |start: &str| prefix.and_then(|prefix| format!("{start}{prefix}").parse::<BaseUrl>().ok());
        if self.form == Location::Relative {
            return below("");
        }
        let start = Self::origin(headers, request.uri(), by_proxy, encrypted)?;
        below(&start).or_else(|| start.parse().ok())
    }

    /// Scheme and host by which the client finds us.
    fn origin(headers: &HeaderMap, uri: &Uri, by_proxy: bool, encrypted: bool) -> Option<String> {
        let told = by_proxy.then(|| last(headers, &AT)).flatten();
        let scheme = if Self::is_secure(headers, by_proxy, encrypted) { "https" } else { "http" };
        // In HTTP/2 the host is part of the target.
        let named = uri.authority().map(Authority::as_str).or_else(|| last(headers, &HOST));
        let host = told.filter(|host| is_host(host)).or(named.filter(|host| is_host(host)))?;
        Some(format!("{scheme}://{host}"))
    }

    /// Where the client finds us, however URLs are written: as the settings say, or as absolute ones begin.
    pub(crate) fn found(&self, headers: &HeaderMap, uri: &Uri, by_proxy: bool, encrypted: bool) -> Option<Found> {
        if let Some(external) = self.external.as_ref().filter(|external| external.path() != external.to_string()) {
            return Some(Found { base: external.clone() });
        }
        let start = Self::origin(headers, uri, by_proxy, encrypted)?;
        if let Some(path) = &self.external {
            return Some(Found { base: format!("{start}{path}").parse().ok()? });
        }
        let prefix = by_proxy.then(|| last(headers, &PREFIX)).flatten().map(|prefix| prefix.trim_end_matches('/'));
        let prefix = prefix.filter(|prefix| prefix.starts_with('/'));
        let below = prefix.and_then(|prefix| format!("{start}{prefix}").parse().ok());
        Some(Found { base: below.or_else(|| start.parse().ok())? })
    }

    /// Whether `Origin`, if a request has it, is the origin at which the client finds us.
    pub(crate) fn is_own_origin(&self, request: &Request, by_proxy: bool, encrypted: bool) -> bool {
        let headers = request.headers();
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let origin = origin.to_str().unwrap_or_default();
        let told = by_proxy.then(|| last(headers, &AT)).flatten();
        let named = request.uri().authority().map(Authority::as_str).or_else(|| last(headers, &HOST));
        let scheme = if Self::is_secure(headers, by_proxy, encrypted) { "https" } else { "http" };
        let found = told.or(named).is_some_and(|host| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")));
        // A proxy may pass on another name than the client knows.
        let external = self.external.as_ref().map(ToString::to_string);
        found || external.is_some_and(|url| url == origin || url.starts_with(&format!("{origin}/")))
    }

    /// Whether the client came by TLS: to the proxy if that says so, and else to us.
    pub(crate) fn is_secure(headers: &HeaderMap, by_proxy: bool, encrypted: bool) -> bool {
        match by_proxy.then(|| last(headers, &PROTO)).flatten() {
            Some("https") => true,
            Some("http") => false,
            _ => encrypted,
        }
    }
}

fn is_host(text: &str) -> bool {
    text.parse::<Authority>().is_ok_and(|host| !host.host().is_empty() && !text.contains('@'))
}

/// The last element of the last field of that name. What stands before it may be the client's.
fn last<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let field = headers.get_all(name).into_iter().next_back()?.to_str().ok()?;
    field.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn an_origin_is_ours_where_clients_find_us() {
        let check = |by_proxy, encrypted, external: Option<&str>, fields: &[(&str, &str)], expected: bool| {
            let mut request = Request::builder().uri("/api/v1/session").header("Host", "registry.example:5000");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::empty()).unwrap();
            let external = external.map(|url| url.parse().unwrap());
            let locations = Locations { form: Location::Relative, external };
            assert_eq!(locations.is_own_origin(&request, by_proxy, encrypted), expected, "{fields:?}");
        };
        check(false, false, None, &[], true);
        check(false, false, None, &[("Origin", "http://registry.example:5000")], true);
        check(false, true, None, &[("Origin", "https://registry.example:5000")], true);
        check(false, true, None, &[("Origin", "http://registry.example:5000")], false);
        check(false, false, None, &[("Origin", "http://registry.example")], false);
        check(false, false, None, &[("Origin", "http://evil.example")], false);
        check(false, false, None, &[("Origin", "null")], false);
        let proxied =
            [("Origin", "https://hub.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "hub.example")];
        check(true, false, None, &proxied, true);
        check(false, false, None, &proxied, false);
        check(false, false, Some("https://hub.example/registry"), &[("Origin", "https://hub.example")], true);
        check(false, false, Some("https://hub.example"), &[("Origin", "https://hub.exam")], false);
    }

    fn base(location: Location, by_proxy: bool, fields: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder().uri("/v2/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        Locations { form: location, external: None }.base(&request, by_proxy, false).map(|base| base.to_string())
    }

    #[test]
    fn an_absolute_location_goes_by_host_and_by_what_our_proxies_say() {
        let check = |by_proxy, fields: &[(&str, &str)], expected: &str| {
            assert_eq!(base(Location::Absolute, by_proxy, fields).as_deref(), Some(expected), "{fields:?}");
        };
        let host = ("host", "registry:5000");
        check(false, &[host], "http://registry:5000");
        let told =
            [host, ("x-forwarded-proto", "https"), ("x-forwarded-host", "example.com"), ("x-forwarded-prefix", "/r/")];
        check(true, &told, "https://example.com/r");
        check(false, &told, "http://registry:5000");
        check(true, &[host, ("x-forwarded-proto", "gopher")], "http://registry:5000");
        check(true, &[host, ("x-forwarded-host", "evil.example, example.com")], "http://example.com");
        for wrong in ["evil/", "u@evil", "evil\"", ""] {
            check(true, &[host, ("x-forwarded-host", wrong)], "http://registry:5000");
        }
        for wrong in ["//evil", "r", "/r?x", "/r\"", "/a//b"] {
            check(true, &[host, ("x-forwarded-prefix", wrong)], "http://registry:5000");
        }
        assert_eq!(base(Location::Absolute, true, &[]), None);
    }

    #[test]
    fn a_relative_location_has_the_prefix_of_our_proxy_and_nothing_else() {
        let fields = [("host", "registry"), ("x-forwarded-host", "example.com"), ("x-forwarded-prefix", "/r")];
        assert_eq!(base(Location::Relative, true, &fields).as_deref(), Some("/r"));
        assert_eq!(base(Location::Relative, false, &fields), None);
        assert_eq!(base(Location::Relative, true, &[("x-forwarded-prefix", "//evil")]), None);
    }
}

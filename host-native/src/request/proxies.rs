//! Where a request comes from, when it came by a proxy.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use uuid::Uuid;

/// The field with the id of a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a request that is taken from a proxy.
const LONGEST_ID: usize = 64;

/// Proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(pub(crate) Vec<IpNet>);

impl Proxies {
    /// Whether this is one of them.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Where a request comes from: the last in `X-Forwarded-For` that is none of our proxies. What stands before that
    /// may be anybody's invention.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        // Read as bytes: what a client wrote before our proxy added its address may be anything.
        let fields = headers.get_all("x-forwarded-for").into_iter().map(|field| field.as_bytes());
        let named: Vec<&[u8]> = fields.flat_map(|field| field.split(|byte| *byte == b',')).collect();
        // Empty elements of a list mean nothing (RFC 9110, section 5.6.1).
        for name in named.into_iter().rev().map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
            let Some(address) = address(name) else { return client };
            client = address.to_canonical();
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    /// The id of a request: the one that our proxy gave it, or a new one.
    pub(crate) fn id(&self, peer: IpAddr, headers: &HeaderMap) -> String {
        let given = if self.trusts(peer) { headers.get(REQUEST_ID) } else { None };
        let given = given.and_then(|id| id.to_str().ok());
        let plain = |id: &&str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(allowed)
        };
        given.filter(plain).map_or_else(|| Uuid::new_v4().to_string(), String::from)
    }
}

/// An address as proxies write it: some in brackets, some with the port.
fn address(name: &[u8]) -> Option<IpAddr> {
    let name = std::str::from_utf8(name).ok()?;
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse().ok().or_else(|| name.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_our_proxies_say_where_a_request_comes_from() {
        let proxies = Proxies(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let check_bytes = |peer: &str, fields: &[&[u8]], expected: &str| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(field).unwrap());
            }
            let client = proxies.client(peer.parse().unwrap(), &headers);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {fields:?}");
        };
        let check = |peer: &str, fields: &[&str], expected: &str| {
            check_bytes(peer, &fields.iter().map(|field| field.as_bytes()).collect::<Vec<_>>(), expected);
        };
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::1", &["6.6.6.6, 203.0.113.9, 10.1.1.1"], "203.0.113.9");
        check("10.0.0.1", &["6.6.6.6", "203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        check("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        // What a client sends before its proxy adds to it hides nothing.
        check_bytes("10.0.0.1", &[b"\xff, 203.0.113.9"], "203.0.113.9");
        check_bytes("10.0.0.1", &[b"\xff", b"203.0.113.9"], "203.0.113.9");
        check_bytes("10.0.0.1", &[b"6.6.6.6,\t, \xc3\x28,, 203.0.113.9 ,"], "203.0.113.9");
        check_bytes("10.0.0.1", &[b"203.0.113.9, \xff"], "10.0.0.1");
    }
}

//! Where a request comes from, when it came by a proxy.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;
use uuid::Uuid;

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
        let fields = headers.get_all("x-forwarded-for").into_iter().filter_map(|field| field.to_str().ok());
        let named: Vec<&str> = fields.flat_map(|field| field.split(',')).map(str::trim).collect();
        for name in named.into_iter().rev() {
            let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() else { return client };
            client = address.to_canonical();
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    /// The id of a request: the one that our proxy gave it, or a new one.
    pub(crate) fn id(&self, peer: IpAddr, headers: &HeaderMap) -> String {
        let given = headers.get("x-request-id").filter(|_| self.trusts(peer)).and_then(|id| id.to_str().ok());
        let plain = |id: &&str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(allowed)
        };
        given.filter(plain).map_or_else(|| Uuid::new_v4().to_string(), String::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_proxies_say_where_a_request_comes_from() {
        let proxies = Proxies(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let check = |peer: &str, fields: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("x-forwarded-for", field.parse().unwrap());
            }
            let client = proxies.client(peer.parse().unwrap(), &headers);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {fields:?}");
        };
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::1", &["6.6.6.6, 203.0.113.9, 10.1.1.1"], "203.0.113.9");
        check("10.0.0.1", &["6.6.6.6", "203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
    }
}

//! Where a request comes from, and what events say of it.

use axum::http::request::Parts;
use axum::http::{HeaderName, header};
use orlop_core::event::Source;

use crate::request::access::AccessLine;
use crate::request::answer::Service;
use crate::request::live::Live;
use crate::request::peer::Peer;

/// The most that events keep of a field of a request, in bytes.
const TOLD: usize = 256;

/// A request, and where it comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'r> {
    pub(super) peer: &'r Peer,
    pub(super) head: &'r Parts,
    pub(super) line: &'r AccessLine,
}

/// What events say of a request.
pub(super) fn source(service: &Service, live: &Live, from: Origin<'_>) -> Source {
    let Origin { peer, head, line } = from;
    let field = |name: HeaderName| {
        let value = head.headers.get(name).map_or("".into(), |value| String::from_utf8_lossy(value.as_bytes()));
        value.char_indices().take_while(|(at, c)| at + c.len_utf8() <= TOLD).map(|(_, c)| c).collect::<String>()
    };
    let host = head.uri.authority().map_or_else(|| field(header::HOST), |authority| authority.as_str().into());
    let base = live.locations.external.as_ref().or(line.asked.request.base.as_ref()).map(ToString::to_string);
    let base = base.filter(|base| !base.starts_with('/'));
    let scheme = if peer.encrypted { "https" } else { "http" };
    // The port is that of the client, unless it is the one of a proxy.
    let direct = !live.proxies.trusts(peer.address.ip());
    Source {
        address: if direct { peer.address.to_string() } else { line.client.to_string() },
        method: head.method.to_string(),
        base: base.unwrap_or_else(|| format!("{scheme}://{host}")),
        host,
        agent: field(header::USER_AGENT),
        server: format!("{}:{}", service.node, peer.port),
        instance: service.instance,
    }
}

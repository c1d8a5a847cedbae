//! The upstreams of the contract suite as they answer by HTTP, for hosts that speak it.

use orlop_core::memory::{RequestBody, Upstream};
use orlop_core::mirror::Unmet;
use orlop_core::{Body, Method, Request, Response};

/// What an upstream answers to a request, and how much of that it sends.
#[derive(Clone, Debug)]
pub struct Served {
    /// The answer. Its body is in memory.
    pub response: Response,
    /// After how many bytes of the body the connection breaks, if it does.
    pub breaks: Option<usize>,
}

/// What `upstream` answers to `request`, as it is told to behave. Like each question to it, it is noted.
pub fn served(upstream: &mut Upstream, request: &Request) -> Served {
    upstream.asked.push(format!("{} {}", request.method, request.target));
    if let Some(unmet) = &upstream.unmet {
        let response = match unmet {
            Unmet::Absent => Response::new(404),
            Unmet::Denied => Response::new(403),
            Unmet::Paused(time) => Response::new(429).with("Retry-After", time.as_secs().to_string()),
            Unmet::Failed(_) => Response::new(500),
        };
        return Served { response, breaks: None };
    }
    let response = upstream.memory.call(&upstream.registry, request, RequestBody::default());
    let is_blob = request.method == Method::Get && request.target.contains("/blobs/");
    let length = if let Body::Bytes(bytes) = &response.body { bytes.len() } else { 0 };
    let breaks = if is_blob { upstream.breaks.pop() } else { None };
    Served { response, breaks: breaks.filter(|after| *after < length) }
}

//! How a request is refused.

use orlop_core::asked::Access;
use orlop_core::caller::Right;
use orlop_core::error::{self, Code};
use orlop_core::http::Response;

use crate::auth::identity::Identity;
use crate::auth::problem::Problem;

/// An answer in the form of the registry's (SPEC A3).
pub(crate) fn refusal(status: u16, code: Code, message: &str) -> Response {
    error::refusal(status, code, message).with("Docker-Distribution-API-Version", "registry/2.0")
}

/// The answer to somebody who is to say who it is, in one of these ways (SPEC A2, Q1).
pub(crate) fn unauthorized(challenges: Vec<String>, problem: Option<Problem>) -> Response {
    if problem == Some(Problem::TooMany) {
        return refusal(429, Code::TooManyRequests, Problem::TooMany.message()).with("Retry-After", "60");
    }
    let message = problem.map_or(Code::Unauthorized.meaning(), Problem::message);
    let refused = refusal(401, Code::Unauthorized, message);
    challenges.into_iter().fold(refused, |response, challenge| response.with("WWW-Authenticate", challenge))
}

/// The answer to a client that lacks a right. It says what the client knows of itself, and nothing of the registry.
pub(crate) fn denied(identity: &Identity, right: Right, access: Option<&Access>) -> Response {
    let place = match access {
        Some(Access::Repository(name, _)) => format!(" in the repository {name}"),
        Some(Access::DeleteTag(name, tag)) => format!(" for the tag {tag} of the repository {name}"),
        _ => String::new(),
    };
    refusal(403, Code::Denied, &format!("{identity} does not have the right {}{place}", right.as_str()))
}

//! How a request is refused.

use orlop_core::error::{self, Code};
use orlop_core::http::Response;

use crate::auth::problem::Problem;

/// An answer in the form of the registry's (SPEC A3).
pub(crate) fn refusal(status: u16, code: Code, message: &str) -> Response {
    error::refusal(status, code, message)
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

/// The answer to somebody who may not do that.
pub(crate) fn denied() -> Response {
    refusal(403, Code::Denied, Code::Denied.meaning())
}

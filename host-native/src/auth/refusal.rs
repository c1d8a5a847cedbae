//! How a request is refused.

use orlop_core::asked::Access;
use orlop_core::caller::Right;
use orlop_core::error::{self, Code};
use orlop_core::http::Response;

use crate::auth::identity::Identity;
use crate::auth::problem::Problem;

/// An answer in the form of the registry's (SPEC A3).
pub(crate) fn refusal(status: u16, code: Code, message: &str) -> Response {
    error::refusal(status, code, message)
}

/// The answer to somebody who is to say who it is, in one of these ways (SPEC A2, Q1).
pub(crate) fn unauthorized(challenges: Vec<String>, problem: Option<Problem>) -> Response {
    if let Some((problem, seconds)) = problem.and_then(|problem| Some((problem, problem.wait()?))) {
        return refusal(429, Code::TooManyRequests, problem.message()).with("Retry-After", seconds.to_string());
    }
    if let Some(problem @ Problem::Unavailable) = problem {
        return refusal(503, Code::Unavailable, problem.message()).with("Retry-After", "1");
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
    let by = if identity.api_token().is_some() { "the API token of " } else { "" };
    refusal(403, Code::Denied, &format!("{by}{identity} does not have the right {}{place}", right.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_to_wait_is_told_how_long_and_not_asked_for_another_password() {
        for (problem, expected) in [
            (Problem::TooMany, Some("60")),
            (Problem::Busy, Some("5")),
            (Problem::Wrong, None),
            (Problem::Malformed, None),
            (Problem::Expired, None),
            (Problem::Scope, None),
        ] {
            let response = unauthorized(vec!["Basic".into()], Some(problem));
            let field =
                |name| response.headers.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_ref());
            assert_eq!(field("Retry-After"), expected, "{problem:?}");
            let asked = expected.is_none().then_some("Basic");
            assert_eq!((response.status, field("WWW-Authenticate")), (if asked.is_some() { 401 } else { 429 }, asked));
        }
    }
}

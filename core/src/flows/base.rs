//! `/v2/`: is there a registry? (OCI end-1; SPEC A1, A3, A4)

use crate::http::Response;

/// Yes.
pub(super) fn base() -> Response {
    Response::new(200).with_bytes("application/json", "{}")
}

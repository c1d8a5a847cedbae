//! `/v2/`: is there a registry? (OCI end-1; SPEC A1, A3, A4)

use super::Call;
use crate::http::Response;

impl Call {
    /// Yes.
    pub(crate) fn base(&self) -> Response {
        Response::new(200).with_bytes("application/json", "{}")
    }
}

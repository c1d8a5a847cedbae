//! `/v2/`: is there a registry? (OCI end-1; SPEC A1, A3, A4)

use super::Call;
use crate::error::Error;
use crate::http::Response;

impl Call {
    /// Yes. Where the client sees the repositories of a mirror whose upstream is to say what the caller may see, it is
    /// asked for a login, since most clients send one only when this says so.
    pub(crate) fn base(&self, root: Option<&str>) -> Result<Response, Error> {
        let verified = self.config.mirrors.iter().any(|mirror| mirror.verify && Some(mirror.prefix.as_str()) == root);
        if verified && self.caller.login.is_none() {
            return Err(Error::LoginNeeded);
        }
        Ok(Response::new(200).with_bytes("application/json", "{}"))
    }
}

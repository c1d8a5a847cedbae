//! A part of a list.

use orlop_core::{Asked, http};

use crate::request::administer::page_size;

/// How many entries a page has, if it is not said, and at most.
const PAGE: (usize, usize) = (50, 100);

/// Which part of a list is asked for.
#[derive(Clone, Copy)]
pub(super) struct Page<'r> {
    asked: &'r Asked,
    /// How many entries.
    pub(super) n: usize,
    /// Behind what, as the page before has said. With a place that cannot be read the list begins anew.
    pub(super) after: Option<&'r str>,
}

impl<'r> Page<'r> {
    /// As the query says.
    ///
    /// # Errors
    ///
    /// When `n` is no number.
    pub(super) fn of(asked: &'r Asked) -> Result<Self, http::Response> {
        let n = page_size(asked.query(), PAGE)?;
        Ok(Self { asked, n, after: asked.query().get("after").filter(|after| !after.is_empty()) })
    }

    /// The URL of the next page, behind that.
    pub(super) fn next(&self, after: &str) -> String {
        let path = self.asked.request.target.split('?').next().unwrap_or_default();
        format!("{path}?{}", self.asked.query().with("after", after))
    }
}

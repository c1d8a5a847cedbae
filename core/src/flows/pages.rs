//! Going through the entries under a prefix, a page at a time.

use alloc::vec::Vec;

use super::Call;
use crate::config::{SCAN_BYTES, SCAN_PAGE};
use crate::effect::{Scan, Value};
use crate::error::Error;
use crate::keys::{Key, Prefix};

/// The entries under a prefix, a page at a time.
pub(super) struct Pages<'a> {
    prefix: &'a Prefix,
    after: Option<Key>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(prefix: &'a Prefix) -> Self {
        Self::after(prefix, None)
    }

    /// Those behind a key.
    pub(super) fn after(prefix: &'a Prefix, after: Option<Key>) -> Self {
        Self { prefix, after }
    }

    pub(super) async fn next(&mut self, call: &Call) -> Result<Option<Vec<(Key, Value)>>, Error> {
        let page = call.scan(self.prefix, self.after.take()).await?;
        self.after = page.last().map(|(key, _)| key.clone());
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

impl Call {
    /// The first entries under a prefix.
    pub(super) async fn scan(&self, prefix: &Prefix, after: Option<Key>) -> Result<Vec<(Key, Value)>, Error> {
        self.ask(Scan { prefix: prefix.clone(), after, limit: SCAN_PAGE, bytes: SCAN_BYTES }).await
    }

    /// The first key under a prefix.
    pub(super) async fn first(&self, prefix: &Prefix) -> Result<Option<Key>, Error> {
        let first = self.ask(Scan { prefix: prefix.clone(), after: None, limit: 1, bytes: 0 }).await?;
        Ok(first.into_iter().next().map(|(key, _)| key))
    }

    /// Whether nothing is under a prefix. What is decided upon it must expect it again.
    pub(super) async fn is_empty(&self, prefix: &Prefix) -> Result<bool, Error> {
        Ok(self.first(prefix).await?.is_none())
    }

    /// Whether all keys under a prefix are such.
    pub(super) async fn has_only(&self, prefix: &Prefix, such: impl Fn(&Key) -> bool) -> Result<bool, Error> {
        let mut pages = Pages::new(prefix);
        while let Some(page) = pages.next(self).await? {
            if !page.iter().all(|(key, _)| such(key)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

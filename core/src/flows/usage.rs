//! What is stored: of one repository, for its quota, and of all, for whoever watches the registry.

use alloc::format;
use alloc::vec::Vec;

use serde::Serialize;

use super::Call;
use crate::digest::Digest;
use crate::effect::{Get, Value};
use crate::error::Error;
use crate::keys::{self, Key, Prefix};
use crate::name::Repository;
use crate::record::{self, BlobRecord, ManifestRecord, UploadRecord};

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Repositories.
    pub repositories: u64,
    /// Blobs, each counted once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Upload sessions that are open.
    pub uploads: u64,
    /// The bytes they have.
    pub upload_bytes: u64,
}

impl Call {
    /// Whether what the record `key` will stand for, `more` bytes, fits into the repository, if it is not in it. Bytes that others bring at the same moment are not seen, so it may
    /// grow past its quota by as much as is uploaded at once.
    pub(super) async fn check_quota(&self, name: &Repository, key: Option<Key>, more: u64) -> Result<(), Error> {
        let quotas = self.config.quotas.iter();
        let Some(quota) =
            quotas.filter(|quota| quota.repositories.iter().any(|p| p.matches(name))).map(|q| q.bytes).min()
        else {
            return Ok(());
        };
        if let Some(key) = key
            && let [Some(_)] = self.get([key]).await?
        {
            return Ok(());
        }
        let held = self.bytes_of(name).await?;
        if held.saturating_add(more) <= quota {
            return Ok(());
        }
        Err(Error::Denied(format!("{name} may hold {quota} bytes; it holds {held}, and this would bring {more} more")))
    }

    /// The bytes of the blobs and manifests of a repository.
    async fn bytes_of(&self, name: &Repository) -> Result<u64, Error> {
        let mut bytes = 0_u64;
        let prefix = keys::links(name);
        let mut pages = Entries::of(prefix.clone());
        while let Some(links) = pages.next(self).await? {
            let blobs = links.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Digest>().ok());
            let blobs: Vec<Key> = blobs.map(|digest| keys::blob(&digest)).collect();
            let found = self.ask(Get { keys: blobs.clone() }).await?;
            for (key, value) in blobs.iter().zip(found) {
                let Some(value) = value else { continue };
                bytes = bytes.saturating_add(record::decode::<BlobRecord>(key, &value)?.size);
            }
        }
        let mut pages = Entries::of(keys::manifests(name));
        while let Some(manifests) = pages.next(self).await? {
            for (key, value) in manifests {
                bytes = bytes.saturating_add(record::decode::<ManifestRecord>(&key, &value)?.size);
            }
        }
        Ok(bytes)
    }

    /// Counts everything.
    pub(crate) async fn census(&self) -> Result<Census, Error> {
        let mut census = Census::default();
        let mut pages = Entries::of(keys::repositories());
        while let Some(page) = pages.next(self).await? {
            census.repositories += page.len() as u64;
        }
        let mut pages = Entries::of(keys::blobs());
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                census.blobs += 1;
                census.bytes += record::decode::<BlobRecord>(&key, &value)?.size;
            }
        }
        let mut pages = Entries::of(keys::uploads());
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                census.uploads += 1;
                census.upload_bytes += record::decode::<UploadRecord>(&key, &value)?.offset();
            }
        }
        Ok(census)
    }
}

/// The entries under a prefix, page by page.
struct Entries {
    prefix: Prefix,
    after: Option<Key>,
}

impl Entries {
    fn of(prefix: Prefix) -> Self {
        Self { prefix, after: None }
    }

    async fn next(&mut self, call: &Call) -> Result<Option<Vec<(Key, Value)>>, Error> {
        let page = call.scan(&self.prefix, self.after.clone()).await?;
        self.after = page.last().map(|(key, _)| key.clone());
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

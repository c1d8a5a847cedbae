//! What is stored of all, for whoever watches the registry.

mod recount;
mod report;

use core::time::Duration;

pub use self::recount::{Drift, Recount};
pub use self::report::{QuotaUsage, RepositoryUsage, Usage};
use serde::{Deserialize, Serialize};

use super::Call;
use super::batch::Batch;
use super::pages::Pages;
use crate::config::LEASE_AHEAD;
use crate::effect::Durability;
use crate::error::Error;
use crate::keys;
use crate::record::{self, BlobRecord, CensusRecord, ReleasedRecord, UploadRecord};

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Objects that belong to nothing any more, and stay for records that are restored.
    pub released: u64,
    /// The bytes they have.
    pub released_bytes: u64,
    /// Blobs and manifests that are damaged, and out of use.
    #[serde(default)]
    pub damaged: u64,
}

impl Call {
    /// What was counted last, by whatever host, if that is no longer ago than `within`.
    pub(crate) async fn counted(&self, within: Duration) -> Result<Option<CensusRecord>, Error> {
        let (key, now) = (keys::census(), self.ambient.now);
        let [value] = self.get([key.clone()]).await?;
        // One that does not read is counted anew, and so is one of a clock that was wrong.
        let found: Option<CensusRecord> = value.and_then(|value| record::decode(&key, &value).ok());
        let recent =
            |record: &CensusRecord| now.since(record.counted) <= within && record.counted <= now.after(LEASE_AHEAD);
        Ok(found.filter(recent))
    }

    /// Keeps what was counted until now for other hosts.
    ///
    /// Of several that count at once, what the last of them has counted stays: it is as right as that of the others.
    pub(crate) async fn keep_census(&self, census: Census) -> Result<(), Error> {
        let mut batch = Batch::reclaiming();
        batch.put(keys::census(), &CensusRecord { counted: self.ambient.now, census });
        self.commit(batch, Durability::Eventual).await.map(drop)
    }

    /// Counts everything. Of a record that does not read, the bytes are not known.
    pub(crate) async fn census(&self) -> Result<Census, Error> {
        let mut census = Census::default();
        let (repositories, blobs, uploads) = (keys::repositories(), keys::blobs(), keys::uploads());
        let released = keys::all_released();
        let mut pages = Pages::new(&repositories);
        while let Some(page) = pages.next(self).await? {
            census.repositories += page.len() as u64;
        }
        let mut pages = Pages::new(&blobs);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                census.blobs += 1;
                census.bytes += record::decode::<BlobRecord>(&key, &value).map_or(0, |blob| blob.size);
            }
        }
        let mut pages = Pages::new(&uploads);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                census.uploads += 1;
                census.upload_bytes += record::decode::<UploadRecord>(&key, &value).map_or(0, |upload| upload.offset());
            }
        }
        let mut pages = Pages::new(&released);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                census.released += 1;
                census.released_bytes += record::decode::<ReleasedRecord>(&key, &value).map_or(0, |object| object.size);
            }
        }
        let damaged = keys::quarantine();
        let mut pages = Pages::new(&damaged);
        while let Some(page) = pages.next(self).await? {
            census.damaged += page.len() as u64;
        }
        Ok(census)
    }
}

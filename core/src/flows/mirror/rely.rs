//! What a push relies on in a repository that was a mirror's: it counts as pushed, whoever brought it (SPEC V18).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::digest::Digest;
use crate::effect::{Expect, Get, Value};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::batch::Batch;
use crate::keys::{self, Key};
use crate::manifest::Manifest;
use crate::name::Repository;
use crate::record::{self, LinkRecord, ManifestRecord};

/// The record that says that a repository has something that a manifest needs.
pub(in crate::flows) struct Voucher {
    /// What is needed.
    needed: Digest,
    /// Whether it is there as a manifest, or else as a blob.
    is_manifest: bool,
    key: Key,
    value: Value,
}

impl Voucher {
    /// The record of a manifest.
    pub(in crate::flows) fn of_manifest(name: &Repository, needed: Digest, value: Value) -> Self {
        Self { needed, is_manifest: true, key: keys::manifest(name, &needed), value }
    }

    /// The link of a blob.
    pub(in crate::flows) fn of_blob(name: &Repository, needed: Digest, value: Value) -> Self {
        Self { needed, is_manifest: false, key: keys::link(name, &needed), value }
    }

    /// The record as it is of something that was pushed; `None` when it is so already, and when it does not read, which is
    /// garbage collection's to say.
    fn as_pushed(&self) -> Option<Value> {
        if self.is_manifest {
            let fetched: ManifestRecord = record::decode(&self.key, &self.value).ok()?;
            return fetched.fetched.then(|| record::encode(&ManifestRecord { fetched: false, ..fetched }));
        }
        let fetched: LinkRecord = record::decode(&self.key, &self.value).ok()?;
        fetched.fetched.then(|| record::encode(&LinkRecord { fetched: false, ..fetched }))
    }
}

/// The bytes of what a manifest is made of, of an index those of its children; none where one of these is not there, or is
/// no manifest that says it.
pub(in crate::flows) fn content(manifest: &Manifest, present: &[Voucher]) -> Option<u64> {
    if !manifest.media_type.is_list() {
        return Some(manifest.content);
    }
    let content = |voucher: &Voucher| record::decode::<ManifestRecord>(&voucher.key, &voucher.value).ok()?.content;
    let mut children = present.iter().filter(|voucher| voucher.is_manifest).map(content);
    let is_whole = present.len() == manifest.needs.len();
    let whole = children.try_fold(0_u64, |sum, content| Some(sum.saturating_add(content?)));
    whole.filter(|_| is_whole)
}

impl Call {
    /// Expects in `batch`, the push of a manifest, that all that it needs is still there.
    ///
    /// What a mirror has fetched of that counts as pushed from now on, and so does what that needs in turn, so that no
    /// eviction takes it. In any other repository nothing was fetched, and this neither asks nor changes anything.
    pub(in crate::flows) async fn rely_on(
        &self,
        batch: &mut Batch,
        name: &Repository,
        needs: &[Voucher],
    ) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let mut manifests = Vec::new();
        for voucher in needs {
            seen.insert(voucher.key.clone());
            if !adopt(batch, voucher, &mut manifests) {
                batch.expect(Expect::Present(voucher.key.clone()));
            }
        }
        while let Some(manifest) = manifests.pop() {
            for voucher in self.vouchers(name, &manifest).await? {
                if seen.insert(voucher.key.clone()) {
                    adopt(batch, &voucher, &mut manifests);
                }
            }
        }
        Ok(())
    }

    /// The records of what a manifest needs, as far as the repository has it: a mirror takes it in without.
    async fn vouchers(&self, name: &Repository, manifest: &Digest) -> Result<Vec<Voucher>, Error> {
        // One that is gone is not what the commit expects.
        let Some(manifest) = self.held_manifest(name, manifest).await? else { return Ok(Vec::new()) };
        let needed: Vec<Digest> = manifest.needs.into_keys().collect();
        let keys = needed.iter().flat_map(|needed| [keys::manifest(name, needed), keys::link(name, needed)]).collect();
        let mut values = self.ask(Get { keys }).await?.into_iter();
        let mut vouchers = Vec::new();
        for needed in needed {
            let (manifest, link) = (values.next().flatten(), values.next().flatten());
            vouchers.extend(manifest.map(|value| Voucher::of_manifest(name, needed, value)));
            vouchers.extend(link.map(|value| Voucher::of_blob(name, needed, value)));
        }
        Ok(vouchers)
    }
}

/// Makes what was fetched something that was pushed, if its record is still as it was read, and adds a manifest to
/// `manifests`. `false` when it was pushed before.
fn adopt(batch: &mut Batch, voucher: &Voucher, manifests: &mut Vec<Digest>) -> bool {
    let Some(pushed) = voucher.as_pushed() else { return false };
    batch.expect(Expect::Exactly(voucher.key.clone(), voucher.value.clone()));
    batch.put.push((voucher.key.clone(), pushed));
    manifests.extend(Some(voucher.needed).filter(|_| voucher.is_manifest));
    true
}

//! A round: a repository, a few keys, and clients that share them.

use std::cell::RefCell;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;

use super::key::{Client, Key, Kind, path};
use super::{Blob, Fleet, Wrong, still_in_time, wrong};
use crate::tester::chance::Chance;
use crate::tester::content::{Image, OCI_LAYER, OCI_MANIFEST};
use crate::tester::exchange::{Exchange, with_parameter};
use crate::tester::lab::put_manifest;

/// How many operations each client does in a round.
const OPERATIONS: usize = 24;

/// How many bytes layers and blobs have: fewer and more than a registry may keep among its records, and once in a while
/// more than one part of an object store has.
const SIZES: [usize; 5] = [100, 5_000, 17_000, 60_000, 300_000];
const LARGE: usize = (8 << 20) + 70_000;
const LARGE_ONCE_IN: usize = 15;

/// The tags of a round.
const TAGS: [&str; 2] = ["v1", "v2"];

/// A round that is played, or was.
pub(super) struct Round {
    pub(super) number: usize,
    pub(super) repo: String,
    /// What tags may name. They are pushed before and never deleted.
    pub(super) images: Vec<Image>,
    pub(super) keys: Vec<Key>,
    /// Blobs of these, and those that uploads have become: nobody deletes them either.
    pub(super) blobs: RefCell<Vec<Blob>>,
}

impl Round {
    /// Pushes what the round needs.
    pub(super) async fn begin(fleet: &Fleet<'_>, number: usize, chance: &mut Chance) -> Result<Self, Wrong> {
        let repo = format!("{}/r{number}", fleet.settings.prefix);
        let config = Blob::new(chance.bits(), SIZES[0]);
        let layers: Vec<Blob> = (0..3).map(|_| blob(chance)).collect();
        let images: Vec<Image> = layers.iter().map(|layer| image(&config, layer)).collect();
        let alone = images[0].clone().field("artifactType", "application/vnd.orlop.alone");
        let blobs: Vec<Blob> = [config].into_iter().chain(layers).collect();
        for blob in &blobs {
            push(fleet, &repo, blob, chance).await?;
        }
        for image in &images {
            let put = fleet.insist(chance, put_manifest(&repo, &image.digest(), image)).await?;
            if put.status != 201 {
                return wrong(format!("201 of a manifest whose blobs were taken, in {repo}"), put);
            }
            fleet.acknowledged();
        }
        let mut kinds: Vec<Kind> = TAGS.into_iter().map(Kind::Tag).collect();
        kinds.extend([Kind::Blob(blob(chance)), Kind::Manifest(alone)]);
        for _ in 0..2 {
            let open = Exchange::new("POST", format!("/v2/{repo}/blobs/uploads/")).body(Bytes::new());
            kinds.push(Kind::Upload(path(&fleet.insist(chance, open).await?)?, chance.bits()));
        }
        let keys = kinds.into_iter().map(|kind| Key::new(kind, &repo)).collect();
        Ok(Self { number, repo, images, keys, blobs: RefCell::new(blobs) })
    }

    /// Lets clients work, finishes what they have begun, and judges what they saw.
    pub(super) async fn play(&self, fleet: &Fleet<'_>, clients: usize, chance: &mut Chance) {
        let seed = chance.bits();
        let work = (0..clients).map(|client| self.client(fleet, client, Chance::of(seed, &format!("client {client}"))));
        join_all(work).await;
        self.close(fleet, chance).await;
        self.judge(fleet);
    }

    async fn client(&self, fleet: &Fleet<'_>, number: usize, mut chance: Chance) {
        let client = Client { fleet, name: format!("client {number}"), images: &self.images };
        let mut at = vec![0; self.keys.len()];
        for _ in 0..OPERATIONS {
            let place = chance.below(self.keys.len());
            let key = &self.keys[place];
            if key.is_worn() {
                continue;
            }
            if let Err(wrong) = client.act(key, &mut at[place], &mut chance).await {
                return self.failed(fleet, key, &wrong);
            }
        }
    }

    async fn close(&self, fleet: &Fleet<'_>, chance: &mut Chance) {
        let client = Client { fleet, name: "the last client".into(), images: &self.images };
        for key in &self.keys {
            let Kind::Upload(session, seed) = &key.kind else { continue };
            match client.finish(key, session, *seed, chance).await {
                Ok(finished) => self.blobs.borrow_mut().extend(finished),
                Err(wrong) => self.failed(fleet, key, &wrong),
            }
        }
        self.read(fleet, "the last client", chance).await;
    }

    /// Reads every key once.
    pub(super) async fn read(&self, fleet: &Fleet<'_>, name: &str, chance: &mut Chance) {
        let client = Client { fleet, name: name.into(), images: &self.images };
        for key in &self.keys {
            if fleet.has_told_enough() {
                return;
            }
            let before = key.events.borrow().len();
            let began = Instant::now();
            while key.events.borrow().len() == before {
                let read = client.read(key, chance).await;
                if let Err(wrong) = read.and_then(|()| still_in_time(began, || "a read".into())) {
                    self.failed(fleet, key, &wrong);
                    break;
                }
            }
        }
    }

    /// Looks for orders that explain what was seen.
    pub(super) fn judge(&self, fleet: &Fleet<'_>) {
        for key in &self.keys {
            if let Some(operations) = key.unexplained() {
                let expected =
                    format!("an order of these operations on the {} that explains what each saw", key.name());
                fleet.failed(self.number, &expected, "there is none", operations);
            }
        }
    }

    fn failed(&self, fleet: &Fleet<'_>, key: &Key, Wrong { expected, came }: &Wrong) {
        fleet.failed(self.number, &format!("{expected}, of the {}", key.name()), came, key.told());
    }
}

fn blob(chance: &mut Chance) -> Blob {
    let size = if chance.once_in(LARGE_ONCE_IN) { LARGE } else { SIZES[chance.below(SIZES.len())] };
    Blob::new(chance.bits(), size)
}

/// An image of one layer.
fn image(config: &Blob, layer: &Blob) -> Image {
    let named =
        |media_type: &str, blob: &Blob| json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": named("application/vnd.orlop.bytes", config),
        "layers": [named(OCI_LAYER, layer)],
    });
    Image { media_type: OCI_MANIFEST, document, blobs: Vec::new() }
}

/// Pushes a blob, and tries again until it is there.
async fn push(fleet: &Fleet<'_>, repo: &str, blob: &Blob, chance: &mut Chance) -> Result<(), Wrong> {
    let began = Instant::now();
    loop {
        let open = Exchange::new("POST", format!("/v2/{repo}/blobs/uploads/")).body(Bytes::new());
        let session = path(&fleet.insist(chance, open).await?)?;
        let put = Exchange::new("PUT", with_parameter(&session, "digest", &blob.digest));
        let put = put.header("Content-Type", "application/octet-stream").body(blob.bytes());
        let answer = fleet.insist(chance, put).await?;
        match answer.status {
            201 => {
                fleet.acknowledged();
                return Ok(());
            }
            404 => {
                fleet.played.borrow_mut().forgotten += 1;
                still_in_time(began, || format!("a push of {} bytes to {repo}", blob.size))?;
            }
            _ => return wrong(format!("201 of a blob of {} bytes in {repo}", blob.size), answer),
        }
    }
}
